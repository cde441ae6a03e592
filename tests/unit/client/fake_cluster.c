/* The fake cluster's state, its metadata service and administration; see fake_cluster.h. Producing and consuming are in
 * fake_logs.c. All state belongs to the loop; the functions for tests run there and wait. */
#include <string.h>

#include "milena/v1/group_service.pb-c.h"
#include "tests/unit/client/fake_internal.h"

/* ---- topics ---- */

static void batch_array_free(gpointer data) {
  FakePartition *partition = data;
  g_array_unref(partition->batches);
  log_producers_free(partition->producers);
}

static void topic_free(gpointer data) {
  FakeTopic *topic = data;
  g_array_unref(topic->partitions);
  g_free(topic->name);
  g_free(topic->id);
  g_free(topic);
}

FakeTopic *fake_find_topic(FakeCluster *cluster, const char *name) {
  for (guint i = 0; i < cluster->topics->len; i++) {
    FakeTopic *topic = cluster->topics->pdata[i];
    if (!strcmp(topic->name, name))
      return topic;
  }
  return NULL;
}

static Failure *unknown_topic(const char *name) {
  return failure_new(FAILURE(UNKNOWN_TOPIC), "topic %s does not exist", name);
}

FakePartition *fake_find_partition(FakeBroker *broker, const char *name, gint32 index, FakeTopic **ret_topic,
                                   Failure **ret_failure) {
  FakeTopic *topic = fake_find_topic(broker->cluster, name);
  if (!topic) {
    *ret_failure = unknown_topic(name);
    return NULL;
  }
  if (index < 0 || (guint)index >= topic->partitions->len) {
    *ret_failure = failure_new(FAILURE(UNKNOWN_PARTITION), "topic %s has no partition %d", name, index);
    return NULL;
  }
  FakePartition *partition = FAKE_PARTITION(topic, index);
  if (partition->leader_id != broker->id) {
    *ret_failure =
        failure_add(failure_new(FAILURE(NOT_LEADER), "broker %d does not lead partition %d", broker->id, index),
                    "metadata_version", "%" G_GUINT64_FORMAT, broker->cluster->version);
    return NULL;
  }
  *ret_topic = topic;
  return partition;
}

/* ---- metadata as messages: one flat allocation list that dies together ---- */

typedef struct {
  GPtrArray *trash;
  Milena__V1__ClusterMetadata body;
} ClusterImage;

static gpointer image_alloc(ClusterImage *image, gsize size) {
  gpointer data = g_malloc0(MAX(size, 1));
  g_ptr_array_add(image->trash, data);
  return data;
}

static Milena__V1__Topic *image_topic(ClusterImage *image, const FakeTopic *topic) {
  Milena__V1__Topic *proto = image_alloc(image, sizeof *proto);
  milena__v1__topic__init(proto);
  proto->name = topic->name;
  proto->id = topic->id;
  proto->replication_factor = 1;
  proto->effective_config = image_alloc(image, sizeof *proto->effective_config);
  milena__v1__topic_config__init(proto->effective_config);
  proto->effective_config->max_message_bytes_presence_case =
      MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  proto->effective_config->max_message_bytes = topic->max_message_bytes;
  proto->n_partitions = topic->partitions->len;
  proto->partitions = image_alloc(image, proto->n_partitions * sizeof *proto->partitions);
  for (guint i = 0; i < topic->partitions->len; i++) {
    FakePartition *partition = FAKE_PARTITION(topic, i);
    proto->partitions[i] = image_alloc(image, sizeof **proto->partitions);
    milena__v1__partition__init(proto->partitions[i]);
    proto->partitions[i]->partition = (gint32)i;
    proto->partitions[i]->leader_id = partition->leader_id;
    proto->partitions[i]->leader_epoch = partition->leader_epoch;
    proto->partitions[i]->replicas = proto->partitions[i]->in_sync_replicas = &partition->leader_id;
    proto->partitions[i]->n_replicas = proto->partitions[i]->n_in_sync_replicas = partition->leader_id >= 0;
    proto->partitions[i]->target_replicas = partition->target;
    proto->partitions[i]->n_target_replicas = partition->target_count;
  }
  return proto;
}

