/* Handing leadership over (thesis, 3.10), and leaving it.
 *
 *   transfer ──► the target gets what it lacks ──► TIMEOUT_NOW ──► it stands, and this leader hears of its term
 *      └──────── an election timeout without that: given up, and this leader goes on
 *
 * Protects: proposals are refused meanwhile, so that the target can catch up; the election that follows is an ordinary
 * one, but for voters not minding that a leader lives. A leader whose own removal is committed tells the voter that has
 * most to stand, and steps back: nobody waits for a time-out. Owning thread: the core's. */
#include "controller/raft/core_internal.h"

Failure *raft_check_stays(const RaftCore *core) {
  if (core->transfer_target)
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                       "The active controller is handing over to the controller %" G_GUINT64_FORMAT
                       ". Nothing was changed: try again.",
                       core->transfer_target);
  if (raft_is_leaving(core))
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                       "The active controller has no vote any more, and hands over. Nothing was changed: try again.");
  return NULL;
}

Failure *raft_core_transfer(RaftCore *core, guint64 target) {
  if (core->role != RAFT_LEADER)
    return failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one. Ask the active controller.");
  if (core->transfer_target == target)
    return NULL;
  Failure *failure = raft_check_stays(core);
  if (failure)
    return failure;
  const RaftMember *member = raft_configuration_find(raft_in_force(core), target);
  if (!member)
    return failure_new(FAILURE(UNKNOWN_CONTROLLER), "No controller has the id %" G_GUINT64_FORMAT ".", target);
  if (member->learner)
    return failure_new(
        FAILURE(INVALID_FIELD),
        "The controller %" G_GUINT64_FORMAT " does not vote, so it can't lead. Wait until it is promoted.", target);
  if (target == core->options.id)
    return failure_new(FAILURE(INVALID_FIELD), "The controller %" G_GUINT64_FORMAT " is the active one already.",
                       target);
  core->transfer_target = target;
  core->transfer_ticks = 0;
  raft_transfer_push(core);
  return NULL;
}

void raft_transfer_tick(RaftCore *core) {
  if (core->transfer_target && ++core->transfer_ticks >= core->options.election_ticks)
    core->transfer_target = 0;
}

void raft_transfer_push(RaftCore *core) {
  RaftProgress *peer = core->transfer_target ? raft_find_peer(core, core->transfer_target) : NULL;
  if (peer && peer->match == raft_log_last_index(&core->log))
    raft_send(core, RAFT_TIMEOUT_NOW, peer->id, &peer->directory);
}

void raft_leave(RaftCore *core) {
  RaftProgress *best = NULL;
  for (guint i = 0; i < core->peer_count; i++) {
    RaftProgress *peer = &core->peers[i];
    if (!peer->learner && (!best || peer->match > best->match))
      best = peer;
  }
  raft_flush_appends(core); /* they hear that it is committed */
  if (best)
    raft_send(core, RAFT_TIMEOUT_NOW, best->id, &best->directory);
  raft_become_follower(core, core->term, 0);
}

void raft_on_timeout_now(RaftCore *core, const RaftMessage *message) {
  if (core->role == RAFT_FOLLOWER && core->leader == message->from && raft_may_stand(core))
    raft_campaign_for_transfer(core);
}
