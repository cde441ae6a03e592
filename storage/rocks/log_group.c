/* What a run of writes puts into RocksDB: see log_group.h.
 *
 * Invariants
 *   1. In a group, a log's hot record is put once: the last one, behind all its batches.
 *   2. A log's spans are those that its hot record needs (log_hot_needed_from): what it needs no more goes from catalog
 *      and index with the hot record that says so, in the same group.
 *   3. The next group begins when RocksDB has all of this one, and of a bulk group on disk what no log covers.
 *   4. All of a group goes to the segment that is active when it begins.
 *
 * Thread: the writer's role; the atomics are for whoever asks. */
#include "storage/rocks/log_group.h"

#include <stdatomic.h>

#include "storage/log/key.h"
#include "storage/rocks/catalog.h"
#include "storage/rocks/compacted_part.h"
#include "storage/rocks/log_bulk.h"
#include "storage/rocks/log_truncate.h"
#include "storage/rocks/producer_records.h"

struct LogGroup {
  RocksDb *db;
  LogIndex *index;
  gint64 time_index_bytes, bulk_bytes_min, group_bytes_max, write_buffer_bytes; /* as in LogStoreOptions */

  rocksdb_writebatch_t *batch; /* kept, so that its memory is */
  gsize bytes;                 /* what the group puts, in both ways */
  LogBulk *bulk;
  gboolean is_bulk; /* the group goes that way */
  LogEntry *dirty;  /* logs whose hot record waits */
  GByteArray *hot;  /* room for a cut hot record */

  _Atomic guint64 sequence;
  _Atomic guint64 write_bytes, groups, bulk_groups;
};

LogGroup *log_group_new(RocksDb *db, LogIndex *index, const LogStoreOptions *options, guint64 last_bulk_group) {
  LogGroup *group = g_new0(LogGroup, 1);
  group->db = db;
  group->index = index;
  group->time_index_bytes = options->time_index_bytes;
  group->bulk_bytes_min = options->bulk_bytes_min;
  group->group_bytes_max = options->group_bytes_max;
  group->write_buffer_bytes = options->write_buffer_bytes;
  group->batch = rocksdb_writebatch_create();
  group->hot = g_byte_array_new();
  group->bulk = log_bulk_new(db, last_bulk_group);
  group->sequence = rocksdb_get_latest_sequence_number(db->db);
  return group;
}

void log_group_free(LogGroup *group) {
  if (!group)
    return;
  rocksdb_writebatch_destroy(group->batch);
  log_bulk_free(group->bulk);
  g_byte_array_unref(group->hot);
  g_free(group);
}

guint64 log_group_sequence(LogGroup *group) {
  return atomic_load(&group->sequence);
}

/* ---- putting ---- */

/* Where batches and their index go; all else goes into @batch. */
static rocksdb_writebatch_t *data_batch(const LogGroup *group) {
  return group->is_bulk ? log_bulk_batch(group->bulk) : group->batch;
}

static void put(LogGroup *group, rocksdb_column_family_handle_t *cf, gconstpointer key, gsize key_len,
                gconstpointer value, gsize value_len) {
  rocksdb_writebatch_put_cf(group->batch, cf, key, key_len, value, value_len);
  group->bytes += key_len + value_len;
}

static void put_catalog(LogGroup *group, const CatalogEntry *entry) {
  CatalogBytes bytes;
  catalog_encode(entry, &bytes);
  put(group, group->db->catalog_cf, bytes.key, bytes.key_len, bytes.value, bytes.value_len);
}

static void put_hot(LogGroup *group, guint64 log_id, const guint8 *hot, gsize len) {
  guint8 key[LOG_HOT_KEY_BYTES];
  log_hot_key_encode(log_id, key);
  put(group, group->db->hot_cf, key, sizeof key, hot, len);
}

/* Put the hot records that wait: invariant 1. */
static void put_dirty(LogGroup *group) {
  while (group->dirty) {
    LogEntry *entry = group->dirty;
    group->dirty = entry->next_dirty;
    put_hot(group, entry->log_id, entry->hot->hot, entry->hot->hot_len);
    entry->hot = NULL;
    entry->next_dirty = NULL;
  }
}

/* Put what makes the catalog forget the spans that are not needed from @needed_from on. Returns how many. */
static guint put_unneeded(LogGroup *group, const LogEntry *entry, gint64 needed_from) {
  guint count = log_index_unneeded_spans(entry, needed_from);
  for (guint i = 0; i < count; i++) {
    CatalogBytes bytes;
    catalog_encode(
        &(CatalogEntry){.kind = CATALOG_SPAN, .segment = entry->spans[i].segment->number, .log_id = entry->log_id},
        &bytes);
    rocksdb_writebatch_delete_cf(group->batch, group->db->catalog_cf, (const char *)bytes.key, bytes.key_len);
    group->bytes += bytes.key_len;
  }
  return count;
}

