/* Records, transactions and snapshots; see records.h. No state. */
#include "controller/metadata/records.h"

#include <string.h>

#include "controller/metadata/image_internal.h"

#define RECORD(kind) MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_##kind

/* Messages are allocated as protobuf-c would, so that its free_unpacked frees them. */
static gpointer message_new(gsize size, void (*init)(gpointer message)) {
  gpointer message = g_malloc(size);
  init(message);
  return message;
}
#define MESSAGE_NEW(Type, type)                                                                                        \
  ((Milena__Internal__V1__##Type *)message_new(sizeof(Milena__Internal__V1__##Type),                                   \
                                               (void (*)(gpointer))milena__internal__v1__##type##__init))

static MetadataRecord *record_new(Milena__Internal__V1__MetadataRecord__RecordCase kind) {
  MetadataRecord *record = MESSAGE_NEW(MetadataRecord, metadata_record);
  record->record_case = kind;
  return record;
}

static void record_free(gpointer record) {
  milena__internal__v1__metadata_record__free_unpacked(record, NULL);
}

GPtrArray *metadata_records_new(void) {
  return g_ptr_array_new_with_free_func(record_free);
}

MetadataRecord *metadata_record_cluster(const char *cluster_id, gint64 created_ms) {
  MetadataRecord *record = record_new(RECORD(CLUSTER));
  record->cluster = MESSAGE_NEW(ClusterRecord, cluster_record);
  record->cluster->cluster_id = g_strdup(cluster_id);
  record->cluster->created_ms = created_ms;
  return record;
}

MetadataRecord *metadata_record_controller(const MetadataController *controller) {
  MetadataRecord *record = record_new(RECORD(CONTROLLER));
  record->controller = MESSAGE_NEW(ControllerRecord, controller_record);
  record->controller->id = controller->id;
  record->controller->address = g_strdup(controller->address);
  record->controller->peer_address = g_strdup(controller->peer_address);
  return record;
}

MetadataRecord *metadata_record_remove_controller(gint32 id) {
  MetadataController none = {.id = id, .address = (char *)"", .peer_address = (char *)""};
  MetadataRecord *record = metadata_record_controller(&none);
  record->controller->removed = TRUE;
  return record;
}

MetadataRecord *metadata_record_register_broker(const MetadataBroker *broker) {
  MetadataRecord *record = record_new(RECORD(REGISTER_BROKER));
  Milena__Internal__V1__RegisterBrokerRecord *body = MESSAGE_NEW(RegisterBrokerRecord, register_broker_record);
  body->id = broker->id;
  body->epoch = broker->epoch;
  body->incarnation = g_strdup(broker->incarnation);
  body->rack = g_strdup(broker->rack);
  body->address = g_strdup(broker->address);
  body->peer_address = g_strdup(broker->peer_address);
  body->process_id = g_strdup(broker->process_id);
  body->fenced = broker->fenced;
  body->drained = broker->drained;
  body->stopping = broker->stopping;
  body->disk_low = broker->disk_low;
  record->register_broker = body;
  return record;
}

MetadataRecord *metadata_record_drain_broker(gint32 id, gboolean drained) {
  MetadataRecord *record = record_new(RECORD(DRAIN_BROKER));
  record->drain_broker = MESSAGE_NEW(DrainBrokerRecord, drain_broker_record);
  record->drain_broker->id = id;
  record->drain_broker->drained = drained;
  return record;
}

MetadataRecord *metadata_record_broker_disk(gint32 id, guint64 epoch, gboolean low) {
  MetadataRecord *record = record_new(RECORD(BROKER_DISK));
  record->broker_disk = MESSAGE_NEW(BrokerDiskRecord, broker_disk_record);
  record->broker_disk->id = id;
  record->broker_disk->epoch = epoch;
  record->broker_disk->low = low;
  return record;
}

MetadataRecord *metadata_record_stop_broker(gint32 id, guint64 epoch) {
  MetadataRecord *record = record_new(RECORD(STOP_BROKER));
  record->stop_broker = MESSAGE_NEW(StopBrokerRecord, stop_broker_record);
  record->stop_broker->id = id;
  record->stop_broker->epoch = epoch;
  return record;
}

MetadataRecord *metadata_record_fence_broker(gint32 id, guint64 epoch, gboolean fenced) {
  MetadataRecord *record = record_new(RECORD(FENCE_BROKER));
  record->fence_broker = MESSAGE_NEW(FenceBrokerRecord, fence_broker_record);
  record->fence_broker->id = id;
  record->fence_broker->epoch = epoch;
  record->fence_broker->fenced = fenced;
  return record;
}

MetadataRecord *metadata_record_register_coordinator(const MetadataCoordinator *coordinator) {
  MetadataRecord *record = record_new(RECORD(REGISTER_COORDINATOR));
  Milena__Internal__V1__RegisterCoordinatorRecord *body =
      MESSAGE_NEW(RegisterCoordinatorRecord, register_coordinator_record);
  body->id = coordinator->id;
  body->epoch = coordinator->epoch;
  body->process_id = g_strdup(coordinator->process_id);
  body->address = g_strdup(coordinator->address);
  body->fenced = coordinator->fenced;
  record->register_coordinator = body;
  return record;
}

MetadataRecord *metadata_record_fence_coordinator(gint32 id, guint64 epoch, gboolean fenced) {
  MetadataRecord *record = record_new(RECORD(FENCE_COORDINATOR));
  record->fence_coordinator = MESSAGE_NEW(FenceCoordinatorRecord, fence_coordinator_record);
  record->fence_coordinator->id = id;
  record->fence_coordinator->epoch = epoch;
  record->fence_coordinator->fenced = fenced;
  return record;
}

MetadataRecord *metadata_record_lease(gint32 partition, gint32 coordinator_id, guint32 lease_epoch) {
  MetadataRecord *record = record_new(RECORD(COORDINATOR_LEASE));
  record->coordinator_lease = MESSAGE_NEW(CoordinatorLeaseRecord, coordinator_lease_record);
  record->coordinator_lease->partition = partition;
  record->coordinator_lease->coordinator_id = coordinator_id;
  record->coordinator_lease->lease_epoch = lease_epoch;
  return record;
}

MetadataRecord *metadata_record_topic(const MetadataTopic *topic) {
  MetadataRecord *record = record_new(RECORD(TOPIC));
  record->topic = MESSAGE_NEW(TopicRecord, topic_record);
  record->topic->id = g_strdup(topic->id);
  record->topic->name = g_strdup(topic->name);
  record->topic->replication_factor = topic->replication_factor;
  record->topic->config = metadata_config_copy(topic->config);
  record->topic->request_id = g_strdup(topic->request_id);
  return record;
}

static gint32 *copy_ids(const gint32 *ids, guint count) {
  return count ? g_memdup2(ids, count * sizeof *ids) : NULL;
}

MetadataRecord *metadata_record_partition(const MetadataPartition *partition) {
  MetadataRecord *record = record_new(RECORD(PARTITION));
  Milena__Internal__V1__PartitionRecord *body = MESSAGE_NEW(PartitionRecord, partition_record);
  body->topic_id = g_strdup(partition->topic_id);
  body->partition = partition->partition;
  body->log_id = partition->log_id;
  body->n_replicas = partition->replica_count;
  body->replicas = copy_ids(partition->replicas, partition->replica_count);
  body->n_in_sync_replicas = partition->isr_count;
  body->in_sync_replicas = copy_ids(partition->isr, partition->isr_count);
  body->n_eligible_replicas = partition->eligible_count;
  body->eligible_replicas = copy_ids(partition->eligible, partition->eligible_count);
  body->n_target_replicas = partition->target_count;
  body->target_replicas = copy_ids(partition->target, partition->target_count);
  body->n_replicas_before = partition->before_count;
  body->replicas_before = copy_ids(partition->before, partition->before_count);
  body->n_unsynced_replicas = partition->unsynced_count;
  body->unsynced_replicas = copy_ids(partition->unsynced, partition->unsynced_count);
  body->throttle_bytes_per_second = partition->throttle_bytes;
  body->damage_cut_epoch = partition->damage_cut_epoch;
  body->unclean_epoch = partition->unclean_epoch;
  body->leader_id = partition->leader_id;
  body->leader_epoch = partition->leader_epoch;
  body->partition_epoch = partition->partition_epoch;
  record->partition = body;
  return record;
}

MetadataRecord *metadata_record_topic_config(const char *topic_id, const Milena__V1__TopicConfig *config) {
  MetadataRecord *record = record_new(RECORD(TOPIC_CONFIG));
  record->topic_config = MESSAGE_NEW(TopicConfigRecord, topic_config_record);
  record->topic_config->topic_id = g_strdup(topic_id);
  record->topic_config->config = metadata_config_copy(config);
  return record;
}

MetadataRecord *metadata_record_remove_topic(const char *topic_id) {
  MetadataRecord *record = record_new(RECORD(REMOVE_TOPIC));
  record->remove_topic = MESSAGE_NEW(RemoveTopicRecord, remove_topic_record);
  record->remove_topic->topic_id = g_strdup(topic_id);
  return record;
}

MetadataRecord *metadata_record_next_log_id(guint64 next_log_id) {
  MetadataRecord *record = record_new(RECORD(NEXT_LOG_ID));
  record->next_log_id = MESSAGE_NEW(NextLogIdRecord, next_log_id_record);
  record->next_log_id->next_log_id = next_log_id;
  return record;
}

MetadataRecord *metadata_record_producer_id_block(gint32 broker_id, gint64 next_producer_id) {
  MetadataRecord *record = record_new(RECORD(PRODUCER_ID_BLOCK));
  record->producer_id_block = MESSAGE_NEW(ProducerIdBlockRecord, producer_id_block_record);
  record->producer_id_block->broker_id = broker_id;
  record->producer_id_block->next_producer_id = next_producer_id;
  return record;
}

/* ---- The image as records ---- */

static void add_topics(const MetadataImage *image, GPtrArray *records) {
  MetadataIter iter;
  metadata_iter_topics(&iter, image, NULL);
  for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));) {
    g_ptr_array_add(records, metadata_record_topic(topic));
    for (guint i = 0; i < topic->partition_count; i++)
      g_ptr_array_add(records, metadata_record_partition(topic->partitions[i]));
  }
}

