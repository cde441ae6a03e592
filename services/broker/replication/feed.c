/* ReplicationService: a follower's stream, from the leader's side.
 *
 *   opened ──init──► ready ──closed, or the broker drains──► ended
 *     each log:  begin ──► asked (its shard compares) ──goes on──► fed: read, queue, send, read on ...
 *                                                   └──else──► told, and forgotten
 *
 * Each log that is fed has at most one read under way, which waits at the partition's shard until there is more. What
 * the reads of one turn of the loop brought goes out in one frame. A follower that does not take what is sent (the
 * stream is busy) stops the reads, so it costs a bounded amount, and nobody else anything.
 *
 * Invariants: a Feed lives until its stream has forgotten it and neither a read nor a begin of it is under way; the
 * stream lives until its call is closed and its last feed is gone. Thread: the loop that the call came to. Failure
 * modes: an init of another cluster, for another broker, or of a newer format ends the call with its reason. */
#include "services/base/slog.h"
#include "services/broker/front_internal.h"
#include "services/broker/replication/replication_internal.h"

/* Of one log in one frame: HTTP/2 interleaves the frames of streams, not of logs. Where many logs share a stream each
 * gets less, so that a follower that fetches everything anew costs its leader no more memory for that. */
#define CHUNK_MIN_BYTES (16 << 10)
#define CHUNK_MAX_BYTES (1 << 20)
#define STREAM_BYTES (16 << 20)
/* Of one frame, unless a single log has more: the largest batch must fit into a message, and two of them would not. */
#define FRAME_BYTES (4 << 20)
#define RETRY_MS 50

typedef Milena__Internal__V1__FollowRequest FollowRequest;
typedef Milena__Internal__V1__FollowResponse FollowResponse;

typedef struct {
  Front *front;
  RpcCall *call; /* NULL once it is closed */
  guint holders; /* the call, and each feed */
  gboolean ready, busy, finished;
  gint32 broker_id;
  guint64 broker_epoch;
  GHashTable *feeds; /* log id → Feed */
  GQueue full;       /* of Feed, by out_node: have something to send */
  GQueue idle;       /* of Feed, by out_node: would read on, but the stream is busy */
  Timer flush;
} Stream;

/* One log of one stream. */
typedef struct {
  guint64 log_id; /* first: the key */
  Stream *stream;
  gboolean forgotten;
  guint under_way; /* begins and reads */
  gint32 leader_epoch;
  guint64 visit; /* what the shard knows it by, from its begin on */
  gint64 next_offset, told_watermark, told_start;
  gint64 paced_until_us;  /* by the throttle of replicas that catch up: PartitionRead */
  PartitionRead *read;    /* under way, or NULL */
  GArray *batches;        /* to be sent; NULL: none */
  PartitionBounds bounds; /* of those */
  GList out_node;
  enum { FEED_QUIET, FEED_FULL, FEED_IDLE } place; /* of out_node */
  Timer retry;
} Feed;

static void feed_read(Feed *feed);

static void stream_release(Stream *stream) {
  if (--stream->holders > 0)
    return;
  g_hash_table_unref(stream->feeds);
  g_free(stream);
}

static void stream_finish(Stream *stream, Failure *failure) {
  if (stream->finished || !stream->call) {
    failure_free(failure);
    return;
  }
  stream->finished = TRUE;
  rpc_call_finish(stream->call, failure);
}

static void stream_send(Stream *stream, const FollowResponse *response, GBytes *const *owners, gsize owner_count) {
  if (stream->call && !stream->finished &&
      rpc_call_send(stream->call, &response->base, owners, owner_count) == RPC_BUSY)
    stream->busy = TRUE;
}

/* ---- feeds ---- */

static void feed_place(Feed *feed, int place) {
  Stream *stream = feed->stream;
  if (feed->place != FEED_QUIET)
    g_queue_unlink(feed->place == FEED_FULL ? &stream->full : &stream->idle, &feed->out_node);
  feed->place = place;
  feed->out_node.data = feed;
  if (place != FEED_QUIET)
    g_queue_push_tail_link(place == FEED_FULL ? &stream->full : &stream->idle, &feed->out_node);
}

