/* DeleteRecords of AdminService: any broker takes it, and asks the partitions' leaders. Thread: the front's loop. */
#pragma once

#include "services/broker/front.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* A handler: RpcMethodHandler. @front: Front */
void delete_records(RpcCall *call, RpcMessage *request, gpointer front);

G_END_DECLS
