/* A call of AdminService is passed on to the active controller, and asked again where that is safe: see admin_call.h.
 *
 *   asking ──answer──► passed back
 *     ▲ │  └─refused──► passed back; after a try that may have been carried out: UNKNOWN_OUTCOME, with the refusal
 *     │ │
 *     │ ├── nothing was changed: not the active one, none is active, nobody there ──────────────► pausing
 *     │ ├── lost: no word in time, or the controller itself does not know. A read ──────────────► pausing
 *     │ │        A write that has a harmless repetition: that one from now on ──────────────────► pausing
 *     │ │        Another write ──► UNKNOWN_OUTCOME
 *     └─┴── pausing: a moment, or until another controller is active; the time is up:
 *               reads are answered here; writes end as "nothing was changed", or UNKNOWN_OUTCOME
 *
 * A controller that hangs is not waited for longer than a fraction of the caller's patience, nor once another one is
 * known to be active.
 *
 * Invariants
 *   1. After a try that may have been carried out only `repeat` is sent, and never is "it failed" the answer.
 *   2. While asking there is a call under way and a limit to it; while pausing a timer runs.
 *   3. The state lives until the caller's call is closed.
 *
 * Thread: the front's loop. */
#include "services/broker/admin_call.h"

#include "services/base/invariant.h"
#include "services/broker/front_internal.h"

/* Bound of a call whose caller sets none. */
#define PATIENCE_MS 15000
/* A read is no good to anybody who waits long for it: then this broker's own metadata answer. */
#define READ_PATIENCE_MS 2000
/* One try of a read; one of a write that may be repeated, which may have a long queue and a slow disk before it. */
#define READ_TRY_MS 1000
#define WRITE_TRY_MS 5000
/* What a controller has left to answer once another one is known to be active. */
#define OUTDATED_MS 500
#define PAUSE_MS 100

typedef struct {
  Front *front;
  RpcCall *call;
  RpcMessage *request; /* as it came */
  RpcMessage *sent;    /* as it is sent on */
  RpcMessage *repeat;  /* see AdminMethod.prepare; may be NULL */
  const AdminMethod *method;
  gboolean changes; /* it is a write that is meant */
  gboolean maybe_made;
  gboolean ended;
  gint64 until_us;

  RpcClientCall *ask; /* NULL while pausing */
  char *address;      /* that is asked, or was last */
  char *hint;         /* whom that one pointed to; to be asked at once */
  gboolean hinted;    /* `address` came from a hint: two that point to each other are not followed for ever */
  guint tries;
  Failure *last; /* of the last try, or one before that said more */
  Timer timer;
  FrontWatch watch; /* while asking, or pausing */
} AdminCall;

static void ask(AdminCall *admin);

/* ---- The end ---- */

static void stop_asking(AdminCall *admin) {
  timer_clear(front_timers(admin->front), &admin->timer);
  if (!admin->ask)
    return;
  rpc_client_call_abandon(admin->ask);
  g_clear_pointer(&admin->ask, rpc_client_call_unref);
}

static void stop(AdminCall *admin) {
  admin->ended = TRUE;
  stop_asking(admin);
  front_watch_remove(admin->front, &admin->watch);
}

static void finish(AdminCall *admin, Failure *failure) {
  stop(admin);
  rpc_call_finish(admin->call, failure);
}

/* What was tried may have been done: never say that it failed. */
static void finish_unknown(AdminCall *admin, const char *why) {
  finish(admin, failure_new(FAILURE(UNKNOWN_OUTCOME),
                            "it may or may not have been done: a controller was lost while it worked on it (%s). Look "
                            "at how it is now, then try again",
                            why));
}

