/* Registration and heartbeats: see membership.h, which draws the states.
 *
 * One call at a time is under way: RegisterNode while there is no epoch, Heartbeat while there is one; the timer stands
 * for the time between two calls. Owned by one loop.
 *
 * Invariants
 *   1. Either a call is under way or a timer runs, from start until refused, left or freed.
 *   2. Heartbeats carry the epoch of the last registration; an answer that it is stale leads to a new registration.
 *   3. No call waits longer for a controller that hangs than CALL_TIMEOUT_MS, and none at all once another one is known
 *      to be active. */
#include "services/membership/membership.h"

#include "services/base/slog.h"
#include "services/base/times.h"
#include "services/membership/backoff.h"
#include "services/membership/controllers.h"
#include "services/membership/follower.h"

/* Longer than a fsync takes on a busy disk, and so short that a session holds several tries. */
#define CALL_TIMEOUT_MS 2000
/* How often a process that wants to stop asks whether it may. */
#define LEAVE_POLL_MS 50
/* A coordinator has no folder whose lock proves that its predecessor is gone: it waits for that one's session to end.
 */
#define DUPLICATE_PATIENCE_MS 20000

/* For so long no controller serves before the log says so: a restart or an election is no news. */
#define UNSERVED_TOLD_US (3 * (gint64)G_USEC_PER_SEC)

struct Membership {
  RpcClient *client;
  Loop *loop;
  MembershipEvents events;
  gpointer data;
  Milena__Internal__V1__NodeKind kind;
  int id;
  gboolean wants_id; /* the controllers give it one */
  char *rack, *address, *peer_address, *incarnation, *cluster_id, *process_id;
  gboolean stopped_in_order;
  GArray *damaged_log_ids; /* of guint64 */

  Controllers *controllers; /* to ask; the follower has its own */
  Follower *follower;
  char *active; /* peer address of the controller that was last known to be active; NULL: none was */
  gint32 active_id;
  char *told; /* the active one's peer address, as the follower told it last */
  RpcClientCall *call;
  char *call_address;
  GSource *timer;
  Backoff backoff;
  guint64 epoch; /* 0: not registered */
  guint heartbeat_ms;
  gint64 session_timeout_us;
  gint64 asked_us;                  /* when the call that is under way was sent, monotonic */
  gint64 current_us;                /* until when the controllers do not end the session */
  _Atomic gint64 *session_until_us; /* the same for other threads, 0 while fenced; or NULL */
  guint64 lapsed_version;           /* of the metadata that tells what happened while the session had lapsed */
  guint64 told_version;             /* of the metadata, in the last heartbeat */
  gboolean fenced;
  gint64 unserved_us; /* since when no controller has served; 0: one does */
  gboolean told_unserved;
  gint64 first_duplicate_us; /* when DUPLICATE_ID was first heard; 0: never */

  gboolean leaving, refused;
  gboolean disk_low;
  GSource *leave_timer;
  void (*left)(gpointer data);
  gpointer left_data;
};

static void membership_act(Membership *membership);

static void source_clear(GSource **source) {
  if (!*source)
    return;
  g_source_destroy(*source);
  g_clear_pointer(source, g_source_unref);
}

static gboolean on_timer(gpointer data) {
  Membership *membership = data;
  source_clear(&membership->timer);
  membership_act(membership);
  return G_SOURCE_REMOVE;
}

static void act_in(Membership *membership, guint delay_ms) {
  source_clear(&membership->timer);
  if (!membership->refused)
    membership->timer = loop_add_timeout(membership->loop, delay_ms, on_timer, membership);
}

/* Act at once, unless a call is under way: its answer acts. */
static void act_soon(Membership *membership) {
  if (!membership->call)
    act_in(membership, 0);
}

static guint64 image_version(const Membership *membership) {
  MetadataImage *image = follower_image(membership->follower);
  return image ? metadata_image_version(image) : 0;
}

/* The controllers take this process for alive, and it knows what they decided while they did not: who leads now what it
 * led, who has its leases. */
