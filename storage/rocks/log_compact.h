/* One run of the cleaner over one log: reads what is new below a bound, notes each key's last offset, and hands out, a
 * chunk at a time, what is to take the place of what is there. docs/compaction.md and storage/log/compact.h explain.
 *
 *   map the keys of what is new ──► rewrite what was compacted before ──► move what is new behind it ─┬─► settle
 *            ▲                                                                                       │
 *            └──────────────────── the map was full: there is more ──────────────────────────────────┘
 *
 * The run reads through the store's readers, one read at a time, and has the owner of the log write (LOG_WRITE_COMPACT
 * needs its hot record). Each write leaves a log that is sound and says the same, so a run may end anywhere, by a crash
 * too, and the next one goes on from there.
 *
 * One loop's. */
#pragma once

#include <glib.h>

#include "services/base/loop.h"
#include "services/base/timers.h"
#include "storage/rocks/log_store.h"

G_BEGIN_DECLS

typedef struct LogCompaction LogCompaction;

typedef struct {
  guint64 log_id;
  gint64 start_offset; /* the log's start: what is below is gone */
  gint64 compacted_to; /* where the last run came to */
  gint64 end_offset;   /* at most up to here: the high watermark. The last batch below it stays where it is */
  gint64 before_ms;    /* batches that were appended then or later stay where they are, and all behind them */
  gint64 now_ms;       /* wall clock */
  gint64 delete_retention_ms;
  GArray *remembered; /* see LogCompactRules; taken */
  gsize map_bytes;
  gint64 bytes_per_second; /* read and written at most; 0: as fast as it goes */

  /* Have it written, then call log_compaction_written. @compacted: taken */
  void (*write)(LogCompaction *compaction, LogCompacted *compacted, gpointer data);
  /* The end: called once, not within a call of who runs it. @failure: NULL; borrowed; CORRUPT_LOG when a read met
   * damage; CANCELLED when it was cancelled or a write was refused. It may be freed here. */
  void (*done)(LogCompaction *compaction, const Failure *failure, gpointer data);
  gpointer data;
} LogCompactionOptions;

/* Start a run. @options: copied. @store, @loop, @timers: borrowed. On the loop. */
LogCompaction *log_compaction_new(LogStore *store, Loop *loop, Timers *timers, const LogCompactionOptions *options);
/* The write that was handed out is done, or was refused: the log is not what it was any more. On the loop; within
 * `write` too. */
void log_compaction_written(LogCompaction *compaction, gboolean accepted);
/* End it soon: done still comes. */
void log_compaction_cancel(LogCompaction *compaction);
/* Only when it is done. NULL is fine. */
void log_compaction_free(LogCompaction *compaction);

/* What the run read and wrote so far. */
guint64 log_compaction_bytes(const LogCompaction *compaction);

G_END_DECLS
