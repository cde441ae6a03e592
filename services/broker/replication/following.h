/* A partition's place among those that its broker follows: embedded in the partition. Thread: the shard's loop. */
#pragma once

#include "services/base/timers.h"

G_BEGIN_DECLS

typedef struct Partition Partition;
typedef struct ReplicationLink ReplicationLink;

/*   OFF ──a leader elsewhere──► WANTS ──position told──► ASKED ──goes on──► FOLLOWS
 *                                 ▲                        │ diverged: cut      │ lost, refused, does not follow
 *                                 └────────────────────────┴──── after a while ─┘
 * For want of room on the disk a replica goes from FOLLOWS to WANTS as well, and stays there until there is room. */
typedef enum { FOLLOWING_OFF, FOLLOWING_WANTS, FOLLOWING_ASKED, FOLLOWING_FOLLOWS } FollowingState;

typedef struct {
  FollowingState state;
  ReplicationLink *link; /* to the leader's broker; NULL while OFF */
  GList node;            /* in link's partitions */
  gint32 leader_epoch;   /* that it follows, or wants to */
  guint refusals;        /* one after the other */
  gboolean held_back;    /* the disk had no room for what the leader sent */
  gboolean dirty;        /* has come on, and has not told it yet */
  GList dirty_node;      /* in link's dirty ones */
  Timer retry;
} Following;
#define FOLLOWING_INIT                                                                                                 \
  { .state = FOLLOWING_OFF }

/* The metadata gave the partition another leader, or took it away. */
void following_assigned(Partition *partition);
/* The storage carried out a write of the partition's. */
void following_written(Partition *partition);

G_END_DECLS
