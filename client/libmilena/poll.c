/* What a poll gives: records of one partition, out of as many fetched batches as it may give, decoded on the user's
 * thread, so that the loop stays free for the network. Small batches are gathered: who commits after each poll would
 * otherwise commit for each of them.
 *
 *   nothing ──begin──► gathering ──enough, or no more there──► given ──next poll──► nothing
 *                          ▲                                     │
 *                          └───── next poll, `more`: the last batch goes on
 *
 * Invariants
 *   1. All that is opened is of one part and one generation, without a gap between: records of a part that was moved or
 *      given up meanwhile are not given.
 *   2. A batch that is damaged is told by a poll of its own, when what lies before it was given.
 *
 * Owned by the user's thread; parts and chunks under the consumer's mutex. */
#include "client/libmilena/consumer.h"
#include "client/libmilena/convert.h"
#include "client/libmilena/group.h"
#include "services/base/cond.h"

/* ---- what was given ---- */

static Opened *opened_at(const Given *given, guint index) {
  return &g_array_index(given->opened, Opened, index);
}

static Opened *opened_last(const Given *given) {
  return opened_at(given, given->opened->len - 1);
}

/* Forget what is opened, but for the last @keep. */
static void given_close(MilenaConsumer *consumer, guint keep) {
  Given *given = &consumer->given;
  guint closed = given->opened->len - keep;
  for (guint i = 0; i < closed; i++)
    if (opened_at(given, i)->reader != NULL)
      log_records_reader_free(opened_at(given, i)->reader);
  pthread_mutex_lock(&consumer->mutex); /* chunks hold parts */
  for (guint i = 0; i < closed; i++)
    chunk_free(opened_at(given, i)->chunk);
  pthread_mutex_unlock(&consumer->mutex);
  if (closed > 0)
    g_array_remove_range(given->opened, 0, closed);
  g_array_set_size(given->records, 0);
  g_array_set_size(given->headers, 0);
  g_string_chunk_clear(given->names);
  given->bytes = 0;
}

void given_clear(MilenaConsumer *consumer) {
  given_close(consumer, 0);
  consumer->given.more = FALSE;
}

/* ---- reading records ---- */

static MilenaBytes to_bytes(LogField field) {
  if (!field.present)
    return (MilenaBytes){NULL, 0};
  return (MilenaBytes){field.data != NULL ? (const void *)field.data : "", field.len};
}

static void add_headers(Given *given, const LogRecord *record) {
  LogHeaderIter iter;
  LogHeader header;
  log_header_iter_init(&iter, record);
  while (log_header_iter_next(&iter, &header)) {
    MilenaHeader named = {g_string_chunk_insert_len(given->names, header.name, (gssize)header.name_len),
                          to_bytes(header.value)};
    g_array_append_val(given->headers, named);
  }
}

/* The headers' array may have moved while it grew: point into it once it is complete. */
static void link_headers(Given *given) {
  guint at = 0;
  for (guint i = 0; i < given->records->len; i++) {
    MilenaConsumedRecord *record = &g_array_index(given->records, MilenaConsumedRecord, i);
    record->headers = record->header_count > 0 ? &g_array_index(given->headers, MilenaHeader, at) : NULL;
    at += (guint)record->header_count;
  }
}

/* Take records out of what was opened last. Returns NULL or why the batch is damaged. */
static Failure *read_records(MilenaConsumer *consumer) {
  Given *given = &consumer->given;
  const Opened *opened = opened_last(given);
  Failure *failure = NULL;
  LogRecord record;
  given->more = opened->reader != NULL;
  while (given->more && given->records->len < consumer->options.poll_records_max) {
    given->more = log_records_reader_next(opened->reader, &record, &failure);
    if (!given->more)
      break;
    MilenaConsumedRecord consumed = {
        .offset = record.offset,
        .timestamp_ms = record.timestamp_ms,
        .key = to_bytes(record.key),
        .value = to_bytes(record.value),
        .header_count = record.header_count,
        .leader_epoch = opened->chunk->batch.leader_epoch,
    };
    if (record.header_count > 0)
      add_headers(given, &record);
    given->bytes += record.key.len + record.value.len;
    g_array_append_val(given->records, consumed);
  }
  return failure;
}

