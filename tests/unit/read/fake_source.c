/* See fake_source.h. Answers come from an idle source, so always later than start. */
#include "tests/unit/read/fake_source.h"

#include "services/broker/read/source.h"
#include "tests/unit/read/batches.h"

struct SourceReadState {
  Front *front;
  SourceRead *read;
  GSource *source; /* idle, or the end of the wait */
  gboolean waiting;
};
struct SourceFindState {
  Front *front;
  GSource *source;
};
struct SourceTopicState {
  Front *front;
  GSource *source;
};

/* ---- the front ---- */

Front *fake_front_new(Loop *loop) {
  Front *front = g_new0(Front, 1);
  front->loop = loop;
  front->waiting = g_ptr_array_new();
  for (guint i = 0; i < FAKE_PARTITIONS; i++)
    front->partitions[i].batches = log_batch_array_new();
  return front;
}

void fake_front_free(Front *front) {
  for (guint i = 0; i < FAKE_PARTITIONS; i++)
    g_array_unref(front->partitions[i].batches);
  g_ptr_array_unref(front->waiting);
  g_free(front);
}

Loop *front_loop(const Front *front) {
  return front->loop;
}

Timers *front_timers(Front *front) {
  return (Timers *)front;
}

gint32 front_broker_id(const Front *front) {
  (void)front;
  return 1;
}

gboolean front_is_draining(const Front *front) {
  return front->draining;
}

static void source_clear(GSource **source) {
  if (*source == NULL)
    return;
  g_source_destroy(*source);
  g_clear_pointer(source, g_source_unref);
}

/* The caller's strings are borrowed until start returns. */
static void target_keep(SourceTarget *target) {
  target->topic = g_intern_string(target->topic);
  target->topic_id = g_intern_string(target->topic_id);
}

static SourceOrigin origin_new(void) {
  return (SourceOrigin){.topic = g_strdup(FAKE_TOPIC),
                        .topic_id = g_strdup(FAKE_TOPIC_ID),
                        .has_hint = TRUE,
                        .leader_id = 1,
                        .leader_address = g_strdup("127.0.0.1:1"),
                        .metadata_version = 5};
}

/* The partition of a target, or NULL and what is wrong with it. */
static FakePartition *partition_of(Front *front, const SourceTarget *target, Failure **ret_failure) {
  gboolean is_known = g_strcmp0(target->topic, FAKE_TOPIC) == 0 ||
                      (*target->topic == '\0' && g_str_equal(target->topic_id, FAKE_TOPIC_ID));
  if (!is_known) {
    *ret_failure = failure_new(FAILURE(UNKNOWN_TOPIC), "there is no topic %s", target->topic);
    return NULL;
  }
  if (target->partition >= FAKE_PARTITIONS) {
    *ret_failure = failure_new(FAILURE(UNKNOWN_PARTITION), "there is no partition %d", target->partition);
    return NULL;
  }
  FakePartition *partition = &front->partitions[target->partition];
  if (partition->failures == 0)
    return partition;
  partition->failures--;
  *ret_failure = failure_new(partition->reason, "partition %d fails as told", target->partition);
  return NULL;
}

static Failure *range_check(const FakePartition *partition, gint64 offset) {
  if (offset >= partition->log_start_offset && offset <= partition->high_watermark)
    return NULL;
  return failure_add(failure_new(FAILURE(OFFSET_OUT_OF_RANGE), "offset %" G_GINT64_FORMAT " is out of range", offset),
                     "earliest", "%" G_GINT64_FORMAT, partition->log_start_offset);
}

/* ---- reading ---- */

static gsize batches_copy(const FakePartition *partition, const SourceRead *read, GArray *batches) {
  gsize bytes = 0;
  for (guint i = 0; i < partition->batches->len; i++) {
    const LogBatch *batch = LOG_BATCH_AT(partition->batches, i);
    gsize batch_bytes = log_batch_payload_bytes(batch);
    if (log_batch_next_offset(batch) <= read->from_offset)
      continue;
    if (batches->len > 0 && bytes + batch_bytes > read->max_bytes)
      break;
    LogBatch copy;
    log_batch_share(batch, &copy);
    g_array_append_val(batches, copy);
    bytes += batch_bytes;
  }
  return bytes;
}

