/* See rules.h.
 *
 * What it knows: every entry that was ever given to a disk, by index and term; the one that was committed at each
 * index; who led each term; the metadata's checksum at versions that were compared. Nothing here changes what happens.
 */
#include "tests/sim/raft/rules.h"

#include "storage/log/crc32c.h"

/* Who led a term. */
typedef struct {
  guint64 node;
  guint life;
} Leader;

/* An entry that is committed for ever. */
typedef struct {
  guint64 term;
  guint64 in_term; /* of the leader that committed it: later ones have it */
} Commit;

/* An entry of kind CONFIGURATION that was given to a disk. */
typedef struct {
  guint64 index, term;
  RaftConfiguration configuration;
} Change;

struct Rules {
  World *world;
  GHashTable *leaders; /* term -> Leader */
  GHashTable *entries; /* index and term -> checksum of the entry and the term before it */
  GArray *committed;   /* of Commit, from index 1 on */
  GArray *changes;     /* of Change, in the order in which they were seen */
  GArray *candidates;  /* guint: places in changes, see rules_configurations */
  GHashTable *images;  /* version -> checksum */
  GHashTable *blocks;  /* of producer ids that were given */
  guint64 highest_block;
};

Rules *rules_new(World *world) {
  Rules *rules = g_new0(Rules, 1);
  rules->world = world;
  rules->leaders = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  rules->entries = g_hash_table_new(NULL, NULL);
  rules->committed = g_array_new(FALSE, FALSE, sizeof(Commit));
  rules->changes = g_array_new(FALSE, FALSE, sizeof(Change));
  rules->candidates = g_array_new(FALSE, FALSE, sizeof(guint));
  rules->images = g_hash_table_new(NULL, NULL);
  rules->blocks = g_hash_table_new(NULL, NULL);
  return rules;
}

void rules_free(Rules *rules) {
  if (!rules)
    return;
  g_hash_table_unref(rules->leaders);
  g_hash_table_unref(rules->entries);
  g_array_unref(rules->committed);
  g_array_unref(rules->changes);
  g_array_unref(rules->candidates);
  g_hash_table_unref(rules->images);
  g_hash_table_unref(rules->blocks);
  g_free(rules);
}

static gpointer entry_key(guint64 index, guint64 term) {
  return GSIZE_TO_POINTER(index << 24 | term);
}

static guint32 entry_checksum(const RaftEntry *entry, guint64 term_before) {
  gsize size;
  const void *data = g_bytes_get_data(entry->data, &size);
  guint32 checksum = log_crc32c(&term_before, sizeof term_before);
  checksum = log_crc32c_extend(checksum, &entry->kind, sizeof entry->kind);
  return log_crc32c_extend(checksum, data, size);
}

/* 0: nothing is committed there yet. */
static guint64 committed_term(const Rules *rules, guint64 index) {
  return index > 0 && index <= rules->committed->len ? g_array_index(rules->committed, Commit, index - 1).term : 0;
}

guint64 rules_committed(const Rules *rules) {
  return rules->committed->len;
}

static gboolean leads(const Node *node) {
  return node->up && raft_core_role(node->core) == RAFT_LEADER;
}

/* ---- Entries ---- */

static void check_change(Node *node, const RaftEntry *entry) {
  World *world = node->world;
  Rules *rules = world->rules;
  Change change = {.index = entry->index, .term = entry->term};
  gsize size;
  const void *data = g_bytes_get_data(entry->data, &size);
  Failure *failure = raft_configuration_decode(data, size, &change.configuration);
  if (failure) {
    sim_violated(world->sim, "controller %d has a configuration that does not decode: %s", (int)node->id,
                 failure_message(failure));
    failure_free(failure);
    return;
  }
  guint place = rules->changes->len;
  g_array_append_val(rules->changes, change);
  g_array_append_val(rules->candidates, place);
}

static guint voters_not_in(const RaftConfiguration *a, const RaftConfiguration *b) {
  guint count = 0;
  for (guint i = 0; i < a->member_count; i++) {
    const RaftMember *other = raft_configuration_find_exact(b, a->members[i].id, &a->members[i].directory);
    count += !a->members[i].learner && (!other || other->learner);
  }
  return count;
}

