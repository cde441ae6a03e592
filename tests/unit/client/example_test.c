/* The example program, run against a fake cluster: what a newcomer copies must work. */
#include "tests/unit/client/helpers.h"

TEST(example, writes_and_reads_back) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(3);
  g_autofree char *bootstrap = fake_cluster_bootstrap(cluster);
  g_autofree char *program = g_strdup(shim_source_path("client/examples/hello"));
  for (int run = 1; run <= 2; run++) { /* the second finds the topic */
    const char *argv[] = {program, bootstrap, "greetings", NULL};
    g_autofree char *out = NULL, *err = NULL;
    int status = -1;
    EXPECT_TRUE(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, &err, &status, NULL));
    EXPECT_EQ_INT(0, status);
    EXPECT_EQ_STR("", err);
    EXPECT_CONTAINS(out, "hello, ");
    if (run == 1)
      EXPECT_CONTAINS(out, "hello, Barbara");
  }
  EXPECT_EQ_INT(6, fake_cluster_counters(cluster).records);
}

TEST(example, says_what_is_wrong) {
  g_autofree char *program = g_strdup(shim_source_path("client/examples/hello"));
  const char *argv[] = {program, "localhost:none", "greetings", NULL};
  g_autofree char *err = NULL;
  EXPECT_TRUE(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &err, NULL, NULL));
  EXPECT_CONTAINS(err, "has no port from 1 to 65535");
}
