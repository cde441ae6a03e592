/* The producer of a run: an idempotent one, a thread that sends known values to all partitions and notes what it is
 * told. */
#pragma once

#include "tests/chaos/records/ledger.h"

G_BEGIN_DECLS

typedef struct Writer Writer;

/* @partitions: of the topic; @pause_ms: between two sends */
Writer *writer_new(const char *bootstrap, const char *topic, guint partitions, guint pause_ms);
/* No more sends; wait for the answers, at most so long. Once or more often. */
void writer_stop(Writer *writer, guint flush_ms);
void writer_free(Writer *writer); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Writer, writer_free)

/* How many were acknowledged so far. Any thread. */
guint writer_acknowledged(Writer *writer);
/* Add the sends. After writer_stop. */
void writer_tell(const Writer *writer, Ledger *ledger);

G_END_DECLS
