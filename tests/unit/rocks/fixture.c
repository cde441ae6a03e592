#include "tests/unit/rocks/fixture.h"

#include <pthread.h>
#include <string.h>

#include "tests/shim/shim.h"

#ifdef __SANITIZE_THREAD__
/* RocksDB is not instrumented: what happens inside of it, and memory that passes through it, looks like a race. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
  return "race:librocksdb.so\n";
}
#endif

/* ---- the store ---- */

void fixture_init(Fixture *fixture, const char *path) {
  *fixture = (Fixture){0};
  log_store_options_init(&fixture->options);
  fixture->options.path = path;
  fixture->options.create = TRUE;
  fixture->options.segment_bytes_max = 256 << 10;
  fixture->options.write_buffer_bytes = 64 << 10;
  fixture->options.time_index_bytes = 16 << 10;
  fixture->options.cache_bytes = 4 << 20;
  fixture->options.wal_bytes_max = 4 << 20;
  fixture->loop = loop_new("test", 1024);
  loop_start(fixture->loop);
}

gboolean fixture_open(Fixture *fixture) {
  g_autoptr(Failure) failure = log_store_open(&fixture->options, &fixture->store);
  if (failure)
    shim_fail(__FILE__, __LINE__, "store does not open: %s", failure_message(failure));
  return failure == NULL;
}

void fixture_close(Fixture *fixture) {
  g_clear_pointer(&fixture->store, log_store_close);
}

void fixture_clear(Fixture *fixture) {
  fixture_close(fixture);
  g_clear_pointer(&fixture->loop, loop_free);
}

/* ---- waiting ---- */

typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean done;
} Latch;

#define LATCH_INIT                                                                                                     \
  { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, FALSE }

static void latch_open(Latch *latch) {
  pthread_mutex_lock(&latch->mutex);
  latch->done = TRUE;
  pthread_cond_signal(&latch->cond);
  pthread_mutex_unlock(&latch->mutex);
}

static void latch_wait(Latch *latch) {
  pthread_mutex_lock(&latch->mutex);
  while (!latch->done)
    pthread_cond_wait(&latch->cond, &latch->mutex);
  pthread_mutex_unlock(&latch->mutex);
}

/* ---- writes ---- */

typedef struct {
  LogWrite write;
  Latch latch;
  int stages;
} WaitingWrite;

static void write_done(LogWrite *write, LogWriteStage stage) {
  WaitingWrite *waiting = (WaitingWrite *)write;
  waiting->stages = waiting->stages * 10 + (int)stage;
  if (stage == LOG_WRITE_SYNCED || !(write->wants & LOG_WRITE_SYNCED))
    latch_open(&waiting->latch);
}

int fixture_write(Fixture *fixture, LogWrite *write) {
  WaitingWrite waiting = {.write = *write, .latch = LATCH_INIT};
  waiting.write.loop = fixture->loop;
  waiting.write.done = write_done;
  if (!log_store_submit(fixture->store, &waiting.write))
    return 0;
  latch_wait(&waiting.latch);
  write->ret_end_offset = waiting.write.ret_end_offset;
  return waiting.stages;
}

void test_log_init(TestLog *log, guint64 id) {
  log->id = id;
  log_hot_init(&log->hot);
}

void test_log_clear(TestLog *log) {
  log_hot_clear(&log->hot);
}

static void write_with_hot(Fixture *fixture, TestLog *log, LogWrite *write) {
  g_autoptr(GByteArray) hot = g_byte_array_new();
  log_hot_encode(&log->hot, log->id, hot);
  write->log_id = log->id;
  write->hot = hot->data;
  write->hot_len = hot->len;
  write->wants = LOG_WRITE_SYNCED;
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(fixture, write));
}

void fixture_create(Fixture *fixture, TestLog *log) {
  write_with_hot(fixture, log, &(LogWrite){.kind = LOG_WRITE_CREATE});
}

static guint8 payload_byte(guint64 log_id, gint64 base_offset, gsize i) {
  return (guint8)(log_id * 31 + (guint64)base_offset * 7 + i);
}

void make_batch(TestLog *log, guint32 count, gsize len, gint64 timestamp_ms, LogBatch *ret_batch) {
  *ret_batch = (LogBatch)LOG_BATCH_INIT;
  gint64 base = log->hot.log_end_offset;
  guint8 *payload = g_malloc(len);
  for (gsize i = 0; i < len; i++)
    payload[i] = payload_byte(log->id, base, i);
  ret_batch->records = g_bytes_new_take(payload, len);
  ret_batch->record_count = count;
  ret_batch->uncompressed_bytes = (guint32)len;
  ret_batch->base_timestamp_ms = ret_batch->max_timestamp_ms = timestamp_ms;
  log_batch_seal(ret_batch);
  ret_batch->base_offset = base;
  ret_batch->leader_epoch = 1;
  ret_batch->append_timestamp_ms = timestamp_ms;
  if (log_epochs_latest(log->hot.epochs) < 1)
    log_epochs_append(log->hot.epochs, 1, base);
  log->hot.log_end_offset += count;
  log->hot.max_timestamp_ms = MAX(log->hot.max_timestamp_ms, timestamp_ms);
  log->hot.last_append_timestamp_ms = timestamp_ms;
  log->hot.appended_bytes += (gint64)log_batch_stored_bytes(ret_batch);
}

