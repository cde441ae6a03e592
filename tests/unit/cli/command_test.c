/* The milena program itself, as a process, against a fake cluster in this one. Input and output are files of the test's
 * folder, so nobody waits for anybody. */
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shim/shim.h"
#include "tests/unit/client/fake_cluster.h"

/* What a run said. */
typedef struct {
  int exit_code; /* 128 + signal when one ended it */
  char *out;
  gsize out_length;
  char *err;
} Ran;

static void ran_clear(Ran *ran) {
  g_clear_pointer(&ran->out, g_free);
  g_clear_pointer(&ran->err, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Ran, ran_clear)

/* A process that was started; its standard output may be a pipe. */
typedef struct {
  GPid pid;
  int out; /* the reading end, or -1 */
} Process;

static int open_file(const char *name, int flags) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), name, NULL);
  return open(path, flags | O_CLOEXEC, 0600);
}

/* Start milena with standard input from the file "in", standard error to "err", and output to "out" or to a pipe. */
static Process start(FakeCluster *cluster, gboolean pipe_out, const char *const *words) {
  Process process = {.out = -1};
  int in = open_file("in", O_RDONLY | O_CREAT), err = open_file("err", O_WRONLY | O_CREAT | O_TRUNC), pipes[2];
  int out = pipe_out ? -1 : open_file("out", O_WRONLY | O_CREAT | O_TRUNC);
  if (pipe_out && pipe2(pipes, O_CLOEXEC) == 0) {
    process.out = pipes[0];
    out = pipes[1];
  }
  g_autofree char *bootstrap = cluster ? fake_cluster_bootstrap(cluster) : g_strdup("127.0.0.1:1");
  g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "MILENA_BOOTSTRAP", bootstrap, TRUE);
  g_autoptr(GPtrArray) argv = g_ptr_array_new();
  g_ptr_array_add(argv, (char *)shim_source_path("client/cli/milena"));
  for (; *words; words++)
    g_ptr_array_add(argv, (char *)*words);
  g_ptr_array_add(argv, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_spawn_async_with_fds(NULL, (char **)argv->pdata, environment, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                              &process.pid, in, out, err, &error))
    shim_fail(__FILE__, __LINE__, "milena can't be started: %s", error->message);
  close(in);
  close(out);
  close(err);
  return process;
}

/* Returns its exit code. */
static int wait_for_end(Process *process) {
  int status = 0;
  waitpid(process->pid, &status, 0);
  if (process->out >= 0)
    close(process->out);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *read_file(const char *name, gsize *ret_length) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), name, NULL);
  char *text = NULL;
  return g_file_get_contents(path, &text, ret_length, NULL) ? text : g_strdup("");
}

static Ran run_with_input(FakeCluster *cluster, const void *input, gsize length, const char *const *words) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "in", NULL);
  Ran ran = {.exit_code = -1};
  if (!g_file_set_contents(path, input, (gssize)length, NULL))
    shim_fail(__FILE__, __LINE__, "the input can't be written");
  Process process = start(cluster, FALSE, words);
  ran.exit_code = wait_for_end(&process);
  ran.out = read_file("out", &ran.out_length);
  ran.err = read_file("err", NULL);
  return ran;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define RUN(cluster, ...) run_with_input((cluster), "", 0, WORDS(__VA_ARGS__))
#define RUN_WITH(cluster, input, ...) run_with_input((cluster), (input), strlen(input), WORDS(__VA_ARGS__))

/* It ended so, and says so when it did not. */
static void expect_exit(int line, int want, const Ran *ran) {
  if (ran->exit_code != want)
    shim_fail(__FILE__, line, "ended with %d, want %d: %s", ran->exit_code, want, ran->err ? ran->err : "");
}
#define EXPECT_EXIT(want, ran) expect_exit(__LINE__, (want), &(ran))
#define EXPECT_OUT(want, ran) EXPECT_EQ_BYTES((want), strlen(want), (ran).out, (ran).out_length)

/* One broker and the topic "t" of one partition. */
static FakeCluster *small_cluster(void) {
  FakeCluster *cluster = fake_cluster_new(1);
  fake_cluster_add_topic(cluster, "t", 1);
  return cluster;
}

/* ---- Command line ---- */

