/* Messages: making, copying, and queueing them behind the write that they promise.
 *
 * Invariant: a message that answers for the log, the term or the vote names the write that makes them durable.
 * Owning thread: the core's. */
#include "controller/raft/core_internal.h"

RaftMessage *raft_message_new(RaftMessageKind kind, guint64 from, guint64 to, guint64 term) {
  RaftMessage *message = g_new0(RaftMessage, 1);
  message->kind = kind;
  message->from = from;
  message->to = to;
  message->term = term;
  return message;
}

RaftMessage *raft_message_copy(const RaftMessage *message) {
  RaftMessage *copy = g_memdup2(message, sizeof *message);
  if (copy->entries)
    g_ptr_array_ref(copy->entries);
  if (copy->chunk)
    g_bytes_ref(copy->chunk);
  copy->snapshot = g_memdup2(message->snapshot, sizeof *message->snapshot);
  return copy;
}

void raft_message_free(RaftMessage *message) {
  if (!message)
    return;
  g_clear_pointer(&message->entries, g_ptr_array_unref);
  g_clear_pointer(&message->chunk, g_bytes_unref);
  g_free(message->snapshot);
  g_free(message);
}

const char *raft_message_kind_name(RaftMessageKind kind) {
  static const char *const NAMES[] = {
      [RAFT_PRE_VOTE] = "pre-vote",
      [RAFT_PRE_VOTE_REPLY] = "pre-vote-reply",
      [RAFT_VOTE] = "vote",
      [RAFT_VOTE_REPLY] = "vote-reply",
      [RAFT_APPEND] = "append",
      [RAFT_APPEND_REPLY] = "append-reply",
      [RAFT_HEARTBEAT] = "heartbeat",
      [RAFT_HEARTBEAT_REPLY] = "heartbeat-reply",
      [RAFT_SNAPSHOT] = "snapshot",
      [RAFT_SNAPSHOT_REPLY] = "snapshot-reply",
      [RAFT_TIMEOUT_NOW] = "timeout-now",
  };
  gboolean known = kind > 0 && (guint)kind < G_N_ELEMENTS(NAMES);
  return known ? NAMES[kind] : "unknown";
}

/* ---- Queueing ---- */

guint64 raft_pending_write(const RaftCore *core) {
  gboolean install = core->install && core->install_write == 0;
  gboolean dirty = install || core->hard_state_changed || raft_log_has_unwritten(&core->log);
  guint64 write_id = dirty ? core->last_write + 1 : core->last_write;
  return write_id > core->durable_write ? write_id : 0;
}

RaftMessage *raft_send(RaftCore *core, RaftMessageKind kind, guint64 to, const RaftDirectory *directory) {
  RaftMessage *message = raft_message_new(kind, core->options.id, to, core->term);
  message->from_directory = core->options.directory;
  message->to_directory = *directory;
  g_ptr_array_add(core->messages, message);
  return message;
}

RaftMessage *raft_send_durable(RaftCore *core, RaftMessageKind kind, guint64 to, const RaftDirectory *directory) {
  RaftMessage *message = raft_send(core, kind, to, directory);
  message->after_write = raft_pending_write(core);
  return message;
}

RaftMessage *raft_send_settled(RaftCore *core, RaftMessageKind kind, guint64 to, const RaftDirectory *directory) {
  RaftMessage *message = raft_send(core, kind, to, directory);
  guint64 write_id = core->hard_state_changed ? core->last_write + 1 : core->hard_state_write;
  message->after_write = write_id > core->durable_write ? write_id : 0;
  return message;
}

RaftMessage *raft_reply_durable(RaftCore *core, RaftMessageKind kind, const RaftMessage *message) {
  return raft_send_durable(core, kind, message->from, &message->from_directory);
}

RaftMessage *raft_reply_settled(RaftCore *core, RaftMessageKind kind, const RaftMessage *message) {
  return raft_send_settled(core, kind, message->from, &message->from_directory);
}
