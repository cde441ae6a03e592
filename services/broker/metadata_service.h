/* milena.v1.MetadataService, answered from the front's image. user_data: the Front of the loop. */
#pragma once

#include "services/broker/front.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

extern const RpcMethodHandler METADATA_SERVICE_HANDLERS[];

G_END_DECLS
