/* All limits that the core is given, each with its reason: see limits.h. */
#include <grpc/compression.h>
#include <limits.h>

#include "services/base/invariant.h"
#include "services/rpc/limits.h"

enum { MOST_ARGS = 24 };

static void args_add(grpc_channel_args *args, const char *key, int value) {
  INVARIANT(args->num_args < MOST_ARGS, "there is room for every limit");
  args->args[args->num_args++] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value = {.integer = value}};
}

/* What servers and clients share. */
static grpc_channel_args *args_new(guint32 receive_max_bytes) {
  grpc_channel_args *args = g_new0(grpc_channel_args, 1);
  args->args = g_new0(grpc_arg, MOST_ARGS);
  /* The core's 4 MiB is below the largest batch; without a bound one message could take all memory. */
  args_add(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)MIN(receive_max_bytes, (guint32)INT_MAX));
  /* Statuses carry details of up to 4 KiB beside their sentence; a peer that sends more metadata than this is wrong. */
  args_add(args, GRPC_ARG_MAX_METADATA_SIZE, 16 * 1024);
  /* A compressed message of a few KiB could become gigabytes before any limit of ours sees it: batches carry their own
   * compression, so the transport's is refused. */
  args_add(args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  args_add(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  /* A dead peer (power, cable, firewall) closes no socket: find it within half a minute, or its calls hang. */
  args_add(args, GRPC_ARG_KEEPALIVE_TIME_MS, 20 * 1000);
  args_add(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10 * 1000);
  /* Long polls and quiet streams send no data for minutes; pings must go on. */
  args_add(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return args;
}

grpc_channel_args *rpc_server_args_new(const RpcServerOptions *options) {
  grpc_channel_args *args = args_new(options->receive_max_bytes);
  /* Without it one connection may open calls without end. */
  args_add(args, GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)MIN(options->max_concurrent_streams, (guint32)INT_MAX));
  /* The core lets a socket that says nothing sit for 120 s: half-open connections would pile up. */
  args_add(args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10 * 1000);
  /* Clients spread anew over brokers that came back, and leaks of a connection end, within some hours; streams that are
   * open then have ten minutes to end, and are resumed by their clients. The core spreads the age by a tenth. */
  args_add(args, GRPC_ARG_MAX_CONNECTION_AGE_MS, 6 * 3600 * 1000);
  args_add(args, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 600 * 1000);
  /* The core's default of 5 minutes answers our clients' pings with GOAWAY; below 5 s it is a flood. */
  args_add(args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5 * 1000);
  /* Clients may ping between calls as well, at that pace. */
  args_add(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  /* With it two processes share a port without a word, and each gets half of the clients. */
  args_add(args, GRPC_ARG_ALLOW_REUSEPORT, 0);
  return args;
}

grpc_channel_args *rpc_client_args_new(guint32 receive_max_bytes) {
  grpc_channel_args *args = args_new(receive_max_bytes);
  /* A process of the cluster that was restarted is back in a second or two: try soon, and never wait for minutes. */
  args_add(args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args_add(args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  args_add(args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 3000);
  /* Names of containers move to other addresses; the core's 30 s between look-ups is long for a failover. */
  args_add(args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 2000);
  /* Processes of a cluster reach each other directly, whatever proxy the environment names. */
  args_add(args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  /* No look-ups of TXT records for a configuration that we do not publish. */
  args_add(args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  /* Connections belong to their pool: forgetting an address closes them. */
  args_add(args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return args;
}

void rpc_args_free(grpc_channel_args *args) {
  g_free(args->args);
  g_free(args);
}
