/* What the leader knows about one peer's log. Pure; of the core alone. */
#pragma once

#include "controller/raft/raft.h"

G_BEGIN_DECLS

/*          accepted                     needs what is compacted
 * PROBE ─────────────► REPLICATE     any ─────────────► SNAPSHOT
 *   ▲──── rejected ───────┘                   has it ──► REPLICATE
 *
 * PROBE: one message, then wait for its answer or for the answer to a heartbeat.
 * REPLICATE: the leader sends ahead, bounded in messages and bytes.
 * SNAPSHOT: no entries; chunks of the snapshot, bounded in number. */
typedef struct {
  guint64 id;
  RaftDirectory directory;
  gboolean learner;
  RaftPeerMode mode;
  guint64 match;       /* equal to ours, and durable there, up to here */
  guint64 next;        /* the next entry to send */
  guint64 commit_told; /* the commit index that it was told last */
  gboolean waiting;    /* PROBE: one is out */
  gboolean asking;     /* a heartbeat went out by the clock: its answer may show that something was lost */
  guint heard_ticks;   /* since it was heard */
  guint64 round;       /* the newest round of reads that it answered */
  GArray *in_flight;   /* of RaftInFlight: messages with entries that have no answer yet */
  gsize in_flight_bytes;

  /* SNAPSHOT */
  guint64 snapshot_index, snapshot_size;
  guint64 acked, sent; /* bytes of it: there; on their way or there */
  gboolean again;      /* since acked moved, sent went back */
  gboolean begun;      /* something was sent */
  guint idle_ticks;    /* since acked moved, or sent went back */
} RaftProgress;

typedef struct {
  guint64 last; /* index of its last entry */
  gsize bytes;
} RaftInFlight;

void raft_progress_init(RaftProgress *progress, const RaftMember *member, guint64 next);
void raft_progress_clear(RaftProgress *progress);
/* No entries may be sent now. */
gboolean raft_progress_is_paused(const RaftProgress *progress, const RaftOptions *options);
/* A message with @count entries of @bytes from next on was sent. */
void raft_progress_sent(RaftProgress *progress, guint count, gsize bytes);
/* The peer's log equals ours up to @index. @first: of our log. Returns TRUE when that is news. */
gboolean raft_progress_accepted(RaftProgress *progress, guint64 index, guint64 first);
/* The peer refused entries after @index, and proposes to go on after @hint. Returns FALSE when the answer is stale. */
gboolean raft_progress_rejected(RaftProgress *progress, guint64 index, guint64 hint);
/* Send the snapshot from its beginning. */
void raft_progress_begin_snapshot(RaftProgress *progress, const RaftSnapshotMeta *meta);

G_END_DECLS
