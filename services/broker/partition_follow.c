/* A partition as a follower writes it: batches as the leader stamped them, and cuts. See replica/following.c for the
 * rules, replication/ for who talks to the leader.
 *
 * A write of the leader's batch has one holder: the replica, from accept until it lets go of it, which is when the
 * storage has reported it.
 *
 * A cut counts at once for the replica: the store carries out the writes of one log in order, so what is appended after
 * it lands behind it. A crash in between leaves the old end, which the leader is asked about again.
 *
 * Thread: the shard's. Failure modes: a full store, or a batch that does not follow: the leader is asked anew. */
#include "services/base/slog.h"
#include "services/broker/partition_internal.h"
#include "services/broker/replica/assignment.h"
#include "storage/log/compact.h"

/* A batch of the leader's on its way to the disk. */
typedef struct {
  LogWrite write; /* first */
  Partition *partition;
  ReplicaAppend append;
  LogBatch batch;
  GByteArray *hot;
  guint8 producer[LOG_PRODUCER_VALUE_BYTES_MAX];
} Followed;

static void followed_free(Followed *followed) {
  log_batch_clear(&followed->batch);
  g_byte_array_unref(followed->hot);
  g_free(followed);
}

void partition_release_followed(ReplicaAppend *append) {
  followed_free((Followed *)((char *)append - G_STRUCT_OFFSET(Followed, append)));
}

static void on_stored(LogWrite *write, LogWriteStage stage) {
  Followed *followed = (Followed *)write;
  Partition *partition = followed->partition;
  partition->writes_in_flight--;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_local_progress(partition->replica, &followed->append,
                         stage == LOG_WRITE_SYNCED ? REPLICA_SYNCED : REPLICA_WRITTEN, &out);
  partition_settle(partition, &out);
  partition_wake_followers(partition); /* it may lead by now */
  following_written(partition);
}

static void fill_write(Followed *followed) {
  Partition *partition = followed->partition;
  followed->write = (LogWrite){.kind = LOG_WRITE_APPEND,
                               .log_id = partition->log_id,
                               .batch = &followed->batch,
                               .hot = followed->hot->data,
                               .hot_len = followed->hot->len,
                               .wants = followed->append.stage == REPLICA_SYNCED ? LOG_WRITE_SYNCED : LOG_WRITE_WRITTEN,
                               .sync_within_ms = partition->sync_within_ms,
                               .loop = partition->shard->loop,
                               .done = on_stored};
  if (followed->append.producer.producer_id) {
    followed->write.producer = followed->producer;
    followed->write.producer_len =
        log_producer_encode(&followed->append.producer, partition->log_id, followed->producer);
  }
}

static gboolean follow_batch(Partition *partition, gint32 leader_epoch, const LogBatch *batch) {
  Followed *followed = g_new0(Followed, 1);
  followed->partition = partition;
  followed->hot = g_byte_array_new();
  log_batch_share(batch, &followed->batch);
  g_autoptr(Failure) failure = replica_follow(partition->replica, leader_epoch, batch, &followed->append);
  if (failure) {
    slog_warning("a batch of the leader's was not taken", "partition", partition->name, "error",
                 failure_message(failure), NULL);
    followed_free(followed);
    return FALSE;
  }
  replica_encode_hot(partition->replica, partition->log_id, &followed->append, followed->hot);
  fill_write(followed);
  if ((!partition->exists && !partition_submit_create(partition)) ||
      !log_store_submit(partition->shard->broker->store, &followed->write)) {
    followed_free(followed);
    return FALSE;
  }
  replica_accept(partition->replica, &followed->append);
  partition->writes_in_flight++;
  log_tail_cache_add(partition->shard->cache, partition->log_id, batch);
  return TRUE;
}

gboolean partition_has_room_to_follow(const Partition *partition) {
  return disk_has_room(partition->shard->broker->disk, partition->is_internal ? DISK_FOR_INTERNAL : DISK_FOR_COPIES);
}

/* The leader has compacted what this log ends in, so that one batch covers what were several: the part that is missing
 * here. Else the batch as it is. */
