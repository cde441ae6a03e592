/* Random runs of three controllers: messages lost, late and repeated, crashes that lose what was not durable, disks
 * that are slow. After each run everything heals, and all must agree. A run is its seed: a failure names it. */
#include "tests/unit/raft/simulation.h"

#include "tests/shim/shim.h"

#define SEEDS 1000
#define STEPS 5000

TEST(raft_random, agrees_whatever_happens) {
  guint64 committed = 0, elections = 0;
  for (guint64 seed = 1; seed <= SEEDS; seed++) {
    SimulationResult result = simulation_run(seed, STEPS);
    if (*result.violation) {
      shim_fail(__FILE__, __LINE__, "seed %llu: %s", (unsigned long long)seed, result.violation);
      return;
    }
    committed += result.committed;
    elections += result.elections;
  }
  /* Runs in which nothing happens prove nothing. */
  EXPECT_TRUE(committed > (guint64)SEEDS * 20);
  EXPECT_TRUE(elections > (guint64)SEEDS * 2);
}
