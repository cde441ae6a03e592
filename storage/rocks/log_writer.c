/* The two storage threads: see log_writer.h.
 *
 *   shard loops ──submitted──► writer ──unsynced──► syncer ──► the loops that the writes name
 *
 * Writer and syncer are roles, of one thread at a time each. Who has written and finds nobody syncing syncs at once,
 * without waking anybody; what is submitted meanwhile wakes the other thread, which writes it beside the sync. Under
 * load each keeps its role.
 *
 * A write is in one place: the submitted list, the writer's present group, the unsynced list, a sync under way, or (its
 * last stage posted) back with its owner.
 *
 * Invariants
 *   1. A stage is posted only after RocksDB accepted the write, and SYNCED only after a sync that began later than
 * that.
 *   2. WRITTEN is posted before the write enters the unsynced list, so it arrives before SYNCED.
 *   3. in_flight and in_flight_bytes count writes from submit to their last stage; both are bounded.
 *   4. In a group, a log's hot record is put once: the last one, behind all its batches.
 *   5. A group goes one of two ways, chosen when it begins: all into the write-ahead log, or, when much waits, in bulk
 *      (log_bulk.h). The next one begins when RocksDB has all of it, and of a bulk group on disk what no log covers.
 *   6. A segment rolls between groups; so all of a log's data in a segment is there before its span in the next one is.
 *   7. No error is survived (rocks_die).
 *   8. Whoever leaves while there is something to do knows that the other thread is busy, and looks again.
 *
 * Threads: the mutex guards what is marked; the rest belongs to the role that is named. */
#include "storage/rocks/log_writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "services/base/cond.h"
#include "storage/log/key.h"
#include "storage/rocks/catalog.h"
#include "storage/rocks/log_bulk.h"
#include "storage/rocks/log_truncate.h"
#include "storage/rocks/producer_records.h"

/* What a write costs besides its bytes, in RocksDB's batch and here. */
#define WRITE_OVERHEAD_BYTES 256
/* The frontier note is refreshed this often while there are syncs: what a lost write-ahead log can hide. */
#define FRONTIER_EVERY_US ((gint64)10 * G_USEC_PER_SEC)

typedef struct {
  LogWrite *head, **tail;
} WriteList;

struct LogWriter {
  RocksDb *db;
  LogIndex *index;
  RocksFolder *folder;
  LogStoreOptions options; /* path is not kept */
  pthread_t threads[2];

  pthread_mutex_t mutex; /* guards all up to the next comment */
  pthread_cond_t work_cond;
  WriteList submitted, unsynced;
  guint in_flight;
  gint64 in_flight_bytes;
  gint64 sync_deadline_us; /* monotonic: sync at the latest then; 0: nothing asks */
  gboolean frontier_due;
  RocksFrontier frontier;    /* its segment: for the next note */
  gboolean writing, syncing; /* somebody has the role */
  gboolean stopping;

  /* The writer's. */
  rocksdb_writebatch_t *batch; /* kept, so that its memory is */
  gsize batch_bytes;           /* what the group puts, in both ways */
  gsize waiting_bytes;         /* of what was taken from @submitted and not added yet */
  WriteList group;             /* what is in @batch */
  LogBulk *bulk;
  gboolean is_bulk; /* the group goes that way */
  LogEntry *dirty;  /* logs whose hot record waits */
  GByteArray *hot;  /* room for a cut hot record */

  gint64 noted_us; /* the syncer's: when the frontier was noted */

  _Atomic guint64 logged_sequence; /* RocksDB's, behind the last write into its log: the next sync makes it durable */
  _Atomic guint64 writes, write_bytes, groups, bulk_groups, syncs, sync_us;
};

static void list_init(WriteList *list) {
  list->head = NULL;
  list->tail = &list->head;
}

static void list_push(WriteList *list, LogWrite *write) {
  write->next = NULL;
  *list->tail = write;
  list->tail = &write->next;
}