/* Nobody does it in time. */
static void give_up(AdminCall *admin) {
  const char *why = admin->last ? failure_message(admin->last) : "none is known";
  if (admin->method->here) {
    stop(admin);
    admin->method->here(admin->call, admin->request, admin->front);
  } else if (admin->maybe_made) {
    finish_unknown(admin, why);
  } else {
    Failure *failure = failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                   "this broker reaches no active controller now: nothing was changed, try again soon "
                                   "(%s)",
                                   why);
    finish(admin, failure_set_retry_delay(failure, 500));
  }
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  AdminCall *admin = state;
  stop(admin);
  rpc_message_unref(admin->request);
  rpc_message_unref(admin->sent);
  rpc_message_unref(admin->repeat);
  failure_free(admin->last);
  g_free(admin->address);
  g_free(admin->hint);
  g_free(admin);
}

/* ---- Trying again ---- */

static void on_pause_over(Timer *timer, gpointer data) {
  (void)timer;
  ask(data);
}

/* A lone controller that can't be reached is not there: nobody else will answer. */
static gboolean is_hopeless(const AdminCall *admin) {
  if (admin->changes || failure_reason(admin->last) != FAILURE(PEER_UNREACHABLE))
    return FALSE;
  MetadataIter iter;
  guint count = 0;
  metadata_iter_controllers(&iter, front_image(admin->front));
  while (count < 2 && metadata_iter_next_controller(&iter))
    count++;
  return count < 2;
}

static void pause_then_ask(AdminCall *admin) {
  gint64 at_us = g_get_monotonic_time() + (admin->hint ? 0 : PAUSE_MS * G_TIME_SPAN_MILLISECOND);
  if (at_us >= admin->until_us || is_hopeless(admin) || front_is_draining(admin->front))
    give_up(admin);
  else
    timer_set(front_timers(admin->front), &admin->timer, at_us, on_pause_over, admin);
}

/* NOT_BOOTSTRAPPED: a controller that lost its disk, at the address where one of the cluster's was. */
static gboolean says_nothing_was_changed(const Failure *failure) {
  return failure_reason(failure) == FAILURE(NOT_CONTROLLER) || failure_reason(failure) == FAILURE(NOT_BOOTSTRAPPED) ||
         (failure_reason(failure) != FAILURE(UNSPECIFIED) && failure_is_retriable(failure));
}

/* The try is over, and nobody knows with what outcome. */
static void lost(AdminCall *admin) {
  if (!admin->changes) {
    pause_then_ask(admin);
    return;
  }
  admin->maybe_made = TRUE;
  if (!admin->repeat) {
    finish_unknown(admin, failure_message(admin->last));
    return;
  }
  rpc_message_unref(admin->sent);
  admin->sent = rpc_message_ref(admin->repeat);
  pause_then_ask(admin);
}

/* @failure: taken */
static void failed(AdminCall *admin, Failure *failure) {
  gboolean is_unknown = failure_is_outcome_unknown(failure), is_unchanged = says_nothing_was_changed(failure);
  /* What a write's latest try came to counts; of reads, what says most about why there is no answer. */
  if (admin->changes)
    g_clear_pointer(&admin->last, failure_free);
  admin->last = failure_more_telling(admin->last, failure);
  if (is_unknown)
    lost(admin);
  else if (is_unchanged)
    pause_then_ask(admin);
  else if (admin->maybe_made)
    finish_unknown(admin, failure_message(admin->last));
  else
    finish(admin, failure_copy(admin->last));
}

static void on_answer(RpcMessage *response, const Failure *failure, gpointer data) {
  AdminCall *admin = data;
  g_clear_pointer(&admin->ask, rpc_client_call_unref);
  timer_clear(front_timers(admin->front), &admin->timer);
  if (!failure) {
    stop(admin);
    rpc_call_reply_message(admin->call, response);
    return;
  }
  const char *hint = failure_get(failure, "peer_address");
  if (failure_reason(failure) == FAILURE(NOT_CONTROLLER) && hint && *hint && !admin->hinted)
    admin->hint = g_strdup(hint);
  failed(admin, failure_copy(failure));
}

/* ---- Asking ---- */

