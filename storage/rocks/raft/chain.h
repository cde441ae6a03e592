/* The checksum of a log's entries, chained from each to the next: an entry that was changed, exchanged, lost or put in
 * does not fit those around it. Pure; any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* In front of the first entry of a log without a snapshot. */
#define RAFT_CHAIN_BEGIN G_GUINT64_CONSTANT(0)

/* Go on: a CRC-64 (ECMA-182, reflected) over everything so far. @chain: value of what came before */
guint64 raft_chain_next(guint64 chain, gconstpointer data, gsize size);

G_END_DECLS
