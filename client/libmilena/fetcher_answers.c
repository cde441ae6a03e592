/* What the fetcher asks leaders, and what becomes of their answers: batches are queued, starts are looked up, troubles
 * that pass are waited out. See fetcher.c. */
#include "client/libmilena/convert.h"
#include "client/libmilena/fetcher_internal.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/times.h"

/* ---- troubles; the mutex is held ---- */

static gboolean passes(const Failure *failure) {
  switch (failure_reason(failure)) {
  case FAILURE(UNSPECIFIED):
  case FAILURE(UNKNOWN_OUTCOME): /* the connection broke: a read may be asked again */
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
  case FAILURE(INTERNAL):
  case FAILURE(FENCED):
    return TRUE;
  default:
    return failure_is_retriable(failure);
  }
}

void fetcher_set_trouble(Fetcher *fetcher, const Failure *failure) {
  MilenaConsumer *consumer = fetcher->consumer;
  Failure *before = consumer->trouble;
  consumer->trouble = failure_copy(failure);
  failure_free(before);
}

/* Try this part again later. */
static void part_back_off(Fetcher *fetcher, Part *part, const Failure *failure) {
  part->asked = part->displaced = FALSE;
  part->failures++;
  gint64 pause_ms = MAX(client_backoff_ms(fetcher_client(fetcher), part->failures), failure_retry_delay_ms(failure));
  part->not_before_us = g_get_monotonic_time() + pause_ms * G_TIME_SPAN_MILLISECOND;
  fetcher_set_trouble(fetcher, failure);
}

/* What was fetched before stays queued: the user gets it, then the jump. */
static void part_out_of_range(Fetcher *fetcher, Part *part, const Failure *failure) {
  MilenaConsumer *consumer = fetcher->consumer;
  if (consumer->options.reset == MILENA_RESET_ERROR) {
    part_rest(consumer, part, failure_copy(failure));
    return;
  }
  part->asked = FALSE;
  part->state = PART_RESOLVING;
  part->start = consumer->options.reset == MILENA_RESET_BEGINNING ? MILENA_BEGINNING : MILENA_END;
}

/* The leader does not know what the metadata has: it learns of it in a moment, or the metadata loses it. */
static gboolean is_news_to_leader(Part *part, const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  if (reason != FAILURE(UNKNOWN_TOPIC) && reason != FAILURE(UNKNOWN_PARTITION))
    return FALSE;
  gint64 now_us = g_get_monotonic_time();
  if (part->unknown_since_us == 0)
    part->unknown_since_us = now_us;
  return now_us < part->unknown_since_us + CLIENT_MISSING_GRACE_US;
}

static void part_failed(Ask *ask, Part *part, const Failure *failure) {
  Fetcher *fetcher = ask->fetcher;
  if (failure_reason(failure) == FAILURE(NOT_LEADER)) {
    const char *version = failure_get(failure, "metadata_version");
    client_refresh(fetcher_client(fetcher), version != NULL ? g_ascii_strtoull(version, NULL, 10) : 0, ask->address);
  }
  if (failure_reason(failure) == FAILURE(OFFSET_OUT_OF_RANGE))
    part_out_of_range(fetcher, part, failure);
  else if (passes(failure) || is_news_to_leader(part, failure))
    part_back_off(fetcher, part, failure);
  else
    part_rest(fetcher->consumer, part, failure_copy(failure));
}

void ask_failed(Ask *ask, const Failure *failure) {
  if (failure_reason(failure) == FAILURE(DEADLINE_EXCEEDED))
    client_suspect(fetcher_client(ask->fetcher), ask->address);
  g_autoptr(Failure) named =
      failure_prefix(failure_copy(failure), "asking broker %d at %s", ask->broker_id, ask->address);
  for (guint i = 0; i < ask->parts->len; i++) {
    Part *part = ask_part(ask, i);
    if (part != NULL)
      part_failed(ask, part, named);
  }
}

static void part_answered(Fetcher *fetcher, Part *part, const char *topic_id) {
  part->asked = part->displaced = FALSE;
  part->failures = 0;
  part->unknown_since_us = 0;
  if (part->topic_id == NULL && topic_id[0] != '\0')
    part->topic_id = g_strdup(topic_id);
  g_clear_pointer(&fetcher->consumer->trouble, failure_free);
}

/* ---- fetching ---- */

