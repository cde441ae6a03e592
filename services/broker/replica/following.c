/* Leader and follower: where their logs part, and how the follower's becomes the leader's. See replica.h.
 *
 *   follower: position ──told──► leader: match ─┬─ goes on: batches from there on ──► follow, accept, local progress
 *                  ▲                            ├─ diverged: cut ──► truncated ──┐
 *                  └────────────────────────────┴─ too old: begin anew ──────────┘
 *
 * The logs are compared by leader epochs (KIP-101, KIP-279): one record of an epoch was written by one leader, so up to
 * the smaller end of an epoch that both have, they are the same. Cutting by the high watermark would lose committed
 * records when two elections follow each other quickly.
 *
 * Thread: the replica's owner. */
#include "services/base/invariant.h"
#include "services/broker/replica/replica_internal.h"

gint32 replica_follows(const Replica *replica) {
  return replica->leads ? -1 : replica->leader_id;
}

/* ---- the leader's side ---- */

static Failure *other_epoch(const Replica *replica, gint32 leader_epoch) {
  Failure *failure = failure_new(FAILURE(FENCED),
                                 "the follower follows leader epoch %d, and this broker leads with %d: one of the two "
                                 "has not heard of the latest election yet",
                                 leader_epoch, replica->leader_epoch);
  failure_add(failure, "expected", "%d", replica->leader_epoch);
  return failure_add(failure, "actual", "%d", leader_epoch);
}

Failure *replica_match(const Replica *replica, const ReplicaPosition *position, ReplicaMatch *ret_match,
                       gint32 *ret_epoch, gint64 *ret_end) {
  if (!replica->leads)
    return failure_new(FAILURE(NOT_LEADER), "this broker does not lead the partition");
  if (position->leader_epoch != replica->leader_epoch)
    return other_epoch(replica, position->leader_epoch);
  if (replica->damage)
    return failure_prefix(failure_copy(replica->damage), "the leader's log can't be followed");
  const LogHot *hot = &replica->hot;
  *ret_match = REPLICA_GOES_ON;
  if (position->end_offset < hot->log_start_offset) {
    *ret_match = REPLICA_TOO_OLD;
    *ret_end = hot->log_start_offset;
    return NULL;
  }
  gint32 epoch = LOG_EPOCH_NONE;
  gint64 end = hot->log_start_offset;
  if (position->last_epoch == LOG_EPOCH_NONE) /* nothing to compare: a log without batches */
    end = position->end_offset <= hot->log_end_offset ? position->end_offset : hot->log_start_offset;
  else if (!log_epochs_end_offset(hot->epochs, position->last_epoch, hot->log_end_offset, &epoch, &end))
    return other_epoch(replica, position->last_epoch); /* it has seen a later leader than we know of */
  if (epoch != position->last_epoch || position->end_offset > end) {
    *ret_match = REPLICA_DIVERGED;
    *ret_epoch = epoch;
    *ret_end = end;
  }
  return NULL;
}

guint64 replica_follower_begins(Replica *replica, gint32 broker_id, guint64 broker_epoch,
                                const ReplicaPosition *position, gint64 now_ms, ReplicaOut *out) {
  if (!replica->leads)
    return 0;
  guint64 visit = followers_position(&replica->followers, broker_id, broker_epoch, position->end_offset,
                                     position->synced_end, replica->hot.log_end_offset, now_ms);
  if (visit > 0)
    replica_advance_high_watermark(replica, out);
  return visit;
}

void replica_follower_left(Replica *replica, gint32 broker_id, guint64 visit) {
  followers_left(&replica->followers, broker_id, visit);
}

/* What a follower has counts once it is on its disk. */
static gboolean counts_synced(const Replica *replica) {
  return replica->flush == MILENA__V1__FLUSH__FLUSH_ALWAYS;
}

gboolean replica_follower_progress(Replica *replica, gint32 broker_id, guint64 broker_epoch, gint64 written_end,
                                   gint64 synced_end, gint64 now_ms, ReplicaOut *out) {
  if (!replica->leads || !followers_progress(&replica->followers, broker_id, broker_epoch, written_end, synced_end,
                                             replica->hot.log_end_offset, now_ms))
    return FALSE;
  replica_advance_high_watermark(replica, out);
  const Follower *follower = followers_find(&replica->followers, broker_id);
  gint64 end = counts_synced(replica) ? follower->synced_end : follower->written_end;
  return !follower->in_sync && !follower->joining && end >= replica->hot.high_watermark;
}