/* Move all to a list of its own. */
static LogWrite *list_take(WriteList *list) {
  LogWrite *head = list->head;
  list_init(list);
  return head;
}

/* ---- completions ---- */

static void written_run(LoopTask *task) {
  LogWrite *write = (LogWrite *)((char *)task - G_STRUCT_OFFSET(LogWrite, written_task));
  write->done(write, LOG_WRITE_WRITTEN);
}

static void synced_run(LoopTask *task) {
  LogWrite *write = (LogWrite *)((char *)task - G_STRUCT_OFFSET(LogWrite, synced_task));
  write->done(write, LOG_WRITE_SYNCED);
}

gboolean log_writer_submit(LogWriter *writer, LogWrite *write) {
  INVARIANT(write->wants & (LOG_WRITE_WRITTEN | LOG_WRITE_SYNCED), "who submits a write wants to hear of it");
  INVARIANT(write->kind != LOG_WRITE_APPEND || write->batch, "an append needs a batch");
  INVARIANT(write->kind == LOG_WRITE_DROP || write->kind == LOG_WRITE_FORGET || write->hot,
            "the hot record rides along");
  INVARIANT(write->kind != LOG_WRITE_APPEND || (write->batch->producer_id != 0) == (write->producer != NULL),
            "a producer's batch comes with what is remembered of it");
  write->charged_bytes = WRITE_OVERHEAD_BYTES + write->hot_len + write->producer_len +
                         (gsize)write->producer_count * LOG_PRODUCER_KEY_BYTES +
                         (write->batch ? log_batch_stored_bytes(write->batch) : 0);
  write->written_task.run = written_run;
  write->synced_task.run = synced_run;
  pthread_mutex_lock(&writer->mutex);
  /* One write of any size fits when nothing else is in flight: the bound is on what waits, not on a batch. */
  gboolean fits = writer->in_flight == 0 ||
                  (writer->in_flight < writer->options.writes_max &&
                   writer->in_flight_bytes + (gint64)write->charged_bytes <= writer->options.write_bytes_max);
  INVARIANT(!writer->stopping, "nothing is submitted to a store that closes");
  gboolean wake = FALSE;
  if (fits) {
    writer->in_flight++;
    writer->in_flight_bytes += (gint64)write->charged_bytes;
    gboolean was_empty = writer->submitted.head == NULL;
    list_push(&writer->submitted, write);
    wake = was_empty && !writer->writing;
  }
  pthread_mutex_unlock(&writer->mutex);
  if (wake)
    pthread_cond_signal(&writer->work_cond);
  return fits;
}

/* ---- a group ---- */

/* Where batches and their index go; all else goes into @batch. */
static rocksdb_writebatch_t *data_batch(const LogWriter *writer) {
  return writer->is_bulk ? log_bulk_batch(writer->bulk) : writer->batch;
}

static void put(LogWriter *writer, rocksdb_column_family_handle_t *cf, gconstpointer key, gsize key_len,
                gconstpointer value, gsize value_len) {
  rocksdb_writebatch_put_cf(writer->batch, cf, key, key_len, value, value_len);
  writer->batch_bytes += key_len + value_len;
}

static void put_catalog(LogWriter *writer, const CatalogEntry *entry) {
  CatalogBytes bytes;
  catalog_encode(entry, &bytes);
  put(writer, writer->db->catalog_cf, bytes.key, bytes.key_len, bytes.value, bytes.value_len);
}

static void put_hot(LogWriter *writer, guint64 log_id, const guint8 *hot, gsize len) {
  guint8 key[LOG_HOT_KEY_BYTES];
  log_hot_key_encode(log_id, key);
  put(writer, writer->db->hot_cf, key, sizeof key, hot, len);
}

/* Put the hot records that wait: invariant 4. */
static void put_dirty(LogWriter *writer) {
  while (writer->dirty) {
    LogEntry *entry = writer->dirty;
    writer->dirty = entry->next_dirty;
    put_hot(writer, entry->log_id, entry->hot->hot, entry->hot->hot_len);
    entry->hot = NULL;
    entry->next_dirty = NULL;
  }
}

