/* The controller's folder; see raft_log.h.
 *
 * Layout, in RocksDB's default column family; numbers are big endian:
 *   "format"       u32: RAFT_LOG_FORMAT
 *   "node"         u64: id of the controller
 *   "state"        RaftHardState
 *   "snapshot"     RaftSnapshotMeta;  "snapshot-data": MetadataSnapshot
 *   "e" index:u64  RaftEntry
 * Each value but the first two is followed by its CRC-32C, u32, over key and value.
 *
 * Invariants:
 *  1. Entries lie in [first, next) without gaps, and first = snapshot's index + 1 once there is one.
 *  2. Hard state and entries of one write, a snapshot and the removal of its entries: all or nothing, by one
 * WriteBatch.
 *  3. Nothing is acknowledged before its WriteBatch was synced.
 *
 * Recovery mode is "tolerate corrupted tail" (0): the default opens with synced records silently gone after one flipped
 * bit. Owning thread: whoever holds it, one at a time. Failure modes: bytes that don't check are a Failure of open and
 * load; an error of write or sync ends the process. */
#include "storage/rocks/raft/raft_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "services/base/invariant.h"
#include "storage/log/crc32c.h"

#define WRITE_BUFFER_BYTES ((gsize)8 * 1024 * 1024)
#define CRC_BYTES 4
#define RECOVERY_TOLERATE_CORRUPTED_TAIL 0

#define KEY_FORMAT "format"
#define KEY_NODE "node"
#define KEY_STATE "state"
#define KEY_SNAPSHOT "snapshot"
#define KEY_SNAPSHOT_DATA "snapshot-data"
#define ENTRY_PREFIX 'e'
#define ENTRY_KEY_BYTES 9

struct RaftLogStore {
  char *path;
  rocksdb_t *db;
  rocksdb_options_t *options;
  rocksdb_readoptions_t *read;
  rocksdb_writeoptions_t *write; /* synced */
  guint64 first, next;           /* entries in [first, next), as of load; of an empty log before it */
};

/* ---- Keys and values ---- */

static void entry_key(guint64 index, char ret_key[ENTRY_KEY_BYTES]) {
  guint64 big = GUINT64_TO_BE(index);
  ret_key[0] = ENTRY_PREFIX;
  memcpy(ret_key + 1, &big, sizeof big);
}

static guint32 checksum(const char *key, gsize key_len, gconstpointer value, gsize size) {
  return log_crc32c_extend(log_crc32c(key, key_len), value, size);
}

/* Put a value with its checksum. */
static void put(rocksdb_writebatch_t *batch, const char *key, gsize key_len, GBytes *value) {
  gsize size;
  const void *data = g_bytes_get_data(value, &size);
  guint32 crc = GUINT32_TO_BE(checksum(key, key_len, data, size));
  const char *keys[] = {key}, *values[] = {data, (const char *)&crc};
  const gsize key_lens[] = {key_len}, value_lens[] = {size, CRC_BYTES};
  rocksdb_writebatch_putv(batch, 1, keys, key_lens, 2, values, value_lens);
}

static Failure *damaged(const RaftLogStore *store, const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG),
                     "The controller's folder %s is damaged: %s. Keep the folder, and restore it from a copy; never "
                     "start a controller on half a log.",
                     store->path, what);
}

/* What lies in front of the checksum, or CORRUPT_LOG. @name: for the sentence. */
static Failure *check_value(const RaftLogStore *store, const char *name, const char *key, gsize key_len,
                            const char *value, gsize size, gsize *ret_size) {
  guint32 crc = 0;
  if (size >= CRC_BYTES)
    memcpy(&crc, value + size - CRC_BYTES, CRC_BYTES);
  if (size < CRC_BYTES || GUINT32_FROM_BE(crc) != checksum(key, key_len, value, size - CRC_BYTES)) {
    g_autofree char *what = g_strdup_printf("the checksum of %s does not match", name);
    return damaged(store, what);
  }
  *ret_size = size - CRC_BYTES;
  return NULL;
}

/* ---- Reading ---- */

/* RocksDB's error as a failure; @error is freed. */
static Failure *read_failure(const RaftLogStore *store, char *error) {
  g_autofree char *what = g_strdup_printf("RocksDB says: %s", error);
  rocksdb_free(error);
  return damaged(store, what);
}

