/* Elections: first a question that binds nobody (pre-vote), then the vote.
 *
 * Protects: a vote is given once a term, to one incarnation, only to a log that is as new as the voter's, and told only
 * when it is durable; the candidate's own vote counts by the same rule. Who is asked votes, whatever it takes itself
 * for: a learner or one that knows nothing may not have heard of its promotion, and the candidate has. Owning thread:
 * the core's. */
#include <string.h>

#include "controller/raft/core_internal.h"

static void ask(RaftCore *core, RaftMessageKind kind, guint64 term, gboolean transfer) {
  const RaftConfiguration *configuration = raft_in_force(core);
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    if (member->learner || member->id == core->options.id)
      continue;
    /* A vote is asked for in a term that this candidate can't forget any more; a pre-vote promises nothing. */
    RaftMessage *message = kind == RAFT_VOTE ? raft_send_durable(core, kind, member->id, &member->directory)
                                             : raft_send(core, kind, member->id, &member->directory);
    message->term = term;
    message->index = raft_log_last_index(&core->log);
    message->log_term = raft_log_last_term(&core->log);
    message->transfer = transfer;
  }
}

static void start_count(RaftCore *core, RaftRole role) {
  core->role = role;
  core->leader = 0;
  core->election_elapsed = 0;
  memset(core->answers, 0, sizeof core->answers);
  raft_draw_timeout(core);
}

static void stand(RaftCore *core, gboolean transfer) {
  core->term++;
  core->vote = core->options.id;
  core->vote_directory = core->options.directory;
  core->hard_state_changed = TRUE;
  start_count(core, RAFT_CANDIDATE);
  core->own_vote_write = raft_pending_write(core);
  ask(core, RAFT_VOTE, core->term, transfer);
}

static guint count_answers(const RaftCore *core, RaftAnswer answer) {
  const RaftConfiguration *configuration = raft_in_force(core);
  guint count = 0;
  for (guint i = 0; i < configuration->member_count; i++)
    count += !configuration->members[i].learner && core->answers[i] == answer ? 1 : 0;
  return count;
}

static void note_answer(RaftCore *core, guint64 voter, gboolean granted) {
  const RaftConfiguration *configuration = raft_in_force(core);
  const RaftMember *member = raft_configuration_find(configuration, voter);
  if (!member)
    return; /* a candidate that is being removed does not count itself */
  RaftAnswer *answer = &core->answers[member - configuration->members];
  if (*answer == RAFT_NO_ANSWER)
    *answer = granted ? RAFT_GRANTED : RAFT_REFUSED;
  if (count_answers(core, RAFT_GRANTED) >= raft_quorum(core)) {
    if (core->role == RAFT_PRE_CANDIDATE)
      stand(core, FALSE);
    else
      raft_become_leader(core);
  } else if (count_answers(core, RAFT_REFUSED) >= raft_quorum(core)) {
    raft_become_follower(core, core->term, 0);
  }
}

void raft_campaign(RaftCore *core) {
  core->own_vote_write = 0;
  if (raft_is_alone(core)) {
    stand(core, FALSE);
    return;
  }
  start_count(core, RAFT_PRE_CANDIDATE);
  ask(core, RAFT_PRE_VOTE, core->term + 1, FALSE);
  note_answer(core, core->options.id, TRUE);
}

void raft_campaign_for_transfer(RaftCore *core) {
  stand(core, TRUE);
}

void raft_count_own_vote(RaftCore *core) {
  INVARIANT(core->role == RAFT_CANDIDATE && core->vote == core->options.id, "only a candidate waits for its own vote");
  core->own_vote_write = 0;
  note_answer(core, core->options.id, TRUE);
}

/* May this vote still be given to the sender, in this term? */
static gboolean is_free_to_vote(const RaftCore *core, const RaftMessage *message) {
  if (core->vote == 0)
    return core->leader == 0;
  return core->vote == message->from && raft_directory_equal(&core->vote_directory, &message->from_directory);
}

void raft_on_vote_request(RaftCore *core, const RaftMessage *message) {
  gboolean pre_vote = message->kind == RAFT_PRE_VOTE;
  gboolean free_to = pre_vote ? message->term > core->term : is_free_to_vote(core, message);
  gboolean up_to_date = raft_log_is_up_to_date(&core->log, message->index, message->log_term);
  gboolean grant = free_to && up_to_date;
  if (!up_to_date)
    core->is_needed = TRUE;
  if (grant && !pre_vote) {
    core->election_elapsed = 0;
    if (core->vote == 0) {
      core->vote = message->from;
      core->vote_directory = message->from_directory;
      core->hard_state_changed = TRUE;
    }
  }
  RaftMessage *reply = raft_reply_durable(core, pre_vote ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY, message);
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
  note_answer(core, message->from, !message->reject);
}
