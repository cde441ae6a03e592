/* Writes to a controller's folder outside of RocksDB, and the end of the process after one that failed. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A write or sync went wrong: nobody knows any more what is on the disk. Says so and ends the process with status
 * RAFT_LOG_EXIT_STATUS. @path: of the folder or file; @error: what the system said */
G_NORETURN void raft_disk_die(const char *path, const char *error);

/* These three end the process when the disk refuses. @path: for the sentence */
void raft_disk_write(int fd, gint64 offset, gconstpointer data, gsize size, const char *path);
void raft_disk_sync(int fd, const char *path);
/* Names that were made or removed in the folder are durable. */
void raft_disk_sync_folder(const char *path);

G_END_DECLS
