/* Follows the committed metadata into an image, over one stream; after a break it goes on at its version. */
#pragma once

#include "services/base/loop.h"
#include "services/membership/controllers.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Follower Follower;

typedef struct {
  /* The image has changed; borrowed. */
  void (*image)(MetadataImage *image, gpointer data);
  /* The controllers will never serve us: another cluster, or a newer format. */
  void (*refused)(const Failure *failure, gpointer data);
} FollowerEvents;

/* @controllers: borrowed, outlives the follower
 * @cluster_id: of our data, or "" */
Follower *follower_new(RpcClient *client, Loop *loop, Controllers *controllers, const char *cluster_id,
                       const FollowerEvents *events, gpointer data);
void follower_start(Follower *follower);
void follower_free(Follower *follower); /* no event comes after it */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Follower, follower_free)

MetadataImage *follower_image(Follower *follower);        /* borrowed; NULL before the first */
int follower_active_controller(const Follower *follower); /* id, or -1 */

G_END_DECLS
