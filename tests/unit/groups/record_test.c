/* Records of __consumer_offsets: their bytes, and what is refused. A change here is a change of what is on disk. */
#include "services/group_coordinator/groups/record.h"

#include <string.h>

#include "services/group_coordinator/groups/groups.h"
#include "tests/shim/shim.h"

static GBytes *from_hex(const char *hex) {
  GByteArray *bytes = g_byte_array_new();
  for (; hex[0] && hex[1]; hex += 2) {
    guint8 byte = (guint8)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
    g_byte_array_append(bytes, &byte, 1);
  }
  return g_byte_array_free_to_bytes(bytes);
}

static void expect_hex(const char *want, GBytes *got) {
  g_autoptr(GBytes) bytes = from_hex(want);
  gsize want_size, got_size;
  const void *want_data = g_bytes_get_data(bytes, &want_size), *got_data = g_bytes_get_data(got, &got_size);
  EXPECT_EQ_BYTES(want_data, want_size, got_data, got_size);
}

TEST(groups_record, keys_are_these_bytes) {
  static const struct {
    GroupsRecordKind kind;
    const char *group, *name;
    gint32 partition;
    const char *hex;
  } KEYS[] = {
      {GROUPS_RECORD_FENCE, NULL, NULL, 0, "0101"},
      {GROUPS_RECORD_GROUP, "g", NULL, 0, "01020167"},
      {GROUPS_RECORD_MEMBER, "g", "m1", 0, "01030167026d31"},
      {GROUPS_RECORD_TARGET, "g", "m1", 0, "01040167026d31"},
      {GROUPS_RECORD_OFFSET, "g", "id", 258,
       "01050167026964"
       "00000102"},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(KEYS); i++) {
    g_autoptr(GBytes) key = groups_record_key(KEYS[i].kind, KEYS[i].group, KEYS[i].name, KEYS[i].partition);
    expect_hex(KEYS[i].hex, key);
    g_auto(GroupsDecoded) decoded = {0};
    g_autoptr(Failure) failure = groups_record_decode(key, NULL, &decoded);
    EXPECT_NULL(failure);
    EXPECT_EQ_INT(KEYS[i].kind, decoded.kind);
    EXPECT_EQ_INT(KEYS[i].partition, decoded.partition);
    if (KEYS[i].group)
      EXPECT_EQ_STR(KEYS[i].group, decoded.group);
    if (KEYS[i].name)
      EXPECT_EQ_STR(KEYS[i].name, decoded.name);
  }
}

TEST(groups_record, values_are_these_bytes) {
  gint32 partitions[] = {0, 3};
  guint32 since[] = {4, 7};
  Milena__Internal__V1__GroupHeldTopic topic = MILENA__INTERNAL__V1__GROUP_HELD_TOPIC__INIT, *topics[] = {&topic};
  topic.topic = "t";
  topic.topic_id = "id";
  topic.partitions = partitions;
  topic.n_partitions = 2;
  topic.since_epochs = since;
  topic.n_since_epochs = 2;
  Milena__Internal__V1__GroupMemberValue member = MILENA__INTERNAL__V1__GROUP_MEMBER_VALUE__INIT;
  member.format = 1;
  member.instance_id = "i";
  member.member_epoch = 7;
  member.previous_epoch = 6;
  member.assignment_version = 9;
  member.assigned = topics;
  member.n_assigned = 1;
  member.away = 1;
  g_autoptr(GBytes) member_bytes = groups_record_value(&member.base);
  expect_hex("0801"
             "120169"
             "5007"
             "5806"
             "6009"
             "6a0f"
             "0a0174"
             "12026964"
             "1a020003"
             "22020407"
             "7801",
             member_bytes);

  Milena__Internal__V1__GroupOffsetValue offset = MILENA__INTERNAL__V1__GROUP_OFFSET_VALUE__INIT;
  offset.format = 1;
  offset.topic = "t";
  offset.offset = 300;
  offset.leader_epoch = -1;
  offset.metadata = "m";
  offset.commit_time_ms = 5;
  g_autoptr(GBytes) offset_bytes = groups_record_value(&offset.base);
  expect_hex("0801"
             "120174"
             "18ac02"
             "2001"
             "2a016d"
             "3005",
             offset_bytes);

  GBytes *key, *value;
  groups_encode_fence(3, 21, 1000, &key, &value);
  expect_hex("0801"
             "1003"
             "1815"
             "20e807",
             value);
  g_bytes_unref(key);
  g_bytes_unref(value);
}

