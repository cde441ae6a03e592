/* milena.v1.ConsumerService, as a broker serves it: on clients' and on brokers' listeners alike.
 *
 * One ReadService for each front, on the front's loop:
 *
 *   gpointer states[n];  // states[i] = read_service_new(fronts[i], doors[i]);
 *   rpc_server_add_sharded_service(server, &milena__v1__consumer_service__descriptor, READ_SERVICE_HANDLERS,
 *                                  loops, states, n); */
#pragma once

#include "services/broker/front.h"
#include "services/broker/groups/group_door.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* user_data: the ReadService of the loop. Ends with a NULL name. */
extern const RpcMethodHandler READ_SERVICE_HANDLERS[];

typedef struct ReadService ReadService;

/* @front, @door: borrowed; must outlive it. Any thread, before the server starts. */
ReadService *read_service_new(Front *front, GroupDoor *door);
/* After the server was drained, and before the front goes. NULL is fine. */
void read_service_free(ReadService *service);

G_END_DECLS
