/* What the broker serves, and to whom: clients get everything; brokers what one asks of another. Every service runs on
 * all shards' loops. Owner: the main thread. */
#include "services/broker/server.h"

#include "milena/internal/v1/replication_service.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/broker/admin_service.h"
#include "services/broker/front_internal.h"
#include "services/broker/groups/group_service.h"
#include "services/broker/metadata_service.h"
#include "services/broker/produce.h"
#include "services/broker/read/read_service.h"
#include "services/broker/replication/replication.h"
#include "services/process/alive.h"

/* What waits in a stream of a client that does not read: one frame, whose bytes are its own. There may be many of them.
 */
#define CLIENT_QUEUE_BYTES (512u << 10)

struct BrokerServer {
  Broker *broker;
  RpcServer *clients, *peers;
  gboolean started, serving, caught_up;
  Alive *alive; /* NULL before the start, and once it drains */
  /* One for each shard. */
  Loop **loops;
  gpointer *fronts, *producers, *peer_producers, *doors, *readers;
};

static void add_services(BrokerServer *server) {
  guint count = server->broker->shard_count;
  RpcServer *both[] = {server->clients, server->peers};
  gpointer *producers[] = {server->producers, server->peer_producers};
  for (guint i = 0; i < G_N_ELEMENTS(both); i++) {
    rpc_server_add_sharded_service(both[i], &milena__v1__producer_service__descriptor, PRODUCER_SERVICE_HANDLERS,
                                   server->loops, producers[i], count);
    rpc_server_add_sharded_service(both[i], &milena__v1__consumer_service__descriptor, READ_SERVICE_HANDLERS,
                                   server->loops, server->readers, count);
    rpc_server_add_sharded_service(both[i], &milena__v1__metadata_service__descriptor, METADATA_SERVICE_HANDLERS,
                                   server->loops, server->fronts, count);
  }
  rpc_server_add_sharded_service(server->peers, &milena__internal__v1__replication_service__descriptor,
                                 REPLICATION_SERVICE_HANDLERS, server->loops, server->fronts, count);
  rpc_server_add_sharded_service(server->clients, &milena__v1__admin_service__descriptor, ADMIN_SERVICE_HANDLERS,
                                 server->loops, server->fronts, count);
  rpc_server_add_sharded_service(server->peers, &milena__v1__admin_service__descriptor, PEER_ADMIN_HANDLERS,
                                 server->loops, server->fronts, count);
  rpc_server_add_sharded_service(server->clients, &milena__v1__group_service__descriptor, GROUP_SERVICE_HANDLERS,
                                 server->loops, server->doors, count);
}

static void make_states(BrokerServer *server) {
  Broker *broker = server->broker;
  guint count = broker->shard_count;
  server->loops = g_new0(Loop *, count);
  server->fronts = g_new0(gpointer, count);
  server->producers = g_new0(gpointer, count);
  server->peer_producers = g_new0(gpointer, count);
  server->doors = g_new0(gpointer, count);
  server->readers = g_new0(gpointer, count);
  for (guint i = 0; i < count; i++) {
    Front *front = broker->shards[i]->front;
    server->loops[i] = broker->shards[i]->loop;
    server->fronts[i] = front;
    server->producers[i] = producer_new(front, FALSE);
    server->peer_producers[i] = producer_new(front, TRUE);
    server->doors[i] = group_door_new(front);
    server->readers[i] = read_service_new(front, server->doors[i]);
  }
}

Failure *broker_server_open(Broker *broker, const char *listen, const char *peer_listen, BrokerServer **ret_server,
                            guint16 *ret_port, guint16 *ret_peer_port) {
  BrokerServer *server = g_new0(BrokerServer, 1);
  server->broker = broker;
  const RpcServerOptions options = {.pollers = broker->pollers};
  const RpcServerOptions client_options = {.pollers = broker->pollers, .send_queue_max_bytes = CLIENT_QUEUE_BYTES};
  server->clients = rpc_server_new(&client_options);
  server->peers = rpc_server_new(&options);
  make_states(server);
  Failure *failure = rpc_server_add_listener(server->clients, listen, ret_port);
  if (!failure)
    failure = rpc_server_add_listener(server->peers, peer_listen, ret_peer_port);
  if (failure) {
    broker_server_free(server);
    return failure;
  }
  add_services(server);
  *ret_server = server;
  return NULL;
}

