/* The hot record of a log. Stateless.
 *
 * Invariants, on disk and in memory: 0 <= log start <= high watermark <= log end. Byte 1 (format) keeps its place in
 * every format. The CRC covers the log id, so another log's record is damage. */
#include "storage/log/hot.h"

#include "services/base/invariant.h"
#include "storage/log/bytes.h"
#include "storage/log/crc32c.h"
#include "storage/log/key.h"

#define HOT_MAGIC 0xA9
#define HOT_FORMAT 2
#define HOT_CRC_AT 8
#define HOT_CRC_END 12
#define HOT_START_AT 12
#define HOT_APPENDED_AT 52
#define HOT_COMPACTED_AT 60
#define HOT_EPOCHS_AT 68
#define HOT_EPOCHS_AT_1 52 /* in format 1 */

void log_hot_init(LogHot *hot) {
  *hot = (LogHot){
      .last_append_timestamp_ms = LOG_TIMESTAMP_NONE,
      .max_timestamp_ms = LOG_TIMESTAMP_NONE,
      .epochs = log_epochs_new(),
  };
}

void log_hot_clear(LogHot *hot) {
  if (hot == NULL)
    return;
  g_clear_pointer(&hot->epochs, log_epochs_free);
}

static gboolean hot_in_order(const LogHot *hot) {
  return hot->log_start_offset >= 0 && hot->log_start_offset <= hot->high_watermark &&
         hot->high_watermark <= hot->log_end_offset && hot->compacted_to_offset >= 0 &&
         hot->compacted_to_offset <= hot->log_end_offset && hot->appended_bytes >= 0;
}

gint64 log_hot_needed_from(const LogHot *hot) {
  return MAX(hot->log_start_offset, hot->compacted_to_offset);
}

gint64 log_hot_peek_needed_from(const guint8 *data, gsize len, gint64 *ret_appended_bytes) {
  INVARIANT(len >= HOT_EPOCHS_AT && data[1] == HOT_FORMAT, "a hot record that is written has the present format");
  if (ret_appended_bytes)
    *ret_appended_bytes = (gint64)log_get_u64(data + HOT_APPENDED_AT);
  const LogHot hot = {.log_start_offset = (gint64)log_get_u64(data + HOT_START_AT),
                      .compacted_to_offset = (gint64)log_get_u64(data + HOT_COMPACTED_AT)};
  return log_hot_needed_from(&hot);
}

void log_hot_cut(LogHot *hot, gint64 end_offset) {
  hot->log_end_offset = end_offset;
  hot->high_watermark = MIN(hot->high_watermark, end_offset);
  hot->log_start_offset = MIN(hot->log_start_offset, end_offset);
  hot->compacted_to_offset = MIN(hot->compacted_to_offset, end_offset);
  log_epochs_truncate_end(hot->epochs, end_offset);
}

void log_hot_key_encode(guint64 log_id, guint8 ret_key[LOG_HOT_KEY_BYTES]) {
  INVARIANT(log_id >= 1 && log_id <= LOG_ID_MAX, "log ids are given by the controller, within their range");
  log_put_u64(ret_key, log_id);
}

Failure *log_hot_key_decode(const guint8 *data, gsize len, guint64 *ret_log_id) {
  guint64 log_id = len == LOG_HOT_KEY_BYTES ? log_get_u64(data) : 0;
  if (log_id < 1 || log_id > LOG_ID_MAX)
    return failure_new(FAILURE(CORRUPT_LOG), "a key of %" G_GSIZE_FORMAT " bytes in the hot metadata is not a log id",
                       len);
  *ret_log_id = log_id;
  return NULL;
}

static guint32 hot_crc(guint64 log_id, const guint8 *data, gsize len) {
  guint8 id[8];
  log_put_u64(id, log_id);
  guint32 crc = log_crc32c(id, sizeof id);
  crc = log_crc32c_extend(crc, data, HOT_CRC_AT);
  return log_crc32c_extend(crc, data + HOT_CRC_END, len - HOT_CRC_END);
}