static void feed_free_if_over(Feed *feed) {
  if (!feed->forgotten || feed->under_way > 0)
    return;
  Stream *stream = feed->stream;
  g_clear_pointer(&feed->batches, g_array_unref);
  g_free(feed);
  stream_release(stream);
}

static Shard *feed_shard(const Feed *feed) {
  return broker_owner(feed->stream->front->shard->broker, feed->log_id);
}

static void end_visit(const Feed *feed, guint64 visit) {
  if (visit > 0)
    partition_tell_left(feed_shard(feed), front_loop(feed->stream->front), feed->log_id, feed->stream->broker_id,
                        visit);
}

/* The stream drops it; what is under way comes back to nobody. */
static void feed_forget(gpointer data) {
  Feed *feed = data;
  end_visit(feed, feed->visit);
  feed->forgotten = TRUE;
  feed_place(feed, FEED_QUIET);
  timer_clear(front_timers(feed->stream->front), &feed->retry);
  if (feed->read)
    partition_read_cancel(feed->read);
  feed_free_if_over(feed);
}

static void send_match(Stream *stream, guint64 log_id, gint32 leader_epoch, Milena__Internal__V1__FollowVerdict verdict,
                       const PartitionBegin *begin, const Failure *failure) {
  Milena__Internal__V1__FollowMatch match = MILENA__INTERNAL__V1__FOLLOW_MATCH__INIT;
  match.log_id = log_id;
  match.leader_epoch = leader_epoch;
  match.verdict = verdict;
  if (begin) {
    match.epoch = begin->epoch;
    match.end_offset = begin->end_offset;
  }
  if (failure)
    match.status = failure_to_status(failure);
  FollowResponse response = MILENA__INTERNAL__V1__FOLLOW_RESPONSE__INIT;
  response.frame_case = MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_MATCH;
  response.match = &match;
  stream_send(stream, &response, NULL, 0);
  if (match.status)
    google__rpc__status__free_unpacked(match.status, NULL);
}

/* It can't be fed (any more): the follower asks anew. */
static void feed_refuse(Feed *feed, const Failure *failure) {
  send_match(feed->stream, feed->log_id, feed->leader_epoch,
             MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_REFUSED, NULL, failure);
  g_hash_table_remove(feed->stream->feeds, &feed->log_id);
}

/* ---- sending ---- */

static void fill_log(Feed *feed, Milena__Internal__V1__FollowedLog *log, LogBatchProto *protos,
                     Milena__V1__EncodedBatch **places, GPtrArray *owners) {
  milena__internal__v1__followed_log__init(log);
  log->log_id = feed->log_id;
  log->leader_epoch = feed->leader_epoch;
  log->high_watermark = feed->bounds.high_watermark;
  log->log_start_offset = feed->bounds.log_start_offset;
  log->n_batches = feed->batches->len;
  log->batches = places;
  for (guint i = 0; i < feed->batches->len; i++) {
    const LogBatch *batch = LOG_BATCH_AT(feed->batches, i);
    log_batch_to_proto(batch, &protos[i]);
    places[i] = &protos[i].batch;
    g_ptr_array_add(owners, batch->records);
  }
}

/* How many of those that are full make the next frame. */
static guint next_frame(const Stream *stream, guint *ret_batch_count) {
  guint log_count = 0;
  gsize bytes = 0;
  *ret_batch_count = 0;
  for (GList *node = stream->full.head; node; node = node->next, log_count++) {
    const GArray *batches = ((const Feed *)node->data)->batches;
    bytes += log_batch_array_payload_bytes(batches);
    if (log_count > 0 && bytes > FRAME_BYTES)
      break;
    *ret_batch_count += batches->len;
  }
  return log_count;
}

