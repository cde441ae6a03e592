/* One run: a cluster is born, faults and operators do their worst to controllers and brokers while clients write, then
 * the faults end, and all must settle: see settle.c.
 *
 * Invariants: everything is decided by the seed; nothing depends on addresses, on the real clock or on an earlier run.
 * Failure modes: a broken rule ends the run. */
#include "tests/sim/cluster/cluster.h"

#include <stdarg.h>
#include <string.h>

#include "controller/metadata/commands.h"
#include "tests/sim/cluster/office.h"
#include "tests/sim/cluster/rules.h"
#include "tests/sim/raft/rules.h"

#define BIRTH_MAX_US 30000000
#define HEAL_MAX_US 90000000
#define STEP_US 50000

/* ---- Telling ---- */

static void tell(Cluster *cluster, const char *who, const char *format, va_list args) {
  world_note(cluster->world, cluster->events);
  if (!cluster->trace)
    return;
  fprintf(cluster->trace, "%10.6f s  %s", (double)sim_now_us(cluster->sim) / G_USEC_PER_SEC, who);
  vfprintf(cluster->trace, format, args);
  fputc('\n', cluster->trace);
}

void cluster_tell(Cluster *cluster, const char *format, ...) {
  va_list args;
  va_start(args, format);
  tell(cluster, "", format, args);
  va_end(args);
}

void broker_tell(const Broker *broker, const char *format, ...) {
  char who[16];
  g_snprintf(who, sizeof who, "broker %d ", broker->id);
  va_list args;
  va_start(args, format);
  tell(broker->cluster, who, format, args);
  va_end(args);
}

/* ---- The network ---- */

guint broker_endpoint(gint32 id) {
  return NODES_MAX + (guint)id;
}

static gint64 slowness(const Cluster *cluster, guint endpoint) {
  if (endpoint == 0)
    return 0;
  return endpoint <= NODES_MAX ? cluster->world->nodes[endpoint]->slow_us
                               : cluster->brokers[endpoint - NODES_MAX]->slow_us;
}

gboolean cluster_send(Cluster *cluster, guint from, guint to, SimFunc func, gpointer data, GDestroyNotify free) {
  const World *world = cluster->world;
  SimNetFaults faults = world->faults;
  faults.double_per_mille = 0; /* a call goes through a stream: it is not repeated by the network */
  gint64 delays_us[2];
  if (world->cut[from][to] || sim_fates(cluster->sim, &faults, delays_us) == 0) {
    if (free)
      free(data);
    return FALSE;
  }
  sim_after(cluster->sim, delays_us[0] + slowness(cluster, from) + slowness(cluster, to), func, data, free);
  return TRUE;
}

/* ---- Partitions ---- */

Part *cluster_part(const Cluster *cluster, guint64 log_id) {
  for (guint i = 0; i < cluster->parts->len; i++) {
    Part *part = cluster->parts->pdata[i];
    if (part->log_id == log_id)
      return part;
  }
  return NULL;
}

const MetadataPartition *part_in(const Part *part, const MetadataImage *image, const MetadataTopic **ret_topic) {
  const MetadataTopic *topic = image ? metadata_image_topic_by_name(image, part->topic) : NULL;
  if (ret_topic)
    *ret_topic = topic;
  return topic ? metadata_topic_partition(topic, part->number) : NULL;
}

void cluster_uuid(Cluster *cluster, char ret_uuid[METADATA_ID_BYTES]) {
  guint8 bytes[16] = {0};
  guint64 number = ++cluster->next_uuid;
  memcpy(bytes, &number, sizeof number);
  metadata_uuid(bytes, ret_uuid);
}

/* A client's request, on its way through any broker to the leader that this one knows. */
typedef struct {
  Part *part;
  gint32 leader_id, leader_epoch;
  SimRequest request;
} Forward;

static void leader_takes(Broker *broker, gpointer data) {
  const Forward *forward = data;
  Log *log = log_find(broker, forward->part->log_id);
  if (log && !log->dropping)
    log_produce(log, forward->leader_epoch, &forward->request);
}

static void forward_arrives(gpointer data) {
  Forward *forward = data;
  broker_post(forward->part->cluster->brokers[forward->leader_id], leader_takes, g_memdup2(forward, sizeof *forward),
              g_free);
}

