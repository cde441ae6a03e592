#include "tests/soak/probe.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MIB (1024.0 * 1024.0)
#define BLOCK_BYTES 512.0 /* of st_blocks */

/* The number behind @key in the text of /proc/PID/status; -1 when it is not there. */
static double number_behind(const char *text, const char *key) {
  const char *place = strstr(text, key);
  return place ? g_ascii_strtod(place + strlen(key), NULL) : -1;
}

static guint count_entries(const char *path) {
  g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
  guint count = 0;
  while (folder && g_dir_read_name(folder))
    count++;
  return count;
}

gboolean probe_process(GPid pid, ProcessFigures *ret_figures) {
  g_autofree char *status = g_strdup_printf("/proc/%d/status", (int)pid);
  g_autofree char *descriptors = g_strdup_printf("/proc/%d/fd", (int)pid);
  g_autofree char *text = NULL;
  if (!g_file_get_contents(status, &text, NULL, NULL))
    return FALSE;
  double kib = number_behind(text, "RssAnon:"), threads = number_behind(text, "Threads:");
  guint open = count_entries(descriptors);
  if (kib < 0 || open == 0) /* it is about to end */
    return FALSE;
  *ret_figures = (ProcessFigures){kib / 1024.0, open, threads};
  return TRUE;
}

double probe_folder_mib(const char *path) {
  struct stat info;
  if (lstat(path, &info) != 0)
    return 0;
  double mib = (double)info.st_blocks * BLOCK_BYTES / MIB;
  if (!S_ISDIR(info.st_mode))
    return mib;
  g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
  for (const char *name; folder && (name = g_dir_read_name(folder));) {
    g_autofree char *inside = g_build_filename(path, name, NULL);
    mib += probe_folder_mib(inside);
  }
  return mib;
}
