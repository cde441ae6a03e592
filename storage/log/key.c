/* Keys and time index values. Everything is fixed in size, so a damaged one is found by its length or its CRC. */
#include "storage/log/key.h"

#include "services/base/invariant.h"
#include "storage/log/bytes.h"
#include "storage/log/crc32c.h"

#define TIME_BIT (G_GUINT64_CONSTANT(1) << 63)
#define TIME_FORMAT 1

static guint64 key_prefix(LogKeyKind kind, guint64 log_id) {
  return kind == LOG_KEY_TIME ? log_id | TIME_BIT : log_id;
}

void log_key_encode(LogKeyKind kind, guint64 log_id, gint64 base_offset, guint8 ret_key[LOG_KEY_BYTES]) {
  INVARIANT(log_id >= 1 && log_id <= LOG_ID_MAX, "log ids are given by the controller, within their range");
  INVARIANT(base_offset >= 0, "a negative offset would sort behind all others");
  log_put_u64(log_put_u64(ret_key, key_prefix(kind, log_id)), (guint64)base_offset);
}

Failure *log_key_decode(const guint8 *data, gsize len, LogKey *ret_key) {
  if (len != LOG_KEY_BYTES)
    return failure_new(FAILURE(CORRUPT_LOG), "a key in a segment has %" G_GSIZE_FORMAT " bytes instead of %d", len,
                       LOG_KEY_BYTES);
  guint64 prefix = log_get_u64(data);
  LogKey key = {
      .kind = prefix & TIME_BIT ? LOG_KEY_TIME : LOG_KEY_BATCH,
      .log_id = prefix & ~TIME_BIT,
      .base_offset = (gint64)log_get_u64(data + 8),
  };
  if (key.log_id < 1 || key.log_id > LOG_ID_MAX || key.base_offset < 0)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "a key in a segment names log %" G_GUINT64_FORMAT " and offset %" G_GINT64_FORMAT
                       ", which can't exist",
                       key.log_id, key.base_offset);
  *ret_key = key;
  return NULL;
}

void log_key_range(LogKeyKind kind, guint64 log_id, guint8 ret_start[LOG_KEY_BYTES], guint8 ret_end[LOG_KEY_BYTES]) {
  log_key_encode(kind, log_id, 0, ret_start);
  /* LOG_ID_MAX leaves room for one more, so this neither wraps nor reaches the other kind's first log. */
  log_put_u64(log_put_u64(ret_end, key_prefix(kind, log_id) + 1), 0);
}

/* format u8, zero u24, CRC u32, timestamp i64 */
static guint32 time_value_crc(guint64 log_id, gint64 base_offset, const guint8 *value) {
  guint8 key[LOG_KEY_BYTES];
  log_key_encode(LOG_KEY_TIME, log_id, base_offset, key);
  guint32 crc = log_crc32c(key, sizeof key);
  crc = log_crc32c_extend(crc, value, 4);
  return log_crc32c_extend(crc, value + 8, 8);
}

void log_time_value_encode(guint64 log_id, gint64 base_offset, gint64 max_timestamp_ms,
                           guint8 ret_value[LOG_TIME_VALUE_BYTES]) {
  memset(ret_value, 0, LOG_TIME_VALUE_BYTES);
  ret_value[0] = TIME_FORMAT;
  log_put_u64(ret_value + 8, (guint64)max_timestamp_ms);
  log_put_u32(ret_value + 4, time_value_crc(log_id, base_offset, ret_value));
}

Failure *log_time_value_decode(const guint8 *data, gsize len, const LogKey *key, gint64 *ret_max_timestamp_ms) {
  const char *damage = NULL;
  if (len >= 1 && data[0] > TIME_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the time index of log %" G_GUINT64_FORMAT " has format %d; this version reads up to %d: start "
                       "the version that wrote it",
                       key->log_id, data[0], TIME_FORMAT);
  if (len != LOG_TIME_VALUE_BYTES)
    damage = "its size is wrong";
  else if (data[0] != TIME_FORMAT)
    damage = "its format is wrong";
  else if (log_get_u32(data + 4) != time_value_crc(key->log_id, key->base_offset, data))
    damage = "its checksum does not match";
  if (damage != NULL)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "the time index entry of log %" G_GUINT64_FORMAT " at offset %" G_GINT64_FORMAT
                       " is damaged: %s",
                       key->log_id, key->base_offset, damage);
  *ret_max_timestamp_ms = (gint64)log_get_u64(data + 8);
  return NULL;
}
