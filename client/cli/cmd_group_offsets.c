/* `milena groups reset-offsets|delete-offsets`: where a group goes on. */
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/group_targets.h"
#include "client/cli/text.h"
#include "client/cli/when.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaOffsetChangeList, milena_offset_change_list_free)

/* ---- showing what became of it ---- */

static void changes_to_json(const MilenaOffsetChangeList *list, gboolean dry_run, Json *json) {
  json_open(json, NULL, '{');
  json_bool(json, "dry_run", dry_run);
  json_open(json, "partitions", '[');
  for (gsize i = 0; i < list->count; i++) {
    const MilenaOffsetChange *change = &list->changes[i];
    json_open(json, NULL, '{');
    json_string(json, "topic", change->topic);
    json_int(json, "partition", change->partition);
    if (change->before >= 0)
      json_int(json, "before", change->before);
    if (change->after >= 0 && !change->error)
      json_int(json, "after", change->after);
    json_string(json, "error", change->error ? milena_error_message(change->error) : NULL);
    json_close(json);
  }
  json_close(json);
  json_close(json);
}

static void add_offset(Table *table, gint64 offset) {
  g_autofree char *text = offset >= 0 ? text_grouped((guint64)offset) : g_strdup("");
  table_add(table, "%s", text);
}

/* @done: "reset" */
static char *result_text(const MilenaOffsetChange *change, gboolean dry_run, const char *done) {
  if (change->error)
    return g_strdup(milena_error_message(change->error));
  return dry_run ? g_strdup_printf("would be %s", done) : g_strdup(done);
}

static int print_changes(Cli *cli, const MilenaOffsetChangeList *list, gboolean dry_run, const char *done) {
  guint failed = 0;
  int code;
  for (gsize i = 0; i < list->count; i++)
    failed += list->changes[i].error != NULL;
  if (cli->json) {
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(Json) json = json_new(out, TRUE);
    changes_to_json(list, dry_run, json);
    g_string_append_c(out, '\n');
    code = cli_print(cli, out->str);
  } else {
    g_autoptr(Table) table = table_new("TOPIC", ">PARTITION", ">BEFORE", ">AFTER", "RESULT", NULL);
    for (gsize i = 0; i < list->count; i++) {
      const MilenaOffsetChange *change = &list->changes[i];
      g_autofree char *result = result_text(change, dry_run, done);
      table_add(table, "%s", change->topic);
      table_add(table, "%d", change->partition);
      add_offset(table, change->before);
      add_offset(table, change->error ? -1 : change->after);
      table_add(table, "%s", result);
    }
    code = cli_print_table(cli, table);
  }
  if (code == CLI_OK && failed > 0)
    return cli_failed_text(cli, "%u of %" G_GSIZE_FORMAT " partitions could not be %s.", failed, list->count, done);
  return code;
}

static Failure *add_topics(GroupTargets *targets, char *const *topics) {
  Failure *failure = NULL;
  for (; topics && *topics && !failure; topics++)
    failure = group_targets_add(targets, *topics);
  return failure;
}

/* ---- reset-offsets ---- */

typedef struct {
  char **topics;
  char *to, *shift, *file;
  gboolean dry_run;
} ResetOptions;

static void reset_options_clear(ResetOptions *options) {
  g_strfreev(options->topics);
  g_free(options->to);
  g_free(options->shift);
  g_free(options->file);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ResetOptions, reset_options_clear)

static Failure *read_file(const char *path, GroupTargets *targets) {
  g_autofree char *text = NULL;
  g_autoptr(GError) error = NULL;
  gsize length;
  if (!g_file_get_contents(path, &text, &length, &error))
    return failure_new(FAILURE(INVALID_FIELD), "%s.", error->message);
  Failure *failure = group_targets_add_file(targets, text, length);
  return failure ? failure_prefix(failure, "%s", path) : NULL;
}

static Failure *parse_place(const char *text, MilenaPosition *ret_position) {
  g_autoptr(GTimeZone) zone = g_time_zone_new_local();
  When when;
  Failure *failure = when_parse("--to", text, g_get_real_time() / 1000, zone, &when);
  if (failure)
    return failure;
  switch (when.kind) {
  case WHEN_BEGINNING:
    *ret_position = MILENA_BEGINNING;
    break;
  case WHEN_END:
    *ret_position = MILENA_END;
    break;
  case WHEN_OFFSET:
    *ret_position = MILENA_AT_OFFSET(when.offset);
    break;
  case WHEN_TIME:
    *ret_position = MILENA_AT_TIME(when.unix_ms);
    break;
  }
  return NULL;
}

