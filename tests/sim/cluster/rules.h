/* What must hold, checked by one who sees every disk and every process (REPLICATION.md):
 *
 *  - one leader an epoch: a leader epoch of a partition is led by one broker, in one registration
 *  - log matching: one epoch and offset have one record, wherever it is
 *  - committed is committed: what a leader's high watermark has passed is the same record in every leader's view, for
 *    ever; a leader of the latest epoch has all of it, and so has whoever may be elected, as durably as the topic asks
 *  - the high watermark is what the maximal in-sync set has: when it moves, every member that is committed as in sync
 *    has the record on its disk, synced (written, unless flush=always)
 *  - a leader that says that it knows the high watermark knows of all that earlier leaders committed
 *  - metadata: in sync and eligible are replicas and share nobody, nobody fenced is in sync or leads, a leader is in
 * sync, a leader epoch has one leader, each change raises the partition's epoch, the last one that counts is kept
 *  - nobody that counts cuts what is committed, and what is read below a high watermark does not change
 *  - producers: in order, none twice, nothing acknowledged lost (idempotence_client.c)
 *  - once all faults end: led, in sync, caught up, written to (settle.c)
 *
 * An unclean election, or more failures than a partition's promise stands, voids "committed" up to then, and no more.
 */
#pragma once

#include "tests/sim/cluster/broker.h"

G_BEGIN_DECLS

void rules_metadata(MetadataImage *before, MetadataImage *image, gpointer cluster);
/* The log has taken this batch, as its leader (or not). */
void rules_appended(Log *log, const Batch *batch, gboolean led);
/* It is about to be cut. */
void rules_cut(Log *log, gint64 end);
/* After each event of its replica. */
void rules_log_changed(Log *log);
void rules_leads(Log *log);

G_END_DECLS
