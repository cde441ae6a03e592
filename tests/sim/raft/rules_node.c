/* The rules that one controller breaks or keeps alone: what leaves it is on its disk, and it leads only while it is
 * heard. No state but the node's. */
#include "tests/sim/raft/rules.h"

/* No change of the metadata or the members that the simulation makes is larger. */
#define ENTRY_BYTES_MAX 4096

/* The message that passes the bound in bytes may be on its way, and no other behind it. */
static void check_window(Node *node) {
  const Shape *shape = &node->world->shape;
  RaftState state = raft_core_state(node->core);
  for (guint i = 0; i < state.peer_count; i++) {
    const RaftPeerState *peer = &state.peers[i];
    gboolean many = peer->in_flight > shape->inflight_max;
    gsize bound = shape->inflight_bytes_max + MAX(shape->append_bytes_max, ENTRY_BYTES_MAX);
    if (many || (shape->inflight_bytes_max && peer->in_flight_bytes > bound))
      sim_violated(node->world->sim, "controller %d has %u messages of %d bytes on their way to controller %d",
                   (int)node->id, peer->in_flight, (int)peer->in_flight_bytes, (int)peer->id);
  }
}

void rules_node_ticks(Node *node) {
  node->ticks++;
  if (raft_core_role(node->core) != RAFT_LEADER) {
    node->lonely_ticks = 0;
    return;
  }
  check_window(node);
  const RaftConfiguration *configuration = raft_core_configuration(node->core);
  guint patience = node->world->shape.election_ticks, heard = 0;
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    gboolean recent = member->id == node->id || node->heard_at[member->id] + patience >= node->ticks;
    heard += !member->learner && recent;
  }
  node->lonely_ticks = heard > raft_configuration_voter_count(configuration) / 2 ? 0 : node->lonely_ticks + 1;
  if (node->lonely_ticks > 3 * patience)
    sim_violated(node->world->sim, "controller %d still leads, though it has heard no quorum for %u ticks",
                 (int)node->id, node->lonely_ticks);
}

/* ---- Elections ---- */

/* While a leader is heard, who asks for votes is not listened to, unless that leader wants it. */
static void check_lease(Node *node, const RaftMessage *message, guint64 term_before) {
  gboolean asks = message->kind == RAFT_VOTE && !message->transfer && message->term > term_before;
  gboolean hears = node->leader_term == term_before && term_before > 0 &&
                   node->leader_tick + node->world->shape.election_ticks > node->ticks;
  if (asks && hears && raft_core_term(node->core) > term_before)
    sim_violated(node->world->sim, "controller %d gives up the leader of term %d, which it hears, for controller %d",
                 (int)node->id, (int)term_before, (int)message->from);
}

void rules_message_taken(Node *node, const RaftMessage *message, guint64 term_before) {
  if (!raft_directory_equal(&message->to_directory, &node->directory))
    return; /* it was for the disk before */
  node->heard_at[message->from] = node->ticks;
  check_lease(node, message, term_before);
  gboolean of_leader =
      message->kind == RAFT_APPEND || message->kind == RAFT_HEARTBEAT || message->kind == RAFT_SNAPSHOT;
  if (of_leader && message->term == raft_core_term(node->core) && raft_core_leader(node->core) == message->from) {
    node->leader_term = message->term;
    node->leader_tick = node->ticks;
  } else if (message->kind == RAFT_TIMEOUT_NOW) {
    node->asked_term = message->term;
  } else if (message->kind == RAFT_PRE_VOTE_REPLY && !message->reject && message->term >= node->pre_vote_term) {
    if (node->pre_vote_term < message->term)
      node->pre_votes = 0;
    node->pre_vote_term = message->term;
    node->pre_votes |= 1u << message->from;
  }
}

void rules_node_stands(Node *node) {
  guint64 term = raft_core_term(node->core);
  if (node->stood_term == term)
    return;
  node->stood_term = term;
  const RaftConfiguration *configuration = raft_core_configuration(node->core);
  guint would = 0;
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    gboolean granted = node->pre_vote_term == term && (node->pre_votes >> member->id & 1);
    would += !member->learner && (member->id == node->id || granted);
  }
  if (would <= raft_configuration_voter_count(configuration) / 2 && node->asked_term + 1 != term)
    sim_violated(node->world->sim, "controller %d stands in term %d, and only %u would vote for it", (int)node->id,
                 (int)term, would);
}

/* ---- Messages ---- */

static const char *too_early(const Node *node, const RaftMessage *message) {
  const RaftHardState *state = &store_durable(node->store)->hard_state;
  switch (message->kind) {
  case RAFT_VOTE:
    return state->term > message->term || (state->term == message->term && state->vote == node->id)
               ? NULL
               : "asks for votes while its own vote";
  case RAFT_VOTE_REPLY:
    if (message->reject)
      break;
    return state->term > message->term || (state->term == message->term && state->vote == message->to)
               ? NULL
               : "gives a vote that";
  case RAFT_APPEND_REPLY:
    if (message->reject)
      break;
    return state->term > message->term || store_last_index(node->store) >= message->index ? NULL
                                                                                          : "says that it holds what";
  case RAFT_APPEND:
  case RAFT_HEARTBEAT:
  case RAFT_SNAPSHOT:
  case RAFT_TIMEOUT_NOW:
    return state->term >= message->term ? NULL : "leads a term that";
  case RAFT_PRE_VOTE_REPLY:
    if (!message->reject)
      return NULL; /* of a term that nobody is in yet */
    break;
  case RAFT_HEARTBEAT_REPLY:
  case RAFT_SNAPSHOT_REPLY:
    break;
  case RAFT_PRE_VOTE:
    return NULL;
  }
  return state->term >= message->term ? NULL : "tells of a term that";
}

void rules_message_leaves(Node *node, const RaftMessage *message) {
  const char *what = too_early(node, message);
  if (what)
    sim_violated(node->world->sim, "controller %d %s is not on its disk (%s to %d, term %d, index %d)", (int)node->id,
                 what, raft_message_kind_name(message->kind), (int)message->to, (int)message->term,
                 (int)message->index);
}
