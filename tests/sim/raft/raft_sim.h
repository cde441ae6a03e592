/* Controllers, simulated: real Raft cores and the real metadata on simulated disks, networks, clocks and operators that
 * do their worst. A seed is a run. README.md says what happens in one, rules.h what must hold all the time. */
#pragma once

#include <stdio.h>

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  char *violation;     /* NULL when all rules held; owned by the caller */
  guint64 fingerprint; /* of all that happened, in its order */
  guint64 events;      /* that the cores were given */
  /* What the run was made of. */
  guint64 committed, elections, writes, reads, unknowns;
  guint64 crashes, freezes, partitions, lost_disks, failed_disks, changes, transfers, snapshots, restores;
} RaftSimResult;

/* @trace: what happens is written there, a line each; NULL: nowhere */
void raft_sim_run(guint64 seed, FILE *trace, RaftSimResult *ret_result);
/* Add up what runs were made of. */
void raft_sim_add(RaftSimResult *sum, const RaftSimResult *result);

G_END_DECLS
