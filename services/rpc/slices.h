/* Between RpcMessage and the core's byte buffers and slices, without copies. */
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include "services/rpc/message_internal.h"

G_BEGIN_DECLS

/* The message's pieces as slices that share their memory. Returns a buffer owned by the caller. */
grpc_byte_buffer *rpc_message_to_core(RpcMessage *message);
/* A raw message of what arrived. @buffer: borrowed. Returns NULL, or why it can't be taken: it came compressed. */
Failure *rpc_message_from_core(grpc_byte_buffer *buffer, RpcMessage **ret_message);
/* The text of a slice, ended by NUL; owned by the caller. */
char *rpc_slice_dup_text(grpc_slice slice);

G_END_DECLS
