/* The fake cluster's producing and consuming: logs in memory, faults as ordered. See fake_cluster.h. */
#include <string.h>

#include "tests/unit/client/fake_internal.h"

/* ---- producing ---- */

typedef struct {
  FakeBroker *broker;
  RpcCall *call;
  RpcMessage *message; /* the frame with the item */
} HeldItem;

static void held_free(HeldItem *held) {
  rpc_message_unref(held->message);
  rpc_call_unref(held->call);
  g_free(held);
}

/* What a leader remembers of the batch's producer. Returns FALSE when it is not to be appended: it was before, or must
 * not be. */
static gboolean check_producer(FakePartition *partition, const LogBatch *batch, gint64 *ret_before,
                               Failure **ret_failure) {
  if (batch->producer_id == 0)
    return TRUE;
  LogProducerBatch before;
  guint32 expected;
  LogProducerVerdict verdict = log_producers_check(partition->producers, batch, &before, &expected);
  if (verdict == LOG_PRODUCER_DUPLICATE)
    *ret_before = before.base_offset;
  else if (verdict != LOG_PRODUCER_NEXT)
    *ret_failure = log_producers_refusal(verdict, batch, expected);
  return verdict == LOG_PRODUCER_NEXT;
}

/* Append a batch, checked as a broker would.
 *
 * @ret_base: its first offset
 * @ret_duplicate: it was written before */
static Failure *append(FakeBroker *broker, FakeTopic *topic, FakePartition *partition,
                       const Milena__V1__PartitionBatch *part, RpcMessage *message, gint64 *ret_base,
                       gboolean *ret_duplicate) {
  g_autoptr(GBytes) records = rpc_message_share(message, &part->batch->records);
  LogBatch batch = LOG_BATCH_INIT;
  Failure *failure = log_batch_from_proto(part->batch, records, &batch);
  if (!failure)
    failure = log_batch_check(&batch, topic->max_message_bytes);
  if (!failure)
    failure = log_records_check(&batch);
  *ret_base = -1;
  if (failure || !check_producer(partition, &batch, ret_base, &failure)) {
    log_batch_clear(&batch);
    *ret_duplicate = *ret_base >= 0;
    broker->cluster->counters.duplicates += *ret_duplicate;
    return failure;
  }
  *ret_base = batch.base_offset = partition->log_end;
  batch.leader_epoch = partition->leader_epoch;
  batch.append_timestamp_ms = 1000000;
  partition->log_end = log_batch_next_offset(&batch);
  broker->cluster->counters.records += batch.record_count;
  g_array_append_val(partition->batches, batch);
  if (batch.producer_id != 0)
    log_producers_add(partition->producers, &batch);
  return NULL;
}

/* @failure: taken */
static void answer(RpcCall *call, const Milena__V1__ProduceStreamItem *item, gint64 base_offset, gboolean duplicate,
                   Failure *failure) {
  Milena__V1__ProduceResult result = MILENA__V1__PRODUCE_RESULT__INIT;
  Milena__V1__ProduceResult *results[] = {&result};
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  time.seconds = 1000;
  result.topic = item->batches[0]->topic;
  result.partition = item->batches[0]->partition;
  result.base_offset = failure ? -1 : base_offset;
  result.duplicate = !failure && duplicate;
  result.append_time = &time;
  result.replicas = 1;
  result.synced_replicas = 1;
  result.status = failure ? failure_to_status(failure) : NULL;
  Milena__V1__ProduceStreamResult body = MILENA__V1__PRODUCE_STREAM_RESULT__INIT;
  body.correlation_id = item->correlation_id;
  body.n_results = 1;
  body.results = results;
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT;
  response.result = &body;
  rpc_call_send(call, &response.base, NULL, 0);
  if (result.status)
    google__rpc__status__free_unpacked(result.status, NULL);
  failure_free(failure);
}

