/* Controllers as real processes on this machine, and a broker that is none: registered and alive, so that topics find
 * a leader, without a disk or a log of its own to be measured with them. */
#pragma once

#include <glib.h>

#include "services/rpc/client.h"

G_BEGIN_DECLS

#define QUORUM_MAX 5

typedef struct {
  gint32 id;
  GPid pid; /* 0: does not run */
  char *folder, *ready_file, *log_file;
  char *address, *peer_address; /* 127.0.0.1 and a port of its own */
} QuorumMember;

typedef struct {
  const char *program; /* milena-controller */
  QuorumMember members[QUORUM_MAX];
  guint count;
  RpcClient *client;
  GThread *broker;
  gint stopping;
} Quorum;

/* Start @count controllers in folders below @dir, begin a cluster with them, register the broker. Ends the program with
 * a sentence when that does not work. */
void quorum_start(Quorum *quorum, const char *program, const char *dir, guint count);
void quorum_stop(Quorum *quorum);

void quorum_member_start(Quorum *quorum, guint number);
void quorum_member_kill(Quorum *quorum, guint number); /* with SIGKILL; it is gone on return */
/* Index of the active one: asks until there is one. */
guint quorum_active(Quorum *quorum);
/* Wait until every member runs, and has all that the active one has. */
void quorum_settle(Quorum *quorum);

/* The value of a line of /proc/PID/status, "VmRSS:", in MiB. */
gdouble quorum_member_mib(const Quorum *quorum, guint number, const char *line);
/* Create a topic by one call to one controller. Returns NULL, or why not; owned by the caller. */
Failure *quorum_create_topic(Quorum *quorum, RpcClient *client, guint number, const char *name, guint32 partitions,
                             gint64 timeout_ms);

/* End the program with a sentence. */
G_NORETURN void quorum_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

G_END_DECLS