/* One frame of the first that are full. Returns how many. */
static guint send_records(Stream *stream) {
  guint batch_count, log_count = next_frame(stream, &batch_count);
  g_autofree Milena__Internal__V1__FollowedLog *logs = g_new(Milena__Internal__V1__FollowedLog, log_count);
  g_autofree Milena__Internal__V1__FollowedLog **log_places = g_new(Milena__Internal__V1__FollowedLog *, log_count);
  g_autofree LogBatchProto *protos = g_new(LogBatchProto, MAX(batch_count, 1));
  g_autofree Milena__V1__EncodedBatch **places = g_new(Milena__V1__EncodedBatch *, MAX(batch_count, 1));
  g_autoptr(GPtrArray) owners = g_ptr_array_new();
  guint filled = 0;
  GList *node = stream->full.head;
  for (guint i = 0; i < log_count; i++, node = node->next) {
    Feed *feed = node->data;
    fill_log(feed, &logs[i], &protos[filled], &places[filled], owners);
    filled += feed->batches->len;
    log_places[i] = &logs[i];
  }
  Milena__Internal__V1__FollowRecords records = MILENA__INTERNAL__V1__FOLLOW_RECORDS__INIT;
  records.n_logs = log_count;
  records.logs = log_places;
  FollowResponse response = MILENA__INTERNAL__V1__FOLLOW_RESPONSE__INIT;
  response.frame_case = MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_RECORDS;
  response.records = &records;
  stream_send(stream, &response, (GBytes *const *)owners->pdata, owners->len);
  return log_count;
}

/* Send what is there while the stream has room; each log reads on, now or when there is room again. */
static void send_full(Stream *stream) {
  while (stream->full.length > 0 && !stream->busy && stream->call) {
    guint count = send_records(stream);
    for (guint i = 0; i < count; i++) {
      Feed *feed = stream->full.head->data;
      g_clear_pointer(&feed->batches, g_array_unref);
      feed_place(feed, stream->busy ? FEED_IDLE : FEED_QUIET);
      if (!stream->busy)
        feed_read(feed);
    }
  }
}

static void on_flush(Timer *timer, gpointer data) {
  (void)timer;
  send_full(data);
}

/* ---- reading ---- */

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  feed_read(data);
}

static void take_read(Feed *feed, PartitionRead *read) {
  if (read->failure && failure_reason(read->failure) == FAILURE(OVERLOADED)) {
    timer_set(front_timers(feed->stream->front), &feed->retry,
              g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND, on_retry, feed);
    return;
  }
  if (read->failure) {
    feed_refuse(feed, read->failure);
    return;
  }
  feed->batches = g_steal_pointer(&read->batches);
  feed->paced_until_us = read->paced_until_us;
  feed->bounds = read->bounds;
  feed->told_watermark = read->bounds.high_watermark;
  feed->told_start = read->bounds.log_start_offset;
  if (feed->batches->len > 0)
    feed->next_offset = log_batch_next_offset(LOG_BATCH_AT(feed->batches, feed->batches->len - 1));
  feed_place(feed, FEED_FULL);
  if (!timer_is_set(&feed->stream->flush))
    timer_set(front_timers(feed->stream->front), &feed->stream->flush, 0, on_flush, feed->stream);
}

static void on_read(PartitionRead *read, gpointer user_data) {
  Feed *feed = user_data;
  feed->read = NULL;
  if (!feed->forgotten)
    take_read(feed, read);
  feed->under_way--; /* only now: take_read may have forgotten it */
  feed_free_if_over(feed);
  partition_read_free(read);
}

static gsize chunk_bytes(const Stream *stream) {
  return CLAMP(STREAM_BYTES / MAX(g_hash_table_size(stream->feeds), 1), CHUNK_MIN_BYTES, CHUNK_MAX_BYTES);
}

static void feed_read(Feed *feed) {
  PartitionRead *read = partition_read_new();
  read->log_id = feed->log_id;
  read->leader_epoch = feed->leader_epoch;
  read->from_offset = feed->next_offset;
  read->max_bytes = chunk_bytes(feed->stream);
  read->wait_until_us = G_MAXINT64;
  read->for_follower = TRUE;
  read->told_watermark = feed->told_watermark;
  read->told_start = feed->told_start;
  read->follower_id = feed->stream->broker_id;
  read->paced_until_us = feed->paced_until_us;
  read->done = on_read;
  read->user_data = feed;
  feed->read = read;
  feed->under_way++;
  partition_read_start(read, feed_shard(feed), front_loop(feed->stream->front));
}

