/* The metadata image: parts, lookups and iteration; how records become an image is in image_apply.c.
 *
 * Purpose: one consistent view of the cluster, cheap to change and free to share.
 * Invariants:
 *  1. Nothing that an image reaches changes while a second reference to it may exist.
 *  2. topics_by_name and topics_by_id hold the same topics.
 *  3. A topic's partitions are numbered 0..partition_count-1 without gaps.
 * Owning thread: none; reference counts are atomic. Failure modes: none but memory. */
#include "controller/metadata/image.h"

#include <stddef.h>
#include <string.h>

#include "controller/metadata/image_internal.h"
#include "services/base/invariant.h"

/* Every shared part begins with its count, so that a copy can leave it out: other threads change it at any time. */
G_STATIC_ASSERT(offsetof(MetadataBroker, refs) == 0);
G_STATIC_ASSERT(offsetof(MetadataCoordinator, refs) == 0);
G_STATIC_ASSERT(offsetof(MetadataImage, refs) == 0);

/* A copy of the @bytes of @part with one reference; its pointers are the same. */
static gpointer part_copy(gconstpointer part, gsize bytes) {
  gint *copy = g_malloc(bytes);
  *copy = 1;
  memcpy(copy + 1, (const gint *)part + 1, bytes - sizeof *copy);
  return copy;
}

/* ---- Partitions ---- */

/* Copy ids to where the next ones go. */
static const gint32 *put_ids(gint32 **tail, const gint32 *ids, gsize count) {
  const gint32 *put = *tail;
  if (count)
    memcpy(*tail, ids, count * sizeof *ids);
  *tail += count;
  return put;
}

MetadataPartition *metadata_partition_new(const Milena__Internal__V1__PartitionRecord *record) {
  /* The ids live behind the struct, in one allocation: there may be 100,000 of these. */
  gsize ids = record->n_replicas + record->n_in_sync_replicas + record->n_eligible_replicas +
              record->n_target_replicas + record->n_replicas_before + record->n_unsynced_replicas;
  MetadataPartition *partition = g_malloc(sizeof *partition + ids * sizeof(gint32));
  gint32 *tail = (gint32 *)(partition + 1);
  *partition = (MetadataPartition){
      .refs = 1,
      .partition = record->partition,
      .log_id = record->log_id,
      .leader_id = record->leader_id,
      .leader_epoch = record->leader_epoch,
      .partition_epoch = record->partition_epoch,
      .replica_count = record->n_replicas,
      .isr_count = record->n_in_sync_replicas,
      .eligible_count = record->n_eligible_replicas,
      .target_count = record->n_target_replicas,
      .before_count = record->n_replicas_before,
      .unsynced_count = record->n_unsynced_replicas,
      .replicas = put_ids(&tail, record->replicas, record->n_replicas),
      .isr = put_ids(&tail, record->in_sync_replicas, record->n_in_sync_replicas),
      .eligible = put_ids(&tail, record->eligible_replicas, record->n_eligible_replicas),
      .target = put_ids(&tail, record->target_replicas, record->n_target_replicas),
      .before = put_ids(&tail, record->replicas_before, record->n_replicas_before),
      .unsynced = put_ids(&tail, record->unsynced_replicas, record->n_unsynced_replicas),
      .throttle_bytes = record->throttle_bytes_per_second,
      .damage_cut_epoch = record->damage_cut_epoch,
      .unclean_epoch = record->unclean_epoch,
  };
  g_strlcpy(partition->topic_id, record->topic_id, sizeof partition->topic_id);
  return partition;
}

/* The const of shared parts is a promise to readers; the count beside it belongs to the image. */
MetadataPartition *metadata_partition_ref(const MetadataPartition *partition) {
  MetadataPartition *counted = (MetadataPartition *)partition;
  g_atomic_int_inc(&counted->refs);
  return counted;
}

void metadata_partition_unref(const MetadataPartition *partition) {
  MetadataPartition *counted = (MetadataPartition *)partition;
  if (counted && g_atomic_int_dec_and_test(&counted->refs))
    g_free(counted);
}

gboolean metadata_partition_has_replica(const MetadataPartition *partition, gint32 id) {
  for (guint i = 0; i < partition->replica_count; i++)
    if (partition->replicas[i] == id)
      return TRUE;
  return FALSE;
}

/* ---- Topics ---- */

