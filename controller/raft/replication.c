/* Replication, the leader's side.
 *
 * Protects: only entries of the leader's own term are committed by counting, and a voter counts only as far as its log
 * is durable, the leader among them; what is on its way to one peer is bounded in messages and in bytes. Appends leave
 * when the host takes its work, so that what is proposed in between travels together, and while the leader's own disk
 * still writes them (thesis, 10.2.1). What is lost on the way shows at the next message, or at the answer to a
 * heartbeat. Owning thread: the core's. */
#include <stdlib.h>

#include "controller/raft/core_internal.h"

/* ---- Peers ---- */

void raft_clear_peers(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++)
    raft_progress_clear(&core->peers[i]);
  core->peer_count = 0;
}

RaftProgress *raft_find_peer(RaftCore *core, guint64 id) {
  for (guint i = 0; i < core->peer_count; i++)
    if (core->peers[i].id == id)
      return &core->peers[i];
  return NULL;
}

/* Take the progress of this very incarnation out of @before, or begin anew. */
static RaftProgress progress_of(const RaftCore *core, const RaftMember *member, RaftProgress *before, guint count,
                                guint64 next, gboolean heard) {
  for (guint i = 0; i < count; i++) {
    if (before[i].id != member->id || !raft_directory_equal(&before[i].directory, &member->directory))
      continue;
    RaftProgress progress = before[i];
    before[i].in_flight = NULL;
    progress.learner = member->learner;
    return progress;
  }
  RaftProgress progress;
  raft_progress_init(&progress, member, next);
  progress.heard_ticks = heard ? 0 : core->options.election_ticks;
  return progress;
}

void raft_sync_peers(RaftCore *core, guint64 next, gboolean heard) {
  const RaftConfiguration *configuration = raft_in_force(core);
  RaftProgress before[RAFT_MEMBERS_MAX];
  guint count = core->peer_count;
  for (guint i = 0; i < count; i++)
    before[i] = core->peers[i];
  core->peer_count = 0;
  for (guint i = 0; i < configuration->member_count; i++)
    if (configuration->members[i].id != core->options.id)
      core->peers[core->peer_count++] = progress_of(core, &configuration->members[i], before, count, next, heard);
  for (guint i = 0; i < count; i++)
    raft_progress_clear(&before[i]);
}

void raft_become_leader(RaftCore *core) {
  INVARIANT(core->role == RAFT_CANDIDATE, "only who was voted for leads");
  core->role = RAFT_LEADER;
  core->leader = core->options.id;
  core->heartbeat_elapsed = 0;
  raft_receiving_clear(&core->receiving);
  /* An entry of the own term, so that what earlier leaders left can be committed. */
  core->first_of_term = raft_log_last_index(&core->log) + 1;
  raft_clear_peers(core);
  raft_sync_peers(core, core->first_of_term, TRUE); /* each has an election timeout to be heard */
  raft_log_append(&core->log, raft_entry_new(core->first_of_term, core->term, RAFT_ENTRY_KIND(EMPTY), NULL));
}

/* ---- Appends ---- */

/* Entries from @next on, within the bound of a message. Returns NULL for none. */
static GPtrArray *take_entries(const RaftCore *core, guint64 next, gsize *ret_bytes) {
  GPtrArray *entries = NULL;
  gsize bytes = 0;
  for (RaftEntry *entry; (entry = raft_log_entry(&core->log, next)); next++) {
    gsize size = g_bytes_get_size(entry->data);
    if (entries && bytes + size > core->options.append_bytes_max)
      break;
    bytes += size;
    if (!entries)
      entries = raft_entries_new();
    g_ptr_array_add(entries, raft_entry_ref(entry));
  }
  *ret_bytes = bytes;
  return entries;
}

