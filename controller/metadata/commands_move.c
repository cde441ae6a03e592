/* Commands that move partitions between brokers. No state. */
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/records.h"
#include "controller/metadata/view.h"

/* ---- Reassign ---- */

/* The brokers that shall hold a partition: different ones, registered, and enough of them. */
static Failure *take_target(const MetadataImage *image, const MetadataTopic *topic,
                            const Milena__V1__PartitionReassignment *item, BrokerIds *ret_target) {
  guint32 least = metadata_topic_min_insync_replicas(topic);
  ret_target->count = 0;
  if (item->n_replicas < least || item->n_replicas > METADATA_REPLICATION_FACTOR_MAX)
    return metadata_invalid_field("reassignments.replicas", "min_insync_replicas to 16 brokers",
                                  "Partition %d of \"%s\" was to have %" G_GSIZE_FORMAT
                                  " replicas: it must have at least its min_insync_replicas, %u, and at most %d.",
                                  item->partition, topic->name, item->n_replicas, least,
                                  METADATA_REPLICATION_FACTOR_MAX);
  for (gsize i = 0; i < item->n_replicas; i++) {
    if (!metadata_image_broker(image, item->replicas[i]))
      return metadata_unknown_broker(item->replicas[i]);
    broker_ids_add(ret_target, item->replicas[i]);
  }
  if (ret_target->count != item->n_replicas)
    return metadata_invalid_field("reassignments.replicas", "different brokers",
                                  "Partition %d of \"%s\" was to have two replicas on one broker.", item->partition,
                                  topic->name);
  return NULL;
}

static Failure *nothing_remains(const MetadataTopic *topic, gint32 partition) {
  return failure_new(
      FAILURE(NOT_ENOUGH_REPLICAS),
      "Partition %d of \"%s\" would be left without a replica that has its committed records. Wait until "
      "more of its replicas are in sync, then try again.",
      partition, topic->name);
}

static Failure *reassign_one(const StandingView *view, const Milena__V1__PartitionReassignment *item, GHashTable *seen,
                             GPtrArray *records) {
  const MetadataTopic *topic = NULL;
  const MetadataPartition *partition = NULL;
  Failure *failure = metadata_image_find_topic(view->image, item->topic, item->topic_id, &topic);
  if (!failure)
    failure = metadata_find_partition(topic, item->partition, &partition);
  BrokerIds target;
  if (!failure)
    failure = take_target(view->image, topic, item, &target);
  if (failure)
    return failure;
  if (!g_hash_table_add(seen, (gpointer)partition))
    return metadata_invalid_field("reassignments", "each partition at most once",
                                  "Partition %d of \"%s\" stands in the request twice.", item->partition, topic->name);
  PartitionRules rules = metadata_rules(view, topic);
  PartitionState state;
  partition_state_load(&state, partition);
  if (!partition_reassign(&state, &rules, &target, NULL))
    return nothing_remains(topic, item->partition);
  metadata_put_partition(&state, partition, records);
  return NULL;
}

Failure *metadata_command_reassign_partitions(const MetadataImage *image,
                                              const Milena__V1__ReassignPartitionsRequest *request,
                                              GPtrArray *records) {
  StandingView view = {image, -1, BROKER_GONE};
  g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
  g_autoptr(GPtrArray) made = metadata_records_new();
  if (request->n_reassignments == 0 || request->n_reassignments > METADATA_PARTITIONS_MAX)
    return metadata_invalid_field("reassignments", "1 to 10,000",
                                  "A request moves 1 to %d partitions, and %" G_GSIZE_FORMAT " were given.",
                                  METADATA_PARTITIONS_MAX, request->n_reassignments);
  for (gsize i = 0; i < request->n_reassignments; i++) {
    Failure *failure = reassign_one(&view, request->reassignments[i], seen, made);
    if (failure)
      return failure;
  }
  g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  return NULL;
}

/* ---- Cancel ---- */

static Failure *cancel_one(const StandingView *view, const MetadataTopic *topic, const MetadataPartition *partition,
                           GPtrArray *records, guint *count) {
  if (partition->target_count == 0)
    return NULL;
  PartitionRules rules = metadata_rules(view, topic);
  PartitionState state;
  partition_state_load(&state, partition);
  if (!partition_cancel_reassignment(&state, &rules, NULL))
    return nothing_remains(topic, partition->partition);
  metadata_put_partition(&state, partition, records);
  (*count)++;
  return NULL;
}

static Failure *cancel_topic(const StandingView *view, const MetadataTopic *topic, const gint32 *numbers, gsize n,
                             GPtrArray *records, guint *count) {
  Failure *failure = NULL;
  if (n == 0)
    for (guint i = 0; i < topic->partition_count && !failure; i++)
      failure = cancel_one(view, topic, topic->partitions[i], records, count);
  for (gsize i = 0; i < n && !failure; i++) {
    const MetadataPartition *partition = NULL;
    failure = metadata_find_partition(topic, numbers[i], &partition);
    if (!failure)
      failure = cancel_one(view, topic, partition, records, count);
  }
  return failure;
}

Failure *metadata_command_cancel_reassignments(const MetadataImage *image,
                                               const Milena__V1__CancelReassignmentsRequest *request,
                                               GPtrArray *records, guint *ret_count) {
  StandingView view = {image, -1, BROKER_GONE};
  g_autoptr(GPtrArray) made = metadata_records_new();
  guint count = 0;
  Failure *failure = NULL;
  if (*request->topic) {
    const MetadataTopic *topic = NULL;
    failure = metadata_image_find_topic(image, request->topic, NULL, &topic);
    if (!failure)
      failure = cancel_topic(&view, topic, request->partitions, request->n_partitions, made, &count);
  } else if (request->n_partitions > 0) {
    failure = metadata_invalid_field("topic", "a topic's name", "Partitions were given without their topic: name it.");
  } else {
    MetadataIter iter;
    metadata_iter_topics(&iter, image, NULL);
    for (const MetadataTopic *topic; !failure && (topic = metadata_iter_next_topic(&iter));)
      failure = cancel_topic(&view, topic, NULL, 0, made, &count);
  }
  if (failure)
    return failure;
  g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  *ret_count = count;
  return NULL;
}
