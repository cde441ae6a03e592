/* A link: one ProduceStream to another broker, for all items of this loop that it leads and that are answered alike.
 *
 *   opening (items wait) ──ready──► open (items are sent) ──draining──► half-closed (answers come in) ──► closed
 *
 * One stream keeps what goes to one partition in its order, however many calls it came from, and costs no call for each
 * item. An item that waits was not written: when the link breaks it finds another way. An item that was sent and not
 * answered has an unknown outcome.
 *
 * Invariant: each item of the link is either in `waiting` or in `sent`, and holds its job. Thread: the front's loop. */
#include "services/broker/produce_internal.h"

#include "services/base/times.h"
#include "storage/log/batch_item.h"

/* Items and bytes that may wait for a slow broker. */
#define WAITING_MAX 8192
#define WAITING_BYTES_MAX (32 << 20)
/* The broker there waits as long as any request here may: each item's own deadline is kept on this side. */
#define LINK_TIMEOUT_S 300

struct ProduceLink {
  Producer *producer; /* whose links or old_links it is in */
  char *key, *address;
  gint32 leader_id;
  guint64 registration; /* of the broker there, when the link was opened */
  Milena__V1__Acks acks;
  RpcClientCall *call;
  gboolean ready, busy, half_closed;
  GQueue waiting; /* of ProduceItem */
  gsize waiting_bytes;
  GHashTable *sent; /* correlation id → ProduceItem */
  guint64 next_correlation_id;
};

static char *link_key(const char *address, Milena__V1__Acks acks) {
  return g_strdup_printf("%s %d", address, (int)acks);
}

/* It takes nothing more: the next item opens a new one. */
static void link_detach(ProduceLink *link) {
  if (g_hash_table_lookup(link->producer->links, link->key) == link)
    g_hash_table_steal(link->producer->links, link->key);
  else
    g_hash_table_steal(link->producer->old_links, link);
}

/* ---- ending ---- */

/* @failure: taken; NULL for success */
static void give_back(ProduceItem *item, const PartitionReceipt *receipt, Failure *failure) {
  ProduceJob *job = item->job;
  produce_item_outcome(item, receipt, failure);
  produce_job_release(job);
}

static Failure *broken(const ProduceLink *link, gboolean was_sent, const Failure *failure) {
  const char *why = failure ? failure_message(failure) : "it ended the stream";
  if (was_sent)
    return failure_new(FAILURE(UNKNOWN_OUTCOME),
                       "the connection to the leader at %s was lost after the records were sent: they may or may not "
                       "be kept (%s)",
                       link->address, why);
  return failure_new(FAILURE(PEER_UNREACHABLE), "the leader at %s can't be reached: nothing was written (%s)",
                     link->address, why);
}

static void fail_all(ProduceLink *link, const Failure *failure) {
  GHashTableIter iter;
  gpointer item;
  g_autoptr(GHashTable) sent = g_steal_pointer(&link->sent);
  link->sent = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  g_hash_table_iter_init(&iter, sent);
  while (g_hash_table_iter_next(&iter, NULL, &item))
    give_back(item, NULL, broken(link, TRUE, failure));
  while ((item = g_queue_pop_head(&link->waiting)))
    give_back(item, NULL, broken(link, FALSE, failure));
}

static void link_destroy(ProduceLink *link) {
  rpc_client_call_unref(link->call);
  g_hash_table_unref(link->sent);
  g_queue_clear(&link->waiting);
  g_free(link->key);
  g_free(link->address);
  g_free(link);
}

void produce_link_free(gpointer data) {
  ProduceLink *link = data;
  rpc_client_call_abandon(link->call);
  fail_all(link, NULL);
  link_destroy(link);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  ProduceLink *link = state;
  link_detach(link);
  fail_all(link, failure);
  link_destroy(link);
}

/* Where the broker stands still, or can't be reached though its connection is there, nobody else would end it for a
 * long time. */
void produce_links_look(Producer *producer, MetadataImage *now) {
  g_autoptr(GList) links =
      g_list_concat(g_hash_table_get_values(producer->links), g_hash_table_get_keys(producer->old_links));
  for (GList *at = links; at; at = at->next) {
    ProduceLink *link = at->data;
    if (!front_leader_is_gone(now, link->leader_id, link->registration))
      continue;
    link_detach(link);
    rpc_client_call_abandon(link->call);
    g_autoptr(Failure) gone =
        failure_new(FAILURE(PEER_UNREACHABLE), "the cluster's metadata says that it serves no more");
    fail_all(link, gone);
    link_destroy(link);
  }
}

/* ---- sending ---- */

static void send_init(ProduceLink *link) {
  Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
  timeout.seconds = LINK_TIMEOUT_S;
  Milena__V1__ProduceStreamInit init = MILENA__V1__PRODUCE_STREAM_INIT__INIT;
  init.acks = link->acks;
  init.timeout = &timeout;
  init.no_proxy = TRUE;
  Milena__V1__ProduceStreamRequest request = MILENA__V1__PRODUCE_STREAM_REQUEST__INIT;
  request.frame_case = MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT;
  request.init = &init;
  rpc_client_call_send(link->call, &request.base, NULL, 0);
}

