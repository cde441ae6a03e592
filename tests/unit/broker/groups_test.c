/* GroupService through a broker, while coordinators load, move, hang and die. */
#include <stdatomic.h>
#include <string.h>

#include "controller/metadata/records.h"
#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/broker/groups/group_service.h"
#include "services/membership/coordinators.h"
#include "tests/shim/shim.h"
#include "tests/unit/broker/fixture.h"

#define GROUP (&milena__v1__group_service__descriptor)
#define CONTROLLER (&milena__internal__v1__controller_service__descriptor)
#define CALL_MS 20000
#define OFFSETS_ID "44444444-4444-4444-4444-444444444444"
#define PARTITIONS 4

/* How a coordinator takes the next calls. */
typedef enum {
  SERVES,
  LOADS,
  POINTS,       /* NOT_COORDINATOR */
  HANGS,        /* no answer */
  DOES_AND_DIES /* carries it out, and answers that it does not know */
} Mood;

typedef struct {
  Loop *loop;
  RpcServer *server;
  char *address;
  GPtrArray *held; /* of RpcCall: unanswered */
  atomic_int mood, calls, joins, left, cancelled;
  pthread_mutex_t mutex;
  char *member_id, *client; /* of the last heartbeat; the mutex guards them */
} Coordinator;

typedef struct {
  Fixture *fixture;
  Coordinator one, two; /* ids 201 and 202 */
  RpcServer *server, *controller;
  RpcClient *client;
  GPtrArray *doors;
  char *address, *controller_address;
  Loop *controller_loop;
  atomic_int ensures;
} World;

/* ---- coordinators ---- */

static void held_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  Coordinator *coordinator = state;
  atomic_fetch_add(&coordinator->cancelled, cancelled);
  g_ptr_array_remove(coordinator->held, call);
}

/* Whether the call ends here, before it is carried out. */
static gboolean turned_away(Coordinator *coordinator, RpcCall *call) {
  static const RpcCallEvents EVENTS = {.closed = held_closed};
  atomic_fetch_add(&coordinator->calls, 1);
  switch ((Mood)coordinator->mood) {
  case LOADS:
    rpc_call_finish(call, failure_new(FAILURE(COORDINATOR_LOADING), "not yet"));
    return TRUE;
  case POINTS:
    rpc_call_finish(call, failure_new(FAILURE(NOT_COORDINATOR), "not me"));
    return TRUE;
  case HANGS:
    rpc_call_set_events(call, &EVENTS, coordinator);
    g_ptr_array_add(coordinator->held, call);
    return TRUE;
  default:
    return FALSE;
  }
}

/* Whether the call ends here, after it was carried out. It serves the next one. */
static gboolean died(Coordinator *coordinator, RpcCall *call) {
  int expected = DOES_AND_DIES;
  if (!atomic_compare_exchange_strong(&coordinator->mood, &expected, SERVES))
    return FALSE;
  rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_OUTCOME), "it lost its lease"));
  return TRUE;
}

