/* One call in the server, from its arrival to its end.
 *
 *   requested ──arrives: watch──► open ──hand_over──► handler runs on the loop
 *     receiving: open ──client is done──► half-closed
 *     sending:   open ──end (finish, reply, refusal)──► what waits is sent, then the status ──► status sent
 *   The core completes close_op when the status is sent, or the client went away (cancelled). Then: `closed` on the
 * loop where the handler set events or the call was cancelled, and the call leaves the registry.
 *
 * Invariants
 *   1. All completions of a call come on its queue's one thread, one after the other; all events on its loop.
 *   2. One receive is outstanding at most, started by the loop; one send at most, started by who holds the sender's
 * turn.
 *   3. References: the library holds one until the call is closed, the handler one (consumed by finish, or by `closed`
 *      when events were set), each outstanding operation and posted task one.
 *   4. `closed` is the last event: nothing is delivered after is_closed.
 * Failure modes: a queue that shuts down refuses batches; then the call counts as cancelled. A client that vanished
 * makes sends complete with FALSE; then what waits is dropped, and close_op says the rest. */
#include <grpc/support/alloc.h>
#include <string.h>

#include "services/rpc/server_internal.h"
#include "services/rpc/slices.h"

/* What the answer's way to the caller may take. */
#define ANSWER_US ((gint64)100 * 1000)
/* The call that a task is embedded in. */
#define CALL_OF(task, member) ((RpcCall *)((char *)(task)-offsetof(RpcCall, member)))

static void call_closed(RpcOp *op, gboolean ok);
static void call_received(RpcOp *op, gboolean ok);
static void call_sent(RpcOp *op, gboolean ok);
static void start_run(LoopTask *task);
static void message_run(LoopTask *task);
static void send_run(LoopTask *task);
static void writable_run(LoopTask *task);
static void closed_run(LoopTask *task);
static void draining_run(LoopTask *task);

/* ---- Life ---- */

RpcCall *rpc_call_new(RpcServer *server, RpcQueue *queue, RpcMethod *method) {
  RpcCall *call = g_new0(RpcCall, 1);
  atomic_init(&call->refs, 1);
  call->server = rpc_server_ref(server);
  call->queue = rpc_queue_ref(queue);
  call->method = method;
  call->link.data = call;
  grpc_metadata_array_init(&call->metadata);
  if (!method)
    grpc_call_details_init(&call->details);
  rpc_op_init(&call->close_op, RPC_OP_CLOSE, call, call_closed);
  rpc_op_init(&call->receive_op, RPC_OP_RECEIVE, call, call_received);
  rpc_op_init(&call->send_op, RPC_OP_SEND, call, call_sent);
  rpc_sender_init(&call->sender, server->options.send_queue_max_bytes, FALSE);
  call->start_task.run = start_run;
  call->message_task.run = message_run;
  call->send_task.run = send_run;
  call->writable_task.run = writable_run;
  call->closed_task.run = closed_run;
  call->draining_task.run = draining_run;
  return call;
}

static void call_free(RpcCall *call) {
  if (call->payload)
    grpc_byte_buffer_destroy(call->payload);
  if (call->arrived)
    grpc_byte_buffer_destroy(call->arrived);
  rpc_message_unref(call->received);
  rpc_sender_clear(&call->sender);
  failure_free(call->outcome);
  grpc_metadata_array_destroy(&call->metadata);
  if (!call->method)
    grpc_call_details_destroy(&call->details);
  if (call->core)
    grpc_call_unref(call->core);
  g_free(call->peer);
  g_free(call->client);
  if (call->metadata_texts)
    g_hash_table_unref(call->metadata_texts);
  rpc_queue_unref(call->queue);
  rpc_server_unref(call->server);
  g_free(call);
}

RpcCall *rpc_call_ref(RpcCall *call) {
  atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
  return call;
}

