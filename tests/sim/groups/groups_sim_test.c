/* Consumer groups under faults: no seed breaks a rule, the faults happen, and a seed is the same run each time. */
#include "tests/sim/groups/groups_sim.h"

#include <stdlib.h>
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/sim/runner.h"

#define SEEDS 100
#define SAME_SEEDS 5

enum {
  SUM_COMMITS,
  SUM_MOVES,
  SUM_FENCED,
  SUM_CRASHES,
  SUM_CUTS,
  SUM_COMPACTIONS,
  SUM_FREEZES,
  SUM_DEATHS,
  SUM_RETURNS
};

static char *run(guint64 seed, guint64 *sums) {
  GroupsSimResult result;
  groups_sim_run(seed, NULL, &result);
  const guint64 counts[] = {result.commits,     result.moves,   result.fenced, result.crashes, result.cuts,
                            result.compactions, result.freezes, result.deaths, result.returns};
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
    sums[i] += counts[i];
  return result.violation;
}

static void failed(guint64 seed, const char *why, gpointer data) {
  (void)data;
  shim_fail(__FILE__, __LINE__, "seed %d failed %s\n   again: ./dev sim groups --seed %d", (int)seed, why, (int)seed);
}

TEST(groups_sim, the_rules_hold) {
  guint64 sums[RUNNER_SUMS_MAX] = {0};
  runner_run(run, 1, SEEDS, 2, 5, failed, NULL, sums);
  /* What the runs are made of happens: without it they show nothing. */
  EXPECT_TRUE(sums[SUM_COMMITS] > SEEDS * 100);
  EXPECT_TRUE(sums[SUM_MOVES] > SEEDS * 20);
  EXPECT_TRUE(sums[SUM_FENCED] > SEEDS);
  EXPECT_TRUE(sums[SUM_CRASHES] > SEEDS * 2);
  EXPECT_TRUE(sums[SUM_CUTS] > SEEDS / 2);
  EXPECT_TRUE(sums[SUM_COMPACTIONS] > SEEDS / 2);
  EXPECT_TRUE(sums[SUM_FREEZES] > SEEDS);
  EXPECT_TRUE(sums[SUM_DEATHS] > SEEDS);
  EXPECT_TRUE(sums[SUM_RETURNS] > SEEDS / 10);
}

TEST(groups_sim, a_seed_is_the_same_run_each_time) {
  for (guint64 seed = 1; seed <= SAME_SEEDS; seed++) {
    GroupsSimResult first, again;
    groups_sim_run(seed, NULL, &first);
    groups_sim_run(seed, NULL, &again);
    EXPECT_TRUE(first.fingerprint == again.fingerprint);
    g_free(first.violation);
    g_free(again.violation);
  }
}
