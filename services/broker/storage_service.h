/* GetBrokerStorage of AdminService: answered here, or passed on to the broker that is meant. Thread: the front's loop.
 */
#pragma once

#include "services/broker/front.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* A handler: RpcMethodHandler. @front: Front */
void get_broker_storage(RpcCall *call, RpcMessage *request, gpointer front);

G_END_DECLS
