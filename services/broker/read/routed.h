/* An operation on a partition that goes to the partition's leader, here or elsewhere, and tries again when that moves.
 * What read, find and topic lookup (source.h) have in common. Private to them. Thread: the front's loop.
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
  /* Ask routed->route.leader; likewise. */
  void (*remote)(Routed *routed);
  /* The leader elsewhere will not answer: give up what it was asked. Returns FALSE when nothing was; else the reference
   * is the caller's. */
  gboolean (*hang_up)(Routed *routed);
  /* Give up what was asked; its answer still comes, or routed_drop is called. */
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
  FrontWatch watch; /* while a leader elsewhere is asked: it may be fenced meanwhile */
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
/* What was asked will not answer: takes its reference. Only from RoutedOps.cancel. */
void routed_drop(Routed *routed);
/* The caller is not interested any more: takes its reference. */
void routed_abandon(Routed *routed);
/* Where it went; overwrites @ret_origin. */
void routed_fill_origin(const Routed *routed, SourceOrigin *ret_origin);
/* The failure of a call to the leader, owned by the caller: named after the leader where nothing else names it. */
Failure *routed_remote_failure(const Routed *routed, const Failure *failure);

G_END_DECLS
