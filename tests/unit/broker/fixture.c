/* See fixture.h. */
#include "tests/unit/broker/fixture.h"

#include "controller/metadata/image.h"
#include "tests/shim/shim.h"

#define SHARDS 2

static GByteArray *pack(const ProtobufCMessage *message) {
  GByteArray *bytes = g_byte_array_new();
  g_byte_array_set_size(bytes, (guint)protobuf_c_message_get_packed_size(message));
  protobuf_c_message_pack(message, bytes->data);
  return bytes;
}

/* ---- the image ---- */

static void add_copy(GPtrArray *records, const MetadataRecord *record) {
  g_autoptr(GByteArray) bytes = pack(&record->base);
  g_ptr_array_add(records, milena__internal__v1__metadata_record__unpack(NULL, bytes->len, bytes->data));
}

static void add_broker(GPtrArray *records, gint32 id, char *address) {
  Milena__Internal__V1__RegisterBrokerRecord broker = MILENA__INTERNAL__V1__REGISTER_BROKER_RECORD__INIT;
  broker.id = id;
  broker.epoch = FIXTURE_EPOCH;
  broker.incarnation = broker.process_id = (char *)"33333333-3333-3333-3333-333333333333";
  broker.address = broker.peer_address = address;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_BROKER;
  record.register_broker = &broker;
  add_copy(records, &record);
}

/* Records of tests are from the first second of 1970: they stay. */
static void keep_for_ever(Milena__V1__TopicConfig *config) {
  static Google__Protobuf__Duration for_ever = GOOGLE__PROTOBUF__DURATION__INIT;
  for_ever.seconds = -1;
  config->retention = &for_ever;
}

static void add_topic(GPtrArray *records, char *id, char *name, Milena__V1__Flush flush, guint32 max_bytes) {
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  keep_for_ever(&config);
  config.flush = flush;
  config.max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  config.max_message_bytes = max_bytes;
  Milena__Internal__V1__TopicRecord topic = MILENA__INTERNAL__V1__TOPIC_RECORD__INIT;
  topic.id = id;
  topic.name = name;
  topic.replication_factor = 1;
  topic.config = &config;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_TOPIC;
  record.topic = &topic;
  add_copy(records, &record);
}

static void add_partition(GPtrArray *records, char *topic_id, gint32 number, guint64 log_id, gint32 holder,
                          gint32 leader, gint32 epoch) {
  Milena__Internal__V1__PartitionRecord partition = MILENA__INTERNAL__V1__PARTITION_RECORD__INIT;
  partition.topic_id = topic_id;
  partition.partition = number;
  partition.log_id = log_id;
  partition.n_replicas = partition.n_in_sync_replicas = 1;
  partition.replicas = partition.in_sync_replicas = &holder;
  partition.leader_id = leader;
  partition.leader_epoch = epoch;
  partition.partition_epoch = (guint64)epoch;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_PARTITION;
  record.partition = &partition;
  add_copy(records, &record);
}

static void unfence(GPtrArray *records, gint32 id) {
  Milena__Internal__V1__FenceBrokerRecord fence = MILENA__INTERNAL__V1__FENCE_BROKER_RECORD__INIT;
  fence.id = id;
  fence.epoch = FIXTURE_EPOCH;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_FENCE_BROKER;
  record.fence_broker = &fence;
  add_copy(records, &record);
}

static void add_orders(GPtrArray *records) {
  add_topic(records, (char *)ORDERS_ID, (char *)"orders", MILENA__V1__FLUSH__FLUSH_ALWAYS, 2000);
  for (gint32 p = 0; p < 4; p++)
    add_partition(records, (char *)ORDERS_ID, p, ORDERS_LOG(p), 1, 1, 0);
  add_partition(records, (char *)ORDERS_ID, 4, ORDERS_LOG(4), 2, 2, 0);
  add_partition(records, (char *)ORDERS_ID, 5, ORDERS_LOG(5), 2, -1, 0);
}

