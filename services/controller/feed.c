/* Streams of metadata; see feed.h.
 *
 *   follower:  snapshot ──last part──► deltas ──behind the ring──► snapshot ...
 *   watcher:   image ──► changes
 *   either:    busy (the stream's queue is full) ──writable──► goes on from where it was
 *
 * Invariants:
 *  1. ring holds consecutive transactions; ring_base is the version before the first of them.
 *  2. A follower's `version` is that of the last frame queued for it; a snapshot's parts are all of one image.
 *  3. A stream is in `streams` from its opening until `closed`.
 * Owning thread: the host's loop. Failure modes: a stream that can't be served ends with its reason; its peer comes
 * back. */
#include "services/controller/feed.h"

#include <string.h>

#include "controller/metadata/view.h"
#include "services/base/slog.h"

#define RING_COUNT_MAX 4096
#define RING_BYTES_MAX ((gsize)16 * 1024 * 1024)
/* Records in one part of a snapshot: some 100 bytes each, so far below what stock clients refuse. */
#define PART_RECORDS 5000
#define IDLE_MS 2000

typedef struct {
  guint64 version;
  RpcMessage *frame;
} Recent;

typedef struct {
  Feed *feed;
  RpcCall *call;
  gboolean busy;
  /* Followers. */
  gboolean follower;
  guint64 version;     /* of the last frame */
  GPtrArray *snapshot; /* records that are being sent; NULL when none is */
  guint sent;          /* how many of them were */
  guint64 snapshot_version;
  /* Watchers. */
  MetadataImage *shown; /* what it knows; NULL before the first frame */
  char **names;         /* topics that it wants; empty for all */
  gint32 shown_active;
} Stream;

struct Feed {
  Host *host;
  GHashTable *streams; /* set of Stream */
  GQueue ring;         /* of Recent */
  guint64 ring_base;
  gsize ring_bytes;
  GSource *idle;
};

/* ---- The ring ---- */

static void ring_drop_first(Feed *feed) {
  Recent *recent = g_queue_pop_head(&feed->ring);
  feed->ring_base = recent->version;
  feed->ring_bytes -= rpc_message_size(recent->frame);
  rpc_message_unref(recent->frame);
  g_free(recent);
}

static void ring_add(Feed *feed, guint64 version, const GPtrArray *records) {
  Milena__Internal__V1__MetadataDelta delta = MILENA__INTERNAL__V1__METADATA_DELTA__INIT;
  delta.version = version;
  delta.n_records = records->len;
  delta.records = (MetadataRecord **)records->pdata;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA;
  frame.delta = &delta;
  Recent *recent = g_new(Recent, 1);
  *recent = (Recent){version, rpc_message_pack(&frame.base, NULL, 0)};
  feed->ring_bytes += rpc_message_size(recent->frame);
  g_queue_push_tail(&feed->ring, recent);
  while (feed->ring.length > RING_COUNT_MAX || (feed->ring.length > 1 && feed->ring_bytes > RING_BYTES_MAX))
    ring_drop_first(feed);
}

/* The first transaction after @version; the newest are looked at first, since most followers are near the end. */
static GList *ring_after(Feed *feed, guint64 version) {
  GList *found = NULL;
  for (GList *link = feed->ring.tail; link && ((Recent *)link->data)->version > version; link = link->prev)
    found = link;
  return found;
}

/* ---- Followers ---- */

static gboolean send_frame(Stream *stream, const Milena__Internal__V1__FollowMetadataResponse *frame) {
  RpcSendResult result = rpc_call_send(stream->call, &frame->base, NULL, 0);
  stream->busy = result != RPC_SENT;
  return !stream->busy;
}

static void begin_snapshot(Stream *stream) {
  MetadataImage *image = host_image(stream->feed->host);
  g_clear_pointer(&stream->snapshot, g_ptr_array_unref);
  stream->snapshot = metadata_image_to_records(image);
  stream->snapshot_version = metadata_image_version(image);
  stream->sent = 0;
}

