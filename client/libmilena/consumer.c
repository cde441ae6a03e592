/* What a consumer reads and where it is: see consumer.h and milena.h; poll.c gives it to the user.
 *
 * Invariants (under the mutex)
 *   1. A part's `queued_bytes` is the sum of its chunks' bytes; the consumer's, the sum of all parts'.
 *   2. A part is in `ready` while it has chunks. All of them are of its generation, and it is assigned.
 *   3. A part's `position` is behind all that was given to the user; what is queued lies between it and `fetch_offset`.
 */
#include "client/libmilena/consumer.h"

#include <string.h>

#include "client/libmilena/convert.h"
#include "client/libmilena/group.h"
#include "services/base/cond.h"

void milena_consumer_options_init(MilenaConsumerOptions *options) {
  *options = (MilenaConsumerOptions){
      .prefetch_bytes = 32u << 20,
      .fetch_bytes = 4u << 20,
      .partition_fetch_bytes = 1u << 20,
      .min_bytes = 1,
      .max_wait_ms = 500,
      .poll_records_max = 1000,
      .reset = MILENA_RESET_ERROR,
      .poll_bytes_max = 1u << 20,
  };
}

static void clamp_options(MilenaConsumerOptions *options) {
  options->fetch_bytes = CLAMP(options->fetch_bytes, 1024, 64u << 20);
  options->partition_fetch_bytes = CLAMP(options->partition_fetch_bytes, 1024, options->fetch_bytes);
  options->prefetch_bytes = MAX(options->prefetch_bytes, 1024);
  options->min_bytes = CLAMP(options->min_bytes, 1, options->fetch_bytes);
  options->max_wait_ms = CLAMP(options->max_wait_ms, 0, 60 * 1000);
  options->poll_records_max = MAX(options->poll_records_max, 1);
  options->reset = CLAMP(options->reset, MILENA_RESET_ERROR, MILENA_RESET_END);
}

MilenaConsumer *milena_consumer_new(MilenaClient *client, const MilenaConsumerOptions *options) {
  MilenaConsumer *consumer = g_new0(MilenaConsumer, 1);
  consumer->client = client;
  milena_consumer_options_init(&consumer->options);
  if (options != NULL)
    consumer->options = *options;
  clamp_options(&consumer->options);
  pthread_mutex_init(&consumer->mutex, NULL);
  cond_init_monotonic(&consumer->arrived);
  consumer->parts = g_ptr_array_new();
  g_queue_init(&consumer->ready);
  consumer->given.opened = g_array_new(FALSE, FALSE, sizeof(Opened));
  consumer->given.records = g_array_new(FALSE, FALSE, sizeof(MilenaConsumedRecord));
  consumer->given.headers = g_array_new(FALSE, FALSE, sizeof(MilenaHeader));
  consumer->given.names = g_string_chunk_new(1024);
  consumer->fetcher = fetcher_new(consumer);
  client_follow(client);
  return consumer;
}

/* ---- parts and chunks ---- */

Part *part_ref(Part *part) {
  part->refs++;
  return part;
}

void part_unref(Part *part) {
  if (--part->refs > 0)
    return;
  g_free(part->topic);
  g_free(part->topic_id);
  g_free(part);
}

void chunk_free(Chunk *chunk) {
  if (chunk == NULL)
    return;
  log_batch_clear(&chunk->batch);
  failure_free(chunk->failure);
  part_unref(chunk->part);
  g_free(chunk);
}

void consumer_push(MilenaConsumer *consumer, Chunk *chunk) {
  Part *part = chunk->part;
  if (part->chunks.length == 0)
    g_queue_push_tail_link(&consumer->ready, &part->turn);
  consumer->queued_bytes += chunk->bytes;
  part->queued_bytes += chunk->bytes;
  g_queue_push_tail(&part->chunks, chunk);
  pthread_cond_signal(&consumer->arrived);
}

void consumer_push_back(MilenaConsumer *consumer, Chunk *chunk) {
  Part *part = chunk->part;
  consumer_push(consumer, chunk);
  g_queue_push_head(&part->chunks, g_queue_pop_tail(&part->chunks));
}

Chunk *part_pop(MilenaConsumer *consumer, Part *part) {
  Chunk *chunk = g_queue_pop_head(&part->chunks);
  if (chunk == NULL)
    return NULL;
  consumer->queued_bytes -= chunk->bytes;
  part->queued_bytes -= chunk->bytes;
  g_queue_unlink(&consumer->ready, &part->turn);
  if (part->chunks.length > 0)
    g_queue_push_tail_link(&consumer->ready, &part->turn);
  return chunk;
}

