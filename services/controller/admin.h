/* AdminService on the controller: commands become proposals, and are answered when they are committed. */
#pragma once

#include "services/rpc/server.h"

G_BEGIN_DECLS

/* Handlers; their user_data is a ControllerParts *, their loop the host's. */
extern const RpcMethodHandler ADMIN_HANDLERS[];

G_END_DECLS
