/* The coordinator's host: batches of inputs, a log that is durable a little later, answers that wait for it. A crash
 * keeps any beginning of what was on its way to the log, and the next one loads what is there, compacted or not. */
#include <string.h>

#include "tests/sim/groups/world.h"

static void turn_later(World *world, gint64 delay_us);

static void clear_record(gpointer data) {
  GroupsRecord *record = data;
  g_clear_pointer(&record->key, g_bytes_unref);
  g_clear_pointer(&record->value, g_bytes_unref);
}

static void clear_answer(gpointer data) {
  GroupsAnswer *answer = data;
  protobuf_c_message_free_unpacked(g_steal_pointer(&answer->response), NULL);
  g_clear_pointer(&answer->failure, failure_free);
}

/* Something that happens to one incarnation of the coordinator. */
typedef struct {
  World *world;
  guint64 incarnation;
} Event;

static Event *event_new(World *world) {
  Event *event = g_new(Event, 1);
  *event = (Event){world, world->incarnation};
  return event;
}

/* ---- answers ---- */

static void send_answer(World *world, GroupsAnswer *answer) {
  Call *call = g_hash_table_lookup(world->calls, &answer->token);
  if (!call)
    return;
  gsim_rules_check_answer(world, call, answer);
  if (answer->response) {
    gsize size = protobuf_c_message_get_packed_size(answer->response);
    guint8 *bytes = g_malloc(size + 1);
    protobuf_c_message_pack(answer->response, bytes);
    call->response = g_bytes_new_take(bytes, size);
  } else {
    call->refused = failure_reason(answer->failure);
    world->result->fenced += call->refused == FAILURE(FENCED) || call->refused == FAILURE(UNKNOWN_MEMBER);
  }
  gint64 delays[2];
  guint copies = sim_fates(world->sim, &world->faults, delays);
  for (guint i = 0; i < copies; i++)
    sim_after(world->sim, delays[i], gsim_client_receive, gsim_call_ref(call), gsim_call_unref);
  g_hash_table_remove(world->calls, &answer->token);
}

static void release_answers(World *world) {
  guint sent = 0;
  for (; sent < world->waiting->len; sent++) {
    GroupsAnswer *answer = &g_array_index(world->waiting, GroupsAnswer, sent);
    if (answer->after > world->durable || sim_violation(world->sim))
      break;
    send_answer(world, answer);
  }
  if (sent > 0)
    g_array_remove_range(world->waiting, 0, sent);
}

/* ---- the log ---- */

/* The first records on their way become durable. */
static void make_durable(World *world, guint count) {
  if (count == 0)
    return;
  g_autoptr(GArray) durable = g_array_new(FALSE, FALSE, sizeof(GroupsRecord));
  g_array_append_vals(durable, world->pending->data, count);
  world->durable = g_array_index(durable, GroupsRecord, count - 1).number;
  memset(world->pending->data, 0, count * sizeof(GroupsRecord));
  g_array_remove_range(world->pending, 0, count);
  fake_host_append(world->host, durable);
}

static void on_appended(gpointer data) {
  const Event *event = data;
  World *world = event->world;
  if (event->incarnation != world->incarnation || !world->groups)
    return;
  world->append_soon = FALSE;
  guint count = world->pending->len;
  if (count > 1 && sim_chance(world->sim, 300)) /* in several batches */
    count = 1 + sim_below(world->sim, count - 1);
  make_durable(world, count);
  release_answers(world);
  if (world->pending->len > 0) {
    world->append_soon = TRUE;
    sim_after(world->sim, sim_between(world->sim, 200, 8000), on_appended, event_new(world), g_free);
  }
}

static void append_later(World *world) {
  if (world->pending->len == 0 || world->append_soon)
    return;
  world->append_soon = TRUE;
  sim_after(world->sim, sim_between(world->sim, 200, 8000), on_appended, event_new(world), g_free);
}

/* ---- turns ---- */

static void on_crash(gpointer data) {
  const Event *event = data;
  if (event->incarnation == event->world->incarnation)
    gsim_crash(event->world);
}

static void hand_over(GArray *from, GArray *to) {
  if (from->len == 0)
    return;
  g_array_append_vals(to, from->data, from->len);
  memset(from->data, 0, from->len * g_array_get_element_size(from));
  g_array_set_size(from, 0);
}

static void take_turn(World *world) {
  g_auto(GroupsOut) out;
  groups_out_init(&out);
  groups_turn(world->groups, gsim_time(world), &out);
  hand_over(out.records, world->pending);
  hand_over(out.answers, world->waiting);
  append_later(world);
  release_answers(world);
  gsim_rules_check_groups(world);
  if (world->crash_next && world->pending->len > 1 && !world->calm) {
    world->crash_next = FALSE;
    sim_after(world->sim, sim_below(world->sim, 300), on_crash, event_new(world), g_free);
  }
  gint64 next_ms = groups_next_deadline(world->groups);
  if (next_ms != G_MAXINT64)
    turn_later(world, MAX(next_ms * 1000 - sim_now_us(world->sim), 100));
}

