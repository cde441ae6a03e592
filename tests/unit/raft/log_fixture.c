#include "tests/unit/raft/log_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/log/crc32c.h"
#include "tests/shim/shim.h"

char *log_folder(void) {
  return g_build_filename(shim_temp_dir(), "log", NULL);
}

RaftLogStore *log_open(const char *path, gboolean create) {
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, create, 1, &store);
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
  return store;
}

RaftLogStore *log_begin(const char *path) {
  RaftLogStore *store = log_open(path, TRUE);
  GBytes *snapshot = NULL;
  RaftStart start = {0};
  g_autoptr(Failure) failure = raft_log_store_load(store, &start, &snapshot);
  EXPECT_NULL(failure);
  EXPECT_NULL(snapshot);
  EXPECT_EQ_INT(0, start.hard_state.term);
  EXPECT_EQ_INT(0, start.entries->len);
  raft_log_start_clear(&start);
  return store;
}

GPtrArray *log_entries(guint64 from, guint64 to, guint64 term) {
  GPtrArray *entries = raft_entries_new();
  for (guint64 index = from; index <= to; index++) {
    g_autofree char *text = g_strdup_printf("entry %" G_GUINT64_FORMAT, index);
    g_ptr_array_add(entries, raft_entry_new(index, term, RAFT_ENTRY_KIND(METADATA), g_bytes_new(text, strlen(text))));
  }
  return entries;
}

void log_write(RaftLogStore *store, guint64 from, guint64 to, guint64 term) {
  g_autoptr(GPtrArray) entries = log_entries(from, to, term);
  RaftHardState state = {.term = term, .vote = 1, .commit = from};
  raft_log_store_write(store, &state, entries);
}

void log_vote(RaftLogStore *store, guint64 term, guint64 vote) {
  g_autoptr(GPtrArray) none = raft_entries_new();
  RaftHardState state = {.term = term, .vote = vote};
  raft_log_store_write(store, &state, none);
}

static RaftSnapshotMeta meta_of(guint64 index, guint64 term) {
  return (RaftSnapshotMeta){.index = index, .term = term, .configuration = {.members = {{.id = 1}}, .member_count = 1}};
}

void log_snapshot(RaftLogStore *store, guint64 index, guint64 term, const char *text) {
  RaftSnapshotMeta meta = meta_of(index, term);
  RaftSnapshotFile *file = raft_snapshot_file_new(store);
  raft_snapshot_file_append(file, text, strlen(text));
  raft_log_store_put_snapshot_file(store, &meta, file);
}

RaftSnapshotMeta log_received(guint64 index, guint64 term, const char *text) {
  RaftSnapshotMeta meta = meta_of(index, term);
  meta.size_bytes = strlen(text);
  meta.crc32c = log_crc32c(text, strlen(text));
  return meta;
}

/* ---- Telling ---- */

static void tell_identity(GString *text, const RaftLogStore *store, const RaftStart *start) {
  const RaftLogIdentity *identity = raft_log_store_identity(store);
  g_string_append_printf(text, "node %lu cluster '%s' directory ", (gulong)identity->node_id, identity->cluster_id);
  for (guint i = 0; i < sizeof identity->directory.bytes; i++)
    g_string_append_printf(text, "%02x", identity->directory.bytes[i]);
  g_string_append_printf(text, " term %lu vote %lu commit %lu ", (gulong)start->hard_state.term,
                         (gulong)start->hard_state.vote, (gulong)start->hard_state.commit);
}

static char *tell(const char *path, gboolean all) {
  g_autoptr(RaftLogStore) store = NULL;
  g_autoptr(GBytes) snapshot = NULL;
  RaftStart start = {0};
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 1, &store);
  if (!failure)
    failure = raft_log_store_load(store, &start, &snapshot);
  if (failure)
    return g_strdup(failure_message(failure));
  GString *text = g_string_new(NULL);
  if (all)
    tell_identity(text, store, &start);
  if (snapshot)
    g_string_append_printf(text, "snapshot(%" G_GSIZE_FORMAT ")@%" G_GUINT64_FORMAT " ", g_bytes_get_size(snapshot),
                           start.snapshot.index);
  if (snapshot && all)
    g_string_append_printf(text, "%.*s ", (int)g_bytes_get_size(snapshot),
                           (const char *)g_bytes_get_data(snapshot, NULL));
  for (guint i = 0; i < start.entries->len; i++) {
    const RaftEntry *entry = start.entries->pdata[i];
    g_string_append_printf(text, "%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " ", entry->index, entry->term);
    if (all)
      g_string_append_printf(text, "%.*s ", (int)g_bytes_get_size(entry->data),
                             (const char *)g_bytes_get_data(entry->data, NULL));
  }
  raft_log_start_clear(&start);
  return g_string_free(text, FALSE);
}

char *log_tell(const char *path) {
  return tell(path, FALSE);
}

char *log_tell_all(const char *path) {
  return tell(path, TRUE);
}

/* ---- Files ---- */

void log_copy(const char *from, const char *to) {
  g_mkdir_with_parents(to, 0700);
  g_autoptr(GDir) dir = g_dir_open(from, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *source = g_build_filename(from, name, NULL), *target = g_build_filename(to, name, NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    FILE *file = NULL;
    if (!g_file_get_contents(source, &bytes, &size, NULL) || !(file = fopen(target, "w")) ||
        fwrite(bytes, 1, size, file) != size)
      shim_fail(__FILE__, __LINE__, "%s can't be copied", source);
    if (file)
      fclose(file);
  }
}

void log_remove(const char *path) {
  g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *file = g_build_filename(path, name, NULL);
    unlink(file);
  }
  rmdir(path);
}
