/* `milena cluster describe`: the processes of the cluster as one broker knows them. */
#include "client/cli/broker_view.h"
#include "client/cli/cli.h"
#include "client/cli/text.h"

static void json_nodes(Json *json, const char *key, const MilenaNode *nodes, gsize count) {
  json_open(json, key, '[');
  for (gsize i = 0; i < count; i++) {
    json_open(json, NULL, '{');
    json_int(json, "id", nodes[i].id);
    json_string(json, "address", nodes[i].address);
    json_bool(json, "fenced", nodes[i].fenced);
    json_close(json);
  }
  json_close(json);
}

static void json_brokers(Json *json, const MilenaBrokerList *list) {
  json_open(json, "brokers", '[');
  for (gsize i = 0; i < list->count; i++)
    broker_view_to_json(&list->brokers[i], json);
  json_close(json);
}

static int print_json(Cli *cli, const MilenaCluster *cluster) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '{');
  json_string(json, "cluster_id", cluster->cluster_id);
  json_uint(json, "metadata_version", cluster->version);
  json_int(json, "active_controller_id", cluster->active_controller_id);
  json_nodes(json, "controllers", cluster->controllers, cluster->controller_count);
  json_brokers(json, &cluster->brokers);
  json_nodes(json, "coordinators", cluster->coordinators, cluster->coordinator_count);
  json_uint(json, "topics", cluster->topics.count);
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

static void add_node(Table *table, const char *kind, const MilenaNode *node, const char *state) {
  table_add(table, "%s", kind);
  table_add(table, "%d", node->id);
  table_add(table, "%s", node->address);
  table_add(table, "%s", state);
  for (guint i = 0; i < 3; i++)
    table_add(table, "%s", "");
}

static Table *make_table(const MilenaCluster *cluster) {
  Table *table = table_new("PROCESS", ">ID", "ADDRESS", "STATE", "RACK", ">LEADS", ">REPLICAS", NULL);
  for (gsize i = 0; i < cluster->controller_count; i++) {
    gboolean active = cluster->controllers[i].id == cluster->active_controller_id;
    add_node(table, "controller", &cluster->controllers[i], active ? "active" : "standing by");
  }
  for (gsize i = 0; i < cluster->brokers.count; i++) {
    const MilenaBroker *broker = &cluster->brokers.brokers[i];
    table_add(table, "broker");
    table_add(table, "%d", broker->id);
    table_add(table, "%s", broker->address);
    table_add(table, "%s", broker_view_state(broker));
    table_add(table, "%s", broker->rack);
    table_add(table, "%u", broker->leader_count);
    table_add(table, "%u", broker->replica_count);
  }
  for (gsize i = 0; i < cluster->coordinator_count; i++)
    add_node(table, "coordinator", &cluster->coordinators[i], cluster->coordinators[i].fenced ? "fenced" : "up");
  return table;
}

static int run_describe(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaCluster) cluster = NULL;
  code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_describe_cluster(client, cli_timeout_ms(cli), &cluster);
  if (error)
    return cli_failed(cli, error);
  if (cli->json)
    return print_json(cli, cluster);
  g_autofree char *topics = text_counted(cluster->topics.count, "topic");
  g_autofree char *head = g_strdup_printf("Cluster %s, metadata version %" G_GUINT64_FORMAT ", %s\n\n",
                                          cluster->cluster_id, (guint64)cluster->version, topics);
  g_autoptr(Table) table = make_table(cluster);
  code = cli_print(cli, head);
  return code == CLI_OK ? cli_print_table(cli, table) : code;
}

const Command CMD_CLUSTER_DESCRIBE = {
    .name = "cluster describe",
    .arguments = "",
    .summary = "Show the cluster's controllers, brokers and coordinators",
    .examples = "  milena cluster describe\n"
                "  milena cluster describe --bootstrap broker-1:7600 --output json\n",
    .run = run_describe,
};
