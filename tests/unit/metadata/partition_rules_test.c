/* The rules of who leads and who is in sync: case by case, and against a model of what each replica has. */
#include "controller/metadata/partition_rules.h"

#include <string.h>

#include "tests/shim/shim.h"

/* ---- Reading and writing states as text: "leader: in sync; eligible" ---- */

/* Brokers by number: 'x' gone, 'y' yields, anything else ready. Broker 1 is the first. */
static const BrokerIds NOBODY = {0};

static BrokerStanding standing(gint32 id, gpointer data) {
  const char *all = data;
  if (id < 1 || (gsize)id > strlen(all) || all[id - 1] == 'x')
    return BROKER_GONE;
  return all[id - 1] == 'y' ? BROKER_YIELDS : BROKER_READY;
}

static BrokerIds ids_of(const char *text) {
  BrokerIds ids = {0};
  for (; *text; text++)
    broker_ids_add(&ids, *text - '0');
  return ids;
}

static void append_ids(GString *out, const BrokerIds *ids) {
  for (guint i = 0; i < ids->count; i++)
    g_string_append_printf(out, "%d", ids->ids[i]);
}

static char *text_of(const PartitionState *state) {
  GString *out = g_string_new(NULL);
  g_string_append_printf(out, "%d: ", state->leader_id);
  append_ids(out, &state->in_sync);
  g_string_append(out, "; ");
  append_ids(out, &state->eligible);
  return g_string_free(out, FALSE);
}

typedef enum { FENCE, UNFENCE, LOSE, DAMAGE, PREFER, UNCLEAN, SET, REASSIGN, CANCEL, MINIMUM } Event;

static const struct {
  const char *name;
  const char *replicas, *in_sync, *eligible;
  gint32 leader;
  guint min;
  const char *standings; /* after the event */
  Event event;
  const char *argument;
  const char *expected;
} CASES[] = {
    {"leader_gone_next_in_order", "123", "123", "", 1, 2, "x..", FENCE, "1", "2: 23; "},
    {"below_the_minimum_stays_eligible", "123", "12", "", 1, 2, "x..", FENCE, "1", "2: 2; 1"},
    {"the_last_one_is_recorded", "123", "2", "1", 2, 2, "xx.", FENCE, "2", "-1: ; 12"},
    {"eligible_leads_when_it_is_back", "123", "", "12", -1, 2, "x..", UNFENCE, "2", "2: 2; 1"},
    {"one_that_is_not_eligible_waits", "123", "", "12", -1, 2, "xx.", UNFENCE, "3", "-1: ; 12"},
    {"single_replica_comes_back", "1", "", "1", -1, 1, ".", UNFENCE, "1", "1: 1; "},
    {"follower_gone", "123", "123", "", 1, 2, ".x.", FENCE, "2", "1: 13; "},
    {"lost_disk_of_the_only_copy", "1", "", "1", -1, 1, "x", DAMAGE, "1", "-1: ; "},
    {"unproven_end_of_the_only_copy", "1", "", "1", -1, 1, "x", LOSE, "1", "-1: ; 1"},
    {"unproven_end_while_others_are_eligible", "123", "", "12", -1, 2, "xxx", LOSE, "1", "-1: ; 2"},
    {"damaged_leader", "123", "123", "", 1, 2, "...", DAMAGE, "1", "2: 23; "},
    {"preferred", "123", "123", "", 2, 2, "...", PREFER, "", "1: 123; "},
    {"preferred_is_out_of_sync", "123", "23", "", 2, 2, "...", PREFER, "", "2: 23; "},
    {"preferred_yields", "123", "123", "", 2, 2, "y..", PREFER, "", "2: 123; "},
    {"one_that_yields_hands_over", "123", "123", "", 1, 2, "y..", UNFENCE, "", "2: 123; "},
    {"one_that_yields_leads_if_alone", "123", "1", "23", 1, 2, "yxx", UNFENCE, "", "1: 1; 23"},
    {"of_two_that_yield_the_leader_stays", "123", "123", "", 2, 2, "yyx", UNFENCE, "", "2: 123; "},
    {"unclean_by_hand", "123", "", "12", -1, 2, "xx.", UNCLEAN, "", "3: 3; "},
    {"unclean_not_needed", "123", "", "12", -1, 2, "x..", UNCLEAN, "", "2: 2; 1"},
    {"in_sync_shrinks", "123", "123", "", 1, 2, "...", SET, "12", "1: 12; "},
    {"in_sync_shrinks_below", "123", "12", "", 1, 2, "...", SET, "1", "1: 1; 2"},
    {"in_sync_grows_below", "1234", "1", "23", 1, 3, "....", SET, "12", "1: 12; 3"},
    {"in_sync_grows_to_the_minimum", "123", "1", "23", 1, 2, "...", SET, "12", "1: 12; "},
    {"lower_minimum_ends_eligibility", "123", "1", "23", 1, 1, "...", MINIMUM, "", "1: 1; "},
    {"reassign_waits", "12", "12", "", 1, 2, "....", REASSIGN, "34", "1: 12; "},
    {"reassign_to_fewer", "123", "123", "", 1, 1, "...", REASSIGN, "2", "2: 2; "},
    {"reassign_in_another_order", "12", "12", "", 1, 2, "..", REASSIGN, "21", "1: 12; "},
    {"reassign_without_a_copy", "123", "1", "", 1, 1, "...", REASSIGN, "23", "1: 1; "},
};

