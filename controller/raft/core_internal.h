/* The core's parts, for the .c files of this folder alone. Each function stands under the file that has it. */
#pragma once

#include "controller/raft/log.h"
#include "controller/raft/progress.h"
#include "controller/raft/raft.h"
#include "services/base/invariant.h"

G_BEGIN_DECLS

/* Of terms and indexes: what counts from there never overflows. */
#define RAFT_COUNTER_MAX ((guint64)G_MAXINT64)

/* A write that is under way: when it is durable, so are the entries up to (last_index, last_term). */
typedef struct {
  guint64 write_id;
  guint64 last_index, last_term;
} RaftWrite;

/* A configuration, and the index from which on it is in force. */
typedef struct {
  guint64 index;
  RaftConfiguration configuration;
} RaftConfigurationAt;

typedef enum { RAFT_NO_ANSWER, RAFT_GRANTED, RAFT_REFUSED } RaftAnswer;

/* Reads of a leader; see read.c. */
typedef struct {
  GArray *waiting;     /* guint64 contexts: for the next round */
  GArray *asked;       /* guint64 contexts: of the round under way */
  GArray *confirmed;   /* of RaftConfirmedRead: until what they need is applied */
  GArray *ended;       /* of RaftRead: for the next ready */
  gboolean asking;     /* a round is under way */
  guint64 round;       /* its number, or the last one's; never used twice */
  guint64 round_index; /* committed as it began */
} RaftReads;

typedef struct {
  guint64 context, index;
} RaftConfirmedRead;

/* A snapshot on its way here; see install.c. */
typedef struct {
  guint64 leader, term; /* who sends it */
  RaftSnapshotMeta meta;
  GByteArray *bytes; /* what is here; NULL: none is on its way */
  guint32 crc32c;    /* of them */
} RaftReceiving;

struct RaftCore {
  RaftOptions options;
  RaftRole role;
  guint64 term, vote;
  RaftDirectory vote_directory;
  guint64 leader; /* 0: unknown */
  RaftLog log;
  RaftSnapshotMeta snapshot; /* what the log begins after; index 0: nothing */
  GArray *configurations;    /* of RaftConfigurationAt, rising: up to the snapshot's end, then those in the log */

  /* Time, in ticks. */
  guint election_elapsed; /* since a leader was heard or a vote was given */
  gboolean is_needed;     /* a learner whose log a candidate lacks: it was asked for its vote, and had to refuse */
  guint election_timeout; /* drawn anew for each term */
  guint heartbeat_elapsed;
  guint64 random;

  /* Candidates. */
  RaftAnswer answers[RAFT_MEMBERS_MAX]; /* in the configuration's order */
  guint64 own_vote_write;               /* the write that makes this candidate's own vote durable; 0: counted already */

  /* Leader. */
  RaftProgress peers[RAFT_MEMBERS_MAX];
  guint peer_count;
  guint64 first_of_term; /* index of this term's first entry */
  guint64 transfer_target;
  guint transfer_ticks;
  RaftReads reads;

  RaftReceiving receiving;
  RaftInstall *install;  /* on its way to the disk and then to the host; NULL: none */
  guint64 install_write; /* that holds it; 0: not given out yet */

  /* What goes out. */
  GPtrArray *messages;
  gboolean hard_state_changed;
  guint64 hard_state_write; /* the last one with a changed term or vote */
  guint64 last_write;       /* the last one given out */
  guint64 durable_write;    /* the last one known to be durable */
  GArray *writes;           /* of RaftWrite: under way, in order */
};

/* core.c */
void raft_draw_timeout(RaftCore *core);
void raft_become_follower(RaftCore *core, guint64 term, guint64 leader);

/* message.c: queue a message that ... */
/* ... promises nothing */
RaftMessage *raft_send(RaftCore *core, RaftMessageKind kind, guint64 to, const RaftDirectory *directory);
/* ... waits until everything of now is durable */
RaftMessage *raft_send_durable(RaftCore *core, RaftMessageKind kind, guint64 to, const RaftDirectory *directory);
/* ... answers for the term alone, and waits until that is durable */
RaftMessage *raft_send_settled(RaftCore *core, RaftMessageKind kind, guint64 to, const RaftDirectory *directory);
/* The same, to who sent @message. */
RaftMessage *raft_reply_durable(RaftCore *core, RaftMessageKind kind, const RaftMessage *message);
RaftMessage *raft_reply_settled(RaftCore *core, RaftMessageKind kind, const RaftMessage *message);
/* The write after which everything of now is durable; 0 when it is. */
guint64 raft_pending_write(const RaftCore *core);

