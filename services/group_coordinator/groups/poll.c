/* Heartbeats that are held until there is something to tell, and what they are answered.
 *
 * A member changes only in an answer to it: its epoch, and what it may read, are what it was told, or will be as soon
 * as the record is durable. So who does not call is not moved along, and whose answer is lost calls again with the
 * epoch before, which is good once more. Invariants: a member holds at most one heartbeat; `held` has its token;
 * whoever is in `look` is looked at before the turn ends. Owner: the host's loop. */
#include "services/base/times.h"
#include "services/group_coordinator/groups/groups_internal.h"

void groups_look_at(GroupsMember *member) {
  if (member->looking)
    return;
  member->looking = TRUE;
  g_queue_push_tail_link(&member->group->all->look, &member->look_link);
}

void groups_poll_drop(GroupsMember *member) {
  Groups *groups = member->group->all;
  if (member->token == 0)
    return;
  g_hash_table_remove(groups->held, &member->token);
  groups_timer_unset(&groups->holds, &member->hold);
  member->token = 0;
}

void groups_forget(Groups *groups, GroupsToken token) {
  GroupsMember *member = g_hash_table_lookup(groups->held, &token);
  if (member)
    groups_poll_drop(member);
}

/* The version that the member knows. */
static guint32 known_version(const GroupsMember *member) {
  return member->poll_version ? member->poll_version : member->told;
}

static gboolean reports_all(const GroupsMember *member) {
  if (!member->reported || member->reported->len != member->assigned->len)
    return FALSE;
  for (guint i = 0; i < member->assigned->len; i++)
    if (g_array_index(member->assigned, GroupsHold, i).part != groups_parts_at(member->reported, i))
      return FALSE;
  return TRUE;
}

/* Whoever says which version it knows is told what is newer. Of whom does not say it, only what it owns tells whether
 * it heard the last answer. */
static gboolean must_tell(const GroupsMember *member) {
  if (member->tell_all || known_version(member) != member->version)
    return TRUE;
  return member->poll_version == 0 && !reports_all(member);
}

static void answer(GroupsMember *member, gboolean assignment) {
  GroupsToken token = member->token;
  groups_poll_drop(member);
  groups_answer(member->group->all, token, groups_tell_member(member, assignment));
  if (!assignment)
    return;
  member->told = member->version;
  groups_reconcile_told(member);
  g_clear_pointer(&member->news, g_free);
}

static void look(GroupsMember *member, gboolean over) {
  if (member->token == 0 || !member->placed)
    return;
  groups_reconcile(member);
  gboolean news = member->tell_all || member->epoch != member->poll_epoch || known_version(member) != member->version;
  if (news || over || member->hold.at_ms <= member->group->all->time.now_ms)
    answer(member, must_tell(member));
}

/* The same member calls anew: nobody waits for the older call any more, or this one comes late and the older one is the
 * true one. So it is answered, and told nothing that only one of them could hear. */
static void give_way(GroupsMember *member) {
  if (member->epoch > 0) {
    answer(member, FALSE);
    return;
  }
  GroupsToken older = member->token;
  groups_poll_drop(member);
  groups_refuse(
      member->group->all, older,
      failure_new(FAILURE(CANCELLED), "Another join of the member \"%s\" took this one's place.", member->id));
}

void groups_poll_hold(GroupsMember *member, GroupsToken token, const Milena__V1__HeartbeatRequest *request) {
  Groups *groups = member->group->all;
  if (member->token)
    give_way(member);
  member->token = token;
  member->tell_all = request->tell_assignment || request->member_epoch == 0;
  member->poll_epoch = request->member_epoch;
  member->poll_version = request->assignment_version;
  g_hash_table_insert(groups->held, &member->token, member);
  if (member->poll_version == member->version) { /* told in a former life of ours */
    member->told = member->version;
    groups_reconcile_told(member);
  }
  gint64 wait_ms = CLAMP(times_duration_ms(request->max_wait, 0), 0, member->group->settings.heartbeat_interval_ms);
  groups_timer_set(&groups->holds, &member->hold, groups->time.now_ms + wait_ms);
  groups_look_at(member);
}

static GroupsMember *member_of(GroupsTimer *timer) {
  return (GroupsMember *)((char *)timer - offsetof(GroupsMember, hold));
}

void groups_poll_turn(Groups *groups) {
  for (GList *link; (link = g_queue_pop_head_link(&groups->look));) {
    GroupsMember *member = link->data;
    member->looking = FALSE;
    look(member, FALSE);
  }
  for (GroupsTimer *timer; (timer = groups_timers_pop(&groups->holds, groups->time.now_ms));)
    look(member_of(timer), TRUE);
}
