/* What the `milena local` commands share: the folder with its lock, bringing processes up, showing them. One thread. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/local_health.h"
#include "client/cli/local_plan.h"
#include "client/cli/local_process.h"

G_BEGIN_DECLS

/* An open folder. While it is locked no other `milena local` changes the same cluster. */
typedef struct {
  char *folder;    /* absolute */
  int lock_fd;     /* -1: not locked */
  LocalPlan *plan; /* NULL when the folder holds no cluster */
} LocalCluster;

/* Open the folder that --data names, or the default one.
 *
 * @data: NULL for the default
 * @lock: take the lock, and wait for it; needs the folder, which is made
 * @cluster: overwritten; end with local_cluster_close also on failure */
Failure *local_cluster_open(Cli *cli, const char *data, gboolean lock, LocalCluster *cluster);
/* Let others work on it; the plan stays. */
void local_cluster_unlock(LocalCluster *cluster);
void local_cluster_close(LocalCluster *cluster);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LocalCluster, local_cluster_close)

/* How many of its processes run; 0 without a plan. */
guint local_cluster_running(const LocalCluster *cluster);

/* Start those of @nodes that do not run, and wait until all of them serve.
 *
 * Returns CLI_OK, or CLI_FAILED after saying which failed, how, and its last log lines. */
int local_cluster_bring_up(Cli *cli, LocalCluster *cluster, GPtrArray *nodes);
/* Print all processes. @ret_all_serve: may be NULL. Returns the exit code of the printing. */
int local_cluster_show(Cli *cli, const LocalCluster *cluster, gboolean *ret_all_serve);
/* The processes of one kind; owned by the caller, the nodes are the plan's. */
GPtrArray *local_cluster_nodes(const LocalPlan *plan, LocalKind kind);
/* The whole cluster: coordinators first, controllers last. Returns how many did not end by themselves in time. */
guint local_cluster_stop(const LocalPlan *plan, gint64 grace_ms);

G_END_DECLS
