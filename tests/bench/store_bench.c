/* Rates and latencies of the log store alone: durable appends, cold reads, finds.
 *
 *   store_bench FOLDER [MEGABYTES [GROUP_BYTES]]      FOLDER must not exist; it is left behind
 *
 * Absolute figures vary by half from run to run: compare two builds in turns, and prefer CPU seconds per GB. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "storage/rocks/log_store.h"

#define LOGS 6

typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean open;
} Latch;

static void latch_open(Latch *latch) {
  pthread_mutex_lock(&latch->mutex);
  latch->open = TRUE;
  pthread_cond_signal(&latch->cond);
  pthread_mutex_unlock(&latch->mutex);
}

static void latch_wait(Latch *latch) {
  pthread_mutex_lock(&latch->mutex);
  while (!latch->open)
    pthread_cond_wait(&latch->cond, &latch->mutex);
  latch->open = FALSE;
  pthread_mutex_unlock(&latch->mutex);
}

static gdouble cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (gdouble)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (gdouble)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int compare_gint64(gconstpointer a, gconstpointer b) {
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return left < right ? -1 : left > right;
}

static gint64 percentile(GArray *sorted, gdouble p) {
  return sorted->len ? g_array_index(sorted, gint64, (guint)((gdouble)(sorted->len - 1) * p)) : 0;
}

static void print_latencies(const char *what, GArray *latencies_us) {
  g_array_sort(latencies_us, compare_gint64);
  printf("  %-34s p50 %6.3f ms, p99 %6.3f ms\n", what, (gdouble)percentile(latencies_us, 0.5) / 1000,
         (gdouble)percentile(latencies_us, 0.99) / 1000);
}

/* ---- appends ---- */

typedef struct {
  LogStore *store;
  gint64 group_bytes; /* of the store's options, or 0 */
  Loop *loop;
  Latch latch;
  LogHot hot[LOGS]; /* of logs 1 to LOGS */
  GBytes *payload;
  guint64 left, in_flight; /* the loop's */
  guint next_log;
  GArray *latencies_us;
} Bench;

typedef struct {
  LogWrite write;
  Bench *bench;
  LogBatch batch;
  GByteArray *hot;
  gint64 start_us;
} BenchWrite;

/* Submit the next append, in a write that is free. */
static void append(BenchWrite *slot) {
  Bench *bench = slot->bench;
  guint log = bench->next_log++ % LOGS;
  LogBatch *batch = &slot->batch;
  log_batch_clear(batch);
  batch->records = g_bytes_ref(bench->payload);
  batch->record_count = 1;
  batch->uncompressed_bytes = (guint32)g_bytes_get_size(bench->payload);
  batch->base_timestamp_ms = batch->max_timestamp_ms = g_get_real_time() / 1000;
  log_batch_seal(batch);
  batch->base_offset = bench->hot[log].log_end_offset++;
  batch->leader_epoch = 0;
  batch->append_timestamp_ms = batch->max_timestamp_ms;
  bench->hot[log].max_timestamp_ms = batch->max_timestamp_ms;
  log_hot_encode(&bench->hot[log], log + 1, slot->hot);
  slot->write.log_id = log + 1;
  slot->write.hot = slot->hot->data;
  slot->write.hot_len = slot->hot->len;
  slot->start_us = g_get_monotonic_time();
  bench->left--;
  bench->in_flight++;
  INVARIANT(log_store_submit(bench->store, &slot->write), "the window fits the store's bounds");
}

static void append_done(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  BenchWrite *slot = (BenchWrite *)write;
  Bench *bench = slot->bench;
  gint64 took_us = g_get_monotonic_time() - slot->start_us;
  g_array_append_val(bench->latencies_us, took_us);
  bench->in_flight--;
  if (bench->left)
    append(slot);
  else if (bench->in_flight == 0)
    latch_open(&bench->latch);
}

static void append_start(gpointer data) {
  append(data);
}

