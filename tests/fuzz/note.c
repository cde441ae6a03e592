/* A note of a controller's file CONTROLLER: whose the folder is, term and vote.
 *
 * Input: the bytes of a slot; tried as they are and with the checksum mended. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/crc32c.h"
#include "storage/rocks/raft/note.h"

static void decode(const guint8 *data, gsize size) {
  RaftNote first, second;
  if (!fuzz_accepted(raft_note_decode(data, size, &first)))
    return;
  FUZZ_HOLDS(strlen(first.identity.cluster_id) <= RAFT_LOG_CLUSTER_ID_CHARS_MAX);
  guint8 bytes[RAFT_NOTE_BYTES];
  raft_note_encode(&first, bytes);
  FUZZ_HOLDS(fuzz_accepted(raft_note_decode(bytes, sizeof bytes, &second)));
  FUZZ_HOLDS(first.sequence == second.sequence && first.identity.node_id == second.identity.node_id);
  FUZZ_HOLDS(strcmp(first.identity.cluster_id, second.identity.cluster_id) == 0 && first.made == second.made);
  FUZZ_HOLDS(raft_directory_equal(&first.identity.directory, &second.identity.directory));
  FUZZ_HOLDS(first.term == second.term && first.vote == second.vote);
  FUZZ_HOLDS(raft_directory_equal(&first.vote_directory, &second.vote_directory));
  FUZZ_HOLDS(first.end_index == second.end_index && first.end_chain == second.end_chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  decode(data, size);
  guint8 mended[RAFT_NOTE_BYTES];
  if (size < sizeof mended)
    return 0;
  memcpy(mended, data, sizeof mended);
  guint32 crc = GUINT32_TO_BE(log_crc32c(mended, sizeof mended - sizeof crc));
  memcpy(mended + sizeof mended - sizeof crc, &crc, sizeof crc);
  decode(mended, sizeof mended);
  return 0;
}
