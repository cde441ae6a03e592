/* Streams to leaders: see link.h.
 *
 *   closed ──link_can_send──► connecting ──ready──► ready ──Draining──► draining
 *     ▲  (not before retry_us)     │                  │                    │
 *     └────────────────────────────┴──────────────────┴────────────────────┘ the stream ended
 *
 * Invariants
 *   1. Items are sent only in `ready`: a stream that never became ready has written nothing.
 *   2. `in_flight` holds what was sent and not answered, oldest first; never more than in_flight_max.
 *   3. A broker that says Draining answers what it took, takes nothing more, and ends the stream with OK or DRAINING.
 *      What it left unanswered then was not written. Every other end leaves it unknown.
 *
 * Owned by the client's loop. Fails with nothing: what happens to batches is told by sender_batch_answered. */
#include "client/libmilena/link.h"

#include <string.h>

#include "services/base/times.h"
#include "storage/log/batch_item.h"

/* How much longer than the broker we wait for an answer. */
#define ANSWER_GRACE_US (2 * G_TIME_SPAN_SECOND)

typedef enum { LINK_CLOSED, LINK_CONNECTING, LINK_READY, LINK_DRAINING } LinkState;

struct Link {
  Sender *sender;
  gint32 broker_id;
  char *address;
  LinkState state;
  RpcClientCall *call; /* not in CLOSED */
  gint64 connect_us;   /* when CONNECTING began */
  gboolean busy;       /* the stream's queue is full until `writable` */
  GQueue in_flight;    /* of Batch */
  guint64 next_correlation_id;
  guint failures; /* in a row */
  gint64 retry_us;
  Failure *last; /* why the latest stream ended; NULL after a good one */
};

static gint64 connect_timeout_us(const Link *link) {
  return client_options(sender_client(link->sender))->attempt_timeout_ms * G_TIME_SPAN_MILLISECOND;
}

static gint64 answer_timeout_us(const Link *link) {
  return sender_options(link->sender)->request_timeout_ms * G_TIME_SPAN_MILLISECOND + ANSWER_GRACE_US;
}

/* ---- the end of a stream ---- */

static Failure *unknown_outcome(const Link *link, const char *why) {
  Failure *failure = failure_new(FAILURE(UNKNOWN_OUTCOME),
                                 "broker %d at %s took the records and did not answer: %s. They may or may not have "
                                 "been written",
                                 link->broker_id, link->address, why);
  return failure_add(failure, "broker", "%d", link->broker_id);
}

/* Answer everything in flight. @refused: it certainly was not written. */
static void link_fail_in_flight(Link *link, const char *why, gboolean refused) {
  Batch *batch;
  while ((batch = g_queue_pop_head(&link->in_flight)) != NULL) {
    if (refused)
      sender_batch_answered(
          link->sender, batch, NULL,
          failure_new(FAILURE(DRAINING), "broker %d is stopping, and did not take the records", link->broker_id),
          OUTCOME_NOT_WRITTEN);
    else
      sender_batch_answered(link->sender, batch, NULL, unknown_outcome(link, why), OUTCOME_UNKNOWN);
  }
}

/* Forget the stream. @failure: taken; why. @refused: see link_fail_in_flight. */
static void link_end(Link *link, Failure *failure, gboolean refused) {
  gboolean was_ready = link->state == LINK_READY || link->state == LINK_DRAINING;
  link->state = LINK_CLOSED;
  link->busy = FALSE;
  RpcClientCall *call = g_steal_pointer(&link->call);
  rpc_client_call_abandon(call);
  rpc_client_call_unref(call);
  link->failures = was_ready ? 1 : link->failures + 1;
  link->retry_us =
      g_get_monotonic_time() + client_backoff_ms(sender_client(link->sender), link->failures) * G_TIME_SPAN_MILLISECOND;
  g_autofree char *why = g_strdup(failure_message(failure));
  failure_free(link->last);
  link->last = failure_prefix(failure, "broker %d at %s", link->broker_id, link->address);
  link_fail_in_flight(link, why, refused);
  sender_link_changed(link->sender);
}

