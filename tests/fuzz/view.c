/* A cluster's metadata as a client receives it: images and changes, whatever a server makes of them.
 *
 * Input: chunks, each a frame of WatchMetadata. */
#include "tests/fuzz/fuzz.h"

#include "client/libmilena/convert.h"
#include "client/libmilena/view.h"
#include "services/rpc/message.h"

static void look(const View *view) {
  g_autoptr(GPtrArray) addresses = g_ptr_array_new();
  view_add_addresses(view, addresses);
  for (guint i = 0; i < addresses->len; i++)
    FUZZ_HOLDS(addresses->pdata[i] != NULL);
  const ViewTopic *topic = view_topic(view, "orders");
  for (guint32 i = 0; topic && i < topic->partition_count; i++) {
    gint32 leader_id;
    const char *address;
    if (fuzz_accepted(view_leader(view, "orders", (gint32)i, &leader_id, &address)))
      FUZZ_HOLDS(address && leader_id == topic->partitions[i].leader_id);
  }
}

static void step(View **view, const Milena__V1__WatchMetadataResponse *frame) {
  View *next = NULL;
  Failure *failure = NULL;
  if (frame->frame_case == MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE) {
    milena_cluster_free(convert_cluster(frame->image));
    failure = view_new_from_image(frame->image, &next);
  } else if (frame->frame_case == MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_CHANGE) {
    failure = view_new_from_change(*view, frame->change, &next);
  }
  if (!fuzz_accepted(failure) || !next)
    return;
  view_unref(*view);
  *view = next;
  look(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  View *view = view_new_empty();
  while (fuzz_left(&input) > 0) {
    FuzzInput chunk = fuzz_chunk(&input);
    g_autoptr(GBytes) wire = g_bytes_new(chunk.at, fuzz_left(&chunk));
    g_autoptr(RpcMessage) message = NULL;
    if (fuzz_accepted(rpc_message_decode(&milena__v1__watch_metadata_response__descriptor, &wire, 1, &message)))
      step(&view, rpc_message_body(message));
  }
  view_unref(view);
  return 0;
}
