#include "tests/crash/crash_check.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#include "storage/rocks/log_store.h"

/* A batch, as acknowledged or as found. */
typedef struct {
  gint64 offset;
  guint32 record_count, crc;
  guint64 unique;
} Seen;

typedef struct {
  guint64 id;
  gint64 end;            /* as recovery told it */
  gboolean told;         /* by recovery */
  GArray *acked, *found; /* of Seen, ascending by offset */
  gboolean is_cut;       /* since the last verification: look at all of it again */
} CheckedLog;

struct CrashCheck {
  CheckedLog logs[CRASH_LOGS];
  GHashTable *uniques; /* names of all batches that were found: nothing comes twice, in any log */
  guint64 acked, logged_groups, bulk_groups;
};

CrashCheck *crash_check_new(void) {
  CrashCheck *check = g_new0(CrashCheck, 1);
  check->uniques = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  for (guint i = 0; i < CRASH_LOGS; i++)
    check->logs[i] = (CheckedLog){.id = i + 1,
                                  .acked = g_array_new(FALSE, FALSE, sizeof(Seen)),
                                  .found = g_array_new(FALSE, FALSE, sizeof(Seen))};
  return check;
}

void crash_check_free(CrashCheck *check) {
  if (!check)
    return;
  for (guint i = 0; i < CRASH_LOGS; i++) {
    g_array_unref(check->logs[i].acked);
    g_array_unref(check->logs[i].found);
  }
  g_hash_table_unref(check->uniques);
  g_free(check);
}

/* Nothing is promised any more about batches that reach beyond @offset. */
static void forget_acked(CheckedLog *log, gint64 offset) {
  while (log->acked->len) {
    const Seen *last = &g_array_index(log->acked, Seen, log->acked->len - 1);
    if (last->offset + last->record_count <= offset)
      return;
    g_array_set_size(log->acked, log->acked->len - 1);
  }
}

void crash_check_event(CrashCheck *check, const CrashEvent *event) {
  if (event->kind == CRASH_GROUPS) { /* two loops may tell in the wrong order */
    check->logged_groups = MAX(check->logged_groups, (guint64)event->offset);
    check->bulk_groups = MAX(check->bulk_groups, event->unique);
    return;
  }
  CheckedLog *log = &check->logs[event->log_id - 1];
  if (event->kind != CRASH_ACKED) {
    log->is_cut = TRUE;
    forget_acked(log, event->offset);
    return;
  }
  Seen seen = {event->offset, event->record_count, event->crc, event->unique};
  g_array_append_val(log->acked, seen);
  check->acked++;
}

/* ---- verifying ---- */

