/* A group: what a run of writes puts into RocksDB, in one WriteBatch that is written as a whole, so that batches, hot
 * records, spans and producers can't disagree. One group at a time, kept by the writer.
 *
 *   begin ──► add, add, ... ──► commit: RocksDB has it ──► begin ...
 *
 * A group goes one of two ways, chosen when it begins: all into the write-ahead log, or, when much waits, in bulk
 * (log_bulk.h). Owned by the writer's role. Failures end the process (rocks_die). */
#pragma once

#include <glib.h>

#include "storage/rocks/log_index.h"
#include "storage/rocks/log_store.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

typedef struct LogGroup LogGroup;

/* @db, @index: borrowed. @last_bulk_group: the catalog's (log_bulk.h), or 0 */
LogGroup *log_group_new(RocksDb *db, LogIndex *index, const LogStoreOptions *options, guint64 last_bulk_group);
/* NULL is fine. */
void log_group_free(LogGroup *group);

/* @waiting_bytes: of the writes that are there, these and those behind them */
void log_group_begin(LogGroup *group, gsize waiting_bytes);
/* Whether the write must be alone in its group, with nothing in front of it or behind. */
gboolean log_group_is_alone(const LogWrite *write);
void log_group_add(LogGroup *group, LogWrite *write);
gboolean log_group_is_full(const LogGroup *group);
/* Write it. Blocks. */
void log_group_commit(LogGroup *group);
/* RocksDB's sequence number behind the last group's write into the write-ahead log. Any thread. */
guint64 log_group_sequence(LogGroup *group);

/* Fills in its part. Any thread. */
void log_group_stats(LogGroup *group, LogStoreStats *stats);

G_END_DECLS
