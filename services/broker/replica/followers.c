/* See followers.h.
 *
 * Invariants:
 *   1. joining is set only while a proposal is under way, and never of who is in sync.
 *   2. ends never go back within a leadership, unless a follower begins again.
 * Thread: the replica's owner. */
#include "services/broker/replica/followers.h"

#include "services/base/invariant.h"

static Follower *get(const Followers *followers, guint i) {
  return &g_array_index(followers->followers, Follower, i);
}

static guint count(const Followers *followers) {
  return followers->followers ? followers->followers->len : 0;
}

static Follower *find(const Followers *followers, gint32 broker_id) {
  for (guint i = 0; i < count(followers); i++)
    if (get(followers, i)->broker_id == broker_id)
      return get(followers, i);
  return NULL;
}

const Follower *followers_find(const Followers *followers, gint32 broker_id) {
  return find(followers, broker_id);
}

void followers_begin(Followers *followers) {
  followers_clear(followers);
}

void followers_clear(Followers *followers) {
  g_clear_pointer(&followers->followers, g_array_unref);
  followers->proposing = FALSE;
}

static gboolean has(const gint32 *ids, guint id_count, gint32 id) {
  for (guint i = 0; i < id_count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

void followers_assign(Followers *followers, const FollowersSet *set, gint64 leader_end, gint64 now_ms) {
  GArray *before = g_steal_pointer(&followers->followers);
  followers->proposing = FALSE;
  if (set->replica_count > 1)
    followers->followers = g_array_sized_new(FALSE, FALSE, sizeof(Follower), set->replica_count - 1);
  for (guint i = 0; i < set->replica_count; i++) {
    gint32 id = set->replicas[i];
    if (id == set->self)
      continue;
    /* Who is new is unknown, and has its time to come. */
    Follower follower = {.broker_id = id,
                         .written_end = -1,
                         .synced_end = -1,
                         .caught_up_ms = now_ms,
                         .mark_end = leader_end,
                         .mark_ms = now_ms};
    for (guint j = 0; before && j < before->len; j++)
      if (g_array_index(before, Follower, j).broker_id == id)
        follower = g_array_index(before, Follower, j);
    follower.in_sync = has(set->in_sync, set->in_sync_count, id);
    follower.unsynced = has(set->unsynced, set->unsynced_count, id);
    follower.joining = FALSE;
    g_array_append_val(followers->followers, follower);
  }
  if (before)
    g_array_unref(before);
}

/* It has @end: did it have everything at some time since it was last known to? */
static void note_caught_up(Follower *follower, gint64 leader_end, gint64 now_ms) {
  if (follower->written_end >= leader_end)
    follower->caught_up_ms = now_ms;
  else if (follower->written_end >= follower->mark_end)
    follower->caught_up_ms = MAX(follower->caught_up_ms, follower->mark_ms);
  else
    return; /* the mark stands until it is reached */
  follower->mark_end = leader_end;
  follower->mark_ms = now_ms;
}

guint64 followers_position(Followers *followers, gint32 broker_id, guint64 broker_epoch, gint64 written_end,
                           gint64 synced_end, gint64 leader_end, gint64 now_ms) {
  Follower *follower = find(followers, broker_id);
  if (!follower || broker_epoch < follower->broker_epoch)
    return 0;
  follower->broker_epoch = broker_epoch;
  follower->visit = ++followers->visits;
  follower->written_end = written_end;
  follower->synced_end = MIN(synced_end, written_end);
  follower->log_start = 0;
  follower->mark_end = leader_end;
  follower->mark_ms = now_ms;
  note_caught_up(follower, leader_end, now_ms);
  return follower->visit;
}

void followers_left(Followers *followers, gint32 broker_id, guint64 visit) {
  Follower *follower = find(followers, broker_id);
  if (follower && follower->visit == visit)
    follower->visit = 0;
}

gboolean followers_progress(Followers *followers, gint32 broker_id, guint64 broker_epoch, gint64 written_end,
                            gint64 synced_end, gint64 leader_end, gint64 now_ms) {
  Follower *follower = find(followers, broker_id);
  if (!follower || broker_epoch != follower->broker_epoch || follower->written_end < 0)
    return FALSE;
  /* More than we have is no progress along our log. */
  follower->written_end = MAX(follower->written_end, MIN(written_end, leader_end));
  follower->synced_end = MAX(follower->synced_end, MIN(synced_end, follower->written_end));
  note_caught_up(follower, leader_end, now_ms);
  return TRUE;
}

void followers_start(Followers *followers, gint32 broker_id, guint64 broker_epoch, gint64 start) {
  Follower *follower = find(followers, broker_id);
  if (follower && broker_epoch == follower->broker_epoch && follower->written_end >= 0)
    follower->log_start = MAX(follower->log_start, start);
}

gint64 followers_min_start(const Followers *followers) {
  gint64 start = G_MAXINT64;
  for (guint i = 0; i < count(followers); i++)
    if (get(followers, i)->in_sync)
      start = MIN(start, get(followers, i)->log_start);
  return start;
}

gint64 followers_min_end(const Followers *followers, gboolean synced, gint64 own_end) {
  gint64 end = own_end;
  for (guint i = 0; i < count(followers); i++) {
    const Follower *follower = get(followers, i);
    if (follower->in_sync || follower->joining)
      end = MIN(end, synced ? follower->synced_end : follower->written_end);
  }
  return end;
}

void followers_count_copies(const Followers *followers, gint64 end, guint32 *replicas, guint32 *synced_replicas) {
  for (guint i = 0; i < count(followers); i++) {
    const Follower *follower = get(followers, i);
    *replicas += follower->in_sync && follower->written_end >= end;
    *synced_replicas += follower->in_sync && follower->synced_end >= end;
  }
}

/* ---- proposals ---- */

static gboolean shall_be_in_sync(const Follower *follower, const FollowersTerms *terms) {
  gboolean fresh = terms->now_ms - follower->caught_up_ms <= terms->lag_max_ms;
  if (follower->in_sync)
    return fresh;
  return follower->visit > 0 && fresh && follower->log_start >= terms->join_start &&
         (terms->synced ? follower->synced_end : follower->written_end) >= terms->join_end &&
         terms->may_join(follower->broker_id, follower->broker_epoch, terms->data);
}

gboolean followers_propose(Followers *followers, const FollowersTerms *terms, FollowersProposal *ret_proposal) {
  if (followers->proposing)
    return FALSE;
  gboolean differs = terms->own_sync;
  ret_proposal->count = 0;
  ret_proposal->self_synced = terms->own_sync;
  for (guint i = 0; i < count(followers); i++) {
    Follower *follower = get(followers, i);
    /* In a log that nobody writes to there is no progress to be heard of. */
    if (follower->written_end >= terms->leader_end)
      note_caught_up(follower, terms->leader_end, terms->now_ms);
    gboolean in = shall_be_in_sync(follower, terms);
    gboolean synced = in && follower->unsynced && follower->synced_end >= terms->sync_mark;
    differs |= in != follower->in_sync || synced;
    if (!in)
      continue;
    INVARIANT(ret_proposal->count < G_N_ELEMENTS(ret_proposal->members),
              "the controller bounds a partition's replicas");
    ret_proposal->members[ret_proposal->count].broker_id = follower->broker_id;
    ret_proposal->members[ret_proposal->count].synced = synced;
    ret_proposal->members[ret_proposal->count++].broker_epoch = follower->in_sync ? 0 : follower->broker_epoch;
  }
  if (!differs)
    return FALSE;
  followers->proposing = TRUE;
  for (guint i = 0; i < ret_proposal->count; i++) {
    Follower *follower = find(followers, ret_proposal->members[i].broker_id);
    follower->joining = !follower->in_sync;
  }
  return TRUE;
}

void followers_proposal_refused(Followers *followers) {
  followers->proposing = FALSE;
  for (guint i = 0; i < count(followers); i++)
    get(followers, i)->joining = FALSE;
}
