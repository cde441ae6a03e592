#include "controller/metadata/commands.h"

#include <string.h>

#include "tests/unit/metadata/fixture.h"

#define BROKER MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER

/* ---- Creating topics ---- */

static const struct {
  const char *name, *topic;
  guint32 partitions, replication_factor, max_message_bytes, min_insync;
  gint flush;
  gint64 interval_s;
  const char *reason, *field; /* NULL: it is made; field NULL: none is named */
} CREATES[] = {
    {"plain", "a", 6, 0, 0, 0, 0, 0, NULL, NULL},
    {"all_characters", "aZ09._-", 1, 1, 0, 0, 0, 0, NULL, NULL},
    {"no_name", "", 1, 0, 0, 0, 0, 0, "INVALID_FIELD", "name"},
    {"dot", ".", 1, 0, 0, 0, 0, 0, "INVALID_FIELD", "name"},
    {"dots", "..", 1, 0, 0, 0, 0, 0, "INVALID_FIELD", "name"},
    {"slash", "a/b", 1, 0, 0, 0, 0, 0, "INVALID_FIELD", "name"},
    {"umlaut", "\xc3\xa4", 1, 0, 0, 0, 0, 0, "INVALID_FIELD", "name"},
    {"reserved", "__x", 1, 0, 0, 0, 0, 0, "INTERNAL_TOPIC", NULL},
    {"exists", "there", 1, 0, 0, 0, 0, 0, "TOPIC_EXISTS", NULL},
    {"many_partitions", "a", 10000, 0, 0, 0, 0, 0, NULL, NULL},
    {"too_many_partitions", "a", 10001, 0, 0, 0, 0, 0, "INVALID_FIELD", "partitions"},
    {"more_replicas_than_brokers", "a", 1, 3, 0, 0, 0, 0, "NOT_ENOUGH_BROKERS", NULL},
    {"too_many_replicas", "a", 1, 17, 0, 0, 0, 0, "INVALID_FIELD", "replication_factor"},
    {"smallest_messages", "a", 1, 0, 1024, 0, 0, 0, NULL, NULL},
    {"messages_too_small", "a", 1, 0, 1023, 0, 0, 0, "INVALID_FIELD", "config.max_message_bytes"},
    {"messages_too_large", "a", 1, 0, 67108865, 0, 0, 0, "INVALID_FIELD", "config.max_message_bytes"},
    {"min_insync_of_one", "a", 1, 0, 0, 1, 0, 0, NULL, NULL},
    {"min_insync_above_factor", "a", 1, 0, 0, 2, 0, 0, "INVALID_FIELD", "config.min_insync_replicas"},
    {"flush_of_a_newer_version", "a", 1, 0, 0, 0, 9, 0, "INVALID_FIELD", "config.flush"},
    {"negative_interval", "a", 1, 0, 0, 0, 2, -1, "INVALID_FIELD", "config.flush_interval"},
    {"long_interval", "a", 1, 0, 0, 0, 2, 3601, "INVALID_FIELD", "config.flush_interval"},
};

