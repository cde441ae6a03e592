/* Every kind of fault once, against real controllers: the short form of ./dev chaos controllers. */
#include <glib.h>

#include "tests/chaos/programs.h"
#include "tests/shim/shim.h"

/* @only: a kind of fault for some seconds, or NULL for all, once; @ret_out: owned by the caller */
static int run_chaos(const char *controllers, const char *seed, const char *only, char **env, char **ret_out) {
  g_autofree char *programs = programs_folder(shim_temp_dir()),
                  *chaos = g_strdup(shim_source_path("tests/chaos/chaos"));
  g_autofree char *preload = g_canonicalize_filename(shim_source_path("tests/crash/liblose_unsynced.so"), NULL);
  const char *words[] = {chaos,
                         "--programs",
                         programs,
                         "--preload",
                         preload,
                         "--folder",
                         shim_temp_dir(),
                         "--seed",
                         seed,
                         "--controllers",
                         controllers,
                         only ? "--seconds" : "--tour",
                         only ? "10" : NULL,
                         "--only",
                         only,
                         NULL};
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_sync(NULL, (char **)words, env, G_SPAWN_DEFAULT, NULL, NULL, ret_out, NULL, &status, &error))
    shim_fail(__FILE__, __LINE__, "chaos can't be started: %s", error->message);
  return status;
}

static const struct {
  const char *name, *controllers, *seed;
} TOURS[] = {
    {"one_controller", "1", "1"},
    {"three_controllers", "3", "1"},
};

TEST_ROWS(chaos, TOURS) {
  g_autofree char *out = NULL;
  int status = run_chaos(TOURS[row].controllers, TOURS[row].seed, NULL, NULL, &out);
  if (!EXPECT_EQ_INT(0, status))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, "\nok the history is linearizable");
  EXPECT_CONTAINS(out, " 0 failed");
}

/* That power cuts have teeth: with disks that say "synced" and are not, something must be missing or damaged. */
TEST(chaos, finds_out_disks_that_lie) {
  g_autofree char *out = NULL;
  g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "LOSE_LIE", "1", TRUE);
  int status = run_chaos("1", "1", "power cut of all", env, &out);
  if (!EXPECT_TRUE(status != 0))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, "\nnot ok ");
}
