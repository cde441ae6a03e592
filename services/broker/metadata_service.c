/* GetMetadata and WatchMetadata. A watcher is sent the whole image, then what changed from the last image that it was
 * sent to the one that is there now: one that reads slowly skips versions, and costs no memory.
 *
 *   opened ──image──► current ──new image──► behind ──sent, or once writable──► current
 *
 * A watcher lives until its call is closed. Thread: the front's loop. Failure modes: UNKNOWN_TOPIC from GetMetadata,
 * after the controller was asked. */
#include "services/broker/metadata_service.h"

#include "controller/metadata/view.h"

/* ---- GetMetadata ---- */

typedef struct {
  RpcCall *call;
  RpcMessage *request;
  Front *front;
} Get;

/* Before the first image there is nothing to tell: an empty one would say that there are no topics. */
static gboolean knows_the_cluster(Front *front) {
  return metadata_image_version(front_image(front)) > 0;
}

static Failure *get_reply(RpcCall *call, RpcMessage *message, Front *front) {
  if (!knows_the_cluster(front))
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                       "this broker has just started and has not heard of the cluster yet: try again soon, or ask "
                       "another broker");
  Milena__V1__GetMetadataResponse *response = NULL;
  Failure *failure = metadata_view_get_metadata(front_image(front), front_active_controller_id(front),
                                                rpc_message_body(message), &response);
  if (failure)
    return failure;
  rpc_call_reply(call, &response->base, NULL, 0);
  milena__v1__get_metadata_response__free_unpacked(response, NULL);
  return NULL;
}

static void on_get_refreshed(const Failure *refresh_failure, gpointer user_data) {
  g_autofree Get *get = user_data;
  Failure *failure = refresh_failure ? failure_copy(refresh_failure) : get_reply(get->call, get->request, get->front);
  if (failure)
    rpc_call_finish(get->call, failure);
  rpc_message_unref(get->request);
}

/* The first topic that this front does not know. */
static const char *missing_topic(Front *front, const Milena__V1__GetMetadataRequest *request) {
  for (size_t i = 0; i < request->n_topics; i++) {
    if (!metadata_image_topic_by_name(front_image(front), request->topics[i]))
      return request->topics[i];
  }
  return NULL;
}

static void get_metadata(RpcCall *call, RpcMessage *request, gpointer user_data) {
  Front *front = user_data;
  Failure *failure = get_reply(call, request, front);
  if (!failure)
    return;
  const char *missing = missing_topic(front, rpc_message_body(request));
  if (!front_failure_may_be_stale(failure) || !missing) {
    rpc_call_finish(call, failure);
    return;
  }
  failure_free(failure);
  Get *get = g_new0(Get, 1);
  *get = (Get){.call = call, .request = rpc_message_ref(request), .front = front};
  front_refresh_topic(front, missing, "", rpc_call_deadline_us(call), on_get_refreshed, get);
}

/* ---- WatchMetadata ---- */

typedef struct {
  RpcCall *call;
  RpcMessage *request;
  Front *front;
  FrontWatch watch;
  MetadataImage *sent; /* a reference; NULL: the whole is to be sent */
  gint32 sent_active;  /* the active controller, as it was told */
  gboolean busy;
} Watcher;

static void watcher_send(const Milena__V1__WatchMetadataResponse *response, gpointer user_data) {
  Watcher *watcher = user_data;
  watcher->busy = rpc_call_send(watcher->call, &response->base, NULL, 0) == RPC_BUSY;
}

static void send_image(Watcher *watcher, MetadataImage *image) {
  const Milena__V1__WatchMetadataRequest *request = rpc_message_body(watcher->request);
  Milena__V1__ClusterMetadata *cluster = NULL;
  g_autoptr(Failure) failure = metadata_view_cluster(image, front_active_controller_id(watcher->front), request->topics,
                                                     request->n_topics, TRUE, &cluster);
  INVARIANT(!failure, "a view that skips unknown topics has nothing to refuse");
  metadata_view_image_frames(cluster, watcher_send, watcher);
  milena__v1__cluster_metadata__free_unpacked(cluster, NULL);
}

static void send_change(Watcher *watcher, MetadataImage *image) {
  const Milena__V1__WatchMetadataRequest *request = rpc_message_body(watcher->request);
  Milena__V1__MetadataChange *change = metadata_view_change(
      watcher->sent, image, front_active_controller_id(watcher->front), request->topics, request->n_topics);
  metadata_view_change_frames(change, watcher_send, watcher);
  milena__v1__metadata_change__free_unpacked(change, NULL);
}

static void watcher_catch_up(Watcher *watcher) {
  MetadataImage *image = front_image(watcher->front);
  gint32 active = front_active_controller_id(watcher->front);
  if (!knows_the_cluster(watcher->front) || watcher->busy || (image == watcher->sent && active == watcher->sent_active))
    return;
  if (watcher->sent)
    send_change(watcher, image);
  else
    send_image(watcher, image);
  metadata_image_ref(image);
  metadata_image_unref(watcher->sent);
  watcher->sent = image;
  watcher->sent_active = active;
}

static void on_image(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  (void)before;
  (void)now;
  watcher_catch_up((Watcher *)((char *)watch - G_STRUCT_OFFSET(Watcher, watch)));
}

static void on_writable(RpcCall *call, gpointer state) {
  (void)call;
  Watcher *watcher = state;
  watcher->busy = FALSE;
  watcher_catch_up(watcher);
}

static void on_draining(RpcCall *call, gpointer state) {
  (void)state;
  rpc_call_finish(call, failure_new(FAILURE(DRAINING), "this broker is stopping: watch the metadata at another one"));
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Watcher *watcher = state;
  front_watch_remove(watcher->front, &watcher->watch);
  metadata_image_unref(watcher->sent);
  rpc_message_unref(watcher->request);
  g_free(watcher);
}

static void watch_metadata(RpcCall *call, RpcMessage *request, gpointer user_data) {
  static const RpcCallEvents EVENTS = {.writable = on_writable, .draining = on_draining, .closed = on_closed};
  Watcher *watcher = g_new0(Watcher, 1);
  *watcher = (Watcher){.call = call, .request = rpc_message_ref(request), .front = user_data};
  watcher->watch.changed = on_image;
  rpc_call_set_events(call, &EVENTS, watcher);
  front_watch_add(watcher->front, &watcher->watch);
  watcher_catch_up(watcher);
}

const RpcMethodHandler METADATA_SERVICE_HANDLERS[] = {
    {.name = "GetMetadata", .unary = get_metadata},
    {.name = "WatchMetadata", .unary = watch_metadata},
    {NULL},
};
