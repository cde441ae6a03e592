/* AdminService on a broker: passed on to the active controller, wherever that is. While none can be reached, the calls
 * that only read are answered from this broker's own metadata, so that every broker answers for the whole cluster then
 * too. */
#pragma once

#include "services/broker/front.h"

G_BEGIN_DECLS

/* Handlers; their user_data is a Front *, their loop the front's. */
extern const RpcMethodHandler ADMIN_SERVICE_HANDLERS[];
/* The same for other brokers: what one asks of another. */
extern const RpcMethodHandler PEER_ADMIN_HANDLERS[];

G_END_DECLS
