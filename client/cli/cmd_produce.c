/* `milena produce TOPIC`: options, the topic's limits, the summary. The work is in produce_run.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/interrupt.h"
#include "client/cli/produce_run.h"
#include "client/cli/producer_words.h"
#include "client/cli/text.h"

/* A compressed batch may hold more than the topic's bound; this is the format's own. */
#define UNCOMPRESSED_BYTES_MAX (64u << 20)
#define TIMEOUT_S_MAX 86000

/* The options as they were given. */
typedef struct {
  char *file, *separator, *key_delimiter, *key_regex, *acks, *compression, *partitioner, *idempotent;
  gint key_field, partition, linger_ms, batch_bytes;
  char **headers;
  gboolean skip_empty, require_key, no_progress, no_retry_unknown;
} Options;

static void options_clear(Options *options) {
  char *strings[] = {options->file, options->separator,   options->key_delimiter, options->key_regex,
                     options->acks, options->compression, options->partitioner,   options->idempotent};
  for (guint i = 0; i < G_N_ELEMENTS(strings); i++)
    g_free(strings[i]);
  g_strfreev(options->headers);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static Failure *producer_options(const Cli *cli, const Options *options, MilenaProducerOptions *ret_options) {
  milena_producer_options_init(ret_options);
  const ProducerWords words = {options->acks, options->compression, options->partitioner, options->idempotent};
  Failure *failure = producer_words_apply(&words, ret_options);
  if (!failure && (options->linger_ms < 0 || options->linger_ms > 60000))
    failure =
        failure_new(FAILURE(INVALID_FIELD), "--linger is %d, but must be from 0 to 60000 ms.", options->linger_ms);
  if (!failure && options->batch_bytes && (options->batch_bytes < 1024 || options->batch_bytes > 64 << 20))
    failure = failure_new(FAILURE(INVALID_FIELD), "--batch-bytes is %d, but must be from 1024 to 67108864.",
                          options->batch_bytes);
  ret_options->linger_ms = options->linger_ms;
  if (options->batch_bytes)
    ret_options->batch_bytes = (guint32)options->batch_bytes;
  ret_options->timeout_ms = cli_timeout_ms(cli);
  ret_options->block_timeout_ms = PRODUCE_WAIT_MS;
  ret_options->request_timeout_ms = MIN(ret_options->request_timeout_ms, ret_options->timeout_ms);
  ret_options->retry_unknown = !options->no_retry_unknown;
  return failure;
}

/* ---- Input ---- */

/* --header name=value, as the library takes them; names and values are in @ret_strings. */
static Failure *parse_headers(char *const *texts, GPtrArray *strings, GArray *ret_headers) {
  for (; texts && *texts; texts++) {
    char *name = NULL, *value = NULL;
    Failure *failure = text_pair("--header", *texts, &name, &value);
    if (failure)
      return failure;
    g_ptr_array_add(strings, name);
    g_ptr_array_add(strings, value);
    if (!g_utf8_validate(name, -1, NULL))
      return failure_new(FAILURE(INVALID_FIELD), "--header has a name that is not valid UTF-8.");
    MilenaHeader header = {name, milena_bytes_text(value)};
    g_array_append_val(ret_headers, header);
  }
  return NULL;
}

static Failure *parse_separator(const char *text, GBytes **ret_separator) {
  g_autoptr(GBytes) separator = NULL;
  Failure *failure = text_unescape(text ? text : "\\n", &separator);
  if (failure)
    return failure_prefix(failure, "--record-separator");
  if (g_bytes_get_size(separator) == 0)
    return failure_new(FAILURE(INVALID_FIELD), "--record-separator is empty; give at least one character.");
  *ret_separator = g_steal_pointer(&separator);
  return NULL;
}

/* Standard input, or --file. Returns a descriptor, or -1 after saying why not. */
static int open_input(Cli *cli, const char *file, guint64 *ret_size) {
  gboolean standard = !file || !strcmp(file, "-");
  int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0) {
    cli_failed_text(cli, "the file '%s' can't be opened: %s.", file, g_strerror(errno));
    return -1;
  }
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    cli_failed_text(cli, "'%s' is a folder; give a file.", standard ? "standard input" : file);
    close(fd);
    return -1;
  }
  *ret_size = S_ISREG(info.st_mode) ? (guint64)info.st_size : 0;
  if (standard && isatty(STDIN_FILENO))
    cli_note(cli, "reading records from the terminal; Ctrl-D ends.");
  return fd;
}

/* ---- Summary ---- */

static int print_summary_json(Cli *cli, const char *topic, const ProduceTally *tally) {
  double seconds = (double)tally->elapsed_us / G_USEC_PER_SEC;
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, FALSE);
  json_open(json, NULL, '{');
  json_string(json, "topic", topic);
  json_uint(json, "records", tally->records);
  json_uint(json, "delivered", tally->delivered);
  json_uint(json, "failed", tally->failed);
  json_uint(json, "outcome_unknown", tally->unknown);
  json_uint(json, "duplicates", tally->duplicates);
  json_uint(json, "without_key", tally->without_key);
  json_uint(json, "batches_retried", tally->batches_retried);
  json_uint(json, "bytes", tally->bytes);
  json_double(json, "seconds", seconds);
  json_double(json, "records_per_second", (double)tally->delivered / seconds);
  json_double(json, "megabytes_per_second", (double)tally->bytes / seconds / 1e6);
  json_bool(json, "incomplete", tally->incomplete);
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

