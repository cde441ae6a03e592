/* Half a minute of groups under faults: the short form of ./dev chaos groups. */
#include <glib.h>

#include "tests/chaos/programs.h"
#include "tests/shim/shim.h"

/* @more: words, NULL at the end; @ret_out: owned by the caller */
static int run_groups(const char *const *more, char **ret_out) {
  g_autofree char *programs = programs_folder(shim_temp_dir());
  g_autofree char *member = g_canonicalize_filename(shim_source_path("tests/chaos/groups/member"), NULL);
  g_autofree char *groups = g_canonicalize_filename(shim_source_path("tests/chaos/groups/groups"), NULL);
  g_autofree char *stream = g_canonicalize_filename(shim_source_path("tests/chaos/groups/stream_member"), NULL);
  const char *first[] = {groups, "--programs", programs,       "--member", member, "--stream-member",
                         stream, "--folder",   shim_temp_dir()};
  g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < G_N_ELEMENTS(first); i++)
    g_ptr_array_add(words, g_strdup(first[i]));
  for (; *more; more++)
    g_ptr_array_add(words, g_strdup(*more));
  g_ptr_array_add(words, NULL);
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_sync(NULL, (char **)words->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, ret_out, NULL, &status, &error))
    shim_fail(__FILE__, __LINE__, "groups can't be started: %s", error->message);
  return status;
}

TEST(chaos, groups_keep_their_promises) {
  static const char *const WORDS[] = {"--seed", "3", "--seconds", "20", NULL};
  g_autofree char *out = NULL;
  int status = run_groups(WORDS, &out);
  if (!EXPECT_EQ_INT(0, status))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, "\nok no anomaly");
  EXPECT_CONTAINS(out, " 0 failed");
}

/* That the faults have teeth: who commits only after processing does some of it twice when it is killed while nobody
 * takes its commits. */
TEST(chaos, members_that_commit_too_late_are_found_out) {
  static const char *const WORDS[] = {
      "--seed", "40", "--seconds", "1", "--wrong", "--only", "coordinators kill", "--only", "members kill", NULL};
  g_autofree char *out = NULL;
  int status = run_groups(WORDS, &out);
  if (!EXPECT_TRUE(status != 0))
    FAIL("%s", out);
  EXPECT_CONTAINS(out, "processed twice: group 1");
}