void part_drop_chunks(MilenaConsumer *consumer, Part *part) {
  part_ref(part); /* chunks may hold the last one */
  for (Chunk *chunk = part_pop(consumer, part); chunk != NULL; chunk = part_pop(consumer, part))
    chunk_free(chunk);
  part_unref(part);
}

void part_move(MilenaConsumer *consumer, Part *part, MilenaPosition position) {
  part->generation++;
  part->asked = FALSE;
  part->failures = 0;
  part->not_before_us = 0;
  part->start = position;
  part->state = position.kind == MILENA_POSITION_OFFSET ? PART_FETCHING : PART_RESOLVING;
  part->fetch_offset = position.kind == MILENA_POSITION_OFFSET ? position.value : -1;
  part->position = part->fetch_offset;
  part_drop_chunks(consumer, part);
}

void part_rest(MilenaConsumer *consumer, Part *part, Failure *failure) {
  failure_add(failure, "topic", "%s", part->topic);
  failure_add(failure, "partition", "%d", part->partition);
  failure_add(failure, "offset", "%" G_GINT64_FORMAT, part->fetch_offset);
  part->state = PART_RESTING;
  part->asked = FALSE;
  Chunk *chunk = g_new0(Chunk, 1);
  *chunk = (Chunk){.part = part_ref(part), .generation = part->generation, .failure = failure};
  consumer_push(consumer, chunk);
}

Part *part_find(const GPtrArray *parts, const char *topic, gint32 partition) {
  for (guint i = 0; i < parts->len; i++) {
    Part *part = parts->pdata[i];
    if (part->partition == partition && strcmp(part->topic, topic) == 0)
      return part;
  }
  return NULL;
}

/* ---- assigning ---- */

static void parts_drop(MilenaConsumer *consumer) {
  for (guint i = 0; i < consumer->parts->len; i++) {
    Part *part = consumer->parts->pdata[i];
    part->assigned = FALSE;
    part_drop_chunks(consumer, part);
    part_unref(part);
  }
  g_ptr_array_set_size(consumer->parts, 0);
}

static Part *part_new(const MilenaAssignment *assignment) {
  Part *part = g_new0(Part, 1);
  part->refs = 1;
  part->topic = g_strdup(assignment->topic);
  part->partition = assignment->partition;
  part->assigned = TRUE;
  g_queue_init(&part->chunks);
  part->turn.data = part;
  part->high_watermark = -1;
  part->log_start_offset = -1;
  part->committed = -1;
  part->given_epoch = -1;
  return part;
}

Part *part_assign(MilenaConsumer *consumer, const MilenaAssignment *assignment) {
  Part *part = part_new(assignment);
  g_ptr_array_add(consumer->parts, part);
  part_move(consumer, part, assignment->start);
  return part;
}

void part_unassign(MilenaConsumer *consumer, Part *part) {
  part->assigned = FALSE;
  g_ptr_array_remove(consumer->parts, part);
  part_drop_chunks(consumer, part);
  part_unref(part);
}

static MilenaError *check_place(const char *topic, gint32 partition, MilenaPosition position) {
  PositionProto ignored;
  if (topic == NULL || topic[0] == '\0')
    return milena_error_new(FAILURE(INVALID_FIELD), "a partition needs the name of its topic");
  if (partition < 0)
    return milena_error_new(FAILURE(INVALID_FIELD), "partition %d of topic %s is none: they count from 0", partition,
                            topic);
  if (!convert_to_position(position, &ignored))
    return milena_error_new(FAILURE(INVALID_FIELD), "the position in partition %d of topic %s is none", partition,
                            topic);
  return NULL;
}

static MilenaError *check_assignments(const MilenaAssignment *assignments, size_t count) {
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (size_t i = 0; i < count; i++) {
    MilenaError *error = check_place(assignments[i].topic, assignments[i].partition, assignments[i].start);
    if (error != NULL)
      return error;
    if (!g_hash_table_add(seen, g_strdup_printf("%d %s", assignments[i].partition, assignments[i].topic)))
      return milena_error_new(FAILURE(INVALID_FIELD), "partition %d of topic %s is assigned twice",
                              assignments[i].partition, assignments[i].topic);
  }
  return NULL;
}

MilenaError *milena_consumer_assign(MilenaConsumer *consumer, const MilenaAssignment *assignments, size_t count) {
  MilenaError *error = consumer->group == NULL ? check_assignments(assignments, count)
                                               : milena_error_new(FAILURE(INVALID_FIELD),
                                                                  "the consumer is in the group %s, which assigns "
                                                                  "its partitions: leave it first",
                                                                  consumer->group->options.group);
  if (error != NULL)
    return error;
  given_clear(consumer);
  pthread_mutex_lock(&consumer->mutex);
  parts_drop(consumer);
  for (size_t i = 0; i < count; i++)
    part_assign(consumer, &assignments[i]);
  g_clear_pointer(&consumer->trouble, failure_free);
  pthread_mutex_unlock(&consumer->mutex);
  fetcher_wake(consumer->fetcher);
  return NULL;
}

