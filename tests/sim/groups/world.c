/* One run: faults for some seconds, then calm; then a take-over, and a member that leaves, in the calm. */
#include "tests/sim/groups/world.h"

#include <string.h>

#define FAULTS_US 8000000
#define CALM_US 20000000
#define EPOCH_MS G_GINT64_CONSTANT(1700000000000)

void gsim_tell(World *world, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *line = g_strdup_vprintf(format, args);
  va_end(args);
  for (const char *c = line; *c; c++)
    world->result->fingerprint = (world->result->fingerprint ^ (guint8)*c) * G_GUINT64_CONSTANT(1099511628211);
  if (world->trace)
    fprintf(world->trace, "%9.3f ms  %s\n", (double)sim_now_us(world->sim) / 1000, line);
}

GroupsTime gsim_time(const World *world) {
  gint64 now_ms = sim_now_us(world->sim) / 1000;
  return (GroupsTime){now_ms, EPOCH_MS + now_ms};
}

Call *gsim_call_ref(Call *call) {
  call->refs++;
  return call;
}

void gsim_call_unref(gpointer data) {
  Call *call = data;
  if (--call->refs > 0)
    return;
  g_bytes_unref(call->request);
  g_clear_pointer(&call->response, g_bytes_unref);
  g_free(call);
}

static void shadow_free(gpointer data) {
  Shadow *shadow = data;
  g_free(shadow->owner);
  g_free(shadow);
}

/* ---- faults ---- */

static void change_topic(World *world) {
  Sim *sim = world->sim;
  g_autofree char *name = g_strdup_printf("t%u", sim_below(sim, 3));
  GroupsHost host = fake_host_table(world->host);
  GroupsTopic topic;
  gboolean there = host.find_topic(name, &topic, host.data);
  if (there && sim_chance(sim, 300)) {
    fake_host_remove_topic(world->host, name);
    gsim_tell(world, "topic %s goes", name);
  } else {
    gint32 count = there ? topic.partition_count + 1 + (gint32)sim_below(sim, 2) : 1 + (gint32)sim_below(sim, 6);
    fake_host_set_topic(world->host, name, MIN(count, 9));
    gsim_tell(world, "topic %s has %d partitions", name, MIN(count, 9));
  }
  world->result->topics++;
  gsim_coordinator_topics_changed(world, name);
}

static void disturb_client(World *world) {
  Sim *sim = world->sim;
  Client *client = &world->clients[sim_below(sim, WORLD_CLIENTS)];
  if (!client->running) {
    gsim_client_start(client);
  } else if (sim_chance(sim, 500)) {
    gsim_client_die(client);
  } else {
    client->frozen_until_us = sim_now_us(sim) + sim_between(sim, 50000, 4000000);
    world->result->freezes++;
    gsim_tell(world, "%s freezes", client->id);
  }
}

static void on_restart(gpointer data) {
  World *world = data;
  if (!world->groups) {
    gsim_tell(world, "coordinator starts");
    gsim_coordinator_start(world);
  }
}

/* Half of the crashes wait until there is something on the way to the log. */
static void crash(World *world) {
  if (world->groups && sim_chance(world->sim, 500)) {
    world->crash_next = TRUE;
    return;
  }
  gsim_crash(world);
}

void gsim_crash(World *world) {
  gsim_coordinator_crash(world);
  sim_after(world->sim, sim_between(world->sim, 1000, 1500000), on_restart, world, NULL);
}

static void on_fault(gpointer data) {
  World *world = data;
  Sim *sim = world->sim;
  if (world->calm)
    return;
  guint what = sim_below(sim, 10);
  if (what < 6)
    disturb_client(world);
  else if (what < 8)
    change_topic(world);
  else
    crash(world);
  sim_after(sim, sim_between(sim, 1000, 700000), on_fault, world, NULL);
}

static void choose_faults(World *world) {
  Sim *sim = world->sim;
  world->faults = (SimNetFaults){.drop_per_mille = sim_chance(sim, 300) ? 0 : sim_below(sim, 200),
                                 .double_per_mille = sim_chance(sim, 300) ? 0 : sim_below(sim, 200),
                                 .delay_min_us = 50,
                                 .delay_max_us = sim_between(sim, 50, 20000),
                                 .late_per_mille = sim_chance(sim, 300) ? 0 : sim_below(sim, 100),
                                 .late_max_us = sim_between(sim, 1000, 1500000)};
  world->in_order = world->faults.double_per_mille == 0 && world->faults.late_per_mille == 0;
}

/* ---- calm ---- */

