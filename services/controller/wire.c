/* See wire.h. No state. Bytes of the network are failures, never assertions. */
#include "services/controller/wire.h"

#define FRAME_MESSAGES_MAX 128
#define FRAME_BYTES_MAX ((gsize)1024 * 1024)
/* What a message and an entry take beside their payload, about. */
#define MESSAGE_BYTES 64
#define ENTRY_BYTES 32
/* An entry keeps the whole piece of memory that it came in when it is not copied: only for large ones that pays. */
#define SHARE_ENTRY_BYTES 16384

typedef Milena__Internal__V1__RaftMessage WireMessage;
typedef Milena__Internal__V1__RaftEntry WireEntry;

gsize wire_message_bytes(const RaftMessage *message) {
  gsize bytes = MESSAGE_BYTES + (message->chunk ? g_bytes_get_size(message->chunk) : 0);
  for (guint i = 0; message->entries && i < message->entries->len; i++) {
    const RaftEntry *entry = message->entries->pdata[i];
    bytes += ENTRY_BYTES + (entry->data ? g_bytes_get_size(entry->data) : 0);
  }
  return bytes;
}

/* ---- Out ---- */

/* The parts of a frame while it is made. */
typedef struct {
  WireMessage *messages;
  WireMessage **pointers;
  GPtrArray *blocks; /* memory that goes with the frame's making */
  GPtrArray *owners; /* of GBytes, borrowed */
} Frame;

static ProtobufCBinaryData borrow(GBytes *bytes, GPtrArray *owners) {
  if (!bytes)
    return (ProtobufCBinaryData){0};
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  if (size >= RPC_SHARE_BYTES)
    g_ptr_array_add(owners, bytes);
  return (ProtobufCBinaryData){size, (guint8 *)data};
}

static void fill_entries(Frame *frame, const GPtrArray *entries, WireMessage *wire) {
  WireEntry *bodies = g_new(WireEntry, entries->len);
  WireEntry **pointers = g_new(WireEntry *, entries->len);
  g_ptr_array_add(frame->blocks, bodies);
  g_ptr_array_add(frame->blocks, pointers);
  for (guint i = 0; i < entries->len; i++) {
    const RaftEntry *entry = entries->pdata[i];
    bodies[i] = (WireEntry)MILENA__INTERNAL__V1__RAFT_ENTRY__INIT;
    bodies[i].format = entry->kind == RAFT_ENTRY_KIND(CONFIGURATION) ? RAFT_FORMAT : 1;
    bodies[i].index = entry->index;
    bodies[i].term = entry->term;
    bodies[i].kind = entry->kind;
    bodies[i].data = borrow(entry->data, frame->owners);
    pointers[i] = &bodies[i];
  }
  wire->n_entries = entries->len;
  wire->entries = pointers;
}

static void fill_message(Frame *frame, const RaftMessage *message, WireMessage *wire) {
  *wire = (WireMessage)MILENA__INTERNAL__V1__RAFT_MESSAGE__INIT;
  wire->kind = (Milena__Internal__V1__RaftMessageKind)message->kind;
  wire->term = message->term;
  wire->index = message->index;
  wire->log_term = message->log_term;
  wire->commit = message->commit;
  wire->reject = message->reject;
  wire->hint = message->hint;
  wire->round = message->round;
  wire->transfer = message->transfer;
  wire->offset = message->offset;
  wire->chunk = borrow(message->chunk, frame->owners);
  if (message->entries)
    fill_entries(frame, message->entries, wire);
  if (message->snapshot) {
    gsize size;
    guint8 *meta = g_bytes_unref_to_data(raft_snapshot_meta_encode(message->snapshot), &size);
    g_ptr_array_add(frame->blocks, meta);
    wire->snapshot = (ProtobufCBinaryData){size, meta};
  }
}

