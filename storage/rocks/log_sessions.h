/* Read sessions: cursors kept from read to read, so that who reads on does not seek in every file of level 0 again.
 *
 * A cursor pins the files and memtables that it sees, and does not see what is written later: so sessions are bounded
 * in number and age, and who comes to a session's end looks anew. Not thread-safe: the readers' lock guards it. */
#pragma once

#include <glib.h>

#include "storage/rocks/log_cursor.h"

G_BEGIN_DECLS

/* A cursor that stands where the next read will go on. */
typedef struct LogSession LogSession;
struct LogSession {
  guint64 log_id;
  gint64 next_offset;
  guint32 generation; /* of the log, when the cursor was made */
  gint64 made_us;
  gint64 part_end; /* of the compacted part: where it ended when the cursor was made; 0: a time segment */
  LogCursor *cursor;
  GList link; /* in age order */
};

typedef struct LogSessions LogSessions;

LogSessions *log_sessions_new(guint count_max, gint64 age_max_us);
/* Frees the sessions too. NULL is fine. */
void log_sessions_free(LogSessions *sessions);

/* Take out the one that goes on at @next_offset of a log; the caller owns it. NULL when there is none. */
LogSession *log_sessions_take(LogSessions *sessions, guint64 log_id, gint64 next_offset, gint64 now_us);
/* Keep @session, taken over. What must go instead is put in front of @doomed: free it with log_session_free, without
 * the lock. */
void log_sessions_put(LogSessions *sessions, LogSession *session, gint64 now_us, GSList **doomed);
/* Take out those that are too old. */
void log_sessions_expire(LogSessions *sessions, gint64 now_us, GSList **doomed);
guint log_sessions_count(const LogSessions *sessions);
void log_session_free(LogSession *session); /* NULL is fine */

G_END_DECLS
