/* Committed offsets: kept, told, forgotten.
 *
 * A member commits what it may read, with an epoch that is not older than its hold on the partition: so nobody commits
 * for a partition that another one has, nor what it read before it gave the partition up and got it back. Without
 * members anybody may. Owner: the host's loop. */
#include <string.h>

#include "services/base/times.h"
#include "services/group_coordinator/groups/groups_internal.h"

void groups_offset_free(gpointer data) {
  GroupsOffset *offset = data;
  g_free(offset->topic);
  g_free(offset->metadata);
  g_free(offset);
}

void groups_offset_put(Group *group, const GroupsKnownTopic *topic, gint32 partition, const GroupsOffset *offset) {
  GroupsOffset *kept = g_new(GroupsOffset, 1);
  *kept = *offset;
  kept->topic = g_strdup(topic->name);
  kept->metadata = g_strdup(offset->metadata);
  groups_part_table_set(group->offsets, groups_part(topic->number, partition), kept);
  group->last_commit_ms = MAX(group->last_commit_ms, offset->commit_ms);
  Milena__Internal__V1__GroupOffsetValue value = MILENA__INTERNAL__V1__GROUP_OFFSET_VALUE__INIT;
  value.format = 1;
  value.topic = kept->topic;
  value.offset = kept->offset;
  value.leader_epoch = kept->leader_epoch;
  value.metadata = kept->metadata;
  value.commit_time_ms = kept->commit_ms;
  groups_append(group->all, GROUPS_RECORD_OFFSET, group, topic->id, partition, &value.base);
}

void groups_offset_delete(Group *group, GroupsPart part) {
  const GroupsKnownTopic *topic = groups_topic_number(group->all, groups_part_topic(part));
  INVARIANT(topic != NULL, "what is committed has a topic");
  groups_part_table_set(group->offsets, part, NULL);
  groups_append(group->all, GROUPS_RECORD_OFFSET, group, topic->id, groups_part_partition(part), NULL);
}

Milena__V1__CommittedOffset *groups_offset_message(const GroupsOffset *offset) {
  if (!offset)
    return NULL;
  Milena__V1__CommittedOffset *message = g_new(Milena__V1__CommittedOffset, 1);
  milena__v1__committed_offset__init(message);
  message->offset = offset->offset;
  message->leader_epoch = offset->leader_epoch;
  message->metadata = g_strdup(offset->metadata);
  message->commit_time = g_new(Google__Protobuf__Timestamp, 1);
  google__protobuf__timestamp__init(message->commit_time);
  times_timestamp_set(message->commit_time, offset->commit_ms);
  return message;
}

/* ---- commits ---- */

static Failure *bad_field(const char *field, const char *why) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", why), field, why);
}

static Failure *check_values(const Milena__V1__OffsetCommit *commit) {
  if (commit->offset < 0)
    return bad_field("offset", "A committed offset is 0 or more: that of the next record to read.");
  if (commit->leader_epoch_presence_case == MILENA__V1__OFFSET_COMMIT__LEADER_EPOCH_PRESENCE_LEADER_EPOCH &&
      commit->leader_epoch < -1)
    return bad_field("leader_epoch", "A leader epoch is 0 or more, or -1 when it is not known.");
  if (strlen(commit->metadata) > GROUPS_METADATA_BYTES_MAX)
    return bad_field("metadata", "The metadata of a committed offset has at most 4,096 bytes.");
  return NULL;
}

static Failure *find_partition(Groups *groups, const Milena__V1__OffsetCommit *commit, GroupsKnownTopic **ret_topic) {
  GroupsKnownTopic *topic;
  Failure *failure = groups_topic_pinned(groups, commit->topic, commit->topic_id, &topic);
  if (failure)
    return failure;
  failure = groups_check_partition(topic, commit->partition);
  if (failure)
    return failure;
  *ret_topic = topic;
  return NULL;
}

