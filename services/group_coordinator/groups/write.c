/* Records of what is in memory, as they are appended. No state of its own. */
#include "services/group_coordinator/groups/groups_internal.h"

typedef Milena__Internal__V1__GroupHeldTopic HeldTopic;

/* Holds by topic, as messages that borrow everything. */
typedef struct {
  HeldTopic *topics;
  HeldTopic **pointers;
  gint32 *partitions;
  guint32 *since;
  gsize count;
} Held;

static Held held_from(const Groups *groups, const GArray *holds, gboolean with_since) {
  Held held = {
      .topics = g_new(HeldTopic, holds->len + 1),
      .pointers = g_new(HeldTopic *, holds->len + 1),
      .partitions = g_new(gint32, holds->len + 1),
      .since = g_new(guint32, holds->len + 1),
  };
  guint32 last = 0;
  for (guint i = 0; i < holds->len; i++) {
    const GroupsHold *hold = &g_array_index(holds, GroupsHold, i);
    guint32 number = groups_part_topic(hold->part);
    if (held.count == 0 || number != last) {
      const GroupsKnownTopic *known = groups_topic_number(groups, number);
      INVARIANT(known != NULL, "what is held, or shall be, has a topic");
      HeldTopic *topic = &held.topics[held.count];
      milena__internal__v1__group_held_topic__init(topic);
      topic->topic = known->name;
      topic->topic_id = known->id;
      topic->partitions = &held.partitions[i];
      topic->since_epochs = &held.since[i];
      held.pointers[held.count++] = topic;
      last = number;
    }
    held.partitions[i] = groups_part_partition(hold->part);
    held.since[i] = hold->since;
    held.topics[held.count - 1].n_partitions++;
    held.topics[held.count - 1].n_since_epochs += with_since;
  }
  return held;
}

static void held_clear(Held *held) {
  g_free(held->topics);
  g_free(held->pointers);
  g_free(held->partitions);
  g_free(held->since);
}

void groups_write_group(Group *group) {
  Milena__Internal__V1__GroupValue value = MILENA__INTERNAL__V1__GROUP_VALUE__INIT;
  Milena__Internal__V1__GroupSettingsValue settings = MILENA__INTERNAL__V1__GROUP_SETTINGS_VALUE__INIT;
  value.format = 1;
  value.epoch = group->epoch;
  value.assignment_epoch = group->assignment_epoch;
  value.empty_since_ms = group->empty_since_ms;
  value.assigned_ms = group->assigned_ms;
  if (group->reason)
    value.reason = group->reason;
  if (group->has_settings) {
    settings.session_timeout_ms = (guint32)group->settings.session_timeout_ms;
    settings.heartbeat_interval_ms = (guint32)group->settings.heartbeat_interval_ms;
    settings.assignor = (guint32)group->settings.assignor;
    settings.offsets_retention_ms = (guint64)group->settings.offsets_retention_ms;
    settings.max_members = group->settings.max_members;
    value.settings = &settings;
  }
  groups_append(group->all, GROUPS_RECORD_GROUP, group, NULL, 0, &value.base);
  group->recorded = TRUE;
}

void groups_write_member(GroupsMember *member) {
  const Groups *groups = member->group->all;
  Milena__Internal__V1__GroupMemberValue value = MILENA__INTERNAL__V1__GROUP_MEMBER_VALUE__INIT;
  Held assigned = held_from(groups, member->assigned, TRUE), revoking = held_from(groups, member->revoking, TRUE);
  value.format = 1;
  value.instance_id = member->instance_id;
  value.client_id = member->client_id;
  value.client_address = member->client_address;
  value.rack = member->rack;
  value.topics = member->subscription->names;
  value.n_topics = g_strv_length(member->subscription->names);
  if (member->subscription->pattern)
    value.topic_pattern = member->subscription->pattern->text;
  value.rebalance_timeout_ms = (guint32)member->rebalance_timeout_ms;
  value.offset_reset = (guint32)member->offset_reset;
  value.member_epoch = member->epoch;
  value.previous_epoch = member->previous;
  value.assignment_version = member->version;
  value.assigned = assigned.pointers;
  value.n_assigned = assigned.count;
  value.revoking = revoking.pointers;
  value.n_revoking = revoking.count;
  value.away = member->away;
  groups_append(member->group->all, GROUPS_RECORD_MEMBER, member->group, member->id, 0, &value.base);
  held_clear(&assigned);
  held_clear(&revoking);
}

void groups_write_target(GroupsMember *member, guint32 epoch) {
  g_autoptr(GArray) holds = g_array_sized_new(FALSE, TRUE, sizeof(GroupsHold), member->target->len);
  for (guint i = 0; i < member->target->len; i++) {
    GroupsHold hold = {.part = groups_parts_at(member->target, i)};
    g_array_append_val(holds, hold);
  }
  Milena__Internal__V1__GroupTargetValue value = MILENA__INTERNAL__V1__GROUP_TARGET_VALUE__INIT;
  Held topics = held_from(member->group->all, holds, FALSE);
  value.format = 1;
  value.epoch = epoch;
  value.topics = topics.pointers;
  value.n_topics = topics.count;
  groups_append(member->group->all, GROUPS_RECORD_TARGET, member->group, member->id, 0, &value.base);
  held_clear(&topics);
}

void groups_encode_fence(guint32 lease_epoch, gint32 coordinator_id, gint64 wall_ms, GBytes **ret_key,
                         GBytes **ret_value) {
  Milena__Internal__V1__GroupFenceValue value = MILENA__INTERNAL__V1__GROUP_FENCE_VALUE__INIT;
  value.format = 1;
  value.lease_epoch = lease_epoch;
  value.coordinator_id = coordinator_id;
  value.time_ms = wall_ms;
  *ret_key = groups_record_key(GROUPS_RECORD_FENCE, NULL, NULL, 0);
  *ret_value = groups_record_value(&value.base);
}
