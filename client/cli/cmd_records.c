/* `milena records delete`: the oldest records of partitions. `milena brokers storage`: what is left on the disks. */
#include "client/cli/cli.h"
#include "client/cli/text.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaBrokerStorage, milena_broker_storage_free)

/* ---- records delete ---- */

typedef struct {
  char *partition, *before;
  gboolean yes, dry_run;
} Deletion;

/* What is to be deleted, of one partition or all of the topic. @wanted: of MilenaDeletion */
static MilenaError *list_deletions(MilenaClient *client, const MilenaTopic *topic, gint64 partition, gint64 before,
                                   GArray *wanted) {
  (void)client;
  for (gsize i = 0; i < topic->partition_count; i++) {
    const MilenaDeletion deletion = {
        .topic = topic->name, .partition = topic->partitions[i].partition, .before_offset = before};
    if (partition < 0 || partition == deletion.partition)
      g_array_append_val(wanted, deletion);
  }
  return NULL;
}

static void result_to_json(Json *json, const MilenaDeletion *deletion, const MilenaDeletionResult *result) {
  json_open(json, NULL, '{');
  json_string(json, "topic", deletion->topic);
  json_int(json, "partition", deletion->partition);
  json_int(json, "log_start_offset", result->log_start_offset);
  if (result->error)
    json_string(json, "error", milena_error_message(result->error));
  json_close(json);
}

static int print_results(Cli *cli, const GArray *wanted, const MilenaDeletionResult *results) {
  g_autoptr(Table) table = table_new("TOPIC", ">PARTITION", ">FIRST OFFSET", "ERROR", NULL);
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  gboolean failed = FALSE;
  json_open(json, NULL, '[');
  for (guint i = 0; i < wanted->len; i++) {
    const MilenaDeletion *deletion = &g_array_index(wanted, MilenaDeletion, i);
    failed |= results[i].error != NULL;
    result_to_json(json, deletion, &results[i]);
    table_add(table, "%s", deletion->topic);
    table_add(table, "%d", deletion->partition);
    table_add(table, results[i].error ? "-" : "%" G_GINT64_FORMAT, (gint64)results[i].log_start_offset);
    table_add(table, "%s", results[i].error ? milena_error_message(results[i].error) : "");
  }
  json_close(json);
  g_string_append_c(out, '\n');
  int code = cli->json ? cli_print(cli, out->str) : cli_print_table(cli, table);
  return code == CLI_OK && failed ? CLI_FAILED : code;
}

static int delete_records(Cli *cli, const Deletion *deletion, gint64 partition, gint64 before) {
  const char *name = cli->arguments[0];
  int code;
  if (!deletion->dry_run && !cli_confirm(cli, "records of topic", name, "the records, for good", deletion->yes, &code))
    return code;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopic) topic = NULL;
  code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  g_autoptr(GArray) wanted = g_array_new(FALSE, FALSE, sizeof(MilenaDeletion));
  MilenaDeletionResult *results = NULL;
  MilenaError *error = milena_admin_describe_topic(client, name, cli_timeout_ms(cli), &topic);
  if (!error)
    error = list_deletions(client, topic, partition, before, wanted);
  if (!error && wanted->len == 0)
    return cli_failed_text(cli, "the topic '%s' has no partition %" G_GINT64_FORMAT ".", name, partition);
  if (!error)
    error = milena_admin_delete_records(client, (const MilenaDeletion *)(gpointer)wanted->data, wanted->len,
                                        deletion->dry_run, cli_timeout_ms(cli), &results);
  if (error)
    return cli_failed(cli, error);
  if (deletion->dry_run)
    cli_note(cli, "only checked; nothing was deleted.");
  code = print_results(cli, wanted, results);
  milena_admin_deletion_results_free(results, wanted->len);
  return code;
}