static Failure *check_end(const Groups *groups, const GroupsKnownTopic *topic, const Milena__V1__OffsetCommit *commit) {
  gint64 end;
  const GroupsHost *host = &groups->host;
  if (!host->high_watermark || !host->high_watermark(topic->id, commit->partition, &end, host->data) ||
      commit->offset <= end)
    return NULL;
  Failure *failure = failure_new(FAILURE(OFFSET_OUT_OF_RANGE),
                                 "The offset %" G_GINT64_FORMAT
                                 " is beyond the end of \"%s\" partition %d, which is %" G_GINT64_FORMAT ".",
                                 commit->offset, topic->name, commit->partition, end);
  return failure_add(failure, "latest", "%" G_GINT64_FORMAT, end);
}

static Failure *fenced(const GroupsMember *member, guint32 epoch) {
  Failure *failure = failure_new(FAILURE(FENCED),
                                 "The member \"%s\" of the group \"%s\" has epoch %u, and committed with %u: read on "
                                 "from what its next heartbeat tells.",
                                 member->id, member->group->name, member->epoch, epoch);
  failure_add(failure, "expected", "%u", member->epoch);
  return failure_add(failure, "actual", "%u", epoch);
}

static Failure *check_hold(const GroupsMember *member, guint32 epoch, const GroupsKnownTopic *topic, gint32 partition) {
  GroupsPart part = groups_part(topic->number, partition);
  const GroupsHold *hold = groups_holds_find(member->assigned, part);
  hold = hold ? hold : groups_holds_find(member->revoking, part);
  if (!hold)
    return failure_new(FAILURE(NOT_ASSIGNED),
                       "The partition %d of \"%s\" is not assigned to the member \"%s\" of the group \"%s\".",
                       partition, topic->name, member->id, member->group->name);
  return epoch < hold->since ? fenced(member, epoch) : NULL;
}

static Failure *commit_one(Groups *groups, Group *group, const GroupsMember *member, guint32 epoch,
                           const Milena__V1__OffsetCommit *commit, GroupsKnownTopic **ret_topic) {
  GroupsKnownTopic *topic = NULL;
  Failure *failure = check_values(commit);
  failure = failure ? failure : find_partition(groups, commit, &topic);
  if (!failure)
    *ret_topic = topic;
  if (!failure && member)
    failure = check_hold(member, epoch, topic, commit->partition);
  failure = failure ? failure : check_end(groups, topic, commit);
  if (failure)
    return failure;
  gboolean has_epoch =
      commit->leader_epoch_presence_case == MILENA__V1__OFFSET_COMMIT__LEADER_EPOCH_PRESENCE_LEADER_EPOCH;
  GroupsOffset offset = {
      .offset = commit->offset,
      .leader_epoch = has_epoch ? commit->leader_epoch : -1,
      .metadata = commit->metadata,
      .commit_ms = groups->time.wall_ms,
  };
  groups_offset_put(group, topic, commit->partition, &offset);
  return NULL;
}

/* @failure: taken, may be NULL */
static Milena__V1__PartitionResult *result_new(const char *topic, const char *topic_id, gint32 partition,
                                               Failure *failure) {
  Milena__V1__PartitionResult *result = g_new(Milena__V1__PartitionResult, 1);
  milena__v1__partition_result__init(result);
  result->topic = g_strdup(topic);
  result->topic_id = g_strdup(topic_id);
  result->partition = partition;
  if (failure)
    result->status = failure_to_status(failure);
  failure_free(failure);
  return result;
}

static Failure *find_committer(const Group *group, const Milena__V1__CommitOffsetsRequest *request,
                               GroupsMember **ret_member) {
  if (!*request->member_id) {
    if (!group || g_hash_table_size(group->members) == 0)
      return NULL;
    return failure_new(FAILURE(GROUP_IN_USE),
                       "The group \"%s\" has members: only they commit, each what it reads. Stop them first.",
                       request->group);
  }
  GroupsMember *member = group ? groups_member_find(group, request->member_id) : NULL;
  if (!member || member->away)
    return groups_unknown_member(request->group, request->member_id);
  if (request->member_epoch > member->epoch)
    return fenced(member, request->member_epoch);
  *ret_member = member;
  return NULL;
}

static Failure *check_commit(const Milena__V1__CommitOffsetsRequest *request) {
  Failure *failure = groups_check_group(request->group);
  failure = failure ? failure : groups_check_name("member_id", request->member_id, FALSE);
  if (!failure && request->n_offsets == 0)
    failure = bad_field("offsets", "A commit has at least one offset.");
  if (!failure && request->n_offsets > GROUPS_COMMIT_OFFSETS_MAX)
    failure = bad_field("offsets", "A commit has at most 10,000 offsets.");
  return failure;
}

