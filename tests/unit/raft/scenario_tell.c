/* What happens, as text: see scenario.h. */
#include "tests/unit/raft/scenario_internal.h"

/* An id, and which folder of it when that is not its first. */
static void tell_id(GString *out, guint64 id, const RaftDirectory *directory) {
  g_string_append_printf(out, "%" G_GUINT64_FORMAT, id);
  if (directory->bytes[1] > 1)
    g_string_append_printf(out, "#%u", directory->bytes[1]);
}

static void tell_configuration(GString *out, const RaftConfiguration *configuration) {
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    g_string_append_c(out, i == 0 ? '{' : ' ');
    tell_id(out, member->id, &member->directory);
    if (raft_directory_is_unknown(&member->directory))
      g_string_append_c(out, '?');
    if (member->learner)
      g_string_append(out, "-learner");
  }
  g_string_append(out, configuration->member_count ? "}" : "nobody");
}

void scenario_tell_entry(GString *out, const RaftEntry *entry) {
  g_string_append_printf(out, " %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, entry->index, entry->term);
  gsize size;
  const char *data = g_bytes_get_data(entry->data, &size);
  RaftConfiguration configuration = {0};
  if (entry->kind == RAFT_ENTRY_KIND(METADATA)) {
    g_string_append_printf(out, "\"%.*s\"", (int)size, data);
  } else if (entry->kind == RAFT_ENTRY_KIND(EMPTY)) {
    g_string_append(out, "empty");
  } else {
    failure_free(raft_configuration_decode(data, size, &configuration));
    tell_configuration(out, &configuration);
  }
}

void scenario_tell_entries(GString *out, const char *label, const GPtrArray *entries) {
  if (!entries || entries->len == 0)
    return;
  g_string_append_printf(out, " %s", label);
  for (guint i = 0; i < entries->len; i++)
    scenario_tell_entry(out, entries->pdata[i]);
}

static void tell_snapshot(GString *out, const RaftMessage *message) {
  g_string_append_printf(out, " of %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " bytes %" G_GUINT64_FORMAT,
                         message->snapshot->index, message->snapshot->term, message->offset);
  g_string_append_printf(out, "..%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
                         message->offset + g_bytes_get_size(message->chunk), message->snapshot->size_bytes);
}

static void tell_round(GString *out, const RaftMessage *message) {
  if (message->round)
    g_string_append_printf(out, " round %" G_GUINT64_FORMAT, message->round);
}

static void tell_content(GString *out, const RaftMessage *message) {
  switch (message->kind) {
  case RAFT_APPEND_REPLY:
    g_string_append_printf(out, message->reject ? " after %" G_GUINT64_FORMAT : " has %" G_GUINT64_FORMAT,
                           message->index);
    if (message->reject)
      g_string_append_printf(out, " hint %" G_GUINT64_FORMAT, message->hint);
    return;
  case RAFT_APPEND:
    g_string_append_printf(out, " after %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " commit %" G_GUINT64_FORMAT,
                           message->index, message->log_term, message->commit);
    return;
  case RAFT_VOTE:
  case RAFT_PRE_VOTE:
    g_string_append_printf(out, " last %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, message->index, message->log_term);
    g_string_append(out, message->transfer ? " transfer" : "");
    return;
  case RAFT_HEARTBEAT:
    g_string_append_printf(out, " commit %" G_GUINT64_FORMAT, message->commit);
    tell_round(out, message);
    return;
  case RAFT_HEARTBEAT_REPLY:
    tell_round(out, message);
    return;
  case RAFT_SNAPSHOT:
    tell_snapshot(out, message);
    return;
  case RAFT_SNAPSHOT_REPLY:
    g_string_append_printf(out, " of %" G_GUINT64_FORMAT " has %" G_GUINT64_FORMAT, message->index, message->offset);
    return;
  default:
    return;
  }
}

void scenario_tell_message(GString *out, const char *what, const RaftMessage *message) {
  tell_id(out, message->from, &message->from_directory);
  g_string_append_printf(out, " %s ", what);
  tell_id(out, message->to, &message->to_directory);
  g_string_append_printf(out, ": %s term %" G_GUINT64_FORMAT, raft_message_kind_name(message->kind), message->term);
  g_string_append(out, message->reject ? " no" : "");
  tell_content(out, message);
  scenario_tell_entries(out, "entries", message->entries);
  g_string_append_c(out, '\n');
}

void scenario_tell_write(GString *out, const ScenarioNode *node, const RaftReady *ready) {
  g_string_append_printf(out,
                         "%" G_GUINT64_FORMAT " writes #%" G_GUINT64_FORMAT ": term %" G_GUINT64_FORMAT
                         " vote %" G_GUINT64_FORMAT " commit %" G_GUINT64_FORMAT,
                         node->id, ready->write_id, ready->hard_state.term, ready->hard_state.vote,
                         ready->hard_state.commit);
  if (ready->install)
    g_string_append_printf(out, " snapshot %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, ready->install->meta.index,
                           ready->install->meta.term);
  scenario_tell_entries(out, "entries", ready->entries);
  g_string_append_c(out, '\n');
}

void scenario_tell_role(GString *out, ScenarioNode *node) {
  RaftRole role = raft_core_role(node->core);
  if (role == node->role)
    return;
  node->role = role;
  g_string_append_printf(out, "%" G_GUINT64_FORMAT " is %s of term %" G_GUINT64_FORMAT "\n", node->id,
                         raft_role_name(role), raft_core_term(node->core));
}

void scenario_tell_state(GString *out, const ScenarioNode *node) {
  RaftState state = raft_core_state(node->core);
  g_string_append_printf(out,
                         "%s term %" G_GUINT64_FORMAT " vote %" G_GUINT64_FORMAT " leader %" G_GUINT64_FORMAT
                         " log %" G_GUINT64_FORMAT "..%" G_GUINT64_FORMAT " commit %" G_GUINT64_FORMAT
                         " applied %" G_GUINT64_FORMAT,
                         raft_role_name(state.role), state.term, state.vote, state.leader, state.first, state.last,
                         state.commit, state.applied);
  g_string_append(out, state.active ? " active" : "");
  g_string_append(out, state.member ? "" : " outsider");
  g_string_append(out, state.member && !state.voter ? " learner" : "");
  if (state.transfer_target)
    g_string_append_printf(out, " hands over to %" G_GUINT64_FORMAT, state.transfer_target);
  if (state.receiving_index)
    g_string_append_printf(out, " receives snapshot %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
                           state.receiving_index, state.receiving_offset, state.receiving_size);
  g_string_append_c(out, '\n');
  scenario_tell_entries(out, "disk", node->entries);
  g_string_append_c(out, '\n');
}

void scenario_tell_members(GString *out, const ScenarioNode *node) {
  tell_configuration(out, raft_core_configuration(node->core));
  g_string_append_printf(out, " from %" G_GUINT64_FORMAT " on\n", raft_core_configuration_index(node->core));
}

void scenario_tell_peers(GString *out, const ScenarioNode *node) {
  RaftState state = raft_core_state(node->core);
  for (guint i = 0; i < state.peer_count; i++) {
    const RaftPeerState *peer = &state.peers[i];
    tell_id(out, peer->id, &peer->directory);
    g_string_append_printf(out, "%s%s: %s match %" G_GUINT64_FORMAT " next %" G_GUINT64_FORMAT " in flight %u",
                           peer->self ? " itself" : "", peer->learner ? " learner" : "",
                           raft_peer_mode_name(peer->mode), peer->match, peer->next, peer->in_flight);
    if (peer->snapshot_index)
      g_string_append_printf(out, " snapshot %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
                             peer->snapshot_index, peer->snapshot_offset, peer->snapshot_size);
    g_string_append(out, peer->heard ? "\n" : " not heard\n");
  }
}
