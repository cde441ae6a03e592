/* The commands of scenario.h. */
#include "tests/unit/groups/scenario_internal.h"

#include <stdlib.h>
#include <string.h>

#include "services/base/times.h"

#define EPOCH_MS G_GINT64_CONSTANT(1700000000000) /* wall clock at the beginning */

static void client_free(gpointer data) {
  ScenarioClient *client = data;
  g_free(client->id);
  if (client->assignment)
    milena__v1__assignment__free_unpacked(client->assignment, NULL);
  g_free(client);
}

static void call_free(gpointer data) {
  ScenarioCall *call = data;
  g_free(call->label);
  g_free(call);
}

Scenario *scenario_new(void) {
  Scenario *scenario = g_new0(Scenario, 1);
  scenario->host = fake_host_new();
  scenario->time = (GroupsTime){0, EPOCH_MS};
  scenario->groups = fake_host_load(scenario->host, scenario->time);
  scenario->clients = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, client_free);
  scenario->calls = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, call_free);
  return scenario;
}

void scenario_free(Scenario *scenario) {
  if (!scenario)
    return;
  groups_free(scenario->groups);
  fake_host_free(scenario->host);
  g_hash_table_unref(scenario->clients);
  g_hash_table_unref(scenario->calls);
  g_free(scenario);
}

/* ---- calls ---- */

static GroupsToken call_new(Scenario *scenario, const char *label, ScenarioClient *client) {
  ScenarioCall *call = g_new(ScenarioCall, 1);
  *call = (ScenarioCall){g_strdup(label), client};
  GroupsToken token = ++scenario->last_token;
  g_hash_table_insert(scenario->calls, GUINT_TO_POINTER((guint)token), call);
  return token;
}

static void remember(ScenarioClient *client, Milena__V1__HeartbeatResponse *response) {
  g_free(client->id);
  client->id = g_strdup(response->member_id);
  client->epoch = response->member_epoch;
  if (!response->assignment)
    return;
  if (client->assignment)
    milena__v1__assignment__free_unpacked(client->assignment, NULL);
  client->assignment = g_steal_pointer(&response->assignment);
  client->version = client->assignment->version;
}

static void turn(Scenario *scenario) {
  g_auto(GroupsOut) out;
  groups_out_init(&out);
  groups_turn(scenario->groups, scenario->time, &out);
  for (guint i = 0; i < out.records->len; i++)
    scenario_tell_record(scenario, &g_array_index(out.records, GroupsRecord, i));
  fake_host_append(scenario->host, out.records);
  for (guint i = 0; i < out.answers->len; i++) {
    GroupsAnswer *answer = &g_array_index(out.answers, GroupsAnswer, i);
    ScenarioCall *call = g_hash_table_lookup(scenario->calls, GUINT_TO_POINTER((guint)answer->token));
    scenario_tell_answer(scenario, call->label, answer);
    if (call->client && answer->response)
      remember(call->client, (Milena__V1__HeartbeatResponse *)answer->response);
    g_hash_table_remove(scenario->calls, GUINT_TO_POINTER((guint)answer->token));
  }
}

static void turn_unless_held(Scenario *scenario) {
  if (!scenario->holding)
    turn(scenario);
}

static ScenarioClient *client_of(Scenario *scenario, const char *group, const char *member) {
  g_autofree char *key = g_strdup_printf("%s/%s", group, member);
  ScenarioClient *client = g_hash_table_lookup(scenario->clients, key);
  if (!client) {
    client = g_new0(ScenarioClient, 1);
    client->id = g_strdup(*member == '?' ? "" : member);
    g_hash_table_insert(scenario->clients, g_steal_pointer(&key), client);
  }
  return client;
}

/* "*N" is a name of N bytes. */
static char *name_of(const char *word) {
  return *word == '*' ? g_strnfill((gsize)atoi(word + 1), 'g') : g_strdup(word);
}

/* ---- heartbeats ---- */

static Google__Protobuf__Duration *duration(gint64 ms) {
  Google__Protobuf__Duration *message = g_new(Google__Protobuf__Duration, 1);
  google__protobuf__duration__init(message);
  message->seconds = ms / 1000;
  message->nanos = (gint32)(ms % 1000 * 1000000);
  return message;
}

