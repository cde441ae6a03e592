/* One call of a client, from its start to its end.
 *
 *   unary:  started: one batch with everything ──completes──► answer decoded ──► `done`
 *   stream: started ──send, half_close (the sender's steps)──► half-closed
 *                   ──read──► reading ──message──► delivered ...
 *                   ──status arrived, and nothing left to deliver──► `closed`
 *
 * Invariants
 *   1. All completions of a call come on its queue's one thread; all events on its loop.
 *   2. One receive is outstanding at most, started by the loop; one send at most, started by who holds the sender's
 * turn.
 *   3. The core tells the status after all messages were received; `closed` waits for the delivery of the last.
 *   4. References: the library holds one until the end was delivered, the caller one, each outstanding operation and
 *      posted task one.
 * Failure modes: a peer that is gone, a deadline, a cancellation and a malformed answer all end as a Failure. */
#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include "services/rpc/client_internal.h"
#include "services/rpc/server_internal.h"
#include "services/rpc/slices.h"

/* The call that a task is embedded in. */
#define CALL_OF(task, member) ((RpcClientCall *)((char *)(task)-offsetof(RpcClientCall, member)))

static void unary_completed(RpcOp *op, gboolean ok);
static void headers_arrived(RpcOp *op, gboolean ok);
static void message_arrived(RpcOp *op, gboolean ok);
static void status_arrived(RpcOp *op, gboolean ok);
static void step_sent(RpcOp *op, gboolean ok);
static void unary_run(LoopTask *task);
static void message_run(LoopTask *task);
static void writable_run(LoopTask *task);
static void closed_run(LoopTask *task);

/* ---- Life ---- */

static RpcClientCall *call_new(RpcClient *client, const char *address, const char *service, const char *method,
                               gint64 deadline_us, Loop *loop) {
  g_autofree char *path = g_strdup_printf("/%s/%s", service, method);
  RpcClientCall *call = g_new0(RpcClientCall, 1);
  atomic_init(&call->refs, 2); /* the library's and the caller's */
  atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
  call->client = client;
  call->address = g_strdup(address);
  call->link.data = call;
  call->loop = loop;
  call->sentence = grpc_empty_slice();
  call->client_address = grpc_empty_slice();
  grpc_metadata_array_init(&call->headers);
  grpc_metadata_array_init(&call->trailers);
  pthread_mutex_init(&call->mutex, NULL);
  call->message_task.run = message_run;
  call->writable_task.run = writable_run;
  call->core = rpc_client_open(client, address, path, deadline_us, &call->queue);
  rpc_registry_add(client->calls, &call->link);
  return call;
}

static void call_free(RpcClientCall *call) {
  grpc_metadata_array_destroy(&call->headers);
  grpc_metadata_array_destroy(&call->trailers);
  grpc_slice_unref(call->sentence);
  if (call->arrived)
    grpc_byte_buffer_destroy(call->arrived);
  if (call->outgoing)
    grpc_byte_buffer_destroy(call->outgoing);
  rpc_message_unref(call->received);
  failure_free(call->malformed);
  if (call->is_stream)
    rpc_sender_clear(&call->sender);
  pthread_mutex_destroy(&call->mutex);
  grpc_call_unref(call->core);
  rpc_queue_unref(call->queue);
  g_free(call->metadata);
  grpc_slice_unref(call->client_address);
  g_free(call->address);
  rpc_client_unref(call->client);
  g_free(call);
}

RpcClientCall *rpc_client_call_ref(RpcClientCall *call) {
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  return call;
}

void rpc_client_call_unref(RpcClientCall *call) {
  int before = atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel);
  INVARIANT(before > 0, "a call is released once for each reference");
  if (before == 1)
    call_free(call);
}

void rpc_client_call_cancel(RpcClientCall *call) {
  atomic_store(&call->is_cancelled, TRUE);
  grpc_call_cancel(call->core, NULL);
}

void rpc_client_call_abandon(RpcClientCall *call) {
  LOOP_ASSERT_CURRENT(call->loop);
  pthread_mutex_lock(&call->mutex);
  call->is_abandoned = TRUE;
  pthread_mutex_unlock(&call->mutex);
  rpc_client_call_cancel(call);
}