static const struct {
  const char *name, *words[6];
  int exit_code;
  const char *out, *err; /* what each contains; NULL: it is empty */
} LINES[] = {
    {"no_command", {NULL}, 2, NULL, "Commands:"},
    {"help", {"help"}, 0, "topics create NAME", NULL},
    {"help_of_a_command", {"help", "produce"}, 0, "--key-regex", NULL},
    {"help_flag", {"consume", "--help"}, 0, "Examples:", NULL},
    {"help_of_a_group", {"topics", "--help"}, 0, "topics delete", NULL},
    {"version", {"--version"}, 0, "milena 0.", NULL},
    {"unknown_command", {"frobnicate"}, 2, NULL, "milena help"},
    {"near_command", {"topcis", "list"}, 2, NULL, "did you mean 'milena topics list'"},
    {"near_subcommand", {"topics", "lst"}, 2, NULL, "did you mean 'milena topics list'"},
    {"unknown_option", {"topics", "list", "--colour"}, 2, NULL, "--colour"},
    {"missing_argument", {"consume"}, 2, NULL, "TOPIC is missing"},
    {"argument_too_many", {"topics", "list", "x"}, 2, NULL, "'x'"},
    {"bad_output", {"topics", "list", "--output", "xml"}, 2, NULL, "table or json"},
    {"bad_bootstrap", {"topics", "list", "--bootstrap", "x:y"}, 2, NULL, "x:y"},
    {"bad_acks", {"produce", "t", "--acks", "some"}, 2, NULL, "none, leader, all"},
    {"bad_idempotent", {"produce", "t", "--idempotent", "maybe"}, 2, NULL, "true, false"},
    {"idempotent_without_acks", {"produce", "t", "--idempotent=true", "--acks=none"}, 2, NULL, "--acks leader or all"},
    {"bad_key_rule", {"produce", "t", "--key-field=1", "--key-regex=x"}, 2, NULL, "exclude"},
    {"bad_separator", {"produce", "t", "--record-separator", "\\q"}, 2, NULL, "--record-separator"},
    {"bad_header", {"produce", "t", "--header", "x"}, 2, NULL, "name=value"},
    {"bad_format", {"consume", "t", "--format", "%x"}, 2, NULL, "%x"},
    {"bad_from", {"consume", "t", "--from", "soon"}, 2, NULL, "--from"},
    {"partition_twice", {"consume", "t", "-p1", "-p", "1"}, 2, NULL, "twice"},
    {"no_partitions", {"topics", "create", "t", "--partitions", "0"}, 2, NULL, "--partitions is 0, but must be from 1"},
    {"unknown_config", {"topics", "create", "t", "--config", "a=b"}, 2, NULL, "max.message.bytes"},
    {"nothing_to_alter", {"topics", "alter", "t"}, 2, NULL, "nothing to change"},
    {"delete_unconfirmed", {"topics", "delete", "t"}, 2, NULL, "--yes"},
    {"even_controllers", {"local", "up", "--controllers", "2"}, 2, NULL, "1, 3 or 5"},
    {"no_member", {"controllers", "add", "10.0.0.1:7750"}, 2, NULL, "2=10.0.0.2:7750"},
    {"bad_member_id", {"controllers", "add", "x=10.0.0.1:7750"}, 2, NULL, "controller's id"},
    {"bad_id", {"controllers", "remove", "0"}, 2, NULL, "controller's id"},
    {"nobody_to_begin_with", {"controllers", "bootstrap"}, 2, NULL, "ID=ADDRESS"},
    {"bad_broker", {"brokers", "drain", "one"}, 2, NULL, "broker's id"},
    {"no_broker", {"brokers", "describe"}, 2, NULL, "ID is missing"},
    {"no_moves", {"partitions", "reassign", "t"}, 2, NULL, "0=1,2,3"},
    {"bad_move", {"partitions", "reassign", "t", "0:1"}, 2, NULL, "0=1,2,3"},
    {"moves_and_plan", {"partitions", "reassign", "t", "0=1", "--away-from=2"}, 2, NULL, "not both"},
    {"bad_factor", {"partitions", "reassign", "t", "-r", "99"}, 2, NULL, "from 1 to 16"},
    {"cancel_what", {"partitions", "cancel"}, 2, NULL, "--all"},
    {"cancel_both", {"partitions", "cancel", "t", "--all"}, 2, NULL, "--all"},
    {"two_filters", {"partitions", "status", "--all", "--moving"}, 2, NULL, "exclude"},
    {"unclean_of_all", {"partitions", "elect", "--unclean", "--yes"}, 2, NULL, "needs a topic"},
    {"unclean_unconfirmed", {"partitions", "elect", "t", "--unclean"}, 2, NULL, "--yes"},
    {"nobody_there", {"topics", "list", "--timeout", "1"}, 1, NULL, "127.0.0.1:1"},
};

