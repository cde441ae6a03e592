/* The way from another controller; see transport.h.
 *
 *   opened ──hello that fits──► welcomed ──frames──► ... ──it closes, this one drains──► closed
 *                └─ one that does not: the call ends with its reason
 *
 * Invariants: nothing is taken from a stream before its hello was checked; of streams from one controller the newest
 * counts. Owning thread: the host's loop. Failure modes: what does not decode ends the stream; a refusal is logged when
 * it is news, and kept for ListControllers. */
#include <string.h>

#include "services/base/slog.h"
#include "services/controller/transport_internal.h"

/* A second process that speaks as a controller is told from one that has moved by the first one's silence. */
#define TWIN_SILENCE_US ((gint64)1 * G_USEC_PER_SEC)

/* A stream of this controller is open. */
static gboolean has_stream(const Transport *transport, const WireEnds *ends) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, transport->inbounds);
  while (g_hash_table_iter_next(&iter, &value, NULL)) {
    const Inbound *inbound = value;
    if (inbound->ends.from == ends->from && raft_directory_equal(&inbound->ends.from_directory, &ends->from_directory))
      return TRUE;
  }
  return FALSE;
}

/* ---- Hello ---- */

/* What the sender claims, checked against what this controller is. */
static Failure *check_address(const Transport *transport, const Milena__Internal__V1__ExchangeHello *hello) {
  char mine[DIRECTORY_TEXT_BYTES];
  directory_text(&transport->options.directory, mine);
  if (hello->to_id != transport->options.id)
    return failure_new(FAILURE(UNKNOWN_CONTROLLER),
                       "The controller at %s is %d, and %d was meant. See to the members' peer addresses.",
                       transport->peer_address, transport->options.id, hello->to_id);
  if (strcmp(hello->to_directory_id, mine) != 0)
    return failure_new(FAILURE(DIRECTORY_MISMATCH),
                       "The controller %d at %s has the folder %s, and the folder %s was meant: its disk was lost or "
                       "replaced. Remove controller %d and add it again.",
                       transport->options.id, transport->peer_address, mine, hello->to_directory_id,
                       transport->options.id);
  if (hello->from_id == transport->options.id)
    return failure_new(FAILURE(DUPLICATE_ID),
                       "Two controllers have the id %d: the one at %s and the one at %s. Give each an id of its own.",
                       hello->from_id, transport->peer_address, hello->from_peer_address);
  return NULL;
}

static Failure *check_cluster(const Transport *transport, const Milena__Internal__V1__ExchangeHello *hello) {
  if (!*hello->cluster_id)
    return failure_new(FAILURE(MALFORMED_MESSAGE), "A controller's hello names no cluster.");
  if (*transport->cluster_id && strcmp(hello->cluster_id, transport->cluster_id) != 0)
    return failure_new(FAILURE(CLUSTER_MISMATCH),
                       "The controller %d at %s belongs to the cluster %s, and controller %d at %s to the cluster %s. "
                       "Point each at its own cluster's controllers.",
                       hello->from_id, hello->from_peer_address, hello->cluster_id, transport->options.id,
                       transport->peer_address, transport->cluster_id);
  return NULL;
}

/* A folder that was copied makes two processes with one identity, which breaks every promise. One that has moved has
 * closed its streams, or is silent. */
static Failure *check_twin(const Transport *transport, const WireEnds *ends,
                           const Milena__Internal__V1__ExchangeHello *hello) {
  const Peer *peer = transport_find_peer(transport, ends->from, &ends->from_directory);
  gboolean speaks = peer && has_stream(transport, ends) && g_get_monotonic_time() - peer->heard_us < TWIN_SILENCE_US;
  if (!speaks || !peer->peer_address || strcmp(peer->peer_address, hello->from_peer_address) == 0)
    return NULL;
  return failure_new(
      FAILURE(DUPLICATE_ID),
      "Two processes run as controller %d on the folder %s: the one at %s and the one at %s. A folder was "
      "copied: stop one of them, and delete its folder.",
      hello->from_id, hello->from_directory_id, peer->peer_address, hello->from_peer_address);
}

static Failure *check_hello(Transport *transport, const Milena__Internal__V1__ExchangeHello *hello,
                            WireEnds *ret_ends) {
  WireEnds ends = {.from = (guint64)hello->from_id,
                   .to = (guint64)transport->options.id,
                   .to_directory = transport->options.directory};
  if (hello->format > WIRE_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "The controller %d speaks format %u of the controllers' protocol, and controller %d understands "
                       "formats up to %d. Upgrade controller %d first.",
                       hello->from_id, hello->format, transport->options.id, WIRE_FORMAT, transport->options.id);
  if (hello->format == 0 || hello->from_id <= 0 || !directory_parse(hello->from_directory_id, &ends.from_directory))
    return failure_new(FAILURE(MALFORMED_MESSAGE), "A controller's hello does not say who it is.");
  Failure *failure = check_cluster(transport, hello);
  if (!failure)
    failure = check_address(transport, hello);
  if (!failure)
    failure = check_twin(transport, &ends, hello);
  if (!failure)
    failure =
        transport->events.check(ends.from, &ends.from_directory, hello->configuration_index, transport->events.data);
  if (!failure && !*transport->cluster_id)
    failure = transport->events.adopt(hello->cluster_id, transport->events.data);
  if (!failure)
    *ret_ends = ends;
  return failure;
}

