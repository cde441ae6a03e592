/* The consumer's half on the client's loop: looks up where to start, keeps fetches waiting at the leaders, queues what
 * comes, and waits out what passes.
 *
 * Of a broker several fetches may be under way, each for other partitions: partitions that have room again, and those
 * that are new, need not wait for a long poll on the rest. When there are as many as there may be, the long polls that
 * wait for new records are given up, and one fetch asks for all of that: so a partition that was just assigned is read
 * at once. A partition's fetch is given up once at most until it is answered: on a slow network nobody starves.
 *
 * Invariants
 *   1. A part is in at most one request (`asked`).
 *   2. What is queued, and what requests under way may bring, is at most prefetch_bytes, but for one answer.
 *   3. An answer counts only for parts whose generation is that of the request.
 *   4. Each broker's fetches under way bring at most its share of prefetch_bytes: no broker keeps another's from being
 *      asked.
 *
 * Owned by the client's loop; parts and chunks under the consumer's mutex. Troubles that pass are kept in
 * consumer->trouble and tried again with a backoff; others rest their part. */
#include <stdatomic.h>
#include <string.h>

#include "client/libmilena/consumer.h"
#include "client/libmilena/convert.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/times.h"

/* Fetches under way at one broker. */
#define FETCHES_PER_BROKER_MAX 4
/* Of one answer, however little prefetch_bytes allows. */
#define FETCH_BYTES_MIN (64u << 10)
/* A fetch that asked for what was not written yet, and is not answered for so long, is a long poll that waits. */
#define HELD_AFTER_US (20 * G_TIME_SPAN_MILLISECOND)

typedef enum { ASK_FETCH, ASK_OFFSETS } AskKind;

/* A request under way. */
typedef struct {
  Fetcher *fetcher;
  AskKind kind;
  gint32 broker_id;
  char *address;
  guint64 reserved_bytes;
  gint64 sent_us;
  gint64 answer_us; /* when it should have been answered */
  gboolean at_end;  /* of all its parts everything was read, and none was in a fetch that was given up */
  RpcClientCall *call;
  GPtrArray *parts;    /* of Part, a reference each */
  GArray *generations; /* of guint32, one for each part */
} Ask;

struct Fetcher {
  MilenaConsumer *consumer;
  LoopTask wake_task; /* users' threads, and ourselves → the loop */
  atomic_bool woken;
  GPtrArray *asks; /* of Ask, owned */
  guint64 reserved_bytes;
  GSource *timer;
  gint64 timer_us; /* when it fires */
  guint rotation;
  gboolean closed;
};

static void fetcher_pump(Fetcher *fetcher);

static MilenaClient *fetcher_client(const Fetcher *fetcher) {
  return fetcher->consumer->client;
}

/* ---- asks ---- */

/* The mutex is held, where parts are in it. */
static Ask *ask_new(Fetcher *fetcher, AskKind kind, gint32 broker_id, const char *address) {
  Ask *ask = g_new0(Ask, 1);
  *ask = (Ask){.fetcher = fetcher, .kind = kind, .broker_id = broker_id, .address = g_strdup(address), .at_end = TRUE};
  ask->parts = g_ptr_array_new();
  ask->generations = g_array_new(FALSE, FALSE, sizeof(guint32));
  return ask;
}

static void ask_add(Ask *ask, Part *part) {
  part->asked = TRUE;
  ask->at_end =
      ask->at_end && !part->displaced && part->high_watermark >= 0 && part->fetch_offset >= part->high_watermark;
  g_ptr_array_add(ask->parts, part_ref(part));
  g_array_append_val(ask->generations, part->generation);
}

/* The part, if the answer still counts for it. */
static Part *ask_part(const Ask *ask, guint index) {
  Part *part = ask->parts->pdata[index];
  return part->assigned && part->generation == g_array_index(ask->generations, guint32, index) ? part : NULL;
}

/* The mutex is held. */
static void ask_free(Ask *ask) {
  if (ask->call != NULL)
    rpc_client_call_unref(ask->call);
  for (guint i = 0; i < ask->parts->len; i++)
    part_unref(ask->parts->pdata[i]);
  g_ptr_array_unref(ask->parts);
  g_array_unref(ask->generations);
  g_free(ask->address);
  g_free(ask);
}

/* It was answered. The mutex is held. */
static void ask_finish(Ask *ask) {
  Fetcher *fetcher = ask->fetcher;
  fetcher->reserved_bytes -= ask->reserved_bytes;
  g_ptr_array_remove_fast(fetcher->asks, ask);
  ask_free(ask);
}

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