Milena__V1__TopicConfig *metadata_config_copy(const Milena__V1__TopicConfig *config) {
  Milena__V1__TopicConfig empty = MILENA__V1__TOPIC_CONFIG__INIT;
  const ProtobufCMessage *message = config ? &config->base : &empty.base;
  gsize size = protobuf_c_message_get_packed_size(message);
  g_autofree guint8 *bytes = g_malloc(size + 1);
  protobuf_c_message_pack(message, bytes);
  Milena__V1__TopicConfig *copy = milena__v1__topic_config__unpack(NULL, size, bytes);
  INVARIANT(copy, "what was packed can be unpacked");
  return copy;
}

MetadataTopic *metadata_topic_new(const char *id, const char *name, const char *request_id, guint32 replication_factor,
                                  Milena__V1__TopicConfig *config) {
  MetadataTopic *topic = g_new0(MetadataTopic, 1);
  topic->refs = 1;
  g_strlcpy(topic->id, id, sizeof topic->id);
  topic->name = g_strdup(name);
  topic->request_id = g_strdup(request_id);
  topic->replication_factor = replication_factor;
  topic->config = config;
  return topic;
}

MetadataTopic *metadata_topic_copy(const MetadataTopic *topic) {
  MetadataTopic *copy = metadata_topic_new(topic->id, topic->name, topic->request_id, topic->replication_factor,
                                           metadata_config_copy(topic->config));
  for (guint i = 0; i < topic->partition_count; i++)
    metadata_topic_set_partition(copy, metadata_partition_ref(topic->partitions[i]));
  return copy;
}

void metadata_topic_set_config(MetadataTopic *topic, Milena__V1__TopicConfig *config) {
  INVARIANT(topic->refs == 1, "a shared topic does not change");
  milena__v1__topic_config__free_unpacked((Milena__V1__TopicConfig *)topic->config, NULL);
  topic->config = config;
}

void metadata_topic_set_partition(MetadataTopic *topic, MetadataPartition *partition) {
  INVARIANT(topic->refs == 1, "a shared topic does not change");
  guint number = (guint)partition->partition, count = topic->partition_count;
  INVARIANT(number <= count, "partitions have no gaps");
  const MetadataPartition **table = (const MetadataPartition **)topic->partitions;
  if (number < count) {
    metadata_partition_unref(table[number]);
    table[number] = partition;
    return;
  }
  /* The table's room is the next power of two, so it grows when the count has reached one. */
  if ((count & (count - 1)) == 0)
    table = g_renew(const MetadataPartition *, table, count ? 2 * (gsize)count : 1);
  table[count] = partition;
  topic->partitions = table;
  topic->partition_count = count + 1;
}

static gpointer topic_ref(gpointer value) {
  MetadataTopic *topic = value;
  g_atomic_int_inc(&topic->refs);
  return topic;
}

void metadata_topic_unref(gpointer value) {
  MetadataTopic *topic = value;
  if (!topic || !g_atomic_int_dec_and_test(&topic->refs))
    return;
  for (guint i = 0; i < topic->partition_count; i++)
    metadata_partition_unref(topic->partitions[i]);
  g_free((gpointer)topic->partitions);
  milena__v1__topic_config__free_unpacked((Milena__V1__TopicConfig *)topic->config, NULL);
  g_free(topic->name);
  g_free(topic->request_id);
  g_free(topic);
}

static int compare_text(gconstpointer key, gconstpointer value_key) {
  return strcmp(key, value_key);
}
static gconstpointer topic_name(gconstpointer value) {
  return ((const MetadataTopic *)value)->name;
}
static gconstpointer topic_id(gconstpointer value) {
  return ((const MetadataTopic *)value)->id;
}
static int compare_topic_name(gconstpointer key, gconstpointer value) {
  return compare_text(key, topic_name(value));
}
static int compare_topic_id(gconstpointer key, gconstpointer value) {
  return compare_text(key, topic_id(value));
}

const MetadataTreeType METADATA_TOPICS_BY_NAME = {compare_topic_name, topic_name, topic_ref, metadata_topic_unref};
const MetadataTreeType METADATA_TOPICS_BY_ID = {compare_topic_id, topic_id, topic_ref, metadata_topic_unref};

/* ---- Brokers, coordinators, controllers ---- */

static int compare_ids(gconstpointer key, gconstpointer id) {
  gint32 a = *(const gint32 *)key, b = *(const gint32 *)id;
  return a < b ? -1 : a > b;
}

static gpointer broker_ref(gpointer value) {
  MetadataBroker *broker = value;
  g_atomic_int_inc(&broker->refs);
  return broker;
}

