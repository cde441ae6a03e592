/* The controllers' part of AdminService: list, add, remove, hand over. bootstrap.h has the beginning. All on the host's
 * loop. */
#pragma once

#include "services/controller/care.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct QuorumAdmin QuorumAdmin;

/* @host, @care: outlive it */
QuorumAdmin *quorum_admin_new(Host *host, Care *care);
void quorum_admin_free(QuorumAdmin *admin); /* after quorum_admin_stop; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QuorumAdmin, quorum_admin_free)
/* End what still waits. On the loop. */
void quorum_admin_stop(QuorumAdmin *admin);

/* Handlers: they take over the call. */
void quorum_admin_list(QuorumAdmin *admin, RpcCall *call, RpcMessage *message);
void quorum_admin_add(QuorumAdmin *admin, RpcCall *call, RpcMessage *message);
void quorum_admin_remove(QuorumAdmin *admin, RpcCall *call, RpcMessage *message);
void quorum_admin_transfer(QuorumAdmin *admin, RpcCall *call, RpcMessage *message);
void quorum_admin_bootstrap(QuorumAdmin *admin, RpcCall *call, RpcMessage *message);

G_END_DECLS