static GPtrArray *first_records(void) {
  GPtrArray *records = metadata_records_new();
  add_broker(records, 1, (char *)"127.0.0.1:1");
  add_broker(records, 2, (char *)"127.0.0.1:2");
  unfence(records, 1);
  unfence(records, 2);
  add_orders(records);
  add_topic(records, (char *)LOOSE_ID, (char *)"loose", MILENA__V1__FLUSH__FLUSH_OS, 1 << 20);
  add_partition(records, (char *)LOOSE_ID, 0, LOOSE_LOG, 1, 1, 0);
  return records;
}

typedef struct {
  Shard *shard;
  MetadataImage *image;
} Publish;

static void apply(gpointer data) {
  Publish *publish = data;
  shard_apply_image(publish->shard, publish->image, FIXTURE_EPOCH);
}

static void route(gpointer data) {
  Publish *publish = data;
  front_set_image(publish->shard->front, publish->image);
}

void fixture_publish(Fixture *fixture, GPtrArray *records) {
  MetadataImage *image;
  g_autoptr(Failure) failure = metadata_image_apply(fixture->image, (MetadataRecord *const *)records->pdata,
                                                    records->len, metadata_image_version(fixture->image) + 1, &image);
  g_ptr_array_unref(records);
  INVARIANT(!failure, "the fixture's records apply");
  metadata_image_unref(fixture->image);
  fixture->image = image;
  for (guint i = 0; i < SHARDS; i++)
    fixture_on(fixture, i, apply, &(Publish){fixture->broker.shards[i], image});
  for (guint i = 0; i < SHARDS; i++)
    fixture_on(fixture, i, route, &(Publish){fixture->broker.shards[i], image});
}

void fixture_set_leader(Fixture *fixture, gint32 leader, gint32 epoch) {
  GPtrArray *records = metadata_records_new();
  add_partition(records, (char *)ORDERS_ID, 0, ORDERS_LOG(0), 1, leader, epoch);
  fixture_publish(fixture, records);
}

void fixture_sync_loose(Fixture *fixture) {
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  keep_for_ever(&config);
  config.flush = MILENA__V1__FLUSH__FLUSH_ALWAYS;
  Milena__Internal__V1__TopicConfigRecord changed = MILENA__INTERNAL__V1__TOPIC_CONFIG_RECORD__INIT;
  changed.topic_id = (char *)LOOSE_ID;
  changed.config = &config;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_TOPIC_CONFIG;
  record.topic_config = &changed;
  GPtrArray *records = metadata_records_new();
  add_copy(records, &record);
  fixture_publish(fixture, records);
}

void fixture_share_orders(Fixture *fixture) {
  GPtrArray *records = metadata_records_new();
  gint32 both[] = {1, 2};
  for (gint32 p = 0; p < 4; p++) {
    Milena__Internal__V1__PartitionRecord partition = MILENA__INTERNAL__V1__PARTITION_RECORD__INIT;
    partition.topic_id = (char *)ORDERS_ID;
    partition.partition = p;
    partition.log_id = ORDERS_LOG(p);
    partition.n_replicas = 2;
    partition.n_in_sync_replicas = 1;
    partition.replicas = partition.in_sync_replicas = both;
    partition.leader_id = 1;
    partition.leader_epoch = 1;
    partition.partition_epoch = 1;
    MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
    record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_PARTITION;
    record.partition = &partition;
    add_copy(records, &record);
  }
  fixture_publish(fixture, records);
}

void fixture_delete_orders(Fixture *fixture) {
  Milena__Internal__V1__RemoveTopicRecord removed = MILENA__INTERNAL__V1__REMOVE_TOPIC_RECORD__INIT;
  removed.topic_id = (char *)ORDERS_ID;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REMOVE_TOPIC;
  record.remove_topic = &removed;
  GPtrArray *records = metadata_records_new();
  add_copy(records, &record);
  fixture_publish(fixture, records);
}

