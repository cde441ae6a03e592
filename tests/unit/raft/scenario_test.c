/* Runs the scenario files of tests/data/raft: blocks of a command and its whole expected output.
 *
 *   bazel run //tests/unit/raft:scenario_test -- --rewrite     writes the outputs anew; review the difference */
#include "tests/unit/raft/scenario.h"

#include <stdlib.h>
#include <string.h>

#include "tests/shim/shim.h"

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

/* The test's own arguments are GoogleTest's; this one is read from the process. */
static gboolean is_rewrite(void) {
  g_autofree char *arguments = NULL;
  gsize length = 0;
  if (!g_file_get_contents("/proc/self/cmdline", &arguments, &length, NULL))
    return FALSE;
  return memmem(arguments, length, "--rewrite", strlen("--rewrite")) != NULL;
}

/* One block of the file: text up to an empty line. Comments stay as they are. */
static void run_block(Scenario *scenario, const char *block, GString *out) {
  g_auto(GStrv) lines = g_strsplit(block, "\n", -1);
  guint i = 0;
  for (; lines[i] && lines[i][0] == '#'; i++)
    g_string_append_printf(out, "%s\n", lines[i]);
  if (!lines[i] || !*lines[i])
    return;
  g_autofree char *happened = scenario_run(scenario, lines[i]);
  g_string_append_printf(out, "%s\n----\n%s", lines[i], happened);
}

static char *run_file(const char *text) {
  g_autoptr(Scenario) scenario = scenario_new();
  g_auto(GStrv) blocks = g_strsplit(text, "\n\n", -1);
  GString *out = g_string_new(NULL);
  for (guint i = 0; blocks[i]; i++) {
    g_strchug(blocks[i]);
    if (!*blocks[i])
      continue;
    if (out->len > 0)
      g_string_append_c(out, '\n');
    run_block(scenario, blocks[i], out);
  }
  return g_string_free(out, FALSE);
}

TEST_ROWS(raft_scenario, FILES) {
  g_autofree char *relative = g_strdup_printf("tests/data/raft/%s.txt", FILES[row].name);
  g_autofree char *text = NULL;
  const char *workspace = getenv("BUILD_WORKSPACE_DIRECTORY");
  gboolean rewrite = workspace && is_rewrite();
  g_autofree char *path = rewrite ? g_build_filename(workspace, relative, NULL) : g_strdup(shim_source_path(relative));
  ASSERT_TRUE(g_file_get_contents(path, &text, NULL, NULL));
  g_autofree char *got = run_file(text);
  if (rewrite)
    ASSERT_TRUE(g_file_set_contents(path, got, -1, NULL));
  else
    EXPECT_EQ_STR(text, got);
}