void metadata_broker_unref(gpointer value) {
  MetadataBroker *broker = value;
  if (!broker || !g_atomic_int_dec_and_test(&broker->refs))
    return;
  g_free(broker->incarnation);
  g_free(broker->process_id);
  g_free(broker->rack);
  g_free(broker->address);
  g_free(broker->peer_address);
  g_free(broker);
}

MetadataBroker *metadata_broker_copy(const MetadataBroker *broker) {
  MetadataBroker *copy = part_copy(broker, sizeof *broker);
  copy->incarnation = g_strdup(broker->incarnation);
  copy->process_id = g_strdup(broker->process_id);
  copy->rack = g_strdup(broker->rack);
  copy->address = g_strdup(broker->address);
  copy->peer_address = g_strdup(broker->peer_address);
  return copy;
}

static gpointer coordinator_ref(gpointer value) {
  MetadataCoordinator *coordinator = value;
  g_atomic_int_inc(&coordinator->refs);
  return coordinator;
}

void metadata_coordinator_unref(gpointer value) {
  MetadataCoordinator *coordinator = value;
  if (!coordinator || !g_atomic_int_dec_and_test(&coordinator->refs))
    return;
  g_free(coordinator->process_id);
  g_free(coordinator->address);
  g_free(coordinator);
}

MetadataCoordinator *metadata_coordinator_copy(const MetadataCoordinator *coordinator) {
  MetadataCoordinator *copy = part_copy(coordinator, sizeof *coordinator);
  copy->process_id = g_strdup(coordinator->process_id);
  copy->address = g_strdup(coordinator->address);
  return copy;
}

static gpointer controller_ref(gpointer value) {
  MetadataController *controller = value;
  g_atomic_int_inc(&controller->refs);
  return controller;
}

void metadata_controller_unref(gpointer value) {
  MetadataController *controller = value;
  if (!controller || !g_atomic_int_dec_and_test(&controller->refs))
    return;
  g_free(controller->address);
  g_free(controller->peer_address);
  g_free(controller);
}

static gconstpointer broker_id(gconstpointer value) {
  return &((const MetadataBroker *)value)->id;
}
static gconstpointer coordinator_id(gconstpointer value) {
  return &((const MetadataCoordinator *)value)->id;
}
static gconstpointer controller_id(gconstpointer value) {
  return &((const MetadataController *)value)->id;
}
static int compare_broker(gconstpointer key, gconstpointer value) {
  return compare_ids(key, broker_id(value));
}
static int compare_coordinator(gconstpointer key, gconstpointer value) {
  return compare_ids(key, coordinator_id(value));
}
static int compare_controller(gconstpointer key, gconstpointer value) {
  return compare_ids(key, controller_id(value));
}

const MetadataTreeType METADATA_BROKERS = {compare_broker, broker_id, broker_ref, metadata_broker_unref};
const MetadataTreeType METADATA_COORDINATORS = {compare_coordinator, coordinator_id, coordinator_ref,
                                                metadata_coordinator_unref};
const MetadataTreeType METADATA_CONTROLLERS = {compare_controller, controller_id, controller_ref,
                                               metadata_controller_unref};

/* ---- Leases ---- */

static gpointer lease_ref(gpointer value) {
  MetadataLease *lease = value;
  g_atomic_int_inc(&lease->refs);
  return lease;
}

static void lease_unref(gpointer value) {
  MetadataLease *lease = value;
  if (lease && g_atomic_int_dec_and_test(&lease->refs))
    g_free(lease);
}

static gconstpointer lease_partition(gconstpointer value) {
  return &((const MetadataLease *)value)->partition;
}
static int compare_lease(gconstpointer key, gconstpointer value) {
  return compare_ids(key, lease_partition(value));
}

const MetadataTreeType METADATA_LEASES = {compare_lease, lease_partition, lease_ref, lease_unref};

/* ---- Images ---- */

MetadataImage *metadata_image_new(void) {
  MetadataImage *image = g_new0(MetadataImage, 1);
  image->refs = 1;
  image->next_log_id = 1;
  image->next_producer_id = 1;
  return image;
}

MetadataImage *metadata_image_share(const MetadataImage *base) {
  MetadataImage *image = part_copy(base, sizeof *base);
  metadata_tree_ref(image->topics_by_name);
  metadata_tree_ref(image->topics_by_id);
  metadata_tree_ref(image->brokers);
  metadata_tree_ref(image->coordinators);
  metadata_tree_ref(image->controllers);
  metadata_tree_ref(image->leases);
  return image;
}

