/* A front's inside: for the files of the broker's core. All of it belongs to the front's loop. */
#pragma once

#include "services/broker/front.h"
#include "services/broker/shard_internal.h"

G_BEGIN_DECLS

struct Front {
  Shard *shard; /* constant: the shard of the same loop */
  Timers *timers;
  MetadataImage *image;
  char *controller; /* peer address of the active controller; NULL when none is known */
  gint32 controller_id;
  GQueue watches;   /* of FrontWatch, by link */
  GQueue refreshes; /* of FrontRefresh */
};

Front *front_new(Shard *shard);
/* NULL is fine. */
void front_free(Front *front);
/* All shards have applied @image: route by it from now on. */
void front_set_image(Front *front, MetadataImage *image);
/* @address: NULL when none is known */
void front_set_controller(Front *front, const char *address, gint32 id);

/* UNKNOWN_PARTITION. */
Failure *route_no_partition(const MetadataTopic *topic, gint32 partition);

/* The broker stops: tell all who wait for a refresh. */
void front_end_refreshes(Front *front);

G_END_DECLS
