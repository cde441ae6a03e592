/* The core's parts, for core.c, election.c, replication.c and ready.c alone. */
#pragma once

#include "controller/raft/log.h"
#include "controller/raft/progress.h"
#include "controller/raft/raft.h"
#include "services/base/invariant.h"

G_BEGIN_DECLS

/* A write that is under way: when it is durable, so are the entries up to (last_index, last_term). */
typedef struct {
  guint64 write_id;
  guint64 last_index, last_term;
} RaftWrite;

struct RaftCore {
  RaftOptions options;
  RaftRole role;
  guint64 term, vote;
  guint64 leader;                           /* 0: unknown */
  RaftConfiguration configuration;          /* in force */
  RaftConfiguration snapshot_configuration; /* at the snapshot's end */
  RaftLog log;

  /* Time, in ticks. */
  guint election_elapsed; /* since a leader was heard, a vote was given, or (leader) the quorum was checked */
  guint election_timeout; /* drawn anew for each term */
  guint heartbeat_elapsed;
  guint64 random;

  /* Candidates: answers by voter. */
  guint64 granted[RAFT_MEMBERS_MAX], refused[RAFT_MEMBERS_MAX];
  guint granted_count, refused_count;
  guint64 own_vote_write; /* the write that makes this candidate's own vote durable; 0: counted already */

  /* Leader. */
  RaftProgress peers[RAFT_MEMBERS_MAX];
  guint peer_count;
  guint64 first_of_term; /* index of this term's first entry */

  /* What goes out. */
  GPtrArray *messages;
  gboolean hard_state_changed;
  guint64 last_write;    /* the last one given out */
  guint64 durable_write; /* the last one known to be durable */
  GArray *writes;        /* of RaftWrite: under way, in order */
};

/* core.c */
guint raft_quorum(const RaftCore *core);
void raft_draw_timeout(RaftCore *core);
/* The write after which everything of now is durable; 0 when it is. */
guint64 raft_pending_write(const RaftCore *core);
/* Queue a message that promises nothing. */
RaftMessage *raft_send(RaftCore *core, RaftMessageKind kind, guint64 to);
/* Queue a message that must wait until everything of now is durable. */
RaftMessage *raft_send_durable(RaftCore *core, RaftMessageKind kind, guint64 to);
void raft_become_follower(RaftCore *core, guint64 term, guint64 leader);
/* A CONFIGURATION entry was appended or cut: find the one in force. CORRUPT_LOG when it does not decode. */
Failure *raft_reload_configuration(RaftCore *core);

/* election.c */
void raft_campaign(RaftCore *core);
void raft_count_own_vote(RaftCore *core);
void raft_on_vote_request(RaftCore *core, const RaftMessage *message);
void raft_on_vote_reply(RaftCore *core, const RaftMessage *message);

/* replication.c */
void raft_become_leader(RaftCore *core);
void raft_clear_peers(RaftCore *core);
void raft_broadcast_append(RaftCore *core);
void raft_heartbeat(RaftCore *core);
/* Returns FALSE when no quorum was heard since the last check. */
gboolean raft_check_quorum(RaftCore *core);
void raft_advance_commit(RaftCore *core);
Failure *raft_on_append(RaftCore *core, const RaftMessage *message);
void raft_on_append_reply(RaftCore *core, const RaftMessage *message);

G_END_DECLS
