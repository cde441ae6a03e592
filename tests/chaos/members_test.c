/* What controllers refuse of each other and of an operator, as real processes: each with its own reason and a sentence
 * that names it, and at no cost for the cluster. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/caller.h"
#include "tests/chaos/fleet.h"
#include "tests/chaos/programs.h"
#include "tests/shim/shim.h"

#define CALL_MS 10000
#define WAIT_S 60
#define SNAPSHOT_ENTRIES 10 /* the least that a controller takes */

/* ---- Clusters ---- */

typedef struct {
  Net *net;
  Fleet *fleet;
  Caller caller;
} Cluster;

/* Nothing is started. @name: of its folder */
static void cluster_init(Cluster *cluster, const char *name, guint controllers) {
  g_autofree char *folder = g_build_filename(shim_temp_dir(), name, NULL);
  g_autofree char *programs = programs_folder(shim_temp_dir());
  g_mkdir_with_parents(folder, 0755);
  cluster->net = net_new_loopback(controllers + 1);
  FleetOptions options = {cluster->net, programs, NULL, folder, controllers, SNAPSHOT_ENTRIES, 1};
  cluster->fleet = fleet_new(&options);
  caller_init(&cluster->caller);
}

static void cluster_clear(Cluster *cluster) {
  caller_clear(&cluster->caller);
  fleet_free(cluster->fleet);
  net_free(cluster->net);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Cluster, cluster_clear)

static Failure *call(Cluster *cluster, guint controller, const char *method, const ProtobufCMessage *request) {
  g_autoptr(RpcMessage) answer = NULL;
  return caller_admin(&cluster->caller, fleet_client_address(cluster->fleet, controller), method, request, CALL_MS,
                      &answer);
}

/* Call until it succeeds, or fails for another reason than that nobody is there yet. @method: of the active one,
 * whoever that is */
static Failure *call_active(Cluster *cluster, const char *method, const ProtobufCMessage *request) {
  gint64 until_us = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
  for (guint i = 0;; i++) {
    Failure *failure = call(cluster, i % fleet_controllers(cluster->fleet), method, request);
    FailureReason reason = failure ? failure_reason(failure) : FAILURE(UNSPECIFIED);
    gboolean elsewhere = reason == FAILURE(NOT_CONTROLLER) || reason == FAILURE(CONTROLLER_NOT_AVAILABLE) ||
                         reason == FAILURE(NOT_BOOTSTRAPPED) || (failure && reason == FAILURE(UNSPECIFIED));
    if (!elsewhere || g_get_monotonic_time() > until_us)
      return failure;
    failure_free(failure);
    g_usleep(20000);
  }
}

/* BootstrapCluster of controllers 0 to @count - 1, asked of the first. @ids: or NULL for their own */
static Failure *bootstrap(Cluster *cluster, const gint32 *ids, guint count) {
  g_autofree Milena__V1__InitialController *controllers = g_new0(Milena__V1__InitialController, count);
  g_autofree Milena__V1__InitialController **list = g_new0(Milena__V1__InitialController *, count);
  for (guint i = 0; i < count; i++) {
    milena__v1__initial_controller__init(&controllers[i]);
    controllers[i].id = ids ? ids[i] : (gint32)i + 1;
    controllers[i].peer_address = (char *)fleet_peer_address(cluster->fleet, i);
    list[i] = &controllers[i];
  }
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  request.controllers = list;
  request.n_controllers = count;
  return call(cluster, 0, "BootstrapCluster", &request.base);
}

/* Until this one answers at all. */
static void wait_for(Cluster *cluster, guint controller) {
  Milena__V1__ListControllersRequest request = MILENA__V1__LIST_CONTROLLERS_REQUEST__INIT;
  for (gint64 until_us = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC; g_get_monotonic_time() < until_us;) {
    g_autoptr(Failure) failure = call(cluster, controller, "ListControllers", &request.base);
    if (!failure)
      return;
    g_usleep(20000);
  }
  FAIL("controller %u does not come up", controller + 1);
}

static void wait_until_up(Cluster *cluster, guint count) {
  for (guint i = 0; i < count; i++)
    wait_for(cluster, i);
}

static void cluster_up(Cluster *cluster, const char *name, guint controllers, guint voters) {
  cluster_init(cluster, name, controllers);
  for (guint i = 0; i < controllers; i++)
    fleet_start(cluster->fleet, i);
  wait_until_up(cluster, controllers);
  g_autoptr(Failure) failure = bootstrap(cluster, NULL, voters);
  if (failure)
    shim_fail(__FILE__, __LINE__, "no cluster: %s", failure_message(failure));
}

