/* What is watched of a cluster over time: of each process its memory, descriptors and threads, of brokers and
 * controllers their folders, and how long groups stand still when a coordinator hands over. One thread. */
#pragma once

#include "tests/cluster/harness.h"

G_BEGIN_DECLS

typedef struct Vitals Vitals;

/* @names: of the processes ("broker-1"), NULL-terminated; copied
 * @disk_floor_mib: what a folder may always grow by: a time segment, since it comes and goes as a whole
 * @memory_floor_mib: what a process may: memtables, and what malloc keeps */
Vitals *vitals_new(Cluster *cluster, const char *const *names, double disk_floor_mib, double memory_floor_mib);
void vitals_free(Vitals *vitals); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vitals, vitals_free)

/* Look at everything; those that do not run now are left out. @at_s: since the start */
void vitals_look(Vitals *vitals, double at_s);
void vitals_note_handover(Vitals *vitals, double at_s, double gap_ms);
/* One line of the latest figures, of each kind the highest; owned by the caller. */
char *vitals_line(const Vitals *vitals);
/* A table of all verdicts on standard output. Returns how many figures rise. */
guint vitals_judge(const Vitals *vitals, double warm_up_s);

G_END_DECLS
