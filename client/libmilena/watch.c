/* The metadata stream: see watch.h.
 *
 *   idle ──start──► connecting ──first image──► live
 *                     ▲    │                      │
 *                     │    └──closed, or no image within attempt_timeout_ms──┐
 *                     └──────────── pausing ◄── closed ──────────────────────┘
 *   any ──stop──► stopped
 *
 * Invariants
 *   1. At most one stream is listened to: one that was given up is abandoned, and hears nothing more.
 *   2. A view is published only from a stream that began with an image, and when all parts of it have come.
 *
 * Owned by the client's loop. Fails with nothing: troubles are told by client_set_trouble, and waited out. */
#include "client/libmilena/watch.h"

#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"

/* Streams are not moved more often: brokers that disagree would be asked in turn for ever. */
#define MOVE_INTERVAL_US (500 * G_TIME_SPAN_MILLISECOND)
/* How long the broker that is followed may take to tell what it said elsewhere: then the stream is opened anew. */
#define TELL_INTERVAL_US (300 * G_TIME_SPAN_MILLISECOND)

/* For a sign of life. */
#define CHECK_TIMEOUT_US G_TIME_SPAN_SECOND

typedef enum { WATCH_IDLE, WATCH_CONNECTING, WATCH_LIVE, WATCH_PAUSING, WATCH_STOPPED } WatchState;

struct Watch {
  MilenaClient *client;
  WatchState state;
  char *address;        /* of the stream */
  RpcClientCall *call;  /* in CONNECTING and LIVE */
  RpcClientCall *check; /* for a sign of life of the broker that is followed; NULL: none is asked for */
  GSource *timer;       /* in CONNECTING and PAUSING */
  guint failures;       /* in a row */
  gint64 moved_us;
  View *partial;    /* an image or change of which more parts are to come; NULL: none is */
  gint64 behind_us; /* since when the stream is known to be behind its own broker; 0 when it is not */
};

static void watch_connect(Watch *watch);

static void watch_clear_timer(Watch *watch) {
  if (watch->timer == NULL)
    return;
  g_source_destroy(watch->timer);
  g_source_unref(g_steal_pointer(&watch->timer));
}

static void watch_set_timer(Watch *watch, gint64 delay_ms, GSourceFunc func) {
  watch_clear_timer(watch);
  watch->timer = loop_add_timeout(client_loop(watch->client), (guint)delay_ms, func, watch);
}

static void watch_drop_check(Watch *watch) {
  if (watch->check == NULL)
    return;
  rpc_client_call_abandon(watch->check);
  g_clear_pointer(&watch->check, rpc_client_call_unref);
}

static void watch_drop_call(Watch *watch) {
  if (watch->call == NULL)
    return;
  g_clear_pointer(&watch->partial, view_unref);
  watch_drop_check(watch);
  RpcClientCall *call = g_steal_pointer(&watch->call);
  rpc_client_call_abandon(call);
  rpc_client_call_unref(call);
}

static gboolean watch_pause_over(gpointer data) {
  Watch *watch = data;
  watch_clear_timer(watch);
  watch_connect(watch);
  return G_SOURCE_REMOVE;
}

/* The stream is over: try the next address, soon. @failure: why; borrowed. */
static void watch_fail(Watch *watch, const Failure *failure) {
  watch_drop_call(watch);
  client_address_failed(watch->client, watch->address);
  client_set_trouble(watch->client,
                     failure_prefix(failure_copy(failure), "following the metadata of %s", watch->address));
  watch->failures++;
  watch->state = WATCH_PAUSING;
  /* A whole round of addresses is tried before the pauses grow. */
  guint round = 1 + watch->failures / client_address_count(watch->client);
  watch_set_timer(watch, client_backoff_ms(watch->client, round), watch_pause_over);
}

static gboolean watch_connect_timeout(gpointer data) {
  Watch *watch = data;
  g_autoptr(Failure) failure = failure_new(FAILURE(PEER_UNREACHABLE), "no answer within %d ms: another broker is asked",
                                           client_options(watch->client)->attempt_timeout_ms);
  watch_fail(watch, failure);
  return G_SOURCE_REMOVE;
}

/* Apply a frame. Returns why the stream can't be followed any further, or NULL. */
static Failure *watch_apply(Watch *watch, const Milena__V1__WatchMetadataResponse *frame) {
  View *view = NULL;
  Failure *failure = NULL;
  gboolean more = FALSE;
  if (frame->frame_case == MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE) {
    failure = view_new_from_image(frame->image, &view);
    more = frame->image->more;
  } else if (frame->frame_case == MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_CHANGE) {
    if (watch->state != WATCH_LIVE && watch->partial == NULL)
      return failure_new(FAILURE(MALFORMED_MESSAGE), "the stream began with a change, not with an image");
    g_autoptr(View) before = watch->partial != NULL ? view_ref(watch->partial) : client_view(watch->client);
    failure = view_new_from_change(before, frame->change, &view);
    more = frame->change->more;
  }
  if (failure != NULL || view == NULL) /* frames of a later version are passed over */
    return failure;
  g_clear_pointer(&watch->partial, view_unref);
  if (more) {
    watch->partial = view;
    return NULL;
  }
  watch->state = WATCH_LIVE;
  watch->failures = 0;
  watch->behind_us = 0;
  watch_clear_timer(watch);
  client_address_answered(watch->client, watch->address);
  client_set_trouble(watch->client, NULL);
  client_publish_view(watch->client, view, watch->address);
  return NULL;
}