static FaultKind chaos_fault(FakeCluster *cluster) {
  static const struct {
    FaultKind kind;
    FailureReason reason;
  } FAULTS[] = {
      {FAULT_REFUSE, FAILURE(OVERLOADED)},
      {FAULT_REFUSE, FAILURE(NOT_ENOUGH_REPLICAS)},
      {FAULT_WRITE_AND_REFUSE, FAILURE(UNKNOWN_OUTCOME)},
      {FAULT_REFUSE, FAILURE(UNKNOWN_OUTCOME)},
      {FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED)},
      {FAULT_BREAK, FAILURE(UNSPECIFIED)},
      {FAULT_DRAIN, FAILURE(UNSPECIFIED)},
      {FAULT_SILENCE, FAILURE(UNSPECIFIED)},
  };
  if (!cluster->chaos || g_rand_int_range(cluster->chaos, 0, 100) >= (gint32)cluster->chaos_percent)
    return FAULT_NONE;
  /* Silence takes as long as the client's patience: rarely. */
  gint32 count = g_rand_int_range(cluster->chaos, 0, 20) == 0 ? G_N_ELEMENTS(FAULTS) : G_N_ELEMENTS(FAULTS) - 1;
  gint32 which = g_rand_int_range(cluster->chaos, 0, count);
  cluster->fault_reason = FAULTS[which].reason;
  return FAULTS[which].kind;
}

static FaultKind take_fault(FakeCluster *cluster) {
  if (cluster->fault_count == 0)
    return chaos_fault(cluster);
  cluster->fault_count--;
  return cluster->fault;
}

static void break_stream(RpcCall *call) {
  rpc_call_finish(call, failure_new_code(14, "the fake broker broke the stream"));
}

static void drain_stream(RpcCall *call) {
  Milena__V1__Draining draining = MILENA__V1__DRAINING__INIT;
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING;
  response.draining = &draining;
  rpc_call_send(call, &response.base, NULL, 0);
  rpc_call_finish(call, NULL);
}

static void process(FakeBroker *broker, RpcCall *call, RpcMessage *message) {
  FakeCluster *cluster = broker->cluster;
  const Milena__V1__ProduceStreamRequest *frame = rpc_message_body(message);
  const Milena__V1__ProduceStreamItem *item = frame->item;
  FaultKind fault = take_fault(cluster);
  if (fault == FAULT_BREAK) {
    break_stream(call);
  } else if (fault == FAULT_DRAIN) {
    drain_stream(call);
  } else if (fault == FAULT_REFUSE) {
    answer(call, item, -1, FALSE, failure_new(cluster->fault_reason, "refused, as ordered"));
  } else if (fault != FAULT_SILENCE) {
    FakeTopic *topic;
    Failure *failure = NULL;
    FakePartition *partition =
        fake_find_partition(broker, item->batches[0]->topic, item->batches[0]->partition, &topic, &failure);
    gint64 base_offset = -1;
    gboolean duplicate = FALSE;
    if (partition)
      failure = append(broker, topic, partition, item->batches[0], message, &base_offset, &duplicate);
    if (fault == FAULT_WRITE_AND_BREAK)
      break_stream(call);
    else if (fault == FAULT_WRITE_AND_REFUSE && !failure)
      answer(call, item, -1, FALSE, failure_new(cluster->fault_reason, "refused, as ordered"));
    else
      answer(call, item, base_offset, duplicate, g_steal_pointer(&failure));
    failure_free(failure);
    fake_serve_pending(cluster);
  }
}

static void hold(FakeBroker *broker, RpcCall *call, RpcMessage *message) {
  HeldItem *held = g_new(HeldItem, 1);
  *held = (HeldItem){broker, rpc_call_ref(call), rpc_message_ref(message)};
  g_ptr_array_add(broker->cluster->held, held);
  const Milena__V1__ProduceStreamRequest *frame = rpc_message_body(message);
  FakeTopic *topic = fake_find_topic(broker->cluster, frame->item->batches[0]->topic);
  FakePartition *partition = FAKE_PARTITION(topic, frame->item->batches[0]->partition);
  partition->held++;
  broker->cluster->counters.held_max = MAX(broker->cluster->counters.held_max, partition->held);
}