/* Where the part goes on behind what was read. */
static gint64 given_next_offset(const Given *given) {
  guint count = given->records->len;
  return given->more && count > 0 ? g_array_index(given->records, MilenaConsumedRecord, count - 1).offset + 1
                                  : opened_last(given)->chunk->next_offset;
}

/* Open a chunk, taken, and read from it. @from_offset: of the part */
static Failure *open_chunk(MilenaConsumer *consumer, Chunk *chunk, gint64 from_offset) {
  Opened opened = {chunk, NULL};
  Failure *failure = NULL;
  if (chunk->batch.records != NULL) {
    failure = log_batch_verify(&chunk->batch);
    if (failure == NULL)
      failure = log_records_reader_new(&chunk->batch, &opened.reader);
    if (failure == NULL)
      log_records_reader_skip_to(opened.reader, from_offset); /* a batch may begin before it */
  }
  g_array_append_val(consumer->given.opened, opened);
  return failure != NULL ? failure : read_records(consumer);
}

/* ---- damage ---- */

static gboolean chunk_is_current(const Chunk *chunk) {
  return chunk->part->assigned && chunk->generation == chunk->part->generation;
}

/* The batch that was opened last is damaged: its partition rests. @failure: taken. Returns the error for the user. */
static MilenaError *last_is_corrupt(MilenaConsumer *consumer, Failure *failure) {
  const Chunk *chunk = opened_last(&consumer->given)->chunk;
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
    part_drop_chunks(consumer, part);
  }
  pthread_mutex_unlock(&consumer->mutex);
  given_clear(consumer);
  return milena_error_take(corrupt, OUTCOME_NOT_WRITTEN);
}

/* ---- gathering ---- */

/* The part's next chunk, if a poll may give it together with what it has: a batch that begins where that ends. */
static Chunk *take_next(MilenaConsumer *consumer) {
  Given *given = &consumer->given;
  Chunk *next = NULL;
  if (given->more || given->records->len >= consumer->options.poll_records_max ||
      given->bytes >= consumer->options.poll_bytes_max)
    return NULL;
  pthread_mutex_lock(&consumer->mutex);
  const Chunk *last = opened_last(given)->chunk;
  const Chunk *waiting = g_queue_peek_head(&last->part->chunks);
  if (waiting != NULL && waiting->batch.records != NULL && waiting->generation == last->generation)
    next = part_pop(consumer, last->part);
  pthread_mutex_unlock(&consumer->mutex);
  return next;
}

/* Put back what can't be given now: the next poll begins with it. */
static void put_last_back(MilenaConsumer *consumer, guint record_count) {
  Given *given = &consumer->given;
  Opened last = *opened_last(given);
  g_array_set_size(given->opened, given->opened->len - 1);
  g_array_set_size(given->records, record_count);
  given->more = FALSE;
  if (last.reader != NULL)
    log_records_reader_free(last.reader);
  pthread_mutex_lock(&consumer->mutex);
  if (chunk_is_current(last.chunk))
    consumer_push_back(consumer, last.chunk);
  else
    chunk_free(last.chunk);
  pthread_mutex_unlock(&consumer->mutex);
}

static void gather(MilenaConsumer *consumer) {
  Given *given = &consumer->given;
  guint opened = given->opened->len;
  for (Chunk *next = take_next(consumer); next != NULL; next = take_next(consumer)) {
    guint count = given->records->len;
    g_autoptr(Failure) failure = open_chunk(consumer, next, given_next_offset(given));
    if (failure == NULL)
      continue;
    put_last_back(consumer, count);
    break;
  }
  if (given->opened->len > opened)
    fetcher_wake(consumer->fetcher); /* there is room */
}

/* The part moves behind what is to be given. Returns FALSE when nobody may see that any more. */
static gboolean advance(MilenaConsumer *consumer) {
  Given *given = &consumer->given;
  const Chunk *last = opened_last(given)->chunk;
  Part *part = last->part;
  gint64 next_offset = given_next_offset(given);
  pthread_mutex_lock(&consumer->mutex);
  gboolean wanted = chunk_is_current(last);
  if (wanted) {
    part->position = last->moves ? next_offset : MAX(part->position, next_offset);
    part->log_start_offset = last->log_start_offset;
    if (given->records->len > 0)
      part->given_epoch = last->batch.leader_epoch;
  }
  pthread_mutex_unlock(&consumer->mutex);
  return wanted && given->records->len > 0;
}

