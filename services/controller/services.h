/* The tables of handlers: which call goes where. */
#pragma once

#include "services/controller/feed.h"
#include "services/controller/host.h"
#include "services/controller/leases.h"
#include "services/controller/moves.h"
#include "services/controller/nodes.h"
#include "services/controller/partitions.h"
#include "services/controller/quorum_admin.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* What the handlers work on; user_data of all services. */
typedef struct {
  Host *host;
  Nodes *nodes;
  Feed *feed;
  Care *care;
  QuorumAdmin *quorum;
  Partitions *partitions;
  Leases *leases;
  Moves *moves;
} ControllerParts;

/* Services of the clients' listener: AdminService, MetadataService. */
void controller_add_public_services(RpcServer *server, ControllerParts *parts);
/* Services of the peers' listener: ControllerService, RaftService, and AdminService and MetadataService for what
 * brokers forward. */
void controller_add_peer_services(RpcServer *server, ControllerParts *parts);

G_END_DECLS
