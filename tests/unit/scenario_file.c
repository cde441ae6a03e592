/* See scenario_file.h. */
#include "tests/unit/scenario_file.h"

#include <stdlib.h>
#include <string.h>

#include "tests/shim/shim.h"

/* The test's own arguments are GoogleTest's; this one is read from the process. */
static gboolean is_rewrite(void) {
  g_autofree char *arguments = NULL;
  gsize length = 0;
  if (!g_file_get_contents("/proc/self/cmdline", &arguments, &length, NULL))
    return FALSE;
  return memmem(arguments, length, "--rewrite", strlen("--rewrite")) != NULL;
}

/* One block of the file: text up to an empty line. Comments stay as they are. */
static void run_block(ScenarioFileRun run, gpointer scenario, const char *block, GString *out) {
  g_auto(GStrv) lines = g_strsplit(block, "\n", -1);
  guint i = 0;
  for (; lines[i] && lines[i][0] == '#'; i++)
    g_string_append_printf(out, "%s\n", lines[i]);
  if (!lines[i] || !*lines[i])
    return;
  g_autofree char *happened = run(scenario, lines[i]);
  g_string_append_printf(out, "%s\n----\n%s", lines[i], happened);
}

static char *run_all(ScenarioFileRun run, gpointer scenario, const char *text) {
  g_auto(GStrv) blocks = g_strsplit(text, "\n\n", -1);
  GString *out = g_string_new(NULL);
  for (guint i = 0; blocks[i]; i++) {
    g_strchug(blocks[i]);
    if (!*blocks[i])
      continue;
    if (out->len > 0)
      g_string_append_c(out, '\n');
    run_block(run, scenario, blocks[i], out);
  }
  return g_string_free(out, FALSE);
}

void scenario_file_check(const char *relative, ScenarioFileRun run, gpointer scenario) {
  const char *workspace = getenv("BUILD_WORKSPACE_DIRECTORY");
  gboolean rewrite = workspace && is_rewrite();
  g_autofree char *path = rewrite ? g_build_filename(workspace, relative, NULL) : g_strdup(shim_source_path(relative));
  g_autofree char *text = NULL;
  ASSERT_TRUE(g_file_get_contents(path, &text, NULL, NULL));
  g_autofree char *got = run_all(run, scenario, text);
  if (rewrite)
    ASSERT_TRUE(g_file_set_contents(path, got, -1, NULL));
  else
    EXPECT_EQ_STR(text, got);
}
