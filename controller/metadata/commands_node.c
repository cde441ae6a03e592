/* Commands of brokers and coordinators: registration, fencing, unfencing. No state.
 *
 * What they protect (REPLICATION.md, rules 8 and 9): an id belongs to one process at a time; a new registration begins
 * fenced and leads nothing, with an epoch above every earlier one. */
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/records.h"
#include "controller/metadata/view.h"

#define KIND(name) MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_##name

typedef Milena__Internal__V1__RegisterNodeRequest RegisterRequest;

/* ---- Checks ---- */

static Failure *check_address(const char *path, const char *address) {
  const char *colon = strrchr(address, ':');
  guint64 port = 0;
  if (colon && colon != address && g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL))
    return NULL;
  return metadata_invalid_field(path, "host:port",
                                "The address \"%s\" is not host:port with a port of 1 to 65535. Advertise one that the "
                                "others can reach.",
                                address);
}

static Failure *check_uuid(const char *path, const char *id) {
  if (metadata_uuid_valid(id))
    return NULL;
  return metadata_invalid_field(path, "a UUID", "The registration's %s \"%s\" is not a UUID.", path, id);
}

static Failure *check_cluster(const MetadataImage *image, const char *cluster_id) {
  const char *ours = metadata_image_cluster_id(image);
  if (!*cluster_id || strcmp(cluster_id, ours) == 0)
    return NULL;
  Failure *failure = failure_new(FAILURE(CLUSTER_MISMATCH),
                                 "The data folder belongs to the cluster %s, and this is the cluster %s. Point the "
                                 "process at its own controllers, or give it an empty folder.",
                                 cluster_id, ours);
  failure_add(failure, "expected", "%s", ours);
  return failure_add(failure, "actual", "%s", cluster_id);
}

static Failure *check_request(const MetadataImage *image, const RegisterRequest *request) {
  gboolean broker = request->kind == KIND(BROKER);
  Failure *failure = NULL;
  if (!broker && request->kind != KIND(COORDINATOR))
    return metadata_invalid_field("kind", "a broker or a coordinator",
                                  "A registration must say whether it is a broker or a coordinator.");
  if (request->id < 0)
    return metadata_invalid_field("id", "0 or more", "The id %d is negative: choose one of 0 or more.", request->id);
  if ((failure = check_cluster(image, request->cluster_id)))
    return failure;
  if ((failure = check_uuid("process_id", request->process_id)))
    return failure;
  if ((failure = check_address("address", request->address)))
    return failure;
  if (!broker)
    return NULL;
  if ((failure = check_uuid("incarnation", request->incarnation)))
    return failure;
  return check_address("peer_address", request->peer_address);
}

static Failure *duplicate(const char *kind, gint32 id, const char *address) {
  Failure *failure = failure_new(FAILURE(DUPLICATE_ID),
                                 "The %s id %d is held by a process at %s whose session has not ended. Give each %s an "
                                 "id of its own; if that process is gone, its session ends within seconds: try again.",
                                 kind, id, address, kind);
  return failure_add(failure, "address", "%s", address);
}

/* ---- What a broker's fate means for its partitions ---- */

static void lose_broker(PartitionState *state, const PartitionRules *rules, const MetadataTopic *topic,
                        const MetadataPartition *partition, gpointer data) {
  (void)topic;
  (void)partition;
  partition_lose_broker(state, rules, *(const gint32 *)data);
}

static void elect(PartitionState *state, const PartitionRules *rules, const MetadataTopic *topic,
                  const MetadataPartition *partition, gpointer data) {
  (void)topic;
  (void)partition;
  (void)data;
  partition_elect(state, rules);
}

/* A new registration, after an old one: what its replicas are worth (rules 8 to 10, 16). */
typedef struct {
  gint32 broker_id;
  gboolean same_folder, stopped_in_order;
  const guint64 *damaged; /* log ids */
  gsize damaged_count;
} Return;