static void settle(World *world) {
  gint64 until_us = sim_now_us(world->sim) + CALM_US;
  /* What is late must have come, and sessions of the dead have ended, before anything is looked at. */
  sim_run_until(world->sim, sim_now_us(world->sim) + 4500000);
  while (!sim_violation(world->sim) && sim_now_us(world->sim) < until_us && !gsim_rules_are_settled(world))
    sim_run_until(world->sim, sim_now_us(world->sim) + 100000);
  sim_run_until(world->sim, sim_now_us(world->sim) + 500000);
  if (!sim_violation(world->sim))
    gsim_rules_check_calm(world);
}

/* Rule 7. @gone: who has left in between, or NULL */
static void check_kept(World *world, GHashTable *before, const Client *gone) {
  g_autoptr(GHashTable) after = gsim_rules_readers(world);
  GHashTableIter iter;
  gpointer key, reader;
  g_hash_table_iter_init(&iter, before);
  while (g_hash_table_iter_next(&iter, &key, &reader))
    if (reader != gone && g_hash_table_lookup(after, key) != reader)
      sim_violated(world->sim, "%s was taken from %s without need", (const char *)key, ((const Client *)reader)->id);
}

static gboolean wish_is_shared_by_all(World *world, const char *group) {
  const char *topics = NULL;
  for (guint i = 0; i < WORLD_CLIENTS; i++) {
    const Client *client = &world->clients[i];
    if (!client->running || !g_str_equal(client->group, group))
      continue;
    if (topics && !g_str_equal(topics, client->topics))
      return FALSE;
    topics = client->topics;
  }
  return TRUE;
}

/* Of those who want the same place one may stay: it gets in. */
static void end_rivals(World *world) {
  for (guint i = 0; i < WORLD_CLIENTS; i++)
    for (guint k = i + 1; k < WORLD_CLIENTS; k++) {
      const Client *one = &world->clients[i];
      Client *other = &world->clients[k];
      if (one->running && other->running && *one->instance && g_str_equal(one->instance, other->instance) &&
          g_str_equal(one->group, other->group))
        gsim_client_die(other);
    }
}

static void calm(World *world) {
  world->calm = TRUE;
  world->faults = (SimNetFaults){.delay_min_us = 50, .delay_max_us = 500};
  gsim_tell(world, "calm");
  for (guint i = 0; i < WORLD_CLIENTS; i++)
    world->clients[i].frozen_until_us = 0;
  end_rivals(world);
  if (!world->groups)
    gsim_coordinator_start(world);
  /* What was deleted while no coordinator looked would go a minute after loading: its metadata could be behind. */
  gsim_coordinator_topics_changed(world, "t0");
  gsim_coordinator_topics_changed(world, "t1");
  gsim_coordinator_topics_changed(world, "t2");
  settle(world);
  if (sim_violation(world->sim))
    return;
  g_autoptr(GHashTable) before = gsim_rules_readers(world);
  gsim_coordinator_crash(world);
  gsim_coordinator_start(world);
  settle(world);
  check_kept(world, before, NULL);
  Client *leaver = &world->clients[sim_below(world->sim, WORLD_CLIENTS)];
  if (sim_violation(world->sim) || !leaver->running || !wish_is_shared_by_all(world, leaver->group))
    return;
  gsim_client_die(leaver);
  settle(world);
  check_kept(world, before, leaver);
}

void groups_sim_run(guint64 seed, FILE *trace, GroupsSimResult *ret_result) {
  *ret_result = (GroupsSimResult){.fingerprint = G_GUINT64_CONSTANT(14695981039346656037)};
  World world = {.sim = sim_new(seed), .trace = trace, .result = ret_result, .host = fake_host_new()};
  world.shadows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, shadow_free);
  world.members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  choose_faults(&world);
  fake_host_set_topic(world.host, "t0", 1 + (gint32)sim_below(world.sim, 6));
  fake_host_set_topic(world.host, "t1", 1 + (gint32)sim_below(world.sim, 6));
  gsim_coordinator_start(&world);
  for (guint i = 0; i < WORLD_CLIENTS; i++)
    gsim_client_init(&world, i);
  for (guint i = 0; i < WORLD_CLIENTS; i++)
    if (sim_chance(world.sim, 700))
      gsim_client_start(&world.clients[i]);
  sim_after(world.sim, sim_between(world.sim, 1000, 1000000), on_fault, &world, NULL);
  sim_run_until(world.sim, FAULTS_US);
  if (!sim_violation(world.sim))
    calm(&world);
  ret_result->violation = g_strdup(sim_violation(world.sim));
  gsim_coordinator_clear(&world);
  sim_free(world.sim);
  for (guint i = 0; i < WORLD_CLIENTS; i++)
    gsim_client_clear(&world.clients[i]);
  g_hash_table_unref(world.members);
  g_hash_table_unref(world.shadows);
  fake_host_free(world.host);
}
