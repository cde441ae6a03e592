/* A heavy load on a log store, to be killed: several shard loops, several logs each, several appends in flight on each.
 * Every acknowledgement goes to standard output as a CrashEvent.
 *
 *   crash_driver FOLDER RUN ACK      ACK: synced, or written: the mistake of not waiting for the sync */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/rocks/log_store.h"
#include "tests/crash/crash_protocol.h"

#define SHARDS 3
#define IN_FLIGHT 4
#define PAYLOAD_BYTES_MAX (40 << 10)
#define APPENDS_BETWEEN_CUTS 40

typedef struct Driver Driver;

/* A log, owned by its shard's loop. */
typedef struct {
  Driver *driver;
  guint64 id;
  Loop *loop;
  GRand *random;
  LogHot hot;
  gboolean exists;
  guint in_flight, appends;
} DrivenLog;

typedef struct {
  LogWrite write;
  DrivenLog *log;
  LogBatch batch;
  GByteArray *hot;
  CrashEvent event;
} DrivenWrite;

struct Driver {
  LogStore *store;
  guint64 run;
  LogWriteStage ack;
  guint64 told_groups;
  GBytes *noise; /* payloads are pieces of it, with a name in front */
  guint64 next_unique;
  Loop *loops[SHARDS];
  DrivenLog logs[CRASH_LOGS];
};

static void tell(const CrashEvent *event) {
  if (write(STDOUT_FILENO, event, sizeof *event) != sizeof *event)
    _exit(3); /* the parent is gone */
}

static void go_on(DrivenLog *log);

