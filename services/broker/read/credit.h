/* What a subscriber allows to be sent: records, bytes, or both. Pure.
 *
 * Without an initial credit a stream is not metered: HTTP/2 alone holds it back, and credit that comes later changes
 * nothing. A metered stream is limited in the units in which credit was ever given; the other is unlimited. With
 * nothing given yet, nothing is sent. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  gboolean metered;
  gboolean by_records, by_bytes; /* credit was given in this unit */
  guint64 records, bytes;        /* what is left of it */
} ReadCredit;

/* More may be sent; sums stop at G_MAXUINT64. 0 in a unit: no credit in it. */
void read_credit_add(ReadCredit *credit, guint64 records, guint64 bytes);
/* Something may be sent. */
gboolean read_credit_is_open(const ReadCredit *credit);
/* How much one frame may have: G_MAXUINT64 without limit. */
guint64 read_credit_records(const ReadCredit *credit);
guint64 read_credit_bytes(const ReadCredit *credit);
/* A frame was sent. It may be more than what was left, which is nothing then. */
void read_credit_take(ReadCredit *credit, guint64 records, guint64 bytes);

G_END_DECLS