/* A value as it lies there, or NULL when there is none. */
static Failure *get_raw(const RaftLogStore *store, const char *key, GBytes **ret_value) {
  char *error = NULL;
  gsize size;
  char *value = rocksdb_get(store->db, store->read, key, strlen(key), &size, &error);
  if (error)
    return read_failure(store, error);
  *ret_value = value ? g_bytes_new_with_free_func(value, size, rocksdb_free, value) : NULL;
  return NULL;
}

/* A value without its checksum, or NULL when there is none. */
static Failure *get(const RaftLogStore *store, const char *key, GBytes **ret_value) {
  g_autoptr(GBytes) raw = NULL;
  Failure *failure = get_raw(store, key, &raw);
  if (failure || !raw) {
    *ret_value = NULL;
    return failure;
  }
  gsize size, checked = 0;
  const char *data = g_bytes_get_data(raw, &size);
  failure = check_value(store, key, key, strlen(key), data, size, &checked);
  if (!failure)
    *ret_value = g_bytes_new_from_bytes(raw, 0, checked);
  return failure;
}

Failure *raft_log_store_is_empty(RaftLogStore *store, gboolean *ret_empty) {
  g_autoptr(GBytes) state = NULL;
  Failure *failure = get(store, KEY_STATE, &state);
  if (!failure)
    *ret_empty = state == NULL;
  return failure;
}

static Failure *load_snapshot(const RaftLogStore *store, RaftSnapshotMeta *ret_meta, GBytes **ret_snapshot) {
  g_autoptr(GBytes) meta = NULL, data = NULL;
  Failure *failure = get(store, KEY_SNAPSHOT, &meta);
  if (!failure && meta)
    failure = get(store, KEY_SNAPSHOT_DATA, &data);
  if (failure || !meta)
    return failure;
  gsize size;
  const void *bytes = g_bytes_get_data(meta, &size);
  failure = raft_snapshot_meta_decode(bytes, size, ret_meta);
  if (failure)
    return failure;
  gsize data_size = 0;
  const void *data_bytes = data ? g_bytes_get_data(data, &data_size) : NULL;
  if (!data || data_size != ret_meta->size_bytes || log_crc32c(data_bytes, data_size) != ret_meta->crc32c)
    return damaged(store, "the snapshot is not what its description says");
  *ret_snapshot = g_steal_pointer(&data);
  return NULL;
}

static Failure *load_state(const RaftLogStore *store, RaftHardState *ret_state) {
  g_autoptr(GBytes) value = NULL;
  Failure *failure = get(store, KEY_STATE, &value);
  if (failure || !value)
    return failure;
  gsize size;
  const void *data = g_bytes_get_data(value, &size);
  return raft_hard_state_decode(data, size, ret_state);
}

/* The entry that the iterator stands on. */
static Failure *load_entry(const RaftLogStore *store, const rocksdb_iterator_t *iter, RaftEntry **ret_entry) {
  gsize key_len, size, checked = 0;
  const char *key = rocksdb_iter_key(iter, &key_len), *value = rocksdb_iter_value(iter, &size);
  Failure *failure = check_value(store, "an entry", key, key_len, value, size, &checked);
  if (failure)
    return failure;
  g_autoptr(RaftEntry) entry = NULL;
  failure = raft_entry_decode(value, checked, &entry);
  if (failure)
    return failure;
  char expected[ENTRY_KEY_BYTES];
  entry_key(entry->index, expected);
  if (key_len != sizeof expected || memcmp(key, expected, sizeof expected) != 0)
    return damaged(store, "an entry lies at the place of another");
  *ret_entry = g_steal_pointer(&entry);
  return NULL;
}

static Failure *load_entries(const RaftLogStore *store, GPtrArray *entries) {
  rocksdb_iterator_t *iter = rocksdb_create_iterator(store->db, store->read);
  const char prefix = ENTRY_PREFIX;
  Failure *failure = NULL;
  for (rocksdb_iter_seek(iter, &prefix, 1); !failure && rocksdb_iter_valid(iter); rocksdb_iter_next(iter)) {
    gsize key_len;
    const char *key = rocksdb_iter_key(iter, &key_len);
    if (key_len == 0 || *key != ENTRY_PREFIX || key_len != ENTRY_KEY_BYTES)
      break; /* behind the entries */
    RaftEntry *entry = NULL;
    failure = load_entry(store, iter, &entry);
    if (!failure)
      g_ptr_array_add(entries, entry);
  }
  char *error = NULL;
  rocksdb_iter_get_error(iter, &error);
  rocksdb_iter_destroy(iter);
  if (!error)
    return failure;
  failure_free(failure);
  return read_failure(store, error);
}