static void send_snapshot_part(Stream *stream) {
  guint count = MIN(PART_RECORDS, stream->snapshot->len - stream->sent);
  Milena__Internal__V1__MetadataSnapshotPart part = MILENA__INTERNAL__V1__METADATA_SNAPSHOT_PART__INIT;
  part.version = stream->snapshot_version;
  part.n_records = count;
  part.records = (MetadataRecord **)stream->snapshot->pdata + stream->sent;
  part.last = stream->sent + count == stream->snapshot->len;
  part.active_controller_id = host_active_id(stream->feed->host);
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART;
  frame.snapshot_part = &part;
  send_frame(stream, &frame);
  stream->sent += count;
  if (part.last) {
    stream->version = stream->snapshot_version;
    g_clear_pointer(&stream->snapshot, g_ptr_array_unref);
  }
}

/* Versions that the ring does not reach, and those of a future that was lost, need a snapshot. */
static gboolean needs_snapshot(const Stream *stream) {
  const Feed *feed = stream->feed;
  guint64 now = metadata_image_version(host_image(feed->host));
  return stream->version == 0 || stream->version > now || (stream->version < now && stream->version < feed->ring_base);
}

static void send_deltas(Stream *stream) {
  for (GList *link = ring_after(stream->feed, stream->version); link && !stream->busy; link = link->next) {
    const Recent *recent = link->data;
    stream->version = recent->version;
    stream->busy = rpc_call_send_message(stream->call, recent->frame) != RPC_SENT;
  }
}

static void serve_follower(Stream *stream) {
  if (!stream->snapshot && needs_snapshot(stream))
    begin_snapshot(stream);
  while (stream->snapshot && !stream->busy)
    send_snapshot_part(stream);
  if (!stream->busy)
    send_deltas(stream);
}

static void send_idle(Stream *stream) {
  Milena__Internal__V1__MetadataIdle idle = MILENA__INTERNAL__V1__METADATA_IDLE__INIT;
  idle.version = metadata_image_version(host_image(stream->feed->host));
  idle.active_controller_id = host_active_id(stream->feed->host);
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_IDLE;
  frame.idle = &idle;
  send_frame(stream, &frame);
}

/* ---- Watchers ---- */

static void send_image(Stream *stream, MetadataImage *image, gint32 active) {
  Milena__V1__ClusterMetadata *cluster = NULL;
  failure_free(metadata_view_cluster(image, active, stream->names, g_strv_length(stream->names), TRUE, &cluster));
  Milena__V1__WatchMetadataResponse frame = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE;
  frame.image = cluster;
  stream->busy = rpc_call_send(stream->call, &frame.base, NULL, 0) != RPC_SENT;
  milena__v1__cluster_metadata__free_unpacked(cluster, NULL);
}

static void send_change(Stream *stream, MetadataImage *image, gint32 active) {
  Milena__V1__MetadataChange *change =
      metadata_view_change(stream->shown, image, active, stream->names, g_strv_length(stream->names));
  gboolean empty = change->n_topics == 0 && change->n_removed_topic_ids == 0 && change->n_brokers == 0 &&
                   change->n_removed_broker_ids == 0 && change->n_coordinators == 0;
  Milena__V1__WatchMetadataResponse frame = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_CHANGE;
  frame.change = change;
  if (!empty || active != stream->shown_active)
    stream->busy = rpc_call_send(stream->call, &frame.base, NULL, 0) != RPC_SENT;
  milena__v1__metadata_change__free_unpacked(change, NULL);
}

static void serve_watcher(Stream *stream) {
  MetadataImage *image = host_image(stream->feed->host);
  gint32 active = host_active_id(stream->feed->host);
  if (stream->shown)
    send_change(stream, image, active);
  else
    send_image(stream, image, active);
  MetadataImage *before = stream->shown;
  stream->shown = metadata_image_ref(image);
  stream->shown_active = active;
  metadata_image_unref(before);
}

/* ---- Streams ---- */

static void serve(Stream *stream) {
  if (stream->busy)
    return;
  if (stream->follower)
    serve_follower(stream);
  else
    serve_watcher(stream);
}

static void on_writable(RpcCall *call, gpointer state) {
  (void)call;
  Stream *stream = state;
  stream->busy = FALSE;
  serve(stream);
}

