/* The core: one state machine for all roles.
 *
 *              election timeout        a quorum would vote      a quorum votes
 *   FOLLOWER ───────────────► PRE_CANDIDATE ──────────► CANDIDATE ───────────► LEADER
 *      ▲ ◄───────────────────────┴──────────────────────────┴────────────────────┘
 *        a higher term, a leader's word, or (leader) a quorum that was not heard for an election timeout
 *
 * Invariants:
 *  1. term never falls; vote changes within a term only from none to somebody.
 *  2. A message that answers for the log, the term or the vote waits for the write that makes them durable; the own
 * vote and the own log count only when they are durable.
 *  3. Only entries of the leader's own term are committed by counting; earlier ones go with them (figure 8 of the
 * paper).
 *  4. One leader a term, since a voter's vote is durable before it is told.
 *
 * Owning thread: the host's loop. Failure modes: a peer that contradicts what is committed is a Failure of
 * raft_core_step; messages of unknown peers, old terms or of no sense are dropped. */
#include <string.h>

#include "controller/raft/core_internal.h"

#define APPEND_BYTES_MAX ((gsize)1024 * 1024)
#define INFLIGHT_MAX 64
#define UNCOMMITTED_MAX 10000

static void message_free(gpointer message) {
  raft_message_free(message);
}

/* ---- Making ---- */

static Failure *misfit(const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG), "The controller's log is damaged: %s. Restore the folder from a copy.",
                     what);
}

static Failure *load_log(RaftCore *core, const RaftStart *start) {
  raft_log_init(&core->log, start->snapshot.index, start->snapshot.term);
  for (guint i = 0; start->entries && i < start->entries->len; i++) {
    RaftEntry *entry = start->entries->pdata[i];
    if (entry->index != raft_log_last_index(&core->log) + 1)
      return misfit("an entry is missing");
    if (entry->term < raft_log_last_term(&core->log) || entry->term > start->hard_state.term)
      return misfit("an entry's term does not fit those around it");
    raft_log_append(&core->log, raft_entry_ref(entry));
  }
  guint64 last = raft_log_last_index(&core->log);
  core->log.stable = core->log.handed = last;
  if (start->hard_state.commit > last)
    return misfit("entries that were committed are missing");
  raft_log_set_commit(&core->log, start->hard_state.commit);
  return NULL;
}

Failure *raft_core_new(const RaftOptions *options, const RaftStart *start, RaftCore **ret_core) {
  INVARIANT(options->id > 0, "0 stands for nobody");
  INVARIANT(options->heartbeat_ticks > 0 && options->heartbeat_ticks < options->election_ticks,
            "a leader is heard before its followers lose patience");
  g_autoptr(RaftCore) core = g_new0(RaftCore, 1);
  core->options = *options;
  core->options.append_bytes_max = options->append_bytes_max ? options->append_bytes_max : APPEND_BYTES_MAX;
  core->options.inflight_max = options->inflight_max ? options->inflight_max : INFLIGHT_MAX;
  core->options.uncommitted_max = options->uncommitted_max ? options->uncommitted_max : UNCOMMITTED_MAX;
  core->role = RAFT_FOLLOWER;
  core->term = start->hard_state.term;
  core->vote = start->hard_state.vote;
  core->random = options->seed;
  core->messages = g_ptr_array_new_with_free_func(message_free);
  core->writes = g_array_new(FALSE, FALSE, sizeof(RaftWrite));
  core->snapshot_configuration = start->snapshot.configuration;
  Failure *failure = load_log(core, start);
  if (!failure)
    failure = raft_reload_configuration(core);
  if (!failure && core->configuration.member_count == 0)
    failure = misfit("it does not say who votes");
  if (failure)
    return failure;
  raft_draw_timeout(core);
  *ret_core = g_steal_pointer(&core);
  return NULL;
}

void raft_core_free(RaftCore *core) {
  if (!core)
    return;
  raft_clear_peers(core);
  raft_log_clear(&core->log);
  g_ptr_array_unref(core->messages);
  g_array_unref(core->writes);
  g_free(core);
}

/* The last configuration up to @index; the snapshot's when the log has none. */
static Failure *configuration_at(const RaftCore *core, guint64 index, RaftConfiguration *ret_configuration) {
  for (; index > core->log.snapshot_index; index--) {
    const RaftEntry *entry = raft_log_entry(&core->log, index);
    if (entry->kind != RAFT_ENTRY_KIND(CONFIGURATION))
      continue;
    gsize size;
    const void *data = g_bytes_get_data(entry->data, &size);
    return raft_configuration_decode(data, size, ret_configuration);
  }
  *ret_configuration = core->snapshot_configuration;
  return NULL;
}

/* The last one in the log holds, committed or not. */
Failure *raft_reload_configuration(RaftCore *core) {
  return configuration_at(core, raft_log_last_index(&core->log), &core->configuration);
}

/* ---- Small parts ---- */

guint raft_quorum(const RaftCore *core) {
  return raft_configuration_voter_count(&core->configuration) / 2 + 1;
}

