/* Membership against a controller that does what the test says. */
#include "services/membership/membership.h"

#include <stdatomic.h>

#include "services/rpc/server.h"
#include "tests/shim/shim.h"

#define WAIT_MS 10000
#define CLUSTER "5e0f8f6e-7d0c-4b43-9f5e-0a6a3a1d1c11"
#define OTHER_CLUSTER "00000000-7d0c-4b43-9f5e-0a6a3a1d1c11"

/* A controller: answers on its loop; the test's thread sets what it answers. */
typedef struct {
  Loop *loop;
  RpcServer *server;
  char *address;
  const char *cluster; /* of its image */
  RpcCall *stream;     /* of the follower */
  GPtrArray *held;     /* of RpcCall: unanswered */
  atomic_int registrations, heartbeats, follows;
  atomic_int refuse_with; /* a FailureReason for registrations; 0: take them */
  atomic_bool fence_next; /* answer the next heartbeat with FENCED */
  atomic_bool hangs;      /* answer no heartbeat and no registration */
  atomic_bool leaving_seen;
  atomic_uint_fast64_t followed_from;
  atomic_uint_fast64_t told_version; /* in answers to heartbeats */
  _Atomic(const char *) active;      /* NULL: it is; else whom it hints at, "" for nobody */
  const char *second;                /* peer address of a controller 2 that its image names; NULL: none */
} FakeController;

/* What the member heard. */
typedef struct {
  Loop *loop;
  RpcClient *client;
  Membership *membership;
  atomic_int registered, unfenced, fenced, refused, left;
  atomic_uint_fast64_t version;
} Member;

/* Not the active one, or one that hangs. */
static gboolean fake_turns_away(FakeController *fake, RpcCall *call) {
  if (fake->hangs) {
    g_ptr_array_add(fake->held, call);
    return TRUE;
  }
  const char *active = fake->active;
  if (!active)
    return FALSE;
  Failure *failure = failure_new(FAILURE(NOT_CONTROLLER), "not me");
  if (*active)
    failure_add(failure, "peer_address", "%s", active);
  rpc_call_finish(call, failure);
  return TRUE;
}

