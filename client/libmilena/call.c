/* Calls that wait: any broker does, so others are asked when one fails. See client_call in client.h.
 *
 * Which failures are tried again
 *   reads             whatever may pass: brokers out of reach, draining, overloaded, without a controller, silent
 *   idempotent writes the same
 *   writes            only what says that nothing was changed. A connection that broke under way says nothing, so the
 *                     broker is tried out with a read before: one that is simply down never gets the write.
 * A controller that is asked directly, and is not the active one, points to the one that is: that is followed.
 *
 * Runs on the caller's thread; keeps no state. */
#include "client/libmilena/client.h"
#include "milena/v1/admin_service.pb-c.h"

typedef struct {
  MilenaClient *client;
  gint64 deadline_us;
  guint attempts;
} Tries;

static gboolean may_pass(const Failure *failure, CallKind kind) {
  if (failure_reason(failure) == FAILURE(NOT_CONTROLLER))
    return TRUE;
  if (kind == CALL_WRITE)
    return failure_reason(failure) != FAILURE(UNSPECIFIED) && failure_is_retriable(failure);
  FailureReason reason = failure_reason(failure);
  return failure_is_retriable(failure) || reason == FAILURE(UNKNOWN_OUTCOME) || reason == FAILURE(DEADLINE_EXCEEDED) ||
         reason == FAILURE(CANCELLED);
}

/* Wait before the next try. Returns FALSE when the time is up. */
static gboolean pause_before_retry(Tries *tries) {
  guint round = 1 + tries->attempts / client_address_count(tries->client);
  gint64 pause_us = client_backoff_ms(tries->client, round) * G_TIME_SPAN_MILLISECOND;
  gint64 left_us = tries->deadline_us - g_get_monotonic_time();
  if (left_us <= 0)
    return FALSE;
  g_usleep((gulong)MIN(pause_us, left_us));
  return g_get_monotonic_time() < tries->deadline_us;
}

/* The time is up: say for how long it was tried, and what failed last. @last: taken. */
static Failure *give_up(Failure *last, guint attempts, const char *method) {
  if (failure_reason(last) != FAILURE(UNSPECIFIED) && failure_reason(last) != FAILURE(PEER_UNREACHABLE))
    return failure_prefix(last, "%s failed %u times", method, attempts);
  Failure *failure = failure_new(FAILURE(PEER_UNREACHABLE),
                                 "%s: no broker could be reached in %u tries; is the cluster up, and the bootstrap "
                                 "address right? The last try said: %s",
                                 method, attempts, failure_message(last));
  failure_free(last);
  return failure;
}

/* One try at one broker. */
static Failure *try_once(Tries *tries, const ProtobufCServiceDescriptor *service, const char *method,
                         const ProtobufCMessage *request, gint64 deadline_us, RpcMessage **ret_response) {
  g_autofree char *address = client_address(tries->client);
  g_autoptr(RpcMessage) response = NULL;
  tries->attempts++;
  Failure *failure =
      rpc_client_unary_sync(client_rpc(tries->client), address, service, method, request, deadline_us, &response);
  if (failure == NULL) {
    client_address_answered(tries->client, address);
    if (ret_response != NULL)
      *ret_response = g_steal_pointer(&response);
    return NULL;
  }
  const char *hint = failure_get(failure, "address");
  if (failure_reason(failure) == FAILURE(NOT_CONTROLLER) && hint != NULL && *hint)
    client_address_answered(tries->client, hint); /* the one that is asked next */
  else if (may_pass(failure, CALL_READ))
    client_address_failed(tries->client, address);
  else
    client_address_answered(tries->client, address);
  return failure_reason(failure) == FAILURE(UNSPECIFIED) ? failure_prefix(failure, "broker %s", address) : failure;
}

static gint64 attempt_deadline(Tries *tries) {
  gint64 attempt_us = client_options(tries->client)->attempt_timeout_ms * G_TIME_SPAN_MILLISECOND;
  return MIN(tries->deadline_us, g_get_monotonic_time() + attempt_us);
}

/* Find a broker that answers, and through which the controller does; of the controllers any that answers. */
static Failure *probe(Tries *tries, CallKind kind) {
  Milena__V1__ListBrokersRequest brokers = MILENA__V1__LIST_BROKERS_REQUEST__INIT;
  Milena__V1__ListControllersRequest controllers = MILENA__V1__LIST_CONTROLLERS_REQUEST__INIT;
  gboolean any = kind == CALL_CONTROLLERS;
  const char *method = any ? "ListControllers" : "ListBrokers";
  brokers.page_size = controllers.page_size = 1;
  Failure *before = NULL;
  for (;;) {
    Failure *failure = try_once(tries, &milena__v1__admin_service__descriptor, method,
                                any ? &controllers.base : &brokers.base, attempt_deadline(tries), NULL);
    if (failure == NULL || !may_pass(failure, CALL_READ)) {
      failure_free(before);
      return failure;
    }
    before = failure_more_telling(before, failure);
    if (!pause_before_retry(tries))
      return give_up(before, tries->attempts, method);
  }
}

MilenaError *client_call(MilenaClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                         const ProtobufCMessage *request, CallKind kind, gint64 deadline_us,
                         RpcMessage **ret_response) {
  return client_call_done_by(client, service, method, request, kind, FAILURE(UNSPECIFIED), deadline_us, ret_response);
}

MilenaError *client_call_done_by(MilenaClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                                 const ProtobufCMessage *request, CallKind kind, FailureReason done_by,
                                 gint64 deadline_us, RpcMessage **ret_response) {
  INVARIANT(!loop_is_current(client_loop(client)), "the client's thread never waits");
  Tries tries = {client, deadline_us, 0};
  gboolean may_be_done = FALSE;
  for (;;) {
    Failure *failure = kind == CALL_READ ? NULL : probe(&tries, kind);
    if (failure != NULL)
      return milena_error_take(failure, OUTCOME_NOT_WRITTEN);
    /* A write may rightly take long: only reads are cut short to ask another broker. */
    failure = try_once(&tries, service, method, request, kind == CALL_READ ? attempt_deadline(&tries) : deadline_us,
                       ret_response);
    if (failure == NULL)
      return NULL;
    if (may_be_done && done_by != FAILURE(UNSPECIFIED) && failure_reason(failure) == done_by) {
      failure_free(failure);
      return NULL;
    }
    Outcome outcome = kind == CALL_READ ? OUTCOME_NOT_WRITTEN : outcome_of_write(failure);
    if (!may_pass(failure, kind))
      return milena_error_take(failure, outcome);
    may_be_done |= outcome == OUTCOME_UNKNOWN;
    if (!pause_before_retry(&tries))
      return milena_error_take(outcome == OUTCOME_UNKNOWN ? failure : give_up(failure, tries.attempts, method),
                               outcome);
    failure_free(failure);
  }
}
