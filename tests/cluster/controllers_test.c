/* Clusters of three controllers, worked as an operator works them, while controllers are killed, frozen, replaced. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/harness.h"
#include "tests/shim/shim.h"

#define ASSERT_RAN(code, ran)                                                                                          \
  do {                                                                                                                 \
    const Ran *ran_ = (ran);                                                                                           \
    if (ran_->exit_code != (code)) {                                                                                   \
      shim_fail(__FILE__, __LINE__, "%s ended with %d, want %d:\n%s%s", #ran, ran_->exit_code, (code), ran_->out,      \
                ran_->err);                                                                                            \
      return;                                                                                                          \
    }                                                                                                                  \
  } while (0)

/* Id of the active controller, or -1. */
static int active_id(Cluster *cluster) {
  const Ran *ran = cluster_milena(cluster, "controllers", "list", "--output", "json", NULL);
  const char *found = strstr(ran->out, "\"active_id\": ");
  return found ? atoi(found + strlen("\"active_id\": ")) : -1;
}

typedef struct {
  Cluster *cluster;
  int before; /* another one than this; -1: any */
} Wanted;

static gboolean has_active(gpointer data) {
  const Wanted *wanted = data;
  int id = active_id(wanted->cluster);
  return id > 0 && id != wanted->before;
}

/* Wait until another controller than @before is active. Returns its id, or -1. */
static int other_active_id(Cluster *cluster, int before) {
  Wanted wanted = {cluster, before};
  return cluster_until(has_active, &wanted, 30000) ? active_id(cluster) : -1;
}

static char *controller_name(int id) {
  return g_strdup_printf("controller-%d", id);
}

static char *peer_of(const Cluster *cluster, int id) {
  return g_strdup_printf("%d=127.0.0.1:%u", id, cluster_port(cluster, 150 + (guint)id - 1));
}

static const Ran *local(Cluster *cluster, const char *verb, const char *process, const char *flag) {
  return cluster_milena(cluster, "local", verb, process, "--data", cluster_folder(cluster), flag, NULL);
}

static guint count_lines(const char *text) {
  guint count = 0;
  for (; *text; text++)
    count += *text == '\n';
  return count;
}

#define RECORDS 100000

/* A file of RECORDS different lines. */
static char *write_input(Cluster *cluster) {
  g_autoptr(GString) lines = g_string_new(NULL);
  for (guint i = 0; i < RECORDS; i++)
    g_string_append_printf(lines, "%06u\n", i);
  char *path = cluster_path(cluster, "input");
  EXPECT_TRUE(g_file_set_contents(path, lines->str, (gssize)lines->len, NULL));
  return path;
}

TEST(controllers, the_active_one_is_killed_and_nobody_but_the_operator_notices) {
  g_autoptr(Cluster) cluster = cluster_up_with(3, 2);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "flow", "--partitions", "4", NULL));
  g_autofree char *input = write_input(cluster);
  g_autofree char *out = cluster_path(cluster, "produced");
  const char *produce[] = {"milena", "produce", "flow", "--file", input, NULL};
  GPid producer = cluster_spawn(cluster, produce, out);
  int killed = active_id(cluster);
  ASSERT_TRUE(killed > 0);
  g_autofree char *name = controller_name(killed);
  ASSERT_RAN(0, local(cluster, "stop", name, "--kill"));
  for (guint i = 0; i < 5; i++) {
    g_autofree char *topic = g_strdup_printf("during-%u", i);
    ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", topic, NULL));
  }
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "delete", "during-0", "--yes", NULL));
  EXPECT_TRUE(other_active_id(cluster, killed) > 0);
  EXPECT_EQ_INT(0, cluster_wait(producer));
  const Ran *ran = cluster_milena(cluster, "consume", "flow", NULL);
  ASSERT_RAN(0, ran);
  EXPECT_EQ_INT(RECORDS, count_lines(ran->out));
  ran = cluster_milena(cluster, "controllers", "list", NULL);
  EXPECT_CONTAINS(ran->out, "unreachable");
  ASSERT_RAN(0, local(cluster, "start", name, NULL));
  ran = cluster_milena(cluster, "topics", "list", "--names", NULL);
  EXPECT_EQ_STR("during-1\nduring-2\nduring-3\nduring-4\nflow\n", ran->out);
}

TEST(controllers, the_active_one_is_frozen_and_administration_goes_on) {
  g_autoptr(Cluster) cluster = cluster_up_with(3, 2);
  if (!cluster)
    return;
  int frozen = active_id(cluster);
  ASSERT_TRUE(frozen > 0);
  g_autofree char *name = controller_name(frozen);
  GPid pid = cluster_pid(cluster, name);
  kill(pid, SIGSTOP);
  const Ran *created = cluster_milena(cluster, "topics", "create", "t", "--partitions", "2", NULL);
  int code = created->exit_code;
  EXPECT_EQ_INT(0, code);
  const Ran *produced = cluster_milena_with_input(cluster, "a\nb\n", "produce", "t", NULL);
  EXPECT_EQ_INT(0, produced->exit_code);
  const Ran *listed = cluster_milena(cluster, "topics", "list", NULL);
  EXPECT_CONTAINS(listed->out, "t ");
  EXPECT_TRUE(other_active_id(cluster, frozen) > 0);
  kill(pid, SIGCONT);
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "u", NULL));
  EXPECT_EQ_INT(2, count_lines(cluster_milena(cluster, "consume", "t", NULL)->out));
}