Failure *raft_log_store_load(RaftLogStore *store, RaftStart *ret_start, GBytes **ret_snapshot) {
  RaftStart start = {0};
  g_autoptr(GPtrArray) entries = raft_entries_new();
  g_autoptr(GBytes) snapshot = NULL;
  Failure *failure = load_snapshot(store, &start.snapshot, &snapshot);
  if (!failure)
    failure = load_state(store, &start.hard_state);
  if (!failure)
    failure = load_entries(store, entries);
  if (failure)
    return failure;
  const RaftEntry *first = entries->len ? entries->pdata[0] : NULL;
  if (first && first->index != start.snapshot.index + 1)
    return damaged(store, "entries behind the snapshot are missing");
  store->first = start.snapshot.index + 1;
  store->next = store->first + entries->len;
  start.entries = g_steal_pointer(&entries);
  *ret_start = start;
  *ret_snapshot = g_steal_pointer(&snapshot);
  return NULL;
}

void raft_log_start_clear(RaftStart *start) {
  g_clear_pointer(&start->entries, g_ptr_array_unref);
}

/* ---- Writing ---- */

/* Carry out one synced write; @batch is freed. */
static void commit(RaftLogStore *store, rocksdb_writebatch_t *batch) {
  char *error = NULL;
  rocksdb_write(store->db, store->write, batch, &error);
  rocksdb_writebatch_destroy(batch);
  if (!error)
    return;
  fprintf(stderr,
          "The controller's log in %s could not be written: %s. What is on the disk is unknown now, so this process "
          "ends; it will read its log anew when it is started again. Check the disk first.\n",
          store->path, error);
  _exit(RAFT_LOG_EXIT_STATUS);
}

void raft_log_store_write(RaftLogStore *store, const RaftHardState *state, const GPtrArray *entries) {
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  g_autoptr(GBytes) state_bytes = raft_hard_state_encode(state);
  put(batch, KEY_STATE, strlen(KEY_STATE), state_bytes);
  guint64 next = store->next;
  for (guint i = 0; i < entries->len; i++) {
    const RaftEntry *entry = entries->pdata[i];
    INVARIANT(entry->index >= store->first && entry->index <= store->next, "entries are written without gaps");
    char key[ENTRY_KEY_BYTES];
    entry_key(entry->index, key);
    g_autoptr(GBytes) bytes = raft_entry_encode(entry);
    put(batch, key, sizeof key, bytes);
    store->next = entry->index + 1;
  }
  for (guint64 index = store->next; index < next; index++) { /* what the new entries replace, and lies behind them */
    char key[ENTRY_KEY_BYTES];
    entry_key(index, key);
    rocksdb_writebatch_delete(batch, key, sizeof key);
  }
  commit(store, batch);
}

void raft_log_store_put_snapshot(RaftLogStore *store, const RaftSnapshotMeta *meta, GBytes *snapshot) {
  INVARIANT(meta->index + 1 >= store->first && meta->index < store->next, "a snapshot holds entries of the log");
  gsize size;
  const void *data = g_bytes_get_data(snapshot, &size);
  RaftSnapshotMeta described = *meta;
  described.size_bytes = size;
  described.crc32c = log_crc32c(data, size);
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  g_autoptr(GBytes) meta_bytes = raft_snapshot_meta_encode(&described);
  put(batch, KEY_SNAPSHOT, strlen(KEY_SNAPSHOT), meta_bytes);
  put(batch, KEY_SNAPSHOT_DATA, strlen(KEY_SNAPSHOT_DATA), snapshot);
  for (guint64 index = store->first; index <= meta->index; index++) {
    char key[ENTRY_KEY_BYTES];
    entry_key(index, key);
    rocksdb_writebatch_delete(batch, key, sizeof key);
  }
  store->first = meta->index + 1;
  commit(store, batch);
}

/* ---- Opening and closing ---- */

gboolean raft_log_store_exists(const char *path) {
  g_autofree char *current = g_build_filename(path, "CURRENT", NULL);
  return g_file_test(current, G_FILE_TEST_EXISTS);
}

static Failure *open_failure(const char *path, char *error) {
  gboolean locked = strstr(error, "LOCK") || strstr(error, "lock ");
  Failure *failure =
      locked ? failure_new(FAILURE(DUPLICATE_ID),
                           "Another process uses the folder %s. Stop it first, or give this controller a folder of its "
                           "own.",
                           path)
             : failure_new(FAILURE(CORRUPT_LOG), "The controller's folder %s can't be opened: %s.", path, error);
  rocksdb_free(error);
  return failure;
}

