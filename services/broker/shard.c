/* A shard: the partitions of one loop, and how they follow the metadata. See shard.h.
 *
 * Invariants:
 *   1. every partition of `image` that has a replica on this broker, and whose log is this shard's, is in `partitions`
 *   2. a partition leads only while this process's own registration is in the image, and not fenced: the image that is
 *      left over from before a restart makes nobody a leader (REPLICATION.md, rule 9)
 *   3. what is in no topic is doomed, not dropped at once (rule 15)
 *
 * Thread: the shard's loop; shard_new and the recovery run before it starts. Failure modes: none of its own. */
#include "services/broker/shard.h"

#include "services/broker/front_internal.h"
#include "services/broker/partition_internal.h"
#include "services/broker/replica/assignment.h"
#include "services/broker/retention.h"

Loop *shard_loop(const Shard *shard) {
  return shard->loop;
}

guint shard_index(const Shard *shard) {
  return shard->index;
}

Shard *shard_new(Broker *broker, guint index, guint mailbox_max, gsize cache_bytes) {
  Shard *shard = g_new0(Shard, 1);
  shard->broker = broker;
  shard->index = index;
  g_autofree char *name = g_strdup_printf("shard-%u", index);
  shard->loop = loop_new(name, mailbox_max);
  shard->timers = timers_new(shard->loop);
  shard->partitions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, partition_free);
  shard->cache = log_tail_cache_new(cache_bytes);
  shard->front = front_new(shard);
  shard->replication = replication_new(shard);
  shard->retention = retention_new(shard);
  return shard;
}

void shard_start(Shard *shard) {
  loop_start(shard->loop);
}

void shard_stop(Shard *shard) {
  loop_stop(shard->loop);
}

void shard_free(Shard *shard) {
  if (!shard)
    return;
  front_free(shard->front);
  timer_clear(shard->timers, &shard->producers_timer);
  g_hash_table_unref(shard->partitions);
  replication_free(shard->replication);
  retention_free(shard->retention);
  timers_free(shard->timers);
  log_tail_cache_free(shard->cache);
  metadata_image_unref(shard->image);
  loop_free(shard->loop);
  g_free(shard);
}

void shard_recover(Shard *shard, guint64 log_id, const LogHot *hot, const Failure *damage) {
  Partition *partition = partition_new(shard, log_id, hot, damage);
  g_hash_table_insert(shard->partitions, &partition->log_id, partition);
}

void shard_recover_producer(Shard *shard, guint64 log_id, const LogProducer *producer, const Failure *failure) {
  Partition *partition = partition_lookup(shard, log_id);
  if (!partition)
    return; /* of a log that is gone */
  if (failure)
    replica_mark_damaged(partition->replica, failure);
  else
    replica_restore_producer(partition->replica, producer);
}

/* ---- idle producers ---- */

#define SWEEP_MIN_MS 100
#define SWEEP_MAX_MS G_GINT64_CONSTANT(600000)

static void set_sweep(Shard *shard);

static void on_sweep(Timer *timer, gpointer data) {
  (void)timer;
  Shard *shard = data;
  gint64 before_ms = g_get_real_time() / 1000 - shard->broker->producer_expiry_ms;
  GHashTableIter iter;
  gpointer partition;
  g_hash_table_iter_init(&iter, shard->partitions);
  while (g_hash_table_iter_next(&iter, NULL, &partition))
    partition_expire_producers(partition, before_ms);
  set_sweep(shard);
}

static void set_sweep(Shard *shard) {
  gint64 every_ms = CLAMP(shard->broker->producer_expiry_ms / 10, SWEEP_MIN_MS, SWEEP_MAX_MS);
  timer_set(shard->timers, &shard->producers_timer, g_get_monotonic_time() + every_ms * G_TIME_SPAN_MILLISECOND,
            on_sweep, shard);
}

void shard_retire(Shard *shard) {
  LOOP_ASSERT_CURRENT(shard->loop);
  replication_stop(shard->replication);
  retention_stop(shard->retention);
  timer_clear(shard->timers, &shard->producers_timer);
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, shard->partitions);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Partition *partition = value;
    timer_clear(shard->timers, &partition->drop_timer); /* the store closes soon: nothing more is submitted */
    timer_clear(shard->timers, &partition->sync_timer);
    partition_retire(partition);
  }
}