void fixture_append(Fixture *fixture, TestLog *log, guint32 count, gsize len, gint64 timestamp_ms) {
  g_auto(LogBatch) batch;
  make_batch(log, count, len, timestamp_ms, &batch);
  write_with_hot(fixture, log, &(LogWrite){.kind = LOG_WRITE_APPEND, .batch = &batch});
}

void fixture_put_start(Fixture *fixture, TestLog *log, gint64 start) {
  log->hot.log_start_offset = start;
  log->hot.high_watermark = MAX(log->hot.high_watermark, start);
  write_with_hot(fixture, log, &(LogWrite){.kind = LOG_WRITE_PUT_HOT});
}

void fixture_drop(Fixture *fixture, const TestLog *log) {
  LogWrite write = {.kind = LOG_WRITE_DROP, .log_id = log->id, .wants = LOG_WRITE_SYNCED};
  EXPECT_EQ_INT(LOG_WRITE_SYNCED, fixture_write(fixture, &write));
}

gint64 fixture_truncate(Fixture *fixture, TestLog *log, gint64 offset) {
  LogWrite write = {.kind = LOG_WRITE_TRUNCATE, .truncate_offset = offset};
  write_with_hot(fixture, log, &write);
  log_hot_cut(&log->hot, write.ret_end_offset);
  return write.ret_end_offset;
}

/* ---- reads ---- */

typedef struct {
  LogRead read;
  Latch latch;
} WaitingRead;

static void read_done(LogRead *read) {
  latch_open(&((WaitingRead *)read)->latch);
}

void fixture_read(Fixture *fixture, const TestLog *log, gint64 from, gint64 end, gsize max_bytes, LogRead *ret_read) {
  WaitingRead waiting = {.read = {.log_id = log->id,
                                  .from_offset = from,
                                  .end_offset = end,
                                  .max_bytes = max_bytes,
                                  .loop = fixture->loop,
                                  .done = read_done},
                         .latch = LATCH_INIT};
  EXPECT_TRUE(log_store_read(fixture->store, &waiting.read));
  latch_wait(&waiting.latch);
  *ret_read = waiting.read;
}

typedef struct {
  LogFind find;
  Latch latch;
} WaitingFind;

static void find_done(LogFind *find) {
  latch_open(&((WaitingFind *)find)->latch);
}

gint64 fixture_find(Fixture *fixture, const TestLog *log, gint64 timestamp_ms) {
  WaitingFind waiting = {.find = {.log_id = log->id,
                                  .timestamp_ms = timestamp_ms,
                                  .end_offset = log->hot.log_end_offset,
                                  .loop = fixture->loop,
                                  .done = find_done},
                         .latch = LATCH_INIT};
  EXPECT_TRUE(log_store_find(fixture->store, &waiting.find));
  latch_wait(&waiting.latch);
  if (waiting.find.failure)
    shim_fail(__FILE__, __LINE__, "find: %s", failure_message(waiting.find.failure));
  gint64 offset = waiting.find.found ? waiting.find.batch.base_offset : -1;
  log_find_clear(&waiting.find);
  return offset;
}

const char *describe(const LogRead *read) {
  static GString *text;
  if (!text)
    text = g_string_new(NULL);
  g_string_truncate(text, 0);
  for (guint i = 0; i < read->batches->len; i++) {
    const LogBatch *batch = LOG_BATCH_AT(read->batches, i);
    g_string_append_printf(text, "%s%" G_GINT64_FORMAT "+%u", i ? " " : "", batch->base_offset, batch->record_count);
  }
  if (read->failure)
    g_string_append_printf(text, "%s!%s", text->len ? " " : "", failure_reason_name(failure_reason(read->failure)));
  return text->str;
}

static void check_payload(const TestLog *log, const LogBatch *batch) {
  gsize len;
  const guint8 *data = g_bytes_get_data(batch->records, &len);
  gsize wrong = 0;
  for (gsize i = 0; i < len; i++)
    wrong += data[i] != payload_byte(log->id, batch->base_offset, i);
  EXPECT_EQ_INT(0, wrong);
}

gint64 fixture_scan(Fixture *fixture, const TestLog *log, gint64 from, gsize max_bytes) {
  gint64 next = from;
  for (;;) {
    LogRead read;
    fixture_read(fixture, log, next, log->hot.log_end_offset, max_bytes, &read);
    if (read.failure)
      shim_fail(__FILE__, __LINE__, "read: %s", failure_message(read.failure));
    guint count = read.failure ? 0 : read.batches->len;
    for (guint i = 0; i < count; i++) {
      const LogBatch *batch = LOG_BATCH_AT(read.batches, i);
      if (next > from)
        EXPECT_EQ_INT(next, batch->base_offset);
      check_payload(log, batch);
      next = log_batch_next_offset(batch);
    }
    log_read_clear(&read);
    if (count == 0)
      return next;
  }
}
