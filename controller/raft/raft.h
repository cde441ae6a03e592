/* Consensus, without I/O: events in, work out.
 *
 * The host owns one RaftCore on one thread. It feeds events (a tick of its clock, a message of a peer, a proposal, a
 * write that has become durable) and after each takes the work that follows: what to persist, what to send, what to
 * apply. A message that promises something names the write that must be durable before it may leave.
 *
 *   for each event:  raft_core_tick | _step | _propose | _propose_change | _read | _transfer | _written | _compact
 *   then:            while (raft_core_ready(core, &ready)) { persist; send; restore; apply; answer reads;
 *                                                            raft_ready_clear(&ready); }
 *
 * Writes are numbered and carried out in order; raft_core_written(n) says that those up to n are durable. A next ready
 * may be taken while writes are under way: messages leave while the own disk still works (thesis, 10.2.1). Several
 * events may come before one ready: what is proposed in between travels in one message and one write.
 *
 * Pure: no clock, no disk, no socket, no thread; randomness is a seed. Modelled on Ongaro's thesis, with pre-vote,
 * check-quorum, leadership transfer, single-server membership changes with learners, read-index and chunked snapshots.
 * README.md explains each. */
#pragma once

#include "controller/raft/entry.h"

G_BEGIN_DECLS

typedef struct RaftCore RaftCore;

typedef enum { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER } RaftRole;

typedef enum {
  RAFT_PRE_VOTE = 1, /* would you vote for me in `term`?   index, log_term: my last entry */
  RAFT_PRE_VOTE_REPLY,
  RAFT_VOTE, /* vote for me in `term`                      index, log_term: my last entry; transfer */
  RAFT_VOTE_REPLY,
  RAFT_APPEND,          /* entries after (index, log_term); commit */
  RAFT_APPEND_REPLY,    /* index: my log equals yours up to here; rejected: index is yours, hint where to try next */
  RAFT_HEARTBEAT,       /* I lead `term`; commit, as far as you have it; round */
  RAFT_HEARTBEAT_REPLY, /* you do, for all I know; round of the heartbeat */
  RAFT_SNAPSHOT,        /* snapshot, offset, length, chunk: a part of my snapshot */
  RAFT_SNAPSHOT_REPLY,  /* index: of the snapshot; offset: I have its bytes up to here; rejected: go on from there.
                           One that has all of it, durable, answers with APPEND_REPLY */
  RAFT_TIMEOUT_NOW,     /* you have all I have: stand for election at once */
} RaftMessageKind;

/* Between two controllers. Each is of one incarnation (directory) for another; a core drops what is for another than
 * itself. All but length and after_write travels. */
typedef struct {
  RaftMessageKind kind;
  guint64 from, to;
  RaftDirectory from_directory; /* the sender's own */
  RaftDirectory to_directory;   /* whom the sender means, by its configuration or by what it answers */
  guint64 term;
  guint64 index, log_term;
  guint64 commit;
  gboolean reject;
  guint64 hint;
  GPtrArray *entries;         /* of RaftEntry; NULL for none */
  guint64 round;              /* of reads; see raft_core_read */
  gboolean transfer;          /* of a vote: the leader itself asked for the election */
  RaftSnapshotMeta *snapshot; /* of SNAPSHOT: what it stands for */
  guint64 offset;             /* in the snapshot, in bytes */
  guint32 length;             /* of the chunk, in bytes */
  GBytes *chunk; /* of SNAPSHOT: the bytes. NULL as it leaves the core: the host puts in `length` bytes from `offset`
                    of its durable snapshot `snapshot->index`, or drops the message when it has another by now */
  guint64 after_write; /* must not leave before this write is durable; 0: at once. Not sent */
} RaftMessage;

RaftMessage *raft_message_new(RaftMessageKind kind, guint64 from, guint64 to, guint64 term);
RaftMessage *raft_message_copy(const RaftMessage *message); /* shares entries and chunk */
void raft_message_free(RaftMessage *message);               /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftMessage, raft_message_free)
const char *raft_message_kind_name(RaftMessageKind kind); /* "append-reply"; "unknown" for what is none */

typedef struct {
  guint64 id;                 /* from 1 */
  RaftDirectory directory;    /* of this data folder */
  guint election_ticks;       /* without a word from a leader; up to twice as long, at random */
  guint heartbeat_ticks;      /* less than election_ticks */
  guint64 seed;               /* of the random election timeouts */
  gsize append_bytes_max;     /* entries in one message, at least one; 0: 1 MiB */
  guint inflight_max;         /* messages with entries on their way to one peer; 0: 64 */
  gsize inflight_bytes_max;   /* entries on their way to one peer, at least one message; 0: 8 MiB */
  guint uncommitted_max;      /* entries proposed and not committed; then proposals are refused; 0: 10,000 */
  guint reads_max;            /* reads under way; then they are refused; 0: 10,000 */
  guint chunk_bytes_max;      /* of a snapshot in one message; 0: 256 KiB */
  guint chunks_max;           /* chunks on their way to one peer; 0: 4 */
  guint64 snapshot_bytes_max; /* a larger one is not received; 0: 1 GiB */
} RaftOptions;