static gboolean is_damaged(const Return *back, guint64 log_id) {
  for (gsize i = 0; i < back->damaged_count; i++)
    if (back->damaged[i] == log_id)
      return TRUE;
  return FALSE;
}

static void judge_replica(PartitionState *state, const PartitionRules *rules, const MetadataTopic *topic,
                          const MetadataPartition *partition, gpointer data) {
  const Return *back = data;
  /* The old registration ends. Then: what this replica acknowledged is all there if its process stopped in order, or if
   * it was synced before it was acknowledged, or at least since: the broker has verified its log before it registers,
   * and says where that found damage. */
  gboolean synced = metadata_topic_flush(topic) == MILENA__V1__FLUSH__FLUSH_ALWAYS &&
                    !broker_ids_has(&state->unsynced, back->broker_id);
  gboolean kept = (back->stopped_in_order || synced) && !is_damaged(back, partition->log_id);
  partition_lose_broker(state, rules, back->broker_id);
  if (!back->same_folder || !kept)
    partition_lose_replica(state, rules, back->broker_id, back->same_folder);
}

/* ---- Registration ---- */

static Failure *register_broker(const MetadataImage *image, const MetadataContext *context,
                                const RegisterRequest *request, gboolean session_alive, GPtrArray *records,
                                guint64 *ret_epoch) {
  const MetadataBroker *holder = metadata_image_broker(image, request->id);
  if (holder && strcmp(holder->process_id, request->process_id) == 0) {
    *ret_epoch = holder->epoch;
    return NULL;
  }
  /* From the same folder: its lock proves that the process before is gone. */
  gboolean same_folder = holder && strcmp(holder->incarnation, request->incarnation) == 0;
  if (holder && session_alive && !same_folder)
    return duplicate("broker", request->id, holder->address);
  if (holder) {
    Return back = {request->id, same_folder, request->stopped_in_order, request->damaged_log_ids,
                   request->n_damaged_log_ids};
    StandingView view = {image, request->id, BROKER_GONE};
    metadata_change_partitions_of(&view, request->id, judge_replica, &back, records);
  }
  MetadataBroker broker = {
      .id = request->id,
      .epoch = context->version,
      .incarnation = request->incarnation,
      .process_id = request->process_id,
      .rack = request->rack,
      .address = request->address,
      .peer_address = request->peer_address,
      .fenced = TRUE,
      .drained = holder && holder->drained,
  };
  g_ptr_array_add(records, metadata_record_register_broker(&broker));
  *ret_epoch = context->version;
  return NULL;
}

static Failure *register_coordinator(const MetadataImage *image, const MetadataContext *context,
                                     const RegisterRequest *request, gboolean session_alive, GPtrArray *records,
                                     guint64 *ret_epoch) {
  const MetadataCoordinator *holder = metadata_image_coordinator(image, request->id);
  if (holder && strcmp(holder->process_id, request->process_id) == 0) {
    *ret_epoch = holder->epoch;
    return NULL;
  }
  if (holder && session_alive)
    return duplicate("coordinator", request->id, holder->address);
  MetadataCoordinator coordinator = {
      .id = request->id,
      .epoch = context->version,
      .process_id = request->process_id,
      .address = request->address,
      .fenced = TRUE,
  };
  g_ptr_array_add(records, metadata_record_register_coordinator(&coordinator));
  *ret_epoch = context->version;
  return metadata_follow_leases(image, records); /* those of the process before go to others */
}

Failure *metadata_command_register_node(const MetadataImage *image, const MetadataContext *context,
                                        const RegisterRequest *request, gboolean session_alive, GPtrArray *records,
                                        guint64 *ret_epoch) {
  Failure *failure = check_request(image, request);
  if (failure)
    return failure;
  return request->kind == KIND(BROKER)
             ? register_broker(image, context, request, session_alive, records, ret_epoch)
             : register_coordinator(image, context, request, session_alive, records, ret_epoch);
}

/* ---- Fencing ---- */

