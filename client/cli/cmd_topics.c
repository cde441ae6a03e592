/* `milena topics create|list|describe|alter|delete`: administration of topics. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/text.h"
#include "client/cli/topic_config.h"
#include "client/cli/topic_view.h"

/* ---- create ---- */

/* Of an option that takes a number. */
#define NOT_GIVEN G_MININT

static Failure *check_counts(gint partitions, gint replication_factor) {
  if (partitions != NOT_GIVEN && (partitions < 1 || partitions > 10000))
    return failure_new(FAILURE(INVALID_FIELD), "--partitions is %d, but must be from 1 to 10000.", partitions);
  if (replication_factor != NOT_GIVEN && (replication_factor < 1 || replication_factor > 16))
    return failure_new(FAILURE(INVALID_FIELD), "--replication-factor is %d, but must be from 1 to 16.",
                       replication_factor);
  return NULL;
}

/* As the API wants it: 0 leaves it to the cluster. */
static guint32 count_or_default(gint count) {
  return count == NOT_GIVEN ? 0 : (guint32)count;
}

static int create_topic(Cli *cli, const MilenaNewTopic *new_topic, gboolean if_missing) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopic) topic = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  g_autoptr(MilenaError) error = milena_admin_create_topic(client, new_topic, cli_timeout_ms(cli), &topic);
  if (error && if_missing && !strcmp(milena_error_reason(error), "TOPIC_EXISTS")) {
    cli_note(cli, "the topic '%s' exists already; nothing was changed.", new_topic->name);
    return CLI_OK;
  }
  if (error)
    return cli_failed(cli, g_steal_pointer(&error));
  if (new_topic->validate_only) {
    cli_note(cli, "the topic '%s' could be created; nothing was changed.", new_topic->name);
    return CLI_OK;
  }
  return topic_view_print(cli, topic, NULL);
}

static int run_create(Cli *cli, int argc, char **argv) {
  gint partitions = NOT_GIVEN, replication_factor = NOT_GIVEN;
  gboolean dry_run = FALSE, if_missing = FALSE;
  g_auto(GStrv) settings = NULL;
  const GOptionEntry entries[] = {
      {"partitions", 'p', 0, G_OPTION_ARG_INT, &partitions, "How many partitions (default 1)", "N"},
      {"replication-factor", 'r', 0, G_OPTION_ARG_INT, &replication_factor,
       "How many replicas of each (default: the cluster's)", "N"},
      {"config", 'c', 0, G_OPTION_ARG_FILENAME_ARRAY, &settings, "Configuration; may be repeated", "KEY=VALUE"},
      {"if-missing", 0, 0, G_OPTION_ARG_NONE, &if_missing, "It is no failure when the topic exists", NULL},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  g_autofree char *notes = topic_config_help();
  int code;
  if (!cli_parse(cli, entries, notes, argc, argv, &code))
    return code;
  g_auto(TopicConfigChange) change = {0};
  Failure *failure = check_counts(partitions, replication_factor);
  if (!failure)
    failure = topic_config_parse(settings, &change);
  if (failure)
    return cli_usage(cli, failure);
  MilenaNewTopic topic = {
      .name = cli->arguments[0],
      .partitions = count_or_default(partitions),
      .replication_factor = count_or_default(replication_factor),
      .config = change.config,
      .validate_only = dry_run,
  };
  return create_topic(cli, &topic, if_missing);
}

const Command CMD_TOPICS_CREATE = {
    .name = "topics create",
    .arguments = "NAME",
    .summary = "Create a topic",
    .examples = "  milena topics create orders --partitions 6\n"
                "  milena topics create clicks -p 12 --config flush=interval --config flush.interval.ms=200\n"
                "  milena topics create orders --if-missing\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_create,
};

/* ---- list ---- */

static int print_list_json(Cli *cli, const MilenaTopicList *list) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '[');
  for (gsize i = 0; i < list->count; i++) {
    const MilenaTopic *topic = &list->topics[i];
    json_open(json, NULL, '{');
    json_string(json, "name", topic->name);
    json_string(json, "id", topic->id);
    json_uint(json, "partitions", topic->partition_count);
    json_uint(json, "replication_factor", topic->replication_factor);
    json_close(json);
  }
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

static int print_names(Cli *cli, const MilenaTopicList *list) {
  g_autoptr(GString) out = g_string_new(NULL);
  for (gsize i = 0; i < list->count; i++)
    g_string_append_printf(out, "%s\n", list->topics[i].name);
  return cli_print(cli, out->str);
}

static int run_list(Cli *cli, int argc, char **argv) {
  gboolean names;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopicList) list = NULL;
  int code;
  if (!cli_begin_list(cli, "names", NULL, argc, argv, &names, &client, &code))
    return code;
  MilenaError *error = milena_admin_list_topics(client, cli_timeout_ms(cli), &list);
  if (error)
    return cli_failed(cli, error);
  if (cli->json)
    return print_list_json(cli, list);
  if (names)
    return print_names(cli, list);
  if (list->count == 0)
    return cli_print(cli, "There are no topics yet. Create one: milena topics create NAME\n");
  g_autoptr(Table) table = table_new("TOPIC", ">PARTITIONS", ">REPLICAS", "ID", NULL);
  for (gsize i = 0; i < list->count; i++) {
    table_add(table, "%s", list->topics[i].name);
    table_add(table, "%" G_GSIZE_FORMAT, list->topics[i].partition_count);
    table_add(table, "%u", list->topics[i].replication_factor);
    table_add(table, "%s", list->topics[i].id);
  }
  return cli_print_table(cli, table);
}