static void note_hot(LogWriter *writer, LogEntry *entry, const LogWrite *write) {
  if (!entry->hot) {
    entry->next_dirty = writer->dirty;
    writer->dirty = entry;
  }
  entry->hot = write;
}

static void release(LogWriter *writer, guint count, gint64 bytes) {
  pthread_mutex_lock(&writer->mutex);
  writer->in_flight -= count;
  writer->in_flight_bytes -= bytes;
  pthread_mutex_unlock(&writer->mutex);
}

/* Hand writes on to the syncer, or ask it for a sync until @deadline_us (0: none). @more: this thread has more to
 * write, so another has to sync */
static void want_sync(LogWriter *writer, const WriteList *unsynced, gint64 deadline_us, gboolean more) {
  if (!unsynced->head && !deadline_us)
    return;
  pthread_mutex_lock(&writer->mutex);
  if (unsynced->head) {
    *writer->unsynced.tail = unsynced->head;
    writer->unsynced.tail = unsynced->tail;
  }
  if (deadline_us && (!writer->sync_deadline_us || deadline_us < writer->sync_deadline_us))
    writer->sync_deadline_us = deadline_us;
  if (more && !writer->syncing)
    pthread_cond_signal(&writer->work_cond);
  pthread_mutex_unlock(&writer->mutex);
}

/* Tell the owners of a group that was written, and hand on what waits for a sync. */
static void complete_group(LogWriter *writer, gint64 written_us, gboolean more) {
  gint64 deadline_us = 0, finished_bytes = 0;
  guint finished = 0;
  for (const LogWrite *write = writer->group.head; write; write = write->next) {
    if (write->wants & LOG_WRITE_SYNCED)
      continue;
    finished++;
    finished_bytes += (gint64)write->charged_bytes;
    if (write->sync_within_ms != LOG_SYNC_NEVER) {
      gint64 at_us = written_us + MAX(write->sync_within_ms, 0) * 1000;
      deadline_us = deadline_us ? MIN(deadline_us, at_us) : at_us;
    }
  }
  release(writer, finished, finished_bytes); /* before the owners hear of it: they may want the place for the next */
  WriteList unsynced;
  list_init(&unsynced);
  LogWrite *next;
  for (LogWrite *write = list_take(&writer->group); write; write = next) {
    next = write->next;
    gboolean sync_wanted = (write->wants & LOG_WRITE_SYNCED) != 0;
    if (write->wants & LOG_WRITE_WRITTEN) /* its last stage, unless a sync is wanted: then it is its owner's again */
      loop_post_completion(write->loop, &write->written_task);
    if (sync_wanted)
      list_push(&unsynced, write);
  }
  want_sync(writer, &unsynced, deadline_us, more);
}

static void write_batch(LogWriter *writer) {
  if (rocksdb_writebatch_count(writer->batch) == 0)
    return;
  char *error = NULL;
  rocksdb_write(writer->db->db, writer->db->write_options, writer->batch, &error);
  rocks_check("writing", error);
  rocksdb_writebatch_clear(writer->batch);
  atomic_store(&writer->logged_sequence, rocksdb_get_latest_sequence_number(writer->db->db));
  atomic_fetch_add_explicit(&writer->groups, 1, memory_order_relaxed);
}

/* @more: this thread has more to write */
static void commit_group(LogWriter *writer, gboolean more) {
  put_dirty(writer);
  if (writer->is_bulk) /* or what is put now would point to batches that a power cut takes */
    log_bulk_flush(writer->bulk, log_index_active(writer->index), writer->batch);
  write_batch(writer);
  if (writer->is_bulk) {
    log_bulk_end(writer->bulk);
    atomic_fetch_add_explicit(&writer->bulk_groups, 1, memory_order_relaxed);
  }
  writer->is_bulk = FALSE;
  log_index_active(writer->index)->bytes += (gint64)writer->batch_bytes;
  writer->batch_bytes = 0;
  complete_group(writer, g_get_monotonic_time(), more);
}

