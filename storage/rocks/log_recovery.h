/* What is found at open: the catalog and hot records fill the index; after an unclean stop, the batches of the latest
 * segments are checked against them. Runs on the opening thread, before there are others. */
#pragma once

#include <glib.h>

#include "storage/rocks/log_index.h"
#include "storage/rocks/log_store.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

/* What is wrong with a log. */
typedef struct {
  Failure *failure;
  gint64 good_end; /* behind the last good batch in front of the damage */
} LogDamage;

/* A table of log id → LogDamage that owns both. */
GHashTable *log_damages_new(void);

/* Fill @index with segments (their handles are taken over), logs and spans. The last segment's created_ms is 0 when it
 * is not in the catalog yet. Hot records that can't be read go to
 * @damages; damage to the catalog fails. @ret_bulk_group: the last bulk group that was settled (log_bulk.h), or 0. */
Failure *log_recovery_load(RocksDb *db, const GArray *segments, LogIndex *index, GHashTable *damages,
                           guint64 *ret_bulk_group);

/* Read all batches of all logs in the segments from @first_segment on: checksums, order, and that each log ends where
 * its hot record says. What is wrong goes to @damages and is marked in @index. @ret_bytes: how much was read. */
void log_recovery_verify(RocksDb *db, LogIndex *index, guint32 first_segment, GHashTable *damages, guint64 *ret_bytes);

/* See log_store_recover. */
Failure *log_recovery_tell(RocksDb *db, GHashTable *damages, LogStoreRecoverFunc func, gpointer data);

G_END_DECLS
