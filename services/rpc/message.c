/* Messages as lists of slices: see message.h.
 *
 * A packed message is what protobuf-c's packer appends, cut into pieces: small parts are collected in a buffer, and a
 * large part that lies inside an owner becomes a piece that shares the owner's memory. A message that arrived keeps its
 * pieces; its body lives in an arena and points into them.
 *
 * Invariants
 *   1. size is the sum of the pieces' sizes.
 *   2. After it was handed out, nothing but the reference count changes.
 *   3. Every pointer of a body leads into the arena, a piece, a gathered field, or static memory.
 * Threads: any; the last unref frees, wherever it happens. */
#include <string.h>

#include "services/base/invariant.h"
#include "services/rpc/decode.h"
#include "services/rpc/message_internal.h"

/* ---- Life ---- */

RpcMessage *rpc_message_new_raw(GBytes **pieces, guint piece_count) {
  RpcMessage *message = g_new0(RpcMessage, 1);
  atomic_init(&message->refs, 1);
  message->pieces = pieces;
  message->piece_count = piece_count;
  for (guint i = 0; i < piece_count; i++)
    message->size += g_bytes_get_size(pieces[i]);
  return message;
}

RpcMessage *rpc_message_ref(RpcMessage *message) {
  atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
  return message;
}

void rpc_message_unref(RpcMessage *message) {
  if (!message)
    return;
  int before = atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel);
  INVARIANT(before > 0, "a message is released once for each reference");
  if (before > 1)
    return;
  for (guint i = 0; i < message->piece_count; i++)
    g_bytes_unref(message->pieces[i]);
  g_free(message->pieces);
  rpc_arena_clear(&message->arena);
  if (message->gathered)
    g_ptr_array_unref(message->gathered);
  if (message->budget)
    rpc_budget_give_back(message->budget, message->charged_bytes);
  rpc_budget_unref(message->budget);
  g_free(message);
}

gboolean rpc_message_charge(RpcMessage *message, RpcBudget *budget) {
  INVARIANT(!message->budget || message->budget == budget, "a message is charged to one budget");
  gsize holds = message->size + message->arena.used_bytes;
  if (holds <= message->charged_bytes)
    return TRUE;
  if (!rpc_budget_take(budget, holds - message->charged_bytes))
    return FALSE;
  if (!message->budget)
    message->budget = rpc_budget_ref(budget);
  message->charged_bytes = holds;
  return TRUE;
}

/* ---- Packing ---- */

typedef struct {
  ProtobufCBuffer base; /* first: protobuf-c hands back its address */
  GBytes *const *owners;
  gsize owner_count;
  GByteArray *small; /* parts since the last shared one, or NULL */
  GPtrArray *pieces; /* GBytes */
} PackBuffer;

static void pack_flush(PackBuffer *pack) {
  if (pack->small)
    g_ptr_array_add(pack->pieces, g_byte_array_free_to_bytes(g_steal_pointer(&pack->small)));
}

/* The part as a slice of the owner that it lies in, or NULL. */
static GBytes *pack_find_owner(const PackBuffer *pack, gsize len, const guint8 *data) {
  for (gsize i = 0; i < pack->owner_count; i++) {
    gsize owner_len;
    const guint8 *start = g_bytes_get_data(pack->owners[i], &owner_len);
    if (start && data >= start && len <= owner_len && (gsize)(data - start) <= owner_len - len)
      return g_bytes_new_from_bytes(pack->owners[i], data - start, len);
  }
  return NULL;
}

static void pack_append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data) {
  PackBuffer *pack = (PackBuffer *)buffer;
  GBytes *shared = len >= RPC_SHARE_BYTES ? pack_find_owner(pack, len, data) : NULL;
  if (shared) {
    pack_flush(pack);
    g_ptr_array_add(pack->pieces, shared);
    return;
  }
  if (!pack->small)
    pack->small = g_byte_array_sized_new(256);
  if (len)
    g_byte_array_append(pack->small, data, len);
}

RpcMessage *rpc_message_pack(const ProtobufCMessage *body, GBytes *const *owners, gsize owner_count) {
  PackBuffer pack = {
      .base = {.append = pack_append},
      .owners = owners,
      .owner_count = owners ? owner_count : 0,
      .pieces = g_ptr_array_new(),
  };
  protobuf_c_message_pack_to_buffer(body, &pack.base);
  pack_flush(&pack);
  gsize count;
  GBytes **pieces = (GBytes **)g_ptr_array_steal(pack.pieces, &count);
  g_ptr_array_unref(pack.pieces);
  return rpc_message_new_raw(pieces, count);
}

/* ---- Decoding ---- */

Failure *rpc_message_decode_body(RpcMessage *message, const ProtobufCMessageDescriptor *type) {
  INVARIANT(!message->body, "a message is decoded once");
  return rpc_decode(type, message->pieces, message->piece_count, &message->arena, &message->gathered, &message->body);
}

Failure *rpc_message_decode(const ProtobufCMessageDescriptor *type, GBytes *const *wire, gsize wire_count,
                            RpcMessage **ret_message) {
  GBytes **pieces = g_new(GBytes *, MAX(wire_count, 1));
  for (gsize i = 0; i < wire_count; i++)
    pieces[i] = g_bytes_ref(wire[i]);
  g_autoptr(RpcMessage) message = rpc_message_new_raw(pieces, wire_count);
  Failure *failure = rpc_message_decode_body(message, type);
  if (!failure)
    *ret_message = g_steal_pointer(&message);
  return failure;
}

/* ---- Looking at it ---- */

gpointer rpc_message_body(RpcMessage *message) {
  return message->body;
}

gsize rpc_message_size(RpcMessage *message) {
  return message->size;
}

static GBytes *share_of(GBytes *owner, const ProtobufCBinaryData *field) {
  gsize size;
  const guint8 *start = g_bytes_get_data(owner, &size);
  if (!start || field->data < start || (gsize)(field->data - start) > size)
    return NULL;
  gsize offset = field->data - start;
  return field->len <= size - offset ? g_bytes_new_from_bytes(owner, offset, field->len) : NULL;
}

GBytes *rpc_message_share(RpcMessage *message, const ProtobufCBinaryData *field) {
  if (!field->len)
    return g_bytes_new(NULL, 0);
  GBytes *found = NULL;
  for (guint i = 0; !found && message->gathered && i < message->gathered->len; i++)
    found = share_of(g_ptr_array_index(message->gathered, i), field);
  for (guint i = 0; !found && i < message->piece_count; i++)
    found = share_of(message->pieces[i], field);
  INVARIANT(found, "the field belongs to the message that it is shared from");
  return found;
}

GBytes *rpc_message_flatten(RpcMessage *message) {
  if (message->piece_count == 1)
    return g_bytes_ref(message->pieces[0]);
  guint8 *flat = g_malloc(MAX(message->size, 1));
  gsize at = 0;
  for (guint i = 0; i < message->piece_count; i++) {
    gsize size;
    gconstpointer data = g_bytes_get_data(message->pieces[i], &size);
    if (size)
      memcpy(flat + at, data, size);
    at += size;
  }
  return g_bytes_new_take(flat, message->size);
}
