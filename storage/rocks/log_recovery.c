/* What is found at open: see log_recovery.h.
 *
 * RocksDB recovers whole WriteBatches in order. So a log whose hot record and batches disagree, or whose checksums
 * fail, was damaged below RocksDB or by what its recovery mode lets pass; it is never a torn write of ours, and is
 * never mended silently: the log is reported, with the good part in front of the damage. */
#include "storage/rocks/log_recovery.h"

#include <string.h>

#include "storage/log/key.h"
#include "storage/rocks/catalog.h"
#include "storage/rocks/compacted_part.h"
#include "storage/rocks/log_cursor.h"

/* ---- damage ---- */

static void damage_free(gpointer data) {
  LogDamage *damage = data;
  failure_free(damage->failure);
  g_free(damage);
}

GHashTable *log_damages_new(void) {
  return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, damage_free);
}

/* The first damage of a log is the one that counts. @failure is taken over. */
static void note_damage(GHashTable *damages, guint64 log_id, gint64 good_end, Failure *failure) {
  if (g_hash_table_contains(damages, &log_id)) {
    failure_free(failure);
    return;
  }
  LogDamage *damage = g_new0(LogDamage, 1);
  *damage = (LogDamage){.failure = failure, .good_end = good_end};
  g_hash_table_insert(damages, g_memdup2(&log_id, sizeof log_id), damage);
}

/* ---- walking a column family ---- */

typedef Failure *(*EntryFunc)(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len, gpointer data);

static Failure *for_each(RocksDb *db, rocksdb_column_family_handle_t *cf, const char *what, EntryFunc func,
                         gpointer data) {
  Failure *failure = NULL;
  rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(db->db, db->read_options, cf);
  for (rocksdb_iter_seek_to_first(iterator); !failure && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
    size_t key_len, value_len;
    const char *key = rocksdb_iter_key(iterator, &key_len);
    const char *value = rocksdb_iter_value(iterator, &value_len);
    failure = func((const guint8 *)key, key_len, (const guint8 *)value, value_len, data);
  }
  char *error = NULL;
  rocksdb_iter_get_error(iterator, &error);
  rocksdb_iter_destroy(iterator);
  if (error && !failure)
    failure = rocks_failure(FAILURE(CORRUPT_LOG), error, "the store's %s can't be read", what);
  else
    rocksdb_free(error);
  return failure;
}

/* ---- loading ---- */

typedef struct {
  LogIndex *index;
  GHashTable *damages;
  GHashTable *dropped; /* set of log ids */
  guint64 bulk_group;
} Loading;

static Failure *load_hot(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len, gpointer data) {
  Loading *loading = data;
  guint64 log_id;
  Failure *failure = log_hot_key_decode(key, key_len, &log_id);
  if (failure)
    return failure;
  LogHot hot;
  failure = log_hot_decode(value, value_len, log_id, &hot);
  if (failure && failure_reason(failure) == FAILURE(UNSUPPORTED))
    return failure;
  if (failure) {
    log_index_mark_damaged(loading->index, log_index_add(loading->index, log_id, NULL));
    note_damage(loading->damages, log_id, 0, failure);
    return NULL;
  }
  log_index_set_compacted(loading->index, log_index_add(loading->index, log_id, &hot), hot.compacted_to_offset, NULL);
  log_hot_clear(&hot);
  return NULL;
}

/* A span of a log that is there. */
static Failure *load_span(Loading *loading, const CatalogEntry *entry, LogSegment *segment) {
  LogEntry *log = log_index_get(loading->index, entry->log_id);
  if (!log && g_hash_table_contains(loading->dropped, &entry->log_id))
    return NULL; /* log_segments_clean forgets it */
  if (!log)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "log %" G_GUINT64_FORMAT " has data in segment %u, but its hot record is missing", entry->log_id,
                       entry->segment);
  const LogSpan *last = log->span_count ? &log->spans[log->span_count - 1] : NULL;
  if (last && last->first_offset >= entry->first_offset)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "the catalog has log %" G_GUINT64_FORMAT " begin at offset %" G_GINT64_FORMAT
                       " in segment %u, but at %" G_GINT64_FORMAT " in an older one",
                       entry->log_id, entry->first_offset, entry->segment, last->first_offset);
  const LogSpan span = {.segment = segment,
                        .first_offset = entry->first_offset,
                        .max_timestamp_before = entry->max_timestamp_before,
                        .bytes_before = MAX(entry->bytes, 0)};
  log_index_add_span(loading->index, log, &span);
  return NULL;
}

static Failure *load_note(Loading *loading, const guint8 *key, gsize key_len, const guint8 *value, gsize value_len) {
  guint64 log_id = 0;
  CompactNote note;
  Failure *failure = compact_note_decode(key, key_len, value, value_len, &log_id, &note);
  LogEntry *log = failure ? NULL : log_index_get(loading->index, log_id);
  if (log)
    log_index_load_note(loading->index, log, &note);
  return failure;
}

