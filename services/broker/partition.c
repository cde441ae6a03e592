/* The host of a partition's replica: between the metadata, the store and those who ask. See partition.h.
 *
 * States:
 *
 *   new ──assign──► assigned (leads or not, as its replica says) ──doom──► doomed ──grace time──► dropping ──► freed
 *                      ▲                                                     │
 *                      └───────────────────── assign ────────────────────────┘
 *
 * Invariants: a log is created in the store in front of its first append, by the same thread, so in that order; a log
 * is dropped only when none of its writes is in flight.
 *
 * Thread: the shard's loop. Failure modes: a store that takes no more writes makes an append OVERLOADED, and a drop
 * wait; a write that the disk refuses ends the process in the store. */
#include "services/broker/partition.h"

#include "controller/metadata/view.h"
#include "services/base/slog.h"
#include "services/broker/partition_internal.h"
#include "services/broker/replica/assignment.h"
#include "services/broker/retention.h"

#define DROP_RETRY_MS 1000

Partition *partition_new(Shard *shard, guint64 log_id, const LogHot *recovered, const Failure *damage) {
  Partition *partition = g_new0(Partition, 1);
  partition->log_id = log_id;
  partition->shard = shard;
  partition->name = g_strdup_printf("log %" G_GUINT64_FORMAT, log_id);
  partition->replica = replica_new(recovered, damage);
  partition->exists = recovered != NULL;
  partition->saved_start = recovered ? recovered->log_start_offset : 0;
  partition->retention_ms = partition->retention_bytes = LOG_RETENTION_NONE;
  g_queue_init(&partition->trims);
  g_queue_init(&partition->waiting);
  g_queue_init(&partition->followers);
  partition->following = (Following)FOLLOWING_INIT;
  return partition;
}

void partition_free(gpointer data) {
  Partition *partition = data;
  INVARIANT(g_queue_is_empty(&partition->waiting) && g_queue_is_empty(&partition->followers),
            "nobody waits for a partition that goes");
  INVARIANT(g_queue_is_empty(&partition->trims), "nobody waits for a partition that goes");
  INVARIANT(partition->writes_in_flight == 0, "the storage is done with a partition that goes");
  timer_clear(partition->shard->timers, &partition->drop_timer);
  timer_clear(partition->shard->timers, &partition->sync_timer);
  g_clear_pointer(&partition->forgotten, g_array_unref);
  replica_free(partition->replica);
  g_free(partition->name);
  g_free(partition);
}

Partition *partition_lookup(Shard *shard, guint64 log_id) {
  return g_hash_table_lookup(shard->partitions, &log_id);
}

Partition *partition_find_led(Shard *shard, guint64 log_id, gint32 leader_epoch) {
  Partition *partition = partition_lookup(shard, log_id);
  if (!partition || !replica_leads(partition->replica) || replica_leader_epoch(partition->replica) != leader_epoch)
    return NULL;
  return partition;
}

Failure *partition_not_leader(guint64 log_id, gint32 leader_epoch) {
  Failure *failure = failure_new(FAILURE(NOT_LEADER),
                                 "this broker does not lead the partition with leader epoch %d (any more): look up its "
                                 "leader and go there",
                                 leader_epoch);
  return failure_add(failure, "log_id", "%" G_GUINT64_FORMAT, log_id);
}

PartitionBounds partition_bounds(const Partition *partition) {
  gint64 high_watermark = replica_high_watermark(partition->replica);
  return (PartitionBounds){.high_watermark = high_watermark,
                           .log_start_offset = replica_log_start(partition->replica),
                           .last_stable_offset = high_watermark};
}

void partition_settle(Partition *partition, ReplicaOut *out) {
  for (GList *link; (link = g_queue_pop_head_link(&out->answers));)
    partition_answer_append(link->data);
  for (GList *link; (link = g_queue_pop_head_link(&out->released));)
    partition_release_append(link->data);
  if (out->high_watermark_moved || out->leadership_changed) {
    partition_wake_reads(partition);
    partition_wake_followers(partition);
    partition_save_start(partition); /* a follower's may have moved with its high watermark */
  }
}

