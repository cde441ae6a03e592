/* The committed metadata as streams: FollowMetadata for brokers and coordinators, WatchMetadata for clients.
 *
 * Followers get a snapshot in parts, or go on from the version that they have, then each transaction. Recent
 * transactions are kept, packed once, in a bounded ring; who has fallen behind it gets a snapshot again, and who is
 * ahead of this controller is waited for. Every controller serves it, the active one or not. Watchers get
 * an image and then what changed since the last frame, however much that is. A slow reader holds back its own stream
 * alone. All on the host's loop. */
#pragma once

#include "milena/v1/metadata_service.pb-c.h"
#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Feed Feed;

/* @host: outlives it */
Feed *feed_new(Host *host);
/* After the servers are gone. NULL is fine. */
void feed_free(Feed *feed);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Feed, feed_free)
/* Start the idle frames. On the loop; feed_stop before the loop ends. */
void feed_start(Feed *feed);
void feed_stop(Feed *feed);

/* Handlers: they take over the call. */
void feed_follow(Feed *feed, RpcCall *call, const Milena__Internal__V1__FollowMetadataRequest *request);
void feed_watch(Feed *feed, RpcCall *call, const Milena__V1__WatchMetadataRequest *request);

G_END_DECLS
