#include "tests/unit/rocks/spoil.h"

#include <rocksdb/c.h>
#include <string.h>

#include "storage/log/key.h"
#include "storage/log/producers.h"
#include "tests/shim/shim.h"

static gboolean fail(char *error) {
  if (error)
    shim_fail(__FILE__, __LINE__, "%s", error);
  rocksdb_free(error);
  return error != NULL;
}

/* What is done to one column family. @name: of it. Returns how many entries it spoiled. */
typedef guint (*SpoilFunc)(rocksdb_t *db, rocksdb_column_family_handle_t *family, const char *name, guint64 log_id,
                           gint64 offset, char **error);

static void put(rocksdb_t *db, rocksdb_column_family_handle_t *family, const void *key, gsize key_len,
                const char *value, gsize len, char **error) {
  rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
  rocksdb_put_cf(db, options, family, key, key_len, value, len, error);
  rocksdb_writeoptions_destroy(options);
}

static guint spoil_producer(rocksdb_t *db, rocksdb_column_family_handle_t *family, const char *name, guint64 log_id,
                            gint64 offset, char **error) {
  (void)offset;
  guint8 key[LOG_PRODUCER_KEY_BYTES];
  if (strcmp(name, "producers") != 0)
    return 0;
  log_producer_key_encode(log_id, G_MAXINT64, key);
  put(db, family, key, sizeof key, "\xA7\x01\x00\x01", 4, error);
  return 1;
}

/* The last byte of it is one of its records'. */
static guint spoil_one_batch(rocksdb_t *db, rocksdb_column_family_handle_t *family, const char *name, guint64 log_id,
                             gint64 offset, char **error) {
  guint8 key[LOG_KEY_BYTES];
  size_t len = 0;
  if (!g_str_has_prefix(name, "segment-"))
    return 0;
  log_key_encode(LOG_KEY_BATCH, log_id, offset, key);
  rocksdb_readoptions_t *options = rocksdb_readoptions_create();
  char *value = rocksdb_get_cf(db, options, family, (const char *)key, sizeof key, &len, error);
  rocksdb_readoptions_destroy(options);
  if (!value)
    return 0;
  value[len - 1] ^= 1;
  put(db, family, key, sizeof key, value, len, error);
  rocksdb_free(value);
  return 1;
}

static gboolean spoil(const char *folder, guint64 log_id, gint64 offset, SpoilFunc func) {
  g_autofree char *path = g_build_filename(folder, "db", NULL);
  rocksdb_options_t *options = rocksdb_options_create();
  char *error = NULL;
  size_t count = 0;
  guint spoiled = 0;
  char **names = rocksdb_list_column_families(options, path, &count, &error);
  g_autofree const rocksdb_options_t **each = g_new0(const rocksdb_options_t *, MAX(count, 1));
  g_autofree rocksdb_column_family_handle_t **handles = g_new0(rocksdb_column_family_handle_t *, MAX(count, 1));
  for (size_t i = 0; i < count; i++)
    each[i] = options;
  rocksdb_t *db = NULL;
  if (!error)
    db = rocksdb_open_column_families(options, path, (int)count, (const char *const *)names, each, handles, &error);
  for (size_t i = 0; db && i < count; i++) {
    if (!error)
      spoiled += func(db, handles[i], names[i], log_id, offset, &error);
    rocksdb_column_family_handle_destroy(handles[i]);
  }
  if (db)
    rocksdb_close(db);
  if (names)
    rocksdb_list_column_families_destroy(names, count);
  rocksdb_options_destroy(options);
  EXPECT_EQ_INT(1, spoiled);
  return !fail(error) && spoiled == 1;
}

gboolean spoil_producers(const char *folder, guint64 log_id) {
  return spoil(folder, log_id, 0, spoil_producer);
}

gboolean spoil_batch(const char *folder, guint64 log_id, gint64 offset) {
  return spoil(folder, log_id, offset, spoil_one_batch);
}
