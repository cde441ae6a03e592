/* See group_view.h. */
#include "client/cli/group_view.h"

#include <string.h>

#include "client/cli/text.h"

static const char *const ASSIGNORS[] = {"", "sticky", "range", "round-robin"};

const char *group_view_state(MilenaGroupState state) {
  switch (state) {
  case MILENA_GROUP_EMPTY:
    return "empty";
  case MILENA_GROUP_STABLE:
    return "stable";
  case MILENA_GROUP_RECONCILING:
    return "reconciling";
  default:
    return "unknown";
  }
}

const char *group_view_assignor(MilenaAssignor assignor) {
  return (guint)assignor < G_N_ELEMENTS(ASSIGNORS) ? ASSIGNORS[assignor] : "unknown";
}

gboolean group_view_parse_assignor(const char *name, MilenaAssignor *ret_assignor) {
  for (guint i = MILENA_ASSIGNOR_STICKY; i < G_N_ELEMENTS(ASSIGNORS); i++) {
    if (strcmp(name, ASSIGNORS[i]) == 0) {
      *ret_assignor = (MilenaAssignor)i;
      return TRUE;
    }
  }
  return FALSE;
}

/* ---- people ---- */

char *group_view_head(const MilenaGroup *group) {
  g_autofree char *members = text_counted(group->member_count, "member");
  g_autofree char *lag = text_grouped((guint64)MAX(group->total_lag, 0));
  g_autofree char *name = text_escape(group->group, strlen(group->group));
  g_autofree char *session = text_duration(group->config.session_timeout_ms / 1000);
  g_autofree char *retention = text_duration(group->config.offsets_retention_ms / 1000);
  GString *out = g_string_new(NULL);
  g_string_append_printf(out, "Group %s: %s, %s, lag %s\n", name, group_view_state(group->state), members, lag);
  g_string_append_printf(out, "epoch %u, assignor %s, session timeout %s, offsets kept %s after it is empty\n",
                         group->epoch, group_view_assignor(group->config.assignor), session, retention);
  g_string_append_printf(out, "coordinator %d at %s, partition %d of __consumer_offsets\n", group->coordinator_id,
                         group->coordinator_address, group->offsets_partition);
  for (gsize i = 0; i < group->explanation_count; i++) {
    g_autofree char *line = text_escape(group->explanation[i], strlen(group->explanation[i]));
    g_string_append_printf(out, "- %s\n", line);
  }
  return g_string_free(out, FALSE);
}

static char *heard_text(const MilenaGroupMember *member, gint64 now_ms) {
  if (member->heartbeat_ms <= 0)
    return g_strdup("");
  gint64 ago_ms = MAX(now_ms - member->heartbeat_ms, 0);
  if (ago_ms < 1000)
    return g_strdup_printf("%" G_GINT64_FORMAT " ms ago", ago_ms);
  g_autofree char *duration = text_duration(ago_ms / 1000);
  return g_strdup_printf("%s ago", duration);
}

Table *group_view_members(const MilenaGroup *group, gint64 now_ms) {
  Table *table =
      table_new("MEMBER", "CLIENT", "ADDRESS", ">EPOCH", ">OWNS", ">GIVES UP", ">SHALL OWN", "HEARD", "STATE", NULL);
  for (gsize i = 0; i < group->member_count; i++) {
    const MilenaGroupMember *member = &group->members[i];
    g_autofree char *heard = heard_text(member, now_ms);
    table_add(table, "%s", *member->instance_id ? member->instance_id : member->member_id);
    table_add(table, "%s", member->client_id);
    table_add(table, "%s", member->client_address);
    table_add(table, "%u", member->epoch);
    table_add(table, "%u", member->owned_count);
    table_add(table, "%u", member->revoking_count);
    table_add(table, "%u", member->target_count);
    table_add(table, "%s", heard);
    table_add(table, "%s", member->explanation);
  }
  return table;
}

