/* Batches that wait: see accumulator.h.
 *
 * Invariants (under the mutex)
 *   1. `buffered_bytes` is the sum over the batches in `outstanding`.
 *   2. `outstanding` holds every batch from its creation until it is reported, in the order of creation.
 *   3. Only the last batch of a lane is open; a batch in a lane has at least one record.
 *   4. A lane is in `active` while there is a batch in its queue.
 *
 * Full: appends wait for room, or fail; what waits for linger then leaves at once. */
#include "client/libmilena/accumulator.h"

#include <string.h>

#include "services/base/cond.h"
#include "services/base/invariant.h"
#include "storage/log/partitioner.h"

/* Builders that are kept for the next batch: they hold buffers. */
#define SPARE_BUILDERS_MAX 32

struct Accumulator {
  const MilenaProducerOptions *options;
  void (*wake)(gpointer data);
  gpointer wake_data;
  pthread_mutex_t mutex;
  pthread_cond_t room;     /* buffered_bytes fell */
  pthread_cond_t reported; /* a batch left `outstanding` */
  GHashTable *topics;      /* name → TopicLanes, owned */
  TopicLanes *latest;      /* of the latest append: most go to the same */
  GQueue active;           /* of Lane, by their embedded links, in the order of their turns */
  GQueue outstanding;      /* of Batch, by their embedded links */
  GPtrArray *spare;        /* of LogRecordsBuilder, owned */
  guint64 next_number;
  guint waiting_for_room;
  Failure *trouble;
  MilenaProducerStats stats;
};

static void lane_free(gpointer data) {
  Lane *lane = data;
  INVARIANT(g_queue_is_empty(&lane->queue) && g_queue_is_empty(&lane->in_flight), "every accepted record is reported");
  g_free(lane);
}

static void topic_lanes_free(gpointer data) {
  TopicLanes *topic = data;
  g_ptr_array_unref(topic->lanes);
  g_free(topic->name);
  g_free(topic);
}

static void builder_free(gpointer builder) {
  log_records_builder_free(builder);
}

Accumulator *accumulator_new(const MilenaProducerOptions *options, void (*wake)(gpointer data), gpointer wake_data) {
  Accumulator *accumulator = g_new0(Accumulator, 1);
  accumulator->options = options;
  accumulator->wake = wake;
  accumulator->wake_data = wake_data;
  pthread_mutex_init(&accumulator->mutex, NULL);
  cond_init_monotonic(&accumulator->room);
  cond_init_monotonic(&accumulator->reported);
  accumulator->topics = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, topic_lanes_free);
  g_queue_init(&accumulator->active);
  accumulator->spare = g_ptr_array_new_with_free_func(builder_free);
  g_queue_init(&accumulator->outstanding);
  return accumulator;
}

void accumulator_free(Accumulator *accumulator) {
  if (accumulator == NULL)
    return;
  INVARIANT(g_queue_is_empty(&accumulator->outstanding), "every accepted record is reported");
  g_hash_table_unref(accumulator->topics);
  g_ptr_array_unref(accumulator->spare);
  failure_free(accumulator->trouble);
  pthread_cond_destroy(&accumulator->reported);
  pthread_cond_destroy(&accumulator->room);
  pthread_mutex_destroy(&accumulator->mutex);
  g_free(accumulator);
}

/* ---- batches ---- */

static Batch *batch_new(Accumulator *accumulator, Lane *lane, gint64 now_us) {
  Batch *batch = g_new0(Batch, 1);
  batch->lane = lane;
  batch->number = ++accumulator->next_number;
  batch->outstanding.data = batch;
  batch->encoded = (LogBatch)LOG_BATCH_INIT;
  guint spare = accumulator->spare->len;
  batch->builder = spare > 0 ? g_ptr_array_steal_index_fast(accumulator->spare, spare - 1) : log_records_builder_new();
  batch->created_us = now_us;
  batch->deadline_us = now_us + accumulator->options->timeout_ms * G_TIME_SPAN_MILLISECOND;
  return batch;
}

static void keep_builder(Accumulator *accumulator, LogRecordsBuilder *builder) {
  log_records_builder_reset(builder);
  if (accumulator->spare->len < SPARE_BUILDERS_MAX)
    g_ptr_array_add(accumulator->spare, builder);
  else
    log_records_builder_free(builder);
}