static void run_appends(Bench *bench, gsize bytes, guint64 count, guint window) {
  guint8 *payload = g_malloc(bytes);
  for (gsize i = 0; i < bytes; i++)
    payload[i] = (guint8)(i * 2654435761u >> 16);
  bench->payload = g_bytes_new_take(payload, bytes);
  bench->left = count;
  bench->latencies_us = g_array_new(FALSE, FALSE, sizeof(gint64));
  g_autofree BenchWrite *slots = g_new0(BenchWrite, window);
  LogStoreStats before, after;
  log_store_stats(bench->store, &before);
  gint64 start_us = g_get_monotonic_time();
  gdouble start_cpu = cpu_seconds();
  for (guint i = 0; i < window; i++) {
    slots[i] = (BenchWrite){.bench = bench, .batch = LOG_BATCH_INIT, .hot = g_byte_array_new()};
    slots[i].write = (LogWrite){.kind = LOG_WRITE_APPEND,
                                .batch = &slots[i].batch,
                                .wants = LOG_WRITE_SYNCED,
                                .loop = bench->loop,
                                .done = append_done};
    loop_call(bench->loop, append_start, &slots[i]);
  }
  latch_wait(&bench->latch);
  gdouble seconds = (gdouble)(g_get_monotonic_time() - start_us) / 1e6, cpu = cpu_seconds() - start_cpu;
  gdouble megabytes = (gdouble)(bytes * count) / 1e6;
  log_store_stats(bench->store, &after);
  guint64 syncs = after.syncs - before.syncs;
  printf("append %6zu B, %3u in flight: %7.1f MB/s, %8.0f/s, %5.2f CPU s/GB, %6lu syncs of %.2f MB, %.2f ms each\n",
         bytes, window, megabytes / seconds, (gdouble)count / seconds, cpu / megabytes * 1000, (gulong)syncs,
         megabytes / (gdouble)MAX(syncs, 1), (gdouble)(after.sync_us - before.sync_us) / 1000 / (gdouble)MAX(syncs, 1));
  print_latencies("until synced", bench->latencies_us);
  g_array_unref(bench->latencies_us);
  g_bytes_unref(bench->payload);
  for (guint i = 0; i < window; i++) {
    log_batch_clear(&slots[i].batch);
    g_byte_array_unref(slots[i].hot);
  }
}

/* ---- reads ---- */

typedef struct {
  LogRead read;
  Latch *latch;
} BenchRead;

static void read_done(LogRead *read) {
  latch_open(((BenchRead *)read)->latch);
}

/* Returns the bytes that came; moves *@from behind them. */
static gsize read_once(Bench *bench, guint log, gint64 *from, gsize max_bytes) {
  BenchRead reading = {.latch = &bench->latch};
  reading.read = (LogRead){.log_id = log + 1,
                           .from_offset = *from,
                           .end_offset = bench->hot[log].log_end_offset,
                           .max_bytes = max_bytes,
                           .loop = bench->loop,
                           .done = read_done};
  INVARIANT(log_store_read(bench->store, &reading.read), "one read at a time fits");
  latch_wait(&bench->latch);
  INVARIANT(!reading.read.failure, "what was written reads back");
  gsize bytes = 0;
  for (guint i = 0; i < reading.read.batches->len; i++) {
    const LogBatch *batch = LOG_BATCH_AT(reading.read.batches, i);
    bytes += log_batch_payload_bytes(batch);
    *from = log_batch_next_offset(batch);
  }
  log_read_clear(&reading.read);
  return bytes;
}

static void run_scan(Bench *bench, gsize max_bytes) {
  gint64 start_us = g_get_monotonic_time();
  gdouble start_cpu = cpu_seconds();
  guint64 bytes = 0;
  for (guint log = 0; log < LOGS; log++) {
    gint64 from = 0;
    while (from < bench->hot[log].log_end_offset)
      bytes += read_once(bench, log, &from, max_bytes);
  }
  gdouble seconds = (gdouble)(g_get_monotonic_time() - start_us) / 1e6, cpu = cpu_seconds() - start_cpu;
  printf("read all, %4zu KiB at a time: %7.1f MB/s, %5.2f CPU s/GB\n", max_bytes >> 10, (gdouble)bytes / 1e6 / seconds,
         cpu / ((gdouble)bytes / 1e9));
}

