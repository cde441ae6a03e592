/* The bump allocator of decoded messages: see arena.h.
 *
 * Blocks double from 512 bytes to 64 KiB, so a small message costs one allocation and a large one few. A request that
 * is larger than a block gets a block of its own size.
 *
 * Invariants
 *   1. at <= end, both inside the newest block; everything before `at` was handed out.
 *   2. used_bytes is the sum of all blocks' sizes and never exceeds most_bytes.
 * Failure mode: the bound is reached, and the caller gets NULL; nothing else changes. */
#include "services/rpc/arena.h"

#include <string.h>

enum { FIRST_BLOCK_BYTES = 512, LARGEST_BLOCK_BYTES = 64 * 1024, ALIGNMENT = 16 };

struct RpcArenaBlock {
  RpcArenaBlock *older;
  gsize bytes; /* of `data` */
  _Alignas(ALIGNMENT) guint8 data[];
};

void rpc_arena_init(RpcArena *arena, gsize most_bytes) {
  *arena = (RpcArena){.most_bytes = MAX(most_bytes, FIRST_BLOCK_BYTES), .next_block_bytes = FIRST_BLOCK_BYTES};
}

void rpc_arena_clear(RpcArena *arena) {
  RpcArenaBlock *block = arena->newest;
  while (block) {
    RpcArenaBlock *older = block->older;
    g_free(block);
    block = older;
  }
  *arena = (RpcArena){.most_bytes = arena->most_bytes, .next_block_bytes = FIRST_BLOCK_BYTES};
}

/* Make room for @bytes at `at`. */
static gboolean arena_add_block(RpcArena *arena, gsize bytes) {
  gsize left = arena->most_bytes - arena->used_bytes;
  if (bytes > left)
    return FALSE;
  gsize size = MIN(MAX(bytes, arena->next_block_bytes), left);
  RpcArenaBlock *block = g_malloc(sizeof *block + size);
  block->older = arena->newest;
  block->bytes = size;
  arena->newest = block;
  arena->used_bytes += size;
  arena->at = block->data;
  arena->end = block->data + size;
  arena->next_block_bytes = MIN(arena->next_block_bytes * 2, LARGEST_BLOCK_BYTES);
  return TRUE;
}

/* Sizes are rounded up, so that `at` stays aligned. Returns FALSE on overflow. */
static gboolean round_up(gsize bytes, gsize *ret_rounded) {
  if (bytes > G_MAXSIZE - ALIGNMENT)
    return FALSE;
  *ret_rounded = (bytes + ALIGNMENT - 1) & ~(gsize)(ALIGNMENT - 1);
  return TRUE;
}

gpointer rpc_arena_alloc(RpcArena *arena, gsize bytes) {
  gsize size;
  if (!round_up(bytes, &size))
    return NULL;
  if (size > (gsize)(arena->end - arena->at) && !arena_add_block(arena, size))
    return NULL;
  gpointer memory = arena->at;
  arena->at += size;
  return memset(memory, 0, bytes);
}

gpointer rpc_arena_grow(RpcArena *arena, gpointer old, gsize old_bytes, gsize new_bytes) {
  gsize old_size, new_size;
  if (!round_up(old_bytes, &old_size) || !round_up(new_bytes, &new_size))
    return NULL;
  gboolean is_last = old && (guint8 *)old + old_size == arena->at;
  if (is_last && new_size <= (gsize)(arena->end - (guint8 *)old)) {
    arena->at = (guint8 *)old + new_size;
    memset((guint8 *)old + old_bytes, 0, new_bytes - old_bytes);
    return old;
  }
  gpointer memory = rpc_arena_alloc(arena, new_bytes);
  if (memory && old)
    memcpy(memory, old, old_bytes);
  return memory;
}