static void batch_free(Accumulator *accumulator, Batch *batch) {
  if (batch->builder != NULL)
    keep_builder(accumulator, batch->builder);
  log_batch_clear(&batch->encoded);
  if (batch->waiters != NULL)
    g_array_unref(batch->waiters);
  failure_free(batch->last);
  g_free(batch);
}

static void lane_activate(Accumulator *accumulator, Lane *lane) {
  if (lane->active)
    return;
  lane->active = TRUE;
  g_queue_push_tail_link(&accumulator->active, &lane->turn);
}

/* The lane's open batch, if @bytes more fit. */
static Batch *lane_open_batch(const Lane *lane, gsize bytes) {
  Batch *last = lane->queue.tail != NULL ? lane->queue.tail->data : NULL;
  if (last == NULL || last->closed || log_records_builder_bytes(last->builder) + bytes > lane->topic->batch_limit)
    return NULL;
  return last;
}

/* ---- which lane ---- */

/* The next lane in turn that has a leader; the next at all when none has. */
static guint32 next_in_turn(const TopicLanes *topic, guint32 from) {
  for (guint32 i = 1; i <= topic->lanes->len; i++) {
    guint32 candidate = (from + i) % topic->lanes->len;
    if (((Lane *)topic->lanes->pdata[candidate])->has_leader)
      return candidate;
  }
  return (from + 1) % topic->lanes->len;
}

/* Returns NULL with *ret_failure set when the record names a partition that is none. */
static Lane *choose_lane(const Accumulator *accumulator, TopicLanes *topic, const AppendRecord *record, gsize bytes,
                         Failure **ret_failure) {
  guint32 count = topic->lanes->len;
  guint32 partition;
  if (record->partition != MILENA_PARTITION_ANY) {
    if (record->partition < 0 || (guint32)record->partition >= count) {
      *ret_failure = failure_new(FAILURE(UNKNOWN_PARTITION), "topic %s has no partition %d: it has %u, counted from 0",
                                 topic->name, record->partition, count);
      return NULL;
    }
    partition = (guint32)record->partition;
  } else if (record->key.present) {
    partition = log_partitioner_for_key(record->key.data, record->key.len, count);
  } else {
    Lane *sticky = topic->lanes->pdata[topic->sticky % count];
    if (accumulator->options->partitioner == MILENA_PARTITIONER_ROUND_ROBIN)
      topic->sticky = (topic->sticky + 1) % count;
    else if (lane_open_batch(sticky, bytes) == NULL)
      topic->sticky = next_in_turn(topic, topic->sticky % count);
    partition = topic->sticky;
  }
  return topic->lanes->pdata[partition];
}

/* ---- appending ---- */

static void batch_add_waiter(Batch *batch, const AppendRecord *record) {
  if (record->done == NULL)
    return;
  if (batch->waiters == NULL)
    batch->waiters = g_array_new(FALSE, FALSE, sizeof(BatchWaiter));
  BatchWaiter waiter = {batch->count, record->done, record->user_data, record->timestamp_ms};
  g_array_append_val(batch->waiters, waiter);
}

/* The batch is full enough that no usual record fits any more: it need not linger. */
static gboolean batch_is_full(const Batch *batch, gsize latest_bytes) {
  return log_records_builder_bytes(batch->builder) + latest_bytes > batch->lane->topic->batch_limit;
}

