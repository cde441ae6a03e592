/* Who shall read what: one assignment for all changes since the last one.
 *
 * The stream of records can end anywhere: each target says for which epoch it was made, and the group's record, which
 * comes behind all of them, that this epoch's are whole. So a target of a later epoch than the group's tells the one
 * who loads that the assignment must be made anew.
 * Invariants: `wanted` is every member's target turned around; at the end of a turn no group is dirty whose assignment
 * is due. Owner: the host's loop. */
#include <stdlib.h>
#include <string.h>

#include "services/group_coordinator/groups/assign.h"
#include "services/group_coordinator/groups/groups_internal.h"

/* ---- when ---- */

/* More reasons are not told one by one. */
#define REASONS_MAX 3

static void add_reason(Group *group, char *reason) {
  if (group->reasons++ == 0) {
    group->next_reason = reason;
    return;
  }
  if (group->reasons <= REASONS_MAX + 1) {
    char *before = group->next_reason;
    group->next_reason = group->reasons <= REASONS_MAX ? g_strdup_printf("%s, and %s", before, reason)
                                                       : g_strdup_printf("%s, and more changed", before);
    g_free(before);
  }
  g_free(reason);
}

static void clear_reasons(Group *group) {
  g_clear_pointer(&group->next_reason, g_free);
  group->reasons = 0;
}

static void note_dirty(Group *group, gint64 at_ms, char *reason) {
  add_reason(group, reason);
  group->assign_at_ms = group->dirty ? MIN(group->assign_at_ms, at_ms) : at_ms;
  group->dirty = TRUE;
  groups_timer_set(&group->all->assigns, &group->assign_timer, group->assign_at_ms);
}

void groups_target_dirty(Group *group, gboolean by_join, const char *reason, ...) {
  va_list args;
  va_start(args, reason);
  gint64 now_ms = group->all->time.now_ms;
  if (!group->changed) /* what only might have changed is no reason beside what did */
    clear_reasons(group);
  note_dirty(group, by_join ? MAX(now_ms, group->join_window_ms) : now_ms, g_strdup_vprintf(reason, args));
  va_end(args);
  group->changed = TRUE;
  if (by_join)
    group->joined = TRUE;
}

void groups_target_check(Group *group, gint64 at_ms, const char *reason, ...) {
  va_list args;
  va_start(args, reason);
  note_dirty(group, at_ms, g_strdup_vprintf(reason, args));
  va_end(args);
}

/* ---- the input of an assignor ---- */

typedef struct {
  Group *group;
  GPtrArray *topics;    /* GroupsKnownTopic: what anybody wants, by name */
  GHashTable *index_of; /* topic number → index + 1 */
  guint *first;         /* as the assignors count partitions */
  GPtrArray *members;   /* in an order that lasts */
  GHashTable *wishes;   /* GroupsSubscription → GArray of indices */
  GPtrArray *previous;  /* GArray for each member */
  GroupsAssignMember *assign_members;
  GroupsAssignTopic *assign_topics;
  gboolean racks; /* somebody has one */
} Work;

static int compare_topics(gconstpointer a, gconstpointer b) {
  return strcmp((*(GroupsKnownTopic *const *)a)->name, (*(GroupsKnownTopic *const *)b)->name);
}

static const char *lasting_name(const GroupsMember *member) {
  return *member->instance_id ? member->instance_id : member->id;
}

static int compare_members(gconstpointer a, gconstpointer b) {
  const GroupsMember *one = *(GroupsMember *const *)a, *other = *(GroupsMember *const *)b;
  int order = strcmp(lasting_name(one), lasting_name(other));
  return order ? order : strcmp(one->id, other->id);
}

static void add_topic(Work *work, GHashTable *seen, const char *name) {
  if (!g_hash_table_add(seen, (gpointer)name))
    return;
  GroupsKnownTopic *topic = groups_topic_current(work->group->all, name);
  if (topic)
    g_ptr_array_add(work->topics, topic);
}

