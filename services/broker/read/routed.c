/* Operations that follow the leader: see routed.h for the states.
 *
 * Invariants: at most one of timer, refresh and an asked leader is under way; `over` is called once, and not from
 * routed_start. Failure modes: a partition without a leader, or one that can't be reached, is tried with growing pauses
 * until the deadline, and then tells the last cause. */
#include "services/broker/read/routed.h"

#include "services/base/invariant.h"

#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 500

/* Canonical codes of gRPC. */
enum { GRPC_CANCELLED = 1, GRPC_UNKNOWN = 2, GRPC_DEADLINE_EXCEEDED = 4, GRPC_INTERNAL = 13, GRPC_UNAVAILABLE = 14 };

static void attempt(Routed *routed);

void routed_init(Routed *routed, const RoutedOps *ops) {
  routed->ops = ops;
  routed->references = 1;
}

Routed *routed_ref(Routed *routed) {
  routed->references++;
  return routed;
}

/* The leader elsewhere will not answer: give up what it was asked. Returns FALSE when nothing was; else the reference
 * that it held is the caller's. */
static gboolean hang_up(Routed *routed) {
  if (routed->remote == NULL)
    return FALSE;
  rpc_client_call_abandon(routed->remote);
  g_clear_pointer(&routed->remote, rpc_client_call_unref);
  return TRUE;
}

/* The leader that was asked serves no more: its connection may take long to say so. */
static void on_metadata(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  Routed *routed = (Routed *)((char *)watch - G_STRUCT_OFFSET(Routed, watch));
  const MetadataBroker *leader = routed->route.leader;
  if (before == now || !front_leader_is_gone(now, leader->id, leader->epoch) || !hang_up(routed))
    return;
  routed_answer(routed, failure_new(FAILURE(PEER_UNREACHABLE),
                                    "broker %d, which led %s/%d, serves no more by the cluster's metadata", leader->id,
                                    routed->route.topic->name, routed->partition));
}

static void routed_unref(Routed *routed) {
  if (--routed->references > 0)
    return;
  route_clear(&routed->route);
  failure_free(routed->cause);
  g_free(routed->topic);
  g_free(routed->topic_id);
  routed->ops->destroy(routed);
}

void routed_abandon(Routed *routed) {
  routed->abandoned = TRUE;
  if (routed->front != NULL) {
    timer_clear(front_timers(routed->front), &routed->timer);
    front_watch_remove(routed->front, &routed->watch);
    if (routed->refresh != NULL)
      front_refresh_cancel(g_steal_pointer(&routed->refresh));
    routed->ops->cancel(routed);
    if (hang_up(routed))
      routed_unref(routed);
  }
  routed_unref(routed);
}

/* ---- ending ---- */

static void over_timer(Timer *timer, gpointer data) {
  (void)timer;
  Routed *routed = data;
  routed->ops->over(routed, g_steal_pointer(&routed->cause));
}

/* Tell the end: from a timer when the caller is still in routed_start. */
static void end(Routed *routed, Failure *failure) {
  if (!routed->starting) {
    routed->ops->over(routed, failure);
    return;
  }
  routed->cause = failure;
  timer_set(front_timers(routed->front), &routed->timer, g_get_monotonic_time(), over_timer, routed);
}

/* ---- trying again ---- */

static void retry_timer(Timer *timer, gpointer data) {
  (void)timer;
  attempt(data);
}

static void retry_later(Routed *routed, Failure *cause) {
  gint64 now_us = g_get_monotonic_time();
  gint64 delay_ms = MIN(BACKOFF_MIN_MS << MIN(routed->tries, 10), BACKOFF_MAX_MS);
  if (routed->no_proxy || now_us + delay_ms * 1000 >= routed->deadline_us) {
    end(routed, cause);
    return;
  }
  failure_free(cause);
  routed->tries++;
  timer_set(front_timers(routed->front), &routed->timer, now_us + delay_ms * 1000, retry_timer, routed);
}

static void refresh_done(const Failure *failure, gpointer data) {
  Routed *routed = data;
  routed->refresh = NULL;
  Failure *cause = g_steal_pointer(&routed->cause);
  if (failure == NULL) {
    failure_free(cause);
    attempt(routed);
  } else if (failure_is_retriable(cause)) {
    retry_later(routed, cause); /* the leader moved: metadata will come by itself */
  } else {
    failure_free(cause); /* only the controller knows whether it exists */
    end(routed, failure_copy(failure));
  }
}

/* The topic may be so new that this broker does not know it. */
static gboolean may_be_new(const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  return reason == FAILURE(UNKNOWN_TOPIC) || reason == FAILURE(UNKNOWN_PARTITION) ||
         reason == FAILURE(TOPIC_ID_MISMATCH);
}

/* Another broker's NOT_LEADER says which metadata it has: wait until this one has it too. */
static gboolean refresh_version(Routed *routed, Failure *cause) {
  const char *version = failure_get(cause, "metadata_version");
  guint64 number = version != NULL ? g_ascii_strtoull(version, NULL, 10) : 0;
  if (failure_reason(cause) != FAILURE(NOT_LEADER) || routed->no_proxy ||
      number <= metadata_image_version(front_image(routed->front)))
    return FALSE;
  routed->cause = cause;
  routed->refresh = front_refresh_version(routed->front, number, routed->deadline_us, refresh_done, routed);
  return TRUE;
}

