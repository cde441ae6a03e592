/* Where a group's coordinator is: asked of any broker when first needed, and again once it does not answer, or is not
 * the coordinator any more. Belongs to the client's loop. */
#pragma once

#include "client/libmilena/client.h"

G_BEGIN_DECLS

typedef struct Coordinator Coordinator;

/* @group: copied
 * @changed: it is known now, or asking failed: look again; called on the loop */
Coordinator *coordinator_new(MilenaClient *client, const char *group, void (*changed)(gpointer data), gpointer data);
/* Ask for nothing any more, and call nobody. On the loop. */
void coordinator_stop(Coordinator *coordinator);
void coordinator_free(Coordinator *coordinator); /* stopped, or never used; NULL is fine */

/* Its address, borrowed until the next call; NULL while it is not known: then it is being asked for.
 *
 * @ret_retry_us: for NULL, when to look again at the latest; untouched otherwise
 * @ret_failure: why it is not known, after a failed try; borrowed; else NULL */
const char *coordinator_address(Coordinator *coordinator, gint64 now_us, gint64 *ret_retry_us,
                                const Failure **ret_failure);
/* A call to @address failed: whether another coordinator is to be looked for. */
void coordinator_note_failure(Coordinator *coordinator, const char *address, const Failure *failure);

G_END_DECLS
