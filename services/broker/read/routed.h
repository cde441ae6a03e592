/* An operation on a partition that goes to the partition's leader, here or elsewhere, and tries again when that moves.
 * What read, find and trim (source.h) have in common. Private to them. Thread: the front's loop.
 *
 *                 ┌────────────── retry ◄─ backoff, or metadata refreshed ◄─┐
 *   start ──► route ──► local: asked of the shard ────► answer ──► retriable and before the deadline?
 *                 │                                     ▲   │
 *                 └──► remote: asked of the leader ─────┘   └──► over (once)
 *
 * Memory: the caller holds a reference until it abandons the operation; what is in flight holds another. After
 * routed_abandon nothing is called but destroy. */
#pragma once

#include "services/broker/front.h"
#include "services/broker/read/source.h"

G_BEGIN_DECLS

typedef struct Routed Routed;

typedef struct {
  /* Ask routed->route.shard. It takes a reference, and gives it back with routed_answer. */
  void (*local)(Routed *routed);
  /* Ask routed->route.leader, with routed_ask. */
  void (*remote)(Routed *routed);
  /* Take the leader's answer. Returns NULL, or a failure as the leader would tell it. */
  Failure *(*take_answer)(Routed *routed, RpcMessage *message);
  /* Nobody wants the answer any more: give up what the shard was asked; its answer still comes. */
  void (*cancel)(Routed *routed);
  /* It ended. @failure: taken; NULL on success. */
  void (*over)(Routed *routed, Failure *failure);
  void (*destroy)(Routed *routed);
} RoutedOps;

struct Routed {
  const RoutedOps *ops;
  Front *front;
  char *topic, *topic_id;
  gint32 partition;
  gboolean no_proxy;
  gint64 deadline_us;
  Route route; /* of this try; what is known of it after a failure */

  /* Private. */
  guint references;
  FrontWatch watch;      /* while a leader elsewhere is asked: it may be fenced meanwhile */
  RpcClientCall *remote; /* what it is asked, or NULL */
  gboolean abandoned, starting, refreshed;
  guint tries;
  Timer timer;
  FrontRefresh *refresh;
  Failure *cause; /* of this retry; or of the end that is to be told */
};

/* @routed: zeroed; begins with the caller's reference */
void routed_init(Routed *routed, const RoutedOps *ops);
void routed_start(Routed *routed, Front *front, const SourceTarget *target);
Routed *routed_ref(Routed *routed);
/* What was asked has answered: takes @failure and the reference. */
void routed_answer(Routed *routed, Failure *failure);
/* Ask the leader elsewhere. Only from RoutedOps.remote. */
void routed_ask(Routed *routed, const ProtobufCServiceDescriptor *service, const char *method,
                const ProtobufCMessage *request, gint64 deadline_us);
/* The caller is not interested any more: takes its reference. */
void routed_abandon(Routed *routed);
/* Where it went; overwrites @ret_origin. */
void routed_fill_origin(const Routed *routed, SourceOrigin *ret_origin);

G_END_DECLS
