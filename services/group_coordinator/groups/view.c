/* What operators see: lists of groups, and one group with everything. No state. */
#include <string.h>

#include "services/base/times.h"
#include "services/group_coordinator/groups/groups_internal.h"

/* ---- lists ---- */

static gboolean is_wanted(Milena__V1__GroupState state, const Milena__V1__GroupState *states, gsize count) {
  for (gsize i = 0; i < count; i++)
    if (states[i] == state)
      return TRUE;
  return count == 0;
}

static Milena__V1__GroupSummary *summary_new(const Group *group) {
  Milena__V1__GroupSummary *summary = g_new(Milena__V1__GroupSummary, 1);
  milena__v1__group_summary__init(summary);
  summary->group = g_strdup(group->name);
  summary->state = groups_state(group);
  summary->member_count = g_hash_table_size(group->members);
  summary->group_epoch = group->epoch;
  return summary;
}

void groups_list(Groups *groups, GroupsToken token, const char *after, guint limit,
                 const Milena__V1__GroupState *states, gsize state_count) {
  Milena__V1__ListGroupsResponse *response = g_new(Milena__V1__ListGroupsResponse, 1);
  milena__v1__list_groups_response__init(response);
  GPtrArray *summaries = g_ptr_array_new();
  limit = CLAMP(limit, 1, GROUPS_PAGE_MAX);
  GTreeNode *node = after ? g_tree_upper_bound(groups->by_name, after) : g_tree_node_first(groups->by_name);
  for (; node; node = g_tree_node_next(node)) {
    const Group *group = g_tree_node_value(node);
    if (!is_wanted(groups_state(group), states, state_count))
      continue;
    if (summaries->len == limit) {
      const Milena__V1__GroupSummary *last = summaries->pdata[limit - 1];
      response->next_page_token = g_strdup(last->group);
      break;
    }
    g_ptr_array_add(summaries, summary_new(group));
  }
  response->n_groups = summaries->len;
  response->groups = (Milena__V1__GroupSummary **)g_ptr_array_free(summaries, FALSE);
  groups_answer(groups, token, response);
}

/* ---- one group ---- */

static Milena__V1__GroupSubscription *subscription_message(const GroupsSubscription *subscription) {
  Milena__V1__GroupSubscription *message = g_new(Milena__V1__GroupSubscription, 1);
  milena__v1__group_subscription__init(message);
  message->topics = g_strdupv(subscription->names);
  message->n_topics = g_strv_length(subscription->names);
  if (subscription->pattern)
    message->topic_pattern = g_strdup(subscription->pattern->text);
  return message;
}

static Milena__V1__GroupMember *member_message(GroupsMember *member) {
  const Groups *groups = member->group->all;
  Milena__V1__GroupMember *message = g_new(Milena__V1__GroupMember, 1);
  milena__v1__group_member__init(message);
  message->member_id = g_strdup(member->id);
  message->instance_id = g_strdup(member->instance_id);
  message->client_id = g_strdup(member->client_id);
  message->client_address = g_strdup(member->client_address);
  message->rack = g_strdup(member->rack);
  message->member_epoch = member->epoch;
  message->subscription = subscription_message(member->subscription);
  g_autoptr(GArray) owned = groups_holds_parts(member->assigned);
  g_autoptr(GArray) revoking = groups_holds_parts(member->revoking);
  message->owned = groups_tell_parts(groups, owned, &message->n_owned);
  message->revoking = groups_tell_parts(groups, revoking, &message->n_revoking);
  message->target = groups_tell_parts(groups, member->target, &message->n_target);
  if (member->last_heartbeat_ms > 0) {
    message->last_heartbeat = g_new(Google__Protobuf__Timestamp, 1);
    google__protobuf__timestamp__init(message->last_heartbeat);
    times_timestamp_set(message->last_heartbeat, member->last_heartbeat_ms);
  }
  message->explanation = groups_describe_member(member);
  return message;
}

static Milena__V1__GroupPartition *partition_message(Group *group, GroupsPart part) {
  const GroupsKnownTopic *topic = groups_topic_number(group->all, groups_part_topic(part));
  INVARIANT(topic != NULL, "what a group reads or has committed has a topic");
  Milena__V1__GroupPartition *message = g_new(Milena__V1__GroupPartition, 1);
  milena__v1__group_partition__init(message);
  message->topic = g_strdup(topic->name);
  message->topic_id = g_strdup(topic->id);
  message->partition = groups_part_partition(part);
  const GroupsMember *owner = groups_part_table_get(group->owners, part);
  message->member_id = g_strdup(owner ? owner->id : "");
  message->committed = groups_offset_message(groups_part_table_get(group->offsets, part));
  return message;
}

static void add_keys(GArray *parts, GHashTable *table) {
  g_autoptr(GArray) keys = groups_part_table_keys(table);
  g_array_append_vals(parts, keys->data, keys->len);
}

static void fill_partitions(Group *group, Milena__V1__Group *message) {
  g_autoptr(GArray) parts = groups_parts_new();
  add_keys(parts, group->owners);
  add_keys(parts, group->wanted);
  add_keys(parts, group->offsets);
  groups_parts_sort(parts);
  groups_parts_sort_by_name(group->all, parts);
  message->partitions = g_new(Milena__V1__GroupPartition *, parts->len + 1);
  for (guint i = 0; i < parts->len; i++)
    message->partitions[message->n_partitions++] = partition_message(group, groups_parts_at(parts, i));
}

static Milena__V1__Group *group_message(Group *group) {
  Milena__V1__Group *message = g_new(Milena__V1__Group, 1);
  milena__v1__group__init(message);
  message->group = g_strdup(group->name);
  message->state = groups_state(group);
  message->group_epoch = group->epoch;
  message->assignment_epoch = group->assignment_epoch;
  message->config = groups_tell_settings(&group->settings);
  g_autoptr(GPtrArray) members = groups_members_sorted(group);
  message->members = g_new(Milena__V1__GroupMember *, members->len + 1);
  for (guint i = 0; i < members->len; i++)
    message->members[message->n_members++] = member_message(members->pdata[i]);
  fill_partitions(group, message);
  GPtrArray *sentences = groups_describe_group(group);
  message->n_explanation = sentences->len;
  message->explanation = (char **)g_ptr_array_free(sentences, FALSE);
  return message;
}

void groups_get(Groups *groups, GroupsToken token, const Milena__V1__GetGroupRequest *request) {
  Group *group = NULL;
  Failure *failure = groups_check_group(request->group);
  failure = failure ? failure : groups_find_or_refuse(groups, request->group, &group);
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  Milena__V1__GetGroupResponse *response = g_new(Milena__V1__GetGroupResponse, 1);
  milena__v1__get_group_response__init(response);
  response->group = group_message(group);
  groups_answer(groups, token, response);
}
