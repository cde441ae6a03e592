/* See world.h. */
#include "tests/cluster/world.h"

void world_clear(World *world) {
  milena_client_free(world->client);
  cluster_down(world->cluster);
}

gboolean world_init(World *world, guint controllers, guint brokers) {
  g_setenv("MILENA_CONTROLLER_SESSION_TIMEOUT", "2s", TRUE);
  g_setenv("MILENA_CONTROLLER_HEARTBEAT_INTERVAL", "200ms", TRUE);
  g_setenv("MILENA_CONTROLLER_LEADER_BALANCE_INTERVAL", "0", TRUE);
  *world = (World){.cluster = cluster_up_with(controllers, brokers), .brokers = brokers, .controllers = controllers};
  if (!world->cluster)
    return FALSE;
  world->client = load_client(world->cluster, brokers);
  return world->client != NULL;
}

gboolean world_expect_none(MilenaError *error, const char *file, int line) {
  if (error)
    shim_fail(file, line, "%s [%s]", milena_error_message(error), milena_error_reason(error));
  milena_error_free(error);
  return error == NULL;
}

MilenaError *world_create(World *world, const char *name, guint partitions, guint factor, guint minimum,
                          MilenaFlush flush) {
  const MilenaNewTopic topic = {.name = name,
                                .partitions = partitions,
                                .replication_factor = factor,
                                .config = {.flush = flush, .min_insync_replicas = minimum}};
  return milena_admin_create_topic(world->client, &topic, WORLD_CALL_MS, NULL);
}

gint32 world_leader(World *world, const char *name, guint partition) {
  MilenaTopic *topic = NULL;
  if (!world_expect_none(milena_admin_describe_topic(world->client, name, WORLD_CALL_MS, &topic), __FILE__, __LINE__))
    return -1;
  gint32 leader_id = partition < topic->partition_count ? topic->partitions[partition].leader_id : -1;
  milena_topic_free(topic);
  return leader_id;
}

/* ---- brokers ---- */

void world_local(World *world, const char *verb, const char *process, const char *flag, int line) {
  const Ran *ran =
      cluster_milena(world->cluster, "local", verb, process, "--data", cluster_folder(world->cluster), flag, NULL);
  if (ran->exit_code != 0)
    shim_fail(__FILE__, line, "local %s %s ended with %d: %s%s", verb, process, ran->exit_code, ran->out, ran->err);
}

char *world_broker_name(gint32 id) {
  return g_strdup_printf("broker-%d", id);
}

void world_change_broker(World *world, const char *verb, gint32 id, const char *flag, int line) {
  g_autofree char *name = world_broker_name(id);
  world_local(world, verb, name, flag, line);
}

/* ---- waiting ---- */

static gboolean is_as_wanted(gpointer data) {
  const Wanted *wanted = data;
  MilenaTopic *topic = NULL;
  MilenaError *error = milena_admin_describe_topic(wanted->world->client, wanted->name, WORLD_CALL_MS, &topic);
  if (error) {
    milena_error_free(error);
    return FALSE;
  }
  gboolean as_wanted = TRUE;
  for (gsize i = 0; i < topic->partition_count; i++) {
    const MilenaPartition *partition = &topic->partitions[i];
    as_wanted &= partition->leader_id >= 0 && partition->leader_id != wanted->not_by &&
                 partition->in_sync_replica_count >= wanted->least_in_sync &&
                 partition->in_sync_replica_count <= wanted->most_in_sync;
  }
  milena_topic_free(topic);
  return as_wanted;
}

void world_until(Wanted wanted, int line) {
  if (cluster_until(is_as_wanted, &wanted, WORLD_WAIT_MS))
    return;
  const Ran *ran = cluster_milena(wanted.world->cluster, "topics", "describe", wanted.name, NULL);
  shim_fail(__FILE__, line, "the topic does not become as it should: %s%s", ran->out, ran->err);
}