TEST_ROWS(create_topic, CREATES) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_create_topic(&cluster, "there", 1);
  Google__Protobuf__Duration interval = GOOGLE__PROTOBUF__DURATION__INIT;
  interval.seconds = CREATES[row].interval_s;
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.flush = (Milena__V1__Flush)CREATES[row].flush;
  config.flush_interval = interval.seconds ? &interval : NULL;
  config.max_message_bytes = CREATES[row].max_message_bytes;
  config.max_message_bytes_presence_case = CREATES[row].max_message_bytes ? 3 : 0;
  config.min_insync_replicas = CREATES[row].min_insync;
  config.min_insync_replicas_presence_case = CREATES[row].min_insync ? 4 : 0;
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)CREATES[row].topic;
  request.partitions = CREATES[row].partitions;
  request.replication_factor = CREATES[row].replication_factor;
  request.config = &config;
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  g_autoptr(Failure) failure = metadata_command_create_topic(cluster.image, &context, &request, records);
  EXPECT_EQ_STR(CREATES[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  EXPECT_EQ_INT(failure ? 0 : CREATES[row].partitions + 1, records->len);
  if (CREATES[row].field) {
    Google__Rpc__Status *status = failure_to_status(failure);
    g_autofree char *text = NULL;
    gboolean named = FALSE; /* the path stands in the BadRequest among the details */
    for (gsize i = 0; i < status->n_details; i++)
      named |= memmem(status->details[i]->value.data, status->details[i]->value.len, CREATES[row].field,
                      strlen(CREATES[row].field)) != NULL;
    EXPECT_TRUE(named);
    google__rpc__status__free_unpacked(status, NULL);
  }
  cluster_clear(&cluster);
}

TEST(create_topic, long_names_are_refused) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  char name[251];
  memset(name, 'x', sizeof name);
  name[250] = '\0';
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = name;
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  g_autoptr(Failure) failure = metadata_command_create_topic(cluster.image, &context, &request, records);
  EXPECT_CONTAINS(failure_message(failure), "250");
  name[249] = '\0';
  EXPECT_NULL(metadata_command_create_topic(cluster.image, &context, &request, records));
  cluster_clear(&cluster);
}

TEST(create_topic, needs_an_unfenced_broker) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_fence(&cluster, 1, TRUE);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"a";
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  g_autoptr(Failure) failure = metadata_command_create_topic(cluster.image, &context, &request, records);
  EXPECT_EQ_INT(FAILURE(NOT_ENOUGH_BROKERS), failure_reason(failure));
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}

static Failure *create_with_request_id(Cluster *cluster, const char *id, guint32 partitions, guint *ret_records) {
  GPtrArray *records = metadata_records_new();
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"a";
  request.request_id = (char *)id;
  request.partitions = partitions;
  MetadataContext context = cluster_context(cluster);
  Failure *failure = metadata_command_create_topic(cluster->image, &context, &request, records);
  *ret_records = records->len;
  if (failure)
    g_ptr_array_unref(records);
  else
    cluster_apply(cluster, NULL, records);
  return failure;
}

TEST(create_topic, a_retry_with_its_request_id_is_done_already) {
  Cluster cluster;
  guint records;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  EXPECT_NULL(create_with_request_id(&cluster, "r1", 2, &records));
  EXPECT_EQ_INT(3, records);
  EXPECT_NULL(create_with_request_id(&cluster, "r1", 2, &records));
  EXPECT_EQ_INT(0, records);
  g_autoptr(Failure) other_content = create_with_request_id(&cluster, "r1", 3, &records);
  EXPECT_EQ_INT(FAILURE(TOPIC_EXISTS), failure_reason(other_content));
  g_autoptr(Failure) other_id = create_with_request_id(&cluster, "r2", 2, &records);
  EXPECT_EQ_INT(FAILURE(TOPIC_EXISTS), failure_reason(other_id));
  cluster_clear(&cluster);
}

/* ---- Placement ---- */

TEST(placement, spreads_leaders_over_brokers_and_topics) {
  Cluster cluster;
  cluster_init(&cluster);
  for (gint32 id = 1; id <= 3; id++)
    cluster_add_broker(&cluster, id, "");
  for (guint i = 0; i < 9; i++) {
    g_autofree char *name = g_strdup_printf("t%u", i);
    cluster_create_topic(&cluster, name, 1 + i % 3);
  }
  for (gint32 id = 1; id <= 3; id++) {
    const MetadataBroker *broker = metadata_image_broker(cluster.image, id);
    EXPECT_EQ_INT(6, broker->leader_count);
    EXPECT_EQ_INT(6, broker->replica_count);
  }
  cluster_clear(&cluster);
}

TEST(placement, goes_round_the_racks_first) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "east");
  cluster_add_broker(&cluster, 2, "east");
  cluster_add_broker(&cluster, 3, "west");
  cluster_create_topic(&cluster, "a", 3);
  const MetadataTopic *topic = metadata_image_topic_by_name(cluster.image, "a");
  EXPECT_EQ_INT(1, topic->partitions[0]->leader_id);
  EXPECT_EQ_INT(3, topic->partitions[1]->leader_id);
  EXPECT_EQ_INT(2, topic->partitions[2]->leader_id);
  cluster_clear(&cluster);
}

