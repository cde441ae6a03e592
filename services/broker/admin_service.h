/* AdminService on a broker: passed on to the active controller. While that can't be reached, the calls that only read
 * are answered from this broker's own metadata, so that every broker answers for the whole cluster then too. */
#pragma once

#include "services/broker/front.h"
#include "services/rpc/forward.h"

G_BEGIN_DECLS

/* Handlers; their user_data is a RpcForward * of admin_forward_new, their loop the front's. */
extern const RpcMethodHandler ADMIN_SERVICE_HANDLERS[];

/* @front: borrowed for its life. Free it with g_free. */
RpcForward *admin_forward_new(Front *front);

G_END_DECLS