const Command CMD_TOPICS_LIST = {
    .name = "topics list",
    .arguments = "",
    .summary = "List the topics",
    .examples = "  milena topics list\n"
                "  milena topics list --output json\n",
    .run = run_list,
};

/* ---- describe ---- */

static int run_describe(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopic) topic = NULL;
  code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_describe_topic(client, cli->arguments[0], cli_timeout_ms(cli), &topic);
  if (error)
    return cli_failed(cli, error);
  g_autofree gint64 *offsets = topic_view_offsets(client, topic, MIN(cli_timeout_ms(cli), 5000));
  return topic_view_print(cli, topic, offsets);
}

const Command CMD_TOPICS_DESCRIBE = {
    .name = "topics describe",
    .arguments = "NAME",
    .summary = "Show a topic, its configuration, partitions and offsets",
    .examples = "  milena topics describe orders\n"
                "  milena topics describe orders --output json\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_describe,
};

/* ---- alter ---- */

/* What `topics alter` is asked for. */
typedef struct {
  const char *name;
  guint32 partitions; /* 0: as they are */
  gboolean dry_run;
  TopicConfigChange change;
} Alteration;

/* Both parts; the configuration first, for it is the part that can be taken back. */
static int alter_topic(Cli *cli, const Alteration *alteration) {
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  g_autoptr(MilenaTopic) topic = NULL;
  const GPtrArray *fields = alteration->change.fields;
  if (fields->len > 0) {
    MilenaError *error = milena_admin_alter_topic(client, alteration->name, &alteration->change.config,
                                                  (const char *const *)fields->pdata, fields->len, alteration->dry_run,
                                                  cli_timeout_ms(cli), &topic);
    if (error)
      return cli_failed(cli, error);
  }
  if (alteration->partitions > 0) {
    char *warning = NULL;
    g_clear_pointer(&topic, milena_topic_free);
    MilenaError *error = milena_admin_add_partitions(client, alteration->name, alteration->partitions,
                                                     alteration->dry_run, cli_timeout_ms(cli), &topic, &warning);
    if (error && fields->len > 0 && !alteration->dry_run)
      cli_note(cli, "the configuration was changed, the number of partitions was not.");
    if (error)
      return cli_failed(cli, error);
    if (warning && *warning)
      cli_note(cli, "%s", warning);
    milena_string_free(warning);
  }
  if (!alteration->dry_run)
    return topic_view_print(cli, topic, NULL);
  cli_note(cli, "the topic '%s' could be changed so; nothing was changed.", alteration->name);
  return CLI_OK;
}

static int run_alter(Cli *cli, int argc, char **argv) {
  gint partitions = NOT_GIVEN;
  gboolean dry_run = FALSE;
  g_auto(GStrv) settings = NULL;
  const GOptionEntry entries[] = {
      {"config", 'c', 0, G_OPTION_ARG_FILENAME_ARRAY, &settings,
       "New configuration; may be repeated; KEY= alone goes back to the default", "KEY=VALUE"},
      {"partitions", 'p', 0, G_OPTION_ARG_INT, &partitions, "The new number of partitions, more than now", "N"},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  g_autofree char *notes = topic_config_help();
  int code;
  if (!cli_parse(cli, entries, notes, argc, argv, &code))
    return code;
  Alteration alteration = {.name = cli->arguments[0], .dry_run = dry_run};
  Failure *failure = check_counts(partitions, NOT_GIVEN);
  if (!failure && !settings && partitions == NOT_GIVEN)
    failure = failure_new(FAILURE(INVALID_FIELD), "there is nothing to change: give --config or --partitions.");
  if (!failure)
    failure = topic_config_parse(settings, &alteration.change);
  alteration.partitions = count_or_default(partitions);
  code = failure ? cli_usage(cli, failure) : alter_topic(cli, &alteration);
  topic_config_change_clear(&alteration.change);
  return code;
}

const Command CMD_TOPICS_ALTER = {
    .name = "topics alter",
    .arguments = "NAME",
    .summary = "Change a topic's configuration, or give it more partitions",
    .examples = "  milena topics alter orders --config flush=os\n"
                "  milena topics alter orders --config max.message.bytes=\n"
                "  milena topics alter orders --partitions 12\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_alter,
};

/* ---- delete ---- */

static int delete_topic(Cli *cli) {
  const char *name = cli->arguments[0];
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_delete_topic(client, name, FALSE, cli_timeout_ms(cli));
  return error ? cli_failed(cli, error) : cli_print_deleted(cli, "topic", name);
}

static int run_delete(Cli *cli, int argc, char **argv) {
  gboolean yes = FALSE;
  const GOptionEntry entries[] = {
      {"yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "Do not ask", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  return cli_confirm(cli, "topic", cli->arguments[0], "all its records", yes, &code) ? delete_topic(cli) : code;
}

const Command CMD_TOPICS_DELETE = {
    .name = "topics delete",
    .arguments = "NAME",
    .summary = "Delete a topic and its records",
    .examples = "  milena topics delete orders\n"
                "  milena topics delete orders --yes\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_delete,
};