/* Which ways the store's groups went, when there are more. */
static void tell_groups(Driver *driver) {
  LogStoreStats stats;
  log_store_stats(driver->store, &stats);
  guint64 told = __atomic_load_n(&driver->told_groups, __ATOMIC_RELAXED);
  if (stats.groups <= told || !__atomic_compare_exchange_n(&driver->told_groups, &told, stats.groups, FALSE,
                                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    return;
  guint64 bulk = MIN(stats.bulk_groups, stats.groups); /* they are not counted at one time */
  tell(&(CrashEvent){.kind = CRASH_GROUPS, .log_id = 1, .offset = (gint64)(stats.groups - bulk), .unique = bulk});
}

static void write_done(LogWrite *write, LogWriteStage stage) {
  DrivenWrite *driven = (DrivenWrite *)write;
  DrivenLog *log = driven->log;
  if (write->kind == LOG_WRITE_TRUNCATE) {
    log->hot.log_end_offset = write->ret_end_offset;
    log->hot.high_watermark = MIN(log->hot.high_watermark, write->ret_end_offset);
    log_epochs_truncate_end(log->hot.epochs, write->ret_end_offset);
    driven->event.kind = CRASH_CUT;
    driven->event.offset = write->ret_end_offset;
  }
  if (stage == log->driver->ack && write->kind != LOG_WRITE_CREATE)
    tell(&driven->event);
  if (stage != LOG_WRITE_SYNCED)
    return;
  log_batch_clear(&driven->batch);
  g_byte_array_unref(driven->hot);
  g_free(driven);
  log->in_flight--;
  tell_groups(log->driver);
  go_on(log);
}

static DrivenWrite *new_write(DrivenLog *log, LogWriteKind kind) {
  DrivenWrite *driven = g_new0(DrivenWrite, 1);
  driven->log = log;
  driven->batch = (LogBatch)LOG_BATCH_INIT;
  driven->hot = g_byte_array_new();
  driven->event.log_id = log->id;
  driven->write = (LogWrite){.kind = kind,
                             .log_id = log->id,
                             .batch = kind == LOG_WRITE_APPEND ? &driven->batch : NULL,
                             .wants = LOG_WRITE_WRITTEN | LOG_WRITE_SYNCED,
                             .loop = log->loop,
                             .done = write_done};
  return driven;
}

static void submit(DrivenLog *log, DrivenWrite *driven) {
  log_hot_encode(&log->hot, log->id, driven->hot);
  driven->write.hot = driven->hot->data;
  driven->write.hot_len = driven->hot->len;
  log->in_flight++;
  INVARIANT(log_store_submit(log->driver->store, &driven->write), "the load stays below the store's bounds");
}

/* Mostly small, sometimes large. */
static gsize choose_size(GRand *random) {
  guint32 most = g_rand_int_range(random, 0, 10) ? 4 << 10 : PAYLOAD_BYTES_MAX;
  return (gsize)g_rand_int_range(random, 16, (gint32)most);
}

static void append(DrivenLog *log) {
  DrivenWrite *driven = new_write(log, LOG_WRITE_APPEND);
  LogBatch *batch = &driven->batch;
  gsize len = choose_size(log->random);
  guint8 *payload = g_malloc(len);
  const guint8 *noise = g_bytes_get_data(log->driver->noise, NULL);
  memcpy(payload, noise + g_rand_int_range(log->random, 0, PAYLOAD_BYTES_MAX), len);
  driven->event.unique = log->driver->run << 32 | __atomic_add_fetch(&log->driver->next_unique, 1, __ATOMIC_RELAXED);
  memcpy(payload, &driven->event.unique, sizeof driven->event.unique);
  batch->records = g_bytes_new_take(payload, len);
  batch->record_count = (guint32)g_rand_int_range(log->random, 1, CRASH_RECORDS_MAX + 1);
  batch->uncompressed_bytes = (guint32)len;
  log_batch_seal(batch);
  batch->base_offset = log->hot.log_end_offset;
  batch->leader_epoch = (gint32)log->driver->run;
  batch->append_timestamp_ms = batch->max_timestamp_ms;
  if (log_epochs_latest(log->hot.epochs) < batch->leader_epoch)
    log_epochs_append(log->hot.epochs, batch->leader_epoch, batch->base_offset);
  log->hot.log_end_offset = log_batch_next_offset(batch);
  driven->event.kind = CRASH_ACKED;
  driven->event.offset = batch->base_offset;
  driven->event.record_count = batch->record_count;
  driven->event.crc = batch->crc32c;
  log->appends++;
  submit(log, driven);
}

static void cut(DrivenLog *log) {
  DrivenWrite *driven = new_write(log, LOG_WRITE_TRUNCATE);
  gint64 back = g_rand_int_range(log->random, 0, 100);
  driven->write.truncate_offset = MAX(log->hot.log_end_offset - back, 0);
  driven->event.kind = CRASH_CUTTING;
  driven->event.offset = driven->write.truncate_offset;
  tell(&driven->event);
  submit(log, driven);
}

/* The log's loop: keep its appends in flight. */
static void go_on(DrivenLog *log) {
  if (log->id == CRASH_CUT_LOG && log->appends >= APPENDS_BETWEEN_CUTS) {
    if (log->in_flight == 0) {
      log->appends = 0;
      cut(log);
    }
    return;
  }
  while (log->in_flight < IN_FLIGHT)
    append(log);
}

static void start_log(gpointer data) {
  DrivenLog *log = data;
  if (log->exists)
    go_on(log);
  else
    submit(log, new_write(log, LOG_WRITE_CREATE));
}

static void recovered(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  Driver *driver = data;
  INVARIANT(!failure && log_id >= 1 && log_id <= CRASH_LOGS, "the parent verified the logs before");
  DrivenLog *log = &driver->logs[log_id - 1];
  log_hot_clear(&log->hot);
  log->hot = *hot;
  log->hot.epochs = log_epochs_copy(hot->epochs);
  log->exists = TRUE;
}

static GBytes *make_noise(guint64 run) {
  GRand *random = g_rand_new_with_seed((guint32)run);
  guint32 *words = g_new(guint32, PAYLOAD_BYTES_MAX / 2);
  for (guint i = 0; i < PAYLOAD_BYTES_MAX / 2; i++)
    words[i] = g_rand_int(random);
  g_rand_free(random);
  return g_bytes_new_take(words, (gsize)PAYLOAD_BYTES_MAX * 2);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: crash_driver FOLDER RUN synced|written\n");
    return 2;
  }
  Driver *driver = g_new0(Driver, 1);
  driver->run = g_ascii_strtoull(argv[2], NULL, 10);
  driver->ack = strcmp(argv[3], "written") == 0 ? LOG_WRITE_WRITTEN : LOG_WRITE_SYNCED;
  driver->noise = make_noise(driver->run);
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = argv[1];
  options.create = TRUE;
  options.segment_bytes_max = 8 << 20; /* small, so that kills hit rolls and flushes too */
  /* What waits is often less and often more: both ways, one after the other. The mistake of not waiting for the sync
   * loses most in the way of the write-ahead log: what goes in bulk is on disk when it counts as written. */
  options.bulk_bytes_min = driver->ack == LOG_WRITE_SYNCED ? 32 << 10 : G_MAXINT64;
  options.write_buffer_bytes = 1 << 20;
  options.wal_bytes_max = 8 << 20;
  options.time_index_bytes = 64 << 10;
  g_autoptr(Failure) failure = log_store_open(&options, &driver->store);
  if (failure) {
    fprintf(stderr, "crash_driver: %s\n", failure_message(failure));
    return 1;
  }
  for (guint s = 0; s < SHARDS; s++) {
    driver->loops[s] = loop_new("shard", 1024);
    loop_start(driver->loops[s]);
  }
  for (guint i = 0; i < CRASH_LOGS; i++) {
    DrivenLog *log = &driver->logs[i];
    *log = (DrivenLog){.driver = driver, .id = i + 1, .loop = driver->loops[i % SHARDS]};
    log->random = g_rand_new_with_seed((guint32)(driver->run * 100 + i));
    log_hot_init(&log->hot);
  }
  failure = log_store_recover(driver->store, recovered, driver);
  INVARIANT(!failure, "the parent verified the store before");
  for (guint i = 0; i < CRASH_LOGS; i++)
    loop_call(driver->logs[i].loop, start_log, &driver->logs[i]);
  for (;;)
    pause();
}
