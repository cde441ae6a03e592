/* Records that are over go: a shard looks at its partitions every now and then, and moves the log starts of those that
 * it leads (storage/log/retention.h). Followers take them from their leaders. The store drops segments that nobody
 * needs, and is told how long these may grow.
 *
 *   quiet ──the time has come, or a retention changed──► looking: some partitions in each turn of the loop ──► quiet
 *
 * Thread: the shard's loop. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Shard Shard;
typedef struct Retention Retention;

Retention *retention_new(Shard *shard);
/* NULL is fine. */
void retention_free(Retention *retention);
/* Look within a second: a retention changed. */
void retention_look_soon(Retention *retention);
/* Look no more. */
void retention_stop(Retention *retention);

G_END_DECLS
