#include "storage/rocks/raft/raft_log.h"

#include <string.h>

#include "storage/log/crc32c.h"
#include "storage/rocks/raft/note.h"
#include "storage/rocks/raft/raw.h"
#include "tests/shim/shim.h"
#include "tests/unit/raft/log_fixture.h"

TEST(raft_log, keeps_what_was_written) {
  g_autofree char *path = log_folder();
  EXPECT_FALSE(raft_log_store_exists(path));
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 3, 1);
  raft_log_store_close(store);
  EXPECT_TRUE(raft_log_store_exists(path));
  g_autofree char *text = log_tell(path), *all = log_tell_all(path);
  EXPECT_EQ_STR("1/1 2/1 3/1 ", text);
  EXPECT_CONTAINS(all, "term 1 vote 1 commit 1 ");
}

TEST(raft_log, new_entries_replace_all_from_theirs_on) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 5, 1);
  log_write(store, 3, 3, 2);
  raft_log_store_close(store);
  g_autofree char *text = log_tell(path);
  EXPECT_EQ_STR("1/1 2/1 3/2 ", text);
}

TEST(raft_log, a_snapshot_takes_the_place_of_its_entries) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 5, 1);
  log_snapshot(store, 3, 1, "0123456789");
  log_write(store, 6, 6, 1);
  raft_log_store_close(store);
  g_autofree char *text = log_tell(path);
  EXPECT_EQ_STR("snapshot(10)@3 4/1 5/1 6/1 ", text);
}

TEST(raft_log, only_one_process_has_it_open) {
  g_autofree char *path = log_folder();
  g_autoptr(RaftLogStore) store = log_begin(path);
  RaftLogStore *second = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 1, &second);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "Another process uses the folder");
}

TEST(raft_log, another_controllers_folder_is_refused) {
  g_autofree char *path = log_folder();
  raft_log_store_close(log_begin(path));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 2, &store);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
}

TEST(raft_log, a_missing_one_is_refused) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, 1, &store);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
}

/* ---- Identity ---- */

TEST(raft_log, a_folder_has_an_identity_of_its_own) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  RaftLogIdentity first = *raft_log_store_identity(store);
  EXPECT_EQ_INT(1, first.node_id);
  EXPECT_FALSE(raft_directory_is_unknown(&first.directory));
  EXPECT_EQ_STR("", first.cluster_id);
  raft_log_store_close(store);
  store = log_open(path, FALSE);
  EXPECT_TRUE(raft_directory_equal(&first.directory, &raft_log_store_identity(store)->directory));
  raft_log_store_close(store);
  log_remove(path);
  store = log_begin(path); /* the disk was lost */
  EXPECT_FALSE(raft_directory_equal(&first.directory, &raft_log_store_identity(store)->directory));
  raft_log_store_close(store);
}

TEST(raft_log, an_empty_folder_waits_and_learns_its_cluster_once) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  g_autoptr(Failure) no_uuid = raft_log_store_set_cluster(store, "cluster");
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(no_uuid));
  EXPECT_NULL(raft_log_store_set_cluster(store, "5d3b2c8e-8f1e-4e6a-9a52-1f0d3c6b7a90"));
  raft_log_store_close(store);
  store = log_open(path, FALSE);
  EXPECT_EQ_STR("5d3b2c8e-8f1e-4e6a-9a52-1f0d3c6b7a90", raft_log_store_identity(store)->cluster_id);
  EXPECT_NULL(raft_log_store_set_cluster(store, "5D3B2C8E-8F1E-4E6A-9A52-1F0D3C6B7A90"));
  g_autoptr(Failure) other = raft_log_store_set_cluster(store, "00000000-8f1e-4e6a-9a52-1f0d3c6b7a90");
  EXPECT_EQ_INT(FAILURE(CLUSTER_MISMATCH), failure_reason(other));
  EXPECT_CONTAINS(failure_message(other), "belongs to the cluster 5d3b2c8e");
  raft_log_store_close(store);
}

TEST(raft_log, a_folder_with_other_files_is_refused) {
  g_autofree char *path = log_folder(), *file = g_build_filename(path, "letter.txt", NULL);
  g_mkdir_with_parents(path, 0700);
  EXPECT_TRUE(g_file_set_contents(file, "dear", 4, NULL));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, TRUE, 1, &store);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "letter.txt");
}

/* ---- Snapshots of a leader ---- */

/* Install one at entry 9 of term 3, with entries 10 and 11. @bytes: what came, while "the leader's" was sent */
static Failure *install(RaftLogStore *store, const char *bytes) {
  RaftInstall install = {log_received(9, 3, "the leader's"), g_bytes_new(bytes, strlen(bytes))};
  RaftHardState state = {.term = 4, .vote = 2, .commit = 9};
  g_autoptr(GPtrArray) entries = log_entries(10, 11, 4);
  Failure *failure = raft_log_store_install(store, &state, &install, entries);
  g_bytes_unref(install.bytes);
  return failure;
}

