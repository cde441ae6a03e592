/* Watches and probes; see presence.h.
 *
 * Invariants: a process that is followed has a watch, a probe or a timer, exactly one of the three; `gone` is said only
 * of a registration whose address was watched before, and at most DOUBTS_MAX times while its heartbeats contradict.
 * Owning thread: the loop. Failure modes: an address that can't be reached is tried again, more slowly up to a bound.
 */
#include "services/controller/presence.h"

#include <gio/gio.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "services/base/slog.h"

#define RETRY_FIRST_MS 20
/* For so long at most a process that is back stays unwatched, and one whose watch a cut ended unjudged. */
#define RETRY_MOST_MS 500
/* Loopback and a LAN refuse within a millisecond; who does not answer for so long is not known to be gone. */
#define PROBE_TIMEOUT_S 1
/* Used when an address names no port, which registration refuses. */
#define NO_PORT 0
/* A heartbeat that was on its way when its process died contradicts once; more often, it is the address that lies. */
#define DOUBTS_MAX 2

typedef struct Watched Watched;

/* A connection that is being tried; it may outlive what asked for it, since glib tells also of a cancelled one. */
typedef struct {
  Watched *watched; /* NULL: nobody wants to know any more */
  GCancellable *cancellable;
} Probe;

/* One registration. */
struct Watched {
  Presence *presence;
  NodeKind kind;
  gint32 id;
  guint64 epoch;
  char *address;
  RpcClientCall *call;
  Probe *probe;
  GSource *timer;
  guint delay_ms;
  guint doubts; /* how often it was said to be gone since it was watched last */
  /* was_watched: its address has answered, to this registration or to the one before; gone: and refuses now */
  gboolean was_watched, gone;
};

struct Presence {
  RpcClient *client;
  Loop *loop;
  PresenceGone gone;
  gpointer data;
  GHashTable *nodes; /* key of kind and id -> Watched */
};

static void watch(Watched *watched);

static gboolean is_broker(const Watched *watched) {
  return watched->kind == NODE_KIND(BROKER);
}

static const char *kind_key(const Watched *watched) {
  return is_broker(watched) ? "broker" : "coordinator";
}

/* ---- One after the other ---- */

static gboolean on_timer(gpointer data) {
  Watched *watched = data;
  g_source_destroy(watched->timer);
  g_clear_pointer(&watched->timer, g_source_unref);
  watch(watched);
  return G_SOURCE_REMOVE;
}

static void watch_later(Watched *watched) {
  watched->timer = loop_add_timeout(watched->presence->loop, watched->delay_ms, on_timer, watched);
  watched->delay_ms = MIN(watched->delay_ms * 2, RETRY_MOST_MS);
}

static void be_gone(Watched *watched) {
  watched->gone = TRUE;
  watched->doubts++;
  slog_warning(is_broker(watched)
                   ? "a broker's process is gone: its connection ended, and its address refuses new ones"
                   : "a coordinator's process is gone: its connection ended, and its address refuses new ones",
               kind_key(watched), SLOG_INT(watched->id), "epoch", SLOG_INT(watched->epoch), "peer_address",
               watched->address, NULL);
  watched->presence->gone(watched->kind, watched->id, watched->epoch, watched->presence->data);
}

/* ---- Probing ---- */

static void probe_done(GObject *source, GAsyncResult *result, gpointer data) {
  Probe *probe = data;
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketConnection) connection =
      g_socket_client_connect_to_host_finish(G_SOCKET_CLIENT(source), result, &error);
  Watched *watched = probe->watched;
  g_object_unref(probe->cancellable);
  g_free(probe);
  if (!watched)
    return;
  watched->probe = NULL;
  watch_later(watched);
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
    be_gone(watched); /* last: who hears of it may follow another image */
}

static void probe(Watched *watched) {
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_socket_client_set_timeout(client, PROBE_TIMEOUT_S);
  g_socket_client_set_enable_proxy(client, FALSE);
  watched->probe = g_new0(Probe, 1);
  *watched->probe = (Probe){.watched = watched, .cancellable = g_cancellable_new()};
  g_socket_client_connect_to_host_async(client, watched->address, NO_PORT, watched->probe->cancellable, probe_done,
                                        watched->probe);
}

/* ---- Watching ---- */

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  (void)message; /* whatever it says of itself, it is there */
  Watched *watched = state;
  if (!watched->was_watched)
    slog_info(is_broker(watched) ? "watches a broker's process" : "watches a coordinator's process", kind_key(watched),
              SLOG_INT(watched->id), "epoch", SLOG_INT(watched->epoch), NULL);
  watched->was_watched = TRUE;
  watched->gone = FALSE;
  watched->doubts = 0;
  watched->delay_ms = RETRY_FIRST_MS;
  rpc_client_call_read(call);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  (void)failure; /* why it ended is not worth a word: what the probe finds is */
  Watched *watched = state;
  g_clear_pointer(&watched->call, rpc_client_call_unref);
  if (watched->was_watched && !watched->gone)
    probe(watched);
  else
    watch_later(watched);
}

