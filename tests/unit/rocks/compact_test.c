/* The cleaner on a store, against a model: records of random keys and tombstones, runs that end anywhere, restarts,
 * cuts through what was compacted; then what is read is compared. */
#include <pthread.h>
#include <string.h>

#include "services/base/timers.h"
#include "storage/log/records.h"
#include "storage/rocks/log_compact.h"
#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

#define RETENTION_MS 1000

typedef struct {
  gint64 offset, timestamp_ms;
  int key, value; /* value -1: a tombstone */
} Row;

typedef struct {
  Fixture fixture;
  Timers *timers;
  GRand *random;
  TestLog log;
  GArray *rows;       /* all that was appended and not cut, in order */
  GArray *remembered; /* base offsets of the last batches of the producer */
  guint32 sequence;
  gint64 now_ms;
  gint64 mapped_to; /* what runs have looked at */
} World;

/* ---- what is in the log ---- */

static LogField number_field(int n, char room[32]) {
  if (n < 0)
    return LOG_FIELD_NONE;
  g_snprintf(room, 32, "number %d", n);
  return log_field(room, strlen(room));
}

static int field_number(LogField field) {
  if (!field.present)
    return -1;
  g_autofree char *text = g_strndup((const char *)field.data + strlen("number "), field.len - strlen("number "));
  return (int)g_ascii_strtoll(text, NULL, 10);
}

static void write_with_hot(World *world, LogWrite *write) {
  g_autoptr(GByteArray) hot = g_byte_array_new();
  log_hot_encode(&world->log.hot, world->log.id, hot);
  write->log_id = world->log.id;
  write->hot = hot->data;
  write->hot_len = hot->len;
  write->wants = LOG_WRITE_WRITTEN;
  write->sync_within_ms = LOG_SYNC_NEVER;
  EXPECT_EQ_INT(LOG_WRITE_WRITTEN, fixture_write(&world->fixture, write));
}

static void append(World *world, int keys) {
  TestLog *log = &world->log;
  LogHot *hot = &log->hot;
  guint count = (guint)g_rand_int_range(world->random, 1, 12);
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < count; i++) {
    Row row = {hot->log_end_offset + i, g_rand_int_range(world->random, 1, 100000),
               g_rand_int_range(world->random, 0, keys), g_rand_int_range(world->random, -1, 4)};
    char key[32], value[32];
    failure_free(log_records_builder_add(builder, number_field(row.key, key), number_field(row.value, value), NULL, 0,
                                         row.timestamp_ms));
    g_array_append_val(world->rows, row);
  }
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  failure_free(
      log_records_builder_finish(builder, (Milena__V1__Compression)g_rand_int_range(world->random, 1, 4), &batch));
  guint8 producer[LOG_PRODUCER_VALUE_BYTES_MAX];
  gboolean has_producer = g_rand_int_range(world->random, 0, 6) == 0;
  if (has_producer) {
    batch.producer_id = LOG_PRODUCER_COORDINATOR;
    batch.first_sequence = world->sequence;
    world->sequence += count;
    g_array_append_val(world->remembered, hot->log_end_offset);
    if (world->remembered->len > LOG_PRODUCER_BATCHES)
      g_array_remove_index(world->remembered, 0);
  }
  log_batch_seal(&batch);
  batch.base_offset = hot->log_end_offset;
  batch.leader_epoch = 1;
  batch.append_timestamp_ms = world->now_ms;
  if (log_epochs_latest(hot->epochs) < 1)
    log_epochs_append(hot->epochs, 1, hot->log_end_offset);
  hot->log_end_offset = hot->high_watermark = log_batch_next_offset(&batch);
  hot->max_timestamp_ms = MAX(hot->max_timestamp_ms, batch.max_timestamp_ms);
  hot->appended_bytes += (gint64)log_batch_stored_bytes(&batch);
  LogProducer remembered = {.producer_id = LOG_PRODUCER_COORDINATOR, .batch_count = 1};
  remembered.batches[0] = (LogProducerBatch){.record_count = count, .base_offset = batch.base_offset};
  write_with_hot(world,
                 &(LogWrite){.kind = LOG_WRITE_APPEND,
                             .batch = &batch,
                             .producer = has_producer ? producer : NULL,
                             .producer_len = has_producer ? log_producer_encode(&remembered, log->id, producer) : 0});
}

