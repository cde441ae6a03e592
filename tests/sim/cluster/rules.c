/* See rules.h.
 *
 * Invariants of what is remembered: `committed` is as long as any leader's high watermark ever was, since the last
 * unclean election. Failure modes: a rule that is broken ends the run. */
#include "tests/sim/cluster/rules.h"

#include <string.h>

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "controller/metadata/view.h"

/* A change of the flush mode that was asked for may come into force so long after. */
#define FLUSH_ASKED_US 3000000

static Sim *sim_of(const Log *log) {
  return log->broker->cluster->sim;
}

static const Record *record_at(const GArray *records, gint64 offset) {
  return &g_array_index(records, Record, offset);
}

static gboolean same(const Record *a, const Record *b) {
  return a->value == b->value && a->epoch == b->epoch;
}

static gboolean has(const gint32 *ids, guint count, gint32 id) {
  for (guint i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

/* ---- Who may be elected has all that is committed ---- */

/* Its disk is what the controllers take it for. */
static gboolean is_whole(const Cluster *cluster, const Broker *broker) {
  const MetadataBroker *metadata = metadata_image_broker(cluster->image, broker->id);
  return cluster->wounded != broker->id && metadata && strcmp(metadata->incarnation, broker->incarnation) == 0;
}

static void check_candidate(const Part *part, gint32 id, gint64 from, const char *why) {
  const Cluster *cluster = part->cluster;
  const Broker *broker = cluster->brokers[id];
  const Log *log = log_find(broker, part->log_id);
  if (!is_whole(cluster, broker) || (log && log->damaged))
    return;
  gint64 committed = part->committed->len;
  gint64 stored = log ? log_stored_end(log, part->weak ? SIM_WRITTEN : SIM_SYNCED) : 0;
  if (stored < committed) {
    sim_violated(cluster->sim,
                 "broker %d is %s of log %d, whose first %d records are committed, and has %d of them on its disk", id,
                 why, (int)part->log_id, (int)committed, (int)stored);
    return;
  }
  for (gint64 i = from; i < committed; i++)
    if (!same(record_at(log->records, i), record_at(part->committed, i))) {
      sim_violated(cluster->sim, "broker %d is %s of log %d, and has another record than the committed one at %d", id,
                   why, (int)part->log_id, (int)i);
      return;
    }
}

static void check_candidates(const Part *part, gint64 from) {
  const MetadataPartition *metadata = part->gave_up ? NULL : part_in(part, part->cluster->image, NULL);
  if (!metadata || part->committed->len == 0)
    return;
  for (guint i = 0; i < metadata->isr_count; i++)
    check_candidate(part, metadata->isr[i], from, "in sync");
  for (guint i = 0; i < metadata->eligible_count; i++)
    check_candidate(part, metadata->eligible[i], from, "eligible");
}

/* ---- Logs ---- */

void rules_appended(Log *log, const Batch *batch, gboolean led) {
  for (guint i = 0; i < batch->batch.record_count; i++) {
    gpointer key = GSIZE_TO_POINTER((gsize)batch->batch.leader_epoch << 32 | (gsize)(batch->batch.base_offset + i));
    gpointer value = GSIZE_TO_POINTER(batch_value(batch, i));
    gpointer before = g_hash_table_lookup(log->part->written, key);
    if (before && before != value && !log->part->gave_up)
      sim_violated(sim_of(log), "broker %d has another record at %d of log %d in epoch %d than somebody else",
                   log->broker->id, (int)(batch->batch.base_offset + i), (int)log->log_id, batch->batch.leader_epoch);
    if (led)
      g_hash_table_insert(log->part->written, key, value);
  }
}

void rules_cut(Log *log, gint64 end) {
  /* Who counts for nothing may be cut by a leader that was overruled long ago, and does not know it. */
  const Part *part = log->part;
  const MetadataPartition *metadata = part->gave_up ? NULL : part_in(part, part->cluster->image, NULL);
  if (!metadata || (!has(metadata->isr, metadata->isr_count, log->broker->id) &&
                    !has(metadata->eligible, metadata->eligible_count, log->broker->id)))
    return;
  for (gint64 i = end; i < log->records->len && i < part->committed->len; i++)
    if (same(record_at(log->records, i), record_at(part->committed, i))) {
      sim_violated(sim_of(log), "broker %d cuts log %d at %d, and the record at %d is committed", log->broker->id,
                   (int)log->log_id, (int)end, (int)i);
      return;
    }
}

/* What it says is committed from one offset to another. */
static void take_committed(Log *log, gint64 from, gint64 to) {
  Part *part = log->part;
  guint before = part->committed->len;
  for (gint64 i = from; i < to; i++) {
    const Record *record = record_at(log->records, i);
    if (i >= part->committed->len) {
      g_array_append_val(part->committed, *record);
      continue;
    }
    if (same(record, record_at(part->committed, i)))
      continue;
    sim_violated(sim_of(log),
                 "broker %d has another record at %d of log %d below its high watermark than was committed",
                 log->broker->id, (int)i, (int)log->log_id);
    return;
  }
  log->broker->cluster->result->committed += part->committed->len - before;
  if (part->committed->len > before)
    check_candidates(part, before);
}

/* A leader of an epoch that an unclean election has overruled may say what it wants. */
static gboolean counts(const Log *log) {
  return !log->part->gave_up && replica_leader_epoch(log->replica) >= log->part->void_epoch;
}

static gboolean leads_latest(const Log *log) {
  const MetadataPartition *metadata = part_in(log->part, log->broker->cluster->image, NULL);
  return metadata && metadata->leader_id == log->broker->id &&
         metadata->leader_epoch == replica_leader_epoch(log->replica);
}

/* Rule 5: it tells what the end is, so it knows of all that was committed before. */
static void check_knows(Log *log) {
  gboolean knows = replica_knows_high_watermark(log->replica);
  if (knows && !log->knew && leads_latest(log) && counts(log)) {
    gint64 hw = replica_high_watermark(log->replica);
    if (hw < log->part->committed->len && record_at(log->part->committed, hw)->epoch < log->led_epoch)
      sim_violated(sim_of(log), "broker %d takes %d for the high watermark of log %d, and more was committed before",
                   log->broker->id, (int)hw, (int)log->log_id);
  }
  log->knew = knows;
}

void rules_log_changed(Log *log) {
  Replica *replica = log->replica;
  gint64 hw = replica_high_watermark(replica);
  gboolean leads = log->led_epoch >= 0;
  if (replica_log_end(replica) != log->records->len)
    sim_violated(sim_of(log), "broker %d: the replica and its log %d disagree", log->broker->id, (int)log->log_id);
  else if (leads && hw < log->checked_watermark)
    sim_violated(sim_of(log), "broker %d: the high watermark of log %d went back", log->broker->id, (int)log->log_id);
  else if (leads && counts(log))
    take_committed(log, log->checked_watermark, hw);
  else if (log->state == LOG_FOLLOWS && hw > log->part->committed->len && counts(log) && log->part->void_epoch == 0)
    sim_violated(sim_of(log), "broker %d follows log %d, and takes for committed what no leader ever did",
                 log->broker->id, (int)log->log_id);
  else if (log->state == LOG_FOLLOWS && counts(log))
    take_committed(log, MIN(log->checked_watermark, hw), hw);
  log->checked_watermark = hw;
  if (leads)
    check_knows(log);
}

void rules_leads(Log *log) {
  Part *part = log->part;
  gint32 epoch = log->led_epoch;
  gpointer key = GINT_TO_POINTER(epoch + 1);
  gpointer value = GSIZE_TO_POINTER(log->broker->epoch << 8 | (gsize)log->broker->id);
  gpointer before = g_hash_table_lookup(part->leaders, key);
  if (before && before != value)
    sim_violated(sim_of(log), "broker %d leads epoch %d of log %d, which another broker, or registration, led already",
                 log->broker->id, epoch, (int)log->log_id);
  g_hash_table_insert(part->leaders, key, value);
  log->knew = FALSE;
  log->checked_watermark = 0;
  if (!leads_latest(log) || !counts(log))
    return;
  for (gint64 i = 0; i < part->committed->len; i++)
    if (i >= log->records->len || !same(record_at(log->records, i), record_at(part->committed, i))) {
      sim_violated(sim_of(log), "broker %d leads log %d in epoch %d without the committed record at %d",
                   log->broker->id, (int)log->log_id, epoch, (int)i);
      return;
    }
}

/* ---- Metadata ---- */

static void broken(const Part *part, const MetadataPartition *metadata, const char *what) {
  sim_violated(part->cluster->sim, "the metadata of log %d, change %d, epoch %d: %s", (int)part->log_id,
               (int)metadata->partition_epoch, metadata->leader_epoch, what);
}

static gboolean all_in(const gint32 *some, guint some_count, const gint32 *all, guint all_count) {
  for (guint i = 0; i < some_count; i++)
    if (!has(all, all_count, some[i]))
      return FALSE;
  return TRUE;
}

static void check_state(const Part *part, const MetadataImage *image, const MetadataPartition *now) {
  if (!all_in(now->isr, now->isr_count, now->replicas, now->replica_count))
    broken(part, now, "somebody in sync is no replica");
  if (!all_in(now->eligible, now->eligible_count, now->replicas, now->replica_count))
    broken(part, now, "somebody eligible is no replica");
  for (guint i = 0; i < now->eligible_count; i++)
    if (has(now->isr, now->isr_count, now->eligible[i]))
      broken(part, now, "somebody is eligible and in sync");
  if (now->leader_id >= 0 && !has(now->isr, now->isr_count, now->leader_id))
    broken(part, now, "its leader is not in sync");
  for (guint i = 0; i < now->isr_count; i++) {
    const MetadataBroker *broker = metadata_image_broker(image, now->isr[i]);
    if (!broker || broker->fenced)
      broken(part, now, "somebody in sync is fenced");
  }
  if (now->isr_count + now->eligible_count == 0 && !part->gave_up && part->void_epoch == 0)
    broken(part, now, "nobody counts any more");
}

/* An unclean election: what the new leader does not have is given up, and who led before may say what it wants. */
static void give_up_records(Part *part, const MetadataPartition *now) {
  const Log *log = log_find(part->cluster->brokers[now->leader_id], part->log_id);
  gint64 end = log ? log_stored_end(log, SIM_SYNCED) : 0;
  guint keep = 0;
  while (keep < part->committed->len && keep < end &&
         same(record_at(log->records, keep), record_at(part->committed, keep)))
    keep++;
  cluster_tell(part->cluster, "log %d: an unclean election keeps %u of %u committed records", (int)part->log_id, keep,
               part->committed->len);
  g_array_set_size(part->committed, keep);
  part->void_epoch = now->leader_epoch;
  part->clients.gave_up = TRUE;
  part->cluster->result->unclean++;
}

static void check_change(Part *part, MetadataImage *image_before, const MetadataTopic *topic,
                         const MetadataPartition *before, const MetadataPartition *now) {
  if (now->partition_epoch <= before->partition_epoch)
    broken(part, now, "it changed without another partition epoch");
  if (now->leader_epoch < before->leader_epoch ||
      (now->leader_id != before->leader_id && now->leader_epoch == before->leader_epoch))
    broken(part, now, "another leader came without another leader epoch");
  gboolean moved = before->target_count > 0 && now->target_count == 0 && now->replica_count == before->target_count &&
                   all_in(now->replicas, now->replica_count, before->target, before->target_count);
  gboolean back = before->target_count > 0 && now->replica_count == before->before_count &&
                  all_in(now->replicas, now->replica_count, before->before, before->before_count);
  part->cluster->result->moves += moved;
  if (moved && !back && !all_in(now->replicas, now->replica_count, now->isr, now->isr_count))
    broken(part, now, "a move ended before all that it goes to were in sync");
  part->cluster->result->elections += now->leader_id >= 0 && now->leader_id != before->leader_id;
  part->cluster->result->in_sync_changes += now->isr_count != before->isr_count;
  g_autofree MetadataPartition *copy = g_memdup2(now, sizeof *now);
  MetadataRecord *record = metadata_record_partition(copy);
  gboolean unclean = metadata_is_unclean(image_before, record);
  milena__internal__v1__metadata_record__free_unpacked(record, NULL);
  if (!unclean)
    return;
  if (!part->unclean && !topic->config->unclean_leader_election)
    broken(part, now, "an unclean election that nobody asked for");
  give_up_records(part, now);
}

/* The controllers have heard of what was lost. */
static void heal_wound(Cluster *cluster) {
  const Broker *broker = cluster->wounded ? cluster->brokers[cluster->wounded] : NULL;
  const MetadataBroker *metadata = broker ? metadata_image_broker(cluster->image, broker->id) : NULL;
  if (!metadata || strcmp(metadata->process_id, broker->process_id) != 0)
    return;
  for (guint i = 0; i < cluster->parts->len; i++) {
    const Part *part = cluster->parts->pdata[i];
    const Log *log = log_find(broker, part->log_id);
    const MetadataPartition *now = part_in(part, cluster->image, NULL);
    if (log && log->damaged && now &&
        (has(now->isr, now->isr_count, broker->id) || has(now->eligible, now->eligible_count, broker->id)))
      return;
  }
  cluster->wounded = 0;
}

/* Does a power cut take a tail of it, by what the controllers have decided? */
static void judge_flush(Part *part, const MetadataTopic *topic, const MetadataPartition *now) {
  gint64 quiet_us = sim_now_us(part->cluster->sim) - part->flush_asked_us;
  if (metadata_topic_flush(topic) != MILENA__V1__FLUSH__FLUSH_ALWAYS || now->unsynced_count > 0)
    part->weak = TRUE;
  else if (part->flush_asked_us == 0 || quiet_us > FLUSH_ASKED_US)
    part->weak = FALSE; /* who counts has said that it is all on disk, under this mode */
}

void rules_metadata(MetadataImage *before, MetadataImage *image, gpointer data) {
  (void)before;
  Cluster *cluster = data;
  metadata_image_ref(image);
  g_autoptr(MetadataImage) last = cluster->image;
  cluster->image = image;
  heal_wound(cluster);
  for (guint i = 0; i < cluster->parts->len; i++) {
    Part *part = cluster->parts->pdata[i];
    const MetadataTopic *topic;
    const MetadataPartition *now = part_in(part, image, &topic);
    const MetadataPartition *was = last ? part_in(part, last, NULL) : NULL;
    if (!now)
      continue;
    part->log_id = now->log_id;
    judge_flush(part, topic, now);
    if (now == was)
      continue;
    g_autofree char *text = cluster->trace ? part_describe(part, topic, now) : NULL;
    cluster_tell(cluster, "metadata of %s", text ? text : "a log");
    if (was && was->partition_epoch != now->partition_epoch)
      check_change(part, last, topic, was, now);
    check_state(part, image, now);
    check_candidates(part, 0);
  }
}
