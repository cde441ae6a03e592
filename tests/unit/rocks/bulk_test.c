/* The bulk way: batches go to disk without the write-ahead log, and what a crash keeps from being known is cut. */
#include <rocksdb/c.h>
#include <string.h>

#include "storage/log/hot.h"
#include "storage/log/key.h"
#include "storage/rocks/bulk_mark.h"
#include "storage/rocks/catalog.h"
#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

/* Every group goes in bulk. */
static void init_bulk(Fixture *f, const char *path) {
  fixture_init(f, path);
  f->options.bulk_bytes_min = 1;
}

/* A copy of the store's folder, taken while it is open, is what kill -9 leaves. */
static char *copy_folder(const Fixture *f, const char *name) {
  char *copy = g_strconcat(f->options.path, "-", name, NULL);
  const char *argv[] = {"cp", "-a", f->options.path, copy, NULL};
  EXPECT_TRUE(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
  return copy;
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

static LogStoreStats stats_of(Fixture *f) {
  LogStoreStats stats;
  log_store_stats(f->store, &stats);
  return stats;
}

TEST(bulk, what_is_written_is_read_rolled_found_cut_and_kept) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f, copy;
  init_bulk(&f, path);
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  for (guint i = 0; i < 200; i++)
    fixture_append(&f, &log, 2, 3000, 1000 + i);
  EXPECT_EQ_INT(stats_of(&f).groups, stats_of(&f).bulk_groups);
  EXPECT_TRUE(stats_of(&f).segments >= 2);
  EXPECT_EQ_INT(400, fixture_scan(&f, &log, 0, 10000));
  EXPECT_EQ_INT(300, fixture_find(&f, &log, 1150));
  EXPECT_EQ_INT(390, fixture_truncate(&f, &log, 391));
  log.hot.log_end_offset = 390;
  fixture_append(&f, &log, 1, 100, 2000);
  EXPECT_EQ_INT(391, fixture_scan(&f, &log, 0, 10000));

  g_autofree char *killed = copy_folder(&f, "killed");
  init_bulk(&copy, killed);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_FALSE(log_store_was_clean(copy.store));
  EXPECT_EQ_INT(0, stats_of(&copy).surplus_cuts);
  expect_told(&copy, "1:391 ");
  EXPECT_EQ_INT(391, fixture_scan(&copy, &log, 0, 10000));
  fixture_close(&copy);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_TRUE(log_store_was_clean(copy.store));
  fixture_append(&copy, &log, 1, 100, 2001);
  EXPECT_EQ_INT(392, fixture_scan(&copy, &log, 0, 10000));
}

/* The write-ahead logs that its flushes leave behind go: a restart would open them all. */
TEST(bulk, write_ahead_logs_do_not_pile_up) {
  g_auto(Fixture) f;
  init_bulk(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  for (guint i = 0; i < 300; i++)
    fixture_append(&f, &log, 1, 100, 1);
  g_autofree char *db = g_build_filename(shim_temp_dir(), "db", NULL);
  guint count = G_MAXUINT;
  for (gint64 end_us = g_get_monotonic_time() + 10 * G_USEC_PER_SEC; count > 100 && g_get_monotonic_time() < end_us;) {
    g_autoptr(GDir) dir = g_dir_open(db, 0, NULL); /* files go in the background */
    count = 0;
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;)
      count += g_str_has_suffix(name, ".log");
  }
  EXPECT_TRUE(count <= 100);
}

/* Bytes that this process has read of files. */
static gint64 read_bytes(void) {
  g_autofree char *text = NULL;
  EXPECT_TRUE(g_file_get_contents("/proc/self/io", &text, NULL, NULL));
  return g_ascii_strtoll(strstr(text, "rchar:") + strlen("rchar:"), NULL, 10);
}

/* A new cursor seeks in every file. Newer files begin, for it, with the marks of their bulk group: these must not share
 * a block with the first batch, or each seek reads, and its cursor holds, that batch of each file. */
TEST(bulk, a_read_reads_no_batches_of_newer_files) {
  enum { GROUPS = 24, BATCH_BYTES = 200 << 10 };
  g_auto(Fixture) f;
  init_bulk(&f, shim_temp_dir());
  f.options.segment_bytes_max = 1 << 30;
  f.options.write_buffer_bytes = 16 << 20;
  f.options.cache_bytes = 1 << 20;
  f.options.read_sessions_max = 0;
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  for (guint i = 0; i < GROUPS; i++)
    fixture_append(&f, &log, 1, BATCH_BYTES, 1000 + i);
  EXPECT_EQ_INT(1, stats_of(&f).segments);
  gint64 before = read_bytes();
  EXPECT_EQ_INT(GROUPS, fixture_scan(&f, &log, 0, BATCH_BYTES + 1000)); /* each read has a cursor of its own */
  EXPECT_TRUE(stats_of(&f).seeks >= GROUPS);
  /* Its batch, and the size of the next. All that is newer would be a dozen times as much. */
  EXPECT_TRUE(read_bytes() - before < 3 * GROUPS * BATCH_BYTES);
}

/* ---- a crash between the flush and the hot records ---- */

typedef struct {
  rocksdb_t *db;
  rocksdb_column_family_handle_t *hot, *catalog;
} Raw;

/* Open the database behind the store's back. */
static void with_raw(const char *folder, void (*act)(Raw *raw, gpointer data), gpointer data) {
  g_autofree char *path = g_build_filename(folder, "db", NULL);
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_options_set_disable_auto_compactions(options, 1);
  char *error = NULL;
  size_t count = 0;
  char **names = rocksdb_list_column_families(options, path, &count, &error);
  ASSERT_TRUE(error == NULL);
  g_autofree const rocksdb_options_t **each = g_new0(const rocksdb_options_t *, count);
  g_autofree rocksdb_column_family_handle_t **handles = g_new0(rocksdb_column_family_handle_t *, count);
  for (size_t i = 0; i < count; i++)
    each[i] = options;
  Raw raw = {
      .db = rocksdb_open_column_families(options, path, (int)count, (const char *const *)names, each, handles, &error)};
  ASSERT_TRUE(error == NULL);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(names[i], "hot") == 0)
      raw.hot = handles[i];
    else if (strcmp(names[i], "default") == 0)
      raw.catalog = handles[i];
  }
  act(&raw, data);
  for (size_t i = 0; i < count; i++)
    rocksdb_column_family_handle_destroy(handles[i]);
  rocksdb_close(raw.db);
  rocksdb_list_column_families_destroy(names, count);
  rocksdb_options_destroy(options);
}