/* Start a batch that the call waits for. The client's queues run as long as calls are made. */
static void start(RpcClientCall *call, RpcOp *op, const grpc_op *batch, gsize count) {
  rpc_client_call_ref(call);
  gboolean started = rpc_op_start(op, call->core, batch, count);
  INVARIANT(started, "calls end before their client does");
}

/* The same on a thread that is not a queue's, and holds no lock. Returns whether it has completed, and not by its
 * `complete`. */
static gboolean start_here(RpcClientCall *call, RpcOp *op, const grpc_op *batch, gsize count, gboolean *ret_ok) {
  rpc_client_call_ref(call);
  RpcOpStart start = rpc_op_start_here(call->queue, op, call->core, batch, count, ret_ok);
  INVARIANT(start != RPC_OP_REFUSED, "calls end before their client does");
  return start == RPC_OP_DONE;
}

/* Deliver the end. Then the callbacks that are due are with the loop, and the client need not wait for this call. The
 * caller has a reference of its own. */
static void post_end(RpcClientCall *call) {
  if (call->loop)
    loop_post_completion(call->loop, &call->closed_task);
  else
    call->closed_task.run(&call->closed_task);
  rpc_registry_remove(call->client->calls, &call->link);
}

static grpc_op send_headers(RpcClientCall *call) {
  const RpcClient *client = call->client;
  gsize count = client->metadata_count;
  call->metadata = g_new0(grpc_metadata, count + 1);
  for (gsize i = 0; i < count; i++)
    call->metadata[i] = client->metadata[i];
  if (GRPC_SLICE_LENGTH(call->client_address) > 0)
    call->metadata[count++] =
        (grpc_metadata){.key = grpc_slice_from_static_string(RPC_CLIENT_KEY), .value = call->client_address};
  return (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA,
                   .data.send_initial_metadata = {.count = count, .metadata = call->metadata}};
}

/* NULL for success. */
static Failure *outcome(RpcClientCall *call) {
  if (call->malformed)
    return g_steal_pointer(&call->malformed);
  /* A cancellation that did not come from here is a connection that was lost. */
  gboolean is_lost = call->code == GRPC_STATUS_CANCELLED && !atomic_load(&call->is_cancelled);
  return rpc_status_to_failure(is_lost ? GRPC_STATUS_UNAVAILABLE : call->code, call->sentence, &call->trailers,
                               call->address, call->is_stream);
}

/* ---- Unary ---- */

static const ProtobufCMethodDescriptor *find_method(const ProtobufCServiceDescriptor *service, const char *method) {
  const ProtobufCMethodDescriptor *found = protobuf_c_service_descriptor_get_method_by_name(service, method);
  INVARIANT(found, "a call names a method of its service");
  return found;
}

RpcClientCall *rpc_client_unary(RpcClient *client, const char *address, const ProtobufCServiceDescriptor *service,
                                const char *method, RpcMessage *request, gint64 deadline_us, Loop *loop,
                                RpcUnaryDone done, gpointer user_data) {
  return rpc_client_unary_for(client, NULL, address, service, method, request, deadline_us, loop, done, user_data);
}

RpcClientCall *rpc_client_unary_for(RpcClient *client, const char *client_address, const char *address,
                                    const ProtobufCServiceDescriptor *service, const char *method, RpcMessage *request,
                                    gint64 deadline_us, Loop *loop, RpcUnaryDone done, gpointer user_data) {
  const ProtobufCMethodDescriptor *found = find_method(service, method);
  RpcClientCall *call = call_new(client, address, service->name, found->name, deadline_us, loop);
  call->client_address = grpc_slice_from_copied_string(client_address ? client_address : "");
  INVARIANT(grpc_header_nonbin_value_is_legal(call->client_address), "a peer's address is printable");
  call->response_type = found->output;
  call->done = done;
  call->user_data = user_data;
  call->closed_task.run = unary_run;
  call->outgoing = rpc_message_to_core(request);
  rpc_op_init(&call->close_op, RPC_OP_CLOSE, call, unary_completed);
  grpc_op batch[] = {
      send_headers(call),
      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->outgoing},
      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
      {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &call->headers},
      {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->arrived},
      {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
       .data.recv_status_on_client = {.trailing_metadata = &call->trailers,
                                      .status = &call->code,
                                      .status_details = &call->sentence}},
  };
  start(call, &call->close_op, batch, G_N_ELEMENTS(batch));
  return call;
}

