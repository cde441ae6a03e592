/* The reader threads: see log_readers.h.
 *
 * A read walks cursors. A cursor sees its segment as it was when it was made, and the index is looked up before that:
 * so a cursor that was made during this read sees all that its owner may ask for (it asks below an offset that was
 * written before), and its end is the segment's end. A cursor of a session is older: at its end the read looks anew.
 *
 * Invariants
 *   1. A job is in one place: waiting, with one reader thread, or posted back.
 *   2. A session is in the table or with one reader thread.
 *   3. A session of an older generation of its log (it was cut since) is never used.
 *
 * Threads: the mutex guards what is marked. Nothing here blocks but the disk. */
#include "storage/rocks/log_readers.h"

#include <pthread.h>
#include <stdatomic.h>

#include "services/base/cond.h"
#include "storage/rocks/log_cursor.h"
#include "storage/rocks/log_sessions.h"

/* How often sessions that are too old are looked for. */
#define EXPIRY_US (250 * G_TIME_SPAN_MILLISECOND)

struct LogReaders {
  RocksDb *db;
  LogIndex *index;
  guint reads_max;
  guint thread_count;
  pthread_t *threads;

  pthread_mutex_t mutex; /* guards all up to the next comment */
  pthread_cond_t cond;
  LogReadJob *head, **tail;
  guint in_flight;
  LogSessions *sessions;
  gboolean stopping;

  _Atomic guint64 reads, read_bytes, session_hits, seeks, corruptions;
};