TEST_ROWS(command_line, LINES) {
  g_auto(Ran) ran = run_with_input(NULL, "", 0, LINES[row].words);
  EXPECT_EXIT(LINES[row].exit_code, ran);
  const char *out = ran.out;
  EXPECT_CONTAINS(out, LINES[row].out ? LINES[row].out : "");
  EXPECT_CONTAINS(ran.err, LINES[row].err ? LINES[row].err : "");
  EXPECT_EQ_INT(LINES[row].out != NULL, *out != 0);
  EXPECT_EQ_INT(LINES[row].err != NULL, *ran.err != 0);
}

/* ---- controllers ---- */

TEST(controllers, are_shown_to_people_and_programs) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_set_controllers(cluster, 2, 1);
  g_auto(Ran) list = RUN(cluster, "controllers", "list");
  EXPECT_EXIT(0, list);
  const char *out = list.out;
  EXPECT_CONTAINS(out, "Cluster the-cluster, term 7, committed up to 1234, controller 1 is active");
  EXPECT_CONTAINS(out, "standing by");
  g_auto(Ran) added = RUN(cluster, "controllers", "add", "3=127.0.0.1:1");
  EXPECT_EXIT(0, added);
  EXPECT_CONTAINS(added.err, "still catches up");
  EXPECT_CONTAINS(added.err, "controller 3: nobody listens there");
  g_auto(Ran) json = RUN(cluster, "controllers", "list", "--output", "json");
  const char *text = json.out;
  EXPECT_CONTAINS(text, "\"active_id\": 1");
  EXPECT_CONTAINS(text, "\"role\": \"learner\"");
  EXPECT_CONTAINS(text, "\"heard_ago_ms\": null");
  g_auto(Ran) risky = RUN(cluster, "controllers", "remove", "2");
  EXPECT_EXIT(1, risky);
  EXPECT_CONTAINS(risky.err, "QUORUM_AT_RISK");
  g_auto(Ran) removed = RUN(cluster, "controllers", "remove", "3");
  EXPECT_EXIT(0, removed);
  g_auto(Ran) moved = RUN(cluster, "controllers", "transfer", "2");
  EXPECT_EXIT(0, moved);
  out = moved.out;
  EXPECT_CONTAINS(out, "controller 2 is active");
}

TEST(controllers, begin_a_cluster) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(1);
  fake_cluster_set_controllers(cluster, 0, -1);
  g_auto(Ran) before = RUN(cluster, "controllers", "list");
  const char *out = before.out;
  EXPECT_CONTAINS(out, "waits for its cluster");
  g_auto(Ran) begun = RUN(cluster, "controllers", "bootstrap", "1=127.0.0.1:1");
  EXPECT_EXIT(0, begun);
  g_auto(Ran) again = RUN(cluster, "controllers", "bootstrap", "1=127.0.0.1:1");
  EXPECT_EXIT(1, again);
  EXPECT_CONTAINS(again.err, "ALREADY_BOOTSTRAPPED");
}

/* ---- brokers, partitions ---- */

TEST(brokers, are_drained_and_taken_back) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 2);
  g_auto(Ran) list = RUN(cluster, "brokers", "list");
  EXPECT_EXIT(0, list);
  const char *out = list.out;
  EXPECT_CONTAINS(out, "  up ");
  g_auto(Ran) checked = RUN(cluster, "brokers", "drain", "2", "--dry-run");
  EXPECT_EXIT(0, checked);
  EXPECT_CONTAINS(checked.err, "nothing was changed");
  g_auto(Ran) drained = RUN(cluster, "brokers", "drain", "2");
  EXPECT_EXIT(0, drained);
  out = drained.out;
  EXPECT_CONTAINS(out, "drained");
  EXPECT_CONTAINS(drained.err, "still leads 1 partition that nobody else can lead");
  g_auto(Ran) json = RUN(cluster, "brokers", "list", "-O", "json");
  out = json.out;
  EXPECT_CONTAINS(out, "\"drained\": true");
  g_auto(Ran) described = RUN(cluster, "brokers", "describe", "2");
  EXPECT_EXIT(0, described);
  out = described.out;
  EXPECT_CONTAINS(out, "drained");
  EXPECT_CONTAINS(out, "\nt ");
  g_auto(Ran) undrained = RUN(cluster, "brokers", "undrain", "2");
  EXPECT_EXIT(0, undrained);
  out = undrained.out;
  EXPECT_CONTAINS(out, "  up ");
  g_auto(Ran) unknown = RUN(cluster, "brokers", "drain", "9");
  EXPECT_EXIT(1, unknown);
  EXPECT_CONTAINS(unknown.err, "[UNKNOWN_BROKER]");
}