void rpc_call_unref(RpcCall *call) {
  int before = atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel);
  INVARIANT(before > 0, "a call is answered once, and released once for each reference");
  if (before == 1)
    call_free(call);
}

/* ---- Beginning: the queue's thread ---- */

gboolean rpc_call_watch(RpcCall *call) {
  RpcMethod *method = call->method;
  call->deadline_us = rpc_deadline_from_core(method ? call->core_deadline : call->details.deadline);
  if (method) {
    guint turn = atomic_fetch_add_explicit(&method->next_loop, 1, memory_order_relaxed) % method->loop_count;
    call->loop = method->loops[turn];
    call->user_data = method->user_datas[turn];
  }
  rpc_registry_add(call->server->calls, &call->link);
  grpc_op batch = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &call->core_cancelled};
  if (rpc_op_start(&call->close_op, call->core, &batch, 1))
    return TRUE;
  rpc_registry_remove(call->server->calls, &call->link);
  rpc_call_unref(call);
  return FALSE;
}

gboolean rpc_call_hand_over(RpcCall *call) {
  rpc_call_ref(call); /* the handler's */
  call->was_handed_over = loop_post(call->loop, &call->start_task);
  if (!call->was_handed_over)
    rpc_call_unref(call);
  return call->was_handed_over;
}

/* Loop; once. */
static void tell_draining(RpcCall *call) {
  if (!atomic_load(&call->has_events) || call->is_closed || call->was_told_to_drain || !call->events.draining)
    return;
  call->was_told_to_drain = TRUE;
  call->events.draining(call, call->state);
}

static void start_run(LoopTask *task) {
  RpcCall *call = CALL_OF(task, start_task);
  if (atomic_load(&call->is_cancelled) || atomic_load(&call->is_ended)) { /* no one waits for the answer any more */
    rpc_call_unref(call);
    return;
  }
  const RpcMethodHandler *handler = &call->method->handler;
  RpcCall *held = rpc_call_ref(call); /* the handler may answer, and so drop its own */
  if (handler->unary) {
    g_autoptr(RpcMessage) request = g_steal_pointer(&call->received);
    handler->unary(call, request, call->user_data);
  } else {
    handler->stream(call, call->user_data);
  }
  if (atomic_load(&call->server->is_draining)) /* the word may have come before there were events to call */
    tell_draining(call);
  rpc_call_unref(held);
}

void rpc_call_set_events(RpcCall *call, const RpcCallEvents *events, gpointer state) {
  INVARIANT(!call->has_events, "events are set once");
  call->events = *events;
  call->state = state;
  atomic_store(&call->has_events, TRUE);
}

/* ---- Receiving ---- */

void rpc_call_read(RpcCall *call) {
  LOOP_ASSERT_CURRENT(call->loop);
  if (call->is_reading || call->is_half_closed || call->is_closed)
    return;
  call->is_reading = TRUE;
  rpc_call_ref(call);
  grpc_op batch = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->arrived};
  gboolean ok;
  switch (rpc_op_start_here(call->queue, &call->receive_op, call->core, &batch, 1, &ok)) {
  case RPC_OP_REFUSED:
    rpc_call_unref(call);
    break;
  case RPC_OP_STARTED:
    break;
  case RPC_OP_DONE:
    call_received(&call->receive_op, ok);
    break;
  }
}

/* Queue's thread; or the loop, for a message that was there when it was asked for. */
static void call_received(RpcOp *op, gboolean ok) {
  RpcCall *call = op->owner;
  gboolean is_broken = !ok || (!call->arrived && grpc_call_failed_before_recv_message(call->core));
  if (is_broken) { /* the client went away in the middle: not the end of its messages; `closed` tells */
    rpc_call_unref(call);
    return;
  }
  if (call->arrived) {
    Failure *failure =
        rpc_receive_message(call->arrived, call->method->descriptor->input, call->server->budget, &call->received);
    grpc_byte_buffer_destroy(g_steal_pointer(&call->arrived));
    if (failure) {
      rpc_call_end(call, failure);
      rpc_call_unref(call);
      return;
    }
  }
  loop_post_completion(call->loop, &call->message_task);
}

