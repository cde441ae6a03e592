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
 *   4. What is written of a group's writes, and how, is log_group.h.
 *   5. A segment rolls between groups; so all of a log's data in a segment is there before its span in the next one is.
 *   6. No error is survived (rocks_die).
 *   7. Whoever leaves while there is something to do knows that the other thread is busy, and looks again.
 *
 * Threads: the mutex guards what is marked; the rest belongs to the role that is named. */
#include "storage/rocks/log_writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "services/base/cond.h"
#include "storage/log/retention.h"
#include "storage/rocks/log_group.h"
#include "storage/rocks/log_segments.h"

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
  RocksFrontier frontier; /* its segment: for the next note */
  LogRoll roll;           /* where segments roll now */
  gboolean tidy_due;
  gboolean writing, syncing; /* somebody has the role */
  gboolean stopping;

  /* The writer's. */
  LogRoll roll_now;    /* as it was when the role was taken */
  gsize waiting_bytes; /* of what was taken from @submitted and not added yet */
  LogGroup *group;
  WriteList members; /* the writes in it */

  gint64 noted_us; /* the syncer's: when the frontier was noted */

  _Atomic guint64 writes, syncs, sync_us, segments_dropped;
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
                         (write->batch ? log_batch_stored_bytes(write->batch) : 0) +
                         (write->compacted ? log_batch_array_payload_bytes(write->compacted->batches) : 0);
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
  for (const LogWrite *write = writer->members.head; write; write = write->next) {
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
  for (LogWrite *write = list_take(&writer->members); write; write = next) {
    next = write->next;
    gboolean sync_wanted = (write->wants & LOG_WRITE_SYNCED) != 0;
    if (write->wants & LOG_WRITE_WRITTEN) /* its last stage, unless a sync is wanted: then it is its owner's again */
      loop_post_completion(write->loop, &write->written_task);
    if (sync_wanted)
      list_push(&unsynced, write);
  }
  want_sync(writer, &unsynced, deadline_us, more);
}

/* @more: this thread has more to write */
static void commit_group(LogWriter *writer, gboolean more) {
  log_group_commit(writer->group);
  complete_group(writer, g_get_monotonic_time(), more);
}

/* ---- segments ---- */

static LogRoll most_roll(const LogWriter *writer) {
  return (LogRoll){.age_ms = writer->options.segment_age_max_ms, .bytes = writer->options.segment_bytes_max};
}

static void roll(LogWriter *writer) {
  INVARIANT(writer->members.head == NULL, "a segment rolls between groups");
  log_segments_roll(writer->db, writer->index, g_get_real_time() / 1000);
  pthread_mutex_lock(&writer->mutex);
  if (log_index_damaged_count(writer->index) == 0)
    writer->frontier.segment = log_index_active(writer->index)->number;
  writer->frontier_due = TRUE;
  if (!writer->syncing)
    pthread_cond_signal(&writer->work_cond);
  pthread_mutex_unlock(&writer->mutex);
}

static void roll_if_due(LogWriter *writer) {
  LogSegment *active = log_index_active(writer->index);
  LogRoll bounds = log_roll_now(writer->roll_now, log_index_segment_count(writer->index), most_roll(writer));
  gboolean holds = atomic_load_explicit(&active->batch_bytes, memory_order_relaxed) > 0;
  if (active->bytes >= bounds.bytes || (holds && g_get_real_time() / 1000 - active->created_ms >= bounds.age_ms))
    roll(writer);
}

static void drop_unneeded(LogWriter *writer) {
  if (log_index_take_unneeded(writer->index))
    atomic_fetch_add_explicit(&writer->segments_dropped, log_segments_drop_unneeded(writer->db, writer->index),
                              memory_order_relaxed);
}

void log_writer_tidy(LogWriter *writer, LogRoll bounds) {
  LogRoll most = most_roll(writer);
  pthread_mutex_lock(&writer->mutex);
  writer->roll = (LogRoll){.age_ms = MIN(bounds.age_ms, most.age_ms), .bytes = MIN(bounds.bytes, most.bytes)};
  writer->tidy_due = TRUE;
  if (!writer->writing)
    pthread_cond_signal(&writer->work_cond);
  pthread_mutex_unlock(&writer->mutex);
}

/* ---- the threads ---- */

static void add_write(LogWriter *writer, LogWrite *write) {
  gboolean alone = log_group_is_alone(write);
  if (alone)
    commit_group(writer, TRUE);
  else if (!writer->members.head)
    log_group_begin(writer->group, writer->waiting_bytes);
  writer->waiting_bytes -= write->charged_bytes;
  log_group_add(writer->group, write);
  atomic_fetch_add_explicit(&writer->writes, 1, memory_order_relaxed);
  list_push(&writer->members, write);
  if (alone || log_group_is_full(writer->group)) {
    commit_group(writer, TRUE);
    roll_if_due(writer);
  }
}

/* The mutex is held, and given back while this thread writes. */
static void write_submitted(LogWriter *writer) {
  writer->writing = TRUE;
  LogWrite *next = list_take(&writer->submitted);
  writer->roll_now = writer->roll;
  writer->tidy_due = FALSE;
  pthread_mutex_unlock(&writer->mutex);
  roll_if_due(writer);
  for (const LogWrite *write = next; write; write = write->next)
    writer->waiting_bytes += write->charged_bytes;
  while (next) {
    LogWrite *write = next;
    next = write->next;
    add_write(writer, write);
  }
  if (writer->members.head)
    commit_group(writer, FALSE);
  drop_unneeded(writer);
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
  frontier.sequence = log_group_sequence(writer->group); /* what the sync will cover */
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
    } else if (!writer->writing && (writer->submitted.head || writer->tidy_due)) {
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
  list_init(&writer->members);
  writer->roll = most_roll(writer);
  writer->group = log_group_new(db, index, options, last_bulk_group);
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
  log_group_free(writer->group);
  pthread_cond_destroy(&writer->work_cond);
  pthread_mutex_destroy(&writer->mutex);
  g_free(writer);
}

void log_writer_stats(LogWriter *writer, LogStoreStats *stats) {
  stats->writes = atomic_load_explicit(&writer->writes, memory_order_relaxed);
  stats->segments_dropped = atomic_load_explicit(&writer->segments_dropped, memory_order_relaxed);
  log_group_stats(writer->group, stats);
  stats->syncs = atomic_load_explicit(&writer->syncs, memory_order_relaxed);
  stats->sync_us = atomic_load_explicit(&writer->sync_us, memory_order_relaxed);
  pthread_mutex_lock(&writer->mutex);
  stats->writes_waiting = writer->in_flight;
  pthread_mutex_unlock(&writer->mutex);
}