static gboolean goes_on(const Membership *membership) {
  return membership->epoch && !membership->fenced && !membership->refused &&
         image_version(membership) >= membership->lapsed_version;
}

/* Tell other threads what membership_is_current knows. */
static void share_session(Membership *membership) {
  if (membership->session_until_us)
    atomic_store(membership->session_until_us, goes_on(membership) ? membership->current_us : 0);
}

static void refuse(Membership *membership, const Failure *failure) {
  if (membership->refused)
    return;
  membership->refused = TRUE;
  share_session(membership);
  source_clear(&membership->timer);
  membership->events.refused(failure, membership->data);
}

static void finish_leaving(Membership *membership) {
  source_clear(&membership->leave_timer);
  membership->refused = TRUE; /* no more calls */
  source_clear(&membership->timer);
  void (*left)(gpointer) = membership->left;
  membership->left = NULL;
  if (left)
    left(membership->left_data);
}

/* Once, when it lasts: else an operator would see a process that does nothing, and not why. */
static void tell_unserved(Membership *membership, const Failure *failure) {
  gint64 now_us = g_get_monotonic_time();
  if (!membership->unserved_us)
    membership->unserved_us = now_us;
  if (membership->told_unserved || now_us - membership->unserved_us < UNSERVED_TOLD_US)
    return;
  membership->told_unserved = TRUE;
  slog_warning("no controller serves this process; trying on", "controller", membership->call_address, "error",
               failure_message(failure), NULL);
}

/* ---- Which controller ---- */

static gint32 id_of(Membership *membership, const char *peer_address) {
  MetadataImage *image = follower_image(membership->follower);
  if (!image)
    return -1;
  MetadataIter iter;
  metadata_iter_controllers(&iter, image);
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));)
    if (!strcmp(controller->peer_address, peer_address))
      return controller->id;
  return -1;
}

/* @peer_address is the active one's, as far as we know. */
static void set_active(Membership *membership, const char *peer_address) {
  gint32 id = id_of(membership, peer_address);
  if (!g_strcmp0(membership->active, peer_address) && membership->active_id == id)
    return;
  char *before = membership->active;
  membership->active = g_strdup(peer_address);
  membership->active_id = id;
  g_free(before);
  membership->events.controller(membership->active, id, membership->data);
}

/* The followed controller says who is active: go there at once, also in the middle of a call to one that may hang. */
static void follow_active(Membership *membership) {
  MetadataImage *image = follower_image(membership->follower);
  int id = follower_active_controller(membership->follower);
  const MetadataController *controller = image && id >= 0 ? metadata_image_controller(image, id) : NULL;
  if (!controller || !*controller->peer_address || !g_strcmp0(membership->told, controller->peer_address))
    return; /* nothing that was not told before: what calls have found out since is newer */
  g_free(membership->told);
  membership->told = g_strdup(controller->peer_address);
  set_active(membership, controller->peer_address);
  if (!controllers_prefer(membership->controllers, controller->peer_address))
    return;
  if (!membership->call || !strcmp(membership->call_address, controller->peer_address))
    return;
  rpc_client_call_abandon(membership->call);
  g_clear_pointer(&membership->call, rpc_client_call_unref);
  act_in(membership, 0);
}

/* A controller did what it was asked for: it is the active one. */
static void note_served(Membership *membership) {
  backoff_reset(&membership->backoff);
  if (membership->told_unserved)
    slog_info("a controller serves again", "controller", membership->call_address, NULL);
  membership->told_unserved = FALSE;
  membership->unserved_us = 0;
  controllers_served(membership->controllers, membership->call_address);
  set_active(membership, membership->call_address);
}

/* No answer, or one that says nothing of the controller. */
static gboolean is_silence(const Failure *failure) {
  switch (failure_reason(failure)) {
  case FAILURE(PEER_UNREACHABLE):
  case FAILURE(UNKNOWN_OUTCOME):
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
    return TRUE;
  default:
    return FALSE;
  }
}

