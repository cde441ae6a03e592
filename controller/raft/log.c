/* The log in memory; see log.h for the order of its marks.
 *
 * Invariants: indexes have no gaps and terms never fall; what is committed is never cut. Owning thread: the core's.
 * Failure modes: a merge that would cut a committed entry is refused: somebody's log is damaged. */
#include "controller/raft/log.h"

#include "services/base/invariant.h"

void raft_log_init(RaftLog *log, guint64 snapshot_index, guint64 snapshot_term) {
  *log = (RaftLog){
      .entries = raft_entries_new(),
      .snapshot_index = snapshot_index,
      .snapshot_term = snapshot_term,
      .applied = snapshot_index,
      .commit = snapshot_index,
      .stable = snapshot_index,
      .handed = snapshot_index,
  };
}

void raft_log_clear(RaftLog *log) {
  g_clear_pointer(&log->entries, g_ptr_array_unref);
}

guint64 raft_log_last_index(const RaftLog *log) {
  return log->snapshot_index + log->entries->len;
}

guint64 raft_log_last_term(const RaftLog *log) {
  return raft_log_term_at(log, raft_log_last_index(log));
}

RaftEntry *raft_log_entry(const RaftLog *log, guint64 index) {
  if (index <= log->snapshot_index || index > raft_log_last_index(log))
    return NULL;
  return log->entries->pdata[index - log->snapshot_index - 1];
}

guint64 raft_log_term_at(const RaftLog *log, guint64 index) {
  if (index == log->snapshot_index)
    return log->snapshot_term;
  const RaftEntry *entry = raft_log_entry(log, index);
  return entry ? entry->term : 0;
}

gboolean raft_log_is_up_to_date(const RaftLog *log, guint64 index, guint64 term) {
  guint64 last_term = raft_log_last_term(log);
  return term > last_term || (term == last_term && index >= raft_log_last_index(log));
}

void raft_log_append(RaftLog *log, RaftEntry *entry) {
  INVARIANT(entry->index == raft_log_last_index(log) + 1, "indexes have no gaps");
  INVARIANT(entry->term >= raft_log_last_term(log), "terms never fall");
  g_ptr_array_add(log->entries, entry);
}

/* Cut everything from @index on. */
static void cut(RaftLog *log, guint64 index) {
  INVARIANT(index > log->commit, "what is committed is never cut");
  g_ptr_array_set_size(log->entries, (gint)(index - log->snapshot_index - 1));
  log->stable = MIN(log->stable, index - 1);
  log->handed = MIN(log->handed, index - 1);
}

Failure *raft_log_merge(RaftLog *log, const GPtrArray *entries, guint64 *ret_from) {
  for (guint i = 0; entries && i < entries->len; i++) {
    RaftEntry *entry = entries->pdata[i];
    if (entry->index <= log->snapshot_index || raft_log_term_at(log, entry->index) == entry->term)
      continue; /* here already */
    if (entry->index <= log->commit)
      return failure_new(FAILURE(CORRUPT_LOG),
                         "The leader's entry %" G_GUINT64_FORMAT " differs from one that is committed here: one of the "
                         "two controllers has a damaged log. Stop this one, keep its folder, and compare.",
                         entry->index);
    if (entry->index <= raft_log_last_index(log))
      cut(log, entry->index);
    if (entry->term < raft_log_last_term(log))
      return failure_new(FAILURE(CORRUPT_LOG),
                         "The leader's entry %" G_GUINT64_FORMAT
                         " is of an older term than the one before it here: one "
                         "of the two controllers has a damaged log. Stop this one, keep its folder, and compare.",
                         entry->index);
    if (*ret_from == 0)
      *ret_from = entry->index;
    raft_log_append(log, raft_entry_ref(entry));
  }
  return NULL;
}

void raft_log_set_stable(RaftLog *log, guint64 index, guint64 term) {
  /* Equal index and term mean an equal log up to there; else what was written has been cut since. */
  if (index > log->stable && raft_log_term_at(log, index) == term)
    log->stable = MIN(index, log->handed);
}

gboolean raft_log_set_commit(RaftLog *log, guint64 index) {
  if (index <= log->commit)
    return FALSE;
  INVARIANT(index <= raft_log_last_index(log), "only entries that exist are committed");
  log->commit = index;
  return TRUE;
}

void raft_log_compact(RaftLog *log, guint64 index) {
  if (index <= log->snapshot_index)
    return;
  INVARIANT(index <= log->applied, "only what was applied is in a snapshot");
  guint64 term = raft_log_term_at(log, index);
  g_ptr_array_remove_range(log->entries, 0, (guint)(index - log->snapshot_index));
  log->snapshot_index = index;
  log->snapshot_term = term;
}

void raft_log_reset(RaftLog *log, guint64 index, guint64 term) {
  INVARIANT(index > log->commit, "a snapshot never takes the place of a newer state");
  g_ptr_array_set_size(log->entries, 0);
  log->snapshot_index = log->commit = log->stable = log->handed = index;
  log->snapshot_term = term;
}

void raft_log_restored(RaftLog *log) {
  INVARIANT(log->applied < log->snapshot_index, "a snapshot is restored once");
  log->applied = log->snapshot_index;
}

static GPtrArray *range(const RaftLog *log, guint64 after, guint64 to) {
  GPtrArray *entries = raft_entries_new();
  for (guint64 index = after + 1; index <= to; index++)
    g_ptr_array_add(entries, raft_entry_ref(raft_log_entry(log, index)));
  return entries;
}

GPtrArray *raft_log_take_unwritten(RaftLog *log) {
  guint64 from = log->handed;
  log->handed = raft_log_last_index(log);
  return range(log, from, log->handed);
}

gboolean raft_log_has_unwritten(const RaftLog *log) {
  return log->handed < raft_log_last_index(log);
}

gboolean raft_log_has_committed(const RaftLog *log) {
  return log->applied < MIN(log->commit, log->stable);
}

GPtrArray *raft_log_take_committed(RaftLog *log) {
  guint64 from = log->applied, to = MIN(log->commit, log->stable);
  INVARIANT(from >= log->snapshot_index, "what a snapshot holds is restored, not applied");
  log->applied = MAX(from, to);
  return range(log, from, log->applied);
}
