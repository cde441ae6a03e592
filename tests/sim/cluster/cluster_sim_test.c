/* Clusters under faults: no seed breaks a rule, the faults happen, and a seed is the same run each time. */
#include "tests/sim/cluster/cluster_sim.h"

#include <stdlib.h>
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/sim/runner.h"

#define SEEDS 400
#define SAME_SEEDS 10

enum {
  SUM_COMMITTED,
  SUM_ACKNOWLEDGED,
  SUM_ELECTIONS,
  SUM_IN_SYNC,
  SUM_MOVES,
  SUM_CUTS,
  SUM_KILLS,
  SUM_POWER_CUTS,
  SUM_LOST,
  SUM_DAMAGED,
  SUM_FREEZES,
  SUM_STOPS,
};

static char *run(guint64 seed, guint64 *sums) {
  ClusterSimResult result;
  cluster_sim_run(seed, NULL, &result);
  sums[SUM_COMMITTED] += result.committed;
  sums[SUM_ACKNOWLEDGED] += result.acknowledged;
  sums[SUM_ELECTIONS] += result.elections;
  sums[SUM_IN_SYNC] += result.in_sync_changes;
  sums[SUM_MOVES] += result.moves;
  sums[SUM_CUTS] += result.cuts;
  sums[SUM_KILLS] += result.kills;
  sums[SUM_POWER_CUTS] += result.power_cuts;
  sums[SUM_LOST] += result.lost_disks;
  sums[SUM_DAMAGED] += result.damaged;
  sums[SUM_FREEZES] += result.freezes;
  sums[SUM_STOPS] += result.clean_stops;
  return result.violation;
}

static void failed(guint64 seed, const char *why, gpointer data) {
  (void)data;
  shim_fail(__FILE__, __LINE__, "seed %d failed %s\n   again: ./dev sim cluster --seed %d", (int)seed, why, (int)seed);
}

TEST(cluster_sim, the_rules_hold) {
  guint64 sums[RUNNER_SUMS_MAX] = {0};
  runner_run(run, 1, SEEDS, 2, 5, failed, NULL, sums);
  /* What the runs are made of happens: without it they show nothing. */
  EXPECT_TRUE(sums[SUM_COMMITTED] > SEEDS * 100);
  EXPECT_TRUE(sums[SUM_ACKNOWLEDGED] > SEEDS * 100);
  EXPECT_TRUE(sums[SUM_ELECTIONS] > SEEDS * 3);
  EXPECT_TRUE(sums[SUM_IN_SYNC] > SEEDS * 5);
  EXPECT_TRUE(sums[SUM_MOVES] > SEEDS / 8);
  EXPECT_TRUE(sums[SUM_CUTS] > SEEDS);
  EXPECT_TRUE(sums[SUM_KILLS] > SEEDS);
  EXPECT_TRUE(sums[SUM_POWER_CUTS] > SEEDS / 4);
  EXPECT_TRUE(sums[SUM_LOST] > SEEDS / 8);
  EXPECT_TRUE(sums[SUM_DAMAGED] > SEEDS / 16);
  EXPECT_TRUE(sums[SUM_FREEZES] > SEEDS);
  EXPECT_TRUE(sums[SUM_STOPS] > SEEDS / 4);
}

static char *tell(guint64 seed, guint64 *ret_fingerprint) {
  char *text = NULL;
  size_t size;
  FILE *trace = open_memstream(&text, &size);
  ClusterSimResult result;
  cluster_sim_run(seed, trace, &result);
  fclose(trace);
  g_free(result.violation);
  *ret_fingerprint = result.fingerprint;
  return text;
}

TEST(cluster_sim, a_seed_is_the_same_run_each_time) {
  for (guint64 seed = 1; seed <= SAME_SEEDS; seed++) {
    guint64 first, again;
    char *a = tell(seed, &first), *b = tell(seed, &again);
    EXPECT_TRUE(strlen(a) > 1000);
    if (strcmp(a, b) != 0 || first != again)
      shim_fail(__FILE__, __LINE__, "two runs of seed %d differ", (int)seed);
    /* Whether somebody listens changes nothing. */
    ClusterSimResult result;
    cluster_sim_run(seed, NULL, &result);
    EXPECT_TRUE(result.fingerprint == first);
    g_free(result.violation);
    free(a);
    free(b);
  }
}
