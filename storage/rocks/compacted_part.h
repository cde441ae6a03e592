/* The column family `compacted`: what is left of the older part of compacted logs, under the keys of their batches, and
 * the notes of it in the catalog. All put what they do into @batch; the writer's. */
#pragma once

#include <glib.h>

#include "storage/rocks/log_index.h"
#include "storage/rocks/log_store.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

/* LOG_WRITE_COMPACT, but the hot record. @ret_note: as it is noted; for the index, once this is written */
void compacted_part_put(RocksDb *db, LogIndex *index, guint64 log_id, const LogCompacted *compacted,
                        rocksdb_writebatch_t *batch, CompactNote *ret_note);
/* The log is cut at @end_offset: what the part has at or behind goes. @ret_note: as in compacted_part_put */
void compacted_part_cut(RocksDb *db, LogIndex *index, const LogEntry *entry, gint64 end_offset,
                        rocksdb_writebatch_t *batch, CompactNote *ret_note);
/* All of a log, and its note. */
void compacted_part_drop(RocksDb *db, LogIndex *index, guint64 log_id, rocksdb_writebatch_t *batch);

/* Read and check the whole part, as its note says it is. @ret_good_end: the end of what is sound. @bytes: what was
 * read is added. Returns NULL or what is wrong. */
Failure *compacted_part_verify(RocksDb *db, LogIndex *index, const LogEntry *entry, gint64 *ret_good_end,
                               guint64 *bytes);

G_END_DECLS
