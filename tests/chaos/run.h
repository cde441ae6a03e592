/* A run: processes under faults, and what it has shown. See README.md of this folder.
 *
 *   start, bootstrap ──► clients and witness ──► nemesis: faults, mending ──► all is mended ──► clients stop, final
 *   reads ──► processes end ──► verdicts
 *
 * Owning threads: the main one runs the nemesis; clients, traffic, witness and surgeon have their own. */
#pragma once

#include "tests/chaos/nemesis.h"
#include "tests/chaos/report.h"
#include "tests/chaos/witness.h"

G_BEGIN_DECLS

typedef struct {
  gint minutes, seconds, controllers, brokers, clients, pause_ms, at_once;
  gint64 seed;
  gboolean tour, keep, no_namespaces;
  char *programs, *preload, *folder, *check, *check_records, *flush;
  char **only;
} RunOptions;

typedef struct {
  RunOptions options;
  Report *report;
  Net *net;
  Fleet *fleet;
  Load *load;
  Traffic *traffic; /* NULL: there is one broker, and it is left alone */
  Witness *witness;
  Surgeon *surgeon;
  Nemesis *nemesis;
  char *folder;
  char *no_net;              /* why there are no namespaces, or NULL */
  const volatile gint *stop; /* set by a signal: the run ends as if its time were over */
} Run;

/* All of it. Returns how many claims did not hold. */
guint run_all(Run *run);

/* ---- Parts ---- */

guint run_standby(const Run *run);
/* Everything ends, and each claim is made. */
void run_judge(Run *run);
void run_print_table(Run *run);

G_END_DECLS
