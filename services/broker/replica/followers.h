/* What a partition's leader knows of its followers: how far each has come, who is in sync, and whom to propose.
 *
 * The high watermark counts the *maximal* in-sync set (REPLICATION.md, rule 4): who is committed as in sync, and who
 * was proposed to join. A growth counts from the moment that it is proposed; a shrink only once it is committed (rule
 * 7). One proposal is under way at a time, compared and set on the partition's epoch, so the next metadata of the
 * partition settles it, whatever became of it.
 *
 * Pure; of the replica alone. Time is monotonic, in milliseconds, and comes as an argument. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Of one partition, those that come and go with a reassignment among them. */
#define FOLLOWERS_MAX 31

/* One other replica of the partition. */
typedef struct {
  gint32 broker_id;
  guint64 broker_epoch; /* of the registration that speaks to us in this leadership; 0: none yet */
  gint64 written_end;   /* it has our log up to here; -1: unknown in this leadership */
  gint64 synced_end;    /* .. on disk */
  gint64 log_start;     /* it keeps nothing below, durably; 0: unknown in this leadership */
  gint64 caught_up_ms;  /* it had everything then */
  gint64 mark_end;      /* when it has come to here ... */
  gint64 mark_ms;       /* ... it had everything at this time */
  guint64 visit;        /* its stream that is open; 0: none */
  gboolean in_sync;     /* committed */
  gboolean unsynced;    /* .. is, that it may lack on its disk what it had before flush=always */
  gboolean joining;     /* proposed */
} Follower;

typedef struct {
  GArray *followers; /* of Follower; NULL while there are none */
  gboolean proposing;
  guint64 visits; /* that ever began: the number of the latest */
} Followers;

/* A proposal: everybody that shall be in sync besides the leader. */
typedef struct {
  guint count;
  gboolean self_synced; /* the leader itself is unsynced no more */
  struct {
    gint32 broker_id;
    guint64 broker_epoch; /* 0 for one that is in sync already */
    gboolean synced;      /* it is unsynced no more */
  } members[FOLLOWERS_MAX];
} FollowersProposal;

/* A new leadership: nothing is known of anybody. */
void followers_begin(Followers *followers);
void followers_clear(Followers *followers);
/* What the metadata says of the partition's replicas; all borrowed. */
typedef struct {
  gint32 self; /* left out */
  const gint32 *replicas;
  guint replica_count;
  const gint32 *in_sync;
  guint in_sync_count;
  const gint32 *unsynced;
  guint unsynced_count;
} FollowersSet;
/* The metadata of the partition changed. A proposal under way is settled.
 *
 * @leader_end: who is new has until lag_max from now to catch up */
void followers_assign(Followers *followers, const FollowersSet *set, gint64 leader_end, gint64 now_ms);
/* A follower of this registration begins (again) at this place of our log. Returns the number of its visit, or 0 for
 * one that is no replica, or of a registration that is older than one that was heard. */
guint64 followers_position(Followers *followers, gint32 broker_id, guint64 broker_epoch, gint64 written_end,
                           gint64 synced_end, gint64 leader_end, gint64 now_ms);
/* It has come so far. Returns FALSE when nobody of this registration has begun. */
gboolean followers_progress(Followers *followers, gint32 broker_id, guint64 broker_epoch, gint64 written_end,
                            gint64 synced_end, gint64 leader_end, gint64 now_ms);
/* It keeps nothing below this. Ignored of whom has not begun. */
void followers_start(Followers *followers, gint32 broker_id, guint64 broker_epoch, gint64 start);
/* The lowest of those in sync; G_MAXINT64 without any. */
gint64 followers_min_start(const Followers *followers);
/* The visit is over: its stream was closed. Nothing when it has begun again since. */
void followers_left(Followers *followers, gint32 broker_id, guint64 visit);
/* The lowest end over the maximal in-sync set, @own_end among them. */
gint64 followers_min_end(const Followers *followers, gboolean synced, gint64 own_end);
/* What a proposal depends on. */
typedef struct {
  /* Who has come to here, as durable as `synced` asks, and no earlier than a leadership's start, may join while its
   * visit lasts (rule 6); G_MAXINT64: nobody may. */
  gint64 join_end;
  gint64 join_start; /* ... and keeps nothing below, durably: else what was deleted would come back with it */
  gboolean synced;
  gint64 leader_end; /* who has the log to here lags by nothing, however long ago that was written */
  gint64 sync_mark;  /* who has it on disk to here is unsynced no more */
  gboolean own_sync; /* the leader has, and is to be told so */
  gint64 lag_max_ms; /* who has not had everything for so long must go */
  gint64 now_ms;
  /* Would the controller take this registration? It refuses those that are fenced, or about to stop. */
  gboolean (*may_join)(gint32 broker_id, guint64 broker_epoch, gpointer data);
  gpointer data;
} FollowersTerms;
/* Whom to propose now, if that is another set than the committed one. The proposal is under way then.
 *
 * Returns FALSE when nothing is to be proposed. */
gboolean followers_propose(Followers *followers, const FollowersTerms *terms, FollowersProposal *ret_proposal);
/* The proposal was refused for certain, or never left: nobody joins by it. */
void followers_proposal_refused(Followers *followers);
/* Add those in sync that have the log up to @end, and those that have it on disk. */
void followers_count_copies(const Followers *followers, gint64 end, guint32 *replicas, guint32 *synced_replicas);
const Follower *followers_find(const Followers *followers, gint32 broker_id);

G_END_DECLS
