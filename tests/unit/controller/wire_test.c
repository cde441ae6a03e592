/* Messages of Raft on their way: what goes out comes in the same, large parts are not copied, and what is newer or
 * makes no sense is refused. */
#include "services/controller/wire.h"

#include <string.h>

#include "tests/shim/shim.h"

static const WireEnds ENDS = {.from = 1, .to = 2, .from_directory = {{1}}, .to_directory = {{2}}};

/* Through the wire: one frame, the first message of it. */
static Failure *through(RaftMessage *message, RaftMessage **ret_message) {
  guint taken = 0;
  g_autoptr(RpcMessage) packed = wire_pack(&message, 1, &taken);
  EXPECT_EQ_INT(1, taken);
  g_autoptr(GBytes) bytes = rpc_message_flatten(packed);
  g_autoptr(RpcMessage) frame = NULL;
  Failure *failure = rpc_message_decode(&milena__internal__v1__exchange_request__descriptor, &bytes, 1, &frame);
  if (failure)
    return failure;
  const Milena__Internal__V1__ExchangeRequest *request = rpc_message_body(frame);
  return wire_unpack(frame, request->batch->messages[0], &ENDS, ret_message);
}

static RaftEntry *entry(guint64 index, RaftEntryKind kind, gsize size) {
  guint8 *data = g_malloc(size + 1);
  memset(data, 'x', size);
  return raft_entry_new(index, 3, kind, g_bytes_new_take(data, size));
}

TEST(wire, carries_every_field) {
  for (int kind = RAFT_PRE_VOTE; kind <= RAFT_TIMEOUT_NOW; kind++) {
    if (kind == RAFT_SNAPSHOT)
      continue;
    g_autoptr(RaftMessage) message = raft_message_new((RaftMessageKind)kind, 1, 2, 7), back = NULL;
    message->index = 11;
    message->log_term = 6;
    message->commit = 10;
    message->reject = TRUE;
    message->hint = 5;
    message->round = 99;
    message->transfer = TRUE;
    message->offset = 1234;
    EXPECT_NULL(through(message, &back));
    EXPECT_TRUE(back != NULL);
    if (!back)
      return;
    EXPECT_EQ_INT(kind, back->kind);
    EXPECT_EQ_INT(7, back->term);
    EXPECT_EQ_INT(11, back->index);
    EXPECT_EQ_INT(6, back->log_term);
    EXPECT_EQ_INT(10, back->commit);
    EXPECT_TRUE(back->reject && back->transfer);
    EXPECT_EQ_INT(5, back->hint);
    EXPECT_EQ_INT(99, back->round);
    EXPECT_EQ_INT(1234, back->offset);
    EXPECT_TRUE(back->from == 1 && back->to == 2);
    EXPECT_TRUE(raft_directory_equal(&back->from_directory, &ENDS.from_directory));
    EXPECT_TRUE(raft_directory_equal(&back->to_directory, &ENDS.to_directory));
  }
}

TEST(wire, carries_entries_of_any_size) {
  static const gsize SIZES[] = {0, 1, 1023, 1024, 16383, 16384, 300000};
  g_autoptr(RaftMessage) message = raft_message_new(RAFT_APPEND, 1, 2, 7), back = NULL;
  message->entries = raft_entries_new();
  for (guint i = 0; i < G_N_ELEMENTS(SIZES); i++)
    g_ptr_array_add(message->entries,
                    entry(12 + i, i % 2 ? RAFT_ENTRY_KIND(METADATA) : RAFT_ENTRY_KIND(CONFIGURATION), SIZES[i]));
  EXPECT_NULL(through(message, &back));
  ASSERT_TRUE(back && back->entries && back->entries->len == G_N_ELEMENTS(SIZES));
  for (guint i = 0; i < G_N_ELEMENTS(SIZES); i++) {
    const RaftEntry *sent = message->entries->pdata[i], *got = back->entries->pdata[i];
    EXPECT_TRUE(sent->index == got->index && sent->term == got->term && sent->kind == got->kind);
    EXPECT_TRUE(g_bytes_equal(sent->data, got->data));
  }
}