/* ---- a run ---- */

typedef struct {
  World *world;
  LogWrite write; /* under way */
  GByteArray *hot;
  LogCompacted *compacted;
  LogCompaction *compaction;
  LogCompactionOptions options;
  int writes_left; /* then no more is taken: the process might as well have ended. -1: no end */
  gboolean over, ended_well;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
} Run;

static void on_written(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Run *run = (Run *)((char *)write - G_STRUCT_OFFSET(Run, write));
  log_compacted_free(run->compacted);
  log_compaction_written(run->compaction, TRUE);
}

static void on_write(LogCompaction *compaction, LogCompacted *compacted, gpointer data) {
  Run *run = data;
  if (run->writes_left == 0) {
    log_compacted_free(compacted);
    log_compaction_written(compaction, FALSE);
    return;
  }
  run->writes_left--;
  run->compacted = compacted;
  run->world->log.hot.compacted_to_offset = compacted->compacted_to;
  log_hot_encode(&run->world->log.hot, run->world->log.id, run->hot);
  run->write = (LogWrite){.kind = LOG_WRITE_COMPACT,
                          .log_id = run->world->log.id,
                          .hot = run->hot->data,
                          .hot_len = run->hot->len,
                          .compacted = compacted,
                          .wants = LOG_WRITE_WRITTEN,
                          .sync_within_ms = LOG_SYNC_NEVER,
                          .loop = run->world->fixture.loop,
                          .done = on_written};
  run->compaction = compaction;
  if (!log_store_submit(run->world->fixture.store, &run->write))
    shim_fail(__FILE__, __LINE__, "the store takes no write");
}

static void on_done(LogCompaction *compaction, const Failure *failure, gpointer data) {
  Run *run = data;
  if (failure && failure_reason(failure) != FAILURE(CANCELLED))
    shim_fail(__FILE__, __LINE__, "the run failed: %s", failure_message(failure));
  log_compaction_free(compaction);
  pthread_mutex_lock(&run->mutex);
  run->over = TRUE;
  run->ended_well = failure == NULL;
  pthread_cond_signal(&run->cond);
  pthread_mutex_unlock(&run->mutex);
}

static void start_run(gpointer data) {
  Run *run = data;
  log_compaction_new(run->world->fixture.store, run->world->fixture.loop, run->world->timers, &run->options);
}

/* Returns whether it came to its end. */
static gboolean compact(World *world, int writes, gsize map_bytes, gint64 lag_ms) {
  const LogHot *hot = &world->log.hot;
  Run run = {.world = world,
             .writes_left = writes,
             .hot = g_byte_array_new(),
             .mutex = PTHREAD_MUTEX_INITIALIZER,
             .cond = PTHREAD_COND_INITIALIZER};
  run.options = (LogCompactionOptions){.log_id = world->log.id,
                                       .start_offset = hot->log_start_offset,
                                       .compacted_to = hot->compacted_to_offset,
                                       .end_offset = hot->high_watermark,
                                       .before_ms = world->now_ms - lag_ms + 1,
                                       .now_ms = world->now_ms,
                                       .delete_retention_ms = RETENTION_MS,
                                       .remembered = g_array_copy(world->remembered),
                                       .map_bytes = map_bytes,
                                       .write = on_write,
                                       .done = on_done,
                                       .data = &run};
  world->mapped_to = MAX(world->mapped_to, hot->high_watermark);
  loop_call(world->fixture.loop, start_run, &run);
  pthread_mutex_lock(&run.mutex);
  while (!run.over)
    pthread_cond_wait(&run.cond, &run.mutex);
  pthread_mutex_unlock(&run.mutex);
  g_byte_array_unref(run.hot);
  return run.ended_well;
}

/* ---- what is read ---- */

static void take_rows(const GArray *batches, gint64 from, GArray *rows) {
  for (guint i = 0; i < batches->len; i++) {
    g_autoptr(LogRecordsReader) reader = NULL;
    Failure *failure = log_records_reader_new(LOG_BATCH_AT(batches, i), &reader);
    LogRecord record;
    while (!failure && log_records_reader_next(reader, &record, &failure)) {
      Row row = {record.offset, record.timestamp_ms, field_number(record.key), field_number(record.value)};
      if (record.offset >= from)
        g_array_append_val(rows, row);
    }
    if (failure)
      shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
    failure_free(failure);
  }
}