/* ---- segments ---- */

static void roll(LogWriter *writer) {
  LogSegment *old = log_index_active(writer->index);
  INVARIANT(writer->group.head == NULL, "a segment rolls between groups");
  guint32 number = old->number + 1;
  gint64 now_ms = g_get_real_time() / 1000;
  log_index_add_segment(writer->index, log_segment_new(number, rocks_db_create_segment(writer->db, number), now_ms));
  put_catalog(writer, &(CatalogEntry){.kind = CATALOG_SEGMENT, .segment = number, .time_ms = now_ms});
  /* Its memtable would hold back write-ahead logs, and memory. */
  char *error = NULL;
  rocksdb_flush_cf(writer->db->db, writer->db->flush_no_wait, old->cf, &error);
  rocks_check("flushing a segment", error);
  pthread_mutex_lock(&writer->mutex);
  if (log_index_damaged_count(writer->index) == 0)
    writer->frontier.segment = number;
  writer->frontier_due = TRUE;
  if (!writer->syncing)
    pthread_cond_signal(&writer->work_cond);
  pthread_mutex_unlock(&writer->mutex);
}

static void roll_if_due(LogWriter *writer) {
  const LogSegment *active = log_index_active(writer->index);
  if (active->bytes >= writer->options.segment_bytes_max ||
      (active->bytes > 0 && g_get_real_time() / 1000 - active->created_ms >= writer->options.segment_age_max_ms))
    roll(writer);
}

/* ---- the kinds of writes ---- */

static LogEntry *get_log(LogWriter *writer, const LogWrite *write) {
  LogEntry *entry = log_index_get(writer->index, write->log_id);
  INVARIANT(entry, "a log is made before it is written");
  return entry;
}

static void add_create(LogWriter *writer, LogWrite *write) {
  LogHot hot;
  const Failure *failure = log_hot_decode(write->hot, write->hot_len, write->log_id, &hot);
  INVARIANT(!failure, "a new log comes with a hot record that can be read");
  log_index_add(writer->index, write->log_id, hot.log_end_offset, hot.max_timestamp_ms);
  put_hot(writer, write->log_id, write->hot, write->hot_len);
  log_hot_clear(&hot);
}

/* The time index: what finds an offset by time without reading the log. */
static void index_time(LogWriter *writer, LogEntry *entry, const LogSegment *segment, const LogBatch *batch) {
  entry->unindexed_bytes += (gint64)log_batch_stored_bytes(batch);
  if (entry->unindexed_bytes < writer->options.time_index_bytes)
    return;
  guint8 key[LOG_KEY_BYTES], value[LOG_TIME_VALUE_BYTES];
  log_key_encode(LOG_KEY_TIME, entry->log_id, batch->base_offset, key);
  log_time_value_encode(entry->log_id, batch->base_offset, entry->max_timestamp_ms, value);
  rocksdb_writebatch_put_cf(data_batch(writer), segment->cf, (const char *)key, sizeof key, (const char *)value,
                            sizeof value);
  writer->batch_bytes += sizeof key + sizeof value;
  entry->unindexed_bytes = 0;
}

