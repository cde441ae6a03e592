/* The memory behind one answer: see memory.h.
 *
 * Blocks are handed out from their start; what is larger than a quarter of a block gets a block of its own, so that
 * little is wasted. Blocks double in size up to BLOCK_BYTES_MAX: small answers stay small. */
#include "services/broker/read/memory.h"

#include <string.h>

#define BLOCK_BYTES_MIN (4u << 10)
#define BLOCK_BYTES_MAX (256u << 10)
#define ALIGNMENT 16

struct ReadMemory {
  GPtrArray *blocks; /* of g_malloc */
  GPtrArray *held;   /* of GBytes */
  guint8 *at;        /* free room in the newest shared block */
  gsize room;
  gsize next_block_bytes;
  gsize bytes;
};

ReadMemory *read_memory_new(void) {
  ReadMemory *memory = g_new0(ReadMemory, 1);
  memory->blocks = g_ptr_array_new_with_free_func(g_free);
  memory->held = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  memory->next_block_bytes = BLOCK_BYTES_MIN;
  return memory;
}

void read_memory_free(ReadMemory *memory) {
  if (memory == NULL)
    return;
  g_ptr_array_unref(memory->blocks);
  g_ptr_array_unref(memory->held);
  g_free(memory);
}

static gpointer block_new(ReadMemory *memory, gsize bytes) {
  gpointer block = g_malloc(bytes);
  g_ptr_array_add(memory->blocks, block);
  memory->bytes += bytes;
  return block;
}

gpointer read_memory_alloc(ReadMemory *memory, gsize bytes) {
  bytes = MAX((bytes + ALIGNMENT - 1) & ~(gsize)(ALIGNMENT - 1), ALIGNMENT);
  if (bytes > memory->room) {
    if (bytes > memory->next_block_bytes / 4)
      return block_new(memory, bytes);
    memory->at = block_new(memory, memory->next_block_bytes);
    memory->room = memory->next_block_bytes;
    memory->next_block_bytes = MIN(memory->next_block_bytes * 2, BLOCK_BYTES_MAX);
  }
  gpointer room = memory->at;
  memory->at += bytes;
  memory->room -= bytes;
  return room;
}

char *read_memory_text(ReadMemory *memory, gconstpointer data, gsize len) {
  char *text = read_memory_alloc(memory, len + 1);
  if (len > 0)
    memcpy(text, data, len);
  text[len] = '\0';
  return text;
}

char *read_memory_string(ReadMemory *memory, const char *string) {
  return string == NULL ? read_memory_text(memory, "", 0) : read_memory_text(memory, string, strlen(string));
}

void read_memory_hold(ReadMemory *memory, GBytes *bytes) {
  guint count = memory->held->len;
  if (count > 0 && g_ptr_array_index(memory->held, count - 1) == bytes)
    return;
  g_ptr_array_add(memory->held, g_bytes_ref(bytes));
  memory->bytes += g_bytes_get_size(bytes);
}

GBytes *const *read_memory_owners(const ReadMemory *memory, gsize *ret_count) {
  *ret_count = memory->held->len;
  return (GBytes *const *)memory->held->pdata;
}

gsize read_memory_bytes(const ReadMemory *memory) {
  return memory->bytes;
}