/* election.c */
void raft_campaign(RaftCore *core);
/* At once, without asking first: the leader said so. */
void raft_campaign_for_transfer(RaftCore *core);
void raft_count_own_vote(RaftCore *core);
void raft_on_vote_request(RaftCore *core, const RaftMessage *message);
void raft_on_vote_reply(RaftCore *core, const RaftMessage *message);

/* replication.c */
void raft_become_leader(RaftCore *core);
void raft_clear_peers(RaftCore *core);
/* The peers are those of the configuration in force. New ones are first sent the entry @next; @heard: they count as
 * heard for now */
void raft_sync_peers(RaftCore *core, guint64 next, gboolean heard);
RaftProgress *raft_find_peer(RaftCore *core, guint64 id);
/* Send what the peers lack, as far as it may be sent now. */
void raft_flush_appends(RaftCore *core);
void raft_heartbeat(RaftCore *core);
/* A heartbeat to one. */
void raft_send_heartbeat(RaftCore *core, const RaftProgress *peer);
void raft_advance_commit(RaftCore *core);
void raft_on_append_reply(RaftCore *core, const RaftMessage *message);
void raft_on_heartbeat_reply(RaftCore *core, const RaftMessage *message);

/* follower.c */
Failure *raft_on_append(RaftCore *core, const RaftMessage *message);
Failure *raft_on_heartbeat(RaftCore *core, const RaftMessage *message);

/* membership.c */
const RaftConfiguration *raft_in_force(const RaftCore *core);
guint64 raft_in_force_index(const RaftCore *core);
/* This very incarnation's entry in the configuration in force, or NULL. */
const RaftMember *raft_self(const RaftCore *core);
gboolean raft_self_votes(const RaftCore *core);
/* It votes, or it is the one whose removal is not committed yet. */
gboolean raft_may_stand(const RaftCore *core);
guint raft_quorum(const RaftCore *core);
/* Nobody else votes. */
gboolean raft_is_alone(const RaftCore *core);
/* Voters heard within an election timeout, this one among them, are a quorum. */
gboolean raft_quorum_is_heard(const RaftCore *core);
/* Entries from @from on were appended (or, with from behind the end, cut): keep the configurations true. */
Failure *raft_note_configurations(RaftCore *core, guint64 from);
/* The log begins after @core->snapshot now. */
void raft_rebase_configurations(RaftCore *core);
/* The last configuration up to @index. */
const RaftConfiguration *raft_configuration_at(const RaftCore *core, guint64 index);
/* This leader's removal is under way. */
gboolean raft_is_leaving(const RaftCore *core);

/* transfer.c */
/* Refused while leadership is handed over or this leader is being removed: a failure, or NULL. */
Failure *raft_check_stays(const RaftCore *core);
void raft_transfer_tick(RaftCore *core);
/* The target may have got all: tell it. */
void raft_transfer_push(RaftCore *core);
/* This leader's removal is committed. */
void raft_leave(RaftCore *core);
void raft_on_timeout_now(RaftCore *core, const RaftMessage *message);

/* read.c */
void raft_reads_init(RaftReads *reads);
void raft_reads_clear(RaftReads *reads);
/* Begin a round for those that wait, if none is under way and it may begin. */
void raft_reads_flush(RaftCore *core);
/* A voter has answered a round, or the configuration has changed. */
void raft_reads_count(RaftCore *core);
/* This is no leader any more. */
void raft_reads_lose(RaftCore *core);
/* What ended since the last call; NULL for none. */
GArray *raft_reads_take(RaftCore *core);

/* snapshot.c */
/* The peer needs what the log does not hold any more. */
void raft_snapshot_begin(RaftCore *core, RaftProgress *peer);
void raft_snapshot_send(RaftCore *core, RaftProgress *peer);
/* There is a new snapshot: who was being sent the one before gets this one. */
void raft_snapshot_replaced(RaftCore *core);
/* The peer lives: go on if nothing moves. */
void raft_snapshot_resume(RaftCore *core, RaftProgress *peer);
void raft_on_snapshot_reply(RaftCore *core, const RaftMessage *message);

/* install.c */
void raft_on_snapshot(RaftCore *core, const RaftMessage *message);
void raft_receiving_clear(RaftReceiving *receiving);
void raft_install_free(RaftInstall *install); /* NULL is fine */
/* An install is not durable yet, so nothing may be applied. */
gboolean raft_is_installing(const RaftCore *core);

G_END_DECLS
