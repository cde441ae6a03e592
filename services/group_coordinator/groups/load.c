/* From the records of the log to groups that serve.
 *
 * What counts is the last record of each key, in whatever order the keys come: so a log that was compacted anywhere
 * makes the same groups. Records are kept as they are until all are there, and made into groups then; groups_start also
 * mends what a log can hold whose end was cut between two records of one change.
 * Invariants: afterwards the same as in reconcile.c and member.c. Owner: the host's loop. */
#include "services/group_coordinator/groups/groups_internal.h"

typedef Milena__Internal__V1__GroupValue GroupValue;
typedef Milena__Internal__V1__GroupMemberValue MemberValue;
typedef Milena__Internal__V1__GroupTargetValue TargetValue;
typedef Milena__Internal__V1__GroupOffsetValue OffsetValue;
typedef Milena__Internal__V1__GroupFenceValue FenceValue;
typedef Milena__Internal__V1__GroupHeldTopic HeldTopic;

/* ---- replay ---- */

static void value_free(gpointer value) {
  protobuf_c_message_free_unpacked(value, NULL);
}

static Failure *replay_fence(Groups *groups, const FenceValue *fence, guint32 *ret_fence_epoch) {
  if (!fence)
    return NULL;
  if (fence->lease_epoch < groups->fence_epoch)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "The fence of lease epoch %u comes after that of %u: a coordinator wrote that did not hold the "
                       "partition any more.",
                       fence->lease_epoch, groups->fence_epoch);
  groups->fence_epoch = fence->lease_epoch;
  *ret_fence_epoch = fence->lease_epoch;
  return NULL;
}

static void replay_group(Group *group, const GroupValue *value) {
  group->recorded = value != NULL;
  group->has_settings = FALSE;
  groups_settings_default(&group->settings);
  g_clear_pointer(&group->reason, g_free);
  group->epoch = value ? value->epoch : 0;
  group->assignment_epoch = value ? value->assignment_epoch : 0;
  group->empty_since_ms = value ? value->empty_since_ms : 0;
  group->assigned_ms = value ? value->assigned_ms : 0;
  if (value && *value->reason)
    group->reason = g_strdup(value->reason);
  if (!value || !value->settings)
    return;
  const Milena__Internal__V1__GroupSettingsValue *given = value->settings;
  GroupsSettings *settings = &group->settings;
  group->has_settings = TRUE;
  if (given->session_timeout_ms > 0)
    settings->session_timeout_ms = given->session_timeout_ms;
  if (given->heartbeat_interval_ms > 0)
    settings->heartbeat_interval_ms = given->heartbeat_interval_ms;
  if (given->assignor > 0)
    settings->assignor = (Milena__V1__Assignor)given->assignor;
  if (given->offsets_retention_ms > 0)
    settings->offsets_retention_ms = (gint64)MIN(given->offsets_retention_ms, (guint64)G_MAXINT64 / 4);
  if (given->max_members > 0)
    settings->max_members = given->max_members;
}

/* Keep the value under the name in the table, which is made when it is needed; NULL removes it. */
static void replay_into(GHashTable **table, const char *name, ProtobufCMessage *value) {
  if (!*table)
    *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, value_free);
  if (value)
    g_hash_table_replace(*table, g_strdup(name), value);
  else
    g_hash_table_remove(*table, name);
}

static void replay_offset(Group *group, const char *topic_id, gint32 partition, const OffsetValue *value) {
  Groups *groups = group->all;
  GroupsKnownTopic *topic = g_hash_table_lookup(groups->topics_by_id, topic_id);
  if (!value) {
    if (topic)
      groups_part_table_set(group->offsets, groups_part(topic->number, partition), NULL);
    return;
  }
  topic = groups_topic_intern(groups, value->topic, topic_id, partition + 1);
  GroupsOffset *offset = g_new(GroupsOffset, 1);
  *offset = (GroupsOffset){
      .topic = g_strdup(value->topic),
      .offset = value->offset,
      .leader_epoch = value->leader_epoch,
      .metadata = g_strdup(value->metadata),
      .commit_ms = value->commit_time_ms,
  };
  groups_part_table_set(group->offsets, groups_part(topic->number, partition), offset);
}

Failure *groups_replay(Groups *groups, GBytes *key, GBytes *value, gint64 offset, guint32 *ret_fence_epoch) {
  INVARIANT(!groups->started, "records are replayed before serving begins");
  g_auto(GroupsDecoded) decoded = {0};
  guint32 fence_epoch = 0;
  Failure *failure = groups_record_decode(key, value, &decoded);
  if (!failure && decoded.kind == GROUPS_RECORD_FENCE)
    failure = replay_fence(groups, (const FenceValue *)decoded.value, &fence_epoch);
  if (failure)
    return failure_prefix(failure, "while reading the record at offset %" G_GINT64_FORMAT, offset);
  if (ret_fence_epoch)
    *ret_fence_epoch = fence_epoch;
  if (decoded.kind == GROUPS_RECORD_FENCE)
    return NULL;
  Group *group = groups_ensure(groups, decoded.group);
  if (decoded.kind == GROUPS_RECORD_GROUP)
    replay_group(group, (const GroupValue *)decoded.value);
  else if (decoded.kind == GROUPS_RECORD_MEMBER)
    replay_into(&group->loaded_members, decoded.name, g_steal_pointer(&decoded.value));
  else if (decoded.kind == GROUPS_RECORD_TARGET)
    replay_into(&group->loaded_targets, decoded.name, g_steal_pointer(&decoded.value));
  else
    replay_offset(group, decoded.name, decoded.partition, (const OffsetValue *)decoded.value);
  return NULL;
}

