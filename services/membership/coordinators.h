/* Which coordinator a group has: its name's hash says which partition of __consumer_offsets it is in, and the metadata
 * says who holds the lease of that. Brokers and coordinators answer GetCoordinator from it. Pure; any thread. */
#pragma once

#include "controller/metadata/image.h"
#include "milena/v1/group_service.pb-c.h"

G_BEGIN_DECLS

/* Milliseconds after which who found no coordinator may ask again. */
#define COORDINATORS_RETRY_MS 200

/* Where a group is. All borrowed from the image. */
typedef struct {
  const MetadataTopic *topic;
  const MetadataPartition *partition;
  const MetadataLease *lease;
  const MetadataCoordinator *coordinator;
} CoordinatorPlace;

/* Of @partition_count, 1 or more: murmur2 of the group's name, as a record's key finds its partition. */
gint32 coordinators_partition(const char *group, guint partition_count);
#define COORDINATORS_GROUP_BYTES_MAX 255
/* Can a group have this name? Returns NULL, or INVALID_FIELD that names the field "group". */
Failure *coordinators_check_group(const char *group);
/* Find the group's place.
 *
 * @ret_place: as far as it is known: `topic` is NULL when the topic is not there (ask the controller:
 * EnsureGroupTopic), `lease` and `coordinator` when nobody holds the partition now
 *
 * Returns NULL when there is a coordinator; else COORDINATOR_NOT_AVAILABLE with a retry hint. */
Failure *coordinators_find(const MetadataImage *image, const char *group, CoordinatorPlace *ret_place);
/* The same for a partition of __consumer_offsets. */
Failure *coordinators_find_partition(const MetadataImage *image, gint32 partition, CoordinatorPlace *ret_place);
/* As the public API tells it; strings are borrowed from the image. @place: complete */
void coordinators_fill(const MetadataImage *image, const CoordinatorPlace *place,
                       Milena__V1__GroupCoordinator *ret_coordinator);
/* What a coordinator says that does not hold the group's partition: NOT_COORDINATOR; its metadata has partition,
 * metadata_version and, when the image knows the right one, coordinator_id, coordinator_address and lease_epoch. */
Failure *coordinators_refuse(const MetadataImage *image, gint32 partition, gint32 self_id);

G_END_DECLS