static Milena__V1__Broker *image_broker(ClusterImage *image, const FakeBroker *broker) {
  Milena__V1__Broker *proto = image_alloc(image, sizeof *proto);
  milena__v1__broker__init(proto);
  proto->id = broker->id;
  proto->address = broker->address;
  proto->drained = broker->drained;
  return proto;
}

/* @only: one topic, or NULL for all */
static void image_init(ClusterImage *image, FakeCluster *cluster, const FakeTopic *only) {
  image->trash = g_ptr_array_new_with_free_func(g_free);
  Milena__V1__ClusterMetadata *body = &image->body;
  milena__v1__cluster_metadata__init(body);
  body->cluster_id = (char *)"fake";
  body->version = cluster->version;
  body->active_controller_id = 1;
  body->n_brokers = cluster->brokers->len;
  body->brokers = image_alloc(image, body->n_brokers * sizeof *body->brokers);
  for (guint i = 0; i < cluster->brokers->len; i++)
    body->brokers[i] = image_broker(image, cluster->brokers->pdata[i]);
  body->topics = image_alloc(image, cluster->topics->len * sizeof *body->topics);
  for (guint i = 0; i < cluster->topics->len; i++)
    if (!only || only == cluster->topics->pdata[i])
      body->topics[body->n_topics++] = image_topic(image, cluster->topics->pdata[i]);
}

static void image_clear(ClusterImage *image) {
  g_ptr_array_unref(image->trash);
}

/* In parts of one topic, as a large cluster does. */
static void tell_watch(FakeCluster *cluster, RpcCall *call) {
  ClusterImage image;
  image_init(&image, cluster, NULL);
  gsize count = image.body.n_topics;
  image.body.n_topics = MIN(count, 1);
  image.body.more = count > 1;
  Milena__V1__WatchMetadataResponse response = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
  response.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE;
  response.image = &image.body;
  rpc_call_send(call, &response.base, NULL, 0);
  for (gsize i = 1; i < count; i++) {
    Milena__V1__MetadataChange change = MILENA__V1__METADATA_CHANGE__INIT;
    change.version = image.body.version;
    change.n_topics = 1;
    change.topics = image.body.topics + i;
    change.more = i + 1 < count;
    response.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_CHANGE;
    response.change = &change;
    rpc_call_send(call, &response.base, NULL, 0);
  }
  image_clear(&image);
}

void fake_tell_watches(FakeCluster *cluster) {
  cluster->version++;
  for (guint i = 0; i < cluster->watches->len; i++)
    tell_watch(cluster, cluster->watches->pdata[i]);
}

/* ---- MetadataService ---- */

static void watch_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)cancelled;
  FakeBroker *broker = state;
  g_ptr_array_remove_fast(broker->cluster->watches, call);
}

static const RpcCallEvents WATCH_EVENTS = {.closed = watch_closed};

static void on_watch(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  FakeBroker *broker = user_data;
  rpc_call_set_events(call, &WATCH_EVENTS, broker);
  g_ptr_array_add(broker->cluster->watches, call);
  broker->cluster->counters.watches++;
  tell_watch(broker->cluster, call);
}

static void on_get_metadata(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__GetMetadataRequest *request = rpc_message_body(message);
  FakeTopic *topic = NULL;
  if (request->n_topics > 0) {
    topic = fake_find_topic(broker->cluster, request->topics[0]);
    if (!topic) {
      rpc_call_finish(call, unknown_topic(request->topics[0]));
      return;
    }
  }
  ClusterImage image;
  image_init(&image, broker->cluster, topic);
  Milena__V1__GetMetadataResponse response = MILENA__V1__GET_METADATA_RESPONSE__INIT;
  response.cluster = &image.body;
  rpc_call_reply(call, &response.base, NULL, 0);
  image_clear(&image);
}

const RpcMethodHandler FAKE_METADATA_HANDLERS[] = {
    {.name = "WatchMetadata", .unary = on_watch}, {.name = "GetMetadata", .unary = on_get_metadata}, {NULL}};