/* What the options ask for; @position and @targets hold what @ret_target borrows. */
static Failure *parse_target(const ResetOptions *options, GroupTargets *targets, MilenaPosition *position,
                             MilenaOffsetTarget *ret_target) {
  Failure *failure = NULL;
  gint64 shift = 0;
  if ((options->to != NULL) + (options->shift != NULL) + (options->file != NULL) != 1)
    return failure_new(FAILURE(INVALID_FIELD), "say where to: give one of --to, --shift and --from-file.");
  if (options->file && options->topics)
    return failure_new(FAILURE(INVALID_FIELD), "--from-file names the partitions: leave --topic away.");
  failure = add_topics(targets, options->topics);
  if (!failure && options->to)
    failure = parse_place(options->to, position);
  if (!failure && options->shift)
    failure = text_number("--shift", options->shift, G_MININT64, G_MAXINT64, &shift);
  if (!failure && options->file)
    failure = read_file(options->file, targets);
  *ret_target = (MilenaOffsetTarget){
      .partitions = (const MilenaTopicPartition *)(void *)targets->partitions->data,
      .partition_count = targets->partitions->len,
      .position = options->to ? position : NULL,
      .shift = shift,
      .offsets = (const MilenaOffset *)(void *)targets->offsets->data,
      .offset_count = targets->offsets->len,
  };
  return failure;
}

static int reset(Cli *cli, const MilenaOffsetTarget *target, gboolean dry_run) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaOffsetChangeList) list = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error =
      milena_admin_reset_offsets(client, cli->arguments[0], target, dry_run, cli_timeout_ms(cli), &list);
  return error ? cli_failed(cli, error) : print_changes(cli, list, dry_run, "reset");
}

static int run_reset(Cli *cli, int argc, char **argv) {
  g_auto(ResetOptions) options = {NULL};
  const GOptionEntry entries[] = {
      {"topic", 't', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.topics,
       "A topic, or partitions of it; may be repeated (default: all that the group has committed)", "TOPIC[:N,N]"},
      {"to", 0, 0, G_OPTION_ARG_FILENAME, &options.to, "beginning, end, an offset, a time, or -1h, -90s", "PLACE"},
      {"shift", 0, 0, G_OPTION_ARG_FILENAME, &options.shift,
       "So many records on from what is committed; back when negative", "N"},
      {"from-file", 0, 0, G_OPTION_ARG_FILENAME, &options.file,
       "The offsets in this file: lines of a topic, a partition and an offset", "FILE"},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &options.dry_run, "Tell what would be done; change nothing", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "The group must have no members. Offsets outside of what a partition holds are brought into it.\n"
                 "'milena groups lag GROUP --offsets' writes the file that --from-file reads.\n",
                 argc, argv, &code))
    return code;
  g_auto(GroupTargets) targets;
  MilenaPosition position;
  MilenaOffsetTarget target;
  group_targets_init(&targets);
  Failure *failure = parse_target(&options, &targets, &position, &target);
  return failure ? cli_usage(cli, failure) : reset(cli, &target, options.dry_run);
}

const Command CMD_GROUPS_RESET_OFFSETS = {
    .name = "groups reset-offsets",
    .arguments = "GROUP",
    .summary = "Move the committed offsets of a group that has no members",
    .examples = "  milena groups reset-offsets billing --to beginning --dry-run\n"
                "  milena groups reset-offsets billing --topic orders:0,3 --to -1h\n"
                "  milena groups reset-offsets billing --shift -100\n"
                "  milena groups reset-offsets billing --from-file billing.offsets\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_reset,
};

/* ---- delete-offsets ---- */

static int delete_offsets(Cli *cli, const GArray *partitions) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaOffsetChangeList) list = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error =
      milena_admin_delete_offsets(client, cli->arguments[0], (const MilenaTopicPartition *)(void *)partitions->data,
                                  partitions->len, cli_timeout_ms(cli), &list);
  return error ? cli_failed(cli, error) : print_changes(cli, list, FALSE, "forgotten");
}

static int run_delete(Cli *cli, int argc, char **argv) {
  g_auto(GStrv) topics = NULL;
  const GOptionEntry entries[] = {
      {"topic", 't', 0, G_OPTION_ARG_FILENAME_ARRAY, &topics, "A topic, or partitions of it; may be repeated",
       "TOPIC[:N,N]"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, "No member of the group may read them.\n", argc, argv, &code))
    return code;
  if (!topics)
    return cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "say which: give --topic."));
  g_auto(GroupTargets) targets;
  group_targets_init(&targets);
  Failure *failure = add_topics(&targets, topics);
  return failure ? cli_usage(cli, failure) : delete_offsets(cli, targets.partitions);
}

const Command CMD_GROUPS_DELETE_OFFSETS = {
    .name = "groups delete-offsets",
    .arguments = "GROUP",
    .summary = "Forget committed offsets of a group",
    .examples = "  milena groups delete-offsets billing --topic orders\n"
                "  milena groups delete-offsets billing --topic orders:0,3\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_delete,
};