/* ---- members ---- */

/* @owner: whose holds these are. What another member holds as well stays with the one who got it later: such a log was
 * not written by us, but a partition must never have two readers. */
static void read_holds(GroupsMember *owner, HeldTopic *const *topics, gsize count, GArray *holds) {
  Group *group = owner->group;
  for (gsize i = 0; i < count; i++) {
    for (gsize k = 0; k < topics[i]->n_partitions; k++) {
      GroupsKnownTopic *topic =
          groups_topic_intern(group->all, topics[i]->topic, topics[i]->topic_id, topics[i]->partitions[k] + 1);
      GroupsHold hold = {
          .part = groups_part(topic->number, topics[i]->partitions[k]),
          .since = topics[i]->since_epochs[k],
          .revoked = owner->version,
          .revoke_until_ms = G_MAXINT64,
      };
      if (groups_part_table_get(group->owners, hold.part))
        continue;
      groups_part_table_set(group->owners, hold.part, owner);
      g_array_append_val(holds, hold);
    }
  }
}

static int compare_holds(gconstpointer a, gconstpointer b) {
  GroupsPart one = ((const GroupsHold *)a)->part, other = ((const GroupsHold *)b)->part;
  return one < other ? -1 : one > other;
}

static void load_member(Group *group, const char *id, const MemberValue *value) {
  GroupsMember *member = groups_member_new(group, id);
  member->client_id = (g_free(member->client_id), g_strdup(value->client_id));
  member->client_address = (g_free(member->client_address), g_strdup(value->client_address));
  member->rack = (g_free(member->rack), g_strdup(value->rack));
  if (!*value->instance_id || !g_hash_table_contains(group->instances, value->instance_id))
    groups_member_set_instance(member, value->instance_id);
  member->subscription = groups_subscription_restore(group, value->topics, value->n_topics, value->topic_pattern);
  member->rebalance_timeout_ms = MAX(value->rebalance_timeout_ms, 1);
  member->offset_reset = (Milena__V1__OffsetReset)value->offset_reset;
  member->epoch = value->member_epoch;
  member->previous = value->previous_epoch;
  member->used = value->previous_epoch;
  member->version = value->assignment_version;
  member->away = value->away;
  read_holds(member, value->assigned, value->n_assigned, member->assigned);
  read_holds(member, value->revoking, value->n_revoking, member->revoking);
  g_array_sort(member->assigned, compare_holds);
  g_array_sort(member->revoking, compare_holds);
}

/* Returns FALSE for a target of an assignment that was not written to its end. */
static gboolean load_target(GroupsMember *member, const TargetValue *value) {
  if (!value)
    return member->epoch == 0;
  g_autoptr(GArray) parts = groups_parts_new();
  for (gsize i = 0; i < value->n_topics; i++) {
    const HeldTopic *held = value->topics[i];
    for (gsize k = 0; k < held->n_partitions; k++) {
      GroupsKnownTopic *topic =
          groups_topic_intern(member->group->all, held->topic, held->topic_id, held->partitions[k] + 1);
      GroupsPart part = groups_part(topic->number, held->partitions[k]);
      if (!groups_part_table_get(member->group->wanted, part))
        g_array_append_val(parts, part);
    }
  }
  groups_parts_sort(parts);
  groups_target_set(member, parts);
  member->placed = TRUE;
  member->group->epoch = MAX(member->group->epoch, value->epoch);
  return value->epoch <= member->group->assignment_epoch;
}

/* Later holders first, so that they keep what two hold; then by id, so that it is the same each time. */
static int compare_loaded(gconstpointer a, gconstpointer b, gpointer data) {
  GHashTable *values = data;
  const char *one = *(char *const *)a, *other = *(char *const *)b;
  const MemberValue *one_value = g_hash_table_lookup(values, one), *other_value = g_hash_table_lookup(values, other);
  if (one_value->member_epoch != other_value->member_epoch)
    return one_value->member_epoch > other_value->member_epoch ? -1 : 1;
  return g_strcmp0(one, other);
}

