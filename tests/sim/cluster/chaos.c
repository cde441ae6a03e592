/* What goes wrong with brokers: one act after the other, by chance, until the faults end. Controllers and the network
 * have tests/sim/raft/chaos.c at the same time.
 *
 * Invariants: what a partition's promise stands is not exceeded (cluster_may_lose), unless the run is careless: then
 * the partition's records are given up, and that is known. Whatever is broken by an act is mended by a later event, or
 * by cluster_chaos_end. */
#include "controller/metadata/view.h"
#include "tests/sim/cluster/broker.h"
#include "tests/sim/cluster/disk.h"

#define BACK_MAX_US 3000000
#define SLOW_MAX_US 200000

/* Something of a broker that ends by itself, if it is still in the life in which it began. */
typedef struct {
  Broker *broker;
  guint life;
} Visit;

static void later(Broker *broker, gint64 max_us, SimFunc func) {
  Sim *sim = broker->cluster->sim;
  Visit *visit = g_new(Visit, 1);
  *visit = (Visit){broker, broker->life};
  sim_after(sim, sim_chance(sim, 200) ? 0 : sim_between(sim, 0, max_us), func, visit, g_free);
}

static void comes_back(gpointer data) {
  const Visit *visit = data;
  if (!visit->broker->up && visit->broker->life == visit->life && visit->broker->id != visit->broker->cluster->dead)
    broker_start(visit->broker);
}

/* ---- Processes ---- */

static gboolean has_weak(const Cluster *cluster) {
  gboolean weak = FALSE;
  for (guint i = 0; i < cluster->parts->len; i++)
    weak = weak || ((const Part *)cluster->parts->pdata[i])->weak;
  return weak;
}

static void kill_broker(Broker *broker) {
  /* Where not everything is synced, who was killed is taken for one that lost its power. */
  if (!broker->up || (broker->cluster->wounded && has_weak(broker->cluster)))
    return;
  broker->cluster->result->kills++;
  broker_kill(broker, SIM_KILLED);
  later(broker, BACK_MAX_US, comes_back);
}

static void cut_power(Broker *broker) {
  Cluster *cluster = broker->cluster;
  if (!broker->up || !cluster_may_lose(cluster, broker, TRUE))
    return;
  cluster->result->power_cuts++;
  broker_kill(broker, SIM_POWER_CUT);
  if (has_weak(cluster))
    cluster->wounded = broker->id;
  later(broker, BACK_MAX_US, comes_back);
}

static void end_all(Cluster *cluster) {
  gboolean power = !has_weak(cluster);
  if (!power && cluster->wounded)
    return;
  cluster_tell(cluster, power ? "the power fails everywhere" : "all brokers are killed");
  for (guint id = 1; id <= cluster->shape.brokers; id++) {
    Broker *broker = cluster->brokers[id];
    if (!broker->up)
      continue;
    broker_kill(broker, power ? SIM_POWER_CUT : SIM_KILLED);
    later(broker, BACK_MAX_US, comes_back);
  }
}

static void stops(gpointer data) {
  const Visit *visit = data;
  Broker *broker = visit->broker;
  if (broker->up && broker->life == visit->life && broker->frozen)
    broker_thaw(broker);
  if (broker->up && broker->life == visit->life)
    broker_ends_in_order(broker); /* nobody let it go in time */
  later(visit->broker, BACK_MAX_US, comes_back);
}

static void stop_in_order(Broker *broker) {
  if (!broker_runs(broker) || broker->leaving)
    return;
  broker_tell(broker, "is asked to stop");
  broker->leaving = TRUE;
  Visit *visit = g_new(Visit, 1);
  *visit = (Visit){broker, broker->life};
  sim_after(broker->cluster->sim, 3000000, stops, visit, g_free);
}

/* ---- Disks ---- */

static void lose_disk(Broker *broker) {
  Cluster *cluster = broker->cluster;
  if (!cluster_may_lose(cluster, broker, FALSE))
    return;
  cluster->result->lost_disks++;
  broker_tell(broker, "loses its disk");
  if (broker->up)
    broker_kill(broker, SIM_POWER_CUT);
  broker_new_disk(broker);
  cluster->wounded = broker->id;
  later(broker, BACK_MAX_US, comes_back);
}

/* A batch on the disk does not read when the process starts again. */
static void damage(Broker *broker) {
  Cluster *cluster = broker->cluster;
  if (!broker->up || !cluster_may_lose(cluster, broker, FALSE))
    return;
  broker_kill(broker, SIM_KILLED);
  const GPtrArray *records = sim_disk_records(broker->disk);
  guint from = records->len > 0 ? sim_below(cluster->sim, records->len) : 0;
  while (from < records->len && ((const DiskRecord *)records->pdata[from])->kind != DISK_APPEND)
    from++;
  if (from < records->len) {
    DiskRecord *record = records->pdata[from];
    record->rotten = TRUE;
    broker_tell(broker, "finds log %d damaged", (int)record->log_id);
    cluster->result->damaged++;
    cluster->wounded = broker->id;
    logs_recover(broker);
  }
  later(broker, BACK_MAX_US, comes_back);
}

