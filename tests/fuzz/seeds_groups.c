/* Seeds of the records of __consumer_offsets. */
#include "services/group_coordinator/groups/record.h"
#include "tests/fuzz/seeds.h"

static void seed_record(const char *name, GroupsRecordKind kind, const ProtobufCMessage *value) {
  Seed *seed = seed_new();
  g_autoptr(GBytes) key = groups_record_key(kind, "group", kind == GROUPS_RECORD_OFFSET ? "topic-id" : "member", 3);
  seed_number(seed, g_bytes_get_size(key), 2);
  seed_gbytes(seed, key);
  seed_number(seed, value == NULL, 1);
  if (value)
    seed_message(seed, value, FALSE);
  seed_write("group_log", name, seed);
}

void seeds_groups(void) {
  gint32 partitions[] = {0, 2, 5};
  guint32 since[] = {1, 2, 3};
  char *names[] = {"orders", "payments"};
  Milena__Internal__V1__GroupHeldTopic held = MILENA__INTERNAL__V1__GROUP_HELD_TOPIC__INIT, *topics[] = {&held};
  held.topic = "orders";
  held.topic_id = "topic-id";
  held.partitions = partitions;
  held.n_partitions = 3;
  Milena__Internal__V1__GroupTargetValue target = MILENA__INTERNAL__V1__GROUP_TARGET_VALUE__INIT;
  target.format = 1;
  target.epoch = 4;
  target.topics = topics;
  target.n_topics = 1;
  seed_record("target", GROUPS_RECORD_TARGET, &target.base);
  held.since_epochs = since;
  held.n_since_epochs = 3;
  Milena__Internal__V1__GroupMemberValue member = MILENA__INTERNAL__V1__GROUP_MEMBER_VALUE__INIT;
  member.format = 1;
  member.instance_id = "instance";
  member.topics = names;
  member.n_topics = 2;
  member.topic_pattern = "logs\\..*";
  member.rebalance_timeout_ms = 1000;
  member.member_epoch = 4;
  member.previous_epoch = 3;
  member.assignment_version = 7;
  member.assigned = topics;
  member.n_assigned = 1;
  seed_record("member", GROUPS_RECORD_MEMBER, &member.base);
  Milena__Internal__V1__GroupSettingsValue settings = MILENA__INTERNAL__V1__GROUP_SETTINGS_VALUE__INIT;
  settings.session_timeout_ms = 9000;
  Milena__Internal__V1__GroupValue group = MILENA__INTERNAL__V1__GROUP_VALUE__INIT;
  group.format = 1;
  group.epoch = 4;
  group.assignment_epoch = 4;
  group.settings = &settings;
  group.reason = "somebody left";
  seed_record("group", GROUPS_RECORD_GROUP, &group.base);
  Milena__Internal__V1__GroupOffsetValue offset = MILENA__INTERNAL__V1__GROUP_OFFSET_VALUE__INIT;
  offset.format = 1;
  offset.topic = "orders";
  offset.offset = 1000;
  offset.leader_epoch = 2;
  offset.metadata = "metadata";
  offset.commit_time_ms = 1700000000000;
  seed_record("offset", GROUPS_RECORD_OFFSET, &offset.base);
  Milena__Internal__V1__GroupFenceValue fence = MILENA__INTERNAL__V1__GROUP_FENCE_VALUE__INIT;
  fence.format = 1;
  fence.lease_epoch = 3;
  seed_record("fence", GROUPS_RECORD_FENCE, &fence.base);
  seed_record("tombstone", GROUPS_RECORD_MEMBER, NULL);
}
