/* Random runs of three controllers: messages lost, late and repeated, crashes that lose what was not durable, disks
 * that are slow. After each run everything heals, and all must agree. A run is its seed: a failure names it, and
 * RAFT_SEED=n in the environment runs that one alone. */
#include "tests/unit/raft/simulation.h"

#include <stdlib.h>

#include "tests/shim/shim.h"

#define SEEDS 1000
#define STEPS 5000

TEST(raft_random, agrees_whatever_happens) {
  guint64 committed = 0, elections = 0, installs = 0;
  const char *only = getenv("RAFT_SEED");
  guint64 first = only ? strtoull(only, NULL, 10) : 1, last = only ? first : SEEDS;
  for (guint64 seed = first; seed <= last; seed++) {
    SimulationResult result = simulation_run(seed, STEPS);
    if (*result.violation) {
      shim_fail(__FILE__, __LINE__, "RAFT_SEED=%llu: %s", (unsigned long long)seed, result.violation);
      return;
    }
    committed += result.committed;
    elections += result.elections;
    installs += result.installs;
  }
  /* Runs in which nothing happens prove nothing. */
  guint64 runs = last - first + 1;
  EXPECT_TRUE(only || committed > runs * 20);
  EXPECT_TRUE(only || elections > runs * 2);
  EXPECT_TRUE(only || installs > runs);
}
