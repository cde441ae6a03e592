#include "tests/chaos/programs.h"

#include <unistd.h>

#include "tests/shim/shim.h"

static const char *const PROGRAMS[] = {"services/controller/milena-controller", "services/broker/milena-broker",
                                       "services/group_coordinator/milena-group-coordinator"};

char *programs_folder(const char *folder) {
  char *bin = g_build_filename(folder, "bin", NULL);
  g_mkdir_with_parents(bin, 0755);
  for (guint i = 0; i < G_N_ELEMENTS(PROGRAMS); i++) {
    g_autofree char *name = g_path_get_basename(PROGRAMS[i]), *link = g_build_filename(bin, name, NULL);
    g_autofree char *target = g_canonicalize_filename(shim_source_path(PROGRAMS[i]), NULL);
    if (!g_file_test(link, G_FILE_TEST_EXISTS) && symlink(target, link) != 0)
      shim_fail(__FILE__, __LINE__, "%s can't be linked", link);
  }
  return bin;
}
