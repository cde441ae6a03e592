/* See raft_db.h.
 *
 * Recovery mode is "tolerate corrupted tail" (0): the default opens with synced records silently gone after one flipped
 * bit. Even so it takes a damaged end of the write-ahead log for a write that was torn; what tells those apart is
 * note_file.h. Every read checks the checksums of RocksDB's blocks, and write-ahead logs that were synced and are gone
 * are damage to it. Failure modes: what can't be read is a Failure; a refused write ends the process. */
#include "storage/rocks/raft/raft_db.h"

#include <string.h>

#include "services/base/invariant.h"
#include "storage/log/crc32c.h"
#include "storage/rocks/raft/disk.h"
#include "storage/rocks/refusal.h"

#define WRITE_BUFFER_BYTES ((gsize)8 * 1024 * 1024)
#define CRC_BYTES 4
#define RECOVERY_TOLERATE_CORRUPTED_TAIL 0
#define INFO_LOG_WARNINGS 2

struct RaftDb {
  char *path;
  rocksdb_t *db;
  rocksdb_options_t *options;
  rocksdb_readoptions_t *read;
  rocksdb_writeoptions_t *write; /* synced */
};

/* ---- Failures ---- */

Failure *raft_db_damaged(const char *path, const char *what, ...) {
  va_list args;
  va_start(args, what);
  g_autofree char *sentence = g_strdup_vprintf(what, args);
  va_end(args);
  return failure_new(FAILURE(CORRUPT_LOG),
                     "The controller's folder %s is damaged: %s. A controller never votes with half a log: remove this "
                     "one from the cluster, put the folder aside, and add the controller again with an empty folder. "
                     "The only controller of a cluster needs a copy of its folder.",
                     path, sentence);
}

/* RocksDB's error as a failure; @error is freed. Opening writes too, and nobody shall throw a folder away because a
 * write was refused: that ends the process as it does later. */
static Failure *read_failure(const RaftDb *db, char *error) {
  if (rocks_is_refusal(error))
    raft_disk_die(db->path, error);
  Failure *failure = raft_db_damaged(db->path, "RocksDB says: %s", error);
  rocksdb_free(error);
  return failure;
}

/* ---- Opening ---- */

gboolean raft_db_exists(const char *path) {
  g_autofree char *current = g_build_filename(path, "CURRENT", NULL);
  return g_file_test(current, G_FILE_TEST_EXISTS);
}

static Failure *open_failure(const RaftDb *db, char *error) {
  if (!strstr(error, "lock file") && !strstr(error, "lock hold")) /* not "block" */
    return read_failure(db, error);
  rocksdb_free(error);
  return failure_new(FAILURE(DUPLICATE_ID),
                     "Another process uses the folder %s. Stop it first, or give this controller a folder of its own.",
                     db->path);
}

static rocksdb_options_t *options_new(gboolean create) {
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(options, create);
  rocksdb_options_set_paranoid_checks(options, 1);
  rocksdb_options_set_wal_recovery_mode(options, RECOVERY_TOLERATE_CORRUPTED_TAIL);
  rocksdb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
  rocksdb_options_set_max_open_files(options, 64);
  rocksdb_options_set_keep_log_file_num(options, 2);
  rocksdb_options_set_info_log_level(options, INFO_LOG_WARNINGS);
  rocksdb_options_set_stats_dump_period_sec(options, 0);
  rocksdb_options_set_stats_persist_period_sec(options, 0);
  rocksdb_options_set_compression(options, rocksdb_no_compression);
  rocksdb_options_t *with_text = rocksdb_options_create(); /* for what the C API has no function for */
  char *error = NULL;
  rocksdb_get_options_from_string(options, "track_and_verify_wals_in_manifest=true", with_text, &error);
  INVARIANT(!error, "RocksDB knows its own options");
  rocksdb_options_destroy(options);
  return with_text;
}

Failure *raft_db_open(const char *path, gboolean create, RaftDb **ret_db) {
  g_autoptr(RaftDb) db = g_new0(RaftDb, 1);
  db->path = g_strdup(path);
  db->options = options_new(create);
  db->read = rocksdb_readoptions_create();
  rocksdb_readoptions_set_verify_checksums(db->read, 1);
  rocksdb_readoptions_set_fill_cache(db->read, 0);
  db->write = rocksdb_writeoptions_create();
  rocksdb_writeoptions_set_sync(db->write, 1);
  char *error = NULL;
  db->db = rocksdb_open(db->options, path, &error);
  if (error)
    return open_failure(db, error);
  *ret_db = g_steal_pointer(&db);
  return NULL;
}

