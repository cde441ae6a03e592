/* Which logs there are, and which time segments hold which of their offsets.
 *
 * The writer thread alone changes it; reader threads look up under a read lock. That lock is the one exception to "no
 * lock outside the mailbox": it is taken for a few comparisons, and for writing only when a log first writes to a
 * segment, is cut, made or dropped, or a segment is added. */
#pragma once

#include <glib.h>
#include <rocksdb/c.h>

#include "storage/rocks/log_store.h"

G_BEGIN_DECLS

/* A time segment. Reference-counted: read sessions hold it, and its column family handle goes with the last. */
typedef struct {
  guint32 number;
  rocksdb_column_family_handle_t *cf;
  gint64 created_ms;
  gint64 bytes; /* written so far, roughly; the writer's */
} LogSegment;

/* @cf: taken over */
LogSegment *log_segment_new(guint32 number, rocksdb_column_family_handle_t *cf, gint64 created_ms);
LogSegment *log_segment_ref(LogSegment *segment);
void log_segment_unref(LogSegment *segment); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogSegment, log_segment_unref)

/* What a log has in one segment. */
typedef struct {
  LogSegment *segment;
  gint64 first_offset;
  gint64 max_timestamp_before; /* latest in older segments, or LOG_TIMESTAMP_NONE */
} LogSpan;

/* A log. Spans rise in segment and offset. */
typedef struct LogEntry LogEntry;
struct LogEntry {
  guint64 log_id;
  /* Under the lock. */
  LogSpan *spans;
  guint span_count;
  guint32 generation; /* rises when the log is cut: read sessions of older ones see what is gone */
  /* The writer thread's. */
  gint64 end_offset;
  gint64 max_timestamp_ms; /* or LOG_TIMESTAMP_NONE */
  gint64 unindexed_bytes;  /* since the last time index entry */
  gboolean damaged;        /* reported by recovery, and not cut since */
  guint64 bulk_group;      /* the last one (log_bulk.h) that wrote it since open, or 0 */
  const LogWrite *hot;     /* whose hot record waits in the present group */
  LogEntry *next_dirty;
};

typedef struct LogIndex LogIndex;

LogIndex *log_index_new(void);
void log_index_free(LogIndex *index); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogIndex, log_index_free)

/* ---- the writer thread (or the opening one, before there are others) ---- */

/* @segment: taken over; its number is above all others */
void log_index_add_segment(LogIndex *index, LogSegment *segment);
guint log_index_segment_count(LogIndex *index);
LogSegment *log_index_segment(LogIndex *index, guint i);                  /* borrowed */
LogSegment *log_index_segment_by_number(LogIndex *index, guint32 number); /* borrowed, or NULL */
/* The latest: what is written goes there. Borrowed. */
LogSegment *log_index_active(LogIndex *index);

/* The log, or NULL. Borrowed. */
LogEntry *log_index_get(LogIndex *index, guint64 log_id);
/* There must be none with this id. */
LogEntry *log_index_add(LogIndex *index, guint64 log_id, gint64 end_offset, gint64 max_timestamp_ms);
void log_index_remove(LogIndex *index, LogEntry *entry);
/* Recovery found damage in the log; cutting or removing it ends that. */
void log_index_mark_damaged(LogIndex *index, LogEntry *entry);
guint log_index_damaged_count(LogIndex *index);
/* All logs, ascending by id, of borrowed LogEntry; owned by the caller. */
GPtrArray *log_index_sorted(LogIndex *index);
guint64 log_index_count(LogIndex *index);

void log_index_add_span(LogIndex *index, LogEntry *entry, LogSegment *segment, gint64 first_offset,
                        gint64 max_timestamp_before);
/* Forget spans that begin at or behind @end_offset, and raise the generation. */
void log_index_cut(LogIndex *index, LogEntry *entry, gint64 end_offset);

/* ---- any thread ---- */

/* A segment of a log, to read in. */
typedef struct {
  LogSegment *segment; /* a reference of its own, or NULL: the log has nothing there */
  gboolean is_last;    /* the log had no later segment */
  guint32 generation;
} LogPlace;

void log_place_clear(LogPlace *place);

/* The segment that holds @offset, or would: the last that begins at or before it, else the first.
 * Returns FALSE when there is no such log. */
gboolean log_index_locate(LogIndex *index, guint64 log_id, gint64 offset, LogPlace *ret_place);
/* The log's next segment behind the one with @number. */
gboolean log_index_locate_next(LogIndex *index, guint64 log_id, guint32 number, LogPlace *ret_place);
/* The segment that holds the first batch with a timestamp at or after @timestamp_ms, or would. */
gboolean log_index_locate_time(LogIndex *index, guint64 log_id, gint64 timestamp_ms, LogPlace *ret_place);
/* The log is as it was when @generation was given. */
gboolean log_index_is_generation(LogIndex *index, guint64 log_id, guint32 generation);

G_END_DECLS