static int run_delete(Cli *cli, int argc, char **argv) {
  Deletion deletion = {0};
  const GOptionEntry entries[] = {
      {"partition", 'p', 0, G_OPTION_ARG_STRING, &deletion.partition, "This partition alone (default all)", "N"},
      {"before", 0, 0, G_OPTION_ARG_STRING, &deletion.before,
       "Delete what is below this offset; 'end': all that is committed", "OFFSET"},
      {"yes", 'y', 0, G_OPTION_ARG_NONE, &deletion.yes, "Do not ask", NULL},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &deletion.dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code = CLI_USAGE;
  if (cli_parse(cli, entries, NULL, argc, argv, &code)) {
    gint64 partition = -1, before = -1;
    Failure *failure = NULL;
    if (!deletion.before)
      failure = failure_new(FAILURE(INVALID_FIELD), "--before is missing: an offset, or 'end'.");
    else if (strcmp(deletion.before, "end") != 0)
      failure = text_number("--before", deletion.before, 0, G_MAXINT64, &before);
    if (!failure && deletion.partition)
      failure = text_number("--partition", deletion.partition, 0, G_MAXINT32, &partition);
    code = failure ? cli_usage(cli, failure) : delete_records(cli, &deletion, partition, before);
  }
  g_free(deletion.partition);
  g_free(deletion.before);
  return code;
}

const Command CMD_RECORDS_DELETE = {
    .name = "records delete",
    .arguments = "TOPIC",
    .summary = "Delete the oldest records of a topic's partitions",
    .examples = "  milena records delete orders --partition 0 --before 12000\n"
                "  milena records delete orders --before end --yes\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_delete,
};

/* ---- brokers storage ---- */

static void storage_to_json(Json *json, const MilenaBrokerStorage *storage) {
  json_open(json, NULL, '{');
  json_int(json, "broker_id", storage->broker_id);
  json_uint(json, "logs", storage->log_count);
  json_int(json, "disk_bytes", storage->disk_bytes);
  json_int(json, "live_bytes", storage->live_bytes);
  json_int(json, "expired_held_bytes", storage->expired_held_bytes);
  json_open(json, "segments", '[');
  for (gsize i = 0; i < storage->segment_count; i++) {
    const MilenaStorageSegment *segment = &storage->segments[i];
    json_open(json, NULL, '{');
    json_uint(json, "number", segment->number);
    json_int(json, "created_ms", segment->created_ms);
    json_int(json, "bytes", segment->bytes);
    json_int(json, "expired_bytes", segment->expired_bytes);
    json_uint(json, "logs", segment->log_count);
    json_close(json);
  }
  json_close(json);
  json_close(json);
}

static void add_storage(Table *table, const MilenaBrokerStorage *storage) {
  table_add(table, "%d", storage->broker_id);
  table_add(table, "%" G_GUINT64_FORMAT, (guint64)storage->log_count);
  table_add(table, "%" G_GSIZE_FORMAT, (gsize)storage->segment_count);
  const int64_t sizes[] = {storage->disk_bytes, storage->live_bytes, storage->expired_held_bytes};
  for (guint i = 0; i < G_N_ELEMENTS(sizes); i++)
    table_add(table, "%.1f MB", (double)sizes[i] / 1e6);
}

/* Of the brokers that are up, or of one. */
static int show_storage(Cli *cli, MilenaClient *client, const MilenaBrokerList *list, int32_t only) {
  g_autoptr(Table) table = table_new(">ID", ">LOGS", ">SEGMENTS", ">DISK", ">NEEDED", ">EXPIRED, HELD", NULL);
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '[');
  for (gsize i = 0; i < list->count; i++) {
    const MilenaBroker *broker = &list->brokers[i];
    if (only >= 0 ? broker->id != only : broker->fenced)
      continue;
    g_autoptr(MilenaBrokerStorage) storage = NULL;
    MilenaError *error = milena_admin_get_broker_storage(client, broker->id, cli_timeout_ms(cli), &storage);
    if (error)
      return cli_failed(cli, error);
    storage_to_json(json, storage);
    add_storage(table, storage);
  }
  json_close(json);
  g_string_append_c(out, '\n');
  return cli->json ? cli_print(cli, out->str) : cli_print_table(cli, table);
}

static int run_storage(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(
          cli, entries,
          "Time segments hold the records of all logs for a while, and go as a whole: what has expired early in one\n"
          "is held until nobody needs the rest of it.\n",
          argc, argv, &code))
    return code;
  int32_t only = -1;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaBrokerList) list = NULL;
  code = cli_connect_for(cli, "the broker's id", 0, &only, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_list_brokers(client, cli_timeout_ms(cli), &list);
  return error ? cli_failed(cli, error) : show_storage(cli, client, list, only);
}

const Command CMD_BROKERS_STORAGE = {
    .name = "brokers storage",
    .arguments = "[ID]",
    .summary = "Show what the brokers' logs take on disk, and what of it has expired",
    .examples = "  milena brokers storage\n"
                "  milena brokers storage 2 --output json\n",
    .arguments_most = 1,
    .run = run_storage,
};
