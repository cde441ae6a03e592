/* See coordinators.h. No state. */
#include "services/membership/coordinators.h"

#include <string.h>

#include "storage/log/partitioner.h"

gint32 coordinators_partition(const char *group, guint partition_count) {
  return (gint32)log_partitioner_for_key(group, strlen(group), partition_count);
}

Failure *coordinators_check_group(const char *group) {
  gsize bytes = strlen(group);
  if (bytes > 0 && bytes <= COORDINATORS_GROUP_BYTES_MAX)
    return NULL;
  g_autofree char *why = bytes == 0
                             ? g_strdup("The field group is missing: name the group.")
                             : g_strdup_printf("The field group has %" G_GSIZE_FORMAT " bytes; at most %d are allowed.",
                                               bytes, COORDINATORS_GROUP_BYTES_MAX);
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", why), "group", why);
}

static Failure *not_available(const char *why) {
  return failure_set_retry_delay(failure_new(FAILURE(COORDINATOR_NOT_AVAILABLE),
                                             "No coordinator has the group now: %s. Nothing was changed, try again "
                                             "soon.",
                                             why),
                                 COORDINATORS_RETRY_MS);
}

Failure *coordinators_find_partition(const MetadataImage *image, gint32 partition, CoordinatorPlace *ret_place) {
  const MetadataTopic *topic = metadata_image_topic_by_name(image, METADATA_GROUP_TOPIC);
  *ret_place = (CoordinatorPlace){.topic = topic};
  if (!topic || topic->partition_count == 0)
    return not_available("the topic " METADATA_GROUP_TOPIC " is not there yet");
  ret_place->partition = metadata_topic_partition(topic, partition);
  const MetadataLease *lease = metadata_image_lease(image, partition);
  const MetadataCoordinator *coordinator = lease ? metadata_image_coordinator(image, lease->coordinator_id) : NULL;
  if (!coordinator)
    return not_available("no coordinator is up");
  if (coordinator->fenced)
    return not_available("its coordinator is not heard, and another is to take its place");
  ret_place->lease = lease;
  ret_place->coordinator = coordinator;
  return NULL;
}

Failure *coordinators_find(const MetadataImage *image, const char *group, CoordinatorPlace *ret_place) {
  const MetadataTopic *topic = metadata_image_topic_by_name(image, METADATA_GROUP_TOPIC);
  gint32 partition = topic && topic->partition_count ? coordinators_partition(group, topic->partition_count) : 0;
  return coordinators_find_partition(image, partition, ret_place);
}

void coordinators_fill(const MetadataImage *image, const CoordinatorPlace *place,
                       Milena__V1__GroupCoordinator *ret_coordinator) {
  milena__v1__group_coordinator__init(ret_coordinator);
  ret_coordinator->id = place->coordinator->id;
  ret_coordinator->address = place->coordinator->address;
  ret_coordinator->partition = place->lease->partition;
  ret_coordinator->lease_epoch = place->lease->lease_epoch;
  ret_coordinator->metadata_version = metadata_image_version(image);
}

Failure *coordinators_refuse(const MetadataImage *image, gint32 partition, gint32 self_id) {
  CoordinatorPlace place;
  g_autoptr(Failure) unknown = coordinators_find_partition(image, partition, &place);
  gboolean known = !unknown && place.coordinator && place.coordinator->id != self_id;
  Failure *failure =
      known ? failure_new(FAILURE(NOT_COORDINATOR),
                          "The group is in partition %d of " METADATA_GROUP_TOPIC ", which coordinator %d at %s has, "
                          "not coordinator %d. Call that one, or any broker.",
                          partition, place.coordinator->id, place.coordinator->address, self_id)
            : failure_new(FAILURE(NOT_COORDINATOR),
                          "The group is in partition %d of " METADATA_GROUP_TOPIC ", which coordinator %d does not "
                          "have. Ask any broker who does.",
                          partition, self_id);
  failure_add(failure, "partition", "%d", partition);
  failure_add(failure, "metadata_version", "%" G_GUINT64_FORMAT, metadata_image_version(image));
  if (!known)
    return failure;
  failure_add(failure, "coordinator_id", "%d", place.coordinator->id);
  failure_add(failure, "coordinator_address", "%s", place.coordinator->address);
  return failure_add(failure, "lease_epoch", "%u", place.lease->lease_epoch);
}