/* What is known of log 1 and of bulk groups at one time. */
typedef struct {
  GBytes *hot, *group;
  gboolean forget_group; /* put back the hot record alone */
} Known;

static GBytes *get(Raw *raw, rocksdb_column_family_handle_t *cf, const void *key, gsize len) {
  rocksdb_readoptions_t *options = rocksdb_readoptions_create();
  char *error = NULL;
  size_t value_len = 0;
  char *value = rocksdb_get_cf(raw->db, options, cf, key, len, &value_len, &error);
  rocksdb_readoptions_destroy(options);
  GBytes *bytes = g_bytes_new(value, value_len);
  rocksdb_free(value);
  return bytes;
}

static void learn(Raw *raw, gpointer data) {
  Known *known = data;
  guint8 key[LOG_HOT_KEY_BYTES];
  log_hot_key_encode(1, key);
  known->hot = get(raw, raw->hot, key, sizeof key);
  known->group = get(raw, raw->catalog, "B", 1);
}

/* Make the database know what was known then of log 1, and nothing of log 2. */
static void unlearn(Raw *raw, gpointer data) {
  const Known *known = data;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  guint8 key[LOG_HOT_KEY_BYTES];
  gsize len;
  log_hot_key_encode(1, key);
  const char *value = g_bytes_get_data(known->hot, &len);
  rocksdb_writebatch_put_cf(batch, raw->hot, (const char *)key, sizeof key, value, len);
  value = g_bytes_get_data(known->group, &len);
  if (!known->forget_group)
    rocksdb_writebatch_put_cf(batch, raw->catalog, "B", 1, value, len);
  log_hot_key_encode(2, key);
  rocksdb_writebatch_delete_cf(batch, raw->hot, (const char *)key, sizeof key);
  CatalogBytes span;
  catalog_encode(&(CatalogEntry){.kind = CATALOG_SPAN, .segment = 1, .log_id = 2}, &span);
  rocksdb_writebatch_delete_cf(batch, raw->catalog, (const char *)span.key, span.key_len);
  rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
  char *error = NULL;
  rocksdb_write(raw->db, options, batch, &error);
  EXPECT_TRUE(error == NULL);
  rocksdb_writeoptions_destroy(options);
  rocksdb_writebatch_destroy(batch);
}