static Failure *append_to_lane(Accumulator *accumulator, Lane *lane, const AppendRecord *record, gsize bytes) {
  Batch *batch = lane_open_batch(lane, bytes);
  gboolean is_new = batch == NULL;
  if (is_new)
    batch = batch_new(accumulator, lane, g_get_monotonic_time());
  Failure *failure = log_records_builder_add(batch->builder, record->key, record->value, record->headers,
                                             record->header_count, record->timestamp_ms);
  if (failure != NULL) {
    if (is_new)
      batch_free(accumulator, batch);
    return failure;
  }
  if (is_new) {
    if (lane->queue.tail != NULL)
      ((Batch *)lane->queue.tail->data)->closed = TRUE;
    g_queue_push_tail(&lane->queue, batch);
    g_queue_push_tail_link(&accumulator->outstanding, &batch->outstanding);
    lane_activate(accumulator, lane);
  }
  batch_add_waiter(batch, record);
  batch->count++;
  gsize held = bytes + (record->done != NULL ? sizeof(BatchWaiter) : 0);
  batch->bytes += held;
  if (record->urgent || batch_is_full(batch, bytes))
    batch->closed = TRUE;
  accumulator->stats.buffered_bytes += held;
  accumulator->stats.records_accepted++;
  accumulator->stats.bytes_accepted += record->key.len + record->value.len;
  if (is_new || batch->closed)
    accumulator->wake(accumulator->wake_data);
  return NULL;
}

static Failure *no_room(const Accumulator *accumulator) {
  const Failure *trouble = accumulator->trouble;
  Failure *failure =
      failure_new(FAILURE(LIMIT_EXCEEDED),
                  "the producer's buffer is full: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                  " bytes wait to be sent or answered; the record was not accepted: send it again later%s%s",
                  accumulator->stats.buffered_bytes, accumulator->options->buffer_bytes,
                  trouble != NULL ? ". What holds it up: " : "", trouble != NULL ? failure_message(trouble) : "");
  return failure_add(failure, "buffer_bytes", "%" G_GUINT64_FORMAT, accumulator->options->buffer_bytes);
}

static gboolean has_room(const Accumulator *accumulator, gsize bytes) {
  guint64 buffered = accumulator->stats.buffered_bytes;
  /* One record that is larger than the whole buffer goes alone. */
  return buffered == 0 || buffered + bytes <= accumulator->options->buffer_bytes;
}

static Failure *wait_for_room(Accumulator *accumulator, gsize bytes, gint64 wait_until_us) {
  gboolean in_time = wait_until_us > g_get_monotonic_time();
  accumulator->waiting_for_room++;
  accumulator->wake(accumulator->wake_data); /* what lingers leaves now */
  while (in_time && !has_room(accumulator, bytes))
    in_time = cond_wait_until(&accumulator->room, &accumulator->mutex, wait_until_us);
  accumulator->waiting_for_room--;
  return has_room(accumulator, bytes) ? NULL : no_room(accumulator);
}

static TopicLanes *find_topic(Accumulator *accumulator, const char *name) {
  if (accumulator->latest == NULL || strcmp(accumulator->latest->name, name) != 0)
    accumulator->latest = g_hash_table_lookup(accumulator->topics, name);
  TopicLanes *topic = accumulator->latest;
  return topic != NULL && !topic->missing && topic->lanes->len > 0 ? topic : NULL;
}

static Failure *append_locked(Accumulator *accumulator, const char *topic_name, const AppendRecord *record,
                              gint64 wait_until_us) {
  gsize bytes = log_records_bytes(record->key, record->value, record->headers, record->header_count);
  if (!has_room(accumulator, bytes)) {
    Failure *failure = wait_for_room(accumulator, bytes, wait_until_us);
    if (failure != NULL)
      return failure;
  }
  TopicLanes *topic = find_topic(accumulator, topic_name);
  if (topic == NULL)
    return failure_new(FAILURE(UNKNOWN_TOPIC), "topic %s is not known", topic_name);
  Failure *failure = NULL;
  Lane *lane = choose_lane(accumulator, topic, record, bytes, &failure);
  return lane != NULL ? append_to_lane(accumulator, lane, record, bytes) : failure;
}

Failure *accumulator_append(Accumulator *accumulator, const char *topic_name, const AppendRecord *record,
                            gint64 wait_until_us) {
  pthread_mutex_lock(&accumulator->mutex);
  Failure *failure = append_locked(accumulator, topic_name, record, wait_until_us);
  pthread_mutex_unlock(&accumulator->mutex);
  return failure;
}

/* ---- topics ---- */

/* How many serialised bytes a batch may have, so that the topic takes it even where compression gains nothing. */
static gsize batch_limit(const MilenaProducerOptions *options, guint32 max_message_bytes) {
  if (max_message_bytes == 0)
    return options->batch_bytes;
  gsize room = max_message_bytes;
  if (options->compression != MILENA_COMPRESSION_NONE)
    room -= MIN(room, room / 128 + 64);
  return MIN(options->batch_bytes, room);
}

