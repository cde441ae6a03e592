/* The groups of one partition: what holds them together. groups.h is the contract, README.md has the rules.
 *
 * Purpose: owns all groups, the records and answers of the turn under way, and the timers.
 * Invariants: records are numbered without gaps in the order in which the state changed, and an answer depends on all
 * records before it, so nothing is told that is not durable. Every request that is not refused at once is either
 * answered or held, and a held one is in `held` under its token.
 * States: loading (groups_replay) until groups_start, then serving. Owner: the host's loop.
 * Failure modes: none of its own; an append that fails ends the life of the whole object. */
#include "services/group_coordinator/groups/groups_internal.h"

#include <string.h>

/* ---- outputs ---- */

static void clear_record(gpointer data) {
  GroupsRecord *record = data;
  g_clear_pointer(&record->key, g_bytes_unref);
  g_clear_pointer(&record->value, g_bytes_unref);
}

static void clear_answer(gpointer data) {
  GroupsAnswer *answer = data;
  protobuf_c_message_free_unpacked(g_steal_pointer(&answer->response), NULL);
  g_clear_pointer(&answer->failure, failure_free);
}

static GArray *records_new(void) {
  GArray *records = g_array_new(FALSE, FALSE, sizeof(GroupsRecord));
  g_array_set_clear_func(records, clear_record);
  return records;
}

static GArray *answers_new(void) {
  GArray *answers = g_array_new(FALSE, FALSE, sizeof(GroupsAnswer));
  g_array_set_clear_func(answers, clear_answer);
  return answers;
}

void groups_out_init(GroupsOut *out) {
  *out = (GroupsOut){records_new(), answers_new()};
}

void groups_out_reset(GroupsOut *out) {
  g_array_set_size(out->records, 0);
  g_array_set_size(out->answers, 0);
}

void groups_out_clear(GroupsOut *out) {
  g_clear_pointer(&out->records, g_array_unref);
  g_clear_pointer(&out->answers, g_array_unref);
}

void groups_append(Groups *groups, GroupsRecordKind kind, const Group *group, const char *name, gint32 partition,
                   const ProtobufCMessage *value) {
  GroupsRecord record = {
      .number = ++groups->last_record,
      .key = groups_record_key(kind, group->name, name, partition),
      .value = value ? groups_record_value(value) : NULL,
  };
  g_array_append_val(groups->records, record);
}

void groups_answer(Groups *groups, GroupsToken token, gpointer response) {
  GroupsAnswer answer = {token, groups->last_record, response, NULL};
  g_array_append_val(groups->answers, answer);
}

void groups_refuse(Groups *groups, GroupsToken token, Failure *failure) {
  GroupsAnswer answer = {token, groups->last_record, NULL, failure};
  g_array_append_val(groups->answers, answer);
}

/* Hand over what came together, in its order; the arrays' own elements are forgotten, not freed. */
static void hand_over(GArray *from, GArray *to) {
  if (from->len == 0)
    return;
  g_array_append_vals(to, from->data, from->len);
  memset(from->data, 0, (gsize)from->len * g_array_get_element_size(from));
  g_array_set_size(from, 0);
}

/* ---- life ---- */

static void group_free(gpointer data) {
  Group *group = data;
  g_hash_table_unref(group->members);
  g_hash_table_unref(group->instances);
  g_hash_table_unref(group->owners);
  g_hash_table_unref(group->wanted);
  g_hash_table_unref(group->offsets);
  g_hash_table_unref(group->subscriptions);
  g_clear_pointer(&group->loaded_members, g_hash_table_unref);
  g_clear_pointer(&group->loaded_targets, g_hash_table_unref);
  groups_timer_unset(&group->all->assigns, &group->assign_timer);
  groups_timer_unset(&group->all->expiries, &group->expiry_timer);
  g_free(group->name);
  g_free(group->next_reason);
  g_free(group->reason);
  g_free(group);
}

static int compare_names(gconstpointer a, gconstpointer b, G_GNUC_UNUSED gpointer data) {
  return strcmp(a, b);
}

