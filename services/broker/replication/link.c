/* A link: one Follow stream to a leading broker, for all partitions of this shard that it leads.
 *
 *   closed ──retry──► opening ──ready──► open ──lost, draining, or to be opened anew──► closed
 *
 * Positions and progress go out as they come, gathered for the turn of the loop that they come in; records come in and
 * go to their partitions. The stream is opened for one registration of this broker: with another one, it is opened anew
 * (REPLICATION.md, rule 8).
 *
 * Invariants: a link has at least one partition; the call is NULL exactly while it is closed. Thread: the shard's loop.
 * Failure modes: a leader that can't be reached is tried again, with growing pauses; a frame that does not decode ends
 * the stream. */
#include "services/base/slog.h"
#include "services/broker/front_internal.h"
#include "services/broker/replication/replication_internal.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 1000

struct ReplicationLink {
  Replication *replication;
  gint32 leader_id;
  char *address;        /* that the call goes to */
  guint64 broker_epoch; /* that it was opened with */
  RpcClientCall *call;
  gboolean ready;
  GQueue partitions; /* of Partition, by following.node */
  GQueue dirty;      /* of Partition, by following.dirty_node: have come on */
  GPtrArray *begins; /* of FollowPosition: to be told */
  Timer flush, reopen;
  gint64 retry_ms;
};

typedef Milena__Internal__V1__FollowRequest FollowRequest;
typedef Milena__Internal__V1__FollowResponse FollowResponse;

static void link_open(ReplicationLink *link);

gboolean replication_link_is_ready(const ReplicationLink *link) {
  return link->ready;
}

/* ---- sending ---- */

static void send_begins(ReplicationLink *link) {
  if (link->begins->len == 0)
    return;
  Milena__Internal__V1__FollowBegin begin = MILENA__INTERNAL__V1__FOLLOW_BEGIN__INIT;
  begin.n_positions = link->begins->len;
  begin.positions = (Milena__Internal__V1__FollowPosition **)link->begins->pdata;
  FollowRequest request = MILENA__INTERNAL__V1__FOLLOW_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_BEGIN;
  request.begin = &begin;
  rpc_client_call_send(link->call, &request.base, NULL, 0);
  g_ptr_array_set_size(link->begins, 0);
}

static void send_progress(ReplicationLink *link) {
  guint count = link->dirty.length;
  if (count == 0)
    return;
  g_autofree Milena__Internal__V1__FollowedTo *logs = g_new(Milena__Internal__V1__FollowedTo, count);
  g_autofree Milena__Internal__V1__FollowedTo **places = g_new(Milena__Internal__V1__FollowedTo *, count);
  guint n = 0;
  for (GList *node; (node = g_queue_pop_head_link(&link->dirty));) {
    Partition *partition = node->data;
    partition->following.dirty = FALSE;
    if (partition->following.state != FOLLOWING_FOLLOWS)
      continue;
    milena__internal__v1__followed_to__init(&logs[n]);
    logs[n].log_id = partition->log_id;
    logs[n].leader_epoch = partition->following.leader_epoch;
    replica_progress(partition->replica, &logs[n].written_offset, &logs[n].synced_offset);
    logs[n].log_start_offset = partition->saved_start;
    places[n] = &logs[n];
    n++;
  }
  Milena__Internal__V1__FollowProgress progress = MILENA__INTERNAL__V1__FOLLOW_PROGRESS__INIT;
  progress.n_logs = n;
  progress.logs = places;
  FollowRequest request = MILENA__INTERNAL__V1__FOLLOW_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_PROGRESS;
  request.progress = &progress;
  if (n > 0)
    rpc_client_call_send(link->call, &request.base, NULL, 0);
}

static void on_flush(Timer *timer, gpointer data) {
  (void)timer;
  ReplicationLink *link = data;
  if (!link->ready)
    return;
  send_begins(link);
  send_progress(link);
}

/* At the end of this turn of the loop. */
static void flush_soon(ReplicationLink *link) {
  if (!timer_is_set(&link->flush))
    timer_set(link->replication->shard->timers, &link->flush, 0, on_flush, link);
}

void replication_link_begin(ReplicationLink *link, Partition *partition, const ReplicaPosition *position) {
  Milena__Internal__V1__FollowPosition *told = g_new(Milena__Internal__V1__FollowPosition, 1);
  milena__internal__v1__follow_position__init(told);
  told->log_id = partition->log_id;
  told->leader_epoch = position->leader_epoch;
  told->end_offset = position->end_offset;
  told->synced_offset = position->synced_end;
  told->last_epoch = position->last_epoch;
  told->log_start_offset = partition->saved_start;
  g_ptr_array_add(link->begins, told);
  flush_soon(link);
}

