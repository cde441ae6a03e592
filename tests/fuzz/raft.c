/* What a controller reads of its Raft log: entries, hard state, configurations, descriptions of snapshots.
 *
 * Input: which of them, then its bytes. */
#include "tests/fuzz/fuzz.h"

#include "controller/raft/entry.h"

static void entry(const guint8 *data, gsize size) {
  g_autoptr(RaftEntry) first = NULL, second = NULL;
  if (!fuzz_accepted(raft_entry_decode(data, size, &first)))
    return;
  g_autoptr(GBytes) bytes = raft_entry_encode(first);
  FUZZ_HOLDS(fuzz_accepted(raft_entry_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &second)));
  FUZZ_HOLDS(first->index == second->index && first->term == second->term && first->kind == second->kind);
  FUZZ_HOLDS(g_bytes_equal(first->data, second->data));
}

static void hard_state(const guint8 *data, gsize size) {
  RaftHardState first, second;
  if (!fuzz_accepted(raft_hard_state_decode(data, size, &first)))
    return;
  g_autoptr(GBytes) bytes = raft_hard_state_encode(&first);
  FUZZ_HOLDS(fuzz_accepted(raft_hard_state_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &second)));
  FUZZ_HOLDS(first.term == second.term && first.vote == second.vote && first.commit == second.commit);
}

static void configuration(const guint8 *data, gsize size) {
  RaftConfiguration first, second;
  if (!fuzz_accepted(raft_configuration_decode(data, size, &first)))
    return;
  FUZZ_HOLDS(raft_configuration_voter_count(&first) > 0);
  g_autoptr(GBytes) bytes = raft_configuration_encode(&first);
  FUZZ_HOLDS(fuzz_accepted(raft_configuration_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &second)));
  FUZZ_HOLDS(first.member_count == second.member_count);
}

static void snapshot_meta(const guint8 *data, gsize size) {
  RaftSnapshotMeta first, second;
  if (!fuzz_accepted(raft_snapshot_meta_decode(data, size, &first)))
    return;
  g_autoptr(GBytes) bytes = raft_snapshot_meta_encode(&first);
  FUZZ_HOLDS(fuzz_accepted(raft_snapshot_meta_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &second)));
  FUZZ_HOLDS(first.index == second.index && first.size_bytes == second.size_bytes && first.crc32c == second.crc32c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const DECODERS[])(const guint8 *, gsize) = {entry, hard_state, configuration, snapshot_meta};
  FuzzInput input = {data, data + size};
  guint8 which = fuzz_u8(&input) % G_N_ELEMENTS(DECODERS);
  DECODERS[which](input.at, fuzz_left(&input));
  return 0;
}
