/* A stream's membership from the inside: member.c has who it is and what it was assigned, member_beat.c what it says to
 * its coordinator and hears, member_change.c what its client is told and acknowledges. See member.h. */
#pragma once

#include "services/broker/read/member.h"

G_BEGIN_DECLS

struct Member {
  const Milena__V1__SubscribeInit *init;
  char *id, *rack;
  guint32 epoch;
  guint32 version;     /* of the last assignment */
  gboolean was_member; /* it joined once */
  gboolean fenced;
  Milena__V1__OffsetReset offset_reset;

  gint64 interval_ms;
  gint64 due_us;       /* of the next heartbeat, while none is under way */
  gboolean beating;    /* one is under way ... */
  gint64 beat_us;      /* ... since */
  gboolean beat_holds; /* ... and may be held */
  gboolean beat_owns;  /* ... and says what the member owns */
  gboolean news;       /* there is something to say that it does not */
  gboolean owned_is_news;
  gboolean tell; /* ask for the whole assignment */

  guint64 change_id; /* of the last change */
  gboolean unacknowledged;
  gint64 told_us;
  char *explanation;
  GHashTable *by_key; /* "topic id/partition" to MemberPartition */
  GPtrArray *partitions;
};

/* What it asked for. */
const Milena__V1__SubscribeMembership *member_wishes(const Member *member);
/* By topic and number; of MemberPartition **. */
gint member_compare_partitions(gconstpointer a, gconstpointer b);
/* Nobody knows it any more. */
void member_let_go(Member *member, MemberPartition *partition);
/* The coordinator assigned this. */
void member_assign(Member *member, const Milena__V1__Assignment *assignment);
/* The coordinator does not know it any more. */
void member_fence(Member *member, const Failure *failure, gint64 now_us);
/* A fenced one joins anew once its client knows of all that it lost. */
void member_rejoin_when_done(Member *member, gint64 now_us);

G_END_DECLS