TEST_ROWS(partition_rules, CASES) {
  PartitionRules rules = {standing, (gpointer)CASES[row].standings, CASES[row].min, FALSE};
  PartitionState state = {.leader_id = CASES[row].leader,
                          .replicas = ids_of(CASES[row].replicas),
                          .in_sync = ids_of(CASES[row].in_sync),
                          .eligible = ids_of(CASES[row].eligible)};
  gint32 id = *CASES[row].argument ? CASES[row].argument[0] - '0' : 0;
  BrokerIds ids = ids_of(CASES[row].argument);
  switch (CASES[row].event) {
  case FENCE:
    partition_lose_broker(&state, &rules, id);
    break;
  case UNFENCE:
    partition_elect(&state, &rules);
    break;
  case LOSE:
  case DAMAGE:
    partition_lose_replica(&state, &rules, id, CASES[row].event == LOSE);
    break;
  case PREFER:
    partition_elect_preferred(&state, &rules);
    break;
  case UNCLEAN:
    partition_elect_unclean(&state, &rules);
    break;
  case SET:
    partition_set_in_sync(&state, &rules, &ids, &NOBODY);
    break;
  case REASSIGN:
    EXPECT_TRUE(partition_reassign(&state, &rules, &ids, NULL));
    break;
  case CANCEL:
    EXPECT_TRUE(partition_cancel_reassignment(&state, &rules, NULL));
    break;
  case MINIMUM:
    partition_set_min_in_sync(&state, &rules);
    break;
  }
  g_autofree char *text = text_of(&state);
  EXPECT_EQ_STR(CASES[row].expected, text);
}

/* ---- damage that is given up ---- */

static const struct {
  const char *name, *in_sync, *eligible;
  gint32 leader;
  const char *standings, *expected;
  gboolean leads_anew;
} CUTS[] = {
    {"the_last_one_leads_anew", "1", "", 1, "...", "1: 1; ", TRUE},
    {"another_one_is_in_sync", "12", "", 1, "...", "1: 12; ", FALSE},
    {"another_one_is_eligible", "1", "2", 1, "..x", "1: 1; 2", FALSE},
    {"nobody_leads", "", "12", -1, "xx.", "3: 3; ", TRUE},
    {"an_eligible_one_leads", "", "12", -1, "x..", "2: 2; 1", FALSE},
    {"all_are_gone", "", "12", -1, "xxx", "-1: ; 12", FALSE},
};

TEST_ROWS(cutting, CUTS) {
  PartitionRules rules = {standing, (gpointer)CUTS[row].standings, 2, FALSE};
  PartitionState state = {.leader_id = CUTS[row].leader,
                          .replicas = ids_of("123"),
                          .in_sync = ids_of(CUTS[row].in_sync),
                          .eligible = ids_of(CUTS[row].eligible)};
  partition_elect_cutting(&state, &rules);
  g_autofree char *text = text_of(&state);
  EXPECT_EQ_STR(CUTS[row].expected, text);
  EXPECT_EQ_INT(CUTS[row].leads_anew, state.leads_anew);
}

/* Who is elected alone, and is all that it goes to, has nobody to propose any more. */
TEST(partition_rules, a_reassignment_ends_with_an_election_too) {
  char standings[] = ".x..";
  PartitionRules rules = {standing, standings, 1, TRUE};
  PartitionState state = {
      .leader_id = 2, .replicas = ids_of("12"), .in_sync = ids_of("2"), .target = ids_of("1"), .before = ids_of("2")};
  EXPECT_EQ_INT(ELECTION_UNCLEAN, partition_lose_replica(&state, &rules, 2, FALSE));
  EXPECT_EQ_INT(1, state.leader_id);
  EXPECT_EQ_INT(1, state.replicas.count);
  EXPECT_EQ_INT(0, state.target.count + state.before.count);
  EXPECT_TRUE(state.elected_unclean);
}

