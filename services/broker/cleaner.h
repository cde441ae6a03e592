/* The cleaner: compacts the logs of compacted topics, on every replica for itself. One thread, one log at a time, the
 * dirtiest first, with a bounded share of disk and processor. docs/compaction.md is the page for operators. */
#pragma once

#include "services/broker/broker.h"

G_BEGIN_DECLS

typedef struct Cleaner Cleaner;

typedef struct {
  gint64 interval_ms;      /* look for what to do so often; a log rests as long behind a run */
  gint64 bytes_per_second; /* read and written at most; 0: no bound */
  gint64 map_bytes;        /* memory for the keys of one run */
} CleanerOptions;

/* Start its thread. @broker: borrowed; its shards' loops run from now until cleaner_stop. */
Cleaner *cleaner_new(Broker *broker, const CleanerOptions *options);
/* End the run that is under way, and the thread: before the store closes. NULL is fine. Blocks. */
void cleaner_stop(Cleaner *cleaner);

G_END_DECLS
