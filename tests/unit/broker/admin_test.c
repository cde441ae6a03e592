/* AdminService through a broker, while its controllers change, hang, die or do not know. */
#include <stdatomic.h>
#include <string.h>

#include "milena/v1/admin_service.pb-c.h"
#include "services/broker/admin_service.h"
#include "tests/shim/shim.h"
#include "tests/unit/broker/fixture.h"

#define ADMIN (&milena__v1__admin_service__descriptor)
#define CALL_MS 20000

/* How a controller takes the next calls. */
typedef enum {
  SERVES,
  POINTS,        /* NOT_CONTROLLER, at `hint` */
  WAITS,         /* CONTROLLER_NOT_AVAILABLE */
  HANGS,         /* no answer */
  LOST_ITS_DISK, /* NOT_BOOTSTRAPPED */
  DOES_AND_DIES  /* carries it out, and answers that it does not know */
} Mood;

/* What all controllers agree on: topics that were made, by name to request_id. pthread's locks, for ThreadSanitizer. */
typedef struct {
  pthread_mutex_t mutex;
  GHashTable *topics;
  atomic_int made, deleted, updated;
} State;

typedef struct {
  State *state;
  Loop *loop;
  RpcServer *server;
  char *address;
  GPtrArray *held; /* of RpcCall: unanswered */
  atomic_int mood, calls;
  _Atomic(const char *) hint;
} Controller;

/* A broker with two controllers. */
typedef struct {
  Fixture *fixture;
  State state;
  Controller one, two;
  RpcServer *server;
  RpcClient *onwards, *client;
  char *address;
} World;

/* ---- Controllers ---- */

/* Whether the call ends here, before it is carried out. */
static gboolean turned_away(Controller *controller, RpcCall *call) {
  atomic_fetch_add(&controller->calls, 1);
  switch ((Mood)controller->mood) {
  case HANGS:
    g_ptr_array_add(controller->held, call);
    return TRUE;
  case LOST_ITS_DISK:
    rpc_call_finish(call, failure_new(FAILURE(NOT_BOOTSTRAPPED), "an empty folder"));
    return TRUE;
  case WAITS:
    rpc_call_finish(call, failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "an election is under way"));
    return TRUE;
  case POINTS:
    rpc_call_finish(
        call, failure_add(failure_new(FAILURE(NOT_CONTROLLER), "not me"), "peer_address", "%s", controller->hint));
    return TRUE;
  default:
    return FALSE;
  }
}

/* Whether the call ends here, after it was carried out. */
static gboolean died(Controller *controller, RpcCall *call) {
  if (controller->mood != DOES_AND_DIES)
    return FALSE;
  rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_OUTCOME), "it stopped being the active one"));
  return TRUE;
}

static void create(RpcCall *call, RpcMessage *request, gpointer data) {
  Controller *controller = data;
  const Milena__V1__CreateTopicRequest *body = rpc_message_body(request);
  if (turned_away(controller, call))
    return;
  State *state = controller->state;
  pthread_mutex_lock(&state->mutex);
  const char *before = g_hash_table_lookup(state->topics, body->name);
  gboolean again = before && !strcmp(before, body->request_id), taken = before && !again;
  if (!before)
    g_hash_table_insert(state->topics, g_strdup(body->name), g_strdup(body->request_id));
  atomic_fetch_add(&state->made, before == NULL);
  pthread_mutex_unlock(&state->mutex);
  if (taken) {
    rpc_call_finish(call, failure_new(FAILURE(TOPIC_EXISTS), "it exists"));
    return;
  }
  Milena__V1__CreateTopicResponse response = MILENA__V1__CREATE_TOPIC_RESPONSE__INIT;
  if (!died(controller, call))
    rpc_call_reply(call, &response.base, NULL, 0);
}

static void delete_topic(RpcCall *call, RpcMessage *request, gpointer data) {
  Controller *controller = data;
  const Milena__V1__DeleteTopicRequest *body = rpc_message_body(request);
  if (turned_away(controller, call))
    return;
  State *state = controller->state;
  pthread_mutex_lock(&state->mutex);
  gboolean removed = g_hash_table_remove(state->topics, body->name);
  atomic_fetch_add(&state->deleted, removed);
  pthread_mutex_unlock(&state->mutex);
  if (!removed) {
    rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_TOPIC), "it is not there"));
    return;
  }
  Milena__V1__DeleteTopicResponse response = MILENA__V1__DELETE_TOPIC_RESPONSE__INIT;
  if (!died(controller, call))
    rpc_call_reply(call, &response.base, NULL, 0);
}