static const struct {
  const char *name, *key, *value;
  FailureReason reason;
} REFUSED[] = {
    {"newer_key", "0202", NULL, FAILURE(UNSUPPORTED)},
    {"newer_kind",
     "010601"
     "67",
     NULL, FAILURE(UNSUPPORTED)},
    {"newer_value", "0101", "0802", FAILURE(UNSUPPORTED)},
    {"no_key", "", NULL, FAILURE(CORRUPT_LOG)},
    {"short_key", "01", NULL, FAILURE(CORRUPT_LOG)},
    {"kind_zero", "0100", NULL, FAILURE(CORRUPT_LOG)},
    {"empty_group", "010200", NULL, FAILURE(CORRUPT_LOG)},
    {"cut_group", "01020567", NULL, FAILURE(CORRUPT_LOG)},
    {"group_is_no_text", "010201ff", NULL, FAILURE(CORRUPT_LOG)},
    {"group_with_nul", "01020100", NULL, FAILURE(CORRUPT_LOG)},
    {"longer_key", "0102016700", NULL, FAILURE(CORRUPT_LOG)},
    {"negative_partition",
     "010501670169"
     "ffffffff",
     NULL, FAILURE(CORRUPT_LOG)},
    {"partition_beyond_all",
     "010501670169"
     "7fffffff",
     NULL, FAILURE(CORRUPT_LOG)},
    {"no_format", "0101", "1003", FAILURE(CORRUPT_LOG)},
    {"empty_value", "01020167", "", FAILURE(CORRUPT_LOG)},
    {"no_message", "01020167", "ffff", FAILURE(CORRUPT_LOG)},
    {"negative_offset",
     "010501670169"
     "00000000",
     "0801"
     "120174"
     "18ffffffffffffffffff01",
     FAILURE(CORRUPT_LOG)},
    {"epochs_do_not_fit", "01030167026d31",
     "0801"
     "6a0b"
     "0a0174"
     "12026964"
     "1a020003",
     FAILURE(CORRUPT_LOG)},
};

TEST_ROWS(groups_record_refused, REFUSED) {
  g_autoptr(GBytes) key = from_hex(REFUSED[row].key);
  g_autoptr(GBytes) value = REFUSED[row].value ? from_hex(REFUSED[row].value) : NULL;
  g_auto(GroupsDecoded) decoded = {0};
  g_autoptr(Failure) failure = groups_record_decode(key, value, &decoded);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_STR(failure_reason_name(REFUSED[row].reason), failure_reason_name(failure_reason(failure)));
}

static gboolean find_topic(const char *name, GroupsTopic *ret_topic, gpointer data) {
  (void)name, (void)ret_topic, (void)data;
  return FALSE;
}

/* A fence that is older than one before it was written by who did not hold the lease any more. */
TEST(groups_record, fences_only_rise) {
  GroupsHost host = {.find_topic = find_topic};
  g_autoptr(Groups) groups = groups_new(&host);
  static const guint32 EPOCHS[] = {3, 5, 5, 4};
  for (gsize i = 0; i < G_N_ELEMENTS(EPOCHS); i++) {
    GBytes *key, *value;
    guint32 epoch = 99;
    groups_encode_fence(EPOCHS[i], 1, 0, &key, &value);
    g_autoptr(Failure) failure = groups_replay(groups, key, value, (gint64)i, &epoch);
    EXPECT_EQ_INT(i == 3, failure != NULL);
    if (!failure)
      EXPECT_EQ_INT(EPOCHS[i], epoch);
    g_bytes_unref(key);
    g_bytes_unref(value);
  }
  EXPECT_EQ_INT(5, groups_fence_epoch(groups));
}
