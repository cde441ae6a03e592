/* A service's key file and flags.
 *
 * Input: a chunk of flags, one a line; the rest is the key file. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "services/base/settings.h"

/* Refusals go to standard error: thousands of them are no use to anybody. Returns where it went before. */
static int silence(void) {
  fflush(stderr);
  int before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  dup2(nowhere, STDERR_FILENO);
  close(nowhere);
  return before;
}

static void restore(int before) {
  fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
}

/* Returns whether what it promises holds. */
static gboolean load(char **flags, const char *config) {
  g_autoptr(GPtrArray) argv = g_ptr_array_new();
  g_ptr_array_add(argv, (gpointer) "milena-broker");
  for (guint i = 0; flags[i]; i++)
    if (!g_str_equal(flags[i], "--help") && !g_str_equal(flags[i], "--version")) /* they print, and decode nothing */
      g_ptr_array_add(argv, flags[i]);
  g_ptr_array_add(argv, (gpointer) "--config");
  g_ptr_array_add(argv, (gpointer)config);
  char *folder = NULL;
  gint64 id = 0, bytes = 0, wait_ms = 0;
  gboolean create = FALSE;
  const SettingSpec specs[] = {
      {"data-dir", SETTING_STRING, &folder, "data", 0, 0, "folder"},
      {"id", SETTING_INT, &id, "1", 0, G_MAXINT32, "id"},
      {"create", SETTING_BOOL, &create, "false", 0, 0, "create"},
      {"max-bytes", SETTING_BYTES, &bytes, "64MiB", 1, 1 << 30, "bytes"},
      {"wait", SETTING_DURATION_MS, &wait_ms, "3s", 0, 60000, "time"},
      {NULL, 0, NULL, NULL, 0, 0, NULL},
  };
  int exit_code = 0;
  gboolean holds;
  if (settings_load("milena-broker", "broker", specs, (int)argv->len, (char **)argv->pdata, &exit_code)) {
    holds = folder && id >= 0 && id <= G_MAXINT32 && bytes >= 1 && bytes <= 1 << 30 && wait_ms >= 0 && wait_ms <= 60000;
  } else {
    holds = exit_code == 2;
  }
  settings_clear(specs);
  return holds;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  g_autofree char *text = fuzz_text(&input);
  g_auto(GStrv) flags = g_strsplit(text, "\n", 8);
  int fd = memfd_create("settings", MFD_CLOEXEC);
  FUZZ_HOLDS(fd >= 0 && (fuzz_left(&input) == 0 || write(fd, input.at, fuzz_left(&input)) > 0));
  g_autofree char *config = g_strdup_printf("/proc/self/fd/%d", fd);
  int before = silence();
  gboolean holds = load(flags, config);
  restore(before);
  FUZZ_HOLDS(holds);
  close(fd);
  return 0;
}