/* A leader made this change: nothing else was in flight, and it had committed in its own term. */
static void check_own_change(Node *node, const RaftEntry *entry) {
  World *world = node->world;
  const Rules *rules = world->rules;
  guint64 commit = raft_core_commit_index(node->core);
  const Change *before = NULL;
  for (guint i = 0; i + 1 < rules->changes->len; i++) {
    const Change *change = &g_array_index(rules->changes, Change, i);
    if (change->index < entry->index && raft_core_term_at(node->core, change->index) == change->term &&
        (!before || change->index > before->index))
      before = change;
  }
  if (before && before->index > commit)
    sim_violated(world->sim, "controller %d has two changes of the configuration in flight, at %d and %d",
                 (int)node->id, (int)before->index, (int)entry->index);
  if (raft_core_term_at(node->core, commit) != entry->term && commit >= raft_core_first_index(node->core))
    sim_violated(world->sim, "controller %d changes the configuration before it has committed in its term %d",
                 (int)node->id, (int)entry->term);
  const RaftConfiguration *made = &g_array_index(rules->changes, Change, rules->changes->len - 1).configuration;
  if (before && voters_not_in(made, &before->configuration) + voters_not_in(&before->configuration, made) > 1)
    sim_violated(world->sim, "controller %d changes more than one voter at %d", (int)node->id, (int)entry->index);
}

/* The last one in the log is in force; where the log has none, the snapshot's. */
static void check_in_force(Node *node) {
  const Rules *rules = node->world->rules;
  guint64 newest = raft_core_first_index(node->core) - 1;
  for (guint i = 0; i < rules->changes->len; i++) {
    const Change *change = &g_array_index(rules->changes, Change, i);
    if (change->index > newest && raft_core_term_at(node->core, change->index) == change->term)
      newest = change->index;
  }
  guint64 in_force = raft_core_configuration_index(node->core);
  if (in_force != newest)
    sim_violated(node->world->sim, "controller %d goes by the configuration at %d, and the last in its log is at %d",
                 (int)node->id, (int)in_force, (int)newest);
}

static void check_entry(Node *node, const RaftEntry *entry, guint64 term_before) {
  Rules *rules = node->world->rules;
  gpointer key = entry_key(entry->index, entry->term), known;
  guint32 checksum = entry_checksum(entry, term_before);
  if (g_hash_table_lookup_extended(rules->entries, key, NULL, &known)) {
    if (GPOINTER_TO_UINT(known) != checksum)
      sim_violated(node->world->sim, "log matching: entry %d of term %d differs on controller %d from elsewhere",
                   (int)entry->index, (int)entry->term, (int)node->id);
    return;
  }
  g_hash_table_insert(rules->entries, key, GUINT_TO_POINTER(checksum));
  if (entry->kind != RAFT_ENTRY_KIND(CONFIGURATION))
    return;
  check_change(node, entry);
  if (leads(node) && raft_core_term(node->core) == entry->term)
    check_own_change(node, entry);
}

void rules_know_entry(World *world, const RaftEntry *entry) {
  gpointer key = entry_key(entry->index, entry->term);
  g_hash_table_insert(world->rules->entries, key, GUINT_TO_POINTER(entry_checksum(entry, 0)));
  check_change(world->nodes[1], entry);
}

void rules_entries_written(Node *node, const RaftReady *ready) {
  World *world = node->world;
  if (ready->install)
    node->handed_last = ready->install->meta.index;
  for (guint i = 0; i < ready->entries->len; i++) {
    const RaftEntry *entry = ready->entries->pdata[i];
    const RaftEntry *before = i > 0 ? ready->entries->pdata[i - 1] : NULL;
    if (i == 0 && node->led_term == raft_core_term(node->core) && leads(node) && entry->index <= node->handed_last)
      sim_violated(world->sim, "leader append-only: controller %d overwrites entry %d while it leads term %d",
                   (int)node->id, (int)entry->index, (int)node->led_term);
    check_entry(node, entry, before ? before->term : raft_core_term_at(node->core, entry->index - 1));
    node->handed_last = entry->index;
  }
  check_in_force(node);
}

/* ---- Commits ---- */

/* How many of the voters have it on a disk; a disk that was lost had it, when its owner said so. */
static guint count_holders(const World *world, const RaftConfiguration *configuration, guint64 index, guint64 term) {
  guint count = 0;
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    const Node *node = world->nodes[member->id];
    gboolean lost = !node->store || !raft_directory_equal(&node->directory, &member->directory);
    count += !member->learner && (lost || store_holds(node->store, index, term));
  }
  return count;
}

