/* Who takes part: the configurations in the log, and changes of one server at a time.
 *
 * Protects (thesis, chapter 4, and the correction published after it):
 *  1. A configuration is in force from the moment it is in the log, committed or not, and is undone when it is cut.
 *  2. One change at a time: a next one is refused until the last is committed. Each adds, promotes or takes away one
 * voter at most, so that quorums before and after share a member.
 *  3. A leader proposes none before it has committed an entry of its own term: else two leaders that each undo the
 * other's change could have quorums that do not meet (tests/data/raft/two-changes.txt).
 *  4. Who is not in the configuration in force, but votes in the last one committed, still stands for election: only it
 * may have what the others lack. It never counts itself. So does a learner that had to refuse its vote to a candidate
 * with less: to that one it is a voter, who may be needed. Elected, it hands over with its first commit.
 *  5. A change that would leave fewer living voters than a quorum is refused, as is the removal of the last one.
 *
 * State: `configurations` rises in index; the first stands for all up to the snapshot's end, the last is in force.
 * Owning thread: the core's. */
#include <string.h>

#include "controller/raft/core_internal.h"

/* How far a learner may lag behind, in entries, to be promoted: what a busy leader has on its way. */
#define PROMOTE_LAG_MAX 1000

/* ---- The configurations in the log ---- */

static const RaftConfigurationAt *last_configuration(const RaftCore *core) {
  return &g_array_index(core->configurations, RaftConfigurationAt, core->configurations->len - 1);
}

const RaftConfiguration *raft_in_force(const RaftCore *core) {
  return &last_configuration(core)->configuration;
}

guint64 raft_in_force_index(const RaftCore *core) {
  return last_configuration(core)->index;
}

const RaftConfiguration *raft_configuration_at(const RaftCore *core, guint64 index) {
  guint i = core->configurations->len - 1;
  while (i > 0 && g_array_index(core->configurations, RaftConfigurationAt, i).index > index)
    i--;
  return &g_array_index(core->configurations, RaftConfigurationAt, i).configuration;
}

void raft_rebase_configurations(RaftCore *core) {
  RaftConfigurationAt base = {core->snapshot.index, core->snapshot.configuration};
  guint covered = 0;
  while (covered < core->configurations->len &&
         g_array_index(core->configurations, RaftConfigurationAt, covered).index <= core->snapshot.index)
    covered++;
  g_array_remove_range(core->configurations, 0, covered);
  g_array_prepend_val(core->configurations, base);
}

Failure *raft_note_configurations(RaftCore *core, guint64 from) {
  guint kept = core->configurations->len;
  while (kept > 1 && g_array_index(core->configurations, RaftConfigurationAt, kept - 1).index >= from)
    kept--;
  g_array_set_size(core->configurations, kept);
  const RaftEntry *entry;
  for (guint64 index = from; (entry = raft_log_entry(&core->log, index)); index++) {
    if (entry->kind != RAFT_ENTRY_KIND(CONFIGURATION))
      continue;
    RaftConfigurationAt at = {.index = index};
    gsize size;
    const void *data = g_bytes_get_data(entry->data, &size);
    Failure *failure = raft_configuration_decode(data, size, &at.configuration);
    if (failure)
      return failure;
    g_array_append_val(core->configurations, at);
  }
  return NULL;
}

Failure *raft_core_snapshot_meta(const RaftCore *core, guint64 index, RaftSnapshotMeta *ret_meta) {
  INVARIANT(index <= core->log.applied && index >= core->log.snapshot_index, "a snapshot holds what was applied");
  *ret_meta = (RaftSnapshotMeta){
      .index = index,
      .term = raft_log_term_at(&core->log, index),
      .configuration = *raft_configuration_at(core, index),
  };
  return NULL;
}

/* ---- Questions ---- */

const RaftMember *raft_self(const RaftCore *core) {
  return raft_configuration_find_exact(raft_in_force(core), core->options.id, &core->options.directory);
}

gboolean raft_self_votes(const RaftCore *core) {
  const RaftMember *self = raft_self(core);
  return self && !self->learner;
}

