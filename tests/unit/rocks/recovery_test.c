/* What is found after an unclean stop, and damage: reported, never served, never mended silently. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

/* A copy of the store's folder, taken while it is open, is what kill -9 leaves. */
static char *copy_folder(const Fixture *f, const char *name) {
  char *copy = g_strconcat(f->options.path, "-", name, NULL);
  const char *argv[] = {"cp", "-a", f->options.path, copy, NULL};
  g_autoptr(GError) error = NULL;
  if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, &error))
    shim_fail(__FILE__, __LINE__, "cp: %s", error->message);
  return copy;
}

static void remove_folder(const char *path) {
  const char *argv[] = {"rm", "-rf", path, NULL};
  g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
}

static void tell(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  g_string_append_printf(data, "%" G_GUINT64_FORMAT ":%" G_GINT64_FORMAT "%s ", log_id, hot->log_end_offset,
                         failure ? failure_reason_name(failure_reason(failure)) : "");
}

static void expect_told(Fixture *f, const char *want) {
  g_autoptr(GString) text = g_string_new(NULL);
  EXPECT_NULL(log_store_recover(f->store, tell, text));
  EXPECT_EQ_STR(want, text->str);
}

/* A fixture at @path with two logs of @batches each, left open. */
static void make_logs(Fixture *f, TestLog logs[2], guint batches) {
  ASSERT_TRUE(fixture_open(f));
  for (guint l = 0; l < 2; l++) {
    test_log_init(&logs[l], l + 1);
    fixture_create(f, &logs[l]);
    for (guint i = 0; i < batches; i++)
      fixture_append(f, &logs[l], 2, 3000, 1);
  }
}

/* Open a copy of @f's folder in a fixture of its own. */
static gboolean open_copy(Fixture *copy, const char *path) {
  fixture_init(copy, path);
  copy->options.create = FALSE;
  return fixture_open(copy);
}

TEST(recovery, after_an_unclean_stop_all_is_there) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f;
  fixture_init(&f, path);
  TestLog logs[2];
  make_logs(&f, logs, 100);
  g_autofree char *killed = copy_folder(&f, "killed");
  g_auto(Fixture) copy;
  ASSERT_TRUE(open_copy(&copy, killed));
  EXPECT_FALSE(log_store_was_clean(copy.store));
  EXPECT_FALSE(log_store_was_created(copy.store));
  expect_told(&copy, "1:200 2:200 ");
  for (guint l = 0; l < 2; l++) {
    EXPECT_EQ_INT(200, fixture_scan(&copy, &logs[l], 0, 10000));
    fixture_append(&copy, &logs[l], 1, 10, 1);
    EXPECT_EQ_INT(201, fixture_scan(&copy, &logs[l], 0, 10000));
    test_log_clear(&logs[l]);
  }
  /* Rule 10: a stop in order does not hide the one before it that was not, until the cluster was told of that. */
  EXPECT_FALSE(log_store_lost_nothing(copy.store));
  for (guint told = 0; told < 2; told++) {
    fixture_close(&copy);
    ASSERT_TRUE(fixture_open(&copy));
    EXPECT_TRUE(log_store_was_clean(copy.store));
    EXPECT_FALSE(log_store_lost_nothing(copy.store));
  }
  log_store_set_told(copy.store);
  fixture_close(&copy);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_TRUE(log_store_lost_nothing(copy.store));
}

/* REPLICATION.md, rule 10: what one stop in order said of a folder does not hold for the next, whose end may be torn.
 */
TEST(recovery, rule_10_the_clean_marker_is_gone_once_the_store_is_in_use) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f;
  fixture_init(&f, path);
  TestLog logs[2];
  make_logs(&f, logs, 3);
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  EXPECT_TRUE(log_store_was_clean(f.store));
  g_autofree char *killed = copy_folder(&f, "killed");
  g_auto(Fixture) copy;
  ASSERT_TRUE(open_copy(&copy, killed));
  EXPECT_FALSE(log_store_was_clean(copy.store));
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
}

/* Append one whose checksum is wrong: what RocksDB can't notice. */
static void append_wrong(Fixture *f, TestLog *log) {
  g_auto(LogBatch) batch;
  make_batch(log, 2, 3000, 1, &batch);
  batch.crc32c ^= 1;
  g_autoptr(GByteArray) hot = g_byte_array_new();
  log_hot_encode(&log->hot, log->id, hot);
  LogWrite write = {.kind = LOG_WRITE_APPEND,
                    .log_id = log->id,
                    .batch = &batch,
                    .hot = hot->data,
                    .hot_len = hot->len,
                    .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(f, &write));
}

TEST(recovery, a_wrong_checksum_is_reported_and_not_served) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f;
  fixture_init(&f, path);
  TestLog logs[2];
  make_logs(&f, logs, 3);
  append_wrong(&f, &logs[0]);
  fixture_append(&f, &logs[0], 2, 3000, 1);
  LogRead read;
  fixture_read(&f, &logs[0], 0, 10, 1 << 20, &read);
  EXPECT_EQ_STR("0+2 2+2 4+2 !CORRUPT_LOG", describe(&read));
  EXPECT_CONTAINS(failure_message(read.failure), "offset 6");
  log_read_clear(&read);
  fixture_read(&f, &logs[0], 7, 10, 1 << 20, &read);
  EXPECT_EQ_STR("!CORRUPT_LOG", describe(&read));
  log_read_clear(&read);

  /* After a crash it is found at open; the good part in front, and the other log, go on. */
  g_autofree char *killed = copy_folder(&f, "killed");
  g_auto(Fixture) copy;
  ASSERT_TRUE(open_copy(&copy, killed));
  expect_told(&copy, "1:6CORRUPT_LOG 2:6 ");
  EXPECT_EQ_INT(6, fixture_scan(&copy, &logs[1], 0, 10000));
  /* A close in order does not hide it. */
  fixture_close(&copy);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_FALSE(log_store_was_clean(copy.store));
  expect_told(&copy, "1:6CORRUPT_LOG 2:6 ");
  /* Cutting it ends that. */
  EXPECT_EQ_INT(6, fixture_truncate(&copy, &logs[0], 6));
  fixture_append(&copy, &logs[0], 1, 10, 1);
  EXPECT_EQ_INT(7, fixture_scan(&copy, &logs[0], 0, 10000));
  fixture_close(&copy);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_TRUE(log_store_was_clean(copy.store));
  expect_told(&copy, "1:7 2:6 ");
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
}

