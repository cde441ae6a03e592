/* A process that serves and one that does not, in this one: what a controller makes of each. pthread's locks, since
 * ThreadSanitizer can't see into glib's. */
#include "services/controller/presence.h"

#include <pthread.h>
#include <time.h>

#include "controller/metadata/image.h"
#include "services/rpc/server.h"
#include "tests/shim/shim.h"

#define WAIT_S 60

typedef struct {
  NodeKind watches;
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
  question->watched = presence_is_watched(question->world->presence, question->world->watches, 7, 42);
  question->gone = presence_is_gone(question->world->presence, question->world->watches, 7, 42);
}

static gboolean wait_watched(World *world) {
  gint64 deadline_us = g_get_monotonic_time() + WAIT_S * G_TIME_SPAN_SECOND;
  Question question = {.world = world};
  while (!question.watched && g_get_monotonic_time() < deadline_us)
    loop_call_and_wait(world->loop, ask, &question);
  return question.watched;
}

/* ---- the world ---- */

/* Broker or coordinator 7, registered with epoch 42. */
static MetadataImage *image_of(const char *address, NodeKind kind) {
  MetadataRecord record = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  Milena__Internal__V1__RegisterBrokerRecord broker = MILENA__INTERNAL__V1__REGISTER_BROKER_RECORD__INIT;
  broker.id = 7;
  broker.epoch = 42;
  broker.incarnation = (char *)"00000000-0000-4000-8000-00000000000a";
  broker.process_id = (char *)"00000000-0000-4000-8000-00000000000b";
  broker.address = broker.peer_address = (char *)address;
  record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_BROKER;
  record.register_broker = &broker;
  Milena__Internal__V1__RegisterCoordinatorRecord coordinator = MILENA__INTERNAL__V1__REGISTER_COORDINATOR_RECORD__INIT;
  coordinator.id = 7;
  coordinator.epoch = 42;
  coordinator.process_id = broker.process_id;
  coordinator.address = broker.address;
  if (kind == NODE_KIND(COORDINATOR)) {
    record.record_case = MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_COORDINATOR;
    record.register_coordinator = &coordinator;
  }
  MetadataRecord *records[] = {&record};
  g_autoptr(MetadataImage) empty = metadata_image_new();
  MetadataImage *image = NULL;
  EXPECT_NULL(metadata_image_apply(empty, records, 1, 42, &image));
  return image;
}

static void world_init(World *world, NodeKind kind) {
  *world = (World){.watches = kind,
                   .client = rpc_client_new(NULL),
                   .loop = loop_new("presence", 16),
                   .server = rpc_server_new(NULL)};
  pthread_mutex_init(&world->mutex, NULL);
  pthread_cond_init(&world->cond, NULL);
  guint16 port = 0;
  ASSERT_NULL(rpc_server_add_listener(world->server, "127.0.0.1:0", &port));
  rpc_server_start(world->server);
  world->address = g_strdup_printf("127.0.0.1:%u", port);
  world->image = image_of(world->address, kind);
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

static void expect_gone_at_once(NodeKind kind) {
  World world;
  world_init(&world, kind);
  EXPECT_TRUE(wait_watched(&world));
  EXPECT_EQ_INT(0, world.gone);
  rpc_server_free(g_steal_pointer(&world.server)); /* its connections end, and nobody listens */
  EXPECT_TRUE(wait_gone(&world, 1));
  EXPECT_EQ_INT(kind, world.kind);
  EXPECT_EQ_INT(7, world.id);
  EXPECT_EQ_INT(42, world.epoch);
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
