/* The log store: what is appended is read back, over rolls of segments, restarts and cuts. */
#include <stdio.h>
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

TEST(log_store, append_and_read_back) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  EXPECT_TRUE(log_store_was_created(f.store));
  g_auto(TestLog) log;
  test_log_init(&log, 7);
  fixture_create(&f, &log);
  fixture_append(&f, &log, 3, 100, 1000);
  fixture_append(&f, &log, 2, 100, 1001);
  fixture_append(&f, &log, 1, 5000, 1002);

  static const struct {
    gint64 from, end;
    gsize max_bytes;
    const char *want;
  } ROWS[] = {
      {0, 6, 1 << 20, "0+3 3+2 5+1"},
      {0, 6, 1, "0+3"},
      {1, 6, 1 << 20, "0+3 3+2 5+1"},
      {3, 6, 1 << 20, "3+2 5+1"},
      {4, 6, 1 << 20, "3+2 5+1"},
      {5, 6, 1, "5+1"},
      {0, 5, 1 << 20, "0+3 3+2"},
      {0, 4, 1 << 20, "0+3"},
      {0, 2, 1 << 20, ""},
      {6, 6, 1 << 20, ""},
      {6, 100, 1 << 20, ""},
      {0, 6, 400, "0+3 3+2"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(ROWS); i++) {
    LogRead read;
    fixture_read(&f, &log, ROWS[i].from, ROWS[i].end, ROWS[i].max_bytes, &read);
    EXPECT_EQ_STR(ROWS[i].want, describe(&read));
    log_read_clear(&read);
  }
  EXPECT_EQ_INT(6, fixture_scan(&f, &log, 0, 1));
}

TEST(log_store, read_gives_what_was_stored) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 7);
  fixture_create(&f, &log);
  fixture_append(&f, &log, 3, 100, 1234);
  LogRead read;
  fixture_read(&f, &log, 0, 3, 1 << 20, &read);
  ASSERT_EQ_INT(1, read.batches->len);
  const LogBatch *batch = LOG_BATCH_AT(read.batches, 0);
  EXPECT_EQ_INT(0, batch->base_offset);
  EXPECT_EQ_INT(3, batch->record_count);
  EXPECT_EQ_INT(1, batch->leader_epoch);
  EXPECT_EQ_INT(1234, batch->append_timestamp_ms);
  EXPECT_EQ_INT(100, g_bytes_get_size(batch->records));
  /* It stays valid when the store is gone. */
  fixture_close(&f);
  EXPECT_NULL(log_batch_verify(batch));
  log_read_clear(&read);
}

TEST(log_store, large_batches_outlive_the_store) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 7);
  fixture_create(&f, &log);
  for (guint i = 0; i < 4; i++)
    fixture_append(&f, &log, 1, 700 << 10, 1);
  EXPECT_EQ_INT(4, fixture_scan(&f, &log, 0, 1));
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f)); /* from tables now */
  LogRead read;
  fixture_read(&f, &log, 0, 4, 10 << 20, &read);
  EXPECT_EQ_STR("0+1 1+1 2+1 3+1", describe(&read));
  EXPECT_EQ_INT(2, fixture_truncate(&f, &log, 2));
  fixture_close(&f);
  for (guint i = 0; i < read.batches->len; i++)
    EXPECT_NULL(log_batch_verify(LOG_BATCH_AT(read.batches, i)));
  log_read_clear(&read);
}

TEST(log_store, unknown_log_is_said) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 9);
  LogRead read;
  fixture_read(&f, &log, 0, 10, 1, &read);
  EXPECT_EQ_STR("!UNKNOWN_PARTITION", describe(&read));
  log_read_clear(&read);
}

