/* The record of the file CONTROLLER: whose the folder is, term and vote, and how far the log was durable. Its format;
 * pure.
 *
 *   u32 "MCTL"  u32 format  u32 size, all of it  u64 sequence  u64 node  16 bytes directory id  40 bytes cluster id
 *   u32 made  u64 term  u64 vote  16 bytes its directory id  u64 end_index  u64 end_chain
 *   u32 CRC-32C of what is in front
 *
 * Numbers are big endian. */
#pragma once

#include "storage/rocks/raft/raft_log.h"

G_BEGIN_DECLS

#define RAFT_NOTE_FORMAT 1
#define RAFT_NOTE_BYTES 140
/* Of a newer format. */
#define RAFT_NOTE_BYTES_MAX 512

typedef struct {
  guint64 sequence; /* of two notes the higher one counts */
  RaftLogIdentity identity;
  gboolean made; /* RocksDB's files are there: never make them anew */
  guint64 term, vote;
  RaftDirectory vote_directory;
  /* The log was durable up to this entry, whose value in the chain this is; index 0: nothing yet. */
  guint64 end_index, end_chain;
} RaftNote;

void raft_note_encode(const RaftNote *note, guint8 ret_bytes[RAFT_NOTE_BYTES]);
/* Returns NULL, CORRUPT_LOG for what is no note, or UNSUPPORTED for a newer format; @ret_note is untouched on failure.
 */
Failure *raft_note_decode(gconstpointer data, gsize size, RaftNote *ret_note);

G_END_DECLS
