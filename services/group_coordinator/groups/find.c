/* Finding what requests name, or refusing: groups, members, topics and partitions. No state. */
#include <string.h>

#include "services/group_coordinator/groups/groups_internal.h"

Failure *groups_find_or_refuse(const Groups *groups, const char *name, Group **ret_group) {
  Group *group = groups_find(groups, name);
  if (!group)
    return failure_set_resource(failure_new(FAILURE(UNKNOWN_GROUP), "There is no group \"%s\".", name), "group", name);
  *ret_group = group;
  return NULL;
}

Failure *groups_member_or_refuse(const Groups *groups, const char *group_name, const char *id,
                                 GroupsMember **ret_member) {
  Group *group = groups_find(groups, group_name);
  GroupsMember *member = group ? groups_member_find(group, id) : NULL;
  if (!member)
    return groups_unknown_member(group_name, id);
  *ret_member = member;
  return NULL;
}

Failure *groups_unknown_member(const char *group_name, const char *id) {
  Failure *failure = failure_new(FAILURE(UNKNOWN_MEMBER),
                                 "The group \"%s\" has no member \"%s\" (any more): join again.", group_name, id);
  return failure_set_resource(failure, "member", id);
}

/* ---- topics ---- */

static Failure *unknown_topic(const char *name, const char *id) {
  const char *what = *name ? name : id;
  return failure_set_resource(failure_new(FAILURE(UNKNOWN_TOPIC), "There is no topic \"%s\".", what), "topic", what);
}

/* One that the metadata does not have (any more), and the group has committed. */
static GroupsKnownTopic *committed_topic(const Group *group, const char *name) {
  GHashTableIter iter;
  gpointer data;
  GroupsKnownTopic *found = NULL;
  g_hash_table_iter_init(&iter, group->all->topics);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsKnownTopic *topic = data;
    if (!g_str_equal(topic->name, name) || (found && found->number > topic->number))
      continue;
    for (gint32 p = 0; p < topic->partition_count; p++)
      if (groups_part_table_get(group->offsets, groups_part(topic->number, p))) {
        found = topic;
        break;
      }
  }
  return found;
}

Failure *groups_offset_topic(Groups *groups, Group *group, const char *name, const char *id,
                             GroupsKnownTopic **ret_topic) {
  GroupsKnownTopic *current = *name ? groups_topic_current(groups, name) : NULL;
  GroupsKnownTopic *topic = *id ? g_hash_table_lookup(groups->topics_by_id, id) : current;
  if (!topic && !*id)
    topic = committed_topic(group, name);
  if (topic && *name && !g_str_equal(topic->name, name))
    topic = NULL;
  if (topic) {
    *ret_topic = topic;
    return NULL;
  }
  if (current)
    return failure_new(FAILURE(TOPIC_ID_MISMATCH), "The topic \"%s\" has the id %s, not %s: it was made anew.", name,
                       current->id, id);
  return unknown_topic(name, id);
}

Failure *groups_check_partition(const GroupsKnownTopic *topic, gint32 partition) {
  if (partition >= 0 && partition < topic->partition_count)
    return NULL;
  return failure_new(FAILURE(UNKNOWN_PARTITION), "The topic \"%s\" has %d partitions, and no partition %d.",
                     topic->name, topic->partition_count, partition);
}