static void topic_update(const Accumulator *accumulator, TopicLanes *topic, const View *view) {
  const ViewTopic *seen = view_topic(view, topic->name);
  topic->missing = seen == NULL && view_is_known(view);
  if (seen == NULL)
    return;
  topic->batch_limit = batch_limit(accumulator->options, seen->max_message_bytes);
  for (guint32 i = topic->lanes->len; i < seen->partition_count; i++) {
    Lane *lane = g_new0(Lane, 1);
    lane->topic = topic;
    lane->partition = (gint32)i;
    lane->turn.data = lane;
    g_queue_init(&lane->queue);
    g_queue_init(&lane->in_flight);
    g_ptr_array_add(topic->lanes, lane);
  }
  for (guint32 i = 0; i < topic->lanes->len; i++) {
    Lane *lane = topic->lanes->pdata[i];
    lane->has_leader = i < seen->partition_count && seen->partitions[i].leader_id >= 0;
  }
}

void accumulator_learn(Accumulator *accumulator, const View *view, const char *topic_name) {
  pthread_mutex_lock(&accumulator->mutex);
  TopicLanes *topic = g_hash_table_lookup(accumulator->topics, topic_name);
  if (topic == NULL) {
    topic = g_new0(TopicLanes, 1);
    topic->name = g_strdup(topic_name);
    topic->lanes = g_ptr_array_new_with_free_func(lane_free);
    g_hash_table_insert(accumulator->topics, topic->name, topic);
    topic->sticky = g_random_int();
  }
  topic_update(accumulator, topic, view);
  if (topic->lanes->len > 0)
    topic->sticky %= topic->lanes->len;
  pthread_mutex_unlock(&accumulator->mutex);
}

void accumulator_update(Accumulator *accumulator, const View *view) {
  pthread_mutex_lock(&accumulator->mutex);
  GHashTableIter iter;
  gpointer topic;
  g_hash_table_iter_init(&iter, accumulator->topics);
  while (g_hash_table_iter_next(&iter, NULL, &topic))
    topic_update(accumulator, topic, view);
  pthread_mutex_unlock(&accumulator->mutex);
}

/* ---- flush, counters ---- */

static gboolean flushed(const Accumulator *accumulator, guint64 number) {
  const GList *oldest = accumulator->outstanding.head;
  return oldest == NULL || ((const Batch *)oldest->data)->number > number;
}

gboolean accumulator_flush(Accumulator *accumulator, gint64 deadline_us) {
  pthread_mutex_lock(&accumulator->mutex);
  guint64 number = accumulator->next_number;
  for (const GList *at = accumulator->active.head; at != NULL; at = at->next) {
    const Lane *lane = at->data;
    if (lane->queue.tail != NULL)
      ((Batch *)lane->queue.tail->data)->closed = TRUE;
  }
  accumulator->wake(accumulator->wake_data);
  gboolean in_time = TRUE;
  while (in_time && !flushed(accumulator, number))
    in_time = cond_wait_until(&accumulator->reported, &accumulator->mutex, deadline_us);
  gboolean all = flushed(accumulator, number);
  pthread_mutex_unlock(&accumulator->mutex);
  return all;
}

void accumulator_stats(Accumulator *accumulator, MilenaProducerStats *ret_stats) {
  pthread_mutex_lock(&accumulator->mutex);
  *ret_stats = accumulator->stats;
  pthread_mutex_unlock(&accumulator->mutex);
}

/* ---- the sender's side ---- */

GPtrArray *accumulator_active(Accumulator *accumulator) {
  pthread_mutex_lock(&accumulator->mutex);
  GPtrArray *active = g_ptr_array_sized_new(accumulator->active.length);
  for (const GList *at = accumulator->active.head; at != NULL; at = at->next)
    g_ptr_array_add(active, at->data);
  pthread_mutex_unlock(&accumulator->mutex);
  return active;
}

