/* Streams of metadata; see feed.h.
 *
 *   follower:  snapshot ──last part──► deltas ──behind the ring──► snapshot ...
 *              ahead of this controller: waits, with idle frames, until this one has what it has
 *   watcher:   image ──► changes
 *   either:    busy (the stream's queue is full) ──writable──► goes on from where it was
 *
 * Invariants:
 *  1. ring holds consecutive transactions, each with the version before it; ring_base is that of the first of them.
 *  2. A follower's `version` is that of the last frame queued for it; a snapshot's parts are all of one image.
 *  3. A stream is in `streams` from its opening until `closed`.
 *  4. Only what is committed is told: all of it comes from the host's image and `applied`.
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
/* How often it is looked whether another controller is active, which followers then hear at once. */
#define LOOK_MS 100
/* A follower takes a stream for dead after six of them. */
#define IDLE_LOOKS 5
/* Elections take a second or two: a controller that knows no active one for longer may be cut off from the others. */
#define CUT_OFF_US (4 * (gint64)G_USEC_PER_SEC)

typedef struct {
  guint64 base, version;
  RpcMessage *frame;
} Recent;

/* An image as records, shared by the streams that send it: several followers often come at once. */
typedef struct {
  gint refs;
  guint64 version;
  GPtrArray *records;
} Snapshot;

typedef struct {
  Feed *feed;
  RpcCall *call;
  gboolean busy;
  /* Followers. */
  gboolean follower;
  guint64 version;    /* of the last frame */
  Snapshot *snapshot; /* that is being sent, a reference; NULL when none is */
  guint sent;         /* how many of its records were */
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
  Snapshot *snapshot; /* the one that some stream sends; borrowed: NULL when none does */
  GSource *timer;
  guint looks;
  gint32 active;       /* as of the last look */
  gint64 active_at_us; /* when one was last known */
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
  const Recent *last = g_queue_peek_tail(&feed->ring);
  Milena__Internal__V1__MetadataDelta delta = MILENA__INTERNAL__V1__METADATA_DELTA__INIT;
  delta.version = version;
  delta.base_version = last ? last->version : feed->ring_base;
  delta.n_records = records->len;
  delta.records = (MetadataRecord **)records->pdata;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA;
  frame.delta = &delta;
  Recent *recent = g_new(Recent, 1);
  *recent = (Recent){delta.base_version, version, rpc_message_pack(&frame.base, NULL, 0)};
  feed->ring_bytes += rpc_message_size(recent->frame);
  g_queue_push_tail(&feed->ring, recent);
  while (feed->ring.length > RING_COUNT_MAX || (feed->ring.length > 1 && feed->ring_bytes > RING_BYTES_MAX))
    ring_drop_first(feed);
}

static void ring_reset(Feed *feed, guint64 version) {
  while (feed->ring.length > 0)
    ring_drop_first(feed);
  feed->ring_base = version;
}

