/* Keys of the log's column families, and the values of its time index.
 *
 * Input: length of the key, the key, then a time index value. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/crc32c.h"
#include "storage/log/hot.h"
#include "storage/log/key.h"
#include "storage/log/producers.h"

static void time_value(const guint8 *data, gsize size, const LogKey *key) {
  gint64 max_timestamp_ms, again;
  if (key->kind != LOG_KEY_TIME || !fuzz_accepted(log_time_value_decode(data, size, key, &max_timestamp_ms)))
    return;
  guint8 written[LOG_TIME_VALUE_BYTES];
  log_time_value_encode(key->log_id, key->base_offset, max_timestamp_ms, written);
  /* Not the same bytes: those that are reserved may be anything. */
  FUZZ_HOLDS(size == sizeof written && fuzz_accepted(log_time_value_decode(written, size, key, &again)));
  FUZZ_HOLDS(again == max_timestamp_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  gsize len = fuzz_u8(&input);
  FuzzInput taken = fuzz_take(&input, len);
  const guint8 *bytes = taken.at;
  len = fuzz_left(&taken);
  LogKey key;
  if (fuzz_accepted(log_key_decode(bytes, len, &key))) {
    guint8 written[LOG_KEY_BYTES];
    log_key_encode(key.kind, key.log_id, key.base_offset, written);
    FUZZ_HOLDS(len == sizeof written && memcmp(written, bytes, len) == 0);
    time_value(input.at, fuzz_left(&input), &key);
  }
  guint64 log_id;
  if (fuzz_accepted(log_hot_key_decode(bytes, len, &log_id))) {
    guint8 written[LOG_HOT_KEY_BYTES];
    log_hot_key_encode(log_id, written);
    FUZZ_HOLDS(len == sizeof written && memcmp(written, bytes, len) == 0);
  }
  gint64 producer_id;
  if (fuzz_accepted(log_producer_key_decode(bytes, len, &log_id, &producer_id))) {
    guint8 written[LOG_PRODUCER_KEY_BYTES];
    log_producer_key_encode(log_id, producer_id, written);
    FUZZ_HOLDS(len == sizeof written && memcmp(written, bytes, len) == 0);
  }
  return 0;
}