static void on_turn(gpointer data) {
  const Event *event = data;
  World *world = event->world;
  if (event->incarnation != world->incarnation || !world->groups || sim_now_us(world->sim) < world->turn_at_us)
    return;
  world->turn_at_us = G_MAXINT64;
  take_turn(world);
}

static void turn_later(World *world, gint64 delay_us) {
  gint64 at_us = sim_now_us(world->sim) + delay_us;
  if (world->turn_at_us <= at_us)
    return;
  world->turn_at_us = at_us;
  sim_after(world->sim, delay_us, on_turn, event_new(world), g_free);
}

/* ---- requests ---- */

static void heartbeat(World *world, GroupsToken token, const Call *call) {
  gsize size;
  const guint8 *bytes = g_bytes_get_data(call->request, &size);
  Milena__V1__HeartbeatRequest *request = milena__v1__heartbeat_request__unpack(NULL, size, bytes);
  world->result->heartbeats++;
  groups_heartbeat(world->groups, token, request, "10.1.1.1:1", gsim_time(world));
  milena__v1__heartbeat_request__free_unpacked(request, NULL);
}

static void commit(World *world, GroupsToken token, const Call *call) {
  gsize size;
  const guint8 *bytes = g_bytes_get_data(call->request, &size);
  Milena__V1__CommitOffsetsRequest *request = milena__v1__commit_offsets_request__unpack(NULL, size, bytes);
  groups_commit(world->groups, token, request, gsim_time(world));
  milena__v1__commit_offsets_request__free_unpacked(request, NULL);
}

void gsim_coordinator_receive(gpointer data) {
  Call *call = data;
  World *world = call->world;
  if (!world->groups)
    return;
  guint64 *token = g_new(guint64, 1);
  *token = ++world->last_token;
  Call *copy = g_new0(Call, 1); /* a request that arrives twice is answered twice */
  *copy = (Call){world, call->kind, call->client, call->life, call->number, g_bytes_ref(call->request), NULL, 0, 1};
  g_hash_table_insert(world->calls, token, copy);
  if (call->kind == CALL_HEARTBEAT)
    heartbeat(world, *token, copy);
  else
    commit(world, *token, copy);
  turn_later(world, sim_between(world->sim, 10, 2000));
}

void gsim_coordinator_topics_changed(World *world, const char *name) {
  if (!world->groups)
    return;
  groups_topics_changed(world->groups, &name, 1, gsim_time(world));
  turn_later(world, 100);
}

/* ---- life ---- */

static void configure(World *world) {
  Google__Protobuf__Duration session = GOOGLE__PROTOBUF__DURATION__INIT, interval = GOOGLE__PROTOBUF__DURATION__INIT;
  session.seconds = WORLD_SESSION_MS / 1000;
  interval.nanos = WORLD_INTERVAL_MS * 1000000;
  Milena__V1__GroupConfig config = MILENA__V1__GROUP_CONFIG__INIT;
  config.session_timeout = &session;
  config.heartbeat_interval = &interval;
  for (guint i = 0; i < WORLD_GROUPS; i++) {
    Milena__V1__UpdateGroupRequest request = MILENA__V1__UPDATE_GROUP_REQUEST__INIT;
    g_autofree char *name = g_strdup_printf("g%u", i);
    request.group = name;
    request.config = &config;
    groups_update(world->groups, ++world->last_token, &request, gsim_time(world));
  }
}

void gsim_coordinator_start(World *world) {
  gboolean first = world->pending == NULL;
  if (first) {
    world->pending = g_array_new(FALSE, FALSE, sizeof(GroupsRecord));
    g_array_set_clear_func(world->pending, clear_record);
    world->waiting = g_array_new(FALSE, FALSE, sizeof(GroupsAnswer));
    g_array_set_clear_func(world->waiting, clear_answer);
    world->calls = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, gsim_call_unref);
  }
  world->incarnation++;
  world->durable = 0;
  world->turn_at_us = G_MAXINT64;
  world->append_soon = FALSE;
  world->groups = fake_host_load(world->host, gsim_time(world));
  if (!first)
    gsim_rules_reload(world);
  configure(world); /* a crash may have lost it */
  take_turn(world);
}

void gsim_coordinator_crash(World *world) {
  if (!world->groups)
    return;
  guint kept = sim_below(world->sim, world->pending->len + 1);
  gsim_tell(world, "coordinator ends; %u of %u records on their way are kept", kept, world->pending->len);
  world->result->crashes++;
  world->result->cuts += kept < world->pending->len;
  make_durable(world, kept);
  g_array_set_size(world->pending, 0);
  g_array_set_size(world->waiting, 0);
  g_hash_table_remove_all(world->calls);
  g_clear_pointer(&world->groups, groups_free);
  world->incarnation++;
  if (sim_chance(world->sim, 400)) {
    guint records = world->host->records->len;
    fake_host_compact(world->host, sim_below(world->sim, records + 1), sim_chance(world->sim, 500));
    world->result->compactions++;
  }
}

void gsim_coordinator_clear(World *world) {
  g_clear_pointer(&world->groups, groups_free);
  g_array_unref(world->pending);
  g_array_unref(world->waiting);
  g_hash_table_unref(world->calls);
}
