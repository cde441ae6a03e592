/* Processes of a local cluster: find the program, start it detached, look after it, end it. */
#pragma once

#include "client/cli/local_pid.h"
#include "client/cli/local_plan.h"

G_BEGIN_DECLS

/* What the pid file and /proc say of a process. */
typedef enum {
  LOCAL_STOPPED, /* never started, or ended by `milena local` */
  LOCAL_RUNNING,
  LOCAL_ENDED, /* it was started, and ended by itself */
} LocalState;

LocalState local_process_state(const LocalPlan *plan, const LocalNode *node, LocalPid *ret_identity);

/* Where a program is: in MILENA_BIN, beside this executable, or in the layout of a build tree.
 *
 * @ret_path: owned by the caller; untouched on failure
 *
 * Returns NULL, or a failure that lists the places. */
Failure *local_process_find_program(const LocalNode *node, char **ret_path);

/* Start it: in a session of its own, standard output and error appended to DIR/NAME.log, its identity in DIR/NAME.pid.
 *
 * @ret_log_start: where in the log file its lines begin
 *
 * Returns NULL, or why it could not be started. That it started does not mean that it serves. */
Failure *local_process_start(const LocalPlan *plan, const LocalNode *node, LocalPid *ret_identity,
                             guint64 *ret_log_start);

/* How it ended, as "with exit code 1"; owned by the caller. Only for our own children is more known than that it did.
 */
char *local_process_describe_end(const LocalPid *identity);
/* The last lines of its log, at most @lines, from @start on; owned by the caller. */
char *local_process_log_tail(const LocalPlan *plan, const LocalNode *node, guint64 start, guint lines);

/* End some processes: a signal to each, wait, and SIGKILL to those that still run after the grace. Removes the pid
 * files of those that are gone.
 *
 * @nodes: LocalNode *
 * @grace_ms: 0 with SIGKILL
 *
 * Returns how many had to be killed though they were not to. */
guint local_process_stop(const LocalPlan *plan, GPtrArray *nodes, int signal_number, gint64 grace_ms);

G_END_DECLS