static void add_append(LogWriter *writer, LogWrite *write) {
  LogEntry *entry = get_log(writer, write);
  const LogBatch *batch = write->batch;
  INVARIANT(batch->base_offset >= entry->end_offset, "a batch goes to the end of its log");
  INVARIANT(!entry->damaged, "a damaged log is cut before it is written");
  LogSegment *segment = log_index_active(writer->index);
  if (entry->span_count == 0 || entry->spans[entry->span_count - 1].segment != segment) {
    put_catalog(writer, &(CatalogEntry){.kind = CATALOG_SPAN,
                                        .segment = segment->number,
                                        .log_id = entry->log_id,
                                        .first_offset = batch->base_offset,
                                        .max_timestamp_before = entry->max_timestamp_ms});
    log_index_add_span(writer->index, entry, segment, batch->base_offset, entry->max_timestamp_ms);
  }
  guint8 key[LOG_KEY_BYTES], header[LOG_STORED_HEADER_BYTES];
  log_key_encode(LOG_KEY_BATCH, entry->log_id, batch->base_offset, key);
  log_batch_stored_header(batch, entry->log_id, header);
  gsize payload_len;
  const char *payload = g_bytes_get_data(batch->records, &payload_len);
  const char *const keys[] = {(const char *)key}, *const values[] = {(const char *)header, payload};
  const size_t key_lens[] = {sizeof key}, value_lens[] = {sizeof header, payload_len};
  if (writer->is_bulk)
    log_bulk_mark(writer->bulk, entry, segment, batch->base_offset);
  rocksdb_writebatch_putv_cf(data_batch(writer), segment->cf, 1, keys, key_lens, 2, values, value_lens);
  writer->batch_bytes += sizeof key + sizeof header + payload_len;
  entry->end_offset = log_batch_next_offset(batch);
  entry->max_timestamp_ms = MAX(entry->max_timestamp_ms, batch->max_timestamp_ms);
  index_time(writer, entry, segment, batch);
  if (write->producer)
    writer->batch_bytes += producer_records_put(writer->db, entry->log_id, batch->producer_id, write->producer,
                                                write->producer_len, writer->batch);
  if (writer->is_bulk)
    log_bulk_write_if_full(writer->bulk);
  note_hot(writer, entry, write);
  atomic_fetch_add_explicit(&writer->write_bytes, payload_len, memory_order_relaxed);
}

/* Looks at what is in RocksDB: so the group before must be. */
static void add_truncate(LogWriter *writer, LogWrite *write) {
  LogEntry *entry = get_log(writer, write);
  write->ret_end_offset = log_truncate_put(writer->db, writer->index, entry, write->truncate_offset, writer->batch);
  log_truncate_hot(write->hot, write->hot_len, write->log_id, write->ret_end_offset, writer->hot);
  put_hot(writer, write->log_id, writer->hot->data, writer->hot->len);
  producer_records_truncate(writer->db, write->log_id, write->ret_end_offset, writer->batch);
}

static void add_forget(LogWriter *writer, LogWrite *write) {
  get_log(writer, write);
  producer_records_forget(writer->db, write->log_id, write->producer_ids, write->producer_count, writer->batch);
  writer->batch_bytes += (gsize)write->producer_count * LOG_PRODUCER_KEY_BYTES;
}

static void add_drop(LogWriter *writer, LogWrite *write) {
  LogEntry *entry = get_log(writer, write);
  guint8 key[LOG_HOT_KEY_BYTES];
  log_hot_key_encode(write->log_id, key);
  rocksdb_writebatch_delete_cf(writer->batch, writer->db->hot_cf, (const char *)key, sizeof key);
  put_catalog(writer,
              &(CatalogEntry){.kind = CATALOG_DROPPED, .log_id = write->log_id, .time_ms = g_get_real_time() / 1000});
  producer_records_drop(writer->db, write->log_id, writer->batch);
  log_index_remove(writer->index, entry);
}

/* The way of the group that begins. */
static void begin_group(LogWriter *writer) {
  writer->is_bulk = writer->waiting_bytes >= (gsize)writer->options.bulk_bytes_min;
  if (writer->is_bulk)
    log_bulk_begin(writer->bulk);
}

static gboolean group_is_full(const LogWriter *writer) {
  return writer->batch_bytes >=
         (gsize)(writer->is_bulk ? writer->options.write_buffer_bytes : writer->options.group_bytes_max);
}