static void check_safe_commit(const Node *node, guint64 index) {
  const World *world = node->world;
  const RaftConfiguration *configuration = raft_core_configuration(node->core);
  guint64 term = raft_core_term_at(node->core, index);
  guint holders = count_holders(world, configuration, index, term);
  guint quorum = raft_configuration_voter_count(configuration) / 2 + 1;
  if (holders < quorum)
    sim_violated(world->sim, "controller %d commits entry %d, which is on %u disks of voters, and %u are needed",
                 (int)node->id, (int)index, holders, quorum);
  if (term != raft_core_term(node->core))
    sim_violated(world->sim, "controller %d commits entry %d of term %d by counting, in term %d", (int)node->id,
                 (int)index, (int)term, (int)raft_core_term(node->core));
}

/* Whoever leads a later term has it. */
static void check_later_leaders(const World *world, guint64 index, guint64 term, guint64 in_term) {
  for (guint id = 1; id <= NODES_MAX; id++) {
    const Node *node = world->nodes[id];
    if (leads(node) && raft_core_term(node->core) > in_term && index + 1 >= raft_core_first_index(node->core) &&
        raft_core_term_at(node->core, index) != term)
      sim_violated(world->sim, "leader completeness: controller %u leads term %d without entry %d of term %d", id,
                   (int)raft_core_term(node->core), (int)index, (int)term);
  }
}

/* The configurations before a committed one, and those that were given up for it, are over. */
static void settle_changes(Rules *rules, guint64 index) {
  GArray *left = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < rules->candidates->len; i++) {
    guint place = g_array_index(rules->candidates, guint, i);
    const Change *change = &g_array_index(rules->changes, Change, place);
    guint64 committed = committed_term(rules, change->index);
    gboolean superseded = change->index < index || (committed && committed != change->term);
    if (!superseded)
      g_array_append_val(left, place);
  }
  g_array_unref(rules->candidates);
  rules->candidates = left;
}

static void learn_commit(Node *node, guint64 index, guint64 term) {
  World *world = node->world;
  Rules *rules = world->rules;
  Commit commit = {term, raft_core_term(node->core)}; /* its leader is the first who knows */
  g_array_append_val(rules->committed, commit);
  world->result->committed++;
  world_note(world, index << 32 ^ term);
  check_later_leaders(world, index, term, raft_core_term(node->core));
  for (guint i = 0; i < rules->candidates->len; i++) {
    const Change *change = &g_array_index(rules->changes, Change, g_array_index(rules->candidates, guint, i));
    if (change->index != index || change->term != term)
      continue;
    settle_changes(rules, index);
    world->result->changes++;
    world_tell(world, node->id, "commits a configuration at %" G_GUINT64_FORMAT, index);
    break;
  }
}

static void check_commits(Node *node) {
  World *world = node->world;
  Rules *rules = world->rules;
  guint64 commit = raft_core_commit_index(node->core), first = raft_core_first_index(node->core);
  if (commit <= node->seen_commit)
    return;
  if (leads(node) && node->led_term == raft_core_term(node->core) && commit >= first)
    check_safe_commit(node, commit);
  for (guint64 index = node->seen_commit + 1; index <= commit && !sim_violation(world->sim); index++) {
    guint64 committed = committed_term(rules, index), term = raft_core_term_at(node->core, index);
    if (index + 1 < first)
      continue; /* in a snapshot */
    if (committed && committed != term)
      sim_violated(world->sim, "controller %d takes entry %d of term %d for committed, and that of term %d was",
                   (int)node->id, (int)index, (int)term, (int)committed);
    else if (!committed && index != rules->committed->len + 1)
      sim_violated(world->sim, "controller %d takes entry %d for committed, and nobody committed those before it",
                   (int)node->id, (int)index);
    else if (!committed)
      learn_commit(node, index, term);
  }
  node->seen_commit = commit;
}

void rules_entry_applied(Node *node, const RaftEntry *entry) {
  World *world = node->world;
  check_commits(node);
  if (entry->index != node->seen_applied + 1)
    sim_violated(world->sim, "controller %d applies entry %d after %d", (int)node->id, (int)entry->index,
                 (int)node->seen_applied);
  node->seen_applied = entry->index;
  if (committed_term(world->rules, entry->index) != entry->term)
    sim_violated(world->sim, "state machine safety: controller %d applies entry %d of term %d, which is not committed",
                 (int)node->id, (int)entry->index, (int)entry->term);
  else if (!store_holds(node->store, entry->index, entry->term))
    sim_violated(world->sim, "controller %d applies entry %d, which is not on its disk", (int)node->id,
                 (int)entry->index);
}