static void fill_subscription(Milena__V1__HeartbeatRequest *request, char **words) {
  const char *topics = scenario_word(words, "topics"), *pattern = scenario_word(words, "pattern");
  if (!topics && !pattern)
    return;
  request->subscription = g_new(Milena__V1__GroupSubscription, 1);
  milena__v1__group_subscription__init(request->subscription);
  if (topics && *topics) {
    request->subscription->topics = g_strsplit(topics, ",", -1);
    request->subscription->n_topics = g_strv_length(request->subscription->topics);
  }
  if (pattern)
    request->subscription->topic_pattern = *pattern == '*' ? name_of(pattern) : g_strdup(pattern);
}

static void fill_owned(Milena__V1__HeartbeatRequest *request, const ScenarioClient *client, const char *text) {
  if (!text)
    return;
  Milena__V1__OwnedPartitions *owned = g_new(Milena__V1__OwnedPartitions, 1);
  milena__v1__owned_partitions__init(owned);
  request->owned = owned;
  if (g_str_equal(text, "none"))
    return;
  if (!g_str_equal(text, "all")) {
    g_auto(GStrv) topics = g_strsplit(text, ";", -1);
    owned->topics = g_new(Milena__V1__TopicPartitions *, g_strv_length(topics));
    for (guint i = 0; topics[i]; i++)
      owned->topics[owned->n_topics++] = scenario_parts(topics[i]);
    return;
  }
  if (!client->assignment)
    return;
  owned->topics = g_new(Milena__V1__TopicPartitions *, client->assignment->n_topics + 1);
  for (gsize i = 0; i < client->assignment->n_topics; i++) {
    const Milena__V1__AssignedTopic *assigned = client->assignment->topics[i];
    Milena__V1__TopicPartitions *topic = scenario_parts(assigned->topic);
    topic->topic_id = g_strdup(assigned->topic_id);
    topic->partitions = g_new(gint32, assigned->n_partitions + 1);
    for (gsize k = 0; k < assigned->n_partitions; k++)
      topic->partitions[topic->n_partitions++] = assigned->partitions[k]->partition;
    owned->topics[owned->n_topics++] = topic;
  }
}

static void set_text(char **field, char **words, const char *key) {
  if (scenario_word(words, key))
    *field = g_strdup(scenario_word(words, key));
}

static void run_heartbeat(Scenario *scenario, char **words) {
  gboolean joins = g_str_equal(words[0], "join"), leaves = g_str_equal(words[0], "leave");
  ScenarioClient *client = client_of(scenario, words[1], words[2]);
  Milena__V1__HeartbeatRequest *request = g_new(Milena__V1__HeartbeatRequest, 1);
  milena__v1__heartbeat_request__init(request);
  request->group = name_of(words[1]);
  request->member_id = g_strdup(client->id);
  request->member_epoch = joins ? 0 : (guint32)scenario_number(words, "epoch", client->epoch);
  if (leaves)
    request->leave =
        scenario_word(words, "return") ? MILENA__V1__LEAVE__LEAVE_TO_RETURN : MILENA__V1__LEAVE__LEAVE_FOR_GOOD;
  else
    request->assignment_version = joins ? 0 : (guint32)scenario_number(words, "version", client->version);
  set_text(&request->instance_id, words, "instance");
  set_text(&request->rack, words, "rack");
  set_text(&request->client_id, words, "client");
  request->tell_assignment = scenario_word(words, "tell") != NULL;
  if (scenario_word(words, "wait"))
    request->max_wait = duration(scenario_number(words, "wait", 0));
  if (scenario_word(words, "rebalance"))
    request->rebalance_timeout = duration(scenario_number(words, "rebalance", 0));
  const char *reset = scenario_word(words, "reset");
  if (reset)
    request->offset_reset = g_str_equal(reset, "earliest") ? MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST
                                                           : MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE;
  fill_subscription(request, words);
  fill_owned(request, client, scenario_word(words, "owned"));
  groups_heartbeat(scenario->groups, call_new(scenario, words[2], client), request, "10.0.0.1:999", scenario->time);
  milena__v1__heartbeat_request__free_unpacked(request, NULL);
  turn_unless_held(scenario);
}

