/* RocksDB as the log store uses it: every setting with its reason (docs/decisions/0003-rocksdb-settings.md), opening
 * with all column families, errors as failures, and the end of the process for those that leave the disk's state
 * unknown. */
#pragma once

#include <glib.h>
#include <rocksdb/c.h>

#include "services/base/failure.h"
#include "storage/rocks/log_store.h"

G_BEGIN_DECLS

typedef struct {
  rocksdb_t *db;
  rocksdb_column_family_handle_t *catalog_cf, *hot_cf, *producers_cf, *compacted_cf;
  rocksdb_writeoptions_t *write_options; /* with WAL, without sync */
  rocksdb_readoptions_t *read_options;   /* the defaults */
  rocksdb_flushoptions_t *flush_no_wait, *flush_wait;
  rocksdb_options_t *small_options, *segment_options; /* of the small column families (and the database), of segments */
  rocksdb_cache_t *cache;                             /* of blocks */
} RocksDb;

/* A segment's column family, as found. */
typedef struct {
  guint32 number;
  rocksdb_column_family_handle_t *cf;
} RocksSegmentFound;

/* Open, or make.
 *
 * @path: RocksDB's own folder
 * @create: make it, or go on making it; else a missing one is damage
 * @direct_io: write files around the page cache
 * @ret_segments: of RocksSegmentFound, ascending; owned by the caller, who destroys the handles before the database
 *
 * Returns NULL, INVALID_FIELD, UNSUPPORTED (column families of a newer version) or CORRUPT_LOG. Ends the process when
 * the system refuses a write or a sync meanwhile. */
Failure *rocks_db_open(const char *path, const LogStoreOptions *options, gboolean create, gboolean direct_io,
                       RocksDb **ret_db, GArray **ret_segments);
/* Every other column family handle must be gone. NULL is fine. */
void rocks_db_close(RocksDb *db);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RocksDb, rocks_db_close)

rocksdb_column_family_handle_t *rocks_db_create_segment(RocksDb *db, guint32 number);

/* Let write-ahead logs go: each lives until all that is in it is in files, and the small column families fill theirs
 * slowly. Does not wait. */
void rocks_db_release_logs(RocksDb *db);

/* A failure from what RocksDB says. @error: freed. */
Failure *rocks_failure(FailureReason reason, char *error, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* A write or sync went wrong: nobody knows any more what is on the disk. Says so and ends the process.
 * @doing: "syncing the write-ahead log" and the like */
G_NORETURN void rocks_die(const char *doing, const char *error);
/* Ends the process when @error is set. */
void rocks_check(const char *doing, char *error);

G_END_DECLS