static void link_on_closed(RpcClientCall *call, const Failure *failure, gpointer data) {
  Link *link = data;
  if (call != link->call)
    return;
  gboolean orderly = failure == NULL || failure_reason(failure) == FAILURE(DRAINING);
  gboolean refused = link->state == LINK_DRAINING && orderly;
  link_end(link,
           failure != NULL ? failure_copy(failure) : failure_new(FAILURE(DRAINING), "it ended the stream, as it stops"),
           refused);
}

/* ---- answers ---- */

/* The batch that an answer is about; NULL when it was given up. It leaves `in_flight`. */
static Batch *link_take(Link *link, guint64 correlation_id) {
  for (GList *at = link->in_flight.head; at != NULL; at = at->next) {
    Batch *batch = at->data;
    if (batch->correlation_id != correlation_id)
      continue;
    g_queue_delete_link(&link->in_flight, at);
    return batch;
  }
  return NULL;
}

static void link_on_result(Link *link, const Milena__V1__ProduceStreamResult *result) {
  Batch *batch = link_take(link, result->correlation_id);
  if (batch == NULL)
    return;
  const Milena__V1__ProduceResult *first = result->n_results > 0 ? result->results[0] : NULL;
  Failure *failure = failure_from_status(result->status);
  if (failure == NULL && first != NULL)
    failure = failure_from_status(first->status);
  if (failure == NULL && first == NULL)
    failure = unknown_outcome(link, "its answer has no result");
  Outcome outcome = failure != NULL ? outcome_of_write(failure) : OUTCOME_NOT_WRITTEN;
  if (failure != NULL && failure_reason(failure) == FAILURE(NOT_LEADER)) {
    const char *version = failure_get(failure, "metadata_version");
    client_refresh(sender_client(link->sender), version != NULL ? g_ascii_strtoull(version, NULL, 10) : 0,
                   link->address);
  }
  sender_batch_answered(link->sender, batch, failure == NULL ? first : NULL, failure, outcome);
}

static void link_on_message(RpcClientCall *call, RpcMessage *message, gpointer data) {
  Link *link = data;
  if (call != link->call)
    return;
  const Milena__V1__ProduceStreamResponse *frame = rpc_message_body(message);
  switch (frame->frame_case) {
  case MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_READY:
    if (link->state == LINK_CONNECTING)
      link->state = LINK_READY;
    link->failures = 0;
    g_clear_pointer(&link->last, failure_free);
    break;
  case MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT:
    link_on_result(link, frame->result);
    break;
  case MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING:
    link->state = LINK_DRAINING;
    rpc_client_call_half_close(call);
    break;
  default: /* a frame of a later version */
    break;
  }
  if (link->call != call)
    return;
  rpc_client_call_read(call);
  sender_link_changed(link->sender);
}

static void link_on_writable(RpcClientCall *call, gpointer data) {
  Link *link = data;
  if (call != link->call)
    return;
  link->busy = FALSE;
  sender_link_changed(link->sender);
}

static const RpcClientEvents LINK_EVENTS = {
    .message = link_on_message, .writable = link_on_writable, .closed = link_on_closed};

/* ---- sending ---- */

Link *link_new(Sender *sender, gint32 broker_id, const char *address) {
  Link *link = g_new0(Link, 1);
  link->sender = sender;
  link->broker_id = broker_id;
  link->address = g_strdup(address);
  g_queue_init(&link->in_flight);
  return link;
}

const gint32 *link_broker_id(const Link *link) {
  return &link->broker_id;
}

void link_set_address(Link *link, const char *address) {
  if (strcmp(link->address, address) == 0 || link->state != LINK_CLOSED)
    return;
  g_free(link->address);
  link->address = g_strdup(address);
  link->retry_us = 0;
}

static void link_connect(Link *link, gint64 now_us) {
  MilenaClient *client = sender_client(link->sender);
  const MilenaProducerOptions *options = sender_options(link->sender);
  link->state = LINK_CONNECTING;
  link->connect_us = now_us;
  link->call = rpc_client_stream(client_rpc(client), link->address, &milena__v1__producer_service__descriptor,
                                 "ProduceStream", G_MAXINT64, client_loop(client), &LINK_EVENTS, link);
  Google__Protobuf__Duration timeout;
  times_duration_set(&timeout, options->request_timeout_ms);
  Milena__V1__ProduceStreamInit init = MILENA__V1__PRODUCE_STREAM_INIT__INIT;
  init.acks = (Milena__V1__Acks)options->acks;
  init.timeout = &timeout;
  init.no_proxy = client_is_direct(client);
  Milena__V1__ProduceStreamRequest request = MILENA__V1__PRODUCE_STREAM_REQUEST__INIT;
  request.frame_case = MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT;
  request.init = &init;
  rpc_client_call_read(link->call);
  rpc_client_call_send(link->call, &request.base, NULL, 0);
}

