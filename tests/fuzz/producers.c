/* What is stored of an idempotent producer, as it came and with its checksum mended, and batches that it then sends.
 *
 * Input: epoch and first sequence (4 bytes each) and number of records (2 bytes) of a batch, then the stored value. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/crc32c.h"
#include "storage/log/producers.h"

#define LOG_ID 7
#define PRODUCER_ID 5000
#define CRC_AT 4
#define CRC_END 8

static void ask(LogProducers *producers, LogBatch *batch) {
  LogProducerBatch before;
  guint32 expected = 0;
  LogProducerVerdict verdict = log_producers_check(producers, batch, &before, &expected);
  if (verdict == LOG_PRODUCER_NEXT) {
    batch->base_offset = 100;
    log_producers_add(producers, batch);
    FUZZ_HOLDS(log_producers_check(producers, batch, &before, &expected) == LOG_PRODUCER_DUPLICATE);
    FUZZ_HOLDS(before.base_offset == 100);
  } else if (verdict != LOG_PRODUCER_DUPLICATE) {
    FUZZ_HOLDS(!fuzz_accepted(log_producers_refusal(verdict, batch, expected)));
  }
}

static void decode(const guint8 *data, gsize size, LogBatch batch) {
  LogProducer producer;
  if (!fuzz_accepted(log_producer_decode(data, size, LOG_ID, PRODUCER_ID, &producer)))
    return;
  guint8 written[LOG_PRODUCER_VALUE_BYTES_MAX];
  FUZZ_HOLDS(log_producer_encode(&producer, LOG_ID, written) == size);
  /* Not the same bytes: those that are reserved may be anything. */
  LogProducer same;
  guint8 again[LOG_PRODUCER_VALUE_BYTES_MAX];
  FUZZ_HOLDS(fuzz_accepted(log_producer_decode(written, size, LOG_ID, PRODUCER_ID, &same)));
  FUZZ_HOLDS(log_producer_encode(&same, LOG_ID, again) == size && memcmp(written, again, size) == 0);
  g_autoptr(LogProducers) producers = log_producers_new();
  log_producers_restore(producers, &producer);
  ask(producers, &batch);
  log_producers_truncate(producers, producer.batches[0].base_offset, NULL);
  ask(producers, &batch);
  log_producers_expire(producers, G_MAXINT64, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  LogBatch batch = LOG_BATCH_INIT;
  batch.producer_id = PRODUCER_ID;
  batch.producer_epoch = (guint32)fuzz_number(&input, 4);
  batch.first_sequence = (guint32)fuzz_number(&input, 4);
  batch.record_count = (guint32)fuzz_number(&input, 2) + 1;
  decode(input.at, fuzz_left(&input), batch);
  if (fuzz_left(&input) < CRC_END)
    return 0;
  g_autofree guint8 *mended = g_memdup2(input.at, fuzz_left(&input));
  guint8 key[LOG_PRODUCER_KEY_BYTES];
  log_producer_key_encode(LOG_ID, PRODUCER_ID, key);
  guint32 crc = log_crc32c_extend(log_crc32c(key, sizeof key), mended, CRC_AT);
  crc = GUINT32_TO_BE(log_crc32c_extend(crc, mended + CRC_END, fuzz_left(&input) - CRC_END));
  memcpy(mended + CRC_AT, &crc, sizeof crc);
  decode(mended, fuzz_left(&input), batch);
  return 0;
}
