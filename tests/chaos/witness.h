/* Looks at the metadata of every controller, active or not, all the time: two that are at the same version must have
 * the same, and a process never goes back. A thread with connections of its own. */
#pragma once

#include "tests/chaos/fleet.h"
#include "tests/chaos/history.h"

G_BEGIN_DECLS

typedef struct Witness Witness;

Witness *witness_new(Fleet *fleet); /* borrowed */
void witness_start(Witness *witness, guint pause_ms);
void witness_stop(Witness *witness);
void witness_free(Witness *witness); /* after witness_stop; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Witness, witness_free)

/* After it was stopped. How many images it saw. */
guint witness_images(const Witness *witness);
/* The first contradiction, a few lines, or NULL; borrowed. */
const char *witness_contradiction(const Witness *witness);

/* Ask one address now. @ret_digest: of everything but who is active, owned by the caller. FALSE without an answer. */
gboolean witness_look(Witness *witness, const char *address, guint64 *ret_version, char **ret_digest);
/* Every topic below @topics as this address has it now, as reads of client @client, appended to @ops. FALSE without an
 * answer. */
gboolean witness_read_all(Witness *witness, const char *address, guint client, guint topics, GArray *ops);

G_END_DECLS