void fixture_restore_orders(Fixture *fixture) {
  GPtrArray *records = metadata_records_new();
  add_orders(records);
  fixture_publish(fixture, records);
}

/* ---- life ---- */

static void on_recovered(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  Broker *broker = data;
  shard_recover(broker_owner(broker, log_id), log_id, hot, failure);
}

static void on_recovered_producer(guint64 log_id, const LogProducer *producer, const Failure *failure, gpointer data) {
  Broker *broker = data;
  shard_recover_producer(broker_owner(broker, log_id), log_id, producer, failure);
}

Fixture *fixture_new(void) {
  return fixture_new_with_expiry(G_GINT64_CONSTANT(3600) * 1000);
}

Fixture *fixture_new_with_expiry(gint64 producer_expiry_ms) {
  Fixture *fixture = g_new0(Fixture, 1);
  Broker *broker = &fixture->broker;
  broker->id = 1;
  broker->orphan_grace_ms = 0;
  atomic_store(&broker->session_until_us, G_MAXINT64);
  broker->producer_expiry_ms = producer_expiry_ms;
  broker->shards = g_new0(Shard *, SHARDS);
  for (guint i = 0; i < SHARDS; i++)
    broker->shards[broker->shard_count++] = shard_new(broker, i, 1000, 1 << 20);
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = path;
  options.create = TRUE;
  g_autoptr(Failure) failure = log_store_open(&options, &broker->store);
  INVARIANT(!failure, "the store opens");
  failure = log_store_recover(broker->store, on_recovered, broker);
  if (!failure)
    failure = log_store_recover_producers(broker->store, on_recovered_producer, broker);
  INVARIANT(!failure, "the store is recovered");
  broker->client = rpc_client_new(NULL);
  for (guint i = 0; i < SHARDS; i++)
    loop_start(broker->shards[i]->loop);
  fixture->image = metadata_image_new();
  fixture_publish(fixture, first_records());
  return fixture;
}

static void retire(gpointer data) {
  shard_retire(data);
}

void fixture_free(Fixture *fixture) {
  Broker *broker = &fixture->broker;
  for (guint i = 0; i < SHARDS; i++)
    fixture_on(fixture, i, retire, broker->shards[i]);
  rpc_client_free(broker->client);
  log_store_close(broker->store);
  for (guint i = 0; i < SHARDS; i++)
    loop_stop(broker->shards[i]->loop);
  for (guint i = 0; i < SHARDS; i++)
    shard_free(broker->shards[i]);
  g_free(broker->shards);
  metadata_image_unref(fixture->image);
  g_free(fixture);
}

void fixture_on(Fixture *fixture, guint index, void (*func)(gpointer data), gpointer data) {
  loop_call_and_wait(fixture->broker.shards[index]->loop, func, data);
}

gboolean fixture_wait(const gint *flag) {
  for (guint i = 0; i < 20000 && !g_atomic_int_get(flag); i++)
    g_usleep(1000);
  return g_atomic_int_get(flag) != 0;
}

/* ---- appending ---- */

void fixture_batch(guint count, LogBatch *ret_batch) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < count; i++) {
    g_autofree char *value = g_strdup_printf("v%u", i);
    g_autoptr(Failure) failure =
        log_records_builder_add(builder, LOG_FIELD_NONE, log_field(value, strlen(value)), NULL, 0, 1000 + (gint64)i);
    INVARIANT(!failure, "small records fit");
  }
  g_autoptr(Failure) failure =
      log_records_builder_finish(builder, MILENA__V1__COMPRESSION__COMPRESSION_NONE, ret_batch);
  INVARIANT(!failure, "a batch without compression can be made");
}

typedef struct {
  PartitionAppend *append;
  Shard *owner, *asker;
  gint done;
} Appending;

static void on_appended(PartitionAppend *append, gpointer user_data) {
  (void)append;
  g_atomic_int_set(&((Appending *)user_data)->done, 1);
}

