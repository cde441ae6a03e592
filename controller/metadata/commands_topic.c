/* Commands on topics: create, update, delete, add partitions. No state. */
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/placement.h"
#include "controller/metadata/records.h"

#define MAX_MESSAGE_BYTES_LEAST 1024
#define MAX_MESSAGE_BYTES_MOST (64 * 1024 * 1024)
#define FLUSH_INTERVAL_MOST_S 3600

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
  if (g_str_has_prefix(name, "__"))
    return metadata_invalid_field("name", "not beginning with __",
                                  "The topic name \"%s\" begins with __, which is kept for Milena's own topics.", name);
  return NULL;
}

static Failure *check_flush_interval(const Google__Protobuf__Duration *interval) {
  gboolean whole = interval->seconds >= 0 && interval->nanos >= 0 && interval->nanos < 1000000000;
  gboolean some = interval->seconds > 0 || interval->nanos >= 1000000;
  if (whole && some && interval->seconds <= FLUSH_INTERVAL_MOST_S)
    return NULL;
  return metadata_invalid_field("config.flush_interval", "1 ms to 1 h",
                                "The flush interval must be between 1 ms and 1 hour.");
}

static Failure *check_config(const TopicConfig *config, guint32 replication_factor) {
  if ((guint)config->flush > MILENA__V1__FLUSH__FLUSH_OS)
    return metadata_invalid_field("config.flush", "a value of Flush", "The flush mode %d is none that Milena has.",
                                  (int)config->flush);
  if (config->flush_interval) {
    Failure *failure = check_flush_interval(config->flush_interval);
    if (failure)
      return failure;
  }
  if (config->max_message_bytes_presence_case &&
      (config->max_message_bytes < MAX_MESSAGE_BYTES_LEAST || config->max_message_bytes > MAX_MESSAGE_BYTES_MOST))
    return metadata_invalid_field("config.max_message_bytes", "1,024 to 67,108,864",
                                  "max_message_bytes is %u, and must be between 1 KiB and 64 MiB.",
                                  config->max_message_bytes);
  if (config->min_insync_replicas_presence_case &&
      (config->min_insync_replicas < 1 || config->min_insync_replicas > replication_factor))
    return metadata_invalid_field("config.min_insync_replicas", "1 to the replication factor",
                                  "min_insync_replicas is %u, and must be between 1 and the replication factor, %u: "
                                  "nothing could be written with acks=all.",
                                  config->min_insync_replicas, replication_factor);
  return NULL;
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

/* Append records of the partitions from..to-1 of a topic; the first has its leader at place @turn of the circle. */
static Failure *add_partitions(const MetadataImage *image, const char *topic_id, guint32 replication_factor,
                               const MetadataPlacement *placement, guint64 turn, guint32 from, guint32 to,
                               GPtrArray *records) {
  if (placement->count < replication_factor)
    return failure_new(FAILURE(NOT_ENOUGH_BROKERS),
                       "%u broker(s) are up, and each partition needs %u. Start more brokers, or wait until they have "
                       "come up.",
                       placement->count, replication_factor);
  guint64 log_id = metadata_image_next_log_id(image);
  g_autofree gint32 *replicas = g_new(gint32, replication_factor);
  for (guint32 i = from; i < to; i++) {
    metadata_placement_choose(placement, turn++, replicas, replication_factor);
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

/* Where the circle stands after the topic's last partition, so that new ones go on from there. */
static guint64 turn_after(const MetadataTopic *topic, const MetadataPlacement *placement, guint64 otherwise) {
  const MetadataPartition *last = topic->partitions[topic->partition_count - 1];
  for (guint i = 0; i < placement->count; i++)
    if (placement->ids[i] == last->replicas[0])
      return i + 1;
  return otherwise;
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
  if (!failure && replication_factor > 1)
    failure = failure_new(FAILURE(UNSUPPORTED),
                          "A replication_factor of %u was asked for: more than 1 comes with replication in a later "
                          "version of Milena. Leave it out, or ask for 1.",
                          replication_factor);
  return failure ? failure : check_config(config, replication_factor);
}

Failure *metadata_command_create_topic(const MetadataImage *image, const MetadataContext *context,
                                       const Milena__V1__CreateTopicRequest *request, GPtrArray *records) {
  TopicConfig defaults = MILENA__V1__TOPIC_CONFIG__INIT;
  const TopicConfig *config = request->config ? request->config : &defaults;
  guint32 partitions = request->partitions ? request->partitions : 1;
  guint32 replication_factor = request->replication_factor ? request->replication_factor : 1;
  Failure *failure = check_create(request, partitions, replication_factor, config);
  if (failure)
    return failure;
  const MetadataTopic *existing = metadata_image_topic_by_name(image, request->name);
  if (existing)
    return check_retry(existing, request, partitions, replication_factor, config);
  MetadataTopic topic = {
      .name = request->name,
      .request_id = request->request_id,
      .replication_factor = replication_factor,
      .config = config,
  };
  metadata_uuid(context->random, topic.id);
  MetadataPlacement placement;
  metadata_placement_init(&placement, image);
  g_autoptr(GPtrArray) made = metadata_records_new();
  g_ptr_array_add(made, metadata_record_topic(&topic));
  /* Log ids count every partition ever made, so each topic begins where the last one ended. */
  failure = add_partitions(image, topic.id, replication_factor, &placement, metadata_image_next_log_id(image) - 1, 0,
                           partitions, made);
  metadata_placement_clear(&placement);
  if (!failure)
    g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  return failure;
}

/* ---- Update ---- */

static void take_flush(TopicConfig *config, const TopicConfig *from) {
  config->flush = from->flush;
}

/* The configuration is a shallow copy: the duration stays the request's. */
static void take_flush_interval(TopicConfig *config, const TopicConfig *from) {
  config->flush_interval = from->flush_interval;
}

static void take_max_message_bytes(TopicConfig *config, const TopicConfig *from) {
  config->max_message_bytes_presence_case = from->max_message_bytes_presence_case;
  config->max_message_bytes = from->max_message_bytes;
}

static void take_min_insync_replicas(TopicConfig *config, const TopicConfig *from) {
  config->min_insync_replicas_presence_case = from->min_insync_replicas_presence_case;
  config->min_insync_replicas = from->min_insync_replicas;
}

static const struct {
  const char *path;
  void (*take)(TopicConfig *config, const TopicConfig *from);
} FIELDS[] = {
    {"flush", take_flush},
    {"flush_interval", take_flush_interval},
    {"max_message_bytes", take_max_message_bytes},
    {"min_insync_replicas", take_min_insync_replicas},
};
#define KNOWN_PATHS "flush, flush_interval, max_message_bytes, min_insync_replicas"

static Failure *take_field(const char *path, TopicConfig *config, const TopicConfig *from) {
  for (guint i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
    if (strcmp(path, FIELDS[i].path) != 0)
      continue;
    FIELDS[i].take(config, from);
    return NULL;
  }
  return metadata_invalid_field("update_mask", "one of " KNOWN_PATHS,
                                "A topic's configuration has no \"%s\": it has " KNOWN_PATHS ".", path);
}

Failure *metadata_command_update_topic(const MetadataImage *image, const Milena__V1__UpdateTopicRequest *request,
                                       GPtrArray *records, const MetadataTopic **ret_topic) {
  const MetadataTopic *topic = NULL;
  Failure *failure = metadata_image_find_topic(image, request->name, request->id, &topic);
  if (failure)
    return failure;
  if (!request->update_mask || request->update_mask->n_paths == 0)
    return metadata_invalid_field("update_mask", "at least one of " KNOWN_PATHS,
                                  "The request does not say what to change: name fields in update_mask, of " KNOWN_PATHS
                                  ".");
  TopicConfig defaults = MILENA__V1__TOPIC_CONFIG__INIT;
  const TopicConfig *from = request->config ? request->config : &defaults;
  TopicConfig config = *topic->config;
  for (gsize i = 0; i < request->update_mask->n_paths && !failure; i++)
    failure = take_field(request->update_mask->paths[i], &config, from);
  if (!failure)
    failure = check_config(&config, topic->replication_factor);
  if (failure)
    return failure;
  if (!same_config(&config, topic->config))
    g_ptr_array_add(records, metadata_record_topic_config(topic->id, &config));
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
  if (failure)
    return failure;
  if (request->total_partitions <= topic->partition_count)
    return metadata_invalid_field(
        "total_partitions", "more than the topic has",
        "The topic \"%s\" has %u partitions, and total_partitions is %u: partitions are added, "
        "never removed.",
        topic->name, topic->partition_count, request->total_partitions);
  MetadataPlacement placement;
  metadata_placement_init(&placement, image);
  guint64 turn = turn_after(topic, &placement, metadata_image_next_log_id(image) - 1);
  failure = add_partitions(image, topic->id, topic->replication_factor, &placement, turn, topic->partition_count,
                           request->total_partitions, records);
  metadata_placement_clear(&placement);
  if (!failure)
    *ret_topic = topic;
  return failure;
}
