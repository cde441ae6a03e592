/* A process by its identity: pid, when it started, and the boot that it belongs to. A pid alone is used again by the
 * system; with these three, a stranger is never taken for ours, nor killed. Linux: reads /proc. Any thread. */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct {
  pid_t pid;
  guint64 start_ticks; /* clock ticks after boot: field 22 of /proc/PID/stat */
  char boot[40];       /* /proc/sys/kernel/random/boot_id */
} LocalPid;

/* Three fields of /proc/PID/stat. @stat: its text; the command's name in it may hold anything. Returns FALSE when it is
 * not of that form. Pure. */
gboolean local_pid_parse_stat(const char *stat, char *ret_state, guint64 *ret_start_ticks, guint64 *ret_threads);

/* The identity of a process that exists now. Returns FALSE when there is none. */
gboolean local_pid_of(pid_t pid, LocalPid *ret_identity);
/* It still runs: the same process, and no zombie, or one with threads that have not ended yet. */
gboolean local_pid_is_alive(const LocalPid *identity);
/* Send it a signal, without a gap in which the pid could change hands. Returns FALSE when it does not run any more. */
gboolean local_pid_signal(const LocalPid *identity, int signal_number);
/* Resident memory in bytes, and seconds since it started; 0 when it is gone. */
guint64 local_pid_memory_bytes(const LocalPid *identity);
gint64 local_pid_uptime_s(const LocalPid *identity);

/* The pid file. Reading returns FALSE when there is none, or it holds something else. */
gboolean local_pid_read(const char *path, LocalPid *ret_identity);
Failure *local_pid_write(const char *path, const LocalPid *identity);

G_END_DECLS
