/* Commands on partitions: who is in sync, who leads. No state.
 *
 * partition_rules.c knows the rules; here requests are checked against an image, and changed states become records. */
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/records.h"
#include "controller/metadata/view.h"

/* ---- What the commands share ---- */

BrokerStanding metadata_broker_standing(const MetadataBroker *broker) {
  if (!broker || broker->fenced)
    return BROKER_GONE;
  return broker->drained || broker->stopping || broker->disk_low ? BROKER_YIELDS : BROKER_READY;
}

gboolean metadata_broker_takes_replicas(const MetadataBroker *broker) {
  return broker && !broker->fenced && !broker->drained && !broker->stopping;
}

static BrokerStanding standing(gint32 broker_id, gpointer data) {
  const StandingView *view = data;
  if (broker_id == view->broker_id)
    return view->broker_standing;
  return metadata_broker_standing(metadata_image_broker(view->image, broker_id));
}

PartitionRules metadata_rules(const StandingView *view, const MetadataTopic *topic) {
  return (PartitionRules){
      .standing = standing,
      .data = (gpointer)view,
      .min_in_sync = metadata_topic_min_insync_replicas(topic),
      .unclean = topic->config->unclean_leader_election,
  };
}

void metadata_put_partition(const PartitionState *state, const MetadataPartition *partition, GPtrArray *records) {
  if (partition_state_changed(state, partition))
    g_ptr_array_add(records, partition_state_record(state, partition));
}

void metadata_change_partitions_of(const StandingView *view, gint32 broker_id,
                                   void (*change)(PartitionState *state, const PartitionRules *rules,
                                                  const MetadataTopic *topic, const MetadataPartition *partition,
                                                  gpointer data),
                                   gpointer data, GPtrArray *records) {
  MetadataIter iter;
  metadata_iter_topics(&iter, view->image, NULL);
  for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));) {
    PartitionRules rules = metadata_rules(view, topic);
    for (guint i = 0; i < topic->partition_count; i++) {
      const MetadataPartition *partition = topic->partitions[i];
      if (!metadata_partition_has_replica(partition, broker_id))
        continue;
      PartitionState state;
      partition_state_load(&state, partition);
      change(&state, &rules, topic, partition, data);
      metadata_put_partition(&state, partition, records);
    }
  }
}

Failure *metadata_stale_epoch(const char *kind, gint32 id, guint64 expected, guint64 actual) {
  Failure *failure = failure_new(FAILURE(FENCED),
                                 "The registration of %s %d has the epoch %" G_GUINT64_FORMAT ", not %" G_GUINT64_FORMAT
                                 ": another process took the id over. Register again.",
                                 kind, id, actual, expected);
  failure_add(failure, "expected", "%" G_GUINT64_FORMAT, expected);
  return failure_add(failure, "actual", "%" G_GUINT64_FORMAT, actual);
}

Failure *metadata_unknown_broker(gint32 id) {
  char name[16];
  g_snprintf(name, sizeof name, "%d", id);
  return failure_set_resource(failure_new(FAILURE(UNKNOWN_BROKER), "No broker with the id %d ever registered.", id),
                              "broker", name);
}

Failure *metadata_find_partition(const MetadataTopic *topic, gint32 number, const MetadataPartition **ret_partition) {
  *ret_partition = metadata_topic_partition(topic, number);
  if (*ret_partition)
    return NULL;
  g_autofree char *name = g_strdup_printf("%s/%d", topic->name, number);
  return failure_set_resource(failure_new(FAILURE(UNKNOWN_PARTITION),
                                          "The topic \"%s\" has the partitions 0 to %u, and no %d.", topic->name,
                                          topic->partition_count - 1, number),
                              "partition", name);
}

Failure *metadata_check_once(const char *path, const gint32 *numbers, gsize count) {
  g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
  for (gsize i = 0; i < count; i++)
    if (!g_hash_table_add(seen, GINT_TO_POINTER(numbers[i])))
      return metadata_invalid_field(path, "each partition at most once", "Partition %d stands in the request twice.",
                                    numbers[i]);
  return NULL;
}