/* All from @from on. @bases: gets the base offsets of the batches */
static GArray *read_all(World *world, gint64 from, GHashTable *bases) {
  GArray *rows = g_array_new(FALSE, FALSE, sizeof(Row));
  gint64 next = from;
  guint batches = 0;
  while (next < world->log.hot.log_end_offset) {
    LogRead read;
    fixture_read(&world->fixture, &world->log, next, world->log.hot.log_end_offset,
                 (gsize)g_rand_int_range(world->random, 1, 20000), &read);
    if (read.failure)
      shim_fail(__FILE__, __LINE__, "%s", failure_message(read.failure));
    gboolean more = read.batches->len > 0;
    batches += read.batches->len;
    take_rows(read.batches, next, rows);
    for (guint i = 0; i < read.batches->len; i++) {
      const LogBatch *batch = LOG_BATCH_AT(read.batches, i);
      EXPECT_TRUE(log_batch_next_offset(batch) > next);
      next = log_batch_next_offset(batch);
      if (bases)
        g_hash_table_add(bases, g_memdup2(&batch->base_offset, sizeof batch->base_offset));
    }
    log_read_clear(&read);
    if (!more)
      break;
  }
  EXPECT_TRUE(batches == 0 || next == world->log.hot.log_end_offset);
  return rows;
}

static const Row *row_at(const GArray *rows, gint64 offset) {
  for (guint i = 0; i < rows->len; i++)
    if (g_array_index(rows, Row, i).offset == offset)
      return &g_array_index(rows, Row, i);
  return NULL;
}

/* The last row of each key. */
static GHashTable *latest(const GArray *rows) {
  GHashTable *found = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < rows->len; i++) {
    Row *row = &g_array_index(rows, Row, i);
    g_hash_table_insert(found, GINT_TO_POINTER(row->key), row);
  }
  return found;
}

/* Each key says what the model says; what is read was written, where it was written. */
static void check(World *world, gint64 from) {
  g_autoptr(GHashTable) bases = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  g_autoptr(GArray) got = read_all(world, from, bases);
  for (guint i = 0; i < got->len; i++) {
    const Row *row = &g_array_index(got, Row, i), *wrote = row_at(world->rows, row->offset);
    if (!EXPECT_TRUE(wrote && memcmp(row, wrote, sizeof *row) == 0 &&
                     (i == 0 || row->offset > g_array_index(got, Row, i - 1).offset)))
      return;
  }
  g_autoptr(GHashTable) want = latest(world->rows), found = latest(got);
  GHashTableIter iter;
  gpointer key, value;
  g_hash_table_iter_init(&iter, want);
  while (g_hash_table_iter_next(&iter, &key, &value)) {
    const Row *last = value, *read = g_hash_table_lookup(found, key);
    if (last->offset < from || (last->value < 0 && !read))
      continue; /* a tombstone may have gone, with all that it deleted */
    if (!EXPECT_TRUE(read && last->offset == read->offset))
      return;
  }
  if (from > 0)
    return;
  g_hash_table_iter_init(&iter, found);
  while (g_hash_table_iter_next(&iter, &key, NULL))
    EXPECT_TRUE(g_hash_table_contains(want, key));
  for (guint i = 0; i < world->remembered->len; i++)
    EXPECT_TRUE(g_hash_table_contains(bases, &g_array_index(world->remembered, gint64, i)));
}

/* Of what is there before the end nothing goes. What a run removed because of records that are cut now is gone, as in
 * an unclean election: then the model goes on with what is left. */
static void cut(World *world, gint64 offset) {
  g_autoptr(GArray) before = read_all(world, 0, NULL);
  gint64 end = fixture_truncate(&world->fixture, &world->log, offset);
  EXPECT_TRUE(end <= offset);
  g_autoptr(GArray) after = read_all(world, 0, NULL);
  guint kept = 0;
  while (kept < before->len && g_array_index(before, Row, kept).offset < end)
    kept++;
  EXPECT_EQ_INT(kept, after->len);
  EXPECT_TRUE(kept == 0 || memcmp(before->data, after->data, kept * sizeof(Row)) == 0);
  while (world->rows->len > 0 && g_array_index(world->rows, Row, world->rows->len - 1).offset >= end)
    g_array_set_size(world->rows, world->rows->len - 1);
  while (world->remembered->len > 0 && g_array_index(world->remembered, gint64, world->remembered->len - 1) >= end)
    g_array_set_size(world->remembered, world->remembered->len - 1);
  if (offset < world->mapped_to) {
    g_array_unref(world->rows);
    world->rows = g_steal_pointer(&after);
  }
  world->mapped_to = MIN(world->mapped_to, end);
}

