/* The tables of handlers: which call goes where. */
#pragma once

#include "services/controller/feed.h"
#include "services/controller/host.h"
#include "services/controller/nodes.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* What the handlers work on; user_data of MetadataService and ControllerService. */
typedef struct {
  Host *host;
  Nodes *nodes;
  Feed *feed;
} ControllerParts;

/* Services of the clients' listener: AdminService, MetadataService. */
void controller_add_public_services(RpcServer *server, ControllerParts *parts);
/* Services of the peers' listener: ControllerService, and AdminService and MetadataService for what brokers forward. */
void controller_add_peer_services(RpcServer *server, ControllerParts *parts);

G_END_DECLS