/* ---- Registration ---- */

static const struct {
  const char *name;
  guint8 folder, process;
  gboolean alive;
  const char *reason; /* NULL: taken */
  guint records;
} REGISTRATIONS[] = {
    {"retry_of_the_same_process", 1, 101, TRUE, NULL, 0},
    {"restart_on_the_same_folder", 1, 77, TRUE, NULL, 3}, /* registration, and two partitions without a leader */
    {"another_folder_while_it_lives", 9, 77, TRUE, "DUPLICATE_ID", 0},
    {"another_folder_after_its_session", 9, 77, FALSE, NULL, 3},
};

TEST_ROWS(register_broker, REGISTRATIONS) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_create_topic(&cluster, "a", 2);
  guint64 before = metadata_image_broker(cluster.image, 1)->epoch, epoch = 0;
  Milena__Internal__V1__RegisterNodeRequest request =
      broker_request(1, "", REGISTRATIONS[row].folder, REGISTRATIONS[row].process);
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  g_autoptr(Failure) failure =
      metadata_command_register_node(cluster.image, &context, &request, REGISTRATIONS[row].alive, records, &epoch);
  EXPECT_EQ_STR(REGISTRATIONS[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  EXPECT_EQ_INT(REGISTRATIONS[row].records, records->len);
  if (!failure) {
    gboolean taken = records->len > 0;
    cluster_apply(&cluster, NULL, records);
    const MetadataBroker *broker = metadata_image_broker(cluster.image, 1);
    EXPECT_EQ_INT(epoch, broker->epoch);
    EXPECT_TRUE(taken ? epoch > before : epoch == before);
    EXPECT_EQ_INT(taken, broker->fenced);
    EXPECT_EQ_INT(taken ? 0 : 2, broker->leader_count);
    EXPECT_EQ_INT(2, broker->replica_count);
  } else {
    g_ptr_array_unref(records);
  }
  cluster_clear(&cluster);
}

static void spoil_kind(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->kind = 0;
}
static void spoil_id(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->id = -1;
}
static void spoil_cluster(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->cluster_id = (char *)"elsewhere";
}
static void spoil_process(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->process_id = (char *)"p";
}
static void spoil_incarnation(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->incarnation = (char *)"";
}
static void spoil_address(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->address = (char *)"host";
}
static void spoil_port(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->address = (char *)"host:0";
}
static void spoil_peer(Milena__Internal__V1__RegisterNodeRequest *r) {
  r->peer_address = (char *)":7650";
}

static const struct {
  const char *name;
  void (*spoil)(Milena__Internal__V1__RegisterNodeRequest *request);
  const char *reason;
} BAD_REGISTRATIONS[] = {
    {"kind", spoil_kind, "INVALID_FIELD"},          {"id", spoil_id, "INVALID_FIELD"},
    {"cluster", spoil_cluster, "CLUSTER_MISMATCH"}, {"process", spoil_process, "INVALID_FIELD"},
    {"folder", spoil_incarnation, "INVALID_FIELD"}, {"address", spoil_address, "INVALID_FIELD"},
    {"port", spoil_port, "INVALID_FIELD"},          {"peer", spoil_peer, "INVALID_FIELD"},
};

TEST_ROWS(register_broker_refused, BAD_REGISTRATIONS) {
  Cluster cluster;
  cluster_init(&cluster);
  Milena__Internal__V1__RegisterNodeRequest request = broker_request(1, "", 1, 2);
  BAD_REGISTRATIONS[row].spoil(&request);
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  guint64 epoch = 0;
  g_autoptr(Failure) failure =
      metadata_command_register_node(cluster.image, &context, &request, FALSE, records, &epoch);
  EXPECT_EQ_STR(BAD_REGISTRATIONS[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}

/* ---- Fencing ---- */

TEST(fence, takes_the_leaderships_and_gives_them_back) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_add_broker(&cluster, 2, "");
  cluster_create_topic(&cluster, "a", 2);
  cluster_fence(&cluster, 1, TRUE);
  const MetadataTopic *topic = metadata_image_topic_by_name(cluster.image, "a");
  EXPECT_EQ_INT(-1, topic->partitions[0]->leader_id);
  EXPECT_EQ_INT(1, topic->partitions[0]->leader_epoch);
  EXPECT_EQ_INT(1, topic->partitions[0]->partition_epoch);
  EXPECT_EQ_INT(2, topic->partitions[1]->leader_id);
  EXPECT_EQ_INT(0, topic->partitions[1]->leader_epoch);
  cluster_fence(&cluster, 1, FALSE);
  topic = metadata_image_topic_by_name(cluster.image, "a");
  EXPECT_EQ_INT(1, topic->partitions[0]->leader_id);
  EXPECT_EQ_INT(2, topic->partitions[0]->leader_epoch);
  cluster_clear(&cluster);
}

TEST(fence, of_an_older_registration_is_refused) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) stale = metadata_command_fence_node(cluster.image, BROKER, 1, 1, TRUE, records);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(stale));
  g_autoptr(Failure) unknown = metadata_command_fence_node(cluster.image, BROKER, 5, 1, TRUE, records);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(unknown));
  guint64 epoch = metadata_image_broker(cluster.image, 1)->epoch;
  EXPECT_NULL(metadata_command_fence_node(cluster.image, BROKER, 1, epoch, FALSE, records)); /* so already */
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}

