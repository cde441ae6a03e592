/* The consumer as its user sees it: see consumer.h and milena.h.
 *
 * Invariants (under the mutex)
 *   1. `queued_bytes` is the sum of the chunks' bytes in `chunks`, and so is each part's.
 *   2. A chunk whose generation is not its part's, or whose part is not assigned, is never given to the user.
 *   3. A part's `position` is behind all that was given to the user; what is queued lies between it and `fetch_offset`.
 *
 * poll decodes on the user's thread: the loop stays free for the network. */
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
  g_queue_init(&consumer->chunks);
  consumer->records = g_array_new(FALSE, FALSE, sizeof(MilenaConsumedRecord));
  consumer->headers = g_array_new(FALSE, FALSE, sizeof(MilenaHeader));
  consumer->names = g_string_chunk_new(1024);
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
  consumer->queued_bytes += chunk->bytes;
  chunk->part->queued_bytes += chunk->bytes;
  g_queue_push_tail(&consumer->chunks, chunk);
  pthread_cond_signal(&consumer->arrived);
}

static Chunk *consumer_pop(MilenaConsumer *consumer) {
  Chunk *chunk = g_queue_pop_head(&consumer->chunks);
  if (chunk != NULL) {
    consumer->queued_bytes -= chunk->bytes;
    chunk->part->queued_bytes -= chunk->bytes;
  }
  return chunk;
}

static gboolean chunk_is_current(const Chunk *chunk) {
  return chunk->part->assigned && chunk->generation == chunk->part->generation;
}