void fake_release_held(FakeCluster *cluster) {
  while (cluster->held->len > 0) {
    HeldItem *held = g_ptr_array_steal_index(cluster->held, 0);
    const Milena__V1__ProduceStreamRequest *frame = rpc_message_body(held->message);
    FakeTopic *topic = fake_find_topic(cluster, frame->item->batches[0]->topic);
    FAKE_PARTITION(topic, frame->item->batches[0]->partition)->held--;
    process(held->broker, held->call, held->message);
    held_free(held);
  }
}

static void produce_message(RpcCall *call, RpcMessage *message, gpointer state) {
  FakeBroker *broker = state;
  if (!message) { /* the client is done */
    rpc_call_finish(call, NULL);
    return;
  }
  const Milena__V1__ProduceStreamRequest *frame = rpc_message_body(message);
  if (frame->frame_case == MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT) {
    Milena__V1__ProduceStreamReady ready = MILENA__V1__PRODUCE_STREAM_READY__INIT;
    Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
    response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_READY;
    response.ready = &ready;
    rpc_call_send(call, &response.base, NULL, 0);
  } else {
    broker->cluster->counters.items++;
    if (broker->cluster->hold)
      hold(broker, call, message);
    else
      process(broker, call, message);
  }
  rpc_call_read(call);
}

static void produce_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)cancelled;
  FakeCluster *cluster = ((FakeBroker *)state)->cluster;
  for (guint i = cluster->held->len; i-- > 0;) {
    HeldItem *held = cluster->held->pdata[i];
    if (held->call == call)
      held_free(g_ptr_array_steal_index(cluster->held, i));
  }
}

static const RpcCallEvents PRODUCE_EVENTS = {.message = produce_message, .closed = produce_closed};

static void on_produce_stream(RpcCall *call, gpointer user_data) {
  rpc_call_set_events(call, &PRODUCE_EVENTS, user_data);
  rpc_call_read(call);
}

static void on_init_producer(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeCluster *cluster = ((FakeBroker *)user_data)->cluster;
  const Milena__V1__InitProducerRequest *request = rpc_message_body(message);
  if (cluster->id_failures > 0) {
    cluster->id_failures--;
    rpc_call_finish(call, failure_new(cluster->id_reason, "no ids, as ordered"));
    return;
  }
  cluster->counters.ids++;
  Milena__V1__InitProducerResponse response = MILENA__V1__INIT_PRODUCER_RESPONSE__INIT;
  response.producer_id = request->producer_id > 0 ? request->producer_id : ++cluster->next_producer_id;
  response.producer_epoch = request->producer_id > 0 ? request->producer_epoch + 1 : 0;
  rpc_call_reply(call, &response.base, NULL, 0);
}

const RpcMethodHandler FAKE_PRODUCER_HANDLERS[] = {{.name = "ProduceStream", .stream = on_produce_stream},
                                                   {.name = "InitProducer", .unary = on_init_producer},
                                                   {NULL}};
const RpcMethodHandler FAKE_OLD_PRODUCER_HANDLERS[] = {{.name = "ProduceStream", .stream = on_produce_stream}, {NULL}};

/* ---- consuming ---- */

typedef struct {
  FakeBroker *broker;
  RpcCall *call;
  RpcMessage *request;
  GSource *timer;
} PendingFetch;

typedef struct {
  Milena__V1__FetchedPartition part;
  GArray *protos; /* of LogBatchProto */
  GPtrArray *pointers;
} Fetched;

