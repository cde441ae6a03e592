/* What members are told. Messages are the caller's. No state. */
#include <stdlib.h>
#include <string.h>

#include "services/base/times.h"
#include "services/group_coordinator/groups/groups_internal.h"

/* ---- partitions by the names of their topics ---- */

static int compare_by_name(gconstpointer a, gconstpointer b, gpointer data) {
  const Groups *groups = data;
  GroupsPart one = *(const GroupsPart *)a, other = *(const GroupsPart *)b;
  if (groups_part_topic(one) != groups_part_topic(other)) {
    const GroupsKnownTopic *one_topic = groups_topic_number(groups, groups_part_topic(one));
    const GroupsKnownTopic *other_topic = groups_topic_number(groups, groups_part_topic(other));
    int order = one_topic && other_topic ? strcmp(one_topic->name, other_topic->name) : 0;
    if (order)
      return order;
  }
  return one < other ? -1 : one > other;
}

void groups_parts_sort_by_name(const Groups *groups, GArray *parts) {
  g_array_sort_with_data(parts, compare_by_name, (gpointer)groups);
}

Milena__V1__TopicPartitions **groups_tell_parts(const Groups *groups, const GArray *parts, gsize *ret_count) {
  g_autoptr(GArray) sorted = groups_parts_copy(parts);
  groups_parts_sort_by_name(groups, sorted);
  GPtrArray *topics = g_ptr_array_new();
  Milena__V1__TopicPartitions *topic = NULL;
  guint32 last = 0;
  for (guint i = 0; i < sorted->len; i++) {
    GroupsPart part = groups_parts_at(sorted, i);
    const GroupsKnownTopic *known = groups_topic_number(groups, groups_part_topic(part));
    if (!known)
      continue;
    if (!topic || known->number != last) {
      topic = g_new(Milena__V1__TopicPartitions, 1);
      milena__v1__topic_partitions__init(topic);
      topic->topic = g_strdup(known->name);
      topic->topic_id = g_strdup(known->id);
      topic->partitions = g_new(gint32, sorted->len - i);
      g_ptr_array_add(topics, topic);
      last = known->number;
    }
    topic->partitions[topic->n_partitions++] = groups_part_partition(part);
  }
  *ret_count = topics->len;
  return (Milena__V1__TopicPartitions **)g_ptr_array_free(topics, FALSE);
}

/* ---- an assignment ---- */

static Milena__V1__AssignedPartition *assigned_partition(Group *group, GroupsPart part) {
  Milena__V1__AssignedPartition *partition = g_new(Milena__V1__AssignedPartition, 1);
  milena__v1__assigned_partition__init(partition);
  partition->partition = groups_part_partition(part);
  partition->committed = groups_offset_message(groups_part_table_get(group->offsets, part));
  return partition;
}

static Milena__V1__Assignment *assignment_new(GroupsMember *member) {
  Group *group = member->group;
  g_autoptr(GArray) parts = groups_holds_parts(member->assigned);
  groups_parts_sort_by_name(group->all, parts);
  Milena__V1__Assignment *assignment = g_new(Milena__V1__Assignment, 1);
  milena__v1__assignment__init(assignment);
  assignment->version = member->version;
  GPtrArray *topics = g_ptr_array_new();
  Milena__V1__AssignedTopic *topic = NULL;
  guint32 last = 0;
  for (guint i = 0; i < parts->len; i++) {
    GroupsPart part = groups_parts_at(parts, i);
    const GroupsKnownTopic *known = groups_topic_number(group->all, groups_part_topic(part));
    INVARIANT(known != NULL, "what is assigned has a topic");
    if (!topic || known->number != last) {
      topic = g_new(Milena__V1__AssignedTopic, 1);
      milena__v1__assigned_topic__init(topic);
      topic->topic = g_strdup(known->name);
      topic->topic_id = g_strdup(known->id);
      topic->partitions = g_new(Milena__V1__AssignedPartition *, parts->len - i);
      g_ptr_array_add(topics, topic);
      last = known->number;
    }
    topic->partitions[topic->n_partitions++] = assigned_partition(group, part);
  }
  assignment->n_topics = topics->len;
  assignment->topics = (Milena__V1__AssignedTopic **)g_ptr_array_free(topics, FALSE);
  return assignment;
}

Google__Protobuf__Duration *groups_tell_duration(gint64 ms) {
  Google__Protobuf__Duration *duration = g_new(Google__Protobuf__Duration, 1);
  google__protobuf__duration__init(duration);
  times_duration_set(duration, ms);
  return duration;
}

Milena__V1__HeartbeatResponse *groups_tell_member(GroupsMember *member, gboolean assignment) {
  Milena__V1__HeartbeatResponse *response = g_new(Milena__V1__HeartbeatResponse, 1);
  milena__v1__heartbeat_response__init(response);
  response->member_id = g_strdup(member->id);
  response->member_epoch = member->epoch;
  response->heartbeat_interval = groups_tell_duration(member->group->settings.heartbeat_interval_ms);
  response->session_timeout = groups_tell_duration(member->group->settings.session_timeout_ms);
  response->offset_reset = member->offset_reset;
  response->pending_partitions = groups_member_pending(member);
  if (assignment) {
    response->assignment = assignment_new(member);
    if (member->news)
      response->explanation = g_strdup_printf("It changed because %s.", member->news);
  }
  return response;
}