TEST(partition_rules, a_reassignment_ends_when_all_it_goes_to_are_in_sync) {
  char all[] = "....";
  PartitionRules rules = {standing, all, 2, FALSE};
  PartitionState state = {.leader_id = 1, .replicas = ids_of("12"), .in_sync = ids_of("12")};
  BrokerIds target = ids_of("34"), grown = ids_of("123"), whole = ids_of("1234");
  EXPECT_TRUE(partition_reassign(&state, &rules, &target, NULL));
  partition_set_in_sync(&state, &rules, &grown, &NOBODY);
  EXPECT_EQ_INT(4, state.replicas.count);
  EXPECT_EQ_INT(1, state.leader_id);
  partition_set_in_sync(&state, &rules, &whole, &NOBODY);
  EXPECT_TRUE(broker_ids_equal(&state.replicas, &target));
  EXPECT_TRUE(broker_ids_equal(&state.in_sync, &target));
  EXPECT_EQ_INT(3, state.leader_id);
  EXPECT_EQ_INT(0, state.target.count + state.before.count);
}

TEST(partition_rules, a_cancelled_reassignment_goes_back) {
  char all[] = "....";
  PartitionRules rules = {standing, all, 2, FALSE};
  PartitionState state = {.leader_id = 1, .replicas = ids_of("12"), .in_sync = ids_of("12")};
  BrokerIds target = ids_of("34"), other = ids_of("23"), grown = ids_of("123"), before = ids_of("12");
  EXPECT_TRUE(partition_reassign(&state, &rules, &target, NULL));
  partition_set_in_sync(&state, &rules, &grown, &NOBODY);
  EXPECT_TRUE(partition_reassign(&state, &rules, &other, NULL)); /* another goal: 2 and 3 have it all already */
  g_autofree char *text = text_of(&state);
  EXPECT_EQ_STR("2: 23; ", text);
  state = (PartitionState){.leader_id = 1, .replicas = before, .in_sync = before};
  EXPECT_TRUE(partition_reassign(&state, &rules, &target, NULL));
  partition_set_in_sync(&state, &rules, &grown, &NOBODY);
  EXPECT_TRUE(partition_cancel_reassignment(&state, &rules, NULL));
  EXPECT_TRUE(broker_ids_equal(&state.replicas, &before));
  EXPECT_TRUE(broker_ids_equal(&state.in_sync, &before));
}

TEST(partition_rules, a_cancel_that_would_lose_all_copies_is_refused) {
  char all[] = "xx..";
  PartitionRules rules = {standing, all, 1, FALSE};
  PartitionState state = {.leader_id = 3,
                          .replicas = ids_of("3412"),
                          .in_sync = ids_of("3"),
                          .target = ids_of("34"),
                          .before = ids_of("12")};
  EXPECT_FALSE(partition_cancel_reassignment(&state, &rules, NULL));
  EXPECT_EQ_INT(4, state.replicas.count);
}

/* ---- Against a model ----
 *
 * Each replica has the records up to a number. The leader's log is what counts; while the committed in-sync replicas
 * are at least the minimum, something is acknowledged, and all of them have it (rule 4). A leader that was elected
 * cleanly must have all that was ever acknowledged. */

#define BROKERS 5

typedef struct {
  PartitionState state;
  PartitionRules rules;
  char standings[BROKERS + 1];
  gint64 has[BROKERS + 1]; /* by broker */
  gint64 acknowledged;
  GRand *random;
} Model;

/* What is wrong, or NULL. */
static const char *model_check(Model *model, ElectionKind kind) {
  PartitionState *state = &model->state;
  for (guint i = 0; i < state->in_sync.count; i++) {
    if (!broker_ids_has(&state->replicas, state->in_sync.ids[i]))
      return "in sync, and no replica";
    if (broker_ids_has(&state->eligible, state->in_sync.ids[i]))
      return "in sync and eligible";
  }
  for (guint i = 0; i < state->eligible.count; i++)
    if (!broker_ids_has(&state->replicas, state->eligible.ids[i]))
      return "eligible, and no replica";
  if (state->in_sync.count >= model->rules.min_in_sync && state->eligible.count > 0)
    return "eligible beside enough that are in sync";
  if (state->leader_id < 0)
    return NULL;
  if (!broker_ids_has(&state->in_sync, state->leader_id))
    return "a leader that is not in sync";
  if (kind == ELECTION_UNCLEAN)
    model->acknowledged = MIN(model->acknowledged, model->has[state->leader_id]);
  return model->has[state->leader_id] < model->acknowledged ? "a leader without all that was acknowledged" : NULL;
}