void broker_server_start(BrokerServer *server) {
  server->started = TRUE;
  broker_server_set_health(server, FALSE); /* before anybody can ask */
  rpc_server_start(server->clients);
  rpc_server_start(server->peers);
  RpcServer *both[] = {server->clients, server->peers};
  server->alive = alive_new(both, G_N_ELEMENTS(both), server->loops, server->broker->shard_count, ALIVE_HANGS_MS);
}

static void tell_health(BrokerServer *server) {
  RpcServer *both[] = {server->clients, server->peers};
  for (guint i = 0; i < G_N_ELEMENTS(both); i++) {
    rpc_server_set_health(both[i], "", server->serving);
    rpc_server_set_health(both[i], BROKER_READY_SERVICE, server->serving && server->caught_up);
  }
}

void broker_server_set_health(BrokerServer *server, gboolean serving) {
  server->serving = serving;
  tell_health(server);
}

void broker_server_set_caught_up(BrokerServer *server) {
  server->caught_up = TRUE;
  tell_health(server);
}

/* ---- the end ---- */

static void drain_on_loop(gpointer producer) {
  producer_drain(producer);
}

static void drain_producers(BrokerServer *server, guint shard) {
  loop_call(server->loops[shard], drain_on_loop, server->producers[shard]);
  loop_call(server->loops[shard], drain_on_loop, server->peer_producers[shard]);
}

void broker_server_begin_drain(BrokerServer *server) {
  g_atomic_int_set(&server->broker->draining, 1);
  broker_server_set_health(server, FALSE);
  for (guint i = 0; i < server->broker->shard_count; i++)
    drain_producers(server, i);
}

typedef struct {
  Shard *shard;
  Producer *producer, *peer_producer;
  GroupDoor *door;
} Ending;

static void end_on_loop(gpointer data) {
  Ending *ending = data;
  producer_free(ending->producer);
  producer_free(ending->peer_producer);
  group_door_end(ending->door);
  front_end_refreshes(ending->shard->front);
  shard_retire(ending->shard);
}

static void nothing(gpointer data) {
  (void)data;
}

/* What was posted before this has run when it returns; twice, for what that posted to each other. */
static void flush_loops(Broker *broker) {
  for (guint i = 0; i < 2 * broker->shard_count; i++)
    loop_call_and_wait(broker->shards[i % broker->shard_count]->loop, nothing, NULL);
}

void broker_server_drain(BrokerServer *server, guint grace_ms) {
  Broker *broker = server->broker;
  broker_server_begin_drain(server);
  g_clear_pointer(&server->alive, alive_free);
  rpc_server_drain(server->clients, grace_ms);
  rpc_server_drain(server->peers, grace_ms);
  for (guint i = 0; i < broker->shard_count; i++) {
    Ending ending = {.shard = broker->shards[i],
                     .producer = g_steal_pointer(&server->producers[i]),
                     .peer_producer = g_steal_pointer(&server->peer_producers[i]),
                     .door = server->doors[i]};
    loop_call_and_wait(broker->shards[i]->loop, end_on_loop, &ending);
  }
  flush_loops(broker);
}

void broker_server_free(BrokerServer *server) {
  if (!server)
    return;
  rpc_server_free(server->clients);
  rpc_server_free(server->peers);
  for (guint i = 0; i < server->broker->shard_count; i++) {
    producer_free(server->producers[i]);
    producer_free(server->peer_producers[i]);
    read_service_free(server->readers[i]);
    group_door_free(server->doors[i]);
  }
  g_free(server->loops);
  g_free(server->fronts);
  g_free(server->producers);
  g_free(server->peer_producers);
  g_free(server->doors);
  g_free(server->readers);
  g_free(server);
}
