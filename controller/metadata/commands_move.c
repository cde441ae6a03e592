/* Commands that move partitions between brokers. No state. */
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/records.h"
#include "controller/metadata/view.h"

/* ---- Reassign ---- */

/* A broker may get a replica that it does not have yet: it is up, and not on its way out. One that has it already may
 * stay in whatever state it is, so that a retry is what its first try was. */
static Failure *check_taker(const MetadataImage *image, const MetadataTopic *topic, const MetadataPartition *partition,
                            gint32 id) {
  const MetadataBroker *broker = metadata_image_broker(image, id);
  if (!broker)
    return metadata_unknown_broker(id);
  if (metadata_partition_has_replica(partition, id) || metadata_broker_standing(broker) == BROKER_READY)
    return NULL;
  return failure_new(FAILURE(NOT_ENOUGH_BROKERS),
                     "Partition %d of \"%s\" was to go to broker %d, which is %s: %s, or name another broker.",
                     partition->partition, topic->name, id,
                     broker->fenced     ? "fenced, as it does not answer"
                     : broker->drained  ? "drained for maintenance"
                     : broker->stopping ? "about to stop"
                                        : "low on disk space",
                     broker->fenced || broker->stopping ? "start it"
                     : broker->drained                  ? "undrain it"
                                                        : "free space there");
}

/* The brokers that shall hold a partition: different ones that can, and enough of them. */
static Failure *take_target(const MetadataImage *image, const MetadataTopic *topic, const MetadataPartition *partition,
                            const Milena__V1__PartitionReassignment *item, BrokerIds *ret_target) {
  guint32 least = metadata_topic_min_insync_replicas(topic);
  ret_target->count = 0;
  if (item->n_replicas < least || item->n_replicas > METADATA_REPLICATION_FACTOR_MAX)
    return metadata_invalid_field("reassignments.replicas", "min_insync_replicas to 16 brokers",
                                  "Partition %d of \"%s\" was to have %" G_GSIZE_FORMAT
                                  " replicas: it must have at least its min_insync_replicas, %u, and at most %d. Set "
                                  "min_insync_replicas lower first, if you mean it.",
                                  item->partition, topic->name, item->n_replicas, least,
                                  METADATA_REPLICATION_FACTOR_MAX);
  for (gsize i = 0; i < item->n_replicas; i++) {
    Failure *failure = check_taker(image, topic, partition, item->replicas[i]);
    if (failure)
      return failure;
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
    failure = take_target(view->image, topic, partition, item, &target);
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
  state.throttle_bytes = item->throttle_bytes_per_second;
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
  Failure *failure = metadata_command_follow_factors(image, made);
  if (!failure)
    g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  return failure;
}

/* ---- The replication factor ---- */

/* Any of the records may make a topic's factor follow. */
static gboolean may_change_factor(const MetadataImage *image, const GPtrArray *records) {
  for (guint i = 0; i < records->len; i++) {
    const MetadataRecord *record = records->pdata[i];
    if (record->record_case != MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_PARTITION ||
        record->partition->n_target_replicas > 0)
      continue;
    const MetadataTopic *topic = metadata_image_topic_by_id(image, record->partition->topic_id);
    if (topic && record->partition->n_replicas != topic->replication_factor)
      return TRUE;
  }
  return FALSE;
}

/* Each topic of the records, once. Returns a table of ids, borrowed from the records. */
static GHashTable *topics_of(const GPtrArray *records) {
  GHashTable *ids = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < records->len; i++) {
    const MetadataRecord *record = records->pdata[i];
    if (record->record_case == MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_PARTITION)
      g_hash_table_add(ids, record->partition->topic_id);
  }
  return ids;
}

Failure *metadata_command_follow_factors(const MetadataImage *image, GPtrArray *records) {
  if (!may_change_factor(image, records))
    return NULL;
  g_autoptr(MetadataImage) after = NULL;
  Failure *failure = metadata_image_apply(image, (MetadataRecord **)records->pdata, records->len,
                                          metadata_image_version(image) + 1, &after);
  if (failure)
    return failure;
  g_autoptr(GHashTable) ids = topics_of(records);
  g_autoptr(GPtrArray) more = metadata_records_new();
  GHashTableIter iter;
  g_hash_table_iter_init(&iter, ids);
  for (gpointer id; g_hash_table_iter_next(&iter, &id, NULL);) {
    const MetadataTopic *before = metadata_image_topic_by_id(image, id);
    const MetadataTopic *topic = metadata_image_topic_by_id(after, id);
    if (before && topic && before->replication_factor != topic->replication_factor)
      metadata_apply_config(after, topic, topic->config, more);
  }
  g_ptr_array_extend_and_steal(records, g_steal_pointer(&more));
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
  Failure *failure = metadata_check_once("partitions", numbers, n);
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
  if (!failure)
    failure = metadata_command_follow_factors(image, made);
  if (failure)
    return failure;
  g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  *ret_count = count;
  return NULL;
}