void accumulator_peek(Accumulator *accumulator, Lane *lane, gint64 now_us, LaneHead *ret_head) {
  pthread_mutex_lock(&accumulator->mutex);
  *ret_head = (LaneHead){.empty = TRUE};
  const Batch *batch = g_queue_peek_head(&lane->queue);
  if (batch != NULL) {
    gint64 lingered_us = batch->created_us + accumulator->options->linger_ms * G_TIME_SPAN_MILLISECOND;
    *ret_head = (LaneHead){
        .open = !batch->closed,
        .due = batch->closed || accumulator->waiting_for_room > 0 || now_us >= lingered_us,
        .due_us = lingered_us,
        .not_before_us = batch->not_before_us,
        .deadline_us = batch->deadline_us,
        .attempts = batch->attempts,
        .sequenced = batch->sequenced,
        .written = batch->written,
    };
  }
  pthread_mutex_unlock(&accumulator->mutex);
}

Batch *accumulator_take(Accumulator *accumulator, Lane *lane) {
  pthread_mutex_lock(&accumulator->mutex);
  Batch *batch = g_queue_pop_head(&lane->queue);
  INVARIANT(batch != NULL, "the sender takes only what it saw");
  batch->closed = TRUE;
  g_queue_unlink(&accumulator->active, &lane->turn);
  lane->active = FALSE;
  if (!g_queue_is_empty(&lane->queue))
    lane_activate(accumulator, lane);
  pthread_mutex_unlock(&accumulator->mutex);
  return batch;
}

void accumulator_put_back(Accumulator *accumulator, Batch *batch) {
  pthread_mutex_lock(&accumulator->mutex);
  GList *later = batch->lane->queue.head;
  while (later != NULL && ((const Batch *)later->data)->number < batch->number)
    later = later->next;
  g_queue_insert_before(&batch->lane->queue, later, batch);
  lane_activate(accumulator, batch->lane);
  pthread_mutex_unlock(&accumulator->mutex);
}

Failure *accumulator_encode(Accumulator *accumulator, Batch *batch) {
  if (batch->builder == NULL)
    return NULL;
  Failure *failure = log_records_builder_finish_unsealed(
      batch->builder, (Milena__V1__Compression)accumulator->options->compression, &batch->encoded);
  if (failure != NULL)
    return failure;
  pthread_mutex_lock(&accumulator->mutex);
  keep_builder(accumulator, g_steal_pointer(&batch->builder));
  pthread_mutex_unlock(&accumulator->mutex);
  return NULL;
}

void accumulator_count_sent(Accumulator *accumulator, const Batch *batch) {
  pthread_mutex_lock(&accumulator->mutex);
  accumulator->stats.batches_sent++;
  accumulator->stats.bytes_sent += log_batch_payload_bytes(&batch->encoded);
  if (batch->attempts > 1)
    accumulator->stats.batches_retried++;
  pthread_mutex_unlock(&accumulator->mutex);
}

void accumulator_finish(Accumulator *accumulator, Batch *batch, gboolean delivered, gboolean unknown) {
  pthread_mutex_lock(&accumulator->mutex);
  MilenaProducerStats *stats = &accumulator->stats;
  stats->records_delivered += delivered ? batch->count : 0;
  stats->records_failed += delivered ? 0 : batch->count;
  stats->records_unknown += !delivered && unknown ? batch->count : 0;
  stats->buffered_bytes -= batch->bytes;
  g_queue_unlink(&accumulator->outstanding, &batch->outstanding);
  batch_free(accumulator, batch);
  pthread_cond_broadcast(&accumulator->room);
  pthread_cond_broadcast(&accumulator->reported);
  pthread_mutex_unlock(&accumulator->mutex);
}

void accumulator_set_trouble(Accumulator *accumulator, Failure *trouble) {
  pthread_mutex_lock(&accumulator->mutex);
  Failure *before = accumulator->trouble;
  accumulator->trouble = trouble;
  pthread_mutex_unlock(&accumulator->mutex);
  failure_free(before);
}

Failure *accumulator_get_trouble(Accumulator *accumulator) {
  pthread_mutex_lock(&accumulator->mutex);
  Failure *trouble = failure_copy(accumulator->trouble);
  pthread_mutex_unlock(&accumulator->mutex);
  return trouble;
}