/* ---- what the follower says ---- */

static void take_answer(Feed *feed, const PartitionBegin *begin) {
  static const Milena__Internal__V1__FollowVerdict VERDICTS[] = {
      [REPLICA_GOES_ON] = MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_GOES_ON,
      [REPLICA_DIVERGED] = MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_DIVERGED,
      [REPLICA_TOO_OLD] = MILENA__INTERNAL__V1__FOLLOW_VERDICT__FOLLOW_VERDICT_TOO_OLD,
  };
  if (begin->failure) {
    feed_refuse(feed, begin->failure);
    return;
  }
  send_match(feed->stream, feed->log_id, feed->leader_epoch, VERDICTS[begin->match], begin, NULL);
  feed->visit = begin->visit;
  if (begin->match == REPLICA_GOES_ON)
    feed_read(feed);
  else
    g_hash_table_remove(feed->stream->feeds, &feed->log_id);
}

static void on_begun(PartitionBegin *begin, gpointer user_data) {
  Feed *feed = user_data;
  if (feed->forgotten)
    end_visit(feed, begin->visit);
  else
    take_answer(feed, begin);
  feed->under_way--;
  feed_free_if_over(feed);
  partition_begin_free(begin);
}

/* A log that is followed anew begins a feed of its own; what the old one has under way is forgotten with it. */
static void take_position(Stream *stream, const Milena__Internal__V1__FollowPosition *told) {
  Feed *feed = g_new0(Feed, 1);
  *feed = (Feed){.log_id = told->log_id,
                 .stream = stream,
                 .under_way = 1,
                 .leader_epoch = told->leader_epoch,
                 .next_offset = told->end_offset,
                 .told_watermark = -1,
                 .told_start = -1};
  stream->holders++;
  g_hash_table_replace(stream->feeds, &feed->log_id, feed);
  PartitionBegin *begin = partition_begin_new();
  begin->log_id = told->log_id;
  begin->broker_id = stream->broker_id;
  begin->broker_epoch = stream->broker_epoch;
  begin->log_start = told->log_start_offset;
  begin->position = (ReplicaPosition){told->leader_epoch, told->end_offset, told->synced_offset, told->last_epoch};
  begin->done = on_begun;
  begin->user_data = feed;
  partition_begin_start(begin, feed_shard(feed), front_loop(stream->front));
}

/* Sorted out by the shards that own the logs. */
static void take_progress(Stream *stream, const Milena__Internal__V1__FollowProgress *progress) {
  const Broker *broker = stream->front->shard->broker;
  g_autofree GArray **by_shard = g_new0(GArray *, broker->shard_count);
  for (gsize i = 0; i < progress->n_logs; i++) {
    const Milena__Internal__V1__FollowedTo *to = progress->logs[i];
    GArray **array = &by_shard[broker_owner(broker, to->log_id)->index];
    if (!*array)
      *array = g_array_new(FALSE, FALSE, sizeof(PartitionProgress));
    const PartitionProgress come = {to->log_id, to->leader_epoch, to->written_offset, to->synced_offset,
                                    to->log_start_offset};
    g_array_append_val(*array, come);
  }
  for (guint i = 0; i < broker->shard_count; i++)
    if (by_shard[i])
      partition_tell_progress(broker->shards[i], front_loop(stream->front), stream->broker_id, stream->broker_epoch,
                              by_shard[i]);
}

