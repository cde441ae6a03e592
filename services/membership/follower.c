/* The follower: see follower.h.
 *
 *   waiting ──timer──► open ──snapshot parts──► image replaced ──deltas──► image changed ...
 *      ▲                 │ closed, silent, cut off, lagging, or a frame that makes no sense: the next controller
 *      └─────────────────┘
 *
 * A controller may be behind what we have: it has not heard yet what another one told us. It is waited for, since it
 * catches up within moments when it is well, and left for another when it does not.
 *
 * Invariants
 *   1. Versions of the image that is handed out only rise. They are indexes of committed Raft entries, so equal
 * versions of one cluster are the same state, whichever controller told them.
 *   2. A snapshot is handed out when its last part has come, never half; its parts are of one version.
 *   3. A delta is applied to its base alone: what a controller left out by mistake is found.
 *   4. All that is handed out belongs to one cluster.
 *   5. One stream at a time; a frame of an older one is never looked at, since its state is gone with it. */
#include "services/membership/follower.h"

#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/base/slog.h"
#include "services/membership/backoff.h"

/* The controller sends an idle frame every half second; without any for this long the stream is taken for dead: the
 * controller hangs, or the network swallows what it sends. */
#define SILENCE_MAX_MS 3000
/* For so long a controller that is behind may make no progress before another one is followed. */
#define LAG_MAX_US (3 * (gint64)G_USEC_PER_SEC)

typedef Milena__Internal__V1__FollowMetadataResponse Frame;

struct Follower {
  RpcClient *client;
  Loop *loop;
  Controllers *controllers;
  char *cluster_id; /* "" until it is known */
  FollowerEvents events;
  gpointer data;

  MetadataImage *image;   /* handed out */
  MetadataImage *partial; /* a snapshot that is not complete */
  int active_controller;
  guint64 expected_version; /* that others have */
  gint64 lagging_us;        /* since when we have less, without progress; 0: we don't */

  RpcClientCall *call; /* NULL while waiting */
  char *address;       /* of the call */
  gboolean answered;   /* a frame came on this call */
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

static void refuse(Follower *follower, const Failure *failure) {
  if (follower->refused)
    return;
  follower->refused = TRUE;
  follower->events.refused(failure, follower->data);
}

static guint64 version_of(const MetadataImage *image) {
  return image ? metadata_image_version(image) : 0;
}

/* ---- Leaving a controller ---- */

/* End the stream, if there is one: `closed` goes on with the next controller. */
static void leave(Follower *follower, const char *why) {
  if (!follower->call)
    return;
  slog_debug("another controller is followed", "controller", follower->address, "error", why, NULL);
  follower->answered = FALSE; /* whatever it said, it is no good now */
  rpc_client_call_cancel(follower->call);
}

static gboolean on_silence(gpointer data) {
  Follower *follower = data;
  timer_clear(follower);
  leave(follower, "it sends nothing");
  return G_SOURCE_REMOVE;
}

static void watch_silence(Follower *follower) {
  timer_clear(follower);
  follower->timer = loop_add_timeout(follower->loop, SILENCE_MAX_MS, on_silence, follower);
}

static gboolean has_choice(const Follower *follower) {
  return controllers_count(follower->controllers) > 1;
}

/* Something new came, or we have all there is. */
static void note_progress(Follower *follower) {
  follower->lagging_us = 0;
}

/* The stream is behind @version: leave it when that lasts without progress. */
static void note_lag(Follower *follower) {
  gint64 now_us = g_get_monotonic_time();
  if (!follower->lagging_us)
    follower->lagging_us = now_us;
  if (now_us - follower->lagging_us < LAG_MAX_US || !has_choice(follower))
    return;
  follower->lagging_us = 0;
  leave(follower, "it stays behind the others");
}

void follower_expect(Follower *follower, guint64 version) {
  follower->expected_version = MAX(follower->expected_version, version);
  if (version_of(follower->image) < follower->expected_version)
    note_lag(follower);
}

/* ---- Frames ---- */

static void set_active(Follower *follower, int id) {
  if (id == follower->active_controller)
    return;
  follower->active_controller = id;
  if (id >= 0)
    follower->events.active(id, follower->data);
}

/* Replace the image; the new one is taken. */
static void image_set(Follower *follower, MetadataImage *image) {
  g_clear_pointer(&follower->image, metadata_image_unref);
  follower->image = image;
  note_progress(follower);
  controllers_learn(follower->controllers, image);
  follower->events.image(image, follower->data);
}

/* Nothing of two clusters is mixed: the first one that is heard of, by image or registration, is ours. */
static Failure *check_cluster(Follower *follower, const MetadataImage *image) {
  const char *theirs = metadata_image_cluster_id(image);
  if (!*follower->cluster_id)
    follower_set_cluster(follower, theirs);
  if (!strcmp(follower->cluster_id, theirs))
    return NULL;
  return failure_new(FAILURE(CLUSTER_MISMATCH),
                     "This process belongs to the cluster %s, and the controller at %s to the cluster %s. Name the "
                     "controllers of one cluster alone.",
                     follower->cluster_id, follower->address, theirs);
}

static Failure *finish_snapshot(Follower *follower) {
  g_autoptr(MetadataImage) whole = g_steal_pointer(&follower->partial);
  Failure *failure = check_cluster(follower, whole);
  if (failure)
    return failure;
  if (version_of(whole) < version_of(follower->image))
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "The controller at %s is behind what this process has seen.",
                       follower->address);
  if (!follower->image || version_of(whole) > version_of(follower->image))
    image_set(follower, g_steal_pointer(&whole));
  return NULL;
}