/* ---- AdminService ---- */

static FakeTopic *add_topic(FakeCluster *cluster, const char *name, guint count) {
  FakeTopic *topic = g_new0(FakeTopic, 1);
  topic->name = g_strdup(name);
  topic->id = g_strdup_printf("id-%u", ++cluster->next_topic_id);
  topic->max_message_bytes = 1u << 20;
  topic->partitions = g_array_new(FALSE, TRUE, sizeof(FakePartition));
  g_array_set_clear_func(topic->partitions, batch_array_free);
  for (guint i = 0; i < count; i++) {
    FakePartition partition = {.leader_id = 1 + (gint32)(i % cluster->brokers->len),
                               .leader_epoch = 1,
                               .batches = log_batch_array_new(),
                               .producers = log_producers_new()};
    g_array_append_val(topic->partitions, partition);
  }
  g_ptr_array_add(cluster->topics, topic);
  fake_tell_watches(cluster);
  return topic;
}

static void on_create_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__CreateTopicRequest *request = rpc_message_body(message);
  if (fake_find_topic(broker->cluster, request->name)) {
    rpc_call_finish(call, failure_new(FAILURE(TOPIC_EXISTS), "topic %s exists", request->name));
    return;
  }
  FakeTopic *topic = add_topic(broker->cluster, request->name, MAX(request->partitions, 1));
  ClusterImage image;
  image_init(&image, broker->cluster, topic);
  Milena__V1__CreateTopicResponse response = MILENA__V1__CREATE_TOPIC_RESPONSE__INIT;
  response.topic = image.body.topics[0];
  rpc_call_reply(call, &response.base, NULL, 0);
  image_clear(&image);
}

static void on_get_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__GetTopicRequest *request = rpc_message_body(message);
  FakeTopic *topic = fake_find_topic(broker->cluster, request->name);
  if (!topic) {
    rpc_call_finish(call, unknown_topic(request->name));
    return;
  }
  ClusterImage image;
  image_init(&image, broker->cluster, topic);
  Milena__V1__GetTopicResponse response = MILENA__V1__GET_TOPIC_RESPONSE__INIT;
  response.topic = image.body.topics[0];
  rpc_call_reply(call, &response.base, NULL, 0);
  image_clear(&image);
}

/* Two topics a page, whatever was asked for: clients must follow the tokens. */
static void on_list_topics(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__ListTopicsRequest *request = rpc_message_body(message);
  ClusterImage image;
  image_init(&image, broker->cluster, NULL);
  gsize from = MIN(g_ascii_strtoull(request->page_token, NULL, 10), image.body.n_topics);
  gsize count = MIN(image.body.n_topics - from, 2);
  g_autofree char *token = from + count < image.body.n_topics ? g_strdup_printf("%zu", from + count) : g_strdup("");
  Milena__V1__ListTopicsResponse response = MILENA__V1__LIST_TOPICS_RESPONSE__INIT;
  response.n_topics = count;
  response.topics = image.body.topics + from;
  response.next_page_token = token;
  rpc_call_reply(call, &response.base, NULL, 0);
  image_clear(&image);
}

static void on_delete_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__DeleteTopicRequest *request = rpc_message_body(message);
  FakeTopic *topic = fake_find_topic(broker->cluster, request->name);
  if (!topic) {
    rpc_call_finish(call, unknown_topic(request->name));
    return;
  }
  Milena__V1__DeleteTopicResponse response = MILENA__V1__DELETE_TOPIC_RESPONSE__INIT;
  response.id = topic->id;
  rpc_call_reply(call, &response.base, NULL, 0);
  g_ptr_array_remove(broker->cluster->topics, topic);
  fake_tell_watches(broker->cluster);
}

static void on_list_brokers(RpcCall *call, RpcMessage *message, gpointer user_data) {
  (void)message;
  FakeBroker *broker = user_data;
  ClusterImage image;
  image_init(&image, broker->cluster, NULL);
  Milena__V1__ListBrokersResponse response = MILENA__V1__LIST_BROKERS_RESPONSE__INIT;
  response.n_brokers = image.body.n_brokers;
  response.brokers = image.body.brokers;
  rpc_call_reply(call, &response.base, NULL, 0);
  image_clear(&image);
}

