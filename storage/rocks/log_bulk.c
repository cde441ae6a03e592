/* The bulk way of a group: see log_bulk.h.
 *
 * States: idle ──begin──► open ──flush──► flushed ──end──► idle
 *
 * Invariants
 *   1. A group's number is above all that the catalog ever had. One that was never settled gives its number away again,
 *      after recovery took its marks with what they mark.
 *   2. A mark is put in front of its log's batch, in the same WriteBatch: whichever part of a group reaches a file when
 *      the memtable fills in its middle has its marks with it.
 *   3. What a flush makes durable is all that was written to the segment before: also what the write-ahead log covers.
 *
 * Thread: the writer's. */
#include "storage/rocks/log_bulk.h"

#include "services/base/invariant.h"
#include "storage/rocks/bulk_mark.h"
#include "storage/rocks/catalog.h"

/* One WriteBatch: what it copies is still in the processor's cache when it goes into the memtable. */
#define PIECE_BYTES (1 << 20)
/* Each flush begins a new write-ahead log, which lives until the small column families are flushed too. */
#define GROUPS_BETWEEN_TIDIES 32

struct LogBulk {
  RocksDb *db;
  rocksdb_writeoptions_t *unlogged;
  rocksdb_writebatch_t *batch;
  guint64 group;       /* the last one begun */
  gboolean is_padded;  /* .. and one of its marks is: see bulk_mark.h */
  gboolean is_open;    /* .. and not ended */
  gboolean is_flushed; /* .. and durable */
  guint untidied;      /* groups since the small column families were flushed */
};

LogBulk *log_bulk_new(RocksDb *db, guint64 last_group) {
  LogBulk *bulk = g_new0(LogBulk, 1);
  bulk->db = db;
  bulk->group = last_group;
  bulk->unlogged = rocksdb_writeoptions_create();
  rocksdb_writeoptions_disable_WAL(bulk->unlogged, 1);
  bulk->batch = rocksdb_writebatch_create();
  return bulk;
}

void log_bulk_free(LogBulk *bulk) {
  if (!bulk)
    return;
  INVARIANT(!bulk->is_open, "a store closes when all groups are written");
  rocksdb_writebatch_destroy(bulk->batch);
  rocksdb_writeoptions_destroy(bulk->unlogged);
  g_free(bulk);
}

void log_bulk_begin(LogBulk *bulk) {
  INVARIANT(!bulk->is_open, "bulk groups come one at a time");
  bulk->group++;
  bulk->is_open = TRUE;
  bulk->is_flushed = FALSE;
  bulk->is_padded = FALSE;
}

rocksdb_writebatch_t *log_bulk_batch(LogBulk *bulk) {
  INVARIANT(bulk->is_open && !bulk->is_flushed, "batches are put before the flush");
  return bulk->batch;
}

void log_bulk_mark(LogBulk *bulk, LogEntry *entry, const LogSegment *segment, gint64 base_offset) {
  if (entry->bulk_group == bulk->group)
    return;
  entry->bulk_group = bulk->group;
  BulkMark mark = {.group = bulk->group, .log_id = entry->log_id, .first_offset = base_offset};
  guint8 key[BULK_MARK_KEY_BYTES], value[BULK_MARK_PADDED_BYTES];
  gsize value_bytes = bulk_mark_encode(&mark, !bulk->is_padded, key, value);
  bulk->is_padded = TRUE;
  rocksdb_writebatch_put_cf(log_bulk_batch(bulk), segment->cf, (const char *)key, sizeof key, (const char *)value,
                            value_bytes);
}

static void write_piece(LogBulk *bulk) {
  char *error = NULL;
  rocksdb_write(bulk->db->db, bulk->unlogged, bulk->batch, &error);
  rocks_check("writing in bulk", error);
  rocksdb_writebatch_clear(bulk->batch);
}

void log_bulk_write_if_full(LogBulk *bulk) {
  size_t bytes;
  rocksdb_writebatch_data(bulk->batch, &bytes);
  if (bytes >= PIECE_BYTES)
    write_piece(bulk);
}

void log_bulk_flush(LogBulk *bulk, const LogSegment *segment, rocksdb_writebatch_t *meta) {
  INVARIANT(bulk->is_open && !bulk->is_flushed, "a group is flushed once");
  if (rocksdb_writebatch_count(bulk->batch) > 0)
    write_piece(bulk);
  char *error = NULL;
  rocksdb_flush_cf(bulk->db->db, bulk->db->flush_wait, segment->cf, &error);
  rocks_check("flushing in bulk", error);
  bulk->is_flushed = TRUE;
  CatalogBytes bytes;
  catalog_encode(&(CatalogEntry){.kind = CATALOG_BULK, .group = bulk->group}, &bytes);
  rocksdb_writebatch_put_cf(meta, bulk->db->catalog_cf, (const char *)bytes.key, bytes.key_len,
                            (const char *)bytes.value, bytes.value_len);
}

void log_bulk_end(LogBulk *bulk) {
  INVARIANT(bulk->is_open && bulk->is_flushed, "a group ends when it is durable");
  bulk->is_open = FALSE;
  if (++bulk->untidied < GROUPS_BETWEEN_TIDIES)
    return;
  rocks_db_release_logs(bulk->db); /* each is small, but a restart opens them all */
  bulk->untidied = 0;
}
