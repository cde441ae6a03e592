/* `milena bench` and `milena completion` as processes, against a fake cluster in this one. */
#include <glib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/shim/shim.h"
#include "tests/unit/client/fake_cluster.h"

#define ARGUMENTS_MAX 12

/* Run a program in the tests' folder, with the command `milena` in PATH. Returns its exit code. */
static int run(FakeCluster *cluster, const char *const *argv, char **ret_out, char **ret_err) {
  g_autofree char *program = g_strdup(shim_source_path("client/cli/milena"));
  g_autofree char *folder = g_path_get_dirname(program);
  g_autofree char *path = g_strconcat(folder, ":/usr/bin:/bin", NULL);
  g_autofree char *bootstrap = fake_cluster_bootstrap(cluster);
  g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "MILENA_BOOTSTRAP", bootstrap, TRUE);
  environment = g_environ_setenv(environment, "PATH", path, TRUE);
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_SEARCH_PATH_FROM_ENVP, NULL, NULL, ret_out, ret_err,
                    &status, &error))
    shim_fail(__FILE__, __LINE__, "%s can't be run: %s", argv[0], error->message);
  return g_spawn_check_wait_status(status, NULL) ? 0 : WEXITSTATUS(status);
}

/* ---- bench ---- */

static const struct {
  const char *name, *words[ARGUMENTS_MAX];
  int exit_code;
  const char *out, *err; /* what each contains */
} BENCHES[] = {
    {"produce",
     {"bench", "produce", "--records", "5000", "--producers", "2"},
     0,
     "5,000 records (500.0 kB)",
     "created"},
    {"produce_compressed", {"bench", "produce", "-t", "t", "-n", "500", "-z", "lz4", "-s", "1000"}, 0, "records/s", ""},
    {"produce_paced", {"bench", "produce", "-t", "t", "-n", "50", "--throughput", "1000"}, 0, "p99.9 ", ""},
    {"produce_json",
     {"bench", "produce", "-t", "t", "-n", "50", "-O", "json"},
     0,
     "{\"benchmark\":\"produce\",\"topic\":\"t\",\"records\":50,\"bytes\":5000,",
     ""},
    {"produce_json_latency", {"bench", "produce", "-t", "t", "-n", "50", "-O", "json"}, 0, "\"p99.9\":", ""},
    {"consume", {"bench", "consume", "-t", "t"}, 0, "consume     200 records (1.4 kB)", ""},
    {"consume_some", {"bench", "consume", "-t", "t", "-n", "10", "-O", "json"}, 0, "\"failed\":0", ""},
    {"consume_too_many",
     {"bench", "consume", "-t", "t", "-n", "900", "--timeout", "1"},
     1,
     "200 records",
     "nothing came"},
    {"consume_nothing_known", {"bench", "consume", "-t", "u"}, 1, "", "[UNKNOWN_TOPIC]"},
    {"consume_without_end", {"bench", "consume", "--from", "end"}, 2, "", "--records"},
    {"latency", {"bench", "latency", "-t", "t", "-n", "20"}, 0, "latency     20 records", ""},
    {"bad_size", {"bench", "produce", "--record-size", "1"}, 2, "", "--record-size is 1, but must be from 8"},
    {"bad_codec", {"bench", "produce", "--compression", "gzip"}, 2, "", "none, zstd, lz4"},
};

TEST_ROWS(bench, BENCHES) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 3);
  g_autofree char *ignored = NULL, *out = NULL, *err = NULL;
  const char *fill[] = {"bash", "-c", "seq 1000000 1000199 | milena produce t", NULL};
  EXPECT_EQ_INT(0, run(cluster, fill, &ignored, NULL));
  const char *argv[ARGUMENTS_MAX + 2] = {"milena"};
  for (guint i = 0; i < ARGUMENTS_MAX && BENCHES[row].words[i]; i++)
    argv[i + 1] = BENCHES[row].words[i];
  EXPECT_EQ_INT(BENCHES[row].exit_code, run(cluster, argv, &out, &err));
  EXPECT_CONTAINS(out, BENCHES[row].out);
  EXPECT_CONTAINS(err, BENCHES[row].err);
}

TEST(bench, tells_of_failures) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(1);
  fake_cluster_add_topic(cluster, "t", 1);
  fake_cluster_fault(cluster, FAULT_REFUSE, FAILURE(CORRUPT_BATCH), 1);
  const char *argv[] = {"milena", "bench", "produce", "-t", "t", "-n", "10", NULL};
  g_autofree char *out = NULL, *err = NULL;
  EXPECT_EQ_INT(1, run(cluster, argv, &out, &err));
  EXPECT_CONTAINS(out, " records failed");
  EXPECT_CONTAINS(err, "[CORRUPT_BATCH]");
}

/* ---- completion ---- */

/* Loads the script, then completes the words in $line, the last of which is being typed. */
#define COMPLETE                                                                                                       \
  "source <(milena completion bash); COMP_WORDS=($line); [[ $line != *' ' ]] || COMP_WORDS+=(''); "                    \
  "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _milena; echo \"${COMPREPLY[*]}\""

static const struct {
  const char *name, *line, *want;
} LINES[] = {
    {"commands", "milena ",
     "bench brokers cluster completion consume controllers groups local partitions produce records topics\n"},
    {"begun", "milena to", "topics\n"},
    {"second_word", "milena topics de", "delete describe\n"},
    {"topics", "milena produce ", "orders others\n"},
    {"topics_begun", "milena -b $MILENA_BOOTSTRAP topics describe ord", "orders\n"},
    {"topic_option", "milena bench consume --topic ot", "others\n"},
    {"brokers", "milena brokers drain ", "1\n"},
    {"broker_option", "milena partitions reassign orders --away-from ", "1\n"},
    {"moved_topics", "milena partitions reassign ord", "orders\n"},
    {"options", "milena topics create --pa", "--partitions\n"},
    {"values", "milena produce t --acks l", "leader\n"},
    {"shells", "milena completion ", "bash zsh\n"},
    {"one_topic_is_enough", "milena produce orders ", "\n"},
    {"nothing", "milena frobnicate ", "\n"},
};

TEST_ROWS(completes, LINES) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(1);
  fake_cluster_add_topic(cluster, "orders", 1);
  fake_cluster_add_topic(cluster, "others", 1);
  g_autofree char *script = g_strdup_printf("line=\"%s\"; " COMPLETE, LINES[row].line);
  const char *argv[] = {"bash", "-c", script, NULL};
  g_autofree char *out = NULL, *err = NULL;
  EXPECT_EQ_INT(0, run(cluster, argv, &out, &err));
  EXPECT_EQ_STR(LINES[row].want, out);
  EXPECT_EQ_STR("", err);
}

TEST(completion, knows_its_shells) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(1);
  const char *zsh[] = {"milena", "completion", "zsh", NULL}, *fish[] = {"milena", "completion", "fish", NULL};
  g_autofree char *out = NULL, *err = NULL;
  EXPECT_EQ_INT(0, run(cluster, zsh, &out, NULL));
  EXPECT_CONTAINS(out, "#compdef milena");
  EXPECT_CONTAINS(out, "    'topics list'\n");
  EXPECT_EQ_INT(2, run(cluster, fish, NULL, &err));
  EXPECT_CONTAINS(err, "bash or zsh");
}
