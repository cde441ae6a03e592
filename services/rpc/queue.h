/* A completion queue of gRPC's core and the thread that polls it. */
#pragma once

#include "services/rpc/op.h"

G_BEGIN_DECLS

typedef struct RpcQueue RpcQueue;

/* @name: of the thread */
RpcQueue *rpc_queue_new(const char *name);
void rpc_queue_start(RpcQueue *queue);
grpc_completion_queue *rpc_queue_core(RpcQueue *queue);
/* Shut it down, wait until all operations completed and the thread ended, and free it. */
void rpc_queue_free(RpcQueue *queue);

G_END_DECLS