static void update(RpcCall *call, RpcMessage *request, gpointer data) {
  (void)request;
  Controller *controller = data;
  if (turned_away(controller, call))
    return;
  atomic_fetch_add(&controller->state->updated, 1);
  Milena__V1__UpdateTopicResponse response = MILENA__V1__UPDATE_TOPIC_RESPONSE__INIT;
  if (!died(controller, call))
    rpc_call_reply(call, &response.base, NULL, 0);
}

static void get(RpcCall *call, RpcMessage *request, gpointer data) {
  (void)request;
  if (turned_away(data, call))
    return;
  Milena__V1__Topic topic = MILENA__V1__TOPIC__INIT;
  topic.name = (char *)"of the controller";
  Milena__V1__GetTopicResponse response = MILENA__V1__GET_TOPIC_RESPONSE__INIT;
  response.topic = &topic;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler HANDLERS[] = {
    {.name = "CreateTopic", .unary = create},
    {.name = "DeleteTopic", .unary = delete_topic},
    {.name = "UpdateTopic", .unary = update},
    {.name = "GetTopic", .unary = get},
    {NULL},
};

static RpcServer *serve(char **ret_address) {
  RpcServer *server = rpc_server_new(NULL);
  guint16 port = 0;
  g_autoptr(Failure) failure = rpc_server_add_listener(server, "127.0.0.1:0", &port);
  EXPECT_NULL(failure);
  *ret_address = g_strdup_printf("127.0.0.1:%u", port);
  return server;
}

static void controller_start(Controller *controller, State *state) {
  controller->state = state;
  controller->held = g_ptr_array_new();
  controller->loop = loop_new("controller", 100);
  loop_start(controller->loop);
  controller->server = serve(&controller->address);
  rpc_server_add_service(controller->server, ADMIN, HANDLERS, controller->loop, controller);
  rpc_server_start(controller->server);
}

static void let_go_on_loop(gpointer data) {
  Controller *controller = data;
  for (guint i = 0; i < controller->held->len; i++)
    rpc_call_finish(controller->held->pdata[i], failure_new(FAILURE(DRAINING), "the test ends"));
}

static void controller_stop(Controller *controller) {
  loop_call_and_wait(controller->loop, let_go_on_loop, controller);
  rpc_server_drain(controller->server, 100);
  rpc_server_free(controller->server);
  loop_free(controller->loop);
  g_ptr_array_unref(controller->held);
  g_free(controller->address);
}

/* ---- The broker ---- */

typedef struct {
  Front *front;
  const char *address;
} Active;

static void set_active_on_loop(gpointer data) {
  const Active *active = data;
  front_set_controller(active->front, active->address, active->address ? 1 : -1);
}

static void world_set_active(World *world, const char *address) {
  for (guint i = 0; i < world->fixture->broker.shard_count; i++)
    fixture_on(world->fixture, i, set_active_on_loop, &(Active){world->fixture->broker.shards[i]->front, address});
}

static World *world_new(void) {
  World *world = g_new0(World, 1);
  pthread_mutex_init(&world->state.mutex, NULL);
  world->state.topics = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  controller_start(&world->one, &world->state);
  controller_start(&world->two, &world->state);
  world->fixture = fixture_new();
  Broker *broker = &world->fixture->broker;
  world->server = serve(&world->address);
  g_autofree Loop **loops = g_new0(Loop *, broker->shard_count);
  g_autofree gpointer *fronts = g_new0(gpointer, broker->shard_count);
  for (guint i = 0; i < broker->shard_count; i++) {
    loops[i] = broker->shards[i]->loop;
    fronts[i] = broker->shards[i]->front;
  }
  rpc_server_add_sharded_service(world->server, ADMIN, ADMIN_SERVICE_HANDLERS, loops, fronts, broker->shard_count);
  rpc_server_start(world->server);
  world->client = rpc_client_new(NULL);
  world_set_active(world, world->one.address);
  return world;
}

static void world_free(World *world) {
  rpc_server_drain(world->server, 100);
  rpc_client_free(world->client);
  rpc_server_free(world->server);
  fixture_free(world->fixture);
  controller_stop(&world->one);
  controller_stop(&world->two);
  g_hash_table_unref(world->state.topics);
  pthread_mutex_destroy(&world->state.mutex);
  g_free(world->address);
  g_free(world);
}

static Failure *ask(World *world, const char *method, const ProtobufCMessage *request, guint timeout_ms,
                    RpcMessage **ret_response) {
  gint64 deadline_us = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
  return rpc_client_unary_sync(world->client, world->address, ADMIN, method, request, deadline_us, ret_response);
}

static FailureReason create_topic(World *world, const char *name, guint timeout_ms) {
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  g_autoptr(Failure) failure = ask(world, "CreateTopic", &request.base, timeout_ms, NULL);
  return failure_reason(failure);
}

static FailureReason drop_topic(World *world, const char *name) {
  Milena__V1__DeleteTopicRequest request = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  g_autoptr(Failure) failure = ask(world, "DeleteTopic", &request.base, CALL_MS, NULL);
  return failure_reason(failure);
}

static FailureReason update_topic(World *world, gboolean validate_only) {
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"orders";
  request.validate_only = validate_only;
  g_autoptr(Failure) failure = ask(world, "UpdateTopic", &request.base, CALL_MS, NULL);
  return failure_reason(failure);
}

/* The name of the topic "orders" as it is answered: the broker's own metadata have that, the controllers another. */
static char *read_topic(World *world) {
  Milena__V1__GetTopicRequest request = MILENA__V1__GET_TOPIC_REQUEST__INIT;
  request.name = (char *)"orders";
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = ask(world, "GetTopic", &request.base, CALL_MS, &response);
  if (failure)
    return g_strdup(failure_message(failure));
  return g_strdup(((Milena__V1__GetTopicResponse *)rpc_message_body(response))->topic->name);
}

/* Something that happens while a call is under way: once the controller has been asked so often. */
typedef struct {
  World *world;
  Controller *controller;
  int calls;
  Mood mood;          /* then the controller is in this one */
  const char *active; /* and this one is known to be active; NULL: as before */
} Later;

static gpointer happen(gpointer data) {
  const Later *later = data;
  for (guint waited = 0; waited < CALL_MS && later->controller->calls < later->calls; waited++)
    g_usleep(1000);
  later->controller->mood = later->mood;
  if (later->active)
    world_set_active(later->world, later->active);
  return NULL;
}

TEST(admin, passes_answers_and_refusals_back) {
  World *world = world_new();
  EXPECT_EQ_INT(0, create_topic(world, "a", CALL_MS));
  EXPECT_EQ_INT(FAILURE(TOPIC_EXISTS), create_topic(world, "a", CALL_MS));
  EXPECT_EQ_INT(2, world->one.calls);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_TOPIC), drop_topic(world, "b"));
  g_autofree char *name = read_topic(world);
  EXPECT_EQ_STR("of the controller", name);
  world_free(world);
}

