/* What an operator does to replicas, with the milena command, while producers write: drain, move, take back, add
 * replicas, elect. Brokers 1 to 4. */
#include <signal.h>
#include <string.h>

#include "tests/cluster/load.h"
#include "tests/shim/shim.h"

#define BROKERS 4
#define WAIT_MS 60000

/* A cluster and a client of it. Leaderships stay where they are until the test moves them. */
typedef struct {
  Cluster *cluster;
  MilenaClient *client;
} World;

static void world_clear(World *world) {
  milena_client_free(world->client);
  cluster_down(world->cluster);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static gboolean world_init(World *world) {
  g_setenv("MILENA_CONTROLLER_SESSION_TIMEOUT", "2s", TRUE);
  g_setenv("MILENA_CONTROLLER_HEARTBEAT_INTERVAL", "200ms", TRUE);
  g_setenv("MILENA_CONTROLLER_LEADER_BALANCE_INTERVAL", "0s", TRUE);
  *world = (World){.cluster = cluster_up(BROKERS)};
  if (world->cluster)
    world->client = load_client(world->cluster, BROKERS);
  return world->client != NULL;
}

/* The command ended well, and said so. */
#define EXPECT_SAYS(text, ...) expect_says(__LINE__, (text), cluster_milena(__VA_ARGS__, NULL))
static void expect_says(int line, const char *text, const Ran *ran) {
  if (ran->exit_code != 0 || !strstr(ran->out, text))
    shim_fail(__FILE__, line, "ended with %d, wanted '%s' in: %s%s", ran->exit_code, text, ran->out, ran->err);
}
#define EXPECT_REFUSED(text, ...) expect_refused(__LINE__, (text), cluster_milena(__VA_ARGS__, NULL))
static void expect_refused(int line, const char *text, const Ran *ran) {
  if (ran->exit_code == 0 || !strstr(ran->err, text))
    shim_fail(__FILE__, line, "ended with %d, wanted '%s' in: %s%s", ran->exit_code, text, ran->out, ran->err);
}

static const MilenaPartition *find_partition(World *world, const char *name, guint number, MilenaTopic **ret_topic) {
  MilenaError *error = milena_admin_describe_topic(world->client, name, 20000, ret_topic);
  if (error)
    shim_fail(__FILE__, __LINE__, "%s", milena_error_message(error));
  milena_error_free(error);
  return *ret_topic && number < (*ret_topic)->partition_count ? &(*ret_topic)->partitions[number] : NULL;
}

/* "3,2/3,2": the replicas, and how many of them are in sync; owned by the caller. */
static char *replicas_of(World *world, const char *name, guint number) {
  MilenaTopic *topic = NULL;
  const MilenaPartition *partition = find_partition(world, name, number, &topic);
  GString *out = g_string_new(NULL);
  for (gsize i = 0; partition && i < partition->replica_count; i++)
    g_string_append_printf(out, "%s%d", i ? "," : "", partition->replicas[i]);
  if (partition)
    g_string_append_printf(out, "/%zu", partition->in_sync_replica_count);
  milena_topic_free(topic);
  return g_string_free(out, FALSE);
}

static gint32 leader_of(World *world, const char *name, guint number) {
  MilenaTopic *topic = NULL;
  const MilenaPartition *partition = find_partition(world, name, number, &topic);
  gint32 leader = partition ? partition->leader_id : -2;
  milena_topic_free(topic);
  return leader;
}

static guint32 factor_of(World *world, const char *name) {
  MilenaTopic *topic = NULL;
  find_partition(world, name, 0, &topic);
  guint32 factor = topic ? topic->replication_factor : 0;
  milena_topic_free(topic);
  return factor;
}

typedef struct {
  World *world;
  const char *topic;
  gint32 leader;
} LeaderIs;

static gboolean leader_is(gpointer data) {
  const LeaderIs *wanted = data;
  return leader_of(wanted->world, wanted->topic, 0) == wanted->leader;
}

static void expect_leader(World *world, const char *topic, gint32 leader, int line) {
  LeaderIs wanted = {world, topic, leader};
  if (!cluster_until(leader_is, &wanted, WAIT_MS))
    shim_fail(__FILE__, line, "broker %d leads %s, not %d", leader_of(world, topic, 0), topic, leader);
}
#define EXPECT_LEADER(world, topic, leader) expect_leader((world), (topic), (leader), __LINE__)

TEST(operator, drains_moves_and_grows_under_load) {
  g_auto(World) world = {0};
  ASSERT_TRUE(world_init(&world));
  Cluster *cluster = world.cluster;
  EXPECT_SAYS("Topic t", cluster, "topics", "create", "t", "-p", "2", "-r", "2");
  EXPECT_SAYS("0 moving", cluster, "partitions", "reassign", "t", "0=1,2", "1=2,3", "--wait");
  EXPECT_SAYS("", cluster, "partitions", "elect", "t");
  g_autoptr(Load) load = load_start(cluster, "t", BROKERS, 2);
  load_expect_more(load, 500);

  EXPECT_LEADER(&world, "t", 1);
  EXPECT_SAYS("drained", cluster, "brokers", "drain", "1");
  EXPECT_LEADER(&world, "t", 2);
  EXPECT_REFUSED("undrain it", cluster, "partitions", "reassign", "t", "1=2,1");
  load_expect_more(load, 500);
  EXPECT_SAYS("up", cluster, "brokers", "undrain", "1");
  EXPECT_SAYS("clean", cluster, "partitions", "elect", "t", "0");
  EXPECT_LEADER(&world, "t", 1);

  EXPECT_SAYS("0 moving", cluster, "partitions", "reassign", "t", "0=4,3", "--wait");
  g_autofree char *moved = replicas_of(&world, "t", 0);
  EXPECT_EQ_STR("4,3/2", moved);
  EXPECT_LEADER(&world, "t", 4);
  load_expect_more(load, 500);
  EXPECT_EQ_INT(2, factor_of(&world, "t"));
  EXPECT_SAYS("0 moving", cluster, "partitions", "reassign", "t", "--replication-factor", "3", "--wait");
  EXPECT_EQ_INT(3, factor_of(&world, "t"));
  EXPECT_SAYS("0 under-replicated", cluster, "partitions", "status", "t");
  load_expect_more(load, 500);

  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
}

/* The broker that a partition is to go to freezes: the move waits until it is taken back. */
TEST(operator, takes_a_move_back) {
  g_auto(World) world = {0};
  ASSERT_TRUE(world_init(&world));
  Cluster *cluster = world.cluster;
  const char *folder = cluster_folder(cluster);
  EXPECT_SAYS("Topic t", cluster, "topics", "create", "t", "-r", "1");
  EXPECT_SAYS("0 moving", cluster, "partitions", "reassign", "t", "0=1", "--wait");
  GPid frozen = cluster_pid(cluster, "broker-4");
  ASSERT_TRUE(frozen > 0);
  kill(frozen, SIGSTOP);
  const Ran *ran = cluster_milena(cluster, "partitions", "reassign", "t", "0=4", NULL);
  if (ran->exit_code == 0) { /* else it was found out before */
    EXPECT_SAYS("0 of 1", cluster, "partitions", "status", "t", "--moving");
    EXPECT_SAYS("0 of 1", cluster, "partitions", "reassign", "t", "0=4"); /* again: as before */
    EXPECT_SAYS("Took back 1 reassignment", cluster, "partitions", "cancel", "t");
  }
  kill(frozen, SIGCONT);
  EXPECT_SAYS("Took back 0 reassignments", cluster, "partitions", "cancel", "t");
  g_autofree char *back = replicas_of(&world, "t", 0);
  EXPECT_EQ_STR("1/1", back);
  EXPECT_LEADER(&world, "t", 1);
  EXPECT_SAYS("", cluster, "local", "stop", "broker-4", "--data", folder);
}

/* Who has all that is acknowledged is gone: nobody leads until the operator gives up what only it has. */
TEST(operator, elects_uncleanly_only_where_nobody_else_can_lead) {
  g_auto(World) world = {0};
  ASSERT_TRUE(world_init(&world));
  Cluster *cluster = world.cluster;
  const char *folder = cluster_folder(cluster);
  EXPECT_SAYS("Topic t", cluster, "topics", "create", "t", "-r", "2", "-c", "min.insync.replicas=1");
  EXPECT_SAYS("0 moving", cluster, "partitions", "reassign", "t", "0=2,3", "--wait");
  EXPECT_LEADER(&world, "t", 2);
  EXPECT_SAYS("No leader changed", cluster, "partitions", "elect", "t", "--unclean", "--yes");
  EXPECT_SAYS("", cluster, "local", "stop", "broker-3", "--kill", "--data", folder);
  const Ran *ran = cluster_milena_with_input(cluster, "acknowledged\n", "produce", "t", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_SAYS("", cluster, "local", "stop", "broker-2", "--kill", "--data", folder);
  EXPECT_LEADER(&world, "t", -1);
  EXPECT_SAYS("", cluster, "local", "start", "broker-3", "--data", folder);
  EXPECT_SAYS("1 without a leader", cluster, "partitions", "status", "t", "--no-leader");
  EXPECT_SAYS("No leader changed", cluster, "partitions", "elect", "t");
  EXPECT_REFUSED("--yes", cluster, "partitions", "elect", "t", "--unclean");
  EXPECT_SAYS("unclean", cluster, "partitions", "elect", "t", "--unclean", "--yes");
  EXPECT_LEADER(&world, "t", 3);
  g_autofree char *log = cluster_log(cluster, "controller-1");
  EXPECT_CONTAINS(log, "somebody asked for an unclean election");
  EXPECT_CONTAINS(log, "unclean election: acknowledged records that the new leader lacks are lost");
}
