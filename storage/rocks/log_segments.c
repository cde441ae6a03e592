/* Time segments come and go: see log_segments.h.
 *
 * The order of a drop, each step durable before the next begins:
 *   1. hot records that need nothing of the segment, with the catalog's deletions of their spans (log_group.c)
 *   2. the catalog: the segment is no more, and is *gone*
 *   3. the column family
 *   4. the catalog forgets that it is gone; this one may be lost, and is done at open then
 *
 * Readers that stand in a segment hold its handle: its files go with the last of them. */
#include "storage/rocks/log_segments.h"

#include "storage/rocks/catalog.h"
#include "storage/rocks/compact_note.h"

static void put(RocksDb *db, const CatalogEntry *entry, rocksdb_writebatch_t *batch) {
  CatalogBytes bytes;
  catalog_encode(entry, &bytes);
  rocksdb_writebatch_put_cf(batch, db->catalog_cf, (const char *)bytes.key, bytes.key_len, (const char *)bytes.value,
                            bytes.value_len);
}

static void put_delete(RocksDb *db, const CatalogEntry *entry, rocksdb_writebatch_t *batch) {
  CatalogBytes bytes;
  catalog_encode(entry, &bytes);
  rocksdb_writebatch_delete_cf(batch, db->catalog_cf, (const char *)bytes.key, bytes.key_len);
}

static void write_batch(RocksDb *db, rocksdb_writebatch_t *batch) {
  char *error = NULL;
  rocksdb_write(db->db, db->write_options, batch, &error);
  rocks_check("noting segments", error);
  rocksdb_writebatch_clear(batch);
}

static void put_segment(RocksDb *db, const LogSegment *segment, gint64 bytes, rocksdb_writebatch_t *batch) {
  put(db,
      &(CatalogEntry){
          .kind = CATALOG_SEGMENT, .segment = segment->number, .time_ms = segment->created_ms, .bytes = bytes},
      batch);
}

/* ---- they come ---- */

void log_segments_add(RocksDb *db, LogIndex *index, guint32 number, gint64 created_ms) {
  log_index_add_segment(index, log_segment_new(number, rocks_db_create_segment(db, number), created_ms));
}

void log_segments_note_active(RocksDb *db, LogIndex *index) {
  LogSegment *active = log_index_active(index);
  if (active->created_ms)
    return;
  active->created_ms = g_get_real_time() / 1000;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  put_segment(db, active, CATALOG_BYTES_UNKNOWN, batch);
  write_batch(db, batch);
  rocksdb_writebatch_destroy(batch);
}

void log_segments_roll(RocksDb *db, LogIndex *index, gint64 now_ms) {
  LogSegment *old = log_index_active(index);
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  put_segment(db, old, atomic_load(&old->batch_bytes), batch);
  log_segments_add(db, index, old->number + 1, now_ms);
  put_segment(db, log_index_active(index), CATALOG_BYTES_UNKNOWN, batch);
  write_batch(db, batch);
  rocksdb_writebatch_destroy(batch);
  atomic_store(&old->closed_ms, now_ms);
  /* Its memtable would hold back write-ahead logs, and memory. */
  char *error = NULL;
  rocksdb_flush_cf(db->db, db->flush_no_wait, old->cf, &error);
  rocks_check("flushing a segment", error);
}

/* ---- they go ---- */

/* Closed segments that nobody needs, and those whose drop was interrupted: borrowed, from @index. */
static GPtrArray *find_unneeded(LogIndex *index) {
  GPtrArray *found = g_ptr_array_new();
  for (guint i = 0; i + 1 < log_index_segment_count(index); i++)
    if (log_index_segment(index, i)->log_count == 0)
      g_ptr_array_add(found, log_index_segment(index, i));
  return found;
}

static void put_gone(RocksDb *db, const LogSegment *segment, rocksdb_writebatch_t *batch) {
  guint8 start[CATALOG_KEY_BYTES_MAX], end[CATALOG_KEY_BYTES_MAX];
  catalog_span_range(segment->number, start, end);
  rocksdb_writebatch_delete_range_cf(batch, db->catalog_cf, (const char *)start, sizeof start, (const char *)end,
                                     sizeof end);
  put_delete(db, &(CatalogEntry){.kind = CATALOG_SEGMENT, .segment = segment->number}, batch);
  put(db, &(CatalogEntry){.kind = CATALOG_GONE, .segment = segment->number, .time_ms = g_get_real_time() / 1000},
      batch);
}

static void drop(RocksDb *db, LogIndex *index, LogSegment *segment) {
  char *error = NULL;
  /* A file that is being written meanwhile would be forgotten, and stay until the next open. */
  rocksdb_flush_cf(db->db, db->flush_wait, segment->cf, &error);
  rocks_check("flushing a segment that goes", error);
  rocksdb_drop_column_family(db->db, segment->cf, &error);
  rocks_check("dropping a segment", error);
  log_index_remove_segment(index, segment);
}

guint log_segments_drop_unneeded(RocksDb *db, LogIndex *index) {
  g_autoptr(GPtrArray) segments = find_unneeded(index);
  if (segments->len == 0)
    return 0;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  for (guint i = 0; i < segments->len; i++)
    put_gone(db, g_ptr_array_index(segments, i), batch);
  write_batch(db, batch);
  char *error = NULL;
  rocksdb_flush_wal(db->db, 1, &error);
  rocks_check("syncing the write-ahead log", error);
  for (guint i = 0; i < segments->len; i++) {
    LogSegment *segment = g_ptr_array_index(segments, i);
    put_delete(db, &(CatalogEntry){.kind = CATALOG_GONE, .segment = segment->number}, batch);
    drop(db, index, segment);
  }
  write_batch(db, batch);
  rocksdb_writebatch_destroy(batch);
  rocks_db_release_logs(db);
  return segments->len;
}

/* ---- at open ---- */

/* Entries of the catalog that are about nothing: of segments that are gone for good, and of dropped logs. */
static void put_leftovers(RocksDb *db, LogIndex *index, rocksdb_writebatch_t *batch) {
  rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(db->db, db->read_options, db->catalog_cf);
  for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
    size_t key_len, value_len;
    const char *key = rocksdb_iter_key(iterator, &key_len);
    const char *value = rocksdb_iter_value(iterator, &value_len);
    if (key_len > 0 && key[0] == COMPACT_NOTE_KIND)
      continue; /* goes with its log */
    CatalogEntry entry;
    g_autoptr(Failure) failure = catalog_decode((const guint8 *)key, key_len, (const guint8 *)value, value_len, &entry);
    INVARIANT(!failure, "the catalog was read before");
    gboolean of_dropped = entry.kind == CATALOG_SPAN && !log_index_get(index, entry.log_id);
    if (of_dropped || entry.kind == CATALOG_DROPPED || entry.kind == CATALOG_GONE)
      rocksdb_writebatch_delete_cf(batch, db->catalog_cf, key, key_len);
  }
  rocksdb_iter_destroy(iterator);
}

void log_segments_clean(RocksDb *db, LogIndex *index) {
  log_segments_drop_unneeded(db, index);
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  put_leftovers(db, index, batch);
  if (rocksdb_writebatch_count(batch) > 0)
    write_batch(db, batch);
  rocksdb_writebatch_destroy(batch);
}