/* A call failed: the next controller, after a while; the one that was hinted at at once. */
static void retry_after(Membership *membership, const Failure *failure) {
  slog_debug("a controller did not serve the call", "controller", membership->call_address, "error",
             failure_message(failure), NULL);
  if (!membership->first_duplicate_us) /* that was told */
    tell_unserved(membership, failure);
  const char *hint = failure_get(failure, "peer_address");
  if (is_silence(failure))
    controllers_silent(membership->controllers, membership->call_address);
  else if (failure_reason(failure) != FAILURE(DUPLICATE_ID)) /* only the active one says that */
    controllers_refused(membership->controllers, membership->call_address, hint);
  gboolean hinted = hint && !strcmp(controllers_current(membership->controllers), hint);
  if (hinted)
    set_active(membership, hint);
  gboolean first = membership->backoff.delay_ms == 0;
  guint delay_ms = backoff_next_ms(&membership->backoff);
  act_in(membership, hinted && first ? 0 : delay_ms);
}

static gint64 deadline_us(void) {
  return g_get_monotonic_time() + CALL_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
}

/* Begin a call on the current controller. */
static void start_call(Membership *membership, const char *method, const ProtobufCMessage *body, RpcUnaryDone done) {
  g_free(membership->call_address);
  membership->call_address = g_strdup(controllers_current(membership->controllers));
  g_autoptr(RpcMessage) request = rpc_message_pack(body, NULL, 0);
  membership->asked_us = g_get_monotonic_time();
  membership->call = rpc_client_unary(membership->client, membership->call_address,
                                      &milena__internal__v1__controller_service__descriptor, method, request,
                                      deadline_us(), membership->loop, done, membership);
}

/* ---- Registration ---- */

static void registration_refused(Membership *membership, const Failure *failure) {
  if (failure_reason(failure) == FAILURE(CLUSTER_MISMATCH)) {
    refuse(membership, failure);
    return;
  }
  if (failure_reason(failure) == FAILURE(DUPLICATE_ID)) {
    gint64 now_us = g_get_monotonic_time();
    if (membership->wants_id) { /* somebody else got it meanwhile: another will do */
      membership->id = 0;
      retry_after(membership, failure);
      return;
    }
    if (!membership->first_duplicate_us) {
      membership->first_duplicate_us = now_us;
      slog_warning("another process holds this id; waiting for its session to end", "error", failure_message(failure),
                   NULL);
    }
    if (now_us - membership->first_duplicate_us > DUPLICATE_PATIENCE_MS * 1000LL) {
      refuse(membership, failure);
      return;
    }
  }
  retry_after(membership, failure);
}

static void on_registered(RpcMessage *response, const Failure *failure, gpointer data) {
  Membership *membership = data;
  g_clear_pointer(&membership->call, rpc_client_call_unref);
  if (failure) {
    registration_refused(membership, failure);
    return;
  }
  const Milena__Internal__V1__RegisterNodeResponse *body = rpc_message_body(response);
  gint64 interval_ms = times_duration_ms(body->heartbeat_interval, 1000);
  membership->heartbeat_ms = (guint)CLAMP(interval_ms, 10, 60000);
  membership->session_timeout_us = times_duration_ms(body->session_timeout, 6000) * 1000;
  membership->current_us = membership->asked_us + membership->session_timeout_us;
  membership->epoch = body->epoch;
  membership->id = membership->wants_id ? body->id : membership->id;
  membership->told_version = 0;
  membership->fenced = TRUE;
  share_session(membership);
  membership->first_duplicate_us = 0;
  note_served(membership);
  g_free(membership->cluster_id);
  membership->cluster_id = g_strdup(body->cluster_id);
  follower_set_cluster(membership->follower, membership->cluster_id);
  slog_info("registered with the cluster", "cluster", body->cluster_id, "epoch", SLOG_INT(body->epoch), NULL);
  membership->events.registered(membership->cluster_id, membership->epoch, membership->data);
  act_in(membership, 0);
}