TEST(admin, goes_where_it_is_pointed_to) {
  World *world = world_new();
  world->one.mood = POINTS;
  world->one.hint = world->two.address;
  EXPECT_EQ_INT(0, create_topic(world, "a", CALL_MS));
  EXPECT_EQ_INT(1, world->two.calls);
  world_free(world);
}

TEST(admin, two_that_point_to_each_other_are_not_asked_for_ever) {
  World *world = world_new();
  world->one.mood = world->two.mood = POINTS;
  world->one.hint = world->two.address;
  world->two.hint = world->one.address;
  EXPECT_EQ_INT(FAILURE(CONTROLLER_NOT_AVAILABLE), create_topic(world, "a", 1000));
  EXPECT_TRUE(world->one.calls + world->two.calls < 40); /* about two in each pause */
  world_free(world);
}

TEST(admin, waits_through_an_election) {
  World *world = world_new();
  world->one.mood = WAITS;
  Later later = {world, &world->one, 3, SERVES, NULL};
  GThread *thread = g_thread_new("later", happen, &later);
  EXPECT_EQ_INT(0, create_topic(world, "a", CALL_MS));
  g_thread_join(thread);
  EXPECT_EQ_INT(1, world->state.made);
  world_free(world);
}

TEST(admin, a_creation_goes_on_at_another_controller_when_the_first_hangs) {
  World *world = world_new();
  world->one.mood = HANGS;
  Later later = {world, &world->one, 1, HANGS, world->two.address};
  GThread *thread = g_thread_new("later", happen, &later);
  EXPECT_EQ_INT(0, create_topic(world, "a", CALL_MS));
  g_thread_join(thread);
  EXPECT_EQ_INT(1, world->two.calls);
  world_free(world);
}

