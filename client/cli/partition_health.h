/* How a partition stands, in the words of `milena partitions status`. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

G_BEGIN_DECLS

/* From bad to good. */
typedef enum {
  PARTITION_NO_LEADER,        /* nobody may lead: neither writes nor reads */
  PARTITION_BELOW_MINIMUM,    /* fewer in sync than min.insync.replicas: acks=all is refused */
  PARTITION_UNDER_REPLICATED, /* some replica is not in sync */
  PARTITION_MOVING,           /* a reassignment is under way, and nothing else is wrong */
  PARTITION_OK,
} PartitionHealth;

/* @min_insync: of the topic's effective configuration. Replicas that a reassignment adds are not missed before they
 * have caught up. */
PartitionHealth partition_health(const MilenaPartition *partition, guint min_insync);
/* "no leader", ...; static. */
const char *partition_health_name(PartitionHealth health);
/* Replicas that are not in sync, those that a reassignment adds apart. */
gboolean partition_is_under_replicated(const MilenaPartition *partition);
/* How many of a reassignment's target are in sync. */
guint partition_moved(const MilenaPartition *partition);

G_END_DECLS