/* Queue a jump of the position, without records. @moves: backwards too. */
static void push_step(Fetcher *fetcher, Part *part, gint64 next_offset, gboolean moves) {
  Chunk *step = g_new0(Chunk, 1);
  *step = (Chunk){.part = part_ref(part),
                  .generation = part->generation,
                  .next_offset = next_offset,
                  .moves = moves,
                  .high_watermark = part->high_watermark,
                  .log_start_offset = part->log_start_offset};
  consumer_push(fetcher->consumer, step);
}

/* Queue one batch of an answer. Returns why it can't be. */
static Failure *push_batch(Fetcher *fetcher, Part *part, const Milena__V1__FetchedPartition *fetched, gsize index,
                           RpcMessage *response) {
  const Milena__V1__EncodedBatch *proto = fetched->batches[index];
  g_autoptr(GBytes) records = rpc_message_share(response, &proto->records);
  LogBatch batch = LOG_BATCH_INIT;
  Failure *failure = log_batch_from_proto(proto, records, &batch);
  if (failure != NULL)
    return failure;
  if (batch.base_offset < 0 || log_batch_next_offset(&batch) <= part->fetch_offset) {
    log_batch_clear(&batch); /* nothing of it was asked for */
    return NULL;
  }
  Chunk *chunk = g_new0(Chunk, 1);
  *chunk = (Chunk){
      .part = part_ref(part),
      .generation = part->generation,
      .batch = batch,
      .next_offset = log_batch_next_offset(&batch),
      .high_watermark = fetched->high_watermark,
      .log_start_offset = fetched->log_start_offset,
      .bytes = log_batch_payload_bytes(&batch) + sizeof(Chunk),
  };
  part->fetch_offset = chunk->next_offset;
  consumer_push(fetcher->consumer, chunk);
  return NULL;
}

static void part_fetched(Ask *ask, Part *part, const Milena__V1__FetchedPartition *fetched, RpcMessage *response) {
  Fetcher *fetcher = ask->fetcher;
  g_autoptr(Failure) failure = failure_from_status(fetched->status);
  for (gsize i = 0; i < fetched->n_batches && failure == NULL; i++)
    failure = push_batch(fetcher, part, fetched, i, response);
  if (failure != NULL) {
    part_failed(ask, part, failure);
    return;
  }
  part_answered(fetcher, part, fetched->topic_id);
  part->high_watermark = fetched->high_watermark;
  part->log_start_offset = fetched->log_start_offset;
  if (fetched->next_offset <= part->fetch_offset)
    return;
  /* There is a gap, up to the high watermark or to the next record. */
  part->fetch_offset = fetched->next_offset;
  push_step(fetcher, part, fetched->next_offset, FALSE);
}

static Failure *wrong_count(const char *method, gsize got, guint asked) {
  return failure_new(FAILURE(INTERNAL), "%s answered for %zu of %u partitions", method, got, asked);
}

static void on_fetched(RpcMessage *response, const Failure *failure, gpointer data) {
  Ask *ask = data;
  Fetcher *fetcher = ask->fetcher;
  pthread_mutex_lock(&fetcher->consumer->mutex);
  const Milena__V1__FetchResponse *body = response != NULL ? rpc_message_body(response) : NULL;
  if (body != NULL && body->n_partitions != ask->parts->len) {
    g_autoptr(Failure) wrong = wrong_count("Fetch", body->n_partitions, ask->parts->len);
    ask_failed(ask, wrong);
  } else if (body != NULL) {
    for (guint i = 0; i < ask->parts->len; i++) {
      Part *part = ask_part(ask, i);
      if (part != NULL)
        part_fetched(ask, part, body->partitions[i], response);
    }
  } else {
    ask_failed(ask, failure);
  }
  ask_finish(ask);
  pthread_mutex_unlock(&fetcher->consumer->mutex);
  fetcher_wake(fetcher);
}

static gint64 ask_deadline_us(const Fetcher *fetcher, gint64 extra_ms) {
  return g_get_monotonic_time() +
         (client_options(fetcher_client(fetcher))->attempt_timeout_ms + extra_ms) * G_TIME_SPAN_MILLISECOND;
}

static void ask_call(Ask *ask, const char *method, const ProtobufCMessage *request, gint64 extra_ms,
                     RpcUnaryDone done) {
  MilenaClient *client = fetcher_client(ask->fetcher);
  ask->sent_us = g_get_monotonic_time();
  ask->answer_us = ask->sent_us + extra_ms * G_TIME_SPAN_MILLISECOND;
  g_autoptr(RpcMessage) packed = rpc_message_pack(request, NULL, 0);
  ask->call = rpc_client_unary(client_rpc(client), ask->address, &milena__v1__consumer_service__descriptor, method,
                               packed, ask_deadline_us(ask->fetcher, extra_ms), client_loop(client), done, ask);
}