TEST(raft_log, an_installed_snapshot_takes_the_place_of_everything) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 15, 1);
  log_snapshot(store, 2, 1, "mine");
  g_autoptr(GBytes) before = raft_log_store_snapshot(store);
  EXPECT_NULL(install(store, "the leader's"));
  EXPECT_EQ_BYTES("mine", 4, g_bytes_get_data(before, NULL), g_bytes_get_size(before)); /* who reads it goes on */
  raft_log_store_close(store);
  g_autofree char *text = log_tell(path), *all = log_tell_all(path);
  EXPECT_EQ_STR("snapshot(12)@9 10/4 11/4 ", text);
  EXPECT_CONTAINS(all, "term 4 vote 2 commit 9 snapshot(12)@9 the leader's 10/4 entry 10 11/4 entry 11 ");
}

static const struct {
  const char *name, *bytes, *part;
} RECEIVED[] = {
    {"cut_short", "the leader", "cut short: it has 10 bytes of 12"},
    {"changed", "the leaders'", "checksum of the snapshot at entry 9 that was received does not match"},
};

TEST_ROWS(raft_log_received, RECEIVED) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 5, 1);
  log_snapshot(store, 2, 1, "mine");
  g_autoptr(Failure) failure = install(store, RECEIVED[row].bytes);
  EXPECT_EQ_INT(FAILURE(CORRUPT_LOG), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), RECEIVED[row].part);
  log_write(store, 6, 6, 1);
  raft_log_store_close(store);
  g_autofree char *text = log_tell(path);
  EXPECT_EQ_STR("snapshot(4)@2 3/1 4/1 5/1 6/1 ", text);
}

TEST(raft_log, one_that_was_begun_and_not_put_leaves_nothing) {
  g_autofree char *path = log_folder(), *left = g_build_filename(path, "snapshot-7", NULL);
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 3, 1);
  RaftSnapshotFile *given_up = raft_snapshot_file_new(store), *file = raft_snapshot_file_new(store);
  raft_snapshot_file_append(given_up, "half a ", 7);
  raft_snapshot_file_append(file, "in ", 3);
  raft_snapshot_file_append(file, "pieces", 6);
  raft_snapshot_file_free(given_up);
  RaftSnapshotMeta meta = log_received(2, 1, "");
  raft_log_store_put_snapshot_file(store, &meta, file);
  raft_log_store_close(store);
  EXPECT_TRUE(g_file_set_contents(left, "of a crash", 10, NULL));
  g_autofree char *all = log_tell_all(path);
  EXPECT_CONTAINS(all, "snapshot(9)@2 in pieces 3/1 ");
  guint files = 0;
  g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir));)
    files += g_str_has_prefix(name, "snapshot-");
  EXPECT_EQ_INT(1, files);
}

/* ---- Format 1 ---- */

static void copy_files(const char *path, const char *folder, const char *const *names) {
  g_mkdir_with_parents(path, 0700);
  for (guint i = 0; names[i]; i++) {
    g_autofree char *name = g_build_filename("tests/data/raft_log", folder, names[i], NULL);
    g_autofree char *to = g_build_filename(path, names[i], NULL), *bytes = NULL;
    gsize size = 0;
    EXPECT_TRUE(g_file_get_contents(shim_source_path(name), &bytes, &size, NULL));
    EXPECT_TRUE(g_file_set_contents(to, bytes, (gssize)size, NULL));
  }
}

static void copy_format_1(const char *path) {
  static const char *const NAMES[] = {"000004.log", "CURRENT", "MANIFEST-000005", NULL};
  copy_files(path, "format-1", NAMES);
}

/* Written by the release before, and killed: 7 entries, a snapshot at 4. */
TEST(raft_log, a_folder_of_format_1_is_brought_to_this_one) {
  g_autofree char *path = log_folder();
  copy_format_1(path);
  g_autofree char *first = log_tell_all(path), *again = log_tell_all(path);
  EXPECT_CONTAINS(first, "term 2 vote 1 commit 7 snapshot(23)@4 the metadata at entry 4 "
                         "5/2 entry 5 6/2 entry 6 7/2 entry 7 ");
  EXPECT_EQ_STR(first, again); /* the directory id too */
  RaftLogStore *store = log_open(path, FALSE);
  log_write(store, 8, 8, 3);
  raft_log_store_close(store);
  g_autofree char *text = log_tell(path);
  EXPECT_EQ_STR("snapshot(23)@4 5/2 6/2 7/2 8/3 ", text);
}