/* The cluster is what it was: a read, which a majority confirms, is answered, and nobody has ended. */
static void expect_alive(Cluster *cluster) {
  Milena__V1__GetTopicRequest request = MILENA__V1__GET_TOPIC_REQUEST__INIT;
  request.name = (char *)"no-such-topic";
  g_autoptr(Failure) failure = call_active(cluster, "GetTopic", &request.base);
  EXPECT_EQ_STR("UNKNOWN_TOPIC", failure ? failure_reason_name(failure_reason(failure)) : "no failure");
  g_autofree char *ended = fleet_look(cluster->fleet);
  EXPECT_NULL(ended);
}

static void expect_refused(FailureReason reason, const char *says, Failure *failure) {
  g_autoptr(Failure) mine = failure;
  EXPECT_EQ_STR(failure_reason_name(reason), mine ? failure_reason_name(failure_reason(mine)) : "no failure");
  if (mine)
    EXPECT_CONTAINS(failure_message(mine), says);
}

static Failure *add(Cluster *cluster, gint32 id, const char *peer_address) {
  Milena__V1__AddControllerRequest request = MILENA__V1__ADD_CONTROLLER_REQUEST__INIT;
  request.id = id;
  request.peer_address = (char *)peer_address;
  return call_active(cluster, "AddController", &request.base);
}

static Failure *take_out(Cluster *cluster, gint32 id, gboolean only_check) {
  Milena__V1__RemoveControllerRequest request = MILENA__V1__REMOVE_CONTROLLER_REQUEST__INIT;
  request.id = id;
  request.validate_only = only_check;
  return call_active(cluster, "RemoveController", &request.base);
}

/* ---- The beginning ---- */

TEST(members, a_list_of_voters_that_disagrees_begins_nothing) {
  g_auto(Cluster) cluster;
  cluster_init(&cluster, "one", 3);
  for (guint i = 0; i < 3; i++)
    fleet_start(cluster.fleet, i);
  wait_until_up(&cluster, 3);
  expect_refused(FAILURE(UNKNOWN_CONTROLLER), "has the id 2, and 7 was named",
                 bootstrap(&cluster, (const gint32[]){1, 7, 3}, 3));
  expect_refused(FAILURE(INVALID_FIELD), "twice", bootstrap(&cluster, (const gint32[]){1, 3, 3}, 3));
  expect_refused(FAILURE(INVALID_FIELD), "does not name controller 1",
                 bootstrap(&cluster, (const gint32[]){5, 2, 3}, 3));
  EXPECT_NULL(bootstrap(&cluster, NULL, 3)); /* and cost nothing */
  expect_alive(&cluster);
  expect_refused(FAILURE(ALREADY_BOOTSTRAPPED), "already", bootstrap(&cluster, NULL, 2));
  expect_alive(&cluster);
}

TEST(members, a_cluster_does_not_begin_with_one_that_has_another) {
  g_auto(Cluster) cluster;
  cluster_init(&cluster, "one", 3);
  fleet_start(cluster.fleet, 0);
  fleet_start(cluster.fleet, 1);
  fleet_start_alone(cluster.fleet, 2);
  wait_until_up(&cluster, 3);
  expect_refused(FAILURE(ALREADY_BOOTSTRAPPED), "controller 3", bootstrap(&cluster, NULL, 3));
  EXPECT_NULL(bootstrap(&cluster, NULL, 2));
}

TEST(members, one_that_is_down_is_named_and_nothing_begins) {
  g_auto(Cluster) cluster;
  cluster_init(&cluster, "one", 3);
  fleet_start(cluster.fleet, 0);
  fleet_start(cluster.fleet, 1);
  wait_until_up(&cluster, 2);
  expect_refused(FAILURE(PEER_UNREACHABLE), "controller 3", bootstrap(&cluster, NULL, 3));
  fleet_start(cluster.fleet, 2);
  wait_until_up(&cluster, 3);
  EXPECT_NULL(bootstrap(&cluster, NULL, 3));
}

/* ---- Adding and removing ---- */

TEST(members, a_controller_of_another_cluster_is_not_added) {
  g_auto(Cluster) cluster;
  g_auto(Cluster) other;
  cluster_up(&cluster, "one", 1, 1);
  cluster_init(&other, "other", 2);
  fleet_start_alone(other.fleet, 1); /* the id 2, which is free */
  wait_for(&other, 1);
  expect_refused(FAILURE(CLUSTER_MISMATCH), "belongs to the cluster",
                 add(&cluster, 2, fleet_peer_address(other.fleet, 1)));
  expect_alive(&cluster);
}

TEST(members, an_id_that_a_member_has_is_not_given_twice) {
  g_auto(Cluster) cluster;
  g_auto(Cluster) other;
  cluster_up(&cluster, "one", 2, 2);
  cluster_init(&other, "other", 2);
  fleet_start(other.fleet, 0); /* another process with the id 1, empty */
  wait_for(&other, 0);
  expect_refused(FAILURE(CONTROLLER_EXISTS), "controller 1", add(&cluster, 1, fleet_peer_address(other.fleet, 0)));
  expect_refused(FAILURE(UNKNOWN_CONTROLLER), "has the id 2, and 9 was named",
                 add(&cluster, 9, fleet_peer_address(cluster.fleet, 1)));
  expect_alive(&cluster);
}