static void on_outdated(Timer *timer, gpointer data) {
  (void)timer;
  AdminCall *admin = data;
  stop_asking(admin);
  failed(admin, failure_new(FAILURE(UNKNOWN_OUTCOME), "the controller at %s did not answer, and another one is active",
                            admin->address));
}

/* Another controller is active: the one that is asked has a moment left; one who pauses goes on. */
static void on_metadata(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  (void)before;
  (void)now;
  AdminCall *admin = (AdminCall *)((char *)watch - G_STRUCT_OFFSET(AdminCall, watch));
  const char *active = admin->front->controller;
  if (!active || g_strcmp0(active, admin->address) == 0)
    return;
  gint64 now_us = g_get_monotonic_time();
  if (!admin->ask)
    timer_set(front_timers(admin->front), &admin->timer, now_us, on_pause_over, admin);
  else if (!timer_is_set(&admin->timer))
    timer_set(front_timers(admin->front), &admin->timer, now_us + OUTDATED_MS * G_TIME_SPAN_MILLISECOND, on_outdated,
              admin);
}

/* Of those that answer such a read, each in turn; the active one first. Owned by the caller. */
static char *any_controller(const AdminCall *admin) {
  g_autoptr(GPtrArray) addresses = g_ptr_array_new();
  if (admin->front->controller)
    g_ptr_array_add(addresses, admin->front->controller);
  MetadataIter iter;
  metadata_iter_controllers(&iter, front_image(admin->front));
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));)
    if (*controller->peer_address && g_strcmp0(controller->peer_address, admin->front->controller) != 0)
      g_ptr_array_add(addresses, controller->peer_address);
  return addresses->len ? g_strdup(addresses->pdata[admin->tries % addresses->len]) : NULL;
}

static char *whom_to_ask(AdminCall *admin) {
  if (admin->hint)
    return g_steal_pointer(&admin->hint);
  if (admin->method->kind == ADMIN_READ_ANY)
    return any_controller(admin);
  return g_strdup(admin->front->controller);
}

static gint64 try_until_us(const AdminCall *admin) {
  gint64 try_ms = !admin->changes ? READ_TRY_MS : admin->repeat ? WRITE_TRY_MS : PATIENCE_MS;
  return MIN(admin->until_us, g_get_monotonic_time() + try_ms * G_TIME_SPAN_MILLISECOND);
}

static void ask(AdminCall *admin) {
  admin->hinted = admin->hint != NULL;
  g_free(admin->address);
  admin->address = whom_to_ask(admin);
  admin->tries++;
  if (!admin->address) {
    failed(admin, failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "none is known"));
    return;
  }
  admin->ask = rpc_client_unary(front_client(admin->front), admin->address, &milena__v1__admin_service__descriptor,
                                admin->method->name, admin->sent, try_until_us(admin), front_loop(admin->front),
                                on_answer, admin);
}

void admin_call_begin(Front *front, RpcCall *call, RpcMessage *request, const AdminMethod *method) {
  static const RpcCallEvents EVENTS = {.closed = on_closed};
  INVARIANT((method->kind == ADMIN_WRITE) == (method->here == NULL), "reads alone can be answered here");
  AdminCall *admin = g_new0(AdminCall, 1);
  *admin = (AdminCall){.front = front, .call = call, .request = rpc_message_ref(request), .method = method};
  gint64 patience_ms = method->kind == ADMIN_WRITE ? PATIENCE_MS : READ_PATIENCE_MS;
  admin->until_us = MIN(rpc_call_answer_by_us(call), g_get_monotonic_time() + patience_ms * G_TIME_SPAN_MILLISECOND);
  gboolean dry = method->kind != ADMIN_WRITE;
  admin->sent = dry ? rpc_message_ref(request) : method->prepare(front, request, &admin->repeat, &dry);
  admin->changes = !dry;
  admin->watch.changed = on_metadata;
  rpc_call_set_events(call, &EVENTS, admin);
  front_watch_add(front, &admin->watch);
  ask(admin);
}
