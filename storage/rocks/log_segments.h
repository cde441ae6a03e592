/* Time segments come and go.
 *
 *   made ──► active: written ──roll──► closed ──nobody needs anything in it──► gone in the catalog ──► dropped
 *
 * A segment goes as a whole: its column family, and what the catalog has of it. By then the hot records that need
 * nothing of it are durable, and the catalog says that it goes; a crash in between is made good at the next open
 * (docs/decisions/0016-retention.md).
 *
 * The writer's thread, or the opening one. Failures end the process (rocks_die). */
#pragma once

#include <glib.h>
#include <rocksdb/c.h>

#include "storage/rocks/log_index.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

/* Make a segment: the active one from now on. @created_ms: 0 for one that the catalog does not know yet */
void log_segments_add(RocksDb *db, LogIndex *index, guint32 number, gint64 created_ms);
/* See that the catalog knows the active segment; while the store is being opened. */
void log_segments_note_active(RocksDb *db, LogIndex *index);
/* Close the active segment and make the next one. */
void log_segments_roll(RocksDb *db, LogIndex *index, gint64 now_ms);
/* Drop the closed segments that no log needs. All that was written before is made durable, if there are any. Returns
 * how many. Blocks. */
guint log_segments_drop_unneeded(RocksDb *db, LogIndex *index);
/* While the store is being opened: drop those, go on where a crash interrupted a drop, and forget what the catalog has
 * of dropped logs. */
void log_segments_clean(RocksDb *db, LogIndex *index);

G_END_DECLS
