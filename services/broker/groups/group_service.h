/* milena.v1.GroupService, as a broker serves it to clients: each call goes on to the coordinator of its group;
 * GetCoordinator is answered here, and ListGroups asks all coordinators. */
#pragma once

#include "services/broker/groups/group_door.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* user_data: the GroupDoor of the loop. Ends with a NULL name. */
extern const RpcMethodHandler GROUP_SERVICE_HANDLERS[];

G_END_DECLS