static void heartbeat(RpcCall *call, RpcMessage *request, gpointer data) {
  Coordinator *coordinator = data;
  const Milena__V1__HeartbeatRequest *body = rpc_message_body(request);
  if (turned_away(coordinator, call))
    return;
  pthread_mutex_lock(&coordinator->mutex);
  gboolean is_new = g_strcmp0(coordinator->member_id, body->member_id) != 0;
  atomic_fetch_add(&coordinator->joins, is_new);
  g_free(coordinator->member_id);
  g_free(coordinator->client);
  coordinator->member_id = g_strdup(body->member_id);
  coordinator->client = g_strdup(rpc_call_client(call));
  pthread_mutex_unlock(&coordinator->mutex);
  if (body->leave && coordinator->left++ > 0) {
    rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_MEMBER), "gone"));
    return;
  }
  if (died(coordinator, call))
    return;
  Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
  response.member_id = body->member_id;
  response.member_epoch = body->leave ? 0 : 1;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void commit(RpcCall *call, RpcMessage *request, gpointer data) {
  const Milena__V1__CommitOffsetsRequest *body = rpc_message_body(request);
  if (turned_away(data, call) || died(data, call))
    return;
  if (body->member_epoch == 9) {
    rpc_call_finish(call, failure_add(failure_new(FAILURE(FENCED), "too late"), "expected", "10"));
    return;
  }
  Milena__V1__CommitOffsetsResponse response = MILENA__V1__COMMIT_OFFSETS_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void delete_group(RpcCall *call, RpcMessage *request, gpointer data) {
  (void)request;
  if (turned_away(data, call) || died(data, call))
    return;
  Milena__V1__DeleteGroupResponse response = MILENA__V1__DELETE_GROUP_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* Three groups "a", "b" and "c", two a page at most; the token is how many were told. */
static void list(RpcCall *call, RpcMessage *request, gpointer data) {
  static const char *const NAMES[] = {"a", "b", "c"};
  Coordinator *coordinator = data;
  const Milena__V1__ListGroupsRequest *body = rpc_message_body(request);
  if (turned_away(coordinator, call))
    return;
  Milena__V1__ListGroupsResponse response = MILENA__V1__LIST_GROUPS_RESPONSE__INIT;
  Milena__V1__GroupSummary groups[2], *pointers[2];
  guint told = (guint)g_ascii_strtoull(body->page_token, NULL, 10);
  for (; told < 3 && response.n_groups < MIN(2, body->page_size); told++) {
    Milena__V1__GroupSummary *group = &groups[response.n_groups];
    milena__v1__group_summary__init(group);
    group->group = (char *)NAMES[told];
    pointers[response.n_groups++] = group;
  }
  g_autofree char *token = told < 3 ? g_strdup_printf("%u", told) : NULL;
  response.groups = pointers;
  if (token)
    response.next_page_token = token;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler HANDLERS[] = {
    {.name = "Heartbeat", .unary = heartbeat},
    {.name = "CommitOffsets", .unary = commit},
    {.name = "DeleteGroup", .unary = delete_group},
    {.name = "ListGroups", .unary = list},
    {.name = NULL},
};

static RpcServer *serve(char **ret_address) {
  RpcServer *server = rpc_server_new(NULL);
  guint16 port = 0;
  g_autoptr(Failure) failure = rpc_server_add_listener(server, "127.0.0.1:0", &port);
  EXPECT_NULL(failure);
  *ret_address = g_strdup_printf("127.0.0.1:%u", port);
  return server;
}

static void coordinator_start(Coordinator *coordinator) {
  coordinator->held = g_ptr_array_new();
  pthread_mutex_init(&coordinator->mutex, NULL);
  coordinator->loop = loop_new("coordinator", 100);
  loop_start(coordinator->loop);
  coordinator->server = serve(&coordinator->address);
  rpc_server_add_service(coordinator->server, GROUP, HANDLERS, coordinator->loop, coordinator);
  rpc_server_start(coordinator->server);
}

static void coordinator_stop(Coordinator *coordinator) {
  rpc_server_drain(coordinator->server, 0);
  rpc_server_free(coordinator->server);
  loop_free(coordinator->loop);
  pthread_mutex_destroy(&coordinator->mutex);
  g_ptr_array_unref(coordinator->held);
  g_free(coordinator->address);
  g_free(coordinator->member_id);
  g_free(coordinator->client);
}

/* ---- metadata ---- */

static void add_coordinator(GPtrArray *records, gint32 id, char *address) {
  MetadataCoordinator coordinator = {.id = id, .epoch = 1, .process_id = (char *)ORDERS_ID, .address = address};
  g_ptr_array_add(records, metadata_record_register_coordinator(&coordinator));
  g_ptr_array_add(records, metadata_record_fence_coordinator(id, 1, FALSE));
}

static void add_topic(GPtrArray *records) {
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  Milena__Internal__V1__TopicRecord topic = MILENA__INTERNAL__V1__TOPIC_RECORD__INIT;
  topic.id = (char *)OFFSETS_ID;
  topic.name = (char *)METADATA_GROUP_TOPIC;
  topic.replication_factor = 1;
  topic.config = &config;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_TOPIC;
  record.topic = &topic;
  MetadataRecord *copied = &record;
  g_autoptr(GBytes) bytes = metadata_transaction_encode(&copied, 1);
  g_autoptr(GPtrArray) decoded = NULL;
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  failure_free(metadata_transaction_decode(data, size, &decoded));
  g_ptr_array_extend_and_steal(records, g_steal_pointer(&decoded));
  for (gint32 i = 0; i < PARTITIONS; i++) {
    gint32 holder = 2;
    MetadataPartition partition = {.partition = i, .log_id = 500 + (guint64)i, .replica_count = 1, .isr_count = 1};
    g_strlcpy(partition.topic_id, OFFSETS_ID, sizeof partition.topic_id);
    partition.replicas = partition.isr = &holder;
    partition.leader_id = holder;
    g_ptr_array_add(records, metadata_record_partition(&partition));
  }
}

static void add_leases(GPtrArray *records, gint32 coordinator_id, guint32 epoch) {
  for (gint32 i = 0; i < PARTITIONS; i++)
    g_ptr_array_add(records, metadata_record_lease(i, coordinator_id, epoch));
}

/* All groups are one coordinator's from now on; -1: nobody's. */
static void world_lease(World *world, gint32 coordinator_id, guint32 epoch) {
  GPtrArray *records = metadata_records_new();
  add_leases(records, coordinator_id, epoch);
  fixture_publish(world->fixture, records);
}

/* ---- the controller ---- */

static void ensure(RpcCall *call, RpcMessage *request, gpointer data) {
  (void)request;
  World *world = data;
  Milena__Internal__V1__EnsureGroupTopicResponse response = MILENA__INTERNAL__V1__ENSURE_GROUP_TOPIC_RESPONSE__INIT;
  if (atomic_fetch_add(&world->ensures, 1) == 0) {
    rpc_call_finish(call, failure_new(FAILURE(NOT_ENOUGH_REPLICAS), "no broker is up"));
    return;
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler CONTROLLER_HANDLERS[] = {{.name = "EnsureGroupTopic", .unary = ensure}, {.name = NULL}};

/* ---- the broker ---- */

typedef struct {
  Front *front;
  const char *address;
} Active;

static void set_active(gpointer data) {
  const Active *active = data;
  front_set_controller(active->front, active->address, 100);
}

static void serve_groups(World *world) {
  Broker *broker = &world->fixture->broker;
  world->server = serve(&world->address);
  world->doors = g_ptr_array_new();
  g_autofree Loop **loops = g_new0(Loop *, broker->shard_count);
  for (guint i = 0; i < broker->shard_count; i++) {
    Front *front = broker->shards[i]->front;
    loops[i] = broker->shards[i]->loop;
    g_ptr_array_add(world->doors, group_door_new(front));
    fixture_on(world->fixture, i, set_active, &(Active){front, world->controller_address});
  }
  rpc_server_add_sharded_service(world->server, GROUP, GROUP_SERVICE_HANDLERS, loops, world->doors->pdata,
                                 broker->shard_count);
  rpc_server_start(world->server);
}

/* A broker and two coordinators, of which 201 has all groups. @topic: the topic of groups is there */
static World *world_new(gboolean coordinators, gboolean topic) {
  World *world = g_new0(World, 1);
  coordinator_start(&world->one);
  coordinator_start(&world->two);
  world->controller_loop = loop_new("controller", 100);
  loop_start(world->controller_loop);
  world->controller = serve(&world->controller_address);
  rpc_server_add_service(world->controller, CONTROLLER, CONTROLLER_HANDLERS, world->controller_loop, world);
  rpc_server_start(world->controller);
  world->fixture = fixture_new();
  serve_groups(world);
  world->client = rpc_client_new(NULL);
  GPtrArray *records = metadata_records_new();
  if (coordinators) {
    add_coordinator(records, 201, world->one.address);
    add_coordinator(records, 202, world->two.address);
  }
  if (topic) {
    add_topic(records);
    add_leases(records, coordinators ? 201 : -1, 1);
  }
  fixture_publish(world->fixture, records);
  return world;
}

static void end_door(gpointer door) {
  group_door_end(door);
}

static void world_free(World *world) {
  rpc_client_free(world->client);
  rpc_server_drain(world->server, 5000);
  for (guint i = 0; i < world->doors->len; i++)
    fixture_on(world->fixture, i, end_door, world->doors->pdata[i]);
  rpc_server_free(world->server);
  g_ptr_array_foreach(world->doors, (GFunc)(void (*)(void))group_door_free, NULL);
  g_ptr_array_unref(world->doors);
  fixture_free(world->fixture);
  coordinator_stop(&world->one);
  coordinator_stop(&world->two);
  rpc_server_free(world->controller);
  loop_free(world->controller_loop);
  g_free(world->address);
  g_free(world->controller_address);
  g_free(world);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

static Failure *ask(World *world, const char *method, const ProtobufCMessage *request, guint timeout_ms,
                    RpcMessage **ret_response) {
  gint64 deadline_us = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
  return rpc_client_unary_sync(world->client, world->address, GROUP, method, request, deadline_us, ret_response);
}

static Failure *beat(World *world, const char *member_id, Milena__V1__Leave leave, guint timeout_ms,
                     RpcMessage **ret_response) {
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  request.group = (char *)"g";
  request.member_id = (char *)member_id;
  request.leave = leave;
  return ask(world, "Heartbeat", &request.base, timeout_ms, ret_response);
}

static Failure *commit_with(World *world, guint32 epoch, guint timeout_ms) {
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = (char *)"g";
  request.member_id = (char *)"m";
  request.member_epoch = epoch;
  return ask(world, "CommitOffsets", &request.base, timeout_ms, NULL);
}

static FailureReason delete_it(World *world) {
  Milena__V1__DeleteGroupRequest request = MILENA__V1__DELETE_GROUP_REQUEST__INIT;
  request.group = (char *)"g";
  g_autoptr(Failure) failure = ask(world, "DeleteGroup", &request.base, CALL_MS, NULL);
  return failure_reason(failure);
}

/* Something that happens while a call is under way: once a coordinator has been asked so often. */
typedef struct {
  World *world;
  Coordinator *coordinator;
  int calls;
  Mood mood;     /* then it is in this one */
  gint32 leased; /* and this one has the groups; 0: as before */
} Later;

static gpointer happen(gpointer data) {
  const Later *later = data;
  for (guint waited = 0; waited < CALL_MS && later->coordinator->calls < later->calls; waited++)
    g_usleep(1000);
  later->coordinator->mood = later->mood;
  if (later->leased)
    world_lease(later->world, later->leased, 2);
  return NULL;
}

/* ---- tests ---- */

TEST(groups, pass_answers_and_refusals) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = beat(world, "", MILENA__V1__LEAVE__LEAVE_UNSPECIFIED, CALL_MS, &response);
  ASSERT_NULL(failure);
  const Milena__V1__HeartbeatResponse *body = rpc_message_body(response);
  EXPECT_EQ_INT(36, strlen(body->member_id)); /* whoever has no name is given one before it is sent on */
  pthread_mutex_lock(&world->one.mutex);
  EXPECT_EQ_STR(world->one.member_id, body->member_id);
  EXPECT_TRUE(g_str_has_prefix(world->one.client, "127.0.0.1:"));
  pthread_mutex_unlock(&world->one.mutex);
  g_autoptr(Failure) fenced = commit_with(world, 9, CALL_MS);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(fenced));
  EXPECT_EQ_STR("10", failure_get(fenced, "expected"));
  EXPECT_EQ_INT(0, world->two.calls);
}

static const struct {
  const char *name;
  Mood mood;
  gint32 leased;
} WAITS[] = {
    {"until_it_has_loaded", LOADS, 0},
    {"until_it_knows_that_it_is_it", POINTS, 0},
    {"for_another_one", POINTS, 202},
    {"for_another_one_while_one_hangs", HANGS, 202},
};

TEST_ROWS(groups_wait, WAITS) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = (int)WAITS[row].mood;
  gboolean moves = WAITS[row].leased != 0;
  Later later = {world, &world->one, moves ? 1 : 3, moves ? WAITS[row].mood : SERVES, WAITS[row].leased};
  GThread *thread = g_thread_new("later", happen, &later);
  g_autoptr(Failure) failure = commit_with(world, 1, CALL_MS);
  EXPECT_NULL(failure);
  EXPECT_EQ_INT(moves, world->two.calls);
  g_thread_join(thread);
}

TEST(groups, commits_and_joins_are_repeated) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = DOES_AND_DIES;
  g_autoptr(Failure) failure = commit_with(world, 1, CALL_MS);
  EXPECT_NULL(failure);
  EXPECT_EQ_INT(2, world->one.calls);
  world->one.mood = DOES_AND_DIES;
  g_autoptr(Failure) joined = beat(world, "", MILENA__V1__LEAVE__LEAVE_UNSPECIFIED, CALL_MS, NULL);
  EXPECT_NULL(joined);
  EXPECT_EQ_INT(4, world->one.calls);
  EXPECT_EQ_INT(1, world->one.joins); /* the same member both times */
}

TEST(groups, deletions_are_not_repeated) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = DOES_AND_DIES;
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), delete_it(world));
  EXPECT_EQ_INT(1, world->one.calls);
  EXPECT_EQ_INT(0, delete_it(world));
}

