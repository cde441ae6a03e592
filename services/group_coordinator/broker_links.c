/* Links to brokers: see broker_links.h.
 *
 *   opening (appends wait) ──ready──► open (appends are sent) ──draining, or closed──► gone: the next append opens anew
 *
 * Invariants
 *   1. An append is in its link's `waiting` (not sent) or in `sent`, by its correlation id; or it fails right now, in
 * the order in which it came.
 *   2. A link takes appends while it is in the table; afterwards it only brings the answers to what was sent.
 *
 * Owner: the coordinator's loop. Failure modes: a broken stream fails what was sent with UNKNOWN_OUTCOME and what was
 * not with PEER_UNREACHABLE; appenders try again. */
#include "services/group_coordinator/broker_links.h"

#include "milena/v1/producer_service.pb-c.h"
#include "services/base/times.h"
#include "storage/log/batch_item.h"

typedef struct BrokerLink BrokerLink;

struct BrokerLinks {
  RpcClient *client;
  Loop *loop;
  gint64 timeout_ms;
  GHashTable *open;    /* address → BrokerLink, owned */
  GHashTable *leaving; /* set of BrokerLink, owned: their broker stops, and answers what was sent */
};

struct BrokerLink {
  BrokerLinks *links;
  char *address;
  RpcClientCall *call;
  gboolean ready, busy;
  GQueue waiting;   /* of BrokerAppend, by node */
  GHashTable *sent; /* correlation id → BrokerAppend */
  guint64 next_correlation_id;
};

struct BrokerAppend {
  BrokerLink *link; /* NULL while it fails */
  GQueue *queue;    /* that node is in: waiting, or those that fail; NULL while it is in `sent` */
  GList node;
  guint64 correlation_id;
  char *topic, *topic_id;
  gint32 partition;
  LogBatch batch;
  BrokerAppendDone done;
  gpointer data;
};

/* ---- appends ---- */

static void append_free(BrokerAppend *append) {
  log_batch_clear(&append->batch);
  g_free(append->topic);
  g_free(append->topic_id);
  g_free(append);
}

/* It is in neither queue nor table any more. */
static void append_end(BrokerAppend *append, const BrokerReceipt *receipt, const Failure *failure) {
  append->done(receipt, failure, append->data);
  append_free(append);
}

void broker_append_abandon(BrokerAppend *append) {
  if (append->queue)
    g_queue_unlink(append->queue, &append->node);
  else
    g_hash_table_remove(append->link->sent, &append->correlation_id);
  append_free(append);
}

static void enqueue(GQueue *queue, BrokerAppend *append) {
  append->queue = queue;
  append->node.data = append;
  g_queue_push_tail_link(queue, &append->node);
}

static gint compare_ids(gconstpointer a, gconstpointer b) {
  guint64 x = ((const BrokerAppend *)a)->correlation_id, y = ((const BrokerAppend *)b)->correlation_id;
  return x < y ? -1 : x > y;
}

/* Fail all of @appends, each of which may be abandoned by what another one's failure leads to. */
static void fail_queue(GQueue *appends, Failure *failure) {
  for (GList *node; (node = g_queue_pop_head_link(appends));)
    append_end(node->data, NULL, failure);
  failure_free(failure);
}

static void link_fail_appends(BrokerLink *link, const Failure *failure) {
  const char *why = failure ? failure_message(failure) : "it ended the stream";
  GQueue sent = G_QUEUE_INIT, waiting = G_QUEUE_INIT;
  g_autoptr(GList) in_order = g_list_sort(g_hash_table_get_values(link->sent), compare_ids);
  g_hash_table_remove_all(link->sent);
  for (GList *item = in_order; item; item = item->next)
    enqueue(&sent, item->data);
  for (GList *node; (node = g_queue_pop_head_link(&link->waiting));)
    enqueue(&waiting, node->data);
  g_autofree char *address = g_strdup(link->address);
  fail_queue(&sent,
             failure_new(FAILURE(UNKNOWN_OUTCOME),
                         "the connection to the leader at %s was lost after records were sent (%s)", address, why));
  fail_queue(&waiting, failure_new(FAILURE(PEER_UNREACHABLE), "the leader at %s can't be reached (%s)", address, why));
}

/* ---- sending ---- */

static void send_init(BrokerLink *link) {
  Google__Protobuf__Duration timeout;
  times_duration_set(&timeout, link->links->timeout_ms);
  Milena__V1__ProduceStreamInit init = MILENA__V1__PRODUCE_STREAM_INIT__INIT;
  init.acks = MILENA__V1__ACKS__ACKS_ALL;
  init.timeout = &timeout;
  init.no_proxy = TRUE;
  Milena__V1__ProduceStreamRequest request = MILENA__V1__PRODUCE_STREAM_REQUEST__INIT;
  request.frame_case = MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT;
  request.init = &init;
  rpc_client_call_send(link->call, &request.base, NULL, 0);
}

/* Returns FALSE when the stream is closed: its end is about to be told. */
static gboolean send_append(BrokerLink *link, BrokerAppend *append) {
  LogBatchItem frame;
  LogBatchPlace place = {append->topic, append->topic_id, append->partition};
  append->correlation_id = ++link->next_correlation_id;
  log_batch_to_item(&append->batch, place, append->correlation_id, &frame);
  RpcSendResult result = rpc_client_call_send(link->call, &frame.request.base, &append->batch.records, 1);
  if (result == RPC_CLOSED)
    return FALSE;
  link->busy = result == RPC_BUSY;
  return TRUE;
}