static void message_run(LoopTask *task) {
  RpcCall *call = CALL_OF(task, message_task);
  g_autoptr(RpcMessage) message = g_steal_pointer(&call->received);
  call->is_reading = FALSE;
  call->is_half_closed = message == NULL;
  if (!call->is_closed && !atomic_load(&call->is_cancelled) && call->events.message)
    call->events.message(call, message, call->state);
  rpc_call_unref(call);
}

/* ---- Sending: whoever holds the sender's turn ---- */

static void post_writable(RpcCall *call) {
  if (atomic_exchange(&call->writable_posted, TRUE))
    return;
  rpc_call_ref(call);
  loop_post_completion(call->loop, &call->writable_task);
}

static void writable_run(LoopTask *task) {
  RpcCall *call = CALL_OF(task, writable_task);
  atomic_store(&call->writable_posted, FALSE);
  if (!call->is_closed && call->events.writable)
    call->events.writable(call, call->state);
  rpc_call_unref(call);
}

/* The batch of one step. Returns how many operations it has. */
static gsize build_batch(RpcCall *call, const RpcSendStep *step, grpc_op batch[3]) {
  gsize count = 0;
  memset(batch, 0, 3 * sizeof *batch);
  if (!call->headers_sent) {
    call->headers_sent = TRUE;
    batch[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
  }
  if (step->message) {
    call->outgoing = rpc_message_to_core(step->message);
    batch[count].op = GRPC_OP_SEND_MESSAGE;
    batch[count].flags = step->more ? GRPC_WRITE_BUFFER_HINT : 0; /* so that small ones leave in one write */
    batch[count++].data.send_message.send_message = call->outgoing;
  }
  if (step->end) {
    rpc_status_init(&call->status, call->outcome);
    call->status_is_set = TRUE;
    batch[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    batch[count].data.send_status_from_server.status = call->status.code;
    batch[count].data.send_status_from_server.status_details = &call->status.sentence;
    batch[count].data.send_status_from_server.trailing_metadata = &call->status.details;
    batch[count++].data.send_status_from_server.trailing_metadata_count = call->status.details_count;
  }
  return count;
}

static void forget_sent(RpcCall *call) {
  if (call->outgoing)
    grpc_byte_buffer_destroy(g_steal_pointer(&call->outgoing));
  if (call->status_is_set)
    rpc_status_clear(&call->status);
  call->status_is_set = FALSE;
}

/* Take the next step. Returns FALSE when there is none: then the turn was given back. */
static gboolean take_step(RpcCall *call, RpcSendStep *ret_step) {
  gboolean writable;
  gboolean has_step = rpc_sender_next(&call->sender, ret_step, &writable);
  if (writable)
    post_writable(call);
  return has_step;
}

/* Start one step, for which the caller holds the turn and a reference to the call. */
static RpcOpStart start_step(RpcCall *call, const RpcSendStep *step, gboolean here, gboolean *ret_ok) {
  grpc_op batch[3];
  gsize count = build_batch(call, step, batch);
  rpc_message_unref(step->message); /* the buffer shares its pieces */
  rpc_call_ref(call);
  if (here)
    return rpc_op_start_here(call->queue, &call->send_op, call->core, batch, count, ret_ok);
  return rpc_op_start(&call->send_op, call->core, batch, count) ? RPC_OP_STARTED : RPC_OP_REFUSED;
}

/* What a step that ended leaves behind, but for the turn. */
static void finish_step(RpcCall *call, gboolean ok) {
  forget_sent(call);
  if (!ok)
    rpc_sender_stop(&call->sender);
  rpc_call_unref(call);
}

/* Send what is next, until a step is on its way, or give the turn back. @here: this is not a queue's thread, and holds
 * no lock. */
static void send_next(RpcCall *call, gboolean here) {
  rpc_call_ref(call); /* its end may have been sent, and told, before we are through */
  RpcSendStep step;
  RpcOpStart start = RPC_OP_DONE;
  while (start == RPC_OP_DONE && take_step(call, &step)) {
    gboolean ok = FALSE;
    start = start_step(call, &step, here, &ok);
    if (start != RPC_OP_STARTED)
      finish_step(call, ok); /* refused: the turn stays taken, nothing is sent any more */
  }
  rpc_call_unref(call);
}

/* Queue's thread. */
static void call_sent(RpcOp *op, gboolean ok) {
  RpcCall *call = rpc_call_ref(op->owner);
  finish_step(call, ok);
  send_next(call, FALSE);
  rpc_call_unref(call);
}

RpcSendResult rpc_call_send_message(RpcCall *call, RpcMessage *message) {
  gboolean start;
  RpcSendResult result = rpc_sender_push(&call->sender, message, &start);
  if (start)
    send_next(call, TRUE);
  return result;
}

RpcSendResult rpc_call_send(RpcCall *call, const ProtobufCMessage *message, GBytes *const *owners, gsize owner_count) {
  g_autoptr(RpcMessage) packed = rpc_message_pack(message, owners, owner_count);
  return rpc_call_send_message(call, packed);
}

static void send_run(LoopTask *task) {
  RpcCall *call = CALL_OF(task, send_task);
  send_next(call, TRUE);
  rpc_call_unref(call);
}

RpcSendResult rpc_call_send_soon(RpcCall *call, const ProtobufCMessage *message) {
  LOOP_ASSERT_CURRENT(call->loop);
  g_autoptr(RpcMessage) packed = rpc_message_pack(message, NULL, 0);
  gboolean start;
  RpcSendResult result = rpc_sender_push(&call->sender, packed, &start);
  if (start) { /* the turn is held until then, so the task is posted once */
    rpc_call_ref(call);
    loop_post_completion(call->loop, &call->send_task);
  }
  return result;
}

static void end_call(RpcCall *call, Failure *failure, gboolean here) {
  if (atomic_exchange(&call->is_ended, TRUE)) {
    failure_free(failure);
    return;
  }
  call->outcome = failure;
  gboolean start;
  if (rpc_sender_end(&call->sender, &start) && start)
    send_next(call, here);
}

void rpc_call_end(RpcCall *call, Failure *failure) {
  end_call(call, failure, FALSE);
}

/* With events, `closed` may come on the loop as soon as the end is sent: so look before, not after. */
void rpc_call_reply_message(RpcCall *call, RpcMessage *message) {
  gboolean is_consumed = !atomic_load(&call->has_events);
  gboolean start = FALSE;
  if (!atomic_exchange(&call->is_ended, TRUE))
    rpc_sender_push_last(&call->sender, message, &start);
  if (start)
    send_next(call, TRUE);
  if (is_consumed)
    rpc_call_unref(call);
}

void rpc_call_reply(RpcCall *call, const ProtobufCMessage *response, GBytes *const *owners, gsize owner_count) {
  g_autoptr(RpcMessage) packed = rpc_message_pack(response, owners, owner_count);
  rpc_call_reply_message(call, packed);
}

void rpc_call_finish(RpcCall *call, Failure *failure) {
  gboolean is_consumed = !atomic_load(&call->has_events);
  end_call(call, failure, TRUE);
  if (is_consumed)
    rpc_call_unref(call);
}

/* ---- The end ---- */

static void leave(RpcCall *call) {
  rpc_registry_remove(call->server->calls, &call->link);
  rpc_call_unref(call);
}

/* Queue's thread. Without events, a call that was answered needs no word on its loop: that saves a wake-up a call. */
static void call_closed(RpcOp *op, gboolean ok) {
  RpcCall *call = op->owner;
  gboolean cancelled = !ok || call->core_cancelled || atomic_load(&call->is_cancelled);
  if (cancelled) {
    atomic_store(&call->is_cancelled, TRUE);
    rpc_sender_stop(&call->sender);
  }
  if (call->was_handed_over && (cancelled || call->method->client_streams || atomic_load(&call->has_events)))
    loop_post_completion(call->loop, &call->closed_task);
  else
    leave(call);
}

static void closed_run(LoopTask *task) {
  RpcCall *call = CALL_OF(task, closed_task);
  call->is_closed = TRUE;
  if (atomic_load(&call->has_events)) {
    if (call->events.closed)
      call->events.closed(call, atomic_load(&call->is_cancelled), call->state);
    rpc_call_unref(call); /* the handler's */
  }
  leave(call);
}

void rpc_call_tell_draining(gpointer data, gpointer unused) {
  (void)unused;
  RpcCall *call = data;
  if (!call->loop)
    return;
  rpc_call_ref(call);
  loop_post_completion(call->loop, &call->draining_task);
}

/* As if it were cancelled: its handler may be just about to set events, and then has to hear that it is closed. */
void rpc_call_end_unfinished(gpointer data, gpointer unused) {
  (void)unused;
  RpcCall *call = data;
  atomic_store(&call->is_cancelled, TRUE);
  rpc_call_end(call,
               failure_new(FAILURE(UNKNOWN_OUTCOME),
                           "the process stopped before this call ended: it may or may not have been carried out"));
}

static void draining_run(LoopTask *task) {
  RpcCall *call = CALL_OF(task, draining_task);
  tell_draining(call);
  rpc_call_unref(call);
}

/* ---- What a handler may ask ---- */

gpointer rpc_call_state(RpcCall *call) {
  return call->state;
}

Loop *rpc_call_loop(RpcCall *call) {
  return call->loop;
}

gint64 rpc_call_deadline_us(RpcCall *call) {
  return call->deadline_us;
}

gint64 rpc_call_answer_by_us(RpcCall *call) {
  if (call->deadline_us == G_MAXINT64)
    return G_MAXINT64;
  gint64 left_us = call->deadline_us - g_get_monotonic_time();
  return call->deadline_us - CLAMP(left_us / 2, 0, ANSWER_US);
}

gboolean rpc_call_is_cancelled(RpcCall *call) {
  return atomic_load(&call->is_cancelled);
}

const char *rpc_call_method(RpcCall *call) {
  return call->method->path;
}

/* The core's "ipv4:127.0.0.1:40612" and "ipv6:%5B::1%5D:40612" as people write them; others as they are. */
static char *plain_address(const char *peer) {
  gboolean is_address = g_str_has_prefix(peer, "ipv4:") || g_str_has_prefix(peer, "ipv6:");
  char *plain = g_uri_unescape_string(is_address ? peer + strlen("ipv4:") : peer, NULL);
  return plain ? plain : g_strdup(peer);
}

const char *rpc_call_peer(RpcCall *call) {
  if (!call->peer) {
    char *peer = grpc_call_get_peer(call->core);
    call->peer = plain_address(peer);
    gpr_free(peer);
  }
  return call->peer;
}

const char *rpc_call_metadata(RpcCall *call, const char *key) {
  if (!call->metadata_texts) {
    call->metadata_texts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (gsize i = 0; i < call->metadata.count; i++) {
      const grpc_metadata *entry = &call->metadata.metadata[i];
      g_hash_table_insert(call->metadata_texts, rpc_slice_dup_text(entry->key), rpc_slice_dup_text(entry->value));
    }
  }
  return g_hash_table_lookup(call->metadata_texts, key);
}

const char *rpc_call_client(RpcCall *call) {
  const char *client = rpc_call_metadata(call, RPC_CLIENT_KEY);
  if (client && !call->client)
    call->client = plain_address(client); /* a process of an earlier version passes on what the core says */
  return client ? call->client : rpc_call_peer(call);
}
