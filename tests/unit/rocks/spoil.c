#include "tests/unit/rocks/spoil.h"

#include <rocksdb/c.h>
#include <string.h>

#include "storage/log/producers.h"
#include "tests/shim/shim.h"

static gboolean fail(char *error) {
  if (error)
    shim_fail(__FILE__, __LINE__, "%s", error);
  rocksdb_free(error);
  return error != NULL;
}

static void put_nonsense(rocksdb_t *db, rocksdb_column_family_handle_t *family, guint64 log_id, char **error) {
  guint8 key[LOG_PRODUCER_KEY_BYTES];
  log_producer_key_encode(log_id, G_MAXINT64, key);
  rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
  rocksdb_put_cf(db, options, family, (const char *)key, sizeof key, "\xA7\x01\x00\x01", 4, error);
  rocksdb_writeoptions_destroy(options);
}

gboolean spoil_producers(const char *folder, guint64 log_id) {
  g_autofree char *path = g_build_filename(folder, "db", NULL);
  rocksdb_options_t *options = rocksdb_options_create();
  char *error = NULL;
  size_t count = 0;
  char **names = rocksdb_list_column_families(options, path, &count, &error);
  g_autofree const rocksdb_options_t **each = g_new0(const rocksdb_options_t *, MAX(count, 1));
  g_autofree rocksdb_column_family_handle_t **handles = g_new0(rocksdb_column_family_handle_t *, MAX(count, 1));
  for (size_t i = 0; i < count; i++)
    each[i] = options;
  rocksdb_t *db = NULL;
  if (!error)
    db = rocksdb_open_column_families(options, path, (int)count, (const char *const *)names, each, handles, &error);
  for (size_t i = 0; db && i < count; i++) {
    if (!error && strcmp(names[i], "producers") == 0)
      put_nonsense(db, handles[i], log_id, &error);
    rocksdb_column_family_handle_destroy(handles[i]);
  }
  if (db)
    rocksdb_close(db);
  if (names)
    rocksdb_list_column_families_destroy(names, count);
  rocksdb_options_destroy(options);
  return !fail(error);
}
