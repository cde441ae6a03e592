/* The messages that tell what was read of a partition: made in a ReadMemory, which they live as long as. Pure. */
#pragma once

#include "services/broker/read/expand.h"
#include "services/broker/read/source.h"

G_BEGIN_DECLS

/* @origin: borrowed; copied */
Milena__V1__FetchedPartition *fetched_partition_new(ReadMemory *memory, const SourceOrigin *origin, gint32 partition,
                                                    const PartitionBounds *bounds, gint64 next_offset);
/* Add what was expanded into the same memory. */
void fetched_partition_set_piece(Milena__V1__FetchedPartition *fetched, const Expanded *piece);
/* Add why it could not be read. @failure: borrowed; NULL is fine */
void fetched_partition_set_failure(ReadMemory *memory, Milena__V1__FetchedPartition *fetched, const Failure *failure);

Google__Rpc__Status *fetched_status_new(ReadMemory *memory, const Failure *failure);
/* NULL when the origin does not know the way. */
Milena__V1__RouteHint *fetched_hint_new(ReadMemory *memory, const SourceOrigin *origin);

G_END_DECLS