static void run_abandon(Scenario *scenario, const char *member) {
  GHashTableIter iter;
  gpointer token, data;
  g_hash_table_iter_init(&iter, scenario->calls);
  while (g_hash_table_iter_next(&iter, &token, &data))
    if (g_str_equal(((const ScenarioCall *)data)->label, member))
      groups_forget(scenario->groups, GPOINTER_TO_UINT(token));
  turn_unless_held(scenario);
}

/* ---- offsets ---- */

static void run_commit(Scenario *scenario, char **words) {
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  g_autofree char *group = name_of(words[1]);
  const ScenarioClient *client = client_of(scenario, words[1], words[2]);
  request.group = group;
  if (!g_str_equal(words[2], "-"))
    request.member_id = client->id;
  request.member_epoch = (guint32)scenario_number(words, "epoch", client->epoch);
  request.offsets = g_new(Milena__V1__OffsetCommit *, g_strv_length(words));
  for (guint i = 3; words[i]; i++)
    if (strchr(words[i], ':'))
      request.offsets[request.n_offsets++] = scenario_offset(words[i], words);
  groups_commit(scenario->groups, call_new(scenario, "commit", NULL), &request, scenario->time);
  for (gsize i = 0; i < request.n_offsets; i++)
    milena__v1__offset_commit__free_unpacked(request.offsets[i], NULL);
  g_free(request.offsets);
  turn_unless_held(scenario);
}

/* The words that are partitions; owned by the caller. */
static GPtrArray *parts_of(char **words) {
  GPtrArray *parts = g_ptr_array_new();
  for (; *words; words++)
    if (scenario_is_parts(*words))
      g_ptr_array_add(parts, scenario_parts(*words));
  return parts;
}

static void parts_free(GPtrArray *parts) {
  for (guint i = 0; i < parts->len; i++)
    milena__v1__topic_partitions__free_unpacked(parts->pdata[i], NULL);
  g_ptr_array_unref(parts);
}

static void run_fetch(Scenario *scenario, char **words) {
  Milena__V1__FetchOffsetsRequest request = MILENA__V1__FETCH_OFFSETS_REQUEST__INIT;
  GPtrArray *parts = parts_of(words + 2);
  request.group = words[1];
  request.topics = (Milena__V1__TopicPartitions **)parts->pdata;
  request.n_topics = parts->len;
  groups_fetch_offsets(scenario->groups, call_new(scenario, "fetch", NULL), &request);
  parts_free(parts);
  turn_unless_held(scenario);
}

static void run_forget_offsets(Scenario *scenario, char **words) {
  Milena__V1__DeleteOffsetsRequest request = MILENA__V1__DELETE_OFFSETS_REQUEST__INIT;
  GPtrArray *parts = parts_of(words + 2);
  request.group = words[1];
  request.topics = (Milena__V1__TopicPartitions **)parts->pdata;
  request.n_topics = parts->len;
  groups_delete_offsets(scenario->groups, call_new(scenario, "forget-offsets", NULL), &request, scenario->time);
  parts_free(parts);
  turn_unless_held(scenario);
}

static void reset(Scenario *scenario, const Milena__V1__ResetOffsetsRequest *request, gint64 offset) {
  GArray *resets;
  g_autoptr(Failure) failure = groups_plan_reset(scenario->groups, request, &resets);
  if (failure) {
    g_string_append_printf(scenario->out, "plan: %s: %s\n", failure_reason_name(failure_reason(failure)),
                           failure_message(failure));
    return;
  }
  for (guint i = 0; i < resets->len; i++) { /* every log is from 10 to 100 */
    GroupsReset *each = &g_array_index(resets, GroupsReset, i);
    each->log_start = 10;
    each->high_watermark = 100;
    each->offset = offset;
  }
  groups_reset(scenario->groups, call_new(scenario, "reset", NULL), request, resets, scenario->time);
  g_array_unref(resets);
}

