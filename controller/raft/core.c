/* The core: one state machine for all roles.
 *
 *              election timeout        a quorum would vote      a quorum votes
 *   FOLLOWER ───────────────► PRE_CANDIDATE ──────────► CANDIDATE ───────────► LEADER
 *      ▲ ◄───────────────────────┴──────────────────────────┴────────────────────┘
 *      │ a higher term, a leader's word, or (leader) a quorum that was not heard for an election timeout, or its
 * removal └───────────── the leader's word (TIMEOUT_NOW) ──────► CANDIDATE
 *
 * Invariants:
 *  1. term never falls; vote changes within a term only from none to somebody, one incarnation of him.
 *  2. A message that answers for the log, the term or the vote waits for the write that makes them durable; the own
 * vote and the own log count only when they are durable.
 *  3. Only entries of the leader's own term are committed by counting; earlier ones go with them (figure 8 of the
 * paper).
 *  4. One leader a term, since a voter's vote is durable before it is told.
 *  5. A core takes only what is addressed to its very directory, and counts only answers of the very directories that
 * its configuration names.
 *
 * Owning thread: the host's loop. Failure modes: a peer that contradicts what is committed is a Failure of
 * raft_core_step; messages of old terms or of no sense are dropped. */
#include "controller/raft/core_internal.h"

#define APPEND_BYTES_MAX ((gsize)1024 * 1024)
#define INFLIGHT_MAX 64
#define INFLIGHT_BYTES_MAX ((gsize)8 * 1024 * 1024)
#define UNCOMMITTED_MAX 10000
#define READS_MAX 10000
#define CHUNK_BYTES_MAX (256 * 1024)
#define CHUNKS_MAX 4
#define SNAPSHOT_BYTES_MAX ((guint64)1024 * 1024 * 1024)

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
  if (start->snapshot.term > start->hard_state.term)
    return misfit("its snapshot is of a later term than it knows");
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

static Failure *load_configurations(RaftCore *core) {
  raft_rebase_configurations(core);
  Failure *failure = raft_note_configurations(core, core->log.snapshot_index + 1);
  gboolean empty = raft_log_last_index(&core->log) == 0;
  if (!failure && !empty && raft_in_force(core)->member_count == 0)
    failure = misfit("it does not say who votes");
  return failure;
}

static void set_defaults(RaftOptions *options) {
  options->append_bytes_max = options->append_bytes_max ? options->append_bytes_max : APPEND_BYTES_MAX;
  options->inflight_max = options->inflight_max ? options->inflight_max : INFLIGHT_MAX;
  options->inflight_bytes_max = options->inflight_bytes_max ? options->inflight_bytes_max : INFLIGHT_BYTES_MAX;
  options->uncommitted_max = options->uncommitted_max ? options->uncommitted_max : UNCOMMITTED_MAX;
  options->reads_max = options->reads_max ? options->reads_max : READS_MAX;
  options->chunk_bytes_max = options->chunk_bytes_max ? options->chunk_bytes_max : CHUNK_BYTES_MAX;
  options->chunks_max = options->chunks_max ? options->chunks_max : CHUNKS_MAX;
  options->snapshot_bytes_max = options->snapshot_bytes_max ? options->snapshot_bytes_max : SNAPSHOT_BYTES_MAX;
  INVARIANT(options->snapshot_bytes_max <= G_MAXUINT / 2, "a snapshot fits an array of glib");
}

