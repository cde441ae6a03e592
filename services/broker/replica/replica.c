/* The partition's state machine. See replica.h.
 *
 * Terms: the *local end* is the offset below which this broker has everything as durable as each append asked for; the
 * high watermark is the lowest such end over all in-sync replicas, and never goes back.
 *
 * A batch of a producer that was appended before (a *duplicate*) waits for what its first try waits for: with acks=all
 * in `commit`, else in `echoes`. It goes by offsets alone, so it does not matter whether the first try is still being
 * answered, was never answered, or belongs to a process that was killed.
 *
 * Invariants, checked at run time:
 *   1. log start <= high watermark <= local end (while leading) <= log end
 *   2. the high watermark and the local end never go back
 *   3. appends in `local` are in the order of their offsets; those of a leader adjoin, those that are followed may
 * leave gaps, where the leader's log has some
 *   4. an append is answered at most once
 *   5. `commit` and `echoes` are in the order of end offsets, so answers are in the order of the log
 *
 * States: idle (no leader is known), following (a leader in epoch e; following.c), leading (epoch e). Only
 * replica_assign and replica_retire move between them. Thread: the owner's. Failure modes: all by Failure, to the
 * asker; a broken invariant ends the process. */
#include "services/base/invariant.h"
#include "services/broker/replica/replica_internal.h"

/* Until then the controllers have another leader, as a rule. */
#define STAND_BACK_RETRY_MS 100

void replica_check(const Replica *replica) {
  const LogHot *hot = &replica->hot;
  INVARIANT(hot->log_start_offset <= hot->high_watermark, "the high watermark is at or behind the log's start");
  INVARIANT(hot->high_watermark <= replica->local_end, "readers see only what this replica has");
  INVARIANT(replica->local_end <= hot->log_end_offset, "the local end is within the log");
}

Replica *replica_new(const LogHot *recovered, const Failure *damage) {
  Replica *replica = g_new0(Replica, 1);
  log_hot_init(&replica->hot);
  if (recovered) {
    LogEpochs *epochs = log_epochs_copy(recovered->epochs);
    log_hot_clear(&replica->hot);
    replica->hot = *recovered;
    replica->hot.epochs = epochs;
  }
  replica->damage = failure_copy(damage);
  replica->damaged_from = G_MAXINT64; /* what was recovered ends in front of it */
  /* What was recovered is on disk: the store syncs before it is in use. */
  replica->local_end = replica->synced_end = replica->hot.log_end_offset;
  replica->leader_id = -1;
  replica->leader_epoch = LOG_EPOCH_NONE;
  replica->flush = MILENA__V1__FLUSH__FLUSH_ALWAYS;
  g_queue_init(&replica->local);
  g_queue_init(&replica->commit);
  g_queue_init(&replica->echoes);
  replica->producers = log_producers_new();
  replica_check(replica);
  return replica;
}

void replica_free(Replica *replica) {
  if (!replica)
    return;
  INVARIANT(g_queue_is_empty(&replica->local) && g_queue_is_empty(&replica->commit) &&
                g_queue_is_empty(&replica->echoes),
            "nothing waits any more");
  log_hot_clear(&replica->hot);
  log_producers_free(replica->producers);
  failure_free(replica->damage);
  followers_clear(&replica->followers);
  g_free(replica);
}

void replica_restore_producer(Replica *replica, const LogProducer *producer) {
  log_producers_restore(replica->producers, producer);
}

void replica_mark_damaged(Replica *replica, const Failure *damage) {
  replica->producers_damaged = TRUE;
  if (!replica->damage)
    replica->damage = failure_copy(damage);
}

gboolean replica_found_damage(Replica *replica, const Failure *damage, gint64 offset) {
  replica->damaged_from = MIN(replica->damaged_from, MAX(offset, replica->hot.log_start_offset));
  if (!replica->others_count)
    return FALSE;
  if (!replica->damage)
    replica->damage = failure_copy(damage);
  return TRUE;
}

Failure *replica_stands_back(const Replica *replica) {
  INVARIANT(replica->damage, "only a damaged replica stands back");
  Failure *failure =
      failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                  "this broker's replica is damaged, and another one takes the lead: try again soon (%s)",
                  failure_message(replica->damage));
  return failure_set_retry_delay(failure, STAND_BACK_RETRY_MS);
}

