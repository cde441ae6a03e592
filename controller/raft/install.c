/* Receiving a leader's snapshot, and putting it in the place of the own log.
 *
 *   chunks come, in order ──► complete, and its checksum holds ──► on its way to the disk ──► durable ──► restored
 *        └── a gap, another leader, another snapshot, a wrong checksum: from the beginning or from where it broke off
 *
 * Invariants:
 *  1. A snapshot is taken only when it holds more than what is committed here; the log in memory is replaced at the
 * same moment as the write that replaces it on the disk is queued, so both go on from the same place.
 *  2. Until that write is durable nothing is applied, and the leader hears nothing of it.
 *  3. Bytes of different leaders, or of different snapshots, are never put together.
 *
 * Owning thread: the core's. Failure modes: a snapshot that is larger than snapshot_bytes_max, or makes no sense, is
 * dropped. */
#include "controller/raft/core_internal.h"
#include "storage/log/crc32c.h"

void raft_receiving_clear(RaftReceiving *receiving) {
  g_clear_pointer(&receiving->bytes, g_byte_array_unref);
}

void raft_install_free(RaftInstall *install) {
  if (!install)
    return;
  g_bytes_unref(install->bytes);
  g_free(install);
}

gboolean raft_is_installing(const RaftCore *core) {
  return core->install && (core->install_write == 0 || core->install_write > core->durable_write);
}

static gboolean is_sound(const RaftCore *core, const RaftMessage *message) {
  const RaftSnapshotMeta *meta = message->snapshot;
  if (!meta || !message->chunk || meta->index == 0 || meta->index > RAFT_COUNTER_MAX || meta->term == 0 ||
      meta->term > message->term)
    return FALSE;
  if (meta->size_bytes > core->options.snapshot_bytes_max || raft_configuration_voter_count(&meta->configuration) == 0)
    return FALSE;
  return message->offset <= meta->size_bytes && g_bytes_get_size(message->chunk) <= meta->size_bytes - message->offset;
}

static gboolean is_same(const RaftReceiving *receiving, const RaftMessage *message) {
  const RaftSnapshotMeta *meta = message->snapshot;
  return receiving->bytes && receiving->leader == message->from && receiving->term == message->term &&
         receiving->meta.index == meta->index && receiving->meta.term == meta->term &&
         receiving->meta.size_bytes == meta->size_bytes && receiving->meta.crc32c == meta->crc32c;
}

static void begin(RaftReceiving *receiving, const RaftMessage *message) {
  raft_receiving_clear(receiving);
  *receiving = (RaftReceiving){
      .leader = message->from,
      .term = message->term,
      .meta = *message->snapshot,
      .bytes = g_byte_array_new(),
  };
}

static void answer(RaftCore *core, const RaftMessage *message, guint64 offset, gboolean reject) {
  RaftMessage *reply = raft_reply_settled(core, RAFT_SNAPSHOT_REPLY, message);
  reply->index = message->snapshot->index;
  reply->offset = offset;
  reply->reject = reject;
}

/* All of it is here: it takes the place of the log. */
static void install(RaftCore *core, const RaftMessage *message) {
  RaftReceiving *receiving = &core->receiving;
  raft_install_free(core->install); /* one that was not restored yet is older */
  core->install = g_new(RaftInstall, 1);
  *core->install = (RaftInstall){receiving->meta, g_byte_array_free_to_bytes(g_steal_pointer(&receiving->bytes))};
  core->install_write = 0;
  core->snapshot = receiving->meta;
  raft_log_reset(&core->log, core->snapshot.index, core->snapshot.term);
  g_array_set_size(core->configurations, 0);
  raft_rebase_configurations(core);
  raft_reply_durable(core, RAFT_APPEND_REPLY, message)->index = core->snapshot.index;
}

static void take_chunk(RaftCore *core, const RaftMessage *message) {
  RaftReceiving *receiving = &core->receiving;
  guint64 have = receiving->bytes->len;
  if (message->offset != have) {
    answer(core, message, have, message->offset > have);
    return;
  }
  gsize size;
  const guint8 *data = g_bytes_get_data(message->chunk, &size);
  g_byte_array_append(receiving->bytes, data, (guint)size);
  receiving->crc32c = log_crc32c_extend(receiving->crc32c, data, size);
  if (receiving->bytes->len < receiving->meta.size_bytes) {
    answer(core, message, receiving->bytes->len, FALSE);
  } else if (receiving->crc32c != receiving->meta.crc32c) {
    raft_receiving_clear(receiving);
    answer(core, message, 0, TRUE);
  } else {
    install(core, message);
  }
}

void raft_on_snapshot(RaftCore *core, const RaftMessage *message) {
  if (core->role == RAFT_LEADER || !is_sound(core, message))
    return;
  raft_become_follower(core, message->term, message->from);
  const RaftSnapshotMeta *meta = message->snapshot;
  if (raft_log_term_at(&core->log, meta->index) == meta->term)
    raft_log_set_commit(&core->log, meta->index); /* the log has all that is in it */
  if (meta->index <= core->log.commit) {
    raft_receiving_clear(&core->receiving);
    raft_reply_durable(core, RAFT_APPEND_REPLY, message)->index = core->log.commit;
    return;
  }
  if (!is_same(&core->receiving, message)) {
    if (message->offset > 0) {
      answer(core, message, 0, TRUE);
      return;
    }
    begin(&core->receiving, message);
  }
  take_chunk(core, message);
}