TEST(members, a_folder_is_one_process_s_alone) {
  g_auto(Cluster) cluster;
  cluster_up(&cluster, "one", 1, 1);
  g_autofree char *data = fleet_data_path(cluster.fleet, 0);
  g_autofree char *program = g_strdup(shim_source_path("services/controller/milena-controller"));
  const char *argv[] = {program,       "--id",          "1",           "--data-dir", data, "--listen",
                        "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", NULL};
  g_autofree char *err = NULL;
  int status = 0;
  ASSERT_TRUE(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &err, &status, NULL));
  EXPECT_TRUE(status != 0);
  EXPECT_CONTAINS(err, data);
  expect_alive(&cluster);
}

TEST(members, the_last_voter_stays) {
  g_auto(Cluster) cluster;
  cluster_up(&cluster, "one", 2, 2);
  g_autoptr(Failure) failure = take_out(&cluster, 2, FALSE);
  EXPECT_NULL(failure);
  expect_refused(FAILURE(QUORUM_AT_RISK), "the last one with a vote", take_out(&cluster, 1, FALSE));
  expect_refused(FAILURE(UNKNOWN_CONTROLLER), "has the id 2", take_out(&cluster, 2, FALSE));
  expect_alive(&cluster);
}

TEST(members, what_answers_is_not_removed_while_another_is_silent) {
  g_auto(Cluster) cluster;
  cluster_up(&cluster, "one", 3, 3);
  fleet_kill(cluster.fleet, 2, FALSE);
  /* That it is silent shows after a moment. */
  for (gint64 until_us = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC; g_get_monotonic_time() < until_us;) {
    g_autoptr(Failure) failure = take_out(&cluster, 2, TRUE);
    if (failure)
      break;
    g_usleep(20000);
  }
  expect_refused(FAILURE(QUORUM_AT_RISK), "majority", take_out(&cluster, 2, FALSE));
  fleet_start(cluster.fleet, 2);
  expect_alive(&cluster);
}

/* ---- Folders ---- */

static char *find_snapshot(const char *folder) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir)))
    if (g_str_has_prefix(name, "snapshot-"))
      return g_build_filename(folder, name, NULL);
  return NULL;
}

static gboolean has_logged(Cluster *cluster, const char *sentence) {
  g_autofree char *path = fleet_log_path(cluster->fleet, 0), *log = NULL;
  return g_file_get_contents(path, &log, NULL, NULL) && strstr(log, sentence);
}

/* Create topics until there is a snapshot; they need a broker, which takes a moment to come up. */
static gboolean make_snapshot(Cluster *cluster) {
  gint64 until_us = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
  fleet_start(cluster->fleet, fleet_controllers(cluster->fleet));
  for (guint i = 0; g_get_monotonic_time() < until_us; i++) {
    g_autofree char *name = g_strdup_printf("topic-%u", i);
    if (has_logged(cluster, "snapshot written"))
      return TRUE;
    Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
    request.name = name;
    g_autoptr(Failure) failure = call_active(cluster, "CreateTopic", &request.base);
    if (failure)
      g_usleep(20000);
  }
  return FALSE;
}

/* Start it, and wait for its end: what it says. */
static char *start_and_see_it_end(Cluster *cluster) {
  char *said = NULL;
  fleet_start(cluster->fleet, 0);
  for (guint i = 0; i < WAIT_S * 100 && !(said = fleet_look(cluster->fleet)); i++)
    g_usleep(10000);
  return said;
}

TEST(members, a_snapshot_that_was_cut_short_is_named_at_the_start) {
  g_auto(Cluster) cluster;
  cluster_up(&cluster, "one", 1, 1);
  ASSERT_TRUE(make_snapshot(&cluster));
  EXPECT_EQ_INT(0, fleet_terminate(cluster.fleet, 0));
  g_autofree char *data = fleet_data_path(cluster.fleet, 0), *snapshot = find_snapshot(data);
  ASSERT_TRUE(snapshot != NULL);
  GStatBuf info;
  ASSERT_EQ_INT(0, g_stat(snapshot, &info));
  ASSERT_EQ_INT(0, truncate(snapshot, info.st_size / 2));
  g_autofree char *said = start_and_see_it_end(&cluster);
  ASSERT_TRUE(said != NULL);
  EXPECT_CONTAINS(said, "ended with status 1");
  EXPECT_CONTAINS(said, "snapshot");
  g_autofree char *again = start_and_see_it_end(&cluster); /* it stays refused: nothing was made in its place */
  ASSERT_TRUE(again != NULL);
  EXPECT_CONTAINS(again, "snapshot");
}