/* ---- Who is in sync ---- */

static Failure *fenced(const char *what, guint64 expected, guint64 actual) {
  Failure *failure = failure_new(FAILURE(FENCED),
                                 "The proposal of who is in sync is out of date: its %s is %" G_GUINT64_FORMAT
                                 ", and now it is %" G_GUINT64_FORMAT ". Look at the metadata and propose again.",
                                 what, expected, actual);
  failure_add(failure, "expected", "%" G_GUINT64_FORMAT, expected);
  return failure_add(failure, "actual", "%" G_GUINT64_FORMAT, actual);
}

static Failure *check_proposal(const MetadataPartition *partition, gint32 broker_id,
                               const Milena__Internal__V1__InSyncProposal *proposal) {
  if (partition->leader_id != broker_id)
    return failure_new(FAILURE(FENCED),
                       "Broker %d proposes who is in sync in a partition that broker %d leads: only the leader does.",
                       broker_id, partition->leader_id);
  if (partition->leader_epoch != proposal->leader_epoch)
    return fenced("leader epoch", (guint64)proposal->leader_epoch, (guint64)partition->leader_epoch);
  if (partition->partition_epoch != proposal->partition_epoch)
    return fenced("partition epoch", proposal->partition_epoch, partition->partition_epoch);
  return NULL;
}

/* One member: a replica, and if it is new, of the registration that the leader heard (rules 6 and 8). */
static Failure *check_member(const MetadataImage *image, const MetadataPartition *partition,
                             const Milena__Internal__V1__InSyncMember *member) {
  if (!metadata_partition_has_replica(partition, member->broker_id))
    return metadata_invalid_field("members", "replicas of the partition", "Broker %d is no replica of the partition.",
                                  member->broker_id);
  for (guint i = 0; i < partition->isr_count; i++)
    if (partition->isr[i] == member->broker_id)
      return NULL;
  const MetadataBroker *broker = metadata_image_broker(image, member->broker_id);
  if (!broker || broker->epoch != member->broker_epoch)
    return failure_new(FAILURE(INELIGIBLE_REPLICA),
                       "Broker %d has registered anew since it was heard: it can't be in sync by what was before.",
                       member->broker_id);
  if (broker->fenced || broker->stopping)
    return failure_new(FAILURE(INELIGIBLE_REPLICA), "Broker %d is %s: it can't be in sync now. Propose it again later.",
                       broker->id, broker->fenced ? "fenced" : "about to stop");
  return NULL;
}

static Failure *take_members(const MetadataImage *image, const MetadataPartition *partition, gint32 leader_id,
                             const Milena__Internal__V1__InSyncProposal *proposal, BrokerIds *ret_ids,
                             BrokerIds *ret_synced) {
  ret_ids->count = ret_synced->count = 0;
  if (proposal->n_members > partition->replica_count)
    return metadata_invalid_field("members", "each replica at most once", "More members than replicas were proposed.");
  for (gsize i = 0; i < proposal->n_members; i++) {
    Failure *failure = check_member(image, partition, proposal->members[i]);
    if (failure)
      return failure;
    broker_ids_add(ret_ids, proposal->members[i]->broker_id);
    if (proposal->members[i]->synced)
      broker_ids_add(ret_synced, proposal->members[i]->broker_id);
  }
  if (ret_ids->count != proposal->n_members || !broker_ids_has(ret_ids, leader_id))
    return metadata_invalid_field("members", "the leader among them, each once",
                                  "Those in sync must be different replicas, and the leader among them.");
  return NULL;
}

/* A member that is refused now, for it is fenced, may be fine a moment later; and a copy of the same call, sent when
 * there was no answer to it, may arrive by then. The leader that was told "refused" waits for that member no more, so
 * the copy must never be accepted: the partition's epoch moves on, and the copy is out of date (rule 7). */
static void settle_refused(const MetadataPartition *partition, GPtrArray *records) {
  PartitionState state;
  partition_state_load(&state, partition);
  g_ptr_array_add(records, partition_state_record(&state, partition));
}

