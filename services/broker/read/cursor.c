/* Following partitions: see cursor.h for the states and the bounds.
 *
 * Queues: `waiting` holds IDLE cursors that have caught up, `behind` the other IDLE ones, `ready` those with
 * data to give (READY), `telling` those with a failure to tell (`notice`). A cursor is in at most one of the first
 * three, and may be in `telling` beside.
 *
 * Invariants: `kept_bytes` is the sum over READY cursors; `behind_reads` counts reads in flight that do not wait;
 * `over_count` counts ENDED and FAILED cursors without a notice. A position only moves by what was given, or by
 * cursor_go. At most one cursor holds a decompressed batch, and it is the first of `ready`. */
#include "services/broker/read/cursor.h"

#include "services/base/invariant.h"
#include "services/broker/front.h"
#include "services/broker/read/fetched.h"
#include "storage/log/batch.h"

/* Reads in flight of partitions that are behind, for one stream. */
#define READ_AHEAD 4
/* What may wait to be given beyond one piece. */
#define READ_AHEAD_BYTES (2u << 20)
/* How long a read of a partition that has caught up waits: long, but it ends, so that a lost answer does not last. */
#define WAIT_US ((gint64)20 * G_USEC_PER_SEC)
/* One try at finding a leader, pauses between tries, and when the client is told. */
#define TRY_US ((gint64)2 * G_USEC_PER_SEC)
#define PAUSE_US ((gint64)250 * 1000)
/* A wait that ends at once with nothing is not repeated at once: a leader that drains answers so. */
#define WAIT_LEAST_US ((gint64)20 * 1000)
#define TELL_AFTER_US ((gint64)5 * G_USEC_PER_SEC)

typedef enum {
  CURSOR_HELD,
  CURSOR_IDLE,
  CURSOR_READING,
  CURSOR_READY,
  CURSOR_PAUSED,
  CURSOR_ENDED,
  CURSOR_FAILED
} CursorState;

struct Cursor {
  CursorSet *set;
  char *topic, *topic_id;
  gint32 partition;
  CursorState state;
  gint64 position, stop;
  gboolean caught_up;
  SourceRead *read;        /* READING */
  gboolean read_is_behind; /* it counts in behind_reads */
  gint64 read_since_us;
  Expander *expander; /* READY */
  gsize kept_bytes;
  Failure *failure; /* FAILED: why */
  Failure *notice;  /* to be told */
  gint64 down_since_us;
  gboolean down_told;
  Timer pause;
  SourceOrigin origin; /* of the last answer */
  PartitionBounds bounds;
  GList link, telling_link;
  GQueue *queue; /* that link is in, or NULL */
  gboolean is_telling, counted_over;
};

struct CursorSet {
  Front *front;
  Milena__V1__Format format;
  guint32 max_bytes;
  void (*ready)(gpointer user_data);
  gpointer user_data;
  GPtrArray *cursors;
  GQueue waiting, behind, ready_queue, telling;
  gboolean running;
  guint behind_reads, over_count;
  gsize kept_bytes;
};

static void read_start(Cursor *cursor);

/* ---- queues and counters ---- */

static void queue_move(Cursor *cursor, GQueue *queue) {
  if (cursor->queue != NULL)
    g_queue_unlink(cursor->queue, &cursor->link);
  cursor->queue = queue;
  if (queue != NULL)
    g_queue_push_tail_link(queue, &cursor->link);
}

/* Bring queues and counters in line with the state; called after each change. */
static void settle(Cursor *cursor) {
  CursorSet *set = cursor->set;
  GQueue *queue = NULL;
  if (cursor->state == CURSOR_IDLE)
    queue = cursor->caught_up ? &set->waiting : &set->behind;
  else if (cursor->state == CURSOR_READY)
    queue = &set->ready_queue;
  if (cursor->queue != queue)
    queue_move(cursor, queue);
  gboolean telling = cursor->notice != NULL;
  if (telling && !cursor->is_telling)
    g_queue_push_tail_link(&set->telling, &cursor->telling_link);
  else if (!telling && cursor->is_telling)
    g_queue_unlink(&set->telling, &cursor->telling_link);
  cursor->is_telling = telling;
  gboolean over = (cursor->state == CURSOR_ENDED || cursor->state == CURSOR_FAILED) && !telling;
  set->over_count += (guint)over - (guint)cursor->counted_over;
  cursor->counted_over = over;
}

