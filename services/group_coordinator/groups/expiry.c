/* Empty groups end: their offsets are forgotten when nobody was in them, and nobody committed, for as long as the
 * group's settings say. Settings that somebody gave stay until the group is deleted.
 *
 * The end is told by the wall clock, which may jump; the timer, which may not, looks at least every hour.
 * Owner: the host's loop. */
#include "services/group_coordinator/groups/groups_internal.h"

#define LOOK_AGAIN_MS (3600 * G_GINT64_CONSTANT(1000))

/* Wall clock; G_MAXINT64: it does not end. */
static gint64 end_of(const Group *group) {
  gint64 last_ms = MAX(group->empty_since_ms, group->last_commit_ms);
  if (g_hash_table_size(group->members) > 0 || last_ms == 0)
    return G_MAXINT64;
  if (group->has_settings && g_hash_table_size(group->offsets) == 0)
    return G_MAXINT64;
  return last_ms + group->settings.offsets_retention_ms;
}

void groups_expiry_arm(Group *group) {
  Groups *groups = group->all;
  gint64 end_ms = end_of(group);
  if (end_ms == G_MAXINT64) {
    groups_timer_unset(&groups->expiries, &group->expiry_timer);
    return;
  }
  gint64 wait_ms = CLAMP(end_ms - groups->time.wall_ms, 0, LOOK_AGAIN_MS);
  groups_timer_set(&groups->expiries, &group->expiry_timer, groups->time.now_ms + wait_ms);
}

static void forget_offsets(Group *group) {
  g_autoptr(GArray) parts = groups_part_table_keys(group->offsets);
  for (guint i = 0; i < parts->len; i++)
    groups_offset_delete(group, groups_parts_at(parts, i));
}

void groups_expiry_end(Group *group) {
  forget_offsets(group);
  if (group->recorded)
    groups_append(group->all, GROUPS_RECORD_GROUP, group, NULL, 0, NULL);
  groups_drop(group);
}

static void expire(Group *group) {
  if (end_of(group) > group->all->time.wall_ms)
    groups_expiry_arm(group);
  else if (group->has_settings)
    forget_offsets(group);
  else
    groups_expiry_end(group);
}

static Group *group_of(GroupsTimer *timer) {
  return (Group *)((char *)timer - offsetof(Group, expiry_timer));
}

void groups_expiry_turn(Groups *groups) {
  for (GroupsTimer *timer; (timer = groups_timers_pop(&groups->expiries, groups->time.now_ms));)
    expire(group_of(timer));
}

void groups_delete(Groups *groups, GroupsToken token, const Milena__V1__DeleteGroupRequest *request, GroupsTime time) {
  groups->time = time;
  Group *group = NULL;
  Failure *failure = groups_check_group(request->group);
  failure = failure ? failure : groups_find_or_refuse(groups, request->group, &group);
  if (!failure && g_hash_table_size(group->members) > 0)
    failure = failure_new(FAILURE(GROUP_IN_USE), "The group \"%s\" has %u members: stop them first.", request->group,
                          g_hash_table_size(group->members));
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  groups_expiry_end(group);
  Milena__V1__DeleteGroupResponse *response = g_new(Milena__V1__DeleteGroupResponse, 1);
  milena__v1__delete_group_response__init(response);
  groups_answer(groups, token, response);
}