/* What lies on disk. All zero: a controller that knows nothing and waits for a leader. */
typedef struct {
  RaftHardState hard_state;
  RaftSnapshotMeta snapshot; /* index 0: none */
  GPtrArray *entries;        /* of RaftEntry, from snapshot.index + 1, without gaps; borrowed */
} RaftStart;

/* A snapshot that a leader sent: complete, and its checksum holds. */
typedef struct {
  RaftSnapshotMeta meta;
  GBytes *bytes;
} RaftInstall;

/* The end of a read. */
typedef struct {
  guint64 context; /* as given to raft_core_read */
  gboolean lost;   /* this is no leader any more: ask the one that is. Else the read may be answered from what is
                      applied once the `committed` of this ready are */
} RaftRead;

/* Work for the host, in the order in which it is to be done (messages may leave at any time, each after its write). */
typedef struct {
  guint64 write_id;         /* 0: nothing to persist. Else install, hard_state and entries, in one synced write */
  RaftInstall *install;     /* to persist; replaces the whole log and the snapshot before. NULL: none */
  RaftHardState hard_state; /* to persist */
  GPtrArray *entries;   /* to persist, after install; the first replaces everything from its index on. May be empty */
  GPtrArray *messages;  /* of RaftMessage; take them with g_ptr_array_steal_index */
  RaftInstall *restore; /* an installed snapshot has become durable: put it in the place of all that was applied */
  GPtrArray *committed; /* of RaftEntry, of any kind, to apply in order; durable here */
  GArray *reads;        /* of RaftRead, to answer */
} RaftReady;
void raft_ready_clear(RaftReady *ready);

/* Returns NULL, or CORRUPT_LOG when the parts don't fit each other. @ret_core: owned by the caller. */
Failure *raft_core_new(const RaftOptions *options, const RaftStart *start, RaftCore **ret_core);
void raft_core_free(RaftCore *core); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftCore, raft_core_free)

/* ---- Events ---- */

void raft_core_tick(RaftCore *core);
/* @message: borrowed. Messages that are old, of no sense or for somebody else are dropped. Returns NULL, or CORRUPT_LOG
 * when it contradicts what is committed, or UNSUPPORTED for an entry that this version can't read: the host must end.
 */
Failure *raft_core_step(RaftCore *core, const RaftMessage *message);
/* Add an entry of kind METADATA. @data: borrowed.
 *
 * Returns NULL; NOT_CONTROLLER when this is not the leader; CONTROLLER_NOT_AVAILABLE while it hands over; OVERLOADED.
 * It is committed when it comes back in RaftReady.committed with this index and the term of now; another entry there,
 * or a restore that passes the index, means that its outcome is not known here. */
Failure *raft_core_propose(RaftCore *core, GBytes *data, guint64 *ret_index);
/* Everything up to and with this write is durable. */
void raft_core_written(RaftCore *core, guint64 write_id);

/* ---- Membership ---- */

typedef enum {
  RAFT_CHANGE_ADD,     /* a new member, as a learner: id, directory, address */
  RAFT_CHANGE_PROMOTE, /* a learner that has caught up votes from now on: id; directory, unless unknown, must be its */
  RAFT_CHANGE_REMOVE,  /* a member goes: id; directory likewise */
  RAFT_CHANGE_UPDATE,  /* its address; and its directory, if that was unknown: id, directory, address */
} RaftChangeKind;

typedef struct {
  RaftChangeKind kind;
  RaftMember member; /* what the kind names; `learner` is not read */
} RaftChange;

/* Add an entry with the changed configuration: in force at once, undone when a later leader cuts it, final when it
 * comes back in RaftReady.committed with this index and the term of now.
 *
 * Returns NULL, or one of these, and nothing changed:
 *   NOT_CONTROLLER            this is not the leader
 *   CONTROLLER_NOT_AVAILABLE  try again: it has not committed an entry of its own term yet, it hands over, or the
 * learner has not caught up CHANGE_IN_PROGRESS        try again: another change is under way QUORUM_AT_RISK it is the
 * last voter, or too few of those who would vote then are heard CONTROLLER_EXISTS         the id or the directory takes
 * part UNKNOWN_CONTROLLER, DIRECTORY_MISMATCH   no such member; it has another directory INVALID_FIELD             it
 * votes already; an id or directory that is none LIMIT_EXCEEDED            RAFT_MEMBERS_MAX */
Failure *raft_core_propose_change(RaftCore *core, const RaftChange *change, guint64 *ret_index);