void replication_link_progress(ReplicationLink *link, Partition *partition) {
  Following *following = &partition->following;
  if (following->dirty)
    return;
  following->dirty = TRUE;
  following->dirty_node.data = partition;
  g_queue_push_tail_link(&link->dirty, &following->dirty_node);
  flush_soon(link);
}

/* ---- closing ---- */

/* Nothing of the call comes any more. */
static void link_close(ReplicationLink *link) {
  if (link->call) {
    rpc_client_call_abandon(link->call);
    g_clear_pointer(&link->call, rpc_client_call_unref);
  }
  link->ready = FALSE;
  timer_clear(link->replication->shard->timers, &link->flush);
  g_ptr_array_set_size(link->begins, 0);
  for (GList *node; (node = g_queue_pop_head_link(&link->dirty));)
    ((Partition *)node->data)->following.dirty = FALSE;
  for (GList *node = link->partitions.head; node; node = node->next)
    following_link_lost(node->data);
}

static void on_reopen(Timer *timer, gpointer data) {
  (void)timer;
  link_open(data);
}

static void link_retry(ReplicationLink *link) {
  link_close(link);
  timer_set(link->replication->shard->timers, &link->reopen,
            g_get_monotonic_time() + link->retry_ms * G_TIME_SPAN_MILLISECOND, on_reopen, link);
  link->retry_ms = MIN(2 * link->retry_ms, RETRY_MAX_MS);
}

void replication_link_free(gpointer data) {
  ReplicationLink *link = data;
  INVARIANT(g_queue_is_empty(&link->partitions), "a link goes with its last partition");
  link_close(link);
  timer_clear(link->replication->shard->timers, &link->reopen);
  g_ptr_array_unref(link->begins);
  g_free(link->address);
  g_free(link);
}

/* ---- receiving ---- */

static Partition *followed(const ReplicationLink *link, guint64 log_id) {
  Partition *partition = partition_lookup(link->replication->shard, log_id);
  return partition && partition->following.link == link ? partition : NULL;
}

static Failure *take_batches(RpcMessage *message, const Milena__Internal__V1__FollowedLog *log, GArray *batches) {
  for (gsize i = 0; i < log->n_batches; i++) {
    const Milena__V1__EncodedBatch *proto = log->batches[i];
    LogBatch batch = LOG_BATCH_INIT;
    if (!proto->header || !proto->stamp)
      return failure_new(FAILURE(MALFORMED_MESSAGE), "a batch came without its header or stamp");
    g_autoptr(GBytes) records = rpc_message_share(message, &proto->records);
    Failure *failure = log_batch_from_proto(proto, records, &batch);
    if (!failure && log_batch_crc(&batch) != batch.crc32c)
      failure = failure_new(FAILURE(CORRUPT_BATCH),
                            "the batch at offset %" G_GINT64_FORMAT " came with another checksum than its bytes have",
                            batch.base_offset);
    if (failure) {
      log_batch_clear(&batch);
      return failure;
    }
    g_array_append_val(batches, batch);
  }
  return NULL;
}

static Failure *take_records(ReplicationLink *link, RpcMessage *message,
                             const Milena__Internal__V1__FollowRecords *records) {
  for (gsize i = 0; i < records->n_logs; i++) {
    Partition *partition = followed(link, records->logs[i]->log_id);
    if (!partition)
      continue;
    g_autoptr(GArray) batches = log_batch_array_new();
    Failure *failure = take_batches(message, records->logs[i], batches);
    if (failure)
      return failure_prefix(failure, partition->name);
    following_take_records(partition, records->logs[i], batches);
  }
  return NULL;
}

static void take_ready(ReplicationLink *link) {
  link->ready = TRUE;
  for (GList *node = link->partitions.head; node; node = node->next)
    following_link_opened(node->data);
}

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  ReplicationLink *link = state;
  if (!message)
    return;
  const FollowResponse *response = rpc_message_body(message);
  g_autoptr(Failure) failure = NULL;
  switch (response->frame_case) {
  case MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_READY:
    take_ready(link);
    break;
  case MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_MATCH: {
    Partition *partition = followed(link, response->match->log_id);
    if (partition)
      following_take_match(partition, response->match);
    break;
  }
  case MILENA__INTERNAL__V1__FOLLOW_RESPONSE__FRAME_RECORDS:
    failure = take_records(link, message, response->records);
    if (!failure)
      link->retry_ms = RETRY_MIN_MS; /* not before: what breaks each new stream is not tried in a hurry */
    break;
  default: /* draining: the stream ends when the broker does; the controller moves the leaderships */
    break;
  }
  if (failure) {
    slog_error("what a leader sent can't be read: the stream is opened anew", "leader", SLOG_INT(link->leader_id),
               "error", failure_message(failure), NULL);
    link_retry(link);
    return;
  }
  rpc_client_call_read(call);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  ReplicationLink *link = state;
  if (link->ready || link->retry_ms >= RETRY_MAX_MS)
    slog_warning("the stream of a leader was lost", "leader", SLOG_INT(link->leader_id), "error",
                 failure ? failure_message(failure) : "it ended", NULL);
  link_retry(link);
}

