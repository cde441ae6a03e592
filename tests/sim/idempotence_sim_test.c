/* Idempotent producers under faults: no seed breaks a rule, and the rules find mistakes that are made on purpose. */
#include "tests/shim/shim.h"
#include "tests/sim/idempotence.h"

#define SEEDS 2000

TEST(idempotence_sim, no_record_is_doubled_lost_or_out_of_order) {
  guint crashes = 0, duplicates = 0, give_ups = 0;
  for (guint64 seed = 1; seed <= SEEDS; seed++) {
    IdempotenceResult result;
    idempotence_simulate(seed, IDEMPOTENCE_BUG_NONE, &result);
    crashes += result.crashes;
    duplicates += result.duplicates;
    give_ups += result.give_ups;
    g_autofree char *violation = result.violation;
    if (violation)
      FAIL("seed %d %s\n   again: ./dev sim idempotence --seed %d", (int)seed, violation, (int)seed);
  }
  /* The faults happen: a run without them shows nothing. */
  EXPECT_TRUE(crashes > SEEDS);
  EXPECT_TRUE(duplicates > SEEDS);
  EXPECT_TRUE(give_ups > SEEDS / 10);
}

static const struct {
  const char *name;
  IdempotenceBug bug;
} BUGS[] = {
    {"no_table", IDEMPOTENCE_BUG_NO_TABLE},
    {"early_duplicate", IDEMPOTENCE_BUG_EARLY_DUPLICATE},
    {"forgets", IDEMPOTENCE_BUG_FORGETS},
    {"split_write", IDEMPOTENCE_BUG_SPLIT_WRITE},
};

TEST_ROWS(finds_the_mistake, BUGS) {
  for (guint64 seed = 1; seed <= 100; seed++) {
    IdempotenceResult result;
    idempotence_simulate(seed, BUGS[row].bug, &result);
    g_autofree char *violation = result.violation;
    if (violation)
      return;
  }
  FAIL("100 runs with a mistake broke no rule");
}

TEST(idempotence_sim, a_seed_is_the_same_run_each_time) {
  IdempotenceResult first, again;
  idempotence_simulate(7, IDEMPOTENCE_BUG_NONE, &first);
  idempotence_simulate(7, IDEMPOTENCE_BUG_NONE, &again);
  EXPECT_EQ_INT(first.records, again.records);
  EXPECT_EQ_INT(first.duplicates, again.duplicates);
  EXPECT_EQ_INT(first.refusals, again.refusals);
  EXPECT_EQ_INT(first.crashes, again.crashes);
  g_free(first.violation);
  g_free(again.violation);
}
