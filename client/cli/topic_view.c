#include "client/cli/topic_view.h"

#include "client/cli/text.h"
#include "client/cli/topic_config.h"

gint64 *topic_view_offsets(MilenaClient *client, const MilenaTopic *topic, gint32 timeout_ms) {
  gsize count = 2 * topic->partition_count;
  gint64 *offsets = g_new(gint64, count);
  g_autofree MilenaOffsetQuery *queries = g_new(MilenaOffsetQuery, count);
  for (gsize i = 0; i < count; i++) {
    offsets[i] = -1;
    queries[i] =
        (MilenaOffsetQuery){topic->name, topic->partitions[i / 2].partition, i % 2 ? MILENA_END : MILENA_BEGINNING};
  }
  MilenaOffsetResult *results = NULL;
  MilenaError *error = milena_admin_list_offsets(client, queries, count, timeout_ms, &results);
  /* The topic can be shown without them: what can't be had is shown as missing. */
  for (gsize i = 0; !error && i < count; i++)
    if (!results[i].error)
      offsets[i] = results[i].offset;
  if (!error)
    milena_offset_results_free(results, count);
  milena_error_free(error);
  return offsets;
}

/* ---- JSON ---- */

void topic_view_json_ids(Json *json, const char *key, const int32_t *ids, gsize count) {
  json_open(json, key, '[');
  for (gsize i = 0; i < count; i++)
    json_int(json, NULL, ids[i]);
  json_close(json);
}

static void json_config(Json *json, const char *key, const MilenaTopicConfig *config, gboolean effective) {
  json_open(json, key, '{');
  for (guint i = 0; i < topic_config_count(); i++) {
    g_autofree char *value = effective ? topic_config_effective_value(config, i) : topic_config_value(config, i);
    if (value)
      json_string(json, topic_config_key(i), value);
  }
  json_close(json);
}

static void json_partition(Json *json, const MilenaPartition *partition, const gint64 *offsets) {
  json_open(json, NULL, '{');
  json_int(json, "partition", partition->partition);
  json_int(json, "leader", partition->leader_id);
  json_int(json, "leader_epoch", partition->leader_epoch);
  topic_view_json_ids(json, "replicas", partition->replicas, partition->replica_count);
  topic_view_json_ids(json, "in_sync", partition->in_sync_replicas, partition->in_sync_replica_count);
  topic_view_json_ids(json, "eligible", partition->eligible_replicas, partition->eligible_replica_count);
  topic_view_json_ids(json, "target", partition->target_replicas, partition->target_replica_count);
  if (offsets && offsets[0] >= 0 && offsets[1] >= 0) {
    json_int(json, "first_offset", offsets[0]);
    json_int(json, "end_offset", offsets[1]);
  }
  json_close(json);
}

static int print_json(Cli *cli, const MilenaTopic *topic, const gint64 *offsets) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '{');
  json_string(json, "name", topic->name);
  json_string(json, "id", topic->id);
  json_uint(json, "replication_factor", topic->replication_factor);
  json_config(json, "config", &topic->config, FALSE);
  json_config(json, "effective_config", &topic->effective_config, TRUE);
  json_open(json, "partitions", '[');
  for (gsize i = 0; i < topic->partition_count; i++)
    json_partition(json, &topic->partitions[i], offsets ? offsets + 2 * i : NULL);
  json_close(json);
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

/* ---- Text ---- */

static char *join_ids(const int32_t *ids, gsize count) {
  GString *out = g_string_new(NULL);
  for (gsize i = 0; i < count; i++)
    g_string_append_printf(out, "%s%d", i ? "," : "", ids[i]);
  return g_string_free(out, FALSE);
}

static char *head_text(const MilenaTopic *topic) {
  GString *out = g_string_new(NULL);
  g_string_append_printf(out, "Topic %s\n  id                      %s\n  partitions              %" G_GSIZE_FORMAT "\n",
                         topic->name, topic->id, topic->partition_count);
  g_string_append_printf(out, "  replication factor      %u\n", topic->replication_factor);
  for (guint i = 0; i < topic_config_count(); i++) {
    g_autofree char *set = topic_config_value(&topic->config, i);
    g_autofree char *effective = topic_config_effective_value(&topic->effective_config, i);
    const char *value = effective ? effective : set;
    if (value)
      g_string_append_printf(out, "  %-25s %s%s\n", topic_config_key(i), value, set ? "" : " (default)");
  }
  g_string_append_c(out, '\n');
  return g_string_free(out, FALSE);
}

static void add_offset(Table *table, gint64 offset) {
  g_autofree char *text = offset >= 0 ? text_grouped((guint64)offset) : g_strdup("");
  table_add(table, "%s", text);
}

void topic_view_add_leader(Table *table, const MilenaPartition *partition) {
  if (partition->leader_id >= 0)
    table_add(table, "%d", partition->leader_id);
  else
    table_add(table, "none");
}

void topic_view_add_ids(Table *table, const int32_t *ids, gsize count) {
  g_autofree char *text = join_ids(ids, count);
  table_add(table, "%s", text);
}

/* What is worth a column: most topics have none of it. */
typedef struct {
  gboolean eligible, target;
} Columns;

static Columns find_columns(const MilenaTopic *topic) {
  Columns columns = {FALSE, FALSE};
  for (gsize i = 0; i < topic->partition_count; i++) {
    columns.eligible |= topic->partitions[i].eligible_replica_count > 0;
    columns.target |= topic->partitions[i].target_replica_count > 0;
  }
  return columns;
}

static Table *make_table(const Columns *columns, gboolean offsets) {
  const char *names[5] = {NULL};
  guint count = 0;
  if (columns->eligible)
    names[count++] = "ELIGIBLE";
  if (columns->target)
    names[count++] = "MOVES TO";
  if (offsets) {
    names[count++] = ">FIRST OFFSET";
    names[count++] = ">END OFFSET";
  }
  return table_new(">PARTITION", ">LEADER", ">EPOCH", "REPLICAS", "IN SYNC", names[0], names[1], names[2], names[3],
                   NULL);
}

static Table *partition_table(const MilenaTopic *topic, const gint64 *offsets) {
  Columns columns = find_columns(topic);
  Table *table = make_table(&columns, offsets != NULL);
  for (gsize i = 0; i < topic->partition_count; i++) {
    const MilenaPartition *partition = &topic->partitions[i];
    table_add(table, "%d", partition->partition);
    topic_view_add_leader(table, partition);
    table_add(table, "%d", partition->leader_epoch);
    topic_view_add_ids(table, partition->replicas, partition->replica_count);
    topic_view_add_ids(table, partition->in_sync_replicas, partition->in_sync_replica_count);
    if (columns.eligible)
      topic_view_add_ids(table, partition->eligible_replicas, partition->eligible_replica_count);
    if (columns.target)
      topic_view_add_ids(table, partition->target_replicas, partition->target_replica_count);
    if (offsets) {
      add_offset(table, offsets[2 * i]);
      add_offset(table, offsets[2 * i + 1]);
    }
  }
  return table;
}

int topic_view_print(Cli *cli, const MilenaTopic *topic, const gint64 *offsets) {
  if (cli->json)
    return print_json(cli, topic, offsets);
  g_autofree char *head = head_text(topic);
  g_autoptr(Table) table = partition_table(topic, offsets);
  int code = cli_print(cli, head);
  return code == CLI_OK ? cli_print_table(cli, table) : code;
}
