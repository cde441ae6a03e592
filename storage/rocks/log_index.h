/* Which logs there are, and which time segments hold which of their offsets.
 *
 * The writer thread alone changes it; reader threads look up under a read lock. That lock is the one exception to "no
 * lock outside the mailbox": it is taken for a few comparisons, and for writing only when a log first writes to a
 * segment, is cut, made or dropped, or a segment is added. */
#pragma once

#include <glib.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "storage/rocks/compact_note.h"
#include "storage/rocks/log_store.h"

G_BEGIN_DECLS

/* A time segment. Reference-counted: read sessions hold it, and its column family handle goes with the last. */
typedef struct {
  guint32 number;
  rocksdb_column_family_handle_t *cf;
  gint64 created_ms;
  gint64 bytes;    /* written so far, roughly; the writer's */
  gboolean gone;   /* the catalog says that it was being dropped; at open */
  guint log_count; /* of those that need something in it; the writer's */
  /* Changed by the writer. */
  _Atomic gint64 closed_ms;    /* when the next one was made; 0: it is the active one */
  _Atomic gint64 batch_bytes;  /* stored bytes of the batches that were written to it */
  _Atomic gint64 needed_bytes; /* of those, what its logs still need, to the nearest span */
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
  gint64 bytes_before;         /* LogHot.appended_bytes in front of it */
} LogSpan;

/* A log. Spans rise in segment and offset; what lies below needed_from has none. */
typedef struct LogEntry LogEntry;
struct LogEntry {
  guint64 log_id;
  /* Under the lock. */
  LogSpan *spans;
  guint span_count;
  guint32 generation;  /* rises when the log is cut: read sessions of older ones see what is gone */
  gint64 compacted_to; /* what lies below is in the compacted part, whatever the segments still have of it */
  CompactNote note;    /* .. of that part */
  /* The writer thread's. */
  gint64 end_offset;
  gint64 needed_from;      /* log_hot_needed_from of its hot record */
  gint64 appended_bytes;   /* as its hot record says */
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
/* The compacted part of all logs: not a time segment, but read like one. @segment: taken over, once */
void log_index_add_compacted(LogIndex *index, LogSegment *segment);
LogSegment *log_index_compacted(LogIndex *index); /* borrowed */
/* A log's compacted part ends there now. @note: NULL: as before */
void log_index_set_compacted(LogIndex *index, LogEntry *entry, gint64 compacted_to, const CompactNote *note);
/* What was noted of it before this process; at open. */
void log_index_load_note(LogIndex *index, LogEntry *entry, const CompactNote *note);
guint log_index_segment_count(LogIndex *index);
LogSegment *log_index_segment(LogIndex *index, guint i);                  /* borrowed */
LogSegment *log_index_segment_by_number(LogIndex *index, guint32 number); /* borrowed, or NULL */
/* The latest: what is written goes there. Borrowed. */
LogSegment *log_index_active(LogIndex *index);

/* The log, or NULL. Borrowed. */
LogEntry *log_index_get(LogIndex *index, guint64 log_id);
/* There must be none with this id. @hot: NULL for one that can't be read */
LogEntry *log_index_add(LogIndex *index, guint64 log_id, const LogHot *hot);
void log_index_remove(LogIndex *index, LogEntry *entry);
/* Recovery found damage in the log; cutting or removing it ends that. */
void log_index_mark_damaged(LogIndex *index, LogEntry *entry);
guint log_index_damaged_count(LogIndex *index);
/* All logs, ascending by id, of borrowed LogEntry; owned by the caller. */
GPtrArray *log_index_sorted(LogIndex *index);
guint64 log_index_count(LogIndex *index);

/* @span: its segment is borrowed */
void log_index_add_span(LogIndex *index, LogEntry *entry, const LogSpan *span);
/* Stored bytes of what the log wrote to the segment of its span @i. */
gint64 log_index_span_bytes(const LogEntry *entry, guint i);
/* How many of the oldest spans are not needed from @needed_from on. */
guint log_index_unneeded_spans(const LogEntry *entry, gint64 needed_from);
/* Forget that many. */
void log_index_drop_spans(LogIndex *index, LogEntry *entry, guint count);
/* Take a segment out of which nobody needs anything; not the active one. */
void log_index_remove_segment(LogIndex *index, LogSegment *segment);
/* Some segment lost the last log that needed it, since this was asked last. */
gboolean log_index_take_unneeded(LogIndex *index);
/* Forget spans that begin at or behind @end_offset, and raise the generation. */
void log_index_cut(LogIndex *index, LogEntry *entry, gint64 end_offset);

/* ---- any thread ---- */

/* A segment of a log, to read in. */
typedef struct {
  LogSegment *segment; /* a reference of its own, or NULL: the log has nothing there */
  gboolean is_last;    /* the log had no later segment */
  gint64 from_offset;  /* what it has below is of no account */
  gint64 part_end; /* of the compacted part: where it ended; the log may have grown there since. 0: a time segment */
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
/* What a log has in its segments, as LogChunk, appended to @chunks. Returns FALSE when there is no such log. */
gboolean log_index_chunks(LogIndex *index, guint64 log_id, GArray *chunks);
/* All segments, as LogSegmentInfo, oldest first, appended to @infos. */
void log_index_infos(LogIndex *index, GArray *infos);
/* What is noted of the log's compacted part; all 0 for a log that is not there. */
void log_index_compact_note(LogIndex *index, guint64 log_id, CompactNote *ret_note);
/* Fills in what compaction did. */
void log_index_compact_stats(LogIndex *index, LogStoreStats *stats);
/* The log is as it was when @generation was given. */
gboolean log_index_is_generation(LogIndex *index, guint64 log_id, guint32 generation);

G_END_DECLS