/* Returns FALSE when the stream is closed: its end is about to be told. */
static gboolean send_item(ProduceLink *link, ProduceItem *item) {
  LogBatchItem frame;
  LogBatchPlace place = {item->route.topic->name, item->route.topic->id, item->partition};
  gint64 correlation_id = (gint64)++link->next_correlation_id;
  log_batch_to_item(&item->batch, place, (guint64)correlation_id, &frame);
  RpcSendResult result = rpc_client_call_send(link->call, &frame.request.base, &item->batch.records, 1);
  if (result == RPC_CLOSED)
    return FALSE;
  link->busy = result == RPC_BUSY;
  item->state = item->state == ITEM_DONE ? ITEM_DONE : ITEM_SENT;
  g_hash_table_insert(link->sent, g_memdup2(&correlation_id, sizeof correlation_id), item);
  return TRUE;
}

static void pump(ProduceLink *link) {
  while (link->ready && !link->busy && !link->half_closed && link->waiting.head) {
    ProduceItem *item = g_queue_peek_head(&link->waiting);
    /* Ended at its deadline, or answered on receipt: only the latter is still to be sent. */
    gboolean is_over = item->state == ITEM_DONE && item->failure;
    if (!is_over && !send_item(link, item))
      return;
    g_queue_pop_head(&link->waiting);
    link->waiting_bytes -= log_batch_payload_bytes(&item->batch);
    if (is_over)
      produce_job_release(item->job);
  }
}

/* ---- answers ---- */

static void take_result(ProduceLink *link, const Milena__V1__ProduceStreamResult *result) {
  ProduceItem *item = g_hash_table_lookup(link->sent, &result->correlation_id);
  if (!item)
    return; /* answered before: nobody waits for it */
  g_hash_table_remove(link->sent, &result->correlation_id);
  Failure *failure = failure_from_status(result->status);
  if (!failure && result->n_results != 1)
    failure =
        failure_new(FAILURE(UNKNOWN_OUTCOME), "the leader at %s did not say what became of the records", link->address);
  if (failure) {
    give_back(item, NULL, failure);
    return;
  }
  const Milena__V1__ProduceResult *told = result->results[0];
  failure = failure_from_status(told->status);
  if (failure) {
    give_back(item, NULL, failure);
    return;
  }
  PartitionReceipt receipt = {.base_offset = told->base_offset,
                              .leader_epoch = told->leader_epoch,
                              .append_timestamp_ms = times_timestamp_ms(told->append_time, 0),
                              .replicas = told->replicas,
                              .synced_replicas = told->synced_replicas,
                              .log_start_offset = told->log_start_offset,
                              .duplicate = told->duplicate};
  give_back(item, &receipt, NULL);
}

/* The broker there stops: it answers what was sent; what waits goes to the next leader. */
static void take_draining(ProduceLink *link) {
  link->half_closed = TRUE;
  link_detach(link);
  g_hash_table_add(link->producer->old_links, link);
  rpc_client_call_half_close(link->call);
  link->waiting_bytes = 0;
  for (ProduceItem *item; (item = g_queue_pop_head(&link->waiting));)
    give_back(item, NULL, broken(link, FALSE, NULL));
}

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  ProduceLink *link = state;
  if (!message)
    return;
  const Milena__V1__ProduceStreamResponse *response = rpc_message_body(message);
  if (response->frame_case == MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_READY)
    link->ready = TRUE;
  else if (response->frame_case == MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT)
    take_result(link, response->result);
  else if (response->frame_case == MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING && !link->half_closed)
    take_draining(link);
  rpc_client_call_read(call);
  pump(link);
}

static void on_writable(RpcClientCall *call, gpointer state) {
  (void)call;
  ProduceLink *link = state;
  link->busy = FALSE;
  pump(link);
}

/* ---- the way in ---- */

static ProduceLink *link_open(Producer *producer, const MetadataBroker *leader, Milena__V1__Acks acks) {
  static const RpcClientEvents EVENTS = {.message = on_message, .writable = on_writable, .closed = on_closed};
  ProduceLink *link = g_new0(ProduceLink, 1);
  *link = (ProduceLink){.producer = producer,
                        .key = link_key(leader->peer_address, acks),
                        .address = g_strdup(leader->peer_address),
                        .leader_id = leader->id,
                        .registration = leader->epoch,
                        .acks = acks,
                        .sent = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL)};
  g_queue_init(&link->waiting);
  g_hash_table_insert(producer->links, link->key, link);
  link->call =
      rpc_client_stream(front_client(producer->front), link->address, &milena__v1__producer_service__descriptor,
                        "ProduceStream", G_MAXINT64, front_loop(producer->front), &EVENTS, link);
  send_init(link);
  rpc_client_call_read(link->call);
  return link;
}

void produce_link_send(Producer *producer, ProduceItem *item) {
  const char *address = item->route.leader->peer_address;
  Milena__V1__Acks acks = item->job->input.acks;
  g_autofree char *key = link_key(address, acks);
  ProduceLink *link = g_hash_table_lookup(producer->links, key);
  if (!link)
    link = link_open(producer, item->route.leader, acks);
  gsize bytes = log_batch_payload_bytes(&item->batch);
  if (link->waiting.length >= WAITING_MAX || link->waiting_bytes + bytes > WAITING_BYTES_MAX) {
    produce_item_end(item, NULL,
                     failure_new(FAILURE(OVERLOADED),
                                 "too much waits to be sent to the leader at %s: nothing was written, try again soon",
                                 address));
    return;
  }
  produce_job_hold(item->job);
  g_queue_push_tail(&link->waiting, item);
  link->waiting_bytes += bytes;
  pump(link);
}
