/* Sessions; see liveness.h.
 *
 * A session belongs to one registration (kind, id, epoch) and ends timeout after its last sign of life, or at once when
 * the process leaves in order. Invariant: heard_us never lies in the future. Owning thread: the host's loop. */
#include "services/controller/liveness.h"

typedef struct {
  guint64 epoch;
  gint64 heard_us;
  gboolean left;
} Session;

struct Liveness {
  GHashTable *sessions; /* key of kind and id -> Session */
  gint64 timeout_us;
  gint64 begun_us;
  gint64 ticked_us;
};

static gint64 session_key(NodeKind kind, gint32 id) {
  return ((gint64)kind << 32) | (guint32)id;
}

static Session *find(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch) {
  gint64 key = session_key(kind, id);
  Session *session = g_hash_table_lookup(liveness->sessions, &key);
  return session && session->epoch == epoch ? session : NULL;
}

/* The registration's session, in place of that of an older one. */
static Session *need(Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch) {
  Session *session = find(liveness, kind, id, epoch);
  if (session)
    return session;
  gint64 key = session_key(kind, id);
  session = g_new0(Session, 1);
  session->epoch = epoch;
  g_hash_table_replace(liveness->sessions, g_memdup2(&key, sizeof key), session);
  return session;
}

Liveness *liveness_new(gint64 session_timeout_ms) {
  Liveness *liveness = g_new0(Liveness, 1);
  liveness->timeout_us = session_timeout_ms * 1000;
  liveness->sessions = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
  return liveness;
}

void liveness_free(Liveness *liveness) {
  if (!liveness)
    return;
  g_hash_table_unref(liveness->sessions);
  g_free(liveness);
}

void liveness_begin(Liveness *liveness, gint64 now_us) {
  g_hash_table_remove_all(liveness->sessions);
  liveness->begun_us = liveness->ticked_us = now_us;
}

void liveness_tick(Liveness *liveness, gint64 now_us) {
  gint64 gap_us = now_us - liveness->ticked_us;
  liveness->ticked_us = now_us;
  if (gap_us < liveness->timeout_us / 2)
    return;
  liveness->begun_us += gap_us;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, liveness->sessions);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Session *session = value;
    session->heard_us = MIN(now_us, session->heard_us + gap_us);
  }
}

void liveness_heard(Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch, gint64 now_us) {
  need(liveness, kind, id, epoch)->heard_us = now_us;
}

void liveness_left(Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch) {
  need(liveness, kind, id, epoch)->left = TRUE;
}

gboolean liveness_is_alive(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch, gboolean fenced,
                           gint64 now_us) {
  const Session *session = find(liveness, kind, id, epoch);
  if (!session)
    return !fenced && now_us - liveness->begun_us < liveness->timeout_us;
  return !session->left && now_us - session->heard_us < liveness->timeout_us;
}

gboolean liveness_may_live(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch, gboolean fenced,
                           gint64 now_us) {
  if (fenced && !find(liveness, kind, id, epoch))
    return now_us - liveness->begun_us < liveness->timeout_us / 3;
  return liveness_is_alive(liveness, kind, id, epoch, fenced, now_us);
}

gboolean liveness_has_left(const Liveness *liveness, NodeKind kind, gint32 id, guint64 epoch) {
  const Session *session = find(liveness, kind, id, epoch);
  return session && session->left;
}