/* Flip a bit in the middle of the largest table file. Returns FALSE when there is none. */
static gboolean damage_table(const char *folder) {
  g_autofree char *db = g_build_filename(folder, "db", NULL), *largest = NULL;
  g_autoptr(GDir) dir = g_dir_open(db, 0, NULL);
  const char *name;
  gint64 largest_bytes = 0;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *path = g_build_filename(db, name, NULL);
    GStatBuf info;
    if (!g_str_has_suffix(name, ".sst") || g_stat(path, &info) != 0 || info.st_size <= largest_bytes)
      continue;
    largest_bytes = info.st_size;
    g_free(largest);
    largest = g_steal_pointer(&path);
  }
  int fd = largest ? open(largest, O_RDWR) : -1;
  guint8 byte = 0;
  gboolean done = fd >= 0 && pread(fd, &byte, 1, largest_bytes / 3) == 1;
  byte ^= 0x10;
  done = done && pwrite(fd, &byte, 1, largest_bytes / 3) == 1;
  if (fd >= 0)
    close(fd);
  return done;
}

static guint count_files(const char *folder) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  guint count = 0;
  while (dir && g_dir_read_name(dir))
    count++;
  return count;
}

/* Until RocksDB has been through with its tables for a second: one that is still being written is in no manifest, and
 * damage to it is rightly not looked at. */
static void wait_for_tables(const char *folder) {
  g_autofree char *db = g_build_filename(folder, "db", NULL);
  guint seen = 0;
  for (guint still = 0; still < 10; g_usleep(100000)) {
    guint count = count_files(db);
    still = count == seen ? still + 1 : 0;
    seen = count;
  }
}

TEST(recovery, a_flipped_bit_on_disk_is_reported_and_not_served) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f;
  fixture_init(&f, path);
  f.options.segment_bytes_max = 64 << 20;
  TestLog logs[2];
  make_logs(&f, logs, 100);
  wait_for_tables(path);
  g_autofree char *killed = copy_folder(&f, "killed");
  fixture_close(&f);
  ASSERT_TRUE(damage_table(path));
  ASSERT_TRUE(fixture_open(&f)); /* it was closed in order: nothing is looked at */
  guint damaged = 0;
  for (guint l = 0; l < 2; l++)
    for (gint64 from = 0; from < 200; from += 2) {
      LogRead read;
      fixture_read(&f, &logs[l], from, 200, 1, &read);
      if (read.failure)
        damaged += failure_reason(read.failure) == FAILURE(CORRUPT_LOG);
      else
        EXPECT_NULL(log_batch_verify(LOG_BATCH_AT(read.batches, 0)));
      log_read_clear(&read);
    }
  EXPECT_TRUE(damaged > 0);

  /* After an unclean stop it is found at open. */
  ASSERT_TRUE(damage_table(killed));
  g_auto(Fixture) copy;
  ASSERT_TRUE(open_copy(&copy, killed));
  g_autoptr(GString) text = g_string_new(NULL);
  EXPECT_NULL(log_store_recover(copy.store, tell, text));
  EXPECT_CONTAINS(text->str, "CORRUPT_LOG");
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
}

/* Remove RocksDB's write-ahead logs. */
static void remove_wals(const char *folder) {
  g_autofree char *db = g_build_filename(folder, "db", NULL);
  g_autoptr(GDir) dir = g_dir_open(db, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *path = g_build_filename(db, name, NULL);
    if (g_str_has_suffix(name, ".log"))
      unlink(path);
  }
}

TEST(recovery, a_lost_write_ahead_log_is_noticed) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f;
  fixture_init(&f, path);
  TestLog logs[2];
  make_logs(&f, logs, 100);
  g_autofree char *killed = copy_folder(&f, "killed");
  remove_wals(killed);
  LogStoreOptions options = f.options;
  options.path = killed;
  LogStore *store = NULL;
  g_autoptr(Failure) failure = log_store_open(&options, &store);
  if (failure) { /* the store as a whole is known to lack something */
    EXPECT_EQ_STR("CORRUPT_LOG", failure_reason_name(failure_reason(failure)));
  } else { /* or each log is */
    g_autoptr(GString) text = g_string_new(NULL);
    EXPECT_NULL(log_store_recover(store, tell, text));
    EXPECT_CONTAINS(text->str, "CORRUPT_LOG");
    log_store_close(store);
  }
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
  remove_folder(killed);
}

/* After a close in order everything is in tables: the log is not needed. */
TEST(recovery, a_clean_store_needs_no_write_ahead_log) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f;
  fixture_init(&f, path);
  TestLog logs[2];
  make_logs(&f, logs, 10);
  fixture_close(&f);
  remove_wals(path);
  ASSERT_TRUE(fixture_open(&f));
  expect_told(&f, "1:20 2:20 ");
  for (guint l = 0; l < 2; l++) {
    EXPECT_EQ_INT(20, fixture_scan(&f, &logs[l], 0, 10000));
    test_log_clear(&logs[l]);
  }
}
