/* Unary calls passed on: see forward.h.
 *
 *   arrived ──route──► call to the other process is under way ──answer──► replied
 *           ──no route─►                                      ──not reached──► replied by who stands in, or failed
 *                                                             ──caller goes away──► cancelled
 *
 * Invariants
 *   1. The state is freed when the client's call is done and the server's call is closed, whichever comes last.
 *   2. The response is not decoded: its bytes go back as they came.
 *
 * Owner: the service's loop. */
#include "services/rpc/forward.h"

#include "services/rpc/client_internal.h"
#include "services/rpc/server_internal.h"

typedef struct {
  const RpcForward *forward;
  RpcMessage *request;    /* a reference, for who stands in */
  RpcCall *call;          /* the handler's reference lasts until it is closed: then NULL */
  RpcClientCall *onwards; /* owned; until it is done: then NULL */
} Forwarded;

static void forwarded_free_if_over(Forwarded *forwarded) {
  if (forwarded->call || forwarded->onwards)
    return;
  rpc_message_unref(forwarded->request);
  g_free(forwarded);
}

/* Somebody else ended the call. */
static gboolean stood_in(const RpcForward *forward, RpcCall *call, RpcMessage *request, const Failure *failure) {
  return forward->stand_in &&
         forward->stand_in(call, request, call->method->descriptor->name, failure, forward->route_data);
}

static void forwarded_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Forwarded *forwarded = state;
  forwarded->call = NULL;
  if (forwarded->onwards)
    rpc_client_call_cancel(forwarded->onwards); /* no one waits for its answer; `done` still comes */
  forwarded_free_if_over(forwarded);
}

static const RpcCallEvents FORWARDED_EVENTS = {.closed = forwarded_closed};

static void forwarded_done(RpcMessage *response, const Failure *failure, gpointer user_data) {
  Forwarded *forwarded = user_data;
  g_clear_pointer(&forwarded->onwards, rpc_client_call_unref);
  gboolean is_unreached = failure && failure_reason(failure) == FAILURE(PEER_UNREACHABLE);
  if (forwarded->call && !failure)
    rpc_call_reply_message(forwarded->call, response);
  else if (forwarded->call &&
           !(is_unreached && stood_in(forwarded->forward, forwarded->call, forwarded->request, failure)))
    rpc_call_finish(forwarded->call, failure_copy(failure));
  forwarded_free_if_over(forwarded);
}

void rpc_forward_unary(RpcCall *call, RpcMessage *request, gpointer data) {
  const RpcForward *forward = data;
  Failure *failure = NULL;
  g_autofree char *address = forward->route(forward->route_data, &failure);
  if (!address) {
    if (stood_in(forward, call, request, failure))
      failure_free(failure);
    else
      rpc_call_finish(call, failure);
    return;
  }
  Forwarded *forwarded = g_new0(Forwarded, 1);
  *forwarded = (Forwarded){.forward = forward, .request = rpc_message_ref(request), .call = call};
  rpc_call_set_events(call, &FORWARDED_EVENTS, forwarded);
  const RpcMethod *method = call->method;
  forwarded->onwards =
      rpc_client_unary_raw(forward->client, address, method->service->name, method->descriptor->name, NULL, request,
                           rpc_call_deadline_us(call), rpc_call_loop(call), forwarded_done, forwarded);
}