const RpcMethodHandler FAKE_ADMIN_HANDLERS[] = {{.name = "CreateTopic", .unary = on_create_topic},
                                                {.name = "GetTopic", .unary = on_get_topic},
                                                {.name = "ListTopics", .unary = on_list_topics},
                                                {.name = "DeleteTopic", .unary = on_delete_topic},
                                                {.name = "ListBrokers", .unary = on_list_brokers},
                                                {.name = "ListControllers", .unary = fake_on_list_controllers},
                                                {.name = "AddController", .unary = fake_on_add_controller},
                                                {.name = "RemoveController", .unary = fake_on_remove_controller},
                                                {.name = "TransferLeadership", .unary = fake_on_transfer},
                                                {.name = "BootstrapCluster", .unary = fake_on_bootstrap},
                                                {.name = "GetBroker", .unary = fake_on_get_broker},
                                                {.name = "DrainBroker", .unary = fake_on_drain},
                                                {.name = "UndrainBroker", .unary = fake_on_undrain},
                                                {.name = "ElectLeaders", .unary = fake_on_elect},
                                                {.name = "ReassignPartitions", .unary = fake_on_reassign},
                                                {.name = "ListReassignments", .unary = fake_on_list_reassignments},
                                                {.name = "CancelReassignments", .unary = fake_on_cancel_reassignments},
                                                {NULL}};

/* ---- brokers ---- */

static void start_broker(FakeBroker *broker) {
  Loop *loop = broker->cluster->loop;
  broker->server = rpc_server_new(NULL);
  rpc_server_add_service(broker->server, &milena__v1__metadata_service__descriptor, FAKE_METADATA_HANDLERS, loop,
                         broker);
  rpc_server_add_service(broker->server, &milena__v1__admin_service__descriptor, FAKE_ADMIN_HANDLERS, loop, broker);
  rpc_server_add_service(broker->server, &milena__v1__producer_service__descriptor,
                         broker->cluster->old ? FAKE_OLD_PRODUCER_HANDLERS : FAKE_PRODUCER_HANDLERS, loop, broker);
  rpc_server_add_service(broker->server, &milena__v1__consumer_service__descriptor, FAKE_CONSUMER_HANDLERS, loop,
                         broker);
  rpc_server_add_service(broker->server, &milena__v1__group_service__descriptor, FAKE_GROUP_HANDLERS, loop, broker);
  g_autofree char *listen = g_strdup_printf("127.0.0.1:%u", broker->port);
  g_autoptr(Failure) failure = rpc_server_add_listener(broker->server, listen, &broker->port);
  if (failure)
    g_error("%s", failure_message(failure));
  if (!broker->address)
    broker->address = g_strdup_printf("127.0.0.1:%u", broker->port);
  rpc_server_start(broker->server);
}

static FakeBroker *find_broker(FakeCluster *cluster, gint32 id) {
  return cluster->brokers->pdata[id - 1];
}

void fake_cluster_stop_broker(FakeCluster *cluster, gint32 broker_id) {
  g_clear_pointer(&find_broker(cluster, broker_id)->server, rpc_server_free);
}

void fake_cluster_start_broker(FakeCluster *cluster, gint32 broker_id) {
  start_broker(find_broker(cluster, broker_id));
}

static void broker_free(gpointer data) {
  FakeBroker *broker = data;
  rpc_server_free(broker->server);
  g_free(broker->address);
  g_free(broker);
}

typedef struct {
  FakeCluster *cluster;
  guint32 controllers;
  gint32 active;
} SetControllers;

static void set_controllers_on_loop(gpointer data) {
  const SetControllers *set = data;
  set->cluster->controllers = set->controllers;
  set->cluster->active_controller = set->active;
}

void fake_cluster_set_controllers(FakeCluster *cluster, guint count, gint32 active) {
  SetControllers set = {cluster, ((1u << count) - 1) << 1, active};
  loop_call_and_wait(cluster->loop, set_controllers_on_loop, &set);
}