/* Queue's thread. The batch as a whole always succeeds: it has the status. */
static void unary_completed(RpcOp *op, gboolean ok) {
  (void)ok;
  RpcClientCall *call = op->owner;
  if (call->code == GRPC_STATUS_OK && !call->arrived)
    call->malformed =
        failure_new(FAILURE(MALFORMED_MESSAGE), "%s answered with OK, but without a message", call->address);
  else if (call->code == GRPC_STATUS_OK)
    call->malformed = rpc_receive_message(call->arrived, call->response_type, NULL, &call->received);
  post_end(call);
  rpc_client_call_unref(call);
}

static void unary_run(LoopTask *task) {
  RpcClientCall *call = CALL_OF(task, closed_task);
  g_autoptr(Failure) failure = outcome(call);
  if (!call->is_abandoned)
    call->done(failure ? NULL : call->received, failure, call->user_data);
  rpc_client_call_unref(call); /* the library's */
}

/* ---- Unary, blocking ---- */

typedef struct {
  pthread_mutex_t mutex; /* guards what follows */
  pthread_cond_t cond;
  gboolean done;
  RpcMessage *response;
  Failure *failure;
} Waiter;

static void waiter_done(RpcMessage *response, const Failure *failure, gpointer user_data) {
  Waiter *waiter = user_data;
  pthread_mutex_lock(&waiter->mutex);
  waiter->response = response ? rpc_message_ref(response) : NULL;
  waiter->failure = failure ? failure_copy(failure) : NULL;
  waiter->done = TRUE;
  pthread_cond_signal(&waiter->cond);
  pthread_mutex_unlock(&waiter->mutex);
}

Failure *rpc_client_unary_sync(RpcClient *client, const char *address, const ProtobufCServiceDescriptor *service,
                               const char *method, const ProtobufCMessage *request, gint64 deadline_us,
                               RpcMessage **ret_response) {
  Waiter waiter = {.done = FALSE};
  pthread_mutex_init(&waiter.mutex, NULL);
  pthread_cond_init(&waiter.cond, NULL);
  g_autoptr(RpcMessage) packed = rpc_message_pack(request, NULL, 0);
  rpc_client_call_unref(
      rpc_client_unary(client, address, service, method, packed, deadline_us, NULL, waiter_done, &waiter));
  pthread_mutex_lock(&waiter.mutex);
  while (!waiter.done)
    pthread_cond_wait(&waiter.cond, &waiter.mutex);
  pthread_mutex_unlock(&waiter.mutex);
  pthread_cond_destroy(&waiter.cond);
  pthread_mutex_destroy(&waiter.mutex);
  if (waiter.failure)
    return waiter.failure;
  if (ret_response)
    *ret_response = waiter.response;
  else
    rpc_message_unref(waiter.response);
  return NULL;
}

/* ---- Streams ---- */

RpcClientCall *rpc_client_stream(RpcClient *client, const char *address, const ProtobufCServiceDescriptor *service,
                                 const char *method, gint64 deadline_us, Loop *loop, const RpcClientEvents *events,
                                 gpointer state) {
  INVARIANT(events->closed, "the owner of a stream hears of its end");
  const ProtobufCMethodDescriptor *found = find_method(service, method);
  RpcClientCall *call = call_new(client, address, service->name, found->name, deadline_us, loop);
  call->response_type = found->output;
  call->is_stream = TRUE;
  call->events = *events;
  call->user_data = state;
  call->closed_task.run = closed_run;
  rpc_sender_init(&call->sender, client->options.send_queue_max_bytes, TRUE);
  rpc_op_init(&call->headers_op, RPC_OP_HEADERS, call, headers_arrived);
  rpc_op_init(&call->receive_op, RPC_OP_RECEIVE, call, message_arrived);
  rpc_op_init(&call->send_op, RPC_OP_SEND, call, step_sent);
  rpc_op_init(&call->close_op, RPC_OP_CLOSE, call, status_arrived);
  grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                    .data.recv_status_on_client = {.trailing_metadata = &call->trailers,
                                                   .status = &call->code,
                                                   .status_details = &call->sentence}};
  start(call, &call->close_op, &status, 1);
  grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA,
                     .data.recv_initial_metadata.recv_initial_metadata = &call->headers};
  start(call, &call->headers_op, &headers, 1);
  grpc_op send = send_headers(call);
  start(call, &call->send_op, &send, 1);
  return call;
}