GPtrArray *metadata_image_to_records(const MetadataImage *image) {
  GPtrArray *records = metadata_records_new();
  MetadataIter iter;
  if (*image->cluster_id)
    g_ptr_array_add(records, metadata_record_cluster(image->cluster_id, image->created_ms));
  metadata_iter_controllers(&iter, image);
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));)
    g_ptr_array_add(records, metadata_record_controller(controller));
  /* Brokers before partitions: what each leads and holds is counted as the partitions are applied. */
  metadata_iter_brokers(&iter, image, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));)
    g_ptr_array_add(records, metadata_record_register_broker(broker));
  metadata_iter_coordinators(&iter, image);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    g_ptr_array_add(records, metadata_record_register_coordinator(coordinator));
  metadata_iter_leases(&iter, image);
  for (const MetadataLease *lease; (lease = metadata_iter_next_lease(&iter));)
    g_ptr_array_add(records, metadata_record_lease(lease->partition, lease->coordinator_id, lease->lease_epoch));
  add_topics(image, records);
  g_ptr_array_add(records, metadata_record_next_log_id(image->next_log_id));
  /* Of all brokers; none before the first block, so that an older process still reads such a snapshot. */
  if (image->next_producer_id > 1)
    g_ptr_array_add(records, metadata_record_producer_id_block(-1, image->next_producer_id));
  return records;
}