static void start_append(gpointer data) {
  Appending *appending = data;
  partition_append_start(appending->append, appending->owner, appending->asker->loop);
}

Failure *fixture_append(Fixture *fixture, guint asker, guint64 log_id, gint32 epoch, guint count,
                        PartitionReceipt *ret_receipt) {
  Appending appending = {.append = partition_append_new(),
                         .owner = broker_owner(&fixture->broker, log_id),
                         .asker = fixture->broker.shards[asker]};
  PartitionAppend *append = appending.append;
  append->log_id = log_id;
  append->leader_epoch = epoch;
  append->acks = MILENA__V1__ACKS__ACKS_ALL;
  append->deadline_us = G_MAXINT64;
  append->done = on_appended;
  append->user_data = &appending;
  fixture_batch(count, &append->batch);
  fixture_on(fixture, asker, start_append, &appending);
  INVARIANT(fixture_wait(&appending.done), "an append ends");
  *ret_receipt = append->receipt;
  Failure *failure = g_steal_pointer(&append->failure);
  partition_append_free(append);
  return failure;
}

/* ---- producing ---- */

typedef struct {
  Fixture *fixture;
  guint index;
  Producer *producer;
  RpcMessage *message;
  Outcome outcome;
  gint done;
} Producing;

static void on_produced(ProduceJob *job, gpointer user_data) {
  Producing *producing = user_data;
  producing->outcome.failure = failure_copy(job->failure);
  ProduceResults results;
  produce_results_init(&results, job);
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  response.n_results = results.count;
  response.results = results.results;
  g_autoptr(GByteArray) bytes = pack(&response.base);
  producing->outcome.response = milena__v1__produce_response__unpack(NULL, bytes->len, bytes->data);
  produce_results_clear(&results);
  g_atomic_int_set(&producing->done, 1);
}

static void start_produce(gpointer data) {
  Producing *producing = data;
  const Milena__V1__ProduceRequest *request = rpc_message_body(producing->message);
  producing->producer = producer_new(producing->fixture->broker.shards[producing->index]->front, FALSE);
  ProduceInput input = {.topic_name = request->topic,
                        .topic_id = request->topic_id,
                        .n_records = request->n_records,
                        .records = request->records,
                        .n_batches = request->n_batches,
                        .batches = request->batches,
                        .sequence = request->producer,
                        .no_proxy = request->no_proxy};
  gint64 timeout_ms = 0;
  Failure *failure = produce_check_terms(request->acks, request->timeout, &input.acks, &timeout_ms);
  if (!failure)
    failure = produce_check_input(&input);
  input.deadline_us = g_get_monotonic_time() + timeout_ms * 1000;
  if (failure) {
    producing->outcome.failure = failure;
    g_atomic_int_set(&producing->done, 1);
    return;
  }
  produce_job_start(producing->producer, producing->message, &input, on_produced, producing);
}

static void end_produce(gpointer data) {
  producer_free(((Producing *)data)->producer);
}

Outcome fixture_produce(Fixture *fixture, guint index, const Milena__V1__ProduceRequest *request) {
  Producing producing = {.fixture = fixture, .index = index};
  g_autoptr(GBytes) wire = g_byte_array_free_to_bytes(pack(&request->base));
  g_autoptr(Failure) failure =
      rpc_message_decode(&milena__v1__produce_request__descriptor, &wire, 1, &producing.message);
  INVARIANT(!failure, "a request that was packed can be decoded");
  fixture_on(fixture, index, start_produce, &producing);
  INVARIANT(fixture_wait(&producing.done), "a job ends");
  fixture_on(fixture, index, end_produce, &producing);
  rpc_message_unref(producing.message);
  return producing.outcome;
}

void fixture_outcome_clear(Outcome *outcome) {
  failure_free(outcome->failure);
  if (outcome->response)
    milena__v1__produce_response__free_unpacked(outcome->response, NULL);
}