static void gather_topics(Work *work) {
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  GHashTableIter iter, names;
  gpointer data, name;
  g_hash_table_iter_init(&iter, work->group->subscriptions);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    const GroupsSubscription *subscription = data;
    for (char **each = subscription->names; *each; each++)
      add_topic(work, seen, *each);
    if (!subscription->pattern)
      continue;
    g_hash_table_iter_init(&names, subscription->pattern->matched);
    while (g_hash_table_iter_next(&names, &name, NULL))
      add_topic(work, seen, name);
  }
  g_ptr_array_sort(work->topics, compare_topics);
  work->first = g_new0(guint, work->topics->len + 1);
  for (guint i = 0; i < work->topics->len; i++) {
    const GroupsKnownTopic *topic = work->topics->pdata[i];
    g_hash_table_insert(work->index_of, GUINT_TO_POINTER(topic->number), GUINT_TO_POINTER(i + 1));
    work->first[i + 1] = work->first[i] + (guint)topic->partition_count;
  }
}

static int compare_numbers(gconstpointer a, gconstpointer b) {
  guint one = *(const guint *)a, other = *(const guint *)b;
  return one < other ? -1 : one > other;
}

static GArray *wishes_of(Work *work, GroupsSubscription *subscription) {
  GArray *wishes = g_hash_table_lookup(work->wishes, subscription);
  if (wishes)
    return wishes;
  wishes = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < work->topics->len; i++) {
    const GroupsKnownTopic *topic = work->topics->pdata[i];
    if (groups_subscription_wants(subscription, topic->name))
      g_array_append_val(wishes, i);
  }
  g_hash_table_insert(work->wishes, subscription, wishes);
  return wishes;
}

/* Its target as the assignors count, without what is not there or not wanted any more by anybody. */
static GArray *previous_of(const Work *work, const GroupsMember *member) {
  GArray *previous = g_array_sized_new(FALSE, FALSE, sizeof(guint), member->target->len);
  for (guint i = 0; i < member->target->len; i++) {
    GroupsPart part = groups_parts_at(member->target, i);
    guint index = GPOINTER_TO_UINT(g_hash_table_lookup(work->index_of, GUINT_TO_POINTER(groups_part_topic(part))));
    if (index == 0)
      continue;
    guint number = work->first[index - 1] + (guint)groups_part_partition(part);
    if (number < work->first[index])
      g_array_append_val(previous, number);
  }
  g_array_sort(previous, compare_numbers);
  return previous;
}

static void gather_members(Work *work) {
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, work->group->members);
  while (g_hash_table_iter_next(&iter, NULL, &data))
    g_ptr_array_add(work->members, data);
  g_ptr_array_sort(work->members, compare_members);
  work->assign_members = g_new0(GroupsAssignMember, work->members->len + 1);
  for (guint i = 0; i < work->members->len; i++) {
    GroupsMember *member = work->members->pdata[i];
    GArray *wishes = wishes_of(work, member->subscription), *previous = previous_of(work, member);
    g_ptr_array_add(work->previous, previous);
    work->racks |= *member->rack != '\0';
    work->assign_members[i] = (GroupsAssignMember){
        .rack = *member->rack ? member->rack : NULL,
        .topics = (const guint *)wishes->data,
        .topic_count = wishes->len,
        .previous = (const guint *)previous->data,
        .previous_count = previous->len,
    };
  }
}

static void gather_racks(Work *work) {
  const GroupsHost *host = &work->group->all->host;
  work->assign_topics = g_new0(GroupsAssignTopic, work->topics->len + 1);
  for (guint i = 0; i < work->topics->len; i++) {
    const GroupsKnownTopic *topic = work->topics->pdata[i];
    work->assign_topics[i].partition_count = (guint)topic->partition_count;
    if (!work->racks || !host->leader_rack)
      continue;
    const char **racks = g_new(const char *, topic->partition_count + 1);
    for (gint32 p = 0; p < topic->partition_count; p++)
      racks[p] = host->leader_rack(topic->name, p, host->data);
    work->assign_topics[i].racks = racks;
  }
}

static void work_init(Work *work, Group *group) {
  *work = (Work){
      .group = group,
      .topics = g_ptr_array_new(),
      .index_of = g_hash_table_new(NULL, NULL),
      .members = g_ptr_array_new(),
      .wishes = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_array_unref),
      .previous = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref),
  };
  gather_topics(work);
  gather_members(work);
  gather_racks(work);
}

