/* Keys of a log's entries in a segment column family: 16 bytes, big endian, so that a log is one range of keys.
 *
 *   batch:       log id, base offset                    → stored batch (batch.h)
 *   time index:  log id with the top bit set, base offset → latest timestamp up to and with that batch (below)
 *
 * All batches of all logs sort before all time index entries. Pure; any thread. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

#define LOG_KEY_BYTES 16
/* Log ids are given by the controller: 1 to LOG_ID_MAX. */
#define LOG_ID_MAX ((G_GUINT64_CONSTANT(1) << 63) - 2)
/* Size of a time index entry's value. */
#define LOG_TIME_VALUE_BYTES 16

typedef enum { LOG_KEY_BATCH, LOG_KEY_TIME } LogKeyKind;

typedef struct {
  LogKeyKind kind;
  guint64 log_id;
  gint64 base_offset; /* 0 or more */
} LogKey;

/* Write the key of a batch or a time index entry. @log_id and @base_offset must be in range. */
void log_key_encode(LogKeyKind kind, guint64 log_id, gint64 base_offset, guint8 ret_key[LOG_KEY_BYTES]);
/* Read a key that came from disk. Returns NULL, or CORRUPT_LOG; @ret_key is untouched on failure. */
Failure *log_key_decode(const guint8 *data, gsize len, LogKey *ret_key);

/* First key of a log's entries of @kind, and the key behind the last: [start, end). */
void log_key_range(LogKeyKind kind, guint64 log_id, guint8 ret_start[LOG_KEY_BYTES], guint8 ret_end[LOG_KEY_BYTES]);

/* The value of a time index entry: versioned, with a CRC-32C that covers log id and base offset too.
 *
 * @max_timestamp_ms: latest record timestamp in the log up to and with this batch; so it never falls along the log */
void log_time_value_encode(guint64 log_id, gint64 base_offset, gint64 max_timestamp_ms,
                           guint8 ret_value[LOG_TIME_VALUE_BYTES]);
/* Returns NULL, CORRUPT_LOG for damage, or UNSUPPORTED for a newer format; *@ret_max_timestamp_ms is untouched on
 * failure. @key: the entry's, of kind LOG_KEY_TIME. */
Failure *log_time_value_decode(const guint8 *data, gsize len, const LogKey *key, gint64 *ret_max_timestamp_ms);

G_END_DECLS
