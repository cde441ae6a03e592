/* The way to one controller; see transport.h.
 *
 *   closed ──link_open──► opening (hello sent) ──welcome──► open ──broken, refused, silent──► closed, after a backoff
 *
 * Invariants: hello is the first frame of every stream; the queue is bounded, and empty while the link is closed.
 * Owning thread: the host's loop. Failure modes: each end of a stream is the link's error until a welcome. */
#include <string.h>

#include "services/base/slog.h"
#include "services/controller/transport_internal.h"

#define QUEUE_MESSAGES_MAX 512
#define QUEUE_BYTES_MAX ((gsize)16 * 1024 * 1024)
#define BACKOFF_FIRST_MS 20
#define BACKOFF_MOST_MS 1000
/* A peer that is sent something and says nothing for so long hangs, or the network ate the connection: a new one may
 * get through, where the old one waits for TCP's ever longer pauses. */
#define SILENCE_US ((gint64)2 * G_USEC_PER_SEC)

/* ---- Addresses ---- */

/* Where it may be: as it told itself, as the membership says, as the setting says; each attempt tries the next. */
static const char *pick_address(const Link *link) {
  const Peer *peer = transport_find_peer(link->transport, link->id, &link->directory);
  const char *told = peer ? peer->peer_address : NULL;
  const char *setting = g_hash_table_lookup(link->transport->settings, &link->id);
  const char *candidates[] = {told, link->member_address, setting};
  const char *usable[G_N_ELEMENTS(candidates)];
  guint count = 0;
  for (guint i = 0; i < G_N_ELEMENTS(candidates); i++)
    if (candidates[i] && *candidates[i])
      usable[count++] = candidates[i];
  return count ? usable[link->attempts % count] : NULL;
}

/* ---- Closing ---- */

static void drop_queue(Link *link) {
  g_ptr_array_set_size(link->queue, 0);
  link->queue_bytes = 0;
}

static void set_error(Link *link, const char *error) {
  gboolean news = g_strcmp0(link->error, error) != 0;
  if (news && error)
    slog_warning("another controller can't be talked to", "controller", SLOG_INT(link->id), "address",
                 link->address ? link->address : "", "error", error, NULL);
  if (news && !error && link->error)
    slog_info("another controller can be talked to again", "controller", SLOG_INT(link->id), NULL);
  if (!news)
    return;
  g_free(link->error);
  link->error = g_strdup(error);
}

/* The stream is no more: wait a little before the next, longer each time. */
static void close_link(Link *link, const char *error) {
  g_clear_pointer(&link->call, rpc_client_call_unref);
  drop_queue(link);
  guint doublings = MIN(link->attempts, 6);
  gint64 backoff_ms = MIN(BACKOFF_FIRST_MS << doublings, BACKOFF_MOST_MS);
  link->retry_at_us = g_get_monotonic_time() + backoff_ms * 1000;
  link->attempts++;
  link->welcomed = link->busy = FALSE;
  link->unanswered_us = 0;
  set_error(link, error);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  close_link(state, failure ? failure_message(failure) : "It closed the stream: it stops.");
}

/* ---- Opening ---- */

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Link *link = state;
  if (!message)
    return;
  const Milena__Internal__V1__ExchangeResponse *response = rpc_message_body(message);
  if (response->frame_case == MILENA__INTERNAL__V1__EXCHANGE_RESPONSE__FRAME_WELCOME) {
    link->welcomed = TRUE;
    link->attempts = 0;
    set_error(link, NULL);
  }
  rpc_client_call_read(call);
}

static void on_writable(RpcClientCall *call, gpointer state) {
  (void)call;
  Link *link = state;
  link->busy = FALSE;
  link_flush(link);
}

