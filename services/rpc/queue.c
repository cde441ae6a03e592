/* The polling thread of a completion queue: see queue.h.
 *
 *   new ──start──► polling ──free: shutdown──► draining (what was started completes) ──► joined, destroyed
 *
 * A call is bound to one queue, whose thread runs its completions. Waking that thread for what completes at once, as a
 * send nearly always does, costs more than the send: rpc_op_start_here has the core keep one completion on the calling
 * thread. The one that it keeps may be another's, whose bytes this thread happened to carry: it is run here as well,
 * and `completing` keeps it apart from the queue's thread.
 *
 * Invariants
 *   1. Completions run one after the other, but for those that rpc_op_start_here returns: these are of one send, whose
 *      turn the caller holds, or of one receive, which the caller alone starts.
 *   2. Whoever holds `completing` starts operations with rpc_op_start alone: nobody holds two of these mutexes. */
#include "services/rpc/queue.h"

#include <pthread.h>

#include "services/base/invariant.h"

struct RpcQueue {
  atomic_int refs; /* the owner's, and one for each call */
  char *name;
  pthread_mutex_t completing; /* held while a completion runs */
  grpc_completion_queue *core;
  GThread *thread;
};

RpcQueue *rpc_queue_new(const char *name) {
  RpcQueue *queue = g_new0(RpcQueue, 1);
  atomic_init(&queue->refs, 1);
  queue->name = g_strdup(name);
  pthread_mutex_init(&queue->completing, NULL);
  queue->core = grpc_completion_queue_create_for_next(NULL);
  return queue;
}

RpcQueue *rpc_queue_ref(RpcQueue *queue) {
  atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
  return queue;
}

void rpc_queue_unref(RpcQueue *queue) {
  if (atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_acq_rel) > 1)
    return;
  pthread_mutex_destroy(&queue->completing);
  g_free(queue->name);
  g_free(queue);
}

static void run_completion(RpcQueue *queue, RpcOp *op, gboolean ok) {
  pthread_mutex_lock(&queue->completing);
  atomic_load_explicit(&op->handed_over, memory_order_acquire);
  op->complete(op, ok);
  pthread_mutex_unlock(&queue->completing);
}

static gpointer queue_poll(gpointer data) {
  RpcQueue *queue = data;
  for (;;) {
    grpc_event event = grpc_completion_queue_next(queue->core, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    INVARIANT(event.type == GRPC_OP_COMPLETE, "a poll without a deadline does not time out");
    run_completion(queue, event.tag, event.success != 0);
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
  rpc_queue_unref(queue);
}

gboolean rpc_op_start(RpcOp *op, grpc_call *call, const grpc_op *batch, gsize count) {
  rpc_op_hand_over(op);
  grpc_call_error error = grpc_call_start_batch(call, batch, count, op, NULL);
  INVARIANT(error == GRPC_CALL_OK || error == GRPC_CALL_ERROR_COMPLETION_QUEUE_SHUTDOWN,
            "the call's state machine starts only batches that the core takes");
  return error == GRPC_CALL_OK;
}

RpcOpStart rpc_op_start_here(RpcQueue *queue, RpcOp *op, grpc_call *call, const grpc_op *batch, gsize count,
                             gboolean *ret_ok) {
  grpc_completion_queue_thread_local_cache_init(queue->core);
  gboolean started = rpc_op_start(op, call, batch, count);
  void *tag;
  int ok;
  if (!grpc_completion_queue_thread_local_cache_flush(queue->core, &tag, &ok))
    return started ? RPC_OP_STARTED : RPC_OP_REFUSED;
  if (tag != op) {
    run_completion(queue, tag, ok != 0);
    return started ? RPC_OP_STARTED : RPC_OP_REFUSED;
  }
  atomic_load_explicit(&op->handed_over, memory_order_acquire);
  *ret_ok = ok != 0;
  return RPC_OP_DONE;
}