/* ---- Update, delete, add partitions ---- */

static const struct {
  const char *name, *path;
  const char *reason, *part; /* of the sentence */
  guint records;
} UPDATES[] = {
    {"one_field", "max_message_bytes", NULL, NULL, 1},
    {"the_same_value", "flush", NULL, NULL, 0},
    {"unknown_field", "colour", "INVALID_FIELD", "flush, flush_interval, max_message_bytes, min_insync_replicas", 0},
    {"no_mask", NULL, "INVALID_FIELD", "update_mask", 0},
};

/* Settings of cleanup: what a topic may have. */
static const struct {
  const char *name, *field;
  gint64 seconds;
  gint32 nanos;
  gint64 number;
  double ratio;
  const char *refused; /* NULL: it is taken */
} CLEANUPS[] = {
    {"two_minutes", "retention", 120, 0, 0, 0, NULL},
    {"for_ever", "retention", -1, 0, 0, 0, NULL},
    {"for_ever_by_a_little", "retention", 0, -1000000, 0, 0, NULL},
    {"less_than_a_second", "retention", 0, 999000000, 0, 0, "config.retention"},
    {"signs_that_differ", "retention", 5, -1, 0, 0, "config.retention"},
    {"beyond_all_times", "retention", G_MAXINT64, 0, 0, 0, "config.retention"},
    {"bytes", "retention_bytes", 0, 0, 1, 0, NULL},
    {"bytes_without_bound", "retention_bytes", 0, 0, -1, 0, NULL},
    {"no_bytes", "retention_bytes", 0, 0, 0, 0, "config.retention_bytes"},
    {"negative_bytes", "retention_bytes", 0, 0, -2, 0, "config.retention_bytes"},
    {"tombstones_go_at_once", "delete_retention", 0, 0, 0, 0, NULL},
    {"negative_tombstones", "delete_retention", -1, 0, 0, 0, "config.delete_retention"},
    {"lag", "min_compaction_lag", 60, 0, 0, 0, NULL},
    {"negative_lag", "min_compaction_lag", -1, 0, 0, 0, "config.min_compaction_lag"},
    {"ratio", "min_cleanable_dirty_ratio", 0, 0, 0, 0.1, NULL},
    {"ratio_above_one", "min_cleanable_dirty_ratio", 0, 0, 0, 1.5, "config.min_cleanable_dirty_ratio"},
    {"ratio_below_zero", "min_cleanable_dirty_ratio", 0, 0, 0, -0.1, "config.min_cleanable_dirty_ratio"},
};