RpcMessage *wire_pack(RaftMessage *const *messages, guint count, guint *ret_taken) {
  guint most = MIN(count, FRAME_MESSAGES_MAX), taken = 0;
  g_autoptr(GPtrArray) blocks = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) owners = g_ptr_array_new();
  g_autofree WireMessage *bodies = g_new(WireMessage, most);
  g_autofree WireMessage **pointers = g_new(WireMessage *, most);
  Frame frame = {bodies, pointers, blocks, owners};
  for (gsize bytes = 0; taken < most; taken++) {
    bytes += wire_message_bytes(messages[taken]);
    if (taken > 0 && bytes > FRAME_BYTES_MAX)
      break;
    fill_message(&frame, messages[taken], &bodies[taken]);
    pointers[taken] = &bodies[taken];
  }
  Milena__Internal__V1__RaftMessageBatch batch = MILENA__INTERNAL__V1__RAFT_MESSAGE_BATCH__INIT;
  batch.n_messages = taken;
  batch.messages = pointers;
  Milena__Internal__V1__ExchangeRequest request = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_BATCH;
  request.batch = &batch;
  *ret_taken = taken;
  return rpc_message_pack(&request.base, (GBytes *const *)owners->pdata, owners->len);
}

/* ---- In ---- */

static Failure *malformed(const char *what) {
  return failure_new(FAILURE(MALFORMED_MESSAGE), "A controller sent %s. Give all controllers the same version.", what);
}

static Failure *newer(const char *what) {
  return failure_new(FAILURE(UNSUPPORTED),
                     "A controller sent %s that only a newer Milena understands. Upgrade this controller.", what);
}

static GBytes *take_bytes(RpcMessage *frame, const ProtobufCBinaryData *field) {
  return field->len >= SHARE_ENTRY_BYTES ? rpc_message_share(frame, field) : g_bytes_new(field->data, field->len);
}

static Failure *take_entry(RpcMessage *frame, const WireEntry *wire, RaftEntry **ret_entry) {
  if (wire->format > RAFT_FORMAT || wire->kind > RAFT_ENTRY_KIND(CONFIGURATION))
    return newer("an entry");
  if (wire->format == 0 || wire->kind == RAFT_ENTRY_KIND(UNSPECIFIED))
    return malformed("an entry of no kind");
  *ret_entry = raft_entry_new(wire->index, wire->term, wire->kind, take_bytes(frame, &wire->data));
  return NULL;
}

static Failure *take_entries(RpcMessage *frame, const WireMessage *wire, RaftMessage *message) {
  if (wire->n_entries == 0)
    return NULL;
  message->entries = raft_entries_new();
  for (gsize i = 0; i < wire->n_entries; i++) {
    RaftEntry *entry = NULL;
    Failure *failure = take_entry(frame, wire->entries[i], &entry);
    if (failure)
      return failure;
    g_ptr_array_add(message->entries, entry);
  }
  return NULL;
}

static Failure *take_snapshot(RpcMessage *frame, const WireMessage *wire, RaftMessage *message) {
  if (wire->snapshot.len == 0)
    return message->kind == RAFT_SNAPSHOT ? malformed("a piece of a snapshot without saying of which") : NULL;
  RaftSnapshotMeta meta = {0};
  Failure *failure = raft_snapshot_meta_decode(wire->snapshot.data, wire->snapshot.len, &meta);
  if (failure)
    return failure;
  message->snapshot = g_memdup2(&meta, sizeof meta);
  message->chunk = take_bytes(frame, &wire->chunk);
  message->length = (guint32)wire->chunk.len;
  return NULL;
}

Failure *wire_unpack(RpcMessage *frame, const WireMessage *wire, const WireEnds *ends, RaftMessage **ret_message) {
  if (wire->kind == 0)
    return malformed("a message of no kind");
  if (wire->kind > MILENA__INTERNAL__V1__RAFT_MESSAGE_KIND__RAFT_MESSAGE_KIND_TIMEOUT_NOW)
    return newer("a message");
  g_autoptr(RaftMessage) message = raft_message_new((RaftMessageKind)wire->kind, ends->from, ends->to, wire->term);
  message->from_directory = ends->from_directory;
  message->to_directory = ends->to_directory;
  message->index = wire->index;
  message->log_term = wire->log_term;
  message->commit = wire->commit;
  message->reject = wire->reject;
  message->hint = wire->hint;
  message->round = wire->round;
  message->transfer = wire->transfer;
  message->offset = wire->offset;
  Failure *failure = take_entries(frame, wire, message);
  if (!failure)
    failure = take_snapshot(frame, wire, message);
  if (!failure)
    *ret_message = g_steal_pointer(&message);
  return failure;
}
