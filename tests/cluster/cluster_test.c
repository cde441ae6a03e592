/* A cluster of real processes, worked as a person works it: with the milena command. */
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

/* Lines "key:value" for keys k0 to k9, in order for each key. */
static char *keyed_lines(guint count) {
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < count; i++)
    g_string_append_printf(text, "k%u:%06u\n", i % 10, i);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static guint count_lines(const char *text) {
  guint count = 0;
  for (; *text; text++)
    count += *text == '\n';
  return count;
}

TEST(cluster, takes_keyed_records_and_keeps_each_key_in_one_partition_and_in_order) {
  g_autoptr(Cluster) cluster = cluster_up(3);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "events", "--partitions", "6", NULL));
  g_autofree char *lines = keyed_lines(5000);
  ASSERT_RAN(0, cluster_milena_with_input(cluster, lines, "produce", "events", "--key-delimiter", ":", NULL));
  const Ran *ran = cluster_milena(cluster, "consume", "events", "--format", "%k %p %v\n", NULL);
  ASSERT_RAN(0, ran);
  EXPECT_EQ_INT(5000, count_lines(ran->out));
  int partition_of[10], last_of[10];
  memset(partition_of, -1, sizeof partition_of);
  memset(last_of, -1, sizeof last_of);
  g_auto(GStrv) seen = g_strsplit(ran->out, "\n", -1);
  for (guint i = 0; seen[i] && *seen[i]; i++) {
    int key, partition, value;
    ASSERT_EQ_INT(3, sscanf(seen[i], "k%d %d %d", &key, &partition, &value));
    if (partition_of[key] >= 0)
      ASSERT_EQ_INT(partition_of[key], partition);
    partition_of[key] = partition;
    ASSERT_TRUE(value > last_of[key]);
    last_of[key] = value;
  }
}

TEST(cluster, takes_records_at_any_broker_and_answers_for_the_whole_at_each) {
  g_autoptr(Cluster) cluster = cluster_up(3);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "spread", "--partitions", "6", NULL));
  for (guint broker = 0; broker < 3; broker++) {
    g_autofree char *bootstrap = g_strdup_printf("localhost:%u", cluster_port(cluster, broker));
    ASSERT_RAN(0, cluster_milena_with_input(cluster, "one\ntwo\nthree\n", "produce", "spread", "--bootstrap", bootstrap,
                                            NULL));
    const Ran *ran = cluster_milena(cluster, "consume", "spread", "--bootstrap", bootstrap, NULL);
    ASSERT_RAN(0, ran);
    EXPECT_EQ_INT(3 * (broker + 1), count_lines(ran->out));
    ran = cluster_milena(cluster, "cluster", "describe", "--output", "json", "--bootstrap", bootstrap, NULL);
    ASSERT_RAN(0, ran);
    EXPECT_CONTAINS(ran->out, "\"brokers\"");
  }
}

TEST(cluster, loses_nothing_when_a_broker_is_killed_while_data_flows) {
  g_autoptr(Cluster) cluster = cluster_up(3);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "flow", "--partitions", "6", NULL));
  g_autofree char *input = cluster_path(cluster, "input");
  g_autofree char *lines = keyed_lines(200000);
  ASSERT_TRUE(g_file_set_contents(input, lines, -1, NULL));
  g_autofree char *out = cluster_path(cluster, "produced");
  const char *produce[] = {"milena", "produce", "flow", "--file", input, "--key-delimiter", ":", NULL};
  GPid producer = cluster_spawn(cluster, produce, out);
  ASSERT_RAN(0,
             cluster_milena(cluster, "local", "stop", "broker-2", "--kill", "--data", cluster_folder(cluster), NULL));
  ASSERT_RAN(0, cluster_milena(cluster, "local", "start", "broker-2", "--data", cluster_folder(cluster), NULL));
  EXPECT_EQ_INT(0, cluster_wait(producer));
  const Ran *ran = cluster_milena(cluster, "consume", "flow", "--format", "%v\n", NULL);
  ASSERT_RAN(0, ran);
  g_autofree guint8 *seen = g_new0(guint8, 200000);
  g_auto(GStrv) values = g_strsplit(ran->out, "\n", -1);
  for (guint i = 0; values[i] && *values[i]; i++)
    seen[CLAMP(atoi(values[i]), 0, 199999)] = 1;
  guint missing = 0;
  for (guint i = 0; i < 200000; i++)
    missing += !seen[i];
  EXPECT_EQ_INT(0, missing);
}