gboolean partition_metadata(const Partition *partition, const MetadataPartition **ret_metadata) {
  const MetadataTopic *topic =
      *partition->topic_id ? metadata_image_topic_by_id(partition->shard->image, partition->topic_id) : NULL;
  *ret_metadata = topic ? metadata_topic_partition(topic, partition->number) : NULL;
  return *ret_metadata != NULL;
}

/* ---- the metadata ---- */

static gint64 sync_within_ms(const MetadataTopic *topic) {
  return metadata_topic_flush(topic) == MILENA__V1__FLUSH__FLUSH_INTERVAL ? metadata_topic_flush_interval_ms(topic)
                                                                          : LOG_SYNC_NEVER;
}

static void take_retention(Partition *partition, const MetadataTopic *topic) {
  gint64 ms = metadata_topic_retention_ms(topic), bytes = metadata_topic_retention_bytes(topic);
  if (ms == partition->retention_ms && bytes == partition->retention_bytes)
    return;
  partition->retention_ms = ms;
  partition->retention_bytes = bytes;
  retention_look_soon(partition->shard->retention);
}

void partition_assign(Partition *partition, const MetadataTopic *topic, const MetadataPartition *metadata,
                      gboolean may_lead) {
  /* Too late: once it is dropped, the next change of its topic makes it anew. */
  if (partition->dropping)
    return;
  if (partition->doomed) {
    partition->doomed = FALSE;
    timer_clear(partition->shard->timers, &partition->drop_timer);
  }
  g_free(partition->name);
  partition->name = g_strdup_printf("%s/%d", topic->name, metadata->partition);
  partition->sync_within_ms = sync_within_ms(topic);
  take_retention(partition, topic);
  g_strlcpy(partition->topic_id, topic->id, sizeof partition->topic_id);
  partition->number = metadata->partition;
  partition->is_internal = metadata_topic_is_internal(topic);
  partition->compaction.is_on = metadata_topic_is_compacted(topic);
  partition->compaction.min_dirty_ratio = metadata_topic_min_cleanable_dirty_ratio(topic);
  partition->compaction.min_lag_ms = metadata_topic_min_compaction_lag_ms(topic);
  partition->compaction.delete_retention_ms = metadata_topic_delete_retention_ms(topic);
  gint32 self = partition->shard->broker->id;
  const ReplicaAssignment assignment =
      replica_assignment_of(topic, metadata, self, may_lead, g_get_monotonic_time() / 1000);
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_assign(partition->replica, &assignment, &out);
  if (out.leadership_changed && replica_leads(partition->replica) && replica_damage(partition->replica))
    slog_error("a partition was found damaged: what is good of it is served, nothing is appended", "partition",
               partition->name, "error", failure_message(replica_damage(partition->replica)), NULL);
  partition_settle(partition, &out);
  following_assigned(partition);
  partition_sync(partition);
  partition_look_at_trims(partition);
  partition_wake_followers(partition); /* who was held back may not be any more */
}

void partition_retire(Partition *partition) {
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_retire(partition->replica, &out);
  partition_settle(partition, &out);
  partition_look_at_trims(partition);
  following_assigned(partition);
}

/* ---- dropping ---- */

/* A drop on its way. */
typedef struct {
  LogWrite write; /* first: on_dropped gets it back */
  Shard *shard;
} Drop;

static void try_drop(Timer *timer, gpointer data);

static void on_dropped(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  g_autofree Drop *drop = (Drop *)write;
  Shard *shard = drop->shard;
  Partition *partition = partition_lookup(shard, write->log_id);
  INVARIANT(partition, "a partition stays until its log is dropped");
  partition->writes_in_flight--;
  slog_info("log dropped", "partition", partition->name, NULL);
  g_hash_table_remove(shard->partitions, &partition->log_id);
}

static void retry_drop(Partition *partition, gint64 delay_ms) {
  timer_set(partition->shard->timers, &partition->drop_timer, g_get_monotonic_time() + delay_ms * 1000, try_drop,
            partition);
}

