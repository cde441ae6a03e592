/* The leader's side of a follower's stream, over loopback: how much one frame holds. */
#include "milena/internal/v1/replication_service.pb-c.h"
#include "services/rpc/server.h"
#include "tests/shim/shim.h"
#include "tests/unit/broker/fixture.h"

#define LOGS 4
/* A message above it is refused by who receives it; one batch may be as large as that alone. */
#define FRAME_BYTES_MAX (4 << 20)
/* So that three logs have more than one frame may hold. */
#define BATCH_RECORDS 200000

/* Broker 2, which follows. */
typedef struct {
  Loop *loop;
  RpcClient *client;
  RpcClientCall *call;
  gboolean reads_on; /* the loop's */
  gint frames, logs, closed;
  gint matches;                      /* that go on */
  gsize largest_bytes, largest_logs; /* of the largest frame: read when all has come */
} Reader;

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Reader *follower = state;
  const Milena__Internal__V1__FollowResponse *response = rpc_message_body(message);
  if (response->frame_case == MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_MATCH)
    g_atomic_int_add(&follower->matches,
                     response->match->verdict == MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_GOES_ON);
  if (response->frame_case == MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_RECORDS) {
    gsize bytes = 0;
    for (gsize i = 0; i < response->records->n_logs; i++)
      for (gsize j = 0; j < response->records->logs[i]->n_batches; j++)
        bytes += response->records->logs[i]->batches[j]->records.len;
    if (bytes > follower->largest_bytes) {
      follower->largest_bytes = bytes;
      follower->largest_logs = response->records->n_logs;
    }
    g_atomic_int_add(&follower->logs, (gint)response->records->n_logs);
  }
  g_atomic_int_inc(&follower->frames);
  if (follower->reads_on)
    rpc_client_call_read(call);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  (void)failure;
  g_atomic_int_set(&((Reader *)state)->closed, 1);
}

typedef struct {
  Reader *follower;
  const char *address;
} Opening;

static void send_init(gpointer data) {
  static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};
  const Opening *opening = data;
  Reader *follower = opening->follower;
  follower->call =
      rpc_client_stream(follower->client, opening->address, &milena__internal__v1__replication_service__descriptor,
                        "Follow", G_MAXINT64, follower->loop, &EVENTS, follower);
  Milena__Internal__V1__FollowInit init = MILENA__INTERNAL__V1__FOLLOW_INIT__INIT;
  init.format = 1;
  init.broker_id = 2;
  init.broker_epoch = FIXTURE_EPOCH;
  init.leader_id = 1;
  Milena__Internal__V1__FollowRequest request = MILENA__INTERNAL__V1__FOLLOW_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_INIT;
  request.init = &init;
  rpc_client_call_send(follower->call, &request.base, NULL, 0);
}

/* Follow all logs from their beginnings. */
static void send_begin(gpointer data) {
  Reader *follower = data;
  Milena__Internal__V1__FollowPosition positions[LOGS], *places[LOGS];
  for (guint i = 0; i < LOGS; i++) {
    milena__internal__v1__follow_position__init(&positions[i]);
    positions[i].log_id = ORDERS_LOG(i);
    positions[i].leader_epoch = 1;
    positions[i].last_epoch = LOG_EPOCH_NONE;
    places[i] = &positions[i];
  }
  Milena__Internal__V1__FollowBegin begin = MILENA__INTERNAL__V1__FOLLOW_BEGIN__INIT;
  begin.n_positions = LOGS;
  begin.positions = places;
  Milena__Internal__V1__FollowRequest request = MILENA__INTERNAL__V1__FOLLOW_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_BEGIN;
  request.begin = &begin;
  rpc_client_call_send(follower->call, &request.base, NULL, 0);
}

static void read_on(gpointer data) {
  Reader *follower = data;
  follower->reads_on = TRUE;
  rpc_client_call_read(follower->call);
}

static void cancel(gpointer data) {
  rpc_client_call_cancel(((Reader *)data)->call);
}

static void nothing(gpointer data) {
  (void)data;
}

static gboolean wait_for(const gint *value, gint least) {
  for (guint i = 0; i < 20000 && g_atomic_int_get(value) < least; i++)
    g_usleep(1000);
  return g_atomic_int_get(value) >= least;
}

static guint64 reads_of(const Fixture *fixture) {
  LogStoreStats stats;
  log_store_stats(fixture->broker.store, &stats);
  return stats.reads;
}

/* Many logs that all have something to send once made one frame, which was too large to be received: the stream broke,
 * was opened anew, and broke. */
TEST(feed, a_frame_is_bounded_whatever_many_logs_have_to_send) {
  g_autoptr(Fixture) fixture = fixture_new();
  fixture_share_orders(fixture);
  PartitionReceipt receipt;
  for (guint i = 0; i < LOGS; i++)
    EXPECT_NULL(fixture_append(fixture, 0, ORDERS_LOG(i), 1, BATCH_RECORDS, &receipt));
  Shard *shard = fixture->broker.shards[0];
  RpcServer *server = rpc_server_new(NULL);
  guint16 port;
  rpc_server_add_service(server, &milena__internal__v1__replication_service__descriptor, REPLICATION_SERVICE_HANDLERS,
                         shard->loop, shard->front);
  ASSERT_NULL(rpc_server_add_listener(server, "127.0.0.1:0", &port));
  rpc_server_start(server);
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", port);
  Reader follower = {.loop = loop_new("follower", 16),
                     .client = rpc_client_new(&(RpcClientOptions){.receive_max_bytes = 64 << 20})};
  loop_start(follower.loop);
  guint64 reads = reads_of(fixture);
  loop_call_and_wait(follower.loop, send_init, &(Opening){&follower, address});
  loop_call_and_wait(follower.loop, send_begin, &follower);
  /* It reads nothing until all logs have something to send. */
  for (guint i = 0; i < 20000 && reads_of(fixture) < reads + LOGS; i++)
    g_usleep(1000);
  for (guint i = 0; i < 10; i++)
    fixture_on(fixture, 0, nothing, NULL);
  loop_call_and_wait(follower.loop, read_on, &follower);
  EXPECT_TRUE(wait_for(&follower.logs, LOGS));
  EXPECT_EQ_INT(LOGS, follower.matches);
  EXPECT_TRUE(follower.largest_bytes > (1 << 20));
  EXPECT_TRUE(follower.largest_bytes <= FRAME_BYTES_MAX || follower.largest_logs == 1);
  g_print("the largest frame: %zu bytes of %zu logs\n", follower.largest_bytes, follower.largest_logs);
  loop_call_and_wait(follower.loop, cancel, &follower);
  EXPECT_TRUE(wait_for(&follower.closed, 1));
  rpc_client_call_unref(follower.call);
  rpc_client_free(follower.client);
  rpc_server_free(server);
  loop_free(follower.loop);
}
