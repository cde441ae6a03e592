/* What the host has to do after events: one write, messages, a snapshot to restore, entries to apply, reads to answer.
 *
 * Invariants: writes are numbered without gaps; a message's after_write never names a write that is not given out with
 * it or before it; nothing is applied while a snapshot that comes before it is not durable. Owning thread: the core's.
 */
#include "controller/raft/core_internal.h"

static gboolean has_write(const RaftCore *core) {
  /* A commit index alone is worth no write: it is found again. */
  return core->hard_state_changed || raft_log_has_unwritten(&core->log) || (core->install && core->install_write == 0);
}

static RaftInstall *copy_install(const RaftInstall *install) {
  RaftInstall *copy = g_new(RaftInstall, 1);
  *copy = (RaftInstall){install->meta, g_bytes_ref(install->bytes)};
  return copy;
}

/* Give out one write with everything that is not persisted yet. */
static void take_write(RaftCore *core, RaftReady *ready) {
  ready->hard_state = (RaftHardState){core->term, core->vote, core->vote_directory, core->log.commit};
  gboolean wanted = has_write(core);
  ready->entries = raft_log_take_unwritten(&core->log);
  if (!wanted)
    return;
  ready->write_id = ++core->last_write;
  if (core->hard_state_changed)
    core->hard_state_write = ready->write_id;
  core->hard_state_changed = FALSE;
  if (core->install && core->install_write == 0) {
    ready->install = copy_install(core->install);
    core->install_write = ready->write_id;
  }
  RaftWrite write = {ready->write_id, raft_log_last_index(&core->log), raft_log_last_term(&core->log)};
  g_array_append_val(core->writes, write);
}

static gboolean may_restore(const RaftCore *core) {
  return core->install && !raft_is_installing(core);
}

static gboolean may_apply(const RaftCore *core) {
  return !raft_is_installing(core) && (core->install || raft_log_has_committed(&core->log));
}

static void take_applied(RaftCore *core, RaftReady *ready) {
  if (may_restore(core)) {
    ready->restore = g_steal_pointer(&core->install);
    core->install_write = 0;
    raft_log_restored(&core->log);
  }
  ready->committed = raft_is_installing(core) ? raft_entries_new() : raft_log_take_committed(&core->log);
}

gboolean raft_core_ready(RaftCore *core, RaftReady *ret_ready) {
  if (core->role == RAFT_LEADER) {
    raft_reads_flush(core);
    raft_flush_appends(core);
  }
  gboolean work = has_write(core) || may_apply(core) || core->messages->len > 0;
  GArray *reads = work ? NULL : raft_reads_take(core);
  if (!work && !reads)
    return FALSE;
  RaftReady ready = {0};
  take_write(core, &ready);
  take_applied(core, &ready);
  ready.messages = core->messages;
  core->messages = g_ptr_array_new_with_free_func((GDestroyNotify)raft_message_free);
  ready.reads = reads ? reads : raft_reads_take(core);
  if (!ready.reads)
    ready.reads = g_array_new(FALSE, FALSE, sizeof(RaftRead));
  *ret_ready = ready;
  return TRUE;
}

void raft_ready_clear(RaftReady *ready) {
  g_clear_pointer(&ready->install, raft_install_free);
  g_clear_pointer(&ready->restore, raft_install_free);
  g_clear_pointer(&ready->entries, g_ptr_array_unref);
  g_clear_pointer(&ready->messages, g_ptr_array_unref);
  g_clear_pointer(&ready->committed, g_ptr_array_unref);
  g_clear_pointer(&ready->reads, g_array_unref);
}
