/* The consumers; see traffic.h. A reader that starts anew is another reader of the ledger. */
#include "services/base/failure.h"
#include "tests/chaos/traffic/traffic_internal.h"

#define POLL_MS 300
#define ASSIGN_MS 30000
#define WANDER_MIN_S 3
#define WANDER_MAX_S 9
#define WANDER_BACK 400 /* offsets */
#define FETCH_CALL_MS 4000
#define FETCH_WAIT_MS 300
#define REST_MS 50 /* after a failure */

/* Where a consumer of libmilena begins. */
enum { FROM_BEGINNING, AT_TAIL, HERE_AND_THERE };

static gboolean is_over(const Actor *actor) {
  return g_atomic_int_get(&actor->traffic->stop_reading);
}

static void note_read(Actor *actor, guint32 poll, gint32 partition, gint64 offset, guint64 value) {
  LedgerRead read = {actor->number, poll, partition, offset, value};
  g_array_append_val(actor->ledger->reads, read);
}

static void note_end(Traffic *traffic, gint32 partition, gint64 end) {
  g_mutex_lock(&traffic->mutex);
  traffic->ends[partition] = MAX(traffic->ends[partition], end);
  g_mutex_unlock(&traffic->mutex);
}

/* ---- Through libmilena ---- */

static void note_batch(Actor *actor, guint32 poll, const MilenaRecordBatch *batch) {
  for (gsize i = 0; i < batch->count; i++) {
    const MilenaConsumedRecord *record = &batch->records[i];
    note_read(actor, poll, batch->partition, record->offset,
              traffic_value_of_text(record->value.data, record->value.size));
  }
  note_end(actor->traffic, batch->partition, batch->next_offset);
}

/* No offset that was read can ever cease to exist: nothing is deleted here. */
static void poll_once(Actor *actor, MilenaConsumer *consumer, guint32 poll) {
  const MilenaRecordBatch *batch = NULL;
  MilenaError *error = milena_consumer_poll(consumer, POLL_MS, &batch);
  if (error) {
    traffic_note_trouble(actor->traffic, "reader %u: %s [%s]", actor->number, milena_error_message(error),
                         milena_error_reason(error));
    milena_error_free(error);
    g_usleep(REST_MS * 1000);
  } else if (batch) {
    note_batch(actor, poll, batch);
  }
}

/* Each partition somewhere before what was read of it by others: mostly not long before, sometimes anywhere. */
static void wander(Actor *actor, MilenaConsumer *consumer) {
  MilenaAssignment assignments[TRAFFIC_PARTITIONS];
  Traffic *traffic = actor->traffic;
  gboolean anywhere = g_rand_int_range(actor->random, 0, 10) == 0;
  g_mutex_lock(&traffic->mutex);
  for (gint32 i = 0; i < TRAFFIC_PARTITIONS; i++) {
    gint64 end = traffic->ends[i], most = anywhere ? end : MIN(end, WANDER_BACK);
    gint64 offset = end - (gint64)(g_rand_double(actor->random) * (double)most);
    assignments[i] = (MilenaAssignment){TRAFFIC_TOPIC, i, MILENA_AT_OFFSET(offset)};
  }
  g_mutex_unlock(&traffic->mutex);
  MilenaError *error = milena_consumer_assign(consumer, assignments, TRAFFIC_PARTITIONS);
  if (error)
    g_error("no assignment: %s", milena_error_message(error));
}

static void assign_all(Actor *actor, MilenaConsumer *consumer) {
  MilenaPosition start = actor->kind == AT_TAIL ? MILENA_END : MILENA_BEGINNING;
  MilenaError *error = milena_consumer_assign_topic(consumer, TRAFFIC_TOPIC, start, ASSIGN_MS);
  if (error)
    traffic_note_trouble(actor->traffic, "reader %u: %s", actor->number, milena_error_message(error));
  milena_error_free(error);
}

