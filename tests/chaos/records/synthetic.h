/* Histories that a cluster which keeps its promises could have had, made from a seed, and one anomaly put into each:
 * what the checker is proven with. Pure. */
#pragma once

#include "tests/chaos/records/anomalies.h"

G_BEGIN_DECLS

/* With answers that failed and answers of unknown outcome, sends that came late, readers from anywhere, two that read
 * everything at the end, and two groups. Owned by the caller. */
Ledger *synthetic_new(GRand *random);
/* Put this anomaly in, and no other. FALSE when the ledger has no place for it, and is as it was. */
gboolean synthetic_spoil(Ledger *ledger, AnomalyKind kind, GRand *random);

G_END_DECLS
