/* What operators, hosts and tests see of a core. It changes nothing. Owning thread: the core's. */
#include "controller/raft/core_internal.h"

const char *raft_role_name(RaftRole role) {
  static const char *const NAMES[] = {"follower", "pre-candidate", "candidate", "leader"};
  return NAMES[role];
}

const char *raft_peer_mode_name(RaftPeerMode mode) {
  static const char *const NAMES[] = {"probe", "replicate", "snapshot"};
  return NAMES[mode];
}

RaftRole raft_core_role(const RaftCore *core) {
  return core->role;
}

guint64 raft_core_term(const RaftCore *core) {
  return core->term;
}

guint64 raft_core_leader(const RaftCore *core) {
  return core->leader;
}

gboolean raft_core_is_active(const RaftCore *core) {
  return core->role == RAFT_LEADER && core->log.applied >= core->first_of_term;
}

guint64 raft_core_first_index(const RaftCore *core) {
  return core->log.snapshot_index + 1;
}

guint64 raft_core_last_index(const RaftCore *core) {
  return raft_log_last_index(&core->log);
}

guint64 raft_core_commit_index(const RaftCore *core) {
  return core->log.commit;
}

guint64 raft_core_applied_index(const RaftCore *core) {
  return core->log.applied;
}

guint64 raft_core_term_at(const RaftCore *core, guint64 index) {
  return raft_log_term_at(&core->log, index);
}

const RaftConfiguration *raft_core_configuration(const RaftCore *core) {
  return raft_in_force(core);
}

guint64 raft_core_configuration_index(const RaftCore *core) {
  return raft_in_force_index(core);
}

static RaftPeerState self_state(const RaftCore *core, const RaftMember *member) {
  return (RaftPeerState){
      .id = member->id,
      .directory = member->directory,
      .learner = member->learner,
      .self = TRUE,
      .mode = RAFT_PEER_REPLICATE,
      .match = core->log.stable,
      .next = raft_log_last_index(&core->log) + 1,
      .heard = TRUE,
  };
}

static RaftPeerState peer_state(const RaftCore *core, const RaftProgress *peer) {
  return (RaftPeerState){
      .id = peer->id,
      .directory = peer->directory,
      .learner = peer->learner,
      .mode = peer->mode,
      .match = peer->match,
      .next = peer->next,
      .in_flight = peer->in_flight->len,
      .in_flight_bytes = peer->in_flight_bytes,
      .heard = peer->heard_ticks < core->options.election_ticks,
      .heard_ticks = peer->heard_ticks,
      .snapshot_index = peer->snapshot_index,
      .snapshot_offset = peer->acked,
      .snapshot_size = peer->snapshot_size,
  };
}

static void fill_peers(const RaftCore *core, RaftState *state) {
  const RaftConfiguration *configuration = raft_in_force(core);
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    const RaftProgress *peer = raft_find_peer((RaftCore *)core, member->id);
    if (peer)
      state->peers[state->peer_count++] = peer_state(core, peer);
    else
      state->peers[state->peer_count++] = self_state(core, member);
  }
}

RaftState raft_core_state(const RaftCore *core) {
  const RaftMember *self = raft_self(core);
  RaftState state = {
      .id = core->options.id,
      .directory = core->options.directory,
      .role = core->role,
      .member = self != NULL,
      .voter = self && !self->learner,
      .active = raft_core_is_active(core),
      .term = core->term,
      .vote = core->vote,
      .leader = core->leader,
      .first = raft_core_first_index(core),
      .last = raft_core_last_index(core),
      .applied = core->log.applied,
      .commit = core->log.commit,
      .stable = core->log.stable,
      .configuration_index = raft_in_force_index(core),
      .transfer_target = core->transfer_target,
  };
  if (core->receiving.bytes) {
    state.receiving_index = core->receiving.meta.index;
    state.receiving_offset = core->receiving.bytes->len;
    state.receiving_size = core->receiving.meta.size_bytes;
  }
  if (core->role == RAFT_LEADER)
    fill_peers(core, &state);
  return state;
}
