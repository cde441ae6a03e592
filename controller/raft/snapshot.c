/* Sending the snapshot to a peer that needs entries which the log does not hold any more.
 *
 * The core says which bytes are to go (snapshot, offset, length), and the host puts them in. Chunks are bounded in size
 * and in number. The receiver tells how much it has, without gaps; what it refuses, or what brings no answer for an
 * election timeout although the peer answers heartbeats, goes out again from there. A snapshot that the host has
 * replaced meanwhile is given up for the new one. It is over when the peer answers an append (APPEND_REPLY) that it
 * holds the snapshot's last entry.
 *
 * Invariants: who is sent a snapshot is sent the one that there is; acked <= sent <= size; at most chunks_max chunks
 * lie between. Owning thread: the core's. */
#include "controller/raft/core_internal.h"

void raft_snapshot_begin(RaftCore *core, RaftProgress *peer) {
  raft_progress_begin_snapshot(peer, &core->snapshot);
  raft_snapshot_send(core, peer);
}

void raft_snapshot_replaced(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++)
    if (core->peers[i].mode == RAFT_PEER_SNAPSHOT)
      raft_snapshot_begin(core, &core->peers[i]);
}

static void send_chunk(RaftCore *core, RaftProgress *peer, guint64 length) {
  INVARIANT(peer->snapshot_index == core->snapshot.index, "a chunk is of the snapshot that there is");
  RaftMessage *message = raft_send(core, RAFT_SNAPSHOT, peer->id, &peer->directory);
  message->snapshot = g_memdup2(&core->snapshot, sizeof core->snapshot);
  message->offset = peer->sent;
  message->length = (guint32)length;
  peer->sent += length;
  peer->begun = TRUE;
}

void raft_snapshot_send(RaftCore *core, RaftProgress *peer) {
  guint64 chunk_bytes = core->options.chunk_bytes_max;
  while (!peer->begun ||
         (peer->sent < peer->snapshot_size && peer->sent - peer->acked < chunk_bytes * core->options.chunks_max))
    send_chunk(core, peer, MIN(chunk_bytes, peer->snapshot_size - peer->sent));
}

/* Go on from @offset. */
static void send_again(RaftCore *core, RaftProgress *peer, guint64 offset) {
  peer->acked = peer->sent = offset;
  peer->begun = FALSE; /* even when nothing is left: its answer tells how far it is */
  peer->again = TRUE;
  peer->idle_ticks = 0;
  raft_snapshot_send(core, peer);
}

void raft_snapshot_resume(RaftCore *core, RaftProgress *peer) {
  if (peer->idle_ticks >= core->options.election_ticks)
    send_again(core, peer, peer->acked);
}

void raft_on_snapshot_reply(RaftCore *core, const RaftMessage *message) {
  RaftProgress *peer = core->role == RAFT_LEADER ? raft_find_peer(core, message->from) : NULL;
  if (!peer)
    return;
  peer->heard_ticks = 0;
  if (peer->mode != RAFT_PEER_SNAPSHOT || message->index != peer->snapshot_index ||
      message->offset > peer->snapshot_size)
    return;
  if (message->reject) {
    /* Each chunk behind a lost one is refused: go back once, then wait for the answers. One that has less than it had
     * has begun anew. */
    if (message->offset != peer->acked || !peer->again || peer->idle_ticks >= core->options.heartbeat_ticks)
      send_again(core, peer, message->offset);
    return;
  }
  if (message->offset <= peer->acked)
    return;
  /* It may be ahead of what was sent: a late refusal has taken that back. */
  peer->acked = message->offset;
  peer->sent = MAX(peer->sent, peer->acked);
  peer->again = FALSE;
  peer->idle_ticks = 0;
  raft_snapshot_send(core, peer);
}

gboolean raft_core_is_sending_snapshot(const RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++)
    if (core->peers[i].mode == RAFT_PEER_SNAPSHOT && core->peers[i].heard_ticks < core->options.election_ticks)
      return TRUE;
  return FALSE;
}