/* What the peer has next, or nothing but the place that it should have reached. */
static void send_append(RaftCore *core, RaftProgress *peer) {
  if (peer->next <= core->log.snapshot_index) {
    raft_snapshot_begin(core, peer);
    return;
  }
  gsize bytes = 0;
  RaftMessage *message = raft_send(core, RAFT_APPEND, peer->id, &peer->directory);
  message->index = peer->next - 1;
  message->log_term = raft_log_term_at(&core->log, peer->next - 1);
  message->commit = core->log.commit;
  message->entries = raft_progress_is_paused(peer, &core->options) ? NULL : take_entries(core, peer->next, &bytes);
  peer->commit_told = core->log.commit;
  raft_progress_sent(peer, message->entries ? message->entries->len : 0, bytes);
}

static void flush_peer(RaftCore *core, RaftProgress *peer) {
  if (peer->mode == RAFT_PEER_SNAPSHOT)
    return;
  while (peer->next <= raft_log_last_index(&core->log) && !raft_progress_is_paused(peer, &core->options))
    send_append(core, peer);
  if (peer->mode == RAFT_PEER_REPLICATE && peer->commit_told < core->log.commit)
    send_append(core, peer);
}

void raft_flush_appends(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++)
    flush_peer(core, &core->peers[i]);
}

void raft_on_append_reply(RaftCore *core, const RaftMessage *message) {
  RaftProgress *peer = core->role == RAFT_LEADER ? raft_find_peer(core, message->from) : NULL;
  if (!peer)
    return;
  peer->heard_ticks = 0;
  if (message->index > raft_log_last_index(&core->log))
    return; /* what does not exist was not sent */
  if (message->reject) {
    if (raft_progress_rejected(peer, message->index, message->hint))
      send_append(core, peer);
    return;
  }
  if (raft_progress_accepted(peer, message->index, raft_core_first_index(core))) {
    raft_advance_commit(core);
    raft_transfer_push(core);
  }
}

/* ---- Heartbeats ---- */

void raft_send_heartbeat(RaftCore *core, const RaftProgress *peer) {
  RaftMessage *message = raft_send(core, RAFT_HEARTBEAT, peer->id, &peer->directory);
  message->commit = MIN(core->log.commit, peer->match); /* it may not have more */
  message->round = core->reads.round;
}

void raft_heartbeat(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++) {
    core->peers[i].asking = TRUE;
    raft_send_heartbeat(core, &core->peers[i]);
  }
  raft_transfer_push(core); /* it may have been lost */
}

/* The peer lives: send again what may have been lost, once for each heartbeat, and not for each round of reads. */
static void send_again(RaftCore *core, RaftProgress *peer) {
  if (!peer->asking)
    return;
  peer->asking = FALSE;
  peer->waiting = FALSE;
  if (peer->mode == RAFT_PEER_SNAPSHOT)
    raft_snapshot_resume(core, peer);
  else if (peer->match < raft_log_last_index(&core->log))
    send_append(core, peer); /* refused if something before it was lost, even when the window is full */
}

void raft_on_heartbeat_reply(RaftCore *core, const RaftMessage *message) {
  RaftProgress *peer = core->role == RAFT_LEADER ? raft_find_peer(core, message->from) : NULL;
  if (!peer)
    return;
  peer->heard_ticks = 0;
  if (message->round > peer->round && message->round <= core->reads.round) {
    peer->round = message->round;
    raft_reads_count(core);
  }
  send_again(core, peer);
}

/* ---- Commits ---- */

static int compare_falling(const void *a, const void *b) {
  guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
  return x > y ? -1 : x < y;
}

void raft_advance_commit(RaftCore *core) {
  guint64 matches[RAFT_MEMBERS_MAX + 1];
  guint count = 0;
  if (raft_self_votes(core))
    matches[count++] = core->log.stable;
  for (guint i = 0; i < core->peer_count; i++)
    if (!core->peers[i].learner)
      matches[count++] = core->peers[i].match;
  qsort(matches, count, sizeof *matches, compare_falling);
  guint64 index = matches[raft_quorum(core) - 1];
  /* Figure 8: an entry of an earlier term that a quorum holds may still be replaced. */
  if (raft_log_term_at(&core->log, index) != core->term || !raft_log_set_commit(&core->log, index))
    return;
  if (raft_is_leaving(core) && raft_in_force_index(core) <= index)
    raft_leave(core);
}
