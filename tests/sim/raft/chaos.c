/* What goes wrong: one act after the other, by chance, until the faults end.
 *
 * Invariants: a disk is lost only where every configuration that may be in force keeps a majority of whole ones: what
 * is lost beyond that no protocol brings back. Whatever is broken by an act is mended by a later event, or by
 * chaos_end. */
#include "tests/sim/raft/rules.h"

#define LATE_MAX_US 1500000
#define SLOW_MAX_US 200000

/* Something of a node that ends by itself, if the node is still in the life in which it began. */
typedef struct {
  Node *node;
  guint life;
} Visit;

static void later(Node *node, gint64 max_us, SimFunc func) {
  Visit *visit = g_new(Visit, 1);
  *visit = (Visit){node, node->life};
  Sim *sim = node->world->sim;
  sim_after(sim, sim_chance(sim, 200) ? 0 : sim_between(sim, 0, max_us), func, visit, g_free);
}

/* ---- Processes and disks ---- */

static void comes_back(gpointer data) {
  const Visit *visit = data;
  if (!visit->node->up && visit->node->life == visit->life)
    node_start(visit->node);
}

static void crash(Node *node, SimCrash how) {
  if (!node->up)
    return;
  node->world->result->crashes++;
  node_stop(node, how);
  later(node, 3000000, comes_back);
}

static SimCrash any_crash(Sim *sim) {
  return sim_chance(sim, 500) ? SIM_KILLED : SIM_POWER_CUT;
}

static void crash_all(World *world) {
  world_tell(world, 0, "the power fails everywhere");
  for (guint id = 1; id <= NODES_MAX; id++)
    if (world->nodes[id]->up)
      crash(world->nodes[id], SIM_POWER_CUT);
}

static void crashes(gpointer data) {
  const Visit *visit = data;
  if (visit->node->up && visit->node->life == visit->life && !visit->node->world->healing)
    crash(visit->node, any_crash(visit->node->world->sim));
}

void chaos_write_begins(Node *node) {
  const World *world = node->world;
  if (!world->healing && sim_chance(world->sim, world->shape.crash_at_write_per_mille))
    later(node, world->shape.write_max_us + world->shape.sync_max_us, crashes);
}

/* A write or a sync is refused: what it was to write may be there or not, and the process ends. */
static void fail_disk(Node *node) {
  if (!node->up)
    return;
  node->world->result->failed_disks++;
  world_tell(node->world, node->id, "gets an error of its disk");
  crash(node, SIM_POWER_CUT);
}

static void lose_disk(Node *node) {
  World *world = node->world;
  if (!node->store || !operator_may_lose(world, node))
    return;
  world->result->lost_disks++;
  world_tell(world, node->id, "loses its disk");
  if (node->up)
    node_stop(node, SIM_POWER_CUT);
  node_new_disk(node, NULL);
  later(node, 3000000, comes_back);
}

static void thaws(gpointer data) {
  const Visit *visit = data;
  if (visit->node->frozen && visit->node->life == visit->life)
    node_thaw(visit->node);
}

static void freeze(Node *node) {
  if (!node_runs(node))
    return;
  node->world->result->freezes++;
  node_freeze(node);
  later(node, 4000000, thaws);
}

static void gets_faster(gpointer data) {
  const Visit *visit = data;
  visit->node->slow_us = 0;
}

static void slow_down(Node *node) {
  Sim *sim = node->world->sim;
  node->slow_us = sim_between(sim, 1000, SLOW_MAX_US);
  later(node, 4000000, gets_faster);
}

/* ---- The network ---- */

static void join_all(World *world) {
  for (guint from = 0; from <= ENDPOINTS_MAX; from++)
    for (guint to = 0; to <= ENDPOINTS_MAX; to++)
      world->cut[from][to] = FALSE;
  for (guint id = 1; id <= NODES_MAX; id++)
    world->nodes[id]->tick_us = world->nodes[id]->own_tick_us;
}

static void joins(gpointer data) {
  World *world = data;
  join_all(world);
  world_tell(world, 0, "the network is whole");
}

typedef enum { SPLIT, SPLIT_ONE_WAY, SPLIT_WITH_BRIDGE, RANDOM_LINKS, SPLITS } Split;