void log_hot_encode(const LogHot *hot, guint64 log_id, GByteArray *out) {
  INVARIANT(hot_in_order(hot), "log start, high watermark and log end are in order");
  g_byte_array_set_size(out, HOT_EPOCHS_AT);
  log_epochs_encode(hot->epochs, out);
  guint8 *at = out->data;
  *at++ = HOT_MAGIC;
  *at++ = HOT_FORMAT;
  at = log_put_u16(at, 0);
  at = log_put_u32(at, out->len - HOT_CRC_END);
  at += HOT_CRC_END - HOT_CRC_AT;
  at = log_put_u64(at, (guint64)hot->log_start_offset);
  at = log_put_u64(at, (guint64)hot->log_end_offset);
  at = log_put_u64(at, (guint64)hot->high_watermark);
  at = log_put_u64(at, (guint64)hot->last_append_timestamp_ms);
  at = log_put_u64(at, (guint64)hot->max_timestamp_ms);
  at = log_put_u64(at, (guint64)hot->appended_bytes);
  at = log_put_u64(at, (guint64)hot->compacted_to_offset);
  INVARIANT(at == out->data + HOT_EPOCHS_AT, "the hot record is laid out as hot.h says");
  log_put_u32(out->data + HOT_CRC_AT, hot_crc(log_id, out->data, out->len));
}

static Failure *damaged(guint64 log_id, const char *what) {
  Failure *failure =
      failure_new(FAILURE(CORRUPT_LOG), "the metadata of log %" G_GUINT64_FORMAT " is damaged: %s", log_id, what);
  return failure_add(failure, "log_id", "%" G_GUINT64_FORMAT, log_id);
}

Failure *log_hot_decode(const guint8 *data, gsize len, guint64 log_id, LogHot *ret_hot) {
  if (len < 2 || data[0] != HOT_MAGIC)
    return damaged(log_id, "it does not begin like a log's metadata");
  if (data[1] > HOT_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the metadata of log %" G_GUINT64_FORMAT
                       " has format %d; this version reads up to %d: start the version that wrote it",
                       log_id, data[1], HOT_FORMAT);
  if (data[1] == 0)
    return damaged(log_id, "its format is 0, which never was");
  gsize epochs_at = data[1] == 1 ? HOT_EPOCHS_AT_1 : HOT_EPOCHS_AT;
  if (len < epochs_at || log_get_u32(data + 4) != len - HOT_CRC_END)
    return damaged(log_id, "it is not as long as it says");
  if (log_get_u32(data + HOT_CRC_AT) != hot_crc(log_id, data, len))
    return damaged(log_id, "its checksum does not match, or it belongs to another log");

  LogHot hot = {
      .log_start_offset = (gint64)log_get_u64(data + 12),
      .log_end_offset = (gint64)log_get_u64(data + 20),
      .high_watermark = (gint64)log_get_u64(data + 28),
      .last_append_timestamp_ms = (gint64)log_get_u64(data + 36),
      .max_timestamp_ms = (gint64)log_get_u64(data + 44),
  };
  if (data[1] > 1) {
    hot.appended_bytes = (gint64)log_get_u64(data + HOT_APPENDED_AT);
    hot.compacted_to_offset = (gint64)log_get_u64(data + HOT_COMPACTED_AT);
  }
  if (!hot_in_order(&hot))
    return damaged(log_id, "log start, high watermark and log end are not in order");
  gsize used = 0;
  Failure *failure = log_epochs_decode(data + epochs_at, len - epochs_at, &hot.epochs, &used);
  if (failure != NULL)
    return failure_prefix(failure, "reading the metadata of log %" G_GUINT64_FORMAT, log_id);
  if (used != len - epochs_at) {
    log_hot_clear(&hot);
    return damaged(log_id, "something follows its leader epochs");
  }
  *ret_hot = hot;
  return NULL;
}