TEST(log_store, stages_are_reported_in_order) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  g_autoptr(GByteArray) hot = g_byte_array_new();
  log_hot_encode(&log.hot, log.id, hot);
  LogWrite write = {.kind = LOG_WRITE_PUT_HOT, .log_id = 1, .hot = hot->data, .hot_len = hot->len};
  write.wants = LOG_WRITE_WRITTEN | LOG_WRITE_SYNCED;
  EXPECT_EQ_INT(12, fixture_write(&f, &write));
  write.wants = LOG_WRITE_WRITTEN;
  EXPECT_EQ_INT(1, fixture_write(&f, &write));
  write.wants = LOG_WRITE_SYNCED;
  EXPECT_EQ_INT(2, fixture_write(&f, &write));
}

TEST(log_store, sync_comes_within_the_interval) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  g_autoptr(GByteArray) hot = g_byte_array_new();
  log_hot_encode(&log.hot, log.id, hot);
  LogWrite write = {.kind = LOG_WRITE_PUT_HOT, .log_id = 1, .hot = hot->data, .hot_len = hot->len};
  write.wants = LOG_WRITE_WRITTEN;
  write.sync_within_ms = LOG_SYNC_NEVER;
  LogStoreStats before, after;
  log_store_stats(f.store, &before);
  EXPECT_EQ_INT(1, fixture_write(&f, &write));
  g_usleep(50000);
  log_store_stats(f.store, &after);
  EXPECT_EQ_INT(before.syncs, after.syncs);
  write.sync_within_ms = 20;
  EXPECT_EQ_INT(1, fixture_write(&f, &write));
  for (int i = 0; i < 200 && after.syncs == before.syncs; i++) {
    g_usleep(10000);
    log_store_stats(f.store, &after);
  }
  EXPECT_EQ_INT(before.syncs + 1, after.syncs);
}

/* ---- over segments and restarts ---- */

/* Several logs in turns, enough to roll the fixture's small segments a few times. */
static void fill(Fixture *f, TestLog *logs, guint log_count, guint batches) {
  for (guint i = 0; i < batches; i++)
    for (guint l = 0; l < log_count; l++)
      fixture_append(f, &logs[l], 1 + i % 3, 1000 + i * 37 % 5000, 1000 + i * 10);
}

TEST(log_store, logs_go_over_segments) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  TestLog logs[3];
  for (guint l = 0; l < 3; l++) {
    test_log_init(&logs[l], l + 1);
    fixture_create(&f, &logs[l]);
  }
  fill(&f, logs, 3, 120);
  LogStoreStats stats;
  log_store_stats(f.store, &stats);
  EXPECT_TRUE(stats.segments >= 3);
  EXPECT_EQ_INT(3, stats.logs);
  for (guint l = 0; l < 3; l++) {
    EXPECT_EQ_INT(240, logs[l].hot.log_end_offset);
    EXPECT_EQ_INT(240, fixture_scan(&f, &logs[l], 0, 10000));
    EXPECT_EQ_INT(240, fixture_scan(&f, &logs[l], 0, 10 << 20));
    for (gint64 from = 0; from < 240; from += 13)
      EXPECT_EQ_INT(240, fixture_scan(&f, &logs[l], from, 100000));
  }
  log_store_stats(f.store, &stats);
  EXPECT_TRUE(stats.session_hits > 100);

  /* A reader at the end sees what comes later, over a roll too. */
  for (guint i = 0; i < 60; i++) {
    gint64 end = logs[0].hot.log_end_offset;
    fixture_append(&f, &logs[0], 2, 8000, 5000);
    EXPECT_EQ_INT(end + 2, fixture_scan(&f, &logs[0], end, 1));
    EXPECT_EQ_INT(end + 2, fixture_scan(&f, &logs[0], MAX(end - 20, 0), 9000));
  }

  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  EXPECT_TRUE(log_store_was_clean(f.store));
  for (guint l = 0; l < 3; l++) {
    EXPECT_EQ_INT(logs[l].hot.log_end_offset, fixture_scan(&f, &logs[l], 0, 50000));
    fixture_append(&f, &logs[l], 5, 2000, 9000);
    EXPECT_EQ_INT(logs[l].hot.log_end_offset, fixture_scan(&f, &logs[l], 0, 50000));
    test_log_clear(&logs[l]);
  }
}