TEST(cluster, keeps_its_topics_when_the_controller_is_killed_and_serves_on_meanwhile) {
  g_autoptr(Cluster) cluster = cluster_up(1);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "stays", NULL));
  ASSERT_RAN(
      0, cluster_milena(cluster, "local", "stop", "controller-1", "--kill", "--data", cluster_folder(cluster), NULL));
  ASSERT_RAN(0, cluster_milena_with_input(cluster, "meanwhile\n", "produce", "stays", NULL));
  const Ran *ran = cluster_milena(cluster, "topics", "list", NULL);
  ASSERT_RAN(0, ran);
  EXPECT_CONTAINS(ran->out, "stays");
  ran = cluster_milena(cluster, "cluster", "describe", NULL);
  ASSERT_RAN(0, ran);
  EXPECT_CONTAINS(ran->out, "broker");
  ran = cluster_milena(cluster, "topics", "create", "not-now", "--timeout", "2", NULL);
  ASSERT_RAN(1, ran);
  EXPECT_CONTAINS(ran->err, "CONTROLLER_NOT_AVAILABLE");
  ASSERT_RAN(0, cluster_milena(cluster, "local", "start", "controller-1", "--data", cluster_folder(cluster), NULL));
  ran = cluster_milena(cluster, "topics", "list", NULL);
  ASSERT_RAN(0, ran);
  EXPECT_CONTAINS(ran->out, "stays");
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "new", NULL));
  ran = cluster_milena(cluster, "consume", "stays", NULL);
  EXPECT_EQ_STR("meanwhile\n", ran->out);
}

TEST(cluster, leaves_the_clean_marker_on_sigterm_and_not_on_kill) {
  g_autoptr(Cluster) cluster = cluster_up(1);
  if (!cluster)
    return;
  const char *folder = cluster_folder(cluster);
  ASSERT_RAN(0, cluster_milena(cluster, "local", "stop", "broker-1", "--data", folder, NULL));
  ASSERT_RAN(0, cluster_milena(cluster, "local", "start", "broker-1", "--data", folder, NULL));
  g_autofree char *after_term = cluster_log(cluster, "broker-1");
  EXPECT_FALSE(strstr(after_term, "was not clean"));
  ASSERT_RAN(0, cluster_milena(cluster, "local", "stop", "broker-1", "--kill", "--data", folder, NULL));
  ASSERT_RAN(0, cluster_milena(cluster, "local", "start", "broker-1", "--data", folder, NULL));
  g_autofree char *after_kill = cluster_log(cluster, "broker-1");
  EXPECT_CONTAINS(after_kill, "was not clean");
}

TEST(cluster, works_topics_from_the_command_line) {
  g_autoptr(Cluster) cluster = cluster_up(3);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "t", "--partitions", "3", "--config", "flush=os", NULL));
  const Ran *ran = cluster_milena(cluster, "topics", "describe", "t", NULL);
  ASSERT_RAN(0, ran);
  EXPECT_CONTAINS(ran->out, "flush");
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "alter", "t", "--config", "max.message.bytes=4096", NULL));
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "alter", "t", "--partitions", "5", NULL));
  ran = cluster_milena(cluster, "topics", "describe", "t", "--output", "json", NULL);
  EXPECT_CONTAINS(ran->out, "4096");
  ran = cluster_milena(cluster, "topics", "alter", "t", "--config", "colour=blue", NULL);
  EXPECT_TRUE(ran->exit_code != 0);
  EXPECT_CONTAINS(ran->err, "max.message.bytes"); /* it says which there are */
  g_autofree char *large = g_strnfill(8000, 'x');
  ran = cluster_milena_with_input(cluster, large, "produce", "t", NULL);
  EXPECT_EQ_INT(1, ran->exit_code);
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "delete", "t", "--yes", NULL));
  ran = cluster_milena(cluster, "topics", "describe", "t", NULL);
  EXPECT_EQ_INT(1, ran->exit_code);
  EXPECT_CONTAINS(ran->err, "\"t\"");
}

TEST(cluster, reads_from_an_offset_a_time_and_the_end) {
  g_autoptr(Cluster) cluster = cluster_up(1);
  if (!cluster)
    return;
  ASSERT_RAN(0, cluster_milena(cluster, "topics", "create", "t", NULL));
  ASSERT_RAN(0, cluster_milena_with_input(cluster, "a\nb\nc\n", "produce", "t", NULL));
  EXPECT_EQ_STR("b\nc\n", cluster_milena(cluster, "consume", "t", "--partition", "0", "--from", "1", NULL)->out);
  EXPECT_EQ_STR("a\n", cluster_milena(cluster, "consume", "t", "--count", "1", NULL)->out);
  EXPECT_EQ_STR("", cluster_milena(cluster, "consume", "t", "--from", "end", NULL)->out);
  EXPECT_EQ_STR("a\nb\nc\n", cluster_milena(cluster, "consume", "t", "--from", "-1h", NULL)->out);
  EXPECT_EQ_STR("", cluster_milena(cluster, "consume", "t", "--from", "2099-01-01T00:00:00Z", NULL)->out);
}