static void pump(BrokerLink *link) {
  while (link->ready && !link->busy && link->waiting.head) {
    BrokerAppend *append = link->waiting.head->data;
    if (!send_append(link, append))
      return;
    g_queue_unlink(&link->waiting, &append->node);
    append->queue = NULL;
    g_hash_table_insert(link->sent, &append->correlation_id, append);
  }
}

/* ---- answers ---- */

static Failure *read_result(const BrokerLink *link, const Milena__V1__ProduceStreamResult *result) {
  Failure *failure = failure_from_status(result->status);
  if (!failure && result->n_results != 1)
    failure =
        failure_new(FAILURE(UNKNOWN_OUTCOME), "the leader at %s did not say what became of a batch", link->address);
  return failure ? failure : failure_from_status(result->results[0]->status);
}

static void take_result(BrokerLink *link, const Milena__V1__ProduceStreamResult *result) {
  BrokerAppend *append = g_hash_table_lookup(link->sent, &result->correlation_id);
  if (!append)
    return; /* abandoned */
  g_hash_table_remove(link->sent, &result->correlation_id);
  g_autoptr(Failure) failure = read_result(link, result);
  if (failure) {
    append_end(append, NULL, failure);
    return;
  }
  const Milena__V1__ProduceResult *told = result->results[0];
  BrokerReceipt receipt = {.base_offset = told->base_offset, .log_start_offset = told->log_start_offset};
  append_end(append, &receipt, NULL);
}

/* The broker stops: it answers what was sent; what waits finds another way. */
static void take_draining(BrokerLink *link) {
  BrokerLinks *links = link->links;
  if (g_hash_table_lookup(links->open, link->address) != link)
    return;
  g_hash_table_steal(links->open, link->address);
  g_hash_table_add(links->leaving, link);
  rpc_client_call_half_close(link->call);
  GQueue waiting = G_QUEUE_INIT;
  for (GList *node; (node = g_queue_pop_head_link(&link->waiting));)
    enqueue(&waiting, node->data);
  fail_queue(&waiting, failure_new(FAILURE(DRAINING), "the leader at %s stops", link->address));
}

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  BrokerLink *link = state;
  if (!message)
    return;
  const Milena__V1__ProduceStreamResponse *response = rpc_message_body(message);
  if (response->frame_case == MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_READY)
    link->ready = TRUE;
  else if (response->frame_case == MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT)
    take_result(link, response->result);
  else if (response->frame_case == MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING)
    take_draining(link);
  rpc_client_call_read(call);
  pump(link);
}

static void on_writable(RpcClientCall *call, gpointer state) {
  (void)call;
  BrokerLink *link = state;
  link->busy = FALSE;
  pump(link);
}

/* ---- life ---- */

static void link_free(gpointer data) {
  BrokerLink *link = data;
  INVARIANT(g_queue_is_empty(&link->waiting) && g_hash_table_size(link->sent) == 0, "appends end before their links");
  rpc_client_call_unref(link->call);
  g_hash_table_unref(link->sent);
  g_free(link->address);
  g_free(link);
}

/* A link whose call still goes on. */
static void link_abandon(gpointer data) {
  BrokerLink *link = data;
  rpc_client_call_abandon(link->call);
  link_free(link);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  BrokerLink *link = state;
  if (g_hash_table_lookup(link->links->open, link->address) == link)
    g_hash_table_steal(link->links->open, link->address);
  else
    g_hash_table_steal(link->links->leaving, link);
  link_fail_appends(link, failure);
  link_free(link);
}

static BrokerLink *link_open(BrokerLinks *links, const char *address) {
  static const RpcClientEvents EVENTS = {.message = on_message, .writable = on_writable, .closed = on_closed};
  BrokerLink *link = g_new0(BrokerLink, 1);
  link->links = links;
  link->address = g_strdup(address);
  link->sent = g_hash_table_new(g_int64_hash, g_int64_equal);
  g_queue_init(&link->waiting);
  g_hash_table_insert(links->open, link->address, link);
  link->call = rpc_client_stream(links->client, address, &milena__v1__producer_service__descriptor, "ProduceStream",
                                 G_MAXINT64, links->loop, &EVENTS, link);
  send_init(link);
  rpc_client_call_read(link->call);
  return link;
}

BrokerAppend *broker_links_append(BrokerLinks *links, const BrokerTarget *target, const LogBatch *batch,
                                  BrokerAppendDone done, gpointer data) {
  BrokerLink *link = g_hash_table_lookup(links->open, target->address);
  if (!link)
    link = link_open(links, target->address);
  BrokerAppend *append = g_new0(BrokerAppend, 1);
  *append = (BrokerAppend){.link = link,
                           .topic = g_strdup(target->topic),
                           .topic_id = g_strdup(target->topic_id),
                           .partition = target->partition,
                           .done = done,
                           .data = data};
  log_batch_share(batch, &append->batch);
  enqueue(&link->waiting, append);
  pump(link);
  return append;
}

BrokerLinks *broker_links_new(RpcClient *client, Loop *loop, gint64 timeout_ms) {
  BrokerLinks *links = g_new0(BrokerLinks, 1);
  *links = (BrokerLinks){.client = client,
                         .loop = loop,
                         .timeout_ms = timeout_ms,
                         .open = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, link_abandon),
                         .leaving = g_hash_table_new_full(NULL, NULL, link_abandon, NULL)};
  return links;
}

void broker_links_free(BrokerLinks *links) {
  if (!links)
    return;
  g_hash_table_unref(links->open);
  g_hash_table_unref(links->leaving);
  g_free(links);
}