void rules_snapshot_restored(Node *node, const RaftSnapshotMeta *meta) {
  World *world = node->world;
  if (meta->index <= node->seen_applied)
    sim_violated(world->sim, "controller %d restores a snapshot up to %d, and has applied entry %d", (int)node->id,
                 (int)meta->index, (int)node->seen_applied);
  node->seen_applied = meta->index;
  if (committed_term(world->rules, meta->index) != meta->term)
    sim_violated(world->sim, "controller %d restores a snapshot up to %d of term %d, which is not committed",
                 (int)node->id, (int)meta->index, (int)meta->term);
  else if (store_durable(node->store)->snapshot.index < meta->index)
    sim_violated(world->sim, "controller %d restores a snapshot up to %d, which is not on its disk", (int)node->id,
                 (int)meta->index);
}

void rules_image_at(Node *node, guint64 version, GBytes *bytes) {
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  gpointer checksum = GUINT_TO_POINTER(log_crc32c(data, size)), known;
  GHashTable *images = node->world->rules->images;
  if (!g_hash_table_lookup_extended(images, GSIZE_TO_POINTER(version), NULL, &known))
    g_hash_table_insert(images, GSIZE_TO_POINTER(version), checksum);
  else if (known != checksum)
    sim_violated(node->world->sim, "controller %d has other metadata at version %d than another one", (int)node->id,
                 (int)version);
}

/* ---- Leaders ---- */

static void check_new_leader(Node *node, guint64 term) {
  World *world = node->world;
  Rules *rules = world->rules;
  Leader *leader = g_hash_table_lookup(rules->leaders, GSIZE_TO_POINTER(term));
  world_note(world, node->id << 32 ^ term);
  if (leader && (leader->node != node->id || leader->life != node->life)) {
    sim_violated(world->sim, "election safety: controllers %d and %d both led term %d", (int)leader->node,
                 (int)node->id, (int)term);
    return;
  }
  if (!leader) {
    leader = g_new(Leader, 1);
    *leader = (Leader){node->id, node->life};
    g_hash_table_insert(rules->leaders, GSIZE_TO_POINTER(term), leader);
  }
  world->result->elections++;
  world_tell(world, node->id, "leads term %" G_GUINT64_FORMAT, term);
  guint64 index = rules->committed->len;
  while (index > 0 && g_array_index(rules->committed, Commit, index - 1).in_term >= term)
    index--;
  guint64 committed = committed_term(rules, index);
  if (committed && index + 1 >= raft_core_first_index(node->core) && raft_core_term_at(node->core, index) != committed)
    sim_violated(world->sim, "leader completeness: controller %d is elected in term %d without entry %d of term %d",
                 (int)node->id, (int)term, (int)index, (int)committed);
}

void rules_node_starts(Node *node) {
  const Stored *stored = store_durable(node->store);
  node->ticks = 0;
  node->led_term = 0;
  node->handed_last = store_last_index(node->store);
  node->seen_commit = node->seen_applied = stored->snapshot.index;
  node->lonely_ticks = 0;
  node->leader_term = node->pre_vote_term = node->asked_term = 0;
  node->stood_term = stored->hard_state.term;
  for (guint id = 0; id <= NODES_MAX; id++)
    node->heard_at[id] = 0;
}

void rules_node_stepped(Node *node) {
  if (sim_violation(node->world->sim))
    return;
  if (raft_core_role(node->core) == RAFT_CANDIDATE)
    rules_node_stands(node);
  guint64 term = leads(node) ? raft_core_term(node->core) : 0;
  if (term && term != node->led_term)
    check_new_leader(node, term);
  node->led_term = term;
  check_commits(node);
}

/* ---- What is known ---- */

void rules_block_given(World *world, guint64 floor, guint64 first) {
  Rules *rules = world->rules;
  if (first <= floor)
    sim_violated(world->sim, "the producer ids from %d on were given after those from %d on", (int)first, (int)floor);
  if (!g_hash_table_add(rules->blocks, GSIZE_TO_POINTER(first)))
    sim_violated(world->sim, "the producer ids from %d on were given twice", (int)first);
  rules->highest_block = MAX(rules->highest_block, first);
}

guint64 rules_highest_block(const Rules *rules) {
  return rules->highest_block;
}

guint rules_configurations(const Rules *rules) {
  return rules->candidates->len;
}

const RaftConfiguration *rules_configuration(const Rules *rules, guint place) {
  return &g_array_index(rules->changes, Change, g_array_index(rules->candidates, guint, place)).configuration;
}