static void try_drop(Timer *timer, gpointer data) {
  (void)timer;
  Partition *partition = data;
  Shard *shard = partition->shard;
  if (!partition->exists && partition->writes_in_flight == 0) {
    g_hash_table_remove(shard->partitions, &partition->log_id);
    return;
  }
  if (partition->writes_in_flight > 0) {
    retry_drop(partition, DROP_RETRY_MS);
    return;
  }
  Drop *drop = g_new0(Drop, 1);
  drop->shard = shard;
  drop->write = (LogWrite){.kind = LOG_WRITE_DROP,
                           .log_id = partition->log_id,
                           .wants = LOG_WRITE_WRITTEN,
                           .sync_within_ms = LOG_SYNC_NEVER,
                           .loop = shard->loop,
                           .done = on_dropped};
  if (!log_store_submit(shard->broker->store, &drop->write)) {
    g_free(drop);
    retry_drop(partition, DROP_RETRY_MS);
    return;
  }
  partition->writes_in_flight++;
  partition->dropping = TRUE;
}

void partition_doom(Partition *partition) {
  if (partition->doomed)
    return;
  Shard *shard = partition->shard;
  partition->doomed = TRUE;
  *partition->topic_id = '\0';
  partition_retire(partition);
  log_tail_cache_drop(shard->cache, partition->log_id);
  slog_info("log is in no topic any more", "partition", partition->name, "dropped_in_ms",
            SLOG_INT(shard->broker->orphan_grace_ms), NULL);
  timer_clear(shard->timers, &partition->sync_timer);
  retry_drop(partition, shard->broker->orphan_grace_ms);
}

/* ---- producers ---- */

/* Records of one write, so that none is larger than a batch may be. */
#define FORGET_MAX 10000

/* Records on their way out of the store. */
typedef struct {
  LogWrite write; /* first: on_forgotten gets it back */
  Partition *partition;
  gint64 ids[];
} Forget;

static void on_forgotten(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  g_autofree Forget *forget = (Forget *)write;
  forget->partition->writes_in_flight--;
}

/* Returns FALSE when the store is full. */
static gboolean submit_forget(Partition *partition, const gint64 *ids, guint count) {
  Forget *forget = g_malloc0(sizeof *forget + count * sizeof *ids);
  memcpy(forget->ids, ids, count * sizeof *ids);
  forget->partition = partition;
  forget->write = (LogWrite){.kind = LOG_WRITE_FORGET,
                             .log_id = partition->log_id,
                             .producer_ids = forget->ids,
                             .producer_count = count,
                             .wants = LOG_WRITE_WRITTEN,
                             .sync_within_ms = LOG_SYNC_NEVER,
                             .loop = partition->shard->loop,
                             .done = on_forgotten};
  if (!log_store_submit(partition->shard->broker->store, &forget->write)) {
    g_free(forget);
    return FALSE;
  }
  partition->writes_in_flight++;
  return TRUE;
}

/* Ids that were left over by a full store may have come back meanwhile: those stay. */
static void drop_known(const Partition *partition, GArray *ids) {
  for (guint i = ids->len; i-- > 0;) {
    if (replica_knows_producer(partition->replica, g_array_index(ids, gint64, i)))
      g_array_remove_index_fast(ids, i);
  }
}

void partition_expire_producers(Partition *partition, gint64 before_ms) {
  if (partition->dropping)
    return;
  if (!partition->forgotten)
    partition->forgotten = g_array_new(FALSE, FALSE, sizeof(gint64));
  GArray *ids = partition->forgotten;
  replica_expire_producers(partition->replica, before_ms, ids);
  drop_known(partition, ids);
  while (ids->len > 0) {
    guint count = MIN(ids->len, FORGET_MAX);
    if (!submit_forget(partition, &g_array_index(ids, gint64, ids->len - count), count))
      return; /* at the next sweep */
    g_array_set_size(ids, ids->len - count);
  }
  g_clear_pointer(&partition->forgotten, g_array_unref);
}