TEST(partitions, are_moved_and_waited_for) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(3);
  fake_cluster_add_topic(cluster, "t", 2);
  g_auto(Ran) checked = RUN(cluster, "partitions", "reassign", "t", "0=3,1", "--dry-run");
  EXPECT_EXIT(0, checked);
  const char *out = checked.out;
  EXPECT_CONTAINS(out, "3,1");
  g_auto(Ran) quiet = RUN(cluster, "partitions", "status");
  EXPECT_OUT("2 partitions: 0 under-replicated, 0 below the minimum, 0 without a leader, 0 moving\n", quiet);
  g_auto(Ran) moved = RUN(cluster, "partitions", "reassign", "t", "0=3,1");
  EXPECT_EXIT(0, moved);
  out = moved.out;
  EXPECT_CONTAINS(out, "moving");
  g_auto(Ran) json = RUN(cluster, "partitions", "status", "--moving", "-O", "json");
  out = json.out;
  EXPECT_CONTAINS(out, "\"moving\": 1");
  EXPECT_CONTAINS(out, "\"state\": \"moving\"");
  EXPECT_CONTAINS(out, "\"target_in_sync\": 1");
  g_auto(Ran) late = RUN(cluster, "partitions", "status", "--wait", "--timeout", "0");
  EXPECT_EXIT(2, late);
  g_auto(Ran) waited = RUN(cluster, "partitions", "status", "t", "--wait", "--all");
  EXPECT_EXIT(0, waited);
  out = waited.out;
  EXPECT_CONTAINS(out, "0 moving");
  EXPECT_CONTAINS(out, "ok");
}

TEST(partitions, are_planned_for_a_whole_topic) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(3);
  fake_cluster_add_topic(cluster, "t", 2);
  g_auto(Ran) planned = RUN(cluster, "partitions", "reassign", "t", "-r", "2", "--dry-run", "-O", "json");
  EXPECT_EXIT(0, planned);
  const char *out = planned.out;
  EXPECT_CONTAINS(out, "\"partition\": 1");
  g_auto(Ran) none = RUN(cluster, "partitions", "reassign", "t", "--away-from", "3");
  EXPECT_EXIT(0, none);
  EXPECT_CONTAINS(none.err, "nothing to move");
  g_auto(Ran) few = RUN(cluster, "partitions", "reassign", "t", "-r", "4");
  EXPECT_EXIT(1, few);
  EXPECT_CONTAINS(few.err, "one more broker");
  g_auto(Ran) begun = RUN(cluster, "partitions", "reassign", "t", "--away-from", "1");
  EXPECT_EXIT(0, begun);
  g_auto(Ran) cancelled = RUN(cluster, "partitions", "cancel", "t");
  EXPECT_OUT("Took back 1 reassignment.\n", cancelled);
  g_auto(Ran) none_left = RUN(cluster, "partitions", "cancel", "--all", "-O", "json");
  EXPECT_OUT("{\n  \"cancelled\": 0\n}\n", none_left);
  g_auto(Ran) unknown = RUN(cluster, "partitions", "reassign", "t", "0=9");
  EXPECT_EXIT(1, unknown);
  EXPECT_CONTAINS(unknown.err, "[UNKNOWN_BROKER]");
}

TEST(partitions, without_a_leader_are_shown_and_get_one) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 2);
  fake_cluster_set_leader(cluster, "t", 1, -1, TRUE);
  g_auto(Ran) status = RUN(cluster, "partitions", "status", "--no-leader");
  EXPECT_EXIT(0, status);
  const char *out = status.out;
  EXPECT_CONTAINS(out, "1 without a leader");
  EXPECT_CONTAINS(out, "no leader");
  g_auto(Ran) preferred = RUN(cluster, "partitions", "elect");
  EXPECT_OUT("No leader changed.\n", preferred);
  g_auto(Ran) checked = RUN(cluster, "partitions", "elect", "t", "1", "--unclean", "--dry-run");
  EXPECT_EXIT(0, checked);
  EXPECT_CONTAINS(checked.err, "nothing was changed");
  g_auto(Ran) elected = RUN(cluster, "partitions", "elect", "t", "1", "--unclean", "--yes", "-O", "json");
  EXPECT_EXIT(0, elected);
  out = elected.out;
  EXPECT_CONTAINS(out, "\"unclean\": true");
  g_auto(Ran) again = RUN(cluster, "partitions", "elect", "t", "1", "--unclean", "--yes");
  EXPECT_OUT("No leader changed.\n", again);
}