static void read_end(struct SourceReadState *state) {
  SourceRead *read = state->read;
  source_clear(&state->source);
  if (state->waiting)
    g_ptr_array_remove_fast(state->front->waiting, read);
  if (state->waiting)
    g_atomic_int_add(&state->front->waiting_reads, -1);
  state->waiting = FALSE;
  g_atomic_int_add(&state->front->reads_in_flight, -1);
  read->state = NULL;
  g_free(state);
  read->done(read, read->user_data);
}

static gboolean wait_over(gpointer data);

static void wait_begin(struct SourceReadState *state, gint64 left_us) {
  if (state->waiting)
    return;
  state->waiting = TRUE;
  g_ptr_array_add(state->front->waiting, state->read);
  g_atomic_int_inc(&state->front->waiting_reads);
  source_clear(&state->source);
  state->source = loop_add_timeout(state->front->loop, (guint)(left_us / 1000) + 1, wait_over, state);
}

/* Answer if there is enough, or @last. */
static void read_try(struct SourceReadState *state, gboolean last) {
  SourceRead *read = state->read;
  gint64 left_us = read->wait_until_us - g_get_monotonic_time();
  const FakePartition *partition = partition_of(state->front, &read->target, &read->failure);
  if (partition != NULL) {
    read->bounds = (PartitionBounds){partition->high_watermark, partition->log_start_offset, partition->high_watermark};
    read->failure = range_check(partition, read->from_offset);
  }
  if (partition != NULL && read->failure == NULL) {
    g_autoptr(GArray) batches = log_batch_array_new();
    if (batches_copy(partition, read, batches) < MAX(read->min_bytes, 1) && !last && left_us > 0 &&
        !state->front->hasty) {
      wait_begin(state, left_us);
      return;
    }
    read->batches = g_steal_pointer(&batches);
  }
  source_origin_clear(&read->origin);
  read->origin = origin_new();
  read_end(state);
}

static gboolean wait_over(gpointer data) {
  read_try(data, TRUE);
  return G_SOURCE_REMOVE;
}

static gboolean read_first(gpointer data) {
  read_try(data, FALSE);
  return G_SOURCE_REMOVE;
}

SourceRead *source_read_new(void) {
  return g_new0(SourceRead, 1);
}

void source_read_start(SourceRead *read, Front *front) {
  target_keep(&read->target);
  LOOP_ASSERT_CURRENT(front->loop);
  struct SourceReadState *state = g_new0(struct SourceReadState, 1);
  state->front = front;
  state->read = read;
  read->state = state;
  g_atomic_int_inc(&front->reads);
  g_atomic_int_inc(&front->reads_in_flight);
  state->source = loop_add_timeout(front->loop, 0, read_first, state);
}

void source_read_free(SourceRead *read) {
  if (read == NULL)
    return;
  if (read->state != NULL) {
    source_clear(&read->state->source);
    g_atomic_int_add(&read->state->front->reads_in_flight, -1);
    if (read->state->waiting) {
      g_ptr_array_remove_fast(read->state->front->waiting, read);
      g_atomic_int_add(&read->state->front->waiting_reads, -1);
    }
    g_free(read->state);
  }
  g_clear_pointer(&read->batches, g_array_unref);
  failure_free(read->failure);
  source_origin_clear(&read->origin);
  g_free(read);
}

void source_origin_clear(SourceOrigin *origin) {
  g_free(origin->topic);
  g_free(origin->topic_id);
  g_free(origin->leader_address);
  *origin = (SourceOrigin){0};
}

/* ---- finding ---- */

static void time_find(const FakePartition *partition, SourceFind *find) {
  find->offset = partition->high_watermark; /* records of the tests have 1000 + offset */
  gint64 offset = MAX(find->place.timestamp_ms - 1000, partition->log_start_offset);
  if (offset >= partition->high_watermark)
    return;
  find->offset = offset;
  find->has_timestamp = TRUE;
  find->timestamp_ms = 1000 + offset;
}

static void place_find(const FakePartition *partition, SourceFind *find) {
  switch (find->place.kind) {
  case PLACE_TIME:
    time_find(partition, find);
    break;
  case PLACE_OFFSET:
    find->offset = find->place.offset;
    find->failure = range_check(partition, find->offset);
    break;
  case PLACE_EARLIEST:
    find->offset = partition->log_start_offset;
    break;
  case PLACE_LATEST:
  case PLACE_LAST_STABLE:
    find->offset = partition->high_watermark;
    break;
  }
}

