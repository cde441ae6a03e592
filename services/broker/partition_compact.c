/* A partition as the cleaner sees it. The cleaner reads the log by itself and says what is to be written; the write
 * goes through here, because the hot record is the partition's, and because the store carries out the writes of one log
 * in the order of its owner: a run that began before a cut never writes behind it (`cuts`).
 *
 * Thread: the shard's. Failure modes: a full store, which ends the run; the next one goes on. */
#include "services/broker/compact.h"

#include "services/broker/partition_internal.h"

void compact_candidate_clear(CompactCandidate *candidate) {
  g_clear_pointer(&candidate->name, g_free);
  g_clear_pointer(&candidate->remembered, g_array_unref);
}

/* ---- choosing ---- */

static gboolean may_compact(const Partition *partition, gint64 now_us) {
  return partition->compaction.is_on && partition->exists && !partition->doomed && !partition->dropping &&
         !replica_damage(partition->replica) && partition->compaction.again_us <= now_us &&
         partition_has_room_to_follow(partition);
}

/* How much of what could be compacted is new, by records: as many as the compacted part has, and at most as many as
 * there are offsets behind it. Negative: there is nothing to do. */
static double dirty_ratio(const Partition *partition, gint64 now_ms) {
  const Replica *replica = partition->replica;
  CompactNote note;
  log_store_compact_note(partition->shard->broker->store, partition->log_id, &note);
  gint64 from = MAX(replica_compacted_to(replica), replica_log_start(replica));
  double dirty = (double)MAX(replica_high_watermark(replica) - from, 0);
  double ratio = dirty > 0 ? dirty / (dirty + (double)note.records) : 0;
  if (dirty > 0 && ratio >= partition->compaction.min_dirty_ratio)
    return ratio;
  gboolean tombstones_are_due =
      note.tombstones > 0 && note.clean_to > 0 && now_ms - note.clean_ms >= partition->compaction.delete_retention_ms;
  return tombstones_are_due ? 0 : -1;
}

gboolean compact_find_candidate(Shard *shard, gint64 now_ms, CompactCandidate *ret_candidate) {
  const Partition *best = NULL;
  double best_ratio = -1;
  gint64 now_us = g_get_monotonic_time();
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, shard->partitions);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Partition *partition = value;
    double ratio = may_compact(partition, now_us) ? dirty_ratio(partition, now_ms) : -1;
    if (ratio > best_ratio) {
      best = partition;
      best_ratio = ratio;
    }
  }
  if (!best)
    return FALSE;
  *ret_candidate = (CompactCandidate){.log_id = best->log_id,
                                      .name = g_strdup(best->name),
                                      .cuts = best->compaction.cuts,
                                      .dirty_ratio = best_ratio,
                                      .start_offset = replica_log_start(best->replica),
                                      .compacted_to = replica_compacted_to(best->replica),
                                      .end_offset = replica_high_watermark(best->replica),
                                      .min_lag_ms = best->compaction.min_lag_ms,
                                      .delete_retention_ms = best->compaction.delete_retention_ms,
                                      .remembered = replica_remembered_batches(best->replica)};
  return TRUE;
}

/* ---- writing ---- */

static void run_answer(LoopTask *task) {
  CompactWrite *write = (CompactWrite *)((char *)task - G_STRUCT_OFFSET(CompactWrite, task));
  g_clear_pointer(&write->hot, g_byte_array_unref);
  write->done(write, write->user_data);
}

static void answer(CompactWrite *write, gboolean accepted) {
  write->accepted = accepted;
  write->task.run = run_answer;
  loop_post_completion(write->asker, &write->task);
}

static void on_written(LogWrite *log_write, LogWriteStage stage) {
  (void)stage;
  CompactWrite *write = (CompactWrite *)((char *)log_write - G_STRUCT_OFFSET(CompactWrite, write));
  Partition *partition = partition_lookup(write->shard, write->log_id);
  INVARIANT(partition, "a partition stays while a write of its log is on the way");
  partition->writes_in_flight--;
  /* Or readers would be given all that was removed, as long as it is in memory. */
  log_tail_cache_drop_before(write->shard->cache, write->log_id, write->compacted->compacted_to);
  following_written(partition);
  answer(write, TRUE);
}

static void run_write(LoopTask *task) {
  CompactWrite *write = (CompactWrite *)((char *)task - G_STRUCT_OFFSET(CompactWrite, task));
  Shard *shard = write->shard;
  Partition *partition = partition_lookup(shard, write->log_id);
  if (!partition || partition->compaction.cuts != write->cuts || partition->doomed || partition->dropping ||
      replica_damage(partition->replica)) {
    answer(write, FALSE);
    return;
  }
  gint64 before = replica_compacted_to(partition->replica);
  replica_set_compacted(partition->replica, write->compacted->compacted_to);
  write->hot = g_byte_array_new();
  replica_encode_hot(partition->replica, write->log_id, NULL, write->hot);
  write->write = (LogWrite){.kind = LOG_WRITE_COMPACT,
                            .log_id = write->log_id,
                            .hot = write->hot->data,
                            .hot_len = write->hot->len,
                            .compacted = write->compacted,
                            .wants = LOG_WRITE_WRITTEN,
                            .sync_within_ms = LOG_SYNC_NEVER,
                            .loop = shard->loop,
                            .done = on_written};
  if (!log_store_submit(shard->broker->store, &write->write)) {
    replica_set_compacted(partition->replica, before);
    answer(write, FALSE);
    return;
  }
  partition->writes_in_flight++;
}

gboolean compact_write_start(CompactWrite *write, Shard *shard) {
  write->shard = shard;
  write->task.run = run_write;
  return loop_post(shard->loop, &write->task);
}

/* ---- the end of a run ---- */

void compact_run_over(Shard *shard, guint64 log_id, gint64 again_us, const Failure *failure) {
  LOOP_ASSERT_CURRENT(shard->loop);
  Partition *partition = partition_lookup(shard, log_id);
  if (!partition)
    return;
  partition->compaction.again_us = again_us;
  if (failure && failure_reason(failure) == FAILURE(CORRUPT_LOG))
    failure_free(partition_read_failure(partition, failure_copy(failure)));
}