/* Drop the chunks that nobody may see any more. */
static void consumer_sweep(MilenaConsumer *consumer) {
  guint count = consumer->chunks.length;
  for (guint i = 0; i < count; i++) {
    Chunk *chunk = consumer_pop(consumer);
    if (chunk_is_current(chunk))
      consumer_push(consumer, chunk);
    else
      chunk_free(chunk);
  }
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
  consumer_sweep(consumer);
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

/* Forget the batch that poll gave out of. */
static void consumer_drop_current(MilenaConsumer *consumer) {
  g_clear_pointer(&consumer->reader, log_records_reader_free);
  Chunk *chunk = g_steal_pointer(&consumer->current);
  if (chunk == NULL)
    return;
  pthread_mutex_lock(&consumer->mutex);
  chunk_free(chunk);
  pthread_mutex_unlock(&consumer->mutex);
}

static void parts_drop(GPtrArray *parts) {
  for (guint i = 0; i < parts->len; i++) {
    Part *part = parts->pdata[i];
    part->assigned = FALSE;
    part_unref(part);
  }
  g_ptr_array_set_size(parts, 0);
}

static Part *part_new(const MilenaAssignment *assignment) {
  Part *part = g_new0(Part, 1);
  part->refs = 1;
  part->topic = g_strdup(assignment->topic);
  part->partition = assignment->partition;
  part->assigned = TRUE;
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
  consumer_sweep(consumer);
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
  consumer_drop_current(consumer);
  pthread_mutex_lock(&consumer->mutex);
  parts_drop(consumer->parts);
  for (size_t i = 0; i < count; i++)
    part_assign(consumer, &assignments[i]);
  consumer_sweep(consumer);
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

/* ---- polling ---- */

static MilenaBytes to_bytes(LogField field) {
  if (!field.present)
    return (MilenaBytes){NULL, 0};
  return (MilenaBytes){field.data != NULL ? (const void *)field.data : "", field.len};
}

static void add_headers(MilenaConsumer *consumer, const LogRecord *record) {
  LogHeaderIter iter;
  LogHeader header;
  log_header_iter_init(&iter, record);
  while (log_header_iter_next(&iter, &header)) {
    MilenaHeader named = {g_string_chunk_insert_len(consumer->names, header.name, (gssize)header.name_len),
                          to_bytes(header.value)};
    g_array_append_val(consumer->headers, named);
  }
}

/* The headers' array may have moved while it grew: point into it once it is complete. */
static void link_headers(MilenaConsumer *consumer) {
  guint at = 0;
  for (guint i = 0; i < consumer->records->len; i++) {
    MilenaConsumedRecord *record = &g_array_index(consumer->records, MilenaConsumedRecord, i);
    record->headers = record->header_count > 0 ? &g_array_index(consumer->headers, MilenaHeader, at) : NULL;
    at += (guint)record->header_count;
  }
}

/* Take records out of the reader. Returns FALSE, with nothing more to come, at its end or with *ret_failure. */
static gboolean read_records(MilenaConsumer *consumer, Failure **ret_failure) {
  g_array_set_size(consumer->records, 0);
  g_array_set_size(consumer->headers, 0);
  g_string_chunk_clear(consumer->names);
  LogRecord record;
  while (consumer->records->len < consumer->options.poll_records_max) {
    if (!log_records_reader_next(consumer->reader, &record, ret_failure))
      return FALSE;
    MilenaConsumedRecord consumed = {
        .offset = record.offset,
        .timestamp_ms = record.timestamp_ms,
        .key = to_bytes(record.key),
        .value = to_bytes(record.value),
        .header_count = record.header_count,
        .leader_epoch = consumer->current->batch.leader_epoch,
    };
    if (record.header_count > 0)
      add_headers(consumer, &record);
    g_array_append_val(consumer->records, consumed);
  }
  return TRUE;
}

/* The current batch is damaged: its partition rests. @failure: taken. Returns the error for the user. */
static MilenaError *current_is_corrupt(MilenaConsumer *consumer, Failure *failure) {
  Chunk *chunk = consumer->current;
  Part *part = chunk->part;
  Failure *corrupt =
      failure_new(FAILURE(CORRUPT_LOG),
                  "a batch at offset %" G_GINT64_FORMAT
                  " of partition %d of topic %s arrived damaged: %s. Seek to read it again, or behind it",
                  chunk->batch.base_offset, part->partition, part->topic, failure_message(failure));
  failure_free(failure);
  failure_add(corrupt, "topic", "%s", part->topic);
  failure_add(corrupt, "partition", "%d", part->partition);
  failure_add(corrupt, "offset", "%" G_GINT64_FORMAT, chunk->batch.base_offset);
  pthread_mutex_lock(&consumer->mutex);
  if (chunk_is_current(chunk)) {
    part->generation++;
    part->state = PART_RESTING;
    consumer_sweep(consumer);
  }
  pthread_mutex_unlock(&consumer->mutex);
  consumer_drop_current(consumer);
  return milena_error_take(corrupt, OUTCOME_NOT_WRITTEN);
}

/* Open the chunk that was just taken. @from_offset: of the part. */
static Failure *open_current(MilenaConsumer *consumer, gint64 from_offset) {
  const LogBatch *batch = &consumer->current->batch;
  Failure *failure = log_batch_verify(batch);
  if (failure == NULL)
    failure = log_records_reader_new(batch, &consumer->reader);
  if (failure == NULL)
    log_records_reader_skip_to(consumer->reader, from_offset); /* a batch may begin before it */
  return failure;
}

/* Give out of the current chunk. Returns TRUE when there is something for the user: a batch or an error. */
static gboolean poll_current(MilenaConsumer *consumer, const MilenaRecordBatch **ret_batch, MilenaError **ret_error) {
  Chunk *chunk = consumer->current;
  Failure *failure = NULL;
  gboolean more = consumer->reader != NULL && read_records(consumer, &failure);
  if (failure != NULL) {
    *ret_error = current_is_corrupt(consumer, failure);
    return TRUE;
  }
  guint count = consumer->reader != NULL ? consumer->records->len : 0;
  gint64 next_offset =
      more ? g_array_index(consumer->records, MilenaConsumedRecord, count - 1).offset + 1 : chunk->next_offset;
  pthread_mutex_lock(&consumer->mutex);
  gboolean wanted = chunk_is_current(chunk);
  if (wanted) {
    chunk->part->position = chunk->moves ? next_offset : MAX(chunk->part->position, next_offset);
    chunk->part->log_start_offset = chunk->log_start_offset;
    if (count > 0)
      chunk->part->given_epoch = chunk->batch.leader_epoch;
  }
  pthread_mutex_unlock(&consumer->mutex);
  if (!wanted || count == 0) {
    consumer_drop_current(consumer);
    return FALSE;
  }
  link_headers(consumer);
  consumer->batch = (MilenaRecordBatch){
      .topic = chunk->part->topic,
      .partition = chunk->part->partition,
      .records = (const MilenaConsumedRecord *)consumer->records->data,
      .count = count,
      .next_offset = next_offset,
      .high_watermark = chunk->high_watermark,
      .log_start_offset = chunk->log_start_offset,
  };
  *ret_batch = &consumer->batch;
  return TRUE;
}

/* Wait for a chunk that the user may see; NULL when the time is up, or the group has something to tell first.
 *
 * @ret_from: the part's position */
static Chunk *wait_for_chunk(MilenaConsumer *consumer, gint64 deadline_us, gint64 *ret_from) {
  pthread_mutex_lock(&consumer->mutex);
  gboolean in_time = TRUE;
  Chunk *chunk = NULL;
  while (chunk == NULL && in_time && !group_wants_turn(consumer->group)) {
    chunk = consumer_pop(consumer);
    if (chunk != NULL && !chunk_is_current(chunk))
      g_clear_pointer(&chunk, chunk_free);
    else if (chunk == NULL)
      in_time = cond_wait_until(&consumer->arrived, &consumer->mutex, deadline_us);
  }
  if (chunk != NULL)
    *ret_from = chunk->part->position;
  pthread_mutex_unlock(&consumer->mutex);
  return chunk;
}

MilenaError *milena_consumer_poll(MilenaConsumer *consumer, int32_t timeout_ms, const MilenaRecordBatch **ret_batch) {
  INVARIANT(!loop_is_current(client_loop(consumer->client)), "a callback must not wait");
  gint64 deadline_us = client_deadline_us(timeout_ms);
  MilenaError *error = NULL;
  *ret_batch = NULL;
  for (gboolean begins = TRUE;; begins = FALSE) {
    error = group_turn(consumer->group, begins);
    if (error != NULL || (consumer->current != NULL && poll_current(consumer, ret_batch, &error)))
      return error;
    gint64 from_offset = 0;
    consumer->current = wait_for_chunk(consumer, deadline_us, &from_offset);
    if (consumer->current == NULL && g_get_monotonic_time() < deadline_us)
      continue; /* the group's turn */
    if (consumer->current == NULL)
      return NULL;
    fetcher_wake(consumer->fetcher); /* there is room */
    if (consumer->current->failure != NULL) {
      error = milena_error_take(g_steal_pointer(&consumer->current->failure), OUTCOME_NOT_WRITTEN);
      consumer_drop_current(consumer);
      return error;
    }
    Failure *failure = consumer->current->batch.records != NULL ? open_current(consumer, from_offset) : NULL;
    if (failure != NULL)
      return current_is_corrupt(consumer, failure);
  }
}

void milena_consumer_free(MilenaConsumer *consumer) {
  if (consumer == NULL)
    return;
  INVARIANT(!loop_is_current(client_loop(consumer->client)), "a consumer is not freed in a callback");
  group_free(consumer->group);
  fetcher_free(consumer->fetcher);
  consumer_drop_current(consumer);
  parts_drop(consumer->parts);
  consumer_sweep(consumer);
  g_ptr_array_unref(consumer->parts);
  g_array_unref(consumer->records);
  g_array_unref(consumer->headers);
  g_string_chunk_free(consumer->names);
  failure_free(consumer->trouble);
  pthread_cond_destroy(&consumer->arrived);
  pthread_mutex_destroy(&consumer->mutex);
  g_free(consumer);
}
