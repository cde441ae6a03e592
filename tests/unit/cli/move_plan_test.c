#include "client/cli/move_plan.h"

#include "tests/shim/shim.h"

/* "0=1,2 1=3": owned by the caller. */
static char *plan_text(const MovePlan *plan) {
  GString *out = g_string_new(NULL);
  for (guint i = 0; i < plan->len; i++) {
    const PlannedMove *move = &g_array_index(plan, PlannedMove, i);
    g_string_append_printf(out, "%s%d=", i ? " " : "", move->partition);
    for (guint j = 0; j < move->replicas->len; j++)
      g_string_append_printf(out, "%s%d", j ? "," : "", g_array_index(move->replicas, gint32, j));
  }
  return g_string_free(out, FALSE);
}

static const struct {
  const char *name, *words[3], *says;
} REFUSED[] = {
    {"no_sign", {"0"}, "0=1,2,3"},
    {"no_brokers", {"0="}, "0=1,2,3"},
    {"bad_partition", {"x=1"}, "the partition"},
    {"bad_broker", {"0=1,x"}, "a broker's id"},
    {"broker_twice", {"0=1,2,1"}, "broker 1 stands twice"},
    {"partition_twice", {"0=1", "0=2"}, "partition 0 stands there twice"},
};

TEST_ROWS(move_plan_refuses, REFUSED) {
  g_autoptr(MovePlan) plan = move_plan_new();
  g_autoptr(Failure) failure = NULL;
  for (const char *const *word = REFUSED[row].words; *word && !failure; word++)
    failure = move_plan_add_words(plan, *word);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), REFUSED[row].says);
}

TEST(move_plan, takes_words) {
  g_autoptr(MovePlan) plan = move_plan_new();
  ASSERT_NULL(move_plan_add_words(plan, "7=3,1,2"));
  ASSERT_NULL(move_plan_add_words(plan, "0=4"));
  g_autofree char *text = plan_text(plan);
  EXPECT_EQ_STR("7=3,1,2 0=4", text);
}

/* Brokers 1 and 2 stand in rack a, 3 and 4 in rack b, 5 and 6 nowhere; 6 is drained. */
static MilenaBrokerList six_brokers(MilenaBroker *brokers, gboolean racks) {
  static const char *const RACKS[] = {"a", "a", "b", "b", "", ""};
  static const guint REPLICAS[] = {5, 1, 4, 2, 9, 0};
  for (gint32 i = 0; i < 6; i++)
    brokers[i] = (MilenaBroker){.id = i + 1,
                                .rack = (char *)(racks ? RACKS[i] : ""),
                                .address = (char *)"",
                                .replica_count = REPLICAS[i],
                                .drained = i == 5};
  return (MilenaBrokerList){brokers, 6};
}

static const struct {
  const char *name;
  int32_t first[4], second[4]; /* replicas of the two partitions; end with 0 */
  gboolean racks;
  MoveWish wish;
  gint32 fenced;
  const char *plan; /* NULL: it can't be done */
} PLANS[] = {
    {"as_it_is", {1, 2}, {2, 1}, FALSE, {-1, 2}, 0, ""},
    {"one_more_goes_where_least_is", {1}, {1}, FALSE, {-1, 2}, 0, "0=1,2 1=1,2"},
    {"planned_ones_count", {1}, {2}, FALSE, {-1, 3}, 0, "0=1,2,4 1=2,4,3"},
    {"another_rack_first", {1}, {2}, TRUE, {-1, 2}, 0, "0=1,4 1=2,4"},
    {"not_to_a_fenced_one", {1}, {3}, TRUE, {-1, 2}, 4, "0=1,3 1=3,2"},
    {"fewer_keep_the_first", {1, 3, 4}, {3, 1, 4}, TRUE, {-1, 2}, 0, "0=1,3 1=3,1"},
    {"fewer_lose_the_fenced_one", {1, 3, 5}, {3, 1, 5}, TRUE, {-1, 2}, 1, "0=3,5 1=3,5"},
    {"away_keeps_the_place", {2, 1}, {1, 3}, FALSE, {1, 0}, 0, "0=2,4 1=2,3"},
    {"away_and_fewer", {1, 2, 3}, {2, 3, 4}, FALSE, {1, 2}, 0, "0=2,3 1=2,3"},
    {"away_from_nothing", {2, 3}, {3, 4}, FALSE, {1, 0}, 0, ""},
    {"too_few_brokers", {1}, {2}, FALSE, {-1, 6}, 0, NULL},
};

