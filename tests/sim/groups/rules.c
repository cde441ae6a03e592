/* What must hold.
 *
 *  1  A partition has one reader: in what GetGroup tells, none is read by two members, nor read and given up at once.
 *  2  An accepted commit is from the member that was told last to read the partition.
 *  3  .. and is not before where that member began: nothing from an earlier hold is accepted.
 *  4  Who is told to read a partition anew is told the offset that was acknowledged last, or a later one that the log
 *     has (its answer was lost): nothing acknowledged is forgotten.
 *  5  When a partition is told to a member, no other member of the group that runs, and tells versions, reads it still.
 *  6  Once the faults end, every partition that a running member wants is read by exactly one, who wants it; members
 *     who want the same differ by one at most; nobody gives up or waits.
 *  7  A take-over of the coordinator moves nothing then; and when one leaves, the others keep what they read.
 *  8  A member that reads only what it was told last, and calls with the epoch that it was told last, is not fenced,
 *     whatever answers were lost. (Where calls come twice or late, it may have heard the answer to one that came before
 *     another: there this is not looked at.)
 *  9  A commit that names a topic's id is of that topic. */
#include <string.h>

#include "services/group_coordinator/groups/record.h"
#include "tests/sim/groups/world.h"

static Shadow *shadow_of(World *world, const char *key) {
  Shadow *shadow = g_hash_table_lookup(world->shadows, key);
  if (!shadow) {
    shadow = g_new0(Shadow, 1);
    shadow->base = shadow->committed = -1;
    g_hash_table_insert(world->shadows, g_strdup(key), shadow);
  }
  return shadow;
}

/* ---- what a group tells of itself: rule 1 ---- */

static void add_read(World *world, GHashTable *read, const char *member, Milena__V1__TopicPartitions *const *topics,
                     gsize count) {
  for (gsize i = 0; i < count; i++) {
    for (gsize k = 0; k < topics[i]->n_partitions; k++) {
      char *key = g_strdup_printf("%s:%d", topics[i]->topic_id, topics[i]->partitions[k]);
      const char *other = g_hash_table_lookup(read, key);
      if (other)
        sim_violated(world->sim, "%s is read by %s and by %s", key, other, member);
      g_hash_table_insert(read, key, (gpointer)member);
    }
  }
}

static void check_group(World *world, const Milena__V1__Group *group) {
  g_autoptr(GHashTable) read = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (gsize i = 0; i < group->n_members; i++) {
    const Milena__V1__GroupMember *member = group->members[i];
    add_read(world, read, member->member_id, member->owned, member->n_owned);
    add_read(world, read, member->member_id, member->revoking, member->n_revoking);
    if (member->member_epoch > group->assignment_epoch)
      sim_violated(world->sim, "%s has epoch %u, and the assignment %u", member->member_id, member->member_epoch,
                   group->assignment_epoch);
  }
  for (gsize i = 0; i < group->n_members; i++)
    g_hash_table_add(world->members, g_strdup_printf("%s %s", group->group, group->members[i]->member_id));
  world->reconciling |= group->state == MILENA__V1__GROUP_STATE__GROUP_STATE_RECONCILING;
  if (group->assignment_epoch > group->group_epoch)
    sim_violated(world->sim, "the assignment of %s is of a later epoch than the group", group->group);
}

/* What GetGroup tells; NULL when there is no such group. Owned by the caller. */
static Milena__V1__GetGroupResponse *get_group(World *world, const char *name) {
  Milena__V1__GetGroupRequest request = MILENA__V1__GET_GROUP_REQUEST__INIT;
  g_autofree char *copy = g_strdup(name);
  request.group = copy;
  g_auto(GroupsOut) out;
  groups_out_init(&out);
  groups_get(world->groups, G_MAXUINT64, &request);
  groups_turn(world->groups, gsim_time(world), &out);
  Milena__V1__GetGroupResponse *response = NULL;
  if (out.records->len > 0 || out.answers->len != 1)
    sim_violated(world->sim, "a question right after a turn made %u records and %u answers", out.records->len,
                 out.answers->len);
  else
    response = (Milena__V1__GetGroupResponse *)g_steal_pointer(&g_array_index(out.answers, GroupsAnswer, 0).response);
  return response;
}

void gsim_rules_check_groups(World *world) {
  g_hash_table_remove_all(world->members);
  world->reconciling = FALSE;
  for (guint i = 0; i < WORLD_GROUPS && !sim_violation(world->sim); i++) {
    g_autofree char *name = g_strdup_printf("g%u", i);
    Milena__V1__GetGroupResponse *response = get_group(world, name);
    if (response)
      check_group(world, response->group);
    milena__v1__get_group_response__free_unpacked(response, NULL);
  }
}

/* ---- answers: rules 2 to 5 ---- */

static gboolean is_member(World *world, const char *group, const char *id) {
  g_autofree char *key = g_strdup_printf("%s %s", group, id);
  return g_hash_table_contains(world->members, key);
}

