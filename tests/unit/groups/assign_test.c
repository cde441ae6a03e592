/* Assignors: who may own what, balance, fewest moves, racks, and that what is balanced stays, for inputs by chance. */
#include "services/group_coordinator/groups/assign.h"

#include <stdlib.h>
#include <string.h>

#include "tests/shim/shim.h"

#define STICKY MILENA__V1__ASSIGNOR__ASSIGNOR_STICKY
#define RANGE MILENA__V1__ASSIGNOR__ASSIGNOR_RANGE
#define ROUND_ROBIN MILENA__V1__ASSIGNOR__ASSIGNOR_ROUND_ROBIN
#define MEMBERS_MAX 12
#define TOPICS_MAX 6

/* An input and its result, whose result can become the next one's `previous`. */
typedef struct {
  GRand *chance;
  GroupsAssignTopic topics[TOPICS_MAX];
  GroupsAssignMember members[MEMBERS_MAX];
  guint wishes[MEMBERS_MAX][TOPICS_MAX];
  guint *previous[MEMBERS_MAX];
  GroupsAssignInput input;
  guint *owners, *load;
} Case;

static void case_init(Case *it, guint32 seed, gboolean alike) {
  *it = (Case){.chance = g_rand_new_with_seed(seed)};
  it->input = (GroupsAssignInput){it->members, (guint)g_rand_int_range(it->chance, 1, MEMBERS_MAX + 1), it->topics,
                                  (guint)g_rand_int_range(it->chance, 1, TOPICS_MAX + 1)};
  for (guint t = 0; t < it->input.topic_count; t++)
    it->topics[t].partition_count = (guint)g_rand_int_range(it->chance, 0, 12);
  for (guint m = 0; m < it->input.member_count; m++) {
    GroupsAssignMember *member = &it->members[m];
    for (guint t = 0; t < it->input.topic_count; t++)
      if (alike || g_rand_boolean(it->chance))
        it->wishes[m][member->topic_count++] = t;
    member->topics = it->wishes[m];
  }
  it->owners = g_new(guint, groups_assign_total(&it->input) + 1);
  it->load = g_new0(guint, MEMBERS_MAX);
}

static void case_clear(Case *it) {
  for (guint m = 0; m < MEMBERS_MAX; m++)
    g_free(it->previous[m]);
  g_free(it->owners);
  g_free(it->load);
  g_rand_free(it->chance);
}

static gboolean wants(const GroupsAssignMember *member, guint topic) {
  for (guint i = 0; i < member->topic_count; i++)
    if (member->topics[i] == topic)
      return TRUE;
  return FALSE;
}

static void assign(Case *it, Milena__V1__Assignor assignor) {
  groups_assign(assignor, &it->input, it->owners);
  memset(it->load, 0, MEMBERS_MAX * sizeof *it->load);
  for (guint p = 0; p < groups_assign_total(&it->input); p++)
    if (it->owners[p] != GROUPS_ASSIGN_NOBODY)
      it->load[it->owners[p]]++;
}

/* Everything that somebody wants has an owner who wants it. */
static void expect_valid(const Case *it) {
  guint p = 0;
  for (guint t = 0; t < it->input.topic_count; t++) {
    gboolean wanted = FALSE;
    for (guint m = 0; m < it->input.member_count; m++)
      wanted |= wants(&it->members[m], t);
    for (guint i = 0; i < it->topics[t].partition_count; i++, p++) {
      EXPECT_EQ_INT(wanted, it->owners[p] != GROUPS_ASSIGN_NOBODY);
      if (it->owners[p] != GROUPS_ASSIGN_NOBODY)
        EXPECT_TRUE(wants(&it->members[it->owners[p]], t));
    }
  }
}

/* The result becomes what they have until now. Members in @leave have nothing any more. */
static void take_over(Case *it) {
  for (guint m = 0; m < it->input.member_count; m++) {
    g_free(it->previous[m]);
    it->previous[m] = g_new(guint, it->load[m] + 1);
    it->members[m].previous = it->previous[m];
    it->members[m].previous_count = 0;
    for (guint p = 0; p < groups_assign_total(&it->input); p++)
      if (it->owners[p] == m)
        it->previous[m][it->members[m].previous_count++] = p;
  }
}

static guint kept(const Case *it) {
  guint count = 0;
  for (guint m = 0; m < it->input.member_count; m++)
    for (guint i = 0; i < it->members[m].previous_count; i++)
      count += it->owners[it->members[m].previous[i]] == m;
  return count;
}

static void expect_even(const Case *it) {
  for (guint m = 0; m < it->input.member_count; m++)
    for (guint k = 0; k < it->input.member_count; k++)
      EXPECT_TRUE(it->load[m] <= it->load[k] + 1);
}

/* The most partitions that can stay where they are when everybody has n or n + 1. */
static guint kept_at_most(const Case *it) {
  guint total = groups_assign_total(&it->input), each = total / it->input.member_count;
  guint more = total % it->input.member_count, sum = 0;
  for (guint m = 0; m < it->input.member_count; m++) {
    guint has = it->members[m].previous_count;
    sum += MIN(has, each);
    if (has > each && more > 0) {
      sum++;
      more--;
    }
  }
  return sum;
}