static void clear_known(Known *known) {
  g_clear_pointer(&known->hot, g_bytes_unref);
  g_clear_pointer(&known->group, g_bytes_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Known, clear_known)

/* A folder whose log 1 was known to end at 6 and holds two groups more, and whose log 2 nothing was known of. */
static char *make_surplus(Fixture *f, Known *known) {
  g_auto(TestLog) one, two;
  test_log_init(&one, 1);
  test_log_init(&two, 2);
  fixture_create(f, &one);
  for (guint i = 0; i < 3; i++)
    fixture_append(f, &one, 2, 100, 1);
  g_autofree char *before = copy_folder(f, "before");
  with_raw(before, learn, known);
  fixture_create(f, &two);
  for (guint i = 0; i < 2; i++) {
    fixture_append(f, &one, 2, 100, 1);
    fixture_append(f, &two, 2, 100, 1);
  }
  char *after = copy_folder(f, "after");
  with_raw(after, unlearn, known);
  return after;
}

TEST(bulk, what_nobody_was_told_of_is_cut_and_never_comes_back) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f, copy;
  init_bulk(&f, path);
  ASSERT_TRUE(fixture_open(&f));
  g_auto(Known) known = {0};
  g_autofree char *after = make_surplus(&f, &known);
  init_bulk(&copy, after);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_EQ_INT(4, stats_of(&copy).surplus_cuts);
  expect_told(&copy, "1:6 ");
  g_auto(TestLog) one, two;
  test_log_init(&one, 1);
  test_log_init(&two, 2);
  one.hot.log_end_offset = 6;
  fixture_create(&copy, &two);
  for (guint i = 0; i < 3; i++) { /* old batches began at even offsets: a new one ends where an old one began */
    fixture_append(&copy, &one, i == 1 ? 1 : 2, 100, 1);
    fixture_append(&copy, &two, i == 1 ? 1 : 2, 100, 1);
  }
  for (guint again = 0; again < 2; again++) {
    EXPECT_EQ_INT(11, fixture_scan(&copy, &one, 0, 10000));
    EXPECT_EQ_INT(5, fixture_scan(&copy, &two, 0, 10000));
    LogRead read;
    fixture_read(&copy, &two, 0, 5, 1 << 20, &read);
    EXPECT_EQ_STR("0+2 2+1 3+2", describe(&read));
    log_read_clear(&read);
    fixture_close(&copy);
    ASSERT_TRUE(fixture_open(&copy));
    EXPECT_TRUE(log_store_was_clean(copy.store));
    EXPECT_EQ_INT(0, stats_of(&copy).surplus_cuts);
  }
}

/* The hot record of a group that was settled is missing: that is damage, not a surplus. */
TEST(bulk, a_log_beyond_its_hot_record_without_a_reason_is_damage) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_auto(Fixture) f, copy;
  init_bulk(&f, path);
  ASSERT_TRUE(fixture_open(&f));
  g_auto(Known) known = {.forget_group = TRUE};
  g_autofree char *after = make_surplus(&f, &known);
  init_bulk(&copy, after);
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_EQ_INT(0, stats_of(&copy).surplus_cuts);
  expect_told(&copy, "1:6CORRUPT_LOG ");
}