gboolean raft_may_stand(const RaftCore *core) {
  const RaftMember *self = raft_self(core);
  if (self && (!self->learner || core->is_needed))
    return TRUE;
  /* Thesis, 4.2.2: until its removal is committed, nobody else may have the entries that it has. It does not count
   * itself. */
  const RaftMember *before = raft_configuration_find_exact(raft_configuration_at(core, core->log.commit),
                                                           core->options.id, &core->options.directory);
  return before && !before->learner;
}

gboolean raft_is_alone(const RaftCore *core) {
  return raft_quorum(core) == 1 && raft_self_votes(core);
}

static guint quorum_of(const RaftConfiguration *configuration) {
  return raft_configuration_voter_count(configuration) / 2 + 1;
}

guint raft_quorum(const RaftCore *core) {
  return quorum_of(raft_in_force(core));
}

static gboolean is_heard(const RaftCore *core, const RaftMember *member) {
  if (member->id == core->options.id)
    return TRUE;
  const RaftProgress *peer = raft_find_peer((RaftCore *)core, member->id);
  return peer && peer->heard_ticks < core->options.election_ticks;
}

static guint count_heard(const RaftCore *core, const RaftConfiguration *configuration) {
  guint count = 0;
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    count += !member->learner && is_heard(core, member) ? 1 : 0;
  }
  return count;
}

gboolean raft_quorum_is_heard(const RaftCore *core) {
  const RaftConfiguration *configuration = raft_in_force(core);
  return count_heard(core, configuration) >= quorum_of(configuration);
}

gboolean raft_is_leaving(const RaftCore *core) {
  return core->role == RAFT_LEADER && !raft_self_votes(core);
}

/* ---- Changes ---- */

static Failure *unknown_member(guint64 id) {
  return failure_new(FAILURE(UNKNOWN_CONTROLLER), "No controller has the id %" G_GUINT64_FORMAT ".", id);
}

static Failure *other_folder(guint64 id) {
  return failure_new(FAILURE(DIRECTORY_MISMATCH),
                     "The controller %" G_GUINT64_FORMAT " takes part with another folder than the one that is meant. "
                     "List the controllers, and look again.",
                     id);
}

/* The member that @wanted means, by its id and, when it gives one, its directory; or NULL, and why. */
static RaftMember *find_member(RaftConfiguration *configuration, const RaftMember *wanted, Failure **ret_failure) {
  RaftMember *member = (RaftMember *)raft_configuration_find(configuration, wanted->id);
  if (!member) {
    *ret_failure = unknown_member(wanted->id);
    return NULL;
  }
  gboolean known = !raft_directory_is_unknown(&wanted->directory) && !raft_directory_is_unknown(&member->directory);
  if (known && !raft_directory_equal(&wanted->directory, &member->directory)) {
    *ret_failure = other_folder(wanted->id);
    return NULL;
  }
  return member;
}

static Failure *add_member(RaftConfiguration *configuration, const RaftMember *member) {
  if (member->id == 0 || raft_directory_is_unknown(&member->directory))
    return failure_new(FAILURE(INVALID_FIELD), "A controller that is added has an id from 1 and a directory id.");
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *other = &configuration->members[i];
    gboolean same_folder = raft_directory_equal(&other->directory, &member->directory);
    if (other->id == member->id && !same_folder)
      return failure_new(FAILURE(CONTROLLER_EXISTS),
                         "The controller %" G_GUINT64_FORMAT " takes part with another folder. If that is lost, remove "
                         "it, then add this one.",
                         member->id);
    if (other->id == member->id || same_folder)
      return failure_new(FAILURE(CONTROLLER_EXISTS),
                         "This folder takes part already, as the controller %" G_GUINT64_FORMAT ".", other->id);
    if (raft_directory_is_unknown(&other->directory))
      return failure_new(FAILURE(CHANGE_IN_PROGRESS),
                         "The folder of the controller %" G_GUINT64_FORMAT " is not in the log yet. Nothing was "
                         "changed: try again.",
                         other->id);
  }
  if (configuration->member_count == RAFT_MEMBERS_MAX)
    return failure_new(FAILURE(LIMIT_EXCEEDED), "There are %d controllers already, and that is the limit.",
                       RAFT_MEMBERS_MAX);
  RaftMember *added = &configuration->members[configuration->member_count++];
  *added = *member;
  added->learner = TRUE;
  return NULL;
}