gpointer traffic_read(gpointer data) {
  Actor *actor = data;
  MilenaClient *client = traffic_client(actor->traffic, actor->by_door);
  MilenaConsumer *consumer = milena_consumer_new(client, NULL);
  if (actor->kind != HERE_AND_THERE)
    assign_all(actor, consumer);
  gint64 wander_us = 0;
  for (guint32 poll = 1; !is_over(actor); poll++) {
    if (actor->kind == HERE_AND_THERE && g_get_monotonic_time() > wander_us) {
      actor->number++;
      wander(actor, consumer);
      wander_us = g_get_monotonic_time() +
                  g_rand_int_range(actor->random, WANDER_MIN_S * 1000, WANDER_MAX_S * 1000) * G_GINT64_CONSTANT(1000);
    }
    poll_once(actor, consumer, poll);
  }
  milena_consumer_free(consumer);
  milena_client_free(client);
  return NULL;
}

/* ---- Plain ---- */

static void note_fetched(Actor *actor, guint32 poll, const Milena__V1__FetchedPartition *fetched,
                         gint64 offsets[TRAFFIC_PARTITIONS]) {
  for (gsize i = 0; i < fetched->n_records; i++) {
    const Milena__V1__ConsumedRecord *record = fetched->records[i];
    guint64 value = record->value_kind_case == MILENA__V1__CONSUMED_RECORD__VALUE_KIND_VALUE
                        ? traffic_value_of_text(record->value.data, record->value.len)
                        : 0;
    note_read(actor, poll, fetched->partition, record->offset, value);
  }
  offsets[fetched->partition] = MAX(offsets[fetched->partition], fetched->next_offset);
  note_end(actor->traffic, fetched->partition, fetched->next_offset);
}

Failure *traffic_fetch(RpcClient *client, const char *address, gboolean no_proxy, guint32 partitions,
                       gint64 offsets[TRAFFIC_PARTITIONS], Actor *reader, guint32 poll,
                       gint64 ret_high_watermarks[TRAFFIC_PARTITIONS]) {
  Milena__V1__FetchPartition parts[TRAFFIC_PARTITIONS], *list[TRAFFIC_PARTITIONS];
  Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
  wait.nanos = FETCH_WAIT_MS * 1000000;
  Milena__V1__FetchRequest request = MILENA__V1__FETCH_REQUEST__INIT;
  request.partitions = list;
  request.max_wait = &wait;
  request.format = MILENA__V1__FORMAT__FORMAT_RECORDS;
  request.no_proxy = no_proxy;
  for (gint32 i = 0; i < TRAFFIC_PARTITIONS; i++) {
    if (!(partitions & 1u << i))
      continue;
    Milena__V1__FetchPartition *part = &parts[request.n_partitions];
    milena__v1__fetch_partition__init(part);
    part->topic = (char *)TRAFFIC_TOPIC;
    part->partition = i;
    part->offset = offsets[i];
    list[request.n_partitions++] = part;
  }
  g_autoptr(RpcMessage) answer = NULL;
  Failure *failure = rpc_client_unary_sync(client, address, &milena__v1__consumer_service__descriptor, "Fetch",
                                           &request.base, g_get_monotonic_time() + FETCH_CALL_MS * 1000, &answer);
  if (failure)
    return failure;
  const Milena__V1__FetchResponse *response = rpc_message_body(answer);
  for (gsize i = 0; i < response->n_partitions; i++) {
    const Milena__V1__FetchedPartition *fetched = response->partitions[i];
    if (fetched->status && fetched->status->code) {
      if (!failure)
        failure = failure_from_status(fetched->status);
      continue;
    }
    note_fetched(reader, poll, fetched, offsets);
    if (ret_high_watermarks)
      ret_high_watermarks[fetched->partition] = fetched->high_watermark;
  }
  return failure;
}

gpointer traffic_read_plainly(gpointer data) {
  Actor *actor = data;
  Traffic *traffic = actor->traffic;
  g_autoptr(RpcClient) client = rpc_client_new(NULL);
  gint64 offsets[TRAFFIC_PARTITIONS] = {0};
  guint at = 0;
  for (guint32 poll = 1; !is_over(actor); poll++) {
    g_autoptr(Failure) failure =
        traffic_fetch(client, traffic_address(actor, at), FALSE, TRAFFIC_ALL, offsets, actor, poll, NULL);
    if (!failure)
      continue;
    if (failure_reason(failure) == FAILURE(OFFSET_OUT_OF_RANGE) || failure_reason(failure) == FAILURE(CORRUPT_LOG))
      traffic_note_trouble(traffic, "the plain reader: %s", failure_message(failure));
    at++;
    g_usleep(REST_MS * 1000);
  }
  return NULL;
}