static rocksdb_options_t *options_new(gboolean create) {
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(options, create);
  rocksdb_options_set_wal_recovery_mode(options, RECOVERY_TOLERATE_CORRUPTED_TAIL);
  rocksdb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
  rocksdb_options_set_max_open_files(options, 64);
  rocksdb_options_set_keep_log_file_num(options, 2);
  rocksdb_options_set_info_log_level(options, 2); /* warnings */
  return options;
}

/* A new folder: say whose it is. */
static void write_identity(RaftLogStore *store, guint64 node_id) {
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  guint32 format = GUINT32_TO_BE(RAFT_LOG_FORMAT);
  guint64 node = GUINT64_TO_BE(node_id);
  rocksdb_writebatch_put(batch, KEY_FORMAT, strlen(KEY_FORMAT), (const char *)&format, sizeof format);
  rocksdb_writebatch_put(batch, KEY_NODE, strlen(KEY_NODE), (const char *)&node, sizeof node);
  commit(store, batch);
}

static Failure *check_node(const RaftLogStore *store, guint64 node_id) {
  g_autoptr(GBytes) value = NULL;
  Failure *failure = get_raw(store, KEY_NODE, &value);
  if (failure)
    return failure;
  guint64 node = 0;
  if (!value || g_bytes_get_size(value) != sizeof node)
    return damaged(store, "it does not say which controller it belongs to");
  memcpy(&node, g_bytes_get_data(value, NULL), sizeof node);
  node = GUINT64_FROM_BE(node);
  if (node == node_id)
    return NULL;
  return failure_new(FAILURE(DUPLICATE_ID),
                     "The folder %s belongs to the controller %" G_GUINT64_FORMAT ", and this is the controller "
                     "%" G_GUINT64_FORMAT ". Start each with its own id and folder.",
                     store->path, node, node_id);
}

/* An existing folder: is it one that this version can use, and this controller's? */
static Failure *check_identity(RaftLogStore *store, guint64 node_id, gboolean create) {
  g_autoptr(GBytes) value = NULL;
  Failure *failure = get_raw(store, KEY_FORMAT, &value);
  if (failure)
    return failure;
  if (!value && create && rocksdb_get_latest_sequence_number(store->db) == 0) {
    write_identity(store, node_id);
    return NULL;
  }
  guint32 format = 0;
  if (!value || g_bytes_get_size(value) != sizeof format)
    return failure_new(FAILURE(INVALID_FIELD),
                       "The folder %s holds a RocksDB that is not a controller's. Give the "
                       "controller a folder of its own.",
                       store->path);
  memcpy(&format, g_bytes_get_data(value, NULL), sizeof format);
  format = GUINT32_FROM_BE(format);
  if (format > RAFT_LOG_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "The controller's folder %s has format %u, and this version knows formats up to %d: it was "
                       "written by a newer Milena. Start that version.",
                       store->path, format, RAFT_LOG_FORMAT);
  if (format < RAFT_LOG_FORMAT)
    return damaged(store, "its format never existed");
  return check_node(store, node_id);
}

Failure *raft_log_store_open(const char *path, gboolean create, guint64 node_id, RaftLogStore **ret_store) {
  if (!create && !raft_log_store_exists(path))
    return failure_new(FAILURE(INVALID_FIELD), "The folder %s holds no controller's log.", path);
  if (create && g_mkdir_with_parents(path, 0700) != 0)
    return failure_new(FAILURE(INVALID_FIELD), "The folder %s can't be made: %s.", path, g_strerror(errno));
  g_autoptr(RaftLogStore) store = g_new0(RaftLogStore, 1);
  store->path = g_strdup(path);
  store->first = store->next = 1;
  store->options = options_new(create);
  store->read = rocksdb_readoptions_create();
  store->write = rocksdb_writeoptions_create();
  rocksdb_writeoptions_set_sync(store->write, 1);
  char *error = NULL;
  store->db = rocksdb_open(store->options, path, &error);
  if (error)
    return open_failure(path, error);
  Failure *failure = check_identity(store, node_id, create);
  if (!failure)
    *ret_store = g_steal_pointer(&store);
  return failure;
}

void raft_log_store_close(RaftLogStore *store) {
  if (!store)
    return;
  if (store->db)
    rocksdb_close(store->db);
  rocksdb_readoptions_destroy(store->read);
  rocksdb_writeoptions_destroy(store->write);
  rocksdb_options_destroy(store->options);
  g_free(store->path);
  g_free(store);
}
