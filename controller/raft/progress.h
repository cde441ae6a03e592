/* What the leader knows about one peer's log. Pure; of the core alone. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* PROBE ──accepted──► REPLICATE: the leader sends ahead, up to inflight_max messages
 *   ▲──── rejected ────┘
 * PROBE: one message, then wait for its answer or the next heartbeat. */
typedef struct {
  guint64 id;
  guint64 match; /* equal to ours, and durable there, up to here */
  guint64 next;  /* the next entry to send */
  gboolean replicate;
  gboolean waiting;  /* a probe is out */
  gboolean heard;    /* since the last check of the quorum */
  GArray *in_flight; /* guint64: last index of each message with entries that has no answer yet */
} RaftProgress;

void raft_progress_init(RaftProgress *progress, guint64 id, guint64 next);
void raft_progress_clear(RaftProgress *progress);
/* Nothing more may be sent now. */
gboolean raft_progress_is_paused(const RaftProgress *progress, guint inflight_max);
/* A message with @count entries from next on was sent. */
void raft_progress_sent(RaftProgress *progress, guint count);
/* The peer's log equals ours up to @index. Returns TRUE when that is news. */
gboolean raft_progress_accepted(RaftProgress *progress, guint64 index);
/* The peer refused entries after @index, and proposes to go on after @hint. Returns FALSE when the answer is stale. */
gboolean raft_progress_rejected(RaftProgress *progress, guint64 index, guint64 hint);

G_END_DECLS
