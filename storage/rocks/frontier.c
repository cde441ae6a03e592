#include "storage/rocks/frontier.h"

#define GROUP "frontier"

Failure *rocks_frontier_read(RocksFolder *folder, RocksFrontier *ret_frontier, gboolean *ret_found) {
  g_autoptr(GKeyFile) file = NULL;
  Failure *failure = rocks_folder_read(folder, "FRONTIER", &file);
  if (failure)
    return failure;
  *ret_frontier = (RocksFrontier){0};
  *ret_found = file != NULL;
  if (!file)
    return NULL;
  g_autoptr(GError) error = NULL;
  guint64 segment = g_key_file_get_uint64(file, GROUP, "segment", &error);
  if (!error)
    ret_frontier->sequence = g_key_file_get_uint64(file, GROUP, "sequence", &error);
  if (!error)
    ret_frontier->clean = g_key_file_get_boolean(file, GROUP, "clean", &error);
  if (error || segment > G_MAXUINT32)
    return failure_new(FAILURE(CORRUPT_LOG), "%s/FRONTIER is not a frontier note: %s", rocks_folder_path(folder),
                       error ? error->message : "segment out of range");
  ret_frontier->untold = g_key_file_get_boolean(file, GROUP, "untold", NULL);
  ret_frontier->segment = (guint32)segment;
  return NULL;
}

Failure *rocks_frontier_write(RocksFolder *folder, const RocksFrontier *frontier) {
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_key_file_set_boolean(file, GROUP, "clean", frontier->clean);
  if (frontier->untold)
    g_key_file_set_boolean(file, GROUP, "untold", TRUE);
  g_key_file_set_uint64(file, GROUP, "sequence", frontier->sequence);
  g_key_file_set_uint64(file, GROUP, "segment", frontier->segment);
  return rocks_folder_write(folder, "FRONTIER", file);
}