void replica_follower_start(Replica *replica, gint32 broker_id, guint64 broker_epoch, gint64 start) {
  if (replica->leads)
    followers_start(&replica->followers, broker_id, broker_epoch, start);
}

gint64 replica_followers_start(const Replica *replica) {
  return followers_min_start(&replica->followers);
}

gboolean replica_follower_end(const Replica *replica, gint32 broker_id, gint64 *ret_written_end) {
  const Follower *follower = followers_find(&replica->followers, broker_id);
  if (!follower || follower->written_end < 0)
    return FALSE;
  if (ret_written_end)
    *ret_written_end = follower->written_end;
  return TRUE;
}

gboolean replica_follower_in_sync(const Replica *replica, gint32 broker_id) {
  const Follower *follower = followers_find(&replica->followers, broker_id);
  return follower && follower->in_sync;
}

gboolean replica_propose(Replica *replica, const ReplicaTerms *terms, FollowersProposal *ret_proposal) {
  if (!replica->leads)
    return FALSE;
  /* Rules 5 and 6: nobody joins before the high watermark is known, which is at the start of the epoch at least. */
  gint64 join_end = replica_knows_high_watermark(replica) || replica->isr_count < replica->min_insync_replicas
                        ? MAX(replica->hot.high_watermark, replica->epoch_start)
                        : G_MAXINT64;
  const FollowersTerms all = {.join_end = join_end,
                              .join_start = replica->hot.log_start_offset,
                              .synced = counts_synced(replica),
                              .leader_end = replica->hot.log_end_offset,
                              .sync_mark = counts_synced(replica) ? replica->sync_mark : G_MAXINT64,
                              .own_sync = replica->unsynced && counts_synced(replica) &&
                                          MIN(replica->local_end, replica->synced_end) >= replica->sync_mark,
                              .lag_max_ms = terms->lag_max_ms,
                              .now_ms = terms->now_ms,
                              .may_join = terms->may_join,
                              .data = terms->data};
  return followers_propose(&replica->followers, &all, ret_proposal);
}

void replica_proposal_refused(Replica *replica, ReplicaOut *out) {
  followers_proposal_refused(&replica->followers);
  replica_advance_high_watermark(replica, out);
}

/* ---- the follower's side ---- */

gboolean replica_position(const Replica *replica, ReplicaPosition *ret_position) {
  if (replica_follows(replica) < 0 || replica->damage || !g_queue_is_empty((GQueue *)&replica->local))
    return FALSE;
  const LogHot *hot = &replica->hot;
  *ret_position = (ReplicaPosition){.leader_epoch = replica->leader_epoch,
                                    .end_offset = hot->log_end_offset,
                                    .synced_end = replica->synced_end,
                                    .last_epoch = log_epochs_latest(hot->epochs)};
  return TRUE;
}

void replica_progress(const Replica *replica, gint64 *ret_written_end, gint64 *ret_synced_end) {
  *ret_written_end = replica->local_end;
  *ret_synced_end = replica->synced_end;
}

gint64 replica_diverged(const Replica *replica, gint32 epoch, gint64 end) {
  const LogHot *hot = &replica->hot;
  gint32 own_epoch = LOG_EPOCH_NONE;
  gint64 own_end = hot->log_start_offset;
  if (epoch != LOG_EPOCH_NONE)
    (void)log_epochs_end_offset(hot->epochs, epoch, hot->log_end_offset, &own_epoch, &own_end);
  /* Same epoch: up to the smaller end the logs are equal. Ours is older: all of it may be, so ask again with it. */
  gint64 cut = own_epoch == epoch ? MIN(own_end, end) : own_end;
  return CLAMP(cut, hot->log_start_offset, hot->log_end_offset);
}

void replica_truncated(Replica *replica, gint64 end_offset) {
  INVARIANT(g_queue_is_empty(&replica->local), "a log is cut when none of its writes is in flight");
  LogHot *hot = &replica->hot;
  INVARIANT(end_offset <= hot->log_end_offset, "a cut makes a log shorter");
  log_hot_cut(hot, end_offset);
  if (end_offset <= replica->damaged_from && !replica->damage)
    replica->damaged_from = G_MAXINT64; /* what a read met is gone */
  log_producers_truncate(replica->producers, end_offset, NULL);
  replica->local_end = MIN(replica->local_end, end_offset);
  replica->synced_end = MIN(replica->synced_end, end_offset);
  replica->syncing_end = MIN(replica->syncing_end, end_offset); /* what is appended now is not among it */
  replica_check(replica);
}