MetadataImage *metadata_image_ref(MetadataImage *image) {
  g_atomic_int_inc(&image->refs);
  return image;
}

void metadata_image_unref(MetadataImage *image) {
  if (!image || !g_atomic_int_dec_and_test(&image->refs))
    return;
  metadata_tree_unref(&METADATA_TOPICS_BY_NAME, image->topics_by_name);
  metadata_tree_unref(&METADATA_TOPICS_BY_ID, image->topics_by_id);
  metadata_tree_unref(&METADATA_BROKERS, image->brokers);
  metadata_tree_unref(&METADATA_COORDINATORS, image->coordinators);
  metadata_tree_unref(&METADATA_CONTROLLERS, image->controllers);
  metadata_tree_unref(&METADATA_LEASES, image->leases);
  g_free(image);
}

guint64 metadata_image_version(const MetadataImage *image) {
  return image->version;
}
const char *metadata_image_cluster_id(const MetadataImage *image) {
  return image->cluster_id;
}
gint64 metadata_image_created_ms(const MetadataImage *image) {
  return image->created_ms;
}
guint64 metadata_image_next_log_id(const MetadataImage *image) {
  return image->next_log_id;
}
gint64 metadata_image_next_producer_id(const MetadataImage *image) {
  return image->next_producer_id;
}
guint metadata_image_topic_count(const MetadataImage *image) {
  return metadata_tree_count(image->topics_by_name);
}
guint metadata_image_broker_count(const MetadataImage *image) {
  return metadata_tree_count(image->brokers);
}
guint metadata_image_partition_count(const MetadataImage *image) {
  return image->partition_count;
}

/* ---- Lookups ---- */

const MetadataTopic *metadata_image_topic_by_name(const MetadataImage *image, const char *name) {
  return metadata_tree_get(&METADATA_TOPICS_BY_NAME, image->topics_by_name, name);
}

const MetadataTopic *metadata_image_topic_by_id(const MetadataImage *image, const char *id) {
  return metadata_tree_get(&METADATA_TOPICS_BY_ID, image->topics_by_id, id);
}

Failure *metadata_image_find_topic(const MetadataImage *image, const char *name, const char *id,
                                   const MetadataTopic **ret_topic) {
  gboolean named = name && *name, pinned = id && *id;
  if (!named && !pinned)
    return failure_add_violation(
        failure_new(FAILURE(INVALID_FIELD), "The request names no topic: give its name, its id, or both."), "name",
        "name or id is needed");
  const MetadataTopic *topic =
      named ? metadata_image_topic_by_name(image, name) : metadata_image_topic_by_id(image, id);
  if (!topic && named)
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_TOPIC), "There is no topic \"%s\". Create it first, or check its name.", name),
        "topic", name);
  if (!topic)
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_TOPIC), "There is no topic with the id %s: it may have been deleted.", id), "topic",
        id);
  if (pinned && strcmp(topic->id, id) != 0) {
    Failure *failure = failure_new(FAILURE(TOPIC_ID_MISMATCH),
                                   "The topic \"%s\" has the id %s, not %s: it was deleted and created again. Ask for "
                                   "its metadata, and decide anew.",
                                   name, topic->id, id);
    failure_add(failure, "expected", "%s", id);
    return failure_add(failure, "actual", "%s", topic->id);
  }
  *ret_topic = topic;
  return NULL;
}

const MetadataPartition *metadata_topic_partition(const MetadataTopic *topic, gint32 partition) {
  return partition >= 0 && (guint)partition < topic->partition_count ? topic->partitions[partition] : NULL;
}

const MetadataBroker *metadata_image_broker(const MetadataImage *image, gint32 id) {
  return metadata_tree_get(&METADATA_BROKERS, image->brokers, &id);
}

const MetadataCoordinator *metadata_image_coordinator(const MetadataImage *image, gint32 id) {
  return metadata_tree_get(&METADATA_COORDINATORS, image->coordinators, &id);
}

const MetadataController *metadata_image_controller(const MetadataImage *image, gint32 id) {
  return metadata_tree_get(&METADATA_CONTROLLERS, image->controllers, &id);
}

const MetadataLease *metadata_image_lease(const MetadataImage *image, gint32 partition) {
  return metadata_tree_get(&METADATA_LEASES, image->leases, &partition);
}

gboolean metadata_topic_is_internal(const MetadataTopic *topic) {
  return g_str_has_prefix(topic->name, METADATA_INTERNAL_PREFIX);
}

/* ---- Differences ---- */