/* ---- following the metadata ---- */

typedef struct {
  Shard *shard;
  gboolean may_lead;
} Pass;

static gboolean is_ours(const Shard *shard, const MetadataPartition *metadata) {
  return metadata->log_id % shard->broker->shard_count == shard->index &&
         metadata_partition_has_replica(metadata, shard->broker->id);
}

static void take_topic(const Pass *pass, const MetadataTopic *topic) {
  Shard *shard = pass->shard;
  for (guint i = 0; i < topic->partition_count; i++) {
    const MetadataPartition *metadata = topic->partitions[i];
    if (!is_ours(shard, metadata))
      continue;
    Partition *partition = partition_lookup(shard, metadata->log_id);
    if (!partition) {
      partition = partition_new(shard, metadata->log_id, NULL, NULL);
      g_hash_table_insert(shard->partitions, &partition->log_id, partition);
    }
    partition_assign(partition, topic, metadata, pass->may_lead);
  }
}

/* Doom those of @before's partitions that @now (NULL: no such topic) does not have here. */
static void leave_topic(const Pass *pass, const MetadataTopic *before, const MetadataTopic *now) {
  for (guint i = 0; i < before->partition_count; i++) {
    const MetadataPartition *old = before->partitions[i];
    const MetadataPartition *new = now &&i < now->partition_count ? now->partitions[i] : NULL;
    if (!is_ours(pass->shard, old) || (new &&new->log_id == old->log_id &&is_ours(pass->shard, new)))
      continue;
    Partition *partition = partition_lookup(pass->shard, old->log_id);
    if (partition)
      partition_doom(partition);
  }
}

static int compare_topics(const MetadataTopic *a, const MetadataTopic *b) {
  if (!a || !b)
    return a ? -1 : 1;
  return strcmp(a->name, b->name);
}

/* Both images list their topics by name, so one walk along the two finds what differs; what did not change is the same
 * pointer. @all: look at those too. */
static void follow_changes(const Pass *pass, MetadataImage *before, MetadataImage *now, gboolean all) {
  MetadataIter old_iter, new_iter;
  metadata_iter_topics(&old_iter, before, NULL);
  metadata_iter_topics(&new_iter, now, NULL);
  const MetadataTopic *old = metadata_iter_next_topic(&old_iter);
  const MetadataTopic *new = metadata_iter_next_topic(&new_iter);
  while (old || new) {
    int order = compare_topics(old, new);
    if (order == 0 && old != new)
      leave_topic(pass, old, new);
    if (order < 0)
      leave_topic(pass, old, NULL);
    if (order >= 0 && (all || order > 0 || old != new))
      take_topic(pass, new);
    if (order <= 0)
      old = metadata_iter_next_topic(&old_iter);
    if (order >= 0)
      new = metadata_iter_next_topic(&new_iter);
  }
}

static void begin_following(const Pass *pass, MetadataImage *now) {
  MetadataIter iter;
  metadata_iter_topics(&iter, now, NULL);
  for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));)
    take_topic(pass, topic);
  /* Logs that were found on disk, of topics that were deleted while this broker was down. */
  GHashTableIter logs;
  gpointer value;
  g_hash_table_iter_init(&logs, pass->shard->partitions);
  while (g_hash_table_iter_next(&logs, NULL, &value)) {
    Partition *partition = value;
    if (replica_leader_epoch(partition->replica) == LOG_EPOCH_NONE)
      partition_doom(partition);
  }
}

void shard_apply_image(Shard *shard, MetadataImage *image, guint64 broker_epoch) {
  LOOP_ASSERT_CURRENT(shard->loop);
  Pass pass = {.shard = shard, .may_lead = replica_assignment_may_lead(image, shard->broker->id, broker_epoch)};
  if (!shard->image) {
    begin_following(&pass, image);
    set_sweep(shard);
    retention_look_soon(shard->retention);
  } else {
    gboolean could_lead = replica_assignment_may_lead(shard->image, shard->broker->id, shard->broker_epoch);
    follow_changes(&pass, shard->image, image, could_lead != pass.may_lead);
  }
  metadata_image_ref(image);
  metadata_image_unref(shard->image);
  shard->image = image;
  shard->broker_epoch = broker_epoch;
  replication_metadata_changed(shard->replication);
}