/* Each offset by itself; a stale epoch that all of them have is the call's. */
static Failure *commit_all(Groups *groups, Group *group, const GroupsMember *member,
                           const Milena__V1__CommitOffsetsRequest *request,
                           Milena__V1__CommitOffsetsResponse *response) {
  gsize stale = 0;
  response->results = g_new0(Milena__V1__PartitionResult *, request->n_offsets);
  for (gsize i = 0; i < request->n_offsets; i++) {
    const Milena__V1__OffsetCommit *commit = request->offsets[i];
    GroupsKnownTopic *topic = NULL;
    Failure *failure = commit_one(groups, group, member, request->member_epoch, commit, &topic);
    stale += failure && failure_reason(failure) == FAILURE(FENCED);
    response->results[response->n_results++] =
        result_new(commit->topic, topic ? topic->id : commit->topic_id, commit->partition, failure);
  }
  return member && stale == request->n_offsets ? fenced(member, request->member_epoch) : NULL;
}

void groups_commit(Groups *groups, GroupsToken token, const Milena__V1__CommitOffsetsRequest *request,
                   GroupsTime time) {
  groups->time = time;
  GroupsMember *member = NULL;
  Group *group = NULL;
  Failure *failure = check_commit(request);
  if (!failure) {
    group = groups_find(groups, request->group);
    failure = find_committer(group, request, &member);
  }
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  gboolean is_new = group == NULL;
  group = groups_ensure(groups, request->group);
  Milena__V1__CommitOffsetsResponse *response = g_new(Milena__V1__CommitOffsetsResponse, 1);
  milena__v1__commit_offsets_response__init(response);
  failure = commit_all(groups, group, member, request, response);
  if (g_hash_table_size(group->members) == 0) {
    if (is_new && g_hash_table_size(group->offsets) == 0)
      groups_drop(group);
    else
      groups_expiry_arm(group);
  }
  if (failure) {
    milena__v1__commit_offsets_response__free_unpacked(response, NULL);
    groups_refuse(groups, token, failure);
  } else {
    groups_answer(groups, token, response);
  }
}

/* ---- deleting ---- */

static Failure *delete_one(Group *group, GroupsPart part, const char *topic) {
  GroupsMember *reader = groups_part_table_get(group->owners, part);
  reader = reader ? reader : groups_part_table_get(group->wanted, part);
  if (reader)
    return failure_new(FAILURE(GROUP_IN_USE),
                       "The member \"%s\" of the group \"%s\" reads \"%s\" partition %d: its offset can't be forgotten "
                       "now.",
                       reader->id, group->name, topic, groups_part_partition(part));
  if (groups_part_table_get(group->offsets, part))
    groups_offset_delete(group, part);
  return NULL;
}

void groups_delete_offsets(Groups *groups, GroupsToken token, const Milena__V1__DeleteOffsetsRequest *request,
                           GroupsTime time) {
  groups->time = time;
  g_autoptr(GArray) parts = groups_parts_new();
  Group *group = NULL;
  Failure *failure = groups_check_group(request->group);
  if (!failure && request->n_topics == 0)
    failure = bad_field("topics", "Say of which topics the offsets shall be forgotten.");
  failure = failure ? failure : groups_find_or_refuse(groups, request->group, &group);
  failure = failure ? failure : groups_offset_select(groups, group, request->topics, request->n_topics, parts);
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  Milena__V1__DeleteOffsetsResponse *response = g_new(Milena__V1__DeleteOffsetsResponse, 1);
  milena__v1__delete_offsets_response__init(response);
  response->results = g_new0(Milena__V1__PartitionResult *, parts->len);
  for (guint i = 0; i < parts->len; i++) {
    GroupsPart part = groups_parts_at(parts, i);
    const GroupsKnownTopic *topic = groups_topic_number(groups, groups_part_topic(part));
    response->results[response->n_results++] =
        result_new(topic->name, topic->id, groups_part_partition(part), delete_one(group, part, topic->name));
  }
  groups_answer(groups, token, response);
}
