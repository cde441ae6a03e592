/* How far reassignments are, as the leaders of the partitions tell; and the listing of those under way, with that.
 * Kept by the active controller, in memory: it is told anew every second. All on the host's loop. */
#pragma once

#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Moves Moves;

/* @host: outlives it */
Moves *moves_new(Host *host);
void moves_free(Moves *moves); /* NULL is fine */

/* ControllerService: a leader tells. Takes over the call. */
void moves_report(Moves *moves, RpcCall *call, const Milena__Internal__V1__ReportMovesRequest *request);
/* AdminService: takes over the call; @message: a ListReassignmentsRequest. */
void moves_list(Moves *moves, RpcCall *call, RpcMessage *message);

G_END_DECLS
