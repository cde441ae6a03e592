#include "client/cli/local_pid.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

gboolean local_pid_parse_stat(const char *stat, char *ret_state, guint64 *ret_start_ticks, guint64 *ret_threads) {
  /* "PID (NAME) STATE ...": NAME may hold blanks and brackets, what follows it does not. */
  const char *at = strrchr(stat, ')');
  if (!at || at[1] != ' ')
    return FALSE;
  g_auto(GStrv) fields = g_strsplit(at + 2, " ", 21);
  if (g_strv_length(fields) < 21 || strlen(fields[0]) != 1)
    return FALSE;
  guint64 start_ticks, threads;
  if (!g_ascii_string_to_unsigned(fields[19], 10, 0, G_MAXUINT64, &start_ticks, NULL) ||
      !g_ascii_string_to_unsigned(fields[17], 10, 0, G_MAXUINT64, &threads, NULL))
    return FALSE;
  *ret_state = fields[0][0];
  *ret_threads = threads;
  *ret_start_ticks = start_ticks;
  return TRUE;
}

static char *read_proc(pid_t pid, const char *file) {
  g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, file);
  char *text = NULL;
  return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

static gboolean read_boot(char *boot, gsize size) {
  g_autofree char *text = NULL;
  if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
    return FALSE;
  g_strlcpy(boot, g_strchomp(text), size);
  return TRUE;
}

gboolean local_pid_of(pid_t pid, LocalPid *ret_identity) {
  LocalPid identity = {.pid = pid};
  guint64 threads;
  char state;
  g_autofree char *stat = read_proc(pid, "stat");
  if (!stat || !local_pid_parse_stat(stat, &state, &identity.start_ticks, &threads) ||
      !read_boot(identity.boot, sizeof identity.boot))
    return FALSE;
  *ret_identity = identity;
  return TRUE;
}

gboolean local_pid_is_alive(const LocalPid *identity) {
  char state, boot[sizeof identity->boot];
  guint64 start_ticks, threads;
  g_autofree char *stat = read_proc(identity->pid, "stat");
  if (!stat || !local_pid_parse_stat(stat, &state, &start_ticks, &threads) || start_ticks != identity->start_ticks ||
      !read_boot(boot, sizeof boot) || strcmp(boot, identity->boot) != 0)
    return FALSE;
  /* A zombie's other threads may still be on their way out, and hold its sockets and its locks. */
  return state == 'Z' ? threads > 1 : state != 'X';
}

gboolean local_pid_signal(const LocalPid *identity, int signal_number) {
  /* The descriptor holds on to one process; only then is it checked that this is the right one. */
  int fd = pidfd_open(identity->pid, 0);
  if (fd < 0)
    return FALSE;
  gboolean sent = local_pid_is_alive(identity) && pidfd_send_signal(fd, signal_number, NULL, 0) == 0;
  close(fd);
  return sent;
}

guint64 local_pid_memory_bytes(const LocalPid *identity) {
  g_autofree char *statm = local_pid_is_alive(identity) ? read_proc(identity->pid, "statm") : NULL;
  guint64 pages = 0;
  if (!statm || sscanf(statm, "%*u %" G_GUINT64_FORMAT, &pages) != 1)
    return 0;
  return pages * (guint64)sysconf(_SC_PAGESIZE);
}

gint64 local_pid_uptime_s(const LocalPid *identity) {
  g_autofree char *text = NULL;
  if (!local_pid_is_alive(identity) || !g_file_get_contents("/proc/uptime", &text, NULL, NULL))
    return 0;
  double started = (double)identity->start_ticks / (double)sysconf(_SC_CLK_TCK);
  return MAX((gint64)(g_ascii_strtod(text, NULL) - started), 0);
}

gboolean local_pid_read(const char *path, LocalPid *ret_identity) {
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    return FALSE;
  g_auto(GStrv) words = g_strsplit(g_strchomp(text), " ", -1);
  gint64 pid;
  guint64 start_ticks;
  LocalPid identity = {0};
  if (g_strv_length(words) != 3 || !g_ascii_string_to_signed(words[0], 10, 2, G_MAXINT, &pid, NULL) ||
      !g_ascii_string_to_unsigned(words[1], 10, 0, G_MAXUINT64, &start_ticks, NULL) ||
      strlen(words[2]) >= sizeof identity.boot)
    return FALSE;
  identity.pid = (pid_t)pid;
  identity.start_ticks = start_ticks;
  g_strlcpy(identity.boot, words[2], sizeof identity.boot);
  *ret_identity = identity;
  return TRUE;
}

Failure *local_pid_write(const char *path, const LocalPid *identity) {
  g_autofree char *text =
      g_strdup_printf("%d %" G_GUINT64_FORMAT " %s\n", (int)identity->pid, identity->start_ticks, identity->boot);
  g_autoptr(GError) error = NULL;
  if (!g_file_set_contents(path, text, -1, &error))
    return failure_new(FAILURE(INTERNAL), "the pid file can't be written: %s.", error->message);
  return NULL;
}
