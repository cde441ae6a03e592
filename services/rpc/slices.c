/* Slices of the core and GBytes: see slices.h.
 *
 * Out: a slice holds a reference to the GBytes. In: a GBytes holds a reference to the slice. Both may be released on
 * any thread. What is shorter than RPC_SHARE_BYTES is copied: sharing costs two allocations, and a short slice may pin
 * a far larger read buffer of the core. */
#include "services/rpc/slices.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

static void release_bytes(void *bytes) {
  g_bytes_unref(bytes);
}

static grpc_slice slice_of_bytes(GBytes *bytes) {
  gsize size;
  gconstpointer data = g_bytes_get_data(bytes, &size);
  if (size < GRPC_SLICE_INLINED_SIZE)
    return grpc_slice_from_copied_buffer(data, size);
  return grpc_slice_new_with_user_data((void *)data, size, release_bytes, g_bytes_ref(bytes));
}

grpc_byte_buffer *rpc_message_to_core(RpcMessage *message) {
  grpc_slice few[8];
  grpc_slice *slices = message->piece_count <= G_N_ELEMENTS(few) ? few : g_new(grpc_slice, message->piece_count);
  for (guint i = 0; i < message->piece_count; i++)
    slices[i] = slice_of_bytes(message->pieces[i]);
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, message->piece_count);
  for (guint i = 0; i < message->piece_count; i++)
    grpc_slice_unref(slices[i]);
  if (slices != few)
    g_free(slices);
  return buffer;
}

/* Every slice that came from the core ends here, in a frame of its own: the core orders readers and the last release by
 * its reference count, which ThreadSanitizer does not see, and its jump to free() leaves no frame of the core to name.
 */
static G_NO_INLINE void release_core_slice(grpc_slice slice) {
  grpc_slice_unref(slice);
}

typedef struct {
  grpc_slice slice;
} HeldSlice;

static void release_slice(gpointer data) {
  HeldSlice *held = data;
  release_core_slice(held->slice);
  g_free(held);
}

/* @slice: taken */
static GBytes *bytes_of_slice(grpc_slice slice) {
  gsize size = GRPC_SLICE_LENGTH(slice);
  if (size < RPC_SHARE_BYTES) {
    GBytes *copy = g_bytes_new(GRPC_SLICE_START_PTR(slice), size);
    release_core_slice(slice);
    return copy;
  }
  HeldSlice *held = g_new(HeldSlice, 1);
  held->slice = slice;
  return g_bytes_new_with_free_func(GRPC_SLICE_START_PTR(held->slice), size, release_slice, held);
}

/* A short message becomes one piece, so that nothing in it needs to be gathered. */
static GBytes *bytes_of_reader(grpc_byte_buffer_reader *reader, gsize size) {
  guint8 *flat = g_malloc(MAX(size, 1));
  gsize at = 0;
  grpc_slice *slice;
  while (grpc_byte_buffer_reader_peek(reader, &slice)) {
    memcpy(flat + at, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
    at += GRPC_SLICE_LENGTH(*slice);
  }
  return g_bytes_new_take(flat, size);
}

Failure *rpc_message_from_core(grpc_byte_buffer *buffer, RpcMessage **ret_message) {
  grpc_byte_buffer_reader reader;
  if (buffer->data.raw.compression != GRPC_COMPRESS_NONE || !grpc_byte_buffer_reader_init(&reader, buffer))
    return failure_new(FAILURE(MALFORMED_MESSAGE),
                       "the message came compressed by gRPC, which this process does not take: send it as it is, and "
                       "compress record batches instead");
  GPtrArray *pieces = g_ptr_array_new();
  gsize size = grpc_byte_buffer_length(buffer);
  if (size < RPC_SHARE_BYTES) {
    g_ptr_array_add(pieces, bytes_of_reader(&reader, size));
  } else {
    grpc_slice slice;
    while (grpc_byte_buffer_reader_next(&reader, &slice))
      g_ptr_array_add(pieces, bytes_of_slice(slice));
  }
  grpc_byte_buffer_reader_destroy(&reader);
  gsize count;
  GBytes **array = (GBytes **)g_ptr_array_steal(pieces, &count);
  g_ptr_array_unref(pieces);
  *ret_message = rpc_message_new_raw(array, count);
  return NULL;
}

char *rpc_slice_dup_text(grpc_slice slice) {
  return g_strndup((const char *)GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
}
