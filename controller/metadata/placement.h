/* Which brokers hold a new partition. Pure. */
#pragma once

#include "controller/metadata/image.h"

G_BEGIN_DECLS

/* The brokers that may hold new partitions, in an order in which neighbours stand in different racks. */
typedef struct {
  gint32 *ids;
  guint count;
} MetadataPlacement;

void metadata_placement_init(MetadataPlacement *placement, const MetadataImage *image);
void metadata_placement_clear(MetadataPlacement *placement);
/* The replicas of one partition.
 *
 * @turn: which broker comes first: counted up from partition to partition, it spreads leaders evenly
 * @ret_replicas: room for @replica_count ids, at most the placement's count */
void metadata_placement_choose(const MetadataPlacement *placement, guint64 turn, gint32 *ret_replicas,
                               guint replica_count);

G_END_DECLS