static Failure *check_init(const Stream *stream, const Milena__Internal__V1__FollowInit *init) {
  const char *cluster_id = metadata_image_cluster_id(front_image(stream->front));
  if (init->format > REPLICATION_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "broker %d follows by version %u of the protocol, and this broker knows %d: upgrade this broker",
                       init->broker_id, init->format, REPLICATION_FORMAT);
  if (*cluster_id && strcmp(cluster_id, init->cluster_id) != 0)
    return failure_new(FAILURE(CLUSTER_MISMATCH), "broker %d belongs to the cluster %s, and this one to %s",
                       init->broker_id, init->cluster_id, cluster_id);
  if (init->leader_id != front_broker_id(stream->front))
    return failure_new(FAILURE(NOT_LEADER),
                       "broker %d wants to follow broker %d, and this is broker %d: its metadata "
                       "is out of date, or an address is given twice",
                       init->broker_id, init->leader_id, front_broker_id(stream->front));
  return NULL;
}

static Failure *take_init(Stream *stream, const Milena__Internal__V1__FollowInit *init) {
  Failure *failure = stream->ready ? failure_new(FAILURE(INVALID_FIELD), "a stream begins once") : NULL;
  if (!failure)
    failure = check_init(stream, init);
  if (failure)
    return failure;
  stream->ready = TRUE;
  stream->broker_id = init->broker_id;
  stream->broker_epoch = init->broker_epoch;
  Milena__Internal__V1__FollowReady ready = MILENA__INTERNAL__V1__FOLLOW_READY__INIT;
  ready.format = REPLICATION_FORMAT;
  FollowResponse response = MILENA__INTERNAL__V1__FOLLOW_RESPONSE__INIT;
  response.frame_case = MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_READY;
  response.ready = &ready;
  stream_send(stream, &response, NULL, 0);
  return NULL;
}

static Failure *take_frame(Stream *stream, const FollowRequest *request) {
  if (request->frame_case == MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_INIT)
    return take_init(stream, request->init);
  if (!stream->ready)
    return failure_new(FAILURE(INVALID_FIELD), "the first frame of a follower must be init");
  switch (request->frame_case) {
  case MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_BEGIN:
    for (gsize i = 0; i < request->begin->n_positions; i++)
      take_position(stream, request->begin->positions[i]);
    return NULL;
  case MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_PROGRESS:
    take_progress(stream, request->progress);
    return NULL;
  case MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_END:
    for (gsize i = 0; i < request->end->n_log_ids; i++)
      g_hash_table_remove(stream->feeds, &request->end->log_ids[i]);
    return NULL;
  default:
    return failure_new(FAILURE(INVALID_FIELD),
                       "a follower's frame is empty, or of a kind that this version does not know");
  }
}

/* ---- the call ---- */

static void on_message(RpcCall *call, RpcMessage *message, gpointer state) {
  Stream *stream = state;
  if (!message) {
    stream_finish(stream, NULL);
    return;
  }
  Failure *failure = take_frame(stream, rpc_message_body(message));
  if (failure)
    stream_finish(stream, failure);
  else
    rpc_call_read(call);
}

static void on_writable(RpcCall *call, gpointer state) {
  (void)call;
  Stream *stream = state;
  stream->busy = FALSE;
  send_full(stream);
  for (GList *node; !stream->busy && (node = stream->idle.head);) {
    Feed *feed = node->data;
    feed_place(feed, FEED_QUIET);
    feed_read(feed);
  }
}

static void on_draining(RpcCall *call, gpointer state) {
  (void)call;
  stream_finish(state, failure_new(FAILURE(DRAINING), "this broker stops: its leaderships move to other brokers"));
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Stream *stream = state;
  stream->call = NULL;
  timer_clear(front_timers(stream->front), &stream->flush);
  g_hash_table_remove_all(stream->feeds);
  stream_release(stream);
}

static void follow(RpcCall *call, gpointer user_data) {
  static const RpcCallEvents EVENTS = {on_message, on_writable, on_draining, on_closed};
  Stream *stream = g_new0(Stream, 1);
  *stream = (Stream){.front = user_data,
                     .call = call,
                     .holders = 1,
                     .feeds = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, feed_forget)};
  g_queue_init(&stream->full);
  g_queue_init(&stream->idle);
  rpc_call_set_events(call, &EVENTS, stream);
  rpc_call_read(call);
}

const RpcMethodHandler REPLICATION_SERVICE_HANDLERS[] = {
    {.name = "Follow", .stream = follow},
    {.name = NULL},
};