static void send_hello(Link *link) {
  const Transport *transport = link->transport;
  char mine[DIRECTORY_TEXT_BYTES], theirs[DIRECTORY_TEXT_BYTES];
  directory_text(&transport->options.directory, mine);
  directory_text(&link->directory, theirs);
  Milena__Internal__V1__ExchangeHello hello = MILENA__INTERNAL__V1__EXCHANGE_HELLO__INIT;
  hello.format = WIRE_FORMAT;
  hello.cluster_id = transport->cluster_id;
  hello.from_id = transport->options.id;
  hello.from_directory_id = mine;
  hello.to_id = (gint32)link->id;
  hello.to_directory_id = theirs;
  hello.from_peer_address = transport->peer_address;
  hello.from_address = transport->address;
  hello.configuration_index = transport->configuration_index;
  Milena__Internal__V1__ExchangeRequest request = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_HELLO;
  request.hello = &hello;
  link->busy = rpc_client_call_send(link->call, &request.base, NULL, 0) == RPC_BUSY;
}

void link_open(Link *link) {
  static const RpcClientEvents EVENTS = {on_message, on_writable, on_closed};
  const char *address = pick_address(link);
  if (!address)
    return;
  g_free(link->address);
  link->address = g_strdup(address);
  link->opened_us = g_get_monotonic_time();
  link->call = rpc_client_stream(link->transport->client, address, &milena__internal__v1__raft_service__descriptor,
                                 "Exchange", G_MAXINT64, link->transport->loop, &EVENTS, link);
  send_hello(link);
  rpc_client_call_read(link->call);
}

/* ---- Sending ---- */

void link_send(Link *link, RaftMessage *message) {
  gsize bytes = wire_message_bytes(message);
  gint64 now_us = g_get_monotonic_time();
  link->used_us = now_us;
  if (!link->call && now_us >= link->retry_at_us)
    link_open(link);
  gboolean full = link->queue->len >= QUEUE_MESSAGES_MAX || link->queue_bytes + bytes > QUEUE_BYTES_MAX;
  if (!link->call || (full && link->queue->len > 0)) {
    raft_message_free(message);
    return;
  }
  g_ptr_array_add(link->queue, message);
  link->queue_bytes += bytes;
}

void link_flush(Link *link) {
  guint sent = 0;
  while (link->call && !link->busy && sent < link->queue->len) {
    guint taken = 0;
    g_autoptr(RpcMessage) frame =
        wire_pack((RaftMessage *const *)link->queue->pdata + sent, link->queue->len - sent, &taken);
    RpcSendResult result = rpc_client_call_send_message(link->call, frame);
    for (guint i = 0; i < taken; i++)
      link->queue_bytes -= wire_message_bytes(link->queue->pdata[sent + i]);
    sent += taken;
    link->busy = result != RPC_SENT;
    if (!link->unanswered_us)
      link->unanswered_us = g_get_monotonic_time();
  }
  if (sent > 0)
    g_ptr_array_remove_range(link->queue, 0, sent);
}

void link_heard(Link *link) {
  link->unanswered_us = 0;
}

/* ---- Time ---- */

void link_tick(Link *link, gint64 now_us) {
  if (!link->call) {
    if (now_us >= link->retry_at_us)
      link_open(link);
    return;
  }
  if (!link->unanswered_us || now_us - link->unanswered_us < SILENCE_US)
    return;
  rpc_client_call_abandon(link->call);
  rpc_client_forget(link->transport->client, link->address);
  close_link(link, "It has not answered for 2 s: it hangs, or the network between is cut.");
}

/* ---- Making ---- */

static void message_free(gpointer message) {
  raft_message_free(message);
}

Link *link_new(Transport *transport, guint64 id, const RaftDirectory *directory) {
  Link *link = g_new0(Link, 1);
  link->transport = transport;
  link->id = id;
  link->directory = *directory;
  link->queue = g_ptr_array_new_with_free_func(message_free);
  link->used_us = g_get_monotonic_time();
  return link;
}

void link_free(Link *link) {
  if (link->call) {
    rpc_client_call_abandon(link->call);
    rpc_client_call_unref(link->call);
  }
  g_ptr_array_unref(link->queue);
  g_free(link->member_address);
  g_free(link->address);
  g_free(link->error);
  g_free(link);
}
