/* The inside of RpcMessage, for the files of this folder alone. */
#pragma once

#include <stdatomic.h>

#include "services/rpc/arena.h"
#include "services/rpc/budget.h"
#include "services/rpc/message.h"

G_BEGIN_DECLS

/* Immutable once it was handed out; so any thread may read it. */
struct RpcMessage {
  atomic_int refs;
  gsize size;          /* bytes on the wire */
  guint piece_count;   /* of the wire form, in order */
  GBytes **pieces;     /* owned */
  RpcArena arena;      /* of a decoded body */
  gpointer body;       /* in the arena, or NULL */
  GPtrArray *gathered; /* GBytes of fields that arrived in several pieces, or NULL */
  RpcBudget *budget;   /* what its bytes were charged to, or NULL; owned */
  gsize charged_bytes;
};

/* A message of the pieces alone, without a body. @pieces: array and elements are taken; the array is g_free'd. */
RpcMessage *rpc_message_new_raw(GBytes **pieces, guint piece_count);
/* Decode the body of a raw message that no one else has seen yet. Returns NULL or MALFORMED_MESSAGE. */
Failure *rpc_message_decode_body(RpcMessage *message, const ProtobufCMessageDescriptor *type);
/* Charge the message's memory to @budget until it is freed. FALSE when the budget is spent: then nothing is charged. */
gboolean rpc_message_charge(RpcMessage *message, RpcBudget *budget);

G_END_DECLS
