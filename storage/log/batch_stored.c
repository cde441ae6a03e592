/* The stored form of a batch: a fixed header, and the records as they came.
 *
 * Invariants on disk: byte 1 (format) and bytes 4 to 5 (header length) keep their place in every format, so that an
 * older program can say that it is older. The header's CRC covers the log id as well, so a value found under another
 * log's key is damage; base offset is in key and header, and must agree. The client's CRC alone covers the records.
 * Stateless; what is on disk may be anything, so every answer is a Failure. */
#include "services/base/invariant.h"
#include "storage/log/batch.h"
#include "storage/log/bytes.h"
#include "storage/log/codec.h"
#include "storage/log/crc32c.h"

#define STORED_MAGIC 0xB7
#define STORED_FORMAT 1
/* Of a batch with gaps. A format of its own, so that a program that does not know them says so. */
#define STORED_FORMAT_GAPS 2
#define STORED_CRC_AT 92

static guint32 stored_crc(guint64 log_id, const guint8 *header) {
  guint8 id[8];
  log_put_u64(id, log_id);
  return log_crc32c_extend(log_crc32c(id, sizeof id), header, STORED_CRC_AT);
}

void log_batch_stored_header(const LogBatch *batch, guint64 log_id, guint8 ret_header[LOG_STORED_HEADER_BYTES]) {
  INVARIANT(batch->base_offset >= 0, "only a stamped batch is stored");
  INVARIANT(batch->compression <= G_MAXUINT8 && batch->format <= G_MAXUINT16, "only a checked batch is stored");
  guint8 *at = ret_header;
  *at++ = STORED_MAGIC;
  *at++ = batch->format == LOG_BATCH_FORMAT_GAPS ? STORED_FORMAT_GAPS : STORED_FORMAT;
  *at++ = (guint8)batch->compression;
  *at++ = 0;
  at = log_put_u16(at, LOG_STORED_HEADER_BYTES);
  at = log_put_u16(at, (guint16)batch->format);
  at = log_put_u32(at, batch->attributes);
  at = log_put_u32(at, batch->record_count);
  at = log_put_u64(at, (guint64)batch->base_timestamp_ms);
  at = log_put_u64(at, (guint64)batch->max_timestamp_ms);
  at = log_put_u64(at, (guint64)batch->producer_id);
  at = log_put_u32(at, batch->producer_epoch);
  at = log_put_u32(at, batch->first_sequence);
  at = log_put_u64(at, (guint64)batch->expected_offset);
  at = log_put_u32(at, batch->uncompressed_bytes);
  at = log_put_u32(at, (guint32)log_batch_payload_bytes(batch));
  at = log_put_u32(at, batch->crc32c);
  at = log_put_u32(at, (guint32)batch->leader_epoch);
  at = log_put_u64(at, (guint64)batch->base_offset);
  at = log_put_u64(at, (guint64)batch->append_timestamp_ms);
  at = log_put_u32(at, batch->offset_count);
  INVARIANT(at == ret_header + STORED_CRC_AT, "the stored header is laid out as batch.h says");
  log_put_u32(at, stored_crc(log_id, ret_header));
}

static Failure *damaged(const LogKey *key, const char *what) {
  Failure *failure =
      failure_new(FAILURE(CORRUPT_LOG),
                  "the batch stored for log %" G_GUINT64_FORMAT " at offset %" G_GINT64_FORMAT " is damaged: %s",
                  key->log_id, key->base_offset, what);
  failure_add(failure, "log_id", "%" G_GUINT64_FORMAT, key->log_id);
  return failure_add(failure, "base_offset", "%" G_GINT64_FORMAT, key->base_offset);
}

