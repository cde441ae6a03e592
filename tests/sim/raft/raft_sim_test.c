/* Controllers under faults: no seed breaks a rule, the faults happen, and a seed is the same run each time. */
#include "tests/sim/raft/raft_sim.h"

#include <stdlib.h>
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/sim/runner.h"

#define SEEDS 500
#define SAME_SEEDS 20

enum {
  SUM_WRITES,
  SUM_READS,
  SUM_CRASHES,
  SUM_FREEZES,
  SUM_PARTITIONS,
  SUM_LOST,
  SUM_CHANGES,
  SUM_TRANSFERS,
  SUM_RESTORES
};

static char *run(guint64 seed, guint64 *sums) {
  RaftSimResult result;
  raft_sim_run(seed, NULL, &result);
  sums[SUM_WRITES] += result.writes;
  sums[SUM_READS] += result.reads;
  sums[SUM_CRASHES] += result.crashes;
  sums[SUM_FREEZES] += result.freezes;
  sums[SUM_PARTITIONS] += result.partitions;
  sums[SUM_LOST] += result.lost_disks;
  sums[SUM_CHANGES] += result.changes;
  sums[SUM_TRANSFERS] += result.transfers;
  sums[SUM_RESTORES] += result.restores;
  return result.violation;
}

static void failed(guint64 seed, const char *why, gpointer data) {
  (void)data;
  shim_fail(__FILE__, __LINE__, "seed %d failed %s\n   again: ./dev sim raft --seed %d", (int)seed, why, (int)seed);
}

TEST(raft_sim, the_rules_hold) {
  guint64 sums[RUNNER_SUMS_MAX] = {0};
  runner_run(run, 1, SEEDS, 2, 5, failed, NULL, sums);
  /* What the runs are made of happens: without it they show nothing. */
  EXPECT_TRUE(sums[SUM_WRITES] > SEEDS * 8);
  EXPECT_TRUE(sums[SUM_READS] > SEEDS * 8);
  EXPECT_TRUE(sums[SUM_CRASHES] > SEEDS);
  EXPECT_TRUE(sums[SUM_PARTITIONS] > SEEDS);
  EXPECT_TRUE(sums[SUM_FREEZES] > SEEDS / 4);
  EXPECT_TRUE(sums[SUM_LOST] > SEEDS / 4);
  EXPECT_TRUE(sums[SUM_CHANGES] > SEEDS);
  EXPECT_TRUE(sums[SUM_TRANSFERS] > SEEDS / 8);
  EXPECT_TRUE(sums[SUM_RESTORES] > SEEDS / 4);
}

static char *tell(guint64 seed, guint64 *ret_fingerprint) {
  char *text = NULL;
  size_t size;
  FILE *trace = open_memstream(&text, &size);
  RaftSimResult result;
  raft_sim_run(seed, trace, &result);
  fclose(trace);
  g_free(result.violation);
  *ret_fingerprint = result.fingerprint;
  return text;
}

TEST(raft_sim, a_seed_is_the_same_run_each_time) {
  for (guint64 seed = 1; seed <= SAME_SEEDS; seed++) {
    guint64 first, again;
    char *a = tell(seed, &first), *b = tell(seed, &again);
    EXPECT_TRUE(strlen(a) > 1000);
    if (strcmp(a, b) != 0 || first != again)
      shim_fail(__FILE__, __LINE__, "two runs of seed %d differ", (int)seed);
    /* Whether somebody listens changes nothing. */
    RaftSimResult result;
    raft_sim_run(seed, NULL, &result);
    EXPECT_TRUE(result.fingerprint == first);
    g_free(result.violation);
    free(a);
    free(b);
  }
}

TEST(raft_sim, another_seed_is_another_run) {
  guint64 one, two;
  char *a = tell(1, &one), *b = tell(2, &two);
  EXPECT_TRUE(one != two);
  free(a);
  free(b);
}
