/* A front: what a loop of the broker has at hand to answer calls: the metadata, the way to each partition, a client.
 *
 * Each loop has one; service handlers get it (or what they made of it) as user_data. Everything here belongs to the
 * front's loop, and all callbacks come on it. */
#pragma once

#include "controller/metadata/image.h"
#include "milena/v1/common.pb-c.h"
#include "services/broker/shard.h"

G_BEGIN_DECLS

/* Constant for the front's life. */
Loop *front_loop(const Front *front);
Timers *front_timers(Front *front);
RpcClient *front_client(Front *front); /* to other processes of the cluster */
gint32 front_broker_id(const Front *front);

/* The metadata as this front knows it; borrowed until the handler returns: ref it to keep it. Never NULL. */
MetadataImage *front_image(Front *front);
/* Id of the active controller, or -1. */
gint32 front_active_controller_id(const Front *front);
/* The broker is about to stop. */
gboolean front_is_draining(const Front *front);

/* ---- routing ---- */

/* The way to a partition. End it with route_clear; what it points to lives as long. */
typedef struct {
  MetadataImage *image; /* a reference */
  const MetadataTopic *topic;
  const MetadataPartition *partition;
  const MetadataBroker *leader; /* NULL when it has none: only with route_lookup */
  Shard *shard;                 /* of this broker, when it leads; else NULL: go to leader->peer_address */
} Route;
#define ROUTE_INIT                                                                                                     \
  { NULL, NULL, NULL, NULL, NULL }
void route_clear(Route *route);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Route, route_clear)

/* Find the way by what the front knows now.
 *
 * @topic_name, @topic_id: one may be "" or NULL
 * @no_proxy: refuse what another broker leads
 * @ret_route: overwritten; on failure ROUTE_INIT, or as far as it got (topic, partition) for the hint: clear it anyway
 *
 * Returns NULL, or UNKNOWN_TOPIC, TOPIC_ID_MISMATCH, UNKNOWN_PARTITION, INVALID_FIELD, LEADER_NOT_AVAILABLE, NOT_LEADER
 * (with metadata leader, leader_address, leader_epoch, metadata_version). */
Failure *front_route(Front *front, const char *topic_name, const char *topic_id, gint32 partition, gboolean no_proxy,
                     Route *ret_route);
/* The topic alone. @ret_topic: borrowed from front_image. */
Failure *front_find_topic(Front *front, const char *topic_name, const char *topic_id, const MetadataTopic **ret_topic);
/* Fill a hint of a route that got as far as a partition; its strings are borrowed from the route. Returns FALSE,
 * and leaves the hint as it was, when the route did not get that far. @ret_hint: initialised by this. */
gboolean route_fill_hint(const Route *route, Milena__V1__RouteHint *ret_hint);

/* Does the leader that a route found, with its registration then, serve no more by @now: is it fenced, gone, or another
 * process? Then no answer of it is to be waited for. */
gboolean front_leader_is_gone(MetadataImage *now, gint32 leader_id, guint64 registration);

/* ---- when the front may be behind ---- */

/* The failure may be because this broker's metadata is behind: UNKNOWN_TOPIC, UNKNOWN_PARTITION, TOPIC_ID_MISMATCH,
 * NOT_LEADER, LEADER_NOT_AVAILABLE. Worth one front_refresh and another try. */
gboolean front_failure_may_be_stale(const Failure *failure);

typedef struct FrontRefresh FrontRefresh;
/* @failure: borrowed. NULL: the front now knows at least what the controller knew when the refresh began: look again.
 * Else UNKNOWN_TOPIC and the like from the controller, CONTROLLER_NOT_AVAILABLE, or DEADLINE_EXCEEDED. */
typedef void (*FrontRefreshDone)(const Failure *failure, gpointer user_data);

/* Ask the controller about a topic, and wait until this front knows as much. Bounded by FRONT_REFRESH_MAX_MS too.
 *
 * @topic_name, @topic_id: copied; one may be "" or NULL
 * @deadline_us: monotonic
 *
 * Returns a handle to cancel with, valid until @done is called; @done never comes before this returns. */
FrontRefresh *front_refresh_topic(Front *front, const char *topic_name, const char *topic_id, gint64 deadline_us,
                                  FrontRefreshDone done, gpointer user_data);
/* Wait until the metadata has reached @version: what another broker's NOT_LEADER carries as metadata_version. */
FrontRefresh *front_refresh_version(Front *front, guint64 version, gint64 deadline_us, FrontRefreshDone done,
                                    gpointer user_data);
/* @done is not called any more. */
void front_refresh_cancel(FrontRefresh *refresh);
#define FRONT_REFRESH_MAX_MS 5000

/* ---- changes ---- */

/* Embedded in what wants to hear of new images. */
typedef struct FrontWatch FrontWatch;
struct FrontWatch {
  GList link; /* private */
  /* The front has @now; @before is the image until now: the same when only the active controller is another one. Both
   * borrowed. May remove the watch, or others. */
  void (*changed)(FrontWatch *watch, MetadataImage *before, MetadataImage *now);
};
void front_watch_add(Front *front, FrontWatch *watch);
void front_watch_remove(Front *front, FrontWatch *watch); /* fine when it was not added but is zeroed */

G_END_DECLS
