/* Brokers and coordinators as the active controller sees them: registrations, heartbeats, fencing. All on the host's
 * loop. */
#pragma once

#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Nodes Nodes;

/* @host: outlives it */
Nodes *nodes_new(Host *host, gint64 session_timeout_ms, gint64 heartbeat_interval_ms);
void nodes_free(Nodes *nodes); /* after the servers are gone; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Nodes, nodes_free)
/* Start to look for ended sessions. On the loop; nodes_stop before the loop ends. */
void nodes_start(Nodes *nodes);
void nodes_stop(Nodes *nodes);

/* Handlers of unary calls: they take over the call. */
void nodes_register(Nodes *nodes, RpcCall *call, const Milena__Internal__V1__RegisterNodeRequest *request);
void nodes_heartbeat(Nodes *nodes, RpcCall *call, const Milena__Internal__V1__HeartbeatRequest *request);
/* A block of producer ids for a broker, by its epoch. */
void nodes_allocate_producer_ids(Nodes *nodes, RpcCall *call,
                                 const Milena__Internal__V1__AllocateProducerIdsRequest *request);

G_END_DECLS