static void headers_arrived(RpcOp *op, gboolean ok) {
  (void)ok; /* what failed is in the status */
  rpc_client_call_unref(op->owner);
}

/* ---- Receiving ---- */

void rpc_client_call_read(RpcClientCall *call) {
  LOOP_ASSERT_CURRENT(call->loop);
  pthread_mutex_lock(&call->mutex);
  gboolean may_read = !call->is_reading && !call->has_status;
  if (may_read)
    call->is_reading = TRUE;
  pthread_mutex_unlock(&call->mutex);
  if (!may_read)
    return;
  grpc_op batch = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->arrived};
  gboolean ok;
  if (start_here(call, &call->receive_op, &batch, 1, &ok))
    message_arrived(&call->receive_op, ok);
}

/* Something came to an end: deliver `closed` when it was the last that was waited for. */
static void close_if_over(RpcClientCall *call, gboolean reading_ended, gboolean status_came) {
  pthread_mutex_lock(&call->mutex);
  if (reading_ended)
    call->is_reading = FALSE;
  if (status_came)
    call->has_status = TRUE;
  gboolean is_over = call->has_status && !call->is_reading && !call->is_closing;
  if (is_over)
    call->is_closing = TRUE;
  pthread_mutex_unlock(&call->mutex);
  if (is_over)
    post_end(call);
}

/* Deliver what arrived; FALSE when no one wants to hear of it: then the loop may have ended, too. */
static gboolean post_message(RpcClientCall *call) {
  pthread_mutex_lock(&call->mutex);
  gboolean is_wanted = !call->is_abandoned;
  if (is_wanted)
    loop_post_completion(call->loop, &call->message_task);
  pthread_mutex_unlock(&call->mutex);
  return is_wanted;
}

/* Queue's thread; or the loop, for a message that was there when it was asked for. */
static void message_arrived(RpcOp *op, gboolean ok) {
  RpcClientCall *call = op->owner;
  Failure *failure = NULL;
  if (ok && call->arrived)
    failure = rpc_receive_message(call->arrived, call->response_type, NULL, &call->received);
  if (call->arrived)
    grpc_byte_buffer_destroy(g_steal_pointer(&call->arrived));
  if (failure) {
    call->malformed = failure_prefix(failure, "%s sent something unreadable", call->address);
    rpc_client_call_cancel(call);
  }
  if (call->received && post_message(call))
    return;                         /* the task has the operation's reference now */
  close_if_over(call, TRUE, FALSE); /* the last one, or none: the status follows, or has come */
  rpc_client_call_unref(call);
}

static void message_run(LoopTask *task) {
  RpcClientCall *call = CALL_OF(task, message_task);
  g_autoptr(RpcMessage) message = g_steal_pointer(&call->received);
  pthread_mutex_lock(&call->mutex);
  call->is_reading = FALSE;
  gboolean is_closing = call->is_closing;
  pthread_mutex_unlock(&call->mutex);
  INVARIANT(!is_closing, "the end waits for the last message");
  if (call->events.message && !call->is_abandoned)
    call->events.message(call, message, call->user_data);
  close_if_over(call, FALSE, FALSE);
  rpc_client_call_unref(call);
}

/* Queue's thread. */
static void status_arrived(RpcOp *op, gboolean ok) {
  (void)ok; /* a status always comes */
  RpcClientCall *call = op->owner;
  rpc_sender_stop(&call->sender);
  close_if_over(call, FALSE, TRUE);
  rpc_client_call_unref(call);
}

