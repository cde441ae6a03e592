/* Records in, a new image out.
 *
 * Purpose: apply one transaction to an image, all or none, sharing what it does not touch.
 * How: topics that the transaction touches are drafted once, in a hash table beside the image, and put into the trees
 * at the end: a topic of 10,000 partitions costs 10,000 table writes, not 10,000 copies. How many partitions each
 * broker leads and holds is counted by the differences. Invariants: @base is never changed; a record that makes no
 * sense leaves nothing behind. Failure modes: records come from disk and network, so what does not fit is a Failure
 * that names it. */
#include <string.h>

#include "controller/metadata/image_internal.h"

/* Kinds of records, shorter. */
#define RECORD(kind) MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_##kind

typedef struct {
  gint leaders, replicas;
} BrokerCounts;

typedef struct {
  MetadataImage *image; /* the new one: not shared yet */
  GHashTable *drafts;   /* id -> MetadataTopic that is not shared yet */
  GHashTable *counts;   /* broker id -> BrokerCounts: differences */
} Apply;

static Failure *corrupt(const char *what, const char *id) {
  return failure_new(FAILURE(CORRUPT_LOG),
                     "A metadata record does not fit the metadata before it: %s (%s). The log or snapshot that it came "
                     "from is damaged.",
                     what, id);
}

static gboolean valid_id(const char *id) {
  return id && strlen(id) == METADATA_ID_BYTES - 1;
}

/* ---- Counts by broker ---- */

static void count_partition(Apply *apply, const MetadataPartition *partition, int sign) {
  for (guint i = 0; i < partition->replica_count; i++) {
    gpointer key = GINT_TO_POINTER(partition->replicas[i]);
    BrokerCounts *counts = g_hash_table_lookup(apply->counts, key);
    if (!counts) {
      counts = g_new0(BrokerCounts, 1);
      g_hash_table_insert(apply->counts, key, counts);
    }
    counts->replicas += sign;
    counts->leaders += partition->replicas[i] == partition->leader_id ? sign : 0;
  }
}

static void settle_counts(Apply *apply) {
  GHashTableIter iter;
  gpointer key, value;
  g_hash_table_iter_init(&iter, apply->counts);
  while (g_hash_table_iter_next(&iter, &key, &value)) {
    const BrokerCounts *counts = value;
    const MetadataBroker *broker = metadata_image_broker(apply->image, GPOINTER_TO_INT(key));
    if (!broker || (!counts->leaders && !counts->replicas))
      continue;
    MetadataBroker *changed = metadata_broker_copy(broker);
    changed->leader_count += (guint)counts->leaders;
    changed->replica_count += (guint)counts->replicas;
    apply->image->brokers = metadata_tree_set(&METADATA_BROKERS, apply->image->brokers, changed);
  }
}

/* ---- Topics ---- */

/* The topic to change, or NULL when there is none. */
static MetadataTopic *draft(Apply *apply, const char *id) {
  MetadataTopic *topic = g_hash_table_lookup(apply->drafts, id);
  if (topic)
    return topic;
  const MetadataTopic *shared = metadata_image_topic_by_id(apply->image, id);
  if (!shared)
    return NULL;
  topic = metadata_topic_copy(shared);
  g_hash_table_insert(apply->drafts, topic->id, topic);
  return topic;
}

/* Put one draft into the trees; the hash table's reference goes to the first, a new one to the second. */
static void settle_topic(Apply *apply, MetadataTopic *topic) {
  MetadataImage *image = apply->image;
  image->topics_by_name = metadata_tree_set(&METADATA_TOPICS_BY_NAME, image->topics_by_name, topic);
  image->topics_by_id =
      metadata_tree_set(&METADATA_TOPICS_BY_ID, image->topics_by_id, METADATA_TOPICS_BY_ID.ref(topic));
}

static void settle_topics(Apply *apply) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, apply->drafts);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    g_hash_table_iter_steal(&iter);
    settle_topic(apply, value);
  }
}

