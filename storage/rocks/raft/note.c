/* See note.h. No state. */
#include "storage/rocks/raft/note.h"

#include <string.h>

#include "services/base/invariant.h"
#include "storage/log/crc32c.h"

#define MAGIC 0x4d43544cu /* "MCTL" */
#define CLUSTER_ID_BYTES 40
#define HEAD_BYTES 12 /* magic, format, size: the same in every format, and so is the checksum at the end */
#define CRC_BYTES 4

static guint8 *put_u32(guint8 *at, guint32 value) {
  guint32 big = GUINT32_TO_BE(value);
  memcpy(at, &big, sizeof big);
  return at + sizeof big;
}

static guint8 *put_u64(guint8 *at, guint64 value) {
  guint64 big = GUINT64_TO_BE(value);
  memcpy(at, &big, sizeof big);
  return at + sizeof big;
}

static guint8 *put_directory(guint8 *at, const RaftDirectory *directory) {
  memcpy(at, directory->bytes, sizeof directory->bytes);
  return at + sizeof directory->bytes;
}

static guint32 take_u32(const guint8 **at) {
  guint32 big;
  memcpy(&big, *at, sizeof big);
  *at += sizeof big;
  return GUINT32_FROM_BE(big);
}

static guint64 take_u64(const guint8 **at) {
  guint64 big;
  memcpy(&big, *at, sizeof big);
  *at += sizeof big;
  return GUINT64_FROM_BE(big);
}

static void take_directory(const guint8 **at, RaftDirectory *ret_directory) {
  memcpy(ret_directory->bytes, *at, sizeof ret_directory->bytes);
  *at += sizeof ret_directory->bytes;
}

void raft_note_encode(const RaftNote *note, guint8 ret_bytes[RAFT_NOTE_BYTES]) {
  guint8 *at = put_u32(ret_bytes, MAGIC);
  at = put_u32(at, RAFT_NOTE_FORMAT);
  at = put_u32(at, RAFT_NOTE_BYTES);
  at = put_u64(at, note->sequence);
  at = put_u64(at, note->identity.node_id);
  at = put_directory(at, &note->identity.directory);
  memset(at, 0, CLUSTER_ID_BYTES);
  memcpy(at, note->identity.cluster_id, strlen(note->identity.cluster_id));
  at = put_u32(at + CLUSTER_ID_BYTES, note->made ? 1 : 0);
  at = put_u64(at, note->term);
  at = put_u64(at, note->vote);
  at = put_directory(at, &note->vote_directory);
  at = put_u64(at, note->end_index);
  at = put_u64(at, note->end_chain);
  at = put_u32(at, log_crc32c(ret_bytes, (gsize)(at - ret_bytes)));
  INVARIANT(at == ret_bytes + RAFT_NOTE_BYTES, "a note has the size that its header promises");
}

static Failure *damaged(void) {
  return failure_new(FAILURE(CORRUPT_LOG), "A note on term and vote is damaged: its checksum does not match.");
}

/* What all formats share: the head, and the checksum at the end. */
static Failure *check_frame(const guint8 *data, gsize size, guint32 *ret_format) {
  if (size < HEAD_BYTES)
    return damaged();
  const guint8 *at = data;
  guint32 magic = take_u32(&at), format = take_u32(&at), told = take_u32(&at);
  if (magic != MAGIC || told < HEAD_BYTES + CRC_BYTES || told > size || told > RAFT_NOTE_BYTES_MAX)
    return damaged();
  const guint8 *end = data + told - CRC_BYTES;
  const guint8 *crc = end;
  if (take_u32(&crc) != log_crc32c(data, (gsize)(end - data)))
    return damaged();
  if (format > RAFT_NOTE_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "The controller's note on term and vote has format %u, and this version knows formats up to %d: "
                       "it was written by a newer Milena. Start that version.",
                       format, RAFT_NOTE_FORMAT);
  if (format == 0 || told != RAFT_NOTE_BYTES)
    return damaged();
  *ret_format = format;
  return NULL;
}

Failure *raft_note_decode(gconstpointer data, gsize size, RaftNote *ret_note) {
  guint32 format;
  Failure *failure = check_frame(data, size, &format);
  if (failure)
    return failure;
  const guint8 *at = (const guint8 *)data + HEAD_BYTES;
  RaftNote note = {.sequence = take_u64(&at)};
  note.identity.node_id = take_u64(&at);
  take_directory(&at, &note.identity.directory);
  memcpy(note.identity.cluster_id, at, RAFT_LOG_CLUSTER_ID_CHARS_MAX);
  at += CLUSTER_ID_BYTES;
  note.made = take_u32(&at) != 0;
  note.term = take_u64(&at);
  note.vote = take_u64(&at);
  take_directory(&at, &note.vote_directory);
  note.end_index = take_u64(&at);
  note.end_chain = take_u64(&at);
  *ret_note = note;
  return NULL;
}