static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};

/* Each on a connection of its own: the pauses between tries are ours. The channel that failed while the process before
 * was away would go on refusing for seconds, and a process that dies within them would not be missed. */
static void watch(Watched *watched) {
  rpc_client_forget(watched->presence->client, watched->address);
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  watched->call = rpc_client_stream(watched->presence->client, watched->address, &grpc__health__v1__health__descriptor,
                                    "Watch", G_MAXINT64, watched->presence->loop, &EVENTS, watched);
  rpc_client_call_send(watched->call, &request.base, NULL, 0);
  rpc_client_call_half_close(watched->call);
  rpc_client_call_read(watched->call);
}

/* ---- Whom ---- */

static void watched_free(gpointer data) {
  Watched *watched = data;
  if (watched->call) {
    rpc_client_call_abandon(watched->call);
    rpc_client_call_unref(watched->call);
  }
  if (watched->probe) {
    watched->probe->watched = NULL;
    g_cancellable_cancel(watched->probe->cancellable);
  }
  if (watched->timer) {
    g_source_destroy(watched->timer);
    g_source_unref(watched->timer);
  }
  g_free(watched->address);
  g_free(watched);
}

static gboolean is_unknown(gpointer key, gpointer value, gpointer image) {
  (void)key;
  const Watched *watched = value;
  return is_broker(watched) ? !metadata_image_broker(image, watched->id)
                            : !metadata_image_coordinator(image, watched->id);
}

static gint64 node_key(NodeKind kind, gint32 id) {
  return ((gint64)kind << 32) | (guint32)id;
}

/* A new registration at the address of the one before: that address is known to be right, so it may be judged before
 * its watch has opened. Else a process that dies just after it came back is missed for its whole session. */
static void follow(Presence *presence, NodeKind kind, gint32 id, guint64 epoch, const char *address) {
  gint64 key = node_key(kind, id);
  const Watched *before = g_hash_table_lookup(presence->nodes, &key);
  if (!*address || (before && before->epoch == epoch))
    return;
  Watched *watched = g_new0(Watched, 1);
  *watched = (Watched){.presence = presence,
                       .kind = kind,
                       .id = id,
                       .epoch = epoch,
                       .address = g_strdup(address),
                       .delay_ms = RETRY_FIRST_MS,
                       .was_watched = before && before->was_watched && strcmp(before->address, address) == 0};
  g_hash_table_replace(presence->nodes, g_memdup2(&key, sizeof key), watched);
  watch(watched);
}

void presence_follow(Presence *presence, const MetadataImage *image) {
  g_hash_table_foreach_remove(presence->nodes, is_unknown, (gpointer)image);
  MetadataIter iter;
  metadata_iter_brokers(&iter, image, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));)
    follow(presence, NODE_KIND(BROKER), broker->id, broker->epoch, broker->peer_address);
  metadata_iter_coordinators(&iter, image);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    follow(presence, NODE_KIND(COORDINATOR), coordinator->id, coordinator->epoch, coordinator->address);
}

static Watched *find(const Presence *presence, NodeKind kind, gint32 id, guint64 epoch) {
  gint64 key = node_key(kind, id);
  Watched *watched = g_hash_table_lookup(presence->nodes, &key);
  return watched && watched->epoch == epoch ? watched : NULL;
}

void presence_heard(Presence *presence, NodeKind kind, gint32 id, guint64 epoch) {
  Watched *watched = find(presence, kind, id, epoch);
  if (!watched || !watched->gone)
    return;
  watched->gone = FALSE;
  watched->was_watched = watched->doubts < DOUBTS_MAX;
}

gboolean presence_is_gone(const Presence *presence, NodeKind kind, gint32 id, guint64 epoch) {
  const Watched *watched = find(presence, kind, id, epoch);
  return watched && watched->gone;
}

gboolean presence_is_watched(const Presence *presence, NodeKind kind, gint32 id, guint64 epoch) {
  const Watched *watched = find(presence, kind, id, epoch);
  return watched && watched->was_watched;
}

/* ---- Life ---- */

Presence *presence_new(RpcClient *client, Loop *loop, PresenceGone gone, gpointer data) {
  Presence *presence = g_new0(Presence, 1);
  *presence = (Presence){.client = client, .loop = loop, .gone = gone, .data = data};
  presence->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, watched_free);
  return presence;
}

void presence_stop(Presence *presence) {
  g_hash_table_remove_all(presence->nodes);
}

void presence_free(Presence *presence) {
  if (!presence)
    return;
  g_hash_table_unref(presence->nodes);
  g_free(presence);
}
