/* Follows the committed metadata into an image, over one stream from any controller; after a break it goes on at its
 * version, at another one. */
#pragma once

#include "services/base/loop.h"
#include "services/membership/controllers.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Follower Follower;

typedef struct {
  /* The image has changed; borrowed. */
  void (*image)(MetadataImage *image, gpointer data);
  /* Another controller is active, by what the followed one says: its id, never -1. */
  void (*active)(int id, gpointer data);
  /* The controllers will never serve us: another cluster, or a newer format. */
  void (*refused)(const Failure *failure, gpointer data);
} FollowerEvents;

/* @controllers: taken
 * @cluster_id: of our data, or "": then that of the first image or of follower_set_cluster */
Follower *follower_new(RpcClient *client, Loop *loop, Controllers *controllers, const char *cluster_id,
                       const FollowerEvents *events, gpointer data);
void follower_start(Follower *follower);
void follower_free(Follower *follower); /* no event comes after it */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Follower, follower_free)

MetadataImage *follower_image(Follower *follower);        /* borrowed; NULL before the first */
int follower_active_controller(const Follower *follower); /* id, or -1 */
/* The cluster that this process belongs to is known now: nothing of another one is taken. */
void follower_set_cluster(Follower *follower, const char *cluster_id);
/* The active controller has this version: if the stream stays behind it, another controller is followed. */
void follower_expect(Follower *follower, guint64 version);

G_END_DECLS