TEST(groups, who_is_gone_the_second_time_has_left) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = DOES_AND_DIES;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = beat(world, "m", MILENA__V1__LEAVE__LEAVE_FOR_GOOD, CALL_MS, &response);
  ASSERT_NULL(failure);
  const Milena__V1__HeartbeatResponse *body = rpc_message_body(response);
  EXPECT_EQ_STR("m", body->member_id);
  EXPECT_EQ_INT(0, body->member_epoch);
  g_autoptr(Failure) again = beat(world, "m", MILENA__V1__LEAVE__LEAVE_FOR_GOOD, CALL_MS, NULL);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_MEMBER), failure_reason(again));
}

TEST(groups, without_any_coordinator_it_is_said_at_once) {
  g_autoptr(World) world = world_new(FALSE, TRUE);
  gint64 began_us = g_get_monotonic_time();
  g_autoptr(Failure) failure = commit_with(world, 1, CALL_MS);
  EXPECT_EQ_INT(FAILURE(COORDINATOR_NOT_AVAILABLE), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "milena-group-coordinator");
  EXPECT_TRUE(g_get_monotonic_time() - began_us < CALL_MS / 2 * 1000);
}

TEST(groups, one_that_is_lost_is_waited_for_until_the_deadline) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world_lease(world, -1, 1);
  g_autoptr(Failure) failure = commit_with(world, 1, 700);
  EXPECT_EQ_INT(FAILURE(COORDINATOR_NOT_AVAILABLE), failure_reason(failure));
  EXPECT_EQ_INT(0, world->one.calls);
}