static void read_fields(const guint8 *data, LogBatch *ret_batch) {
  *ret_batch = (LogBatch){
      .format = log_get_u16(data + 6),
      .compression = data[2],
      .attributes = log_get_u32(data + 8),
      .record_count = log_get_u32(data + 12),
      .base_timestamp_ms = (gint64)log_get_u64(data + 16),
      .max_timestamp_ms = (gint64)log_get_u64(data + 24),
      .producer_id = (gint64)log_get_u64(data + 32),
      .producer_epoch = log_get_u32(data + 40),
      .first_sequence = log_get_u32(data + 44),
      .expected_offset = (gint64)log_get_u64(data + 48),
      .uncompressed_bytes = log_get_u32(data + 56),
      .crc32c = log_get_u32(data + 64),
      .leader_epoch = (gint32)log_get_u32(data + 68),
      .base_offset = (gint64)log_get_u64(data + 72),
      .append_timestamp_ms = (gint64)log_get_u64(data + 80),
      .offset_count = log_get_u32(data + 88),
  };
}

/* Values that a sound writer never leaves, under a CRC that matches: a bug, or a forged value. They would break the
 * arithmetic of whoever trusts them. */
static const char *implausible(const LogBatch *batch, const LogKey *key, guint8 stored_format) {
  gboolean gaps = stored_format == STORED_FORMAT_GAPS;
  if (batch->base_offset != key->base_offset)
    return "it carries another offset than its key";
  if (gaps != (batch->format == LOG_BATCH_FORMAT_GAPS))
    return "it is of another format than it was stored as";
  if (gaps ? batch->offset_count == 0 || batch->record_count > batch->offset_count : batch->offset_count != 0)
    return "what it says of its offsets does not go with its format";
  if (!gaps && batch->record_count == 0)
    return "it holds no records";
  if (batch->base_offset > G_MAXINT64 - log_batch_offset_count(batch))
    return "its offsets run over";
  if (batch->uncompressed_bytes > LOG_BATCH_UNCOMPRESSED_BYTES_MAX)
    return "its uncompressed size is over the bound";
  return NULL;
}

Failure *log_batch_parse_stored_header(const guint8 *data, gsize len, const LogKey *key, LogBatch *ret_batch,
                                       guint32 *ret_payload_bytes) {
  if (key->kind != LOG_KEY_BATCH)
    return damaged(key, "its key is one of the time index");
  if (len < 2 || data[0] != STORED_MAGIC)
    return damaged(key, "it does not begin like a stored batch");
  if (data[1] > STORED_FORMAT_GAPS)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the batch stored for log %" G_GUINT64_FORMAT " at offset %" G_GINT64_FORMAT
                       " has format %d; this version reads up to %d: start the version that wrote it",
                       key->log_id, key->base_offset, data[1], STORED_FORMAT_GAPS);
  if (data[1] == 0)
    return damaged(key, "its format is 0, which never was");
  if (len < LOG_STORED_HEADER_BYTES)
    return damaged(key, "it is shorter than its header");
  if (log_get_u32(data + STORED_CRC_AT) != stored_crc(key->log_id, data))
    return damaged(key, "its header's checksum does not match, or it belongs to another log");
  if (data[3] != 0 || log_get_u16(data + 4) != LOG_STORED_HEADER_BYTES)
    return damaged(key, "its header has flags or a length that this format does not have");

  LogBatch batch;
  read_fields(data, &batch);
  const char *what = implausible(&batch, key, data[1]);
  if (what != NULL)
    return damaged(key, what);
  *ret_batch = batch;
  if (ret_payload_bytes != NULL)
    *ret_payload_bytes = log_get_u32(data + 60);
  return NULL;
}

Failure *log_batch_parse_stored(GBytes *value, const LogKey *key, LogBatch *ret_batch) {
  gsize len;
  const guint8 *data = g_bytes_get_data(value, &len);
  LogBatch batch;
  guint32 payload_bytes = 0;
  Failure *failure = log_batch_parse_stored_header(data, len, key, &batch, &payload_bytes);
  if (failure != NULL)
    return failure;
  if (len - LOG_STORED_HEADER_BYTES != payload_bytes)
    return damaged(key, "it is not as long as its header says");
  batch.records = g_bytes_new_from_bytes(value, LOG_STORED_HEADER_BYTES, payload_bytes);
  *ret_batch = batch;
  return NULL;
}