TEST(admin, a_creation_goes_on_at_another_controller_when_the_first_has_lost_its_disk) {
  World *world = world_new();
  world->one.mood = LOST_ITS_DISK;
  Later later = {world, &world->one, 1, LOST_ITS_DISK, world->two.address};
  GThread *thread = g_thread_new("later", happen, &later);
  EXPECT_EQ_INT(0, create_topic(world, "a", CALL_MS));
  g_thread_join(thread);
  EXPECT_EQ_INT(1, world->two.calls);
  world_free(world);
}

TEST(admin, a_creation_that_was_made_and_not_answered_is_made_once_and_answered) {
  World *world = world_new();
  world->one.mood = DOES_AND_DIES;
  Later later = {world, &world->one, 1, WAITS, world->two.address};
  GThread *thread = g_thread_new("later", happen, &later);
  EXPECT_EQ_INT(0, create_topic(world, "a", CALL_MS));
  g_thread_join(thread);
  EXPECT_EQ_INT(1, world->state.made);
  world_free(world);
}

TEST(admin, a_deletion_that_may_have_been_made_is_not_said_to_have_failed) {
  World *world = world_new();
  EXPECT_EQ_INT(0, create_topic(world, "orders", CALL_MS)); /* known to the broker, so it can be repeated */
  world->one.mood = DOES_AND_DIES;
  Later later = {world, &world->one, 2, WAITS, world->two.address};
  GThread *thread = g_thread_new("later", happen, &later);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), drop_topic(world, "orders"));
  g_thread_join(thread);
  EXPECT_EQ_INT(1, world->state.deleted);
  EXPECT_TRUE(world->one.calls + world->two.calls >= 3); /* it was repeated, and refused */
  world_free(world);
}

TEST(admin, an_update_is_not_repeated_but_its_check_is) {
  World *world = world_new();
  world->one.mood = DOES_AND_DIES;
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), update_topic(world, FALSE));
  EXPECT_EQ_INT(1, world->state.updated);
  Later later = {world, &world->one, 3, SERVES, NULL};
  GThread *thread = g_thread_new("later", happen, &later);
  EXPECT_EQ_INT(0, update_topic(world, TRUE));
  g_thread_join(thread);
  world_free(world);
}

TEST(admin, says_that_nothing_was_changed_before_the_callers_deadline) {
  World *world = world_new();
  world_set_active(world, "127.0.0.1:1"); /* nobody listens there */
  EXPECT_EQ_INT(FAILURE(CONTROLLER_NOT_AVAILABLE), create_topic(world, "a", 1500));
  world_set_active(world, world->one.address);
  world->one.mood = HANGS;
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), create_topic(world, "a", 1500)); /* here it may have been */
  world_free(world);
}

static const struct {
  const char *name;
  Mood mood;
  gboolean unreachable, unknown;
} ABSENCES[] = {
    {"unknown", SERVES, FALSE, TRUE},
    {"unreachable", SERVES, TRUE, FALSE},
    {"hanging", HANGS, FALSE, FALSE},
    {"without_a_leader", WAITS, FALSE, FALSE},
};
TEST_ROWS(admin_reads_are_answered_here, ABSENCES) {
  World *world = world_new();
  world->one.mood = ABSENCES[row].mood;
  if (ABSENCES[row].unreachable || ABSENCES[row].unknown)
    world_set_active(world, ABSENCES[row].unknown ? NULL : "127.0.0.1:1");
  g_autofree char *name = read_topic(world);
  EXPECT_EQ_STR("orders", name);
  world_free(world);
}

TEST(admin, no_cluster_is_begun_by_a_broker) {
  World *world = world_new();
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  g_autoptr(Failure) failure = ask(world, "BootstrapCluster", &request.base, CALL_MS, NULL);
  EXPECT_EQ_INT(FAILURE(NOT_BOOTSTRAPPED), failure_reason(failure));
  world_free(world);
}