void ask_send_fetch(Ask *ask, guint32 max_bytes) {
  const MilenaConsumerOptions *options = &ask->fetcher->consumer->options;
  guint count = ask->parts->len;
  g_autofree Milena__V1__FetchPartition *items = g_new(Milena__V1__FetchPartition, count);
  g_autofree Milena__V1__FetchPartition **pointers = g_new(Milena__V1__FetchPartition *, count);
  for (guint i = 0; i < count; i++) {
    const Part *part = ask->parts->pdata[i];
    milena__v1__fetch_partition__init(&items[i]);
    items[i].topic = part->topic;
    items[i].topic_id = part->topic_id != NULL ? part->topic_id : items[i].topic_id;
    items[i].partition = part->partition;
    items[i].offset = part->fetch_offset;
    items[i].max_bytes = MIN(options->partition_fetch_bytes, max_bytes);
    pointers[i] = &items[i];
  }
  Google__Protobuf__Duration max_wait;
  times_duration_set(&max_wait, options->max_wait_ms);
  Milena__V1__FetchRequest request = MILENA__V1__FETCH_REQUEST__INIT;
  request.n_partitions = count;
  request.partitions = pointers;
  request.max_bytes = max_bytes;
  request.min_bytes = options->min_bytes;
  request.max_wait = &max_wait;
  request.format = MILENA__V1__FORMAT__FORMAT_BATCHES;
  request.no_proxy = client_is_direct(fetcher_client(ask->fetcher));
  ask_call(ask, "Fetch", &request.base, options->max_wait_ms, on_fetched);
}

/* ---- starts that are no offsets ---- */

static void part_resolved(Ask *ask, Part *part, const Milena__V1__OffsetResult *result) {
  g_autoptr(Failure) failure = failure_from_status(result->status);
  if (failure != NULL) {
    part_failed(ask, part, failure);
    return;
  }
  part_answered(ask->fetcher, part, result->topic_id);
  part->state = PART_FETCHING;
  part->fetch_offset = result->offset;
  if (part->position < 0)
    part->position = result->offset;
  else
    push_step(ask->fetcher, part, result->offset, TRUE);
}

static void on_offsets(RpcMessage *response, const Failure *failure, gpointer data) {
  Ask *ask = data;
  Fetcher *fetcher = ask->fetcher;
  pthread_mutex_lock(&fetcher->consumer->mutex);
  const Milena__V1__ListOffsetsResponse *body = response != NULL ? rpc_message_body(response) : NULL;
  if (body != NULL && body->n_results != ask->parts->len) {
    g_autoptr(Failure) wrong = wrong_count("ListOffsets", body->n_results, ask->parts->len);
    ask_failed(ask, wrong);
  } else if (body != NULL) {
    for (guint i = 0; i < ask->parts->len; i++) {
      Part *part = ask_part(ask, i);
      if (part != NULL)
        part_resolved(ask, part, body->results[i]);
    }
  } else {
    ask_failed(ask, failure);
  }
  ask_finish(ask);
  pthread_mutex_unlock(&fetcher->consumer->mutex);
  fetcher_wake(fetcher);
}

void ask_send_list_offsets(Ask *ask) {
  guint count = ask->parts->len;
  g_autofree Milena__V1__OffsetQuery *items = g_new(Milena__V1__OffsetQuery, count);
  g_autofree Milena__V1__OffsetQuery **pointers = g_new(Milena__V1__OffsetQuery *, count);
  g_autofree PositionProto *positions = g_new(PositionProto, count);
  for (guint i = 0; i < count; i++) {
    const Part *part = ask->parts->pdata[i];
    milena__v1__offset_query__init(&items[i]);
    items[i].topic = part->topic;
    items[i].topic_id = part->topic_id != NULL ? part->topic_id : items[i].topic_id;
    items[i].partition = part->partition;
    convert_to_position(part->start, &positions[i]);
    items[i].position = &positions[i].position;
    pointers[i] = &items[i];
  }
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  request.n_queries = count;
  request.queries = pointers;
  request.no_proxy = client_is_direct(fetcher_client(ask->fetcher));
  ask_call(ask, "ListOffsets", &request.base, 0, on_offsets);
}