/* Another controller of this id, or one that is meant to be it, was refused: ListControllers tells. */
static void keep_refusal(Transport *transport, guint64 id, const Failure *failure) {
  gboolean news = FALSE, known = FALSE;
  for (guint i = 0; i < transport->peers->len; i++) {
    Peer *peer = transport->peers->pdata[i];
    if (peer->id != id)
      continue;
    known = TRUE;
    news |= g_strcmp0(peer->refusal, failure_message(failure)) != 0;
    g_free(peer->refusal);
    peer->refusal = g_strdup(failure_message(failure));
  }
  if (!known) {
    RaftDirectory nobody = {0};
    transport_get_peer(transport, id, &nobody)->refusal = g_strdup(failure_message(failure));
  }
  if (news || !known)
    slog_warning("another controller was refused", "controller", SLOG_INT(id), "reason",
                 failure_reason_name(failure_reason(failure)), "error", failure_message(failure), NULL);
}

static void remember(Transport *transport, const WireEnds *ends, const Milena__Internal__V1__ExchangeHello *hello) {
  Peer *peer = transport_get_peer(transport, ends->from, &ends->from_directory);
  g_free(peer->address);
  g_free(peer->peer_address);
  peer->address = g_strdup(hello->from_address);
  peer->peer_address = g_strdup(hello->from_peer_address);
  g_clear_pointer(&peer->refusal, g_free);
  peer->heard_us = g_get_monotonic_time();
}

static void welcome(Inbound *inbound) {
  Milena__Internal__V1__ExchangeWelcome body = MILENA__INTERNAL__V1__EXCHANGE_WELCOME__INIT;
  body.format = WIRE_FORMAT;
  Milena__Internal__V1__ExchangeResponse response = MILENA__INTERNAL__V1__EXCHANGE_RESPONSE__INIT;
  response.frame_case = MILENA__INTERNAL__V1__EXCHANGE_RESPONSE__FRAME_WELCOME;
  response.welcome = &body;
  rpc_call_send(inbound->call, &response.base, NULL, 0);
}

static void on_hello(Inbound *inbound, const Milena__Internal__V1__ExchangeHello *hello) {
  Transport *transport = inbound->transport;
  Failure *failure = check_hello(transport, hello, &inbound->ends);
  if (failure) {
    keep_refusal(transport, (guint64)MAX(hello->from_id, 0), failure);
    rpc_call_finish(inbound->call, failure);
    return;
  }
  remember(transport, &inbound->ends, hello);
  welcome(inbound);
  rpc_call_read(inbound->call);
}

/* ---- Frames ---- */

static void hear(Transport *transport, const WireEnds *ends) {
  Peer *peer = transport_find_peer(transport, ends->from, &ends->from_directory);
  if (peer) {
    peer->heard_us = g_get_monotonic_time();
    /* It may have been refused by another name at the same time: when it meant a folder that this one had before. */
    g_clear_pointer(&peer->refusal, g_free);
  }
  for (guint i = 0; i < transport->links->len; i++) {
    Link *link = transport->links->pdata[i];
    if (link->id == ends->from && raft_directory_equal(&link->directory, &ends->from_directory))
      link_heard(link);
  }
}

static void on_batch(Inbound *inbound, RpcMessage *frame, const Milena__Internal__V1__RaftMessageBatch *batch) {
  Transport *transport = inbound->transport;
  hear(transport, &inbound->ends);
  for (gsize i = 0; i < batch->n_messages; i++) {
    g_autoptr(RaftMessage) message = NULL;
    Failure *failure = wire_unpack(frame, batch->messages[i], &inbound->ends, &message);
    if (failure) {
      keep_refusal(transport, inbound->ends.from, failure);
      rpc_call_finish(inbound->call, failure);
      return;
    }
    transport->events.message(message, transport->events.data);
  }
  rpc_call_read(inbound->call);
}

static void on_message(RpcCall *call, RpcMessage *message, gpointer state) {
  Inbound *inbound = state;
  if (!message || inbound->transport->stopped) {
    rpc_call_finish(call, NULL);
    return;
  }
  const Milena__Internal__V1__ExchangeRequest *request = rpc_message_body(message);
  gboolean hello = request->frame_case == MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_HELLO;
  gboolean batch = request->frame_case == MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_BATCH;
  if (hello && inbound->ends.from == 0)
    on_hello(inbound, request->hello);
  else if (batch && inbound->ends.from != 0)
    on_batch(inbound, message, request->batch);
  else
    rpc_call_finish(call, failure_new(FAILURE(MALFORMED_MESSAGE),
                                      "A stream of a controller begins with one hello, and goes on with messages."));
}

static void on_draining(RpcCall *call, gpointer state) {
  (void)state;
  rpc_call_finish(call, failure_new(FAILURE(DRAINING), "This controller is stopping."));
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Inbound *inbound = state;
  Transport *transport = inbound->transport;
  g_hash_table_remove(transport->inbounds, inbound);
  if (inbound->ends.from != 0 && !transport->stopped && !has_stream(transport, &inbound->ends))
    transport->events.lost(inbound->ends.from, transport->events.data);
  g_free(inbound);
}

/* ---- Streams ---- */

void transport_exchange(Transport *transport, RpcCall *call) {
  static const RpcCallEvents EVENTS = {.message = on_message, .draining = on_draining, .closed = on_closed};
  Inbound *inbound = g_new0(Inbound, 1);
  inbound->transport = transport;
  inbound->call = call;
  g_hash_table_add(transport->inbounds, inbound);
  rpc_call_set_events(call, &EVENTS, inbound);
  rpc_call_read(call);
}

void exchange_stop(Transport *transport) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, transport->inbounds);
  while (g_hash_table_iter_next(&iter, &value, NULL))
    rpc_call_finish(((Inbound *)value)->call, failure_new(FAILURE(DRAINING), "This controller is stopping."));
}
