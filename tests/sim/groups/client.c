/* A process that may be a member: joins, says what it owns, reads and commits, gives up what it shall after a while,
 * leaves, freezes, dies, comes back. It believes only what it was told. */
#include <string.h>

#include "tests/sim/groups/world.h"

#define STEP_US 20000
#define CALL_TIMEOUT_US 900000

char *gsim_client_key(const char *group, const char *topic_id, gint32 partition) {
  return g_strdup_printf("%s %s %d", group, topic_id, partition);
}

static void reading_free(gpointer data) {
  Reading *reading = data;
  g_free(reading->key);
  g_free(reading->topic);
  g_free(reading->topic_id);
  g_free(reading);
}

static int compare_readings(gconstpointer a, gconstpointer b) {
  return strcmp((*(Reading *const *)a)->key, (*(Reading *const *)b)->key);
}

/* In an order that is the same each time; borrowed. */
static GPtrArray *readings_sorted(GHashTable *table) {
  GPtrArray *readings = g_ptr_array_new();
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, table);
  while (g_hash_table_iter_next(&iter, NULL, &data))
    g_ptr_array_add(readings, data);
  g_ptr_array_sort(readings, compare_readings);
  return readings;
}

/* ---- sending ---- */

static Call *send(Client *client, CallKind kind, const ProtobufCMessage *message) {
  World *world = client->world;
  gsize size = protobuf_c_message_get_packed_size(message);
  guint8 *bytes = g_malloc(size + 1);
  protobuf_c_message_pack(message, bytes);
  Call *call = g_new0(Call, 1);
  *call = (Call){world, kind, client->index, client->life, ++client->calls, g_bytes_new_take(bytes, size), NULL, 0, 1};
  gint64 delays[2];
  guint copies = sim_fates(world->sim, &world->faults, delays);
  for (guint i = 0; i < copies; i++)
    sim_after(world->sim, delays[i], gsim_coordinator_receive, gsim_call_ref(call), gsim_call_unref);
  return call;
}

/* Partitions that it owns: what it reads, and what it has not given up yet. Messages borrow from the readings. */
static void fill_owned(const Client *client, GArray *topics, GPtrArray *pointers, Milena__V1__OwnedPartitions *owned) {
  GHashTable *tables[] = {client->reading, client->giving};
  for (guint i = 0; i < 2; i++) {
    g_autoptr(GPtrArray) readings = readings_sorted(tables[i]);
    for (guint k = 0; k < readings->len; k++) {
      Reading *reading = readings->pdata[k];
      Milena__V1__TopicPartitions topic = MILENA__V1__TOPIC_PARTITIONS__INIT;
      topic.topic = reading->topic;
      topic.topic_id = reading->topic_id;
      topic.partitions = &reading->partition;
      topic.n_partitions = 1;
      g_array_append_val(topics, topic);
    }
  }
  for (guint i = 0; i < topics->len; i++)
    g_ptr_array_add(pointers, &g_array_index(topics, Milena__V1__TopicPartitions, i));
  owned->topics = (Milena__V1__TopicPartitions **)pointers->pdata;
  owned->n_topics = pointers->len;
}

static void send_heartbeat(Client *client, Milena__V1__Leave leave) {
  World *world = client->world;
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  Milena__V1__GroupSubscription subscription = MILENA__V1__GROUP_SUBSCRIPTION__INIT;
  Milena__V1__OwnedPartitions owned = MILENA__V1__OWNED_PARTITIONS__INIT;
  Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT, rebalance = GOOGLE__PROTOBUF__DURATION__INIT;
  g_autoptr(GArray) topics = g_array_new(FALSE, FALSE, sizeof(Milena__V1__TopicPartitions));
  g_autoptr(GPtrArray) pointers = g_ptr_array_new();
  g_auto(GStrv) names = g_strsplit(client->topics, ",", -1);
  request.group = client->group;
  request.member_id = client->id;
  request.instance_id = client->instance;
  request.member_epoch = client->epoch;
  request.leave = leave;
  rebalance.seconds = WORLD_REBALANCE_MS / 1000;
  rebalance.nanos = WORLD_REBALANCE_MS % 1000 * 1000000;
  if (client->epoch == 0) {
    subscription.topics = names;
    subscription.n_topics = g_strv_length(names);
    request.subscription = &subscription;
    request.rebalance_timeout = &rebalance;
  }
  if (client->aware)
    request.assignment_version = client->version;
  if (client->epoch > 0 && (client->owned_changed || sim_chance(world->sim, 100))) {
    fill_owned(client, topics, pointers, &owned);
    request.owned = &owned;
  }
  if (sim_chance(world->sim, 800)) {
    wait.nanos = WORLD_INTERVAL_MS * 1000000;
    request.max_wait = &wait;
  }
  Call *call = send(client, CALL_HEARTBEAT, &request.base);
  client->awaited = call->number;
  client->awaited_until_us = sim_now_us(world->sim) + CALL_TIMEOUT_US;
  gsim_tell(world, "%s sends heartbeat %" G_GUINT64_FORMAT " epoch %u v%u%s%s", client->id, call->number, client->epoch,
            client->version, request.owned ? " with owned" : "", leave ? " and leaves" : "");
  gsim_call_unref(call);
}