TEST(groups, what_hangs_to_the_end_may_have_been_done) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = HANGS;
  g_autoptr(Failure) failure = commit_with(world, 1, 700);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), failure_reason(failure));
}

/* The metadata have the topic once the controller was asked for it a second time. */
static gpointer make_topic(gpointer data) {
  World *world = data;
  for (guint i = 0; i < CALL_MS && world->ensures < 2; i++)
    g_usleep(1000);
  GPtrArray *records = metadata_records_new();
  add_topic(records);
  add_leases(records, 201, 1);
  fixture_publish(world->fixture, records);
  return NULL;
}

TEST(groups, the_topic_is_made_when_it_is_needed) {
  g_autoptr(World) world = world_new(TRUE, FALSE);
  GThread *thread = g_thread_new("topic", make_topic, world);
  g_autoptr(Failure) failure = commit_with(world, 1, CALL_MS);
  g_thread_join(thread);
  EXPECT_NULL(failure);
  EXPECT_TRUE(world->ensures >= 2); /* the controller could not at first */
}

static void ignore(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  (void)failure;
  (void)user_data;
}

TEST(groups, a_cancellation_goes_on_to_the_coordinator) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = HANGS;
  g_autoptr(Loop) loop = loop_new("client", 100);
  loop_start(loop);
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  request.group = (char *)"g";
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  RpcClientCall *call =
      rpc_client_unary(world->client, world->address, GROUP, "Heartbeat", message, G_MAXINT64, loop, ignore, NULL);
  for (guint i = 0; i < CALL_MS && world->one.calls == 0; i++)
    g_usleep(1000);
  rpc_client_call_cancel(call);
  rpc_client_call_unref(call);
  for (guint i = 0; i < CALL_MS && world->one.cancelled == 0; i++)
    g_usleep(1000);
  EXPECT_EQ_INT(1, world->one.cancelled);
}