TEST(raft_log, an_interrupted_upgrade_is_done_again) {
  g_autofree char *path = log_folder();
  g_autofree char *note = g_build_filename(path, "CONTROLLER", NULL), *bytes = NULL;
  copy_format_1(path);
  g_autofree char *first = log_tell_all(path);
  gsize size = 0;
  EXPECT_TRUE(g_file_get_contents(note, &bytes, &size, NULL));
  log_remove(path);
  copy_format_1(path); /* with CONTROLLER alone beside it */
  EXPECT_TRUE(g_file_set_contents(note, bytes, (gssize)size, NULL));
  g_autofree char *again = log_tell_all(path);
  EXPECT_EQ_STR(first, again);
}

TEST(raft_log, a_damaged_folder_of_format_1_is_not_touched) {
  g_autofree char *path = log_folder(), *note = g_build_filename(path, "CONTROLLER", NULL);
  copy_format_1(path);
  EXPECT_TRUE(raft_log_raw_put(path, "e\0\0\0\0\0\0\0\6", 9, NULL, 0));
  g_autofree char *text = log_tell(path);
  EXPECT_CONTAINS(text, "entries of its log are missing");
  EXPECT_FALSE(g_file_test(note, G_FILE_TEST_EXISTS));
}

/* What this release writes, for those to come: entries in a table file and in the write-ahead log. */
TEST(raft_log, a_folder_of_format_2_opens) {
  static const char *const NAMES[] = {"000008.sst",      "000009.log", "CONTROLLER", "CURRENT",
                                      "MANIFEST-000010", "snapshot-1", NULL};
  g_autofree char *path = log_folder();
  copy_files(path, "format-2", NAMES);
  g_autofree char *all = log_tell_all(path);
  EXPECT_CONTAINS(all, "node 1 cluster '5d3b2c8e-8f1e-4e6a-9a52-1f0d3c6b7a90' directory ");
  EXPECT_CONTAINS(all, "term 4 vote 1 commit 11 snapshot(26)@3 the metadata up to entry 3 4/1 entry 4 5/1 entry 5 "
                       "6/2 entry 6 7/2 entry 7 8/2 entry 8 9/3 entry 9 10/3 entry 10 11/4 entry 11 12/4 entry 12 ");
}

/* ---- Term and vote ---- */

TEST(raft_log, a_vote_survives_the_loss_of_the_write_ahead_log) {
  g_autofree char *path = log_folder(), *before = g_build_filename(shim_temp_dir(), "before", NULL);
  g_autofree char *note = g_build_filename(path, "CONTROLLER", NULL), *bytes = NULL;
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 3, 1);
  raft_log_store_close(store);
  log_copy(path, before);
  store = log_open(path, FALSE);
  log_vote(store, 5, 3);
  raft_log_store_close(store);
  gsize size = 0;
  EXPECT_TRUE(g_file_get_contents(note, &bytes, &size, NULL));
  log_remove(path);
  log_copy(before, path);
  EXPECT_TRUE(g_file_set_contents(note, bytes, (gssize)size, NULL));
  g_autofree char *all = log_tell_all(path);
  EXPECT_CONTAINS(all, "term 5 vote 3 ");
}

TEST(raft_log, an_older_note_than_the_log_is_refused) {
  g_autofree char *path = log_folder(), *note = g_build_filename(path, "CONTROLLER", NULL), *bytes = NULL;
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 3, 1);
  raft_log_store_close(store);
  gsize size = 0;
  EXPECT_TRUE(g_file_get_contents(note, &bytes, &size, NULL));
  store = log_open(path, FALSE);
  log_vote(store, 2, 3);
  raft_log_store_close(store);
  EXPECT_TRUE(g_file_set_contents(note, bytes, (gssize)size, NULL));
  g_autofree char *text = log_tell(path);
  EXPECT_CONTAINS(text, "it could vote twice in one term");
  EXPECT_CONTAINS(text, "add the controller again with an empty folder");
}

/* The file CONTROLLER of a folder that voted once. */
TEST(raft_log, a_note_has_these_bytes) {
  RaftNote note = {.sequence = 0x0102,
                   .identity = {.node_id = 3, .directory = {"0123456789abcde"}, .cluster_id = "cluster"},
                   .made = TRUE,
                   .term = 4,
                   .vote = 5,
                   .vote_directory = {"edcba9876543210"},
                   .end_index = 6,
                   .end_chain = 0x0708};
  guint8 bytes[RAFT_NOTE_BYTES];
  raft_note_encode(&note, bytes);
  static const char GOLDEN[RAFT_NOTE_BYTES] =
      "MCTL\0\0\0\1\0\0\0\x8c"
      "\0\0\0\0\0\0\1\2"
      "\0\0\0\0\0\0\0\3"
      "0123456789abcde\0"
      "cluster\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
      "\0\0\0\1"
      "\0\0\0\0\0\0\0\4"
      "\0\0\0\0\0\0\0\5"
      "edcba9876543210\0"
      "\0\0\0\0\0\0\0\6"
      "\0\0\0\0\0\0\7\x8";
  EXPECT_EQ_BYTES(GOLDEN, sizeof GOLDEN - 4, bytes, sizeof bytes - 4); /* and its CRC-32C */
  RaftNote read = {0};
  EXPECT_NULL(raft_note_decode(bytes, sizeof bytes, &read));
  EXPECT_EQ_STR("cluster", read.identity.cluster_id);
  EXPECT_EQ_INT(0x0708, read.end_chain);
}

