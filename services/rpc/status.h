/* Between Failure and the core's status: code, sentence, and details as grpc-status-details-bin. Also deadlines. */
#pragma once

#include <grpc/grpc.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* A status, ready for the core; holds the memory that the batch points to. */
typedef struct {
  grpc_status_code code;
  grpc_slice sentence;
  grpc_metadata details; /* trailing metadata */
  gsize details_count;   /* 0 or 1 */
} RpcStatus;

/* @failure: borrowed; NULL for OK */
void rpc_status_init(RpcStatus *status, const Failure *failure);
void rpc_status_clear(RpcStatus *status);

/* What a client's call came to. @is_stream: what was sent before has outcomes of its own.
 * Returns NULL for OK, else a failure whose sentence names @address when it comes from the transport. */
Failure *rpc_status_to_failure(grpc_status_code code, grpc_slice sentence, const grpc_metadata_array *trailing,
                               const char *address, gboolean is_stream);

/* Between monotonic µs of glib, G_MAXINT64 for never, and the core's time. */
gpr_timespec rpc_deadline_to_core(gint64 deadline_us);
gint64 rpc_deadline_from_core(gpr_timespec deadline);

G_END_DECLS
