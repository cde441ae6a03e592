/* `milena consume TOPIC`: options and the summary. The work is in consume_run.c. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/consume_group.h"
#include "client/cli/consume_run.h"
#include "client/cli/interrupt.h"
#include "client/cli/text.h"

/* A count that was not given. */
#define COUNT_ALL G_MAXINT64

/* The options as they were given. */
typedef struct {
  char **partitions;
  char *from, *format;
  char *group, *instance_id, *commit; /* of a member of a group */
  gint64 count;
  gboolean follow, print_key, summary, verbose;
} Options;

static void options_clear(Options *options) {
  g_strfreev(options->partitions);
  g_free(options->from);
  g_free(options->format);
  g_free(options->group);
  g_free(options->instance_id);
  g_free(options->commit);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static Failure *parse_partitions(char *const *texts, GArray *ret_partitions) {
  for (; texts && *texts; texts++) {
    gint64 number = 0;
    Failure *failure = text_number("--partition", *texts, 0, G_MAXINT32, &number);
    if (failure)
      return failure;
    gint32 partition = (gint32)number;
    for (guint i = 0; i < ret_partitions->len; i++)
      if (g_array_index(ret_partitions, gint32, i) == partition)
        return failure_new(FAILURE(INVALID_FIELD), "--partition %d is given twice.", partition);
    g_array_append_val(ret_partitions, partition);
  }
  return NULL;
}

static const char *choose_format(const Cli *cli, const Options *options) {
  if (options->format)
    return options->format;
  return cli->json ? "json" : options->print_key ? "key-value" : "value";
}

/* On standard error: standard output is the records'. */
static void print_summary(const Cli *cli, const ConsumeTally *tally) {
  double seconds = MAX((double)tally->elapsed_us / G_USEC_PER_SEC, 1e-6);
  g_autoptr(GString) out = g_string_new(NULL);
  if (cli->json) {
    g_autoptr(Json) json = json_new(out, FALSE);
    json_open(json, NULL, '{');
    json_uint(json, "records", tally->records);
    json_uint(json, "bytes", tally->bytes);
    json_double(json, "seconds", seconds);
    json_double(json, "records_per_second", (double)tally->records / seconds);
    json_double(json, "megabytes_per_second", (double)tally->bytes / seconds / 1e6);
    json_close(json);
  } else {
    g_autofree char *records = text_counted(tally->records, "record");
    g_autofree char *bytes = text_bytes((double)tally->bytes);
    g_autofree char *rate = text_grouped((guint64)((double)tally->records / seconds));
    g_autofree char *speed = text_bytes((double)tally->bytes / seconds);
    g_string_append_printf(out, "%s (%s) in %.2f s: %s records/s, %s/s", records, bytes, seconds, rate, speed);
  }
  fprintf(stderr, "%s\n", out->str);
}

/* @membership: NULL: without a group */
static int consume(Cli *cli, const ConsumeJob *job, const ConsumeMembership *membership, gboolean summary) {
  g_autoptr(MilenaClient) client = NULL;
  ConsumeTally tally;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  interrupt_catch();
  code = membership ? consume_group_run(cli, client, job, membership, &tally) : consume_run(cli, client, job, &tally);
  if (summary)
    print_summary(cli, &tally);
  /* Ctrl-C is how --follow and a member of a group end. */
  return code == CLI_OK && interrupt_signal() && !job->follow && !membership ? 128 + interrupt_signal() : code;
}

static Failure *parse_reset(const char *text, MilenaReset *ret_reset) {
  static const struct {
    const char *name;
    MilenaReset reset;
  } RESETS[] = {{"beginning", MILENA_RESET_BEGINNING}, {"end", MILENA_RESET_END}, {"none", MILENA_RESET_ERROR}};
  for (gsize i = 0; i < G_N_ELEMENTS(RESETS); i++) {
    if (strcmp(text, RESETS[i].name) == 0) {
      *ret_reset = RESETS[i].reset;
      return NULL;
    }
  }
  return failure_new(FAILURE(INVALID_FIELD),
                     "--from is '%s', but with --group it must be beginning, end or none: it says where to start where "
                     "the group has committed nothing. Use 'milena groups reset-offsets' to move a group.",
                     text);
}

static Failure *parse_commit(const char *text, ConsumeCommit *ret_commit) {
  static const char *const WORDS[] = {"after", "before", "never"}; /* by ConsumeCommit */
  for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++) {
    if (strcmp(text, WORDS[i]) == 0) {
      *ret_commit = (ConsumeCommit)i;
      return NULL;
    }
  }
  return failure_new(FAILURE(INVALID_FIELD), "--commit is '%s', but must be after, before or never.", text);
}

