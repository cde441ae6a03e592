/* What the store refuses to open, and what it says. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "storage/log/crc32c.h"
#include "storage/rocks/frontier.h"
#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

/* Open, which must fail: the reason and a piece of the sentence. */
static void expect_refused(const LogStoreOptions *options, const char *reason, const char *piece) {
  LogStore *store = NULL;
  g_autoptr(Failure) failure = log_store_open(options, &store);
  if (!failure) {
    log_store_close(store);
    FAIL("opened, though it should say %s", piece);
  }
  EXPECT_EQ_STR(reason, failure_reason_name(failure_reason(failure)));
  EXPECT_CONTAINS(failure_message(failure), piece);
  EXPECT_CONTAINS(failure_message(failure), options->path);
}

static LogStoreOptions options_for(const char *path, gboolean create) {
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = path;
  options.create = create;
  return options;
}

TEST(refusal, missing_folder) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "missing", NULL);
  LogStoreOptions options = options_for(path, FALSE);
  expect_refused(&options, "INVALID_FIELD", "is missing");
  EXPECT_FALSE(g_file_test(path, G_FILE_TEST_EXISTS));
}

TEST(refusal, empty_folder_is_made_only_on_demand) {
  const char *path = shim_temp_dir();
  LogStoreOptions options = options_for(path, FALSE);
  expect_refused(&options, "INVALID_FIELD", "holds no store");
}

TEST(refusal, a_file_is_no_folder) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "file", NULL);
  g_file_set_contents(path, "x", 1, NULL);
  LogStoreOptions options = options_for(path, TRUE);
  expect_refused(&options, "INVALID_FIELD", "is not a folder");
}

TEST(refusal, other_files) {
  const char *path = shim_temp_dir();
  g_autofree char *file = g_build_filename(path, "letters.txt", NULL);
  g_file_set_contents(file, "x", 1, NULL);
  LogStoreOptions options = options_for(path, TRUE);
  expect_refused(&options, "INVALID_FIELD", "letters.txt");
}

TEST(refusal, folder_that_cannot_be_written) {
  LogStoreOptions options = options_for("/sys/kernel", TRUE); /* not even by root */
  expect_refused(&options, "INVALID_FIELD", "can't be written");
  options.path = "/sys/kernel/milena";
  expect_refused(&options, "INVALID_FIELD", "can't be made");
}

TEST(refusal, folder_in_use) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_autofree char *pid = g_strdup_printf("pid %d", (int)getpid());
  expect_refused(&f.options, "DUPLICATE_ID", pid);
}

/* Make a store, close it, and change a word in its STORE file, with a right checksum. */
static void remake_store_file(const char *path, const char *key, const char *value) {
  g_autofree char *file = g_build_filename(path, "STORE", NULL), *text = NULL;
  g_file_get_contents(file, &text, NULL, NULL);
  g_autoptr(GKeyFile) store = g_key_file_new();
  g_key_file_load_from_data(store, text, strlen(text), G_KEY_FILE_NONE, NULL);
  g_key_file_set_string(store, "store", key, value);
  g_autofree char *body = g_key_file_to_data(store, NULL, NULL);
  g_autofree char *whole = g_strdup_printf("%s# crc32c %08x\n", body, log_crc32c(body, strlen(body)));
  g_file_set_contents(file, whole, -1, NULL);
}

static const struct {
  const char *name, *key, *value, *reason, *piece;
} STORE_ROWS[] = {
    {"newer_format", "format", "2", "UNSUPPORTED", "run the newer version"},
    {"other_role", "role", "raft-log", "INVALID_FIELD", "another role (raft-log, not broker-log)"},
    {"no_format", "format", "0", "CORRUPT_LOG", "names no format"},
};

TEST_ROWS(refusal, STORE_ROWS) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  fixture_close(&f);
  remake_store_file(f.options.path, STORE_ROWS[row].key, STORE_ROWS[row].value);
  expect_refused(&f.options, STORE_ROWS[row].reason, STORE_ROWS[row].piece);
}