TEST(log_store, segments_roll_by_age) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  f.options.segment_age_max_ms = 30;
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  for (guint i = 0; i < 4; i++) {
    fixture_append(&f, &log, 1, 10, 1);
    g_usleep(40000);
  }
  LogStoreStats stats;
  log_store_stats(f.store, &stats);
  EXPECT_TRUE(stats.segments >= 3);
  EXPECT_EQ_INT(4, fixture_scan(&f, &log, 0, 1));
}

static void tell(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  g_string_append_printf(data, "%" G_GUINT64_FORMAT ":%" G_GINT64_FORMAT "-%" G_GINT64_FORMAT "%s ", log_id,
                         hot->log_start_offset, hot->log_end_offset, failure ? "!" : "");
}

TEST(log_store, recovery_tells_logs) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  TestLog logs[3];
  for (guint l = 0; l < 3; l++) {
    test_log_init(&logs[l], 300 - l * 100);
    fixture_create(&f, &logs[l]);
    for (guint i = 0; i < l; i++)
      fixture_append(&f, &logs[l], 5, 50, 1);
  }
  /* Dropped logs are not told, and their data does not disturb. */
  LogWrite drop = {.kind = LOG_WRITE_DROP, .log_id = 200, .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(2, fixture_write(&f, &drop));
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  g_autoptr(GString) text = g_string_new(NULL);
  EXPECT_NULL(log_store_recover(f.store, tell, text));
  EXPECT_EQ_STR("100:0-10 300:0-0 ", text->str);
  LogRead read;
  fixture_read(&f, &logs[1], 0, 5, 1, &read);
  EXPECT_EQ_STR("!UNKNOWN_PARTITION", describe(&read));
  log_read_clear(&read);
  for (guint l = 0; l < 3; l++)
    test_log_clear(&logs[l]);
}

/* ---- finding by time ---- */

TEST(log_store, find_by_time) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  TestLog logs[2];
  for (guint l = 0; l < 2; l++) {
    test_log_init(&logs[l], l + 1);
    fixture_create(&f, &logs[l]);
  }
  EXPECT_EQ_INT(-1, fixture_find(&f, &logs[0], 0));
  fill(&f, logs, 2, 150); /* timestamps 1000, 1010, 1020 ...: offsets 0, 1, 3, 6, 7, 9 ... */
  EXPECT_EQ_INT(0, fixture_find(&f, &logs[1], 0));
  EXPECT_EQ_INT(0, fixture_find(&f, &logs[1], 1000));
  EXPECT_EQ_INT(1, fixture_find(&f, &logs[1], 1001));
  for (guint i = 0; i < 150; i++) {
    gint64 want = i / 3 * 6 + (i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 3);
    EXPECT_EQ_INT(want, fixture_find(&f, &logs[0], 1000 + i * 10 - 5));
    EXPECT_EQ_INT(want, fixture_find(&f, &logs[0], 1000 + i * 10));
  }
  EXPECT_EQ_INT(-1, fixture_find(&f, &logs[0], 1000 + 149 * 10 + 1));
  /* A late record does not hide the ones behind it. */
  gint64 end = logs[0].hot.log_end_offset;
  fixture_append(&f, &logs[0], 1, 10, 500);
  fixture_append(&f, &logs[0], 1, 10, 9000);
  EXPECT_EQ_INT(end + 1, fixture_find(&f, &logs[0], 8999));
  EXPECT_EQ_INT(0, fixture_find(&f, &logs[0], 500));
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  EXPECT_EQ_INT(end + 1, fixture_find(&f, &logs[0], 8999));
  EXPECT_EQ_INT(1, fixture_find(&f, &logs[0], 1001));
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
}

/* ---- cutting ---- */