TEST(wire, carries_a_piece_of_a_snapshot) {
  g_autoptr(RaftMessage) message = raft_message_new(RAFT_SNAPSHOT, 1, 2, 7), back = NULL;
  RaftSnapshotMeta meta = {.index = 40, .term = 6, .size_bytes = 100000, .crc32c = 77};
  meta.configuration.member_count = 1;
  meta.configuration.members[0] = (RaftMember){.id = 1, .directory = {{1}}, .address = "a:1"};
  message->snapshot = g_memdup2(&meta, sizeof meta);
  message->offset = 4096;
  message->length = 50000;
  message->chunk = g_bytes_new_take(g_malloc0(50000), 50000);
  EXPECT_NULL(through(message, &back));
  EXPECT_TRUE(back != NULL);
  if (!back)
    return;
  ASSERT_TRUE(back->snapshot && back->chunk);
  EXPECT_EQ_INT(40, back->snapshot->index);
  EXPECT_EQ_INT(77, back->snapshot->crc32c);
  EXPECT_EQ_STR("a:1", back->snapshot->configuration.members[0].address);
  EXPECT_EQ_INT(4096, back->offset);
  EXPECT_EQ_INT(50000, back->length);
  EXPECT_TRUE(g_bytes_equal(message->chunk, back->chunk));
}

TEST(wire, bounds_a_frame) {
  g_autoptr(GPtrArray) messages = g_ptr_array_new_with_free_func((GDestroyNotify)raft_message_free);
  for (guint i = 0; i < 300; i++) {
    RaftMessage *message = raft_message_new(RAFT_APPEND, 1, 2, 7);
    message->entries = raft_entries_new();
    g_ptr_array_add(message->entries, entry(i + 1, RAFT_ENTRY_KIND(METADATA), i == 0 ? 3000000 : 100000));
    g_ptr_array_add(messages, message);
  }
  guint taken = 0;
  RpcMessage *frame = wire_pack((RaftMessage *const *)messages->pdata, messages->len, &taken);
  EXPECT_EQ_INT(1, taken); /* one that is too large goes by itself */
  rpc_message_unref(frame);
  frame = wire_pack((RaftMessage *const *)messages->pdata + 1, messages->len - 1, &taken);
  EXPECT_EQ_INT(10, taken);
  rpc_message_unref(frame);
}

/* ---- What is refused ---- */

static void refused(const Milena__Internal__V1__RaftMessage *body, FailureReason reason) {
  Milena__Internal__V1__ExchangeRequest request = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__INIT;
  g_autoptr(RpcMessage) frame = rpc_message_pack(&request.base, NULL, 0);
  RaftMessage *message = NULL;
  g_autoptr(Failure) failure = wire_unpack(frame, body, &ENDS, &message);
  EXPECT_EQ_INT(reason, failure ? (int)failure_reason(failure) : -1);
  EXPECT_NULL(message);
}

TEST(wire, refuses_what_is_newer_or_makes_no_sense) {
  Milena__Internal__V1__RaftMessage body = MILENA__INTERNAL__V1__RAFT_MESSAGE__INIT;
  Milena__Internal__V1__RaftEntry bad = MILENA__INTERNAL__V1__RAFT_ENTRY__INIT, *entries[] = {&bad};
  refused(&body, FAILURE(MALFORMED_MESSAGE));
  body.kind = (Milena__Internal__V1__RaftMessageKind)200;
  refused(&body, FAILURE(UNSUPPORTED));
  body.kind = MILENA__INTERNAL__V1__RAFT_MESSAGE_KIND__RAFT_MESSAGE_KIND_SNAPSHOT;
  refused(&body, FAILURE(MALFORMED_MESSAGE));
  body.kind = MILENA__INTERNAL__V1__RAFT_MESSAGE_KIND__RAFT_MESSAGE_KIND_APPEND;
  body.n_entries = 1;
  body.entries = entries;
  refused(&body, FAILURE(MALFORMED_MESSAGE));
  bad.format = RAFT_FORMAT + 1;
  bad.kind = RAFT_ENTRY_KIND(METADATA);
  refused(&body, FAILURE(UNSUPPORTED));
  bad.format = 1;
  bad.kind = (RaftEntryKind)50;
  refused(&body, FAILURE(UNSUPPORTED));
}
