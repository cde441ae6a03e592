/* Replication: the leader's side and the followers'.
 *
 * Protects: a follower's log is cut only where it differs from its leader's, and answers only for what is durable; the
 * leader commits by counting only entries of its own term. A peer that needs entries which the leader has compacted is
 * probed at the pace of heartbeats until it can be given a snapshot. Owning thread: the core's. */
#include <stdlib.h>

#include "controller/raft/core_internal.h"

/* ---- Leader ---- */

void raft_clear_peers(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++)
    raft_progress_clear(&core->peers[i]);
  core->peer_count = 0;
}

static void reset_peers(RaftCore *core) {
  raft_clear_peers(core);
  for (guint i = 0; i < core->configuration.member_count; i++)
    if (core->configuration.members[i].id != core->options.id)
      raft_progress_init(&core->peers[core->peer_count++], core->configuration.members[i].id,
                         raft_log_last_index(&core->log) + 1);
}

static RaftProgress *find_peer(RaftCore *core, guint64 id) {
  for (guint i = 0; i < core->peer_count; i++)
    if (core->peers[i].id == id)
      return &core->peers[i];
  return NULL;
}

void raft_become_leader(RaftCore *core) {
  core->role = RAFT_LEADER;
  core->leader = core->options.id;
  core->election_elapsed = core->heartbeat_elapsed = 0;
  reset_peers(core);
  /* An entry of the own term, so that what earlier leaders left can be committed. */
  core->first_of_term = raft_log_last_index(&core->log) + 1;
  raft_log_append(&core->log, raft_entry_new(core->first_of_term, core->term, RAFT_ENTRY_KIND(EMPTY), NULL));
  raft_broadcast_append(core);
}

/* Entries from @next on, within the bound of a message. Returns NULL for none. */
static GPtrArray *take_entries(RaftCore *core, guint64 next) {
  GPtrArray *entries = NULL;
  gsize bytes = 0;
  for (RaftEntry *entry; (entry = raft_log_entry(&core->log, next)); next++) {
    bytes += g_bytes_get_size(entry->data);
    if (entries && bytes > core->options.append_bytes_max)
      break;
    if (!entries)
      entries = raft_entries_new();
    g_ptr_array_add(entries, raft_entry_ref(entry));
  }
  return entries;
}

static void send_append(RaftCore *core, RaftProgress *peer, gboolean with_entries) {
  /* Before the log's start there is only the snapshot's end to compare with. */
  guint64 next = MAX(peer->next, raft_core_first_index(core));
  RaftMessage *message = raft_send(core, RAFT_APPEND, peer->id);
  message->index = next - 1;
  message->log_term = raft_log_term_at(&core->log, next - 1);
  message->commit = core->log.commit;
  message->entries = with_entries ? take_entries(core, next) : NULL;
  peer->next = next;
  raft_progress_sent(peer, message->entries ? message->entries->len : 0);
}

/* Send what the peer lacks, as far as it may be sent now. */
static void send_missing(RaftCore *core, RaftProgress *peer) {
  while (peer->next <= raft_log_last_index(&core->log) && !raft_progress_is_paused(peer, core->options.inflight_max))
    send_append(core, peer, TRUE);
}

void raft_broadcast_append(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++)
    send_missing(core, &core->peers[i]);
}

void raft_heartbeat(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++) {
    RaftProgress *peer = &core->peers[i];
    peer->waiting = FALSE;
    send_append(core, peer, !raft_progress_is_paused(peer, core->options.inflight_max));
  }
}

gboolean raft_check_quorum(RaftCore *core) {
  guint heard = raft_configuration_votes(&core->configuration, core->options.id) ? 1 : 0;
  for (guint i = 0; i < core->peer_count; i++) {
    heard += core->peers[i].heard ? 1 : 0;
    core->peers[i].heard = FALSE;
  }
  return heard >= raft_quorum(core);
}

static int compare_falling(const void *a, const void *b) {
  guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
  return x > y ? -1 : x < y;
}

void raft_advance_commit(RaftCore *core) {
  guint64 matches[RAFT_MEMBERS_MAX];
  guint count = 0;
  if (raft_configuration_votes(&core->configuration, core->options.id))
    matches[count++] = core->log.stable;
  for (guint i = 0; i < core->peer_count; i++)
    matches[count++] = core->peers[i].match;
  qsort(matches, count, sizeof *matches, compare_falling);
  guint64 index = matches[raft_quorum(core) - 1];
  /* Figure 8: an entry of an earlier term that a quorum holds may still be replaced. */
  if (raft_log_term_at(&core->log, index) != core->term)
    return;
  if (!raft_log_set_commit(&core->log, index))
    return;
  for (guint i = 0; i < core->peer_count; i++) /* tell them; what they lack goes along */
    if (!raft_progress_is_paused(&core->peers[i], core->options.inflight_max))
      send_append(core, &core->peers[i], TRUE);
}

void raft_on_append_reply(RaftCore *core, const RaftMessage *message) {
  RaftProgress *peer = core->role == RAFT_LEADER ? find_peer(core, message->from) : NULL;
  if (!peer)
    return;
  peer->heard = TRUE;
  if (message->reject) {
    if (raft_progress_rejected(peer, message->index, message->hint))
      send_append(core, peer, TRUE);
    return;
  }
  if (message->index > raft_log_last_index(&core->log))
    return; /* it can't have what does not exist */
  if (raft_progress_accepted(peer, message->index))
    raft_advance_commit(core);
  send_missing(core, peer);
}

/* ---- Follower ---- */

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

static gboolean has_configuration(const GPtrArray *entries) {
  for (guint i = 0; entries && i < entries->len; i++)
    if (((const RaftEntry *)entries->pdata[i])->kind == RAFT_ENTRY_KIND(CONFIGURATION))
      return TRUE;
  return FALSE;
}

Failure *raft_on_append(RaftCore *core, const RaftMessage *message) {
  if (core->role == RAFT_LEADER || !entries_are_sound(message))
    return NULL;
  raft_become_follower(core, message->term, message->from);
  /* Before the snapshot's end everything is committed, so equal. */
  gboolean equal =
      message->index < core->log.snapshot_index || (message->index <= raft_log_last_index(&core->log) &&
                                                    raft_log_term_at(&core->log, message->index) == message->log_term);
  if (!equal) {
    RaftMessage *reply = raft_send_durable(core, RAFT_APPEND_REPLY, message->from);
    reply->reject = TRUE;
    reply->index = message->index;
    reply->hint = reject_hint(core, message);
    return NULL;
  }
  gboolean cut = FALSE;
  Failure *failure = raft_log_merge(&core->log, message->entries, &cut);
  if (!failure && (cut || has_configuration(message->entries)))
    failure = raft_reload_configuration(core);
  if (failure)
    return failure;
  guint64 last = message->index + (message->entries ? message->entries->len : 0);
  raft_log_set_commit(&core->log, MIN(message->commit, last));
  RaftMessage *reply = raft_send_durable(core, RAFT_APPEND_REPLY, message->from);
  reply->index = last;
  return NULL;
}