/* The log's hot record is going to be this: what it needs no more of the segments goes (invariant 2). */
static void note_needs(LogGroup *group, LogEntry *entry, const guint8 *hot, gsize len) {
  gint64 appended_bytes;
  entry->needed_from = log_hot_peek_needed_from(hot, len, &appended_bytes);
  guint count = put_unneeded(group, entry, entry->needed_from);
  if (count > 0)
    log_index_drop_spans(group->index, entry, count);
  entry->appended_bytes = appended_bytes;
}

static void note_hot(LogGroup *group, LogEntry *entry, const LogWrite *write) {
  note_needs(group, entry, write->hot, write->hot_len);
  if (!entry->hot) {
    entry->next_dirty = group->dirty;
    group->dirty = entry;
  }
  entry->hot = write;
}

/* What was put so far. */
static void write_batch(LogGroup *group) {
  if (rocksdb_writebatch_count(group->batch) == 0)
    return;
  char *error = NULL;
  rocksdb_write(group->db->db, group->db->write_options, group->batch, &error);
  rocks_check("writing", error);
  rocksdb_writebatch_clear(group->batch);
  atomic_store(&group->sequence, rocksdb_get_latest_sequence_number(group->db->db));
  atomic_fetch_add_explicit(&group->groups, 1, memory_order_relaxed);
}

/* ---- the kinds of writes ---- */

static LogEntry *get_log(LogGroup *group, const LogWrite *write) {
  LogEntry *entry = log_index_get(group->index, write->log_id);
  INVARIANT(entry, "a log is made before it is written");
  return entry;
}

static void add_create(LogGroup *group, LogWrite *write) {
  LogHot hot;
  const Failure *failure = log_hot_decode(write->hot, write->hot_len, write->log_id, &hot);
  INVARIANT(!failure, "a new log comes with a hot record that can be read");
  log_index_add(group->index, write->log_id, &hot);
  put_hot(group, write->log_id, write->hot, write->hot_len);
  log_hot_clear(&hot);
}

/* The time index: what finds an offset by time without reading the log. */
static void index_time(LogGroup *group, LogEntry *entry, const LogSegment *segment, const LogBatch *batch) {
  entry->unindexed_bytes += (gint64)log_batch_stored_bytes(batch);
  if (entry->unindexed_bytes < group->time_index_bytes)
    return;
  guint8 key[LOG_KEY_BYTES], value[LOG_TIME_VALUE_BYTES];
  log_key_encode(LOG_KEY_TIME, entry->log_id, batch->base_offset, key);
  log_time_value_encode(entry->log_id, batch->base_offset, entry->max_timestamp_ms, value);
  rocksdb_writebatch_put_cf(data_batch(group), segment->cf, (const char *)key, sizeof key, (const char *)value,
                            sizeof value);
  group->bytes += sizeof key + sizeof value;
  entry->unindexed_bytes = 0;
}

/* The log writes to that segment for the first time. */
static void begin_span(LogGroup *group, LogEntry *entry, LogSegment *segment, gint64 first_offset) {
  const LogSpan span = {.segment = segment,
                        .first_offset = first_offset,
                        .max_timestamp_before = entry->max_timestamp_ms,
                        .bytes_before = entry->appended_bytes};
  put_catalog(group, &(CatalogEntry){.kind = CATALOG_SPAN,
                                     .segment = segment->number,
                                     .log_id = entry->log_id,
                                     .first_offset = first_offset,
                                     .max_timestamp_before = span.max_timestamp_before,
                                     .bytes = span.bytes_before});
  log_index_add_span(group->index, entry, &span);
}

static void put_data(LogGroup *group, const LogEntry *entry, LogSegment *segment, const LogBatch *batch) {
  log_batch_put(batch, entry->log_id, segment, data_batch(group));
  gsize stored_bytes = log_batch_stored_bytes(batch);
  group->bytes += LOG_KEY_BYTES + stored_bytes;
  atomic_fetch_add_explicit(&segment->batch_bytes, (gint64)stored_bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&segment->needed_bytes, (gint64)stored_bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&group->write_bytes, log_batch_payload_bytes(batch), memory_order_relaxed);
}

static void add_append(LogGroup *group, LogWrite *write) {
  LogEntry *entry = get_log(group, write);
  const LogBatch *batch = write->batch;
  INVARIANT(batch->base_offset >= entry->end_offset, "a batch goes to the end of its log");
  INVARIANT(!entry->damaged, "a damaged log is cut before it is written");
  LogSegment *segment = log_index_active(group->index);
  if (entry->span_count == 0 || entry->spans[entry->span_count - 1].segment != segment)
    begin_span(group, entry, segment, batch->base_offset);
  if (group->is_bulk)
    log_bulk_mark(group->bulk, entry, segment, batch->base_offset);
  put_data(group, entry, segment, batch);
  entry->end_offset = log_batch_next_offset(batch);
  entry->max_timestamp_ms = MAX(entry->max_timestamp_ms, batch->max_timestamp_ms);
  index_time(group, entry, segment, batch);
  if (write->producer)
    group->bytes += producer_records_put(group->db, entry->log_id, batch->producer_id, write->producer,
                                         write->producer_len, group->batch);
  if (group->is_bulk)
    log_bulk_write_if_full(group->bulk);
  note_hot(group, entry, write);
}

