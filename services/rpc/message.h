/* A message on its way in or out, as reference-counted slices.
 *
 * Out: a protobuf-c message is packed; every `bytes` field of at least RPC_SHARE_BYTES that lies inside one of the
 * given owners becomes a slice of its own, not a copy. In: messages are decoded by their descriptor into an arena that
 * dies with the message; `bytes` fields point into the slices that arrived. A field that arrived in several slices is
 * gathered once.
 *
 * Strings are checked while decoding (valid UTF-8, no NUL), nesting is bounded, and what does not parse is a Failure.
 */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* Smaller fields are copied: a slice of its own costs more. */
#define RPC_SHARE_BYTES 1024

typedef struct RpcMessage RpcMessage;

/* A packed message, to send. Immutable and reference-counted; may be sent on many calls.
 *
 * @body: borrowed; may be freed on return
 * @owners: GBytes that large fields of @body lie in, or NULL; borrowed, referenced as needed */
RpcMessage *rpc_message_pack(const ProtobufCMessage *body, GBytes *const *owners, gsize owner_count);

/* Decode bytes that arrived.
 *
 * @wire: pieces of the message, in order; borrowed, referenced as needed
 * @ret_message: untouched on failure
 *
 * Returns NULL, or MALFORMED_MESSAGE with the path of the field that is wrong. */
Failure *rpc_message_decode(const ProtobufCMessageDescriptor *type, GBytes *const *wire, gsize wire_count,
                            RpcMessage **ret_message);

RpcMessage *rpc_message_ref(RpcMessage *message);
void rpc_message_unref(RpcMessage *message); /* any thread; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcMessage, rpc_message_unref)

/* The decoded body; borrowed, lives as long as the message. NULL for packed and raw messages. Cast to its type. */
gpointer rpc_message_body(RpcMessage *message);
/* Serialised size in bytes. */
gsize rpc_message_size(RpcMessage *message);
/* A `bytes` field of the body as a GBytes that shares its memory and keeps it alive; owned by the caller.
 * No copy: the data is already contiguous. */
GBytes *rpc_message_share(RpcMessage *message, const ProtobufCBinaryData *field);
/* The serialised message as one piece (gathered if need be); owned by the caller: for tests and files. */
GBytes *rpc_message_flatten(RpcMessage *message);

G_END_DECLS
