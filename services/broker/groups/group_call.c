/* A call of GroupService on its way to the group's coordinator: see group_door.h.
 *
 *   looking ──a coordinator is known──► asking ──answer──► done
 *     ▲ │                                 │  └──refused──► done; after a try that may have been carried out,
 *     │ │ nobody is known:                │                `done_reason` says that it was
 *     │ ▼ the topic is made, if need be   ├── nothing was changed: loading, moved, nobody there ──► pausing
 *     └─ pausing ◄────────────────────────┴── lost: no word in time, or it does not know. READ, REPEATABLE ──► pausing
 *          │                                                                            ONCE ──► UNKNOWN_OUTCOME
 *          └── the time is up, or the broker stops: "nothing was changed"; UNKNOWN_OUTCOME after a lost try that
 *              was more than a read
 *
 * New metadata end a pause; a coordinator that is asked and lost the group to another one has a moment left to answer,
 * except for ONCE, where the wait is the better answer.
 *
 * Invariants
 *   1. While asking, `ask` is a call under way; the timer is set only to cut it short. While pausing, or before the
 * first look, the timer is set. So every call goes on by itself.
 *   2. `done` is called once, or never after group_call_cancel, and never within group_call_begin.
 *   3. After a lost try a ONCE is not sent again.
 *
 * Thread: the front's loop. */
#include "services/base/invariant.h"
#include "services/broker/groups/group_internal.h"
#include "services/membership/coordinators.h"

/* A try that gets no answer: a coordinator may wait for a disk, but not for ever. */
#define TRY_MS 5000
/* What a coordinator has left to answer once another one has the group. */
#define OUTDATED_MS 500
#define PAUSE_MS 100
#define PAUSE_MS_MAX 1000

struct GroupCall {
  GroupDoor *door;
  GList link; /* in door->calls */
  char *group, *client_address;
  const char *method;
  GroupCallKind kind;
  RpcMessage *request;
  gint64 hold_ms, until_us;
  FailureReason done_reason;
  GroupDone done;
  gpointer user_data;

  RpcClientCall *ask; /* asking; else NULL */
  gint32 coordinator; /* that is asked */
  guint32 lease_epoch;
  gboolean maybe_made;
  Failure *last; /* why the last look or try came to nothing */
  Timer timer;
};

static void look(GroupCall *call);

/* ---- the end ---- */

static void stop_asking(GroupCall *call) {
  timer_clear(front_timers(call->door->front), &call->timer);
  if (call->ask == NULL)
    return;
  rpc_client_call_abandon(call->ask);
  g_clear_pointer(&call->ask, rpc_client_call_unref);
}

void group_call_cancel(GroupCall *call) {
  stop_asking(call);
  group_door_remove(call->door, &call->link);
  rpc_message_unref(call->request);
  failure_free(call->last);
  g_free(call->group);
  g_free(call->client_address);
  g_free(call);
}

/* @response, @failure: borrowed, and not the call's */
static void finish(GroupCall *call, RpcMessage *response, const Failure *failure) {
  GroupDone done = call->done;
  gpointer user_data = call->user_data;
  group_call_cancel(call);
  if (done != NULL)
    done(response, failure, user_data);
}

static void give_up(GroupCall *call) {
  g_autoptr(Failure) failure = NULL;
  const char *why = call->last != NULL ? failure_message(call->last) : "the time was up";
  gboolean has_reason =
      call->last != NULL && failure_reason(call->last) != FAILURE(PEER_UNREACHABLE) && failure_is_retriable(call->last);
  if (call->maybe_made && call->kind != GROUP_READ)
    failure = failure_new(FAILURE(UNKNOWN_OUTCOME),
                          "it may or may not have been done: the coordinator of group %s was lost while it worked on "
                          "it, and nobody answers in its place (%s). Look at the group, then try again",
                          call->group, why);
  else if (has_reason)
    failure = failure_copy(call->last);
  else
    failure = failure_new(FAILURE(COORDINATOR_NOT_AVAILABLE),
                          "the coordinator of group %s does not answer: nothing was changed, try again soon (%s)",
                          call->group, why);
  finish(call, NULL, failure);
}

void group_call_end(GroupCall *call) {
  g_autoptr(Failure) failure = failure_new(FAILURE(DRAINING), "this broker is stopping: call another one");
  finish(call, NULL, failure);
}

void group_call_hand_over(GroupCall *call, GroupDone done, gpointer user_data) {
  call->done = done;
  call->user_data = user_data;
}

/* ---- trying again ---- */

static void on_pause_over(Timer *timer, gpointer data) {
  (void)timer;
  look(data);
}

static void pause_then_look(GroupCall *call) {
  gint64 hint_ms = failure_retry_delay_ms(call->last);
  gint64 pause_ms = CLAMP(hint_ms, PAUSE_MS, PAUSE_MS_MAX);
  gint64 at_us = g_get_monotonic_time() + pause_ms * G_TIME_SPAN_MILLISECOND;
  if (at_us >= call->until_us || front_is_draining(call->door->front))
    give_up(call);
  else
    timer_set(front_timers(call->door->front), &call->timer, at_us, on_pause_over, call);
}

static gboolean says_nothing_was_changed(const Failure *failure) {
  return failure_reason(failure) != FAILURE(UNSPECIFIED) && failure_is_retriable(failure);
}

