/* What clients of the simulation ask, as commands of the real metadata. No state.
 *
 * A register is a topic's configuration: max_message_bytes, counted from its least value. */
#include "controller/metadata/commands.h"

#include <string.h>

#include "tests/sim/raft/machine.h"

#define BYTES_MIN 1024
#define BROKERS 2
#define CHURN_TOPICS 5

static MetadataContext context(World *world, guint64 version) {
  MetadataContext made = {.version = version, .now_ms = 1700000000000 + sim_now_us(world->sim) / 1000};
  for (guint i = 0; i < sizeof made.random; i += 8) {
    guint64 random = sim_random(world->sim);
    memcpy(made.random + i, &random, sizeof random);
  }
  return made;
}

static Failure *bootstrap(World *world, const MetadataImage *tip, guint64 version, GPtrArray *records) {
  MetadataContext made = context(world, version);
  MetadataController controller = {.id = 1, .address = (char *)"c:7700", .peer_address = (char *)"c:7750"};
  return metadata_command_bootstrap(tip, &made, "", &controller, records);
}

static Failure *register_broker(World *world, const MetadataImage *tip, guint64 version, gint32 id,
                                GPtrArray *records) {
  MetadataContext made = context(world, version);
  char uuid[METADATA_ID_BYTES];
  metadata_uuid(made.random, uuid);
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = id;
  request.incarnation = request.process_id = uuid;
  request.address = (char *)"b:7600";
  request.peer_address = (char *)"b:7650";
  guint64 epoch;
  return metadata_command_register_node(tip, &made, &request, FALSE, records, &epoch);
}

static Failure *fence(const MetadataImage *tip, gint32 id, gboolean fenced, GPtrArray *records) {
  const MetadataBroker *broker = metadata_image_broker(tip, id);
  return metadata_command_fence_node(tip, MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER, id,
                                     broker ? broker->epoch : 0, fenced, records);
}

static Failure *create_topic(World *world, const MetadataImage *tip, guint64 version, const char *name,
                             guint partitions, GPtrArray *records) {
  MetadataContext made = context(world, version);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  config.max_message_bytes = BYTES_MIN;
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  request.partitions = partitions;
  request.config = &config;
  return metadata_command_create_topic(tip, &made, &request, records);
}

static void register_name(guint place, char name[16]) {
  g_snprintf(name, 16, "register-%u", place);
}

/* The first step that is not done; value 1: none is left. */
static Failure *set_up(World *world, const MetadataImage *tip, guint64 version, GPtrArray *records,
                       guint64 *ret_value) {
  if (!*metadata_image_cluster_id(tip))
    return bootstrap(world, tip, version, records);
  for (gint32 id = 1; id <= BROKERS; id++) {
    const MetadataBroker *broker = metadata_image_broker(tip, id);
    if (!broker)
      return register_broker(world, tip, version, id, records);
    if (broker->fenced && id == 1)
      return fence(tip, id, FALSE, records);
  }
  for (guint i = 0; i < REGISTERS; i++) {
    char name[16];
    register_name(i, name);
    if (!metadata_image_topic_by_name(tip, name))
      return create_topic(world, tip, version, name, 1, records);
  }
  *ret_value = 1;
  return NULL;
}

static Failure *write_register(const MetadataImage *tip, guint place, guint64 value, GPtrArray *records) {
  char name[16];
  register_name(place, name);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  config.max_message_bytes = BYTES_MIN + (guint32)value;
  char *paths[] = {(char *)"max_message_bytes"};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = 1;
  mask.paths = paths;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = name;
  request.config = &config;
  request.update_mask = &mask;
  const MetadataTopic *topic;
  return metadata_command_update_topic(tip, &request, records, &topic);
}

gboolean commands_read(const MetadataImage *image, guint place, guint64 *ret_value) {
  char name[16];
  register_name(place, name);
  const MetadataTopic *topic = metadata_image_topic_by_name(image, name);
  if (!topic)
    return FALSE;
  *ret_value = topic->config->max_message_bytes - BYTES_MIN;
  return TRUE;
}

static Failure *churn(World *world, const MetadataImage *tip, guint64 version, guint64 chance, GPtrArray *records) {
  char name[16];
  g_snprintf(name, sizeof name, "churn-%u", (guint)(chance % CHURN_TOPICS));
  const MetadataTopic *topic = metadata_image_topic_by_name(tip, name);
  guint what = (guint)(chance / CHURN_TOPICS % 8);
  if (what == 0) {
    const MetadataBroker *broker = metadata_image_broker(tip, BROKERS);
    return fence(tip, BROKERS, broker && !broker->fenced, records);
  }
  if (!topic)
    return create_topic(world, tip, version, name, 1 + what % 3, records);
  if (what < 4) {
    Milena__V1__AddPartitionsRequest request = MILENA__V1__ADD_PARTITIONS_REQUEST__INIT;
    request.name = name;
    request.total_partitions = topic->partition_count + 1;
    return metadata_command_add_partitions(tip, &request, records, &topic);
  }
  Milena__V1__DeleteTopicRequest request = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  request.name = name;
  return metadata_command_delete_topic(tip, &request, records, &topic);
}

Failure *commands_make(World *world, const MetadataImage *tip, guint64 version, const Request *request,
                       GPtrArray *records, guint64 *ret_value) {
  switch (request->kind) {
  case REQUEST_SETUP:
    return set_up(world, tip, version, records, ret_value);
  case REQUEST_WRITE:
    return write_register(tip, request->place, request->value, records);
  case REQUEST_BLOCK: {
    const MetadataBroker *broker = metadata_image_broker(tip, 1);
    gint64 first = 0;
    Failure *failure = metadata_command_allocate_producer_ids(tip, 1, broker ? broker->epoch : 0, records, &first);
    *ret_value = (guint64)first;
    return failure;
  }
  case REQUEST_CHURN:
    return churn(world, tip, version, request->value, records);
  case REQUEST_READ:
    break;
  }
  return failure_new(FAILURE(INVALID_FIELD), "A read changes nothing.");
}
