/* Every kind of fault once, against real controllers: the short form of ./dev chaos controllers. */
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "tests/shim/shim.h"

static const char *const PROGRAMS[] = {"services/controller/milena-controller", "services/broker/milena-broker"};

/* The programs side by side. */
static char *programs_folder(void) {
  char *folder = g_build_filename(shim_temp_dir(), "bin", NULL);
  g_mkdir_with_parents(folder, 0755);
  for (guint i = 0; i < G_N_ELEMENTS(PROGRAMS); i++) {
    g_autofree char *name = g_path_get_basename(PROGRAMS[i]), *link = g_build_filename(folder, name, NULL);
    g_autofree char *target = g_canonicalize_filename(shim_source_path(PROGRAMS[i]), NULL);
    if (symlink(target, link) != 0)
      shim_fail(__FILE__, __LINE__, "%s can't be linked", link);
  }
  return folder;
}

/* What was skipped is said by name; @ret_out: owned by the caller */
static int run_chaos(const char *controllers, const char *seed, char **ret_out) {
  g_autofree char *programs = programs_folder(), *chaos = g_strdup(shim_source_path("tests/chaos/chaos"));
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
