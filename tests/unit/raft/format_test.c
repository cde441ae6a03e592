#include "controller/raft/entry.h"

#include <string.h>

#include "tests/shim/shim.h"

static void expect_bytes(const guint8 *want, gsize want_len, GBytes *got) {
  gsize size;
  const void *data = g_bytes_get_data(got, &size);
  EXPECT_EQ_BYTES(want, want_len, data, size);
  g_bytes_unref(got);
}

TEST(raft_format, entry_has_these_bytes) {
  static const guint8 GOLDEN[] = {0x08, 0x01, 0x10, 0xac, 0x02, 0x18, 0x07, 0x20, 0x02, 0x2a, 0x02, 'h', 'i'};
  g_autoptr(RaftEntry) entry = raft_entry_new(300, 7, RAFT_ENTRY_KIND(METADATA), g_bytes_new_static("hi", 2));
  expect_bytes(GOLDEN, sizeof GOLDEN, raft_entry_encode(entry));
  g_autoptr(RaftEntry) back = NULL;
  EXPECT_NULL(raft_entry_decode(GOLDEN, sizeof GOLDEN, &back));
  EXPECT_EQ_INT(300, back->index);
  EXPECT_EQ_INT(7, back->term);
  EXPECT_TRUE(g_bytes_equal(entry->data, back->data));
}

TEST(raft_format, hard_state_has_these_bytes) {
  static const guint8 GOLDEN[] = {0x08, 0x01, 0x10, 0x05, 0x18, 0x02, 0x20, 0x09};
  RaftHardState state = {.term = 5, .vote = 2, .commit = 9}, back = {0};
  expect_bytes(GOLDEN, sizeof GOLDEN, raft_hard_state_encode(&state));
  EXPECT_NULL(raft_hard_state_decode(GOLDEN, sizeof GOLDEN, &back));
  EXPECT_EQ_INT(5, back.term);
  EXPECT_EQ_INT(2, back.vote);
  EXPECT_EQ_INT(9, back.commit);
}

/* Two members: one that votes, one that learns. */
static const RaftConfiguration TWO = {
    .members = {{.id = 1, .directory = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}, .address = "a:1"},
                {.id = 300, .directory = {{0xff}}, .address = "b:2", .learner = TRUE}},
    .member_count = 2,
};
#define TWO_BYTES                                                                                                      \
  0x1a, 0x19, 0x08, 0x01, 0x12, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x1a, 0x03, 'a', ':',     \
      '1', 0x1a, 0x1c, 0x08, 0xac, 0x02, 0x12, 0x10, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0x03,    \
      'b', ':', '2', 0x20, 0x01, 0x20, 0x02

static void expect_two(const RaftConfiguration *got) {
  EXPECT_EQ_INT(2, got->member_count);
  for (guint i = 0; i < 2; i++) {
    EXPECT_EQ_INT(TWO.members[i].id, got->members[i].id);
    EXPECT_TRUE(raft_directory_equal(&TWO.members[i].directory, &got->members[i].directory));
    EXPECT_EQ_STR(TWO.members[i].address, got->members[i].address);
    EXPECT_EQ_INT(TWO.members[i].learner, got->members[i].learner);
  }
}

TEST(raft_format, configuration_has_these_bytes) {
  static const guint8 GOLDEN[] = {TWO_BYTES};
  RaftConfiguration back = {0};
  expect_bytes(GOLDEN, sizeof GOLDEN, raft_configuration_encode(&TWO));
  EXPECT_NULL(raft_configuration_decode(GOLDEN, sizeof GOLDEN, &back));
  expect_two(&back);
}

TEST(raft_format, an_entry_that_holds_a_configuration_says_so) {
  static const guint8 GOLDEN[] = {0x08, 0x02, 0x10, 0x01, 0x18, 0x01, 0x20, 0x03, 0x2a, 0x3b, TWO_BYTES};
  g_autoptr(RaftEntry) entry = raft_entry_new_bootstrap(&TWO, 1);
  expect_bytes(GOLDEN, sizeof GOLDEN, raft_entry_encode(entry));
}

TEST(raft_format, snapshot_meta_has_these_bytes) {
  static const guint8 GOLDEN[] = {0x08,      0x02, 0x10, 0x09, 0x18, 0x05, 0x22, 0x3b,
                                  TWO_BYTES, 0x28, 0x64, 0x35, 0x78, 0x56, 0x34, 0x12};
  RaftSnapshotMeta meta = {.index = 9, .term = 5, .configuration = TWO, .size_bytes = 100, .crc32c = 0x12345678};
  RaftSnapshotMeta back = {0};
  expect_bytes(GOLDEN, sizeof GOLDEN, raft_snapshot_meta_encode(&meta));
  EXPECT_NULL(raft_snapshot_meta_decode(GOLDEN, sizeof GOLDEN, &back));
  expect_two(&back.configuration);
  EXPECT_EQ_INT(0x12345678, back.crc32c);
}

TEST(raft_format, a_vote_names_the_incarnation) {
  static const guint8 GOLDEN[] = {0x08, 0x01, 0x10, 0x05, 0x18, 0x02, 0x20, 0x09, 0x2a, 0x10, 1,  2,  3,
                                  4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14, 15, 16};
  RaftHardState state = {.term = 5, .vote = 2, .commit = 9, .vote_directory = TWO.members[0].directory}, back = {0};
  expect_bytes(GOLDEN, sizeof GOLDEN, raft_hard_state_encode(&state));
  EXPECT_NULL(raft_hard_state_decode(GOLDEN, sizeof GOLDEN, &back));
  EXPECT_TRUE(raft_directory_equal(&state.vote_directory, &back.vote_directory));
}