static gint by_lag(gconstpointer a, gconstpointer b, gpointer data) {
  const MilenaGroup *group = data;
  const MilenaGroupPartition *left = &group->partitions[*(const guint *)a];
  const MilenaGroupPartition *right = &group->partitions[*(const guint *)b];
  gint order = (right->lag > left->lag) - (right->lag < left->lag);
  return order != 0 ? order : (gint)(*(const guint *)a) - (gint)(*(const guint *)b);
}

/* A number that may be missing. */
static void add_number(Table *table, gint64 number) {
  g_autofree char *text = number >= 0 ? text_grouped((guint64)number) : g_strdup("");
  table_add(table, "%s", text);
}

static void add_rate(Table *table, double rate) {
  if (rate < 0)
    table_add(table, "%s", "");
  else
    table_add(table, "%.0f", rate);
}

/* Who reads a partition, as people know it. */
static const char *reader_name(const MilenaGroup *group, const char *member_id) {
  for (gsize i = 0; i < group->member_count; i++) {
    const MilenaGroupMember *member = &group->members[i];
    if (strcmp(member->member_id, member_id) == 0)
      return *member->instance_id ? member->instance_id : member->member_id;
  }
  return member_id;
}

Table *group_view_partitions(const MilenaGroup *group, const GroupRate *rates, guint rows_max, guint *ret_hidden) {
  guint count = (guint)group->partition_count, shown = rows_max > 0 ? MIN(rows_max, count) : count;
  g_autofree guint *order = g_new(guint, count);
  for (guint i = 0; i < count; i++)
    order[i] = i;
  if (shown < count)
    g_qsort_with_data(order, (gint)count, sizeof *order, by_lag, (gpointer)group);
  Table *table = rates != NULL
                     ? table_new("TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", ">READ/S", ">WRITTEN/S", "READER",
                                 "PROBLEM", NULL)
                     : table_new("TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "READER", "PROBLEM", NULL);
  for (guint i = 0; i < shown; i++) {
    const MilenaGroupPartition *partition = &group->partitions[order[i]];
    table_add(table, "%s", partition->topic);
    table_add(table, "%d", partition->partition);
    add_number(table, partition->committed);
    add_number(table, partition->high_watermark);
    add_number(table, partition->lag);
    if (rates != NULL) {
      add_rate(table, rates[order[i]].read);
      add_rate(table, rates[order[i]].written);
    }
    table_add(table, "%s", reader_name(group, partition->member_id));
    table_add(table, "%s", partition->problem);
  }
  if (ret_hidden != NULL)
    *ret_hidden = count - shown;
  return table;
}

/* ---- rates ---- */

static const MilenaGroupPartition *find(const MilenaGroup *group, const MilenaGroupPartition *wanted, gsize hint) {
  for (gsize i = 0; i < group->partition_count; i++) {
    const MilenaGroupPartition *partition = &group->partitions[(hint + i) % group->partition_count];
    if (partition->partition == wanted->partition && strcmp(partition->topic, wanted->topic) == 0)
      return partition;
  }
  return NULL;
}

static double rate_of(gint64 before, gint64 after, double seconds) {
  return before < 0 || after < before || seconds <= 0 ? -1 : (double)(after - before) / seconds;
}

GroupRate *group_view_rates(const MilenaGroup *before, const MilenaGroup *after, gint64 elapsed_us) {
  GroupRate *rates = g_new(GroupRate, after->partition_count);
  double seconds = (double)elapsed_us / G_USEC_PER_SEC;
  for (gsize i = 0; i < after->partition_count; i++) {
    const MilenaGroupPartition *now = &after->partitions[i], *then = find(before, now, i);
    rates[i].read = then != NULL ? rate_of(then->committed, now->committed, seconds) : -1;
    rates[i].written = then != NULL ? rate_of(then->high_watermark, now->high_watermark, seconds) : -1;
  }
  return rates;
}

/* ---- programs ---- */

char *group_view_offsets(const MilenaGroup *group) {
  GString *out = g_string_new(NULL);
  for (gsize i = 0; i < group->partition_count; i++) {
    const MilenaGroupPartition *partition = &group->partitions[i];
    if (partition->committed >= 0)
      g_string_append_printf(out, "%s %d %" G_GINT64_FORMAT "\n", partition->topic, partition->partition,
                             (gint64)partition->committed);
  }
  return g_string_free(out, FALSE);
}

/* null when it is missing */
static void json_number(Json *json, const char *key, gint64 number) {
  if (number >= 0)
    json_int(json, key, number);
  else
    json_string(json, key, NULL);
}

static void json_time(Json *json, const char *key, gint64 ms) {
  g_autofree char *time = ms > 0 ? text_time(ms) : NULL;
  json_string(json, key, time);
}

static void member_json(const MilenaGroupMember *member, Json *json) {
  json_open(json, NULL, '{');
  json_string(json, "member_id", member->member_id);
  json_string(json, "instance_id", member->instance_id);
  json_string(json, "client_id", member->client_id);
  json_string(json, "client_address", member->client_address);
  json_string(json, "rack", member->rack);
  json_uint(json, "epoch", member->epoch);
  json_open(json, "topics", '[');
  for (gsize i = 0; i < member->topic_count; i++)
    json_string(json, NULL, member->topics[i]);
  json_close(json);
  json_string(json, "topic_pattern", member->topic_pattern);
  json_uint(json, "owned", member->owned_count);
  json_uint(json, "revoking", member->revoking_count);
  json_uint(json, "target", member->target_count);
  json_time(json, "last_heartbeat", member->heartbeat_ms);
  json_string(json, "explanation", member->explanation);
  json_close(json);
}

static void partition_json(const MilenaGroupPartition *partition, const GroupRate *rate, Json *json) {
  json_open(json, NULL, '{');
  json_string(json, "topic", partition->topic);
  json_int(json, "partition", partition->partition);
  json_string(json, "member_id", partition->member_id);
  json_number(json, "committed", partition->committed);
  json_number(json, "leader_epoch", partition->leader_epoch);
  json_string(json, "metadata", partition->metadata);
  json_time(json, "commit_time", partition->commit_time_ms);
  json_number(json, "high_watermark", partition->high_watermark);
  json_number(json, "lag", partition->lag);
  json_string(json, "problem", partition->problem);
  if (rate != NULL && rate->read >= 0)
    json_double(json, "read_per_second", rate->read);
  if (rate != NULL && rate->written >= 0)
    json_double(json, "written_per_second", rate->written);
  json_close(json);
}

void group_view_json(const MilenaGroup *group, const GroupRate *rates, Json *json) {
  json_open(json, NULL, '{');
  json_string(json, "group", group->group);
  json_string(json, "state", group_view_state(group->state));
  json_uint(json, "epoch", group->epoch);
  json_uint(json, "assignment_epoch", group->assignment_epoch);
  json_int(json, "coordinator_id", group->coordinator_id);
  json_string(json, "coordinator_address", group->coordinator_address);
  json_int(json, "offsets_partition", group->offsets_partition);
  json_int(json, "session_timeout_ms", group->config.session_timeout_ms);
  json_int(json, "heartbeat_interval_ms", group->config.heartbeat_interval_ms);
  json_string(json, "assignor", group_view_assignor(group->config.assignor));
  json_int(json, "offsets_retention_ms", group->config.offsets_retention_ms);
  json_uint(json, "max_members", group->config.max_members);
  json_int(json, "total_lag", group->total_lag);
  json_open(json, "explanation", '[');
  for (gsize i = 0; i < group->explanation_count; i++)
    json_string(json, NULL, group->explanation[i]);
  json_close(json);
  json_open(json, "members", '[');
  for (gsize i = 0; i < group->member_count; i++)
    member_json(&group->members[i], json);
  json_close(json);
  json_open(json, "partitions", '[');
  for (gsize i = 0; i < group->partition_count; i++)
    partition_json(&group->partitions[i], rates != NULL ? &rates[i] : NULL, json);
  json_close(json);
  json_close(json);
}
