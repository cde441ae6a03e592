/* One ProduceStream to one broker: pipelined, bounded in flight, opened anew when it ends. Belongs to the client's
 * loop. */
#pragma once

#include "client/libmilena/sender.h"

G_BEGIN_DECLS

/* @broker_id: for messages */
Link *link_new(Sender *sender, gint32 broker_id, const char *address);
/* For a table of links; borrowed from the link. */
const gint32 *link_broker_id(const Link *link);
/* The broker may have moved: used from the next stream on. */
void link_set_address(Link *link, const char *address);

/* Whether a batch can be sent now. When not it connects, if it may; sender_link_changed tells when to ask again.
 *
 * @ret_retry_us: when it may connect, if it pauses after a failure; untouched otherwise
 * @ret_failure: why it pauses; borrowed; untouched otherwise */
gboolean link_can_send(Link *link, gint64 now_us, gint64 *ret_retry_us, const Failure **ret_failure);
/* Send an encoded batch, which link_can_send allowed. Returns FALSE when it was not sent: the stream is ending. The
 * batch is the link's until sender_batch_answered. */
gboolean link_send(Link *link, Batch *batch, gint64 now_us);
/* The metadata has changed: where the broker serves no more (it is fenced, gone, or elsewhere) what it did not answer
 * has an unknown outcome, and nothing more is waited for. */
void link_look(Link *link, const View *view);
/* Give up on what takes too long. Returns when to look again, or G_MAXINT64. */
gint64 link_check_time(Link *link, gint64 now_us);
/* End the stream and hear nothing more; what is in flight is answered as unknown. NULL is fine. */
void link_free(Link *link);

G_END_DECLS