static Failure *apply_topic(Apply *apply, const Milena__Internal__V1__TopicRecord *record) {
  if (!valid_id(record->id) || !*record->name)
    return corrupt("a topic without a valid id and name", record->name);
  if (metadata_image_topic_by_name(apply->image, record->name) || draft(apply, record->id))
    return corrupt("a topic that exists already", record->name);
  MetadataTopic *topic = metadata_topic_new(record->id, record->name, record->request_id, record->replication_factor,
                                            metadata_config_copy(record->config));
  settle_topic(apply, topic); /* at once, so that a second topic of its name is found in the trees */
  return NULL;
}

/* A topic's replication factor follows its partitions once all of them have another number of replicas, and none moves.
 * Only changes of partitions ask: the parts of a snapshot do not show all of a topic. */
static void follow_factor(MetadataTopic *topic, const MetadataPartition *changed) {
  guint count = changed->replica_count;
  if (changed->target_count > 0 || count == topic->replication_factor)
    return;
  for (guint i = 0; i < topic->partition_count; i++)
    if (topic->partitions[i]->target_count > 0 || topic->partitions[i]->replica_count != count)
      return;
  topic->replication_factor = count;
}

static Failure *apply_partition(Apply *apply, const Milena__Internal__V1__PartitionRecord *record) {
  if (!valid_id(record->topic_id))
    return corrupt("a partition without a valid topic id", record->topic_id);
  MetadataTopic *topic = draft(apply, record->topic_id);
  if (!topic)
    return corrupt("a partition of an unknown topic", record->topic_id);
  if (record->partition < 0 || (guint)record->partition > topic->partition_count || record->log_id == 0)
    return corrupt("a partition out of order, or without a log", topic->name);
  const MetadataPartition *before = metadata_topic_partition(topic, record->partition);
  gboolean is_new = before == NULL;
  if (is_new)
    apply->image->partition_count++;
  else
    count_partition(apply, before, -1);
  MetadataPartition *partition = metadata_partition_new(record);
  count_partition(apply, partition, 1);
  metadata_topic_set_partition(topic, partition);
  if (!is_new)
    follow_factor(topic, partition);
  if (record->log_id >= apply->image->next_log_id)
    apply->image->next_log_id = record->log_id + 1;
  return NULL;
}

static Failure *apply_topic_config(Apply *apply, const Milena__Internal__V1__TopicConfigRecord *record) {
  MetadataTopic *topic = draft(apply, record->topic_id);
  if (!topic)
    return corrupt("the configuration of an unknown topic", record->topic_id);
  metadata_topic_set_config(topic, metadata_config_copy(record->config));
  return NULL;
}

static Failure *apply_remove_topic(Apply *apply, const Milena__Internal__V1__RemoveTopicRecord *record) {
  MetadataTopic *topic = draft(apply, record->topic_id);
  if (!topic)
    return corrupt("the removal of an unknown topic", record->topic_id);
  MetadataImage *image = apply->image;
  for (guint i = 0; i < topic->partition_count; i++)
    count_partition(apply, topic->partitions[i], -1);
  image->partition_count -= topic->partition_count;
  image->topics_by_name = metadata_tree_remove(&METADATA_TOPICS_BY_NAME, image->topics_by_name, topic->name);
  image->topics_by_id = metadata_tree_remove(&METADATA_TOPICS_BY_ID, image->topics_by_id, topic->id);
  g_hash_table_remove(apply->drafts, record->topic_id);
  return NULL;
}

/* ---- Brokers, coordinators, controllers ---- */

static Failure *apply_register_broker(Apply *apply, const Milena__Internal__V1__RegisterBrokerRecord *record) {
  const MetadataBroker *before = metadata_image_broker(apply->image, record->id);
  MetadataBroker *broker = g_new(MetadataBroker, 1);
  *broker = (MetadataBroker){
      .refs = 1,
      .id = record->id,
      .epoch = record->epoch,
      .incarnation = g_strdup(record->incarnation),
      .process_id = g_strdup(record->process_id),
      .rack = g_strdup(record->rack),
      .address = g_strdup(record->address),
      .peer_address = g_strdup(record->peer_address),
      .fenced = record->fenced,
      .drained = record->drained,
      .stopping = record->stopping,
      .disk_low = record->disk_low,
      .leader_count = before ? before->leader_count : 0,
      .replica_count = before ? before->replica_count : 0,
  };
  apply->image->brokers = metadata_tree_set(&METADATA_BROKERS, apply->image->brokers, broker);
  return NULL;
}