MilenaError *milena_consumer_assign_topic(MilenaConsumer *consumer, const char *topic, MilenaPosition start,
                                          int32_t timeout_ms) {
  MilenaError *error = check_place(topic, 0, start);
  if (error != NULL)
    return error;
  g_autoptr(View) view = NULL;
  Failure *failure = client_wait_topic(consumer->client, topic, client_deadline_us(timeout_ms), &view);
  if (failure != NULL)
    return milena_error_take(failure, OUTCOME_NOT_WRITTEN);
  guint32 count = view_topic(view, topic)->partition_count;
  g_autoptr(GArray) assignments = g_array_sized_new(FALSE, FALSE, sizeof(MilenaAssignment), count);
  for (guint32 i = 0; i < count; i++) {
    MilenaAssignment assignment = {topic, (gint32)i, start};
    g_array_append_val(assignments, assignment);
  }
  return milena_consumer_assign(consumer, (const MilenaAssignment *)assignments->data, count);
}

static MilenaError *not_assigned(const char *topic, gint32 partition) {
  return milena_error_new(FAILURE(INVALID_FIELD), "partition %d of topic %s is not assigned to this consumer",
                          partition, topic);
}

MilenaError *milena_consumer_seek(MilenaConsumer *consumer, const char *topic, int32_t partition,
                                  MilenaPosition position) {
  MilenaError *error = check_place(topic, partition, position);
  if (error != NULL)
    return error;
  pthread_mutex_lock(&consumer->mutex);
  Part *part = part_find(consumer->parts, topic, partition);
  if (part != NULL)
    part_move(consumer, part, position);
  pthread_mutex_unlock(&consumer->mutex);
  if (part == NULL)
    return not_assigned(topic, partition);
  fetcher_wake(consumer->fetcher);
  return NULL;
}

MilenaError *milena_consumer_position(MilenaConsumer *consumer, const char *topic, int32_t partition,
                                      int64_t *ret_offset, int64_t *ret_high_watermark) {
  pthread_mutex_lock(&consumer->mutex);
  const Part *part = part_find(consumer->parts, topic, partition);
  if (part != NULL) {
    *ret_offset = part->position;
    if (ret_high_watermark != NULL)
      *ret_high_watermark = part->high_watermark;
  }
  pthread_mutex_unlock(&consumer->mutex);
  return part != NULL ? NULL : not_assigned(topic, partition);
}

static MilenaError *set_paused(MilenaConsumer *consumer, const char *topic, gint32 partition, gboolean paused) {
  pthread_mutex_lock(&consumer->mutex);
  Part *part = part_find(consumer->parts, topic, partition);
  if (part != NULL && part->paused != paused) {
    part->paused = paused;
    if (paused && part->state == PART_FETCHING) /* what was fetched and not given is fetched again later */
      part_move(consumer, part, MILENA_AT_OFFSET(part->position));
  }
  pthread_mutex_unlock(&consumer->mutex);
  if (part == NULL)
    return not_assigned(topic, partition);
  fetcher_wake(consumer->fetcher);
  return NULL;
}

MilenaError *milena_consumer_pause(MilenaConsumer *consumer, const char *topic, int32_t partition) {
  return set_paused(consumer, topic, partition, TRUE);
}

MilenaError *milena_consumer_resume(MilenaConsumer *consumer, const char *topic, int32_t partition) {
  return set_paused(consumer, topic, partition, FALSE);
}

MilenaError *milena_consumer_trouble(MilenaConsumer *consumer) {
  pthread_mutex_lock(&consumer->mutex);
  Failure *trouble = failure_copy(consumer->trouble);
  pthread_mutex_unlock(&consumer->mutex);
  return milena_error_take(trouble, OUTCOME_NOT_WRITTEN);
}

void milena_consumer_free(MilenaConsumer *consumer) {
  if (consumer == NULL)
    return;
  INVARIANT(!loop_is_current(client_loop(consumer->client)), "a consumer is not freed in a callback");
  group_free(consumer->group);
  fetcher_free(consumer->fetcher);
  given_clear(consumer);
  parts_drop(consumer);
  g_ptr_array_unref(consumer->parts);
  g_array_unref(consumer->given.opened);
  g_array_unref(consumer->given.records);
  g_array_unref(consumer->given.headers);
  g_string_chunk_free(consumer->given.names);
  failure_free(consumer->trouble);
  pthread_cond_destroy(&consumer->arrived);
  pthread_mutex_destroy(&consumer->mutex);
  g_free(consumer);
}
