/* Which coordinator has which partition of __consumer_offsets: what coordinators and brokers ask about it. Who gets
 * what is decided by controller/metadata/commands_lease.c, with each registration and fencing. All on the host's loop.
 */
#pragma once

#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Leases Leases;

/* @host: outlives it
 * @partitions: of __consumer_offsets, when it is made */
Leases *leases_new(Host *host, guint partitions);
void leases_free(Leases *leases); /* after the servers are gone; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Leases, leases_free)

/* Handlers of ControllerService: they take over the call. */
void leases_ensure_group_topic(Leases *leases, RpcCall *call);
void leases_yield(Leases *leases, RpcCall *call, const Milena__Internal__V1__YieldLeasesRequest *request);

G_END_DECLS
