/* What must hold at the end of a run, besides the history: each function returns NULL, or what is wrong, owned by the
 * caller. */
#pragma once

#include "tests/chaos/fleet.h"
#include "tests/chaos/witness.h"

G_BEGIN_DECLS

/* Wait until all members have the same metadata at the same version, and the broker too; at most @timeout_s. */
char *verdict_converged(Fleet *fleet, Witness *witness, guint standby, guint timeout_s);
/* Each term had at most one active controller, by what they logged. @ret_terms: how many there were */
char *verdict_terms(Fleet *fleet, guint *ret_terms);
/* Up to what both know to be committed, two logs hold the same entries. The processes must be down.
 *
 * @ret_entries: how many were compared */
char *verdict_logs(Fleet *fleet, guint standby, guint *ret_entries);
/* No log has a broken invariant or a sanitizer's report. */
char *verdict_no_reports(Fleet *fleet);

G_END_DECLS