static void check_nobody_reads(World *world, const Client *reader, const char *key) {
  for (guint i = 0; i < WORLD_CLIENTS; i++) {
    const Client *other = &world->clients[i];
    if (other == reader || !other->running || !other->aware || other->epoch == 0 ||
        !g_hash_table_contains(other->reading, key))
      continue;
    if (is_member(world, other->group, other->id))
      sim_violated(world->sim, "%s is told to read %s, which %s reads", reader->id, key, other->id);
  }
}

static void check_told(World *world, const Client *client, const char *id, const Milena__V1__AssignedTopic *topic,
                       const Milena__V1__AssignedPartition *partition, const char *group) {
  g_autofree char *key = gsim_client_key(group, topic->topic_id, partition->partition);
  Shadow *shadow = shadow_of(world, key);
  gint64 committed = partition->committed ? partition->committed->offset : -1;
  if (g_strcmp0(fake_host_topic_id(world->host, topic->topic), topic->topic_id) != 0)
    return; /* a topic that is gone, and that a new coordinator drops when it is sure: its offsets may have gone before
             */
  if (committed < shadow->committed)
    sim_violated(world->sim,
                 "%s is told to read %s from %" G_GINT64_FORMAT ", though %" G_GINT64_FORMAT " was acknowledged", id,
                 key, committed, shadow->committed);
  if (g_strcmp0(shadow->owner, id) == 0)
    return;
  check_nobody_reads(world, client, key);
  g_free(shadow->owner);
  shadow->owner = g_strdup(id);
  shadow->base = committed;
}

static void check_heartbeat(World *world, const Call *call, const Milena__V1__HeartbeatResponse *response) {
  gsize size;
  const guint8 *bytes = g_bytes_get_data(call->request, &size);
  Milena__V1__HeartbeatRequest *request = milena__v1__heartbeat_request__unpack(NULL, size, bytes);
  for (gsize i = 0; response->assignment && i < response->assignment->n_topics; i++) {
    const Milena__V1__AssignedTopic *topic = response->assignment->topics[i];
    for (gsize k = 0; k < topic->n_partitions; k++)
      check_told(world, &world->clients[call->client], response->member_id, topic, topic->partitions[k],
                 request->group);
  }
  milena__v1__heartbeat_request__free_unpacked(request, NULL);
}

static void check_commit(World *world, const Call *call, const Milena__V1__CommitOffsetsResponse *response) {
  gsize size;
  const guint8 *bytes = g_bytes_get_data(call->request, &size);
  Milena__V1__CommitOffsetsRequest *request = milena__v1__commit_offsets_request__unpack(NULL, size, bytes);
  for (gsize i = 0; i < response->n_results; i++) {
    const Milena__V1__PartitionResult *result = response->results[i];
    if (result->status)
      continue;
    g_autofree char *key = gsim_client_key(request->group, result->topic_id, result->partition);
    Shadow *shadow = shadow_of(world, key);
    gint64 offset = request->offsets[i]->offset;
    if (!g_str_equal(request->offsets[i]->topic_id, result->topic_id))
      sim_violated(world->sim, "%s commits for %s, and %s takes it", request->member_id, request->offsets[i]->topic_id,
                   key);
    world->result->commits++;
    if (g_strcmp0(shadow->owner, request->member_id) != 0)
      sim_violated(world->sim, "%s commits %s, which %s was told to read", request->member_id, key,
                   shadow->owner ? shadow->owner : "nobody");
    if (offset < shadow->base)
      sim_violated(world->sim, "%s commits %" G_GINT64_FORMAT " in %s, where it began at %" G_GINT64_FORMAT,
                   request->member_id, offset, key, shadow->base);
    shadow->committed = offset;
  }
  milena__v1__commit_offsets_request__free_unpacked(request, NULL);
}

static gboolean reads_only_its_own(World *world, const Client *client) {
  GHashTable *tables[] = {client->reading, client->giving};
  for (guint i = 0; i < G_N_ELEMENTS(tables); i++) {
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, tables[i]);
    while (g_hash_table_iter_next(&iter, &key, NULL))
      if (g_strcmp0(shadow_of(world, key)->owner, client->id) != 0)
        return FALSE;
  }
  return TRUE;
}

/* A refusal of the call whose answer the client waits for, while it is a member. */
static void check_refusal(World *world, const Call *call, const Failure *failure) {
  const Client *client = &world->clients[call->client];
  if (world->in_order && call->kind == CALL_HEARTBEAT && failure_reason(failure) == FAILURE(FENCED) &&
      client->running && client->aware && client->life == call->life && client->awaited == call->number &&
      is_member(world, client->group, client->id) && reads_only_its_own(world, client))
    sim_violated(world->sim, "%s is fenced without need: %s", client->id, failure_message(failure));
}

void gsim_rules_check_answer(World *world, const Call *call, const GroupsAnswer *answer) {
  if (!answer->response) {
    check_refusal(world, call, answer->failure);
    return;
  }
  if (call->kind == CALL_HEARTBEAT)
    check_heartbeat(world, call, (const Milena__V1__HeartbeatResponse *)answer->response);
  else
    check_commit(world, call, (const Milena__V1__CommitOffsetsResponse *)answer->response);
}