static void work_clear(Work *work) {
  for (guint i = 0; i < work->topics->len; i++)
    g_free((gpointer)work->assign_topics[i].racks);
  g_free(work->assign_topics);
  g_free(work->assign_members);
  g_free(work->first);
  g_ptr_array_unref(work->topics);
  g_hash_table_unref(work->index_of);
  g_ptr_array_unref(work->members);
  g_hash_table_unref(work->wishes);
  g_ptr_array_unref(work->previous);
}

/* Returns an array of parts for each member, in the order of work->members; owned by the caller. */
static GPtrArray *compute(const Work *work) {
  GPtrArray *targets = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
  for (guint i = 0; i < work->members->len; i++)
    g_ptr_array_add(targets, groups_parts_new());
  GroupsAssignInput input = {work->assign_members, work->members->len, work->assign_topics, work->topics->len};
  g_autofree guint *owners = g_new(guint, groups_assign_total(&input) + 1);
  groups_assign(work->group->settings.assignor, &input, owners);
  for (guint t = 0; t < work->topics->len; t++) {
    const GroupsKnownTopic *topic = work->topics->pdata[t];
    for (gint32 p = 0; p < topic->partition_count; p++) {
      guint owner = owners[work->first[t] + (guint)p];
      GroupsPart part = groups_part(topic->number, p);
      if (owner != GROUPS_ASSIGN_NOBODY)
        g_array_append_val((GArray *)targets->pdata[owner], part);
    }
  }
  for (guint i = 0; i < targets->len; i++)
    groups_parts_sort(targets->pdata[i]);
  return targets;
}

/* ---- carrying it out ---- */

void groups_target_set(GroupsMember *member, GArray *parts) {
  Group *group = member->group;
  for (guint i = 0; i < member->target->len; i++)
    if (groups_part_table_get(group->wanted, groups_parts_at(member->target, i)) == member)
      groups_part_table_set(group->wanted, groups_parts_at(member->target, i), NULL);
  for (guint i = 0; i < parts->len; i++)
    groups_part_table_set(group->wanted, groups_parts_at(parts, i), member);
  g_array_unref(member->target);
  member->target = g_array_ref(parts);
}

static gboolean differs(const Work *work, const GPtrArray *targets) {
  for (guint i = 0; i < work->members->len; i++) {
    const GroupsMember *member = work->members->pdata[i];
    if (!member->placed || !groups_parts_equal(member->target, targets->pdata[i]))
      return TRUE;
  }
  return FALSE;
}

/* A member's new target, if it is new: its record, and a look at it. */
static void retarget(GroupsMember *member, GArray *target, guint32 epoch) {
  gboolean is_new = !member->placed || !groups_parts_equal(member->target, target);
  if (!is_new)
    return;
  groups_target_set(member, target);
  groups_write_target(member, epoch);
  member->placed = TRUE;
  /* Who is away reads nothing: what it shall not keep is free without being asked for. */
  if (member->away && groups_reconcile_idle(member))
    groups_write_member(member);
  groups_reconcile_settle(member);
  groups_look_at(member);
}

static void carry_out(Group *group, const Work *work, const GPtrArray *targets) {
  guint32 epoch = group->epoch + 1;
  for (guint i = 0; i < work->members->len; i++)
    retarget(work->members->pdata[i], targets->pdata[i], epoch);
  group->epoch = epoch;
  group->assignment_epoch = epoch;
  group->assigned_ms = group->all->time.wall_ms;
  g_free(group->reason);
  group->reason = g_steal_pointer(&group->next_reason);
  group->empty_since_ms = work->members->len == 0 ? group->all->time.wall_ms : 0;
  groups_write_group(group);
  groups_expiry_arm(group);
}

static void assign(Group *group) {
  Groups *groups = group->all;
  Work work;
  work_init(&work, group);
  g_autoptr(GPtrArray) targets = compute(&work);
  if (group->changed || differs(&work, targets))
    carry_out(group, &work, targets);
  work_clear(&work);
  if (group->joined)
    group->join_window_ms = groups->time.now_ms + GROUPS_JOIN_BATCH_MS;
  group->dirty = group->changed = group->joined = FALSE;
  clear_reasons(group);
}

static Group *group_of(GroupsTimer *timer) {
  return (Group *)((char *)timer - offsetof(Group, assign_timer));
}

void groups_target_turn(Groups *groups) {
  for (GroupsTimer *timer; (timer = groups_timers_pop(&groups->assigns, groups->time.now_ms));)
    assign(group_of(timer));
}