/* ---- lists ---- */

/* A page: "a b c missing1 ...token". */
static char *page(World *world, guint32 page_size, const char *token) {
  Milena__V1__ListGroupsRequest request = MILENA__V1__LIST_GROUPS_REQUEST__INIT;
  request.page_size = page_size;
  request.page_token = (char *)token;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = ask(world, "ListGroups", &request.base, CALL_MS, &response);
  if (failure)
    return g_strdup(failure_reason_name(failure_reason(failure)));
  const Milena__V1__ListGroupsResponse *body = rpc_message_body(response);
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < body->n_groups; i++)
    g_string_append_printf(text, "%s ", body->groups[i]->group);
  if (body->n_missing > 0)
    g_string_append_printf(text, "missing%d ", (int)body->n_missing);
  g_string_append(text, body->next_page_token);
  return g_string_free(text, FALSE);
}

static const struct {
  const char *name;
  guint32 page_size;
  const char *token, *want;
} PAGES[] = {
    {"all", 0, "", "a b c a b c "},
    {"first", 2, "", "a b groups:201:2"},
    {"within", 2, "groups:201:2", "c a groups:202:1"},
    {"last", 2, "groups:202:1", "b c "},
    {"at_the_border", 3, "", "a b c groups:202:"},
    {"of_one_that_is_gone", 3, "groups:150:2", "a b c groups:202:"},
    {"behind_all", 3, "groups:203:", ""},
    {"foreign_token", 3, "topic:orders", "STALE_PAGE_TOKEN"},
    {"odd_token", 3, "groups:x:", "STALE_PAGE_TOKEN"},
    {"too_large", 1001, "", "INVALID_FIELD"},
};

