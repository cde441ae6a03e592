/* One run: a cluster is born, faults and operators do their worst, then the faults end, and all must settle and stay
 * so.
 *
 * Invariants: everything is decided by the seed; nothing depends on addresses, on the real clock or on an earlier run.
 * Failure modes: a broken rule ends the run. */
#include <stdarg.h>

#include "tests/sim/raft/machine.h"
#include "tests/sim/raft/rules.h"
#include "tests/sim/raft/store.h"

/* After the faults, in virtual time. */
#define HEAL_MAX_US 60000000
#define STEADY_TIMEOUTS 6

/* ---- Telling ---- */

void world_note(World *world, guint64 number) {
  guint64 mixed = world->result->fingerprint ^ number ^ (guint64)sim_now_us(world->sim) << 17;
  mixed = (mixed ^ (mixed >> 29)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  world->result->fingerprint = mixed ^ (mixed >> 32);
}

void world_tell(World *world, guint64 node, const char *format, ...) {
  world_note(world, node);
  if (!world->trace)
    return;
  va_list args;
  va_start(args, format);
  fprintf(world->trace, "%10.6f s  ", (double)sim_now_us(world->sim) / G_USEC_PER_SEC);
  if (node)
    fprintf(world->trace, "%d ", (int)node);
  vfprintf(world->trace, format, args);
  fputc('\n', world->trace);
  va_end(args);
}

void world_trace_message(World *world, const RaftMessage *message) {
  fprintf(world->trace, "%10.6f s  %d <- %d %s term %d", (double)sim_now_us(world->sim) / G_USEC_PER_SEC,
          (int)message->to, (int)message->from, raft_message_kind_name(message->kind), (int)message->term);
  if (message->index || message->log_term)
    fprintf(world->trace, " at %d of term %d", (int)message->index, (int)message->log_term);
  if (message->entries)
    fprintf(world->trace, ", %u entries", message->entries->len);
  if (message->commit)
    fprintf(world->trace, ", commit %d", (int)message->commit);
  if (message->chunk)
    fprintf(world->trace, ", bytes %d to %d of snapshot %d", (int)message->offset,
            (int)(message->offset + message->length), (int)message->snapshot->index);
  fprintf(world->trace, "%s\n", message->reject ? ", rejected" : "");
}

static void trace_node(World *world, const Node *node) {
  if (!node->up)
    return;
  RaftState state = raft_core_state(node->core);
  fprintf(world->trace,
          "%d is %s in term %d, log %d to %d, applied %d, commit %d, durable %d; snapshot %d on its disk\n",
          (int)node->id, raft_role_name(state.role), (int)state.term, (int)state.first, (int)state.last,
          (int)state.applied, (int)state.commit, (int)state.stable, (int)store_durable(node->store)->snapshot.index);
  for (guint i = 0; i < state.peer_count; i++) {
    const RaftPeerState *peer = &state.peers[i];
    fprintf(world->trace, "  %d: %s%s, match %d, next %d, %u in flight, heard %u ticks ago, snapshot %d: %d of %d\n",
            (int)peer->id, raft_peer_mode_name(peer->mode), peer->learner ? ", learner" : "", (int)peer->match,
            (int)peer->next, peer->in_flight, peer->heard_ticks, (int)peer->snapshot_index, (int)peer->snapshot_offset,
            (int)peer->snapshot_size);
  }
}

/* ---- Making ---- */

static void draw_shape(Sim *sim, Shape *shape) {
  static const guint VOTERS[] = {3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 4, 4, 1, 2, 2, 6, 7};
  *shape = (Shape){.voters = VOTERS[sim_below(sim, G_N_ELEMENTS(VOTERS))],
                   .clients = 1 + sim_below(sim, 4),
                   .faults_us = sim_between(sim, 2000000, 16000000),
                   .tick_us = sim_between(sim, 20000, 60000),
                   .clock_per_mille = sim_chance(sim, 500) ? 0 : sim_below(sim, 600),
                   .election_ticks = 5 + sim_below(sim, 6),
                   .write_max_us = sim_between(sim, 10, 10000),
                   .sync_max_us = sim_between(sim, 100, 60000),
                   .writes_max = 1 + sim_below(sim, 4),
                   .append_bytes_max = sim_chance(sim, 300) ? 1 : sim_below(sim, 2000),
                   .inflight_max = 1 + sim_below(sim, 6),
                   .inflight_bytes_max = sim_chance(sim, 500) ? 0 : 1 + sim_below(sim, 4000),
                   .uncommitted_max = sim_chance(sim, 700) ? 0 : 1 + sim_below(sim, 10),
                   .reads_max = sim_chance(sim, 700) ? 0 : 1 + sim_below(sim, 3),
                   .chunk_bytes_max = 64 + sim_below(sim, 900),
                   .chunks_max = 1 + sim_below(sim, 4),
                   .snapshot_entries = 2 + sim_below(sim, sim_chance(sim, 500) ? 12 : 80),
                   .crash_at_write_per_mille = sim_chance(sim, 500) ? 0 : sim_below(sim, 25),
                   .corrupt_per_mille = sim_chance(sim, 700) ? 0 : sim_below(sim, 50),
                   .chaos_us = sim_between(sim, 100000, 3000000),
                   .operator_us = sim_chance(sim, 200) ? 100000000 : sim_between(sim, 100000, 2000000)};
  shape->heartbeat_ticks = 1 + sim_below(sim, MIN(3, shape->election_ticks / 2));
  /* The slowest leader's heartbeat comes before the fastest follower loses patience. */
  guint slack = shape->election_ticks - shape->heartbeat_ticks, both = shape->election_ticks + shape->heartbeat_ticks;
  shape->clock_per_mille = MIN(shape->clock_per_mille, 700 * slack / both);
}

/* All voters have disks; the first entry is on one of them. */
static void found_cluster(World *world) {
  RaftConfiguration configuration = {.member_count = world->shape.voters};
  for (guint id = 1; id <= world->shape.voters; id++) {
    Node *node = world->nodes[id];
    node_new_disk(node, NULL);
    RaftMember *member = &configuration.members[id - 1];
    *member = (RaftMember){.id = id, .directory = node->directory};
    g_snprintf(member->address, sizeof member->address, "c%u:7750", id);
  }
  RaftEntry *first = raft_entry_new_bootstrap(&configuration, 1);
  rules_know_entry(world, first);
  store_format(world->nodes[1]->store, first);
}

World *world_new(guint64 seed, const Shape *shape, FILE *trace, RaftSimResult *result) {
  *result = (RaftSimResult){0};
  World *world = g_new0(World, 1);
  world->sim = sim_new(seed);
  world->trace = trace;
  world->result = result;
  if (shape)
    world->shape = *shape;
  else
    draw_shape(world->sim, &world->shape);
  world->faults = (SimNetFaults){.delay_min_us = 50, .delay_max_us = 1000};
  world->endpoints = NODES_MAX;
  world->rules = rules_new(world);
  world->clients = g_ptr_array_new_with_free_func(client_free);
  for (guint i = 0; i < REGISTERS; i++)
    world->registers[i] = history_new();
  for (guint id = 1; id <= NODES_MAX; id++)
    world->nodes[id] = node_new(world, id);
  world->held = g_ptr_array_new_with_free_func((GDestroyNotify)raft_message_free);
  world->scrap = g_ptr_array_new_with_free_func(store_free);
  found_cluster(world);
  return world;
}

void world_free(World *world) {
  if (!world)
    return;
  for (guint id = 1; id <= NODES_MAX; id++)
    node_free(world->nodes[id]);
  g_ptr_array_unref(world->held);
  g_ptr_array_unref(world->scrap);
  g_ptr_array_unref(world->clients);
  for (guint i = 0; i < REGISTERS; i++)
    history_free(world->registers[i]);
  rules_free(world->rules);
  sim_free(world->sim);
  g_free(world);
}

/* ---- What is ---- */

Node *world_active(const World *world) {
  Node *active = NULL;
  for (guint id = 1; id <= NODES_MAX; id++) {
    Node *node = world->nodes[id];
    if (node->up && raft_core_is_active(node->core) &&
        (!active || raft_core_term(node->core) > raft_core_term(active->core)))
      active = node;
  }
  return active;
}

static gboolean member_is_settled(const World *world, const Node *active, const RaftMember *member) {
  const Node *node = world->nodes[member->id];
  if (node->id == world->dead)
    return TRUE;
  return node_runs(node) && !member->learner && raft_directory_equal(&node->directory, &member->directory) &&
         raft_core_applied_index(node->core) == raft_core_last_index(active->core);
}

gboolean world_has_settled(const World *world) {
  const Node *active = world_active(world);
  if (!active || sim_now_us(world->sim) < world->quiet_us ||
      raft_core_commit_index(active->core) != raft_core_last_index(active->core))
    return FALSE;
  const RaftConfiguration *configuration = raft_core_configuration(active->core);
  for (guint i = 0; i < configuration->member_count; i++)
    if (!member_is_settled(world, active, &configuration->members[i]))
      return FALSE;
  for (guint i = 0; i < world->clients->len; i++)
    if (client_answered(g_ptr_array_index(world->clients, i)) < 2)
      return FALSE;
  return raft_configuration_voter_count(configuration) >= MIN(3, world->shape.voters);
}

/* ---- The run ---- */

void world_describe_unsettled(World *world) {
  const Node *active = world_active(world);
  if (!active) {
    sim_violated(world->sim, "no controller is active, though the faults have ended");
    return;
  }
  const RaftConfiguration *configuration = raft_core_configuration(active->core);
  for (guint i = 0; i < configuration->member_count; i++)
    if (!member_is_settled(world, active, &configuration->members[i]))
      sim_violated(world->sim,
                   "controller %d has not caught up with %d, or votes not yet, though the faults have ended",
                   (int)configuration->members[i].id, (int)active->id);
  sim_violated(world->sim, "a client was not answered, or a change does not get committed, though the faults ended");
}

static void settle(World *world) {
  gint64 end_us = sim_now_us(world->sim) + HEAL_MAX_US;
  while (!sim_violation(world->sim) && !world_has_settled(world)) {
    if (sim_now_us(world->sim) > end_us) {
      world_describe_unsettled(world);
      return;
    }
    sim_run_until(world->sim, sim_now_us(world->sim) + 100000);
  }
}

/* Nothing goes wrong any more, so nothing may change: who was removed and does not know it disturbs nobody. */
static void stay(World *world) {
  Node *active = world_active(world);
  guint64 term = raft_core_term(active->core);
  world->steady = TRUE;
  gint64 timeout_us = world->shape.tick_us * world->shape.election_ticks;
  sim_run_until(world->sim, sim_now_us(world->sim) + STEADY_TIMEOUTS * timeout_us);
  if (!sim_violation(world->sim) && (world_active(world) != active || raft_core_term(active->core) != term))
    sim_violated(world->sim, "controller %d led term %d, and lost it without a fault", (int)active->id, (int)term);
}

static void check_end(World *world) {
  for (guint i = 0; i < REGISTERS; i++) {
    g_autofree char *why = history_check(world->registers[i]);
    if (why)
      sim_violated(world->sim, "the history of register %u is not linearizable: %s", i, why);
  }
}

void world_start(World *world) {
  for (guint id = 1; id <= world->shape.voters; id++)
    node_start(world->nodes[id]);
}

void world_heal(World *world) {
  if (!sim_violation(world->sim))
    chaos_end(world);
  /* From now on the operator mends, and quickly. */
  world->shape.operator_us = MIN(world->shape.operator_us, 300000);
  operator_start(world);
}

void raft_sim_run(guint64 seed, FILE *trace, RaftSimResult *ret_result) {
  World *world = world_new(seed, NULL, trace, ret_result);
  for (guint i = 0; i < world->shape.clients; i++) {
    g_ptr_array_add(world->clients, client_new(world, i));
    client_start(g_ptr_array_index(world->clients, i));
  }
  world_start(world);
  chaos_start(world);
  operator_start(world);
  sim_run_until(world->sim, world->shape.faults_us);
  world_heal(world);
  settle(world);
  if (!sim_violation(world->sim))
    stay(world);
  check_end(world);
  for (guint id = 1; id <= NODES_MAX && trace; id++)
    trace_node(world, world->nodes[id]);
  ret_result->violation = g_strdup(sim_violation(world->sim));
  world_free(world);
}

void raft_sim_add(RaftSimResult *sum, const RaftSimResult *result) {
  sum->events += result->events;
  sum->committed += result->committed;
  sum->elections += result->elections;
  sum->writes += result->writes;
  sum->reads += result->reads;
  sum->unknowns += result->unknowns;
  sum->crashes += result->crashes;
  sum->freezes += result->freezes;
  sum->partitions += result->partitions;
  sum->lost_disks += result->lost_disks;
  sum->failed_disks += result->failed_disks;
  sum->changes += result->changes;
  sum->transfers += result->transfers;
  sum->snapshots += result->snapshots;
  sum->restores += result->restores;
}
