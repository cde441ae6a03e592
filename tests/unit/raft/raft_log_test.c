#include "storage/rocks/raft/raft_log.h"

#include <string.h>

#include "storage/rocks/raft/raw.h"
#include "tests/shim/shim.h"

/* The folder of this test. */
static char *folder(void) {
  return g_build_filename(shim_temp_dir(), "log", NULL);
}

static RaftLogStore *open_or_fail(const char *path, gboolean create) {
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, create, 1, &store);
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
  return store;
}

static void add_entry(GPtrArray *entries, guint64 index, guint64 term) {
  g_autofree char *text = g_strdup_printf("entry %" G_GUINT64_FORMAT, index);
  g_ptr_array_add(entries, raft_entry_new(index, term, RAFT_ENTRY_KIND(METADATA), g_bytes_new(text, strlen(text))));
}

/* Write entries from..to of a term. */
static void write_range(RaftLogStore *store, guint64 from, guint64 to, guint64 term) {
  g_autoptr(GPtrArray) entries = raft_entries_new();
  for (guint64 index = from; index <= to; index++)
    add_entry(entries, index, term);
  RaftHardState state = {.term = term, .vote = 1, .commit = from};
  raft_log_store_write(store, &state, entries);
}

/* Load and close; the log as text: "1/1 2/1". */
static char *reload(const char *path, RaftStart *ret_start) {
  g_autoptr(RaftLogStore) store = open_or_fail(path, FALSE);
  RaftStart start = {0};
  g_autoptr(GBytes) snapshot = NULL;
  g_autoptr(Failure) failure = raft_log_store_load(store, &start, &snapshot);
  if (failure)
    return g_strdup(failure_message(failure));
  GString *text = g_string_new(NULL);
  if (snapshot)
    g_string_append_printf(text, "snapshot(%" G_GSIZE_FORMAT ")@%" G_GUINT64_FORMAT " ", g_bytes_get_size(snapshot),
                           start.snapshot.index);
  for (guint i = 0; i < start.entries->len; i++) {
    const RaftEntry *entry = start.entries->pdata[i];
    g_string_append_printf(text, "%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " ", entry->index, entry->term);
  }
  raft_log_start_clear(&start);
  if (ret_start)
    *ret_start = start;
  return g_string_free(text, FALSE);
}

static RaftLogStore *begin(const char *path) {
  RaftLogStore *store = open_or_fail(path, TRUE);
  RaftStart start = {0};
  GBytes *snapshot = NULL;
  EXPECT_NULL(raft_log_store_load(store, &start, &snapshot));
  EXPECT_NULL(snapshot);
  EXPECT_EQ_INT(0, start.entries->len);
  raft_log_start_clear(&start);
  return store;
}

TEST(raft_log, keeps_what_was_written) {
  g_autofree char *path = folder();
  EXPECT_FALSE(raft_log_store_exists(path));
  RaftLogStore *store = begin(path);
  write_range(store, 1, 3, 1);
  raft_log_store_close(store);
  EXPECT_TRUE(raft_log_store_exists(path));
  RaftStart start = {0};
  g_autofree char *text = reload(path, &start);
  EXPECT_EQ_STR("1/1 2/1 3/1 ", text);
  EXPECT_EQ_INT(1, start.hard_state.term);
  EXPECT_EQ_INT(1, start.hard_state.vote);
  EXPECT_EQ_INT(1, start.hard_state.commit);
}

TEST(raft_log, new_entries_replace_all_from_theirs_on) {
  g_autofree char *path = folder();
  RaftLogStore *store = begin(path);
  write_range(store, 1, 5, 1);
  write_range(store, 3, 3, 2);
  raft_log_store_close(store);
  g_autofree char *text = reload(path, NULL);
  EXPECT_EQ_STR("1/1 2/1 3/2 ", text);
}

TEST(raft_log, a_snapshot_takes_the_place_of_its_entries) {
  g_autofree char *path = folder();
  RaftLogStore *store = begin(path);
  write_range(store, 1, 5, 1);
  RaftSnapshotMeta meta = {.index = 3, .term = 1, .configuration = {.members = {{.id = 1}}, .member_count = 1}};
  g_autoptr(GBytes) snapshot = g_bytes_new_static("0123456789", 10);
  raft_log_store_put_snapshot(store, &meta, snapshot);
  write_range(store, 6, 6, 1);
  raft_log_store_close(store);
  g_autofree char *text = reload(path, NULL);
  EXPECT_EQ_STR("snapshot(10)@3 4/1 5/1 6/1 ", text);
}

TEST(raft_log, only_one_process_has_it_open) {
  g_autofree char *path = folder();
  g_autoptr(RaftLogStore) store = begin(path);
  RaftLogStore *second = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 1, &second);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "Another process uses the folder");
}

TEST(raft_log, another_controllers_folder_is_refused) {
  g_autofree char *path = folder();
  raft_log_store_close(begin(path));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 2, &store);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
}

TEST(raft_log, a_missing_one_is_refused) {
  g_autofree char *path = folder();
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 1, &store);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
}

/* ---- Damage ---- */

TEST(raft_log, a_newer_format_is_refused) {
  g_autofree char *path = folder();
  raft_log_store_close(begin(path));
  EXPECT_TRUE(raft_log_raw_put(path, "format", 6, "\0\0\0\2", 4));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, TRUE, 1, &store);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "newer Milena");
}

TEST(raft_log, somebody_elses_rocksdb_is_refused) {
  g_autofree char *path = folder();
  EXPECT_TRUE(raft_log_raw_put(path, "a", 1, "b", 1));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, TRUE, 1, &store);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
}

static const struct {
  const char *name, *key, *value, *part; /* value NULL: deleted */
  gsize key_len, size;
} DAMAGES[] = {
    {"entry_changed", "e\0\0\0\0\0\0\0\2", "\x08\x01garbage", "checksum of an entry", 9, 9},
    {"entry_cut_to_nothing", "e\0\0\0\0\0\0\0\2", "", "checksum of an entry", 9, 0},
    {"first_entry_missing", "e\0\0\0\0\0\0\0\1", NULL, "missing", 9, 0},
    {"state_changed", "state", "\x08\x01\x10\x02\0\0\0\0", "checksum of state", 5, 8},
};

TEST_ROWS(raft_log_damaged, DAMAGES) {
  g_autofree char *path = folder();
  RaftLogStore *store = begin(path);
  write_range(store, 1, 3, 1);
  raft_log_store_close(store);
  EXPECT_TRUE(raft_log_raw_put(path, DAMAGES[row].key, DAMAGES[row].key_len, DAMAGES[row].value, DAMAGES[row].size));
  g_autofree char *text = reload(path, NULL);
  EXPECT_CONTAINS(text, DAMAGES[row].part);
}

TEST(raft_log, an_entry_has_these_bytes) {
  g_autofree char *path = folder();
  RaftLogStore *store = begin(path);
  write_range(store, 1, 1, 1);
  raft_log_store_close(store);
  g_autoptr(GBytes) raw = raft_log_raw_get(path, "e\0\0\0\0\0\0\0\1", 9);
  gsize size = 0;
  const void *value = raw ? g_bytes_get_data(raw, &size) : NULL;
  static const guint8 GOLDEN[] = {0x08, 0x01, 0x10, 0x01, 0x18, 0x01, 0x20, 0x02, 0x2a, 0x07, 'e',
                                  'n',  't',  'r',  'y',  ' ',  '1',  0x54, 0x3b, 0x85, 0x0e};
  EXPECT_EQ_BYTES(GOLDEN, sizeof GOLDEN, value, size); /* ends with the CRC-32C of key and value */
}