/* What --group and its company ask for. */
static Failure *parse_membership(const Options *options, ConsumeMembership *ret_membership) {
  *ret_membership = (ConsumeMembership){
      .group = options->group,
      .instance_id = options->instance_id,
      .reset = MILENA_RESET_END,
      .verbose = options->verbose,
  };
  if (!options->group && (options->instance_id || options->commit || options->verbose))
    return failure_new(FAILURE(INVALID_FIELD), "--instance-id, --commit and --verbose need --group.");
  if (!options->group)
    return NULL;
  if (options->partitions)
    return failure_new(FAILURE(INVALID_FIELD), "--group and --partition exclude each other: the group assigns them.");
  Failure *failure = options->from ? parse_reset(options->from, &ret_membership->reset) : NULL;
  if (!failure && options->commit)
    failure = parse_commit(options->commit, &ret_membership->commit);
  return failure;
}

static int run_with(Cli *cli, const Options *options) {
  g_autoptr(Template) template = NULL;
  g_autoptr(GArray) partitions = g_array_new(FALSE, FALSE, sizeof(gint32));
  g_autoptr(GTimeZone) zone = g_time_zone_new_local();
  When from = {.kind = options->follow ? WHEN_END : WHEN_BEGINNING};
  Failure *failure = NULL;
  if (options->format && options->print_key)
    failure = failure_new(FAILURE(INVALID_FIELD), "--format and --print-key exclude each other: give one of them.");
  if (!failure && options->count < 1)
    failure =
        failure_new(FAILURE(INVALID_FIELD), "--count is %" G_GINT64_FORMAT ", but must be 1 or more.", options->count);
  if (!failure)
    failure = template_new(choose_format(cli, options), &template);
  ConsumeMembership membership;
  if (!failure)
    failure = parse_membership(options, &membership);
  if (!failure && options->from && !options->group)
    failure = when_parse("--from", options->from, g_get_real_time() / 1000, zone, &from);
  if (!failure)
    failure = parse_partitions(options->partitions, partitions);
  if (failure)
    return cli_usage(cli, failure);
  ConsumeJob job = {
      .topic = cli->arguments[0],
      .partitions = (const gint32 *)(void *)partitions->data,
      .partition_count = partitions->len,
      .from = from,
      .count = options->count == COUNT_ALL ? 0 : (guint64)options->count,
      .follow = options->follow,
      .template = template,
  };
  return consume(cli, &job, options->group ? &membership : NULL, options->summary);
}

static int run_consume(Cli *cli, int argc, char **argv) {
  g_auto(Options) options = {.count = COUNT_ALL};
  const GOptionEntry entries[] = {
      {"partition", 'p', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.partitions,
       "Read this partition alone; may be repeated (default all)", "N"},
      {"from", 0, 0, G_OPTION_ARG_FILENAME, &options.from,
       "beginning (default), end (default with --follow), an offset, a time, or -1h, -90s", "PLACE"},
      {"count", 'n', 0, G_OPTION_ARG_INT64, &options.count, "End after so many records", "N"},
      {"follow", 'f', 0, G_OPTION_ARG_NONE, &options.follow, "Go on with what is written from now on", NULL},
      {"format", 0, 0, G_OPTION_ARG_FILENAME, &options.format, "value (default), key-value, full, json or a template",
       "FORMAT"},
      {"print-key", 'k', 0, G_OPTION_ARG_NONE, &options.print_key, "The same as --format key-value", NULL},
      {"group", 'g', 0, G_OPTION_ARG_FILENAME, &options.group, "Read as a member of this group, until Ctrl-C", "GROUP"},
      {"commit", 0, 0, G_OPTION_ARG_FILENAME, &options.commit,
       "With --group: after records were written (default: at least once), before (at most once), or never", "WHEN"},
      {"instance-id", 0, 0, G_OPTION_ARG_FILENAME, &options.instance_id,
       "With --group: a name to come back with, without a rebalance", "NAME"},
      {"verbose", 'v', 0, G_OPTION_ARG_NONE, &options.verbose, "With --group: tell rebalances on standard error", NULL},
      {"summary", 0, 0, G_OPTION_ARG_NONE, &options.summary, "Records, bytes and seconds on standard error at the end",
       NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "Without --follow it ends at the end of the topic as it was at the start. With --group it goes on; "
                 "--from is then\n"
                 "beginning, end (default) or none: where to start where the group has committed nothing.\n\n"
                 "In a template: %t topic, %p partition, %o offset, %T time, %e leader epoch, %k key, %v value,\n"
                 "%h headers, %K length of the key, %S length of the value (-1: none), %% a percent sign;\n"
                 "escapes \\n \\r \\t \\0 \\\\ \\xNN. Keys and values are written byte for byte.\n"
                 "In json, what is not UTF-8 stands as base64 in key_base64 or value_base64.\n\n"
                 "The exit code is 130 after Ctrl-C, but 0 with --follow or --group.\n",
                 argc, argv, &code))
    return code;
  return run_with(cli, &options);
}

const Command CMD_CONSUME = {
    .name = "consume",
    .arguments = "TOPIC",
    .summary = "Read records to standard output",
    .examples = "  milena consume greetings\n"
                "  milena consume orders --follow --format full\n"
                "  milena consume orders --from -1h --format '%p %o %k: %v\\n'\n"
                "  milena consume orders --group billing --from beginning\n"
                "  milena consume orders --partition 2 --from 1200 --count 10 --output json\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_consume,
};