typedef struct {
  void (*topic)(const MetadataTopic *, const MetadataTopic *, gpointer);
  void (*broker)(const MetadataBroker *, const MetadataBroker *, gpointer);
  void (*coordinator)(const MetadataCoordinator *, const MetadataCoordinator *, gpointer);
  gpointer user_data;
} Diff;

static void diff_topic(gpointer before, gpointer after, gpointer user_data) {
  const Diff *diff = user_data;
  diff->topic(before, after, diff->user_data);
}

static void diff_broker(gpointer before, gpointer after, gpointer user_data) {
  const Diff *diff = user_data;
  diff->broker(before, after, diff->user_data);
}

static void diff_coordinator(gpointer before, gpointer after, gpointer user_data) {
  const Diff *diff = user_data;
  diff->coordinator(before, after, diff->user_data);
}

void metadata_image_diff(const MetadataImage *before, const MetadataImage *after,
                         void (*topic)(const MetadataTopic *before, const MetadataTopic *after, gpointer user_data),
                         void (*broker)(const MetadataBroker *before, const MetadataBroker *after, gpointer user_data),
                         void (*coordinator)(const MetadataCoordinator *before, const MetadataCoordinator *after,
                                             gpointer user_data),
                         gpointer user_data) {
  Diff diff = {topic, broker, coordinator, user_data};
  if (topic)
    metadata_tree_diff(&METADATA_TOPICS_BY_NAME, before->topics_by_name, after->topics_by_name, diff_topic, &diff);
  if (broker)
    metadata_tree_diff(&METADATA_BROKERS, before->brokers, after->brokers, diff_broker, &diff);
  if (coordinator)
    metadata_tree_diff(&METADATA_COORDINATORS, before->coordinators, after->coordinators, diff_coordinator, &diff);
}

typedef struct {
  void (*lease)(const MetadataLease *, const MetadataLease *, gpointer);
  gpointer user_data;
} LeaseDiff;

static void diff_lease(gpointer before, gpointer after, gpointer user_data) {
  const LeaseDiff *diff = user_data;
  diff->lease(before, after, diff->user_data);
}

void metadata_image_diff_leases(const MetadataImage *before, const MetadataImage *after,
                                void (*lease)(const MetadataLease *before, const MetadataLease *after,
                                              gpointer user_data),
                                gpointer user_data) {
  LeaseDiff diff = {lease, user_data};
  metadata_tree_diff(&METADATA_LEASES, before->leases, after->leases, diff_lease, &diff);
}

/* ---- Iteration ---- */

static gpointer iter_next(MetadataIter *iter) {
  return metadata_tree_next(iter->stack, &iter->depth, METADATA_ITER_DEPTH);
}

void metadata_iter_topics(MetadataIter *iter, const MetadataImage *image, const char *from) {
  iter->depth =
      metadata_tree_seek(&METADATA_TOPICS_BY_NAME, image->topics_by_name, from, iter->stack, METADATA_ITER_DEPTH);
}

void metadata_iter_brokers(MetadataIter *iter, const MetadataImage *image, gint32 from) {
  iter->depth = metadata_tree_seek(&METADATA_BROKERS, image->brokers, &from, iter->stack, METADATA_ITER_DEPTH);
}

void metadata_iter_coordinators(MetadataIter *iter, const MetadataImage *image) {
  iter->depth = metadata_tree_seek(&METADATA_COORDINATORS, image->coordinators, NULL, iter->stack, METADATA_ITER_DEPTH);
}

void metadata_iter_controllers(MetadataIter *iter, const MetadataImage *image) {
  iter->depth = metadata_tree_seek(&METADATA_CONTROLLERS, image->controllers, NULL, iter->stack, METADATA_ITER_DEPTH);
}

void metadata_iter_leases(MetadataIter *iter, const MetadataImage *image) {
  iter->depth = metadata_tree_seek(&METADATA_LEASES, image->leases, NULL, iter->stack, METADATA_ITER_DEPTH);
}

const MetadataTopic *metadata_iter_next_topic(MetadataIter *iter) {
  return iter_next(iter);
}
const MetadataBroker *metadata_iter_next_broker(MetadataIter *iter) {
  return iter_next(iter);
}
const MetadataCoordinator *metadata_iter_next_coordinator(MetadataIter *iter) {
  return iter_next(iter);
}
const MetadataController *metadata_iter_next_controller(MetadataIter *iter) {
  return iter_next(iter);
}
const MetadataLease *metadata_iter_next_lease(MetadataIter *iter) {
  return iter_next(iter);
}