/* ---- worlds ---- */

static void make_timers(gpointer data) {
  World *world = data;
  world->timers = timers_new(world->fixture.loop);
}

static void free_timers(gpointer data) {
  World *world = data;
  timers_free(world->timers);
}

static gboolean world_begin(World *world, guint32 seed) {
  g_autofree char *path = g_strdup_printf("%s/%u", shim_temp_dir(), seed);
  *world = (World){.random = g_rand_new_with_seed(seed),
                   .rows = g_array_new(FALSE, FALSE, sizeof(Row)),
                   .remembered = g_array_new(FALSE, FALSE, sizeof(gint64)),
                   .now_ms = 1000000};
  fixture_init(&world->fixture, g_intern_string(path));
  world->fixture.options.segment_bytes_max = 16 << 10;
  loop_call_and_wait(world->fixture.loop, make_timers, world);
  test_log_init(&world->log, 7);
  if (!fixture_open(&world->fixture))
    return FALSE;
  fixture_create(&world->fixture, &world->log);
  return TRUE;
}

static void world_end(World *world) {
  fixture_close(&world->fixture);
  loop_call_and_wait(world->fixture.loop, free_timers, world);
  fixture_clear(&world->fixture);
  test_log_clear(&world->log);
  g_array_unref(world->rows);
  g_array_unref(world->remembered);
  g_rand_free(world->random);
}

static void reopen(World *world) {
  fixture_close(&world->fixture);
  fixture_open(&world->fixture);
}

static gint64 random_offset(World *world) {
  guint at = (guint)g_rand_int_range(world->random, 0, (gint32)world->rows->len);
  return g_array_index(world->rows, Row, at).offset;
}

static void live(World *world, guint32 seed) {
  int keys = (int)(1 + seed * 37 % 400);
  for (int round = 0; round < 15 && !shim_test_has_failed(); round++) {
    for (int i = g_rand_int_range(world->random, 1, 40); i > 0; i--)
      append(world, keys);
    world->now_ms += g_rand_int_range(world->random, 0, RETENTION_MS);
    int what = g_rand_int_range(world->random, 0, 10);
    if (what < 6)
      compact(world, what < 2 ? g_rand_int_range(world->random, 0, 4) : -1, what == 3 ? 1 : 1 << 20,
              what == 4 ? RETENTION_MS / 2 : 0);
    if (what == 6 && world->rows->len > 0)
      cut(world, random_offset(world));
    if (what == 7 || g_rand_int_range(world->random, 0, 3) == 0)
      reopen(world);
    check(world, 0);
    if (world->rows->len > 0)
      check(world, random_offset(world));
  }
}

TEST(compact, says_what_the_model_says) {
  for (guint32 seed = 1; seed <= 10; seed++) {
    World world;
    if (world_begin(&world, seed))
      live(&world, seed);
    world_end(&world);
    if (shim_test_has_failed()) {
      shim_fail(__FILE__, __LINE__, "with seed %u", seed);
      return;
    }
  }
}