static void send_commit(Client *client) {
  World *world = client->world;
  GHashTable *tables[] = {client->reading, client->giving};
  g_autoptr(GArray) commits = g_array_new(FALSE, FALSE, sizeof(Milena__V1__OffsetCommit));
  g_autoptr(GPtrArray) pointers = g_ptr_array_new();
  for (guint i = 0; i < 2; i++) {
    g_autoptr(GPtrArray) readings = readings_sorted(tables[i]);
    for (guint k = 0; k < readings->len; k++) {
      Reading *reading = readings->pdata[k];
      reading->position += sim_below(world->sim, 5);
      Milena__V1__OffsetCommit commit = MILENA__V1__OFFSET_COMMIT__INIT;
      commit.topic = reading->topic;
      commit.topic_id = reading->topic_id;
      commit.partition = reading->partition;
      commit.offset = reading->position;
      g_array_append_val(commits, commit);
    }
  }
  if (commits->len == 0)
    return;
  for (guint i = 0; i < commits->len; i++)
    g_ptr_array_add(pointers, &g_array_index(commits, Milena__V1__OffsetCommit, i));
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = client->group;
  request.member_id = client->id;
  request.member_epoch = client->epoch;
  request.offsets = (Milena__V1__OffsetCommit **)pointers->pdata;
  request.n_offsets = pointers->len;
  Call *call = send(client, CALL_COMMIT, &request.base);
  client->commit_awaited = call->number;
  client->commit_until_us = sim_now_us(world->sim) + CALL_TIMEOUT_US;
  gsim_call_unref(call);
}

/* ---- hearing ---- */

static void drop_all(Client *client) {
  g_hash_table_remove_all(client->reading);
  g_hash_table_remove_all(client->giving);
  client->epoch = 0;
  client->version = 0;
  client->owned_changed = FALSE;
}

static Reading *reading_new(const Client *client, const Milena__V1__AssignedTopic *topic,
                            const Milena__V1__AssignedPartition *partition) {
  Reading *reading = g_new(Reading, 1);
  *reading = (Reading){gsim_client_key(client->group, topic->topic_id, partition->partition), g_strdup(topic->topic),
                       g_strdup(topic->topic_id), partition->partition,
                       partition->committed ? partition->committed->offset : 0};
  return reading;
}

static void take_assignment(Client *client, const Milena__V1__Assignment *assignment) {
  g_autoptr(GHashTable) before = g_steal_pointer(&client->reading);
  client->reading = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, reading_free);
  for (gsize i = 0; i < assignment->n_topics; i++) {
    const Milena__V1__AssignedTopic *topic = assignment->topics[i];
    for (gsize k = 0; k < topic->n_partitions; k++) {
      Reading *reading = reading_new(client, topic, topic->partitions[k]);
      Reading *known = g_hash_table_lookup(before, reading->key);
      if (known) {
        g_hash_table_steal(before, known->key);
        reading_free(reading);
        reading = known;
      } else {
        client->world->result->moves++;
      }
      g_hash_table_insert(client->reading, reading->key, reading);
    }
  }
  g_autoptr(GPtrArray) lost = readings_sorted(before);
  for (guint i = 0; i < lost->len; i++) {
    Reading *reading = lost->pdata[i];
    g_hash_table_steal(before, reading->key);
    g_hash_table_insert(client->giving, reading->key, reading);
  }
  Sim *sim = client->world->sim;
  if (lost->len > 0)
    client->ack_at_us =
        sim_now_us(sim) + (sim_chance(sim, 200) ? sim_between(sim, 0, 1200000) : sim_between(sim, 0, 60000));
  client->version = assignment->version;
  client->owned_changed = TRUE;
}

static void hear_heartbeat(Client *client, const Call *call) {
  World *world = client->world;
  client->awaited = 0;
  if (!call->response) {
    gsim_tell(world, "%s hears %s", client->id, failure_reason_name(call->refused));
    if (call->refused == FAILURE(FENCED) || call->refused == FAILURE(UNKNOWN_MEMBER)) {
      drop_all(client);
      client->stubborn &= !world->calm; /* two of them would move partitions for ever */
    }
    return;
  }
  gsize size;
  const guint8 *bytes = g_bytes_get_data(call->response, &size);
  Milena__V1__HeartbeatResponse *response = milena__v1__heartbeat_response__unpack(NULL, size, bytes);
  client->epoch = response->member_epoch;
  gsim_tell(world, "%s hears epoch %u%s", client->id, response->member_epoch,
            response->assignment ? " and assignment" : "");
  if (response->assignment && response->member_epoch > 0)
    take_assignment(client, response->assignment);
  milena__v1__heartbeat_response__free_unpacked(response, NULL);
}

