/* The example programs, run against a fake cluster: what a newcomer copies must work, also when it is built elsewhere
 * against the installed library. */
#include "tests/unit/client/helpers.h"

/* What a program must be compiled with to load a library that was. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER "-fsanitize=address,undefined"
#elif defined(__SANITIZE_THREAD__)
#define SANITIZER "-fsanitize=thread"
#else
#define SANITIZER ""
#endif

/* Returns the exit code. */
static int run(const char *const *argv, char **ret_out, char **ret_err) {
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, ret_out, ret_err, &status, &error))
    shim_fail(__FILE__, __LINE__, "%s can't be run: %s", argv[0], error->message);
  return g_spawn_check_wait_status(status, NULL) ? 0 : 1;
}

/* @library_folder: NULL, or where the program finds libmilena */
static void expect_hello(const char *program, const char *library_folder) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(3);
  g_autofree char *bootstrap = fake_cluster_bootstrap(cluster);
  g_autofree char *path = g_strconcat("LD_LIBRARY_PATH=", library_folder ? library_folder : "", NULL);
  for (int turn = 1; turn <= 2; turn++) { /* the second finds the topic */
    const char *argv[] = {"env", path, program, bootstrap, "greetings", NULL};
    g_autofree char *out = NULL, *err = NULL;
    EXPECT_EQ_INT(0, run(argv, &out, &err));
    EXPECT_EQ_STR("", err);
    EXPECT_CONTAINS(out, "hello, ");
    if (turn == 1)
      EXPECT_CONTAINS(out, "hello, Barbara");
  }
  EXPECT_EQ_INT(6, fake_cluster_counters(cluster).records);
}

TEST(example, writes_and_reads_back) {
  g_autofree char *program = g_strdup(shim_source_path("client/examples/hello"));
  expect_hello(program, NULL);
}

TEST(example, says_what_is_wrong) {
  g_autofree char *program = g_strdup(shim_source_path("client/examples/hello"));
  const char *argv[] = {program, "localhost:none", "greetings", NULL};
  g_autofree char *out = NULL, *err = NULL;
  EXPECT_EQ_INT(1, run(argv, &out, &err));
  EXPECT_CONTAINS(err, "has no port from 1 to 65535");
}

TEST(example, pumps) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 3);
  g_autofree char *bootstrap = fake_cluster_bootstrap(cluster);
  g_autofree char *program = g_strdup(shim_source_path("client/examples/pump"));
  const char *argv[] = {program, bootstrap, "t", "20000", "100", "lz4", NULL};
  g_autofree char *out = NULL, *err = NULL;
  EXPECT_EQ_INT(0, run(argv, &out, &err));
  EXPECT_EQ_STR("", err);
  EXPECT_EQ_INT(20000, fake_cluster_counters(cluster).records);
}

TEST(example, reads_in_a_group) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 3);
  g_autofree char *bootstrap = fake_cluster_bootstrap(cluster);
  g_autofree char *pump = g_strdup(shim_source_path("client/examples/pump"));
  g_autofree char *program = g_strdup(shim_source_path("client/examples/group"));
  const char *write[] = {pump, bootstrap, "t", "100", "10", "none", NULL};
  const char *read[] = {program, bootstrap, "t", "g", "2", NULL};
  g_autofree char *written = NULL, *write_err = NULL, *out = NULL, *err = NULL;
  EXPECT_EQ_INT(0, run(write, &written, &write_err));
  EXPECT_EQ_INT(0, run(read, &out, &err));
  EXPECT_EQ_STR("", err);
  EXPECT_CONTAINS(out, "assigned: t:0 t:1 t:2\n");
  EXPECT_CONTAINS(out, "revoked: t:0 t:1 t:2\n");
  gint64 committed = 0;
  FakeGroupState state = fake_cluster_order_groups(cluster, NULL);
  for (guint p = 0; p < 3; p++)
    committed += state.committed[p];
  EXPECT_EQ_INT(100, committed);
}

TEST(installed, is_found_by_pkg_config_and_compiled_against) {
  g_autofree char *prefix = g_build_filename(shim_temp_dir(), "prefix", NULL);
  g_autofree char *library_folder = g_build_filename(prefix, "lib", NULL);
  g_autofree char *program = g_build_filename(shim_temp_dir(), "hello", NULL);
  g_autofree char *install = g_strdup(shim_source_path("client/libmilena/install.sh"));
  g_autofree char *library = g_strdup(shim_source_path("client/libmilena/libmilena.so"));
  g_autofree char *source = g_strdup(shim_source_path("client/examples/hello.c"));
  g_autofree char *out = NULL, *err = NULL, *compiled = NULL, *complaints = NULL;
  const char *argv[] = {install, prefix, library, NULL};
  EXPECT_EQ_INT(0, run(argv, &out, &err));
  EXPECT_EQ_STR("", err);
  g_autofree char *command =
      g_strdup_printf("PKG_CONFIG_PATH='%s/pkgconfig' && export PKG_CONFIG_PATH && pkg-config --modversion milena && "
                      "cc -std=c99 -D_POSIX_C_SOURCE=200809L -pedantic -Wall -Wextra -Werror %s '%s' -o '%s' "
                      "$(pkg-config --cflags --libs milena)",
                      library_folder, SANITIZER, source, program);
  const char *compile[] = {"sh", "-c", command, NULL};
  EXPECT_EQ_INT(0, run(compile, &compiled, &complaints));
  EXPECT_EQ_STR("", complaints);
  g_autofree char *version = g_strconcat(milena_version(), "\n", NULL);
  EXPECT_EQ_STR(version, compiled);
  expect_hello(program, library_folder);
}