TEST_ROWS(cleanup, CLEANUPS) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_create_topic(&cluster, "a", 1);
  Google__Protobuf__Duration time = GOOGLE__PROTOBUF__DURATION__INIT;
  time.seconds = CLEANUPS[row].seconds;
  time.nanos = CLEANUPS[row].nanos;
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.retention = config.delete_retention = config.min_compaction_lag = &time;
  config.retention_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__RETENTION_BYTES_PRESENCE_RETENTION_BYTES;
  config.retention_bytes = CLEANUPS[row].number;
  config.min_cleanable_dirty_ratio_presence_case =
      MILENA__V1__TOPIC_CONFIG__MIN_CLEANABLE_DIRTY_RATIO_PRESENCE_MIN_CLEANABLE_DIRTY_RATIO;
  config.min_cleanable_dirty_ratio = CLEANUPS[row].ratio;
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  char *paths[] = {(char *)CLEANUPS[row].field};
  mask.paths = paths;
  mask.n_paths = 1;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"a";
  request.config = &config;
  request.update_mask = &mask;
  g_autoptr(GPtrArray) records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  g_autoptr(Failure) failure = metadata_command_update_topic(cluster.image, &request, records, &topic);
  EXPECT_EQ_STR(CLEANUPS[row].refused ? "INVALID_FIELD" : NULL,
                failure ? failure_reason_name(failure_reason(failure)) : NULL);
  EXPECT_EQ_INT(CLEANUPS[row].refused ? 0 : 1, records->len);
  if (failure) {
    Google__Rpc__Status *status = failure_to_status(failure);
    g_autoptr(GString) details = g_string_new(NULL);
    for (gsize i = 0; i < status->n_details; i++)
      g_string_append_len(details, (const char *)status->details[i]->value.data, (gssize)status->details[i]->value.len);
    EXPECT_TRUE(memmem(details->str, details->len, CLEANUPS[row].refused, strlen(CLEANUPS[row].refused)) != NULL);
    google__rpc__status__free_unpacked(status, NULL);
  }
  cluster_clear(&cluster);
}

TEST_ROWS(update_topic, UPDATES) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_create_topic(&cluster, "a", 1);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.max_message_bytes_presence_case = 3;
  config.max_message_bytes = 4096;
  config.flush_interval = NULL;
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  char *paths[] = {(char *)UPDATES[row].path};
  mask.n_paths = UPDATES[row].path ? 1 : 0;
  mask.paths = paths;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"a";
  request.config = &config;
  request.update_mask = &mask;
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  g_autoptr(Failure) failure = metadata_command_update_topic(cluster.image, &request, records, &topic);
  EXPECT_EQ_STR(UPDATES[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  if (UPDATES[row].part)
    EXPECT_CONTAINS(failure_message(failure), UPDATES[row].part);
  EXPECT_EQ_INT(UPDATES[row].records, records->len);
  if (failure)
    g_ptr_array_unref(records);
  else
    cluster_apply(&cluster, NULL, records);
  topic = metadata_image_topic_by_name(cluster.image, "a");
  EXPECT_EQ_INT(UPDATES[row].records ? 4096 : 0, topic->config->max_message_bytes);
  EXPECT_EQ_INT(1, topic->partition_count);
  cluster_clear(&cluster);
}

TEST(delete_topic, gives_a_new_one_of_its_name_another_id_and_log) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_create_topic(&cluster, "a", 2);
  const MetadataTopic *topic = metadata_image_topic_by_name(cluster.image, "a");
  g_autofree char *old_id = g_strdup(topic->id);
  guint64 old_log = topic->partitions[1]->log_id;
  Milena__V1__DeleteTopicRequest request = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  request.name = (char *)"a";
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *deleted = NULL;
  cluster_apply(&cluster, metadata_command_delete_topic(cluster.image, &request, records, &deleted), records);
  EXPECT_NULL(metadata_image_topic_by_name(cluster.image, "a"));
  EXPECT_NULL(metadata_image_topic_by_id(cluster.image, old_id));
  EXPECT_EQ_INT(0, metadata_image_partition_count(cluster.image));
  EXPECT_EQ_INT(0, metadata_image_broker(cluster.image, 1)->leader_count);
  cluster_create_topic(&cluster, "a", 1);
  topic = metadata_image_topic_by_name(cluster.image, "a");
  EXPECT_TRUE(strcmp(topic->id, old_id) != 0);
  EXPECT_TRUE(topic->partitions[0]->log_id > old_log);
  request.id = old_id;
  g_autoptr(GPtrArray) none = metadata_records_new();
  g_autoptr(Failure) failure = metadata_command_delete_topic(cluster.image, &request, none, &deleted);
  EXPECT_EQ_INT(FAILURE(TOPIC_ID_MISMATCH), failure_reason(failure));
  cluster_clear(&cluster);
}