void replica_begin_at(Replica *replica, gint64 start) {
  LogHot *hot = &replica->hot;
  INVARIANT(g_queue_is_empty(&replica->local) && hot->log_end_offset == hot->log_start_offset,
            "a log that begins elsewhere is empty");
  INVARIANT(start >= hot->log_end_offset, "a log begins anew behind what it had");
  hot->log_start_offset = hot->log_end_offset = hot->high_watermark = start;
  replica->local_end = replica->synced_end = start;
  replica_check(replica);
}

/* All that is good of the log that this leader is to go on with. What was forgotten of producers comes back from
 * nowhere: their batches stay, and retries of them may be taken for new. */
static gint64 cut_end(const Replica *replica) {
  const LogHot *hot = &replica->hot;
  gint64 end = MIN(hot->log_end_offset, replica->damaged_from), epoch_end;
  gint32 epoch;
  /* Records of later epochs than this one are damage too: by these metadata they can't have been written. */
  if (log_epochs_end_offset(hot->epochs, replica->leader_epoch, hot->log_end_offset, &epoch, &epoch_end))
    end = MIN(end, epoch_end);
  return MAX(end, hot->log_start_offset);
}

gboolean replica_mend_end(const Replica *replica, gint64 *ret_end) {
  if ((replica->leads ? !replica->cutting : replica->leader_id < 0) || !replica->damage ||
      !g_queue_is_empty((GQueue *)&replica->local))
    return FALSE;
  if (replica->leads)
    *ret_end = cut_end(replica);
  else /* what was forgotten of a producer comes back with its batches alone */
    *ret_end = replica->producers_damaged ? replica->hot.log_start_offset
                                          : MIN(replica->hot.log_end_offset, replica->damaged_from);
  return TRUE;
}

static Failure *does_not_follow(const Replica *replica, const LogBatch *batch) {
  return failure_new(FAILURE(CORRUPT_LOG),
                     "the leader sent a batch at offset %" G_GINT64_FORMAT
                     " of leader epoch %d, which can't follow a log that ends at %" G_GINT64_FORMAT
                     " in epoch %d: the logs are compared again",
                     batch->base_offset, batch->leader_epoch, replica->hot.log_end_offset,
                     log_epochs_latest(replica->hot.epochs));
}

Failure *replica_follow(Replica *replica, gint32 leader_epoch, const LogBatch *batch, ReplicaAppend *append) {
  if (replica_follows(replica) < 0 || leader_epoch != replica->leader_epoch)
    return failure_new(FAILURE(NOT_LEADER), "this broker does not follow the partition with leader epoch %d",
                       leader_epoch);
  if (replica->damage)
    return failure_copy(replica->damage);
  LogHot *hot = &replica->hot;
  if (batch->base_offset < hot->log_end_offset || batch->leader_epoch > leader_epoch ||
      batch->base_offset > G_MAXINT64 - log_batch_offset_count(batch) ||
      !log_epochs_accepts(hot->epochs, batch->leader_epoch, batch->base_offset))
    return does_not_follow(replica, batch);
  log_epochs_append(hot->epochs, batch->leader_epoch, batch->base_offset);
  append->followed = TRUE;
  append->base_offset = batch->base_offset;
  append->end_offset = log_batch_next_offset(batch);
  append->leader_epoch = batch->leader_epoch;
  append->append_timestamp_ms = batch->append_timestamp_ms;
  append->max_timestamp_ms = batch->max_timestamp_ms;
  append->stored_bytes = (gint64)log_batch_stored_bytes(batch);
  append->stage = replica->flush == MILENA__V1__FLUSH__FLUSH_ALWAYS ? REPLICA_SYNCED : REPLICA_WRITTEN;
  if (batch->producer_id)
    log_producers_preview(replica->producers, batch, &append->producer);
  return NULL;
}

void replica_follow_watermark(Replica *replica, gint32 leader_epoch, gint64 high_watermark, ReplicaOut *out) {
  if (replica_follows(replica) < 0 || leader_epoch != replica->leader_epoch)
    return;
  replica->leader_watermark = MAX(replica->leader_watermark, high_watermark);
  replica_advance_high_watermark(replica, out);
}

gboolean replica_follow_start(Replica *replica, gint32 leader_epoch, gint64 start) {
  if (replica_follows(replica) < 0 || leader_epoch != replica->leader_epoch)
    return FALSE;
  replica->leader_start = MAX(replica->leader_start, start);
  return replica_advance_start(replica, replica->leader_start);
}
