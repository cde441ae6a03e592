/* The log in memory: all entries after the snapshot. Pure; of the core alone. */
#pragma once

#include "controller/raft/entry.h"

G_BEGIN_DECLS

/*        snapshot          applied   commit     stable      handed      last
 *  ... ─────┤ entries[0] ────┴─────────┴──────────┴───────────┴──────────┘
 *
 * snapshot <= applied <= commit <= last, applied <= stable <= handed <= last. (commit may pass stable: others have it.)
 * Only while a snapshot of a leader is on its way to the disk, applied is less than snapshot. */
typedef struct {
  GPtrArray *entries; /* index snapshot_index + 1 at 0 */
  guint64 snapshot_index, snapshot_term;
  guint64 applied; /* given to the host to apply */
  guint64 commit;
  guint64 stable; /* durable here */
  guint64 handed; /* given to the host to persist */
} RaftLog;

void raft_log_init(RaftLog *log, guint64 snapshot_index, guint64 snapshot_term);
void raft_log_clear(RaftLog *log);

guint64 raft_log_last_index(const RaftLog *log);
guint64 raft_log_last_term(const RaftLog *log);
/* 0 when the log does not hold it. */
guint64 raft_log_term_at(const RaftLog *log, guint64 index);
RaftEntry *raft_log_entry(const RaftLog *log, guint64 index); /* borrowed, or NULL */
/* A log that ends with (@index, @term) is as new as this one, or newer. */
gboolean raft_log_is_up_to_date(const RaftLog *log, guint64 index, guint64 term);

/* Add an entry at the end. @entry: taken. */
void raft_log_append(RaftLog *log, RaftEntry *entry);
/* Follow a leader: entries after (index, term) that was found equal. What differs is cut first.
 * @ret_from: the first one that is new, 0 for none. Returns NULL, or CORRUPT_LOG when a committed entry would be cut.
 */
Failure *raft_log_merge(RaftLog *log, const GPtrArray *entries, guint64 *ret_from);
/* Entries up to @index, written in @term, are durable: a later cut may have made that void. */
void raft_log_set_stable(RaftLog *log, guint64 index, guint64 term);
/* Returns TRUE when it rose. */
gboolean raft_log_set_commit(RaftLog *log, guint64 index);
/* Forget entries up to @index. */
void raft_log_compact(RaftLog *log, guint64 index);
/* A leader's snapshot takes the place of everything. What was applied stays as it is until raft_log_restored. */
void raft_log_reset(RaftLog *log, guint64 index, guint64 term);
/* The host has that snapshot now. */
void raft_log_restored(RaftLog *log);

/* Entries that are still to be persisted, referenced; they count as handed. */
GPtrArray *raft_log_take_unwritten(RaftLog *log);
gboolean raft_log_has_unwritten(const RaftLog *log);
/* Entries that are to be applied, referenced; they count as applied. */
GPtrArray *raft_log_take_committed(RaftLog *log);
gboolean raft_log_has_committed(const RaftLog *log);

G_END_DECLS
