/* Cutting a log: what of it goes, in RocksDB, in the index and in its hot record. The writer thread's. */
#pragma once

#include <glib.h>

#include "storage/log/key.h"
#include "storage/rocks/log_index.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

/* Put a stamped batch of a log into @batch, in one segment. */
void log_batch_put(const LogBatch *log_batch, guint64 log_id, const LogSegment *segment, rocksdb_writebatch_t *batch);

/* Put into @batch what removes everything of a log at or behind @offset, and the rest of the batch that holds it,
 * unless that is one with gaps, which is cut in two; cut it in the index too. All of the log must be in RocksDB
 * already, not in @batch.
 *
 * Returns where the log ends now. */
gint64 log_truncate_put(RocksDb *db, LogIndex *index, LogEntry *entry, gint64 offset, rocksdb_writebatch_t *batch);

/* Put into @batch what removes the entries of one kind at or behind @from, of a log in one segment. */
void log_truncate_put_range(LogKeyKind kind, guint64 log_id, gint64 from, const LogSegment *segment,
                            rocksdb_writebatch_t *batch);

/* The hot record of a log that now ends at @end_offset.
 *
 * @hot, @len: what it was
 * @out: replaced */
void log_truncate_hot(const guint8 *hot, gsize len, guint64 log_id, gint64 end_offset, GByteArray *out);

G_END_DECLS
