#include "storage/rocks/bulk_mark.h"

#include <string.h>

#include "storage/log/bytes.h"
#include "storage/log/crc32c.h"
#include "storage/log/key.h"

#define FORMAT_PLAIN 1
#define FORMAT_PADDED 2

static guint32 checksum(const guint8 *key, const guint8 *value) {
  return log_crc32c_extend(log_crc32c(key, BULK_MARK_KEY_BYTES), value, BULK_MARK_VALUE_BYTES - sizeof(guint32));
}

gsize bulk_mark_encode(const BulkMark *mark, gboolean padded, guint8 ret_key[BULK_MARK_KEY_BYTES],
                       guint8 ret_value[BULK_MARK_PADDED_BYTES]) {
  log_put_u64(log_put_u64(log_put_u64(ret_key, 0), mark->group), mark->log_id);
  ret_value[0] = padded ? FORMAT_PADDED : FORMAT_PLAIN;
  log_put_u64(ret_value + 1, (guint64)mark->first_offset);
  log_put_u32(ret_value + 9, checksum(ret_key, ret_value));
  if (!padded)
    return BULK_MARK_VALUE_BYTES;
  memset(ret_value + BULK_MARK_VALUE_BYTES, 0, BULK_MARK_PADDED_BYTES - BULK_MARK_VALUE_BYTES);
  return BULK_MARK_PADDED_BYTES;
}

static gboolean has_its_form(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len) {
  static const guint8 ZEROS[BULK_MARK_PADDED_BYTES];
  gboolean padded = value_len == BULK_MARK_PADDED_BYTES;
  return key_len == BULK_MARK_KEY_BYTES && (padded || value_len == BULK_MARK_VALUE_BYTES) &&
         value[0] == (padded ? FORMAT_PADDED : FORMAT_PLAIN) && log_get_u64(key) == 0 &&
         log_get_u32(value + 9) == checksum(key, value) &&
         memcmp(value + BULK_MARK_VALUE_BYTES, ZEROS, value_len - BULK_MARK_VALUE_BYTES) == 0;
}

Failure *bulk_mark_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len, BulkMark *ret_mark) {
  if (value_len > 0 && value[0] > FORMAT_PADDED)
    return failure_new(FAILURE(UNSUPPORTED),
                       "a segment holds the mark of a bulk group of format %u, this program knows %u: run the newer "
                       "version that wrote it",
                       value[0], FORMAT_PADDED);
  if (!has_its_form(key, key_len, value, value_len))
    return failure_new(FAILURE(CORRUPT_LOG), "a segment holds a damaged mark of a bulk group");
  BulkMark mark = {
      .group = log_get_u64(key + 8), .log_id = log_get_u64(key + 16), .first_offset = (gint64)log_get_u64(value + 1)};
  if (mark.log_id < 1 || mark.log_id > LOG_ID_MAX || mark.first_offset < 0)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "the mark of a bulk group names log %" G_GUINT64_FORMAT " and offset %" G_GINT64_FORMAT
                       ", which can't exist",
                       mark.log_id, mark.first_offset);
  *ret_mark = mark;
  return NULL;
}

void bulk_mark_range(guint64 group, guint8 ret_start[BULK_MARK_KEY_BYTES], guint8 ret_end[BULK_MARK_KEY_BYTES]) {
  log_put_u64(log_put_u64(log_put_u64(ret_start, 0), group), 0);
  log_put_u64(log_put_u64(log_put_u64(ret_end, 0), G_MAXUINT64),
              G_MAXUINT64); /* in front of log 1, whose keys are shorter */
}
