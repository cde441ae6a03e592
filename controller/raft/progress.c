/* One peer's progress; see progress.h.
 *
 * Invariants: match < next; in_flight rises and holds nothing up to match; in SNAPSHOT nothing is in flight, and
 * acked <= sent <= snapshot_size. Owning thread: the core's. Failure modes: none; stale answers are told from fresh
 * ones, and what was lost shows when the next message is refused or a heartbeat is answered. */
#include "controller/raft/progress.h"

#include "services/base/invariant.h"

void raft_progress_init(RaftProgress *progress, const RaftMember *member, guint64 next) {
  *progress = (RaftProgress){
      .id = member->id,
      .directory = member->directory,
      .learner = member->learner,
      .next = next,
      .in_flight = g_array_new(FALSE, FALSE, sizeof(RaftInFlight)),
  };
}

void raft_progress_clear(RaftProgress *progress) {
  g_clear_pointer(&progress->in_flight, g_array_unref);
}

gboolean raft_progress_is_paused(const RaftProgress *progress, const RaftOptions *options) {
  switch (progress->mode) {
  case RAFT_PEER_PROBE:
    return progress->waiting;
  case RAFT_PEER_REPLICATE:
    return progress->in_flight->len >= options->inflight_max ||
           progress->in_flight_bytes >= options->inflight_bytes_max;
  case RAFT_PEER_SNAPSHOT:
    return TRUE;
  }
  return TRUE;
}

void raft_progress_sent(RaftProgress *progress, guint count, gsize bytes) {
  if (progress->mode == RAFT_PEER_PROBE) {
    progress->waiting = TRUE;
    return;
  }
  if (count == 0)
    return;
  progress->next += count;
  RaftInFlight message = {progress->next - 1, bytes};
  g_array_append_val(progress->in_flight, message);
  progress->in_flight_bytes += bytes;
}

/* Messages whose entries are all there have been answered. */
static void drop_answered(RaftProgress *progress) {
  guint answered = 0;
  for (; answered < progress->in_flight->len; answered++) {
    const RaftInFlight *message = &g_array_index(progress->in_flight, RaftInFlight, answered);
    if (message->last > progress->match)
      break;
    progress->in_flight_bytes -= message->bytes;
  }
  if (answered > 0)
    g_array_remove_range(progress->in_flight, 0, answered);
}

static void drop_in_flight(RaftProgress *progress) {
  g_array_set_size(progress->in_flight, 0);
  progress->in_flight_bytes = 0;
  progress->waiting = FALSE;
}

static void replicate(RaftProgress *progress) {
  drop_in_flight(progress);
  progress->mode = RAFT_PEER_REPLICATE;
  progress->next = progress->match + 1;
  progress->snapshot_index = progress->snapshot_size = progress->acked = progress->sent = 0;
}

gboolean raft_progress_accepted(RaftProgress *progress, guint64 index, guint64 first) {
  gboolean fresh = index > progress->match;
  progress->match = MAX(progress->match, index);
  progress->next = MAX(progress->next, progress->match + 1);
  progress->waiting = FALSE;
  drop_answered(progress);
  /* A snapshot is needed no more once the log holds what follows. */
  gboolean served = progress->mode != RAFT_PEER_SNAPSHOT || progress->match + 1 >= first;
  if (progress->mode != RAFT_PEER_REPLICATE && served)
    replicate(progress);
  INVARIANT(progress->match < progress->next, "what is known to be there is not sent again");
  return fresh;
}

gboolean raft_progress_rejected(RaftProgress *progress, guint64 index, guint64 hint) {
  gboolean stale = progress->mode == RAFT_PEER_SNAPSHOT ||
                   (progress->mode == RAFT_PEER_REPLICATE ? index <= progress->match : index != progress->next - 1);
  if (stale)
    return FALSE;
  drop_in_flight(progress);
  progress->mode = RAFT_PEER_PROBE;
  progress->next = MAX(MIN(index, hint + 1), progress->match + 1);
  return TRUE;
}

void raft_progress_begin_snapshot(RaftProgress *progress, const RaftSnapshotMeta *meta) {
  drop_in_flight(progress);
  progress->mode = RAFT_PEER_SNAPSHOT;
  progress->snapshot_index = meta->index;
  progress->snapshot_size = meta->size_bytes;
  progress->next = meta->index + 1;
  progress->acked = progress->sent = 0;
  progress->begun = progress->again = FALSE;
  progress->idle_ticks = 0;
}
