/* Replication on one shard: links to the brokers that lead what this shard follows, proposals for what it leads. And
 * the service that followers call. README.md explains it.
 *
 * Thread: the shard's loop. */
#pragma once

#include "services/broker/shard.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Replication Replication;

Replication *replication_new(Shard *shard);
/* The shard has retired: it leads and follows nothing. NULL is fine. */
void replication_free(Replication *replication);

/* The shard has applied a new image, or this process has registered anew. */
void replication_metadata_changed(Replication *replication);
/* A follower has come so far that it may join those in sync: look at the proposals soon. */
void replication_look_soon(Replication *replication);
/* A replica of the shard was found damaged: report it. */
void replication_found_damage(Replication *replication);
/* The shard ends: no more is proposed or followed. */
void replication_stop(Replication *replication);

/* ReplicationService; each loop's Front is the handlers' user_data. */
extern const RpcMethodHandler REPLICATION_SERVICE_HANDLERS[];

G_END_DECLS
