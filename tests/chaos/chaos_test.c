/* Every kind of fault once, against real controllers: the short form of ./dev chaos controllers. */
#include <glib.h>

#include "tests/chaos/programs.h"
#include "tests/shim/shim.h"

/* What was skipped is said by name; @ret_out: owned by the caller */
static int run_chaos(const char *controllers, const char *seed, char **ret_out) {
  g_autofree char *programs = programs_folder(shim_temp_dir()),
                  *chaos = g_strdup(shim_source_path("tests/chaos/chaos"));
  g_autofree char *preload = g_canonicalize_filename(shim_source_path("tests/crash/liblose_unsynced.so"), NULL);
  const char *words[] = {chaos,    "--programs", programs, "--preload",     preload,     "--folder", shim_temp_dir(),
                         "--tour", "--seed",     seed,     "--controllers", controllers, NULL};
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_DEFAULT, NULL, NULL, ret_out, NULL, &status, &error))
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
  int status = run_chaos(TOURS[row].controllers, TOURS[row].seed, &out);
  if (!EXPECT_EQ_INT(0, status))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, "\nok the history is linearizable");
  EXPECT_CONTAINS(out, " 0 failed");
}
