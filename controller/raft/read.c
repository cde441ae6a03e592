/* Linearizable reads without the log (thesis, 6.4).
 *
 *   raft_core_read ──► waiting ──► asked ──► confirmed ──► ended
 *                       a round of heartbeats begins,   a quorum answers it,   what it needs is applied
 *
 * Protects: what a read sees holds all that was committed when it was asked for. For that the leader remembers its
 * commit index as a round of heartbeats begins, and a quorum that answers this very round shows that no later leader
 * had been elected by then. A leader that has not committed an entry of its own term does not know yet what is
 * committed: its reads wait. No clock is trusted: there are no leases. One round is under way at a time, and what comes
 * meanwhile shares the next; a round that was lost goes along with the next heartbeat.
 *
 * Reads end as lost when this is no leader any more. Owning thread: the core's. */
#include "controller/raft/core_internal.h"

void raft_reads_init(RaftReads *reads) {
  reads->waiting = g_array_new(FALSE, FALSE, sizeof(guint64));
  reads->asked = g_array_new(FALSE, FALSE, sizeof(guint64));
  reads->confirmed = g_array_new(FALSE, FALSE, sizeof(RaftConfirmedRead));
  reads->ended = g_array_new(FALSE, FALSE, sizeof(RaftRead));
}

void raft_reads_clear(RaftReads *reads) {
  g_clear_pointer(&reads->waiting, g_array_unref);
  g_clear_pointer(&reads->asked, g_array_unref);
  g_clear_pointer(&reads->confirmed, g_array_unref);
  g_clear_pointer(&reads->ended, g_array_unref);
}

Failure *raft_core_read(RaftCore *core, guint64 context) {
  RaftReads *reads = &core->reads;
  if (core->role != RAFT_LEADER)
    return failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one. Ask the active controller.");
  if (reads->waiting->len + reads->asked->len + reads->confirmed->len >= core->options.reads_max)
    return failure_new(FAILURE(OVERLOADED), "%u reads of the metadata wait already. Try again.",
                       core->options.reads_max);
  g_array_append_val(reads->waiting, context);
  return NULL;
}

static void confirm(RaftReads *reads) {
  for (guint i = 0; i < reads->asked->len; i++) {
    RaftConfirmedRead read = {g_array_index(reads->asked, guint64, i), reads->round_index};
    g_array_append_val(reads->confirmed, read);
  }
  g_array_set_size(reads->asked, 0);
  reads->asking = FALSE;
}

void raft_reads_count(RaftCore *core) {
  RaftReads *reads = &core->reads;
  if (!reads->asking)
    return;
  guint answered = raft_self_votes(core) ? 1 : 0;
  for (guint i = 0; i < core->peer_count; i++)
    answered += !core->peers[i].learner && core->peers[i].round >= reads->round ? 1 : 0;
  if (answered >= raft_quorum(core))
    confirm(reads);
}

void raft_reads_flush(RaftCore *core) {
  RaftReads *reads = &core->reads;
  if (reads->asking || reads->waiting->len == 0 || core->log.commit < core->first_of_term)
    return;
  GArray *asked = reads->asked;
  reads->asked = reads->waiting;
  reads->waiting = asked;
  reads->asking = TRUE;
  reads->round++;
  reads->round_index = core->log.commit;
  for (guint i = 0; i < core->peer_count; i++)
    if (!core->peers[i].learner)
      raft_send_heartbeat(core, &core->peers[i]);
  raft_reads_count(core); /* the only voter need not ask */
}

static void lose(RaftReads *reads, GArray *contexts) {
  for (guint i = 0; i < contexts->len; i++) {
    RaftRead read = {g_array_index(contexts, guint64, i), TRUE};
    g_array_append_val(reads->ended, read);
  }
  g_array_set_size(contexts, 0);
}

void raft_reads_lose(RaftCore *core) {
  lose(&core->reads, core->reads.asked);
  lose(&core->reads, core->reads.waiting);
  core->reads.asking = FALSE;
}

GArray *raft_reads_take(RaftCore *core) {
  RaftReads *reads = &core->reads;
  guint done = 0; /* their indexes rise */
  for (; done < reads->confirmed->len; done++) {
    const RaftConfirmedRead *confirmed = &g_array_index(reads->confirmed, RaftConfirmedRead, done);
    if (confirmed->index > core->log.applied)
      break;
    RaftRead read = {confirmed->context, FALSE};
    g_array_append_val(reads->ended, read);
  }
  if (done > 0)
    g_array_remove_range(reads->confirmed, 0, done);
  if (reads->ended->len == 0)
    return NULL;
  GArray *ended = reads->ended;
  reads->ended = g_array_new(FALSE, FALSE, sizeof(RaftRead));
  return ended;
}