/* ---- produce ---- */

TEST(produce, cuts_records_and_finds_keys) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) ran =
      RUN_WITH(cluster, "k1:one\n\nk2:two\nloose", "produce", "t", "--key-delimiter", ":", "--skip-empty");
  EXPECT_EXIT(0, ran);
  const char *out = ran.out;
  EXPECT_CONTAINS(out, "3 records (");
  EXPECT_CONTAINS(out, "0 failed");
  EXPECT_CONTAINS(out, "1 without a key");
  g_auto(Ran) read = RUN(cluster, "consume", "t", "--format", "%K %k=%v\\n");
  EXPECT_OUT("2 k1=one\n2 k2=two\n-1 =loose\n", read);
}

TEST(produce, sums_up_in_json) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) ran = RUN_WITH(cluster, "one\ntwo\n", "--output", "json", "produce", "t");
  EXPECT_EXIT(0, ran);
  const char *out = ran.out;
  EXPECT_CONTAINS(out, "{\"topic\":\"t\",\"records\":2,\"delivered\":2,\"failed\":0,");
  EXPECT_CONTAINS(out, "\"bytes\":6,");
}

TEST(produce, tells_the_number_of_a_record_that_is_too_large_and_goes_on) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_set_max_message_bytes(cluster, "t", 1024);
  g_autofree char *large = g_strnfill(5000, 'x');
  g_autofree char *input = g_strdup_printf("one\n%s\nthree\n", large);
  g_auto(Ran) ran = RUN_WITH(cluster, input, "produce", "t");
  EXPECT_EXIT(1, ran);
  EXPECT_CONTAINS(ran.err, "record 2:");
  EXPECT_CONTAINS(ran.err, "1024");
  g_auto(Ran) read = RUN(cluster, "consume", "t");
  EXPECT_OUT("one\nthree\n", read);
}

TEST(produce, refuses_records_without_a_key_when_told_so) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) ran = RUN_WITH(cluster, "a b\nc\n", "produce", "t", "--key-field", "2", "--require-key");
  EXPECT_EXIT(1, ran);
  EXPECT_CONTAINS(ran.err, "record 2: it has no key");
  EXPECT_EQ_INT(1, fake_cluster_log_end(cluster, "t", 0));
}

/* Its input stays open, and so a test may write more: milena's standard input is the file "in". */
static int open_endless_input(void) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "in", NULL);
  EXPECT_EQ_INT(0, mkfifo(path, 0600));
  return open(path, O_RDWR | O_CLOEXEC);
}

static void wait_for_items(FakeCluster *cluster, guint items) {
  while (fake_cluster_counters(cluster).items < items)
    g_usleep(1000);
}

TEST(produce, a_signal_ends_it_while_it_waits_for_input) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  int input = open_endless_input();
  Process process = start(cluster, FALSE, WORDS("produce", "t"));
  EXPECT_EQ_INT(4, write(input, "one\n", 4));
  wait_for_items(cluster, 1);
  kill(process.pid, SIGTERM);
  EXPECT_EQ_INT(128 + SIGTERM, wait_for_end(&process));
  close(input);
  g_autofree char *out = read_file("out", NULL), *err = read_file("err", NULL);
  const char *text = out;
  EXPECT_CONTAINS(text, "1 record (");
  EXPECT_EQ_STR("", err);
}

TEST(produce, a_signal_leaves_two_seconds_to_what_is_not_acknowledged) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_hold(cluster, TRUE);
  int input = open_endless_input();
  Process process = start(cluster, FALSE, WORDS("produce", "t"));
  EXPECT_EQ_INT(8, write(input, "one\ntwo\n", 8));
  wait_for_items(cluster, 1);
  gint64 begun_us = g_get_monotonic_time();
  kill(process.pid, SIGTERM);
  EXPECT_EQ_INT(128 + SIGTERM, wait_for_end(&process));
  EXPECT_TRUE(g_get_monotonic_time() - begun_us < 30 * G_USEC_PER_SEC); /* of the 120 s that records may take */
  close(input);
  g_autofree char *err = read_file("err", NULL);
  const char *text = err;
  EXPECT_CONTAINS(text, "2 records were not acknowledged, 2 of which may have been written");
  fake_cluster_hold(cluster, FALSE);
}