static Failure *check_registration(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch) {
  const MetadataBroker *broker = metadata_image_broker(image, broker_id);
  if (broker && broker->epoch == broker_epoch)
    return NULL;
  return metadata_stale_epoch("broker", broker_id, broker_epoch, broker ? broker->epoch : 0);
}

Failure *metadata_command_alter_in_sync(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch,
                                        const Milena__Internal__V1__InSyncProposal *proposal, GPtrArray *records) {
  Failure *failure = check_registration(image, broker_id, broker_epoch);
  const MetadataTopic *topic = NULL;
  const MetadataPartition *partition = NULL;
  if (!failure)
    failure = metadata_image_find_topic(image, NULL, proposal->topic_id, &topic);
  if (!failure)
    failure = metadata_find_partition(topic, proposal->partition, &partition);
  if (!failure)
    failure = check_proposal(partition, broker_id, proposal);
  BrokerIds members, synced;
  if (!failure)
    failure = take_members(image, partition, broker_id, proposal, &members, &synced);
  if (failure && failure_reason(failure) == FAILURE(INELIGIBLE_REPLICA))
    settle_refused(partition, records);
  if (failure)
    return failure;
  StandingView view = {image, -1, BROKER_GONE};
  PartitionRules rules = metadata_rules(&view, topic);
  PartitionState state;
  partition_state_load(&state, partition);
  partition_set_in_sync(&state, &rules, &members, &synced);
  metadata_put_partition(&state, partition, records);
  return NULL;
}

Failure *metadata_command_alter_all_in_sync(const MetadataImage *image,
                                            const Milena__Internal__V1__AlterInSyncRequest *request, GPtrArray *records,
                                            Failure **ret_refusals) {
  g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
  for (gsize i = 0; i < request->n_proposals; i++) {
    const Milena__Internal__V1__InSyncProposal *proposal = request->proposals[i];
    const MetadataTopic *topic = metadata_image_topic_by_id(image, proposal->topic_id);
    const MetadataPartition *partition = topic ? metadata_topic_partition(topic, proposal->partition) : NULL;
    if (partition && !g_hash_table_add(seen, (gpointer)partition))
      ret_refusals[i] = failure_new(FAILURE(INVALID_FIELD), "A partition was proposed twice in one request.");
    else
      ret_refusals[i] =
          metadata_command_alter_in_sync(image, request->broker_id, request->broker_epoch, proposal, records);
  }
  return metadata_command_follow_factors(image, records);
}

Failure *metadata_command_report_damage(const MetadataImage *image,
                                        const Milena__Internal__V1__ReportDamageRequest *request, GPtrArray *records) {
  Failure *failure = check_registration(image, request->broker_id, request->broker_epoch);
  if (failure)
    return failure;
  StandingView view = {image, -1, BROKER_GONE};
  for (gsize i = 0; i < request->n_replicas; i++) {
    const MetadataTopic *topic = metadata_image_topic_by_id(image, request->replicas[i]->topic_id);
    const MetadataPartition *partition =
        topic ? metadata_topic_partition(topic, request->replicas[i]->partition) : NULL;
    if (!partition)
      continue;
    PartitionRules rules = metadata_rules(&view, topic);
    PartitionState state;
    partition_state_load(&state, partition);
    partition_lose_replica(&state, &rules, request->broker_id, FALSE);
    metadata_put_partition(&state, partition, records);
  }
  return NULL;
}

/* ---- Who leads ---- */

static void elect_one(const StandingView *view, const MetadataTopic *topic, const MetadataPartition *partition,
                      Milena__V1__ElectionType type, GPtrArray *records) {
  PartitionRules rules = metadata_rules(view, topic);
  PartitionState state;
  partition_state_load(&state, partition);
  if (type == MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN)
    partition_elect_unclean(&state, &rules);
  else if (type == MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN_CUTTING_DAMAGE)
    partition_elect_cutting(&state, &rules);
  else
    partition_elect_preferred(&state, &rules);
  metadata_put_partition(&state, partition, records);
}

