/* The folder of a store: who may use it, what it is, and small files in it that are replaced atomically.
 *
 *   PATH/STORE      what the folder is: role, format, identity. Written when a store is made, before its first
 *                   data: without it there is no store
 *   PATH/LOCK       held by the process that has it open (an OFD lock: it ends with the process, and two opens of one
 *                   process exclude each other too); holds its pid for people
 *   PATH/FRONTIER   what was known to be durable, and whether the last close was clean (frontier.h)
 *   PATH/db/        RocksDB's
 *
 * The small files are key files, so that a person can read them, with a CRC-32C of all that comes before in the last
 * line. One owner thread. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct RocksFolder RocksFolder;

/* Lock the folder and see what it is.
 *
 * @role: what kind of store: "broker-log"; a folder of another one is refused
 * @format: newest format that this program knows; a newer one is refused
 * @create: make the folder when it is missing, and accept an empty one
 * @ret_folder: owned by the caller; untouched on failure
 *
 * Returns NULL, INVALID_FIELD, UNSUPPORTED (newer format) or DUPLICATE_ID (locked). */
Failure *rocks_folder_open(const char *path, const char *role, gint format, gboolean create, RocksFolder **ret_folder);
/* Gives the lock back. NULL is fine. */
void rocks_folder_close(RocksFolder *folder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RocksFolder, rocks_folder_close)

/* There is no STORE file yet: the store is to be made. */
gboolean rocks_folder_is_new(const RocksFolder *folder);
const char *rocks_folder_path(const RocksFolder *folder);
/* What STORE holds; borrowed: change it, then call rocks_folder_save. Role and format are there already. */
GKeyFile *rocks_folder_store(RocksFolder *folder);
/* Write STORE; durable on return. Returns NULL or INTERNAL. */
Failure *rocks_folder_save(RocksFolder *folder);

/* Read a small file. *@ret_file is NULL when it is missing. Returns NULL, or CORRUPT_LOG. */
Failure *rocks_folder_read(RocksFolder *folder, const char *name, GKeyFile **ret_file);
/* Replace a small file; durable on return. Returns NULL, or INTERNAL. */
Failure *rocks_folder_write(RocksFolder *folder, const char *name, GKeyFile *file);

/* Whether files in the folder can be written around the page cache (O_DIRECT): some file systems can't. */
gboolean rocks_folder_can_direct_io(RocksFolder *folder);

G_END_DECLS
