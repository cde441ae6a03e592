/* The groups of synthetic histories; see synthetic.h. Pure. */
#pragma once

#include "tests/chaos/records/synthetic.h"

G_BEGIN_DECLS

#define SYNTHETIC_GROUP_READER 100 /* readers from here on are members of groups */

/* Two groups read this partition: group 0 at least once, to its end, group 1 at most once. @log: of guint64, the value
 * at each offset */
void synthetic_add_groups(Ledger *ledger, gint32 partition, const GArray *log, GRand *random);
/* As synthetic_spoil, for the kinds of groups. */
gboolean synthetic_spoil_group(Ledger *ledger, AnomalyKind kind, GRand *random);

G_END_DECLS
