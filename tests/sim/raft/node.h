/* One controller of the simulation: a process with a core and a machine, on a disk, with a clock of its own.
 *
 *   down ──node_start──► up ──node_stop, node_lose_disk──► down
 *                        up ◄──node_freeze, node_thaw──► frozen: time stands, what comes waits
 */
#pragma once

#include "tests/sim/raft/store.h"
#include "tests/sim/raft/world.h"

G_BEGIN_DECLS

struct Node {
  World *world;
  guint64 id;
  RaftDirectory directory; /* of the disk that is in it; unknown: none yet */
  Store *store;
  gboolean up, frozen;
  guint life;         /* counts starts: what was on its way in a former one is for nobody */
  gint64 own_tick_us; /* its clock's rate */
  gint64 tick_us;     /* now */
  gint64 slow_us;     /* what messages from and to it take longer */
  RaftCore *core;
  Machine *machine;
  GPtrArray *waiting; /* of RaftMessage: until their write is durable */
  guint64 handed_write, durable_write;
  GQueue inbox;        /* of Task, while frozen */
  gboolean deaf;       /* a test holds back what its disk says */
  GQueue disk_answers; /* guint64: those that are held back */

  /* What rules.c remembers of this life. */
  guint64 ticks;
  guint64 led_term;                  /* the term that it led after the last step; 0: none */
  guint64 handed_last;               /* last index that was given to the disk */
  guint64 seen_commit, seen_applied; /* checked up to here */
  guint64 heard_at[NODES_MAX + 1];   /* in ticks, by peer */
  guint lonely_ticks;                /* led without a quorum for so long */
  guint64 leader_term, leader_tick;  /* the term whose leader it heard last, and when */
  guint64 pre_vote_term;             /* in which pre_votes, a bit for each peer, were given to it */
  guint pre_votes;
  guint64 asked_term; /* whose leader asked it to stand */
  guint64 stood_term; /* in which it stood last */
};

Node *node_new(World *world, guint64 id);
void node_free(Node *node); /* NULL is fine */

/* A new, empty disk: somebody else from now on. @first: the entry that a cluster begins with, or NULL */
void node_new_disk(Node *node, RaftEntry *first);
void node_start(Node *node);
void node_stop(Node *node, SimCrash crash);
void node_freeze(Node *node);
void node_thaw(Node *node);
gboolean node_runs(const Node *node); /* up, and not frozen */

/* Do @func now, or once the node is thawed, or never when it ends before. */
void node_post(Node *node, void (*func)(Node *node, gpointer data), gpointer data, GDestroyNotify free);
void node_deliver(Node *node, const RaftMessage *message);
void node_tick(Node *node);
/* The oldest answer of its disk that is held back comes now. */
void node_hear_disk(Node *node);
/* Take the core's work; after each of its events. */
void node_work(Node *node);

/* ---- net.c ---- */

/* @message: taken */
void net_send(World *world, RaftMessage *message);

G_END_DECLS
