/* Calls that arrive: requested again at once, decoded, then refused or handed to their loop.
 *
 * Thread: the queue's that the call arrived on. What is refused here is never seen by a handler, so the caller may
 * retry it: OVERLOADED (the loop's mailbox is full, or too many bytes are in flight) and DRAINING say so. */
#include "services/rpc/server_internal.h"
#include "services/rpc/slices.h"

static void call_accepted(RpcOp *op, gboolean ok);

void rpc_server_request_call(RpcServer *server, RpcQueue *queue, RpcMethod *method) {
  RpcCall *call = rpc_call_new(server, queue, method);
  rpc_op_init(&call->accept_op, RPC_OP_ACCEPT, call, call_accepted);
  rpc_op_hand_over(&call->accept_op);
  grpc_completion_queue *core = rpc_queue_core(queue);
  grpc_call_error error =
      method ? grpc_server_request_registered_call(server->core, method->registered, &call->core, &call->core_deadline,
                                                   &call->metadata, method->client_streams ? NULL : &call->payload,
                                                   core, core, &call->accept_op)
             : grpc_server_request_call(server->core, &call->core, &call->details, &call->metadata, core, core,
                                        &call->accept_op);
  if (error != GRPC_CALL_OK) /* the queue is being shut down */
    rpc_call_unref(call);
}

/* The request of a call with one, decoded and charged. */
static Failure *take_request(RpcCall *call) {
  if (!call->payload)
    return failure_new(FAILURE(MALFORMED_MESSAGE), "%s was called without a request message", call->method->path);
  g_autoptr(RpcMessage) request = NULL;
  Failure *failure =
      rpc_receive_message(call->payload, call->method->descriptor->input, call->server->budget, &request);
  if (failure)
    return failure;
  grpc_byte_buffer_destroy(g_steal_pointer(&call->payload));
  call->received = g_steal_pointer(&request);
  return NULL;
}

static Failure *take_call(RpcCall *call) {
  if (!call->method) {
    g_autofree char *path = rpc_slice_dup_text(call->details.method);
    return failure_new(FAILURE(UNSUPPORTED), "this process has no method %s: see its services with grpcurl's `list`",
                       path);
  }
  if (atomic_load(&call->server->is_draining))
    return failure_new(FAILURE(DRAINING), "this process is stopping: call another one, or again later");
  Failure *failure = call->method->client_streams ? NULL : take_request(call);
  if (!failure && !rpc_call_hand_over(call)) {
    failure = failure_new(FAILURE(OVERLOADED), "the queue of %s is full: try again later", call->method->path);
    failure_set_retry_delay(failure, RPC_OVERLOADED_RETRY_MS);
  }
  return failure;
}

static void call_accepted(RpcOp *op, gboolean ok) {
  RpcCall *call = op->owner;
  if (!ok) { /* the server shuts down; nothing arrived */
    rpc_call_unref(call);
    return;
  }
  rpc_server_request_call(call->server, call->queue, call->method);
  if (!rpc_call_watch(call))
    return;
  Failure *failure = take_call(call);
  if (failure)
    rpc_call_end(call, failure);
}

Failure *rpc_receive_message(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type, RpcBudget *budget,
                             RpcMessage **ret_message) {
  g_autoptr(RpcMessage) message = NULL;
  Failure *failure = rpc_message_from_core(buffer, &message);
  if (failure)
    return failure;
  /* Charged as it came, then once more for what decoding took. */
  gboolean fits = !budget || rpc_message_charge(message, budget);
  if (fits && type)
    failure = rpc_message_decode_body(message, type);
  if (failure)
    return failure;
  if (!fits || (budget && !rpc_message_charge(message, budget))) {
    failure = failure_new(FAILURE(OVERLOADED),
                          "requests of %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                          " bytes are in progress, and this one does not fit: try again later",
                          rpc_budget_used(budget), rpc_budget_most(budget));
    return failure_set_retry_delay(failure, RPC_OVERLOADED_RETRY_MS);
  }
  *ret_message = g_steal_pointer(&message);
  return NULL;
}
