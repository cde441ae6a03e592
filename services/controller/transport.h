/* Raft's messages between controllers: one stream for each ordered pair, opened by the one that sends.
 *
 *   hello (who speaks to whom, of which cluster) ──► welcome; then frames of messages.  Or refused, with the reason
 *
 * A link that breaks is opened again with backoff, and what waited for it is dropped: Raft sends again what matters.
 * What waits is bounded by count and bytes, so a slow or silent peer costs bounded memory and holds up nobody. All on
 * one loop. */
#pragma once

#include "controller/raft/raft.h"
#include "services/controller/directory.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Transport Transport;

typedef struct {
  gint32 id;
  RaftDirectory directory;
  const char *address, *peer_address; /* advertised; copied */
  /* "2=host:port,3=host:port": tried where the membership's address does not answer; "" for none; copied */
  const char *controllers;
} TransportOptions;

/* What happens; all on the loop. */
typedef struct {
  /* A message arrived; borrowed. */
  void (*message)(const RaftMessage *message, gpointer data);
  /* A controller of this cluster speaks to this one, which belongs to none: NULL when it does from now on. */
  Failure *(*adopt)(const char *cluster_id, gpointer data);
  /* May it speak? NULL, or why not: it was removed, or another folder has taken its place. */
  Failure *(*check)(guint64 id, const RaftDirectory *directory, guint64 configuration_index, gpointer data);
  /* The stream that this controller spoke on has ended. */
  void (*lost)(guint64 id, gpointer data);
  gpointer data;
} TransportEvents;

/* @client: outlives it */
Transport *transport_new(Loop *loop, RpcClient *client, const TransportOptions *options, const TransportEvents *events);
void transport_free(Transport *transport); /* after transport_stop, once the servers are gone; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Transport, transport_free)

/* The cluster that this controller belongs to; "" while it waits. Nothing is sent before it is known. */
void transport_set_cluster(Transport *transport, const char *cluster_id);
/* The members that links are kept to. */
void transport_set_members(Transport *transport, const RaftConfiguration *configuration, guint64 configuration_index);
/* @message: taken; dropped when its addressee can't be reached or lags too far behind */
void transport_send(Transport *transport, RaftMessage *message);
/* Pass on what was sent since the last flush, in as few frames as may be. */
void transport_flush(Transport *transport);
/* Open what is to be opened, break what hangs. To be called some times a second. */
void transport_tick(Transport *transport);
/* Close all links. */
void transport_stop(Transport *transport);

/* What is known of a controller. */
typedef struct {
  gint64 heard_us;          /* monotonic; 0: never */
  const char *error;        /* why it can't be talked to, a sentence; NULL: it can, or nobody tried */
  gboolean down;            /* no stream to it is open */
  const char *address;      /* as it told; NULL: never; borrowed */
  const char *peer_address; /* likewise */
} TransportPeer;
/* A link to this address is open. */
gboolean transport_is_open_to(const Transport *transport, const char *address);
TransportPeer transport_peer(const Transport *transport, guint64 id, const RaftDirectory *directory);

/* Handler of RaftService.Exchange: takes over the call. */
void transport_exchange(Transport *transport, RpcCall *call);

G_END_DECLS