static void register_node(Membership *membership) {
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = membership->kind;
  request.id = membership->id;
  request.cluster_id = membership->cluster_id;
  request.incarnation = membership->incarnation;
  request.stopped_in_order = membership->stopped_in_order;
  request.damaged_log_ids = (guint64 *)(gpointer)membership->damaged_log_ids->data;
  request.n_damaged_log_ids = membership->damaged_log_ids->len;
  request.process_id = membership->process_id;
  request.rack = membership->rack;
  request.address = membership->address;
  request.peer_address = membership->peer_address;
  start_call(membership, "RegisterNode", &request.base, on_registered);
}

/* ---- Heartbeats ---- */

/* The next heartbeat may end the fencing: it tells that the image has reached the registration. */
static gboolean has_news(Membership *membership) {
  return membership->fenced && membership->epoch && membership->told_version < membership->epoch &&
         image_version(membership) >= membership->epoch;
}

static void heartbeat_answered(Membership *membership, const Milena__Internal__V1__HeartbeatResponse *body) {
  note_served(membership);
  if (membership->fenced || g_get_monotonic_time() >= membership->current_us)
    membership->lapsed_version = body->metadata_version;
  membership->current_us = membership->asked_us + membership->session_timeout_us;
  follower_expect(membership->follower, body->metadata_version);
  if (membership->leaving && body->may_stop) {
    finish_leaving(membership);
    return;
  }
  gboolean changes = body->fenced != membership->fenced;
  membership->fenced = body->fenced;
  share_session(membership);
  if (changes) {
    membership->events.fenced(membership->fenced, membership->data);
  }
  guint delay_ms = membership->leaving ? MIN(membership->heartbeat_ms, LEAVE_POLL_MS) : membership->heartbeat_ms;
  act_in(membership, has_news(membership) ? 0 : delay_ms);
}

static void on_heartbeat(RpcMessage *response, const Failure *failure, gpointer data) {
  Membership *membership = data;
  g_clear_pointer(&membership->call, rpc_client_call_unref);
  if (!failure) {
    heartbeat_answered(membership, rpc_message_body(response));
    return;
  }
  if (failure_reason(failure) != FAILURE(FENCED) && failure_reason(failure) != FAILURE(UNKNOWN_BROKER)) {
    retry_after(membership, failure);
    return;
  }
  if (membership->leaving) { /* fenced is what we wanted */
    finish_leaving(membership);
    return;
  }
  slog_warning("the session has ended; registering again", "error", failure_message(failure), NULL);
  membership->epoch = 0;
  share_session(membership);
  if (!membership->fenced) {
    membership->fenced = TRUE;
    membership->events.fenced(TRUE, membership->data);
  }
  act_in(membership, 0);
}

static void heartbeat(Membership *membership) {
  membership->told_version = image_version(membership);
  Milena__Internal__V1__HeartbeatRequest request = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  request.kind = membership->kind;
  request.id = membership->id;
  request.epoch = membership->epoch;
  request.metadata_version = membership->told_version;
  request.shutting_down = membership->leaving;
  request.disk_low = membership->disk_low;
  start_call(membership, "Heartbeat", &request.base, on_heartbeat);
}

static void membership_act(Membership *membership) {
  if (membership->call || membership->refused)
    return;
  if (membership->epoch)
    heartbeat(membership);
  else if (membership->leaving)
    finish_leaving(membership);
  else
    register_node(membership);
}

/* ---- The follower's events ---- */

static void on_image(MetadataImage *image, gpointer data) {
  Membership *membership = data;
  if (!*membership->cluster_id) { /* so that no other cluster takes us */
    g_free(membership->cluster_id);
    membership->cluster_id = g_strdup(metadata_image_cluster_id(image));
  }
  controllers_learn(membership->controllers, image);
  share_session(membership);
  membership->events.image(image, membership->data);
  follow_active(membership);
  if (membership->active)
    set_active(membership, membership->active); /* the image may tell its id */
  if (has_news(membership))
    act_soon(membership);
}

static void on_active(int id, gpointer data) {
  (void)id;
  follow_active(data);
}

static void on_follower_refused(const Failure *failure, gpointer data) {
  refuse(data, failure);
}