static void run_reset(Scenario *scenario, char **words) {
  Milena__V1__ResetOffsetsRequest request = MILENA__V1__RESET_OFFSETS_REQUEST__INIT;
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  Milena__V1__ExplicitOffsets offsets = MILENA__V1__EXPLICIT_OFFSETS__INIT;
  GPtrArray *parts = parts_of(words + 2);
  gint64 offset = -1;
  request.group = words[1];
  request.topics = (Milena__V1__TopicPartitions **)parts->pdata;
  request.n_topics = parts->len;
  request.validate_only = scenario_word(words, "check") != NULL;
  const char *to = scenario_word(words, "to");
  if (to) {
    request.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_POSITION;
    request.position = &position;
    position.kind_case = MILENA__V1__POSITION__KIND_END;
    offset = g_str_equal(to, "earliest") ? 10 : g_str_equal(to, "latest") ? 100 : g_ascii_strtoll(to, NULL, 10);
  } else if (scenario_word(words, "shift")) {
    request.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_SHIFT;
    request.shift = scenario_number(words, "shift", 0);
  } else if (scenario_word(words, "offsets")) {
    request.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_OFFSETS;
    request.offsets = &offsets;
    offsets.offsets = g_new(Milena__V1__OffsetCommit *, g_strv_length(words));
    for (guint i = 2; words[i]; i++)
      if (strchr(words[i], ':') && strchr(words[i], '='))
        offsets.offsets[offsets.n_offsets++] = scenario_offset(words[i], words);
  }
  reset(scenario, &request, offset);
  for (gsize i = 0; i < offsets.n_offsets; i++)
    milena__v1__offset_commit__free_unpacked(offsets.offsets[i], NULL);
  g_free(offsets.offsets);
  parts_free(parts);
  turn_unless_held(scenario);
}

/* ---- groups ---- */

static void run_list(Scenario *scenario, char **words) {
  Milena__V1__GroupState states[4];
  gsize count = 0;
  if (scenario_word(words, "empty"))
    states[count++] = MILENA__V1__GROUP_STATE__GROUP_STATE_EMPTY;
  if (scenario_word(words, "stable"))
    states[count++] = MILENA__V1__GROUP_STATE__GROUP_STATE_STABLE;
  if (scenario_word(words, "reconciling"))
    states[count++] = MILENA__V1__GROUP_STATE__GROUP_STATE_RECONCILING;
  groups_list(scenario->groups, call_new(scenario, "list", NULL), scenario_word(words, "after"),
              (guint)scenario_number(words, "limit", 100), states, count);
  turn_unless_held(scenario);
}

static void run_get(Scenario *scenario, char *group) {
  Milena__V1__GetGroupRequest request = MILENA__V1__GET_GROUP_REQUEST__INIT;
  request.group = group;
  groups_get(scenario->groups, call_new(scenario, "get", NULL), &request);
  turn_unless_held(scenario);
}

static void run_delete(Scenario *scenario, char *group) {
  Milena__V1__DeleteGroupRequest request = MILENA__V1__DELETE_GROUP_REQUEST__INIT;
  request.group = group;
  groups_delete(scenario->groups, call_new(scenario, "delete", NULL), &request, scenario->time);
  turn_unless_held(scenario);
}

static void run_update(Scenario *scenario, char **words) {
  Milena__V1__UpdateGroupRequest *request = g_new(Milena__V1__UpdateGroupRequest, 1);
  milena__v1__update_group_request__init(request);
  request->group = g_strdup(words[1]);
  request->validate_only = scenario_word(words, "check") != NULL;
  request->config = g_new(Milena__V1__GroupConfig, 1);
  milena__v1__group_config__init(request->config);
  if (scenario_word(words, "session"))
    request->config->session_timeout = duration(scenario_number(words, "session", 0));
  if (scenario_word(words, "interval"))
    request->config->heartbeat_interval = duration(scenario_number(words, "interval", 0));
  if (scenario_word(words, "retention"))
    request->config->offsets_retention = duration(scenario_number(words, "retention", 0));
  request->config->max_members = (guint32)scenario_number(words, "members", 0);
  const char *assignor = scenario_word(words, "assignor");
  if (assignor)
    request->config->assignor = g_str_equal(assignor, "range")         ? MILENA__V1__ASSIGNOR__ASSIGNOR_RANGE
                                : g_str_equal(assignor, "round-robin") ? MILENA__V1__ASSIGNOR__ASSIGNOR_ROUND_ROBIN
                                                                       : MILENA__V1__ASSIGNOR__ASSIGNOR_STICKY;
  groups_update(scenario->groups, call_new(scenario, "update", NULL), request, scenario->time);
  milena__v1__update_group_request__free_unpacked(request, NULL);
  turn_unless_held(scenario);
}