/* The first transaction after @version; the newest are looked at first, since most followers are near the end. */
static GList *ring_after(const Feed *feed, guint64 version) {
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

static void snapshot_release(Stream *stream) {
  Snapshot *snapshot = g_steal_pointer(&stream->snapshot);
  if (!snapshot || --snapshot->refs > 0)
    return;
  if (stream->feed->snapshot == snapshot)
    stream->feed->snapshot = NULL;
  g_ptr_array_unref(snapshot->records);
  g_free(snapshot);
}

static void begin_snapshot(Stream *stream) {
  Feed *feed = stream->feed;
  MetadataImage *image = host_image(feed->host);
  guint64 version = metadata_image_version(image);
  snapshot_release(stream);
  if (!feed->snapshot || feed->snapshot->version != version) {
    feed->snapshot = g_new0(Snapshot, 1);
    *feed->snapshot = (Snapshot){.version = version, .records = metadata_image_to_records(image)};
  }
  feed->snapshot->refs++;
  stream->snapshot = feed->snapshot;
  stream->sent = 0;
}

static void send_snapshot_part(Stream *stream) {
  const Snapshot *snapshot = stream->snapshot;
  guint count = MIN(PART_RECORDS, snapshot->records->len - stream->sent);
  Milena__Internal__V1__MetadataSnapshotPart part = MILENA__INTERNAL__V1__METADATA_SNAPSHOT_PART__INIT;
  part.version = snapshot->version;
  part.n_records = count;
  part.records = (MetadataRecord **)snapshot->records->pdata + stream->sent;
  part.last = stream->sent + count == snapshot->records->len;
  part.active_controller_id = host_active_id(stream->feed->host);
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART;
  frame.snapshot_part = &part;
  send_frame(stream, &frame);
  stream->sent += count;
  if (part.last) {
    stream->version = snapshot->version;
    snapshot_release(stream);
  }
}

/* Versions that the ring does not lead on from need a snapshot. One that is ahead of us needs nothing yet: it was told
 * what is committed by a controller that heard of it before. */
static gboolean needs_snapshot(const Stream *stream) {
  const Feed *feed = stream->feed;
  if (stream->version == 0)
    return TRUE;
  if (stream->version >= metadata_image_version(host_image(feed->host)))
    return FALSE;
  const GList *next = ring_after(feed, stream->version);
  return !next || ((const Recent *)next->data)->base != stream->version;
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
  idle.cut_off = g_get_monotonic_time() - stream->feed->active_at_us > CUT_OFF_US;
  Milena__Internal__V1__FollowMetadataResponse frame = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_IDLE;
  frame.idle = &idle;
  send_frame(stream, &frame);
}

/* ---- Watchers ---- */

static void send_watch_frame(const Milena__V1__WatchMetadataResponse *frame, gpointer user_data) {
  Stream *stream = user_data;
  stream->busy = rpc_call_send(stream->call, &frame->base, NULL, 0) != RPC_SENT;
}

static void send_image(Stream *stream, MetadataImage *image, gint32 active) {
  Milena__V1__ClusterMetadata *cluster = NULL;
  failure_free(metadata_view_cluster(image, active, stream->names, g_strv_length(stream->names), TRUE, &cluster));
  metadata_view_image_frames(cluster, send_watch_frame, stream);
  milena__v1__cluster_metadata__free_unpacked(cluster, NULL);
}

static void send_change(Stream *stream, MetadataImage *image, gint32 active) {
  Milena__V1__MetadataChange *change =
      metadata_view_change(stream->shown, image, active, stream->names, g_strv_length(stream->names));
  gboolean empty = change->n_topics == 0 && change->n_removed_topic_ids == 0 && change->n_brokers == 0 &&
                   change->n_removed_broker_ids == 0 && change->n_coordinators == 0;
  if (!empty || active != stream->shown_active)
    metadata_view_change_frames(change, send_watch_frame, stream);
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
  snapshot_release(stream);
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
  if (!*ours) {
    rpc_call_finish(call, failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                      "This controller has no metadata yet: it waits for its cluster, or is being "
                                      "added to one. Follow another."));
    return;
  }
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
  guint64 version = metadata_image_version(image);
  if (records)
    ring_add(feed, version, records);
  else
    ring_reset(feed, version); /* replaced by another controller's: nothing leads to it from the versions before */
  serve_all(feed);
}

static void send_idles(Feed *feed) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, feed->streams);
  while (g_hash_table_iter_next(&iter, &value, NULL)) {
    Stream *stream = value;
    if (stream->follower && !stream->busy)
      send_idle(stream);
  }
}

/* Another controller is active, or none is known any more: followers ask it from now on, watchers are told. */
static void look(Feed *feed) {
  gint32 active = host_active_id(feed->host);
  gboolean changed = active != feed->active;
  feed->active = active;
  if (active >= 0)
    feed->active_at_us = g_get_monotonic_time();
  if (changed)
    serve_all(feed);
  if (!changed && ++feed->looks % IDLE_LOOKS != 0)
    return;
  send_idles(feed);
}

static void on_active(gboolean active, gpointer data) {
  (void)active;
  look(data);
}

static gboolean on_timer(gpointer data) {
  look(data);
  return G_SOURCE_CONTINUE;
}

Feed *feed_new(Host *host) {
  Feed *feed = g_new0(Feed, 1);
  feed->host = host;
  feed->streams = g_hash_table_new_full(NULL, NULL, stream_free, NULL);
  feed->ring_base = metadata_image_version(host_image(host));
  feed->active = -1;
  feed->active_at_us = g_get_monotonic_time();
  g_queue_init(&feed->ring);
  host_listen(host, &(HostListener){.active = on_active, .applied = on_applied, .data = feed});
  return feed;
}

void feed_start(Feed *feed) {
  feed->timer = g_timeout_source_new(LOOK_MS);
  g_source_set_callback(feed->timer, on_timer, feed, NULL);
  g_source_attach(feed->timer, loop_context(host_loop(feed->host)));
}

void feed_stop(Feed *feed) {
  g_source_destroy(feed->timer);
  g_clear_pointer(&feed->timer, g_source_unref);
}

void feed_free(Feed *feed) {
  if (!feed)
    return;
  while (feed->ring.length > 0)
    ring_drop_first(feed);
  g_hash_table_unref(feed->streams);
  g_free(feed);
}