static void closed_run(LoopTask *task) {
  RpcClientCall *call = CALL_OF(task, closed_task);
  g_autoptr(Failure) failure = outcome(call);
  if (!call->is_abandoned)
    call->events.closed(call, failure, call->user_data);
  rpc_client_call_unref(call); /* the library's */
}

/* ---- Sending: whoever holds the sender's turn ---- */

static void writable_run(LoopTask *task) {
  RpcClientCall *call = CALL_OF(task, writable_task);
  atomic_store(&call->writable_posted, FALSE);
  pthread_mutex_lock(&call->mutex);
  gboolean is_closing = call->is_closing;
  pthread_mutex_unlock(&call->mutex);
  if (!is_closing && !call->is_abandoned && call->events.writable)
    call->events.writable(call, call->user_data);
  rpc_client_call_unref(call);
}

/* Take the next step. Returns FALSE when there is none: then the turn was given back. */
static gboolean take_step(RpcClientCall *call, RpcSendStep *ret_step) {
  gboolean writable;
  gboolean has_step = rpc_sender_next(&call->sender, ret_step, &writable);
  if (writable && !atomic_exchange(&call->writable_posted, TRUE)) {
    rpc_client_call_ref(call);
    loop_post_completion(call->loop, &call->writable_task);
  }
  return has_step;
}

/* Start one step, for which the caller holds the turn. Returns whether it has completed here. */
static gboolean start_step(RpcClientCall *call, const RpcSendStep *step, gboolean here, gboolean *ret_ok) {
  grpc_op batch[2] = {0};
  gsize count = 0;
  if (step->message) {
    call->outgoing = rpc_message_to_core(step->message);
    rpc_message_unref(step->message); /* the buffer shares its pieces */
    batch[count].op = GRPC_OP_SEND_MESSAGE;
    batch[count++].data.send_message.send_message = call->outgoing;
  }
  if (step->end)
    batch[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  if (here)
    return start_here(call, &call->send_op, batch, count, ret_ok);
  start(call, &call->send_op, batch, count);
  return FALSE;
}

/* What a step that ended leaves behind, but for the turn. */
static void finish_step(RpcClientCall *call, gboolean ok) {
  if (call->outgoing)
    grpc_byte_buffer_destroy(g_steal_pointer(&call->outgoing));
  if (!ok)
    rpc_sender_stop(&call->sender); /* the status says why */
  rpc_client_call_unref(call);
}

/* Send what is next, until a step is on its way, or give the turn back. @here: this is not a queue's thread, and holds
 * no lock. */
static void send_next(RpcClientCall *call, gboolean here) {
  rpc_client_call_ref(call);
  RpcSendStep step;
  gboolean is_done = TRUE;
  while (is_done && take_step(call, &step)) {
    gboolean ok = FALSE;
    is_done = start_step(call, &step, here, &ok);
    if (is_done)
      finish_step(call, ok);
  }
  rpc_client_call_unref(call);
}

/* Queue's thread. */
static void step_sent(RpcOp *op, gboolean ok) {
  RpcClientCall *call = rpc_client_call_ref(op->owner);
  finish_step(call, ok);
  send_next(call, FALSE);
  rpc_client_call_unref(call);
}

RpcSendResult rpc_client_call_send_message(RpcClientCall *call, RpcMessage *message) {
  gboolean start_now;
  RpcSendResult result = rpc_sender_push(&call->sender, message, &start_now);
  if (start_now)
    send_next(call, TRUE);
  return result;
}

RpcSendResult rpc_client_call_send(RpcClientCall *call, const ProtobufCMessage *message, GBytes *const *owners,
                                   gsize owner_count) {
  g_autoptr(RpcMessage) packed = rpc_message_pack(message, owners, owner_count);
  return rpc_client_call_send_message(call, packed);
}

void rpc_client_call_half_close(RpcClientCall *call) {
  gboolean start_now;
  if (rpc_sender_end(&call->sender, &start_now) && start_now)
    send_next(call, TRUE);
}
