/* See raw.h. No state: each call opens and closes the store. */
#include "storage/rocks/raft/raw.h"

#include <rocksdb/c.h>

static rocksdb_t *open_raw(const char *path, rocksdb_options_t *options) {
  rocksdb_options_set_create_if_missing(options, 1);
  char *error = NULL;
  rocksdb_t *db = rocksdb_open(options, path, &error);
  rocksdb_free(error);
  return db;
}

gboolean raft_log_raw_put(const char *path, const char *key, gsize key_len, const char *value, gsize size) {
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_t *db = open_raw(path, options);
  rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
  char *error = NULL;
  if (db && value)
    rocksdb_put(db, write, key, key_len, value, size, &error);
  else if (db)
    rocksdb_delete(db, write, key, key_len, &error);
  gboolean ok = db && !error;
  rocksdb_free(error);
  rocksdb_writeoptions_destroy(write);
  if (db)
    rocksdb_close(db);
  rocksdb_options_destroy(options);
  return ok;
}

GBytes *raft_log_raw_get(const char *path, const char *key, gsize key_len) {
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_t *db = open_raw(path, options);
  rocksdb_readoptions_t *read = rocksdb_readoptions_create();
  char *error = NULL;
  gsize size = 0;
  char *value = db ? rocksdb_get(db, read, key, key_len, &size, &error) : NULL;
  rocksdb_free(error);
  rocksdb_readoptions_destroy(read);
  if (db)
    rocksdb_close(db);
  rocksdb_options_destroy(options);
  return value ? g_bytes_new_with_free_func(value, size, rocksdb_free, value) : NULL;
}