/* ---- a new coordinator: rule 4 ---- */

/* What the log has is what counts: commits whose answers were lost among it. */
void gsim_rules_reload(World *world) {
  g_autoptr(GHashTable) logged = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < world->host->records->len; i++) {
    const GroupsRecord *record = &g_array_index(world->host->records, GroupsRecord, i);
    g_auto(GroupsDecoded) decoded = {0};
    g_autoptr(Failure) failure = groups_record_decode(record->key, record->value, &decoded);
    if (failure || decoded.kind != GROUPS_RECORD_OFFSET || !decoded.value)
      continue;
    gint64 offset = ((const Milena__Internal__V1__GroupOffsetValue *)decoded.value)->offset;
    char *key = gsim_client_key(decoded.group, decoded.name, decoded.partition);
    g_hash_table_replace(logged, key, GINT_TO_POINTER((gint)offset + 1));
  }
  GHashTableIter iter;
  gpointer key, data;
  g_hash_table_iter_init(&iter, world->shadows);
  while (g_hash_table_iter_next(&iter, &key, &data)) {
    Shadow *shadow = data;
    gint offset = GPOINTER_TO_INT(g_hash_table_lookup(logged, key)) - 1;
    if (offset >= 0)
      shadow->committed = offset;
  }
}

/* ---- calm: rules 6 and 7 ---- */

gboolean gsim_rules_are_settled(World *world) {
  guint running = 0;
  for (guint i = 0; i < WORLD_CLIENTS; i++) {
    const Client *client = &world->clients[i];
    if (!client->running)
      continue;
    running++;
    /* What a stubborn one does not give up it is fenced for, or nobody asks for any more: the topic is gone. */
    gboolean gives = g_hash_table_size(client->giving) > 0 && !client->stubborn;
    if (client->epoch == 0 || gives || !is_member(world, client->group, client->id))
      return FALSE;
  }
  return world->groups != NULL && !world->reconciling && g_hash_table_size(world->members) == running;
}

static gboolean wants(const Client *client, const char *topic) {
  g_auto(GStrv) names = g_strsplit(client->topics, ",", -1);
  return g_strv_contains((const char *const *)names, topic);
}

GHashTable *gsim_rules_readers(World *world) {
  GHashTable *readers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < WORLD_CLIENTS; i++) {
    Client *client = &world->clients[i];
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, client->reading);
    while (client->running && g_hash_table_iter_next(&iter, &key, NULL)) {
      if (g_hash_table_contains(readers, key))
        sim_violated(world->sim, "%s is read twice when all is calm", (const char *)key);
      g_hash_table_insert(readers, g_strdup(key), client);
    }
  }
  return readers;
}

static void check_topic(World *world, GHashTable *readers, const char *group, const GroupsTopic *topic) {
  gboolean wanted = FALSE;
  for (guint i = 0; i < WORLD_CLIENTS; i++)
    wanted |= world->clients[i].running && g_str_equal(world->clients[i].group, group) &&
              wants(&world->clients[i], topic->name);
  for (gint32 p = 0; p < topic->partition_count; p++) {
    g_autofree char *key = gsim_client_key(group, topic->id, p);
    const Client *reader = g_hash_table_lookup(readers, key);
    if (wanted != (reader != NULL))
      sim_violated(world->sim, "%s is %s when all is calm", key,
                   wanted ? "read by nobody" : "read, though nobody wants it");
    if (reader && !wants(reader, topic->name))
      sim_violated(world->sim, "%s is read by %s, who does not want it", key, reader->id);
  }
}

static void check_balance(World *world) {
  for (guint i = 0; i < WORLD_CLIENTS; i++) {
    for (guint k = 0; k < WORLD_CLIENTS; k++) {
      const Client *one = &world->clients[i], *other = &world->clients[k];
      if (!one->running || !other->running || !g_str_equal(one->group, other->group) ||
          !g_str_equal(one->topics, other->topics))
        continue;
      if (g_hash_table_size(one->reading) > g_hash_table_size(other->reading) + 1)
        sim_violated(world->sim, "%s reads %u partitions, and %s %u, who wants the same", one->id,
                     g_hash_table_size(one->reading), other->id, g_hash_table_size(other->reading));
    }
  }
}

void gsim_rules_check_calm(World *world) {
  if (!gsim_rules_are_settled(world)) {
    sim_violated(world->sim, "the groups did not settle, though the faults had ended");
    return;
  }
  g_autoptr(GHashTable) readers = gsim_rules_readers(world);
  GroupsHost host = fake_host_table(world->host);
  static const char *const TOPICS[] = {"t0", "t1", "t2"};
  for (guint i = 0; i < G_N_ELEMENTS(TOPICS); i++) {
    GroupsTopic topic;
    if (!host.find_topic(TOPICS[i], &topic, host.data))
      continue;
    check_topic(world, readers, "g0", &topic);
    check_topic(world, readers, "g1", &topic);
  }
  check_balance(world);
}