TEST_ROWS(groups_page, PAGES) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  g_autofree char *got = page(world, PAGES[row].page_size, PAGES[row].token);
  EXPECT_EQ_STR(PAGES[row].want, got);
}

TEST(groups, lists_say_who_is_missing) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world->one.mood = LOADS;
  world_lease(world, -1, 1);
  g_autofree char *got = page(world, 0, "");
  EXPECT_EQ_STR("a b c missing2 ", got);
}

TEST(groups, without_a_topic_there_are_none) {
  g_autoptr(World) world = world_new(FALSE, FALSE);
  g_autofree char *got = page(world, 0, "");
  EXPECT_EQ_STR("", got);
}

TEST(groups, tell_their_coordinator) {
  g_autoptr(World) world = world_new(TRUE, TRUE);
  world_lease(world, 202, 7);
  Milena__V1__GetCoordinatorRequest request = MILENA__V1__GET_COORDINATOR_REQUEST__INIT;
  request.group = (char *)"g";
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = ask(world, "GetCoordinator", &request.base, CALL_MS, &response);
  ASSERT_NULL(failure);
  const Milena__V1__GroupCoordinator *told =
      ((const Milena__V1__GetCoordinatorResponse *)rpc_message_body(response))->coordinator;
  EXPECT_EQ_INT(202, told->id);
  EXPECT_EQ_STR(world->two.address, told->address);
  EXPECT_EQ_INT(coordinators_partition("g", PARTITIONS), told->partition);
  EXPECT_EQ_INT(7, told->lease_epoch);
  EXPECT_EQ_INT(0, world->two.calls);
  request.group = (char *)"";
  g_autoptr(Failure) nameless = ask(world, "GetCoordinator", &request.base, CALL_MS, NULL);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(nameless));
}
