/* Membership against a controller that does what the test says. */
#include "services/membership/membership.h"

#include <stdatomic.h>

#include "services/rpc/server.h"
#include "tests/shim/shim.h"

#define WAIT_MS 10000
#define CLUSTER "5e0f8f6e-7d0c-4b43-9f5e-0a6a3a1d1c11"

/* The controller: answers on its loop; the test's thread sets what it answers. */
typedef struct {
  Loop *loop;
  RpcServer *server;
  char *address;
  RpcCall *stream; /* of the follower */
  atomic_int registrations, heartbeats, follows;
  atomic_int refuse_with; /* a FailureReason for registrations; 0: take them */
  atomic_bool fence_next; /* answer the next heartbeat with FENCED */
  atomic_bool leaving_seen;
  atomic_uint_fast64_t followed_from;
} FakeController;

/* What the member heard. */
typedef struct {
  Loop *loop;
  RpcClient *client;
  Membership *membership;
  atomic_int registered, unfenced, fenced, refused, left;
  atomic_uint_fast64_t version;
} Member;

static void fake_register(RpcCall *call, RpcMessage *request, gpointer data) {
  (void)request;
  FakeController *fake = data;
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
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void fake_follow_closed(RpcCall *call, gboolean cancelled, gpointer data) {
  (void)cancelled;
  FakeController *fake = data;
  if (fake->stream == call)
    fake->stream = NULL;
}

static void send_cluster(FakeController *fake, guint64 version, gboolean snapshot) {
  Milena__Internal__V1__ClusterRecord cluster = MILENA__INTERNAL__V1__CLUSTER_RECORD__INIT;
  cluster.cluster_id = (char *)CLUSTER;
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_CLUSTER;
  record.cluster = &cluster;
  MetadataRecord *records[] = {&record};
  Milena__Internal__V1__MetadataSnapshotPart part = MILENA__INTERNAL__V1__METADATA_SNAPSHOT_PART__INIT;
  Milena__Internal__V1__MetadataDelta delta = MILENA__INTERNAL__V1__METADATA_DELTA__INIT;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  if (snapshot) {
    part.version = version;
    part.n_records = 1;
    part.records = records;
    part.last = TRUE;
    frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART;
    frame.snapshot_part = &part;
  } else {
    delta.version = version;
    frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA;
    frame.delta = &delta;
  }
  rpc_call_send(fake->stream, &frame.base, NULL, 0);
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
    send_cluster(fake, 2, TRUE);
}

static const RpcMethodHandler FAKE_HANDLERS[] = {
    {.name = "RegisterNode", .unary = fake_register},
    {.name = "Heartbeat", .unary = fake_heartbeat},
    {.name = "FollowMetadata", .unary = fake_follow},
    {NULL},
};

static FakeController *fake_start(void) {
  FakeController *fake = g_new0(FakeController, 1);
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

static void fake_stop(FakeController *fake) {
  rpc_server_drain(fake->server, 100);
  rpc_server_free(fake->server);
  loop_free(fake->loop);
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
  EXPECT_TRUE(metadata_image_version(image) > member->version);
  member->version = metadata_image_version(image);
}

static void heard_fenced(gboolean fenced, gpointer data) {
  Member *member = data;
  atomic_fetch_add(fenced ? &member->fenced : &member->unfenced, 1);
}

static void heard_refused(const Failure *failure, gpointer data) {
  EXPECT_EQ_INT(FAILURE(CLUSTER_MISMATCH), failure_reason(failure));
  atomic_fetch_add(&((Member *)data)->refused, 1);
}

static void heard_left(gpointer data) {
  atomic_fetch_add(&((Member *)data)->left, 1);
}

static Member *member_join(const char *const *controllers) {
  static const MembershipEvents EVENTS = {heard_registered, heard_image, heard_fenced, heard_refused};
  Member *member = g_new0(Member, 1);
  member->loop = loop_new("member", 100);
  loop_start(member->loop);
  member->client = rpc_client_new(NULL);
  MembershipOptions options = {.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER,
                               .id = 1,
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

TEST(membership, goes_to_the_next_controller_when_one_does_not_answer) {
  FakeController *fake = fake_start();
  const char *controllers[] = {"127.0.0.1:1", fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  member_stop(member);
  fake_stop(fake);
}

static void send_out_of_order(gpointer data) {
  send_cluster(data, 2, FALSE);
}
static void send_next(gpointer data) {
  send_cluster(data, 3, FALSE);
}

TEST(membership, resumes_at_its_version_and_drops_a_stream_that_makes_no_sense) {
  FakeController *fake = fake_start();
  const char *controllers[] = {fake->address, NULL};
  Member *member = member_join(controllers);
  EXPECT_TRUE(reaches(&member->unfenced, 1));
  loop_call_and_wait(fake->loop, send_next, fake);
  loop_call_and_wait(fake->loop, send_out_of_order, fake);
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
