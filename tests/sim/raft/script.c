/* See script.h. No state but the world's. */
#include "tests/sim/raft/script.h"

#include "controller/metadata/records.h"
#include "services/base/invariant.h"

/* Longer than any message and any disk takes. */
#define SETTLED_US 1000000

World *script_new(guint voters, RaftSimResult *result) {
  Shape shape = {.voters = voters,
                 .tick_us = 1000,
                 .election_ticks = SCRIPT_ELECTION_TICKS,
                 .heartbeat_ticks = 2,
                 .write_max_us = 100,
                 .sync_max_us = 100,
                 .writes_max = 8,
                 .append_bytes_max = 1,
                 .inflight_max = 16,
                 .chunk_bytes_max = 64,
                 .chunks_max = 2,
                 .snapshot_entries = 1000000};
  World *world = world_new(1, &shape, NULL, result);
  world->manual = TRUE;
  for (guint id = 1; id <= voters; id++)
    node_start(world->nodes[id]);
  return world;
}

char *script_end(World *world) {
  script_settle(world);
  char *violation = g_strdup(sim_violation(world->sim));
  world_free(world);
  return violation;
}

void script_settle(World *world) {
  sim_run_until(world->sim, sim_now_us(world->sim) + SETTLED_US);
}

void script_step(World *world) {
  sim_run_until(world->sim, sim_now_us(world->sim) + 1);
}

void script_tick(World *world, guint64 id, guint ticks) {
  Node *node = world->nodes[id];
  for (guint i = 0; i < ticks && node_runs(node) && !sim_violation(world->sim); i++) {
    node_tick(node);
    script_settle(world);
  }
}

void script_tick_all(World *world, guint ticks) {
  for (guint i = 0; i < ticks; i++)
    for (guint64 id = 1; id <= NODES_MAX; id++)
      script_tick(world, id, 1);
}

void script_elect(World *world, guint64 id) {
  for (guint i = 0; i < 4 * SCRIPT_ELECTION_TICKS && script_state(world, id).role != RAFT_LEADER; i++)
    script_tick(world, id, 1);
}

void script_cut(World *world, guint64 from, guint64 to, gboolean cut) {
  world->cut[from][to] = cut;
}

void script_isolate(World *world, guint64 id, gboolean cut) {
  for (guint other = 1; other <= NODES_MAX; other++)
    world->cut[id][other] = world->cut[other][id] = cut;
}

void script_crash(World *world, guint64 id, SimCrash crash) {
  node_stop(world->nodes[id], crash);
}

void script_start(World *world, guint64 id) {
  node_start(world->nodes[id]);
}

guint64 script_propose(World *world, guint64 id) {
  Node *node = world->nodes[id];
  g_autoptr(GBytes) data = metadata_transaction_encode(NULL, 0);
  guint64 index = 0;
  failure_free(raft_core_propose(node->core, data, &index));
  node_work(node);
  return index;
}

gboolean script_change(World *world, guint64 leader, RaftChangeKind kind, guint64 id) {
  Node *node = world->nodes[leader], *subject = world->nodes[id];
  if (!subject->store)
    node_new_disk(subject, NULL);
  if (!subject->up)
    node_start(subject);
  RaftChange change = {.kind = kind, .member = {.id = id, .directory = subject->directory}};
  guint64 index;
  Failure *failure = raft_core_propose_change(node->core, &change, &index);
  gboolean done = failure == NULL;
  failure_free(failure);
  node_work(node);
  return done;
}

void script_release(World *world, gboolean last_first) {
  world->holds = NULL;
  while (world->held->len > 0 && !sim_violation(world->sim)) {
    net_send(world, g_ptr_array_steal_index(world->held, last_first ? world->held->len - 1 : 0));
    script_settle(world);
  }
}

RaftState script_state(const World *world, guint64 id) {
  const Node *node = world->nodes[id];
  return node->up ? raft_core_state(node->core) : (RaftState){.id = id};
}