/* ---- the world ---- */

static void run_topic(Scenario *scenario, char **words, gboolean silent) {
  if (g_str_equal(words[1], "gone"))
    fake_host_remove_topic(scenario->host, words[0]);
  else
    fake_host_set_topic(scenario->host, words[0], atoi(words[1]));
  const char *name = words[0];
  if (!silent)
    groups_topics_changed(scenario->groups, &name, 1, scenario->time);
  turn_unless_held(scenario);
}

static void run_pass(Scenario *scenario, gint64 ms) {
  gint64 end = scenario->time.now_ms + ms;
  for (;;) {
    gint64 next = MIN(groups_next_deadline(scenario->groups), end);
    gint64 step = MAX(next - scenario->time.now_ms, 0);
    scenario->time.now_ms += step;
    scenario->time.wall_ms += step;
    turn(scenario);
    if (scenario->time.now_ms >= end && groups_next_deadline(scenario->groups) > end)
      return;
  }
}

static void run_reload(Scenario *scenario, guint cut) {
  fake_host_cut(scenario->host, scenario->host->records->len - MIN(cut, scenario->host->records->len));
  groups_free(scenario->groups);
  g_hash_table_remove_all(scenario->calls);
  scenario->groups = fake_host_load(scenario->host, scenario->time);
  turn(scenario);
}

static void run(Scenario *scenario, char **words) {
  const char *command = words[0];
  if (g_str_equal(command, "topic"))
    run_topic(scenario, words + 1, FALSE);
  else if (g_str_equal(command, "silent"))
    run_topic(scenario, words + 2, TRUE);
  else if (g_str_equal(command, "racks"))
    scenario->host->racks = (guint)atoi(words[1]);
  else if (g_str_equal(command, "end"))
    scenario->host->high_watermark = atoi(words[1]);
  else if (g_str_equal(command, "join") || g_str_equal(command, "beat") || g_str_equal(command, "leave"))
    run_heartbeat(scenario, words);
  else if (g_str_equal(command, "abandon"))
    run_abandon(scenario, words[1]);
  else if (g_str_equal(command, "commit"))
    run_commit(scenario, words);
  else if (g_str_equal(command, "fetch"))
    run_fetch(scenario, words);
  else if (g_str_equal(command, "forget-offsets"))
    run_forget_offsets(scenario, words);
  else if (g_str_equal(command, "reset"))
    run_reset(scenario, words);
  else if (g_str_equal(command, "list"))
    run_list(scenario, words);
  else if (g_str_equal(command, "get"))
    run_get(scenario, words[1]);
  else if (g_str_equal(command, "delete"))
    run_delete(scenario, words[1]);
  else if (g_str_equal(command, "update"))
    run_update(scenario, words);
  else if (g_str_equal(command, "pass"))
    run_pass(scenario, atoi(words[1]));
  else if (g_str_equal(command, "reload"))
    run_reload(scenario, words[1] ? (guint)atoi(words[1]) : 0);
  else if (g_str_equal(command, "compact"))
    fake_host_compact(scenario->host, G_MAXUINT, TRUE);
  else
    g_string_append_printf(scenario->out, "no such command\n");
}

char *scenario_run(Scenario *scenario, const char *line) {
  g_auto(GStrv) words = g_strsplit(line, " ", -1);
  scenario->out = g_string_new(NULL);
  if (g_str_equal(words[0], "hold")) {
    scenario->holding = TRUE;
  } else if (g_str_equal(words[0], "go")) {
    scenario->holding = FALSE;
    turn(scenario);
  } else {
    run(scenario, words);
  }
  return g_string_free(g_steal_pointer(&scenario->out), FALSE);
}
