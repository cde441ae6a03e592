/* The client: polling threads and the pool of channels. See client.h; calls are in client_call.c.
 *
 * One channel for each address, made at the first call and shared by all that follow: HTTP/2 carries many calls at
 * once, and the core reconnects with backoff. A channel that is forgotten goes away with its last call.
 *
 * Invariants
 *   1. The client's memory outlives its calls: each holds a reference.
 *   2. A call is bound to one queue, chosen in turn, so its completions come on one thread.
 * Locks: the pool's mutex, for the time of a look-up or the making of a channel (which does not connect). */
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include "services/rpc/client_internal.h"
#include "services/rpc/library.h"
#include "services/rpc/limits.h"
#include "services/rpc/status.h"

enum {
  DEFAULT_RECEIVE_MAX_BYTES = 68 << 20,
  DEFAULT_SEND_QUEUE_MAX_BYTES = 4 << 20,
  /* Cancelled calls end within a moment; one that does not has a loop that no longer runs. */
  CANCEL_WAIT_MS = 5000,
};

static RpcClientOptions options_with_defaults(const RpcClientOptions *options) {
  RpcClientOptions full = options ? *options : (RpcClientOptions){0};
  full.receive_max_bytes = full.receive_max_bytes ? full.receive_max_bytes : DEFAULT_RECEIVE_MAX_BYTES;
  full.send_queue_max_bytes = full.send_queue_max_bytes ? full.send_queue_max_bytes : DEFAULT_SEND_QUEUE_MAX_BYTES;
  return full;
}

static void channel_free(gpointer channel) {
  grpc_channel_destroy(channel);
}

static void copy_metadata(RpcClient *client, const RpcMetadata *metadata) {
  while (metadata && metadata[client->metadata_count].key)
    client->metadata_count++;
  client->metadata = g_new0(grpc_metadata, client->metadata_count);
  for (gsize i = 0; metadata && i < client->metadata_count; i++) {
    client->metadata[i].key = grpc_slice_from_copied_string(metadata[i].key);
    client->metadata[i].value = grpc_slice_from_copied_string(metadata[i].value);
    INVARIANT(grpc_header_key_is_legal(client->metadata[i].key) &&
                  grpc_header_nonbin_value_is_legal(client->metadata[i].value),
              "metadata are lower-case keys and printable values");
  }
}

static void free_metadata(RpcClient *client) {
  for (gsize i = 0; i < client->metadata_count; i++) {
    grpc_slice_unref(client->metadata[i].key);
    grpc_slice_unref(client->metadata[i].value);
  }
  g_free(client->metadata);
}

RpcClient *rpc_client_new(const RpcClientOptions *options) {
  rpc_library_init();
  RpcClient *client = g_new0(RpcClient, 1);
  atomic_init(&client->refs, 1);
  client->options = options_with_defaults(options);
  copy_metadata(client, client->options.metadata);
  client->options.metadata = NULL; /* the caller's */
  client->calls = rpc_registry_new();
  pthread_mutex_init(&client->mutex, NULL);
  client->channels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, channel_free);
  client->owns_pollers = !client->options.pollers;
  client->pollers = client->owns_pollers ? rpc_pollers_new("rpc-client", 1) : client->options.pollers;
  return client;
}

void rpc_client_unref(RpcClient *client) {
  if (atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) > 1)
    return;
  pthread_mutex_destroy(&client->mutex);
  rpc_registry_free(client->calls);
  free_metadata(client);
  g_free(client);
}

static void cancel_visit(gpointer call, gpointer unused) {
  (void)unused;
  rpc_client_call_cancel(call);
}

void rpc_client_free(RpcClient *client) {
  if (!client)
    return;
  rpc_registry_visit(client->calls, cancel_visit, NULL);
  rpc_registry_wait_empty(client->calls, CANCEL_WAIT_MS);
  pthread_mutex_lock(&client->mutex);
  g_hash_table_unref(g_steal_pointer(&client->channels));
  pthread_mutex_unlock(&client->mutex);
  if (client->owns_pollers)
    rpc_pollers_free(client->pollers);
  rpc_client_unref(client);
}

void rpc_client_forget(RpcClient *client, const char *address) {
  pthread_mutex_lock(&client->mutex);
  g_hash_table_remove(client->channels, address);
  pthread_mutex_unlock(&client->mutex);
}

/* The mutex is held. */
static grpc_channel *find_channel(RpcClient *client, const char *address) {
  grpc_channel *channel = g_hash_table_lookup(client->channels, address);
  if (channel)
    return channel;
  grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
  grpc_channel_args *args = rpc_client_args_new(client->options.receive_max_bytes);
  channel = grpc_channel_create(address, credentials, args);
  rpc_args_free(args);
  grpc_channel_credentials_release(credentials);
  g_hash_table_insert(client->channels, g_strdup(address), channel);
  return channel;
}

grpc_call *rpc_client_open(RpcClient *client, const char *address, const char *path, gint64 deadline_us,
                           RpcQueue **ret_queue) {
  guint turn = atomic_fetch_add_explicit(&client->next_queue, 1, memory_order_relaxed) % client->pollers->count;
  RpcQueue *queue = client->pollers->queues[turn];
  grpc_slice path_slice = grpc_slice_from_copied_string(path);
  pthread_mutex_lock(&client->mutex);
  INVARIANT(client->channels, "no calls are made on a client that was freed");
  grpc_call *call =
      grpc_channel_create_call(find_channel(client, address), NULL, GRPC_PROPAGATE_DEFAULTS, rpc_queue_core(queue),
                               path_slice, NULL, rpc_deadline_to_core(deadline_us), NULL);
  pthread_mutex_unlock(&client->mutex);
  grpc_slice_unref(path_slice);
  *ret_queue = rpc_queue_ref(queue);
  return call;
}
