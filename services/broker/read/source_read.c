/* Reading a partition wherever it is led: see source.h and routed.h.
 *
 * Batches that another broker sends are checked like those of the disk: a CRC that does not fit is CORRUPT_LOG. Their
 * records stay in the memory that arrived. */
#include "milena/v1/consumer_service.pb-c.h"
#include "services/broker/read/routed.h"

/* How much longer than its wait a leader may take to answer. */
#define ANSWER_GRACE_US ((gint64)2 * G_USEC_PER_SEC)

typedef struct SourceReadState {
  Routed routed;
  SourceRead *read; /* NULL once abandoned */
  gint64 from_offset, wait_until_us;
  gsize max_bytes, min_bytes;
  PartitionRead *local;
  /* The answer until it is told. */
  GArray *batches;
  PartitionBounds bounds;
} SourceReadState;

/* ---- here ---- */

static void local_done(PartitionRead *local, gpointer data) {
  SourceReadState *state = data;
  state->local = NULL;
  state->bounds = local->bounds;
  Failure *failure = g_steal_pointer(&local->failure);
  if (failure == NULL)
    state->batches = g_steal_pointer(&local->batches);
  partition_read_free(local);
  routed_answer(&state->routed, failure);
}

static void ask_local(Routed *routed) {
  SourceReadState *state = (SourceReadState *)routed;
  PartitionRead *local = partition_read_new();
  local->log_id = routed->route.partition->log_id;
  local->leader_epoch = routed->route.partition->leader_epoch;
  local->from_offset = state->from_offset;
  local->max_bytes = state->max_bytes;
  local->min_bytes = state->min_bytes;
  local->wait_until_us = state->wait_until_us;
  local->done = local_done;
  local->user_data = state;
  state->local = local;
  routed_ref(routed);
  partition_read_start(local, routed->route.shard, front_loop(routed->front));
}

/* ---- elsewhere ---- */

static Failure *bad_answer(const Routed *routed, const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG), "broker %d answered for %s/%d with %s", routed->route.leader->id,
                     routed->route.topic->name, routed->partition, what);
}

/* One batch of the answer, checked. */
static Failure *take_batch(SourceReadState *state, RpcMessage *message, Milena__V1__EncodedBatch *proto,
                           GArray *batches) {
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  if (proto->header == NULL || proto->stamp == NULL)
    return bad_answer(&state->routed, "a batch without header or stamp");
  g_autoptr(GBytes) records = rpc_message_share(message, &proto->records);
  Failure *failure = log_batch_from_proto(proto, records, &batch);
  if (failure == NULL)
    failure = log_batch_verify(&batch);
  if (failure != NULL)
    return failure_prefix(failure, "while reading %s/%d from broker %d", state->routed.route.topic->name,
                          state->routed.partition, state->routed.route.leader->id);
  gint64 before = batches->len > 0 ? log_batch_next_offset(LOG_BATCH_AT(batches, batches->len - 1)) : 0;
  if (batch.base_offset < before)
    return bad_answer(&state->routed, "batches out of order");
  LogBatch shared;
  log_batch_share(&batch, &shared);
  g_array_append_val(batches, shared);
  return NULL;
}

static Failure *take_answer(Routed *routed, RpcMessage *message) {
  SourceReadState *state = (SourceReadState *)routed;
  const Milena__V1__FetchResponse *response = rpc_message_body(message);
  if (response->n_partitions != 1)
    return bad_answer(&state->routed, "another number of partitions than was asked for");
  const Milena__V1__FetchedPartition *fetched = response->partitions[0];
  state->bounds = (PartitionBounds){.high_watermark = fetched->high_watermark,
                                    .log_start_offset = fetched->log_start_offset,
                                    .last_stable_offset = fetched->last_stable_offset};
  if (fetched->status != NULL && fetched->status->code != 0)
    return failure_from_status(fetched->status);
  g_autoptr(GArray) batches = log_batch_array_new();
  for (gsize i = 0; i < fetched->n_batches; i++) {
    Failure *failure = take_batch(state, message, fetched->batches[i], batches);
    if (failure != NULL)
      return failure;
  }
  state->batches = g_steal_pointer(&batches);
  return NULL;
}

static void ask_remote(Routed *routed) {
  SourceReadState *state = (SourceReadState *)routed;
  gint64 now_us = g_get_monotonic_time();
  gint64 wait_us = MAX(state->wait_until_us - now_us, 0);
  Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
  wait.seconds = wait_us / G_USEC_PER_SEC;
  wait.nanos = (gint32)(wait_us % G_USEC_PER_SEC) * 1000;
  Milena__V1__FetchPartition partition = MILENA__V1__FETCH_PARTITION__INIT;
  partition.topic = routed->route.topic->name;
  partition.topic_id = (char *)routed->route.topic->id;
  partition.partition = routed->partition;
  partition.offset = state->from_offset;
  Milena__V1__FetchPartition *partitions[] = {&partition};
  Milena__V1__FetchRequest request = MILENA__V1__FETCH_REQUEST__INIT;
  request.n_partitions = 1;
  request.partitions = partitions;
  request.max_bytes = (guint32)CLAMP(state->max_bytes, 1, READ_MAX_BYTES_MAX);
  request.min_bytes = (guint32)MIN(state->min_bytes, READ_MAX_BYTES_MAX);
  request.max_wait = &wait;
  request.format = MILENA__V1__FORMAT__FORMAT_BATCHES;
  request.no_proxy = TRUE;
  routed_ask(routed, &milena__v1__consumer_service__descriptor, "Fetch", &request.base,
             MAX(routed->deadline_us, now_us + wait_us + ANSWER_GRACE_US));
}

/* ---- the operation ---- */

static void cancel(Routed *routed) {
  SourceReadState *state = (SourceReadState *)routed;
  state->read = NULL;
  if (state->local != NULL)
    partition_read_cancel(state->local);
}

static void over(Routed *routed, Failure *failure) {
  SourceReadState *state = (SourceReadState *)routed;
  SourceRead *read = state->read;
  read->failure = failure;
  read->bounds = state->bounds;
  read->batches = g_steal_pointer(&state->batches);
  routed_fill_origin(routed, &read->origin);
  read->done(read, read->user_data);
}

static void destroy(Routed *routed) {
  SourceReadState *state = (SourceReadState *)routed;
  g_clear_pointer(&state->batches, g_array_unref);
  g_free(state);
}

static const RoutedOps OPS = {ask_local, ask_remote, take_answer, cancel, over, destroy};

SourceRead *source_read_new(void) {
  return g_new0(SourceRead, 1);
}

void source_read_start(SourceRead *read, Front *front) {
  SourceReadState *state = g_new0(SourceReadState, 1);
  state->read = read;
  state->from_offset = read->from_offset;
  state->max_bytes = read->max_bytes;
  state->min_bytes = read->min_bytes;
  state->wait_until_us = read->wait_until_us;
  read->state = state;
  routed_init(&state->routed, &OPS);
  routed_start(&state->routed, front, &read->target);
}

void source_read_free(SourceRead *read) {
  if (read == NULL)
    return;
  if (read->state != NULL)
    routed_abandon(&read->state->routed);
  g_clear_pointer(&read->batches, g_array_unref);
  failure_free(read->failure);
  source_origin_clear(&read->origin);
  g_free(read);
}