static Failure *apply_fence_broker(Apply *apply, const Milena__Internal__V1__FenceBrokerRecord *record) {
  const MetadataBroker *broker = metadata_image_broker(apply->image, record->id);
  if (!broker || broker->epoch != record->epoch)
    return NULL; /* about a registration that is gone */
  MetadataBroker *changed = metadata_broker_copy(broker);
  changed->fenced = record->fenced;
  apply->image->brokers = metadata_tree_set(&METADATA_BROKERS, apply->image->brokers, changed);
  return NULL;
}

static Failure *apply_drain_broker(Apply *apply, const Milena__Internal__V1__DrainBrokerRecord *record) {
  const MetadataBroker *broker = metadata_image_broker(apply->image, record->id);
  if (!broker) {
    g_autofree char *id = g_strdup_printf("%d", record->id);
    return corrupt("the drain of an unknown broker", id);
  }
  MetadataBroker *changed = metadata_broker_copy(broker);
  changed->drained = record->drained;
  apply->image->brokers = metadata_tree_set(&METADATA_BROKERS, apply->image->brokers, changed);
  return NULL;
}

static Failure *apply_stop_broker(Apply *apply, const Milena__Internal__V1__StopBrokerRecord *record) {
  const MetadataBroker *broker = metadata_image_broker(apply->image, record->id);
  if (!broker || broker->epoch != record->epoch)
    return NULL; /* about a registration that is gone */
  MetadataBroker *changed = metadata_broker_copy(broker);
  changed->stopping = TRUE;
  apply->image->brokers = metadata_tree_set(&METADATA_BROKERS, apply->image->brokers, changed);
  return NULL;
}

static Failure *apply_broker_disk(Apply *apply, const Milena__Internal__V1__BrokerDiskRecord *record) {
  const MetadataBroker *broker = metadata_image_broker(apply->image, record->id);
  if (!broker || broker->epoch != record->epoch)
    return NULL; /* about a registration that is gone */
  MetadataBroker *changed = metadata_broker_copy(broker);
  changed->disk_low = record->low;
  apply->image->brokers = metadata_tree_set(&METADATA_BROKERS, apply->image->brokers, changed);
  return NULL;
}

static Failure *apply_register_coordinator(Apply *apply,
                                           const Milena__Internal__V1__RegisterCoordinatorRecord *record) {
  MetadataCoordinator *coordinator = g_new(MetadataCoordinator, 1);
  *coordinator = (MetadataCoordinator){
      .refs = 1,
      .id = record->id,
      .epoch = record->epoch,
      .process_id = g_strdup(record->process_id),
      .address = g_strdup(record->address),
      .fenced = record->fenced,
  };
  apply->image->coordinators = metadata_tree_set(&METADATA_COORDINATORS, apply->image->coordinators, coordinator);
  return NULL;
}

static Failure *apply_fence_coordinator(Apply *apply, const Milena__Internal__V1__FenceCoordinatorRecord *record) {
  const MetadataCoordinator *coordinator = metadata_image_coordinator(apply->image, record->id);
  if (!coordinator || coordinator->epoch != record->epoch)
    return NULL; /* about a registration that is gone */
  MetadataCoordinator *changed = metadata_coordinator_copy(coordinator);
  changed->fenced = record->fenced;
  apply->image->coordinators = metadata_tree_set(&METADATA_COORDINATORS, apply->image->coordinators, changed);
  return NULL;
}

static Failure *apply_lease(Apply *apply, const Milena__Internal__V1__CoordinatorLeaseRecord *record) {
  const MetadataLease *before = metadata_image_lease(apply->image, record->partition);
  g_autofree char *partition = g_strdup_printf("%d", record->partition);
  if (record->partition < 0 || record->lease_epoch == 0)
    return corrupt("a lease without a partition or an epoch", partition);
  if (before && record->lease_epoch < before->lease_epoch)
    return corrupt("a lease whose epoch goes back", partition);
  MetadataLease *lease = g_new(MetadataLease, 1);
  *lease = (MetadataLease){
      .refs = 1,
      .partition = record->partition,
      .coordinator_id = record->coordinator_id,
      .lease_epoch = record->lease_epoch,
  };
  apply->image->leases = metadata_tree_set(&METADATA_LEASES, apply->image->leases, lease);
  return NULL;
}

