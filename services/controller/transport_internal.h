/* The transport's parts, for transport.c, link.c and exchange.c alone. */
#pragma once

#include "milena/internal/v1/raft_service.pb-c.h"
#include "services/controller/transport.h"
#include "services/controller/wire.h"

G_BEGIN_DECLS

/* What a controller's hellos told: kept by id and directory. */
typedef struct {
  guint64 id;
  RaftDirectory directory;
  gint64 heard_us;
  char *address, *peer_address; /* NULL: it never said hello */
  char *refusal;                /* why its hello, or that of another with its id, was refused; NULL: it was not */
} Peer;

/* One way to one controller; see link.c. */
typedef struct {
  Transport *transport;
  guint64 id;
  RaftDirectory directory;
  char *member_address; /* in the membership; NULL when it is no member: then the link ends when it is not used */
  RpcClientCall *call;  /* NULL: none is open */
  char *address;        /* that the call goes to */
  gboolean welcomed, busy;
  GPtrArray *queue; /* of RaftMessage */
  gsize queue_bytes;
  guint attempts; /* since the last welcome: the next address is tried each time */
  gint64 retry_at_us, opened_us, used_us;
  gint64 unanswered_us; /* since when something was sent that nothing came back for; 0: nothing */
  char *error;
} Link;

/* One way from one controller; see exchange.c. */
typedef struct {
  Transport *transport;
  RpcCall *call;
  WireEnds ends; /* from 0: before its hello */
} Inbound;

struct Transport {
  Loop *loop;
  RpcClient *client;
  TransportOptions options;
  TransportEvents events;
  char *address, *peer_address;
  GHashTable *settings; /* id → address, from the setting */
  char *cluster_id;
  guint64 configuration_index;
  GPtrArray *links;     /* of Link */
  GPtrArray *peers;     /* of Peer */
  GHashTable *inbounds; /* set of Inbound */
  gboolean stopped;
};

/* transport.c */
Peer *transport_find_peer(const Transport *transport, guint64 id, const RaftDirectory *directory);
/* The same, made when there is none; NULL when there are too many. */
Peer *transport_get_peer(Transport *transport, guint64 id, const RaftDirectory *directory);

/* link.c */
Link *link_new(Transport *transport, guint64 id, const RaftDirectory *directory);
void link_free(Link *link);
void link_open(Link *link);
void link_send(Link *link, RaftMessage *message); /* taken */
void link_flush(Link *link);
/* It was heard from the other side: what was sent may have arrived. */
void link_heard(Link *link);
/* Reopen, or give up what hangs. */
void link_tick(Link *link, gint64 now_us);

/* exchange.c */
void exchange_stop(Transport *transport);

G_END_DECLS
