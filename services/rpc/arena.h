/* A bump allocator with a bound: memory of one decoded message, freed all at once.
 *
 * Threads: none of its own; whoever owns the message. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct RpcArenaBlock RpcArenaBlock;

typedef struct {
  RpcArenaBlock *newest;
  guint8 *at, *end; /* free part of the newest block */
  gsize used_bytes; /* of all blocks */
  gsize most_bytes; /* bound of used_bytes */
  gsize next_block_bytes;
} RpcArena;

/* @most_bytes: of all that it may ever take from the heap, but for one first small block */
void rpc_arena_init(RpcArena *arena, gsize most_bytes);
void rpc_arena_clear(RpcArena *arena);
/* Returns zeroed memory, aligned for any type, or NULL when the bound is reached. */
gpointer rpc_arena_alloc(RpcArena *arena, gsize bytes);
/* Grow an allocation: in place when it was the last one, else by a copy. The new part is zeroed. NULL at the bound. */
gpointer rpc_arena_grow(RpcArena *arena, gpointer old, gsize old_bytes, gsize new_bytes);

G_END_DECLS
