/* What a member has, on its way to what it shall have, one step at a time:
 *
 *   has more than it shall ──told──► revoking ──says that it gave it up (or is fenced)──► free ──► the one who shall
 *   has all that it shall keep ──► its epoch is the assignment's ──► it gets what is free of what it shall have
 *
 * Invariants: a partition has at most one owner, the member that has it in `assigned` or `revoking`; it gets another
 * one only after the first said that it gave it up, left, or is out. A member's epoch rises only when nothing is left
 * to revoke, and what it gets is held since that epoch: so an earlier epoch never belongs to a later hold of the same
 * partition. The version rises with each change of `assigned`. `unsettled` of the group counts its members that are not
 * `settled`. Owner: the host's loop. */
#include "services/group_coordinator/groups/groups_internal.h"

/* ---- holds ---- */

GroupsHold *groups_holds_find(const GArray *holds, GroupsPart part) {
  guint low = 0, high = holds->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    GroupsHold *hold = &g_array_index(holds, GroupsHold, middle);
    if (hold->part == part)
      return hold;
    if (hold->part < part)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

GArray *groups_holds_parts(const GArray *holds) {
  GArray *parts = g_array_sized_new(FALSE, FALSE, sizeof(GroupsPart), holds->len);
  for (guint i = 0; i < holds->len; i++)
    g_array_append_val(parts, g_array_index(holds, GroupsHold, i).part);
  return parts;
}

static int compare_holds(gconstpointer a, gconstpointer b) {
  GroupsPart one = ((const GroupsHold *)a)->part, other = ((const GroupsHold *)b)->part;
  return one < other ? -1 : one > other;
}

/* Take holds out of @holds, those that are in @parts or those that are not; returns them, owned by the caller. */
static GArray *take_out(GArray *holds, const GArray *parts, gboolean those_in_it) {
  GArray *taken = g_array_new(FALSE, TRUE, sizeof(GroupsHold));
  guint kept = 0;
  for (guint i = 0; i < holds->len; i++) {
    GroupsHold hold = g_array_index(holds, GroupsHold, i);
    if (groups_parts_contain(parts, hold.part) == those_in_it)
      g_array_append_val(taken, hold);
    else
      g_array_index(holds, GroupsHold, kept++) = hold;
  }
  g_array_set_size(holds, kept);
  return taken;
}

/* Nobody owns it now: whoever shall have it can get it. */
static void release(GroupsMember *member, GroupsPart part) {
  Group *group = member->group;
  INVARIANT(groups_part_table_get(group->owners, part) == member, "only its owner gives a partition up");
  groups_part_table_set(group->owners, part, NULL);
  GroupsMember *next = groups_part_table_get(group->wanted, part);
  if (next && next != member)
    groups_look_at(next);
}

static void release_holds(GroupsMember *member, const GArray *holds) {
  for (guint i = 0; i < holds->len; i++)
    release(member, g_array_index(holds, GroupsHold, i).part);
}

/* ---- whether it has what it shall ---- */

static gboolean has_exactly(const GroupsMember *member) {
  if (member->revoking->len > 0 || member->assigned->len != member->target->len)
    return FALSE;
  for (guint i = 0; i < member->target->len; i++)
    if (g_array_index(member->assigned, GroupsHold, i).part != groups_parts_at(member->target, i))
      return FALSE;
  return TRUE;
}

void groups_reconcile_settle(GroupsMember *member) {
  gboolean settled = member->placed && has_exactly(member);
  if (settled == member->settled)
    return;
  member->settled = settled;
  member->group->unsettled += settled ? -1 : 1;
  member->waits_since_ms = settled ? 0 : member->group->all->time.wall_ms;
}

guint groups_member_pending(const GroupsMember *member) {
  guint pending = 0;
  for (guint i = 0; i < member->target->len; i++)
    pending += groups_holds_find(member->assigned, groups_parts_at(member->target, i)) == NULL;
  return pending;
}

/* ---- steps ---- */

static void set_news(GroupsMember *member) {
  g_free(member->news);
  member->news = g_strdup(member->group->reason);
}

/* Ask for what it shall not have any more. */
static gboolean ask_back(GroupsMember *member) {
  g_autoptr(GArray) lost = take_out(member->assigned, member->target, FALSE);
  if (lost->len == 0)
    return FALSE;
  member->version++;
  for (guint i = 0; i < lost->len; i++) {
    GroupsHold *hold = &g_array_index(lost, GroupsHold, i);
    hold->revoked = member->version;
    hold->revoke_until_ms = G_MAXINT64;
  }
  g_array_append_vals(member->revoking, lost->data, lost->len);
  g_array_sort(member->revoking, compare_holds);
  set_news(member);
  return TRUE;
}

/* Give it what is free of what it shall have. */
static gboolean gain(GroupsMember *member) {
  Group *group = member->group;
  guint before = member->assigned->len;
  for (guint i = 0; i < member->target->len; i++) {
    GroupsPart part = groups_parts_at(member->target, i);
    if (groups_part_table_get(group->owners, part))
      continue;
    GroupsHold hold = {.part = part, .since = member->epoch};
    g_array_append_val(member->assigned, hold);
    groups_part_table_set(group->owners, part, member);
  }
  if (member->assigned->len == before)
    return FALSE;
  g_array_sort(member->assigned, compare_holds);
  member->version++;
  set_news(member);
  return TRUE;
}

gboolean groups_reconcile(GroupsMember *member) {
  Group *group = member->group;
  INVARIANT(member->placed && !member->away, "only who is here and has a target goes on towards it");
  gboolean changed = ask_back(member);
  if (member->revoking->len == 0) {
    if (member->epoch != group->assignment_epoch) {
      member->previous = member->used;
      member->epoch = group->assignment_epoch;
      changed = TRUE;
    }
    changed |= gain(member);
  }
  if (changed) {
    groups_write_member(member);
    groups_reconcile_settle(member);
  }
  return changed;
}

/* The earliest that something must be given up by. */
static void arm(GroupsMember *member) {
  Groups *groups = member->group->all;
  gint64 until = G_MAXINT64;
  for (guint i = 0; i < member->revoking->len; i++)
    until = MIN(until, g_array_index(member->revoking, GroupsHold, i).revoke_until_ms);
  if (until == G_MAXINT64)
    groups_timer_unset(&groups->revokes, &member->revoke);
  else
    groups_timer_set(&groups->revokes, &member->revoke, until);
}

void groups_reconcile_told(GroupsMember *member) {
  for (guint i = 0; i < member->revoking->len; i++) {
    GroupsHold *hold = &g_array_index(member->revoking, GroupsHold, i);
    if (hold->revoke_until_ms == G_MAXINT64)
      hold->revoke_until_ms = member->group->all->time.now_ms + member->rebalance_timeout_ms;
  }
  arm(member);
}

gboolean groups_reconcile_owned(GroupsMember *member, const GArray *owned, guint32 version) {
  GArray *left = g_array_new(FALSE, TRUE, sizeof(GroupsHold));
  gboolean gave_up = FALSE;
  for (guint i = 0; i < member->revoking->len; i++) {
    GroupsHold *hold = &g_array_index(member->revoking, GroupsHold, i);
    /* What it says about an assignment from before the revocation is no answer to it. */
    if (hold->revoked > version || groups_parts_contain(owned, hold->part)) {
      g_array_append_val(left, *hold);
      continue;
    }
    release(member, hold->part);
    gave_up = TRUE;
  }
  g_array_unref(member->revoking);
  member->revoking = left;
  if (gave_up) {
    arm(member);
    groups_reconcile_settle(member);
  }
  return gave_up;
}

gboolean groups_reconcile_idle(GroupsMember *member) {
  g_autoptr(GArray) lost = take_out(member->assigned, member->target, FALSE);
  gboolean any = lost->len > 0 || member->revoking->len > 0;
  release_holds(member, lost);
  release_holds(member, member->revoking);
  g_array_set_size(member->revoking, 0);
  if (lost->len > 0)
    member->version++;
  arm(member);
  groups_reconcile_settle(member);
  return any;
}

void groups_reconcile_release_all(GroupsMember *member) {
  Group *group = member->group;
  for (guint i = 0; i < member->target->len; i++)
    if (groups_part_table_get(group->wanted, groups_parts_at(member->target, i)) == member)
      groups_part_table_set(group->wanted, groups_parts_at(member->target, i), NULL);
  release_holds(member, member->assigned);
  release_holds(member, member->revoking);
  g_array_set_size(member->target, 0);
  g_array_set_size(member->assigned, 0);
  g_array_set_size(member->revoking, 0);
  if (!member->settled) {
    member->settled = TRUE;
    group->unsettled--;
  }
}

/* ---- topics that are gone ---- */

static gboolean drop_holds(GroupsMember *member, GArray *holds, guint32 topic) {
  guint kept = 0;
  for (guint i = 0; i < holds->len; i++) {
    GroupsHold hold = g_array_index(holds, GroupsHold, i);
    if (groups_part_topic(hold.part) == topic)
      groups_part_table_set(member->group->owners, hold.part, NULL);
    else
      g_array_index(holds, GroupsHold, kept++) = hold;
  }
  gboolean any = kept < holds->len;
  g_array_set_size(holds, kept);
  return any;
}

void groups_reconcile_drop_topic(GroupsMember *member, const GroupsKnownTopic *topic) {
  guint kept = 0;
  for (guint i = 0; i < member->target->len; i++) {
    GroupsPart part = groups_parts_at(member->target, i);
    if (groups_part_topic(part) == topic->number)
      groups_part_table_set(member->group->wanted, part, NULL);
    else
      g_array_index(member->target, GroupsPart, kept++) = part;
  }
  gboolean shall = kept < member->target->len;
  g_array_set_size(member->target, kept);
  gboolean has = drop_holds(member, member->assigned, topic->number);
  gboolean gives = drop_holds(member, member->revoking, topic->number);
  if (has) {
    member->version++;
    g_free(member->news);
    member->news = g_strdup_printf("the topic \"%s\" was deleted", topic->name);
  }
  if (shall)
    groups_write_target(member, member->group->assignment_epoch);
  if (has || gives) {
    groups_write_member(member);
    arm(member);
    groups_look_at(member);
  }
  if (shall || has || gives)
    groups_reconcile_settle(member);
}