static int print_summary(Cli *cli, const char *topic, const ProduceTally *tally, gboolean keys_wanted) {
  double seconds = MAX((double)tally->elapsed_us / G_USEC_PER_SEC, 1e-6);
  g_autofree char *delivered = text_counted(tally->delivered, "record");
  g_autofree char *bytes = text_bytes((double)tally->bytes);
  g_autofree char *rate = text_grouped((guint64)((double)tally->delivered / seconds));
  g_autofree char *speed = text_bytes((double)tally->bytes / seconds);
  g_autofree char *failed = text_grouped(tally->failed);
  g_autoptr(GString) out = g_string_new(NULL);
  g_string_append_printf(out, "%s (%s) to '%s' in %.2f s: %s records/s, %s/s; %s failed", delivered, bytes, topic,
                         seconds, rate, speed, failed);
  if (tally->unknown)
    g_string_append_printf(out, " (%" G_GUINT64_FORMAT " of them may have been written)", tally->unknown);
  g_string_append_printf(out, ", %" G_GUINT64_FORMAT " %s sent again", tally->batches_retried,
                         tally->batches_retried == 1 ? "batch" : "batches");
  if (keys_wanted)
    g_string_append_printf(out, ", %" G_GUINT64_FORMAT " without a key", tally->without_key);
  g_string_append(out, tally->incomplete ? "; the input was not read to its end\n" : "\n");
  return cli_print(cli, out->str);
}

/* ---- Command ---- */

/* The largest record that can fit: found here it is told with its number before it fills memory. */
static int find_limits(Cli *cli, MilenaClient *client, const MilenaProducerOptions *options, ProduceJob *job) {
  g_autoptr(MilenaTopic) topic = NULL;
  MilenaError *error = milena_admin_find_topic(client, job->topic, cli_timeout_ms(cli), &topic);
  if (error)
    return cli_failed(cli, error);
  job->record_bytes_max = options->compression == MILENA_COMPRESSION_NONE ? topic->effective_config.max_message_bytes
                                                                          : UNCOMPRESSED_BYTES_MAX;
  if (job->record_bytes_max == 0)
    job->record_bytes_max = UNCOMPRESSED_BYTES_MAX;
  if (job->partition >= 0 && (gsize)job->partition >= topic->partition_count)
    return cli_failed_text(cli, "the topic '%s' has no partition %d: it has %" G_GSIZE_FORMAT ", counted from 0.",
                           job->topic, job->partition, topic->partition_count);
  return CLI_OK;
}

static int produce(Cli *cli, const MilenaProducerOptions *options, ProduceJob *job, const char *file,
                   gboolean keys_wanted) {
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code == CLI_OK)
    code = find_limits(cli, client, options, job);
  if (code != CLI_OK)
    return code;
  job->input = open_input(cli, file, &job->input_bytes);
  if (job->input < 0)
    return CLI_FAILED;
  interrupt_catch();
  MilenaProducer *producer = milena_producer_new(client, options);
  /* A full buffer empties at the latest when its records time out: there is patience for at least that. */
  ProduceTally tally = produce_run(cli, producer, job, options->timeout_ms + 10000);
  if (job->input != STDIN_FILENO)
    close(job->input);
  code = cli->json ? print_summary_json(cli, job->topic, &tally) : print_summary(cli, job->topic, &tally, keys_wanted);
  if (interrupt_signal() && tally.failed)
    cli_failed_text(cli,
                    "stopped by a signal: %" G_GUINT64_FORMAT " records were not acknowledged, %" G_GUINT64_FORMAT
                    " of which may have been written.",
                    tally.failed, tally.unknown);
  if (interrupt_signal())
    return 128 + interrupt_signal();
  return tally.failed || tally.incomplete ? CLI_FAILED : code;
}

static int run_with(Cli *cli, const Options *options) {
  g_autoptr(KeyRule) rule = NULL;
  g_autoptr(GBytes) separator = NULL;
  g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GArray) headers = g_array_new(FALSE, FALSE, sizeof(MilenaHeader));
  MilenaProducerOptions producer;
  Failure *failure = producer_options(cli, options, &producer);
  if (!failure)
    failure = key_rule_new(options->key_delimiter, options->key_field, options->key_regex, &rule);
  if (!failure)
    failure = parse_separator(options->separator, &separator);
  if (!failure)
    failure = parse_headers(options->headers, strings, headers);
  if (!failure && options->partition < -1)
    failure = failure_new(FAILURE(INVALID_FIELD), "--partition is %d, but partitions are counted from 0.",
                          options->partition);
  if (!failure && cli->timeout_s > TIMEOUT_S_MAX)
    failure = failure_new(FAILURE(INVALID_FIELD), "--timeout must be at most %d seconds here.", TIMEOUT_S_MAX);
  if (failure)
    return cli_usage(cli, failure);
  ProduceJob job = {
      .topic = cli->arguments[0],
      .separator = separator,
      .key_rule = rule,
      .partition = options->partition,
      .headers = (const MilenaHeader *)(void *)headers->data,
      .header_count = headers->len,
      .skip_empty = options->skip_empty,
      .require_key = options->require_key,
      .show_progress = !options->no_progress && !cli->json,
  };
  gboolean keys_wanted = options->key_delimiter || options->key_field || options->key_regex;
  return produce(cli, &producer, &job, options->file, keys_wanted);
}

