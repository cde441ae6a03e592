/* The broker's two listeners and what they serve. */
#pragma once

#include "services/broker/broker.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct BrokerServer BrokerServer;

/* Listen for clients and for brokers. Returns NULL, or why not. @ret_port, @ret_peer_port: that were bound */
Failure *broker_server_open(Broker *broker, const char *listen, const char *peer_listen, BrokerServer **ret_server,
                            guint16 *ret_port, guint16 *ret_peer_port);
/* The shards' loops run. Not healthy until broker_server_set_health. */
void broker_server_start(BrokerServer *server);
/* It serves clients: "" in its health. On the main thread, as the next. */
void broker_server_set_health(BrokerServer *server, gboolean serving);
/* The service in its health for who wants to stop another broker (Kubernetes, in a rolling update): it serves, and
 * since its start its replicas have been in sync. */
#define BROKER_READY_SERVICE "ready"
void broker_server_set_caught_up(BrokerServer *server);
/* Begin to stop: unhealthy, no more records are taken, and those that wait for a leader are given back. */
void broker_server_begin_drain(BrokerServer *server);
/* Take no more calls, end those in progress, and what they left on the shards' loops. Blocks. */
void broker_server_drain(BrokerServer *server, guint grace_ms);
/* NULL is fine. Drained, or never started. */
void broker_server_free(BrokerServer *server);

G_END_DECLS