static void load_members(Group *group) {
  if (!group->loaded_members)
    return;
  g_autoptr(GPtrArray) ids = g_ptr_array_new();
  GHashTableIter iter;
  gpointer id;
  g_hash_table_iter_init(&iter, group->loaded_members);
  while (g_hash_table_iter_next(&iter, &id, NULL))
    g_ptr_array_add(ids, id);
  g_ptr_array_sort_with_data(ids, compare_loaded, group->loaded_members);
  for (guint i = 0; i < ids->len; i++)
    load_member(group, ids->pdata[i], g_hash_table_lookup(group->loaded_members, ids->pdata[i]));
}

/* Targets of members that are gone: the end of the log was cut between the two. */
static void remove_orphan_targets(Group *group) {
  if (!group->loaded_targets)
    return;
  g_autoptr(GPtrArray) orphans = g_ptr_array_new();
  GHashTableIter iter;
  gpointer id, value;
  g_hash_table_iter_init(&iter, group->loaded_targets);
  while (g_hash_table_iter_next(&iter, &id, &value)) {
    group->epoch = MAX(group->epoch, ((const TargetValue *)value)->epoch);
    if (!groups_member_find(group, id))
      g_ptr_array_add(orphans, id);
  }
  g_ptr_array_sort(orphans, groups_compare_strings);
  for (guint i = 0; i < orphans->len; i++)
    groups_append(group->all, GROUPS_RECORD_TARGET, group, orphans->pdata[i], 0, NULL);
}

/* ---- groups ---- */

/* Does the group read anything that the metadata does not have, or has less of? Then the metadata may be behind. */
static gboolean reads_unknown(Group *group) {
  GHashTable *tables[] = {group->wanted, group->owners};
  for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
    g_autoptr(GArray) parts = groups_part_table_keys(tables[i]);
    for (guint k = 0; k < parts->len; k++) {
      GroupsPart part = groups_parts_at(parts, k);
      const GroupsKnownTopic *topic = groups_topic_number(group->all, groups_part_topic(part));
      if (!topic->known || groups_part_partition(part) >= topic->partition_count)
        return TRUE;
    }
  }
  return FALSE;
}

/* The last time that anybody committed. */
static void find_last_commit(Group *group) {
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->offsets);
  while (g_hash_table_iter_next(&iter, NULL, &data))
    group->last_commit_ms = MAX(group->last_commit_ms, ((const GroupsOffset *)data)->commit_ms);
}

static void load_group(Group *group) {
  load_members(group);
  remove_orphan_targets(group);
  gboolean whole = TRUE;
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->members);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsMember *member = data;
    const TargetValue *target = group->loaded_targets ? g_hash_table_lookup(group->loaded_targets, member->id) : NULL;
    whole &= load_target(member, target);
    group->epoch = MAX(group->epoch, member->epoch);
  }
  g_clear_pointer(&group->loaded_members, g_hash_table_unref);
  g_clear_pointer(&group->loaded_targets, g_hash_table_unref);
  group->epoch = MAX(group->epoch, group->assignment_epoch);
  find_last_commit(group);
  group->whole = whole;
}

static gboolean load_each(G_GNUC_UNUSED gpointer name, gpointer group, G_GNUC_UNUSED gpointer data) {
  load_group(group);
  return FALSE;
}

/* After all topics were looked up. */
static void begin_group(Group *group) {
  Groups *groups = group->all;
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->members);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsMember *member = data;
    groups_timer_set(&groups->sessions, &member->session, groups->time.now_ms + group->settings.session_timeout_ms);
    groups_reconcile_settle(member);
  }
  if (g_hash_table_size(group->members) > 0) {
    group->empty_since_ms = 0;
    /* What was begun is begun anew; else the topics may have changed while nobody looked. */
    if (!group->whole)
      groups_target_dirty(group, FALSE, "another coordinator took over while the assignment was being made");
    else
      groups_target_check(group, reads_unknown(group) ? groups->forget_unknown_at_ms : groups->time.now_ms,
                          "topics changed while another coordinator took over");
  } else if (group->recorded && group->empty_since_ms == 0 && group->epoch > 0) {
    group->empty_since_ms =
        groups->time.wall_ms; /* the last member's record went, the group's was not written any more */
  }
  groups_expiry_arm(group);
}

static gboolean gather(G_GNUC_UNUSED gpointer name, gpointer value, gpointer data) {
  Group *group = value;
  GPtrArray *dead = data;
  if (!group->recorded && g_hash_table_size(group->members) == 0 && g_hash_table_size(group->offsets) == 0)
    g_ptr_array_add(dead, group);
  else
    begin_group(group);
  return FALSE;
}

void groups_start(Groups *groups, GroupsTime time) {
  INVARIANT(!groups->started, "loading ends once");
  groups->started = TRUE;
  groups->time = time;
  groups->forget_unknown_at_ms = time.now_ms + GROUPS_UNKNOWN_TOPIC_MS;
  g_tree_foreach(groups->by_name, load_each, NULL);
  groups_topics_refresh(groups);
  g_autoptr(GPtrArray) dead = g_ptr_array_new();
  g_tree_foreach(groups->by_name, gather, dead);
  for (guint i = 0; i < dead->len; i++)
    groups_drop(dead->pdata[i]);
}
