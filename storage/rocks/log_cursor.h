/* A RocksDB iterator over the entries of one log and kind in one segment. One thread at a time.
 *
 * It sees the segment as it was when the cursor was made, and keeps what it sees alive: so cursors are few and short-
 * lived. */
#pragma once

#include <glib.h>

#include "storage/log/batch.h"
#include "storage/log/key.h"
#include "storage/rocks/log_index.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

typedef struct LogCursor LogCursor;

/* @segment: referenced. Stands nowhere until a seek. */
LogCursor *log_cursor_new(RocksDb *db, LogSegment *segment, LogKeyKind kind, guint64 log_id);
void log_cursor_free(LogCursor *cursor); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogCursor, log_cursor_free)

LogSegment *log_cursor_segment(LogCursor *cursor); /* borrowed */

/* Go to the first entry at or behind @offset. */
void log_cursor_seek(LogCursor *cursor, gint64 offset);
/* Go to the last entry before @offset: to look at; going on from there is dear. */
void log_cursor_seek_before(LogCursor *cursor, gint64 offset);
/* Go to the batch that holds @offset, or the first behind it. */
void log_cursor_seek_holding(LogCursor *cursor, gint64 offset);
void log_cursor_next(LogCursor *cursor);

/* Where it stands. Returns FALSE at the end, or when it could not read: see log_cursor_check. */
gboolean log_cursor_offset(LogCursor *cursor, gint64 *ret_offset);
/* Whether the end is one: NULL, or CORRUPT_LOG for what RocksDB could not read. */
Failure *log_cursor_check(LogCursor *cursor);

/* The entry that it stands on (log_cursor_offset was TRUE). */
gsize log_cursor_value_bytes(LogCursor *cursor);
/* The header of a batch: @ret_batch's records are NULL. Returns NULL, CORRUPT_LOG or UNSUPPORTED. */
Failure *log_cursor_head(LogCursor *cursor, LogBatch *ret_batch);
/* The batch, with its checksums verified; it outlives the cursor, and the store. Returns NULL, CORRUPT_LOG or
 * UNSUPPORTED. */
Failure *log_cursor_batch(LogCursor *cursor, LogBatch *ret_batch);
/* The value of a time index entry. Returns NULL, CORRUPT_LOG or UNSUPPORTED. */
Failure *log_cursor_time(LogCursor *cursor, gint64 *ret_max_timestamp_ms);

G_END_DECLS
