/* What very many logs cost: memory, and time to open after a close in order and after a kill.
 *
 *   many_logs_bench FOLDER LOGS [ROUNDS]      FOLDER must not exist; it and FOLDER-killed are left behind
 *
 * Each round appends a batch of 1 KiB to every log. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "storage/rocks/log_store.h"

#define WINDOW 512

typedef struct {
  LogStore *store;
  Loop *loop;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean is_done;
  guint64 log_count, next_log; /* the loop's */
  guint in_flight;
  gint64 round; /* 0 makes the logs */
  GBytes *payload;
} Bench;

typedef struct {
  LogWrite write;
  Bench *bench;
  LogBatch batch;
  GByteArray *hot_bytes;
  LogHot hot;
} Slot;

static long resident_mb(void) {
  g_autofree char *text = NULL;
  long pages = 0;
  if (g_file_get_contents("/proc/self/statm", &text, NULL, NULL))
    sscanf(text, "%*d %ld", &pages);
  return pages * 4 / 1024;
}

static void submit_next(Slot *slot) {
  Bench *bench = slot->bench;
  guint64 log_id = ++bench->next_log;
  slot->hot.log_end_offset = bench->round;
  if (bench->round) {
    log_batch_clear(&slot->batch);
    slot->batch.records = g_bytes_ref(bench->payload);
    slot->batch.record_count = 1;
    slot->batch.uncompressed_bytes = (guint32)g_bytes_get_size(bench->payload);
    log_batch_seal(&slot->batch);
    slot->batch.base_offset = bench->round - 1;
    slot->batch.leader_epoch = 0;
    slot->hot.max_timestamp_ms = 0;
  }
  log_hot_encode(&slot->hot, log_id, slot->hot_bytes);
  slot->write.kind = bench->round ? LOG_WRITE_APPEND : LOG_WRITE_CREATE;
  slot->write.batch = bench->round ? &slot->batch : NULL;
  slot->write.log_id = log_id;
  slot->write.hot = slot->hot_bytes->data;
  slot->write.hot_len = slot->hot_bytes->len;
  bench->in_flight++;
  INVARIANT(log_store_submit(bench->store, &slot->write), "the window fits the store's bounds");
}

static void slot_done(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Slot *slot = (Slot *)write;
  Bench *bench = slot->bench;
  bench->in_flight--;
  if (bench->next_log < bench->log_count) {
    submit_next(slot);
  } else if (bench->in_flight == 0) {
    pthread_mutex_lock(&bench->mutex);
    bench->is_done = TRUE;
    pthread_cond_signal(&bench->cond);
    pthread_mutex_unlock(&bench->mutex);
  }
}

static void slot_start(gpointer data) {
  Slot *slot = data;
  if (slot->bench->next_log < slot->bench->log_count)
    submit_next(slot);
}

static void run_round(Bench *bench, Slot *slots) {
  bench->next_log = 0;
  bench->is_done = FALSE;
  for (guint i = 0; i < WINDOW; i++)
    loop_call(bench->loop, slot_start, &slots[i]);
  pthread_mutex_lock(&bench->mutex);
  while (!bench->is_done)
    pthread_cond_wait(&bench->cond, &bench->mutex);
  pthread_mutex_unlock(&bench->mutex);
}

static void count_log(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  (void)log_id;
  (void)hot;
  *(guint64 *)data += failure == NULL;
}

static LogStore *open_store(const char *path, const char *how, guint64 want) {
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = path;
  options.create = TRUE;
  LogStore *store = NULL;
  gint64 start_us = g_get_monotonic_time();
  g_autoptr(Failure) failure = log_store_open(&options, &store);
  guint64 good = 0;
  if (!failure)
    failure = log_store_recover(store, count_log, &good);
  if (failure)
    g_error("%s", failure_message(failure));
  INVARIANT(good == want, "every log is there and whole");
  printf("open %-22s %6.0f ms, %4ld MB resident\n", how, (double)(g_get_monotonic_time() - start_us) / 1000,
         resident_mb());
  return store;
}

static void copy_folder(const char *from, const char *to) {
  const char *argv[] = {"cp", "-a", from, to, NULL};
  g_autoptr(GError) error = NULL;
  if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, &error))
    g_error("%s", error->message);
}

int main(int argc, char **argv) {
  if (argc < 3 || g_file_test(argv[1], G_FILE_TEST_EXISTS)) {
    fprintf(stderr, "usage: many_logs_bench FOLDER LOGS [ROUNDS]: FOLDER must not exist yet\n");
    return 2;
  }
  Bench bench = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
  bench.log_count = g_ascii_strtoull(argv[2], NULL, 10);
  gint64 rounds = argc > 3 ? g_ascii_strtoll(argv[3], NULL, 10) : 2;
  bench.store = open_store(argv[1], "new", 0);
  bench.loop = loop_new("bench", 1024);
  loop_start(bench.loop);
  g_autofree guint8 *noise = g_malloc0(1024);
  bench.payload = g_bytes_new(noise, 1024);
  Slot *slots = g_new0(Slot, WINDOW);
  for (guint i = 0; i < WINDOW; i++) {
    slots[i] = (Slot){.bench = &bench, .batch = LOG_BATCH_INIT, .hot_bytes = g_byte_array_new()};
    slots[i].write = (LogWrite){.wants = LOG_WRITE_SYNCED, .loop = bench.loop, .done = slot_done};
    log_hot_init(&slots[i].hot);
  }
  for (bench.round = 0; bench.round <= rounds; bench.round++) {
    gint64 start_us = g_get_monotonic_time();
    run_round(&bench, slots);
    printf("round %2d: %8.0f writes/s, %4ld MB resident\n", (int)bench.round,
           (double)bench.log_count / ((double)(g_get_monotonic_time() - start_us) / 1e6), resident_mb());
  }
  g_autofree char *killed = g_strconcat(argv[1], "-killed", NULL);
  copy_folder(argv[1], killed);
  log_store_close(bench.store);
  log_store_close(open_store(argv[1], "after a close in order", bench.log_count));
  log_store_close(open_store(killed, "after a kill", bench.log_count));
  loop_free(bench.loop);
  for (guint i = 0; i < WINDOW; i++) {
    log_batch_clear(&slots[i].batch);
    g_byte_array_unref(slots[i].hot_bytes);
    log_hot_clear(&slots[i].hot);
  }
  g_free(slots);
  g_bytes_unref(bench.payload);
  return 0;
}
