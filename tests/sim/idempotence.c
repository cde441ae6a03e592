/* One run: a leader, one to three clients, a network that drops, doubles, delays and reorders, a leader that is killed
 * or loses its power; then the faults end, all must be answered, and the log is checked. */
#include "tests/sim/idempotence_internal.h"

#define FAULTS_US 3000000
#define HEAL_US 60000000

static void visit(SimWorld *world, gint64 offset, guint client, guint64 value) {
  sim_client_check_record(g_ptr_array_index(world->clients, client), offset, value);
}

static void on_crash(gpointer data) {
  SimWorld *world = data;
  if (world->healing)
    return;
  sim_leader_crash(world->leader);
  sim_after(world->sim, sim_between(world->sim, 1000, 800000), on_crash, world, NULL);
}

/* Some runs have a quiet network, some a bad one: each fault must meet the others. */
static void choose_faults(SimWorld *world) {
  Sim *sim = world->sim;
  world->faults = (SimNetFaults){.drop_per_mille = sim_chance(sim, 300) ? 0 : sim_below(sim, 300),
                                 .double_per_mille = sim_chance(sim, 300) ? 0 : sim_below(sim, 300),
                                 .delay_min_us = 50,
                                 .delay_max_us = sim_between(sim, 50, 20000),
                                 .late_per_mille = sim_chance(sim, 300) ? 0 : sim_below(sim, 100),
                                 .late_max_us = sim_between(sim, 1000, 1000000)};
}

static void heal(SimWorld *world) {
  world->healing = TRUE;
  world->faults = (SimNetFaults){.delay_min_us = 50, .delay_max_us = 500};
  for (guint i = 0; i < world->clients->len && !sim_violation(world->sim); i++) {
    const SimClient *client = g_ptr_array_index(world->clients, i);
    for (gint64 until_us = FAULTS_US; until_us < HEAL_US && !sim_client_is_done(client); until_us += 50000)
      sim_run_until(world->sim, until_us);
    if (!sim_client_is_done(client))
      sim_violated(world->sim, "producer %u was not answered, though the faults had ended", i + 1);
  }
}

void idempotence_simulate(guint64 seed, IdempotenceBug bug, IdempotenceResult *ret_result) {
  *ret_result = (IdempotenceResult){0};
  SimWorld world = {.sim = sim_new(seed), .bug = bug, .result = ret_result};
  Sim *sim = world.sim;
  world.clients = g_ptr_array_new_with_free_func(sim_client_free);
  choose_faults(&world);
  guint count = 1 + sim_below(sim, 3);
  for (guint i = 0; i < count; i++)
    g_ptr_array_add(world.clients, sim_client_new(&world, i, 20 + sim_below(sim, 60)));
  world.leader = sim_leader_new(&world, sim_chance(sim, 250));
  world.take = sim_leader_take;
  world.host = world.leader;
  for (guint i = 0; i < count; i++)
    sim_client_start(g_ptr_array_index(world.clients, i));
  sim_after(sim, sim_between(sim, 1000, 300000), on_crash, &world, NULL);
  sim_run_until(sim, FAULTS_US);
  heal(&world);
  if (!sim_violation(sim))
    sim_leader_visit(world.leader, visit);
  for (guint i = 0; i < count && !sim_violation(sim); i++)
    sim_client_check_end(g_ptr_array_index(world.clients, i));
  ret_result->violation = g_strdup(sim_violation(sim));
  sim_leader_free(world.leader);
  g_ptr_array_unref(world.clients);
  sim_free(sim);
}