static void partition(World *world) {
  static const char *const NAMES[] = {"in two", "in two, one way", "in two with a bridge", "at random links"};
  Sim *sim = world->sim;
  Split split = sim_below(sim, SPLITS);
  guint64 sides = sim_random(sim);
  guint bridge = 1 + sim_below(sim, NODES_MAX);
  /* Often the active controller is alone. */
  Node *active = world_active(world);
  gboolean alone = active && sim_chance(sim, 500);
  join_all(world);
  if (alone)
    sides = (guint64)1 << active->id;
  if (alone && sim_chance(sim, 600)) { /* and so slow that it goes on leading when another one does already */
    active->tick_us *= 5;
    split = SPLIT;
  }
  for (guint from = 1; from <= world->endpoints; from++) {
    for (guint to = 1; to <= world->endpoints; to++) {
      gboolean apart = (sides >> from & 1) != (sides >> to & 1);
      if (split == RANDOM_LINKS)
        apart = sim_chance(sim, 300);
      else if (split == SPLIT_ONE_WAY)
        apart = apart && (sides >> from & 1);
      else if (split == SPLIT_WITH_BRIDGE)
        apart = apart && from != bridge && to != bridge;
      world->cut[from][to] = apart;
    }
  }
  world->result->partitions++;
  world_tell(world, 0, "the network is cut %s", NAMES[split]);
  sim_after(sim, sim_between(sim, 100000, 5000000), joins, world, NULL);
}

/* Some times are quiet, some bad: each fault must meet the others. */
static void change_weather(World *world) {
  Sim *sim = world->sim;
  world->faults = (SimNetFaults){.drop_per_mille = sim_chance(sim, 400) ? 0 : sim_below(sim, 250),
                                 .double_per_mille = sim_chance(sim, 400) ? 0 : sim_below(sim, 200),
                                 .delay_min_us = 50,
                                 .delay_max_us = sim_between(sim, 50, 40000),
                                 .late_per_mille = sim_chance(sim, 400) ? 0 : sim_below(sim, 100),
                                 .late_max_us = sim_between(sim, 10000, LATE_MAX_US)};
}

/* ---- Acts ---- */

static Node *any_node(World *world) {
  Node *active = world_active(world);
  return active && sim_chance(world->sim, 250) ? active : world->nodes[1 + sim_below(world->sim, NODES_MAX)];
}

static void act(gpointer data) {
  World *world = data;
  Sim *sim = world->sim;
  if (world->healing)
    return;
  guint what = sim_below(sim, 100);
  if (what < 35)
    crash(any_node(world), any_crash(sim));
  else if (what < 38)
    crash_all(world);
  else if (what < 43)
    fail_disk(any_node(world));
  else if (what < 50)
    lose_disk(any_node(world));
  else if (what < 63)
    freeze(any_node(world));
  else if (what < 70)
    slow_down(any_node(world));
  else if (what < 92)
    partition(world);
  else
    change_weather(world);
  sim_after(sim, sim_between(sim, 0, world->shape.chaos_us), act, world, NULL);
}

void chaos_start(World *world) {
  change_weather(world);
  if (world->shape.chaos_us > 0)
    sim_after(world->sim, sim_between(world->sim, 0, world->shape.chaos_us), act, world, NULL);
}

/* Sometimes somebody is gone for ever: the others are enough. */
static void choose_dead(World *world) {
  Node *node = any_node(world);
  if (!sim_chance(world->sim, 300) || !node->store || !operator_may_lose(world, node))
    return;
  world->dead = node->id;
  world_tell(world, node->id, "never comes back");
  if (node->up)
    node_stop(node, SIM_POWER_CUT);
}

void chaos_end(World *world) {
  world_tell(world, 0, "the faults end");
  world->healing = TRUE;
  world->quiet_us = sim_now_us(world->sim) + LATE_MAX_US + 2 * SLOW_MAX_US;
  world->faults = (SimNetFaults){.delay_min_us = 50, .delay_max_us = 1000};
  join_all(world);
  choose_dead(world);
  for (guint id = 1; id <= NODES_MAX && !sim_violation(world->sim); id++) {
    Node *node = world->nodes[id];
    node->slow_us = 0;
    if (node->frozen)
      node_thaw(node);
    if (node->store && !node->up && id != world->dead)
      node_start(node);
  }
}