TEST(log_store, truncate) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  TestLog logs[2];
  for (guint l = 0; l < 2; l++) {
    test_log_init(&logs[l], l + 1);
    fixture_create(&f, &logs[l]);
  }
  fill(&f, logs, 2, 120); /* offsets 0+1 1+2 3+3 6+1 ... up to 240 */
  TestLog *log = &logs[0];
  EXPECT_EQ_INT(240, fixture_truncate(&f, log, 500)); /* nothing there */
  EXPECT_EQ_INT(237, fixture_truncate(&f, log, 239)); /* inside of the last batch */
  EXPECT_EQ_INT(237, fixture_scan(&f, log, 0, 10000));
  EXPECT_EQ_INT(60, fixture_truncate(&f, log, 60)); /* over segments, at a batch's start */
  EXPECT_EQ_INT(60, fixture_scan(&f, log, 0, 10000));
  log->hot.log_end_offset = 240; /* what was cut is gone, not only hidden by the end */
  EXPECT_EQ_INT(60, fixture_scan(&f, log, 0, 10000));
  log->hot.log_end_offset = 60;
  EXPECT_EQ_INT(-1, fixture_find(&f, log, 1000 + 110 * 10));
  for (guint i = 0; i < 100; i++)
    fixture_append(&f, log, 4, 3000, 7000);
  EXPECT_EQ_INT(460, fixture_scan(&f, log, 0, 10000));
  EXPECT_EQ_INT(60, fixture_find(&f, log, 3000));
  EXPECT_EQ_INT(240, fixture_scan(&f, &logs[1], 0, 10000)); /* the neighbour is whole */
  EXPECT_EQ_INT(0, fixture_truncate(&f, &logs[1], 0));
  EXPECT_EQ_INT(0, fixture_scan(&f, &logs[1], 0, 10000));
  fixture_close(&f);
  ASSERT_TRUE(fixture_open(&f));
  g_autoptr(GString) text = g_string_new(NULL);
  EXPECT_NULL(log_store_recover(f.store, tell, text));
  EXPECT_EQ_STR("1:0-460 2:0-0 ", text->str);
  EXPECT_EQ_INT(460, fixture_scan(&f, log, 0, 10000));
  fixture_append(&f, &logs[1], 4, 3000, 7000);
  EXPECT_EQ_INT(4, fixture_scan(&f, &logs[1], 0, 10000));
  for (guint l = 0; l < 2; l++)
    test_log_clear(&logs[l]);
}

/* ---- bounds ---- */

typedef struct {
  LogWrite write;
  LogBatch batch;
  gint *done;
} Queued;

static void queued_done(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  g_atomic_int_inc(((Queued *)write)->done);
}

/* Group commit: what waits goes into one WriteBatch, and one sync answers all that was written before it began. */
TEST(log_store, writes_that_wait_share_a_sync) {
  enum { WRITES = 1000 };
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  gint done = 0;
  g_autofree Queued *queued = g_new0(Queued, WRITES);
  g_autoptr(GByteArray) hot = g_byte_array_new();
  for (guint i = 0; i < WRITES; i++) {
    make_batch(&log, 1, 100, 1, &queued[i].batch);
    log_hot_encode(&log.hot, log.id, hot);
    queued[i].done = &done;
    queued[i].write = (LogWrite){.kind = LOG_WRITE_APPEND,
                                 .log_id = 1,
                                 .batch = &queued[i].batch,
                                 .hot = g_memdup2(hot->data, hot->len),
                                 .hot_len = hot->len,
                                 .wants = LOG_WRITE_SYNCED,
                                 .loop = f.loop,
                                 .done = queued_done};
  }
  LogStoreStats before, after;
  log_store_stats(f.store, &before);
  for (guint i = 0; i < WRITES; i++)
    ASSERT_TRUE(log_store_submit(f.store, &queued[i].write));
  while (g_atomic_int_get(&done) < WRITES)
    g_usleep(1000);
  log_store_stats(f.store, &after);
  EXPECT_EQ_INT(WRITES, after.writes - before.writes);
  EXPECT_TRUE((after.syncs - before.syncs) * 4 < WRITES);
  EXPECT_EQ_INT(WRITES, fixture_scan(&f, &log, 0, 1 << 20));
  printf("%d writes in %u groups, answered by %u syncs\n", WRITES, (unsigned)(after.groups - before.groups),
         (unsigned)(after.syncs - before.syncs));
  for (guint i = 0; i < WRITES; i++) {
    log_batch_clear(&queued[i].batch);
    g_free((gpointer)queued[i].write.hot);
  }
}