static void part_take(gpointer host, gconstpointer message) {
  Part *part = host;
  Cluster *cluster = part->cluster;
  part->clients.faults = cluster->world->faults;
  const Broker *front = cluster->brokers[1 + sim_below(cluster->sim, cluster->shape.brokers)];
  const MetadataPartition *metadata = broker_runs(front) ? part_in(part, front->image, NULL) : NULL;
  if (!metadata || metadata->leader_id < 0)
    return; /* the client tries again */
  Forward *forward = g_new(Forward, 1);
  *forward = (Forward){part, metadata->leader_id, metadata->leader_epoch, *(const SimRequest *)message};
  cluster_send(cluster, broker_endpoint(front->id), broker_endpoint(metadata->leader_id), forward_arrives, forward,
               g_free);
}

static Part *part_new(Cluster *cluster, guint topic, gint32 number) {
  Part *part = g_new0(Part, 1);
  part->cluster = cluster;
  g_snprintf(part->topic, sizeof part->topic, "topic-%u", topic);
  part->number = number;
  part->committed = g_array_new(FALSE, FALSE, sizeof(Record));
  part->written = g_hash_table_new(NULL, NULL);
  part->leaders = g_hash_table_new(NULL, NULL);
  part->clients = (SimWorld){.sim = cluster->sim, .take = part_take, .host = part, .replicated = TRUE};
  part->clients.faults = cluster->world->faults;
  part->clients.clients = g_ptr_array_new_with_free_func(sim_client_free);
  guint count = 1 + sim_below(cluster->sim, 2);
  for (guint i = 0; i < count; i++)
    g_ptr_array_add(part->clients.clients, sim_client_new(&part->clients, i, 20 + sim_below(cluster->sim, 100)));
  return part;
}

static void part_free(gpointer data) {
  Part *part = data;
  g_array_unref(part->committed);
  g_hash_table_unref(part->written);
  g_hash_table_unref(part->leaders);
  g_ptr_array_unref(part->clients.clients);
  g_free(part);
}

/* ---- What may be lost ---- */