/* The last bulk group and dropped logs come first, then spans in order of their segments, as the index wants them. */
static Failure *load_catalog(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len, gpointer data) {
  Loading *loading = data;
  if (key_len > 0 && key[0] == COMPACT_NOTE_KIND)
    return load_note(loading, key, key_len, value, value_len);
  CatalogEntry entry;
  Failure *failure = catalog_decode(key, key_len, value, value_len, &entry);
  if (failure)
    return failure;
  if (entry.kind == CATALOG_BULK) {
    loading->bulk_group = entry.group;
    return NULL;
  }
  if (entry.kind == CATALOG_DROPPED) {
    g_hash_table_add(loading->dropped, g_memdup2(&entry.log_id, sizeof entry.log_id));
    return NULL;
  }
  LogSegment *segment = log_index_segment_by_number(loading->index, entry.segment);
  if (entry.kind == CATALOG_GONE) {
    if (segment)
      segment->gone = TRUE;
    return NULL;
  }
  if (!segment)
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog names segment %u, which is missing", entry.segment);
  if (entry.kind == CATALOG_SPAN)
    return load_span(loading, &entry, segment);
  segment->created_ms = entry.time_ms;
  if (entry.bytes != CATALOG_BYTES_UNKNOWN)
    atomic_store(&segment->batch_bytes, entry.bytes);
  return NULL;
}

/* What the logs need of each segment, and when it was closed. The one that was written last has, as far as is known,
 * what is needed of it. */
static void count_segments(LogIndex *index) {
  g_autoptr(GPtrArray) entries = log_index_sorted(index);
  for (guint i = 0; i < entries->len; i++) {
    const LogEntry *entry = g_ptr_array_index(entries, i);
    for (guint k = 0; k < entry->span_count; k++)
      atomic_fetch_add(&entry->spans[k].segment->needed_bytes, log_index_span_bytes(entry, k));
  }
  for (guint i = 0; i < log_index_segment_count(index); i++) {
    LogSegment *segment = log_index_segment(index, i);
    gint64 needed = atomic_load(&segment->needed_bytes);
    if (atomic_load(&segment->batch_bytes) == 0)
      atomic_store(&segment->batch_bytes, needed ? needed : segment->bytes);
    if (i + 1 < log_index_segment_count(index))
      atomic_store(&segment->closed_ms, log_index_segment(index, i + 1)->created_ms);
  }
}

/* Roughly: what a roll by size goes by. */
static gint64 segment_bytes(RocksDb *db, rocksdb_column_family_handle_t *cf) {
  uint64_t files = 0, memtables = 0;
  rocksdb_property_int_cf(db->db, cf, "rocksdb.live-sst-files-size", &files);
  rocksdb_property_int_cf(db->db, cf, "rocksdb.cur-size-all-mem-tables", &memtables);
  return (gint64)(files + (files || memtables > 4096 ? memtables : 0));
}

/* Only the last segment may lack its catalog entry: that goes with the first group that is written to it. */
static Failure *check_segments(LogIndex *index) {
  guint count = log_index_segment_count(index);
  for (guint i = 0; i + 1 < count; i++)
    if (!log_index_segment(index, i)->created_ms && !log_index_segment(index, i)->gone)
      return failure_new(FAILURE(CORRUPT_LOG), "segment %u is not in the catalog: synced data is missing",
                         log_index_segment(index, i)->number);
  return NULL;
}

Failure *log_recovery_load(RocksDb *db, const GArray *segments, LogIndex *index, GHashTable *damages,
                           guint64 *ret_bulk_group) {
  /* The handle goes with the index, as those of the segments do. */
  log_index_add_compacted(index, log_segment_new(0, g_steal_pointer(&db->compacted_cf), 0));
  for (guint i = 0; i < segments->len; i++) {
    const RocksSegmentFound *found = &g_array_index(segments, RocksSegmentFound, i);
    LogSegment *segment = log_segment_new(found->number, found->cf, 0);
    segment->bytes = segment_bytes(db, found->cf);
    log_index_add_segment(index, segment);
  }
  g_autoptr(GHashTable) dropped = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  Loading loading = {.index = index, .damages = damages, .dropped = dropped};
  Failure *failure = for_each(db, db->hot_cf, "hot records", load_hot, &loading);
  if (!failure)
    failure = for_each(db, db->catalog_cf, "catalog", load_catalog, &loading);
  *ret_bulk_group = loading.bulk_group;
  if (!failure)
    failure = check_segments(index);
  if (!failure)
    count_segments(index);
  return failure;
}

/* ---- verifying ---- */

/* Check the batches of one log in one segment. @end: the end of what was checked before, moved on; @is_first: of what
 * needs no check, and the batch that holds it may begin before. Returns NULL or what is wrong. */
