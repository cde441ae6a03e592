/* What goes wrong in a run with groups: faults of members, coordinators, brokers and controllers, and how all is
 * mended. On the thread that started the processes. */
#pragma once

#include "tests/chaos/fleet.h"
#include "tests/chaos/groups/members.h"

G_BEGIN_DECLS

typedef struct {
  Fleet *fleet; /* all borrowed */
  Net *net;
  Members *members;
  GRand *random;
  char **wrong; /* where a planned stop that does not go as planned says so; owned by the caller */
} FaultsStage;

guint faults_count(void);
const char *faults_name(guint kind);
/* Why it can't be had here, or NULL; static. */
const char *faults_skips(const FaultsStage *stage, guint kind);
/* No fault, but what an operator does: where nothing else is in force, no group may notice. */
gboolean faults_is_planned(guint kind);
/* Put it in force. Returns whom it hits; owned by the caller. */
char *faults_begin(const FaultsStage *stage, guint kind);
/* Everybody is there again, and reaches everybody. */
void faults_mend(const FaultsStage *stage);

G_END_DECLS