TEST(assign, sticky_with_the_same_wishes_is_even_and_moves_as_little_as_can_be) {
  for (guint32 seed = 1; seed <= 2000; seed++) {
    Case it;
    case_init(&it, seed, TRUE);
    assign(&it, STICKY);
    expect_valid(&it);
    expect_even(&it);
    take_over(&it);
    /* Nothing changes: nothing moves. */
    assign(&it, STICKY);
    EXPECT_EQ_INT(kept_at_most(&it), groups_assign_total(&it.input));
    EXPECT_EQ_INT(groups_assign_total(&it.input), kept(&it));
    /* Some leave, by having what they have taken away, and one comes. */
    guint fewer = (guint)g_rand_int_range(it.chance, 1, (gint)it.input.member_count + 1);
    it.input.member_count = fewer;
    if (fewer < MEMBERS_MAX && g_rand_boolean(it.chance)) {
      it.members[fewer] = it.members[0];
      it.members[fewer].previous_count = 0;
      it.input.member_count++;
    }
    assign(&it, STICKY);
    expect_valid(&it);
    expect_even(&it);
    EXPECT_EQ_INT(kept_at_most(&it), kept(&it));
    case_clear(&it);
    if (shim_test_has_failed())
      FAIL("with seed %u", seed);
  }
}

/* Can anybody give one away, along any chain, to somebody with at least two less? By going through all sets. */
static gboolean has_better_chain(const Case *it, guint from) {
  gboolean reached[MEMBERS_MAX] = {FALSE};
  guint queue[MEMBERS_MAX], length = 0;
  queue[length++] = from;
  reached[from] = TRUE;
  for (guint i = 0; i < length; i++) {
    guint p = 0;
    for (guint t = 0; t < it->input.topic_count; t++) {
      gboolean has = FALSE;
      for (guint k = 0; k < it->topics[t].partition_count; k++)
        has |= it->owners[p++] == queue[i];
      for (guint m = 0; has && m < it->input.member_count; m++) {
        if (reached[m] || !wants(&it->members[m], t))
          continue;
        reached[m] = TRUE;
        queue[length++] = m;
        if (it->load[m] + 2 <= it->load[from])
          return TRUE;
      }
    }
  }
  return FALSE;
}

TEST(assign, sticky_with_different_wishes_can_not_be_made_more_even) {
  for (guint32 seed = 1; seed <= 2000; seed++) {
    Case it;
    case_init(&it, seed, FALSE);
    for (guint round = 0; round < 3; round++) {
      assign(&it, STICKY);
      expect_valid(&it);
      for (guint m = 0; m < it.input.member_count; m++)
        EXPECT_FALSE(has_better_chain(&it, m));
      take_over(&it);
      guint all = 0;
      for (guint m = 0; m < it.input.member_count; m++)
        all += it.load[m];
      assign(&it, STICKY);
      EXPECT_EQ_INT(all, kept(&it)); /* nothing changed, nothing moves */
      it.topics[0].partition_count +=
          it.input.topic_count == 1; /* grows at its end: what was before keeps its number */
      g_free(it.owners);
      it.owners = g_new(guint, groups_assign_total(&it.input) + 1);
    }
    case_clear(&it);
    if (shim_test_has_failed())
      FAIL("with seed %u", seed);
  }
}

TEST(assign, range_and_round_robin_are_valid_for_any_wishes) {
  for (guint32 seed = 1; seed <= 1000; seed++) {
    Case it;
    case_init(&it, seed, seed % 2);
    assign(&it, RANGE);
    expect_valid(&it);
    assign(&it, ROUND_ROBIN);
    expect_valid(&it);
    if (seed % 2)
      expect_even(&it);
    case_clear(&it);
  }
}

TEST(assign, range_gives_the_same_numbers_of_several_topics_to_one_member) {
  const guint wishes[] = {0, 1};
  GroupsAssignTopic topics[] = {{.partition_count = 7}, {.partition_count = 7}};
  GroupsAssignMember members[3];
  for (guint m = 0; m < 3; m++)
    members[m] = (GroupsAssignMember){.topics = wishes, .topic_count = 2};
  GroupsAssignInput input = {members, 3, topics, 2};
  guint owners[14];
  groups_assign(RANGE, &input, owners);
  const guint want[7] = {0, 0, 0, 1, 1, 2, 2};
  for (guint p = 0; p < 7; p++) {
    EXPECT_EQ_INT(want[p], owners[p]);
    EXPECT_EQ_INT(want[p], owners[p + 7]);
  }
}

TEST(assign, sticky_gives_what_is_led_in_the_rack_where_that_costs_no_balance) {
  static const char *const NAMES[] = {"a", "b", "c"};
  const guint wishes[] = {0};
  const char *racks[30];
  GroupsAssignMember members[6];
  for (guint p = 0; p < 30; p++)
    racks[p] = NAMES[p / 10];
  GroupsAssignTopic topics[] = {{.partition_count = 30, .racks = racks}};
  for (guint m = 0; m < 6; m++)
    members[m] = (GroupsAssignMember){.rack = NAMES[m % 3], .topics = wishes, .topic_count = 1};
  GroupsAssignInput input = {members, 6, topics, 1};
  guint owners[30], load[6] = {0};
  groups_assign(STICKY, &input, owners);
  for (guint p = 0; p < 30; p++) {
    EXPECT_EQ_STR(racks[p], members[owners[p]].rack);
    load[owners[p]]++;
  }
  for (guint m = 0; m < 6; m++)
    EXPECT_EQ_INT(5, load[m]);
}

TEST(assign, nobody_and_nothing) {
  GroupsAssignInput none = {NULL, 0, NULL, 0};
  guint owners[4];
  groups_assign(STICKY, &none, owners);
  GroupsAssignTopic topics[] = {{.partition_count = 4}};
  GroupsAssignInput nobody = {NULL, 0, topics, 1};
  groups_assign(STICKY, &nobody, owners);
  groups_assign(RANGE, &nobody, owners);
  groups_assign(ROUND_ROBIN, &nobody, owners);
  for (guint p = 0; p < 4; p++)
    EXPECT_TRUE(owners[p] == GROUPS_ASSIGN_NOBODY);
}