int groups_compare_strings(gconstpointer a, gconstpointer b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

Groups *groups_new(const GroupsHost *host) {
  Groups *groups = g_new0(Groups, 1);
  groups->host = *host;
  groups->by_name = g_tree_new_full(compare_names, NULL, NULL, group_free);
  groups->topics_by_id = g_hash_table_new(g_str_hash, g_str_equal);
  groups->topics = g_hash_table_new(NULL, NULL);
  groups->patterns = g_hash_table_new(g_str_hash, g_str_equal);
  groups->held = g_hash_table_new(g_int64_hash, g_int64_equal);
  groups->forget_unknown_at_ms = G_MAXINT64;
  groups_timers_init(&groups->sessions);
  groups_timers_init(&groups->revokes);
  groups_timers_init(&groups->holds);
  groups_timers_init(&groups->assigns);
  groups_timers_init(&groups->expiries);
  g_queue_init(&groups->look);
  groups->records = records_new();
  groups->answers = answers_new();
  return groups;
}

void groups_free(Groups *groups) {
  if (!groups)
    return;
  g_tree_unref(groups->by_name);
  groups_topics_free(groups);
  g_hash_table_unref(groups->held);
  groups_timers_clear(&groups->sessions);
  groups_timers_clear(&groups->revokes);
  groups_timers_clear(&groups->holds);
  groups_timers_clear(&groups->assigns);
  groups_timers_clear(&groups->expiries);
  g_array_unref(groups->records);
  g_array_unref(groups->answers);
  g_free(groups);
}

Group *groups_find(const Groups *groups, const char *name) {
  return g_tree_lookup(groups->by_name, name);
}

Group *groups_ensure(Groups *groups, const char *name) {
  Group *group = groups_find(groups, name);
  if (group)
    return group;
  group = g_new0(Group, 1);
  group->all = groups;
  group->name = g_strdup(name);
  groups_settings_default(&group->settings);
  group->members = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, groups_member_free);
  group->instances = g_hash_table_new(g_str_hash, g_str_equal);
  group->owners = groups_part_table_new(NULL);
  group->wanted = groups_part_table_new(NULL);
  group->offsets = groups_part_table_new(groups_offset_free);
  group->subscriptions = g_hash_table_new(g_str_hash, g_str_equal);
  g_tree_insert(groups->by_name, group->name, group);
  return group;
}

void groups_drop(Group *group) {
  INVARIANT(g_hash_table_size(group->members) == 0, "a group with members does not end");
  g_tree_remove(group->all->by_name, group->name);
}

Milena__V1__GroupState groups_state(const Group *group) {
  if (g_hash_table_size(group->members) == 0)
    return MILENA__V1__GROUP_STATE__GROUP_STATE_EMPTY;
  return group->unsettled > 0 || group->changed ? MILENA__V1__GROUP_STATE__GROUP_STATE_RECONCILING
                                                : MILENA__V1__GROUP_STATE__GROUP_STATE_STABLE;
}

/* ---- turns ---- */

void groups_turn(Groups *groups, GroupsTime time, GroupsOut *out) {
  INVARIANT(groups->started, "turns begin when everything is loaded");
  groups->time = time;
  if (groups->forget_unknown_at_ms <= time.now_ms) {
    groups->forget_unknown_at_ms = G_MAXINT64;
    groups_topics_forget_unknown(groups);
  }
  groups_heartbeat_expire(groups);
  groups_expiry_turn(groups);
  groups_target_turn(groups);
  groups_poll_turn(groups);
  hand_over(groups->records, out->records);
  hand_over(groups->answers, out->answers);
}

gint64 groups_next_deadline(const Groups *groups) {
  if (groups->records->len > 0 || groups->answers->len > 0 || groups->look.length > 0)
    return groups->time.now_ms;
  gint64 next = groups->forget_unknown_at_ms;
  next = MIN(next, groups_timers_next(&groups->sessions));
  next = MIN(next, groups_timers_next(&groups->revokes));
  next = MIN(next, groups_timers_next(&groups->holds));
  next = MIN(next, groups_timers_next(&groups->assigns));
  return MIN(next, groups_timers_next(&groups->expiries));
}

guint groups_count(const Groups *groups) {
  return (guint)g_tree_nnodes(groups->by_name);
}

guint groups_member_count(const Groups *groups) {
  return groups->member_count;
}

guint groups_held_count(const Groups *groups) {
  return g_hash_table_size(groups->held);
}

guint32 groups_fence_epoch(const Groups *groups) {
  return groups->fence_epoch;
}

Milena__V1__OffsetReset groups_offset_reset(const Groups *groups, const char *group, const char *member_id) {
  const Group *found = groups_find(groups, group);
  const GroupsMember *member = found ? groups_member_find(found, member_id) : NULL;
  return member ? member->offset_reset : MILENA__V1__OFFSET_RESET__OFFSET_RESET_UNSPECIFIED;
}