void gsim_client_receive(gpointer data) {
  const Call *call = data;
  Client *client = &call->world->clients[call->client];
  if (!client->running || client->leaving || call->life != client->life ||
      client->frozen_until_us > sim_now_us(call->world->sim))
    return;
  if (call->kind == CALL_HEARTBEAT && call->number == client->awaited) {
    hear_heartbeat(client, call);
  } else if (call->kind == CALL_COMMIT && call->number == client->commit_awaited) {
    client->commit_awaited = 0;
  }
}

/* ---- living ---- */

static void step(gpointer data);

typedef struct {
  Client *client;
  guint64 life;
} Step;

static void step_later(Client *client, gint64 delay_us) {
  Step *next = g_new(Step, 1);
  *next = (Step){client, client->life};
  sim_after(client->world->sim, delay_us, step, next, g_free);
}

static void step(gpointer data) {
  const Step *event = data;
  Client *client = event->client;
  Sim *sim = client->world->sim;
  gint64 now_us = sim_now_us(sim);
  if (!client->running || event->life != client->life)
    return;
  if (client->frozen_until_us > now_us) {
    step_later(client, client->frozen_until_us - now_us);
    return;
  }
  if (g_hash_table_size(client->giving) > 0 && client->ack_at_us <= now_us && !client->stubborn) {
    g_hash_table_remove_all(client->giving);
    client->owned_changed = TRUE;
    client->awaited = 0; /* it says so at once, beside a heartbeat that is held */
  }
  if (client->commit_awaited && client->commit_until_us <= now_us)
    client->commit_awaited = 0;
  if (client->epoch > 0 && !client->commit_awaited && sim_chance(sim, 300))
    send_commit(client);
  if (client->awaited && client->awaited_until_us <= now_us) {
    client->awaited = 0;
    client->owned_changed = TRUE;
  }
  if (!client->awaited && !client->leaving)
    send_heartbeat(client, MILENA__V1__LEAVE__LEAVE_UNSPECIFIED);
  step_later(client, STEP_US + sim_below(sim, STEP_US));
}

void gsim_client_init(World *world, guint index) {
  Client *client = &world->clients[index];
  client->world = world;
  client->index = index;
  client->reading = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, reading_free);
  client->giving = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, reading_free);
  client->group = g_strdup_printf("g%u", sim_below(world->sim, WORLD_GROUPS));
  /* Now and then two processes want the same place. */
  guint place = sim_chance(world->sim, 300) ? index / 2 : index;
  client->instance = sim_chance(world->sim, 300) ? g_strdup_printf("i%u", place) : g_strdup("");
  client->topics = g_strdup(sim_chance(world->sim, 600) ? "t0,t1" : sim_chance(world->sim, 500) ? "t0" : "t1,t2");
}

void gsim_client_clear(Client *client) {
  g_hash_table_unref(client->reading);
  g_hash_table_unref(client->giving);
  g_free(client->group);
  g_free(client->id);
  g_free(client->instance);
  g_free(client->topics);
}

void gsim_client_start(Client *client) {
  drop_all(client);
  client->life++;
  client->running = TRUE;
  client->leaving = FALSE;
  client->awaited = client->commit_awaited = 0;
  client->frozen_until_us = 0;
  client->aware = sim_chance(client->world->sim, 800);
  client->stubborn = sim_chance(client->world->sim, 50);
  g_free(client->id);
  client->id = g_strdup_printf("m%u-%" G_GUINT64_FORMAT, client->index, client->life);
  gsim_tell(client->world, "%s starts in %s%s%s", client->id, client->group, *client->instance ? " as " : "",
            client->instance);
  step_later(client, sim_below(client->world->sim, 50000));
}

/* Killed, or it leaves: then it says so, and is gone whether or not that arrives. */
void gsim_client_die(Client *client) {
  Sim *sim = client->world->sim;
  if (client->epoch > 0 && sim_chance(sim, 500)) {
    client->leaving = TRUE;
    gboolean returns = *client->instance && sim_chance(sim, 600);
    client->world->result->returns += returns;
    send_heartbeat(client, returns ? MILENA__V1__LEAVE__LEAVE_TO_RETURN : MILENA__V1__LEAVE__LEAVE_FOR_GOOD);
  }
  gsim_tell(client->world, "%s ends", client->id);
  client->world->result->deaths++;
  client->running = FALSE;
  drop_all(client);
}