static Failure *promote_member(const RaftCore *core, RaftMember *member) {
  if (!member->learner)
    return failure_new(FAILURE(INVALID_FIELD), "The controller %" G_GUINT64_FORMAT " votes already.", member->id);
  const RaftProgress *peer = raft_find_peer((RaftCore *)core, member->id);
  guint64 last = raft_log_last_index(&core->log);
  if (!peer || peer->mode != RAFT_PEER_REPLICATE || !is_heard(core, member) || peer->match + PROMOTE_LAG_MAX < last)
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                       "The controller %" G_GUINT64_FORMAT " has not caught up yet: it has %" G_GUINT64_FORMAT " of "
                       "%" G_GUINT64_FORMAT " entries. Nothing was changed: try again.",
                       member->id, peer ? peer->match : 0, last);
  member->learner = FALSE;
  return NULL;
}

static Failure *remove_member(RaftConfiguration *configuration, RaftMember *member) {
  if (!member->learner && raft_configuration_voter_count(configuration) == 1)
    return failure_new(FAILURE(QUORUM_AT_RISK),
                       "The controller %" G_GUINT64_FORMAT " is the last one that votes: without it the cluster's "
                       "metadata would be lost. Add another one first.",
                       member->id);
  guint place = (guint)(member - configuration->members);
  memmove(member, member + 1, (configuration->member_count - place - 1) * sizeof *member);
  configuration->members[--configuration->member_count] = (RaftMember){0};
  return NULL;
}

static Failure *update_member(const RaftCore *core, RaftMember *member, const RaftMember *wanted) {
  if (raft_directory_is_unknown(&member->directory)) /* the only voter, this one: only it knows its folder */
    member->directory = core->options.directory;
  if (!raft_directory_is_unknown(&wanted->directory) && !raft_directory_equal(&member->directory, &wanted->directory))
    return other_folder(wanted->id);
  g_strlcpy(member->address, wanted->address, sizeof member->address);
  return NULL;
}

static Failure *change_configuration(const RaftCore *core, const RaftChange *change, RaftConfiguration *configuration) {
  if (change->kind == RAFT_CHANGE_ADD)
    return add_member(configuration, &change->member);
  Failure *failure = NULL;
  RaftMember *member = find_member(configuration, &change->member, &failure);
  if (!member)
    return failure;
  switch (change->kind) {
  case RAFT_CHANGE_PROMOTE:
    return promote_member(core, member);
  case RAFT_CHANGE_REMOVE:
    return remove_member(configuration, member);
  default:
    return update_member(core, member, &change->member);
  }
}

/* May a change be proposed at all now? */
static Failure *check_may_change(const RaftCore *core) {
  if (core->role != RAFT_LEADER)
    return failure_new(FAILURE(NOT_CONTROLLER), "This controller is not the active one. Ask the active controller.");
  Failure *failure = raft_check_stays(core);
  if (failure)
    return failure;
  if (core->log.commit < core->first_of_term)
    return failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                       "This controller has only just become the active one. Nothing was changed: try again.");
  if (raft_in_force_index(core) > core->log.commit)
    return failure_new(FAILURE(CHANGE_IN_PROGRESS),
                       "Another change of the controllers is under way. Nothing was changed: try again.");
  return NULL;
}

Failure *raft_core_propose_change(RaftCore *core, const RaftChange *change, guint64 *ret_index) {
  Failure *failure = check_may_change(core);
  if (failure)
    return failure;
  RaftConfiguration configuration = *raft_in_force(core);
  failure = change_configuration(core, change, &configuration);
  if (failure)
    return failure;
  guint heard = count_heard(core, &configuration);
  if (heard < quorum_of(&configuration))
    return failure_new(FAILURE(QUORUM_AT_RISK),
                       "Only %u of the %u controllers that would vote then answer now, and %u are needed: the cluster "
                       "would stand still. Bring them back, or remove those that are lost first.",
                       heard, raft_configuration_voter_count(&configuration), quorum_of(&configuration));
  guint64 index = raft_log_last_index(&core->log) + 1;
  raft_log_append(&core->log, raft_entry_new(index, core->term, RAFT_ENTRY_KIND(CONFIGURATION),
                                             raft_configuration_encode(&configuration)));
  failure = raft_note_configurations(core, index);
  INVARIANT(!failure, "what was just encoded decodes");
  raft_sync_peers(core, index, FALSE);
  *ret_index = index;
  return NULL;
}