static gboolean has_pending_signal(GPid pid) {
  g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
  g_autofree char *status = NULL;
  EXPECT_TRUE(g_file_get_contents(path, &status, NULL, NULL));
  const char *pending = strstr(status, "ShdPnd:");
  return g_ascii_strtoull(pending + strlen("ShdPnd:"), NULL, 16) != 0;
}

TEST(produce, a_second_signal_ends_it_at_once) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_hold(cluster, TRUE);
  int input = open_endless_input();
  Process process = start(cluster, FALSE, WORDS("produce", "t"));
  EXPECT_EQ_INT(4, write(input, "one\n", 4));
  wait_for_items(cluster, 1);
  kill(process.pid, SIGINT);
  while (has_pending_signal(process.pid)) /* two that are pending are one */
    g_usleep(1000);
  kill(process.pid, SIGINT);
  EXPECT_EQ_INT(128 + SIGINT, wait_for_end(&process));
  close(input);
  g_autofree char *out = read_file("out", NULL);
  EXPECT_EQ_STR("", out); /* not even a summary */
  fake_cluster_hold(cluster, FALSE);
}

TEST(produce, ends_at_a_failure_that_is_not_the_records_own) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_fault(cluster, FAULT_REFUSE, FAILURE(CORRUPT_LOG), 1);
  g_auto(Ran) ran = RUN_WITH(cluster, "one\n", "produce", "t");
  EXPECT_EXIT(1, ran);
  EXPECT_CONTAINS(ran.err, "record 1:");
  EXPECT_CONTAINS(ran.err, "[CORRUPT_LOG]");
  const char *out = ran.out;
  EXPECT_CONTAINS(out, "1 failed");
}

static const struct {
  const char *name, *idempotent;
  gint64 records;
} AGAIN[] = {{"idempotent", "true", 1}, {"not_idempotent", "false", 2}};

TEST_ROWS(sends_again_what_may_have_been_written, AGAIN) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_fault(cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  g_auto(Ran) ran = RUN_WITH(cluster, "one\n", "produce", "t", "--idempotent", AGAIN[row].idempotent);
  EXPECT_EXIT(0, ran);
  const char *out = ran.out;
  EXPECT_CONTAINS(out, "1 batch sent again");
  EXPECT_EQ_INT(AGAIN[row].records, fake_cluster_log_end(cluster, "t", 0));
}

TEST(produce, or_tells_that_it_may_have_been_written) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_fault(cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  g_auto(Ran) ran = RUN_WITH(cluster, "one\n", "produce", "t", "--idempotent", "false", "--no-retry-unknown");
  EXPECT_EXIT(1, ran);
  const char *out = ran.out;
  EXPECT_CONTAINS(out, "1 of them may have been written");
  EXPECT_EQ_INT(1, fake_cluster_log_end(cluster, "t", 0));
}

TEST(produce, refuses_topics_and_partitions_and_files_that_are_not_there) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) topic = RUN(cluster, "produce", "u");
  EXPECT_EXIT(1, topic);
  EXPECT_CONTAINS(topic.err, "[UNKNOWN_TOPIC]");
  g_auto(Ran) partition = RUN(cluster, "produce", "t", "--partition", "1");
  EXPECT_EXIT(1, partition);
  EXPECT_CONTAINS(partition.err, "no partition 1");
  g_auto(Ran) file = RUN(cluster, "produce", "t", "--file", "/no/such/file");
  EXPECT_EXIT(1, file);
  EXPECT_CONTAINS(file.err, "/no/such/file");
  g_auto(Ran) folder = RUN(cluster, "produce", "t", "--file", "/");
  EXPECT_EXIT(1, folder);
  EXPECT_CONTAINS(folder.err, "folder");
}

/* ---- consume ---- */

