/* What the store notes about itself in RocksDB, as it came and with its checksum mended.
 *
 * Input: length of the key, the key, the value. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/crc32c.h"
#include "storage/rocks/bulk_mark.h"
#include "storage/rocks/catalog.h"

static void decode_mark(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len) {
  BulkMark mark;
  if (!fuzz_accepted(bulk_mark_decode(key, key_len, value, value_len, &mark)))
    return;
  guint8 written_key[BULK_MARK_KEY_BYTES], written_value[BULK_MARK_PADDED_BYTES];
  gsize written_len = bulk_mark_encode(&mark, value_len == BULK_MARK_PADDED_BYTES, written_key, written_value);
  FUZZ_HOLDS(key_len == sizeof written_key && memcmp(written_key, key, key_len) == 0);
  FUZZ_HOLDS(value_len == written_len && memcmp(written_value, value, value_len) == 0);
}

static void decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len) {
  decode_mark(key, key_len, value, value_len);
  CatalogEntry entry;
  if (!fuzz_accepted(catalog_decode(key, key_len, value, value_len, &entry)))
    return;
  CatalogBytes written;
  catalog_encode(&entry, &written);
  FUZZ_HOLDS(written.key_len == key_len && memcmp(written.key, key, key_len) == 0);
  /* What is of an older format is written in the present one. */
  FUZZ_HOLDS(written.value[0] != value[0] ||
             (written.value_len == value_len && memcmp(written.value, value, value_len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  gsize key_len = fuzz_u8(&input);
  FuzzInput taken = fuzz_take(&input, key_len);
  const guint8 *key = taken.at;
  key_len = fuzz_left(&taken);
  gsize len = fuzz_left(&input);
  decode(key, key_len, input.at, len);
  if (len < sizeof(guint32))
    return 0;
  g_autofree guint8 *mended = g_memdup2(input.at, len);
  guint32 crc = log_crc32c_extend(log_crc32c(key, key_len), mended, len - sizeof crc);
  crc = GUINT32_TO_BE(crc);
  memcpy(mended + len - sizeof crc, &crc, sizeof crc);
  decode(key, key_len, mended, len);
  return 0;
}