/* ---- opening ---- */

static void send_init(ReplicationLink *link) {
  const Shard *shard = link->replication->shard;
  Milena__Internal__V1__FollowInit init = MILENA__INTERNAL__V1__FOLLOW_INIT__INIT;
  init.format = REPLICATION_FORMAT;
  init.cluster_id = (char *)metadata_image_cluster_id(shard->image);
  init.broker_id = shard->broker->id;
  init.broker_epoch = link->broker_epoch;
  init.leader_id = link->leader_id;
  FollowRequest request = MILENA__INTERNAL__V1__FOLLOW_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_INIT;
  request.init = &init;
  rpc_client_call_send(link->call, &request.base, NULL, 0);
}

static void link_open(ReplicationLink *link) {
  static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};
  const Shard *shard = link->replication->shard;
  timer_clear(shard->timers, &link->reopen);
  const MetadataBroker *leader = shard->image ? metadata_image_broker(shard->image, link->leader_id) : NULL;
  if (link->call || !leader || shard->broker_epoch == 0 || link->replication->stopped)
    return; /* looked at again with the next metadata */
  g_free(link->address);
  link->address = g_strdup(leader->peer_address);
  link->broker_epoch = shard->broker_epoch;
  link->call =
      rpc_client_stream(shard->broker->client, link->address, &milena__internal__v1__replication_service__descriptor,
                        "Follow", G_MAXINT64, shard->loop, &EVENTS, link);
  send_init(link);
  rpc_client_call_read(link->call);
}

void replication_link_look(ReplicationLink *link) {
  const Shard *shard = link->replication->shard;
  const MetadataBroker *leader = metadata_image_broker(shard->image, link->leader_id);
  gboolean moved = leader && g_strcmp0(leader->peer_address, link->address) != 0;
  if (link->call && (moved || link->broker_epoch != shard->broker_epoch))
    link_close(link);
  if (!link->call && !timer_is_set(&link->reopen))
    link_open(link);
}

/* ---- partitions ---- */

ReplicationLink *replication_link_get(Replication *replication, gint32 leader_id) {
  ReplicationLink *link = g_hash_table_lookup(replication->links, GINT_TO_POINTER(leader_id));
  if (link)
    return link;
  link = g_new0(ReplicationLink, 1);
  *link = (ReplicationLink){.replication = replication,
                            .leader_id = leader_id,
                            .begins = g_ptr_array_new_with_free_func(g_free),
                            .retry_ms = RETRY_MIN_MS};
  g_queue_init(&link->partitions);
  g_queue_init(&link->dirty);
  g_hash_table_insert(replication->links, GINT_TO_POINTER(leader_id), link);
  return link;
}

void replication_link_add(ReplicationLink *link, Partition *partition) {
  partition->following.node.data = partition;
  g_queue_push_tail_link(&link->partitions, &partition->following.node);
  if (!link->call && !timer_is_set(&link->reopen) && link->replication->shard->image)
    link_open(link);
}

static void send_end(ReplicationLink *link, guint64 log_id) {
  Milena__Internal__V1__FollowEnd end = MILENA__INTERNAL__V1__FOLLOW_END__INIT;
  end.n_log_ids = 1;
  end.log_ids = &log_id;
  FollowRequest request = MILENA__INTERNAL__V1__FOLLOW_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__FOLLOW_REQUEST__FRAME_END;
  request.end = &end;
  rpc_client_call_send(link->call, &request.base, NULL, 0);
}

void replication_link_end(ReplicationLink *link, Partition *partition) {
  if (link->ready)
    send_end(link, partition->log_id);
}

void replication_link_remove(ReplicationLink *link, Partition *partition) {
  Following *following = &partition->following;
  g_queue_unlink(&link->partitions, &following->node);
  if (following->dirty) {
    g_queue_unlink(&link->dirty, &following->dirty_node);
    following->dirty = FALSE;
  }
  for (guint i = link->begins->len; i-- > 0;)
    if (((Milena__Internal__V1__FollowPosition *)link->begins->pdata[i])->log_id == partition->log_id)
      g_ptr_array_remove_index(link->begins, i);
  if (g_queue_is_empty(&link->partitions))
    g_hash_table_remove(link->replication->links, GINT_TO_POINTER(link->leader_id));
  else if (link->ready)
    send_end(link, partition->log_id);
}
