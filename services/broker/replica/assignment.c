/* See assignment.h. No state. */
#include "services/broker/replica/assignment.h"

#include "controller/metadata/view.h"

gboolean replica_assignment_is_of_the_past(const MetadataImage *image, guint64 broker_epoch) {
  return broker_epoch == 0 || metadata_image_version(image) < broker_epoch;
}

gboolean replica_assignment_may_lead(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch) {
  const MetadataBroker *self = metadata_image_broker(image, broker_id);
  return self && broker_epoch != 0 && self->epoch == broker_epoch && !self->fenced;
}

ReplicaAssignment replica_assignment_of(const MetadataTopic *topic, const MetadataPartition *metadata, gint32 broker_id,
                                        gboolean may_lead, gint64 now_ms) {
  gboolean led_here = metadata->leader_id == broker_id, others_count;
  (void)replica_assignment_counts(metadata, broker_id, &others_count);
  return (ReplicaAssignment){.broker_id = broker_id,
                             .leader_id = led_here && !may_lead ? -1 : metadata->leader_id,
                             .leader_epoch = metadata->leader_epoch,
                             .partition_epoch = metadata->partition_epoch,
                             .replicas = metadata->replicas,
                             .replica_count = metadata->replica_count,
                             .isr = metadata->isr,
                             .isr_count = metadata->isr_count,
                             .min_insync_replicas = metadata_topic_min_insync_replicas(topic),
                             .others_count = others_count,
                             .flush = metadata_topic_flush(topic),
                             .unsynced = metadata->unsynced,
                             .unsynced_count = metadata->unsynced_count,
                             .cuts_damage =
                                 metadata->damage_cut_epoch > 0 && metadata->damage_cut_epoch == metadata->leader_epoch,
                             .now_ms = now_ms};
}

static gboolean has(const gint32 *ids, guint count, gint32 id) {
  for (guint i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

gboolean replica_assignment_counts(const MetadataPartition *metadata, gint32 broker_id, gboolean *ret_others_count) {
  gboolean counts = has(metadata->isr, metadata->isr_count, broker_id) ||
                    has(metadata->eligible, metadata->eligible_count, broker_id);
  *ret_others_count = metadata->isr_count + metadata->eligible_count > (counts ? 1U : 0U);
  return counts;
}

gboolean replica_assignment_may_join(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch) {
  const MetadataBroker *broker = metadata_image_broker(image, broker_id);
  return broker && broker->epoch == broker_epoch && !broker->fenced && !broker->stopping;
}