static void watch_on_message(RpcClientCall *call, RpcMessage *message, gpointer data) {
  Watch *watch = data;
  if (call != watch->call)
    return;
  g_autoptr(Failure) failure = watch_apply(watch, rpc_message_body(message));
  if (failure != NULL)
    watch_fail(watch, failure);
  else if (watch->call == call)
    rpc_client_call_read(call);
}

static void watch_on_closed(RpcClientCall *call, const Failure *failure, gpointer data) {
  Watch *watch = data;
  if (call != watch->call)
    return;
  g_autoptr(Failure) ended = failure_new(FAILURE(DRAINING), "the broker ended the stream");
  watch_fail(watch, failure != NULL ? failure : ended);
}

static const RpcClientEvents WATCH_EVENTS = {.message = watch_on_message, .closed = watch_on_closed};

static void watch_connect(Watch *watch) {
  watch->state = WATCH_CONNECTING;
  g_free(watch->address);
  watch->address = client_address(watch->client);
  watch_set_timer(watch, client_options(watch->client)->attempt_timeout_ms, watch_connect_timeout);
  watch->call = rpc_client_stream(client_rpc(watch->client), watch->address, &milena__v1__metadata_service__descriptor,
                                  "WatchMetadata", G_MAXINT64, client_loop(watch->client), &WATCH_EVENTS, watch);
  Milena__V1__WatchMetadataRequest request = MILENA__V1__WATCH_METADATA_REQUEST__INIT;
  rpc_client_call_read(watch->call);
  rpc_client_call_send(watch->call, &request.base, NULL, 0);
  rpc_client_call_half_close(watch->call);
}

Watch *watch_new(MilenaClient *client) {
  Watch *watch = g_new0(Watch, 1);
  watch->client = client;
  return watch;
}

void watch_start(Watch *watch) {
  LOOP_ASSERT_CURRENT(client_loop(watch->client));
  if (watch->state == WATCH_IDLE)
    watch_connect(watch);
}

void watch_move(Watch *watch, const char *address) {
  LOOP_ASSERT_CURRENT(client_loop(watch->client));
  gint64 now_us = g_get_monotonic_time();
  gboolean there = watch->state == WATCH_LIVE && strcmp(watch->address, address) == 0;
  if (watch->behind_us == 0)
    watch->behind_us = now_us;
  if (there && now_us < watch->behind_us + TELL_INTERVAL_US)
    return;
  if (watch->state == WATCH_STOPPED || now_us < watch->moved_us + MOVE_INTERVAL_US)
    return;
  watch->moved_us = now_us;
  watch_drop_call(watch);
  client_address_answered(watch->client, address); /* the one that is asked next */
  watch_connect(watch);
}

void watch_suspect(Watch *watch, const char *address) {
  LOOP_ASSERT_CURRENT(client_loop(watch->client));
  if (watch->state != WATCH_LIVE || strcmp(watch->address, address) != 0)
    return;
  g_autoptr(Failure) failure = failure_new(FAILURE(PEER_UNREACHABLE), "it does not answer in time");
  watch_fail(watch, failure);
}

static void watch_on_sign(RpcMessage *response, const Failure *failure, gpointer data) {
  (void)response;
  Watch *watch = data;
  g_clear_pointer(&watch->check, rpc_client_call_unref);
  if (failure != NULL && failure_reason(failure) == FAILURE(DEADLINE_EXCEEDED))
    watch_suspect(watch, watch->address);
}

void watch_check(Watch *watch, const char *address) {
  LOOP_ASSERT_CURRENT(client_loop(watch->client));
  if (watch->state != WATCH_LIVE || watch->check != NULL || strcmp(watch->address, address) != 0)
    return;
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  g_autoptr(RpcMessage) packed = rpc_message_pack(&request.base, NULL, 0);
  watch->check =
      rpc_client_unary(client_rpc(watch->client), address, &grpc__health__v1__health__descriptor, "Check", packed,
                       g_get_monotonic_time() + CHECK_TIMEOUT_US, client_loop(watch->client), watch_on_sign, watch);
}

void watch_stop(Watch *watch) {
  LOOP_ASSERT_CURRENT(client_loop(watch->client));
  watch->state = WATCH_STOPPED;
  watch_clear_timer(watch);
  watch_drop_call(watch);
}

void watch_free(Watch *watch) {
  if (watch == NULL)
    return;
  INVARIANT(watch->call == NULL && watch->timer == NULL, "a watch is stopped before it is freed");
  g_free(watch->address);
  g_free(watch);
}
