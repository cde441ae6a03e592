/* See partitions_view.h. Keeps no state.
 *
 * One topic is asked of the controller; all topics of a broker's metadata, which may be a moment behind it. */
#include "client/cli/partitions_view.h"

#include <string.h>

#include "client/cli/text.h"
#include "client/cli/topic_view.h"

#define WAIT_POLL_US 200000

static PartitionHealth health_of(const MilenaTopic *topic, const MilenaPartition *partition) {
  return partition_health(partition, topic->effective_config.min_insync_replicas);
}

static gboolean passes(const MilenaTopic *topic, const MilenaPartition *partition, PartitionsFilter filter) {
  switch (filter) {
  case PARTITIONS_ALL:
    return TRUE;
  case PARTITIONS_UNDER_REPLICATED:
    return partition_is_under_replicated(partition);
  case PARTITIONS_MOVING:
    return partition->target_replica_count > 0;
  case PARTITIONS_NO_LEADER:
    return partition->leader_id < 0;
  default:
    return health_of(topic, partition) != PARTITION_OK || partition->target_replica_count > 0;
  }
}

/* ---- Counting ---- */

typedef struct {
  guint partitions, under_replicated, below_minimum, no_leader, moving;
} Counts;

static Counts count_all(const MilenaTopic *topics, gsize count) {
  Counts counts = {0};
  for (gsize i = 0; i < count; i++) {
    for (gsize j = 0; j < topics[i].partition_count; j++) {
      const MilenaPartition *partition = &topics[i].partitions[j];
      PartitionHealth health = health_of(&topics[i], partition);
      counts.partitions++;
      counts.no_leader += health == PARTITION_NO_LEADER;
      counts.below_minimum += health == PARTITION_BELOW_MINIMUM;
      counts.under_replicated += partition_is_under_replicated(partition);
      counts.moving += partition->target_replica_count > 0;
    }
  }
  return counts;
}

/* ---- Moves ---- */

/* The partition's, or NULL. They are in the order of topics, then partitions, and few. */
static const MilenaReassignment *move_of(const MilenaReassignmentList *moves, const MilenaTopic *topic,
                                         const MilenaPartition *partition) {
  for (gsize i = 0; i < moves->count; i++)
    if (moves->reassignments[i].partition == partition->partition &&
        !strcmp(moves->reassignments[i].topic, topic->name))
      return &moves->reassignments[i];
  return NULL;
}

/* Of its replicas, all together; -1 while that is not told of one. */
static gint64 sum_of(const MilenaReassignment *move, const int64_t *told) {
  gint64 sum = 0;
  for (gsize i = 0; i < move->pending_replica_count; i++) {
    if (told[i] < 0)
      return -1;
    sum += told[i];
  }
  return sum;
}

/* Of the slowest of them; -1 while that is not told of one. */
static gint64 seconds_of(const MilenaReassignment *move) {
  gint64 most = 0;
  for (gsize i = 0; i < move->pending_replica_count; i++) {
    if (move->pending_seconds[i] < 0)
      return -1;
    most = MAX(most, move->pending_seconds[i]);
  }
  return most;
}

/* ---- JSON ---- */

static void move_to_json(const MilenaReassignment *move, Json *json) {
  json_uint(json, "throttle_bytes_per_s", move->throttle_bytes_per_s);
  json_open(json, "pending", '[');
  for (gsize i = 0; i < move->pending_replica_count; i++) {
    json_open(json, NULL, '{');
    json_int(json, "broker", move->pending_replicas[i]);
    if (move->pending_remaining[i] >= 0)
      json_int(json, "remaining_offsets", move->pending_remaining[i]);
    if (move->pending_bytes[i] >= 0)
      json_int(json, "remaining_bytes", move->pending_bytes[i]);
    if (move->pending_seconds[i] >= 0)
      json_int(json, "time_left_s", move->pending_seconds[i]);
    json_close(json);
  }
  json_close(json);
}