static gboolean find_end(gpointer data) {
  SourceFind *find = data;
  const FakePartition *partition = partition_of(find->state->front, &find->target, &find->failure);
  if (partition != NULL)
    place_find(partition, find);
  find->origin = origin_new();
  source_clear(&find->state->source);
  g_clear_pointer(&find->state, g_free);
  find->done(find, find->user_data);
  return G_SOURCE_REMOVE;
}

SourceFind *source_find_new(void) {
  return g_new0(SourceFind, 1);
}

void source_find_start(SourceFind *find, Front *front) {
  target_keep(&find->target);
  find->state = g_new0(struct SourceFindState, 1);
  find->state->front = front;
  g_atomic_int_inc(&front->finds);
  find->state->source = loop_add_timeout(front->loop, 0, find_end, find);
}

void source_find_free(SourceFind *find) {
  if (find == NULL)
    return;
  if (find->state != NULL)
    source_clear(&find->state->source);
  g_free(find->state);
  failure_free(find->failure);
  source_origin_clear(&find->origin);
  g_free(find);
}

/* ---- topics ---- */

static gboolean topic_end(gpointer data) {
  SourceTopic *topic = data;
  SourceTarget target = topic->target;
  target.partition = FAKE_PARTITIONS - 1;
  partition_of(topic->state->front, &target, &topic->failure);
  topic->name = g_strdup(FAKE_TOPIC);
  topic->id = g_strdup(FAKE_TOPIC_ID);
  topic->partition_count = FAKE_PARTITIONS;
  source_clear(&topic->state->source);
  g_clear_pointer(&topic->state, g_free);
  topic->done(topic, topic->user_data);
  return G_SOURCE_REMOVE;
}

SourceTopic *source_topic_new(void) {
  return g_new0(SourceTopic, 1);
}

void source_topic_start(SourceTopic *topic, Front *front) {
  target_keep(&topic->target);
  topic->state = g_new0(struct SourceTopicState, 1);
  topic->state->front = front;
  topic->state->source = loop_add_timeout(front->loop, 0, topic_end, topic);
}

void source_topic_free(SourceTopic *topic) {
  if (topic == NULL)
    return;
  if (topic->state != NULL)
    source_clear(&topic->state->source);
  g_free(topic->state);
  g_free(topic->name);
  g_free(topic->id);
  failure_free(topic->failure);
  g_free(topic);
}

/* ---- steering by the test ---- */

void fake_on_loop(Front *front, void (*func)(gpointer front)) {
  loop_call_and_wait(front->loop, func, front);
}

typedef struct {
  Front *front;
  gint32 partition;
  guint count;
  gsize value_bytes;
  Milena__V1__Compression compression;
  FailureReason reason;
  gint64 offset;
} Order;

static void append(gpointer data) {
  const Order *order = data;
  FakePartition *partition = &order->front->partitions[order->partition];
  batches_add_sized(partition->batches, partition->high_watermark, order->count, order->value_bytes,
                    order->compression);
  partition->high_watermark += order->count;
  g_autoptr(GPtrArray) waiting = g_ptr_array_copy(order->front->waiting, NULL, NULL);
  for (guint i = 0; i < waiting->len; i++) {
    SourceRead *read = g_ptr_array_index(waiting, i);
    if (g_ptr_array_find(order->front->waiting, read, NULL) && read->target.partition == order->partition)
      read_try(read->state, FALSE);
  }
}

void fake_append(Front *front, gint32 partition, guint count, gsize value_bytes, Milena__V1__Compression compression) {
  Order order = {
      .front = front, .partition = partition, .count = count, .value_bytes = value_bytes, .compression = compression};
  loop_call_and_wait(front->loop, append, &order);
}

static void fail(gpointer data) {
  const Order *order = data;
  order->front->partitions[order->partition].reason = order->reason;
  order->front->partitions[order->partition].failures = (gint)order->count;
}

void fake_fail(Front *front, gint32 partition, FailureReason reason, gint count) {
  Order order = {.front = front, .partition = partition, .count = (guint)count, .reason = reason};
  loop_call_and_wait(front->loop, fail, &order);
}

static void set_log_start(gpointer data) {
  const Order *order = data;
  order->front->partitions[order->partition].log_start_offset = order->offset;
}

void fake_set_log_start(Front *front, gint32 partition, gint64 offset) {
  Order order = {.front = front, .partition = partition, .offset = offset};
  loop_call_and_wait(front->loop, set_log_start, &order);
}
