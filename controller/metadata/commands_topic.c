/* Commands on topics: create, update, delete, add partitions. No state. */
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/placement.h"
#include "controller/metadata/records.h"
#include "controller/metadata/topic_config.h"
#include "controller/metadata/view.h"

#define GROUP_TOPIC_MESSAGE_BYTES (16 * 1024 * 1024)

typedef Milena__V1__TopicConfig TopicConfig;

/* ---- Checks ---- */

static Failure *check_name(const char *name) {
  gsize length = strlen(name);
  if (length == 0 || length > METADATA_TOPIC_NAME_BYTES_MAX)
    return metadata_invalid_field("name", "1 to 249 of a-z A-Z 0-9 . _ -",
                                  "A topic's name has 1 to %d characters, and this one has %" G_GSIZE_FORMAT ".",
                                  METADATA_TOPIC_NAME_BYTES_MAX, length);
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return metadata_invalid_field("name", "not . or ..", "A topic can't be named \"%s\".", name);
  for (const char *c = name; *c; c++)
    if (!g_ascii_isalnum(*c) && !strchr("._-", *c))
      return metadata_invalid_field("name", "1 to 249 of a-z A-Z 0-9 . _ -",
                                    "The topic name \"%s\" has a character that is not one of a-z A-Z 0-9 . _ -", name);
  if (g_str_has_prefix(name, METADATA_INTERNAL_PREFIX))
    return failure_set_resource(failure_new(FAILURE(INTERNAL_TOPIC),
                                            "The topic name \"%s\" begins with " METADATA_INTERNAL_PREFIX
                                            ", which is kept for Milena's own topics. Choose another.",
                                            name),
                                "topic", name);
  return NULL;
}

/* @what: "deleted" */
static Failure *check_not_internal(const MetadataTopic *topic, const char *what) {
  if (!metadata_topic_is_internal(topic))
    return NULL;
  return failure_set_resource(failure_new(FAILURE(INTERNAL_TOPIC),
                                          "The topic \"%s\" is Milena's own: it can be read, but not %s.", topic->name,
                                          what),
                              "topic", topic->name);
}

static Failure *check_partitions(const char *path, guint32 partitions) {
  if (partitions >= 1 && partitions <= METADATA_PARTITIONS_MAX)
    return NULL;
  return metadata_invalid_field(path, "1 to 10,000", "A topic has 1 to %d partitions, and %u were asked for.",
                                METADATA_PARTITIONS_MAX, partitions);
}

static gboolean same_config(const TopicConfig *a, const TopicConfig *b) {
  gsize size = protobuf_c_message_get_packed_size(&a->base);
  if (size != protobuf_c_message_get_packed_size(&b->base))
    return FALSE;
  g_autofree guint8 *x = g_malloc(size + 1), *y = g_malloc(size + 1);
  protobuf_c_message_pack(&a->base, x);
  protobuf_c_message_pack(&b->base, y);
  return memcmp(x, y, size) == 0;
}

/* ---- Partitions ---- */

/* Append records of the partitions from..to-1 of a topic. */
static Failure *add_partitions(const MetadataImage *image, const char *topic_id, guint32 replication_factor,
                               MetadataPlacement *placement, guint32 from, guint32 to, GPtrArray *records) {
  if (metadata_placement_count(placement) < replication_factor)
    return failure_new(FAILURE(NOT_ENOUGH_BROKERS),
                       "%u broker(s) can take new partitions, and each partition needs %u. Start more brokers, wait "
                       "until they have come up, or undrain some.",
                       metadata_placement_count(placement), replication_factor);
  guint64 log_id = metadata_image_next_log_id(image);
  gint32 replicas[METADATA_REPLICATION_FACTOR_MAX];
  for (guint32 i = from; i < to; i++) {
    metadata_placement_choose(placement, replicas, replication_factor);
    MetadataPartition partition = {
        .partition = (gint32)i,
        .log_id = log_id++,
        .leader_id = replicas[0],
        .replica_count = replication_factor,
        .isr_count = replication_factor,
        .replicas = replicas,
        .isr = replicas,
    };
    g_strlcpy(partition.topic_id, topic_id, sizeof partition.topic_id);
    g_ptr_array_add(records, metadata_record_partition(&partition));
  }
  return NULL;
}

/* ---- Create ---- */