Failure *raft_core_new(const RaftOptions *options, const RaftStart *start, RaftCore **ret_core) {
  INVARIANT(options->id > 0, "0 stands for nobody");
  INVARIANT(options->heartbeat_ticks > 0 && options->heartbeat_ticks < options->election_ticks,
            "a leader is heard before its followers lose patience");
  g_autoptr(RaftCore) core = g_new0(RaftCore, 1);
  core->options = *options;
  set_defaults(&core->options);
  core->role = RAFT_FOLLOWER;
  core->term = start->hard_state.term;
  core->vote = start->hard_state.vote;
  core->vote_directory = start->hard_state.vote_directory;
  core->random = options->seed;
  core->snapshot = start->snapshot;
  core->configurations = g_array_new(FALSE, FALSE, sizeof(RaftConfigurationAt));
  core->messages = g_ptr_array_new_with_free_func(message_free);
  core->writes = g_array_new(FALSE, FALSE, sizeof(RaftWrite));
  raft_reads_init(&core->reads);
  Failure *failure = load_log(core, start);
  if (!failure)
    failure = load_configurations(core);
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
  raft_reads_clear(&core->reads);
  raft_receiving_clear(&core->receiving);
  raft_install_free(core->install);
  g_array_unref(core->configurations);
  g_ptr_array_unref(core->messages);
  g_array_unref(core->writes);
  g_free(core);
}

/* ---- Small parts ---- */

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

void raft_become_follower(RaftCore *core, guint64 term, guint64 leader) {
  INVARIANT(term >= core->term, "terms never fall");
  if (term > core->term) {
    core->term = term;
    core->vote = 0;
    core->vote_directory = (RaftDirectory){0};
    core->hard_state_changed = TRUE;
    raft_draw_timeout(core);
  }
  core->role = RAFT_FOLLOWER;
  core->leader = leader;
  core->election_elapsed = 0;
  core->is_needed = core->is_needed && leader == 0; /* a leader brings everybody what they lack */
  core->own_vote_write = 0;
  core->transfer_target = 0;
  raft_clear_peers(core);
  raft_reads_lose(core);
}

/* ---- Events ---- */

static void tick_leader(RaftCore *core) {
  for (guint i = 0; i < core->peer_count; i++) {
    core->peers[i].heard_ticks++;
    core->peers[i].idle_ticks++;
  }
  if (!raft_quorum_is_heard(core)) {
    raft_become_follower(core, core->term, 0);
    return;
  }
  raft_transfer_tick(core);
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
  core->election_elapsed++;
  if (!raft_may_stand(core))
    return;
  /* The only voter has nobody to wait for. */
  if (raft_is_alone(core) || core->election_elapsed >= core->election_timeout)
    raft_campaign(core);
}

static gboolean is_reply(RaftMessageKind kind) {
  return kind == RAFT_PRE_VOTE_REPLY || kind == RAFT_VOTE_REPLY || kind == RAFT_APPEND_REPLY ||
         kind == RAFT_HEARTBEAT_REPLY || kind == RAFT_SNAPSHOT_REPLY;
}

static gboolean is_of_leader(RaftMessageKind kind) {
  return kind == RAFT_APPEND || kind == RAFT_HEARTBEAT || kind == RAFT_SNAPSHOT || kind == RAFT_TIMEOUT_NOW;
}

/* Is it for this incarnation, and may its sender say it? Who asks may be one that this core's configuration does not
 * know (yet): one that lags behind must be able to learn and to vote. Who answers must be whom the configuration means:
 * answers are counted. README.md, "Incarnations", says why that is safe. */
static gboolean is_addressed(const RaftCore *core, const RaftMessage *message) {
  if (message->to != core->options.id || !raft_directory_equal(&message->to_directory, &core->options.directory))
    return FALSE;
  if (message->from == 0 || message->from == core->options.id || message->term == 0 || message->term > RAFT_COUNTER_MAX)
    return FALSE;
  return !is_reply(message->kind) ||
         raft_configuration_find_exact(raft_in_force(core), message->from, &message->from_directory) != NULL;
}

/* The leader itself asked for this election. One that was removed meanwhile may have heard it late: it does not count.
 */
static gboolean is_of_transfer(const RaftCore *core, const RaftMessage *message) {
  const RaftMember *member =
      raft_configuration_find_exact(raft_in_force(core), message->from, &message->from_directory);
  return message->transfer && member && !member->learner;
}