Failure *metadata_command_fence_node(const MetadataImage *image, Milena__Internal__V1__NodeKind kind, gint32 id,
                                     guint64 epoch, gboolean fenced, GPtrArray *records) {
  if (kind == KIND(COORDINATOR)) {
    const MetadataCoordinator *coordinator = metadata_image_coordinator(image, id);
    if (!coordinator || coordinator->epoch != epoch)
      return metadata_stale_epoch("coordinator", id, epoch, coordinator ? coordinator->epoch : 0);
    if (coordinator->fenced == fenced)
      return NULL;
    g_ptr_array_add(records, metadata_record_fence_coordinator(id, epoch, fenced));
    return metadata_follow_leases(image, records);
  }
  const MetadataBroker *broker = metadata_image_broker(image, id);
  if (!broker || broker->epoch != epoch)
    return metadata_stale_epoch("broker", id, epoch, broker ? broker->epoch : 0);
  if (broker->fenced == fenced)
    return NULL;
  g_ptr_array_add(records, metadata_record_fence_broker(id, epoch, fenced));
  MetadataBroker changed = *broker;
  changed.fenced = fenced;
  StandingView view = {image, id, metadata_broker_standing(&changed)};
  metadata_change_partitions_of(&view, id, fenced ? lose_broker : elect, &id, records);
  return NULL;
}

Failure *metadata_command_stop_broker(const MetadataImage *image, gint32 id, guint64 epoch, GPtrArray *records) {
  const MetadataBroker *broker = metadata_image_broker(image, id);
  if (!broker || broker->epoch != epoch)
    return metadata_stale_epoch("broker", id, epoch, broker ? broker->epoch : 0);
  if (broker->fenced || broker->stopping)
    return NULL;
  g_ptr_array_add(records, metadata_record_stop_broker(id, epoch));
  StandingView view = {image, id, BROKER_YIELDS};
  metadata_change_partitions_of(&view, id, elect, NULL, records);
  return NULL;
}

Failure *metadata_command_drain_broker(const MetadataImage *image, gint32 id, gboolean drained, GPtrArray *records) {
  const MetadataBroker *broker = metadata_image_broker(image, id);
  if (!broker)
    return metadata_unknown_broker(id);
  if (broker->drained == drained)
    return NULL;
  g_ptr_array_add(records, metadata_record_drain_broker(id, drained));
  MetadataBroker changed = *broker;
  changed.drained = drained;
  StandingView view = {image, id, metadata_broker_standing(&changed)};
  metadata_change_partitions_of(&view, id, elect, NULL, records);
  return NULL;
}

Failure *metadata_command_set_disk_low(const MetadataImage *image, gint32 id, guint64 epoch, gboolean low,
                                       GPtrArray *records) {
  const MetadataBroker *broker = metadata_image_broker(image, id);
  if (!broker || broker->epoch != epoch)
    return metadata_stale_epoch("broker", id, epoch, broker ? broker->epoch : 0);
  if (broker->disk_low == low)
    return NULL;
  g_ptr_array_add(records, metadata_record_broker_disk(id, epoch, low));
  MetadataBroker changed = *broker;
  changed.disk_low = low;
  StandingView view = {image, id, metadata_broker_standing(&changed)};
  metadata_change_partitions_of(&view, id, elect, NULL, records);
  return NULL;
}

/* ---- Producer ids ---- */

Failure *metadata_command_allocate_producer_ids(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch,
                                                GPtrArray *records, gint64 *ret_first) {
  const MetadataBroker *broker = metadata_image_broker(image, broker_id);
  if (!broker || broker->epoch != broker_epoch)
    return metadata_stale_epoch("broker", broker_id, broker_epoch, broker ? broker->epoch : 0);
  gint64 first = metadata_image_next_producer_id(image);
  if (first > G_MAXINT64 - METADATA_PRODUCER_ID_BLOCK)
    return failure_new(FAILURE(LIMIT_EXCEEDED), "The cluster has given all of its producer ids.");
  g_ptr_array_add(records, metadata_record_producer_id_block(broker_id, first + METADATA_PRODUCER_ID_BLOCK));
  *ret_first = first;
  return NULL;
}