static Failure *verify_span(RocksDb *db, const LogEntry *entry, const LogSpan *span, gboolean is_first, gint64 *end,
                            guint64 *bytes) {
  g_autoptr(LogCursor) cursor = log_cursor_new(db, span->segment, LOG_KEY_BATCH, entry->log_id);
  if (is_first)
    log_cursor_seek_holding(cursor, *end);
  else
    log_cursor_seek(cursor, 0);
  gint64 base;
  for (; log_cursor_offset(cursor, &base); log_cursor_next(cursor)) {
    if (base < *end && !is_first)
      return failure_new(FAILURE(CORRUPT_LOG),
                         "log %" G_GUINT64_FORMAT " holds a batch at offset %" G_GINT64_FORMAT
                         ", inside of one that ends at %" G_GINT64_FORMAT,
                         entry->log_id, base, *end);
    g_auto(LogBatch) batch = LOG_BATCH_INIT;
    *bytes += log_cursor_value_bytes(cursor);
    Failure *failure = log_cursor_batch(cursor, &batch);
    if (failure)
      return failure;
    *end = log_batch_next_offset(&batch);
    is_first = FALSE;
  }
  return log_cursor_check(cursor);
}

/* Note that a log is damaged, and good up to @good_end. @failure: taken */
static void verify_failed(LogIndex *index, LogEntry *entry, gint64 good_end, Failure *failure, GHashTable *damages) {
  note_damage(damages, entry->log_id, MIN(good_end, entry->end_offset), failure);
  entry->end_offset = MIN(good_end, entry->end_offset);
  log_index_mark_damaged(index, entry);
}

/* Check a log's compacted part, if it was changed since @first_segment was made. */
static void verify_part(RocksDb *db, LogIndex *index, LogEntry *entry, guint32 first_segment, GHashTable *damages,
                        guint64 *bytes) {
  if (entry->compacted_to == 0 || entry->note.segment < first_segment || entry->damaged)
    return;
  gint64 good_end = 0;
  Failure *failure = compacted_part_verify(db, index, entry, &good_end, bytes);
  if (failure)
    verify_failed(index, entry, good_end, failure, damages);
}

/* Check a log from @first_segment on, and that it ends where its hot record says. */
static void verify_log(RocksDb *db, LogIndex *index, LogEntry *entry, guint32 first_segment, GHashTable *damages,
                       guint64 *bytes) {
  guint first = entry->span_count;
  while (first > 0 && entry->spans[first - 1].segment->number >= first_segment)
    first--;
  if (first == entry->span_count || entry->damaged)
    return;
  gint64 end = MAX(entry->spans[first].first_offset, entry->needed_from);
  Failure *failure = NULL;
  for (guint i = first; i < entry->span_count && !failure; i++)
    failure = verify_span(db, entry, &entry->spans[i], i == first, &end, bytes);
  if (!failure && end != entry->end_offset)
    failure = failure_new(FAILURE(CORRUPT_LOG),
                          "log %" G_GUINT64_FORMAT " ends at offset %" G_GINT64_FORMAT
                          ", though its hot record says %" G_GINT64_FORMAT ": batches are missing",
                          entry->log_id, end, entry->end_offset);
  if (failure)
    verify_failed(index, entry, end, failure, damages);
}

void log_recovery_verify(RocksDb *db, LogIndex *index, guint32 first_segment, GHashTable *damages, guint64 *ret_bytes) {
  g_autoptr(GPtrArray) entries = log_index_sorted(index); /* in key order: files are read forward */
  *ret_bytes = 0;
  for (guint i = 0; i < entries->len; i++) {
    verify_part(db, index, g_ptr_array_index(entries, i), first_segment, damages, ret_bytes);
    verify_log(db, index, g_ptr_array_index(entries, i), first_segment, damages, ret_bytes);
  }
}

/* ---- telling ---- */

typedef struct {
  GHashTable *damages;
  LogStoreRecoverFunc func;
  gpointer data;
} Telling;

static Failure *tell_log(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len, gpointer data) {
  Telling *telling = data;
  guint64 log_id;
  Failure *failure = log_hot_key_decode(key, key_len, &log_id);
  if (failure)
    return failure;
  const LogDamage *damage = g_hash_table_lookup(telling->damages, &log_id);
  LogHot hot;
  failure = log_hot_decode(value, value_len, log_id, &hot);
  if (failure && !damage)
    return failure;
  if (failure)
    log_hot_init(&hot);
  failure_free(failure);
  if (damage)
    log_hot_cut(&hot, damage->good_end);
  telling->func(log_id, &hot, damage ? damage->failure : NULL, telling->data);
  log_hot_clear(&hot);
  return NULL;
}

Failure *log_recovery_tell(RocksDb *db, GHashTable *damages, LogStoreRecoverFunc func, gpointer data) {
  Telling telling = {.damages = damages, .func = func, .data = data};
  return for_each(db, db->hot_cf, "hot records", tell_log, &telling);
}
