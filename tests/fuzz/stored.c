/* A batch as it lies on disk, as it came and with its header's checksum mended.
 *
 * Input: log id and base offset of its key, 8 bytes each, then the value. */
#include "tests/fuzz/batches.h"

#include "storage/log/crc32c.h"

#define CRC_AT 92

static void parse(const guint8 *data, gsize size, const LogKey *key) {
  g_autoptr(GBytes) value = g_bytes_new(data, size);
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  LogBatch header = LOG_BATCH_INIT;
  guint32 payload_bytes = 0;
  gboolean header_good = fuzz_accepted(log_batch_parse_stored_header(data, size, key, &header, &payload_bytes));
  gboolean good = fuzz_accepted(log_batch_parse_stored(value, key, &batch));
  FUZZ_HOLDS(header_good || !good);
  if (!good)
    return;
  FUZZ_HOLDS(log_batch_payload_bytes(&batch) == payload_bytes);
  FUZZ_HOLDS(batch.base_offset == key->base_offset);
  guint8 written[LOG_STORED_HEADER_BYTES];
  log_batch_stored_header(&batch, key->log_id, written);
  FUZZ_HOLDS(memcmp(written, data, sizeof written) == 0);
  fuzz_accepted(log_batch_verify(&batch));
  if (batch.uncompressed_bytes <= 1 << 20)
    fuzz_walk_records(&batch, key->base_offset + batch.record_count / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  LogKey key = {.kind = LOG_KEY_BATCH,
                .log_id = fuzz_number(&input, 8) % LOG_ID_MAX + 1,
                .base_offset = (gint64)(fuzz_number(&input, 8) & G_MAXINT64)};
  parse(input.at, fuzz_left(&input), &key);
  if (fuzz_left(&input) < LOG_STORED_HEADER_BYTES)
    return 0;
  g_autofree guint8 *mended = g_memdup2(input.at, fuzz_left(&input));
  guint64 id = GUINT64_TO_BE(key.log_id);
  guint32 crc = GUINT32_TO_BE(log_crc32c_extend(log_crc32c(&id, sizeof id), mended, CRC_AT));
  memcpy(mended + CRC_AT, &crc, sizeof crc);
  parse(mended, fuzz_left(&input), &key);
  return 0;
}