TEST(refusal, damaged_store_file) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  fixture_close(&f);
  g_autofree char *file = g_build_filename(f.options.path, "STORE", NULL), *text = NULL;
  gsize len;
  g_file_get_contents(file, &text, &len, NULL);
  text[len / 2] ^= 1;
  g_file_set_contents(file, text, (gssize)len, NULL);
  expect_refused(&f.options, "CORRUPT_LOG", "checksum does not match");
}

TEST(refusal, store_file_is_gone) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  fixture_close(&f);
  g_autofree char *file = g_build_filename(f.options.path, "STORE", NULL);
  unlink(file);
  expect_refused(&f.options, "INVALID_FIELD", "its STORE file is missing");
}

TEST(refusal, database_is_gone) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  fixture_close(&f);
  g_autofree char *db = g_build_filename(f.options.path, "db", NULL);
  g_autofree char *away = g_build_filename(f.options.path, "away", NULL);
  ASSERT_EQ_INT(0, rename(db, away));
  expect_refused(&f.options, "CORRUPT_LOG", "can't be opened");
}

TEST(refusal, frontier_is_gone) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  fixture_close(&f);
  g_autofree char *file = g_build_filename(f.options.path, "FRONTIER", NULL);
  unlink(file);
  expect_refused(&f.options, "CORRUPT_LOG", "lacks its FRONTIER note");
}

TEST(identity, is_kept_and_guarded) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  LogStoreIdentity first = *log_store_identity(f.store);
  EXPECT_EQ_STR("", first.cluster_id);
  EXPECT_EQ_INT(-1, first.node_id);
  EXPECT_EQ_INT(36, strlen(first.incarnation));
  EXPECT_NULL(log_store_set_identity(f.store, "cluster-a", 3));
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  EXPECT_FALSE(log_store_was_created(f.store));
  const LogStoreIdentity *kept = log_store_identity(f.store);
  EXPECT_EQ_STR("cluster-a", kept->cluster_id);
  EXPECT_EQ_INT(3, kept->node_id);
  EXPECT_EQ_STR(first.incarnation, kept->incarnation);
  EXPECT_NULL(log_store_set_identity(f.store, "cluster-a", 3));
  g_autoptr(Failure) cluster = log_store_set_identity(f.store, "cluster-b", 3);
  EXPECT_EQ_STR("CLUSTER_MISMATCH", failure_reason_name(failure_reason(cluster)));
  EXPECT_CONTAINS(failure_message(cluster), "cluster-a");
  g_autoptr(Failure) node = log_store_set_identity(f.store, "cluster-a", 4);
  EXPECT_CONTAINS(failure_message(node), "belongs to node 3");
}

TEST(identity, interrupted_creation_goes_on) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  g_autofree char *db = g_build_filename(f.options.path, "db", NULL);
  g_mkdir(db, 0700);
  g_autofree char *tmp = g_build_filename(f.options.path, "STORE.tmp", NULL);
  g_file_set_contents(tmp, "half", 4, NULL);
  EXPECT_TRUE(fixture_open(&f));
}

/* Stopped right behind the STORE file, or right in front of it: opens as a new one. */
static const struct {
  const char *name;
  gboolean has_store_file;
} CREATION_ROWS[] = {{"before the STORE file", FALSE}, {"behind the STORE file", TRUE}};

TEST_ROWS(identity, CREATION_ROWS) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  RocksFolder *folder;
  ASSERT_NULL(rocks_folder_open(path, "broker-log", 1, TRUE, &folder));
  ASSERT_NULL(rocks_frontier_write(folder, &(RocksFrontier){0}));
  if (CREATION_ROWS[row].has_store_file)
    ASSERT_NULL(rocks_folder_save(folder));
  EXPECT_TRUE(rocks_folder_is_new(folder));
  rocks_folder_close(folder);
  LogStoreOptions options = options_for(path, TRUE);
  LogStore *store = NULL;
  g_autoptr(Failure) failure = log_store_open(&options, &store);
  if (CREATION_ROWS[row].has_store_file) {
    /* The database is made before the file: a file without it is damage. */
    EXPECT_EQ_STR("CORRUPT_LOG", failure ? failure_reason_name(failure_reason(failure)) : "opened");
  } else {
    EXPECT_NULL(failure);
    EXPECT_TRUE(log_store_was_created(store));
  }
  log_store_close(store);
}