TEST(compact, leaves_each_key_once_and_frees_the_segments) {
  World world;
  ASSERT_TRUE(world_begin(&world, 1));
  for (int i = 0; i < 500; i++)
    append(&world, 50);
  ASSERT_TRUE(compact(&world, -1, 1 << 20, 0));
  gint64 end = world.log.hot.compacted_to_offset;
  EXPECT_TRUE(end > world.log.hot.log_end_offset - 20 && end < world.log.hot.log_end_offset);
  CompactNote note;
  log_store_compact_note(world.fixture.store, world.log.id, &note);
  EXPECT_EQ_INT(1, note.runs);
  EXPECT_TRUE(note.records <= 50);
  EXPECT_TRUE(note.bytes_after * 10 < note.bytes_before);
  LogStoreStats stats;
  log_store_stats(world.fixture.store, &stats);
  EXPECT_EQ_INT(1, stats.compactions);
  EXPECT_EQ_INT(note.bytes, stats.compacted_bytes);
  EXPECT_EQ_INT(note.bytes_before, stats.compaction_bytes_before);
  EXPECT_TRUE(stats.segments <= 2);
  reopen(&world);
  log_store_stats(world.fixture.store, &stats);
  EXPECT_EQ_INT(0, stats.compactions);
  EXPECT_EQ_INT(note.bytes, stats.compacted_bytes);
  CompactNote again;
  log_store_compact_note(world.fixture.store, world.log.id, &again);
  EXPECT_EQ_INT(note.bytes, again.bytes);
  check(&world, 0);
  g_autoptr(GArray) rows = read_all(&world, 0, NULL);
  guint below = 0;
  for (guint i = 0; i < rows->len; i++)
    below += g_array_index(rows, Row, i).offset < end;
  EXPECT_EQ_INT(note.records, below);
  world_end(&world);
}

TEST(compact, tombstones_go_when_their_time_has_come) {
  World world;
  ASSERT_TRUE(world_begin(&world, 3));
  for (int i = 0; i < 200; i++)
    append(&world, 40);
  CompactNote note;
  compact(&world, -1, 1 << 20, 0);
  log_store_compact_note(world.fixture.store, world.log.id, &note);
  guint64 tombstones = note.tombstones;
  EXPECT_TRUE(tombstones > 0);
  world.now_ms += RETENTION_MS - 1;
  reopen(&world);
  compact(&world, -1, 1 << 20, 0);
  log_store_compact_note(world.fixture.store, world.log.id, &note);
  EXPECT_EQ_INT(tombstones, note.tombstones);
  world.now_ms += 1;
  compact(&world, -1, 1 << 20, 0);
  log_store_compact_note(world.fixture.store, world.log.id, &note);
  EXPECT_EQ_INT(0, note.tombstones);
  EXPECT_EQ_INT(world.now_ms, note.clean_ms);
  check(&world, 0);
  world_end(&world);
}

TEST(compact, finds_by_time_in_both_parts) {
  World world;
  ASSERT_TRUE(world_begin(&world, 5));
  for (int i = 0; i < 300; i++)
    append(&world, 300);
  compact(&world, -1, 1 << 20, 0);
  for (int i = 0; i < 50; i++)
    append(&world, 300);
  g_autoptr(GArray) rows = read_all(&world, 0, NULL);
  for (gint64 time = 0; time < 110000; time += 997) {
    gint64 want = -1, found = fixture_find(&world.fixture, &world.log, time);
    for (guint i = 0; i < rows->len && want < 0; i++)
      if (g_array_index(rows, Row, i).timestamp_ms >= time)
        want = g_array_index(rows, Row, i).offset;
    EXPECT_EQ_INT(want < 0, found < 0);
    EXPECT_TRUE(found <= want);
    if (found < 0)
      continue;
    /* The batch that was found holds it. */
    LogRead read;
    fixture_read(&world.fixture, &world.log, found, world.log.hot.log_end_offset, 1, &read);
    ASSERT_EQ_INT(1, read.batches->len);
    EXPECT_TRUE(want < log_batch_next_offset(LOG_BATCH_AT(read.batches, 0)));
    log_read_clear(&read);
  }
  world_end(&world);
}

TEST(compact, a_dropped_log_leaves_nothing_for_one_of_its_name) {
  World world;
  ASSERT_TRUE(world_begin(&world, 6));
  for (int i = 0; i < 100; i++)
    append(&world, 10);
  compact(&world, -1, 1 << 20, 0);
  LogWrite drop = {.kind = LOG_WRITE_DROP, .log_id = world.log.id, .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(&world.fixture, &drop));
  test_log_clear(&world.log);
  test_log_init(&world.log, 7);
  g_array_set_size(world.rows, 0);
  g_array_set_size(world.remembered, 0);
  fixture_create(&world.fixture, &world.log);
  for (int i = 0; i < 10; i++)
    append(&world, 10);
  check(&world, 0);
  CompactNote note;
  log_store_compact_note(world.fixture.store, world.log.id, &note);
  EXPECT_EQ_INT(0, note.runs);
  reopen(&world);
  check(&world, 0);
  world_end(&world);
}