static void fetch_partition(FakeBroker *broker, const Milena__V1__FetchPartition *asked, Fetched *ret_fetched,
                            GPtrArray *owners) {
  Milena__V1__FetchedPartition *part = &ret_fetched->part;
  milena__v1__fetched_partition__init(part);
  ret_fetched->protos = g_array_new(FALSE, FALSE, sizeof(LogBatchProto));
  ret_fetched->pointers = g_ptr_array_new();
  part->topic = asked->topic;
  part->partition = asked->partition;
  FakeTopic *topic = NULL;
  Failure *failure = NULL;
  FakePartition *partition = fake_find_partition(broker, asked->topic, asked->partition, &topic, &failure);
  if (partition && asked->topic_id[0] && strcmp(asked->topic_id, topic->id) != 0)
    failure = failure_new(FAILURE(TOPIC_ID_MISMATCH), "topic %s was re-created", topic->name);
  if (partition && !failure && (asked->offset < partition->log_start || asked->offset > partition->log_end))
    failure = failure_add(failure_new(FAILURE(OFFSET_OUT_OF_RANGE), "offset is out of range"), "earliest",
                          "%" G_GINT64_FORMAT, partition->log_start);
  if (failure || !partition) {
    part->status = failure_to_status(failure);
    failure_free(failure);
    return;
  }
  part->topic_id = topic->id;
  part->high_watermark = partition->log_end;
  part->log_start_offset = partition->log_start;
  part->next_offset = asked->offset;
  gsize bytes = 0;
  g_array_set_size(ret_fetched->protos, partition->batches->len); /* pointers into it must hold */
  for (guint i = 0; i < partition->batches->len; i++) {
    LogBatch *batch = LOG_BATCH_AT(partition->batches, i);
    if (log_batch_next_offset(batch) <= asked->offset)
      continue;
    if (bytes > 0 && bytes + log_batch_payload_bytes(batch) > asked->max_bytes)
      break;
    bytes += log_batch_payload_bytes(batch);
    LogBatchProto *proto = &g_array_index(ret_fetched->protos, LogBatchProto, i);
    log_batch_to_proto(batch, proto);
    g_ptr_array_add(ret_fetched->pointers, &proto->batch);
    g_ptr_array_add(owners, batch->records);
    part->next_offset = log_batch_next_offset(batch);
  }
  part->n_batches = ret_fetched->pointers->len;
  part->batches = (Milena__V1__EncodedBatch **)ret_fetched->pointers->pdata;
}

/* Answer a fetch. Returns FALSE, and answers nothing, when there is nothing to tell and @must is not set. */
static gboolean serve_fetch(FakeBroker *broker, RpcCall *call, RpcMessage *message, gboolean must) {
  const Milena__V1__FetchRequest *request = rpc_message_body(message);
  gsize count = request->n_partitions;
  g_autofree Fetched *fetched = g_new0(Fetched, count);
  g_autoptr(GPtrArray) pointers = g_ptr_array_new();
  g_autoptr(GPtrArray) owners = g_ptr_array_new();
  for (gsize i = 0; i < count; i++) {
    fetch_partition(broker, request->partitions[i], &fetched[i], owners);
    g_ptr_array_add(pointers, &fetched[i].part);
    must = must || fetched[i].part.n_batches > 0 || fetched[i].part.status;
  }
  if (must) {
    Milena__V1__FetchResponse response = MILENA__V1__FETCH_RESPONSE__INIT;
    response.n_partitions = count;
    response.partitions = (Milena__V1__FetchedPartition **)pointers->pdata;
    rpc_call_reply(call, &response.base, (GBytes *const *)owners->pdata, owners->len);
  }
  for (gsize i = 0; i < count; i++) {
    if (fetched[i].part.status)
      google__rpc__status__free_unpacked(fetched[i].part.status, NULL);
    g_array_unref(fetched[i].protos);
    g_ptr_array_unref(fetched[i].pointers);
  }
  return must;
}

static void pending_free(PendingFetch *pending) {
  g_ptr_array_remove_fast(pending->broker->cluster->pending, pending);
  if (pending->timer) {
    g_source_destroy(pending->timer);
    g_source_unref(pending->timer);
  }
  rpc_message_unref(pending->request);
  g_free(pending);
}

static void fetch_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)cancelled;
  FakeBroker *broker = state;
  for (guint i = broker->cluster->pending->len; i-- > 0;) {
    PendingFetch *pending = broker->cluster->pending->pdata[i];
    if (pending->call == call)
      pending_free(pending);
  }
}