static void fake_register(RpcCall *call, RpcMessage *request, gpointer data) {
  (void)request;
  FakeController *fake = data;
  if (fake_turns_away(fake, call))
    return;
  atomic_fetch_add(&fake->registrations, 1);
  if (fake->refuse_with) {
    rpc_call_finish(call, failure_new((FailureReason)fake->refuse_with, "not you"));
    return;
  }
  Google__Protobuf__Duration interval = GOOGLE__PROTOBUF__DURATION__INIT;
  interval.nanos = 20 * 1000000;
  Milena__Internal__V1__RegisterNodeResponse response = MILENA__INTERNAL__V1__REGISTER_NODE_RESPONSE__INIT;
  response.cluster_id = (char *)CLUSTER;
  response.epoch = 2;
  response.heartbeat_interval = &interval;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void fake_heartbeat(RpcCall *call, RpcMessage *request, gpointer data) {
  FakeController *fake = data;
  const Milena__Internal__V1__HeartbeatRequest *body = rpc_message_body(request);
  if (fake_turns_away(fake, call))
    return;
  atomic_fetch_add(&fake->heartbeats, 1);
  if (atomic_exchange(&fake->fence_next, false)) {
    rpc_call_finish(call, failure_new(FAILURE(FENCED), "your session has ended"));
    return;
  }
  if (body->shutting_down)
    fake->leaving_seen = true;
  Milena__Internal__V1__HeartbeatResponse response = MILENA__INTERNAL__V1__HEARTBEAT_RESPONSE__INIT;
  response.fenced = body->metadata_version < body->epoch;
  response.may_stop = body->shutting_down;
  response.metadata_version = fake->told_version;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void fake_follow_closed(RpcCall *call, gboolean cancelled, gpointer data) {
  (void)cancelled;
  FakeController *fake = data;
  if (fake->stream == call)
    fake->stream = NULL;
}

/* A frame of the stream, if there is one. */
typedef struct {
  FakeController *fake;
  guint64 base, version;
  gint32 active;
  gboolean cut_off;
} Told;

static void send_snapshot(FakeController *fake, guint64 version, gboolean last) {
  Milena__Internal__V1__ClusterRecord cluster = MILENA__INTERNAL__V1__CLUSTER_RECORD__INIT;
  cluster.cluster_id = (char *)fake->cluster;
  Milena__Internal__V1__ControllerRecord second = MILENA__INTERNAL__V1__CONTROLLER_RECORD__INIT;
  second.id = 2;
  second.peer_address = (char *)fake->second;
  MetadataRecord of_cluster = MILENA__INTERNAL__V1__METADATA_RECORD__INIT, of_second = of_cluster;
  of_cluster.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_CLUSTER;
  of_cluster.cluster = &cluster;
  of_second.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_CONTROLLER;
  of_second.controller = &second;
  MetadataRecord *records[] = {&of_cluster, &of_second};
  Milena__Internal__V1__MetadataSnapshotPart part = MILENA__INTERNAL__V1__METADATA_SNAPSHOT_PART__INIT;
  part.version = version;
  part.n_records = fake->second ? 2 : 1;
  part.records = records;
  part.last = last;
  part.active_controller_id = -1;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART;
  frame.snapshot_part = &part;
  rpc_call_send(fake->stream, &frame.base, NULL, 0);
}

static void tell_delta_on_loop(gpointer data) {
  const Told *told = data;
  if (!told->fake->stream)
    return;
  Milena__Internal__V1__MetadataDelta delta = MILENA__INTERNAL__V1__METADATA_DELTA__INIT;
  delta.version = told->version;
  delta.base_version = told->base;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA;
  frame.delta = &delta;
  rpc_call_send(told->fake->stream, &frame.base, NULL, 0);
}

static void tell_delta(FakeController *fake, guint64 base, guint64 version) {
  Told told = {.fake = fake, .base = base, .version = version};
  loop_call_and_wait(fake->loop, tell_delta_on_loop, &told);
}

static void tell_idle_on_loop(gpointer data) {
  const Told *told = data;
  if (!told->fake->stream)
    return;
  Milena__Internal__V1__MetadataIdle idle = MILENA__INTERNAL__V1__METADATA_IDLE__INIT;
  idle.version = told->version;
  idle.active_controller_id = told->active;
  idle.cut_off = told->cut_off;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_IDLE;
  frame.idle = &idle;
  rpc_call_send(told->fake->stream, &frame.base, NULL, 0);
}

static void tell_idle(FakeController *fake, guint64 version, gint32 active, gboolean cut_off) {
  Told told = {.fake = fake, .version = version, .active = active, .cut_off = cut_off};
  loop_call_and_wait(fake->loop, tell_idle_on_loop, &told);
}

static void fake_follow(RpcCall *call, RpcMessage *request, gpointer data) {
  static const RpcCallEvents EVENTS = {.closed = fake_follow_closed};
  FakeController *fake = data;
  const Milena__Internal__V1__FollowMetadataRequest *body = rpc_message_body(request);
  fake->stream = call;
  rpc_call_set_events(call, &EVENTS, fake);
  fake->followed_from = body->version;
  atomic_fetch_add(&fake->follows, 1);
  if (body->version == 0)
    send_snapshot(fake, 2, TRUE);
}

static const RpcMethodHandler FAKE_HANDLERS[] = {
    {.name = "RegisterNode", .unary = fake_register},
    {.name = "Heartbeat", .unary = fake_heartbeat},
    {.name = "FollowMetadata", .unary = fake_follow},
    {NULL},
};

static FakeController *fake_start(void) {
  FakeController *fake = g_new0(FakeController, 1);
  fake->cluster = CLUSTER;
  fake->held = g_ptr_array_new();
  fake->loop = loop_new("controller", 100);
  loop_start(fake->loop);
  fake->server = rpc_server_new(NULL);
  rpc_server_add_service(fake->server, &milena__internal__v1__controller_service__descriptor, FAKE_HANDLERS, fake->loop,
                         fake);
  guint16 port = 0;
  g_autoptr(Failure) failure = rpc_server_add_listener(fake->server, "127.0.0.1:0", &port);
  EXPECT_NULL(failure);
  fake->address = g_strdup_printf("127.0.0.1:%u", port);
  rpc_server_start(fake->server);
  return fake;
}

static void let_go_on_loop(gpointer data) {
  FakeController *fake = data;
  for (guint i = 0; i < fake->held->len; i++)
    rpc_call_finish(fake->held->pdata[i], failure_new(FAILURE(DRAINING), "the test ends"));
  g_ptr_array_set_size(fake->held, 0);
}

static void fake_stop(FakeController *fake) {
  fake->hangs = false;
  loop_call_and_wait(fake->loop, let_go_on_loop, fake);
  rpc_server_drain(fake->server, 100);
  rpc_server_free(fake->server);
  loop_free(fake->loop);
  g_ptr_array_unref(fake->held);
  g_free(fake->address);
  g_free(fake);
}

/* ---- The member ---- */

static void heard_registered(const char *cluster_id, guint64 epoch, gpointer data) {
  EXPECT_EQ_STR(CLUSTER, cluster_id);
  EXPECT_EQ_INT(2, epoch);
  atomic_fetch_add(&((Member *)data)->registered, 1);
}

static void heard_image(MetadataImage *image, gpointer data) {
  Member *member = data;
  EXPECT_EQ_STR(CLUSTER, metadata_image_cluster_id(image));
  EXPECT_TRUE(metadata_image_version(image) > member->version);
  member->version = metadata_image_version(image);
}

static void heard_fenced(gboolean fenced, gpointer data) {
  Member *member = data;
  atomic_fetch_add(fenced ? &member->fenced : &member->unfenced, 1);
}

static void heard_controller(const char *peer_address, gint32 id, gpointer data) {
  (void)id;
  (void)data;
  EXPECT_TRUE(peer_address != NULL);
}

static void heard_refused(const Failure *failure, gpointer data) {
  EXPECT_EQ_INT(FAILURE(CLUSTER_MISMATCH), failure_reason(failure));
  atomic_fetch_add(&((Member *)data)->refused, 1);
}

static void heard_left(gpointer data) {
  atomic_fetch_add(&((Member *)data)->left, 1);
}

/* The first of @controllers is asked first; an even @id follows it first too, an odd one the second. */
static Member *member_join_as(int id, const char *const *controllers) {
  static const MembershipEvents EVENTS = {heard_registered, heard_image, heard_fenced, heard_controller, heard_refused};
  Member *member = g_new0(Member, 1);
  member->loop = loop_new("member", 100);
  loop_start(member->loop);
  member->client = rpc_client_new(NULL);
  MembershipOptions options = {.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER,
                               .id = id,
                               .rack = "",
                               .address = "localhost:1",
                               .peer_address = "localhost:2",
                               .incarnation = "i",
                               .cluster_id = "",
                               .controllers = controllers};
  member->membership = membership_new(member->client, member->loop, &options, &EVENTS, member);
  membership_start(member->membership);
  return member;
}

static Member *member_join(const char *const *controllers) {
  return member_join_as(1, controllers);
}

static void free_on_loop(gpointer data) {
  g_clear_pointer(&((Member *)data)->membership, membership_free);
}

static void member_stop(Member *member) {
  loop_call_and_wait(member->loop, free_on_loop, member);
  rpc_client_free(member->client);
  loop_free(member->loop);
  g_free(member);
}

static bool reaches(atomic_int *value, int wanted) {
  for (int waited = 0; waited < WAIT_MS && atomic_load(value) < wanted; waited++)
    g_usleep(1000);
  return atomic_load(value) >= wanted;
}

static bool reaches_version(Member *member, guint64 wanted) {
  for (int waited = 0; waited < WAIT_MS && member->version < wanted; waited++)
    g_usleep(1000);
  return member->version >= wanted;
}

TEST(membership, registers_follows_and_is_unfenced_once_it_has_caught_up) {
  FakeController *fake = fake_start();
  const char *controllers[] = {fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  EXPECT_EQ_INT(1, member->registered);
  EXPECT_EQ_INT(2, member->version);
  EXPECT_TRUE(reaches(&fake->heartbeats, 5)); /* it keeps on */
  member_stop(member);
  fake_stop(fake);
}

TEST(membership, registers_again_when_its_session_was_lost) {
  FakeController *fake = fake_start();
  const char *controllers[] = {fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  fake->fence_next = true;
  EXPECT_TRUE(reaches(&member->unfenced, 2));
  EXPECT_EQ_INT(2, member->registered);
  EXPECT_EQ_INT(1, member->fenced);
  member_stop(member);
  fake_stop(fake);
}

/* Whether the member is certain that its session goes on. */
typedef struct {
  Member *member;
  gboolean current;
} Certainty;

static void ask_certainty(gpointer data) {
  Certainty *certainty = data;
  certainty->current = membership_is_current(certainty->member->membership);
}

static gboolean is_certain(Member *member) {
  Certainty certainty = {member, FALSE};
  loop_call_and_wait(member->loop, ask_certainty, &certainty);
  return certainty.current;
}

/* It woke up, and a heartbeat took it in again before the metadata told it what others have of its by now. */
TEST(membership, is_not_certain_of_itself_before_it_knows_what_it_missed) {
  FakeController *fake = fake_start();
  const char *controllers[] = {fake->address, NULL};
  fake->told_version = 7;
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  EXPECT_EQ_INT(2, member->version);
  int heard = fake->heartbeats;
  EXPECT_TRUE(reaches(&fake->heartbeats, heard + 3)); /* no more of them make it certain */
  EXPECT_FALSE(is_certain(member));
  tell_delta(fake, 2, 7);
  EXPECT_TRUE(reaches_version(member, 7));
  EXPECT_TRUE(is_certain(member));
  fake->told_version = 9; /* it keeps up: later versions may take their time */
  heard = fake->heartbeats;
  EXPECT_TRUE(reaches(&fake->heartbeats, heard + 3));
  EXPECT_TRUE(is_certain(member));
  member_stop(member);
  fake_stop(fake);
}

TEST(membership, goes_to_the_next_controller_when_one_does_not_answer) {
  FakeController *fake = fake_start();
  const char *controllers[] = {"127.0.0.1:1", fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  member_stop(member);
  fake_stop(fake);
}

TEST(membership, resumes_at_its_version_and_drops_a_stream_that_makes_no_sense) {
  FakeController *fake = fake_start();
  const char *controllers[] = {fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  tell_delta(fake, 2, 3);
  EXPECT_TRUE(reaches_version(member, 3));
  tell_delta(fake, 0, 2);
  EXPECT_TRUE(reaches(&fake->follows, 2));
  EXPECT_EQ_INT(3, fake->followed_from);
  EXPECT_EQ_INT(3, member->version);
  member_stop(member);
  fake_stop(fake);
}

TEST(membership, is_refused_for_good_by_another_cluster) {
  FakeController *fake = fake_start();
  fake->refuse_with = FAILURE(CLUSTER_MISMATCH);
  const char *controllers[] = {fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->refused, 1));
  EXPECT_EQ_INT(1, fake->registrations);
  member_stop(member);
  fake_stop(fake);
}

static void leave_on_loop(gpointer data) {
  Member *member = data;
  membership_leave(member->membership, 5000, heard_left, member);
}

TEST(membership, says_goodbye_before_it_stops) {
  FakeController *fake = fake_start();
  const char *controllers[] = {fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  loop_call_and_wait(member->loop, leave_on_loop, member);
  EXPECT_TRUE(reaches(&member->left, 1));
  EXPECT_TRUE(fake->leaving_seen);
  member_stop(member);
  fake_stop(fake);
}

/* Two controllers: the first is asked first, and followed first too. */
typedef struct {
  FakeController *first, *second;
  const char *addresses[3];
  Member *member;
} Pair;

static Pair pair_start(void) {
  Pair pair = {fake_start(), fake_start(), {NULL}, NULL};
  pair.addresses[0] = pair.first->address;
  pair.addresses[1] = pair.second->address;
  pair.first->second = pair.second->address;
  return pair;
}

static void pair_join(Pair *pair) {
  pair->member = member_join_as(2, pair->addresses);
}

static void pair_stop(Pair *pair) {
  member_stop(pair->member);
  fake_stop(pair->first);
  fake_stop(pair->second);
}

TEST(membership, goes_to_the_controller_that_it_is_pointed_to) {
  Pair pair = pair_start();
  const char *addresses[] = {pair.first->address, NULL}; /* the settings don't name the second */
  pair.first->active = pair.second->address;
  pair.member = member_join_as(2, addresses);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  EXPECT_EQ_INT(0, pair.first->registrations);
  EXPECT_EQ_INT(1, pair.second->registrations);
  pair_stop(&pair);
}

TEST(membership, finds_the_third_controller_though_the_second_points_to_the_dead_first) {
  Pair pair = pair_start();
  const char *addresses[] = {"127.0.0.1:1", pair.first->address, pair.second->address, NULL};
  pair.first->active = "127.0.0.1:1";
  pair.member = member_join_as(1, addresses);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  EXPECT_EQ_INT(1, pair.second->registrations);
  pair_stop(&pair);
}

TEST(membership, leaves_a_controller_that_hangs) {
  Pair pair = pair_start();
  pair.first->hangs = true;
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  EXPECT_EQ_INT(1, pair.second->registrations);
  pair_stop(&pair);
}

TEST(membership, leaves_a_call_that_hangs_once_another_controller_is_told_to_be_active) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  gint64 begun_us = g_get_monotonic_time();
  pair.first->hangs = true;
  int before = pair.second->heartbeats;
  tell_idle(pair.first, 2, 2, FALSE);
  EXPECT_TRUE(reaches(&pair.second->heartbeats, before + 1));
  EXPECT_TRUE(g_get_monotonic_time() - begun_us < 1900 * G_TIME_SPAN_MILLISECOND); /* not at its deadline */
  pair_stop(&pair);
}

TEST(follower, leaves_a_controller_that_is_cut_off) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  EXPECT_EQ_INT(0, pair.second->follows);
  tell_idle(pair.first, 2, -1, FALSE); /* an election: that is nothing yet */
  tell_delta(pair.first, 2, 5);
  EXPECT_TRUE(reaches_version(pair.member, 5));
  EXPECT_EQ_INT(0, pair.second->follows);
  tell_idle(pair.first, 5, -1, TRUE);
  EXPECT_TRUE(reaches(&pair.second->follows, 1));
  EXPECT_EQ_INT(5, pair.second->followed_from);
  pair_stop(&pair);
}

TEST(follower, waits_for_a_controller_that_is_behind_and_leaves_one_that_stays_so) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  tell_delta(pair.first, 2, 9);
  EXPECT_TRUE(reaches_version(pair.member, 9));
  tell_idle(pair.first, 9, -1, TRUE); /* over to the second, which has 4 */
  EXPECT_TRUE(reaches(&pair.second->follows, 1));
  tell_idle(pair.second, 4, 1, FALSE);
  tell_idle(pair.second, 8, 1, FALSE);
  tell_delta(pair.second, 9, 12); /* it has caught up */
  EXPECT_TRUE(reaches_version(pair.member, 12));
  EXPECT_EQ_INT(1, pair.first->follows);
  for (guint i = 0; i < WAIT_MS / 100 && pair.first->follows < 2; i++) {
    tell_idle(pair.second, 10, 1, FALSE); /* and is behind again, for good */
    g_usleep(100000);
  }
  EXPECT_EQ_INT(2, pair.first->follows);
  EXPECT_EQ_INT(12, pair.first->followed_from);
  EXPECT_EQ_INT(12, pair.member->version);
  pair_stop(&pair);
}

TEST(follower, leaves_a_controller_that_stays_behind_the_active_one) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  pair.first->told_version = 7;
  for (guint i = 0; i < WAIT_MS / 100 && pair.second->follows < 1; i++) {
    tell_idle(pair.first, 2, 1, FALSE);
    g_usleep(100000);
  }
  EXPECT_EQ_INT(1, pair.second->follows);
  EXPECT_EQ_INT(2, pair.second->followed_from);
  pair_stop(&pair);
}

TEST(follower, leaves_a_controller_that_sends_nothing) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  EXPECT_TRUE(reaches(&pair.second->follows, 1));
  pair_stop(&pair);
}

TEST(follower, takes_a_change_on_its_base_alone) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  tell_delta(pair.first, 3, 4); /* 3 was left out */
  EXPECT_TRUE(reaches(&pair.second->follows, 1));
  EXPECT_EQ_INT(2, pair.second->followed_from);
  EXPECT_EQ_INT(2, pair.member->version);
  pair_stop(&pair);
}

static void send_mixed_parts(gpointer data) {
  send_snapshot(data, 6, FALSE);
  send_snapshot(data, 7, TRUE);
}

TEST(follower, takes_no_snapshot_of_parts_of_two) {
  Pair pair = pair_start();
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  loop_call_and_wait(pair.first->loop, send_mixed_parts, pair.first);
  EXPECT_TRUE(reaches(&pair.second->follows, 1));
  EXPECT_EQ_INT(2, pair.member->version);
  pair_stop(&pair);
}

static void send_whole(gpointer data) {
  send_snapshot(data, 8, TRUE);
}

TEST(follower, takes_nothing_of_another_cluster) {
  Pair pair = pair_start();
  pair.second->cluster = OTHER_CLUSTER;
  pair_join(&pair);
  EXPECT_TRUE(reaches(&pair.member->unfenced, 1));
  tell_idle(pair.first, 2, -1, TRUE);
  EXPECT_TRUE(reaches(&pair.second->follows, 1));
  loop_call_and_wait(pair.second->loop, send_whole, pair.second);
  EXPECT_TRUE(reaches(&pair.member->refused, 1));
  EXPECT_EQ_INT(2, pair.member->version);
  pair_stop(&pair);
}
