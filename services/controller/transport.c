/* Links and peers; see transport.h. link.c is the way out, exchange.c the way in.
 *
 * Invariants: one link for each (id, directory); those to members live as long as the membership names them, others as
 * long as something is sent. Owning thread: the host's loop. Failure modes: an address that can't be reached shows as
 * the link's error, is logged when it changes, and is tried again. */
#include <string.h>

#include "services/base/slog.h"
#include "services/controller/transport_internal.h"

/* Controllers that said hello and are no members, at most: others are not remembered. */
#define PEERS_MAX 64
/* A link to one that is no member ends when nothing was sent for so long. */
#define IDLE_LINK_US ((gint64)10 * G_USEC_PER_SEC)

/* ---- Peers ---- */

static void peer_free(gpointer value) {
  Peer *peer = value;
  g_free(peer->address);
  g_free(peer->peer_address);
  g_free(peer->refusal);
  g_free(peer);
}

Peer *transport_find_peer(const Transport *transport, guint64 id, const RaftDirectory *directory) {
  for (guint i = 0; i < transport->peers->len; i++) {
    Peer *peer = transport->peers->pdata[i];
    if (peer->id == id && raft_directory_equal(&peer->directory, directory))
      return peer;
  }
  return NULL;
}

Peer *transport_get_peer(Transport *transport, guint64 id, const RaftDirectory *directory) {
  Peer *peer = transport_find_peer(transport, id, directory);
  if (peer)
    return peer;
  if (transport->peers->len >= PEERS_MAX)
    g_ptr_array_remove_index(transport->peers, 0);
  peer = g_new0(Peer, 1);
  peer->id = id;
  peer->directory = *directory;
  g_ptr_array_add(transport->peers, peer);
  return peer;
}

/* ---- Links ---- */

static Link *find_link(const Transport *transport, guint64 id, const RaftDirectory *directory) {
  for (guint i = 0; i < transport->links->len; i++) {
    Link *link = transport->links->pdata[i];
    if (link->id == id && raft_directory_equal(&link->directory, directory))
      return link;
  }
  return NULL;
}

static Link *get_link(Transport *transport, guint64 id, const RaftDirectory *directory) {
  Link *link = find_link(transport, id, directory);
  if (!link) {
    link = link_new(transport, id, directory);
    g_ptr_array_add(transport->links, link);
  }
  return link;
}

static void link_destroy(gpointer value) {
  link_free(value);
}

void transport_set_cluster(Transport *transport, const char *cluster_id) {
  g_free(transport->cluster_id);
  transport->cluster_id = g_strdup(cluster_id);
}

void transport_set_members(Transport *transport, const RaftConfiguration *configuration, guint64 configuration_index) {
  transport->configuration_index = configuration_index;
  for (guint i = 0; i < transport->links->len; i++) {
    Link *link = transport->links->pdata[i];
    g_clear_pointer(&link->member_address, g_free);
  }
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    if (member->id == (guint64)transport->options.id || raft_directory_is_unknown(&member->directory))
      continue;
    get_link(transport, member->id, &member->directory)->member_address = g_strdup(member->address);
  }
}

void transport_send(Transport *transport, RaftMessage *message) {
  if (transport->stopped || !*transport->cluster_id) {
    raft_message_free(message);
    return;
  }
  link_send(get_link(transport, message->to, &message->to_directory), message);
}

void transport_flush(Transport *transport) {
  for (guint i = 0; i < transport->links->len; i++)
    link_flush(transport->links->pdata[i]);
}

void transport_tick(Transport *transport) {
  if (transport->stopped || !*transport->cluster_id)
    return;
  gint64 now_us = g_get_monotonic_time();
  for (guint i = transport->links->len; i > 0; i--) {
    Link *link = transport->links->pdata[i - 1];
    if (!link->member_address && now_us - link->used_us > IDLE_LINK_US)
      g_ptr_array_remove_index(transport->links, i - 1);
    else
      link_tick(link, now_us);
  }
}

/* ---- State ---- */

gboolean transport_is_open_to(const Transport *transport, const char *address) {
  for (guint i = 0; i < transport->links->len; i++) {
    const Link *link = transport->links->pdata[i];
    if (link->call && strcmp(link->address, address) == 0)
      return TRUE;
  }
  return FALSE;
}

TransportPeer transport_peer(const Transport *transport, guint64 id, const RaftDirectory *directory) {
  const Link *link = find_link(transport, id, directory);
  const Peer *peer = transport_find_peer(transport, id, directory);
  const char *error = link ? link->error : NULL;
  return (TransportPeer){
      .heard_us = peer ? peer->heard_us : 0,
      .error = !error && peer ? peer->refusal : error,
      .down = !link || !link->call,
      .address = peer ? peer->address : NULL,
      .peer_address = peer ? peer->peer_address : NULL,
  };
}

/* ---- Making ---- */

/* "2=host:port,...": main() has checked it. */
static GHashTable *parse_settings(const char *text) {
  GHashTable *settings = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
  g_auto(GStrv) parts = g_strsplit(text, ",", -1);
  for (char **part = parts; *part; part++) {
    char *equals = strchr(*part, '=');
    if (!equals)
      continue;
    guint64 *id = g_new(guint64, 1);
    *id = g_ascii_strtoull(*part, NULL, 10);
    g_hash_table_insert(settings, id, g_strdup(equals + 1));
  }
  return settings;
}

Transport *transport_new(Loop *loop, RpcClient *client, const TransportOptions *options,
                         const TransportEvents *events) {
  Transport *transport = g_new0(Transport, 1);
  transport->loop = loop;
  transport->client = client;
  transport->options = *options;
  transport->events = *events;
  transport->address = g_strdup(options->address);
  transport->peer_address = g_strdup(options->peer_address);
  transport->settings = parse_settings(options->controllers ? options->controllers : "");
  transport->cluster_id = g_strdup("");
  transport->links = g_ptr_array_new_with_free_func(link_destroy);
  transport->peers = g_ptr_array_new_with_free_func(peer_free);
  transport->inbounds = g_hash_table_new(NULL, NULL);
  return transport;
}

void transport_stop(Transport *transport) {
  transport->stopped = TRUE;
  g_ptr_array_set_size(transport->links, 0);
  exchange_stop(transport);
}

void transport_free(Transport *transport) {
  if (!transport)
    return;
  g_ptr_array_unref(transport->links);
  g_ptr_array_unref(transport->peers);
  INVARIANT(g_hash_table_size(transport->inbounds) == 0, "calls end before what serves them");
  g_hash_table_unref(transport->inbounds);
  g_hash_table_unref(transport->settings);
  g_free(transport->address);
  g_free(transport->peer_address);
  g_free(transport->cluster_id);
  g_free(transport);
}
