/* Elections: first a question that binds nobody (pre-vote), then the vote.
 *
 * Protects: a vote is given once a term, only to a log that is as new as the voter's, and told only when it is durable;
 * the candidate's own vote counts by the same rule. Owning thread: the core's. */
#include "controller/raft/core_internal.h"

static void ask(RaftCore *core, RaftMessageKind kind, guint64 term) {
  for (guint i = 0; i < core->configuration.member_count; i++) {
    guint64 peer = core->configuration.members[i].id;
    if (peer == core->options.id)
      continue;
    /* A vote is asked for in a term that this candidate can't forget any more; a pre-vote promises nothing. */
    RaftMessage *message = kind == RAFT_VOTE ? raft_send_durable(core, kind, peer) : raft_send(core, kind, peer);
    message->term = term;
    message->index = raft_log_last_index(&core->log);
    message->log_term = raft_log_last_term(&core->log);
  }
}

static void start_count(RaftCore *core, RaftRole role) {
  core->role = role;
  core->leader = 0;
  core->granted_count = core->refused_count = 0;
  core->election_elapsed = 0;
  raft_draw_timeout(core);
}

static void stand(RaftCore *core) {
  core->term++;
  core->vote = core->options.id;
  core->hard_state_changed = TRUE;
  start_count(core, RAFT_CANDIDATE);
  core->own_vote_write = raft_pending_write(core);
  ask(core, RAFT_VOTE, core->term);
}

static void add_answer(guint64 *voters, guint *count, guint64 voter) {
  for (guint i = 0; i < *count; i++)
    if (voters[i] == voter)
      return;
  voters[(*count)++] = voter;
}

static void count_answer(RaftCore *core, guint64 voter, gboolean granted) {
  if (granted)
    add_answer(core->granted, &core->granted_count, voter);
  else
    add_answer(core->refused, &core->refused_count, voter);
  if (core->granted_count >= raft_quorum(core)) {
    if (core->role == RAFT_PRE_CANDIDATE)
      stand(core);
    else
      raft_become_leader(core);
  } else if (core->refused_count >= raft_quorum(core)) {
    raft_become_follower(core, core->term, 0);
  }
}

void raft_campaign(RaftCore *core) {
  core->own_vote_write = 0;
  if (raft_configuration_voter_count(&core->configuration) == 1) {
    stand(core);
    return;
  }
  start_count(core, RAFT_PRE_CANDIDATE);
  ask(core, RAFT_PRE_VOTE, core->term + 1);
  count_answer(core, core->options.id, TRUE);
}

void raft_count_own_vote(RaftCore *core) {
  INVARIANT(core->role == RAFT_CANDIDATE && core->vote == core->options.id, "only a candidate waits for its own vote");
  core->own_vote_write = 0;
  count_answer(core, core->options.id, TRUE);
}

void raft_on_vote_request(RaftCore *core, const RaftMessage *message) {
  gboolean pre_vote = message->kind == RAFT_PRE_VOTE;
  gboolean free_to =
      pre_vote ? message->term > core->term : core->vote == message->from || (core->vote == 0 && core->leader == 0);
  gboolean grant = free_to && raft_log_is_up_to_date(&core->log, message->index, message->log_term);
  if (grant && !pre_vote) {
    core->election_elapsed = 0;
    if (core->vote == 0) {
      core->vote = message->from;
      core->hard_state_changed = TRUE;
    }
  }
  RaftMessage *reply = raft_send_durable(core, pre_vote ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY, message->from);
  reply->reject = !grant;
  /* A granted pre-vote answers for the term that was asked about; a refused one tells ours. */
  if (pre_vote && grant)
    reply->term = message->term;
}

void raft_on_vote_reply(RaftCore *core, const RaftMessage *message) {
  RaftRole role = message->kind == RAFT_PRE_VOTE_REPLY ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
  if (core->role != role)
    return;
  /* A grant must be for this very question. */
  if (role == RAFT_PRE_CANDIDATE && !message->reject && message->term != core->term + 1)
    return;
  count_answer(core, message->from, !message->reject);
}
