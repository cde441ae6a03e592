/* Messages off the wire: every message type that arrives anywhere, in one piece or in many.
 *
 * Input: type, bytes a piece (0: all in one), the message. */
#include "tests/fuzz/fuzz.h"

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "milena/internal/v1/controller_service.pb-c.h"
#include "milena/internal/v1/raft.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/message.h"

/* The corpus names them by place: add at the end. */
static const ProtobufCMessageDescriptor *const TYPES[] = {
    &milena__v1__produce_request__descriptor,
    &milena__v1__produce_stream_request__descriptor,
    &milena__v1__fetch_request__descriptor,
    &milena__v1__fetch_response__descriptor,
    &milena__v1__subscribe_request__descriptor,
    &milena__v1__consume_response__descriptor,
    &milena__v1__record_batch__descriptor,
    &milena__v1__create_topic_request__descriptor,
    &milena__v1__update_topic_request__descriptor,
    &milena__v1__watch_metadata_response__descriptor,
    &milena__internal__v1__follow_metadata_response__descriptor,
    &milena__internal__v1__register_node_request__descriptor,
    &milena__internal__v1__raft_snapshot_meta__descriptor,
    &grpc__reflection__v1__server_reflection_request__descriptor,
    &grpc__health__v1__health_check_request__descriptor,
    &google__rpc__status__descriptor,
    &google__rpc__bad_request__descriptor,
    &milena__v1__list_offsets_request__descriptor,
    &milena__v1__produce_response__descriptor,
};

static RpcMessage *decode(const ProtobufCMessageDescriptor *type, const guint8 *data, gsize len, gsize piece_bytes) {
  g_autoptr(GPtrArray) pieces = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  do {
    gsize part = MIN(len, piece_bytes);
    g_ptr_array_add(pieces, g_bytes_new(data, part));
    data += part;
    len -= part;
  } while (len > 0);
  RpcMessage *message = NULL;
  Failure *failure = rpc_message_decode(type, (GBytes *const *)pieces->pdata, pieces->len, &message);
  return fuzz_accepted(failure) ? message : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  const ProtobufCMessageDescriptor *type = TYPES[fuzz_u8(&input) % G_N_ELEMENTS(TYPES)];
  gsize piece_bytes = fuzz_u8(&input);
  g_autoptr(RpcMessage) message = decode(type, input.at, fuzz_left(&input), piece_bytes ? piece_bytes : G_MAXSIZE);
  if (!message)
    return 0;
  /* What was read can be written, and read again as the same. */
  g_autoptr(RpcMessage) packed = rpc_message_pack(rpc_message_body(message), NULL, 0);
  g_autoptr(GBytes) first = rpc_message_flatten(packed);
  g_autoptr(RpcMessage) again =
      decode(type, g_bytes_get_data(first, NULL), g_bytes_get_size(first), piece_bytes ? piece_bytes : G_MAXSIZE);
  FUZZ_HOLDS(again != NULL);
  g_autoptr(RpcMessage) packed_again = rpc_message_pack(rpc_message_body(again), NULL, 0);
  g_autoptr(GBytes) second = rpc_message_flatten(packed_again);
  FUZZ_HOLDS(g_bytes_equal(first, second));
  return 0;
}