/* The topic of this name exists: the first try of the same request, or a refusal. */
static Failure *check_retry(const MetadataTopic *topic, const Milena__V1__CreateTopicRequest *request,
                            guint32 partitions, guint32 replication_factor, const TopicConfig *config) {
  gboolean same_request = *request->request_id && strcmp(topic->request_id, request->request_id) == 0;
  if (same_request && topic->partition_count == partitions && topic->replication_factor == replication_factor &&
      same_config(topic->config, config))
    return NULL;
  return failure_set_resource(
      same_request ? failure_new(FAILURE(TOPIC_EXISTS),
                                 "The topic \"%s\" was made by a request with the id \"%s\", but it is not what this "
                                 "request asks for. Use another request_id for another request.",
                                 topic->name, request->request_id)
                   : failure_new(FAILURE(TOPIC_EXISTS), "A topic \"%s\" exists already.", topic->name),
      "topic", topic->name);
}

static Failure *check_create(const Milena__V1__CreateTopicRequest *request, guint32 partitions,
                             guint32 replication_factor, const TopicConfig *config) {
  Failure *failure = check_name(request->name);
  if (!failure)
    failure = check_partitions("partitions", partitions);
  if (!failure && strlen(request->request_id) > METADATA_REQUEST_ID_BYTES_MAX)
    failure = metadata_invalid_field("request_id", "at most 128 bytes", "A request_id has at most %d bytes.",
                                     METADATA_REQUEST_ID_BYTES_MAX);
  if (!failure && replication_factor > METADATA_REPLICATION_FACTOR_MAX)
    failure = metadata_invalid_field("replication_factor", "1 to 16",
                                     "A partition has at most %d replicas, and %u were asked for.",
                                     METADATA_REPLICATION_FACTOR_MAX, replication_factor);
  return failure ? failure : topic_config_check(config, replication_factor);
}

/* A new topic with its partitions. */
static Failure *make_topic(const MetadataImage *image, const MetadataContext *context,
                           const Milena__V1__CreateTopicRequest *request, guint32 replication_factor,
                           const TopicConfig *config, MetadataPlacement *placement, GPtrArray *records) {
  MetadataTopic topic = {
      .name = request->name,
      .request_id = request->request_id,
      .replication_factor = replication_factor,
      .config = config,
  };
  metadata_uuid(context->random, topic.id);
  g_autoptr(GPtrArray) made = metadata_records_new();
  g_ptr_array_add(made, metadata_record_topic(&topic));
  Failure *failure = add_partitions(image, topic.id, replication_factor, placement, 0,
                                    request->partitions ? request->partitions : 1, made);
  if (!failure)
    g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  return failure;
}

Failure *metadata_command_create_topic(const MetadataImage *image, const MetadataContext *context,
                                       const Milena__V1__CreateTopicRequest *request, GPtrArray *records) {
  TopicConfig defaults = MILENA__V1__TOPIC_CONFIG__INIT;
  const TopicConfig *config = request->config ? request->config : &defaults;
  guint32 partitions = request->partitions ? request->partitions : 1, replication_factor = request->replication_factor;
  const MetadataTopic *existing = metadata_image_topic_by_name(image, request->name);
  MetadataPlacement placement;
  metadata_placement_init(&placement, image, NULL);
  /* A retry without a factor means that of its first try, however many brokers there are by now. */
  if (!replication_factor)
    replication_factor = existing ? existing->replication_factor
                                  : CLAMP(metadata_placement_count(&placement), 1, METADATA_REPLICATION_FACTOR_DEFAULT);
  Failure *failure = check_create(request, partitions, replication_factor, config);
  if (!failure && existing)
    failure = check_retry(existing, request, partitions, replication_factor, config);
  else if (!failure)
    failure = make_topic(image, context, request, replication_factor, config, &placement, records);
  metadata_placement_clear(&placement);
  return failure;
}

Failure *metadata_command_ensure_group_topic(const MetadataImage *image, const MetadataContext *context,
                                             guint32 partitions, GPtrArray *records) {
  if (metadata_image_topic_by_name(image, METADATA_GROUP_TOPIC))
    return NULL;
  TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.cleanup_policy = MILENA__V1__CLEANUP_POLICY__CLEANUP_POLICY_COMPACT;
  /* A record is one thing of a group, of any size that its limits allow. */
  config.max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  config.max_message_bytes = GROUP_TOPIC_MESSAGE_BYTES;
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)METADATA_GROUP_TOPIC;
  request.partitions = partitions;
  MetadataPlacement placement;
  metadata_placement_init(&placement, image, NULL);
  guint32 factor = CLAMP(metadata_placement_count(&placement), 1, METADATA_REPLICATION_FACTOR_DEFAULT);
  Failure *failure = make_topic(image, context, &request, factor, &config, &placement, records);
  metadata_placement_clear(&placement);
  return failure ? failure : metadata_follow_leases(image, records);
}

/* ---- Update ---- */