/* splitmix64: the seed is the host's. */
static guint64 draw(RaftCore *core) {
  guint64 z = (core->random += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void raft_draw_timeout(RaftCore *core) {
  core->election_timeout = core->options.election_ticks + (guint)(draw(core) % core->options.election_ticks);
}

guint64 raft_pending_write(const RaftCore *core) {
  gboolean dirty = core->hard_state_changed || core->log.handed < raft_log_last_index(&core->log);
  guint64 write_id = dirty ? core->last_write + 1 : core->last_write;
  return write_id > core->durable_write ? write_id : 0;
}

RaftMessage *raft_message_new(RaftMessageKind kind, guint64 from, guint64 to, guint64 term) {
  RaftMessage *message = g_new0(RaftMessage, 1);
  message->kind = kind;
  message->from = from;
  message->to = to;
  message->term = term;
  return message;
}

const char *raft_message_kind_name(RaftMessageKind kind) {
  static const char *const NAMES[] = {
      [RAFT_PRE_VOTE] = "pre-vote",
      [RAFT_PRE_VOTE_REPLY] = "pre-vote-reply",
      [RAFT_VOTE] = "vote",
      [RAFT_VOTE_REPLY] = "vote-reply",
      [RAFT_APPEND] = "append",
      [RAFT_APPEND_REPLY] = "append-reply",
      [RAFT_HEARTBEAT] = "heartbeat",
      [RAFT_HEARTBEAT_REPLY] = "heartbeat-reply",
      [RAFT_SNAPSHOT] = "snapshot",
      [RAFT_SNAPSHOT_REPLY] = "snapshot-reply",
      [RAFT_TIMEOUT_NOW] = "timeout-now",
  };
  gboolean known = kind > 0 && (guint)kind < G_N_ELEMENTS(NAMES);
  return known ? NAMES[kind] : "unknown";
}

RaftMessage *raft_message_copy(const RaftMessage *message) {
  RaftMessage *copy = g_memdup2(message, sizeof *message);
  if (copy->entries)
    g_ptr_array_ref(copy->entries);
  if (copy->chunk)
    g_bytes_ref(copy->chunk);
  copy->snapshot = g_memdup2(message->snapshot, sizeof *message->snapshot);
  return copy;
}

void raft_message_free(RaftMessage *message) {
  if (!message)
    return;
  g_clear_pointer(&message->entries, g_ptr_array_unref);
  g_clear_pointer(&message->chunk, g_bytes_unref);
  g_free(message->snapshot);
  g_free(message);
}

RaftMessage *raft_send(RaftCore *core, RaftMessageKind kind, guint64 to) {
  RaftMessage *message = raft_message_new(kind, core->options.id, to, core->term);
  g_ptr_array_add(core->messages, message);
  return message;
}

RaftMessage *raft_send_durable(RaftCore *core, RaftMessageKind kind, guint64 to) {
  RaftMessage *message = raft_send(core, kind, to);
  message->after_write = raft_pending_write(core);
  return message;
}

void raft_become_follower(RaftCore *core, guint64 term, guint64 leader) {
  INVARIANT(term >= core->term, "terms never fall");
  if (term > core->term) {
    core->term = term;
    core->vote = 0;
    core->hard_state_changed = TRUE;
    raft_draw_timeout(core);
  }
  core->role = RAFT_FOLLOWER;
  core->leader = leader;
  core->election_elapsed = 0;
  core->own_vote_write = 0;
  raft_clear_peers(core);
}

/* ---- Events ---- */

static void tick_leader(RaftCore *core) {
  if (++core->election_elapsed >= core->options.election_ticks) {
    core->election_elapsed = 0;
    if (!raft_check_quorum(core)) {
      raft_become_follower(core, core->term, 0);
      return;
    }
  }
  if (++core->heartbeat_elapsed >= core->options.heartbeat_ticks) {
    core->heartbeat_elapsed = 0;
    raft_heartbeat(core);
  }
}

void raft_core_tick(RaftCore *core) {
  if (core->role == RAFT_LEADER) {
    tick_leader(core);
    return;
  }
  if (!raft_configuration_votes(&core->configuration, core->options.id))
    return;
  /* The only voter has nobody to wait for. */
  gboolean alone = raft_configuration_voter_count(&core->configuration) == 1;
  if (++core->election_elapsed >= (alone ? 1 : core->election_timeout))
    raft_campaign(core);
}

/* A message of another term. Returns FALSE when it is dealt with. */
static gboolean settle_term(RaftCore *core, const RaftMessage *message) {
  if (message->term > core->term) {
    gboolean asks = message->kind == RAFT_PRE_VOTE || message->kind == RAFT_VOTE;
    /* While a leader is heard, who asks for votes is cut off or removed: it must not disrupt. */
    gboolean leader_lives = core->leader != 0 && core->election_elapsed < core->options.election_ticks;
    if (asks && leader_lives)
      return FALSE;
    /* A pre-vote speaks about a term that nobody is in yet. */
    gboolean hypothetical =
        message->kind == RAFT_PRE_VOTE || (message->kind == RAFT_PRE_VOTE_REPLY && !message->reject);
    if (!hypothetical)
      raft_become_follower(core, message->term, message->kind == RAFT_APPEND ? message->from : 0);
    return TRUE;
  }
  if (message->term == core->term)
    return TRUE;
  /* A leader or candidate of the past: tell it the term, so that it steps back. */
  if (message->kind == RAFT_APPEND)
    raft_send_durable(core, RAFT_APPEND_REPLY, message->from)->reject = TRUE;
  else if (message->kind == RAFT_PRE_VOTE)
    raft_send_durable(core, RAFT_PRE_VOTE_REPLY, message->from)->reject = TRUE;
  return FALSE;
}

Failure *raft_core_step(RaftCore *core, const RaftMessage *message) {
  gboolean known = raft_configuration_votes(&core->configuration, message->from);
  if (!known || message->from == core->options.id || message->to != core->options.id)
    return NULL;
  if (!settle_term(core, message))
    return NULL;
  switch (message->kind) {
  case RAFT_PRE_VOTE:
  case RAFT_VOTE:
    raft_on_vote_request(core, message);
    return NULL;
  case RAFT_PRE_VOTE_REPLY:
  case RAFT_VOTE_REPLY:
    raft_on_vote_reply(core, message);
    return NULL;
  case RAFT_APPEND:
    return raft_on_append(core, message);
  case RAFT_APPEND_REPLY:
    raft_on_append_reply(core, message);
    return NULL;
  default:
    return NULL;
  }
  return NULL;
}

Failure *raft_core_propose(RaftCore *core, GBytes *data, guint64 *ret_index) {
  if (core->role != RAFT_LEADER)
    return failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one. Ask the active controller.");
  guint64 index = raft_log_last_index(&core->log) + 1;
  if (index - core->log.commit > core->options.uncommitted_max)
    return failure_new(FAILURE(OVERLOADED),
                       "%u changes of the metadata wait to be written already. Nothing was changed: try again.",
                       core->options.uncommitted_max);
  raft_log_append(&core->log, raft_entry_new(index, core->term, RAFT_ENTRY_KIND(METADATA), g_bytes_ref(data)));
  raft_broadcast_append(core);
  *ret_index = index;
  return NULL;
}

void raft_core_written(RaftCore *core, guint64 write_id) {
  INVARIANT(write_id <= core->last_write, "only what was given out can have been written");
  core->durable_write = MAX(core->durable_write, write_id);
  guint done = 0;
  for (; done < core->writes->len; done++) {
    const RaftWrite *write = &g_array_index(core->writes, RaftWrite, done);
    if (write->write_id > write_id)
      break;
    raft_log_set_stable(&core->log, write->last_index, write->last_term);
  }
  if (done > 0)
    g_array_remove_range(core->writes, 0, done);
  if (core->own_vote_write && core->own_vote_write <= core->durable_write)
    raft_count_own_vote(core);
  if (core->role == RAFT_LEADER)
    raft_advance_commit(core);
}

Failure *raft_core_snapshot_meta(const RaftCore *core, guint64 index, RaftSnapshotMeta *ret_meta) {
  INVARIANT(index <= core->log.applied && index >= core->log.snapshot_index, "a snapshot holds what was applied");
  RaftSnapshotMeta meta = {.index = index, .term = raft_log_term_at(&core->log, index)};
  Failure *failure = configuration_at(core, index, &meta.configuration);
  if (!failure)
    *ret_meta = meta;
  return failure;
}

void raft_core_compact(RaftCore *core, const RaftSnapshotMeta *meta) {
  if (meta->index > core->log.snapshot_index)
    core->snapshot_configuration = meta->configuration;
  raft_log_compact(&core->log, meta->index);
}

/* ---- State ---- */

RaftRole raft_core_role(const RaftCore *core) {
  return core->role;
}

const char *raft_role_name(RaftRole role) {
  static const char *const NAMES[] = {"follower", "pre-candidate", "candidate", "leader"};
  return NAMES[role];
}

guint64 raft_core_term(const RaftCore *core) {
  return core->term;
}
guint64 raft_core_leader(const RaftCore *core) {
  return core->leader;
}
gboolean raft_core_is_active(const RaftCore *core) {
  return core->role == RAFT_LEADER && core->log.applied >= core->first_of_term;
}
guint64 raft_core_first_index(const RaftCore *core) {
  return core->log.snapshot_index + 1;
}
guint64 raft_core_last_index(const RaftCore *core) {
  return raft_log_last_index(&core->log);
}
guint64 raft_core_commit_index(const RaftCore *core) {
  return core->log.commit;
}
guint64 raft_core_applied_index(const RaftCore *core) {
  return core->log.applied;
}
guint64 raft_core_term_at(const RaftCore *core, guint64 index) {
  return raft_log_term_at(&core->log, index);
}
const RaftConfiguration *raft_core_configuration(const RaftCore *core) {
  return &core->configuration;
}
