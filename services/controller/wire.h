/* Raft's messages as they travel (raft_service.proto). Pure but for glib; no state.
 *
 * Entries and pieces of snapshots are not copied on their way out: large ones leave as the memory that they lie in. */
#pragma once

#include "controller/raft/raft.h"
#include "milena/internal/v1/raft_service.pb-c.h"
#include "services/rpc/message.h"

G_BEGIN_DECLS

/* Version of the formats of raft_service.proto that this code speaks. */
#define WIRE_FORMAT 1

/* One frame of messages, from the first of @messages on, within the bounds of a frame.
 *
 * @messages: of RaftMessage; borrowed
 * @count: how many there are, at least one
 * @ret_taken: how many of them are in the frame, at least one */
RpcMessage *wire_pack(RaftMessage *const *messages, guint count, guint *ret_taken);

/* Whom the messages of a stream are from and for. */
typedef struct {
  guint64 from, to;
  RaftDirectory from_directory, to_directory;
} WireEnds;

/* A message that came in @frame, with what it takes from there.
 *
 * @ret_message: owned by the caller; untouched on failure
 * Returns NULL, MALFORMED_MESSAGE, or UNSUPPORTED for what a newer Milena wrote. */
Failure *wire_unpack(RpcMessage *frame, const Milena__Internal__V1__RaftMessage *body, const WireEnds *ends,
                     RaftMessage **ret_message);

/* About how many bytes it takes, in memory and on the wire. */
gsize wire_message_bytes(const RaftMessage *message);

G_END_DECLS
