/* What groups ask about topics, answered from the coordinator's image. No state. */
#include "services/group_coordinator/coordinator_internal.h"

static void fill(const MetadataTopic *topic, GroupsTopic *ret_topic) {
  *ret_topic = (GroupsTopic){.name = topic->name,
                             .id = topic->id,
                             .partition_count = (gint32)topic->partition_count,
                             .internal = metadata_topic_is_internal(topic)};
}

static gboolean find_topic(const char *name, GroupsTopic *ret_topic, gpointer data) {
  const Coordinator *coordinator = data;
  const MetadataTopic *topic = metadata_image_topic_by_name(coordinator->image, name);
  if (topic)
    fill(topic, ret_topic);
  return topic != NULL;
}

static void each_topic(void (*func)(const GroupsTopic *topic, gpointer func_data), gpointer func_data, gpointer data) {
  const Coordinator *coordinator = data;
  MetadataIter iter;
  metadata_iter_topics(&iter, coordinator->image, NULL);
  for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));) {
    GroupsTopic told;
    fill(topic, &told);
    func(&told, func_data);
  }
}

static const char *leader_rack(const char *name, gint32 number, gpointer data) {
  const Coordinator *coordinator = data;
  const MetadataTopic *topic = metadata_image_topic_by_name(coordinator->image, name);
  const MetadataPartition *partition = topic ? metadata_topic_partition(topic, number) : NULL;
  if (!partition || partition->replica_count == 0)
    return NULL;
  gint32 leader_id = partition->leader_id >= 0 ? partition->leader_id : partition->replicas[0];
  const MetadataBroker *leader = metadata_image_broker(coordinator->image, leader_id);
  return leader && *leader->rack ? leader->rack : NULL;
}

static gboolean high_watermark(const char *topic_id, gint32 partition, gint64 *ret_offset, gpointer data) {
  const Coordinator *coordinator = data;
  return commit_ends_judge(coordinator->commit_ends, topic_id, partition, ret_offset);
}

static char *new_id(gpointer data) {
  (void)data;
  return g_uuid_string_random();
}

void coordinator_init_groups_host(Coordinator *coordinator, GroupsHost *ret_host) {
  *ret_host = (GroupsHost){.find_topic = find_topic,
                           .each_topic = each_topic,
                           .leader_rack = leader_rack,
                           .high_watermark = high_watermark,
                           .new_id = new_id,
                           .data = coordinator};
}