FakeCluster *fake_cluster_new(guint broker_count) {
  FakeCluster *cluster = g_new0(FakeCluster, 1);
  cluster->loop = loop_new("fake-cluster", 10000);
  cluster->brokers = g_ptr_array_new_with_free_func(broker_free);
  cluster->topics = g_ptr_array_new_with_free_func(topic_free);
  cluster->watches = g_ptr_array_new();
  cluster->held = g_ptr_array_new();
  cluster->pending = g_ptr_array_new();
  cluster->groups = fake_groups_new(cluster);
  cluster->coordinator = 1;
  for (guint i = 0; i < broker_count; i++) {
    FakeBroker *broker = g_new0(FakeBroker, 1);
    broker->cluster = cluster;
    broker->id = (gint32)i + 1;
    g_ptr_array_add(cluster->brokers, broker);
    start_broker(broker);
  }
  loop_start(cluster->loop);
  return cluster;
}

void fake_cluster_free(FakeCluster *cluster) {
  if (!cluster)
    return;
  for (guint i = 0; i < cluster->brokers->len; i++)
    fake_cluster_stop_broker(cluster, (gint32)i + 1);
  loop_free(cluster->loop);
  fake_groups_free(cluster->groups);
  g_ptr_array_unref(cluster->brokers);
  g_ptr_array_unref(cluster->topics);
  g_ptr_array_unref(cluster->watches);
  g_ptr_array_unref(cluster->held);
  g_ptr_array_unref(cluster->pending);
  g_clear_pointer(&cluster->chaos, g_rand_free);
  g_free(cluster);
}

char *fake_cluster_bootstrap(FakeCluster *cluster) {
  GString *list = g_string_new(NULL);
  for (guint i = 0; i < cluster->brokers->len; i++)
    g_string_append_printf(list, "%s%s", i > 0 ? "," : "", find_broker(cluster, (gint32)i + 1)->address);
  return g_string_free(list, FALSE);
}

/* ---- orders of tests: run on the loop, and waited for ---- */

typedef struct {
  FakeCluster *cluster;
  const char *name;
  guint number;
  gint64 value;
  gint32 broker_id;
  gboolean flag;
  FaultKind fault;
  FailureReason reason;
  FakeCounters counters;
  GPtrArray *values;
} Order;

static void run_add_topic(gpointer data) {
  Order *order = data;
  add_topic(order->cluster, order->name, order->number);
}

void fake_cluster_add_topic(FakeCluster *cluster, const char *name, guint partition_count) {
  Order order = {.cluster = cluster, .name = name, .number = partition_count};
  loop_call_and_wait(cluster->loop, run_add_topic, &order);
}

static void run_max_bytes(gpointer data) {
  Order *order = data;
  fake_find_topic(order->cluster, order->name)->max_message_bytes = order->number;
  fake_tell_watches(order->cluster);
}

void fake_cluster_set_max_message_bytes(FakeCluster *cluster, const char *name, guint32 bytes) {
  Order order = {.cluster = cluster, .name = name, .number = bytes};
  loop_call_and_wait(cluster->loop, run_max_bytes, &order);
}

static void run_remove_topic(gpointer data) {
  Order *order = data;
  g_ptr_array_remove(order->cluster->topics, fake_find_topic(order->cluster, order->name));
  fake_tell_watches(order->cluster);
}

void fake_cluster_remove_topic(FakeCluster *cluster, const char *name) {
  Order order = {.cluster = cluster, .name = name};
  loop_call_and_wait(cluster->loop, run_remove_topic, &order);
}

static void run_recreate_topic(gpointer data) {
  Order *order = data;
  g_ptr_array_remove(order->cluster->topics, fake_find_topic(order->cluster, order->name));
  add_topic(order->cluster, order->name, 1);
}

void fake_cluster_recreate_topic(FakeCluster *cluster, const char *name) {
  Order order = {.cluster = cluster, .name = name};
  loop_call_and_wait(cluster->loop, run_recreate_topic, &order);
}