static void expander_drop(Cursor *cursor) {
  cursor->set->kept_bytes -= cursor->kept_bytes;
  cursor->kept_bytes = 0;
  g_clear_pointer(&cursor->expander, expander_free);
}

static void read_drop(Cursor *cursor) {
  if (cursor->read != NULL && cursor->read_is_behind)
    cursor->set->behind_reads--;
  g_clear_pointer(&cursor->read, source_read_free);
}

/* ---- what a read brings ---- */

static gsize room_bytes(const CursorSet *set) {
  return MAX((gsize)set->max_bytes, READ_AHEAD_BYTES);
}

static void fail(Cursor *cursor, Failure *failure) {
  expander_drop(cursor);
  failure_free(cursor->failure);
  failure_free(cursor->notice);
  cursor->failure = failure;
  cursor->notice = failure_copy(failure);
  cursor->state = CURSOR_FAILED;
}

static void pump(CursorSet *set) {
  if (!set->running)
    return;
  while (set->waiting.length > 0)
    read_start(set->waiting.head->data);
  while (set->behind.length > 0 && set->behind_reads < READ_AHEAD && set->kept_bytes < room_bytes(set))
    read_start(set->behind.head->data);
}

static void pause_over(Timer *timer, gpointer data) {
  (void)timer;
  Cursor *cursor = data;
  cursor->state = CURSOR_IDLE;
  settle(cursor);
  pump(cursor->set);
}

static void pause_begin(Cursor *cursor) {
  cursor->state = CURSOR_PAUSED;
  timer_set(front_timers(cursor->set->front), &cursor->pause, g_get_monotonic_time() + PAUSE_US, pause_over, cursor);
}

/* No leader answered. Takes @failure. */
static void stumble(Cursor *cursor, Failure *failure) {
  gint64 now_us = g_get_monotonic_time();
  if (cursor->down_since_us == 0)
    cursor->down_since_us = now_us;
  if (!cursor->down_told && now_us - cursor->down_since_us >= TELL_AFTER_US) {
    cursor->down_told = TRUE;
    cursor->notice = g_steal_pointer(&failure);
  }
  failure_free(failure);
  pause_begin(cursor);
}

/* An answer: keep it, or drop it where too much waits already. */
static void advance(Cursor *cursor, GArray *batches, gboolean was_behind) {
  CursorSet *set = cursor->set;
  cursor->down_since_us = 0;
  cursor->down_told = FALSE;
  g_clear_pointer(&cursor->notice, failure_free);
  cursor->caught_up = batches->len == 0;
  if (batches->len == 0 || (!was_behind && set->kept_bytes >= room_bytes(set))) {
    cursor->state = cursor->position >= cursor->stop ? CURSOR_ENDED : CURSOR_IDLE;
    if (cursor->state == CURSOR_IDLE && cursor->caught_up && !was_behind &&
        g_get_monotonic_time() - cursor->read_since_us < WAIT_LEAST_US)
      pause_begin(cursor);
    g_array_unref(batches);
    return;
  }
  cursor->expander =
      expander_new(cursor->topic, cursor->partition, batches, cursor->position, cursor->stop, set->format);
  cursor->kept_bytes = expander_bytes(cursor->expander);
  set->kept_bytes += cursor->kept_bytes;
  cursor->state = CURSOR_READY;
}

static void read_done(SourceRead *read, gpointer data) {
  Cursor *cursor = data;
  CursorSet *set = cursor->set;
  gboolean was_behind = cursor->read_is_behind;
  Failure *failure = g_steal_pointer(&read->failure);
  GArray *batches = g_steal_pointer(&read->batches);
  source_origin_clear(&cursor->origin);
  cursor->origin = read->origin;
  read->origin = (SourceOrigin){0};
  if (failure == NULL || read->bounds.high_watermark > 0)
    cursor->bounds = read->bounds;
  read_drop(cursor);
  if (failure == NULL)
    advance(cursor, batches, was_behind);
  else if (failure_is_retriable(failure))
    stumble(cursor, failure);
  else
    fail(cursor, failure);
  settle(cursor);
  pump(set);
  if (cursor->state == CURSOR_READY || cursor->is_telling || cursor->counted_over)
    set->ready(set->user_data);
}

