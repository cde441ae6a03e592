/* How groups are shown, and what the commands for offsets take. */
#include <string.h>

#include "client/cli/group_targets.h"
#include "client/cli/group_view.h"
#include "tests/shim/shim.h"

static MilenaGroupPartition PARTITIONS[] = {
    {"orders", 0, "m-1", 100, 3, "", 1700000000000, 150, 50, ""},
    {"orders", 1, "m-2", 40, 3, "here", 1700000000000, 1040, 1000, ""},
    {"orders", 2, "", -1, -1, "", 0, -1, -1, "no leader"},
};
static MilenaGroupMember MEMBERS[] = {
    {.member_id = "m-1",
     .instance_id = "",
     .client_id = "worker",
     .client_address = "10.0.0.1:5",
     .rack = "",
     .epoch = 4,
     .owned_count = 1,
     .target_count = 1,
     .heartbeat_ms = 9000,
     .topic_pattern = "",
     .explanation = "reads"},
    {.member_id = "m-2",
     .instance_id = "pod-2",
     .client_id = "worker",
     .client_address = "10.0.0.2:5",
     .rack = "a",
     .epoch = 3,
     .owned_count = 1,
     .revoking_count = 1,
     .target_count = 0,
     .heartbeat_ms = 5000,
     .topic_pattern = "",
     .explanation = "gives up orders:1"},
};

static MilenaGroup group_of(void) {
  static char *explanation[] = {"m-1 joined \x1b[31m", NULL};
  return (MilenaGroup){.group = "billing",
                       .state = MILENA_GROUP_RECONCILING,
                       .epoch = 4,
                       .assignment_epoch = 4,
                       .coordinator_id = 2,
                       .coordinator_address = "127.0.0.1:7650",
                       .offsets_partition = 17,
                       .config = {45000, 3000, MILENA_ASSIGNOR_STICKY, 604800000, 1000},
                       .members = MEMBERS,
                       .member_count = G_N_ELEMENTS(MEMBERS),
                       .partitions = PARTITIONS,
                       .partition_count = G_N_ELEMENTS(PARTITIONS),
                       .total_lag = 1050,
                       .explanation = explanation,
                       .explanation_count = 1};
}

TEST(group_view, the_head_says_what_and_why_and_no_name_works_the_terminal) {
  MilenaGroup group = group_of();
  g_autofree char *head = group_view_head(&group);
  EXPECT_EQ_STR("Group billing: reconciling, 2 members, lag 1,050\n"
                "epoch 4, assignor sticky, session timeout 45 s, offsets kept 7 d 0 h after it is empty\n"
                "coordinator 2 at 127.0.0.1:7650, partition 17 of __consumer_offsets\n"
                "- m-1 joined \\x1b[31m\n",
                head);
}

TEST(group_view, members_go_by_the_name_that_outlives_them) {
  MilenaGroup group = group_of();
  g_autoptr(Table) table = group_view_members(&group, 10000);
  g_autofree char *text = table_format(table);
  EXPECT_TRUE(strstr(text, "m-1") != NULL);
  EXPECT_TRUE(strstr(text, "m-2") == NULL);
  EXPECT_TRUE(strstr(text, "pod-2") != NULL);
  EXPECT_TRUE(strstr(text, "5 s ago") != NULL);
}

TEST(group_view, what_lags_most_is_shown_when_not_everything_fits) {
  MilenaGroup group = group_of();
  guint hidden = 0;
  g_autoptr(Table) table = group_view_partitions(&group, NULL, 1, &hidden);
  g_autofree char *text = table_format(table);
  EXPECT_EQ_INT(2, hidden);
  EXPECT_TRUE(strstr(text, "1,000") != NULL);
  EXPECT_TRUE(strstr(text, "150") == NULL);
}

TEST(group_view, rates_are_of_what_is_known_at_both_looks) {
  MilenaGroupPartition before[] = {PARTITIONS[1], PARTITIONS[0]}; /* another order, one less */
  MilenaGroup then = group_of(), now = group_of();
  then.partitions = before;
  then.partition_count = 2;
  before[1].committed = 0;
  before[1].high_watermark = 130;
  g_autofree GroupRate *rates = group_view_rates(&then, &now, 2 * G_USEC_PER_SEC);
  EXPECT_EQ_INT(50, (gint64)rates[0].read);
  EXPECT_EQ_INT(10, (gint64)rates[0].written);
  EXPECT_EQ_INT(0, (gint64)rates[1].read);
  EXPECT_TRUE(rates[2].read < 0 && rates[2].written < 0);
}

TEST(group_view, json_has_null_for_what_is_not_known) {
  MilenaGroup group = group_of();
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, FALSE);
  group_view_json(&group, NULL, json);
  EXPECT_TRUE(strstr(out->str, "\"partition\":2,\"member_id\":\"\",\"committed\":null") != NULL);
  EXPECT_TRUE(strstr(out->str, "\"state\":\"reconciling\"") != NULL);
}

/* What `groups lag --offsets` writes is what `--from-file` reads. */
TEST(group_targets, offsets_go_to_a_file_and_come_back) {
  MilenaGroup group = group_of();
  g_autofree char *text = group_view_offsets(&group);
  g_auto(GroupTargets) targets;
  group_targets_init(&targets);
  EXPECT_NULL(group_targets_add_file(&targets, text, strlen(text)));
  ASSERT_EQ_INT(2, targets.offsets->len);
  const MilenaOffset *second = &g_array_index(targets.offsets, MilenaOffset, 1);
  EXPECT_EQ_STR("orders", second->topic);
  EXPECT_EQ_INT(1, second->partition);
  EXPECT_EQ_INT(40, second->offset);
}

static const struct {
  const char *name, *text;
} BAD_FILES[] = {
    {"nothing", "# only this\n\n"},   {"two_fields", "orders 3\n"},  {"four_fields", "orders 3 4 5\n"},
    {"no_number", "orders 3 many\n"}, {"negative", "orders 3 -1\n"}, {"too_large", "orders 3 99999999999999999999\n"},
    {"no_text", "orders \xff 1\n"},
};
TEST_ROWS(bad_files_are_refused, BAD_FILES) {
  g_auto(GroupTargets) targets;
  group_targets_init(&targets);
  g_autoptr(Failure) failure = group_targets_add_file(&targets, BAD_FILES[row].text, strlen(BAD_FILES[row].text));
  EXPECT_TRUE(failure != NULL);
}

TEST(group_targets, topics_come_whole_or_by_partition) {
  g_auto(GroupTargets) targets;
  group_targets_init(&targets);
  EXPECT_NULL(group_targets_add(&targets, "orders"));
  EXPECT_NULL(group_targets_add(&targets, "clicks:0,7"));
  ASSERT_EQ_INT(3, targets.partitions->len);
  EXPECT_EQ_INT(-1, g_array_index(targets.partitions, MilenaTopicPartition, 0).partition);
  EXPECT_EQ_INT(7, g_array_index(targets.partitions, MilenaTopicPartition, 2).partition);
  g_autoptr(Failure) none = group_targets_add(&targets, ":3"), odd = group_targets_add(&targets, "orders:x");
  EXPECT_TRUE(none != NULL && odd != NULL);
}