/* ---- Slowness ---- */

static void thaws(gpointer data) {
  const Visit *visit = data;
  if (visit->broker->frozen && visit->broker->life == visit->life)
    broker_thaw(visit->broker);
}

static void freeze(Broker *broker) {
  if (!broker_runs(broker))
    return;
  broker->cluster->result->freezes++;
  broker_freeze(broker);
  later(broker, 4000000, thaws);
}

static void gets_faster(gpointer data) {
  ((const Visit *)data)->broker->slow_us = 0;
}

static void slow_down(Broker *broker) {
  broker->slow_us = sim_between(broker->cluster->sim, 1000, SLOW_MAX_US);
  later(broker, 4000000, gets_faster);
}

/* One broker hears or is heard by nobody of the controllers, or of the brokers, or of some, for a while. */
static void cut_off(Broker *broker) {
  World *world = broker->cluster->world;
  Sim *sim = broker->cluster->sim;
  guint self = broker_endpoint(broker->id), what = sim_below(sim, 4);
  broker_tell(broker, "is cut off from %s", what == 0 ? "the controllers" : what == 1 ? "the brokers" : "some");
  for (guint other = 1; other <= world->endpoints; other++) {
    gboolean controller = other <= NODES_MAX;
    gboolean apart = what == 0 ? controller : what == 1 ? !controller : sim_chance(sim, 500);
    if (other == self || !apart)
      continue;
    world->cut[self][other] = what != 3 || sim_chance(sim, 500);
    world->cut[other][self] = what != 3 || sim_chance(sim, 500);
  }
}

static void is_joined(gpointer data) {
  const Visit *visit = data;
  World *world = visit->broker->cluster->world;
  guint self = broker_endpoint(visit->broker->id);
  for (guint other = 1; other <= world->endpoints; other++)
    world->cut[self][other] = world->cut[other][self] = FALSE;
}

/* ---- Acts ---- */

/* Often one that leads. */
static Broker *any_broker(Cluster *cluster) {
  const Part *part = cluster->parts->pdata[sim_below(cluster->sim, cluster->parts->len)];
  const MetadataPartition *metadata = part_in(part, cluster->image, NULL);
  if (metadata && metadata->leader_id > 0 && sim_chance(cluster->sim, 400))
    return cluster->brokers[metadata->leader_id];
  return cluster->brokers[1 + sim_below(cluster->sim, cluster->shape.brokers)];
}

static void act(gpointer data) {
  Cluster *cluster = data;
  Sim *sim = cluster->sim;
  if (cluster->healing)
    return;
  Broker *broker = any_broker(cluster);
  guint what = sim_below(sim, 100);
  if (what < 22) {
    kill_broker(broker);
  } else if (what < 36) {
    cut_power(broker);
  } else if (what < 39) {
    end_all(cluster);
  } else if (what < 48) {
    lose_disk(broker);
  } else if (what < 54) {
    damage(broker);
  } else if (what < 64) {
    stop_in_order(broker);
  } else if (what < 78) {
    freeze(broker);
  } else if (what < 84) {
    slow_down(broker);
  } else {
    cut_off(broker);
    later(broker, 4000000, is_joined);
  }
  sim_after(sim, sim_between(sim, 0, cluster->shape.chaos_us), act, cluster, NULL);
}

void cluster_chaos_start(Cluster *cluster) {
  sim_after(cluster->sim, sim_between(cluster->sim, 0, cluster->shape.chaos_us), act, cluster, NULL);
}

/* Sometimes one broker is gone for ever, and the others are enough. */
static void choose_dead(Cluster *cluster) {
  Broker *broker = any_broker(cluster);
  if (!sim_chance(cluster->sim, 300) || cluster->shape.careless || !cluster_may_lose(cluster, broker, FALSE))
    return;
  for (guint i = 0; i < cluster->parts->len; i++) {
    const MetadataTopic *topic;
    const MetadataPartition *metadata = part_in(cluster->parts->pdata[i], cluster->image, &topic);
    if (metadata->target_count > 0 || (metadata_partition_has_replica(metadata, broker->id) &&
                                       metadata->replica_count - 1 < topic->config->min_insync_replicas))
      return;
  }
  cluster->dead = broker->id;
  cluster->wounded = broker->id;
  broker_tell(broker, "never comes back");
  if (broker->up)
    broker_kill(broker, SIM_POWER_CUT);
}

void cluster_chaos_end(Cluster *cluster) {
  cluster_tell(cluster, "the brokers' faults end");
  cluster->healing = TRUE;
  choose_dead(cluster);
  for (guint i = 0; i < cluster->parts->len; i++) {
    Part *part = cluster->parts->pdata[i];
    part->clients.healing = TRUE;
    part->clients.faults = cluster->world->faults;
  }
  for (guint id = 1; id <= cluster->shape.brokers && !sim_violation(cluster->sim); id++) {
    Broker *broker = cluster->brokers[id];
    broker->slow_us = 0;
    if (broker->frozen)
      broker_thaw(broker);
    if (!broker->up && broker->id != cluster->dead)
      broker_start(broker);
  }
}
