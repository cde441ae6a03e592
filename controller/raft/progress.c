/* One peer's progress; see progress.h.
 *
 * Invariant: match < next. Owning thread: the core's. Failure modes: none; stale answers are told from fresh ones. */
#include "controller/raft/progress.h"

#include "services/base/invariant.h"

void raft_progress_init(RaftProgress *progress, guint64 id, guint64 next) {
  *progress = (RaftProgress){.id = id, .next = next, .in_flight = g_array_new(FALSE, FALSE, sizeof(guint64))};
}

void raft_progress_clear(RaftProgress *progress) {
  g_clear_pointer(&progress->in_flight, g_array_unref);
}

gboolean raft_progress_is_paused(const RaftProgress *progress, guint inflight_max) {
  return progress->replicate ? progress->in_flight->len >= inflight_max : progress->waiting;
}

void raft_progress_sent(RaftProgress *progress, guint count) {
  if (!progress->replicate) {
    progress->waiting = TRUE;
    return;
  }
  if (count == 0)
    return;
  progress->next += count;
  guint64 last = progress->next - 1;
  g_array_append_val(progress->in_flight, last);
}

gboolean raft_progress_accepted(RaftProgress *progress, guint64 index) {
  guint answered = 0;
  while (answered < progress->in_flight->len && g_array_index(progress->in_flight, guint64, answered) <= index)
    answered++;
  if (answered > 0)
    g_array_remove_range(progress->in_flight, 0, answered);
  progress->waiting = FALSE;
  progress->next = MAX(progress->next, index + 1);
  gboolean fresh = index > progress->match;
  progress->match = MAX(progress->match, index);
  if (!progress->replicate) {
    progress->replicate = TRUE;
    progress->next = progress->match + 1;
  }
  INVARIANT(progress->match < progress->next, "what is known to be there is not sent again");
  return fresh;
}

gboolean raft_progress_rejected(RaftProgress *progress, guint64 index, guint64 hint) {
  gboolean stale = progress->replicate ? index <= progress->match : index != progress->next - 1;
  if (stale)
    return FALSE;
  progress->replicate = FALSE;
  progress->waiting = FALSE;
  g_array_set_size(progress->in_flight, 0);
  progress->next = MAX(MIN(index, hint + 1), progress->match + 1);
  return TRUE;
}
