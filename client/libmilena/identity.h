/* Who a producer is to the leaders: its id and epoch, asked of any broker when first needed, and renewed when an epoch
 * is used up. Belongs to the client's loop. */
#pragma once

#include "client/libmilena/client.h"

G_BEGIN_DECLS

typedef struct Identity Identity;

/* @changed: an answer came: look again; called on the loop */
Identity *identity_new(MilenaClient *client, void (*changed)(gpointer data), gpointer data);
/* Ask for nothing any more, and call nobody. On the loop. */
void identity_stop(Identity *identity);
void identity_free(Identity *identity); /* stopped, or never used; NULL is fine */

typedef enum {
  IDENTITY_KNOWN,
  IDENTITY_WAITS,   /* asked, or to be asked again */
  IDENTITY_REFUSED, /* asking again will not help soon: the brokers are too old, say */
} IdentityState;

/* The id and epoch to use. Asks for them, if need be.
 *
 * @ret_retry_us: for WAITS, when to look again at the latest; untouched otherwise
 * @ret_failure: why there is none: for REFUSED always, for WAITS after a failed try; borrowed; untouched otherwise */
IdentityState identity_get(Identity *identity, gint64 now_us, gint64 *ret_producer_id, guint32 *ret_producer_epoch,
                           gint64 *ret_retry_us, const Failure **ret_failure);
/* This epoch is used up: the next identity_get gives a newer one.
 *
 * @fenced: somebody else goes on with this id: take another id */
void identity_renew(Identity *identity, gint64 producer_id, guint32 producer_epoch, gboolean fenced);

G_END_DECLS