static Failure *missing_part(const Partition *partition, const LogBatch *batch, LogBatch *ret_part) {
  gint64 end = replica_log_end(partition->replica);
  if (batch->format == LOG_BATCH_FORMAT_GAPS && batch->base_offset < end && log_batch_next_offset(batch) > end)
    return log_compact_part(batch, end, log_batch_next_offset(batch), ret_part);
  log_batch_share(batch, ret_part);
  return NULL;
}

gboolean partition_follow(Partition *partition, gint32 leader_epoch, const GArray *batches) {
  for (guint i = 0; i < batches->len; i++) {
    g_auto(LogBatch) part = LOG_BATCH_INIT;
    g_autoptr(Failure) failure = missing_part(partition, LOG_BATCH_AT(batches, i), &part);
    if (failure)
      slog_warning("a batch of the leader's can't be read", "partition", partition->name, "error",
                   failure_message(failure), NULL);
    if (failure || !follow_batch(partition, leader_epoch, &part))
      return FALSE;
  }
  return TRUE;
}

/* ---- cutting ---- */

typedef struct {
  LogWrite write; /* first */
  Partition *partition;
  GByteArray *hot;
} Cut;

static void cut_free(Cut *cut) {
  g_byte_array_unref(cut->hot);
  g_free(cut);
}

static void on_cut(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Cut *cut = (Cut *)write;
  /* Behind a gap it ends earlier: where its last batch does. */
  INVARIANT(write->ret_end_offset <= write->truncate_offset, "a cut leaves nothing behind it");
  cut->partition->writes_in_flight--;
  following_written(cut->partition);
  cut_free(cut);
}

/* Returns FALSE when the store is full. */
static gboolean submit_cut(Partition *partition, gint64 end) {
  partition->compaction.cuts++;
  if (!partition->exists)
    return TRUE;
  Cut *cut = g_new0(Cut, 1);
  cut->partition = partition;
  cut->hot = g_byte_array_new();
  replica_encode_hot(partition->replica, partition->log_id, NULL, cut->hot);
  cut->write = (LogWrite){.kind = LOG_WRITE_TRUNCATE,
                          .log_id = partition->log_id,
                          .hot = cut->hot->data,
                          .hot_len = cut->hot->len,
                          .truncate_offset = end,
                          .wants = LOG_WRITE_SYNCED,
                          .sync_within_ms = LOG_SYNC_NEVER,
                          .loop = partition->shard->loop,
                          .done = on_cut};
  if (!log_store_submit(partition->shard->broker->store, &cut->write)) {
    cut_free(cut);
    return FALSE;
  }
  partition->writes_in_flight++;
  return TRUE;
}

gboolean partition_cut(Partition *partition, gint32 epoch, gint64 end_offset) {
  gint64 end = replica_diverged(partition->replica, epoch, end_offset);
  slog_info("the log parts from the leader's, and is cut", "partition", partition->name, "from",
            SLOG_INT(replica_log_end(partition->replica)), "to", SLOG_INT(end), NULL);
  if (!submit_cut(partition, end))
    return FALSE;
  replica_truncated(partition->replica, end);
  log_tail_cache_truncate(partition->shard->cache, partition->log_id, end);
  return TRUE;
}

/* ---- beginning anew ---- */

typedef struct {
  LogWrite write; /* first */
  Partition *partition;
  gint64 start;
  GByteArray *hot;
} Beginning;

static void beginning_free(Beginning *beginning) {
  g_byte_array_unref(beginning->hot);
  g_free(beginning);
}

static void on_begun(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Beginning *beginning = (Beginning *)write;
  Partition *partition = beginning->partition;
  partition->writes_in_flight--;
  partition->saved_start = MAX(partition->saved_start, beginning->start);
  following_written(partition);
  beginning_free(beginning);
}

