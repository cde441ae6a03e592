/* One operation that was given to gRPC's core: every completion-queue tag is one of these.
 *
 *   any thread ──rpc_op_start──► core ──queue thread──► complete
 *   any thread but a queue's ──rpc_op_start_here──► core ──► complete, here or on the queue's thread
 *
 * The core is not built for ThreadSanitizer, and what it synchronises inside is not promised: so each hand-over is a
 * release on the way in and an acquire on the way out, on the operation itself. */
#pragma once

#include <glib.h>
#include <grpc/grpc.h>
#include <stdatomic.h>

G_BEGIN_DECLS

typedef enum {
  RPC_OP_ACCEPT,   /* a call arrived */
  RPC_OP_CLOSE,    /* server: the call is over; client: the status arrived */
  RPC_OP_RECEIVE,  /* a message arrived */
  RPC_OP_SEND,     /* a message, or the end, was sent */
  RPC_OP_HEADERS,  /* client: the server's initial metadata arrived */
  RPC_OP_SHUTDOWN, /* the server is shut down */
} RpcOpKind;

typedef struct RpcOp RpcOp;
struct RpcOp {
  RpcOpKind kind;
  gpointer owner;                           /* of the type that `complete` expects */
  void (*complete)(RpcOp *op, gboolean ok); /* on the queue's thread, once for each start */
  atomic_uint handed_over;
};

static inline void rpc_op_init(RpcOp *op, RpcOpKind kind, gpointer owner, void (*complete)(RpcOp *op, gboolean ok)) {
  op->kind = kind;
  op->owner = owner;
  op->complete = complete;
  atomic_init(&op->handed_over, 0);
}

/* Call before the operation is given to the core. */
static inline void rpc_op_hand_over(RpcOp *op) {
  atomic_fetch_add_explicit(&op->handed_over, 1, memory_order_release);
}

/* Start a batch. Returns FALSE, and `complete` will not be called, when the queue is shut down. */
G_GNUC_WARN_UNUSED_RESULT gboolean rpc_op_start(RpcOp *op, grpc_call *call, const grpc_op *batch, gsize count);

typedef enum {
  RPC_OP_REFUSED, /* the queue is shut down: `complete` will not be called */
  RPC_OP_STARTED, /* `complete` will be called, or was, on the queue's thread */
  RPC_OP_DONE     /* it has completed on this thread: the caller goes on, `complete` is not called */
} RpcOpStart;

G_END_DECLS
