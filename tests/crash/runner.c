#include "tests/crash/runner.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/shim/shim.h"

void crash_place_init(CrashPlace *place) {
  const char *dir = shim_temp_dir();
  *place = (CrashPlace){.folder = g_build_filename(dir, "store", NULL),
                        .journal = g_build_filename(dir, "journal", NULL),
                        .errors = g_build_filename(dir, "errors", NULL)};
}

void crash_place_clear(CrashPlace *place) {
  g_free(place->folder);
  g_free(place->journal);
  g_free(place->errors);
}

static char **environment(const CrashPlace *place, const CrashRun *run) {
  char **env = g_get_environ();
  if (run->loses) {
    g_autofree char *preload = g_strdup(shim_source_path("tests/crash/liblose_unsynced.so"));
    env = g_environ_setenv(env, "LD_PRELOAD", preload, TRUE);
    env = g_environ_setenv(env, "LOSE_FOLDER", place->folder, TRUE);
    env = g_environ_setenv(env, "LOSE_JOURNAL", place->journal, TRUE);
    env = g_environ_setenv(env, "ASAN_OPTIONS", "verify_asan_link_order=0", TRUE);
  }
  if (run->lies)
    env = g_environ_setenv(env, "LOSE_LIE", "1", TRUE);
  if (run->fail_sync_after)
    env = g_environ_setenv(env, "LOSE_FAIL_SYNC_AFTER", run->fail_sync_after, TRUE);
  return env;
}

pid_t crash_start(const CrashPlace *place, const CrashRun *run, int *ret_fd) {
  g_autofree char *driver = g_strdup(shim_source_path(run->driver));
  char *argv[] = {driver, place->folder, (char *)run->run, (char *)run->mode, NULL};
  g_auto(GStrv) env = environment(place, run);
  int fds[2];
  unlink(place->journal);
  if (pipe2(fds, 0) != 0)
    return -1;
  FILE *errors = fopen(place->errors, "w");
  pid_t pid = fork();
  if (pid == 0) {
    dup2(fds[1], STDOUT_FILENO);
    dup2(fileno(errors), STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
    execve(driver, argv, env);
    _exit(127);
  }
  fclose(errors);
  close(fds[1]);
  *ret_fd = fds[0];
  return pid;
}

char *crash_errors(const CrashPlace *place) {
  char *errors = NULL;
  g_file_get_contents(place->errors, &errors, NULL, NULL);
  return errors ? errors : g_strdup("");
}
