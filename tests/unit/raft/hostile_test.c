/* Messages of no sense, from peers that should know better: a core drops them, or ends with a Failure; it never breaks
 * an invariant of its own. Numbers are small, so that they often nearly fit. */
#include <stdlib.h>

#include "controller/raft/raft.h"
#include "storage/log/crc32c.h"
#include "tests/shim/shim.h"

#define SEEDS 3000
#define STEPS 400

typedef struct {
  GRand *rand;
  RaftCore *core;
  guint64 written; /* up to this write */
  guint64 wrote;   /* the last one that was given out */
  guint64 leading; /* steps as leader */
  guint64 failures, installs;
} Run;

static guint64 small(Run *run, gint32 below) {
  return g_rand_int_range(run->rand, 0, 50) ? (guint64)g_rand_int_range(run->rand, 0, below) : G_MAXUINT64;
}

static gboolean chance(Run *run, double probability) {
  return g_rand_double(run->rand) < probability;
}

static RaftDirectory directory(guint64 id) {
  return (RaftDirectory){{(guint8)id, 1}};
}

static RaftConfiguration configuration(Run *run) {
  RaftConfiguration made = {0};
  for (guint64 id = 1; id <= 4; id++)
    if (id == 2 || chance(run, 0.8))
      made.members[made.member_count++] =
          (RaftMember){.id = id, .directory = directory(id), .learner = id != 2 && chance(run, 0.2)};
  return made;
}

static RaftEntry *entry(Run *run, guint64 index, guint64 term) {
  if (chance(run, 0.1)) {
    RaftConfiguration made = configuration(run);
    return raft_entry_new(index, term, RAFT_ENTRY_KIND(CONFIGURATION), raft_configuration_encode(&made));
  }
  if (chance(run, 0.01)) /* does not decode */
    return raft_entry_new(index, term, RAFT_ENTRY_KIND(CONFIGURATION), g_bytes_new("\xff\xff", 2));
  return raft_entry_new(index, term, RAFT_ENTRY_KIND(METADATA), g_bytes_new("x", 1));
}

static void add_entries(Run *run, RaftMessage *message) {
  message->entries = raft_entries_new();
  guint count = (guint)g_rand_int_range(run->rand, 0, 5);
  guint64 term = message->log_term;
  for (guint i = 1; i <= count; i++) {
    term = chance(run, 0.9) ? MIN(MAX(term, 1), message->term) : small(run, 9);
    guint64 index = chance(run, 0.97) ? message->index + i : small(run, 9);
    g_ptr_array_add(message->entries, entry(run, index, term));
  }
}

static void add_snapshot(Run *run, RaftMessage *message) {
  message->snapshot = g_new0(RaftSnapshotMeta, 1);
  *message->snapshot = (RaftSnapshotMeta){
      .index = small(run, 30),
      .term = small(run, 7),
      .configuration = configuration(run),
      .size_bytes = chance(run, 0.9) ? 2 : small(run, 9),
      .crc32c = chance(run, 0.9) ? log_crc32c("ab", 2) : 7,
  };
  message->offset = small(run, 3);
  message->chunk = chance(run, 0.9) ? g_bytes_new("ab", message->offset == 0 ? 2 : 1) : NULL;
}

static RaftMessage *make_message(Run *run) {
  guint64 near = raft_core_term(run->core) + (guint64)g_rand_int_range(run->rand, 0, 2);
  RaftMessage *message =
      raft_message_new(g_rand_int_range(run->rand, 1, 13), (guint64)g_rand_int_range(run->rand, 0, 5), 1,
                       chance(run, 0.8) ? near : small(run, 9));
  message->from_directory = directory(message->from);
  message->to_directory = directory(chance(run, 0.98) ? 1 : 9);
  guint64 index = raft_core_commit_index(run->core) + (guint64)g_rand_int_range(run->rand, 0, 4);
  message->index = chance(run, 0.7) ? index : small(run, 30);
  message->log_term = chance(run, 0.7) ? raft_core_term_at(run->core, message->index) : small(run, 7);
  message->commit = chance(run, 0.7) ? raft_core_commit_index(run->core) + 1 : small(run, 30);
  message->reject = chance(run, 0.2);
  message->hint = small(run, 30);
  message->round = small(run, 9);
  message->offset = small(run, 3);
  message->transfer = chance(run, 0.3);
  if (message->kind == RAFT_APPEND && chance(run, 0.8))
    add_entries(run, message);
  if (message->kind == RAFT_SNAPSHOT && chance(run, 0.95))
    add_snapshot(run, message);
  return message;
}

