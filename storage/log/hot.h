/* The hot metadata of a log: what changes with every append, written in the same RocksDB batch as the append itself, so
 * that the two can't disagree. Key: log id, 8 bytes big endian. Value, big endian:
 *
 *    0 u8  magic 0xA9          1 u8  format 2            2 u16 zero        4 u32 length of all that follows the CRC
 *    8 u32 CRC-32C of log id (u64) and of all but these four bytes
 *   12 i64 log start offset   20 i64 log end offset     28 i64 high watermark
 *   36 i64 append timestamp of the last batch           44 i64 max timestamp
 *   52 i64 appended bytes     60 i64 compacted to       (both 0 in format 1, which lacks them)
 *   68 leader epochs (epochs.h); in format 1 at 52
 *
 * Pure; one owner thread. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"
#include "storage/log/epochs.h"

G_BEGIN_DECLS

#define LOG_HOT_KEY_BYTES 8
/* Of a log without batches. */
#define LOG_TIMESTAMP_NONE G_MININT64

/* A plain value: initialise with log_hot_init, end with log_hot_clear. start <= high watermark <= end, and what is
 * compacted ends at or before the end. */
typedef struct LogHot {
  gint64 log_start_offset;
  gint64 log_end_offset;
  gint64 high_watermark;
  gint64 last_append_timestamp_ms; /* of the last batch, or LOG_TIMESTAMP_NONE */
  gint64 max_timestamp_ms;         /* latest of any record, or LOG_TIMESTAMP_NONE */
  gint64 appended_bytes;           /* stored bytes of all batches that were ever appended, also of those that are gone:
                                    * the difference between two places is what lies between them */
  gint64 compacted_to_offset;      /* what is below is kept compacted, outside of the time segments; 0: nothing is */
  LogEpochs *epochs;               /* owned */
} LogHot;

/* An empty log that begins at 0. */
void log_hot_init(LogHot *hot);
void log_hot_clear(LogHot *hot);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LogHot, log_hot_clear)

/* What the log still needs of its time segments: batches that end behind this offset. What lies below was deleted, or
 * is kept elsewhere. The one place that decides it. */
gint64 log_hot_needed_from(const LogHot *hot);
/* The same of a stored form that log_hot_encode made, without reading all of it. @ret_appended_bytes: may be NULL */
gint64 log_hot_peek_needed_from(const guint8 *data, gsize len, gint64 *ret_appended_bytes);

/* The log now ends at @end_offset, for a cut: what lies behind is gone from the record. */
void log_hot_cut(LogHot *hot, gint64 end_offset);

void log_hot_key_encode(guint64 log_id, guint8 ret_key[LOG_HOT_KEY_BYTES]);
/* Returns NULL or CORRUPT_LOG. */
Failure *log_hot_key_decode(const guint8 *data, gsize len, guint64 *ret_log_id);

/* Replace what is in @out by the stored form: a buffer that is used again allocates nothing. */
void log_hot_encode(const LogHot *hot, guint64 log_id, GByteArray *out);
/* Read it.
 *
 * @ret_hot: overwritten, not cleared before; untouched on failure
 *
 * Returns NULL, CORRUPT_LOG for damage or for another log's record, or UNSUPPORTED for a newer format. */
Failure *log_hot_decode(const guint8 *data, gsize len, guint64 log_id, LogHot *ret_hot);

G_END_DECLS
