/* The tail cache.
 *
 * Each cached batch is an entry in two orders: in the queue of all entries by age, and in its log's ring by offset.
 * Since a log's batches come in order, the oldest entry of all is always the first of its log.
 *
 * Invariants: a log in the table has at least one entry; a log's entries follow each other without a gap; `bytes` is
 * the sum of entry_bytes and at most bytes_max between calls. Owned by one thread. Nothing here can fail: what does not
 * fit is not cached. */
#include "storage/log/tail_cache.h"

#include "services/base/invariant.h"

#define RING_CAPACITY_MIN 4

typedef struct CachedLog CachedLog;

typedef struct {
  LogBatch batch;
  CachedLog *log;
  GList by_age; /* data is this entry */
} Entry;

struct CachedLog {
  guint64 log_id;
  Entry **ring;
  guint head, count, capacity; /* capacity is a power of two */
};

struct LogTailCache {
  GHashTable *logs; /* log id → CachedLog, owned */
  GQueue by_age;    /* oldest first */
  gsize bytes, bytes_max;
};

static void cached_log_free(gpointer data) {
  CachedLog *log = data;
  INVARIANT(log->count == 0, "entries go before their log");
  g_free(log->ring);
  g_free(log);
}

LogTailCache *log_tail_cache_new(gsize bytes_max) {
  LogTailCache *cache = g_new0(LogTailCache, 1);
  cache->logs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, cached_log_free);
  g_queue_init(&cache->by_age);
  cache->bytes_max = bytes_max;
  return cache;
}

static Entry *entry_at(const CachedLog *log, guint i) {
  return log->ring[(log->head + i) & (log->capacity - 1)];
}

static gsize entry_bytes(const LogBatch *batch) {
  return sizeof(Entry) + sizeof(Entry *) + log_batch_payload_bytes(batch);
}

/* Unlink from the queue of all and free; the caller has taken it out of its log's ring. */
static void entry_release(LogTailCache *cache, Entry *entry) {
  g_queue_unlink(&cache->by_age, &entry->by_age);
  cache->bytes -= entry_bytes(&entry->batch);
  log_batch_clear(&entry->batch);
  g_free(entry);
}

static void pop_first(LogTailCache *cache, CachedLog *log) {
  Entry *entry = entry_at(log, 0);
  log->head = (log->head + 1) & (log->capacity - 1);
  log->count--;
  entry_release(cache, entry);
}

static void pop_last(LogTailCache *cache, CachedLog *log) {
  Entry *entry = entry_at(log, log->count - 1);
  log->count--;
  entry_release(cache, entry);
}

static void remove_if_empty(LogTailCache *cache, CachedLog *log) {
  if (log->count == 0)
    g_hash_table_remove(cache->logs, &log->log_id);
}

void log_tail_cache_free(LogTailCache *cache) {
  if (cache == NULL)
    return;
  while (!g_queue_is_empty(&cache->by_age))
    pop_first(cache, ((Entry *)cache->by_age.head->data)->log);
  g_hash_table_unref(cache->logs);
  g_free(cache);
}

static CachedLog *find(const LogTailCache *cache, guint64 log_id) {
  return g_hash_table_lookup(cache->logs, &log_id);
}

static void make_room(LogTailCache *cache, gsize bytes) {
  while (cache->bytes_max - cache->bytes < bytes) {
    Entry *oldest = cache->by_age.head->data;
    CachedLog *log = oldest->log;
    INVARIANT(entry_at(log, 0) == oldest, "the oldest entry is the first of its log");
    pop_first(cache, log);
    remove_if_empty(cache, log);
  }
}

static void ring_push(CachedLog *log, Entry *entry) {
  if (log->count == log->capacity) {
    guint capacity = MAX(log->capacity * 2, RING_CAPACITY_MIN);
    Entry **ring = g_new(Entry *, capacity);
    for (guint i = 0; i < log->count; i++)
      ring[i] = entry_at(log, i);
    g_free(log->ring);
    log->ring = ring;
    log->head = 0;
    log->capacity = capacity;
  }
  log->ring[(log->head + log->count) & (log->capacity - 1)] = entry;
  log->count++;
}

