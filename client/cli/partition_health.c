#include "client/cli/partition_health.h"

static gboolean has_id(const int32_t *ids, gsize count, int32_t id) {
  for (gsize i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

static gboolean is_in_sync(const MilenaPartition *partition, int32_t id) {
  return has_id(partition->in_sync_replicas, partition->in_sync_replica_count, id);
}

guint partition_moved(const MilenaPartition *partition) {
  guint count = 0;
  for (gsize i = 0; i < partition->target_replica_count; i++)
    count += is_in_sync(partition, partition->target_replicas[i]);
  return count;
}

gboolean partition_is_under_replicated(const MilenaPartition *partition) {
  /* While it moves, `replicas` are those of before and of the target, the target's first: those of the target that
   * have not caught up yet are not missed. What leaves anyway is. */
  for (gsize i = 0; i < partition->replica_count; i++) {
    int32_t id = partition->replicas[i];
    gboolean added = has_id(partition->target_replicas, partition->target_replica_count, id);
    if (!added && !is_in_sync(partition, id))
      return TRUE;
  }
  return FALSE;
}

PartitionHealth partition_health(const MilenaPartition *partition, guint min_insync) {
  if (partition->leader_id < 0)
    return PARTITION_NO_LEADER;
  if (partition->in_sync_replica_count < min_insync)
    return PARTITION_BELOW_MINIMUM;
  if (partition_is_under_replicated(partition))
    return PARTITION_UNDER_REPLICATED;
  return partition->target_replica_count > 0 ? PARTITION_MOVING : PARTITION_OK;
}

const char *partition_health_name(PartitionHealth health) {
  switch (health) {
  case PARTITION_NO_LEADER:
    return "no leader";
  case PARTITION_BELOW_MINIMUM:
    return "below minimum";
  case PARTITION_UNDER_REPLICATED:
    return "under-replicated";
  case PARTITION_MOVING:
    return "moving";
  default:
    return "ok";
  }
}