static void add_write(LogWriter *writer, LogWrite *write) {
  /* These two need the group's hot records out of the way. */
  gboolean alone = write->kind == LOG_WRITE_TRUNCATE || write->kind == LOG_WRITE_DROP;
  if (alone)
    commit_group(writer, TRUE);
  else if (!writer->group.head)
    begin_group(writer);
  writer->waiting_bytes -= write->charged_bytes;
  switch (write->kind) {
  case LOG_WRITE_CREATE:
    add_create(writer, write);
    break;
  case LOG_WRITE_APPEND:
    add_append(writer, write);
    break;
  case LOG_WRITE_TRUNCATE:
    add_truncate(writer, write);
    break;
  case LOG_WRITE_PUT_HOT:
    note_hot(writer, get_log(writer, write), write);
    break;
  case LOG_WRITE_FORGET:
    add_forget(writer, write);
    break;
  case LOG_WRITE_DROP:
    add_drop(writer, write);
    break;
  }
  atomic_fetch_add_explicit(&writer->writes, 1, memory_order_relaxed);
  list_push(&writer->group, write);
  if (alone || group_is_full(writer)) {
    commit_group(writer, TRUE);
    roll_if_due(writer);
  }
}

/* ---- the threads ---- */

/* The mutex is held, and given back while this thread writes. */
static void write_submitted(LogWriter *writer) {
  writer->writing = TRUE;
  LogWrite *next = list_take(&writer->submitted);
  pthread_mutex_unlock(&writer->mutex);
  roll_if_due(writer);
  for (const LogWrite *write = next; write; write = write->next)
    writer->waiting_bytes += write->charged_bytes;
  while (next) {
    LogWrite *write = next;
    next = write->next;
    add_write(writer, write);
  }
  if (writer->group.head)
    commit_group(writer, FALSE);
  pthread_mutex_lock(&writer->mutex);
  writer->writing = FALSE;
}

/* The mutex is held. */
static gboolean sync_is_due(const LogWriter *writer) {
  gint64 deadline_us = writer->sync_deadline_us;
  return writer->unsynced.head || writer->frontier_due ||
         (deadline_us && (writer->stopping || g_get_monotonic_time() >= deadline_us));
}

static void complete_synced(LogWriter *writer, LogWrite *head) {
  guint count = 0;
  gint64 bytes = 0;
  for (const LogWrite *write = head; write; write = write->next) {
    count++;
    bytes += (gint64)write->charged_bytes;
  }
  release(writer, count, bytes);
  LogWrite *next;
  for (LogWrite *write = head; write; write = next) {
    next = write->next;
    loop_post_completion(write->loop, &write->synced_task);
  }
}

static void sync_wal(LogWriter *writer) {
  gint64 start_us = g_get_monotonic_time();
  char *error = NULL;
  rocksdb_flush_wal(writer->db->db, 1, &error);
  rocks_check("syncing the write-ahead log", error);
  atomic_fetch_add_explicit(&writer->syncs, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&writer->sync_us, (guint64)(g_get_monotonic_time() - start_us), memory_order_relaxed);
}

/* Note what the sync before made durable. */
static void write_frontier(LogWriter *writer, const RocksFrontier *frontier) {
  g_autoptr(Failure) failure = rocks_frontier_write(writer->folder, frontier);
  if (failure)
    rocks_die("writing the frontier note", failure_message(failure));
}

/* The mutex is held, and given back while this thread syncs. */
static void sync_unsynced(LogWriter *writer) {
  writer->syncing = TRUE;
  if (writer->submitted.head && !writer->writing)
    pthread_cond_signal(&writer->work_cond);
  LogWrite *head = list_take(&writer->unsynced);
  gboolean frontier_due = writer->frontier_due;
  RocksFrontier frontier = writer->frontier;
  writer->frontier_due = FALSE;
  writer->sync_deadline_us = 0;
  pthread_mutex_unlock(&writer->mutex);
  frontier.sequence = atomic_load(&writer->logged_sequence); /* what the sync will cover */
  sync_wal(writer);
  complete_synced(writer, head);
  if (frontier_due || g_get_monotonic_time() - writer->noted_us >= FRONTIER_EVERY_US) {
    write_frontier(writer, &frontier);
    writer->noted_us = g_get_monotonic_time();
  }
  pthread_mutex_lock(&writer->mutex);
  writer->syncing = FALSE;
}