static const struct {
  const char *name;
  guint32 total;
  const char *reason;
} ADDITIONS[] = {
    {"more", 5, NULL},
    {"the_same", 2, "INVALID_FIELD"},
    {"fewer", 1, "INVALID_FIELD"},
    {"too_many", 10001, "INVALID_FIELD"},
};

TEST_ROWS(add_partitions, ADDITIONS) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_add_broker(&cluster, 2, "");
  cluster_create_topic(&cluster, "a", 2);
  Milena__V1__AddPartitionsRequest request = MILENA__V1__ADD_PARTITIONS_REQUEST__INIT;
  request.name = (char *)"a";
  request.total_partitions = ADDITIONS[row].total;
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  g_autoptr(Failure) failure = metadata_command_add_partitions(cluster.image, &request, records, &topic);
  EXPECT_EQ_STR(ADDITIONS[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  if (failure)
    g_ptr_array_unref(records);
  else
    cluster_apply(&cluster, NULL, records);
  topic = metadata_image_topic_by_name(cluster.image, "a");
  EXPECT_EQ_INT(failure ? 2 : ADDITIONS[row].total, topic->partition_count);
  for (guint i = 0; i < topic->partition_count; i++) { /* still in turns */
    EXPECT_EQ_INT(1 + i % 2, topic->partitions[i]->leader_id);
    EXPECT_EQ_INT(i + 1, topic->partitions[i]->log_id);
  }
  cluster_clear(&cluster);
}

/* ---- Producer ids ---- */

TEST(producer_ids, blocks_follow_each_other_whoever_asks) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  cluster_add_broker(&cluster, 2, "");
  EXPECT_EQ_INT(1, metadata_image_next_producer_id(cluster.image));
  for (gint32 i = 0; i < 3; i++) {
    gint32 id = 1 + i % 2;
    gint64 first = 0;
    GPtrArray *records = metadata_records_new();
    cluster_apply(&cluster,
                  metadata_command_allocate_producer_ids(
                      cluster.image, id, metadata_image_broker(cluster.image, id)->epoch, records, &first),
                  records);
    EXPECT_EQ_INT(1 + 1000 * i, first);
  }
  EXPECT_EQ_INT(3001, metadata_image_next_producer_id(cluster.image));
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(cluster.image);
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  g_autoptr(MetadataImage) restored = NULL;
  EXPECT_NULL(metadata_snapshot_decode(data, size, &restored));
  EXPECT_EQ_INT(3001, metadata_image_next_producer_id(restored));
  cluster_clear(&cluster);
}

TEST(producer_ids, a_stale_registration_gets_none) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  guint64 epoch = metadata_image_broker(cluster.image, 1)->epoch;
  const struct {
    gint32 id;
    guint64 epoch;
  } rows[] = {{1, epoch - 1}, {1, epoch + 1}, {1, 0}, {2, epoch}};
  for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autoptr(GPtrArray) records = metadata_records_new();
    gint64 first = -7;
    g_autoptr(Failure) failure =
        metadata_command_allocate_producer_ids(cluster.image, rows[i].id, rows[i].epoch, records, &first);
    EXPECT_EQ_INT(FAILURE(FENCED), failure ? (int)failure_reason(failure) : -1);
    EXPECT_EQ_INT(0, records->len);
    EXPECT_EQ_INT(-7, first);
  }
  cluster_clear(&cluster);
}