GArray *replica_remembered_batches(const Replica *replica) {
  return log_producers_batches(replica->producers);
}

gint64 replica_compacted_to(const Replica *replica) {
  return replica->hot.compacted_to_offset;
}

void replica_set_compacted(Replica *replica, gint64 offset) {
  INVARIANT(offset <= replica->hot.log_end_offset, "what is compacted lies in the log");
  replica->hot.compacted_to_offset = offset;
}

/* ---- answering ---- */

static ReplicaCopies count_copies(const Replica *replica, const ReplicaAppend *append) {
  gboolean synced = append->synced || append->end_offset <= replica->synced_end;
  ReplicaCopies copies = {.replicas = 1, .synced_replicas = synced ? 1 : 0};
  followers_count_copies(&replica->followers, append->end_offset, &copies.replicas, &copies.synced_replicas);
  return copies;
}

/* @failure: taken; NULL for success */
static void answer(Replica *replica, ReplicaAppend *append, Failure *failure, ReplicaOut *out) {
  INVARIANT(!append->answered, "an append is answered once");
  append->answered = TRUE;
  append->failure = failure;
  if (!failure)
    append->copies = count_copies(replica, append);
  append->answer_link.data = append;
  g_queue_push_tail_link(&out->answers, &append->answer_link);
}

static ReplicaAppend *queue_head(GQueue *queue) {
  return queue->head ? queue->head->data : NULL;
}

static void queue_push(GQueue *queue, ReplicaAppend *append) {
  INVARIANT(!append->queued, "an append waits in one queue");
  append->queued = TRUE;
  append->queue_link.data = append;
  g_queue_push_tail_link(queue, &append->queue_link);
}

/* Behind all that ends at or before its end: nearly always the last. */
static void queue_insert(GQueue *queue, ReplicaAppend *append) {
  INVARIANT(!append->queued, "an append waits in one queue");
  GList *before = queue->tail;
  while (before && ((const ReplicaAppend *)before->data)->end_offset > append->end_offset)
    before = before->prev;
  append->queued = TRUE;
  append->queue_link.data = append;
  if (before)
    g_queue_insert_after_link(queue, before, &append->queue_link);
  else
    g_queue_push_head_link(queue, &append->queue_link);
}

static void queue_remove(Replica *replica, GQueue *queue, ReplicaAppend *append) {
  g_queue_unlink(queue, &append->queue_link);
  append->queued = FALSE;
  replica->duplicates -= append->duplicate;
}

/* Everything that waits was appended, and who leads next decides what becomes of it. */
static void answer_all_unknown(Replica *replica, ReplicaOut *out) {
  static const char SENTENCE[] = "the records were appended, but this broker lost the partition's leadership before it "
                                 "could confirm them: they may or may not be kept";
  GQueue *const queues[] = {&replica->commit, &replica->echoes};
  for (guint i = 0; i < G_N_ELEMENTS(queues); i++) {
    for (ReplicaAppend *append; (append = queue_head(queues[i]));) {
      queue_remove(replica, queues[i], append);
      answer(replica, append, failure_new(FAILURE(UNKNOWN_OUTCOME), SENTENCE), out);
    }
  }
  /* These stay queued: their writes are on the way to the disk, and count when they arrive. */
  for (GList *link = replica->local.head; link; link = link->next) {
    ReplicaAppend *append = link->data;
    if (!append->answered && !append->followed)
      answer(replica, append, failure_new(FAILURE(UNKNOWN_OUTCOME), SENTENCE), out);
  }
}

/* ---- the high watermark ---- */

/* Duplicates that asked for this broker's copy, and have it. */
static void answer_echoes(Replica *replica, ReplicaOut *out) {
  for (ReplicaAppend *echo; (echo = queue_head(&replica->echoes)) && echo->end_offset <= replica->local_end;) {
    queue_remove(replica, &replica->echoes, echo);
    answer(replica, echo, NULL, out);
  }
}