/* The leader takes some records; those in sync get them before they are acknowledged. */
static void model_append(Model *model) {
  PartitionState *state = &model->state;
  if (state->leader_id < 0)
    return;
  model->has[state->leader_id] += g_rand_int_range(model->random, 0, 5);
  if (state->in_sync.count < model->rules.min_in_sync)
    return;
  for (guint i = 0; i < state->in_sync.count; i++)
    model->has[state->in_sync.ids[i]] = model->has[state->leader_id];
  model->acknowledged = model->has[state->leader_id];
}

/* The leader proposes to drop some and take in some; who comes has caught up. */
static ElectionKind model_propose(Model *model) {
  PartitionState *state = &model->state;
  if (state->leader_id < 0)
    return ELECTION_NONE;
  BrokerIds members = {.count = 1, .ids = {state->leader_id}};
  for (guint i = 0; i < state->replicas.count; i++) {
    gint32 id = state->replicas.ids[i];
    if (id == state->leader_id || standing(id, model->standings) == BROKER_GONE ||
        g_rand_int_range(model->random, 0, 3) == 0)
      continue;
    if (!broker_ids_has(&state->in_sync, id))
      model->has[id] = model->has[state->leader_id];
    broker_ids_add(&members, id);
  }
  return partition_set_in_sync(state, &model->rules, &members, &NOBODY);
}

static BrokerIds model_some_brokers(Model *model) {
  BrokerIds ids = {0};
  guint count = (guint)g_rand_int_range(model->random, (gint32)model->rules.min_in_sync, 4);
  while (ids.count < count)
    broker_ids_add(&ids, g_rand_int_range(model->random, 1, BROKERS + 1));
  return ids;
}

static ElectionKind model_step(Model *model) {
  PartitionState *state = &model->state;
  gint32 id = g_rand_int_range(model->random, 1, BROKERS + 1);
  ElectionKind kind = ELECTION_SAME;
  switch (g_rand_int_range(model->random, 0, 12)) {
  case 0:
    model->standings[id - 1] = 'x';
    return partition_lose_broker(state, &model->rules, id);
  case 1:
  case 2:
    model->standings[id - 1] = '.';
    return partition_elect(state, &model->rules);
  case 3:
    model->standings[id - 1] = model->standings[id - 1] == 'x' ? 'x' : 'y';
    return partition_elect(state, &model->rules);
  case 4: /* its disk is lost: fenced, and what it had is gone */
    model->standings[id - 1] = 'x';
    partition_lose_broker(state, &model->rules, id);
    if (broker_ids_has(&state->eligible, id) && state->eligible.count == 1 && state->in_sync.count == 0)
      return ELECTION_NONE; /* the last copy of all: then something is lost indeed, which no rule mends */
    model->has[id] = 0;
    return partition_lose_replica(state, &model->rules, id, FALSE);
  case 5:
    partition_elect_preferred(state, &model->rules);
    return kind;
  case 6: {
    BrokerIds target = model_some_brokers(model);
    partition_reassign(state, &model->rules, &target, &kind);
    return kind;
  }
  case 7:
    if (state->target.count)
      partition_cancel_reassignment(state, &model->rules, &kind);
    return kind;
  case 8:
    return g_rand_int_range(model->random, 0, 20) == 0 ? partition_elect_unclean(state, &model->rules) : kind;
  default:
    return model_propose(model);
  }
}

TEST(partition_rules, a_clean_leader_has_all_that_was_acknowledged) {
  for (guint32 seed = 1; seed <= 3000; seed++) {
    Model model = {.standings = ".....", .random = g_rand_new_with_seed(seed)};
    model.rules = (PartitionRules){standing, model.standings, (guint)g_rand_int_range(model.random, 1, 4), FALSE};
    model.state = (PartitionState){.leader_id = 1, .replicas = ids_of("123"), .in_sync = ids_of("123")};
    const char *wrong = NULL;
    for (guint step = 0; step < 200 && !wrong; step++) {
      model_append(&model);
      wrong = model_check(&model, model_step(&model));
    }
    g_rand_free(model.random);
    if (wrong)
      shim_fail(__FILE__, __LINE__, "seed %u: %s", seed, wrong);
  }
}
