/* Replication, the follower's side: a leader's entries and heartbeats.
 *
 * Protects: a log is cut only where it differs from its leader's, never where it is committed; what is told to be here
 * is durable. A follower hears a leader whom its configuration does not name: it may lag behind the entry that does.
 * Owning thread: the core's. Failure modes: what contradicts a committed entry, or what this controller has said that
 * it holds, is a Failure: its folder, or the leader's, has lost something. */
#include "controller/raft/core_internal.h"

/* The entries come one after the other, from the message's place on. */
static gboolean entries_are_sound(const RaftMessage *message) {
  guint64 index = message->index, term = message->log_term;
  for (guint i = 0; message->entries && i < message->entries->len; i++) {
    const RaftEntry *entry = message->entries->pdata[i];
    if (entry->index != ++index || entry->term < term || entry->term > message->term)
      return FALSE;
    term = entry->term;
  }
  return TRUE;
}

/* Where to try next when (index, log_term) is not here: before all of the term that differs. */
static guint64 reject_hint(const RaftCore *core, const RaftMessage *message) {
  guint64 hint = MIN(message->index, raft_log_last_index(&core->log));
  while (hint > core->log.commit && raft_log_term_at(&core->log, hint) > message->log_term)
    hint--;
  return hint;
}

static gboolean is_equal_at(const RaftCore *core, guint64 index, guint64 term) {
  /* Before the snapshot's end everything is committed, so equal. */
  if (index < core->log.snapshot_index)
    return TRUE;
  return index <= raft_log_last_index(&core->log) && raft_log_term_at(&core->log, index) == term;
}

Failure *raft_on_append(RaftCore *core, const RaftMessage *message) {
  if (core->role == RAFT_LEADER || !entries_are_sound(message))
    return NULL;
  raft_become_follower(core, message->term, message->from);
  if (!is_equal_at(core, message->index, message->log_term)) {
    RaftMessage *reply = raft_reply_durable(core, RAFT_APPEND_REPLY, message);
    reply->reject = TRUE;
    reply->index = message->index;
    reply->hint = reject_hint(core, message);
    return NULL;
  }
  guint64 from = 0;
  Failure *failure = raft_log_merge(&core->log, message->entries, &from);
  if (!failure && from > 0)
    failure = raft_note_configurations(core, from);
  if (failure)
    return failure;
  guint64 last = message->index + (message->entries ? message->entries->len : 0);
  raft_log_set_commit(&core->log, MIN(message->commit, MAX(last, core->log.snapshot_index)));
  raft_reply_durable(core, RAFT_APPEND_REPLY, message)->index = last;
  return NULL;
}

Failure *raft_on_heartbeat(RaftCore *core, const RaftMessage *message) {
  if (core->role == RAFT_LEADER)
    return NULL;
  raft_become_follower(core, message->term, message->from);
  if (message->commit > raft_log_last_index(&core->log))
    return failure_new(FAILURE(CORRUPT_LOG),
                       "The leader knows that this controller had entries up to %" G_GUINT64_FORMAT
                       " on its disk, and its log ends at %" G_GUINT64_FORMAT ": the folder has lost something. Remove "
                       "this controller from the cluster, and add it again with an empty folder.",
                       message->commit, raft_log_last_index(&core->log));
  raft_log_set_commit(&core->log, message->commit);
  raft_reply_settled(core, RAFT_HEARTBEAT_REPLY, message)->round = message->round;
  return NULL;
}
