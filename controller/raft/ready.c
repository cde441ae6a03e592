/* What the host has to do after an event: one write, messages, entries to apply.
 *
 * Invariants: writes are numbered without gaps; a message's after_write never names a write that is not given out with
 * it or before it. Owning thread: the core's. */
#include "controller/raft/core_internal.h"

/* Give out one write with everything that is not persisted yet. */
static void take_write(RaftCore *core, RaftReady *ready) {
  ready->entries = raft_log_take_unwritten(&core->log);
  ready->hard_state = (RaftHardState){.term = core->term, .vote = core->vote, .commit = core->log.commit};
  if (ready->entries->len == 0 && !core->hard_state_changed)
    return; /* a commit index alone is worth no write: it is found again */
  core->hard_state_changed = FALSE;
  ready->write_id = ++core->last_write;
  RaftWrite write = {ready->write_id, raft_log_last_index(&core->log), raft_log_last_term(&core->log)};
  g_array_append_val(core->writes, write);
}

gboolean raft_core_ready(RaftCore *core, RaftReady *ret_ready) {
  RaftReady ready = {0};
  take_write(core, &ready);
  ready.committed = raft_log_take_committed(&core->log);
  ready.messages = core->messages;
  core->messages = g_ptr_array_new_with_free_func((GDestroyNotify)raft_message_free);
  if (!ready.write_id && ready.committed->len == 0 && ready.messages->len == 0) {
    raft_ready_clear(&ready);
    return FALSE;
  }
  *ret_ready = ready;
  return TRUE;
}

void raft_ready_clear(RaftReady *ready) {
  g_clear_pointer(&ready->entries, g_ptr_array_unref);
  g_clear_pointer(&ready->messages, g_ptr_array_unref);
  g_clear_pointer(&ready->committed, g_ptr_array_unref);
  g_clear_pointer(&ready->reads, g_array_unref);
}