static void read_start(Cursor *cursor) {
  CursorSet *set = cursor->set;
  gint64 now_us = g_get_monotonic_time();
  SourceRead *read = source_read_new();
  read->target = (SourceTarget){.topic = cursor->topic,
                                .topic_id = cursor->topic_id,
                                .partition = cursor->partition,
                                .deadline_us = now_us + TRY_US};
  read->from_offset = cursor->position;
  read->max_bytes = set->max_bytes;
  read->min_bytes = 1;
  read->wait_until_us = cursor->caught_up ? now_us + WAIT_US : 0;
  read->done = read_done;
  read->user_data = cursor;
  cursor->read = read;
  cursor->read_is_behind = !cursor->caught_up;
  cursor->read_since_us = now_us;
  set->behind_reads += cursor->read_is_behind;
  cursor->state = CURSOR_READING;
  settle(cursor);
  source_read_start(read, set->front);
}

/* ---- giving ---- */

/* Take from the cursor's expander. Returns FALSE when nothing came out of it. */
static gboolean take_piece(Cursor *cursor, const ExpandLimits *limits, ReadMemory *memory, CursorFrame *frame) {
  Failure *failure = expander_next(cursor->expander, memory, limits, &frame->piece);
  cursor->position = MAX(cursor->position, expander_next_offset(cursor->expander));
  gboolean done = expander_is_done(cursor->expander);
  if (failure == NULL && !done && frame->piece.counted_records == 0)
    failure = failure_new(FAILURE(INTERNAL), "%s/%d gives nothing at offset %" G_GINT64_FORMAT, cursor->topic,
                          cursor->partition, cursor->position);
  if (failure != NULL) {
    fail(cursor, failure);
    frame->failure = g_steal_pointer(&cursor->notice);
  } else if (done) {
    expander_drop(cursor);
    cursor->caught_up = cursor->position >= cursor->bounds.high_watermark;
    cursor->state = cursor->position >= cursor->stop ? CURSOR_ENDED : CURSOR_IDLE;
  }
  return frame->failure != NULL || frame->piece.counted_records > 0;
}

/* A cursor whose batch was decompressed goes on before the others have their turn: so one such batch is held for a
 * stream, and not one for each of its partitions. */
static void give_first(Cursor *cursor) {
  if (cursor->state != CURSOR_READY || !expander_holds_memory(cursor->expander))
    return;
  g_queue_unlink(cursor->queue, &cursor->link);
  g_queue_push_head_link(cursor->queue, &cursor->link);
}

gboolean cursor_set_next(CursorSet *set, const ExpandLimits *limits, ReadMemory *memory, CursorFrame *ret_frame) {
  INVARIANT(limits->at_least_one, "each piece makes progress");
  CursorFrame frame = {0};
  if (set->telling.length > 0) {
    frame.cursor = set->telling.head->data;
    frame.failure = g_steal_pointer(&frame.cursor->notice);
    settle(frame.cursor);
    *ret_frame = frame;
    return TRUE;
  }
  gboolean found = FALSE;
  while (!found && limits->records > 0 && limits->bytes > 0 && set->ready_queue.length > 0) {
    frame = (CursorFrame){.cursor = set->ready_queue.head->data};
    queue_move(frame.cursor, NULL); /* to the end, if it has more */
    found = take_piece(frame.cursor, limits, memory, &frame);
    settle(frame.cursor);
    give_first(frame.cursor);
  }
  pump(set);
  if (found)
    *ret_frame = frame;
  return found;
}

Milena__V1__FetchedPartition *cursor_frame_message(const CursorFrame *frame, ReadMemory *memory) {
  const Cursor *cursor = frame->cursor;
  SourceOrigin origin = cursor->origin;
  origin.topic = cursor->topic;
  origin.topic_id = cursor->topic_id;
  Milena__V1__FetchedPartition *fetched =
      fetched_partition_new(memory, &origin, cursor->partition, &cursor->bounds, cursor->position);
  fetched_partition_set_piece(fetched, &frame->piece);
  fetched_partition_set_failure(memory, fetched, frame->failure);
  return fetched;
}

gboolean cursor_set_is_over(const CursorSet *set) {
  return set->over_count == set->cursors->len;
}

const Failure *cursor_set_failure(const CursorSet *set) {
  for (guint i = 0; i < set->cursors->len; i++) {
    const Cursor *cursor = g_ptr_array_index(set->cursors, i);
    if (cursor->state == CURSOR_FAILED)
      return cursor->failure;
  }
  return NULL;
}

