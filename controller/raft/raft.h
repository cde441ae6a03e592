/* Consensus, without I/O: events in, work out.
 *
 * The host owns one RaftCore on one thread. It feeds events (a tick of its clock, a message of a peer, a proposal, a
 * write that has become durable) and after each takes the work that follows: what to persist, what to send, what to
 * apply. A message that promises something names the write that must be durable before it may leave.
 *
 *   for each event:  raft_core_tick | _step | _propose | _written
 *   then:            while (raft_core_ready(core, &ready)) { persist; send; apply; raft_ready_clear(&ready); }
 *
 * Writes are numbered and carried out in order; raft_core_written(n) says that those up to n are durable. Pure: no
 * clock, no disk, no socket, no thread; randomness is a seed. Modelled on Ongaro's thesis, with pre-vote and
 * check-quorum. */
#pragma once

#include "controller/raft/entry.h"

G_BEGIN_DECLS

typedef struct RaftCore RaftCore;

typedef enum { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER } RaftRole;

typedef enum {
  RAFT_PRE_VOTE = 1, /* would you vote for me in `term`?   index, log_term: my last entry */
  RAFT_PRE_VOTE_REPLY,
  RAFT_VOTE, /* vote for me in `term`                      index, log_term: my last entry */
  RAFT_VOTE_REPLY,
  RAFT_APPEND,       /* entries after (index, log_term); without entries a heartbeat */
  RAFT_APPEND_REPLY, /* index: my log equals yours up to here; rejected: index is yours, hint where to try next */
} RaftMessageKind;

/* Between two controllers. */
typedef struct {
  RaftMessageKind kind;
  guint64 from, to;
  guint64 term;
  guint64 index, log_term;
  guint64 commit;
  gboolean reject;
  guint64 hint;
  GPtrArray *entries;  /* of RaftEntry; NULL for none */
  guint64 after_write; /* must not leave before this write is durable; 0: at once. Not sent */
} RaftMessage;

RaftMessage *raft_message_new(RaftMessageKind kind, guint64 from, guint64 to, guint64 term);
void raft_message_free(RaftMessage *message); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftMessage, raft_message_free)

typedef struct {
  guint64 id;             /* from 1 */
  guint election_ticks;   /* without a word from a leader; up to twice as long, at random */
  guint heartbeat_ticks;  /* less than election_ticks */
  guint64 seed;           /* of the random election timeouts */
  gsize append_bytes_max; /* entries in one message, at least one; 0: 1 MiB */
  guint inflight_max;     /* messages with entries on their way to one peer; 0: 64 */
  guint uncommitted_max;  /* entries proposed and not committed; then proposals are refused; 0: 10,000 */
} RaftOptions;

/* What lies on disk. */
typedef struct {
  RaftHardState hard_state;
  RaftSnapshotMeta snapshot; /* index 0: none */
  GPtrArray *entries;        /* of RaftEntry, from snapshot.index + 1, without gaps; borrowed */
} RaftStart;

/* Work for the host. */
typedef struct {
  guint64 write_id;         /* 0: nothing to persist */
  RaftHardState hard_state; /* to persist with the entries, in one write */
  GPtrArray *entries;       /* to persist; the first replaces everything from its index on. May be empty */
  GPtrArray *messages;      /* of RaftMessage; take them with g_ptr_array_steal_index */
  GPtrArray *committed;     /* of RaftEntry, to apply in order; durable here */
} RaftReady;
void raft_ready_clear(RaftReady *ready);

/* Returns NULL, or CORRUPT_LOG when the parts don't fit each other. @ret_core: owned by the caller. */
Failure *raft_core_new(const RaftOptions *options, const RaftStart *start, RaftCore **ret_core);
void raft_core_free(RaftCore *core); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftCore, raft_core_free)

/* ---- Events ---- */

void raft_core_tick(RaftCore *core);
/* @message: borrowed. Returns NULL, or CORRUPT_LOG when it contradicts what is committed: the host must end. */
Failure *raft_core_step(RaftCore *core, const RaftMessage *message);
/* Add an entry of kind METADATA. @data: borrowed. Returns NULL, NOT_CONTROLLER when this is not the leader, or
 * OVERLOADED. It is committed when it comes back in RaftReady.committed with this index and the term of now; another
 * entry there means that it was lost. */
Failure *raft_core_propose(RaftCore *core, GBytes *data, guint64 *ret_index);
/* Everything up to and with this write is durable. */
void raft_core_written(RaftCore *core, guint64 write_id);
/* What a snapshot up to @index, at most the last entry applied, stands for; without size and checksum.
 * Returns NULL, or CORRUPT_LOG. */
Failure *raft_core_snapshot_meta(const RaftCore *core, guint64 index, RaftSnapshotMeta *ret_meta);
/* That snapshot is durable: forget the entries that it holds. */
void raft_core_compact(RaftCore *core, const RaftSnapshotMeta *meta);

/* Is there work? Fills @ret_ready, which must be cleared. */
gboolean raft_core_ready(RaftCore *core, RaftReady *ret_ready);

/* ---- State ---- */

RaftRole raft_core_role(const RaftCore *core);
const char *raft_role_name(RaftRole role);
guint64 raft_core_term(const RaftCore *core);
guint64 raft_core_leader(const RaftCore *core); /* 0: unknown */
/* This is the leader, and it has applied everything that leaders before it committed. */
gboolean raft_core_is_active(const RaftCore *core);
guint64 raft_core_first_index(const RaftCore *core); /* of the log, after the snapshot */
guint64 raft_core_last_index(const RaftCore *core);
guint64 raft_core_commit_index(const RaftCore *core);
guint64 raft_core_applied_index(const RaftCore *core);
/* Of an entry that the log holds, or of the snapshot's last; else 0. */
guint64 raft_core_term_at(const RaftCore *core, guint64 index);
const RaftConfiguration *raft_core_configuration(const RaftCore *core);

G_END_DECLS