static void count(_Atomic guint64 *counter, guint64 n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Give a job back. Its place is free before its owner hears of it, who may want it for the next. */
static void finish(LogReaders *readers, Loop *loop, LoopTask *task) {
  count(&readers->reads, 1);
  pthread_mutex_lock(&readers->mutex);
  readers->in_flight--;
  pthread_mutex_unlock(&readers->mutex);
  loop_post_completion(loop, task);
}

/* ---- walking a log ---- */

/* A read's way through the segments of its log. */
typedef struct {
  LogReaders *readers;
  LogSession *session; /* owned; NULL when the log has nothing there */
  gboolean is_fresh;   /* made in this read: its end is the segment's end */
  gboolean is_last;    /* with is_fresh: no later segment has data of this log */
} Walk;

static void walk_clear(Walk *walk) {
  g_clear_pointer(&walk->session, log_session_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

/* Put a new cursor into @walk, in the segment of @place, not yet positioned. */
static void walk_enter(Walk *walk, guint64 log_id, LogPlace *place) {
  g_clear_pointer(&walk->session, log_session_free);
  walk->is_fresh = TRUE;
  walk->is_last = place->is_last;
  if (place->segment) {
    walk->session = g_new0(LogSession, 1);
    walk->session->log_id = log_id;
    walk->session->generation = place->generation;
    walk->session->part_end = place->part_end;
    walk->session->made_us = g_get_monotonic_time();
    walk->session->cursor = log_cursor_new(walk->readers->db, place->segment, LOG_KEY_BATCH, log_id);
    count(&walk->readers->seeks, 1);
  }
  log_place_clear(place);
}

static Failure *no_such_log(guint64 log_id) {
  return failure_new(FAILURE(UNKNOWN_PARTITION), "log %" G_GUINT64_FORMAT " is not in this store", log_id);
}

/* Begin at @offset: where a session stands, or with a new cursor. */
static Failure *walk_begin(Walk *walk, guint64 log_id, gint64 offset, gboolean may_resume) {
  LogReaders *readers = walk->readers;
  if (may_resume) {
    pthread_mutex_lock(&readers->mutex);
    walk->session = log_sessions_take(readers->sessions, log_id, offset, g_get_monotonic_time());
    pthread_mutex_unlock(&readers->mutex);
    if (walk->session && log_index_is_generation(readers->index, log_id, walk->session->generation)) {
      count(&readers->session_hits, 1);
      walk->is_fresh = FALSE;
      return NULL;
    }
  }
  LogPlace place;
  if (!log_index_locate(readers->index, log_id, offset, &place))
    return no_such_log(log_id);
  walk_enter(walk, log_id, &place);
  if (walk->session)
    log_cursor_seek_holding(walk->session->cursor, offset);
  return NULL;
}

/* The cursor is at its end, and @offset is wanted next: go on behind it. Returns FALSE at the log's end. The end of the
 * compacted part is none of the log's: it goes on in the part, if that has grown since, or in the segments. */
static gboolean walk_on(Walk *walk, guint64 log_id, gint64 offset) {
  LogPlace place;
  if (walk->session && walk->session->part_end > 0) {
    offset = MAX(offset, walk->session->part_end);
    if (!log_index_locate(walk->readers->index, log_id, offset, &place))
      return FALSE;
  } else if (walk->is_fresh) {
    if (walk->is_last || !walk->session ||
        !log_index_locate_next(walk->readers->index, log_id, log_cursor_segment(walk->session->cursor)->number, &place))
      return FALSE;
  } else if (!log_index_locate(walk->readers->index, log_id, offset, &place)) {
    return FALSE;
  }
  gint64 from = MAX(offset, place.from_offset);
  walk_enter(walk, log_id, &place);
  if (walk->session)
    log_cursor_seek(walk->session->cursor, from);
  return walk->session != NULL;
}

/* Keep the cursor for who goes on at @offset. */
static void walk_keep(Walk *walk, gint64 offset) {
  LogReaders *readers = walk->readers;
  LogSession *session = g_steal_pointer(&walk->session);
  session->next_offset = offset;
  GSList *doomed = NULL;
  pthread_mutex_lock(&readers->mutex);
  log_sessions_put(readers->sessions, session, g_get_monotonic_time(), &doomed);
  pthread_mutex_unlock(&readers->mutex);
  g_slist_free_full(doomed, (GDestroyNotify)log_session_free);
}

/* ---- reads ---- */

static void read_complete(LoopTask *task) {
  LogRead *read = (LogRead *)((char *)task - G_STRUCT_OFFSET(LogRead, task));
  read->done(read);
}

typedef enum { STEP_AGAIN, STEP_END_OF_CURSOR, STEP_DONE } Step;

/* Take the batch that the cursor stands on. @next: the offset wanted next; moved on. */
static Step read_step(LogRead *read, LogCursor *cursor, gint64 *next, gsize *bytes) {
  gint64 base;
  if (!log_cursor_offset(cursor, &base)) {
    read->failure = log_cursor_check(cursor);
    return read->failure ? STEP_DONE : STEP_END_OF_CURSOR;
  }
  gsize size = log_cursor_value_bytes(cursor);
  if (base >= read->end_offset || (read->batches->len && *bytes + size > read->max_bytes))
    return STEP_DONE;
  LogBatch batch;
  read->failure = log_cursor_batch(cursor, &batch);
  if (read->failure)
    return STEP_DONE;
  gint64 batch_end = log_batch_next_offset(&batch);
  if (batch_end > read->end_offset) { /* not wholly below */
    log_batch_clear(&batch);
    return STEP_DONE;
  }
  if (batch_end <= *next) { /* wholly before what is wanted */
    log_batch_clear(&batch);
  } else {
    g_array_append_val(read->batches, batch);
    *bytes += size;
    *next = batch_end;
  }
  log_cursor_next(cursor);
  return STEP_AGAIN;
}

static void carry_out_read(LogReaders *readers, LogRead *read) {
  g_auto(Walk) walk = {.readers = readers};
  gint64 next = read->from_offset;
  gsize bytes = 0;
  read->failure = walk_begin(&walk, read->log_id, next, !read->as_of_now);
  if (read->failure || !walk.session)
    return;
  for (;;) {
    Step step = read_step(read, walk.session->cursor, &next, &bytes);
    if (step == STEP_DONE)
      break;
    if (step == STEP_END_OF_CURSOR && (next >= read->end_offset || !walk_on(&walk, read->log_id, next)))
      break;
  }
  gint64 ignored;
  if (read->failure)
    count(&readers->corruptions, 1);
  else if (walk.session && !read->as_of_now && log_cursor_offset(walk.session->cursor, &ignored))
    walk_keep(&walk, next);
  count(&readers->read_bytes, bytes);
}

static void run_read(LogReaders *readers, LogReadJob *job) {
  LogRead *read = (LogRead *)((char *)job - G_STRUCT_OFFSET(LogRead, job));
  carry_out_read(readers, read);
  finish(readers, read->loop, &read->task);
}

/* ---- finds ---- */

static void find_complete(LoopTask *task) {
  LogFind *find = (LogFind *)((char *)task - G_STRUCT_OFFSET(LogFind, task));
  find->done(find);
}

/* Where in a segment to begin to look: behind the last time index entry that is earlier than what is looked for.
 * @ret_offset: at the first that counts; moved on */
static Failure *find_start(LogReaders *readers, const LogFind *find, LogSegment *segment, gint64 *ret_offset) {
  g_autoptr(LogCursor) cursor = log_cursor_new(readers->db, segment, LOG_KEY_TIME, find->log_id);
  gint64 offset, max_timestamp_ms;
  for (log_cursor_seek(cursor, 0); log_cursor_offset(cursor, &offset); log_cursor_next(cursor)) {
    Failure *failure = log_cursor_time(cursor, &max_timestamp_ms);
    if (failure)
      return failure;
    if (max_timestamp_ms >= find->timestamp_ms)
      return NULL;
    *ret_offset = MAX(*ret_offset, offset);
  }
  return log_cursor_check(cursor);
}

/* Look at the batch that the cursor stands on. */
static Step find_step(LogFind *find, LogCursor *cursor, gint64 *next) {
  gint64 base;
  if (!log_cursor_offset(cursor, &base)) {
    find->failure = log_cursor_check(cursor);
    return find->failure ? STEP_DONE : STEP_END_OF_CURSOR;
  }
  LogBatch head = LOG_BATCH_INIT;
  find->failure = log_cursor_head(cursor, &head);
  if (find->failure || log_batch_next_offset(&head) > find->end_offset)
    return STEP_DONE;
  *next = log_batch_next_offset(&head);
  if (head.max_timestamp_ms >= find->timestamp_ms && *next > find->start_offset) {
    find->failure = log_cursor_batch(cursor, &find->batch);
    find->found = find->failure == NULL;
    return STEP_DONE;
  }
  log_cursor_next(cursor);
  return STEP_AGAIN;
}

static void carry_out_find(LogReaders *readers, LogFind *find) {
  LogPlace place;
  if (!log_index_locate_time(readers->index, find->log_id, find->timestamp_ms, &place)) {
    find->failure = no_such_log(find->log_id);
    return;
  }
  gint64 next = MAX(find->start_offset, place.from_offset);
  if (place.segment)
    find->failure = find_start(readers, find, place.segment, &next);
  g_auto(Walk) walk = {.readers = readers};
  walk_enter(&walk, find->log_id, &place);
  if (!walk.session || find->failure)
    return;
  log_cursor_seek_holding(walk.session->cursor, next);
  for (;;) {
    Step step = find_step(find, walk.session->cursor, &next);
    if (step == STEP_DONE)
      break;
    if (step == STEP_END_OF_CURSOR && (next >= find->end_offset || !walk_on(&walk, find->log_id, next)))
      break;
  }
  if (find->failure)
    count(&readers->corruptions, 1);
}

static void run_find(LogReaders *readers, LogReadJob *job) {
  LogFind *find = (LogFind *)((char *)job - G_STRUCT_OFFSET(LogFind, job));
  carry_out_find(readers, find);
  finish(readers, find->loop, &find->task);
}

/* ---- the threads ---- */

static gboolean submit(LogReaders *readers, LogReadJob *job) {
  pthread_mutex_lock(&readers->mutex);
  INVARIANT(!readers->stopping, "nothing is submitted to a store that closes");
  gboolean fits = readers->in_flight < readers->reads_max;
  if (fits) {
    readers->in_flight++;
    job->next = NULL;
    *readers->tail = job;
    readers->tail = &job->next;
    pthread_cond_signal(&readers->cond);
  }
  pthread_mutex_unlock(&readers->mutex);
  return fits;
}

gboolean log_readers_read(LogReaders *readers, LogRead *read) {
  INVARIANT(read->from_offset >= 0, "offsets begin at 0");
  read->task.run = read_complete;
  read->job.run = run_read;
  read->failure = NULL;
  read->batches = log_batch_array_new();
  if (submit(readers, &read->job))
    return TRUE;
  log_read_clear(read);
  return FALSE;
}

gboolean log_readers_find(LogReaders *readers, LogFind *find) {
  INVARIANT(find->start_offset >= 0, "offsets begin at 0");
  find->task.run = find_complete;
  find->job.run = run_find;
  find->failure = NULL;
  find->found = FALSE;
  find->batch = (LogBatch)LOG_BATCH_INIT;
  return submit(readers, &find->job);
}

/* The next job; NULL to end. Sessions that are too old end meanwhile. */
static LogReadJob *next_job(LogReaders *readers) {
  GSList *doomed = NULL;
  pthread_mutex_lock(&readers->mutex);
  while (!readers->head && !readers->stopping && !doomed) {
    if (log_sessions_count(readers->sessions) == 0) {
      pthread_cond_wait(&readers->cond, &readers->mutex);
      continue;
    }
    cond_wait_until(&readers->cond, &readers->mutex, g_get_monotonic_time() + EXPIRY_US);
    log_sessions_expire(readers->sessions, g_get_monotonic_time(), &doomed);
  }
  LogReadJob *job = readers->head;
  if (job && !(readers->head = job->next))
    readers->tail = &readers->head;
  gboolean again = !job && !readers->stopping;
  pthread_mutex_unlock(&readers->mutex);
  g_slist_free_full(doomed, (GDestroyNotify)log_session_free);
  return again ? next_job(readers) : job;
}

static void *reader_main(void *data) {
  LogReaders *readers = data;
  pthread_setname_np(pthread_self(), "log-reader");
  LogReadJob *job;
  while ((job = next_job(readers)))
    job->run(readers, job);
  return NULL;
}

LogReaders *log_readers_new(RocksDb *db, LogIndex *index, const LogStoreOptions *options) {
  LogReaders *readers = g_new0(LogReaders, 1);
  readers->db = db;
  readers->index = index;
  readers->reads_max = options->reads_max;
  readers->tail = &readers->head;
  readers->sessions = log_sessions_new(options->read_sessions_max, options->read_session_age_ms * 1000);
  pthread_mutex_init(&readers->mutex, NULL);
  cond_init_monotonic(&readers->cond);
  readers->thread_count = MAX(options->reader_threads, 1);
  readers->threads = g_new0(pthread_t, readers->thread_count);
  for (guint i = 0; i < readers->thread_count; i++)
    INVARIANT(pthread_create(&readers->threads[i], NULL, reader_main, readers) == 0, "the reader threads start");
  return readers;
}

void log_readers_free(LogReaders *readers) {
  if (!readers)
    return;
  pthread_mutex_lock(&readers->mutex);
  readers->stopping = TRUE;
  pthread_cond_broadcast(&readers->cond);
  pthread_mutex_unlock(&readers->mutex);
  for (guint i = 0; i < readers->thread_count; i++)
    pthread_join(readers->threads[i], NULL);
  log_sessions_free(readers->sessions);
  pthread_cond_destroy(&readers->cond);
  pthread_mutex_destroy(&readers->mutex);
  g_free(readers->threads);
  g_free(readers);
}

void log_readers_stats(LogReaders *readers, LogStoreStats *stats) {
  stats->reads = atomic_load_explicit(&readers->reads, memory_order_relaxed);
  stats->read_bytes = atomic_load_explicit(&readers->read_bytes, memory_order_relaxed);
  stats->session_hits = atomic_load_explicit(&readers->session_hits, memory_order_relaxed);
  stats->seeks = atomic_load_explicit(&readers->seeks, memory_order_relaxed);
  stats->corruptions = atomic_load_explicit(&readers->corruptions, memory_order_relaxed);
  pthread_mutex_lock(&readers->mutex);
  stats->reads_waiting = readers->in_flight;
  stats->sessions = log_sessions_count(readers->sessions);
  pthread_mutex_unlock(&readers->mutex);
}