/* REPLICATION.md, rules 4 and 11: what every in-sync replica has, and nothing new below the minimum. */
static gint64 led_watermark(const Replica *replica) {
  if (replica->isr_count < replica->min_insync_replicas)
    return replica->hot.high_watermark;
  if (replica->flush != MILENA__V1__FLUSH__FLUSH_ALWAYS)
    return followers_min_end(&replica->followers, FALSE, replica->local_end);
  /* What was written under another mode is not on this disk yet. */
  return followers_min_end(&replica->followers, TRUE, MIN(replica->local_end, replica->synced_end));
}

void replica_advance_high_watermark(Replica *replica, ReplicaOut *out) {
  gint64 end = replica->leads ? led_watermark(replica) : MIN(replica->leader_watermark, replica->local_end);
  if (end <= replica->hot.high_watermark)
    return;
  replica->hot.high_watermark = end;
  out->high_watermark_moved = TRUE;
  if (!replica->leads)
    replica_advance_start(replica, replica->leader_start);
  for (ReplicaAppend *append; (append = queue_head(&replica->commit)) && append->end_offset <= end;) {
    queue_remove(replica, &replica->commit, append);
    answer(replica, append, NULL, out);
  }
  replica_check(replica);
}

/* ---- leadership ---- */

/* A log that has seen a later epoch than the metadata knows belongs to another history. */
static void begin_epoch(Replica *replica, gint32 epoch) {
  LogHot *hot = &replica->hot;
  if (!log_epochs_accepts(hot->epochs, epoch, hot->log_end_offset)) {
    if (!replica->damage)
      replica->damage = failure_new(FAILURE(CORRUPT_LOG),
                                    "the log has records of leader epoch %d, but the controller made this broker "
                                    "leader with epoch %d: the metadata is older than the log, so nothing is appended",
                                    log_epochs_latest(hot->epochs), epoch);
    return;
  }
  log_epochs_append(hot->epochs, epoch, hot->log_end_offset);
}

static void begin_leading(Replica *replica) {
  replica->epoch_start = replica->sync_mark = replica->hot.log_end_offset;
  begin_epoch(replica, replica->leader_epoch);
}

/* An epoch in which what is damaged is to be cut: it begins at the end that is left. */
static void begin_cutting(Replica *replica) {
  replica->cutting = TRUE;
  replica->epoch_start = replica->sync_mark = replica->hot.log_end_offset;
  if (!replica->damage)
    replica->damage =
        failure_new(FAILURE(CORRUPT_LOG), "a read met damage at offset %" G_GINT64_FORMAT ", and the log is cut there",
                    replica->damaged_from);
}

static void assign_followers(Replica *replica, const ReplicaAssignment *assignment) {
  const FollowersSet set = {.self = assignment->broker_id,
                            .replicas = assignment->replicas,
                            .replica_count = assignment->replica_count,
                            .in_sync = assignment->isr,
                            .in_sync_count = assignment->isr_count,
                            .unsynced = assignment->unsynced,
                            .unsynced_count = assignment->unsynced_count};
  followers_assign(&replica->followers, &set, replica->hot.log_end_offset, assignment->now_ms);
}