TEST(controllers, a_broker_comes_back_while_one_of_them_is_down) {
  g_autoptr(Cluster) cluster = cluster_up_with(3, 2);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "t", "--partitions", "4", NULL));
  for (int id = 1; id <= 3; id++) { /* the first of a broker's list, its last, the active one, and another */
    g_autofree char *name = controller_name(id);
    ASSERT_RAN(0, local(cluster, "stop", name, "--kill"));
    ASSERT_RAN(0, local(cluster, "stop", "broker-2", "--kill"));
    ASSERT_RAN(0, local(cluster, "start", "broker-2", NULL));
    ASSERT_RAN(0, cluster_milena_with_input(cluster, "x\n", "produce", "t", "--partition", "1", NULL));
    ASSERT_RAN(0, local(cluster, "start", name, NULL));
  }
  EXPECT_EQ_INT(3, count_lines(cluster_milena(cluster, "consume", "t", NULL)->out));
}

TEST(controllers, one_that_lost_its_disk_is_replaced_while_the_cluster_works) {
  g_autoptr(Cluster) cluster = cluster_up_with(3, 1);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "before", NULL));
  int lost = active_id(cluster);
  ASSERT_TRUE(lost > 0);
  g_autofree char *name = controller_name(lost);
  ASSERT_RAN(0, local(cluster, "stop", name, "--kill"));
  g_autofree char *folder = g_build_filename(cluster_folder(cluster), name, NULL);
  const char *wipe[] = {"/bin/rm", "-r", folder, NULL};
  ASSERT_RAN(0, cluster_run(cluster, NULL, wipe));
  const Ran *ran = local(cluster, "start", name, NULL);
  ASSERT_RAN(0, ran);
  EXPECT_CONTAINS(ran->err, "waits to be added");
  g_autofree char *id = g_strdup_printf("%d", lost);
  g_autofree char *peer = peer_of(cluster, lost);
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "meanwhile", NULL));
  ASSERT_RAN(0, cluster_milena(cluster, "controllers", "remove", id, NULL));
  ran = cluster_milena(cluster, "controllers", "add", peer, NULL);
  ASSERT_RAN(0, ran);
  EXPECT_FALSE(strstr(ran->out, "learner"));
  EXPECT_FALSE(strstr(ran->out, "unreachable"));
  /* It has all of it: it can lead. */
  ASSERT_RAN(0, cluster_milena(cluster, "controllers", "transfer", id, NULL));
  EXPECT_EQ_INT(lost, active_id(cluster));
  EXPECT_EQ_STR("before\nmeanwhile\n", cluster_milena(cluster, "topics", "list", "--names", NULL)->out);
}

TEST(controllers, are_listed_and_moved_through_a_broker_and_through_any_of_them) {
  g_autoptr(Cluster) cluster = cluster_up_with(3, 1);
  if (!cluster)
    return;
  for (guint i = 0; i < 3; i++) {
    g_autofree char *direct = g_strdup_printf("127.0.0.1:%u", cluster_port(cluster, 100 + i));
    g_autofree char *to = g_strdup_printf("%u", i + 1);
    const Ran *ran = cluster_milena(cluster, "controllers", "list", "--bootstrap", direct, NULL);
    ASSERT_RAN(0, ran);
    EXPECT_EQ_INT(6, count_lines(ran->out)); /* a head, an empty line, the headings, three of them */
    ASSERT_RAN(0, cluster_milena(cluster, "controllers", "transfer", to, "--bootstrap", direct, NULL));
    EXPECT_EQ_INT((int)i + 1, active_id(cluster));
    g_autofree char *topic = g_strdup_printf("t%u", i);
    ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", topic, "--bootstrap", direct, NULL));
  }
  const Ran *ran = cluster_milena(cluster, "controllers", "remove", "7", NULL);
  EXPECT_EQ_INT(1, ran->exit_code);
  EXPECT_CONTAINS(ran->err, "UNKNOWN_CONTROLLER");
  g_autofree char *peer = peer_of(cluster, 1); /* as a member it is there already: nothing changes */
  ASSERT_RAN(0, cluster_milena(cluster, "controllers", "add", peer, NULL));
  *peer = '4'; /* and it is no other one */
  ran = cluster_milena(cluster, "controllers", "add", peer, NULL);
  EXPECT_EQ_INT(1, ran->exit_code);
  EXPECT_EQ_INT(6, count_lines(cluster_milena(cluster, "controllers", "list", NULL)->out));
}