/* A message of a later term. Returns FALSE when it is to be dropped. */
static gboolean settle_later_term(RaftCore *core, const RaftMessage *message) {
  gboolean asks = message->kind == RAFT_PRE_VOTE || message->kind == RAFT_VOTE;
  /* While a leader is heard, who asks for votes is cut off or removed: it must not disrupt. */
  gboolean leader_lives =
      core->role == RAFT_LEADER || (core->leader != 0 && core->election_elapsed < core->options.election_ticks);
  if (asks && leader_lives && !is_of_transfer(core, message))
    return FALSE;
  /* A pre-vote speaks about a term that nobody is in yet. */
  gboolean hypothetical = message->kind == RAFT_PRE_VOTE || (message->kind == RAFT_PRE_VOTE_REPLY && !message->reject);
  if (!hypothetical)
    raft_become_follower(core, message->term, is_of_leader(message->kind) ? message->from : 0);
  return TRUE;
}

/* A message of another term. Returns FALSE when it is dealt with. */
static gboolean settle_term(RaftCore *core, const RaftMessage *message) {
  if (message->term > core->term)
    return settle_later_term(core, message);
  if (message->term == core->term)
    return TRUE;
  /* A leader or candidate of the past: tell it the term, so that it steps back. */
  if (is_of_leader(message->kind))
    raft_reply_durable(core, RAFT_APPEND_REPLY, message)->reject = TRUE;
  else if (message->kind == RAFT_PRE_VOTE)
    raft_reply_durable(core, RAFT_PRE_VOTE_REPLY, message)->reject = TRUE;
  return FALSE;
}

Failure *raft_core_step(RaftCore *core, const RaftMessage *message) {
  if (!is_addressed(core, message) || !settle_term(core, message))
    return NULL;
  switch (message->kind) {
  case RAFT_PRE_VOTE:
  case RAFT_VOTE:
    raft_on_vote_request(core, message);
    break;
  case RAFT_PRE_VOTE_REPLY:
  case RAFT_VOTE_REPLY:
    raft_on_vote_reply(core, message);
    break;
  case RAFT_APPEND:
    return raft_on_append(core, message);
  case RAFT_APPEND_REPLY:
    raft_on_append_reply(core, message);
    break;
  case RAFT_HEARTBEAT:
    return raft_on_heartbeat(core, message);
  case RAFT_HEARTBEAT_REPLY:
    raft_on_heartbeat_reply(core, message);
    break;
  case RAFT_SNAPSHOT:
    raft_on_snapshot(core, message);
    break;
  case RAFT_SNAPSHOT_REPLY:
    raft_on_snapshot_reply(core, message);
    break;
  case RAFT_TIMEOUT_NOW:
    raft_on_timeout_now(core, message);
    break;
  }
  return NULL;
}

Failure *raft_core_propose(RaftCore *core, GBytes *data, guint64 *ret_index) {
  if (core->role != RAFT_LEADER)
    return failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one. Ask the active controller.");
  Failure *failure = raft_check_stays(core);
  if (failure)
    return failure;
  guint64 index = raft_log_last_index(&core->log) + 1;
  if (index - core->log.commit > core->options.uncommitted_max)
    return failure_new(FAILURE(OVERLOADED),
                       "%u changes of the metadata wait to be written already. Nothing was changed: try again.",
                       core->options.uncommitted_max);
  raft_log_append(&core->log, raft_entry_new(index, core->term, RAFT_ENTRY_KIND(METADATA), g_bytes_ref(data)));
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

void raft_core_compact(RaftCore *core, const RaftSnapshotMeta *meta) {
  if (meta->index <= core->log.snapshot_index)
    return;
  core->snapshot = *meta;
  raft_log_compact(&core->log, meta->index);
  raft_rebase_configurations(core);
  raft_snapshot_replaced(core);
}
