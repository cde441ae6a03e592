/* What the services refuse at their start: each with a sentence that names it. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cluster/harness.h"
#include "tests/shim/shim.h"

/* Flags of one service, and the words that its refusal must have. */
static const struct {
  const char *name;
  const char *words[8];
  int exit_code;
  const char *says;
} BAD_SETTINGS[] = {
    {"broker_unknown_flag", {"milena-broker", "--colour", "blue"}, 2, "--colour"},
    {"broker_bad_id", {"milena-broker", "--id", "one"}, 2, "'id'"},
    {"controller_unknown_flag", {"milena-controller", "--colour", "blue"}, 2, "--colour"},
    {"coordinator_unknown_flag", {"milena-group-coordinator", "--colour", "blue"}, 2, "--colour"},
    {"coordinator_log_format", {"milena-group-coordinator", "--log-format", "xml"}, 2, "log-format"},
    {"milena_unknown_command", {"milena", "topcis", "list"}, 2, "topics"},
    {"milena_no_such_broker", {"milena", "topics", "list", "--bootstrap", "localhost:1"}, 1, "localhost:1"},
};

TEST_ROWS(refusal, BAD_SETTINGS) {
  g_autoptr(Cluster) cluster = cluster_prepare();
  const Ran *ran = cluster_run(cluster, NULL, BAD_SETTINGS[row].words);
  EXPECT_EQ_INT(BAD_SETTINGS[row].exit_code, ran->exit_code);
  EXPECT_CONTAINS(ran->err, BAD_SETTINGS[row].says);
}

/* A broker beside a running cluster's, with flags of the caller's choice. */
static const Ran *extra_broker(Cluster *cluster, const char *id, const char *folder, const char *listen) {
  g_autofree char *controllers = g_strdup_printf("127.0.0.1:%u", cluster_port(cluster, 150));
  const char *words[] = {"milena-broker", "--id",          id,          "--data-dir",
                         folder,          "--listen",      listen,      "--peer-listen",
                         "127.0.0.1:0",   "--controllers", controllers, NULL};
  return cluster_run(cluster, NULL, words);
}

TEST(refusal, brokers_refuse_ports_folders_and_clusters_that_are_not_theirs) {
  g_autoptr(Cluster) cluster = cluster_up(1);
  if (!cluster)
    return;
  g_autofree char *used = g_strdup_printf("127.0.0.1:%u", cluster_port(cluster, 0));
  g_autofree char *fresh = cluster_path(cluster, "fresh");
  mkdir(fresh, 0755);

  const Ran *ran = extra_broker(cluster, "9", fresh, used);
  EXPECT_TRUE(ran->exit_code > 0);
  EXPECT_CONTAINS(ran->err, used);

  g_autofree char *missing = cluster_path(cluster, "no/such/folder");
  ran = extra_broker(cluster, "9", missing, "127.0.0.1:0");
  EXPECT_TRUE(ran->exit_code > 0);
  EXPECT_CONTAINS(ran->err, missing);

  /* The folder of the running broker is locked. */
  g_autofree char *taken = g_build_filename(cluster_folder(cluster), "broker-1", NULL);
  ran = extra_broker(cluster, "1", taken, "127.0.0.1:0");
  EXPECT_TRUE(ran->exit_code > 0);
  EXPECT_CONTAINS(ran->err, taken);
}

TEST(refusal, a_folder_of_another_cluster_or_broker_is_refused) {
  g_autoptr(Cluster) cluster = cluster_up(2);
  if (!cluster)
    return;
  const char *data = cluster_folder(cluster);
  EXPECT_EQ_INT(0, cluster_milena(cluster, "local", "stop", "broker-2", "--data", data, NULL)->exit_code);
  g_autofree char *folder = g_build_filename(data, "broker-2", NULL);
  const Ran *ran = extra_broker(cluster, "7", folder, "127.0.0.1:0");
  EXPECT_TRUE(ran->exit_code > 0);
  EXPECT_CONTAINS(ran->err, "2"); /* whose it is */
  EXPECT_CONTAINS(ran->err, "7");
}

TEST(refusal, a_number_of_controllers_that_makes_no_quorum_is_refused) {
  g_autoptr(Cluster) cluster = cluster_prepare();
  const Ran *ran =
      cluster_milena(cluster, "local", "up", "--controllers", "2", "--data", cluster_folder(cluster), NULL);
  EXPECT_TRUE(ran->exit_code > 0);
  EXPECT_CONTAINS(ran->err, "1, 3 or 5");
}
