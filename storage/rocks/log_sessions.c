#include "storage/rocks/log_sessions.h"

struct LogSessions {
  guint count_max;
  gint64 age_max_us;
  GHashTable *by_place; /* LogSession → itself, by log and next offset */
  GQueue by_age;        /* of LogSession, oldest first */
};

static guint session_hash(gconstpointer key) {
  const LogSession *session = key;
  guint64 mixed = session->log_id * G_GUINT64_CONSTANT(0x9E3779B97F4A7C15) ^ (guint64)session->next_offset;
  return (guint)(mixed ^ mixed >> 32);
}

static gboolean session_equal(gconstpointer a, gconstpointer b) {
  const LogSession *left = a, *right = b;
  return left->log_id == right->log_id && left->next_offset == right->next_offset;
}

LogSessions *log_sessions_new(guint count_max, gint64 age_max_us) {
  LogSessions *sessions = g_new0(LogSessions, 1);
  sessions->count_max = count_max;
  sessions->age_max_us = age_max_us;
  sessions->by_place = g_hash_table_new(session_hash, session_equal);
  return sessions;
}

/* Out of both structures. */
static void unlink_session(LogSessions *sessions, LogSession *session) {
  g_hash_table_remove(sessions->by_place, session);
  g_queue_unlink(&sessions->by_age, &session->link);
}

void log_session_free(LogSession *session) {
  if (!session)
    return;
  log_cursor_free(session->cursor);
  g_free(session);
}

void log_sessions_free(LogSessions *sessions) {
  if (!sessions)
    return;
  GSList *doomed = NULL;
  log_sessions_expire(sessions, G_MAXINT64, &doomed);
  g_slist_free_full(doomed, (GDestroyNotify)log_session_free);
  g_hash_table_unref(sessions->by_place);
  g_free(sessions);
}

LogSession *log_sessions_take(LogSessions *sessions, guint64 log_id, gint64 next_offset, gint64 now_us) {
  LogSession key = {.log_id = log_id, .next_offset = next_offset};
  LogSession *session = g_hash_table_lookup(sessions->by_place, &key);
  if (!session || now_us - session->made_us > sessions->age_max_us)
    return NULL; /* an old one ends with the next expiry */
  unlink_session(sessions, session);
  return session;
}

void log_sessions_put(LogSessions *sessions, LogSession *session, gint64 now_us, GSList **doomed) {
  LogSession *same = g_hash_table_lookup(sessions->by_place, session);
  if (!same && sessions->by_age.length >= sessions->count_max && sessions->count_max > 0)
    same = g_queue_peek_head(&sessions->by_age);
  if (same) {
    unlink_session(sessions, same);
    *doomed = g_slist_prepend(*doomed, same);
  }
  if (sessions->count_max == 0 || now_us - session->made_us > sessions->age_max_us) {
    *doomed = g_slist_prepend(*doomed, session);
    return;
  }
  g_hash_table_add(sessions->by_place, session);
  session->link = (GList){.data = session};
  /* Made long ago goes out first: age counts from the making of the cursor, not from its last use. */
  GList *at = sessions->by_age.tail;
  while (at && ((LogSession *)at->data)->made_us > session->made_us)
    at = at->prev;
  if (at)
    g_queue_insert_after_link(&sessions->by_age, at, &session->link);
  else
    g_queue_push_head_link(&sessions->by_age, &session->link);
}

void log_sessions_expire(LogSessions *sessions, gint64 now_us, GSList **doomed) {
  LogSession *oldest;
  while ((oldest = g_queue_peek_head(&sessions->by_age)) && now_us - oldest->made_us > sessions->age_max_us) {
    unlink_session(sessions, oldest);
    *doomed = g_slist_prepend(*doomed, oldest);
  }
}

guint log_sessions_count(const LogSessions *sessions) {
  return sessions->by_age.length;
}
