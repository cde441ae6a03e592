/* What leaders and operators ask about the replicas of partitions: who is in sync, who leads, where they are. All on
 * the host's loop. */
#pragma once

#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Partitions Partitions;

/* @host: outlives it
 * @balance_interval_ms: how often leaderships go back to preferred replicas; 0: never by itself */
Partitions *partitions_new(Host *host, gint64 balance_interval_ms);
void partitions_free(Partitions *partitions); /* after the servers are gone; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Partitions, partitions_free)
/* On the loop; partitions_stop before the loop ends. */
void partitions_start(Partitions *partitions);
void partitions_stop(Partitions *partitions);

/* Handlers of ControllerService: they take over the call. */
void partitions_alter_in_sync(Host *host, RpcCall *call, const Milena__Internal__V1__AlterInSyncRequest *request);
void partitions_report_damage(Host *host, RpcCall *call, const Milena__Internal__V1__ReportDamageRequest *request);
/* Handlers of AdminService. */
void partitions_elect(Host *host, RpcCall *call, const Milena__V1__ElectLeadersRequest *request);
void partitions_reassign(Host *host, RpcCall *call, const Milena__V1__ReassignPartitionsRequest *request);
void partitions_cancel(Host *host, RpcCall *call, const Milena__V1__CancelReassignmentsRequest *request);
void partitions_drain(Host *host, RpcCall *call, const Milena__V1__DrainBrokerRequest *request);
void partitions_undrain(Host *host, RpcCall *call, const Milena__V1__UndrainBrokerRequest *request);

G_END_DECLS