/* Hand leadership over to a voter: it gets what it lacks, then is told to stand for election. Proposals are refused
 * meanwhile. Given up after an election timeout; whether it came to be shows in term and leader.
 *
 * Returns NULL: it has begun; NOT_CONTROLLER; UNKNOWN_CONTROLLER; INVALID_FIELD for one that does not vote or leads
 * already; CONTROLLER_NOT_AVAILABLE while it hands over to another, or is being removed. */
Failure *raft_core_transfer(RaftCore *core, guint64 target);

/* ---- Reads ---- */

/* Find out whether this is still the leader, by a round of heartbeats: what a read is answered from after it has come
 * back in RaftReady.reads holds all that was committed when this was called. Reads that come while a round is under way
 * share the next one.
 *
 * @context: the host's, comes back as it is
 *
 * Returns NULL, NOT_CONTROLLER or OVERLOADED. */
Failure *raft_core_read(RaftCore *core, guint64 context);

/* ---- Snapshots ---- */

/* What a snapshot up to @index, at most the last entry applied and at least the last snapshot's, stands for; without
 * size and checksum. Returns NULL, or CORRUPT_LOG. */
Failure *raft_core_snapshot_meta(const RaftCore *core, guint64 index, RaftSnapshotMeta *ret_meta);
/* That snapshot is durable: forget the entries that it holds, and send it to peers that need them. One that is older
 * than what the log begins with is passed over: an installed one is newer, and the host must not put it in its place.
 *
 * @meta: with size and checksum */
void raft_core_compact(RaftCore *core, const RaftSnapshotMeta *meta);
/* A peer is being sent the snapshot, and answers: a host that can wait does not replace it now. */
gboolean raft_core_is_sending_snapshot(const RaftCore *core);

/* ---- Work ---- */

/* Is there work? Fills @ret_ready, which must be cleared. */
gboolean raft_core_ready(RaftCore *core, RaftReady *ret_ready);

/* ---- State ---- */

typedef enum { RAFT_PEER_PROBE, RAFT_PEER_REPLICATE, RAFT_PEER_SNAPSHOT } RaftPeerMode;
const char *raft_peer_mode_name(RaftPeerMode mode);

/* What a leader knows of a member, itself among them. */
typedef struct {
  guint64 id;
  RaftDirectory directory;
  gboolean learner;
  gboolean self;
  RaftPeerMode mode; /* of itself: REPLICATE */
  guint64 match;     /* durable there up to here */
  guint64 next;
  guint in_flight;
  gsize in_flight_bytes;
  gboolean heard;         /* within the last election timeout */
  guint heard_ticks;      /* since it was heard */
  guint64 snapshot_index; /* being sent; 0: none */
  guint64 snapshot_offset, snapshot_size;
} RaftPeerState;

typedef struct {
  guint64 id;
  RaftDirectory directory;
  RaftRole role;
  gboolean member; /* in the configuration in force, with this very directory */
  gboolean voter;  /* and it votes */
  gboolean active; /* raft_core_is_active */
  guint64 term, vote;
  guint64 leader; /* 0: unknown */
  guint64 first, last, applied, commit, stable;
  guint64 configuration_index; /* of the entry in force; 0: none, or the snapshot's */
  guint64 transfer_target;     /* 0: none */
  guint64 receiving_index;     /* of a snapshot on its way here; 0: none */
  guint64 receiving_offset, receiving_size;
  RaftPeerState peers[RAFT_MEMBERS_MAX]; /* of a leader, in the configuration's order */
  guint peer_count;
} RaftState;

/* All of it, by value. */
RaftState raft_core_state(const RaftCore *core);

RaftRole raft_core_role(const RaftCore *core);
const char *raft_role_name(RaftRole role);
guint64 raft_core_term(const RaftCore *core);
guint64 raft_core_leader(const RaftCore *core); /* 0: unknown */
/* This is the leader, and it has applied everything that leaders before it committed. */
gboolean raft_core_is_active(const RaftCore *core);
guint64 raft_core_first_index(const RaftCore *core); /* of the log, after the snapshot */
guint64 raft_core_last_index(const RaftCore *core);
guint64 raft_core_commit_index(const RaftCore *core);
/* Given to the host to apply. Less than first_index - 1 only while a snapshot is being installed. */
guint64 raft_core_applied_index(const RaftCore *core);
/* Of an entry that the log holds, or of the snapshot's last; else 0. */
guint64 raft_core_term_at(const RaftCore *core, guint64 index);
/* In force: the last one in the log, committed or not. Without members while nothing is known. Borrowed, until the next
 * event. */
const RaftConfiguration *raft_core_configuration(const RaftCore *core);
guint64 raft_core_configuration_index(const RaftCore *core); /* of its entry; up to the snapshot's end: its index */

G_END_DECLS
