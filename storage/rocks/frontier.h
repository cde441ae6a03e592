/* The frontier note: up to where the store was known to be durable, kept outside of RocksDB and synced by itself.
 *
 * RocksDB's recovery opens over a lost write-ahead log as if it had never been; the note is what notices. It is written
 * at open, after a sync at each roll of a segment and every few seconds, and, with the clean mark, as the very last act
 * of a close. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"
#include "storage/rocks/folder.h"

G_BEGIN_DECLS

typedef struct {
  gboolean clean;   /* written by a close in order */
  gboolean untold;  /* an earlier stop was not, and the cluster was never told; absent: FALSE */
  guint64 sequence; /* RocksDB's sequence number: recovery must reach it */
  guint32 segment;  /* what older segments hold was verified or synced before: a scan begins here */
} RocksFrontier;

/* *@ret_found is FALSE, and @ret_frontier all zero, when there is no note: of a new store. Returns NULL or CORRUPT_LOG.
 */
Failure *rocks_frontier_read(RocksFolder *folder, RocksFrontier *ret_frontier, gboolean *ret_found);
/* Durable on return. Returns NULL or INTERNAL. Any one thread at a time. */
Failure *rocks_frontier_write(RocksFolder *folder, const RocksFrontier *frontier);

G_END_DECLS