static void partition_to_json(const MilenaTopic *topic, const MilenaPartition *partition,
                              const MilenaReassignmentList *moves, Json *json) {
  const MilenaReassignment *move = partition->target_replica_count > 0 ? move_of(moves, topic, partition) : NULL;
  json_open(json, NULL, '{');
  json_string(json, "topic", topic->name);
  json_int(json, "partition", partition->partition);
  json_string(json, "state", partition_health_name(health_of(topic, partition)));
  json_int(json, "leader", partition->leader_id);
  json_int(json, "leader_epoch", partition->leader_epoch);
  topic_view_json_ids(json, "replicas", partition->replicas, partition->replica_count);
  topic_view_json_ids(json, "in_sync", partition->in_sync_replicas, partition->in_sync_replica_count);
  topic_view_json_ids(json, "eligible", partition->eligible_replicas, partition->eligible_replica_count);
  topic_view_json_ids(json, "target", partition->target_replicas, partition->target_replica_count);
  json_uint(json, "target_in_sync", partition_moved(partition));
  if (move)
    move_to_json(move, json);
  json_uint(json, "min_insync_replicas", topic->effective_config.min_insync_replicas);
  json_close(json);
}

static int print_json(Cli *cli, const MilenaTopic *topics, gsize count, const MilenaReassignmentList *moves,
                      const Counts *counts, PartitionsFilter filter) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '{');
  json_uint(json, "partition_count", counts->partitions);
  json_uint(json, "under_replicated", counts->under_replicated);
  json_uint(json, "below_minimum", counts->below_minimum);
  json_uint(json, "without_leader", counts->no_leader);
  json_uint(json, "moving", counts->moving);
  json_open(json, "partitions", '[');
  for (gsize i = 0; i < count; i++)
    for (gsize j = 0; j < topics[i].partition_count; j++)
      if (passes(&topics[i], &topics[i].partitions[j], filter))
        partition_to_json(&topics[i], &topics[i].partitions[j], moves, json);
  json_close(json);
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

/* ---- Text ---- */

static void move_to_table(const MilenaReassignment *move, Table *table) {
  gint64 remaining = move ? sum_of(move, move->pending_remaining) : -1;
  gint64 bytes = move ? sum_of(move, move->pending_bytes) : -1;
  gint64 seconds = move ? seconds_of(move) : -1;
  g_autofree char *left = remaining >= 0 ? text_grouped((guint64)remaining) : NULL;
  g_autofree char *left_bytes = bytes >= 0 ? text_bytes((double)bytes) : NULL;
  g_autofree char *time_left = seconds >= 0 ? text_duration(seconds) : NULL;
  g_autofree char *throttle =
      move && move->throttle_bytes_per_s ? text_bytes((double)move->throttle_bytes_per_s) : NULL;
  table_add(table, "%s", left ? left : move ? "?" : "");
  table_add(table, "%s%s", left_bytes ? "~" : "", left_bytes ? left_bytes : move ? "?" : "");
  table_add(table, "%s%s", time_left ? "~" : "", time_left ? time_left : move ? "?" : "");
  table_add(table, "%s%s", throttle ? throttle : "", throttle ? "/s" : "");
}

static void partition_to_table(const MilenaTopic *topic, const MilenaPartition *partition,
                               const MilenaReassignmentList *moves, Table *table) {
  gboolean moving = partition->target_replica_count > 0;
  table_add(table, "%s", topic->name);
  table_add(table, "%d", partition->partition);
  table_add(table, "%s", partition_health_name(health_of(topic, partition)));
  topic_view_add_leader(table, partition);
  topic_view_add_ids(table, partition->replicas, partition->replica_count);
  topic_view_add_ids(table, partition->in_sync_replicas, partition->in_sync_replica_count);
  topic_view_add_ids(table, partition->eligible_replicas, partition->eligible_replica_count);
  topic_view_add_ids(table, partition->target_replicas, partition->target_replica_count);
  if (moving)
    table_add(table, "%u of %" G_GSIZE_FORMAT, partition_moved(partition), partition->target_replica_count);
  else
    table_add(table, "%s", "");
  move_to_table(moving ? move_of(moves, topic, partition) : NULL, table);
}

static char *head_text(const Counts *counts) {
  g_autofree char *partitions = text_counted(counts->partitions, "partition");
  return g_strdup_printf("%s: %u under-replicated, %u below the minimum, %u without a leader, %u moving\n", partitions,
                         counts->under_replicated, counts->below_minimum, counts->no_leader, counts->moving);
}