void raft_db_close(RaftDb *db) {
  if (!db)
    return;
  if (db->db)
    rocksdb_close(db->db);
  rocksdb_readoptions_destroy(db->read);
  rocksdb_writeoptions_destroy(db->write);
  rocksdb_options_destroy(db->options);
  g_free(db->path);
  g_free(db);
}

gboolean raft_db_is_new(const RaftDb *db) {
  return rocksdb_get_latest_sequence_number(db->db) == 0;
}

/* ---- Reading ---- */

static guint32 checksum(const char *key, gsize key_len, gconstpointer value, gsize size) {
  return log_crc32c_extend(log_crc32c(key, key_len), value, size);
}

Failure *raft_db_check(const RaftDb *db, const char *name, const char *key, gsize key_len, const char *value,
                       gsize size, gsize *ret_size) {
  guint32 crc = 0;
  if (size >= CRC_BYTES)
    memcpy(&crc, value + size - CRC_BYTES, CRC_BYTES);
  if (size < CRC_BYTES || GUINT32_FROM_BE(crc) != checksum(key, key_len, value, size - CRC_BYTES))
    return raft_db_damaged(db->path, "the checksum of %s does not match", name);
  *ret_size = size - CRC_BYTES;
  return NULL;
}

Failure *raft_db_get(const RaftDb *db, const char *key, GBytes **ret_value) {
  char *error = NULL;
  gsize size;
  char *value = rocksdb_get(db->db, db->read, key, strlen(key), &size, &error);
  if (error)
    return read_failure(db, error);
  *ret_value = value ? g_bytes_new_with_free_func(value, size, rocksdb_free, value) : NULL;
  return NULL;
}

Failure *raft_db_get_checked(const RaftDb *db, const char *key, GBytes **ret_value) {
  g_autoptr(GBytes) raw = NULL;
  Failure *failure = raft_db_get(db, key, &raw);
  if (failure || !raw) {
    *ret_value = NULL;
    return failure;
  }
  gsize size, checked = 0;
  const char *data = g_bytes_get_data(raw, &size);
  failure = raft_db_check(db, key, key, strlen(key), data, size, &checked);
  if (!failure)
    *ret_value = g_bytes_new_from_bytes(raw, 0, checked);
  return failure;
}

Failure *raft_db_scan(const RaftDb *db, RaftDbVisit visit, gpointer data) {
  rocksdb_iterator_t *iter = rocksdb_create_iterator(db->db, db->read);
  Failure *failure = NULL;
  for (rocksdb_iter_seek_to_first(iter); !failure && rocksdb_iter_valid(iter); rocksdb_iter_next(iter)) {
    gsize key_len, size;
    const char *key = rocksdb_iter_key(iter, &key_len), *value = rocksdb_iter_value(iter, &size);
    failure = visit(key, key_len, value, size, data);
  }
  char *error = NULL;
  rocksdb_iter_get_error(iter, &error);
  rocksdb_iter_destroy(iter);
  if (!error)
    return failure;
  failure_free(failure); /* it comes of what could not be read */
  return read_failure(db, error);
}

/* ---- Writing ---- */

void raft_db_put_checked(rocksdb_writebatch_t *batch, const char *key, GBytes *value) {
  gsize size, key_len = strlen(key);
  const void *data = g_bytes_get_data(value, &size);
  guint32 crc = GUINT32_TO_BE(checksum(key, key_len, data, size));
  const char *keys[] = {key}, *values[] = {data, (const char *)&crc};
  const gsize key_lens[] = {key_len}, value_lens[] = {size, CRC_BYTES};
  rocksdb_writebatch_putv(batch, 1, keys, key_lens, 2, values, value_lens);
}

void raft_db_commit(RaftDb *db, rocksdb_writebatch_t *batch) {
  char *error = NULL;
  rocksdb_write(db->db, db->write, batch, &error);
  rocksdb_writebatch_destroy(batch);
  if (error)
    raft_disk_die(db->path, error);
}
