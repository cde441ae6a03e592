/* The polling thread of a completion queue: see queue.h.
 *
 *   new ──start──► polling ──free: shutdown──► draining (what was started completes) ──► joined, destroyed
 *
 * A call is bound to one queue, so its completions come one after the other, on one thread. */
#include "services/rpc/queue.h"

#include "services/base/invariant.h"

struct RpcQueue {
  char *name;
  grpc_completion_queue *core;
  GThread *thread;
};

RpcQueue *rpc_queue_new(const char *name) {
  RpcQueue *queue = g_new0(RpcQueue, 1);
  queue->name = g_strdup(name);
  queue->core = grpc_completion_queue_create_for_next(NULL);
  return queue;
}

static gpointer queue_poll(gpointer data) {
  RpcQueue *queue = data;
  for (;;) {
    grpc_event event = grpc_completion_queue_next(queue->core, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    INVARIANT(event.type == GRPC_OP_COMPLETE, "a poll without a deadline does not time out");
    RpcOp *op = event.tag;
    atomic_load_explicit(&op->handed_over, memory_order_acquire);
    op->complete(op, event.success != 0);
  }
}

void rpc_queue_start(RpcQueue *queue) {
  queue->thread = g_thread_new(queue->name, queue_poll, queue);
}

grpc_completion_queue *rpc_queue_core(RpcQueue *queue) {
  return queue->core;
}

void rpc_queue_free(RpcQueue *queue) {
  grpc_completion_queue_shutdown(queue->core);
  if (queue->thread)
    g_thread_join(queue->thread);
  else
    queue_poll(queue);
  grpc_completion_queue_destroy(queue->core);
  g_free(queue->name);
  g_free(queue);
}

gboolean rpc_op_start(RpcOp *op, grpc_call *call, const grpc_op *batch, gsize count) {
  rpc_op_hand_over(op);
  grpc_call_error error = grpc_call_start_batch(call, batch, count, op, NULL);
  INVARIANT(error == GRPC_CALL_OK || error == GRPC_CALL_ERROR_COMPLETION_QUEUE_SHUTDOWN,
            "the call's state machine starts only batches that the core takes");
  return error == GRPC_CALL_OK;
}