static int run_produce(Cli *cli, int argc, char **argv) {
  g_auto(Options) options = {.partition = MILENA_PARTITION_ANY, .linger_ms = 5};
  cli->timeout_s = 120;
  const GOptionEntry entries[] = {
      {"file", 'f', 0, G_OPTION_ARG_FILENAME, &options.file, "Read from FILE instead of standard input", "FILE"},
      {"record-separator", 0, 0, G_OPTION_ARG_FILENAME, &options.separator,
       "What ends a record (default \\n); escapes \\n \\r \\t \\0 \\\\ \\xNN", "TEXT"},
      {"skip-empty", 0, 0, G_OPTION_ARG_NONE, &options.skip_empty, "Leave out empty records", NULL},
      {"key-delimiter", 0, 0, G_OPTION_ARG_FILENAME, &options.key_delimiter,
       "What stands before it is the key, what follows it is the value; the same escapes", "TEXT"},
      {"key-field", 0, 0, G_OPTION_ARG_INT, &options.key_field,
       "The N-th field, of those that blanks separate, is the key; the whole record is the value", "N"},
      {"key-regex", 0, 0, G_OPTION_ARG_FILENAME, &options.key_regex,
       "The first group that matches (or the whole match) is the key; ^ and $ match at lines", "REGEX"},
      {"require-key", 0, 0, G_OPTION_ARG_NONE, &options.require_key,
       "Refuse records in which no key is found; otherwise they are sent without one", NULL},
      {"header", 'H', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.headers, "A header of each record; may be repeated",
       "NAME=VALUE"},
      {"partition", 'p', 0, G_OPTION_ARG_INT, &options.partition, "Write to this partition alone", "N"},
      {"partitioner", 0, 0, G_OPTION_ARG_FILENAME, &options.partitioner,
       "For records without a key: sticky (default) or round-robin", "WORD"},
      {"acks", 'a', 0, G_OPTION_ARG_FILENAME, &options.acks, "Answer wanted from: none, leader or all (default all)",
       "WORD"},
      {"idempotent", 0, 0, G_OPTION_ARG_FILENAME, &options.idempotent,
       "true (default): each record is written once, however often it is sent; false", "WORD"},
      {"compression", 'z', 0, G_OPTION_ARG_FILENAME, &options.compression, "none (default), zstd or lz4", "CODEC"},
      {"linger", 0, 0, G_OPTION_ARG_INT, &options.linger_ms, "How long a batch waits for more records (default 5)",
       "MS"},
      {"batch-bytes", 0, 0, G_OPTION_ARG_INT, &options.batch_bytes, "Size of a batch (default 524288)", "BYTES"},
      {"no-retry-unknown", 0, 0, G_OPTION_ARG_NONE, &options.no_retry_unknown,
       "With --idempotent false: do not send again what may have been written; it fails instead of perhaps coming "
       "twice",
       NULL},
      {"no-progress", 0, 0, G_OPTION_ARG_NONE, &options.no_progress, "No progress line on a terminal", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(
          cli, entries,
          "--timeout bounds the time from reading a record to its answer, retries included (default 120).\n"
          "A record that is too large is told by its number and left out; any other failure ends the reading.\n"
          "The exit code is 1 when a record failed. Ctrl-C and SIGTERM end the reading; what was read has 2 s to be\n"
          "acknowledged, and the exit code is 130 or 143. A second one ends it at once.\n",
          argc, argv, &code))
    return code;
  return run_with(cli, &options);
}

const Command CMD_PRODUCE = {
    .name = "produce",
    .arguments = "TOPIC",
    .summary = "Write records from standard input or a file",
    .examples = "  echo 'hello' | milena produce greetings\n"
                "  milena produce orders --file orders.csv --key-delimiter , --compression zstd\n"
                "  milena produce packages --file /var/log/dpkg.log \\\n"
                "      --key-regex ' (?:status \\S+|install|upgrade|configure|trigproc|remove|purge) (\\S+)'\n"
                "  apt-cache dumpavail | milena produce catalogue --record-separator '\\n\\n' --skip-empty \\\n"
                "      --key-regex '^Package: (\\S+)'\n"
                "  milena produce clicks --header source=web --acks leader < clicks.jsonl\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_produce,
};
