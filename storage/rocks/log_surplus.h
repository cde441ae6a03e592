/* What a bulk group left behind that a crash kept from being known: see log_bulk.h. Before the threads start. */
#pragma once

#include "storage/rocks/log_index.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

/* Cut what groups behind @last_group wrote: nobody was told of it, and the next appends go to the same offsets.
 *
 * @first_segment: older ones hold nothing of the kind
 * @ret_cuts: how many logs were cut; set on failure too
 *
 * Returns NULL, or CORRUPT_LOG when a segment's marks can't be read: what is not known can't be cut, so the segment
 * must not be written any more. */
Failure *log_surplus_cut(RocksDb *db, LogIndex *index, guint32 first_segment, guint64 last_group, guint *ret_cuts);

G_END_DECLS