TEST(consume, writes_bytes_as_they_are) {
  static const char INPUT[] = "a\0\xff\n|b\r\n|";
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) ran =
      run_with_input(cluster, INPUT, sizeof INPUT - 1, WORDS("produce", "t", "--record-separator", "|", "-H", "h=1"));
  EXPECT_EXIT(0, ran);
  g_auto(Ran) read = RUN(cluster, "consume", "t", "--format", "%v|");
  EXPECT_EQ_BYTES(INPUT, sizeof INPUT - 1, read.out, read.out_length);
  g_auto(Ran) json = RUN(cluster, "consume", "t", "--output", "json", "--count", "1");
  const char *out = json.out;
  EXPECT_CONTAINS(out, "\"value_base64\":\"YQD/Cg==\",\"headers\":[{\"key\":\"h\",\"value\":\"1\"}]}\n");
}

static const struct {
  const char *name, *words[8];
  int exit_code;
  const char *out, *err;
} PLACES[] = {
    {"all", {"consume", "t"}, 0, "a\nb\nc\n", ""},
    {"from_an_offset", {"consume", "t", "--from", "1"}, 0, "b\nc\n", ""},
    {"from_the_end", {"consume", "t", "--from", "end"}, 0, "", ""},
    {"from_behind_the_end", {"consume", "t", "--from", "9"}, 0, "", ""},
    {"from_an_hour_ago", {"consume", "t", "--from", "-1h"}, 0, "a\nb\nc\n", ""},
    {"from_the_future", {"consume", "t", "--from", "2099-01-01T00:00:00Z"}, 0, "", ""},
    {"count", {"consume", "t", "--count", "2"}, 0, "a\nb\n", ""},
    {"count_while_following", {"consume", "t", "-f", "--from", "1", "-n", "1"}, 0, "b\n", ""},
    {"count_of_nothing", {"consume", "t", "--count", "0"}, 2, "", "--count is 0, but must be 1 or more"},
    {"with_keys", {"consume", "t", "--print-key", "-n1"}, 0, "\ta\n", ""},
    {"summary", {"consume", "t", "--summary"}, 0, "a\nb\nc\n", "3 records (3 B)"},
    {"follow_behind_the_end", {"consume", "t", "-f", "--from", "9"}, 1, "", "from 0 to before 3"},
    {"unknown_topic", {"consume", "u"}, 1, "", "[UNKNOWN_TOPIC]"},
    {"unknown_partition", {"consume", "t", "-p", "7"}, 1, "", "no partition 7"},
};

TEST_ROWS(consume_places, PLACES) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) wrote = RUN_WITH(cluster, "a\nb\nc\n", "produce", "t");
  EXPECT_EXIT(0, wrote);
  g_auto(Ran) ran = run_with_input(cluster, "", 0, PLACES[row].words);
  EXPECT_EXIT(PLACES[row].exit_code, ran);
  EXPECT_OUT(PLACES[row].out, ran);
  EXPECT_CONTAINS(ran.err, PLACES[row].err);
}

TEST(consume, reads_all_partitions_to_their_ends) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 5);
  g_autoptr(GString) input = g_string_new(NULL);
  for (int i = 0; i < 5000; i++)
    g_string_append_printf(input, "%d:%d\n", i % 97, i);
  g_auto(Ran) wrote = RUN_WITH(cluster, input->str, "produce", "t", "--key-delimiter", ":");
  EXPECT_EXIT(0, wrote);
  g_auto(Ran) ran = RUN(cluster, "consume", "t", "--format", "%k:%v\\n");
  EXPECT_EXIT(0, ran);
  EXPECT_EQ_INT(input->len, ran.out_length);
  g_auto(Ran) one = RUN(cluster, "consume", "t", "-p", "0", "-p", "3", "--format", "%p\\n");
  const char *partitions = one.out;
  EXPECT_TRUE(strchr(partitions, '0') && strchr(partitions, '3'));
  EXPECT_NULL(strpbrk(partitions, "124"));
}

/* Reads until the process has written @text. */
static gboolean read_until(Process *process, const char *text) {
  char got[256] = "";
  gsize length = 0;
  while (!strstr(got, text) && length < sizeof got - 1) {
    ssize_t more = read(process->out, got + length, sizeof got - 1 - length);
    if (more <= 0)
      return FALSE;
    length += (gsize)more;
    got[length] = 0;
  }
  return TRUE;
}

