/* A random load on a controller's log, to be killed: entries, cuts, terms and votes, snapshots of its own and of a
 * leader. Before each write it tells the state that the write leads to, and after it that it was acknowledged.
 *
 *   raft_driver FOLDER RUN - */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/base/invariant.h"
#include "tests/crash/raft_protocol.h"

#define SNAPSHOT_BYTES_MAX (256 << 10)

typedef struct {
  RaftLogStore *store;
  GRand *random;
  RaftHardState hard;
  RaftSnapshotMeta meta;
  GBytes *snapshot;   /* or NULL */
  GPtrArray *entries; /* behind the snapshot */
} Model;

static guint64 last_index(const Model *model) {
  return model->meta.index + model->entries->len;
}

/* Between both, inclusive. */
static guint64 choose(Model *model, guint64 low, guint64 high) {
  return low + (guint64)g_rand_int_range(model->random, 0, (gint32)(high - low + 1));
}

static GBytes *noise(Model *model, gsize size) {
  guint8 *bytes = g_malloc(size + 4);
  for (gsize at = 0; at < size; at += 4) {
    guint32 word = g_rand_int(model->random);
    memcpy(bytes + at, &word, sizeof word);
  }
  return g_bytes_new_take(bytes, size);
}

static void tell(const Model *model, gboolean done) {
  RaftCrashEvent event = raft_crash_state(&model->hard, &model->meta, model->snapshot, model->entries);
  event.done = done;
  if (write(STDOUT_FILENO, &event, sizeof event) != sizeof event)
    _exit(3); /* the parent is gone */
}

/* @count entries from @from on, into the model, over what is there; returns those alone. */
static GPtrArray *add_entries(Model *model, guint64 from, guint64 count) {
  GPtrArray *added = raft_entries_new();
  g_ptr_array_set_size(model->entries, (gint)(from - model->meta.index - 1));
  for (guint64 index = from; index < from + count; index++) {
    GBytes *data = noise(model, choose(model, 0, 2000));
    RaftEntry *entry = raft_entry_new(index, model->hard.term, RAFT_ENTRY_KIND(METADATA), data);
    g_ptr_array_add(added, entry);
    g_ptr_array_add(model->entries, raft_entry_ref(entry));
  }
  return added;
}

static void write_entries(Model *model, guint64 from, guint64 count) {
  g_autoptr(GPtrArray) added = add_entries(model, from, count);
  tell(model, FALSE);
  raft_log_store_write(model->store, &model->hard, added);
  tell(model, TRUE);
}

static void new_term(Model *model) {
  model->hard.term++;
  model->hard.vote = choose(model, 0, 3);
}

static void describe(Model *model, guint64 index) {
  g_clear_pointer(&model->snapshot, g_bytes_unref);
  model->snapshot = noise(model, choose(model, 0, SNAPSHOT_BYTES_MAX));
  gsize size;
  const void *data = g_bytes_get_data(model->snapshot, &size);
  model->meta = (RaftSnapshotMeta){.index = index,
                                   .term = model->hard.term,
                                   .configuration = {.members = {{.id = 1}}, .member_count = 1},
                                   .size_bytes = size,
                                   .crc32c = log_crc32c(data, size)};
}

static void take_snapshot(Model *model) {
  if (!model->entries->len || model->hard.commit <= model->meta.index)
    return;
  guint64 index = choose(model, model->meta.index + 1, model->hard.commit);
  const RaftEntry *last = model->entries->pdata[index - model->meta.index - 1];
  guint64 term = last->term;
  g_ptr_array_remove_range(model->entries, 0, (guint)(index - model->meta.index));
  describe(model, index);
  model->meta.term = term;
  tell(model, FALSE);
  RaftSnapshotFile *file = raft_snapshot_file_new(model->store);
  raft_snapshot_file_append(file, g_bytes_get_data(model->snapshot, NULL), g_bytes_get_size(model->snapshot));
  raft_log_store_put_snapshot_file(model->store, &model->meta, file);
  tell(model, TRUE);
}

static void install_snapshot(Model *model) {
  guint64 index = choose(model, MAX(model->hard.commit, model->meta.index) + 1, last_index(model) + 5);
  new_term(model);
  model->hard.commit = index;
  g_ptr_array_set_size(model->entries, 0);
  describe(model, index);
  g_autoptr(GPtrArray) added = add_entries(model, index + 1, choose(model, 0, 3));
  RaftInstall install = {model->meta, model->snapshot};
  tell(model, FALSE);
  g_autoptr(Failure) failure = raft_log_store_install(model->store, &model->hard, &install, added);
  INVARIANT(!failure, "the snapshot is the one that is described");
  tell(model, TRUE);
}

static void step(Model *model) {
  guint64 dice = choose(model, 0, 99), last = last_index(model);
  if (dice < 55) {
    write_entries(model, last + 1, choose(model, 1, 5));
  } else if (dice < 65) {
    new_term(model);
    write_entries(model, last + 1, 0);
  } else if (dice < 75) {
    new_term(model);
    write_entries(model, choose(model, MAX(model->hard.commit, model->meta.index) + 1, last + 1), choose(model, 1, 3));
  } else if (dice < 85) {
    model->hard.commit = choose(model, MAX(model->hard.commit, model->meta.index), last);
    write_entries(model, last + 1, 0);
  } else if (dice < 95) {
    take_snapshot(model);
  } else {
    install_snapshot(model);
  }
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: raft_driver FOLDER RUN -\n");
    return 2;
  }
  Model model = {.random = g_rand_new_with_seed((guint32)atol(argv[2]))};
  RaftStart start = {0};
  Failure *failure = raft_log_store_open(argv[1], TRUE, 1, &model.store);
  if (!failure)
    failure = raft_log_store_load(model.store, &start, &model.snapshot);
  if (failure) {
    fprintf(stderr, "raft_driver: %s\n", failure_message(failure));
    return 1;
  }
  model.hard = start.hard_state;
  model.meta = start.snapshot;
  model.entries = start.entries;
  if (model.hard.term == 0)
    model.hard.term = 1;
  for (;;)
    step(&model);
}
