/* A broker that is killed under three controllers and three brokers, with the settings that they come with. */
#include <string.h>

#include "tests/cluster/harness.h"
#include "tests/shim/shim.h"

#define RECORDS 20000

typedef struct {
  Cluster *cluster;
  const char *text;
} Wanted;

/* How many controllers have logged it. */
static guint count_logged(const Wanted *wanted) {
  guint count = 0;
  for (guint i = 1; i <= 3; i++) {
    g_autofree char *name = g_strdup_printf("controller-%u", i);
    g_autofree char *log = cluster_log(wanted->cluster, name);
    count += log && strstr(log, wanted->text);
  }
  return count;
}

static gboolean one_logged(gpointer wanted) {
  return count_logged(wanted) > 0;
}

static gboolean all_logged(gpointer wanted) {
  return count_logged(wanted) == 3;
}

static char *numbers(void) {
  GString *lines = g_string_new(NULL);
  for (guint i = 0; i < RECORDS; i++)
    g_string_append_printf(lines, "%05u\n", i);
  return g_string_free(lines, FALSE);
}

static int compare(gconstpointer a, gconstpointer b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Everything that was acknowledged is there once. */
static void expect_all(Cluster *cluster) {
  const Ran *ran = cluster_milena(cluster, "consume", "t", "--timeout", "60", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  g_auto(GStrv) lines = g_strsplit(g_strchomp(ran->out), "\n", -1);
  guint count = g_strv_length(lines);
  EXPECT_EQ_INT(RECORDS, count);
  qsort(lines, count, sizeof *lines, compare);
  g_autofree char *wanted = numbers();
  g_autofree char *got = g_strjoinv("\n", lines);
  EXPECT_TRUE(strncmp(wanted, got, strlen(got)) == 0);
}

TEST(failover, a_killed_broker_is_not_waited_for) {
  g_autoptr(Cluster) cluster = cluster_up_with(3, 3);
  if (!cluster)
    return;
  EXPECT_EQ_INT(0, cluster_milena(cluster, "topics", "create", "t", "--partitions", "6", NULL)->exit_code);
  g_autofree char *input = numbers();
  EXPECT_EQ_INT(0, cluster_milena_with_input(cluster, input, "produce", "t", NULL)->exit_code);
  EXPECT_TRUE(cluster_until(all_logged, &(Wanted){cluster, "watches a broker's process broker=2"}, 60000));
  EXPECT_EQ_INT(0,
                cluster_milena(cluster, "local", "stop", "broker-2", "--kill", "--data", cluster_folder(cluster), NULL)
                    ->exit_code);
  EXPECT_TRUE(cluster_until(one_logged, &(Wanted){cluster, "fenced: its process is gone kind=broker id=2"}, 60000));
  EXPECT_FALSE(one_logged(&(Wanted){cluster, "no heartbeat within its session kind=broker id=2"}));
  expect_all(cluster);
}