/* The hot record of an empty log. Returns FALSE when the store is full. */
static gboolean submit_beginning(Partition *partition, gint64 start) {
  if (!partition->exists)
    return TRUE; /* the first batch brings it */
  g_auto(LogHot) hot;
  log_hot_init(&hot);
  hot.log_start_offset = hot.log_end_offset = hot.high_watermark = start;
  hot.appended_bytes = replica_stand(partition->replica).appended_bytes;
  Beginning *beginning = g_new0(Beginning, 1);
  beginning->partition = partition;
  beginning->start = start;
  beginning->hot = g_byte_array_new();
  log_hot_encode(&hot, partition->log_id, beginning->hot);
  beginning->write = (LogWrite){.kind = LOG_WRITE_PUT_HOT,
                                .log_id = partition->log_id,
                                .hot = beginning->hot->data,
                                .hot_len = beginning->hot->len,
                                .wants = LOG_WRITE_SYNCED,
                                .sync_within_ms = LOG_SYNC_NEVER,
                                .loop = partition->shard->loop,
                                .done = on_begun};
  if (!log_store_submit(partition->shard->broker->store, &beginning->write)) {
    beginning_free(beginning);
    return FALSE;
  }
  partition->writes_in_flight++;
  return TRUE;
}

gboolean partition_begin_anew(Partition *partition, gint64 start) {
  gint64 before = replica_log_start(partition->replica);
  slog_warning("the leader's log begins behind this replica's end: what this one has is dropped", "partition",
               partition->name, "from", SLOG_INT(before), "to", SLOG_INT(replica_log_end(partition->replica)),
               "leader_begins", SLOG_INT(start), NULL);
  if (replica_log_end(partition->replica) > before) {
    if (!submit_cut(partition, before))
      return FALSE;
    replica_truncated(partition->replica, before);
    log_tail_cache_drop(partition->shard->cache, partition->log_id);
  }
  if (!submit_beginning(partition, start))
    return FALSE;
  replica_begin_at(partition->replica, start);
  if (!partition->exists)
    partition->saved_start = start;
  /* What it knew of producers is from before what it never saw. */
  partition_expire_producers(partition, G_MAXINT64);
  return TRUE;
}

/* ---- mending ---- */

gboolean partition_counts(const Partition *partition, gboolean *ret_others_count) {
  const MetadataPartition *metadata;
  *ret_others_count = FALSE;
  if (!partition->shard->image || !partition_metadata(partition, &metadata))
    return TRUE; /* nobody knows yet */
  return replica_assignment_counts(metadata, partition->shard->broker->id, ret_others_count);
}

Failure *partition_read_failure(Partition *partition, Failure *failure) {
  if (!failure || failure_reason(failure) != FAILURE(CORRUPT_LOG))
    return failure;
  gboolean is_new = replica_damage(partition->replica) == NULL;
  const char *offset = failure_get(failure, "offset");
  if (!replica_found_damage(partition->replica, failure, offset ? g_ascii_strtoll(offset, NULL, 10) : -1)) {
    slog_error("a read met damage, and no other replica has the records", "partition", partition->name, "error",
               failure_message(failure), NULL);
    return failure;
  }
  if (is_new)
    slog_error("a read met damage: this replica stands back, and is fetched anew", "partition", partition->name,
               "error", failure_message(failure), NULL);
  replication_found_damage(partition->shard->replication);
  failure_free(failure);
  return replica_stands_back(partition->replica);
}

gboolean partition_mend(Partition *partition) {
  gboolean others_count, given_up = replica_cuts_damage(partition->replica);
  gint64 end;
  if ((!given_up && partition_counts(partition, &others_count)) || !replica_mend_end(partition->replica, &end) ||
      !submit_cut(partition, end))
    return FALSE;
  slog_warning(given_up ? "a leader cuts its log in front of damage, as somebody asked for: what lies behind is lost"
                        : "a damaged replica is cut to what is good of it, and fetched anew from there",
               "partition", partition->name, "from", SLOG_INT(replica_log_end(partition->replica)), "to", SLOG_INT(end),
               "damage", failure_message(replica_damage(partition->replica)), NULL);
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_mended(partition->replica, end, &out);
  log_tail_cache_drop(partition->shard->cache, partition->log_id);
  partition_settle(partition, &out);
  return TRUE;
}