static void run_seeks(Bench *bench, guint count) {
  g_autoptr(GArray) latencies_us = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (guint i = 0; i < count; i++) {
    guint log = (guint)g_random_int_range(0, LOGS);
    gint64 from = g_random_int_range(0, (gint32)bench->hot[log].log_end_offset);
    gint64 start_us = g_get_monotonic_time();
    read_once(bench, log, &from, 1);
    gint64 took_us = g_get_monotonic_time() - start_us;
    g_array_append_val(latencies_us, took_us);
  }
  printf("read one batch at a random offset\n");
  print_latencies("", latencies_us);
}

/* ---- */

static void create_done(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  BenchWrite *slot = (BenchWrite *)write;
  latch_open(&slot->bench->latch);
}

static void create_logs(Bench *bench) {
  for (guint i = 0; i < LOGS; i++) {
    log_hot_init(&bench->hot[i]);
    g_autoptr(GByteArray) hot = g_byte_array_new();
    log_hot_encode(&bench->hot[i], i + 1, hot);
    BenchWrite slot = {.bench = bench};
    slot.write = (LogWrite){.kind = LOG_WRITE_CREATE,
                            .log_id = i + 1,
                            .hot = hot->data,
                            .hot_len = hot->len,
                            .wants = LOG_WRITE_SYNCED,
                            .loop = bench->loop,
                            .done = create_done};
    INVARIANT(log_store_submit(bench->store, &slot.write), "a few logs fit");
    latch_wait(&bench->latch);
  }
}

static gboolean open_store(Bench *bench, const char *path) {
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = path;
  options.create = TRUE;
  if (bench->group_bytes)
    options.group_bytes_max = bench->group_bytes;
  gint64 start_us = g_get_monotonic_time();
  g_autoptr(Failure) failure = log_store_open(&options, &bench->store);
  if (failure)
    fprintf(stderr, "store_bench: %s\n", failure_message(failure));
  else
    printf("open: %.0f ms\n", (gdouble)(g_get_monotonic_time() - start_us) / 1000);
  return failure == NULL;
}

int main(int argc, char **argv) {
  if (argc < 2 || g_file_test(argv[1], G_FILE_TEST_EXISTS)) {
    fprintf(stderr, "usage: store_bench FOLDER [MEGABYTES [GROUP_BYTES]]: FOLDER must not exist yet\n");
    return 2;
  }
  guint64 megabytes = argc > 2 ? g_ascii_strtoull(argv[2], NULL, 10) : 1000;
  Bench bench = {.latch = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, FALSE}};
  bench.group_bytes = argc > 3 ? g_ascii_strtoll(argv[3], NULL, 10) : 0;
  if (!open_store(&bench, argv[1]))
    return 1;
  bench.loop = loop_new("bench", 1024);
  loop_start(bench.loop);
  create_logs(&bench);
  run_appends(&bench, 64 << 10, megabytes * 1000000 >> 16, 64);
  run_appends(&bench, 64 << 10, megabytes * 1000000 >> 16, 16);
  run_appends(&bench, 1 << 20, megabytes * 1000000 >> 20, 8);
  run_appends(&bench, 4 << 10, megabytes * 250000 >> 12, 64);
  run_appends(&bench, 100, 5000, 1);
  log_store_close(bench.store);
  if (!open_store(&bench, argv[1]))
    return 1;
  run_scan(&bench, 64 << 10);
  run_scan(&bench, 1 << 20);
  run_seeks(&bench, 500);
  log_store_close(bench.store);
  loop_free(bench.loop);
  for (guint i = 0; i < LOGS; i++)
    log_hot_clear(&bench.hot[i]);
  return 0;
}
