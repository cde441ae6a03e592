/* A seeded run of several Raft cores over a network and disks that fail, with the rules of Raft checked after every
 * step. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  char violation[256]; /* "" when all rules held */
  guint64 committed;   /* proposals that were acknowledged */
  guint64 elections;   /* leaders that there were */
  guint64 installs;    /* snapshots that came from a leader */
} SimulationResult;

SimulationResult simulation_run(guint64 seed, guint steps);

G_END_DECLS
