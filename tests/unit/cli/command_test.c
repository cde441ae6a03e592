/* The milena program itself, as a process, against a fake cluster in this one. */
#include <gio/gio.h>
#include <signal.h>
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/unit/client/fake_cluster.h"

/* What a run said. */
typedef struct {
  int exit_code; /* 128 + signal when one ended it */
  GBytes *out;
  char *err;
} Ran;

static void ran_clear(Ran *ran) {
  g_clear_pointer(&ran->out, g_bytes_unref);
  g_clear_pointer(&ran->err, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Ran, ran_clear)

static GSubprocess *start(FakeCluster *cluster, GSubprocessFlags flags, const char *const *words) {
  g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(flags);
  g_autofree char *bootstrap = cluster ? fake_cluster_bootstrap(cluster) : g_strdup("127.0.0.1:1");
  g_subprocess_launcher_setenv(launcher, "MILENA_BOOTSTRAP", bootstrap, TRUE);
  g_autoptr(GPtrArray) argv = g_ptr_array_new();
  g_ptr_array_add(argv, (char *)shim_source_path("client/cli/milena"));
  for (; *words; words++)
    g_ptr_array_add(argv, (char *)*words);
  g_ptr_array_add(argv, NULL);
  g_autoptr(GError) error = NULL;
  GSubprocess *process = g_subprocess_launcher_spawnv(launcher, (const char *const *)argv->pdata, &error);
  if (!process)
    shim_fail(__FILE__, __LINE__, "milena can't be started: %s", error->message);
  return process;
}

static int exit_code_of(GSubprocess *process) {
  return g_subprocess_get_if_exited(process) ? g_subprocess_get_exit_status(process)
                                             : 128 + g_subprocess_get_term_sig(process);
}

static char *text_of(GBytes *bytes) {
  gsize length = bytes ? g_bytes_get_size(bytes) : 0;
  return length > 0 ? g_strndup(g_bytes_get_data(bytes, NULL), length) : g_strdup("");
}

static Ran run_with_input(FakeCluster *cluster, const void *input, gsize length, const char *const *words) {
  Ran ran = {.exit_code = -1};
  /* Without input there is no pipe that the process could leave unread. */
  GSubprocessFlags in_flag = length > 0 ? G_SUBPROCESS_FLAGS_STDIN_PIPE : G_SUBPROCESS_FLAGS_NONE;
  g_autoptr(GSubprocess) process =
      start(cluster, in_flag | G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE, words);
  if (!process)
    return ran;
  g_autoptr(GBytes) in = length > 0 ? g_bytes_new(input, length) : NULL;
  g_autoptr(GBytes) err = NULL;
  g_subprocess_communicate(process, in, NULL, &ran.out, &err, NULL);
  ran.err = text_of(err);
  ran.exit_code = exit_code_of(process);
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
#define EXPECT_OUT(want, ran)                                                                                          \
  EXPECT_EQ_BYTES((want), strlen(want), g_bytes_get_data((ran).out, NULL), g_bytes_get_size((ran).out))

static char *out_text(const Ran *ran) {
  return text_of(ran->out);
}

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
    {"bad_key_rule", {"produce", "t", "--key-field=1", "--key-regex=x"}, 2, NULL, "exclude"},
    {"bad_separator", {"produce", "t", "--record-separator", "\\q"}, 2, NULL, "--record-separator"},
    {"bad_header", {"produce", "t", "--header", "x"}, 2, NULL, "name=value"},
    {"bad_format", {"consume", "t", "--format", "%x"}, 2, NULL, "%x"},
    {"bad_from", {"consume", "t", "--from", "soon"}, 2, NULL, "--from"},
    {"partition_twice", {"consume", "t", "-p1", "-p", "1"}, 2, NULL, "twice"},
    {"unknown_config", {"topics", "create", "t", "--config", "a=b"}, 2, NULL, "max.message.bytes"},
    {"nothing_to_alter", {"topics", "alter", "t"}, 2, NULL, "nothing to change"},
    {"delete_unconfirmed", {"topics", "delete", "t"}, 2, NULL, "--yes"},
    {"several_controllers", {"local", "up", "--controllers", "3"}, 2, NULL, "controller"},
    {"nobody_there", {"topics", "list", "--timeout", "1"}, 1, NULL, "127.0.0.1:1"},
};

TEST_ROWS(command_line, LINES) {
  g_auto(Ran) ran = run_with_input(NULL, "", 0, LINES[row].words);
  EXPECT_EXIT(LINES[row].exit_code, ran);
  g_autofree char *out = out_text(&ran);
  EXPECT_CONTAINS(out, LINES[row].out ? LINES[row].out : "");
  EXPECT_CONTAINS(ran.err, LINES[row].err ? LINES[row].err : "");
  EXPECT_EQ_INT(LINES[row].out != NULL, *out != 0);
  EXPECT_EQ_INT(LINES[row].err != NULL, *ran.err != 0);
}

/* ---- produce ---- */

TEST(produce, cuts_records_and_finds_keys) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_auto(Ran) ran =
      RUN_WITH(cluster, "k1:one\n\nk2:two\nloose", "produce", "t", "--key-delimiter", ":", "--skip-empty");
  EXPECT_EXIT(0, ran);
  g_autofree char *out = out_text(&ran);
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
  g_autofree char *out = out_text(&ran);
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

TEST(produce, ends_at_a_failure_that_is_not_the_records_own) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_fault(cluster, FAULT_REFUSE, FAILURE(CORRUPT_LOG), 1);
  g_auto(Ran) ran = RUN_WITH(cluster, "one\n", "produce", "t");
  EXPECT_EXIT(1, ran);
  EXPECT_CONTAINS(ran.err, "record 1:");
  EXPECT_CONTAINS(ran.err, "[CORRUPT_LOG]");
  g_autofree char *out = out_text(&ran);
  EXPECT_CONTAINS(out, "1 failed");
}

