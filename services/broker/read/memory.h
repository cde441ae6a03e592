/* The memory behind one answer: small things in an arena, large things shared, all freed at once.
 *
 * An answer of a hundred thousand records makes a few dozen allocations. Pure; one owner thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct ReadMemory ReadMemory;

ReadMemory *read_memory_new(void);
void read_memory_free(ReadMemory *memory); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReadMemory, read_memory_free)

/* Room for @bytes, aligned for any type, not initialised; lives as long as @memory. */
gpointer read_memory_alloc(ReadMemory *memory, gsize bytes);
/* A copy of @len bytes with a NUL behind. */
char *read_memory_text(ReadMemory *memory, gconstpointer data, gsize len);
char *read_memory_string(ReadMemory *memory, const char *string); /* NULL: "" */

/* Keep @bytes as long as @memory: messages point into it. Referenced. The same bytes twice in a row count once. */
void read_memory_hold(ReadMemory *memory, GBytes *bytes);
/* What is held, as rpc_call_send and rpc_call_reply want it; borrowed, valid until the next hold. */
GBytes *const *read_memory_owners(const ReadMemory *memory, gsize *ret_count);
/* Bytes allocated and held. */
gsize read_memory_bytes(const ReadMemory *memory);

G_END_DECLS