static Failure *elect_topic(const StandingView *view, const MetadataTopic *topic, const gint32 *numbers, gsize count,
                            Milena__V1__ElectionType type, GPtrArray *records) {
  if (count == 0)
    for (guint i = 0; i < topic->partition_count; i++)
      elect_one(view, topic, topic->partitions[i], type, records);
  for (gsize i = 0; i < count; i++) {
    const MetadataPartition *partition = NULL;
    Failure *failure = metadata_find_partition(topic, numbers[i], &partition);
    if (failure)
      return failure;
    elect_one(view, topic, partition, type, records);
  }
  return NULL;
}

static Failure *check_election(const Milena__V1__ElectLeadersRequest *request) {
  gboolean cutting = request->type == MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN_CUTTING_DAMAGE;
  gboolean unclean = cutting || request->type == MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN;
  if (!unclean && request->type != MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_PREFERRED)
    return metadata_invalid_field("type", "PREFERRED, UNCLEAN or UNCLEAN_CUTTING_DAMAGE",
                                  "Say how to elect: preferred leaders, unclean, or unclean and cutting damage.");
  if (!*request->topic && (unclean || request->n_partitions))
    return metadata_invalid_field("topic", "a topic's name", "Name the topic: %s.",
                                  unclean ? "unclean elections lose records, so they are asked "
                                            "for topic by topic"
                                          : "partitions were given without one");
  if (cutting && request->n_partitions == 0)
    return metadata_invalid_field(
        "partitions", "at least one partition",
        "Name the partitions whose leaders are to cut damage out of their logs: what they cut "
        "is lost, so it is asked for one by one.");
  return NULL;
}

Failure *metadata_command_elect_leaders(const MetadataImage *image, const Milena__V1__ElectLeadersRequest *request,
                                        GPtrArray *records) {
  Failure *failure = check_election(request);
  if (failure)
    return failure;
  StandingView view = {image, -1, BROKER_GONE};
  if (!*request->topic) {
    metadata_command_balance_leaders(image, G_MAXUINT, records);
    return NULL;
  }
  const MetadataTopic *topic = NULL;
  failure = metadata_check_once("partitions", request->partitions, request->n_partitions);
  if (!failure)
    failure = metadata_image_find_topic(image, request->topic, NULL, &topic);
  g_autoptr(GPtrArray) made = metadata_records_new();
  if (!failure)
    failure = elect_topic(&view, topic, request->partitions, request->n_partitions, request->type, made);
  if (!failure)
    g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  return failure;
}

gboolean metadata_cuts_damage(const MetadataRecord *record) {
  return record->record_case == MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_PARTITION &&
         record->partition->leader_id >= 0 && record->partition->damage_cut_epoch > 0 &&
         record->partition->damage_cut_epoch == record->partition->leader_epoch;
}

gboolean metadata_is_unclean(const MetadataImage *before, const MetadataRecord *record) {
  if (record->record_case != MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_PARTITION)
    return FALSE;
  const Milena__Internal__V1__PartitionRecord *now = record->partition;
  const MetadataTopic *topic = metadata_image_topic_by_id(before, now->topic_id);
  const MetadataPartition *partition = topic ? metadata_topic_partition(topic, now->partition) : NULL;
  return partition && now->leader_id >= 0 &&
         (now->unclean_epoch != partition->unclean_epoch || now->damage_cut_epoch != partition->damage_cut_epoch);
}

void metadata_command_balance_leaders(const MetadataImage *image, guint count_max, GPtrArray *records) {
  StandingView view = {image, -1, BROKER_GONE};
  guint before = records->len;
  MetadataIter iter;
  metadata_iter_topics(&iter, image, NULL);
  for (const MetadataTopic *topic; records->len - before < count_max && (topic = metadata_iter_next_topic(&iter));)
    for (guint i = 0; i < topic->partition_count && records->len - before < count_max; i++)
      elect_one(&view, topic, topic->partitions[i], MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_PREFERRED, records);
}