TEST(log_store, writes_in_flight_are_bounded) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  f.options.writes_max = 1000;
  f.options.write_bytes_max = 300 << 10;
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  gint done = 0;
  guint accepted = 0, refused = 0;
  Queued *queued = g_new0(Queued, 64);
  g_autoptr(GByteArray) hot = g_byte_array_new();
  for (guint i = 0; i < 64; i++) {
    gint64 end = log.hot.log_end_offset;
    make_batch(&log, 1, 100 << 10, 1, &queued[i].batch);
    log_hot_encode(&log.hot, log.id, hot);
    queued[i].done = &done;
    queued[i].write = (LogWrite){.kind = LOG_WRITE_APPEND,
                                 .log_id = 1,
                                 .batch = &queued[i].batch,
                                 .hot = g_memdup2(hot->data, hot->len),
                                 .hot_len = hot->len,
                                 .wants = LOG_WRITE_SYNCED,
                                 .loop = f.loop,
                                 .done = queued_done};
    if (log_store_submit(f.store, &queued[i].write)) {
      accepted++;
    } else {
      refused++;
      log.hot.log_end_offset = end;
    }
  }
  while (g_atomic_int_get(&done) < (gint)accepted)
    g_usleep(1000);
  EXPECT_TRUE(accepted >= 2);
  EXPECT_TRUE(refused > 0);
  EXPECT_EQ_INT(accepted, fixture_scan(&f, &log, 0, 1 << 20));
  fixture_append(&f, &log, 1, 1 << 20, 1); /* larger than the bound, and alone: fits */
  for (guint i = 0; i < 64; i++) {
    log_batch_clear(&queued[i].batch);
    g_free((gpointer)queued[i].write.hot);
  }
  g_free(queued);
}

static void never_done(LogRead *read) {
  (void)read;
}

TEST(log_store, reads_in_flight_are_bounded) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  f.options.reads_max = 0;
  ASSERT_TRUE(fixture_open(&f));
  LogRead read = {.log_id = 1, .end_offset = 1, .loop = f.loop, .done = never_done};
  EXPECT_FALSE(log_store_read(f.store, &read));
  EXPECT_NULL(read.batches);
}

TEST(log_store, read_sessions_are_bounded_in_number_and_age) {
  g_auto(Fixture) f;
  fixture_init(&f, shim_temp_dir());
  f.options.read_sessions_max = 3;
  f.options.read_session_age_ms = 300;
  ASSERT_TRUE(fixture_open(&f));
  g_auto(TestLog) log;
  test_log_init(&log, 1);
  fixture_create(&f, &log);
  for (guint i = 0; i < 20; i++)
    fixture_append(&f, &log, 1, 1000, 1);
  LogStoreStats stats;
  for (gint64 from = 0; from < 10; from++) {
    LogRead read;
    fixture_read(&f, &log, from * 2, 20, 1, &read); /* in turns: none goes on where another stood */
    log_read_clear(&read);
    log_store_stats(f.store, &stats);
    EXPECT_TRUE(stats.sessions <= 3);
  }
  EXPECT_EQ_INT(3, stats.sessions);
  for (int i = 0; i < 50 && stats.sessions; i++) {
    g_usleep(100000);
    log_store_stats(f.store, &stats);
  }
  EXPECT_EQ_INT(0, stats.sessions);
  EXPECT_EQ_INT(20, fixture_scan(&f, &log, 0, 1));
}