TEST(raft_log, a_newer_note_is_refused) {
  RaftNote note = {.sequence = 1, .identity = {.node_id = 1}}, read;
  guint8 bytes[RAFT_NOTE_BYTES];
  raft_note_encode(&note, bytes);
  bytes[7] = 2;
  guint32 crc = GUINT32_TO_BE(log_crc32c(bytes, sizeof bytes - sizeof crc));
  memcpy(bytes + sizeof bytes - sizeof crc, &crc, sizeof crc);
  g_autoptr(Failure) failure = raft_note_decode(bytes, sizeof bytes, &read);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(failure));
}

/* ---- The end of the log ---- */

/* A log whose end is gone, as if RocksDB had taken it for a write that was torn. */
TEST(raft_log, a_log_that_lost_its_end_is_refused) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 3, 1);
  raft_log_store_close(store);
  EXPECT_TRUE(raft_log_raw_put(path, "e\0\0\0\0\0\0\0\3", 9, NULL, 0));
  g_autofree char *text = log_tell(path);
  EXPECT_CONTAINS(text, "its log ends with entry 2, and it had been synced up to entry 3");
}

TEST(raft_log, a_log_that_was_cut_on_purpose_is_not_missed) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 9, 1);
  log_write(store, 2, 2, 2);
  raft_log_store_close(store);
  g_autofree char *text = log_tell(path);
  EXPECT_EQ_STR("1/1 2/2 ", text);
}

/* ---- Damage ---- */

TEST(raft_log, a_newer_format_is_refused) {
  g_autofree char *path = log_folder();
  raft_log_store_close(log_begin(path));
  EXPECT_TRUE(raft_log_raw_put(path, "format", 6, "\0\0\0\3", 4));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, TRUE, 1, &store);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "newer Milena");
}

TEST(raft_log, somebody_elses_rocksdb_is_refused) {
  g_autofree char *path = log_folder();
  EXPECT_TRUE(raft_log_raw_put(path, "a", 1, "b", 1));
  RaftLogStore *store = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, TRUE, 1, &store);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
}

static const struct {
  const char *name, *key, *value, *part; /* value NULL: deleted */
  gsize key_len, size;
} DAMAGES[] = {
    {"entry_changed", "e\0\0\0\0\0\0\0\2", "\x08\x01garbage", "checksum of entry 2", 9, 9},
    {"entry_cut_to_nothing", "e\0\0\0\0\0\0\0\2", "", "checksum of entry 2", 9, 0},
    {"first_entry_missing", "e\0\0\0\0\0\0\0\1", NULL, "missing", 9, 0},
    {"state_changed", "state", "\x08\x01\x10\x02\0\0\0\0", "checksum of state", 5, 8},
};

TEST_ROWS(raft_log_damaged, DAMAGES) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 3, 1);
  raft_log_store_close(store);
  EXPECT_TRUE(raft_log_raw_put(path, DAMAGES[row].key, DAMAGES[row].key_len, DAMAGES[row].value, DAMAGES[row].size));
  g_autofree char *text = log_tell(path);
  EXPECT_CONTAINS(text, DAMAGES[row].part);
}

TEST(raft_log, an_entry_has_these_bytes) {
  g_autofree char *path = log_folder();
  RaftLogStore *store = log_begin(path);
  log_write(store, 1, 1, 1);
  raft_log_store_close(store);
  g_autoptr(GBytes) raw = raft_log_raw_get(path, "e\0\0\0\0\0\0\0\1", 9);
  gsize size = 0;
  const void *value = raw ? g_bytes_get_data(raw, &size) : NULL;
  static const guint8 GOLDEN[] = {0x08, 0x01, 0x10, 0x01, 0x18, 0x01, 0x20, 0x02, 0x2a,
                                  0x07, 'e',  'n',  't',  'r',  'y',  ' ',  '1'};
  EXPECT_EQ_INT(sizeof GOLDEN + 8, size);
  if (size > 8) /* the value in the chain ends it */
    EXPECT_EQ_BYTES(GOLDEN, sizeof GOLDEN, value, size - 8);
}