gboolean link_can_send(Link *link, gint64 now_us, gint64 *ret_retry_us, const Failure **ret_failure) {
  if (link->state == LINK_CLOSED && now_us < link->retry_us) {
    *ret_retry_us = link->retry_us;
    *ret_failure = link->last;
    return FALSE;
  }
  if (link->state == LINK_CLOSED)
    link_connect(link, now_us);
  return link->state == LINK_READY && !link->busy &&
         link->in_flight.length < sender_options(link->sender)->in_flight_max;
}

gboolean link_send(Link *link, Batch *batch, gint64 now_us) {
  INVARIANT(link->state == LINK_READY, "items follow the broker's ready");
  LogBatchItem item;
  LogBatchPlace place = {batch->lane->topic->name, "", batch->lane->partition};
  guint64 correlation_id = ++link->next_correlation_id;
  log_batch_to_item(&batch->encoded, place, correlation_id, &item);
  RpcSendResult sent = rpc_client_call_send(link->call, &item.request.base, &batch->encoded.records, 1);
  if (sent == RPC_CLOSED)
    return FALSE;
  link->busy = sent == RPC_BUSY;
  batch->correlation_id = correlation_id;
  batch->sent_us = now_us;
  g_queue_push_tail(&link->in_flight, batch);
  return TRUE;
}

void link_look(Link *link, const View *view) {
  if (link->state == LINK_CLOSED || view_broker_serves(view, link->broker_id, link->address))
    return;
  link_end(link, failure_new(FAILURE(PEER_UNREACHABLE), "the cluster's metadata says that it serves no more"), FALSE);
}

/* ---- time ---- */

/* Report what has passed its deadline unanswered; a late answer finds nobody. Returns when the next will. */
static gint64 link_expire_batches(Link *link, gint64 now_us) {
  gint64 next_us = G_MAXINT64;
  GList *at = link->in_flight.head;
  while (at != NULL) {
    GList *next = at->next;
    Batch *batch = at->data;
    if (batch->deadline_us > now_us) {
      next_us = MIN(next_us, batch->deadline_us);
    } else {
      g_queue_delete_link(&link->in_flight, at);
      sender_batch_answered(link->sender, batch, NULL, unknown_outcome(link, "the producer's timeout passed"),
                            OUTCOME_UNKNOWN);
    }
    at = next;
  }
  return next_us;
}

gint64 link_check_time(Link *link, gint64 now_us) {
  gint64 next_us = link_expire_batches(link, now_us);
  const Batch *oldest = g_queue_peek_head(&link->in_flight);
  gint64 give_up_us = oldest != NULL ? oldest->sent_us + answer_timeout_us(link) : G_MAXINT64;
  if (link->state == LINK_CONNECTING)
    give_up_us = link->connect_us + connect_timeout_us(link);
  /* Who stands still is fenced soon: to hear of that, the metadata must not be followed there. */
  gint64 silent_us = link->state == LINK_CONNECTING ? link->connect_us : oldest != NULL ? oldest->sent_us : G_MAXINT64;
  if (silent_us != G_MAXINT64)
    next_us = MIN(next_us, client_check(sender_client(link->sender), link->address, silent_us));
  if (now_us < give_up_us)
    return MIN(next_us, give_up_us);
  client_suspect(sender_client(link->sender), link->address);
  link_end(link, failure_new(FAILURE(PEER_UNREACHABLE), "it did not answer in time"), FALSE);
  return MIN(next_us, link->retry_us);
}

void link_free(Link *link) {
  if (link == NULL)
    return;
  if (link->state != LINK_CLOSED)
    link_end(link, failure_new(FAILURE(CANCELLED), "the producer was closed"), FALSE);
  failure_free(link->last);
  g_free(link->address);
  g_free(link);
}
