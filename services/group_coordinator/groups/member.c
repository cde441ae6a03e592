/* Who is in a group: made, found, out.
 *
 * Invariants: a member is in its group's table under its id, in `instances` under its instance id if it has one, and in
 * `owners` for each of its holds and no more; whoever is out is in none of them. A member that is not gone has a
 * session timer. Owner: the host's loop. */
#include <string.h>

#include "services/group_coordinator/groups/groups_internal.h"

GroupsMember *groups_member_find(const Group *group, const char *id) {
  return g_hash_table_lookup(group->members, id);
}

GroupsMember *groups_member_new(Group *group, const char *id) {
  GroupsMember *member = g_new0(GroupsMember, 1);
  member->group = group;
  member->id = g_strdup(id);
  member->instance_id = g_strdup("");
  member->client_id = g_strdup("");
  member->client_address = g_strdup("");
  member->rack = g_strdup("");
  member->assigned = g_array_new(FALSE, TRUE, sizeof(GroupsHold));
  member->revoking = g_array_new(FALSE, TRUE, sizeof(GroupsHold));
  member->target = groups_parts_new();
  member->settled = TRUE;
  member->look_link.data = member;
  g_hash_table_insert(group->members, member->id, member);
  group->all->member_count++;
  return member;
}

void groups_member_set_instance(GroupsMember *member, const char *instance_id) {
  if (*member->instance_id && g_hash_table_lookup(member->group->instances, member->instance_id) == member)
    g_hash_table_remove(member->group->instances, member->instance_id);
  g_free(member->instance_id);
  member->instance_id = g_strdup(instance_id);
  if (*instance_id)
    g_hash_table_insert(member->group->instances, member->instance_id, member);
}

void groups_member_free(gpointer data) {
  GroupsMember *member = data;
  Groups *groups = member->group->all;
  groups_poll_drop(member);
  if (member->looking)
    g_queue_unlink(&groups->look, &member->look_link);
  groups_timer_unset(&groups->sessions, &member->session);
  groups_timer_unset(&groups->revokes, &member->revoke);
  groups_member_set_instance(member, "");
  groups_subscription_unref(member->group, member->subscription);
  groups->member_count--;
  g_array_unref(member->assigned);
  g_array_unref(member->revoking);
  g_array_unref(member->target);
  g_clear_pointer(&member->reported, g_array_unref);
  g_free(member->id);
  g_free(member->instance_id);
  g_free(member->client_id);
  g_free(member->client_address);
  g_free(member->rack);
  g_free(member->news);
  g_free(member);
}

void groups_member_touch(GroupsMember *member) {
  Groups *groups = member->group->all;
  member->last_heartbeat_ms = groups->time.wall_ms;
  groups_timer_set(&groups->sessions, &member->session,
                   groups->time.now_ms + member->group->settings.session_timeout_ms);
}

void groups_member_remove(GroupsMember *member, Failure *failure, const char *reason) {
  Group *group = member->group;
  Groups *groups = group->all;
  groups_append(groups, GROUPS_RECORD_TARGET, group, member->id, 0, NULL);
  groups_append(groups, GROUPS_RECORD_MEMBER, group, member->id, 0, NULL);
  if (member->token) { /* behind the records: what it is told depends on them */
    GroupsToken token = member->token;
    groups_poll_drop(member);
    groups_refuse(groups, token, failure);
  } else {
    failure_free(failure);
  }
  groups_reconcile_release_all(member);
  g_hash_table_remove(group->members, member->id);
  groups_target_dirty(group, FALSE, "%s", reason);
}
