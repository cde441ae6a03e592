/* The bulk way of a group: when much waits, its batches go to disk once, as a file of level 0, and not into the
 * write-ahead log first (docs/decisions/0011-bulk-groups.md).
 *
 *   begin ─► batches, index entries, marks ─► memtable, no log ─► flush: durable ─► hot records, spans, producers and
 *            (log_bulk_mark, log_bulk_batch)  (write_if_full)    (log_bulk_flush)   the group's number: with the log
 *
 * The hot records follow when what they point to is durable: so a crash before leaves batches that no hot record knows,
 * which were never acknowledged. The first batch that a group writes of each log comes with a mark (bulk_mark.h); the
 * catalog has the number of the last group whose hot records were written. Marks of later groups say at open what to
 * cut (log_surplus.h); where no mark says so, a log that goes beyond its hot record is damage, as ever.
 *
 * One group at a time, and nothing else is written meanwhile: so no record of the write-ahead log lies behind batches
 * that are not durable. Owned by the writer thread. Failures end the process (rocks_die). */
#pragma once

#include <glib.h>
#include <rocksdb/c.h>

#include "storage/rocks/log_index.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

typedef struct LogBulk LogBulk;

/* @last_group: the catalog's, or 0. @db: borrowed */
LogBulk *log_bulk_new(RocksDb *db, guint64 last_group);
/* NULL is fine. No group may be open. */
void log_bulk_free(LogBulk *bulk);

void log_bulk_begin(LogBulk *bulk);
/* What goes into the segment is put in here. Borrowed. */
rocksdb_writebatch_t *log_bulk_batch(LogBulk *bulk);
/* Mark that the group writes the log, at its first batch: in front of it. */
void log_bulk_mark(LogBulk *bulk, LogEntry *entry, const LogSegment *segment, gint64 base_offset);
/* Hand what was put to RocksDB, when that is enough for one write: reads see it. */
void log_bulk_write_if_full(LogBulk *bulk);
/* Make the group's batches durable, and put its number into @meta, which is to be written next. Blocks. */
void log_bulk_flush(LogBulk *bulk, const LogSegment *segment, rocksdb_writebatch_t *meta);
/* The group's meta was written. */
void log_bulk_end(LogBulk *bulk);

G_END_DECLS
