/* A controller's folder for tests: made, written to, told as text. */
#pragma once

#include "storage/rocks/raft/raft_log.h"

G_BEGIN_DECLS

/* The folder of this test; owned by the caller. */
char *log_folder(void);
/* As controller 1; a failure fails the test and gives NULL. */
RaftLogStore *log_open(const char *path, gboolean create);
/* A new folder, empty. */
RaftLogStore *log_begin(const char *path);

/* Entries from..to of a term, each with "entry N" in it, and a vote for 1. */
GPtrArray *log_entries(guint64 from, guint64 to, guint64 term);
void log_write(RaftLogStore *store, guint64 from, guint64 to, guint64 term);
/* Term and vote alone. */
void log_vote(RaftLogStore *store, guint64 term, guint64 vote);
/* A snapshot of this controller's own. */
void log_snapshot(RaftLogStore *store, guint64 index, guint64 term, const char *text);
/* The description of one that came from a leader. */
RaftSnapshotMeta log_received(guint64 index, guint64 term, const char *text);

/* Open, load, close; the log as text, "snapshot(10)@3 4/1 5/1 ", or the sentence of the failure. Owned by the caller.
 */
char *log_tell(const char *path);
/* The same with all that is there: identity, term, vote, the bytes of snapshot and entries. */
char *log_tell_all(const char *path);

/* Copy the files of a folder; remove a folder with its files. */
void log_copy(const char *from, const char *to);
void log_remove(const char *path);

G_END_DECLS
