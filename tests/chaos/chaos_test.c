/* Every kind of fault once, against real controllers, and half a minute of those of a whole cluster: the short form of
 * ./dev chaos. */
#include <glib.h>

#include "tests/chaos/programs.h"
#include "tests/shim/shim.h"

/* @whom: more words, NULL at the end; @ret_out: owned by the caller */
static int run_chaos(const char *seed, const char *const *whom, char **env, char **ret_out) {
  g_autofree char *programs = programs_folder(shim_temp_dir());
  g_autofree char *preload = g_canonicalize_filename(shim_source_path("tests/crash/liblose_unsynced.so"), NULL);
  const char *first[] = {shim_source_path("tests/chaos/chaos"),
                         "--programs",
                         programs,
                         "--preload",
                         preload,
                         "--folder",
                         shim_temp_dir(),
                         "--seed",
                         seed};
  g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < G_N_ELEMENTS(first); i++)
    g_ptr_array_add(words, g_strdup(first[i]));
  for (; *whom; whom++)
    g_ptr_array_add(words, g_strdup(*whom));
  g_ptr_array_add(words, NULL);
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_sync(NULL, (char **)words->pdata, env, G_SPAWN_DEFAULT, NULL, NULL, ret_out, NULL, &status, &error))
    shim_fail(__FILE__, __LINE__, "chaos can't be started: %s", error->message);
  return status;
}

static const struct {
  const char *name, *seed, *whom[9], *claim;
} RUNS[] = {
    {"one_controller", "1", {"--controllers", "1", "--tour"}, "\nok the history is linearizable"},
    {"three_controllers", "1", {"--controllers", "3", "--tour"}, "\nok the history is linearizable"},
    {"cluster", "7", {"--brokers", "3", "--clients", "2", "--pause-ms", "150", "--seconds", "30"}, "\nok no anomaly"},
};

TEST_ROWS(chaos, RUNS) {
  g_autofree char *out = NULL;
  int status = run_chaos(RUNS[row].seed, RUNS[row].whom, NULL, &out);
  if (!EXPECT_EQ_INT(0, status))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, RUNS[row].claim);
  EXPECT_CONTAINS(out, " 0 failed");
}

/* That power cuts have teeth: with disks that say "synced" and are not, something must be missing or damaged. */
static const struct {
  const char *name, *whom[9];
} LIES[] = {
    {"of_controllers", {"--controllers", "1", "--seconds", "10", "--only", "power cut of all"}},
    {"of_brokers", {"--brokers", "3", "--seconds", "10", "--only", "power cut of everything"}},
};

TEST_ROWS(chaos_finds_out_disks_that_lie, LIES) {
  g_autofree char *out = NULL;
  g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "LOSE_LIE", "1", TRUE);
  int status = run_chaos("1", LIES[row].whom, env, &out);
  if (!EXPECT_TRUE(status != 0))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, "\nnot ok ");
}