/* @failure: taken */
static void failed(GroupCall *call, Failure *failure) {
  failure_free(call->last);
  call->last = failure;
  if (failure_is_outcome_unknown(failure)) {
    call->maybe_made = TRUE;
    if (call->kind == GROUP_ONCE)
      give_up(call);
    else
      pause_then_look(call);
  } else if (says_nothing_was_changed(failure)) {
    pause_then_look(call);
  } else {
    g_autoptr(Failure) refusal = g_steal_pointer(&call->last);
    gboolean was_done = call->maybe_made && failure_reason(refusal) == call->done_reason;
    finish(call, NULL, was_done ? NULL : refusal);
  }
}

static void on_answer(RpcMessage *response, const Failure *failure, gpointer data) {
  GroupCall *call = data;
  g_clear_pointer(&call->ask, rpc_client_call_unref);
  timer_clear(front_timers(call->door->front), &call->timer);
  if (failure == NULL)
    finish(call, response, NULL);
  else
    failed(call, failure_copy(failure));
}

static void on_outdated(Timer *timer, gpointer data) {
  (void)timer;
  GroupCall *call = data;
  stop_asking(call);
  failed(call, failure_new(FAILURE(UNKNOWN_OUTCOME), "coordinator %d did not answer, and another one has the group",
                           call->coordinator));
}

/* ---- looking and asking ---- */

/* Nobody registered ever, or each that did is gone: waiting is no good. */
static gboolean has_coordinators(MetadataImage *image) {
  MetadataIter iter;
  metadata_iter_coordinators(&iter, image);
  return metadata_iter_next_coordinator(&iter) != NULL;
}

static void nobody(GroupCall *call, const CoordinatorPlace *place, Failure *failure) {
  GroupDoor *door = call->door;
  if (!has_coordinators(front_image(door->front))) {
    failure_free(failure);
    g_autoptr(Failure) none =
        failure_new(FAILURE(COORDINATOR_NOT_AVAILABLE),
                    "no coordinator has joined this cluster: start milena-group-coordinator, then try again");
    finish(call, NULL, none);
    return;
  }
  if (place->topic == NULL) {
    group_door_ensure_topic(door);
    if (door->not_ensured != NULL) {
      failure_free(failure);
      failure = failure_prefix(failure_copy(door->not_ensured), "the topic of groups could not be made");
    }
  }
  gboolean is_final = !failure_is_retriable(failure) && !failure_is_outcome_unknown(failure);
  failure_free(call->last);
  call->last = failure;
  if (is_final) {
    g_autoptr(Failure) refusal = g_steal_pointer(&call->last);
    finish(call, NULL, refusal);
  } else {
    pause_then_look(call);
  }
}

static void ask(GroupCall *call, const CoordinatorPlace *place) {
  gint64 try_us = g_get_monotonic_time() + (TRY_MS + call->hold_ms) * G_TIME_SPAN_MILLISECOND;
  call->coordinator = place->coordinator->id;
  call->lease_epoch = place->lease->lease_epoch;
  call->ask = rpc_client_unary_for(front_client(call->door->front), call->client_address, place->coordinator->address,
                                   &milena__v1__group_service__descriptor, call->method, call->request,
                                   call->kind == GROUP_ONCE ? call->until_us : MIN(call->until_us, try_us),
                                   front_loop(call->door->front), on_answer, call);
}

static void look(GroupCall *call) {
  CoordinatorPlace place;
  Failure *failure = coordinators_find(front_image(call->door->front), call->group, &place);
  if (failure != NULL)
    nobody(call, &place, failure);
  else if (call->method == NULL)
    finish(call, NULL, NULL);
  else
    ask(call, &place);
}

void group_call_look(GroupCall *call) {
  CoordinatorPlace place;
  g_autoptr(Failure) failure = coordinators_find(front_image(call->door->front), call->group, &place);
  if (failure != NULL)
    return;
  gboolean moved = place.coordinator->id != call->coordinator || place.lease->lease_epoch != call->lease_epoch;
  if (!moved) /* who pauses was told to by that one */
    return;
  gint64 now_us = g_get_monotonic_time();
  if (call->ask == NULL)
    timer_set(front_timers(call->door->front), &call->timer, now_us, on_pause_over, call);
  else if (call->kind != GROUP_ONCE && !timer_is_set(&call->timer))
    timer_set(front_timers(call->door->front), &call->timer, now_us + OUTDATED_MS * G_TIME_SPAN_MILLISECOND,
              on_outdated, call);
}

GroupCall *group_call_begin(GroupDoor *door, const GroupAsk *what, GroupDone done, gpointer user_data) {
  if (door->ended)
    return NULL;
  GroupCall *call = g_new0(GroupCall, 1);
  *call = (GroupCall){.door = door,
                      .group = g_strdup(what->group),
                      .client_address = g_strdup(what->client_address),
                      .method = what->method,
                      .kind = what->kind,
                      .request = what->request != NULL ? rpc_message_ref(what->request) : NULL,
                      .hold_ms = what->hold_ms,
                      .until_us = what->until_us,
                      .done_reason = what->done_reason,
                      .done = done,
                      .user_data = user_data,
                      .coordinator = -1};
  call->link.data = call;
  group_door_add(door, &call->link);
  CoordinatorPlace place;
  g_autoptr(Failure) failure = coordinators_find(front_image(door->front), call->group, &place);
  if (failure == NULL && call->method != NULL)
    ask(call, &place);
  else /* what comes of it is told later */
    timer_set(front_timers(door->front), &call->timer, 0, on_pause_over, call);
  return done != NULL ? call : NULL;
}