static gboolean has(const gint32 *ids, guint count, gint32 id) {
  for (guint i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

static gboolean another_counts(const Cluster *cluster, const MetadataPartition *metadata, const Broker *broker,
                               gboolean weak) {
  guint whole = 0;
  for (guint i = 0; i < metadata->isr_count + metadata->eligible_count; i++) {
    gint32 id = i < metadata->isr_count ? metadata->isr[i] : metadata->eligible[i - metadata->isr_count];
    const MetadataBroker *registered = metadata_image_broker(cluster->image, id);
    if (id == broker->id || id == cluster->dead || !registered ||
        strcmp(registered->incarnation, cluster->brokers[id]->incarnation) != 0)
      continue;
    if (!weak)
      return TRUE;
    /* Where not everything is synced, another process after an end that was not in order counts no more. */
    if (!cluster->brokers[id]->up || strcmp(registered->process_id, cluster->brokers[id]->process_id) != 0)
      return FALSE;
    whole++;
  }
  return whole > 0;
}

static gboolean survives(const Cluster *cluster, const Part *part, const MetadataImage *image, const Broker *broker) {
  const MetadataTopic *topic;
  const MetadataPartition *metadata = part_in(part, image, &topic);
  if (!metadata || !has(metadata->replicas, metadata->replica_count, broker->id))
    return TRUE;
  return metadata->target_count == 0 && topic->config->min_insync_replicas >= 2 &&
         another_counts(cluster, metadata, broker, part->weak);
}

static gboolean part_survives(const Cluster *cluster, const Part *part, const Broker *broker) {
  gboolean survived = survives(cluster, part, cluster->image, broker);
  for (guint id = 1; id <= NODES_MAX; id++)
    if (cluster->world->nodes[id]->up)
      survived = survived && survives(cluster, part, machine_tip(cluster->world->nodes[id]->machine), broker);
  return survived;
}

/* Some controller has a change that is not committed: it may still come into force, now or much later. */
static gboolean is_hidden(const Cluster *cluster) {
  for (guint id = 1; id <= NODES_MAX; id++) {
    const Node *node = cluster->world->nodes[id];
    if (node->store && store_last_index(node->store) > rules_committed(cluster->world->rules))
      return TRUE;
  }
  return FALSE;
}

gboolean cluster_may_lose(const Cluster *cluster, const Broker *broker, gboolean weak_only) {
  if (cluster->wounded || is_hidden(cluster))
    return FALSE;
  for (guint i = 0; i < cluster->parts->len; i++) {
    Part *part = cluster->parts->pdata[i];
    if ((weak_only && !part->weak) || part_survives(cluster, part, broker))
      continue;
    if (!cluster->shape.careless)
      return FALSE;
    part->gave_up = part->clients.gave_up = TRUE;
  }
  return TRUE;
}

/* ---- Making ---- */

static void draw_shape(Sim *sim, ClusterShape *shape) {
  static const guint BROKERS[] = {3, 3, 3, 3, 3, 3, 4, 4, 5, 2};
  *shape = (ClusterShape){.brokers = BROKERS[sim_below(sim, G_N_ELEMENTS(BROKERS))],
                          .topics = 1 + sim_below(sim, 2),
                          .partitions = 1 + sim_below(sim, 2),
                          .faults_us = sim_between(sim, 2000000, 12000000),
                          .heartbeat_us = sim_between(sim, 100000, 300000),
                          .lag_max_us = sim_between(sim, 300000, 3000000),
                          .grace_us = sim_between(sim, 6000000, 12000000),
                          .write_max_us = sim_between(sim, 10, 5000),
                          .sync_max_us = sim_between(sim, 100, sim_chance(sim, 300) ? 200000 : 20000),
                          .chaos_us = sim_between(sim, 100000, 2000000),
                          .operator_us = sim_between(sim, 100000, 2000000),
                          .balance_us = sim_between(sim, 300000, 3000000),
                          .presence = sim_chance(sim, 500),
                          .careless = sim_chance(sim, 150)};
  shape->session_us = shape->heartbeat_us * sim_between(sim, 3, 8);
}

/* Controllers as in tests/sim/raft, but less troubled: that they are right is shown there. */
static void calm_controllers(World *world) {
  Sim *sim = world->sim;
  Shape *shape = &world->shape;
  shape->voters = MIN(shape->voters, 5);
  shape->faults_us = 0;
  shape->writes_max = MAX(shape->writes_max, 2);
  shape->sync_max_us = MIN(shape->sync_max_us, 20000);
  shape->append_bytes_max = MAX(shape->append_bytes_max, 2000);
  shape->inflight_max = MAX(shape->inflight_max, 3);
  shape->uncommitted_max = 0;
  shape->inflight_bytes_max = 0;
  shape->chunk_bytes_max = 2000;
  shape->snapshot_entries = 10 + sim_below(sim, 200);
  shape->chaos_us = sim_chance(sim, 300) ? 0 : sim_between(sim, 500000, 6000000);
  shape->operator_us = sim_chance(sim, 500) ? 100000000 : sim_between(sim, 500000, 4000000);
}

static Cluster *cluster_new(guint64 seed, FILE *trace, ClusterSimResult *result) {
  *result = (ClusterSimResult){0};
  Cluster *cluster = g_new0(Cluster, 1);
  cluster->trace = trace;
  cluster->result = result;
  cluster->world = world_new(seed, NULL, NULL, &cluster->raft_result);
  World *world = cluster->world;
  calm_controllers(world);
  cluster->sim = world->sim;
  draw_shape(cluster->sim, &cluster->shape);
  world->trace = trace;
  world->terse = TRUE;
  world->endpoints = NODES_MAX + cluster->shape.brokers;
  world->applied = rules_metadata;
  world->applied_data = cluster;
  cluster->parts = g_ptr_array_new_with_free_func(part_free);
  cluster->scrap = g_ptr_array_new_with_free_func((GDestroyNotify)sim_disk_free);
  for (guint topic = 0; topic < cluster->shape.topics; topic++)
    for (guint number = 0; number < (topic == 0 ? cluster->shape.partitions : 1); number++)
      g_ptr_array_add(cluster->parts, part_new(cluster, topic, (gint32)number));
  for (gint32 id = 1; id <= (gint32)cluster->shape.brokers; id++)
    cluster->brokers[id] = broker_new(cluster, id);
  return cluster;
}

static void cluster_free(Cluster *cluster) {
  for (guint id = 1; id <= BROKERS_MAX; id++)
    g_clear_pointer(&cluster->brokers[id], broker_free);
  sim_drop(cluster->sim); /* what is on its way holds parts of us */
  offices_free(cluster);
  g_ptr_array_unref(cluster->parts);
  g_ptr_array_unref(cluster->scrap);
  g_clear_pointer(&cluster->image, metadata_image_unref);
  world_free(cluster->world);
  g_free(cluster);
}

/* ---- The run ---- */

static void be_born(Cluster *cluster) {
  world_start(cluster->world);
  for (guint id = 1; id <= cluster->shape.brokers; id++)
    broker_start(cluster->brokers[id]);
  office_start(cluster);
  cluster_operator_start(cluster);
  while (!cluster->ready && !sim_violation(cluster->sim) && sim_now_us(cluster->sim) < BIRTH_MAX_US)
    sim_run_until(cluster->sim, sim_now_us(cluster->sim) + STEP_US);
  if (!cluster->ready)
    sim_violated(cluster->sim, "the cluster does not come up, and nothing is wrong");
}

static void suffer(Cluster *cluster) {
  cluster_tell(cluster, "the faults begin");
  for (guint i = 0; i < cluster->parts->len; i++) {
    const SimWorld *clients = &((Part *)cluster->parts->pdata[i])->clients;
    for (guint k = 0; k < clients->clients->len; k++)
      sim_client_start(clients->clients->pdata[k]);
  }
  chaos_start(cluster->world);
  operator_start(cluster->world);
  cluster_chaos_start(cluster);
  sim_run_until(cluster->sim, sim_now_us(cluster->sim) + cluster->shape.faults_us);
}

static void settle(Cluster *cluster) {
  world_heal(cluster->world);
  cluster_chaos_end(cluster);
  gint64 end_us = sim_now_us(cluster->sim) + HEAL_MAX_US;
  g_autofree char *why = NULL;
  while (!sim_violation(cluster->sim) && (why = cluster_unsettled(cluster))) {
    if (sim_now_us(cluster->sim) > end_us)
      sim_violated(cluster->sim, "the faults have ended, and %s", why);
    g_clear_pointer(&why, g_free);
    sim_run_until(cluster->sim, sim_now_us(cluster->sim) + STEP_US);
  }
}

/* What clients wrote is in the log as they were told. */
static void check_clients(Part *part) {
  const MetadataPartition *metadata = part_in(part, part->cluster->image, NULL);
  const Log *log = log_find(part->cluster->brokers[metadata->leader_id], part->log_id);
  for (guint i = 0; i < log->records->len; i++) {
    guint64 value = g_array_index(log->records, Record, i).value;
    sim_client_check_record(g_ptr_array_index(part->clients.clients, (value >> 40) - 1), i,
                            value & ((G_GUINT64_CONSTANT(1) << 40) - 1));
  }
  for (guint i = 0; i < part->clients.clients->len; i++)
    sim_client_check_end(g_ptr_array_index(part->clients.clients, i));
}

void cluster_sim_run(guint64 seed, FILE *trace, ClusterSimResult *ret_result) {
  Cluster *cluster = cluster_new(seed, trace, ret_result);
  for (guint i = 0; i < cluster->parts->len; i++)
    ((Part *)cluster->parts->pdata[i])->clients.result = &cluster->client_result;
  be_born(cluster);
  if (!sim_violation(cluster->sim))
    suffer(cluster);
  if (!sim_violation(cluster->sim))
    settle(cluster);
  for (guint i = 0; i < cluster->parts->len && !sim_violation(cluster->sim); i++)
    check_clients(cluster->parts->pdata[i]);
  if (trace)
    cluster_describe(cluster, trace);
  ret_result->violation = g_strdup(sim_violation(cluster->sim));
  ret_result->fingerprint = cluster->raft_result.fingerprint;
  cluster_free(cluster);
}

void cluster_sim_add(ClusterSimResult *sum, const ClusterSimResult *result) {
  sum->committed += result->committed;
  sum->acknowledged += result->acknowledged;
  sum->elections += result->elections;
  sum->unclean += result->unclean;
  sum->in_sync_changes += result->in_sync_changes;
  sum->moves += result->moves;
  sum->cuts += result->cuts;
  sum->kills += result->kills;
  sum->power_cuts += result->power_cuts;
  sum->lost_disks += result->lost_disks;
  sum->damaged += result->damaged;
  sum->freezes += result->freezes;
  sum->clean_stops += result->clean_stops;
  sum->fenced += result->fenced;
}
