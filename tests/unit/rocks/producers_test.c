/* What the store keeps of producers: with their batches, through kills, cuts, drops and upgrades. */
#include <rocksdb/c.h>
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

/* Append a batch of 2 records of @producer_id as its next one. */
static void produce(Fixture *f, TestLog *log, LogProducers *producers, gint64 producer_id, guint32 sequence) {
  g_auto(LogBatch) batch;
  make_batch(log, 2, 100, 1000 + sequence, &batch);
  batch.producer_id = producer_id;
  batch.first_sequence = sequence;
  log_batch_seal(&batch);
  guint8 value[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize len = log_producer_encode(log_producers_add(producers, &batch), log->id, value);
  g_autoptr(GByteArray) hot = g_byte_array_new();
  log_hot_encode(&log->hot, log->id, hot);
  LogWrite write = {.kind = LOG_WRITE_APPEND,
                    .log_id = log->id,
                    .batch = &batch,
                    .hot = hot->data,
                    .hot_len = hot->len,
                    .producer = value,
                    .producer_len = len,
                    .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(f, &write));
}

/* "log/producer:offset,offset ": the batches of each. */
static void tell(guint64 log_id, const LogProducer *producer, const Failure *failure, gpointer data) {
  GString *text = data;
  if (failure) {
    g_string_append_printf(text, "%" G_GUINT64_FORMAT "!%s ", log_id, failure_reason_name(failure_reason(failure)));
    return;
  }
  g_string_append_printf(text, "%" G_GUINT64_FORMAT "/%" G_GINT64_FORMAT ":", log_id, producer->producer_id);
  for (guint i = 0; i < producer->batch_count; i++)
    g_string_append_printf(text, "%s%" G_GINT64_FORMAT "+%u", i ? "," : "", producer->batches[i].base_offset,
                           producer->batches[i].record_count);
  g_string_append_c(text, ' ');
}

static void expect_told(Fixture *f, const char *want) {
  g_autoptr(GString) text = g_string_new(NULL);
  EXPECT_NULL(log_store_recover_producers(f->store, tell, text));
  EXPECT_EQ_STR(want, text->str);
}

/* Two logs; producer 7 writes 7 batches to the first, producer G_MAXINT64 one to each. */
static void make_logs(Fixture *f, TestLog logs[2]) {
  ASSERT_TRUE(fixture_open(f));
  for (guint l = 0; l < 2; l++) {
    g_autoptr(LogProducers) producers = log_producers_new();
    test_log_init(&logs[l], l + 1);
    fixture_create(f, &logs[l]);
    fixture_append(f, &logs[l], 1, 100, 1);
    produce(f, &logs[l], producers, G_MAXINT64, 0);
    for (guint i = 0; i < 7 && l == 0; i++)
      produce(f, &logs[l], producers, 7, 2 * i);
  }
}

static void clear_logs(TestLog logs[2]) {
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
}

#define BOTH "1/7:7+2,9+2,11+2,13+2,15+2 1/9223372036854775807:1+2 2/9223372036854775807:1+2 "

TEST(producer_records, survive_a_kill_and_a_stop) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "store", NULL);
  g_autofree char *killed = g_strconcat(path, "-killed", NULL);
  g_auto(Fixture) f, copy;
  fixture_init(&f, path);
  fixture_init(&copy, killed);
  TestLog logs[2];
  make_logs(&f, logs);
  /* A copy of the folder, taken while it is open, is what kill -9 leaves. */
  const char *argv[] = {"cp", "-a", path, killed, NULL};
  ASSERT_TRUE(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
  ASSERT_TRUE(fixture_open(&copy));
  EXPECT_FALSE(log_store_was_clean(copy.store));
  expect_told(&copy, BOTH);
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  expect_told(&f, BOTH);
  clear_logs(logs);
}

TEST(producer_records, are_cut_with_their_log) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  TestLog logs[2];
  make_logs(&f, logs);
  EXPECT_EQ_INT(11, fixture_truncate(&f, &logs[0], 12)); /* inside of a batch: its start */
  expect_told(&f, "1/7:7+2,9+2 1/9223372036854775807:1+2 2/9223372036854775807:1+2 ");
  EXPECT_EQ_INT(5, fixture_truncate(&f, &logs[0], 5)); /* older ones of 7 are there, but not remembered: its place is */
  expect_told(&f, "1/7:5+0 1/9223372036854775807:1+2 2/9223372036854775807:1+2 ");
  EXPECT_EQ_INT(0, fixture_truncate(&f, &logs[1], 0));
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  expect_told(&f, "1/7:5+0 1/9223372036854775807:1+2 2/9223372036854775807:0+0 ");
  clear_logs(logs);
}