static Failure *apply_controller(Apply *apply, const Milena__Internal__V1__ControllerRecord *record) {
  if (record->removed) {
    apply->image->controllers = metadata_tree_remove(&METADATA_CONTROLLERS, apply->image->controllers, &record->id);
    return NULL;
  }
  MetadataController *controller = g_new(MetadataController, 1);
  *controller = (MetadataController){
      .refs = 1,
      .id = record->id,
      .address = g_strdup(record->address),
      .peer_address = g_strdup(record->peer_address),
  };
  apply->image->controllers = metadata_tree_set(&METADATA_CONTROLLERS, apply->image->controllers, controller);
  return NULL;
}

static Failure *apply_cluster(Apply *apply, const Milena__Internal__V1__ClusterRecord *record) {
  MetadataImage *image = apply->image;
  if (!valid_id(record->cluster_id))
    return corrupt("a cluster without a valid id", record->cluster_id);
  if (*image->cluster_id && strcmp(image->cluster_id, record->cluster_id) != 0)
    return corrupt("a second cluster", record->cluster_id);
  g_strlcpy(image->cluster_id, record->cluster_id, sizeof image->cluster_id);
  image->created_ms = record->created_ms;
  return NULL;
}

static Failure *apply_record(Apply *apply, const MetadataRecord *record) {
  switch (record->record_case) {
  case RECORD(CLUSTER):
    return apply_cluster(apply, record->cluster);
  case RECORD(REGISTER_BROKER):
    return apply_register_broker(apply, record->register_broker);
  case RECORD(FENCE_BROKER):
    return apply_fence_broker(apply, record->fence_broker);
  case RECORD(DRAIN_BROKER):
    return apply_drain_broker(apply, record->drain_broker);
  case RECORD(STOP_BROKER):
    return apply_stop_broker(apply, record->stop_broker);
  case RECORD(BROKER_DISK):
    return apply_broker_disk(apply, record->broker_disk);
  case RECORD(TOPIC):
    return apply_topic(apply, record->topic);
  case RECORD(PARTITION):
    return apply_partition(apply, record->partition);
  case RECORD(TOPIC_CONFIG):
    return apply_topic_config(apply, record->topic_config);
  case RECORD(REMOVE_TOPIC):
    return apply_remove_topic(apply, record->remove_topic);
  case RECORD(REGISTER_COORDINATOR):
    return apply_register_coordinator(apply, record->register_coordinator);
  case RECORD(FENCE_COORDINATOR):
    return apply_fence_coordinator(apply, record->fence_coordinator);
  case RECORD(COORDINATOR_LEASE):
    return apply_lease(apply, record->coordinator_lease);
  case RECORD(CONTROLLER):
    return apply_controller(apply, record->controller);
  case RECORD(NEXT_LOG_ID):
    apply->image->next_log_id = MAX(apply->image->next_log_id, record->next_log_id->next_log_id);
    return NULL;
  case RECORD(PRODUCER_ID_BLOCK):
    apply->image->next_producer_id = MAX(apply->image->next_producer_id, record->producer_id_block->next_producer_id);
    return NULL;
  default:
    return failure_new(FAILURE(UNSUPPORTED),
                       "The metadata holds a record of a kind that this version does not know: it "
                       "was written by a newer Milena. Upgrade this process.");
  }
}

Failure *metadata_image_apply(const MetadataImage *base, MetadataRecord *const *records, gsize record_count,
                              guint64 version, MetadataImage **ret_image) {
  if (version < base->version)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "Metadata of version %" G_GUINT64_FORMAT " came after version %" G_GUINT64_FORMAT
                       ": versions only rise.",
                       version, base->version);
  g_autoptr(GHashTable) drafts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, metadata_topic_unref);
  g_autoptr(GHashTable) counts = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  g_autoptr(MetadataImage) image = metadata_image_share(base);
  Apply apply = {image, drafts, counts};
  image->version = version;
  for (gsize i = 0; i < record_count; i++) {
    Failure *failure = apply_record(&apply, records[i]);
    if (failure)
      return failure;
  }
  settle_topics(&apply);
  settle_counts(&apply);
  *ret_image = g_steal_pointer(&image);
  return NULL;
}
