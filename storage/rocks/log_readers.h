/* The reader threads: they carry out reads and finds, and keep read sessions. */
#pragma once

#include <glib.h>

#include "storage/rocks/log_index.h"
#include "storage/rocks/log_store.h"
#include "storage/rocks/rocks_db.h"

G_BEGIN_DECLS

typedef struct LogReaders LogReaders;

/* Start the threads. @db and @index are borrowed for the readers' life, @options for the call. */
LogReaders *log_readers_new(RocksDb *db, LogIndex *index, const LogStoreOptions *options);
/* See log_store_read and log_store_find. Any thread. */
gboolean log_readers_read(LogReaders *readers, LogRead *read);
gboolean log_readers_find(LogReaders *readers, LogFind *find);
/* Carry out what waits, end threads and sessions. NULL is fine. */
void log_readers_free(LogReaders *readers);

/* Fills in the readers' part. Any thread. */
void log_readers_stats(LogReaders *readers, LogStoreStats *stats);

G_END_DECLS
