/* The faults have ended: is all well again? Every partition is led, every replica of a broker that lives is in sync,
 * has the leader's log, and knows all of it for committed; every client has its answers. No state. */
#include "controller/metadata/view.h"
#include "tests/sim/cluster/broker.h"

static gboolean has(const gint32 *ids, guint count, gint32 id) {
  for (guint i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

static char *replica_unsettled(const Part *part, const Log *led, const MetadataPartition *metadata, gint32 id) {
  const Broker *broker = part->cluster->brokers[id];
  const Log *log = log_find(broker, part->log_id);
  if (!has(metadata->isr, metadata->isr_count, id))
    return g_strdup_printf("broker %d is not in sync of log %d", id, (int)part->log_id);
  if (!log || !log->replica || log->records->len != led->records->len)
    return g_strdup_printf("broker %d has not caught up in log %d", id, (int)part->log_id);
  for (guint i = 0; i < log->records->len; i++)
    if (g_array_index(log->records, Record, i).value != g_array_index(led->records, Record, i).value)
      return g_strdup_printf("broker %d has another record than its leader at %u of log %d", id, i, (int)part->log_id);
  if (replica_high_watermark(log->replica) < log->records->len)
    return g_strdup_printf("broker %d knows %d of %u records of log %d to be committed", id,
                           (int)replica_high_watermark(log->replica), log->records->len, (int)part->log_id);
  return NULL;
}

static char *part_unsettled(const Part *part) {
  const MetadataPartition *metadata = part_in(part, part->cluster->image, NULL);
  gint32 dead = part->cluster->dead;
  if (metadata->leader_id < 0 || metadata->leader_id == dead)
    return g_strdup_printf("log %d has no leader", (int)part->log_id);
  if (metadata->target_count > 0)
    return g_strdup_printf("log %d moves without an end", (int)part->log_id);
  const Log *led = log_find(part->cluster->brokers[metadata->leader_id], part->log_id);
  if (!led || !led->replica || !replica_leads(led->replica))
    return g_strdup_printf("broker %d does not lead log %d", metadata->leader_id, (int)part->log_id);
  if (replica_damage(led->replica))
    return g_strdup_printf("broker %d leads log %d, which is damaged", metadata->leader_id, (int)part->log_id);
  char *why = NULL;
  for (guint i = 0; i < metadata->replica_count && !why; i++)
    if (metadata->replicas[i] != dead)
      why = replica_unsettled(part, led, metadata, metadata->replicas[i]);
  for (guint i = 0; i < part->clients.clients->len && !why; i++)
    if (!sim_client_is_done(part->clients.clients->pdata[i]))
      why = g_strdup_printf("producer %u of log %d has not got its answers", i + 1, (int)part->log_id);
  return why;
}

char *cluster_unsettled(Cluster *cluster) {
  if (!world_active(cluster->world))
    return g_strdup("no controller is active");
  for (gint32 id = 1; id <= (gint32)cluster->shape.brokers; id++) {
    const MetadataBroker *metadata = metadata_image_broker(cluster->image, id);
    if (id != cluster->dead && (!metadata || metadata->fenced || !cluster->brokers[id]->up))
      return g_strdup_printf("broker %d is no member", id);
  }
  char *why = NULL;
  for (guint i = 0; i < cluster->parts->len && !why; i++)
    why = part_unsettled(cluster->parts->pdata[i]);
  return why;
}

/* ---- For the trace's end ---- */

static void describe_ids(GString *text, const char *what, const gint32 *ids, guint count) {
  if (count == 0)
    return;
  g_string_append_printf(text, ", %s", what);
  for (guint i = 0; i < count; i++)
    g_string_append_printf(text, " %d", ids[i]);
}

char *part_describe(const Part *part, const MetadataTopic *topic, const MetadataPartition *metadata) {
  GString *text = g_string_new(NULL);
  g_string_printf(text, "log %d: change %d, leader %d of epoch %d, minimum %u", (int)part->log_id,
                  (int)metadata->partition_epoch, metadata->leader_id, metadata->leader_epoch,
                  metadata_topic_min_insync_replicas(topic));
  describe_ids(text, "replicas", metadata->replicas, metadata->replica_count);
  describe_ids(text, "in sync", metadata->isr, metadata->isr_count);
  describe_ids(text, "eligible", metadata->eligible, metadata->eligible_count);
  describe_ids(text, "target", metadata->target, metadata->target_count);
  return g_string_free(text, FALSE);
}

static void describe_log(FILE *trace, const Log *log) {
  static const char *const STATES[] = {"follows nobody", "wants to follow", "has asked", "follows"};
  if (!log->replica) {
    fprintf(trace, "  broker %d: down, ends at %u\n", log->broker->id, log->records->len);
    return;
  }
  fprintf(trace, "  broker %d: %s, epoch %d, ends at %u, on disk %d, synced %d, high watermark %d%s%s\n",
          log->broker->id, replica_leads(log->replica) ? "leads" : STATES[log->state],
          replica_leader_epoch(log->replica), log->records->len, (int)replica_local_end(log->replica),
          (int)replica_synced_end(log->replica), (int)replica_high_watermark(log->replica),
          replica_damage(log->replica) ? ", damaged" : "", log->doomed ? ", no replica" : "");
}

void cluster_describe(const Cluster *cluster, FILE *trace) {
  for (guint i = 0; i < cluster->parts->len; i++) {
    const Part *part = cluster->parts->pdata[i];
    const MetadataTopic *topic;
    const MetadataPartition *metadata = part_in(part, cluster->image, &topic);
    if (!metadata)
      continue;
    g_autofree char *text = part_describe(part, topic, metadata);
    fprintf(trace, "%s; %u records committed%s%s\n", text, part->committed->len,
            part->weak ? ", not always synced" : "", part->gave_up ? ", given up" : "");
    for (guint id = 1; id <= cluster->shape.brokers; id++) {
      const Log *log = log_find(cluster->brokers[id], part->log_id);
      if (log)
        describe_log(trace, log);
    }
  }
}
