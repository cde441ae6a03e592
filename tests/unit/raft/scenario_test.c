/* Runs the scenario files of tests/data/raft: blocks of a command and its whole expected output.
 *
 *   bazel run //tests/unit/raft:scenario_test -- --rewrite     writes the outputs anew; review the difference */
#include "tests/unit/raft/scenario.h"

#include "tests/shim/shim.h"
#include "tests/unit/scenario_file.h"

static const struct {
  const char *name;
} FILES[] = {
    {"single"},           {"election"},
    {"replication"},      {"figure8"},
    {"durability"},       {"compaction"},
    {"partition"},        {"members"},
    {"update"},           {"bootstrap"},
    {"bootstrap-twice"},  {"lost-disk"},
    {"replace"},          {"removed-disrupts"},
    {"remove-leader"},    {"remove-leader-dies"},
    {"two-changes"},      {"cut-change"},
    {"transfer"},         {"transfer-fails"},
    {"transfer-late"},    {"reads"},
    {"reads-change"},     {"snapshot"},
    {"snapshot-restart"}, {"snapshot-replaced"},
    {"snapshot-late"},    {"snapshot-durable"},
    {"snapshot-members"}, {"out-of-order"},
    {"forgotten"},        {"window"},
};

static char *run_line(gpointer scenario, const char *line) {
  return scenario_run(scenario, line);
}

TEST_ROWS(raft_scenario, FILES) {
  g_autofree char *relative = g_strdup_printf("tests/data/raft/%s.txt", FILES[row].name);
  g_autoptr(Scenario) scenario = scenario_new();
  scenario_file_check(relative, run_line, scenario);
}