static Failure *take_snapshot_part(Follower *follower, const Milena__Internal__V1__MetadataSnapshotPart *part) {
  if (follower->partial && version_of(follower->partial) != part->version)
    return failure_new(FAILURE(MALFORMED_MESSAGE), "The controller at %s mixed the parts of two snapshots.",
                       follower->address);
  if (!follower->partial)
    follower->partial = metadata_image_new();
  MetadataImage *next;
  Failure *failure = metadata_image_apply(follower->partial, part->records, part->n_records, part->version, &next);
  if (failure)
    return failure;
  metadata_image_unref(follower->partial);
  follower->partial = next;
  note_progress(follower);
  failure = part->last ? finish_snapshot(follower) : NULL;
  if (!failure)
    set_active(follower, part->active_controller_id);
  return failure;
}

static Failure *take_delta(Follower *follower, const Milena__Internal__V1__MetadataDelta *delta) {
  guint64 ours = version_of(follower->image);
  gboolean fits = !delta->base_version || delta->base_version == ours;
  if (!follower->image || follower->partial || delta->version <= ours || !fits)
    return failure_new(FAILURE(MALFORMED_MESSAGE), "The controller at %s sent a change out of order.",
                       follower->address);
  MetadataImage *next;
  Failure *failure = metadata_image_apply(follower->image, delta->records, delta->n_records, delta->version, &next);
  if (!failure)
    image_set(follower, next);
  return failure;
}

static void take_idle(Follower *follower, const Milena__Internal__V1__MetadataIdle *idle) {
  set_active(follower, idle->active_controller_id);
  if (idle->cut_off && has_choice(follower))
    leave(follower, "it knows no active controller");
  else if (idle->version < MAX(version_of(follower->image), follower->expected_version))
    note_lag(follower);
  else
    note_progress(follower);
}

static Failure *take_frame(Follower *follower, const Frame *frame) {
  switch (frame->frame_case) {
  case MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART:
    return take_snapshot_part(follower, frame->snapshot_part);
  case MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA:
    return take_delta(follower, frame->delta);
  case MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_IDLE:
    take_idle(follower, frame->idle);
    return NULL;
  default:
    return NULL; /* of a newer controller: not for us */
  }
}

/* ---- The stream ---- */

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer data) {
  Follower *follower = data;
  if (!message)
    return; /* the status follows */
  follower->answered = TRUE;
  watch_silence(follower);
  g_autoptr(Failure) failure = take_frame(follower, rpc_message_body(message));
  if (failure) {
    slog_warning("metadata could not be applied", "controller", follower->address, "error", failure_message(failure),
                 NULL);
    if (failure_reason(failure) == FAILURE(UNSUPPORTED) || failure_reason(failure) == FAILURE(CLUSTER_MISMATCH))
      refuse(follower, failure);
    leave(follower, failure_message(failure));
    return;
  }
  if (follower->answered) /* it was not left */
    backoff_reset(&follower->backoff);
  rpc_client_call_read(call);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer data) {
  (void)call;
  Follower *follower = data;
  g_clear_pointer(&follower->call, rpc_client_call_unref);
  g_clear_pointer(&follower->partial, metadata_image_unref);
  timer_clear(follower);
  if (follower->answered)
    controllers_refused(follower->controllers, follower->address, NULL);
  else
    controllers_silent(follower->controllers, follower->address);
  g_clear_pointer(&follower->address, g_free);
  if (failure_reason(failure) == FAILURE(CLUSTER_MISMATCH))
    refuse(follower, failure);
  if (!follower->refused)
    follower->timer = loop_add_timeout(follower->loop, backoff_next_ms(&follower->backoff), on_retry, follower);
}

static void follower_open(Follower *follower) {
  static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};
  follower->address = g_strdup(controllers_current(follower->controllers));
  follower->answered = FALSE;
  follower->call =
      rpc_client_stream(follower->client, follower->address, &milena__internal__v1__controller_service__descriptor,
                        "FollowMetadata", G_MAXINT64, follower->loop, &EVENTS, follower);
  Milena__Internal__V1__FollowMetadataRequest request = MILENA__INTERNAL__V1__FOLLOW_METADATA_REQUEST__INIT;
  request.version = version_of(follower->image);
  request.cluster_id = follower->cluster_id;
  rpc_client_call_send(follower->call, &request.base, NULL, 0);
  rpc_client_call_half_close(follower->call);
  rpc_client_call_read(follower->call);
  watch_silence(follower);
}

/* ---- Life ---- */

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
  controllers_free(follower->controllers);
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

void follower_set_cluster(Follower *follower, const char *cluster_id) {
  g_free(follower->cluster_id);
  follower->cluster_id = g_strdup(cluster_id);
}