static void run_set_leader(gpointer data) {
  Order *order = data;
  FakePartition *partition = FAKE_PARTITION(fake_find_topic(order->cluster, order->name), order->number);
  partition->leader_id = order->broker_id;
  partition->leader_epoch++;
  if (order->flag)
    fake_tell_watches(order->cluster);
  else
    order->cluster->version++;
}

void fake_cluster_set_leader(FakeCluster *cluster, const char *name, guint partition, gint32 broker_id, gboolean told) {
  Order order = {.cluster = cluster, .name = name, .number = partition, .broker_id = broker_id, .flag = told};
  loop_call_and_wait(cluster->loop, run_set_leader, &order);
}

static void run_log_start(gpointer data) {
  Order *order = data;
  FAKE_PARTITION(fake_find_topic(order->cluster, order->name), order->number)->log_start = order->value;
}

void fake_cluster_set_log_start(FakeCluster *cluster, const char *name, guint partition, gint64 offset) {
  Order order = {.cluster = cluster, .name = name, .number = partition, .value = offset};
  loop_call_and_wait(cluster->loop, run_log_start, &order);
}

static void run_corrupt(gpointer data) {
  Order *order = data;
  GArray *batches = FAKE_PARTITION(fake_find_topic(order->cluster, order->name), order->number)->batches;
  for (guint i = 0; i < batches->len; i++) {
    LogBatch *batch = LOG_BATCH_AT(batches, i);
    if (batch->base_offset < order->value)
      continue;
    gsize size;
    const guint8 *data = g_bytes_get_data(batch->records, &size);
    guint8 *copy = g_memdup2(data, size);
    copy[size / 2] ^= 1;
    g_bytes_unref(batch->records);
    batch->records = g_bytes_new_take(copy, size);
  }
}

void fake_cluster_corrupt(FakeCluster *cluster, const char *name, guint partition, gint64 from_offset) {
  Order order = {.cluster = cluster, .name = name, .number = partition, .value = from_offset};
  loop_call_and_wait(cluster->loop, run_corrupt, &order);
}

static void run_fault(gpointer data) {
  Order *order = data;
  order->cluster->fault = order->fault;
  order->cluster->fault_reason = order->reason;
  order->cluster->fault_count = order->number;
}

void fake_cluster_fault(FakeCluster *cluster, FaultKind kind, FailureReason reason, guint count) {
  Order order = {.cluster = cluster, .fault = kind, .reason = reason, .number = count};
  loop_call_and_wait(cluster->loop, run_fault, &order);
}

static void run_chaos(gpointer data) {
  Order *order = data;
  g_clear_pointer(&order->cluster->chaos, g_rand_free);
  order->cluster->chaos_percent = order->number;
  if (order->number > 0)
    order->cluster->chaos = g_rand_new_with_seed((guint32)order->value);
}

void fake_cluster_chaos(FakeCluster *cluster, guint32 seed, guint percent) {
  Order order = {.cluster = cluster, .value = seed, .number = percent};
  loop_call_and_wait(cluster->loop, run_chaos, &order);
}

static FakePartition *order_partition(const Order *order) {
  return FAKE_PARTITION(fake_find_topic(order->cluster, order->name), order->number);
}

static void run_forget(gpointer data) {
  log_producers_expire(order_partition(data)->producers, G_MAXINT64, NULL);
}

void fake_cluster_forget_producers(FakeCluster *cluster, const char *name, guint partition) {
  Order order = {.cluster = cluster, .name = name, .number = partition};
  loop_call_and_wait(cluster->loop, run_forget, &order);
}

/* The other process writes an empty-handed batch: the table alone sees it. */
static void run_fence(gpointer data) {
  FakePartition *partition = order_partition(data);
  for (guint i = 0; i < partition->batches->len; i++) {
    LogBatch batch;
    log_batch_share(LOG_BATCH_AT(partition->batches, i), &batch);
    const LogProducer *known = log_producers_find(partition->producers, batch.producer_id);
    batch.producer_epoch = known ? known->epoch + 100 : 100;
    log_producers_add(partition->producers, &batch);
    log_batch_clear(&batch);
  }
}

