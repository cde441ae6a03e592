/* Decoding of protobuf messages by their protobuf-c descriptor, from pieces, into an arena.
 *
 * Yields ordinary protobuf-c structs. Strings are copied (protobuf-c wants them ended by NUL) and checked; `bytes`
 * point into the pieces. Unknown fields are skipped, as are known ones of another wire type. The arena is bounded by
 * what arrived, so a small input can't make a large output. Pure. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

#include "services/base/failure.h"
#include "services/rpc/arena.h"

G_BEGIN_DECLS

/* Messages within messages, groups of unknown fields among them. */
#define RPC_NESTING_MAX 32
/* Bound of the arena: the smallest records of use (5 bytes) become structs of some 130 bytes; what grows more than this
 * is no honest message. */
#define RPC_ARENA_BASE_BYTES ((gsize)1 << 20)
#define RPC_ARENA_PER_WIRE_BYTE 32
#define RPC_ARENA_MOST_BYTES ((gsize)256 << 20)

/* @pieces: borrowed; must live as long as the body
 * @arena: initialised here; to be cleared by the caller, also on failure
 * @gathered: GBytes of fields that arrived in several pieces; made here when needed, owned by the caller
 * @ret_body: untouched on failure
 *
 * Returns NULL, or MALFORMED_MESSAGE with the path of the field that is wrong. */
Failure *rpc_decode(const ProtobufCMessageDescriptor *type, GBytes *const *pieces, gsize piece_count, RpcArena *arena,
                    GPtrArray **gathered, gpointer *ret_body);

G_END_DECLS
