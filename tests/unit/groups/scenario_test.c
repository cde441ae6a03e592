/* Runs the scenario files of tests/data/groups: blocks of a command and its whole expected output.
 *
 *   bazel run //tests/unit/groups:scenario_test -- --rewrite     writes the outputs anew; review the difference */
#include "tests/unit/groups/scenario.h"

#include "tests/shim/shim.h"
#include "tests/unit/scenario_file.h"

static const struct {
  const char *name;
} FILES[] = {
    {"join"},         {"incremental"}, {"leave"},    {"sessions"},      {"rebalance-timeout"},
    {"lost-answers"}, {"late"},        {"static"},   {"subscriptions"}, {"patterns"},
    {"topics"},       {"commit"},      {"offsets"},  {"reset"},         {"settings"},
    {"list"},         {"limits"},      {"refusals"}, {"reload"},        {"expiry"},
    {"batch"},        {"assignors"},
};

static char *run_line(gpointer scenario, const char *line) {
  return scenario_run(scenario, line);
}

TEST_ROWS(groups_scenario, FILES) {
  g_autofree char *relative = g_strdup_printf("tests/data/groups/%s.txt", FILES[row].name);
  g_autoptr(Scenario) scenario = scenario_new();
  scenario_file_check(relative, run_line, scenario);
}
