/* A consumer's membership in a group: what the user's thread and the client's loop share, under the consumer's mutex.
 *
 *   user's thread (consumer_group.c)                   the client's loop (group.c)
 *   ────────────────────────────────                   ──────────────────────────
 *   poll: tells changes, applies them ◄── Member ──►   heartbeats: a long poll at the coordinator
 *   commit: queues a Commit, waits  ──► commits  ──►   one call after the other, tried again until its deadline
 *
 * One commit is under way at a time: an older one that is tried again never overtakes a newer one. */
#pragma once

#include <milena/group.h>

#include "client/libmilena/consumer.h"
#include "client/libmilena/member.h"

G_BEGIN_DECLS

typedef struct Group Group;
typedef struct GroupLink GroupLink; /* the loop's half */

/* An offset to commit. Owns its strings. */
typedef struct {
  char *topic, *topic_id, *metadata;
  gint32 partition;
  gint64 offset;
  gint32 leader_epoch;
} CommitItem;

/* A commit, until it is kept or given up. Reference-counted under the mutex. */
typedef struct {
  guint refs;
  GArray *items; /* of CommitItem */
  gint64 deadline_us;
  gboolean finished;
  Failure *failure; /* of a finished one: why it is not kept */
  Outcome outcome;
  MilenaCommitFunc done; /* may be NULL */
  void *user_data;
  guint attempts;
  guint32 epoch;          /* the member's, in the latest try */
  gint64 fenced_since_us; /* the coordinator knows another epoch of the member; 0: not */
} Commit;

struct Group {
  MilenaConsumer *consumer;
  MilenaGroupOptions options; /* its strings are owned, and what `wishes` borrows */
  char *member_id;
  MemberWishes wishes;
  GroupLink *link;

  /* Guarded by the consumer's mutex. */
  Member *member;
  GQueue commits;      /* of Commit, a reference each: the first may be under way */
  Failure *refused;    /* why the member is out for good: for the next poll */
  gint64 polled_us;    /* when the user polled last */
  gint64 committed_us; /* when the latest automatic commit began */
  guint auto_commits;  /* automatic commits that are not finished */
  gboolean telling;    /* the user is being told a change: it is at work, however long */
};

/* All with the mutex held. */
Commit *commit_new(gint64 deadline_us, MilenaCommitFunc done, void *user_data);
Commit *commit_ref(Commit *commit);
void commit_unref(Commit *commit);
void commit_add(Commit *commit, const char *topic, const char *topic_id, gint32 partition, gint64 offset,
                gint32 leader_epoch, const char *metadata);
/* It was kept, or given up. @failure: taken; NULL: kept. Drops the queue's reference, if it was in the queue. */
void commit_finish(Group *group, Commit *commit, Failure *failure, Outcome outcome);

/* The loop's half. Not on the loop. */
GroupLink *group_link_new(Group *group);
void group_link_wake(GroupLink *link); /* look again, soon; any thread */
/* Ends all calls; commits that are left fail. NULL is fine. */
void group_link_free(GroupLink *link);

/* ---- the user's half, called by consumer.c on the user's thread, the mutex not held ---- */

/* At the beginning of a poll and whenever group_wants_turn: commit, tell changes. Returns what does not pass. */
MilenaError *group_turn(Group *group, gboolean begins);
/* The mutex is held. */
gboolean group_wants_turn(const Group *group);
void group_free(Group *group); /* leaves; NULL is fine */

G_END_DECLS