static gint64 cached_log_end(const CachedLog *log) {
  return log_batch_next_offset(&entry_at(log, log->count - 1)->batch);
}

void log_tail_cache_add(LogTailCache *cache, guint64 log_id, const LogBatch *batch) {
  INVARIANT(batch->base_offset >= 0, "only a stamped batch has a place in a log");
  CachedLog *log = find(cache, log_id);
  gsize bytes = entry_bytes(batch);
  if (bytes > cache->bytes_max || (log != NULL && cached_log_end(log) != batch->base_offset)) {
    log_tail_cache_drop(cache, log_id);
    if (bytes > cache->bytes_max)
      return;
  }
  make_room(cache, bytes);
  /* Looked up again: making room may have taken the last of this very log. */
  log = find(cache, log_id);
  if (log == NULL) {
    log = g_new0(CachedLog, 1);
    log->log_id = log_id;
    g_hash_table_insert(cache->logs, &log->log_id, log);
  }
  Entry *entry = g_new0(Entry, 1);
  log_batch_share(batch, &entry->batch);
  entry->log = log;
  entry->by_age.data = entry;
  g_queue_push_tail_link(&cache->by_age, &entry->by_age);
  ring_push(log, entry);
  cache->bytes += bytes;
}

/* Index of the last entry that begins at or before @offset; 0 when none does. */
static guint search(const CachedLog *log, gint64 offset) {
  guint low = 0, high = log->count;
  while (high - low > 1) {
    guint middle = low + (high - low) / 2;
    if (entry_at(log, middle)->batch.base_offset <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

guint log_tail_cache_lookup(LogTailCache *cache, guint64 log_id, gint64 from_offset, gint64 end_offset, gsize bytes_max,
                            GArray *array) {
  const CachedLog *log = find(cache, log_id);
  if (log == NULL || from_offset < entry_at(log, 0)->batch.base_offset || from_offset >= cached_log_end(log))
    return 0;
  guint given = 0;
  gsize bytes = 0;
  for (guint i = search(log, from_offset); i < log->count; i++, given++) {
    const LogBatch *batch = &entry_at(log, i)->batch;
    gsize payload = log_batch_payload_bytes(batch);
    if (log_batch_next_offset(batch) > end_offset || (given > 0 && payload > bytes_max - MIN(bytes, bytes_max)))
      break;
    bytes += payload;
    LogBatch copy;
    log_batch_share(batch, &copy);
    g_array_append_val(array, copy);
  }
  return given;
}

gboolean log_tail_cache_range(const LogTailCache *cache, guint64 log_id, gint64 *ret_first, gint64 *ret_end) {
  const CachedLog *log = find(cache, log_id);
  if (log == NULL)
    return FALSE;
  *ret_first = entry_at(log, 0)->batch.base_offset;
  *ret_end = cached_log_end(log);
  return TRUE;
}

void log_tail_cache_truncate(LogTailCache *cache, guint64 log_id, gint64 end_offset) {
  CachedLog *log = find(cache, log_id);
  if (log == NULL)
    return;
  while (log->count > 0 && cached_log_end(log) > end_offset)
    pop_last(cache, log);
  remove_if_empty(cache, log);
}

void log_tail_cache_drop_before(LogTailCache *cache, guint64 log_id, gint64 offset) {
  CachedLog *log = find(cache, log_id);
  if (log == NULL)
    return;
  while (log->count > 0 && log_batch_next_offset(&entry_at(log, 0)->batch) <= offset)
    pop_first(cache, log);
  remove_if_empty(cache, log);
}

void log_tail_cache_drop(LogTailCache *cache, guint64 log_id) {
  log_tail_cache_truncate(cache, log_id, G_MININT64);
}

gsize log_tail_cache_bytes(const LogTailCache *cache) {
  return cache->bytes;
}

guint log_tail_cache_batch_count(const LogTailCache *cache) {
  return g_queue_get_length((GQueue *)&cache->by_age);
}