/* ---- the mark ---- */

/* Each flipped bit, and a newer format. */
static void expect_damage_is_noticed(guint8 key[BULK_MARK_KEY_BYTES], guint8 *value, gsize value_len) {
  BulkMark back;
  for (gsize bit = 0; bit < (BULK_MARK_KEY_BYTES + value_len) * 8; bit++) {
    guint8 *byte = bit / 8 < BULK_MARK_KEY_BYTES ? &key[bit / 8] : &value[bit / 8 - BULK_MARK_KEY_BYTES];
    *byte ^= (guint8)(1 << bit % 8);
    g_autoptr(Failure) failure = bulk_mark_decode(key, BULK_MARK_KEY_BYTES, value, value_len, &back);
    EXPECT_TRUE(failure != NULL);
    *byte ^= (guint8)(1 << bit % 8);
  }
  value[0] = 3;
  g_autoptr(Failure) newer = bulk_mark_decode(key, BULK_MARK_KEY_BYTES, value, value_len, &back);
  EXPECT_EQ_STR("UNSUPPORTED", failure_reason_name(failure_reason(newer)));
}

TEST(bulk_mark, bytes_and_damage) {
  BulkMark mark = {.group = 5, .log_id = 9, .first_offset = 77}, back;
  guint8 key[BULK_MARK_KEY_BYTES], value[BULK_MARK_PADDED_BYTES], start[BULK_MARK_KEY_BYTES], end[BULK_MARK_KEY_BYTES];
  EXPECT_EQ_INT(BULK_MARK_VALUE_BYTES, bulk_mark_encode(&mark, FALSE, key, value));
  EXPECT_EQ_INT(0, memcmp(key, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\11", sizeof key));
  EXPECT_EQ_INT(0, memcmp(value, "\1\0\0\0\0\0\0\0\115", 9));
  EXPECT_NULL(bulk_mark_decode(key, sizeof key, value, BULK_MARK_VALUE_BYTES, &back));
  EXPECT_EQ_INT(0, memcmp(&mark, &back, sizeof mark));
  bulk_mark_range(5, start, end);
  EXPECT_TRUE(memcmp(start, key, sizeof key) <= 0 && memcmp(key, end, sizeof key) < 0);
  guint8 first[LOG_KEY_BYTES]; /* of all batches: behind all marks */
  log_key_encode(LOG_KEY_BATCH, 1, 0, first);
  EXPECT_TRUE(memcmp(end, first, sizeof first) < 0);
  bulk_mark_range(6, start, end);
  EXPECT_TRUE(memcmp(key, start, sizeof key) < 0);
  expect_damage_is_noticed(key, value, BULK_MARK_VALUE_BYTES);
}

TEST(bulk_mark, padded) {
  BulkMark mark = {.group = 5, .log_id = 9, .first_offset = 77}, back;
  guint8 key[BULK_MARK_KEY_BYTES], value[BULK_MARK_PADDED_BYTES];
  EXPECT_EQ_INT(BULK_MARK_PADDED_BYTES, bulk_mark_encode(&mark, TRUE, key, value));
  EXPECT_EQ_INT(0, memcmp(key, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\11", sizeof key));
  EXPECT_EQ_INT(0, memcmp(value, "\2\0\0\0\0\0\0\0\115", 9));
  EXPECT_NULL(bulk_mark_decode(key, sizeof key, value, sizeof value, &back));
  EXPECT_EQ_INT(0, memcmp(&mark, &back, sizeof mark));
  g_autoptr(Failure) cut = bulk_mark_decode(key, sizeof key, value, BULK_MARK_VALUE_BYTES, &back);
  EXPECT_EQ_STR("CORRUPT_LOG", failure_reason_name(failure_reason(cut)));
  expect_damage_is_noticed(key, value, sizeof value);
}
