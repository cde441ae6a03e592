/* A completion queue of gRPC's core and the thread that polls it. */
#pragma once

#include "services/rpc/op.h"

G_BEGIN_DECLS

typedef struct RpcQueue RpcQueue;

/* @name: of the thread */
RpcQueue *rpc_queue_new(const char *name);
void rpc_queue_start(RpcQueue *queue);
grpc_completion_queue *rpc_queue_core(RpcQueue *queue);
/* For whoever starts operations here: they may do so, and are refused, after it was freed by its owner. */
RpcQueue *rpc_queue_ref(RpcQueue *queue);
void rpc_queue_unref(RpcQueue *queue);
/* Shut it down, wait until all operations completed and the thread ended, and drop the owner's reference. */
void rpc_queue_free(RpcQueue *queue);

/* rpc_op_start for a thread that no queue polls: what the core can do at once (a message that fits the socket, one that
 * has arrived) is told here, and the queue's thread sleeps on. @call is bound to @queue.
 *
 * @ret_ok: for RPC_OP_DONE whether it succeeded; untouched otherwise */
G_GNUC_WARN_UNUSED_RESULT RpcOpStart rpc_op_start_here(RpcQueue *queue, RpcOp *op, grpc_call *call,
                                                       const grpc_op *batch, gsize count, gboolean *ret_ok);

G_END_DECLS
