/* Partitions being followed by a stream: what Consume and Subscribe share.
 *
 * A CursorSet reads its partitions ahead by a bounded number of bytes, gives what it has read in turns, and rides
 * through changes of leaders. Each cursor is in one of these states:
 *
 *   HELD ──cursor_go──► IDLE ──► READING ──data──► READY ──all given──► IDLE, or ENDED at the stop
 *    ▲                   ▲        │   └─nothing new──► IDLE (caught up: the next read waits)
 *    │                   └─PAUSED◄┤ no leader that answers: tried again; told once when it takes long
 *  cursor_hold (from any)         └──► FAILED: out of range, no such topic, corrupt: told, and over until a cursor_go
 *
 * Memory: at most READ_AHEAD reads of partitions that are behind are in flight, none when so many bytes wait to be
 * given; what comes from a waiting read beyond that is dropped and read again. When the owner stops the set, because
 * its client is slow, no read is started at all.
 *
 * Thread: the front's loop. */
#pragma once

#include "services/broker/read/expand.h"
#include "services/broker/read/source.h"

G_BEGIN_DECLS

typedef struct CursorSet CursorSet;
typedef struct Cursor Cursor; /* owned by its set */

/* @format, @max_bytes: of one piece
 * @ready: something can be taken, or all is over; called on the loop, not from within a function of this module. May
 *         not free the set. */
CursorSet *cursor_set_new(Front *front, Milena__V1__Format format, guint32 max_bytes, void (*ready)(gpointer user_data),
                          gpointer user_data);
void cursor_set_free(CursorSet *set); /* NULL is fine */
/* Start reads, or stop starting them. A new set does not run. */
void cursor_set_run(CursorSet *set, gboolean running);

/* Follow a partition; the cursor is held until cursor_go.
 *
 * @topic, @topic_id: pinned: another incarnation never answers; copied */
Cursor *cursor_set_add(CursorSet *set, const char *topic, const char *topic_id, gint32 partition);
/* Follow it no more; it is freed, and what was read and not taken is dropped. */
void cursor_set_remove(CursorSet *set, Cursor *cursor);
guint cursor_set_count(const CursorSet *set);
Cursor *cursor_set_get(const CursorSet *set, guint index); /* in the order of adding */

/* What was taken: records or batches of a partition, or why there are none. */
typedef struct {
  Cursor *cursor;
  Expanded piece;
  Failure *failure; /* owned by the caller */
} CursorFrame;

/* Take the next failure to tell, else the next piece, in turns over the partitions that have one.
 *
 * @limits: with at_least_one; with 0 records or bytes only failures are given
 * @memory: the piece lives in it
 * Returns FALSE when there is none now. */
gboolean cursor_set_next(CursorSet *set, const ExpandLimits *limits, ReadMemory *memory, CursorFrame *ret_frame);
/* A frame as a message in @memory, which the piece lives in. */
Milena__V1__FetchedPartition *cursor_frame_message(const CursorFrame *frame, ReadMemory *memory);
/* Each partition has come to its stop or failed, and all was taken. */
gboolean cursor_set_is_over(const CursorSet *set);
/* Why the first failed partition failed; borrowed, NULL when none is. */
const Failure *cursor_set_failure(const CursorSet *set);

/* Stop reading; drop what was read and not taken. */
void cursor_hold(Cursor *cursor);
/* Read on from @offset up to @stop (EXPAND_STOP_NONE: for ever). The cursor must be held. */
void cursor_go(Cursor *cursor, gint64 offset, gint64 stop);
/* End at @stop, if that is before the stop so far. */
void cursor_set_stop(Cursor *cursor, gint64 stop);
/* Tell @failure (taken) of a held cursor, which then is failed. */
void cursor_fail(Cursor *cursor, Failure *failure);
/* The next offset that will be given. */
gint64 cursor_position(const Cursor *cursor);
const char *cursor_topic(const Cursor *cursor);
const char *cursor_topic_id(const Cursor *cursor);
gint32 cursor_partition(const Cursor *cursor);
/* It failed: nothing comes until cursor_hold and cursor_go. */
gboolean cursor_is_failed(const Cursor *cursor);

G_END_DECLS