TEST(consume, reads_what_has_a_leader_and_waits_for_the_rest) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  fake_cluster_add_topic(cluster, "t", 2);
  g_auto(Ran) here = RUN_WITH(cluster, "here\n", "produce", "t", "--partition", "0");
  g_auto(Ran) away = RUN_WITH(cluster, "away\n", "produce", "t", "--partition", "1");
  EXPECT_EXIT(0, here);
  EXPECT_EXIT(0, away);
  fake_cluster_set_leader(cluster, "t", 1, -1, TRUE);
  g_auto(Ran) ran = RUN(cluster, "consume", "t", "--timeout", "3");
  EXPECT_EXIT(1, ran);
  EXPECT_OUT("here\n", ran);
  EXPECT_CONTAINS(ran.err, "it has no leader now");
  Process waiting = start(cluster, TRUE, WORDS("consume", "t"));
  EXPECT_TRUE(read_until(&waiting, "here\n"));
  fake_cluster_set_leader(cluster, "t", 1, 2, TRUE);
  EXPECT_TRUE(read_until(&waiting, "away\n"));
  EXPECT_EQ_INT(0, wait_for_end(&waiting));
}

TEST(consume, follows_until_it_is_interrupted) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  Process follower = start(cluster, TRUE, WORDS("consume", "t", "--follow", "--from", "beginning"));
  g_auto(Ran) first = RUN_WITH(cluster, "one\n", "produce", "t");
  EXPECT_TRUE(read_until(&follower, "one\n"));
  g_auto(Ran) second = RUN_WITH(cluster, "two\n", "produce", "t");
  EXPECT_TRUE(read_until(&follower, "two\n"));
  kill(follower.pid, SIGINT);
  EXPECT_EQ_INT(0, wait_for_end(&follower));
}

TEST(consume, ends_quietly_when_its_reader_goes_away) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_autoptr(GString) input = g_string_new(NULL);
  for (int i = 0; i < 100000; i++)
    g_string_append(input, "some text to fill a pipe with\n");
  g_auto(Ran) wrote = RUN_WITH(cluster, input->str, "produce", "t");
  EXPECT_EXIT(0, wrote);
  Process process = start(cluster, TRUE, WORDS("consume", "t"));
  EXPECT_TRUE(read_until(&process, "\n"));
  close(process.out);
  process.out = -1;
  EXPECT_EQ_INT(0, wait_for_end(&process));
  g_autofree char *complaint = read_file("err", NULL);
  EXPECT_EQ_STR("", complaint);
}

/* ---- topics, cluster ---- */

TEST(topics, from_creation_to_deletion) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  g_auto(Ran) none = RUN(cluster, "topics", "list");
  const char *none_text = none.out;
  EXPECT_CONTAINS(none_text, "no topics yet");
  g_auto(Ran) created = RUN(cluster, "topics", "create", "orders", "-p", "3", "-c", "flush=os");
  EXPECT_EXIT(0, created);
  const char *created_text = created.out;
  EXPECT_CONTAINS(created_text, "Topic orders");
  g_auto(Ran) again = RUN(cluster, "topics", "create", "orders");
  EXPECT_EXIT(1, again);
  EXPECT_CONTAINS(again.err, "[TOPIC_EXISTS]");
  g_auto(Ran) tolerant = RUN(cluster, "topics", "create", "orders", "--if-missing");
  EXPECT_EXIT(0, tolerant);
  g_auto(Ran) listed = RUN(cluster, "topics", "list", "--output", "json");
  const char *listed_text = listed.out;
  EXPECT_CONTAINS(listed_text, "\"name\": \"orders\"");
  g_auto(Ran) described = RUN(cluster, "topics", "describe", "orders");
  const char *described_text = described.out;
  EXPECT_CONTAINS(described_text, "END OFFSET");
  g_auto(Ran) deleted = RUN(cluster, "topics", "delete", "orders", "--yes");
  EXPECT_EXIT(0, deleted);
  g_auto(Ran) missing = RUN(cluster, "topics", "describe", "orders");
  EXPECT_EXIT(1, missing);
  EXPECT_CONTAINS(missing.err, "[UNKNOWN_TOPIC]");
}

TEST(cluster, is_described) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  g_auto(Ran) table = RUN(cluster, "cluster", "describe");
  EXPECT_EXIT(0, table);
  const char *table_text = table.out;
  EXPECT_CONTAINS(table_text, "Cluster ");
  EXPECT_CONTAINS(table_text, "\nbroker ");
  g_auto(Ran) json = RUN(cluster, "cluster", "describe", "-O", "json");
  const char *json_text = json.out;
  EXPECT_CONTAINS(json_text, "\"brokers\": [");
}