static void on_draining(RpcCall *call, gpointer state) {
  (void)state;
  rpc_call_finish(call, failure_new(FAILURE(DRAINING), "This controller is stopping. Go on with another."));
}

static void stream_free(gpointer value) {
  Stream *stream = value;
  g_clear_pointer(&stream->snapshot, g_ptr_array_unref);
  metadata_image_unref(stream->shown);
  g_strfreev(stream->names);
  g_free(stream);
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Stream *stream = state;
  g_hash_table_remove(stream->feed->streams, stream);
}

static Stream *stream_open(Feed *feed, RpcCall *call) {
  static const RpcCallEvents EVENTS = {.writable = on_writable, .draining = on_draining, .closed = on_closed};
  Stream *stream = g_new0(Stream, 1);
  stream->feed = feed;
  stream->call = call;
  g_hash_table_add(feed->streams, stream);
  rpc_call_set_events(call, &EVENTS, stream);
  return stream;
}

void feed_follow(Feed *feed, RpcCall *call, const Milena__Internal__V1__FollowMetadataRequest *request) {
  const char *ours = metadata_image_cluster_id(host_image(feed->host));
  if (*request->cluster_id && strcmp(request->cluster_id, ours) != 0) {
    rpc_call_finish(call, failure_new(FAILURE(CLUSTER_MISMATCH),
                                      "The follower belongs to the cluster %s, and this is the cluster %s. Point it at "
                                      "its own controllers.",
                                      request->cluster_id, ours));
    return;
  }
  Stream *stream = stream_open(feed, call);
  stream->follower = TRUE;
  stream->version = request->version;
  serve(stream);
  if (!stream->busy)
    send_idle(stream); /* also tells one that lacks nothing that it is heard */
}

void feed_watch(Feed *feed, RpcCall *call, const Milena__V1__WatchMetadataRequest *request) {
  Stream *stream = stream_open(feed, call);
  stream->names = g_new0(char *, request->n_topics + 1);
  for (gsize i = 0; i < request->n_topics; i++)
    stream->names[i] = g_strdup(request->topics[i]);
  serve(stream);
}

/* ---- The feed ---- */

static void serve_all(Feed *feed) {
  GHashTableIter iter;
  gpointer stream;
  g_hash_table_iter_init(&iter, feed->streams);
  while (g_hash_table_iter_next(&iter, &stream, NULL))
    serve(stream);
}

static void on_applied(MetadataImage *image, const GPtrArray *records, gpointer data) {
  Feed *feed = data;
  ring_add(feed, metadata_image_version(image), records);
  serve_all(feed);
}

static void on_active(gboolean active, gpointer data) {
  (void)active;
  serve_all(data); /* watchers are told who is active */
}

static gboolean on_idle(gpointer data) {
  Feed *feed = data;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, feed->streams);
  while (g_hash_table_iter_next(&iter, &value, NULL)) {
    Stream *stream = value;
    if (stream->follower && !stream->busy)
      send_idle(stream);
  }
  return G_SOURCE_CONTINUE;
}

Feed *feed_new(Host *host) {
  Feed *feed = g_new0(Feed, 1);
  feed->host = host;
  feed->streams = g_hash_table_new_full(NULL, NULL, stream_free, NULL);
  feed->ring_base = metadata_image_version(host_image(host));
  g_queue_init(&feed->ring);
  host_listen(host, &(HostListener){on_active, on_applied, feed});
  return feed;
}

void feed_start(Feed *feed) {
  feed->idle = g_timeout_source_new(IDLE_MS);
  g_source_set_callback(feed->idle, on_idle, feed, NULL);
  g_source_attach(feed->idle, loop_context(host_loop(feed->host)));
}

void feed_stop(Feed *feed) {
  g_source_destroy(feed->idle);
  g_clear_pointer(&feed->idle, g_source_unref);
}

void feed_free(Feed *feed) {
  if (!feed)
    return;
  while (feed->ring.length > 0)
    ring_drop_first(feed);
  g_hash_table_unref(feed->streams);
  g_free(feed);
}