int partitions_view_print(Cli *cli, const MilenaTopic *topics, gsize count, const MilenaReassignmentList *moves,
                          PartitionsFilter filter) {
  Counts counts = count_all(topics, count);
  if (cli->json)
    return print_json(cli, topics, count, moves, &counts, filter);
  g_autofree char *head = head_text(&counts);
  g_autoptr(Table) table =
      table_new("TOPIC", ">PARTITION", "STATE", ">LEADER", "REPLICAS", "IN SYNC", "ELIGIBLE", "MOVES TO", ">CAUGHT UP",
                ">OFFSETS LEFT", ">BYTES LEFT", ">TIME LEFT", ">THROTTLE", NULL);
  guint shown = 0;
  for (gsize i = 0; i < count; i++) {
    for (gsize j = 0; j < topics[i].partition_count; j++) {
      if (!passes(&topics[i], &topics[i].partitions[j], filter))
        continue;
      partition_to_table(&topics[i], &topics[i].partitions[j], moves, table);
      shown++;
    }
  }
  int code = cli_print(cli, head);
  if (code == CLI_OK && shown > 0)
    code = cli_print(cli, "\n");
  return code == CLI_OK && shown > 0 ? cli_print_table(cli, table) : code;
}

/* ---- Fetching ---- */

/* Print, with the reassignments where something moves. */
static int print_with_moves(Cli *cli, MilenaClient *client, const MilenaTopic *topics, gsize count,
                            PartitionsFilter filter) {
  static const MilenaReassignmentList NONE = {NULL, 0};
  if (count_all(topics, count).moving == 0)
    return partitions_view_print(cli, topics, count, &NONE, filter);
  g_autoptr(MilenaReassignmentList) moves = NULL;
  MilenaError *error = milena_admin_list_reassignments(client, cli_timeout_ms(cli), &moves);
  return error ? cli_failed(cli, error) : partitions_view_print(cli, topics, count, moves, filter);
}

static int show_topic(Cli *cli, MilenaClient *client, const char *name, PartitionsFilter filter) {
  g_autoptr(MilenaTopic) topic = NULL;
  MilenaError *error = milena_admin_describe_topic(client, name, cli_timeout_ms(cli), &topic);
  return error ? cli_failed(cli, error) : print_with_moves(cli, client, topic, 1, filter);
}

int partitions_view_show(Cli *cli, MilenaClient *client, const char *topic, PartitionsFilter filter) {
  if (topic)
    return show_topic(cli, client, topic, filter);
  g_autoptr(MilenaCluster) cluster = NULL;
  MilenaError *error = milena_admin_describe_cluster(client, cli_timeout_ms(cli), &cluster);
  return error ? cli_failed(cli, error)
               : print_with_moves(cli, client, cluster->topics.topics, cluster->topics.count, filter);
}

static guint count_moves(const MilenaReassignmentList *list, const char *topic) {
  guint count = 0;
  for (gsize i = 0; i < list->count; i++)
    count += !topic || !strcmp(list->reassignments[i].topic, topic);
  return count;
}

int partitions_view_wait(Cli *cli, MilenaClient *client, const char *topic) {
  gint64 until_us = g_get_monotonic_time() + cli_timeout_ms(cli) * G_TIME_SPAN_MILLISECOND;
  for (;;) {
    gint64 left_ms = MAX(until_us - g_get_monotonic_time(), 0) / G_TIME_SPAN_MILLISECOND;
    g_autoptr(MilenaReassignmentList) list = NULL;
    MilenaError *error = milena_admin_list_reassignments(client, (gint32)MAX(left_ms, 1), &list);
    if (error)
      return cli_failed(cli, error);
    guint moves = count_moves(list, topic);
    if (moves == 0)
      return CLI_OK;
    if (left_ms == 0)
      return cli_failed_text(cli,
                             "%u %s still under way after %d s: they go on. Look with 'milena partitions status', wait "
                             "longer with --timeout.",
                             moves, moves == 1 ? "reassignment is" : "reassignments are", cli->timeout_s);
    g_usleep(MIN((gulong)WAIT_POLL_US, (gulong)(left_ms * 1000)));
  }
}