static void set_trouble(MilenaConsumer *consumer, const Failure *failure) {
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
  set_trouble(fetcher->consumer, failure);
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

static void ask_failed(Ask *ask, const Failure *failure) {
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

static void send_fetch(Ask *ask, guint32 max_bytes) {
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

static void send_list_offsets(Ask *ask) {
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

/* ---- the pump; the mutex is held ---- */

typedef struct {
  View *view;
  gint64 now_us;
  gint64 next_us;
  GHashTable *fetches; /* broker id (the ask's) → Ask that is being gathered */
  GHashTable *offsets; /* the same */
  guint32 fetch_bytes; /* of one answer */
  const Part *refused; /* the first for which there is no room: it comes first the next time */
} Pump;

static void pump_look_again(Pump *pump, gint64 at_us) {
  pump->next_us = MIN(pump->next_us, at_us);
}

static guint fetches_under_way(const Fetcher *fetcher, gint32 broker_id) {
  guint count = 0;
  for (guint i = 0; i < fetcher->asks->len; i++) {
    const Ask *ask = fetcher->asks->pdata[i];
    count += ask->kind == ASK_FETCH && ask->broker_id == broker_id;
  }
  return count;
}

/* Whether a part may be in a fetch now. */
static gboolean part_has_room(const Fetcher *fetcher, const Part *part) {
  const MilenaConsumerOptions *options = &fetcher->consumer->options;
  /* The next answer is on its way while the user still decodes the one before. */
  return part->queued_bytes < options->partition_fetch_bytes;
}

/* Whether one more answer fits. */
static gboolean fetcher_has_room(const Fetcher *fetcher, guint32 fetch_bytes) {
  guint64 held = fetcher->consumer->queued_bytes + fetcher->reserved_bytes;
  return held == 0 || held + fetch_bytes <= fetcher->consumer->options.prefetch_bytes;
}

static gboolean ask_waits(const Ask *ask, gint32 broker_id) {
  return ask->kind == ASK_FETCH && ask->broker_id == broker_id && ask->at_end && ask->sent_us > 0;
}

static gboolean ask_is_held(const Ask *ask, gint32 broker_id, gint64 now_us) {
  return ask_waits(ask, broker_id) && now_us >= ask->sent_us + HELD_AFTER_US;
}

/* Whether a long poll at a broker may be given up; where that is not clear yet, it is looked at again when it is. */
static gboolean pump_finds_held(const Fetcher *fetcher, Pump *pump, gint32 broker_id) {
  gboolean found = FALSE;
  for (guint i = 0; i < fetcher->asks->len; i++) {
    const Ask *ask = fetcher->asks->pdata[i];
    if (ask_is_held(ask, broker_id, pump->now_us))
      found = TRUE;
    else if (ask_waits(ask, broker_id))
      pump_look_again(pump, ask->sent_us + HELD_AFTER_US);
  }
  return found;
}

/* Give up the long polls at a broker that wait for new records; their parts go into @ask. */
static void take_over(Fetcher *fetcher, Pump *pump, Ask *ask) {
  for (guint i = fetcher->asks->len; i-- > 0;) {
    Ask *held = fetcher->asks->pdata[i];
    if (!ask_is_held(held, ask->broker_id, pump->now_us))
      continue;
    rpc_client_call_abandon(held->call);
    for (guint k = 0; k < held->parts->len; k++) {
      Part *part = ask_part(held, k);
      if (part == NULL)
        continue;
      part->displaced = TRUE;
      ask_add(ask, part);
    }
    ask_finish(held);
  }
}

/* The request that gathers parts for a broker; NULL when there can't be one more. */
static Ask *pump_ask(Fetcher *fetcher, Pump *pump, AskKind kind, gint32 broker_id, const char *address) {
  GHashTable *gathering = kind == ASK_FETCH ? pump->fetches : pump->offsets;
  Ask *ask = g_hash_table_lookup(gathering, &broker_id);
  if (ask != NULL)
    return ask;
  gboolean full = kind == ASK_FETCH && (fetches_under_way(fetcher, broker_id) >= FETCHES_PER_BROKER_MAX ||
                                        !fetcher_has_room(fetcher, pump->fetch_bytes));
  if (full && !pump_finds_held(fetcher, pump, broker_id))
    return NULL;
  ask = ask_new(fetcher, kind, broker_id, address);
  if (full)
    take_over(fetcher, pump, ask);
  ask->reserved_bytes = kind == ASK_FETCH ? pump->fetch_bytes : 0;
  fetcher->reserved_bytes += ask->reserved_bytes;
  g_ptr_array_add(fetcher->asks, ask);
  g_hash_table_insert(gathering, &ask->broker_id, ask);
  return ask;
}

/* The metadata has no leader for a part. */
static void part_without_leader(Fetcher *fetcher, Part *part, Pump *pump, const Failure *failure) {
  if (failure_reason(failure) == FAILURE(LEADER_NOT_AVAILABLE)) {
    set_trouble(fetcher->consumer, failure); /* the next view wakes us */
    return;
  }
  if (!view_is_known(pump->view))
    return;
  if (part->missing_since_us == 0)
    part->missing_since_us = pump->now_us;
  if (pump->now_us >= part->missing_since_us + CLIENT_MISSING_GRACE_US)
    part_rest(fetcher->consumer, part, failure_copy(failure));
  else
    pump_look_again(pump, part->missing_since_us + CLIENT_MISSING_GRACE_US);
}

static void pump_part(Fetcher *fetcher, Part *part, Pump *pump) {
  if (part->asked || part->paused || part->state == PART_RESTING)
    return;
  if (part->state == PART_FETCHING && !part_has_room(fetcher, part))
    return;
  if (pump->now_us < part->not_before_us) {
    pump_look_again(pump, part->not_before_us);
    return;
  }
  gint32 leader_id;
  const char *address;
  g_autoptr(Failure) failure = view_leader(pump->view, part->topic, part->partition, &leader_id, &address);
  if (failure != NULL) {
    part_without_leader(fetcher, part, pump, failure);
    return;
  }
  part->missing_since_us = 0;
  Ask *ask = pump_ask(fetcher, pump, part->state == PART_FETCHING ? ASK_FETCH : ASK_OFFSETS, leader_id, address);
  if (ask != NULL)
    ask_add(ask, part);
  else if (pump->refused == NULL)
    pump->refused = part;
}

/* How many brokers lead the parts: each shall have its share of the prefetch. */
static guint count_leaders(const MilenaConsumer *consumer, const View *view) {
  g_autoptr(GArray) ids = g_array_sized_new(FALSE, FALSE, sizeof(gint32), consumer->parts->len); /* never moves */
  g_autoptr(GHashTable) leaders = g_hash_table_new(g_int_hash, g_int_equal);
  for (guint i = 0; i < consumer->parts->len; i++) {
    const Part *part = consumer->parts->pdata[i];
    gint32 leader_id;
    const char *address;
    g_autoptr(Failure) failure = view_leader(view, part->topic, part->partition, &leader_id, &address);
    if (failure != NULL)
      continue;
    g_array_append_val(ids, leader_id);
    g_hash_table_add(leaders, &g_array_index(ids, gint32, ids->len - 1));
  }
  return MAX(g_hash_table_size(leaders), 1);
}

static gboolean fetcher_on_timer(gpointer data) {
  Fetcher *fetcher = data;
  g_clear_pointer(&fetcher->timer, g_source_unref);
  fetcher_pump(fetcher);
  return G_SOURCE_REMOVE;
}

static void fetcher_clear_timer(Fetcher *fetcher) {
  if (fetcher->timer == NULL)
    return;
  g_source_destroy(fetcher->timer);
  g_clear_pointer(&fetcher->timer, g_source_unref);
}

static void pump_send_all(Pump *pump) {
  GHashTableIter iter;
  gpointer ask;
  g_hash_table_iter_init(&iter, pump->offsets);
  while (g_hash_table_iter_next(&iter, NULL, &ask))
    send_list_offsets(ask);
  g_hash_table_iter_init(&iter, pump->fetches);
  while (g_hash_table_iter_next(&iter, NULL, &ask))
    send_fetch(ask, pump->fetch_bytes);
}

static void fetcher_pump(Fetcher *fetcher) {
  MilenaConsumer *consumer = fetcher->consumer;
  const MilenaConsumerOptions *options = &consumer->options;
  g_autoptr(View) view = client_view(consumer->client);
  g_autoptr(GHashTable) fetches = g_hash_table_new(g_int_hash, g_int_equal);
  g_autoptr(GHashTable) offsets = g_hash_table_new(g_int_hash, g_int_equal);
  Pump pump = {view, g_get_monotonic_time(), G_MAXINT64, fetches, offsets, 0, NULL};
  pthread_mutex_lock(&consumer->mutex);
  guint64 share = options->prefetch_bytes / (FETCHES_PER_BROKER_MAX * (guint64)count_leaders(consumer, view));
  pump.fetch_bytes = (guint32)MIN(options->fetch_bytes, MAX(share, FETCH_BYTES_MIN));
  guint first = fetcher->rotation++;
  for (guint i = 0; i < consumer->parts->len; i++) {
    guint index = (first + i) % consumer->parts->len;
    pump_part(fetcher, consumer->parts->pdata[index], &pump);
    if (pump.refused == consumer->parts->pdata[index])
      fetcher->rotation = index;
  }
  pump_send_all(&pump);
  for (guint i = 0; i < fetcher->asks->len; i++) {
    const Ask *ask = fetcher->asks->pdata[i];
    pump_look_again(&pump, client_check(consumer->client, ask->address, ask->answer_us));
  }
  pthread_mutex_unlock(&consumer->mutex);
  /* One that fires early stays: a pump too many now and then costs less than a new timer for each. */
  if (pump.next_us == G_MAXINT64 || (fetcher->timer != NULL && fetcher->timer_us <= pump.next_us))
    return;
  fetcher_clear_timer(fetcher);
  fetcher->timer_us = pump.next_us;
  gint64 delay_ms = (MAX(pump.next_us - pump.now_us, 0) + 999) / 1000;
  fetcher->timer =
      loop_add_timeout(client_loop(consumer->client), (guint)MIN(delay_ms, G_MAXINT32), fetcher_on_timer, fetcher);
}

/* ---- life ---- */

static void fetcher_wake_run(LoopTask *task) {
  Fetcher *fetcher = (Fetcher *)((char *)task - G_STRUCT_OFFSET(Fetcher, wake_task));
  atomic_store(&fetcher->woken, false);
  if (!fetcher->closed)
    fetcher_pump(fetcher);
}

void fetcher_wake(Fetcher *fetcher) {
  if (!atomic_exchange(&fetcher->woken, true))
    loop_post_completion(client_loop(fetcher_client(fetcher)), &fetcher->wake_task); /* one at a time: always fits */
}

/* Of a broker that serves no more nothing is waited for. */
static void fetcher_on_view(gpointer data) {
  Fetcher *fetcher = data;
  g_autoptr(View) view = client_view(fetcher_client(fetcher));
  pthread_mutex_lock(&fetcher->consumer->mutex);
  for (guint i = fetcher->asks->len; i-- > 0;) {
    Ask *ask = fetcher->asks->pdata[i];
    if (view_broker_serves(view, ask->broker_id, ask->address))
      continue;
    g_autoptr(Failure) gone =
        failure_new(FAILURE(PEER_UNREACHABLE), "the cluster's metadata says that it serves no more");
    rpc_client_call_abandon(ask->call);
    ask_failed(ask, gone);
    ask_finish(ask);
  }
  pthread_mutex_unlock(&fetcher->consumer->mutex);
  fetcher_wake(fetcher);
}

Fetcher *fetcher_new(MilenaConsumer *consumer) {
  Fetcher *fetcher = g_new0(Fetcher, 1);
  fetcher->consumer = consumer;
  fetcher->wake_task.run = fetcher_wake_run;
  fetcher->asks = g_ptr_array_new();
  client_listen(consumer->client, fetcher_on_view, fetcher);
  return fetcher;
}

static void fetcher_close_run(gpointer data) {
  Fetcher *fetcher = data;
  fetcher->closed = TRUE;
  fetcher_clear_timer(fetcher);
  pthread_mutex_lock(&fetcher->consumer->mutex);
  for (guint i = 0; i < fetcher->asks->len; i++) {
    Ask *ask = fetcher->asks->pdata[i];
    rpc_client_call_abandon(ask->call);
    ask_free(ask);
  }
  g_ptr_array_set_size(fetcher->asks, 0);
  pthread_mutex_unlock(&fetcher->consumer->mutex);
}

static void nothing(gpointer data) {
  (void)data;
}

void fetcher_free(Fetcher *fetcher) {
  if (fetcher == NULL)
    return;
  MilenaClient *client = fetcher_client(fetcher);
  client_unlisten(client, fetcher_on_view, fetcher);
  loop_call_and_wait(client_loop(client), fetcher_close_run, fetcher);
  /* A wake-up may still be in the mailbox: behind it there is none. */
  loop_call_and_wait(client_loop(client), nothing, NULL);
  g_ptr_array_unref(fetcher->asks);
  g_free(fetcher);
}