static gboolean has(const gint32 *ids, guint count, gint32 id) {
  for (guint i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

void replica_assign(Replica *replica, const ReplicaAssignment *assignment, ReplicaOut *out) {
  INVARIANT(assignment->flush != MILENA__V1__FLUSH__FLUSH_UNSPECIFIED, "the flush mode is the effective one");
  gboolean leads = assignment->leader_id == assignment->broker_id;
  gboolean same = leads == replica->leads && assignment->leader_epoch == replica->leader_epoch;
  if (!same) {
    answer_all_unknown(replica, out);
    followers_clear(&replica->followers);
    replica->leader_watermark = 0;
    replica->leader_start = 0;
    out->leadership_changed = TRUE;
  }
  /* The next metadata of a partition settles the proposal that was made after the last. */
  gboolean settled = !same || assignment->partition_epoch != replica->partition_epoch;
  gboolean always_now =
      assignment->flush == MILENA__V1__FLUSH__FLUSH_ALWAYS && replica->flush != MILENA__V1__FLUSH__FLUSH_ALWAYS;
  replica->leads = leads;
  replica->leader_id = assignment->leader_id;
  replica->leader_epoch = assignment->leader_epoch;
  replica->partition_epoch = assignment->partition_epoch;
  replica->isr_count = assignment->isr_count;
  replica->min_insync_replicas = assignment->min_insync_replicas;
  replica->others_count = assignment->others_count;
  replica->flush = assignment->flush;
  replica->unsynced = has(assignment->unsynced, assignment->unsynced_count, assignment->broker_id);
  replica->cutting = replica->cutting && same;
  if (!leads)
    return;
  if (settled)
    assign_followers(replica, assignment);
  if (!same && assignment->cuts_damage && (replica->damage || replica->damaged_from < replica->hot.log_end_offset))
    begin_cutting(replica);
  else if (!same)
    begin_leading(replica);
  if (always_now)
    replica->sync_mark = replica->hot.log_end_offset;
  replica_advance_high_watermark(replica, out);
}

gboolean replica_cuts_damage(const Replica *replica) {
  return replica->cutting;
}

void replica_mended(Replica *replica, gint64 end_offset, ReplicaOut *out) {
  g_clear_pointer(&replica->damage, failure_free);
  replica->producers_damaged = FALSE;
  replica_truncated(replica, end_offset);
  replica->damaged_from = G_MAXINT64;
  if (!replica->cutting)
    return;
  replica->cutting = FALSE;
  begin_leading(replica);
  replica_advance_high_watermark(replica, out);
}

void replica_retire(Replica *replica, ReplicaOut *out) {
  out->leadership_changed = replica->leads;
  answer_all_unknown(replica, out);
  followers_clear(&replica->followers);
  replica->leads = replica->cutting = FALSE;
  replica->leader_id = -1;
  replica->leader_watermark = 0;
  replica->leader_start = 0;
}

/* ---- appending ---- */

static Failure *refuse_all(const Replica *replica, gint32 leader_epoch) {
  if (!replica->leads || leader_epoch != replica->leader_epoch)
    return failure_new(FAILURE(NOT_LEADER), "this broker does not lead the partition with leader epoch %d",
                       leader_epoch);
  if (replica->damage && replica->others_count)
    return replica_stands_back(replica);
  if (replica->damage)
    return failure_prefix(failure_copy(replica->damage), "the partition takes no records");
  return NULL;
}

/* For what is to be appended, not for what was. */
static Failure *refuse_append(const Replica *replica, const LogBatch *batch, Milena__V1__Acks acks) {
  const LogHot *hot = &replica->hot;
  if (acks == MILENA__V1__ACKS__ACKS_ALL && replica->isr_count < replica->min_insync_replicas)
    return failure_new(FAILURE(NOT_ENOUGH_REPLICAS),
                       "%u replicas are in sync, but the topic's min.insync.replicas is %u: nothing was written, try "
                       "again when more brokers are up",
                       replica->isr_count, replica->min_insync_replicas);
  if (batch->expected_offset != LOG_OFFSET_NONE && batch->expected_offset != hot->log_end_offset) {
    Failure *failure = failure_new(FAILURE(EXPECTED_OFFSET_MISMATCH),
                                   "the batch expects offset %" G_GINT64_FORMAT
                                   ", but the log ends at %" G_GINT64_FORMAT ": nothing was written",
                                   batch->expected_offset, hot->log_end_offset);
    failure_add(failure, "expected", "%" G_GINT64_FORMAT, batch->expected_offset);
    return failure_add(failure, "actual", "%" G_GINT64_FORMAT, hot->log_end_offset);
  }
  if (hot->log_end_offset > G_MAXINT64 - batch->record_count)
    return failure_new(FAILURE(LIMIT_EXCEEDED), "the log has no offsets left");
  return NULL;
}

/* What the producer's earlier batches make of this one. @append: filled in when it is a duplicate */
static Failure *check_producer(const Replica *replica, const LogBatch *batch, Milena__V1__Acks acks,
                               ReplicaAppend *append) {
  LogProducerBatch before;
  guint32 expected;
  LogProducerVerdict verdict = log_producers_check(replica->producers, batch, &before, &expected);
  if (verdict != LOG_PRODUCER_NEXT && verdict != LOG_PRODUCER_DUPLICATE)
    return log_producers_refusal(verdict, batch, expected);
  if (verdict == LOG_PRODUCER_NEXT) {
    if (log_producers_count(replica->producers) < REPLICA_PRODUCERS_MAX ||
        log_producers_find(replica->producers, batch->producer_id))
      return NULL;
    return failure_new(FAILURE(LIMIT_EXCEEDED),
                       "the partition remembers %d producers, and takes no new one until one of them has been idle for "
                       "long enough: nothing was written; use fewer producers, for longer",
                       REPLICA_PRODUCERS_MAX);
  }
  if (replica->duplicates >= REPLICA_DUPLICATES_MAX)
    return failure_new(FAILURE(OVERLOADED), "too many retries wait for their first tries to be confirmed: nothing was "
                                            "written, try again soon");
  append->duplicate = TRUE;
  append->base_offset = before.base_offset;
  append->end_offset = before.base_offset + before.record_count;
  append->leader_epoch = before.leader_epoch;
  append->append_timestamp_ms = before.append_timestamp_ms;
  append->acks = acks;
  return NULL;
}

Failure *replica_prepare(Replica *replica, gint32 leader_epoch, LogBatch *batch, Milena__V1__Acks acks, gint64 now_ms,
                         ReplicaAppend *append) {
  Failure *failure = refuse_all(replica, leader_epoch);
  if (!failure && batch->producer_id)
    failure = check_producer(replica, batch, acks, append);
  if (failure || append->duplicate)
    return failure;
  failure = refuse_append(replica, batch, acks);
  if (failure)
    return failure;
  const LogHot *hot = &replica->hot;
  /* Append times never go back within a log, whatever the clock does: finding by time relies on it. */
  gint64 append_ms = MAX(now_ms, hot->last_append_timestamp_ms);
  append->base_offset = hot->log_end_offset;
  append->end_offset = hot->log_end_offset + batch->record_count;
  append->leader_epoch = leader_epoch;
  append->append_timestamp_ms = append_ms;
  append->max_timestamp_ms = batch->max_timestamp_ms;
  append->stored_bytes = (gint64)log_batch_stored_bytes(batch);
  append->acks = acks;
  append->stage = replica->flush == MILENA__V1__FLUSH__FLUSH_ALWAYS ? REPLICA_SYNCED : REPLICA_WRITTEN;
  batch->base_offset = append->base_offset;
  batch->leader_epoch = leader_epoch;
  batch->append_timestamp_ms = append_ms;
  if (batch->producer_id)
    log_producers_preview(replica->producers, batch, &append->producer);
  return NULL;
}

/* The hot record as it is once @append is part of the log; shares the epochs. */
static LogHot hot_with(const Replica *replica, const ReplicaAppend *append) {
  LogHot hot = replica->hot;
  if (!append)
    return hot;
  hot.log_end_offset = append->end_offset;
  hot.last_append_timestamp_ms = append->append_timestamp_ms;
  hot.max_timestamp_ms = MAX(hot.max_timestamp_ms, append->max_timestamp_ms);
  hot.appended_bytes += append->stored_bytes;
  return hot;
}

void replica_encode_hot(const Replica *replica, guint64 log_id, const ReplicaAppend *append, GByteArray *out) {
  LogHot hot = hot_with(replica, append);
  log_hot_encode(&hot, log_id, out);
}

void replica_accept(Replica *replica, ReplicaAppend *append) {
  INVARIANT(append->base_offset == replica->hot.log_end_offset ||
                (append->followed && append->base_offset > replica->hot.log_end_offset),
            "nothing came between prepare and accept");
  replica->hot = hot_with(replica, append);
  if (append->producer.producer_id)
    log_producers_restore(replica->producers, &append->producer);
  queue_push(&replica->local, append);
}

void replica_await(Replica *replica, ReplicaAppend *append, ReplicaOut *out) {
  INVARIANT(append->duplicate, "only what was appended before is awaited");
  gboolean all = append->acks == MILENA__V1__ACKS__ACKS_ALL;
  if (append->end_offset <= (all ? replica->hot.high_watermark : replica->local_end)) {
    answer(replica, append, NULL, out);
    return;
  }
  queue_insert(all ? &replica->commit : &replica->echoes, append);
  replica->duplicates++;
}

void replica_expire_producers(Replica *replica, gint64 before_ms, GArray *ret_gone) {
  log_producers_expire(replica->producers, before_ms, ret_gone);
}

void replica_local_progress(Replica *replica, ReplicaAppend *append, ReplicaStage stage, ReplicaOut *out) {
  if (stage == REPLICA_SYNCED) {
    append->synced = TRUE;
    replica->synced_end = MAX(replica->synced_end, append->end_offset); /* one write-ahead log: all before it too */
  }
  if (stage != append->stage)
    return;
  INVARIANT(append->queued && !append->local, "the stage that counts is reported once");
  append->local = TRUE;
  /* Stages differ where the topic's flush mode was changed: an append may arrive before those in front of it. */
  for (ReplicaAppend *head; (head = queue_head(&replica->local)) && head->local;) {
    INVARIANT(head->base_offset >= replica->local_end, "appends follow each other");
    replica->local_end = head->end_offset;
    queue_remove(replica, &replica->local, head);
    if (head->answered || head->followed) {
      head->answer_link.data = head;
      g_queue_push_tail_link(&out->released, &head->answer_link);
    } else if (head->acks == MILENA__V1__ACKS__ACKS_ALL)
      queue_insert(&replica->commit, head);
    else
      answer(replica, head, NULL, out);
    answer_echoes(replica, out);
  }
  replica_advance_high_watermark(replica, out);
  replica_check(replica);
}

/* ---- a log that was written with another flush mode ---- */

gboolean replica_wants_sync(const Replica *replica) {
  if (replica->flush != MILENA__V1__FLUSH__FLUSH_ALWAYS || replica->leader_id < 0 || replica->syncing ||
      replica->damage || replica->synced_end >= replica->hot.log_end_offset)
    return FALSE;
  const GList *last = replica->local.tail; /* its sync covers all before it */
  return !last || ((const ReplicaAppend *)last->data)->stage != REPLICA_SYNCED;
}

void replica_sync_begun(Replica *replica) {
  INVARIANT(!replica->syncing, "one sync is under way at a time");
  replica->syncing = TRUE;
  replica->syncing_end = replica->hot.log_end_offset;
}

void replica_sync_over(Replica *replica, ReplicaOut *out) {
  INVARIANT(replica->syncing, "a sync that is over began");
  replica->syncing = FALSE;
  replica->synced_end = MAX(replica->synced_end, replica->syncing_end);
  replica_advance_high_watermark(replica, out);
}

/* ---- the log's start ---- */

gboolean replica_advance_start(Replica *replica, gint64 start) {
  LogHot *hot = &replica->hot;
  start = MIN(start, hot->high_watermark);
  if (start <= hot->log_start_offset)
    return FALSE;
  hot->log_start_offset = start;
  log_epochs_truncate_start(hot->epochs, start);
  replica_check(replica);
  return TRUE;
}

LogStand replica_stand(const Replica *replica) {
  const LogHot *hot = &replica->hot;
  return (LogStand){.log_start_offset = hot->log_start_offset,
                    .high_watermark = hot->high_watermark,
                    .log_end_offset = hot->log_end_offset,
                    .max_timestamp_ms = hot->max_timestamp_ms,
                    .last_append_timestamp_ms = hot->last_append_timestamp_ms,
                    .appended_bytes = hot->appended_bytes};
}

/* ---- state ---- */

gboolean replica_leads(const Replica *replica) {
  return replica->leads;
}

gint32 replica_leader_epoch(const Replica *replica) {
  return replica->leader_epoch;
}

gint64 replica_log_start(const Replica *replica) {
  return replica->hot.log_start_offset;
}

gint64 replica_log_end(const Replica *replica) {
  return replica->hot.log_end_offset;
}

gint64 replica_appended_bytes(const Replica *replica) {
  return replica->hot.appended_bytes;
}

gint64 replica_local_end(const Replica *replica) {
  return replica->local_end;
}

gint64 replica_synced_end(const Replica *replica) {
  return replica->synced_end;
}

gint64 replica_high_watermark(const Replica *replica) {
  return replica->hot.high_watermark;
}

gboolean replica_knows_high_watermark(const Replica *replica) {
  return replica->leads && replica->hot.high_watermark >= replica->epoch_start;
}

const Failure *replica_damage(const Replica *replica) {
  return replica->damage;
}

gboolean replica_knows_producer(const Replica *replica, gint64 producer_id) {
  return log_producers_find(replica->producers, producer_id) != NULL;
}
