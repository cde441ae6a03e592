/* Which brokers hold a new partition: each topic spread evenly, then few leaders and few replicas first, racks apart.
 * Pure. */
#pragma once

#include "controller/metadata/image.h"
#include "milena/v1/admin_service.pb-c.h"

G_BEGIN_DECLS

/* A broker that may hold new partitions, with what it has, and what it was given since. */
typedef struct {
  gint32 id;
  guint rack;                          /* a number for each rack */
  guint topic_leaders, topic_replicas; /* of the topic */
  guint leader_count, replica_count;   /* of all */
} PlacementBroker;

typedef struct {
  GArray *brokers; /* of PlacementBroker: neighbours stand in different racks */
  guint turn;      /* where to look first, so that equals take turns */
} MetadataPlacement;

/* Brokers that are neither gone nor drained nor about to stop.
 *
 * @topic: whose partitions are added, or NULL for a new one */
void metadata_placement_init(MetadataPlacement *placement, const MetadataImage *image, const MetadataTopic *topic);
void metadata_placement_clear(MetadataPlacement *placement);
guint metadata_placement_count(const MetadataPlacement *placement);
/* The replicas of one partition, which count from now on.
 *
 * The first, its preferred leader, is a broker that leads the fewest of the topic, then of all; each other one stands
 * in a rack that the partition is not in yet, while there is one, and holds the fewest of those.
 * @ret_replicas: room for @replica_count ids, at most the placement's count */
void metadata_placement_choose(MetadataPlacement *placement, gint32 *ret_replicas, guint replica_count);

/* Moves that put two replicas of a partition into one rack, which may be lost as one, though a broker of a rack without
 * any could hold one. Returns a sentence for each, at most METADATA_WARNINGS_MAX, owned by the caller (char *, freed
 * with the array). */
#define METADATA_WARNINGS_MAX 100
GPtrArray *metadata_placement_warnings(const MetadataImage *image,
                                       const Milena__V1__ReassignPartitionsRequest *request);

G_END_DECLS
