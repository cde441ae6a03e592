/* A shard: one loop of the broker, which owns the partitions whose log id falls to it, and answers calls as a front.
 *
 * Partition state is touched by its shard's loop alone. Whoever wants something of a partition, from whatever loop,
 * hands its shard an operation (partition.h) and gets it back on its own loop.
 *
 * Metadata comes in two steps: every shard first makes and drops its partitions after the new image; once all have,
 * every front routes by it. So a call that was routed by an image never meets a shard that does not know its partition
 * yet. */
#pragma once

#include "controller/metadata/image.h"
#include "services/base/loop.h"
#include "services/base/timers.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Shard Shard;
typedef struct Broker Broker;
typedef struct Front Front;

/* Any thread; constant for the shard's life. */
Loop *shard_loop(const Shard *shard);
guint shard_index(const Shard *shard);

G_END_DECLS
