/* A whole cluster, simulated: controllers with the real Raft core and metadata, brokers with the real replicas,
 * clients, and all that may happen to them. A seed is a run. README.md says what happens in one, rules.h what must
 * hold. */
#pragma once

#include <stdio.h>

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  char *violation;     /* NULL when all rules held; owned by the caller */
  guint64 fingerprint; /* of all that happened, in its order */
  /* What the run was made of. */
  guint64 committed, acknowledged, elections, unclean, in_sync_changes, moves, cuts;
  guint64 kills, power_cuts, lost_disks, damaged, freezes, clean_stops, fenced;
} ClusterSimResult;

/* @trace: what happens is written there, a line each; NULL: nowhere */
void cluster_sim_run(guint64 seed, FILE *trace, ClusterSimResult *ret_result);
/* Add up what runs were made of. */
void cluster_sim_add(ClusterSimResult *sum, const ClusterSimResult *result);

G_END_DECLS