/* ---- Life ---- */

Membership *membership_new(RpcClient *client, Loop *loop, const MembershipOptions *options,
                           const MembershipEvents *events, gpointer data) {
  static const FollowerEvents FOLLOWER_EVENTS = {
      .image = on_image, .active = on_active, .refused = on_follower_refused};
  Membership *membership = g_new0(Membership, 1);
  membership->client = client;
  membership->loop = loop;
  membership->events = *events;
  membership->data = data;
  membership->kind = options->kind;
  membership->id = options->id;
  membership->wants_id = options->id == 0 && options->kind == MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR;
  membership->rack = g_strdup(options->rack);
  membership->address = g_strdup(options->address);
  membership->peer_address = g_strdup(options->peer_address);
  membership->incarnation = g_strdup(options->incarnation);
  membership->stopped_in_order = options->stopped_in_order;
  membership->disk_low = options->disk_low;
  membership->damaged_log_ids = g_array_new(FALSE, FALSE, sizeof(guint64));
  if (options->damaged_log_count > 0)
    g_array_append_vals(membership->damaged_log_ids, options->damaged_log_ids, (guint)options->damaged_log_count);
  membership->cluster_id = g_strdup(options->cluster_id);
  membership->process_id = g_uuid_string_random();
  membership->session_until_us = options->session_until_us;
  membership->fenced = TRUE;
  membership->active_id = -1;
  membership->controllers = controllers_new(options->controllers, 0);
  /* Any controller will do to follow: each process begins at another, so that none has them all. */
  guint turn = (guint)options->id + (options->kind == MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR);
  membership->follower = follower_new(client, loop, controllers_new(options->controllers, turn), membership->cluster_id,
                                      &FOLLOWER_EVENTS, membership);
  return membership;
}

static void start_on_loop(gpointer data) {
  Membership *membership = data;
  follower_start(membership->follower);
  membership_act(membership);
}

void membership_start(Membership *membership) {
  loop_call(membership->loop, start_on_loop, membership);
}

void membership_set_disk_low(Membership *membership, gboolean low) {
  LOOP_ASSERT_CURRENT(membership->loop);
  if (membership->disk_low == low)
    return;
  membership->disk_low = low;
  act_soon(membership);
}

static gboolean on_leave_timeout(gpointer data) {
  Membership *membership = data;
  slog_warning("no controller let the process go in time; it stops all the same", NULL);
  finish_leaving(membership);
  return G_SOURCE_REMOVE;
}

void membership_leave(Membership *membership, guint timeout_ms, void (*left)(gpointer data), gpointer data) {
  LOOP_ASSERT_CURRENT(membership->loop);
  membership->leaving = TRUE;
  membership->left = left;
  membership->left_data = data;
  membership->leave_timer = loop_add_timeout(membership->loop, timeout_ms, on_leave_timeout, membership);
  if (membership->refused)
    finish_leaving(membership);
  else
    act_soon(membership);
}

void membership_free(Membership *membership) {
  if (!membership)
    return;
  source_clear(&membership->timer);
  source_clear(&membership->leave_timer);
  if (membership->call) {
    rpc_client_call_abandon(membership->call);
    g_clear_pointer(&membership->call, rpc_client_call_unref);
  }
  follower_free(membership->follower);
  controllers_free(membership->controllers);
  g_free(membership->active);
  g_free(membership->told);
  g_free(membership->call_address);
  g_array_unref(membership->damaged_log_ids);
  char *strings[] = {membership->rack,        membership->address,    membership->peer_address,
                     membership->incarnation, membership->cluster_id, membership->process_id};
  for (guint i = 0; i < G_N_ELEMENTS(strings); i++)
    g_free(strings[i]);
  g_free(membership);
}

gboolean membership_is_current(const Membership *membership) {
  return goes_on(membership) && g_get_monotonic_time() < membership->current_us;
}

gint32 membership_id(Membership *membership) {
  return membership->id;
}

MetadataImage *membership_image(Membership *membership) {
  return follower_image(membership->follower);
}
