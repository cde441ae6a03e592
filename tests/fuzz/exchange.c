/* What controllers say to each other: frames of RaftService.Exchange, and the messages in them.
 *
 * Input: the frame's bytes. */
#include "tests/fuzz/fuzz.h"

#include "services/controller/directory.h"
#include "services/controller/wire.h"

#define MESSAGES_MAX 64

static void free_message(gpointer message) {
  raft_message_free(message);
}

static void same(const RaftMessage *a, const RaftMessage *b) {
  FUZZ_HOLDS(a->kind == b->kind && a->term == b->term && a->index == b->index && a->commit == b->commit);
  FUZZ_HOLDS(a->round == b->round && a->offset == b->offset && a->reject == b->reject && a->hint == b->hint);
  FUZZ_HOLDS((a->entries ? a->entries->len : 0) == (b->entries ? b->entries->len : 0));
  FUZZ_HOLDS(!a->snapshot == !b->snapshot && !a->chunk == !b->chunk);
  FUZZ_HOLDS(!a->chunk || g_bytes_equal(a->chunk, b->chunk));
}

/* What was taken in goes out, and comes in the same. */
static void back(GPtrArray *messages) {
  static const WireEnds ENDS = {.from = 1, .to = 2};
  for (guint done = 0, taken = 0; done < messages->len; done += taken) {
    g_autoptr(RpcMessage) packed =
        wire_pack((RaftMessage *const *)messages->pdata + done, messages->len - done, &taken);
    FUZZ_HOLDS(taken > 0);
    g_autoptr(GBytes) bytes = rpc_message_flatten(packed);
    g_autoptr(RpcMessage) frame = NULL;
    FUZZ_HOLDS(
        fuzz_accepted(rpc_message_decode(&milena__internal__v1__exchange_request__descriptor, &bytes, 1, &frame)));
    const Milena__Internal__V1__ExchangeRequest *request = rpc_message_body(frame);
    FUZZ_HOLDS(request->batch->n_messages == taken);
    for (guint i = 0; i < taken; i++) {
      g_autoptr(RaftMessage) message = NULL;
      FUZZ_HOLDS(fuzz_accepted(wire_unpack(frame, request->batch->messages[i], &ENDS, &message)));
      same(messages->pdata[done + i], message);
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const WireEnds ENDS = {.from = 1, .to = 2};
  g_autoptr(GBytes) bytes = g_bytes_new(data, size);
  g_autoptr(RpcMessage) frame = NULL;
  if (!fuzz_accepted(rpc_message_decode(&milena__internal__v1__exchange_request__descriptor, &bytes, 1, &frame)))
    return 0;
  const Milena__Internal__V1__ExchangeRequest *request = rpc_message_body(frame);
  if (request->frame_case == MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_HELLO) {
    RaftDirectory directory;
    char text[DIRECTORY_TEXT_BYTES];
    if (directory_parse(request->hello->from_directory_id, &directory)) {
      directory_text(&directory, text);
      FUZZ_HOLDS(g_ascii_strcasecmp(text, request->hello->from_directory_id) == 0);
    }
  }
  if (request->frame_case != MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_BATCH)
    return 0;
  g_autoptr(GPtrArray) messages = g_ptr_array_new_with_free_func(free_message);
  for (gsize i = 0; i < MIN(request->batch->n_messages, MESSAGES_MAX); i++) {
    RaftMessage *message = NULL;
    if (fuzz_accepted(wire_unpack(frame, request->batch->messages[i], &ENDS, &message)))
      g_ptr_array_add(messages, message);
  }
  back(messages);
  return 0;
}
