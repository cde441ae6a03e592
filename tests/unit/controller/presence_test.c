/* A process that serves and one that does not, in this one: what a controller makes of each. pthread's locks, since
 * ThreadSanitizer can't see into glib's. */
#include "services/controller/presence.h"

#include <gio/gio.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "controller/metadata/image.h"
#include "services/rpc/server.h"
#include "tests/shim/shim.h"

#define WAIT_S 60
#define FIRST_EPOCH 42

typedef struct {
  NodeKind watches;
  guint64 registered; /* the epoch that is followed */
  RpcClient *client;
  Loop *loop;
  Presence *presence;
  RpcServer *server;
  char *address;
  MetadataImage *image;
  pthread_mutex_t mutex; /* guards what follows */
  pthread_cond_t cond;
  guint gone; /* how often it was said */
  NodeKind kind;
  gint32 id;
  guint64 epoch;
} World;

static void on_gone(NodeKind kind, gint32 id, guint64 epoch, gpointer data) {
  World *world = data;
  pthread_mutex_lock(&world->mutex);
  world->gone++;
  world->kind = kind;
  world->id = id;
  world->epoch = epoch;
  pthread_cond_signal(&world->cond);
  pthread_mutex_unlock(&world->mutex);
}

static gboolean wait_gone(World *world, guint times) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += WAIT_S;
  int error = 0;
  pthread_mutex_lock(&world->mutex);
  while (world->gone < times && !error)
    error = pthread_cond_timedwait(&world->cond, &world->mutex, &until);
  gboolean reached = world->gone >= times;
  pthread_mutex_unlock(&world->mutex);
  return reached;
}

static gboolean was_gone(World *world) {
  pthread_mutex_lock(&world->mutex);
  gboolean gone = world->gone > 0;
  pthread_mutex_unlock(&world->mutex);
  return gone;
}

/* ---- on the loop ---- */

static void follow(gpointer data) {
  World *world = data;
  presence_follow(world->presence, world->image);
}

static void stop(gpointer data) {
  World *world = data;
  presence_stop(world->presence);
}

static void hear(gpointer data) {
  World *world = data;
  presence_heard(world->presence, world->kind, world->id, world->epoch);
}

typedef struct {
  World *world;
  gboolean watched, gone;
} Question;

static void ask(gpointer data) {
  Question *question = data;
  question->watched =
      presence_is_watched(question->world->presence, question->world->watches, 7, question->world->registered);
  question->gone =
      presence_is_gone(question->world->presence, question->world->watches, 7, question->world->registered);
}

static gboolean wait_watched(World *world) {
  gint64 deadline_us = g_get_monotonic_time() + WAIT_S * G_TIME_SPAN_SECOND;
  Question question = {.world = world};
  while (!question.watched && g_get_monotonic_time() < deadline_us)
    loop_call_and_wait(world->loop, ask, &question);
  return question.watched;
}

/* ---- the world ---- */

/* Broker or coordinator 7, registered with this epoch. */
static MetadataImage *image_of(const char *address, NodeKind kind, guint64 epoch) {
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  Milena__Internal__V1__RegisterBrokerRecord broker = MILENA__INTERNAL__V1__REGISTER_BROKER_RECORD__INIT;
  broker.id = 7;
  broker.epoch = epoch;
  broker.incarnation = (char *)"00000000-0000-4000-8000-00000000000a";
  broker.process_id = (char *)"00000000-0000-4000-8000-00000000000b";
  broker.address = broker.peer_address = (char *)address;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_BROKER;
  record.register_broker = &broker;
  Milena__Internal__V1__RegisterCoordinatorRecord coordinator = MILENA__INTERNAL__V1__REGISTER_COORDINATOR_RECORD__INIT;
  coordinator.id = 7;
  coordinator.epoch = epoch;
  coordinator.process_id = broker.process_id;
  coordinator.address = broker.address;
  if (kind == NODE_KIND(COORDINATOR)) {
    record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_COORDINATOR;
    record.register_coordinator = &coordinator;
  }
  MetadataRecord *records[] = {&record};
  g_autoptr(MetadataImage) empty = metadata_image_new();
  MetadataImage *image = NULL;
  EXPECT_NULL(metadata_image_apply(empty, records, 1, epoch, &image));
  return image;
}

static void world_init(World *world, NodeKind kind) {
  *world = (World){.watches = kind,
                   .registered = FIRST_EPOCH,
                   .client = rpc_client_new(NULL),
                   .loop = loop_new("presence", 16),
                   .server = rpc_server_new(NULL)};
  pthread_mutex_init(&world->mutex, NULL);
  pthread_cond_init(&world->cond, NULL);
  guint16 port = 0;
  ASSERT_NULL(rpc_server_add_listener(world->server, "127.0.0.1:0", &port));
  rpc_server_start(world->server);
  world->address = g_strdup_printf("127.0.0.1:%u", port);
  world->image = image_of(world->address, kind, FIRST_EPOCH);
  world->presence = presence_new(world->client, world->loop, on_gone, world);
  loop_start(world->loop);
  loop_call_and_wait(world->loop, follow, world);
}

static void world_clear(World *world) {
  loop_call_and_wait(world->loop, stop, world);
  rpc_client_free(world->client);
  loop_free(world->loop);
  presence_free(world->presence);
  rpc_server_free(world->server);
  metadata_image_unref(world->image);
  g_free(world->address);
  pthread_mutex_destroy(&world->mutex);
  pthread_cond_destroy(&world->cond);
}

