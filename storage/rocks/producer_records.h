/* The column family `producers`: what each log remembers of its producers (storage/log/producers.h), changed in the
 * same WriteBatch as the log itself. */
#pragma once

#include <glib.h>

#include "storage/log/producers.h"
#include "storage/rocks/log_store.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

/* All put what they do into @batch. The writer thread's. */

/* Store a producer's record. Returns the bytes of it. */
gsize producer_records_put(RocksDb *db, guint64 log_id, gint64 producer_id, const guint8 *value, gsize len,
                           rocksdb_writebatch_t *batch);
void producer_records_forget(RocksDb *db, guint64 log_id, const gint64 *producer_ids, guint count,
                             rocksdb_writebatch_t *batch);
/* Forget all of a log. */
void producer_records_drop(RocksDb *db, guint64 log_id, rocksdb_writebatch_t *batch);
/* The log now ends at @end_offset: rewrite the producers whose batches were cut. All of the log's records must be in
 * RocksDB already, not in @batch. A record that can't be read goes: cutting is how a damaged log is mended. */
void producer_records_truncate(RocksDb *db, guint64 log_id, gint64 end_offset, rocksdb_writebatch_t *batch);

/* See log_store_recover_producers. Any thread, before writes begin. */
Failure *producer_records_tell(RocksDb *db, LogStoreProducerFunc func, gpointer data);

G_END_DECLS