/* Give what was read, and what else is there of the part. Returns FALSE when there is nothing for the user. */
static gboolean give(MilenaConsumer *consumer, const MilenaRecordBatch **ret_batch) {
  Given *given = &consumer->given;
  if (given->records->len > 0)
    gather(consumer);
  if (!advance(consumer)) {
    given_clear(consumer);
    return FALSE;
  }
  link_headers(given);
  const Chunk *last = opened_last(given)->chunk;
  given->batch = (MilenaRecordBatch){
      .topic = last->part->topic,
      .partition = last->part->partition,
      .records = (const MilenaConsumedRecord *)given->records->data,
      .count = given->records->len,
      .next_offset = given_next_offset(given),
      .high_watermark = last->high_watermark,
      .log_start_offset = last->log_start_offset,
  };
  *ret_batch = &given->batch;
  return TRUE;
}

/* ---- polling ---- */

/* Wait for the next part's first chunk; NULL when the time is up, or the group has something to tell first.
 *
 * @ret_from: the part's position */
static Chunk *wait_for_chunk(MilenaConsumer *consumer, gint64 deadline_us, gint64 *ret_from) {
  pthread_mutex_lock(&consumer->mutex);
  gboolean in_time = TRUE;
  Chunk *chunk = NULL;
  while (chunk == NULL && in_time && !group_wants_turn(consumer->group)) {
    Part *part = g_queue_peek_head(&consumer->ready);
    if (part != NULL)
      chunk = part_pop(consumer, part);
    else
      in_time = cond_wait_until(&consumer->arrived, &consumer->mutex, deadline_us);
  }
  if (chunk != NULL)
    *ret_from = chunk->part->position;
  pthread_mutex_unlock(&consumer->mutex);
  return chunk;
}

/* Go on with the batch that the poll before gave a part of. Returns TRUE when there is something for the user. */
static gboolean poll_more(MilenaConsumer *consumer, const MilenaRecordBatch **ret_batch, MilenaError **ret_error) {
  if (!consumer->given.more)
    return FALSE;
  given_close(consumer, 1);
  Failure *failure = read_records(consumer);
  if (failure != NULL)
    *ret_error = last_is_corrupt(consumer, failure);
  return failure != NULL || give(consumer, ret_batch);
}

/* The same for a chunk, taken, that was waited for. */
static gboolean poll_chunk(MilenaConsumer *consumer, Chunk *chunk, gint64 from_offset,
                           const MilenaRecordBatch **ret_batch, MilenaError **ret_error) {
  Failure *told = g_steal_pointer(&chunk->failure);
  Failure *damage = open_chunk(consumer, chunk, from_offset);
  if (damage != NULL)
    *ret_error = last_is_corrupt(consumer, damage);
  if (told == NULL)
    return damage != NULL || give(consumer, ret_batch);
  given_clear(consumer);
  *ret_error = milena_error_take(told, OUTCOME_NOT_WRITTEN);
  return TRUE;
}

MilenaError *milena_consumer_poll(MilenaConsumer *consumer, int32_t timeout_ms, const MilenaRecordBatch **ret_batch) {
  INVARIANT(!loop_is_current(client_loop(consumer->client)), "a callback must not wait");
  gint64 deadline_us = client_deadline_us(timeout_ms);
  MilenaError *error = NULL;
  *ret_batch = NULL;
  for (gboolean begins = TRUE;; begins = FALSE) {
    error = group_turn(consumer->group, begins);
    if (error != NULL || poll_more(consumer, ret_batch, &error))
      return error;
    given_clear(consumer);
    gint64 from_offset = 0;
    Chunk *chunk = wait_for_chunk(consumer, deadline_us, &from_offset);
    if (chunk == NULL && g_get_monotonic_time() < deadline_us)
      continue; /* the group's turn */
    if (chunk == NULL)
      return NULL;
    gboolean given = poll_chunk(consumer, chunk, from_offset, ret_batch, &error);
    fetcher_wake(consumer->fetcher); /* there is room */
    if (given)
      return error;
  }
}