void fake_cluster_fence_producers(FakeCluster *cluster, const char *name, guint partition) {
  Order order = {.cluster = cluster, .name = name, .number = partition};
  loop_call_and_wait(cluster->loop, run_fence, &order);
}

static void run_cut(gpointer data) {
  Order *order = data;
  FakePartition *partition = order_partition(order);
  guint keep = 0;
  while (keep < partition->batches->len && LOG_BATCH_AT(partition->batches, keep)->base_offset < order->value)
    keep++;
  g_array_set_size(partition->batches, keep);
  partition->log_end = keep > 0 ? log_batch_next_offset(LOG_BATCH_AT(partition->batches, keep - 1)) : 0;
  log_producers_truncate(partition->producers, partition->log_end, NULL);
}

void fake_cluster_cut(FakeCluster *cluster, const char *name, guint partition, gint64 offset) {
  Order order = {.cluster = cluster, .name = name, .number = partition, .value = offset};
  loop_call_and_wait(cluster->loop, run_cut, &order);
}

static void run_refuse_ids(gpointer data) {
  Order *order = data;
  order->cluster->id_reason = order->reason;
  order->cluster->id_failures = order->number;
}

void fake_cluster_refuse_ids(FakeCluster *cluster, FailureReason reason, guint count) {
  Order order = {.cluster = cluster, .reason = reason, .number = count};
  loop_call_and_wait(cluster->loop, run_refuse_ids, &order);
}

void fake_cluster_lose_removal(FakeCluster *cluster) {
  g_atomic_int_set(&cluster->lose_removal, 1);
}

void fake_cluster_make_old(FakeCluster *cluster) {
  cluster->old = TRUE; /* read on this thread alone */
  for (guint i = 1; i <= cluster->brokers->len; i++) {
    fake_cluster_stop_broker(cluster, (gint32)i);
    fake_cluster_start_broker(cluster, (gint32)i);
  }
}

static void run_hold(gpointer data) {
  Order *order = data;
  order->cluster->hold = order->flag;
  if (!order->flag)
    fake_release_held(order->cluster);
}

void fake_cluster_hold(FakeCluster *cluster, gboolean hold) {
  Order order = {.cluster = cluster, .flag = hold};
  loop_call_and_wait(cluster->loop, run_hold, &order);
}

static void run_counters(gpointer data) {
  Order *order = data;
  order->counters = order->cluster->counters;
  order->counters.held = order->cluster->held->len;
}

FakeCounters fake_cluster_counters(FakeCluster *cluster) {
  Order order = {.cluster = cluster};
  loop_call_and_wait(cluster->loop, run_counters, &order);
  return order.counters;
}

static void run_log_end(gpointer data) {
  Order *order = data;
  order->value = FAKE_PARTITION(fake_find_topic(order->cluster, order->name), order->number)->log_end;
}

gint64 fake_cluster_log_end(FakeCluster *cluster, const char *name, guint partition) {
  Order order = {.cluster = cluster, .name = name, .number = partition};
  loop_call_and_wait(cluster->loop, run_log_end, &order);
  return order.value;
}

static void run_values(gpointer data) {
  Order *order = data;
  GArray *batches = FAKE_PARTITION(fake_find_topic(order->cluster, order->name), order->number)->batches;
  for (guint i = 0; i < batches->len; i++) {
    g_autoptr(LogRecordsReader) reader = NULL;
    g_autoptr(Failure) failure = log_records_reader_new(LOG_BATCH_AT(batches, i), &reader);
    LogRecord record;
    while (!failure && log_records_reader_next(reader, &record, &failure))
      g_ptr_array_add(order->values, g_strndup((const char *)record.value.data, record.value.len));
  }
}

GPtrArray *fake_cluster_values(FakeCluster *cluster, const char *name, guint partition) {
  Order order = {
      .cluster = cluster, .name = name, .number = partition, .values = g_ptr_array_new_with_free_func(g_free)};
  loop_call_and_wait(cluster->loop, run_values, &order);
  return order.values;
}