/* ---- Formats ---- */

static GBytes *pack(const ProtobufCMessage *message) {
  gsize size = protobuf_c_message_get_packed_size(message);
  guint8 *bytes = g_malloc(size + 1);
  protobuf_c_message_pack(message, bytes);
  return g_bytes_new_take(bytes, size);
}

static Failure *check_format(const char *what, guint32 format) {
  if (format == METADATA_FORMAT)
    return NULL;
  if (format > METADATA_FORMAT)
    return failure_new(
        FAILURE(UNSUPPORTED),
        "A metadata %s has format %u, and this version knows formats up to %d: it was written by a newer "
        "Milena. Upgrade this process.",
        what, format, METADATA_FORMAT);
  return failure_new(FAILURE(CORRUPT_LOG), "A metadata %s has format %u, which never existed: it is damaged.", what,
                     format);
}

GBytes *metadata_transaction_encode(MetadataRecord *const *records, gsize record_count) {
  Milena__Internal__V1__MetadataTransaction transaction = MILENA__INTERNAL__V1__METADATA_TRANSACTION__INIT;
  transaction.format = METADATA_FORMAT;
  transaction.n_records = record_count;
  transaction.records = (MetadataRecord **)records;
  return pack(&transaction.base);
}

/* Take the records out of a decoded message. */
static GPtrArray *take_records(MetadataRecord **records, gsize *record_count) {
  GPtrArray *array = metadata_records_new();
  for (gsize i = 0; i < *record_count; i++)
    g_ptr_array_add(array, records[i]);
  *record_count = 0;
  return array;
}

Failure *metadata_transaction_decode(const void *data, gsize size, GPtrArray **ret_records) {
  Milena__Internal__V1__MetadataTransaction *transaction =
      milena__internal__v1__metadata_transaction__unpack(NULL, size, data);
  if (!transaction)
    return failure_new(FAILURE(CORRUPT_LOG), "A metadata transaction of %" G_GSIZE_FORMAT " bytes does not decode.",
                       size);
  Failure *failure = check_format("transaction", transaction->format);
  if (!failure)
    *ret_records = take_records(transaction->records, &transaction->n_records);
  milena__internal__v1__metadata_transaction__free_unpacked(transaction, NULL);
  return failure;
}

GBytes *metadata_snapshot_encode(const MetadataImage *image) {
  g_autoptr(GPtrArray) records = metadata_image_to_records(image);
  Milena__Internal__V1__MetadataSnapshot snapshot = MILENA__INTERNAL__V1__METADATA_SNAPSHOT__INIT;
  snapshot.format = METADATA_FORMAT;
  snapshot.version = image->version;
  snapshot.n_records = records->len;
  snapshot.records = (MetadataRecord **)records->pdata;
  return pack(&snapshot.base);
}

Failure *metadata_snapshot_decode(const void *data, gsize size, MetadataImage **ret_image) {
  Milena__Internal__V1__MetadataSnapshot *snapshot = milena__internal__v1__metadata_snapshot__unpack(NULL, size, data);
  if (!snapshot)
    return failure_new(FAILURE(CORRUPT_LOG), "A metadata snapshot of %" G_GSIZE_FORMAT " bytes does not decode.", size);
  Failure *failure = check_format("snapshot", snapshot->format);
  if (!failure) {
    g_autoptr(MetadataImage) empty = metadata_image_new();
    failure = metadata_image_apply(empty, snapshot->records, snapshot->n_records, snapshot->version, ret_image);
  }
  milena__internal__v1__metadata_snapshot__free_unpacked(snapshot, NULL);
  return failure;
}