TEST(produce, sends_again_what_may_have_been_written) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_fault(cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  g_auto(Ran) ran = RUN_WITH(cluster, "one\n", "produce", "t");
  EXPECT_EXIT(0, ran);
  g_autofree char *out = out_text(&ran);
  EXPECT_CONTAINS(out, "1 batch sent again");
  EXPECT_EQ_INT(2, fake_cluster_log_end(cluster, "t", 0)); /* twice, until producers are idempotent */
}

TEST(produce, or_tells_that_it_may_have_been_written) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  fake_cluster_fault(cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  g_auto(Ran) ran = RUN_WITH(cluster, "one\n", "produce", "t", "--no-retry-unknown");
  EXPECT_EXIT(1, ran);
  g_autofree char *out = out_text(&ran);
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
  EXPECT_EQ_BYTES(INPUT, sizeof INPUT - 1, g_bytes_get_data(read.out, NULL), g_bytes_get_size(read.out));
  g_auto(Ran) json = RUN(cluster, "consume", "t", "--output", "json", "--count", "1");
  g_autofree char *out = out_text(&json);
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
  EXPECT_EQ_INT(input->len, g_bytes_get_size(ran.out));
  g_auto(Ran) one = RUN(cluster, "consume", "t", "-p", "0", "-p", "3", "--format", "%p\\n");
  g_autofree char *partitions = out_text(&one);
  EXPECT_TRUE(strchr(partitions, '0') && strchr(partitions, '3'));
  EXPECT_NULL(strpbrk(partitions, "124"));
}

/* Reads until the process has written @text. */
static gboolean read_until(GSubprocess *process, const char *text) {
  GInputStream *out = g_subprocess_get_stdout_pipe(process);
  char got[256] = "";
  gsize length = 0;
  while (!strstr(got, text) && length < sizeof got - 1) {
    gssize more = g_input_stream_read(out, got + length, sizeof got - 1 - length, NULL, NULL);
    if (more <= 0)
      return FALSE;
    length += (gsize)more;
    got[length] = 0;
  }
  return TRUE;
}

TEST(consume, follows_until_it_is_interrupted) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_autoptr(GSubprocess) follower =
      start(cluster, G_SUBPROCESS_FLAGS_STDOUT_PIPE, WORDS("consume", "t", "--follow", "--from", "beginning"));
  g_auto(Ran) first = RUN_WITH(cluster, "one\n", "produce", "t");
  EXPECT_TRUE(read_until(follower, "one\n"));
  g_auto(Ran) second = RUN_WITH(cluster, "two\n", "produce", "t");
  EXPECT_TRUE(read_until(follower, "two\n"));
  g_subprocess_send_signal(follower, SIGINT);
  g_subprocess_wait(follower, NULL, NULL);
  EXPECT_EQ_INT(0, exit_code_of(follower));
}

TEST(consume, ends_quietly_when_its_reader_goes_away) {
  g_autoptr(FakeCluster) cluster = small_cluster();
  g_autoptr(GString) input = g_string_new(NULL);
  for (int i = 0; i < 100000; i++)
    g_string_append(input, "some text to fill a pipe with\n");
  g_auto(Ran) wrote = RUN_WITH(cluster, input->str, "produce", "t");
  EXPECT_EXIT(0, wrote);
  g_autoptr(GSubprocess) process =
      start(cluster, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE, WORDS("consume", "t"));
  EXPECT_TRUE(read_until(process, "\n"));
  g_input_stream_close(g_subprocess_get_stdout_pipe(process), NULL, NULL);
  g_subprocess_wait(process, NULL, NULL);
  EXPECT_EQ_INT(0, exit_code_of(process));
  char complaint;
  EXPECT_EQ_INT(0, g_input_stream_read(g_subprocess_get_stderr_pipe(process), &complaint, 1, NULL, NULL));
}

/* ---- topics, cluster ---- */

TEST(topics, from_creation_to_deletion) {
  g_autoptr(FakeCluster) cluster = fake_cluster_new(2);
  g_auto(Ran) none = RUN(cluster, "topics", "list");
  g_autofree char *none_text = out_text(&none);
  EXPECT_CONTAINS(none_text, "no topics yet");
  g_auto(Ran) created = RUN(cluster, "topics", "create", "orders", "-p", "3", "-c", "flush=os");
  EXPECT_EXIT(0, created);
  g_autofree char *created_text = out_text(&created);
  EXPECT_CONTAINS(created_text, "Topic orders");
  g_auto(Ran) again = RUN(cluster, "topics", "create", "orders");
  EXPECT_EXIT(1, again);
  EXPECT_CONTAINS(again.err, "[TOPIC_EXISTS]");
  g_auto(Ran) tolerant = RUN(cluster, "topics", "create", "orders", "--if-missing");
  EXPECT_EXIT(0, tolerant);
  g_auto(Ran) listed = RUN(cluster, "topics", "list", "--output", "json");
  g_autofree char *listed_text = out_text(&listed);
  EXPECT_CONTAINS(listed_text, "\"name\": \"orders\"");
  g_auto(Ran) described = RUN(cluster, "topics", "describe", "orders");
  g_autofree char *described_text = out_text(&described);
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
  g_autofree char *table_text = out_text(&table);
  EXPECT_CONTAINS(table_text, "Cluster ");
  EXPECT_CONTAINS(table_text, "\nbroker ");
  g_auto(Ran) json = RUN(cluster, "cluster", "describe", "-O", "json");
  g_autofree char *json_text = out_text(&json);
  EXPECT_CONTAINS(json_text, "\"brokers\": [");
}