static void blame(CrashReport *report, guint64 *counter, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void blame(CrashReport *report, guint64 *counter, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (!report->first[0])
    g_vsnprintf(report->first, sizeof report->first, format, args);
  va_end(args);
  ++*counter;
}

typedef struct {
  CrashCheck *check;
  CrashReport *report;
  LogStore *store;
  Loop *loop;
} Verifying;

static void recovered(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  Verifying *verifying = data;
  if (log_id < 1 || log_id > CRASH_LOGS) {
    blame(verifying->report, &verifying->report->faults, "a log nobody made");
    return;
  }
  CheckedLog *log = &verifying->check->logs[log_id - 1];
  log->told = TRUE;
  log->end = hot->log_end_offset;
  if (failure)
    blame(verifying->report, &verifying->report->faults, "recovery: %s", failure_message(failure));
}

typedef struct {
  LogRead read;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean done;
} WaitingRead;

static void read_done(LogRead *read) {
  WaitingRead *waiting = (WaitingRead *)read;
  pthread_mutex_lock(&waiting->mutex);
  waiting->done = TRUE;
  pthread_cond_signal(&waiting->cond);
  pthread_mutex_unlock(&waiting->mutex);
}

static void read_some(Verifying *verifying, const CheckedLog *log, gint64 from, WaitingRead *waiting) {
  *waiting = (WaitingRead){.read = {.log_id = log->id,
                                    .from_offset = from,
                                    .end_offset = log->end,
                                    .max_bytes = 1 << 20,
                                    .loop = verifying->loop,
                                    .done = read_done},
                           .mutex = PTHREAD_MUTEX_INITIALIZER,
                           .cond = PTHREAD_COND_INITIALIZER};
  INVARIANT(log_store_read(verifying->store, &waiting->read), "one read at a time fits");
  pthread_mutex_lock(&waiting->mutex);
  while (!waiting->done)
    pthread_cond_wait(&waiting->cond, &waiting->mutex);
  pthread_mutex_unlock(&waiting->mutex);
}

static void found_batch(Verifying *verifying, CheckedLog *log, const LogBatch *batch, gint64 next) {
  CrashReport *report = verifying->report;
  gsize len;
  const guint8 *payload = g_bytes_get_data(batch->records, &len);
  Seen seen = {batch->base_offset, batch->record_count, batch->crc32c, 0};
  if (len >= sizeof seen.unique)
    memcpy(&seen.unique, payload, sizeof seen.unique);
  if (seen.offset != next)
    blame(report, &report->faults, "log %d has a gap: offset %d is followed by %d", (int)log->id, (int)next,
          (int)seen.offset);
  if (!g_hash_table_add(verifying->check->uniques, g_memdup2(&seen.unique, sizeof seen.unique)))
    blame(report, &report->faults, "log %d holds a batch twice, now at offset %d", (int)log->id, (int)seen.offset);
  g_array_append_val(log->found, seen);
}

static void scan(Verifying *verifying, CheckedLog *log) {
  CrashReport *report = verifying->report;
  gint64 next = 0;
  if (log->found->len) {
    const Seen *last = &g_array_index(log->found, Seen, log->found->len - 1);
    next = last->offset + last->record_count;
  }
  while (next < log->end) {
    WaitingRead waiting;
    read_some(verifying, log, next, &waiting);
    guint count = waiting.read.batches->len;
    for (guint i = 0; i < count; i++) {
      const LogBatch *batch = LOG_BATCH_AT(waiting.read.batches, i);
      found_batch(verifying, log, batch, next);
      next = log_batch_next_offset(batch);
    }
    if (waiting.read.failure)
      blame(report, &report->faults, "read: %s", failure_message(waiting.read.failure));
    else if (count == 0)
      blame(report, &report->faults, "log %d gives nothing from offset %d, though it ends at %d", (int)log->id,
            (int)next, (int)log->end);
    log_read_clear(&waiting.read);
    if (count == 0)
      return;
  }
}

static int compare_seen(gconstpointer a, gconstpointer b) {
  const Seen *left = a, *right = b;
  return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static void check_acked(Verifying *verifying, CheckedLog *log) {
  CrashReport *report = verifying->report;
  for (guint i = 0; i < log->acked->len; i++) {
    const Seen *acked = &g_array_index(log->acked, Seen, i);
    guint at;
    const Seen *found =
        g_array_binary_search(log->found, acked, compare_seen, &at) ? &g_array_index(log->found, Seen, at) : NULL;
    if (!found)
      blame(report, &report->missing, "log %d: acknowledged batch at offset %d is missing (log ends at %d)",
            (int)log->id, (int)acked->offset, (int)log->end);
    else if (found->unique != acked->unique || found->crc != acked->crc || found->record_count != acked->record_count)
      blame(report, &report->missing, "log %d: another batch than the acknowledged one at offset %d", (int)log->id,
            (int)acked->offset);
  }
}

/* Forget what was found, to find it anew. */
static void forget_found(CrashCheck *check, CheckedLog *log) {
  for (guint i = 0; i < log->found->len; i++)
    g_hash_table_remove(check->uniques, &g_array_index(log->found, Seen, i).unique);
  g_array_set_size(log->found, 0);
}

static void verify_store(Verifying *verifying, gboolean all) {
  CrashReport *report = verifying->report;
  g_autoptr(Failure) failure = log_store_recover(verifying->store, recovered, verifying);
  if (failure)
    blame(report, &report->faults, "recovery: %s", failure_message(failure));
  for (guint i = 0; i < CRASH_LOGS; i++) {
    CheckedLog *log = &verifying->check->logs[i];
    if (all || log->is_cut)
      forget_found(verifying->check, log);
    log->is_cut = FALSE;
    if (log->told)
      scan(verifying, log);
    check_acked(verifying, log);
    report->found += log->found->len;
  }
}

void crash_check_verify(CrashCheck *check, const char *folder, gboolean all, CrashReport *ret_report) {
  *ret_report =
      (CrashReport){.acked = check->acked, .logged_groups = check->logged_groups, .bulk_groups = check->bulk_groups};
  check->acked = check->logged_groups = check->bulk_groups = 0;
  for (guint i = 0; i < CRASH_LOGS; i++) {
    check->logs[i].told = FALSE;
    check->logs[i].end = 0;
  }
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = folder;
  Verifying verifying = {.check = check, .report = ret_report};
  g_autoptr(Failure) failure = log_store_open(&options, &verifying.store);
  if (failure) {
    blame(ret_report, &ret_report->faults, "the store does not open: %s", failure_message(failure));
    return;
  }
  verifying.loop = loop_new("verify", 16);
  loop_start(verifying.loop);
  ret_report->was_clean = log_store_was_clean(verifying.store);
  LogStoreStats stats;
  log_store_stats(verifying.store, &stats);
  ret_report->surplus_cuts = stats.surplus_cuts;
  verify_store(&verifying, all);
  log_store_close(verifying.store);
  loop_free(verifying.loop);
}