static void *storage_main(void *data) {
  LogWriter *writer = data;
  pthread_setname_np(pthread_self(), "log-storage");
  pthread_mutex_lock(&writer->mutex);
  for (;;) {
    if (!writer->syncing && sync_is_due(writer)) {
      sync_unsynced(writer);
    } else if (!writer->writing && writer->submitted.head) {
      write_submitted(writer);
    } else if (writer->stopping) { /* what the other thread has in hand, it sees through */
      break;
    } else {
      gint64 deadline_us = writer->syncing ? 0 : writer->sync_deadline_us;
      cond_wait_until(&writer->work_cond, &writer->mutex, deadline_us ? deadline_us : G_MAXINT64);
    }
  }
  pthread_mutex_unlock(&writer->mutex);
  return NULL;
}

LogWriter *log_writer_new(RocksDb *db, LogIndex *index, RocksFolder *folder, const LogStoreOptions *options,
                          const RocksFrontier *frontier, guint64 last_bulk_group) {
  LogWriter *writer = g_new0(LogWriter, 1);
  writer->db = db;
  writer->index = index;
  writer->folder = folder;
  writer->options = *options;
  writer->options.path = NULL;
  writer->frontier = *frontier;
  list_init(&writer->submitted);
  list_init(&writer->unsynced);
  list_init(&writer->group);
  writer->batch = rocksdb_writebatch_create();
  writer->hot = g_byte_array_new();
  writer->bulk = log_bulk_new(db, last_bulk_group);
  writer->logged_sequence = frontier->sequence;
  pthread_mutex_init(&writer->mutex, NULL);
  cond_init_monotonic(&writer->work_cond);
  writer->noted_us = g_get_monotonic_time();
  for (guint i = 0; i < G_N_ELEMENTS(writer->threads); i++)
    INVARIANT(pthread_create(&writer->threads[i], NULL, storage_main, writer) == 0, "the storage threads start");
  return writer;
}

void log_writer_stop(LogWriter *writer) {
  pthread_mutex_lock(&writer->mutex);
  writer->stopping = TRUE;
  pthread_cond_broadcast(&writer->work_cond);
  pthread_mutex_unlock(&writer->mutex);
  for (guint i = 0; i < G_N_ELEMENTS(writer->threads); i++)
    pthread_join(writer->threads[i], NULL);
  sync_wal(writer); /* what nobody wanted synced */
}

RocksFrontier log_writer_frontier(LogWriter *writer) {
  gboolean damaged = log_index_damaged_count(writer->index) > 0;
  return (RocksFrontier){.clean = !damaged,
                         .sequence = rocksdb_get_latest_sequence_number(writer->db->db),
                         .segment = damaged ? writer->frontier.segment : log_index_active(writer->index)->number};
}

void log_writer_free(LogWriter *writer) {
  if (!writer)
    return;
  INVARIANT(writer->in_flight == 0, "a store closes when all writes were answered");
  rocksdb_writebatch_destroy(writer->batch);
  log_bulk_free(writer->bulk);
  g_byte_array_unref(writer->hot);
  pthread_cond_destroy(&writer->work_cond);
  pthread_mutex_destroy(&writer->mutex);
  g_free(writer);
}

void log_writer_stats(LogWriter *writer, LogStoreStats *stats) {
  stats->writes = atomic_load_explicit(&writer->writes, memory_order_relaxed);
  stats->write_bytes = atomic_load_explicit(&writer->write_bytes, memory_order_relaxed);
  stats->groups = atomic_load_explicit(&writer->groups, memory_order_relaxed);
  stats->bulk_groups = atomic_load_explicit(&writer->bulk_groups, memory_order_relaxed);
  stats->syncs = atomic_load_explicit(&writer->syncs, memory_order_relaxed);
  stats->sync_us = atomic_load_explicit(&writer->sync_us, memory_order_relaxed);
  pthread_mutex_lock(&writer->mutex);
  stats->writes_waiting = writer->in_flight;
  pthread_mutex_unlock(&writer->mutex);
}