/* ---- steering ---- */

void cursor_hold(Cursor *cursor) {
  read_drop(cursor);
  expander_drop(cursor);
  g_clear_pointer(&cursor->notice, failure_free);
  g_clear_pointer(&cursor->failure, failure_free);
  timer_clear(front_timers(cursor->set->front), &cursor->pause);
  cursor->down_since_us = 0;
  cursor->down_told = FALSE;
  cursor->state = CURSOR_HELD;
  settle(cursor);
}

void cursor_go(Cursor *cursor, gint64 offset, gint64 stop) {
  INVARIANT(cursor->state == CURSOR_HELD, "a cursor is held before it moves");
  cursor->position = offset;
  cursor->stop = stop;
  cursor->caught_up = FALSE;
  cursor->state = offset >= stop ? CURSOR_ENDED : CURSOR_IDLE;
  settle(cursor);
  pump(cursor->set);
}

void cursor_fail(Cursor *cursor, Failure *failure) {
  INVARIANT(cursor->state == CURSOR_HELD, "a cursor is held before it is failed");
  fail(cursor, failure);
  settle(cursor);
}

void cursor_set_stop(Cursor *cursor, gint64 stop) {
  cursor->stop = MIN(cursor->stop, stop);
  if (cursor->state == CURSOR_FAILED || cursor->state == CURSOR_HELD)
    return;
  if (cursor->expander != NULL)
    expander_set_stop(cursor->expander, cursor->stop);
  if (cursor->position < cursor->stop)
    return;
  cursor_hold(cursor);
  cursor->state = CURSOR_ENDED;
  settle(cursor);
  pump(cursor->set);
}

gint64 cursor_position(const Cursor *cursor) {
  return cursor->position;
}

const char *cursor_topic(const Cursor *cursor) {
  return cursor->topic;
}

const char *cursor_topic_id(const Cursor *cursor) {
  return cursor->topic_id;
}

gint32 cursor_partition(const Cursor *cursor) {
  return cursor->partition;
}

gboolean cursor_is_failed(const Cursor *cursor) {
  return cursor->state == CURSOR_FAILED;
}

/* ---- the set ---- */

static void cursor_free(gpointer data) {
  Cursor *cursor = data;
  cursor_hold(cursor);
  source_origin_clear(&cursor->origin);
  g_free(cursor->topic);
  g_free(cursor->topic_id);
  g_free(cursor);
}

CursorSet *cursor_set_new(Front *front, Milena__V1__Format format, guint32 max_bytes, void (*ready)(gpointer user_data),
                          gpointer user_data) {
  CursorSet *set = g_new0(CursorSet, 1);
  set->front = front;
  set->format = format;
  set->max_bytes = max_bytes;
  set->ready = ready;
  set->user_data = user_data;
  set->cursors = g_ptr_array_new_with_free_func(cursor_free);
  g_queue_init(&set->waiting);
  g_queue_init(&set->behind);
  g_queue_init(&set->ready_queue);
  g_queue_init(&set->telling);
  return set;
}

void cursor_set_free(CursorSet *set) {
  if (set == NULL)
    return;
  set->running = FALSE;
  g_ptr_array_unref(set->cursors);
  g_free(set);
}

void cursor_set_run(CursorSet *set, gboolean running) {
  set->running = running;
  pump(set);
}

Cursor *cursor_set_add(CursorSet *set, const char *topic, const char *topic_id, gint32 partition) {
  Cursor *cursor = g_new0(Cursor, 1);
  cursor->set = set;
  cursor->topic = g_strdup(topic);
  cursor->topic_id = g_strdup(topic_id);
  cursor->partition = partition;
  cursor->link.data = cursor;
  cursor->telling_link.data = cursor;
  g_ptr_array_add(set->cursors, cursor);
  return cursor;
}

void cursor_set_remove(CursorSet *set, Cursor *cursor) {
  cursor_hold(cursor);
  g_ptr_array_remove(set->cursors, cursor);
  pump(set);
}

guint cursor_set_count(const CursorSet *set) {
  return set->cursors->len;
}

Cursor *cursor_set_get(const CursorSet *set, guint index) {
  return g_ptr_array_index(set->cursors, index);
}
