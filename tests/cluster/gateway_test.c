/* Clients outside the network of the cluster: the brokers tell addresses at which nobody answers, as names of Pods do
 * outside of Kubernetes, and all goes through the bootstrap addresses. */
#include <string.h>

#include "tests/cluster/harness.h"
#include "tests/shim/shim.h"

#define RECORDS 2000

static guint count_lines(const char *text) {
  guint count = 0;
  for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
    count++;
  return count;
}

static char *bootstrap_of(const Cluster *cluster, guint first, guint last) {
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = first; i <= last; i++)
    g_string_append_printf(text, "%s127.0.0.1:%u", text->len > 0 ? "," : "", cluster_port(cluster, i - 1));
  return g_strdup(text->str);
}

static char *numbered_lines(void) {
  GString *lines = g_string_new(NULL);
  for (guint i = 0; i < RECORDS; i++)
    g_string_append_printf(lines, "record %u\n", i);
  return g_string_free(lines, FALSE);
}

static void produce(Cluster *cluster, const char *bootstrap) {
  g_autofree char *lines = numbered_lines();
  const Ran *ran =
      cluster_milena_with_input(cluster, lines, "produce", "t", "--bootstrap", bootstrap, "--bootstrap-only", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_STR("", ran->exit_code == 0 ? "" : ran->err);
}

TEST(gateway, all_goes_through_one_address_when_the_brokers_tell_none_that_answers) {
  g_setenv("MILENA_BROKER_ADVERTISE", "127.0.0.1:1", TRUE);
  g_autoptr(Cluster) cluster = cluster_up_of(1, 3, 1);
  g_unsetenv("MILENA_BROKER_ADVERTISE");
  ASSERT_TRUE(cluster != NULL);
  g_autofree char *one = bootstrap_of(cluster, 1, 1);
  const Ran *ran = cluster_milena(cluster, "topics", "create", "t", "--partitions", "6", "--replication-factor", "2",
                                  "--bootstrap", one, "--bootstrap-only", NULL);
  ASSERT_EQ_INT(0, ran->exit_code);

  /* Who does not know of it goes to the leaders, and finds nobody. */
  ran = cluster_milena_with_input(cluster, "lost\n", "produce", "t", "--bootstrap", one, "--timeout", "3", NULL);
  EXPECT_EQ_INT(1, ran->exit_code);

  produce(cluster, one);
  ran = cluster_milena(cluster, "consume", "t", "--from", "beginning", "--count", G_STRINGIFY(RECORDS), "--bootstrap",
                       one, "--bootstrap-only", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(RECORDS, count_lines(ran->out));
  ran = cluster_milena(cluster, "consume", "t", "--group", "g", "--from", "beginning", "--count", G_STRINGIFY(RECORDS),
                       "--bootstrap", one, "--bootstrap-only", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(RECORDS, count_lines(ran->out));

  /* Two addresses: when the broker behind the one in use dies, the other is used. */
  g_autofree char *two = bootstrap_of(cluster, 1, 2);
  ran = cluster_milena(cluster, "local", "stop", "broker-1", "--kill", "--data", cluster_folder(cluster), NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  produce(cluster, two);
  ran = cluster_milena(cluster, "consume", "t", "--group", "g", "--count", G_STRINGIFY(RECORDS), "--bootstrap", two,
                       "--bootstrap-only", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(RECORDS, count_lines(ran->out));
}