TEST(producer_records, are_forgotten_when_told_to_and_dropped_with_their_log) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  TestLog logs[2];
  make_logs(&f, logs);
  const gint64 ids[] = {7, 12345};
  LogWrite forget = {.kind = LOG_WRITE_FORGET,
                     .log_id = 1,
                     .producer_ids = ids,
                     .producer_count = G_N_ELEMENTS(ids),
                     .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(&f, &forget));
  expect_told(&f, "1/9223372036854775807:1+2 2/9223372036854775807:1+2 ");
  LogWrite drop = {.kind = LOG_WRITE_DROP, .log_id = 1, .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(&f, &drop));
  expect_told(&f, "2/9223372036854775807:1+2 ");
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  expect_told(&f, "2/9223372036854775807:1+2 ");
  clear_logs(logs);
}

/* ---- what other versions, and damage, left ---- */

/* Open the closed store's database as it is, and do something to its column family `producers`. */
static void with_producers_cf(Fixture *f, void (*act)(rocksdb_t *db, rocksdb_column_family_handle_t *cf)) {
  g_autofree char *path = g_build_filename(f->options.path, "db", NULL);
  rocksdb_options_t *options = rocksdb_options_create();
  char *error = NULL;
  size_t count = 0;
  char **names = rocksdb_list_column_families(options, path, &count, &error);
  ASSERT_TRUE(error == NULL);
  g_autofree const rocksdb_options_t **each = g_new0(const rocksdb_options_t *, count);
  g_autofree rocksdb_column_family_handle_t **handles = g_new0(rocksdb_column_family_handle_t *, count);
  for (size_t i = 0; i < count; i++)
    each[i] = options;
  rocksdb_t *db =
      rocksdb_open_column_families(options, path, (int)count, (const char *const *)names, each, handles, &error);
  ASSERT_TRUE(error == NULL);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(names[i], "producers") == 0)
      act(db, handles[i]);
    rocksdb_column_family_handle_destroy(handles[i]);
  }
  rocksdb_close(db);
  rocksdb_list_column_families_destroy(names, count);
  rocksdb_options_destroy(options);
}

static void drop_family(rocksdb_t *db, rocksdb_column_family_handle_t *cf) {
  char *error = NULL;
  rocksdb_drop_column_family(db, cf, &error);
  EXPECT_TRUE(error == NULL);
}

TEST(producer_records, a_store_of_before_there_were_any_is_opened_and_gets_them) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  TestLog logs[2];
  make_logs(&f, logs);
  fixture_close(&f);
  with_producers_cf(&f, drop_family);
  f.options.create = FALSE;
  for (guint round = 0; round < 2; round++) {
    ASSERT_TRUE(fixture_open(&f));
    EXPECT_TRUE(log_store_was_clean(f.store));
    EXPECT_EQ_INT(17, fixture_scan(&f, &logs[0], 0, 10000));
    expect_told(&f, round ? "2/8:3+2 " : "");
    g_autoptr(LogProducers) producers = log_producers_new();
    if (round == 0)
      produce(&f, &logs[1], producers, 8, 0);
    fixture_close(&f);
  }
  clear_logs(logs);
}

static void damage_record(rocksdb_t *db, rocksdb_column_family_handle_t *cf) {
  guint8 key[LOG_PRODUCER_KEY_BYTES];
  log_producer_key_encode(1, 7, key);
  rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
  char *error = NULL;
  rocksdb_put_cf(db, options, cf, (const char *)key, sizeof key, "\xA7\x01\x00\x01", 4, &error);
  EXPECT_TRUE(error == NULL);
  rocksdb_writeoptions_destroy(options);
}

TEST(producer_records, a_damaged_one_is_told_until_its_log_is_cut) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  TestLog logs[2];
  make_logs(&f, logs);
  fixture_close(&f);
  with_producers_cf(&f, damage_record);
  ASSERT_TRUE(fixture_open(&f));
  expect_told(&f, "1!CORRUPT_LOG 1/9223372036854775807:1+2 2/9223372036854775807:1+2 ");
  fixture_truncate(&f, &logs[0], 17);
  expect_told(&f, "1/9223372036854775807:1+2 2/9223372036854775807:1+2 ");
  clear_logs(logs);
}