/* Looks at what is in RocksDB: so the group before must be. */
static void add_truncate(LogGroup *group, LogWrite *write) {
  LogEntry *entry = get_log(group, write);
  write->ret_end_offset = log_truncate_put(group->db, group->index, entry, write->truncate_offset, group->batch);
  log_truncate_hot(write->hot, write->hot_len, write->log_id, write->ret_end_offset, group->hot);
  put_hot(group, write->log_id, group->hot->data, group->hot->len);
  note_needs(group, entry, group->hot->data, group->hot->len);
  producer_records_truncate(group->db, write->log_id, write->ret_end_offset, group->batch);
}

/* In RocksDB before the index says so: who looks the log up from then on finds all of it there. */
static void add_compact(LogGroup *group, LogWrite *write) {
  LogEntry *entry = get_log(group, write);
  CompactNote note;
  INVARIANT(!entry->damaged, "a damaged log is cut before it is written");
  compacted_part_put(group->db, group->index, write->log_id, write->compacted, group->batch, &note);
  put_hot(group, write->log_id, write->hot, write->hot_len);
  gint64 needed_from = log_hot_peek_needed_from(write->hot, write->hot_len, NULL);
  guint unneeded = put_unneeded(group, entry, needed_from);
  write_batch(group);
  entry->needed_from = needed_from;
  log_index_set_compacted(group->index, entry, write->compacted->compacted_to, &note);
  if (unneeded > 0)
    log_index_drop_spans(group->index, entry, unneeded);
}

static void add_forget(LogGroup *group, LogWrite *write) {
  get_log(group, write);
  producer_records_forget(group->db, write->log_id, write->producer_ids, write->producer_count, group->batch);
  group->bytes += (gsize)write->producer_count * LOG_PRODUCER_KEY_BYTES;
}

/* Its bytes are hidden too: the log may come back to this broker, and begins anew then. */
static void add_drop(LogGroup *group, LogWrite *write) {
  LogEntry *entry = get_log(group, write);
  guint8 key[LOG_HOT_KEY_BYTES];
  log_hot_key_encode(write->log_id, key);
  rocksdb_writebatch_delete_cf(group->batch, group->db->hot_cf, (const char *)key, sizeof key);
  log_truncate_put(group->db, group->index, entry, 0, group->batch);
  /* Here it may have something that it needed no more: in older segments that is of no account. */
  const LogSegment *active = log_index_active(group->index);
  log_truncate_put_range(LOG_KEY_BATCH, write->log_id, 0, active, group->batch);
  log_truncate_put_range(LOG_KEY_TIME, write->log_id, 0, active, group->batch);
  producer_records_drop(group->db, write->log_id, group->batch);
  compacted_part_drop(group->db, group->index, write->log_id, group->batch);
  log_index_remove(group->index, entry);
}

/* ---- a group ---- */

void log_group_begin(LogGroup *group, gsize waiting_bytes) {
  group->is_bulk = waiting_bytes >= (gsize)group->bulk_bytes_min;
  if (group->is_bulk)
    log_bulk_begin(group->bulk);
}

gboolean log_group_is_full(const LogGroup *group) {
  return group->bytes >= (gsize)(group->is_bulk ? group->write_buffer_bytes : group->group_bytes_max);
}

/* These need the hot records of those in front of them out of the way, and look at what is in RocksDB. */
gboolean log_group_is_alone(const LogWrite *write) {
  return write->kind == LOG_WRITE_TRUNCATE || write->kind == LOG_WRITE_COMPACT || write->kind == LOG_WRITE_DROP;
}

void log_group_add(LogGroup *group, LogWrite *write) {
  switch (write->kind) {
  case LOG_WRITE_CREATE:
    add_create(group, write);
    break;
  case LOG_WRITE_APPEND:
    add_append(group, write);
    break;
  case LOG_WRITE_TRUNCATE:
    add_truncate(group, write);
    break;
  case LOG_WRITE_COMPACT:
    add_compact(group, write);
    break;
  case LOG_WRITE_PUT_HOT:
    note_hot(group, get_log(group, write), write);
    break;
  case LOG_WRITE_FORGET:
    add_forget(group, write);
    break;
  case LOG_WRITE_DROP:
    add_drop(group, write);
    break;
  }
}

void log_group_commit(LogGroup *group) {
  put_dirty(group);
  if (group->is_bulk) /* or what is put now would point to batches that a power cut takes */
    log_bulk_flush(group->bulk, log_index_active(group->index), group->batch);
  write_batch(group);
  if (group->is_bulk) {
    log_bulk_end(group->bulk);
    atomic_fetch_add_explicit(&group->bulk_groups, 1, memory_order_relaxed);
  }
  group->is_bulk = FALSE;
  log_index_active(group->index)->bytes += (gint64)group->bytes;
  group->bytes = 0;
}

void log_group_stats(LogGroup *group, LogStoreStats *stats) {
  stats->write_bytes = atomic_load_explicit(&group->write_bytes, memory_order_relaxed);
  stats->groups = atomic_load_explicit(&group->groups, memory_order_relaxed);
  stats->bulk_groups = atomic_load_explicit(&group->bulk_groups, memory_order_relaxed);
}
