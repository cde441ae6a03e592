/* Joining a group: as somebody new, again as the same member, or as an instance that returns.
 *
 * A join that is repeated finds its member, so an answer that is lost costs nothing. An instance_id is a place in the
 * group: whoever holds it keeps it until it leaves or its session ends; who left to return gives it to the next who
 * names it, with all that it held. Owner: the host's loop. */
#include "services/group_coordinator/groups/groups_internal.h"

#define REBALANCE_DEFAULT_MS (G_GINT64_CONSTANT(5) * 60 * 1000)

static Failure *refuse_duplicate(const GroupsMember *holder) {
  gint64 left_ms = MAX(holder->session.at_ms - holder->group->all->time.now_ms, 1);
  g_autofree char *left = groups_describe_duration(left_ms);
  Failure *failure =
      failure_new(FAILURE(DUPLICATE_ID),
                  "Another member, \"%s\", holds the instance_id \"%s\" of the group \"%s\". Its session "
                  "ends in %s unless it is heard of; a process that leaves to return gives its place up "
                  "at once.",
                  holder->id, holder->instance_id, holder->group->name, left);
  return failure_set_retry_delay(failure, left_ms);
}

static Failure *check_room(const Group *group) {
  guint most = group->settings.max_members;
  if (g_hash_table_size(group->members) < most)
    return NULL;
  Failure *failure = failure_new(FAILURE(LIMIT_EXCEEDED),
                                 "The group \"%s\" has %u members, which is all that it may have: raise its "
                                 "max_members, or use another group.",
                                 group->name, g_hash_table_size(group->members));
  return failure_add(failure, "limit", "%u", most);
}

/* The same member, once more: it lost our answer, or started over under its old id. What it held it holds. */
static Failure *join_again(GroupsMember *member, const Milena__V1__HeartbeatRequest *request,
                           const char *client_address) {
  gboolean write = member->away;
  Failure *failure = groups_heartbeat_apply(member, request, client_address, &write);
  if (failure)
    return failure;
  member->away = FALSE;
  g_clear_pointer(&member->reported, g_array_unref);
  if (write)
    groups_write_member(member);
  return NULL;
}

/* An instance returns under a new member id: its member is renamed. The old name goes first, so that the log never has
 * two who hold the same. */
static Failure *join_in_place(GroupsMember *member, const char *id, const Milena__V1__HeartbeatRequest *request,
                              const char *client_address) {
  Group *group = member->group;
  gboolean write = FALSE;
  Failure *failure = groups_heartbeat_apply(member, request, client_address, &write);
  if (failure)
    return failure;
  groups_append(group->all, GROUPS_RECORD_TARGET, group, member->id, 0, NULL);
  groups_append(group->all, GROUPS_RECORD_MEMBER, group, member->id, 0, NULL);
  g_hash_table_steal(group->members, member->id);
  g_free(member->id);
  member->id = g_strdup(id);
  g_hash_table_insert(group->members, member->id, member);
  member->away = FALSE;
  member->used = member->previous = member->told = 0;
  member->version++; /* what the old name was told means nothing to the new one */
  groups_write_member(member);
  if (member->placed)
    groups_write_target(member, group->assignment_epoch);
  return NULL;
}

static Failure *join_anew(Group *group, const char *id, const Milena__V1__HeartbeatRequest *request,
                          const char *client_address, GroupsMember **ret_member) {
  Failure *failure = check_room(group);
  if (failure)
    return failure;
  GroupsSubscription *subscription;
  failure = groups_subscription_get(group, request->subscription, &subscription);
  if (failure)
    return failure;
  GroupsMember *member = groups_member_new(group, id);
  member->subscription = subscription;
  member->version = 1; /* 0 is no version: who has it says nothing */
  member->rebalance_timeout_ms = REBALANCE_DEFAULT_MS;
  member->offset_reset = MILENA__V1__OFFSET_RESET__OFFSET_RESET_LATEST;
  groups_member_set_instance(member, request->instance_id);
  gboolean write;
  failure = groups_heartbeat_apply(member, request, client_address, &write);
  INVARIANT(failure == NULL, "the subscription was read before, and the instance is its own");
  groups_reconcile_settle(member);
  groups_write_member(member);
  groups_target_dirty(group, TRUE, "the member \"%s\" joined", id);
  *ret_member = member;
  return NULL;
}

static Failure *join_group(Group *group, const char *id, const Milena__V1__HeartbeatRequest *request,
                           const char *client_address, GroupsMember **ret_member) {
  GroupsMember *member = groups_member_find(group, id);
  if (member) {
    *ret_member = member;
    return join_again(member, request, client_address);
  }
  GroupsMember *holder = *request->instance_id ? g_hash_table_lookup(group->instances, request->instance_id) : NULL;
  if (holder && !holder->away)
    return refuse_duplicate(holder);
  if (holder) {
    *ret_member = holder;
    return join_in_place(holder, id, request, client_address);
  }
  return join_anew(group, id, request, client_address, ret_member);
}

Failure *groups_join(Groups *groups, GroupsToken token, const Milena__V1__HeartbeatRequest *request,
                     const char *client_address) {
  g_autofree char *made = *request->member_id ? NULL : groups->host.new_id(groups->host.data);
  gboolean is_new = groups_find(groups, request->group) == NULL;
  Group *group = groups_ensure(groups, request->group);
  GroupsMember *member = NULL;
  Failure *failure = join_group(group, made ? made : request->member_id, request, client_address, &member);
  if (failure) {
    if (is_new)
      groups_drop(group);
    return failure;
  }
  groups_member_touch(member);
  groups_poll_hold(member, token, request);
  return NULL;
}
