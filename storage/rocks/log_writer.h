/* The two storage threads, each writer or syncer as it is free: the writer puts everything that waits into one unsynced
 * WriteBatch, the syncer syncs the write-ahead log in a loop and answers all that was written before each sync began
 * (docs/decisions/0007-group-commit.md). When much waits, batches go to disk without that log (log_bulk.h). Nothing
 * here fails: see rocks_die. */
#pragma once

#include <glib.h>

#include "storage/rocks/folder.h"
#include "storage/rocks/frontier.h"
#include "storage/rocks/log_index.h"
#include "storage/rocks/log_store.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

typedef struct LogWriter LogWriter;

/* Start the threads. @db, @index and @folder are borrowed for the writer's life.
 *
 * @frontier: the last note: while damaged logs are in the index, its segment stays, so that a scan sees them again
 * @last_bulk_group: the catalog's (log_bulk.h), or 0 */
LogWriter *log_writer_new(RocksDb *db, LogIndex *index, RocksFolder *folder, const LogStoreOptions *options,
                          const RocksFrontier *frontier, guint64 last_bulk_group);
/* See log_store_submit. Any thread. */
gboolean log_writer_submit(LogWriter *writer, LogWrite *write);
/* See log_store_tidy. Any thread. */
void log_writer_tidy(LogWriter *writer, LogRoll bounds);
/* Carry out and sync all that was submitted, end the threads. */
void log_writer_stop(LogWriter *writer);
/* The note to write at the end. Only of a stopped writer. */
RocksFrontier log_writer_frontier(LogWriter *writer);
/* Stopped, or NULL. */
void log_writer_free(LogWriter *writer);

/* Fills in the writer's part. Any thread. */
void log_writer_stats(LogWriter *writer, LogStoreStats *stats);

G_END_DECLS
