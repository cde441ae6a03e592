/* Clients that create, change, delete and read topics, and note what they did and were told.
 *
 * Each is a thread with connections of its own. It knows the addresses of all controllers, keeps to the one that
 * answers, follows the hint of one that is not active, and else tries the next. A name is used for some dozens of
 * operations and then left behind as it is, so that the checker's work for each stays small. */
#pragma once

#include "tests/chaos/caller.h"

G_BEGIN_DECLS

typedef struct Load Load;

typedef struct {
  const char *const *addresses; /* of the controllers, for clients; copied */
  guint address_count;
  guint clients;
  guint pause_ms; /* of a client between two operations, on average */
  guint64 seed;
} LoadOptions;

Load *load_new(const LoadOptions *options);
void load_start(Load *load);
/* Every client finishes what it does. */
void load_stop(Load *load);
void load_free(Load *load); /* after load_stop, or if it was never started; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Load, load_free)

/* ---- While it runs; any thread ---- */

/* How many writes were acknowledged. */
guint64 load_writes_ok(Load *load);
/* Which of the addresses acknowledged the last one. */
guint load_last_active(Load *load);

/* ---- After it was stopped ---- */

/* Names of topics are "chaos-0" and so on, below this number. */
guint load_topics(const Load *load);
/* The number of a name, or G_MAXUINT. */
guint load_topic_of_name(const char *name);
/* Of HistoryOp; borrowed. More may be added. */
GArray *load_history(Load *load);

G_END_DECLS