/* Something failed: end, or try again. Takes @failure. */
static void decide(Routed *routed, Failure *failure) {
  if (may_be_new(failure) && !routed->refreshed) {
    routed->refreshed = TRUE;
    routed->cause = failure;
    routed->refresh =
        front_refresh_topic(routed->front, routed->topic, routed->topic_id, routed->deadline_us, refresh_done, routed);
  } else if (refresh_version(routed, failure)) {
    return;
  } else if (failure_is_retriable(failure)) {
    retry_later(routed, failure);
  } else {
    end(routed, failure);
  }
}

static void attempt(Routed *routed) {
  route_clear(&routed->route);
  Failure *failure =
      front_route(routed->front, routed->topic, routed->topic_id, routed->partition, routed->no_proxy, &routed->route);
  if (failure != NULL)
    decide(routed, failure);
  else if (routed->route.shard != NULL)
    routed->ops->local(routed);
  else {
    routed->watch.changed = on_metadata;
    front_watch_add(routed->front, &routed->watch);
    routed->ops->remote(routed);
  }
}

void routed_start(Routed *routed, Front *front, const SourceTarget *target) {
  routed->front = front;
  routed->topic = g_strdup(target->topic != NULL ? target->topic : "");
  routed->topic_id = g_strdup(target->topic_id != NULL ? target->topic_id : "");
  routed->partition = target->partition;
  routed->no_proxy = target->no_proxy;
  routed->deadline_us = target->deadline_us;
  routed->starting = TRUE;
  attempt(routed);
  routed->starting = FALSE;
}

void routed_answer(Routed *routed, Failure *failure) {
  front_watch_remove(routed->front, &routed->watch);
  if (routed->abandoned)
    failure_free(failure);
  else if (failure == NULL)
    routed->ops->over(routed, NULL);
  else
    decide(routed, failure);
  routed_unref(routed);
}

/* ---- what is told ---- */

void routed_fill_origin(const Routed *routed, SourceOrigin *ret_origin) {
  Milena__V1__RouteHint hint;
  SourceOrigin origin = {0};
  const MetadataTopic *topic = routed->route.topic;
  origin.topic = g_strdup(topic != NULL ? topic->name : routed->topic);
  origin.topic_id = g_strdup(topic != NULL ? topic->id : routed->topic_id);
  origin.has_hint = route_fill_hint(&routed->route, &hint);
  if (origin.has_hint) {
    origin.leader_id = hint.leader_id;
    origin.leader_address = g_strdup(hint.leader_address);
    origin.leader_epoch = hint.leader_epoch;
    origin.metadata_version = hint.metadata_version;
  }
  source_origin_clear(ret_origin);
  *ret_origin = origin;
}

void source_origin_clear(SourceOrigin *origin) {
  g_free(origin->topic);
  g_free(origin->topic_id);
  g_free(origin->leader_address);
  *origin = (SourceOrigin){0};
}

/* The call broke rather than being refused: by grpc, not by a broker. What became of it does not matter: it only read.
 */
static gboolean is_transport(const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  if (reason == FAILURE(UNKNOWN_OUTCOME) || reason == FAILURE(DEADLINE_EXCEEDED) || reason == FAILURE(CANCELLED) ||
      reason == FAILURE(PEER_UNREACHABLE))
    return TRUE;
  switch (failure_code(failure)) {
  case GRPC_CANCELLED:
  case GRPC_UNKNOWN:
  case GRPC_DEADLINE_EXCEEDED:
  case GRPC_INTERNAL:
  case GRPC_UNAVAILABLE:
    return reason == FAILURE(UNSPECIFIED);
  default:
    return FALSE;
  }
}

/* Named after the leader where nothing else names it. */
static Failure *remote_failure(const Routed *routed, const Failure *failure) {
  if (!is_transport(failure))
    return failure_copy(failure);
  return failure_new(FAILURE(PEER_UNREACHABLE), "broker %d at %s, which leads %s/%d, does not answer: %s",
                     routed->route.leader->id, routed->route.leader->peer_address, routed->route.topic->name,
                     routed->partition, failure_message(failure));
}

static void remote_done(RpcMessage *response, const Failure *failure, gpointer data) {
  Routed *routed = data;
  g_clear_pointer(&routed->remote, rpc_client_call_unref);
  routed_answer(routed, failure != NULL ? remote_failure(routed, failure) : routed->ops->take_answer(routed, response));
}

void routed_ask(Routed *routed, const ProtobufCServiceDescriptor *service, const char *method,
                const ProtobufCMessage *request, gint64 deadline_us) {
  g_autoptr(RpcMessage) message = rpc_message_pack(request, NULL, 0);
  routed_ref(routed);
  routed->remote = rpc_client_unary(front_client(routed->front), routed->route.leader->peer_address, service, method,
                                    message, deadline_us, front_loop(routed->front), remote_done, routed);
}
