/* What a cluster of three controllers and three brokers goes on without, with the milena command and under load. What
 * it does when only one broker is left, or fewer than the minimum, is in replication_test.c; when everything loses its
 * power at once, in tests/chaos/power_cut_test.c. */
#include <string.h>

#include "tests/cluster/world.h"

/* The addresses of all brokers: any of them may be gone. Owned by the caller. */
static char *everywhere(const World *world) {
  GString *out = g_string_new(NULL);
  for (guint i = 0; i < world->brokers; i++)
    g_string_append_printf(out, "%s127.0.0.1:%u", i ? "," : "", cluster_port(world->cluster, i));
  return g_string_free(out, FALSE);
}

/* It says so, and ends well. */
#define EXPECT_SAYS(text, ...) expect_says(__LINE__, (text), cluster_milena(__VA_ARGS__, "--bootstrap", all, NULL))
static void expect_says(int line, const char *text, const Ran *ran) {
  if (ran->exit_code != 0 || !strstr(ran->out, text))
    shim_fail(__FILE__, line, "ended with %d, wanted '%s' in: %s%s", ran->exit_code, text, ran->out, ran->err);
}

/* Killed, and its folder with it: it never comes back. */
static void lose_for_good(World *world, const char *process) {
  world_local(world, "stop", process, "--kill", __LINE__);
  g_autofree char *folder = g_build_filename(cluster_folder(world->cluster), process, NULL);
  const char *words[] = {"/bin/rm", "-r", folder, NULL};
  EXPECT_EQ_INT(0, cluster_run(world->cluster, NULL, words)->exit_code);
}

/* Topics come, change, grow and go; records are written and read; replicas leave the broker that is gone. */
static void expect_everything_works(World *world, gint32 gone) {
  Cluster *cluster = world->cluster;
  g_autofree char *away = g_strdup_printf("%d", gone), *all = everywhere(world);
  EXPECT_SAYS("Topic new", cluster, "topics", "create", "new", "-p", "2", "-r", "2");
  EXPECT_EQ_INT(
      0, cluster_milena_with_input(cluster, "one\ntwo\n", "produce", "new", "--bootstrap", all, NULL)->exit_code);
  EXPECT_SAYS("one", cluster, "consume", "new");
  EXPECT_SAYS("", cluster, "topics", "alter", "new", "--config", "flush=os");
  EXPECT_SAYS("", cluster, "topics", "alter", "new", "--partitions", "3");
  EXPECT_SAYS("0 moving", cluster, "partitions", "reassign", "t", "--away-from", away, "--replication-factor", "2",
              "--wait");
  EXPECT_SAYS("0 under-replicated", cluster, "partitions", "status", "t");
  EXPECT_SAYS("", cluster, "topics", "delete", "new", "--yes");
  EXPECT_SAYS("", cluster, "brokers", "list");
  EXPECT_SAYS("", cluster, "controllers", "list");
}

static const struct {
  const char *name, *controller, *broker;
  gint32 gone;
} PAIRS[] = {
    {"controller_1_and_broker_2", "controller-1", "broker-2", 2},
    {"controller_2_and_broker_3", "controller-2", "broker-3", 3},
    {"controller_3_and_broker_1", "controller-3", "broker-1", 1},
};

TEST_ROWS(everything_works_without, PAIRS) {
  g_auto(World) world = {0};
  if (!world_init(&world, 3, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 6, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 2);
  load_expect_more(load, 200);
  lose_for_good(&world, PAIRS[row].controller);
  lose_for_good(&world, PAIRS[row].broker);
  UNTIL_LED(&world, "t", PAIRS[row].gone);
  load_expect_more(load, 200);
  expect_everything_works(&world, PAIRS[row].gone);
  load_expect_more(load, 200);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
}

TEST(losses, one_is_drained_and_stopped_for_maintenance_and_another_is_lost) {
  g_auto(World) world = {0};
  if (!world_init(&world, 3, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 6, 3, 1, MILENA_FLUSH_DEFAULT));
  g_autofree char *all = everywhere(&world);
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 2);
  load_expect_more(load, 200);
  EXPECT_SAYS("drained", world.cluster, "brokers", "drain", "1");
  UNTIL_LED(&world, "t", 1);
  STOP(&world, 1);
  load_expect_more(load, 200);
  KILL(&world, 2);
  UNTIL_LED(&world, "t", 2);
  load_expect_more(load, 200);
  EXPECT_SAYS(":", world.cluster, "consume", "t", "--count", "100");
  START(&world, 1);
  START(&world, 2);
  EXPECT_SAYS("", world.cluster, "brokers", "undrain", "1");
  UNTIL_IN_SYNC(&world, "t", 3);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
}
