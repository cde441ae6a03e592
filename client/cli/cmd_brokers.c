/* `milena brokers list|describe|drain|undrain`: the brokers, and taking one out of service for maintenance. */
#include "client/cli/broker_view.h"
#include "client/cli/cli.h"
#include "client/cli/text.h"
#include "client/cli/topic_view.h"

/* ---- Showing them ---- */

static int print_json(Cli *cli, const MilenaBroker *brokers, gsize count, gboolean list) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  if (list)
    json_open(json, NULL, '[');
  for (gsize i = 0; i < count; i++)
    broker_view_to_json(&brokers[i], json);
  if (list)
    json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

static int print_brokers(Cli *cli, const MilenaBroker *brokers, gsize count) {
  g_autoptr(Table) table = table_new(">ID", "ADDRESS", "STATE", "RACK", ">LEADS", ">REPLICAS", ">EPOCH", NULL);
  for (gsize i = 0; i < count; i++) {
    const MilenaBroker *broker = &brokers[i];
    table_add(table, "%d", broker->id);
    table_add(table, "%s", broker->address);
    table_add(table, "%s", broker_view_state(broker));
    table_add(table, "%s", broker->rack);
    table_add(table, "%u", broker->leader_count);
    table_add(table, "%u", broker->replica_count);
    table_add(table, "%" G_GUINT64_FORMAT, (guint64)broker->epoch);
  }
  return cli_print_table(cli, table);
}

/* ---- list ---- */

static int print_ids(Cli *cli, const MilenaBrokerList *list) {
  g_autoptr(GString) out = g_string_new(NULL);
  for (gsize i = 0; i < list->count; i++)
    g_string_append_printf(out, "%d\n", list->brokers[i].id);
  return cli_print(cli, out->str);
}

static int run_list(Cli *cli, int argc, char **argv) {
  gboolean ids;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaBrokerList) list = NULL;
  int code;
  if (!cli_begin_list(
          cli, "ids",
          "States: up; fenced (it missed its heartbeats, or has not come up yet: it leads nothing); drained (in\n"
          "maintenance: it follows, and leads only what nobody else can); stopping; disk low (its disk is nearly\n"
          "full: it refuses records, and leads only what nobody else can).\n",
          argc, argv, &ids, &client, &code))
    return code;
  MilenaError *error = milena_admin_list_brokers(client, cli_timeout_ms(cli), &list);
  if (error)
    return cli_failed(cli, error);
  if (ids && !cli->json)
    return print_ids(cli, list);
  return cli->json ? print_json(cli, list->brokers, list->count, TRUE) : print_brokers(cli, list->brokers, list->count);
}

const Command CMD_BROKERS_LIST = {
    .name = "brokers list",
    .arguments = "",
    .summary = "List the brokers and how they stand",
    .examples = "  milena brokers list\n"
                "  milena brokers list --output json\n",
    .run = run_list,
};

/* ---- describe ---- */

static gboolean holds(const MilenaPartition *partition, int32_t id) {
  for (gsize i = 0; i < partition->replica_count; i++)
    if (partition->replicas[i] == id)
      return TRUE;
  return FALSE;
}

/* The partitions that it has replicas of. */
static int print_replicas(Cli *cli, const MilenaCluster *cluster, int32_t id) {
  g_autoptr(Table) table = table_new("TOPIC", ">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", NULL);
  guint count = 0;
  for (gsize i = 0; i < cluster->topics.count; i++) {
    const MilenaTopic *topic = &cluster->topics.topics[i];
    for (gsize j = 0; j < topic->partition_count; j++) {
      const MilenaPartition *partition = &topic->partitions[j];
      if (!holds(partition, id))
        continue;
      table_add(table, "%s", topic->name);
      table_add(table, "%d", partition->partition);
      topic_view_add_leader(table, partition);
      topic_view_add_ids(table, partition->replicas, partition->replica_count);
      topic_view_add_ids(table, partition->in_sync_replicas, partition->in_sync_replica_count);
      count++;
    }
  }
  if (count == 0)
    return cli_print(cli, "\nIt holds no partition.\n");
  int code = cli_print(cli, "\n");
  return code == CLI_OK ? cli_print_table(cli, table) : code;
}

static int run_describe(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  int32_t id = 0;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaBroker) broker = NULL;
  g_autoptr(MilenaCluster) cluster = NULL;
  code = cli_connect_for(cli, "the broker's id", 0, &id, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_get_broker(client, id, cli_timeout_ms(cli), &broker);
  if (!error && cli->json)
    return print_json(cli, broker, 1, FALSE);
  if (!error)
    error = milena_admin_describe_cluster(client, cli_timeout_ms(cli), &cluster);
  if (error)
    return cli_failed(cli, error);
  code = print_brokers(cli, broker, 1);
  return code == CLI_OK ? print_replicas(cli, cluster, id) : code;
}

const Command CMD_BROKERS_DESCRIBE = {
    .name = "brokers describe",
    .arguments = "ID",
    .summary = "Show a broker and the partitions that it holds",
    .examples = "  milena brokers describe 2\n"
                "  milena brokers describe 2 --output json\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_describe,
};

/* ---- drain, undrain ---- */

/* Tell what came of it. */
static int print_changed(Cli *cli, const MilenaBroker *broker, gboolean drain, gboolean dry_run) {
  if (dry_run)
    cli_note(cli, "broker %d could be %s; nothing was changed.", broker->id, drain ? "drained" : "taken back");
  else if (drain && broker->leader_count > 0)
    cli_note(cli,
             "broker %d still leads %u %s that nobody else can lead: if it stops, they have no leader. 'milena "
             "partitions status' shows what they lack.",
             broker->id, broker->leader_count, broker->leader_count == 1 ? "partition" : "partitions");
  return cli->json ? print_json(cli, broker, 1, FALSE) : print_brokers(cli, broker, 1);
}

static int change(Cli *cli, int argc, char **argv, gboolean drain, const char *notes) {
  gboolean dry_run = FALSE;
  const GOptionEntry entries[] = {
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check; shows how it would be", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, notes, argc, argv, &code))
    return code;
  int32_t id = 0;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaBroker) broker = NULL;
  code = cli_connect_for(cli, "the broker's id", 0, &id, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = drain ? milena_admin_drain_broker(client, id, dry_run, cli_timeout_ms(cli), &broker)
                             : milena_admin_undrain_broker(client, id, dry_run, cli_timeout_ms(cli), &broker);
  return error ? cli_failed(cli, error) : print_changed(cli, broker, drain, dry_run);
}

static int run_drain(Cli *cli, int argc, char **argv) {
  return change(
      cli, argc, argv, TRUE,
      "Its leaderships move at once to other replicas that are in sync; it goes on following, and gets no new\n"
      "replicas. It stays drained over restarts, until 'milena brokers undrain'. To move its replicas away for\n"
      "good: milena partitions reassign TOPIC --away-from ID.\n");
}

static int run_undrain(Cli *cli, int argc, char **argv) {
  return change(cli, argc, argv, FALSE,
                "It gets its preferred leaderships back by and by; at once with 'milena partitions elect'.\n");
}

const Command CMD_BROKERS_DRAIN = {
    .name = "brokers drain",
    .arguments = "ID",
    .summary = "Take a broker out of service for maintenance",
    .examples = "  milena brokers drain 2\n"
                "  milena brokers drain 2 --dry-run\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_drain,
};

const Command CMD_BROKERS_UNDRAIN = {
    .name = "brokers undrain",
    .arguments = "ID",
    .summary = "Take a drained broker back into service",
    .examples = "  milena brokers undrain 2\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_undrain,
};