/* The same address, another process. */
static void register_again(World *world) {
  metadata_image_unref(world->image);
  world->image = image_of(world->address, world->watches, ++world->registered);
  loop_call_and_wait(world->loop, follow, world);
}

static void expect_gone_at_once(NodeKind kind) {
  World world;
  world_init(&world, kind);
  EXPECT_TRUE(wait_watched(&world));
  EXPECT_FALSE(was_gone(&world));
  rpc_server_free(g_steal_pointer(&world.server)); /* its connections end, and nobody listens */
  EXPECT_TRUE(wait_gone(&world, 1));
  EXPECT_EQ_INT(kind, world.kind);
  EXPECT_EQ_INT(7, world.id);
  EXPECT_EQ_INT(FIRST_EPOCH, world.epoch);
  Question question = {.world = &world};
  loop_call_and_wait(world.loop, ask, &question);
  EXPECT_TRUE(question.gone);
  world_clear(&world);
}

TEST(presence, a_process_that_ended_is_gone_at_once) {
  expect_gone_at_once(NODE_KIND(BROKER));
}

TEST(presence, so_is_a_coordinator) {
  expect_gone_at_once(NODE_KIND(COORDINATOR));
}

/* A heartbeat that was on its way when its process died must not keep it alive for a whole session; heartbeats that
 * keep coming say that the address is wrong. */
TEST(presence, heartbeats_are_believed_in_the_end) {
  World world;
  world_init(&world, NODE_KIND(BROKER));
  EXPECT_TRUE(wait_watched(&world));
  rpc_server_free(g_steal_pointer(&world.server));
  EXPECT_TRUE(wait_gone(&world, 1));
  loop_call_and_wait(world.loop, hear, &world);
  EXPECT_TRUE(wait_gone(&world, 2));
  loop_call_and_wait(world.loop, hear, &world);
  Question question = {.world = &world};
  loop_call_and_wait(world.loop, ask, &question);
  EXPECT_FALSE(question.gone);
  EXPECT_FALSE(question.watched); /* and is judged no more before it was watched again */
  world_clear(&world);
}

/* ---- back, and dead again ---- */

/* It registered, and died before anybody had its watch open: the address is known from the process before. */
TEST(presence, one_that_came_back_is_missed_before_it_was_watched) {
  World world;
  world_init(&world, NODE_KIND(BROKER));
  EXPECT_TRUE(wait_watched(&world));
  rpc_server_free(g_steal_pointer(&world.server));
  EXPECT_TRUE(wait_gone(&world, 1));
  register_again(&world); /* and nobody serves */
  EXPECT_TRUE(wait_gone(&world, 2));
  EXPECT_EQ_INT(FIRST_EPOCH + 1, world.epoch);
  world_clear(&world);
}

TEST(presence, one_that_came_back_elsewhere_is_not_judged_by_its_old_address) {
  World world;
  world_init(&world, NODE_KIND(BROKER));
  EXPECT_TRUE(wait_watched(&world));
  rpc_server_free(g_steal_pointer(&world.server));
  EXPECT_TRUE(wait_gone(&world, 1));
  g_free(world.address);
  world.address = g_strdup("127.0.0.1:1"); /* refuses too, and nobody knows whether it is right */
  register_again(&world);
  Question question = {.world = &world};
  loop_call_and_wait(world.loop, ask, &question);
  EXPECT_FALSE(question.watched);
  world_clear(&world);
}

/* A port that takes connections at the address, for what drops them. */
static GSocketListener *listen_at(const World *world) {
  GSocketListener *listener = g_socket_listener_new();
  guint16 port = (guint16)g_ascii_strtoull(strrchr(world->address, ':') + 1, NULL, 10);
  g_autoptr(GInetAddress) host = g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4);
  g_autoptr(GSocketAddress) address = g_inet_socket_address_new(host, port);
  EXPECT_TRUE(
      g_socket_listener_add_address(listener, address, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL, NULL, NULL));
  return listener;
}

/* Until so many were to watch: gRPC speaks at once, a probe says nothing. */
static void drop_watches(GSocketListener *listener, guint count) {
  while (count > 0) {
    g_autoptr(GSocketConnection) connection = g_socket_listener_accept(listener, NULL, NULL, NULL);
    char said;
    count -= g_input_stream_read(g_io_stream_get_input_stream(G_IO_STREAM(connection)), &said, 1, NULL, NULL) == 1;
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
  }
}

/* A gRPC channel that failed so often makes pauses of 2 s and more. The new process must not wait for them to be
 * watched: it may be killed within them. */
TEST(presence, one_that_came_back_is_watched_at_once) {
  World world;
  world_init(&world, NODE_KIND(BROKER));
  EXPECT_TRUE(wait_watched(&world));
  rpc_server_free(g_steal_pointer(&world.server));
  EXPECT_TRUE(wait_gone(&world, 1));
  g_autoptr(GSocketListener) listener = listen_at(&world);
  drop_watches(listener, 8);
  gint64 began_us = g_get_monotonic_time();
  register_again(&world);
  drop_watches(listener, 1);
  gint64 took_us = g_get_monotonic_time() - began_us;
  g_socket_listener_close(listener);
  EXPECT_TRUE(took_us < 1500 * G_TIME_SPAN_MILLISECOND);
  world_clear(&world);
}