void metadata_apply_config(const MetadataImage *image, const MetadataTopic *topic, const TopicConfig *config,
                           GPtrArray *records) {
  MetadataTopic changed = *topic;
  changed.config = config;
  StandingView view = {image, -1, BROKER_GONE};
  PartitionRules rules = metadata_rules(&view, &changed);
  gboolean always_now = metadata_topic_flush(&changed) == MILENA__V1__FLUSH__FLUSH_ALWAYS;
  gboolean always_before = metadata_topic_flush(topic) == MILENA__V1__FLUSH__FLUSH_ALWAYS;
  for (guint i = 0; i < topic->partition_count; i++) {
    PartitionState state;
    partition_state_load(&state, topic->partitions[i]);
    partition_set_min_in_sync(&state, &rules);
    if (!always_now)
      state.unsynced.count = 0; /* nobody is taken for synced under that mode */
    else if (!always_before)
      partition_flush_always(&state);
    if (state.leader_id < 0)
      partition_elect(&state, &rules);
    metadata_put_partition(&state, topic->partitions[i], records);
  }
}

/* The fewest replicas that a partition has, or will have when reassignments end or are taken back. */
static guint32 fewest_replicas(const MetadataTopic *topic) {
  guint32 fewest = topic->replication_factor;
  for (guint i = 0; i < topic->partition_count; i++) {
    const MetadataPartition *partition = topic->partitions[i];
    gboolean moving = partition->target_count > 0;
    fewest = MIN(fewest, moving ? MIN(partition->target_count, partition->before_count) : partition->replica_count);
  }
  return fewest;
}

Failure *metadata_command_update_topic(const MetadataImage *image, const Milena__V1__UpdateTopicRequest *request,
                                       GPtrArray *records, const MetadataTopic **ret_topic) {
  const MetadataTopic *topic = NULL;
  Failure *failure = metadata_image_find_topic(image, request->name, request->id, &topic);
  if (failure)
    return failure;
  if (!request->update_mask || request->update_mask->n_paths == 0)
    return metadata_invalid_field(
        "update_mask", "at least one of " TOPIC_CONFIG_PATHS,
        "The request does not say what to change: name fields in update_mask, of " TOPIC_CONFIG_PATHS ".");
  TopicConfig defaults = MILENA__V1__TOPIC_CONFIG__INIT;
  const TopicConfig *from = request->config ? request->config : &defaults;
  TopicConfig config = *topic->config;
  for (gsize i = 0; i < request->update_mask->n_paths && !failure; i++)
    failure = topic_config_take(request->update_mask->paths[i], &config, from);
  if (!failure && config.cleanup_policy != topic->config->cleanup_policy)
    failure = check_not_internal(topic, "given another cleanup policy");
  if (!failure)
    failure = topic_config_check(&config, fewest_replicas(topic));
  if (failure)
    return failure;
  if (!same_config(&config, topic->config)) {
    g_ptr_array_add(records, metadata_record_topic_config(topic->id, &config));
    metadata_apply_config(image, topic, &config, records);
  }
  *ret_topic = topic;
  return NULL;
}

/* ---- Delete, add partitions ---- */

Failure *metadata_command_delete_topic(const MetadataImage *image, const Milena__V1__DeleteTopicRequest *request,
                                       GPtrArray *records, const MetadataTopic **ret_topic) {
  const MetadataTopic *topic = NULL;
  Failure *failure = metadata_image_find_topic(image, request->name, request->id, &topic);
  if (failure)
    return failure;
  failure = check_not_internal(topic, "deleted");
  if (failure)
    return failure;
  g_ptr_array_add(records, metadata_record_remove_topic(topic->id));
  *ret_topic = topic;
  return NULL;
}

Failure *metadata_command_add_partitions(const MetadataImage *image, const Milena__V1__AddPartitionsRequest *request,
                                         GPtrArray *records, const MetadataTopic **ret_topic) {
  const MetadataTopic *topic = NULL;
  Failure *failure = metadata_image_find_topic(image, request->name, request->id, &topic);
  if (!failure)
    failure = check_partitions("total_partitions", request->total_partitions);
  if (!failure)
    failure = check_not_internal(topic, "given more partitions: its records belong where they are");
  if (failure)
    return failure;
  if (request->total_partitions <= topic->partition_count)
    return metadata_invalid_field(
        "total_partitions", "more than the topic has",
        "The topic \"%s\" has %u partitions, and total_partitions is %u: partitions are added, "
        "never removed.",
        topic->name, topic->partition_count, request->total_partitions);
  MetadataPlacement placement;
  metadata_placement_init(&placement, image, topic);
  failure = add_partitions(image, topic->id, topic->replication_factor, &placement, topic->partition_count,
                           request->total_partitions, records);
  metadata_placement_clear(&placement);
  if (!failure)
    *ret_topic = topic;
  return failure;
}