static gsize count_ids(const int32_t *ids) {
  gsize count = 0;
  while (ids[count])
    count++;
  return count;
}

TEST_ROWS(move_plan_makes, PLANS) {
  MilenaBroker brokers[6];
  MilenaBrokerList list = six_brokers(brokers, PLANS[row].racks);
  if (PLANS[row].fenced)
    brokers[PLANS[row].fenced - 1].fenced = true;
  MilenaPartition partitions[] = {
      {.partition = 0, .replicas = (int32_t *)PLANS[row].first, .replica_count = count_ids(PLANS[row].first)},
      {.partition = 1, .replicas = (int32_t *)PLANS[row].second, .replica_count = count_ids(PLANS[row].second)}};
  MilenaTopic topic = {.name = (char *)"t", .partitions = partitions, .partition_count = 2};
  g_autoptr(MovePlan) plan = move_plan_new();
  g_autoptr(Failure) failure = move_plan_make(&topic, &list, &PLANS[row].wish, plan);
  if (!PLANS[row].plan) {
    ASSERT_TRUE(failure != NULL);
    EXPECT_CONTAINS(failure_message(failure), "one more broker");
    return;
  }
  ASSERT_NULL(failure);
  g_autofree char *text = plan_text(plan);
  EXPECT_EQ_STR(PLANS[row].plan, text);
}

TEST(move_plan, goes_on_from_where_a_reassignment_goes) {
  MilenaBroker brokers[6];
  MilenaBrokerList list = six_brokers(brokers, FALSE);
  int32_t replicas[] = {3, 4, 1, 2}, target[] = {3, 4};
  MilenaPartition partition = {
      .replicas = replicas, .replica_count = 4, .target_replicas = target, .target_replica_count = 2};
  MilenaTopic topic = {.name = (char *)"t", .partitions = &partition, .partition_count = 1};
  g_autoptr(MovePlan) plan = move_plan_new();
  MoveWish wish = {.away_from = 4};
  ASSERT_NULL(move_plan_make(&topic, &list, &wish, plan));
  g_autofree char *text = plan_text(plan);
  EXPECT_EQ_STR("0=3,2", text);
}

static const struct {
  const char *name, *move;
  gint32 fenced;
  const char *says; /* NULL: it may be so */
} RACKS_OF[] = {
    {"racks_apart", "0=1,3", 0, NULL},
    {"one_rack_twice", "0=3,4", 0, "brokers 3 and 4, both in rack 'b'"},
    {"one_rack_twice_of_three", "0=1,5,2", 0, "broker 3 stands in rack 'b'"},
    {"more_replicas_than_racks", "0=1,3,2", 0, NULL},
    {"without_a_rack", "0=5,6", 0, NULL},
    {"an_unknown_broker_is_the_controllers_to_refuse", "0=1,9", 0, NULL},
    {"the_other_rack_is_down", "0=1,2", 3, NULL},
};

TEST_ROWS(move_plan_racks, RACKS_OF) {
  MilenaBroker brokers[6];
  MilenaBrokerList list = six_brokers(brokers, TRUE);
  if (RACKS_OF[row].fenced)
    brokers[2].fenced = brokers[3].fenced = TRUE;
  g_autoptr(MovePlan) plan = move_plan_new();
  ASSERT_NULL(move_plan_add_words(plan, RACKS_OF[row].move));
  g_autoptr(Failure) failure = move_plan_check_racks(plan, &list);
  if (RACKS_OF[row].says)
    EXPECT_CONTAINS(failure ? failure_message(failure) : "", RACKS_OF[row].says);
  else
    EXPECT_NULL(failure);
}