/* ---- What the release before wrote ---- */

TEST(raft_format_1, its_only_voter_is_known_by_its_id) {
  static const guint8 GOLDEN[] = {0x0a, 0x01, 0x07};
  RaftConfiguration back = {0};
  EXPECT_NULL(raft_configuration_decode(GOLDEN, sizeof GOLDEN, &back));
  EXPECT_EQ_INT(1, back.member_count);
  EXPECT_TRUE(raft_directory_is_unknown(&back.members[0].directory));
  EXPECT_TRUE(raft_configuration_find_exact(&back, 7, &TWO.members[0].directory) != NULL);
  EXPECT_NULL(raft_configuration_find_exact(&back, 8, &TWO.members[0].directory));
}

TEST(raft_format_1, snapshot_meta_still_opens) {
  static const guint8 GOLDEN[] = {0x08, 0x01, 0x10, 0x09, 0x18, 0x05, 0x22, 0x03, 0x0a,
                                  0x01, 0x07, 0x28, 0x64, 0x35, 0x78, 0x56, 0x34, 0x12};
  RaftSnapshotMeta back = {0};
  EXPECT_NULL(raft_snapshot_meta_decode(GOLDEN, sizeof GOLDEN, &back));
  EXPECT_EQ_INT(9, back.index);
  EXPECT_EQ_INT(7, back.configuration.members[0].id);
}

/* ---- What is refused ---- */

static Failure *decode_entry(const void *data, gsize size) {
  RaftEntry *entry = NULL;
  Failure *failure = raft_entry_decode(data, size, &entry);
  raft_entry_unref(entry);
  return failure;
}

static Failure *decode_state(const void *data, gsize size) {
  RaftHardState state;
  return raft_hard_state_decode(data, size, &state);
}

static Failure *decode_configuration(const void *data, gsize size) {
  RaftConfiguration configuration;
  return raft_configuration_decode(data, size, &configuration);
}

static Failure *decode_meta(const void *data, gsize size) {
  RaftSnapshotMeta meta;
  return raft_snapshot_meta_decode(data, size, &meta);
}

static const struct {
  const char *name;
  Failure *(*decode)(const void *data, gsize size);
  guint8 bytes[12];
  gsize size;
  const char *reason;
} REFUSED[] = {
    {"entry_of_a_newer_format", decode_entry, {0x08, 3, 0x10, 1, 0x18, 1, 0x20, 2}, 8, "UNSUPPORTED"},
    {"entry_without_format", decode_entry, {0x10, 1, 0x18, 1, 0x20, 2}, 6, "CORRUPT_LOG"},
    {"entry_without_index", decode_entry, {0x08, 1, 0x18, 1, 0x20, 2}, 6, "CORRUPT_LOG"},
    {"entry_without_term", decode_entry, {0x08, 1, 0x10, 1, 0x20, 2}, 6, "CORRUPT_LOG"},
    {"entry_of_unknown_kind", decode_entry, {0x08, 1, 0x10, 1, 0x18, 1, 0x20, 9}, 8, "CORRUPT_LOG"},
    {"entry_cut_short", decode_entry, {0x08, 1, 0x10}, 3, "CORRUPT_LOG"},
    {"state_of_a_newer_format", decode_state, {0x08, 3, 0x10, 5}, 4, "UNSUPPORTED"},
    {"state_cut_short", decode_state, {0x08}, 1, "CORRUPT_LOG"},
    {"configuration_without_voters", decode_configuration, {0}, 0, "CORRUPT_LOG"},
    {"configuration_with_nobody", decode_configuration, {0x0a, 1, 0}, 3, "CORRUPT_LOG"},
    {"configuration_with_learners", decode_configuration, {0x0a, 1, 1, 0x12, 1, 2}, 6, "CORRUPT_LOG"},
    {"configuration_of_a_newer_format", decode_configuration, {0x20, 3}, 2, "UNSUPPORTED"},
    {"configuration_with_voters_without_directories", decode_configuration, {0x0a, 2, 1, 2}, 4, "CORRUPT_LOG"},
    {"configuration_of_learners_only", decode_configuration, {0x1a, 4, 0x08, 1, 0x20, 1, 0x20, 2}, 8, "CORRUPT_LOG"},
    {"configuration_with_a_short_directory",
     decode_configuration,
     {0x1a, 5, 0x08, 1, 0x12, 1, 9, 0x20, 2},
     9,
     "CORRUPT_LOG"},
    {"configuration_with_an_id_twice",
     decode_configuration,
     {0x1a, 2, 0x08, 1, 0x1a, 2, 0x08, 1, 0x20, 2},
     10,
     "CORRUPT_LOG"},
    {"snapshot_without_configuration", decode_meta, {0x08, 1, 0x10, 1, 0x18, 1}, 6, "CORRUPT_LOG"},
    {"snapshot_of_a_newer_format", decode_meta, {0x08, 3, 0x10, 1, 0x18, 1}, 6, "UNSUPPORTED"},
};

TEST_ROWS(raft_format_refused, REFUSED) {
  g_autoptr(Failure) failure = REFUSED[row].decode(REFUSED[row].bytes, REFUSED[row].size);
  EXPECT_EQ_STR(REFUSED[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
}