static void start(Run *run) {
  RaftOptions options = {.id = 1,
                         .directory = directory(1),
                         .election_ticks = 4,
                         .heartbeat_ticks = 1,
                         .seed = g_rand_int(run->rand),
                         .chunk_bytes_max = 1};
  RaftConfiguration made = {.member_count = 3};
  for (guint i = 0; i < 3; i++)
    made.members[i] = (RaftMember){.id = i + 1, .directory = directory(i + 1)};
  g_autoptr(GPtrArray) entries = raft_entries_new();
  g_ptr_array_add(entries, raft_entry_new_bootstrap(&made, 1));
  RaftStart disk = {.hard_state = {.term = 1}, .entries = entries};
  g_clear_pointer(&run->core, raft_core_free);
  EXPECT_NULL(raft_core_new(&options, &disk, &run->core));
  run->written = run->wrote = 0;
}

static void work(Run *run) {
  RaftReady ready;
  while (raft_core_ready(run->core, &ready)) {
    if (ready.write_id)
      run->wrote = ready.write_id;
    run->installs += ready.restore ? 1 : 0;
    raft_ready_clear(&ready);
  }
  if (run->written < run->wrote && chance(run, 0.7))
    raft_core_written(run->core, ++run->written);
}

/* Something that the host does. */
static Failure *do_own(Run *run) {
  guint64 index;
  g_autoptr(GBytes) data = g_bytes_new("y", 1);
  RaftChange change = {.kind = (RaftChangeKind)g_rand_int_range(run->rand, 0, 4),
                       .member = {.id = (guint64)g_rand_int_range(run->rand, 0, 6)}};
  change.member.directory = directory(change.member.id);
  switch (g_rand_int_range(run->rand, 0, 6)) {
  case 0:
    return raft_core_propose(run->core, data, &index);
  case 1:
    return raft_core_propose_change(run->core, &change, &index);
  case 2:
    return raft_core_transfer(run->core, change.member.id);
  case 3:
    return raft_core_read(run->core, 5);
  case 4:
    index = raft_core_applied_index(run->core);
    RaftSnapshotMeta meta;
    if (index < raft_core_first_index(run->core) || raft_core_snapshot_meta(run->core, index, &meta))
      return NULL;
    meta.size_bytes = 2;
    raft_core_compact(run->core, &meta);
    return NULL;
  default:
    raft_core_tick(run->core);
    return NULL;
  }
}

static void step(Run *run) {
  if (chance(run, 0.4)) {
    failure_free(do_own(run)); /* it may refuse */
  } else {
    g_autoptr(RaftMessage) message = make_message(run);
    g_autoptr(Failure) failure = raft_core_step(run->core, message);
    if (failure) { /* the host ends */
      run->failures++;
      start(run);
    }
  }
  RaftState state = raft_core_state(run->core);
  run->leading += state.role == RAFT_LEADER ? 1 : 0;
  work(run);
}

TEST(raft_hostile, never_breaks_what_the_core_promises_itself) {
  Run run = {0};
  const char *only = getenv("RAFT_SEED");
  guint32 first = only ? (guint32)strtoul(only, NULL, 10) : 1, last = only ? first : SEEDS;
  for (guint32 seed = first; seed <= last; seed++) {
    run.rand = g_rand_new_with_seed(seed);
    start(&run);
    for (guint i = 0; i < STEPS; i++)
      step(&run);
    g_rand_free(run.rand);
  }
  raft_core_free(run.core);
  /* Nothing would be shown if nothing went far. */
  EXPECT_TRUE(only || run.leading > SEEDS);
  EXPECT_TRUE(only || run.failures > SEEDS / 10);
  EXPECT_TRUE(only || run.installs > SEEDS / 10);
}
