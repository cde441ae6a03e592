/* The follower: see follower.h.
 *
 *   waiting ──timer──► open ──snapshot parts──► image replaced ──deltas──► image changed ...
 *      ▲                 │ closed, or a frame that makes no sense: the next controller
 *      └─────────────────┘
 *
 * Invariants
 *   1. Versions of the image that is handed out only rise.
 *   2. A snapshot is handed out when its last part has come, never half.
 *   3. One stream at a time; a frame of an older one is never looked at, since its state is gone with it. */
#include "services/membership/follower.h"

#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/base/slog.h"
#include "services/membership/backoff.h"

/* The controller sends an idle frame every few seconds; without any for this long the stream is taken for dead. */
#define SILENCE_MAX_MS 15000

typedef Milena__Internal__V1__FollowMetadataResponse Frame;

struct Follower {
  RpcClient *client;
  Loop *loop;
  Controllers *controllers;
  char *cluster_id;
  FollowerEvents events;
  gpointer data;

  MetadataImage *image;   /* handed out */
  MetadataImage *partial; /* a snapshot that is not complete */
  int active_controller;

  RpcClientCall *call; /* NULL while waiting */
  char *address;       /* of the call */
  GSource *timer;      /* the next try while waiting; silence while open */
  Backoff backoff;
  gboolean refused;
};

static void follower_open(Follower *follower);

static void timer_clear(Follower *follower) {
  if (!follower->timer)
    return;
  g_source_destroy(follower->timer);
  g_clear_pointer(&follower->timer, g_source_unref);
}

static gboolean on_retry(gpointer data) {
  Follower *follower = data;
  timer_clear(follower);
  follower_open(follower);
  return G_SOURCE_REMOVE;
}

static gboolean on_silence(gpointer data) {
  Follower *follower = data;
  timer_clear(follower);
  rpc_client_call_cancel(follower->call);
  return G_SOURCE_REMOVE;
}

static void watch_silence(Follower *follower) {
  timer_clear(follower);
  follower->timer = loop_add_timeout(follower->loop, SILENCE_MAX_MS, on_silence, follower);
}

/* Replace the image; the new one is taken. */
static void image_set(Follower *follower, MetadataImage *image) {
  g_clear_pointer(&follower->image, metadata_image_unref);
  follower->image = image;
  controllers_learn(follower->controllers, image);
  follower->events.image(image, follower->data);
}

static Failure *take_snapshot_part(Follower *follower, const Milena__Internal__V1__MetadataSnapshotPart *part) {
  if (!follower->partial)
    follower->partial = metadata_image_new();
  MetadataImage *next;
  Failure *failure = metadata_image_apply(follower->partial, part->records, part->n_records, part->version, &next);
  if (failure)
    return failure;
  metadata_image_unref(follower->partial);
  follower->partial = next;
  follower->active_controller = part->active_controller_id;
  if (!part->last)
    return NULL;
  if (follower->image && metadata_image_version(next) < metadata_image_version(follower->image)) {
    g_clear_pointer(&follower->partial, metadata_image_unref); /* a controller that is behind us: try another */
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "The controller at %s is behind what this process has seen.",
                       follower->address);
  }
  image_set(follower, g_steal_pointer(&follower->partial));
  return NULL;
}

static Failure *take_delta(Follower *follower, const Milena__Internal__V1__MetadataDelta *delta) {
  if (!follower->image || delta->version <= metadata_image_version(follower->image))
    return failure_new(FAILURE(MALFORMED_MESSAGE), "The controller at %s sent a change out of order.",
                       follower->address);
  MetadataImage *next;
  Failure *failure = metadata_image_apply(follower->image, delta->records, delta->n_records, delta->version, &next);
  if (!failure)
    image_set(follower, next);
  return failure;
}

static Failure *take_frame(Follower *follower, const Frame *frame) {
  switch (frame->frame_case) {
  case MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART:
    return take_snapshot_part(follower, frame->snapshot_part);
  case MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA:
    return take_delta(follower, frame->delta);
  case MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_IDLE:
    follower->active_controller = frame->idle->active_controller_id;
    return NULL;
  default:
    return NULL; /* of a newer controller: not for us */
  }
}

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer data) {
  Follower *follower = data;
  if (!message)
    return; /* the status follows */
  g_autoptr(Failure) failure = take_frame(follower, rpc_message_body(message));
  if (failure) {
    slog_warning("metadata could not be applied", "controller", follower->address, "error", failure_message(failure),
                 NULL);
    if (failure_reason(failure) == FAILURE(UNSUPPORTED)) {
      follower->refused = TRUE;
      follower->events.refused(failure, follower->data);
    }
    rpc_client_call_cancel(call);
    return;
  }
  backoff_reset(&follower->backoff);
  watch_silence(follower);
  rpc_client_call_read(call);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer data) {
  (void)call;
  Follower *follower = data;
  g_clear_pointer(&follower->call, rpc_client_call_unref);
  g_clear_pointer(&follower->partial, metadata_image_unref);
  timer_clear(follower);
  controllers_advance(follower->controllers, follower->address, NULL);
  g_clear_pointer(&follower->address, g_free);
  if (failure_reason(failure) == FAILURE(CLUSTER_MISMATCH) && !follower->refused) {
    follower->refused = TRUE;
    follower->events.refused(failure, follower->data);
  }
  if (!follower->refused)
    follower->timer = loop_add_timeout(follower->loop, backoff_next_ms(&follower->backoff), on_retry, follower);
}

static void follower_open(Follower *follower) {
  static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};
  follower->address = g_strdup(controllers_current(follower->controllers));
  follower->call =
      rpc_client_stream(follower->client, follower->address, &milena__internal__v1__controller_service__descriptor,
                        "FollowMetadata", G_MAXINT64, follower->loop, &EVENTS, follower);
  Milena__Internal__V1__FollowMetadataRequest request = MILENA__INTERNAL__V1__FOLLOW_METADATA_REQUEST__INIT;
  request.version = follower->image ? metadata_image_version(follower->image) : 0;
  request.cluster_id = follower->cluster_id;
  rpc_client_call_send(follower->call, &request.base, NULL, 0);
  rpc_client_call_half_close(follower->call);
  rpc_client_call_read(follower->call);
  watch_silence(follower);
}

Follower *follower_new(RpcClient *client, Loop *loop, Controllers *controllers, const char *cluster_id,
                       const FollowerEvents *events, gpointer data) {
  Follower *follower = g_new0(Follower, 1);
  *follower = (Follower){.client = client,
                         .loop = loop,
                         .controllers = controllers,
                         .cluster_id = g_strdup(cluster_id),
                         .events = *events,
                         .data = data,
                         .active_controller = -1};
  return follower;
}

void follower_start(Follower *follower) {
  follower_open(follower);
}

void follower_free(Follower *follower) {
  if (!follower)
    return;
  timer_clear(follower);
  if (follower->call) {
    rpc_client_call_abandon(follower->call);
    g_clear_pointer(&follower->call, rpc_client_call_unref);
  }
  g_clear_pointer(&follower->partial, metadata_image_unref);
  g_clear_pointer(&follower->image, metadata_image_unref);
  g_free(follower->address);
  g_free(follower->cluster_id);
  g_free(follower);
}

MetadataImage *follower_image(Follower *follower) {
  return follower->image;
}

int follower_active_controller(const Follower *follower) {
  return follower->active_controller;
}