static const RpcCallEvents FETCH_EVENTS = {.closed = fetch_closed};

static gboolean fetch_timeout(gpointer data) {
  PendingFetch *pending = data;
  serve_fetch(pending->broker, pending->call, pending->request, TRUE);
  pending_free(pending);
  return G_SOURCE_REMOVE;
}

void fake_serve_pending(FakeCluster *cluster) {
  for (guint i = cluster->pending->len; i-- > 0;) {
    PendingFetch *pending = cluster->pending->pdata[i];
    if (serve_fetch(pending->broker, pending->call, pending->request, FALSE))
      pending_free(pending);
  }
}

static void on_fetch(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  broker->cluster->counters.fetches++;
  rpc_call_set_events(call, &FETCH_EVENTS, broker);
  const Milena__V1__FetchRequest *request = rpc_message_body(message);
  if (serve_fetch(broker, call, message, request->max_wait == NULL))
    return;
  PendingFetch *pending = g_new0(PendingFetch, 1);
  *pending = (PendingFetch){.broker = broker, .call = call, .request = rpc_message_ref(message)};
  g_ptr_array_add(broker->cluster->pending, pending);
  guint wait_ms = (guint)(request->max_wait->seconds * 1000 + request->max_wait->nanos / 1000000);
  pending->timer = loop_add_timeout(broker->cluster->loop, wait_ms, fetch_timeout, pending);
}

static gint64 offset_of(const FakePartition *partition, const Milena__V1__Position *position) {
  if (position->kind_case == MILENA__V1__POSITION__KIND_OFFSET)
    return position->offset;
  if (position->kind_case == MILENA__V1__POSITION__KIND_TIME) {
    gint64 ms = position->time->seconds * 1000 + position->time->nanos / 1000000;
    for (guint i = 0; i < partition->batches->len; i++)
      if (LOG_BATCH_AT(partition->batches, i)->max_timestamp_ms >= ms)
        return LOG_BATCH_AT(partition->batches, i)->base_offset;
    return partition->log_end;
  }
  return position->end == MILENA__V1__LOG_END__LOG_END_EARLIEST ? partition->log_start : partition->log_end;
}

static void on_list_offsets(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__ListOffsetsRequest *request = rpc_message_body(message);
  g_autofree Milena__V1__OffsetResult *results = g_new0(Milena__V1__OffsetResult, request->n_queries);
  g_autofree Milena__V1__OffsetResult **pointers = g_new0(Milena__V1__OffsetResult *, request->n_queries);
  for (gsize i = 0; i < request->n_queries; i++) {
    const Milena__V1__OffsetQuery *query = request->queries[i];
    milena__v1__offset_result__init(&results[i]);
    pointers[i] = &results[i];
    FakeTopic *topic = fake_find_topic(broker->cluster, query->topic);
    gboolean is_there = topic && query->partition >= 0 && (guint)query->partition < topic->partitions->len;
    if (is_there && FAKE_PARTITION(topic, query->partition)->leader_id >= 0) {
      results[i].offset = offset_of(FAKE_PARTITION(topic, query->partition), query->position);
      results[i].topic_id = topic->id;
      continue;
    }
    g_autoptr(Failure) failure = is_there ? failure_new(FAILURE(LEADER_NOT_AVAILABLE), "it has no leader now")
                                          : failure_new(FAILURE(UNKNOWN_PARTITION), "no such partition");
    results[i].status = failure_to_status(failure);
  }
  Milena__V1__ListOffsetsResponse response = MILENA__V1__LIST_OFFSETS_RESPONSE__INIT;
  response.n_results = request->n_queries;
  response.results = pointers;
  rpc_call_reply(call, &response.base, NULL, 0);
  for (gsize i = 0; i < request->n_queries; i++)
    if (results[i].status)
      google__rpc__status__free_unpacked(results[i].status, NULL);
}

const RpcMethodHandler FAKE_CONSUMER_HANDLERS[] = {
    {.name = "Fetch", .unary = on_fetch}, {.name = "ListOffsets", .unary = on_list_offsets}, {NULL}};
