/* The broker's log store: all partition logs of one broker in one RocksDB, with one write-ahead log and group commit.
 *
 * The shard loops submit writes and reads; they never wait. Two storage threads carry writes out: the writer puts
 * everything that waits, for all logs, into one unsynced RocksDB WriteBatch; the syncer syncs the write-ahead log in a
 * loop and answers all that was written before each sync began. A pool of reader threads serves reads. Every result is
 * posted to the loop that the operation names. README.md explains the layout.
 *
 *   write:  submitted ──writer──► written (seen by reads, lost in a power cut) ──syncer──► synced (survives it)
 *
 * Writes of one log, submitted by one thread, are carried out and answered in order. A write or sync that the disk
 * refuses ends the process (exit status LOG_STORE_EXIT_STATUS, one clear line on standard error): what was written is
 * unknown from then on, and only an unclean restart tells (REPLICATION.md, rule 18). So writes have no failure. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"
#include "services/base/loop.h"
#include "storage/log/batch.h"
#include "storage/log/hot.h"
#include "storage/log/producers.h"
#include "storage/log/retention.h"
#include "storage/rocks/compact_note.h"

G_BEGIN_DECLS

typedef struct LogStore LogStore;

/* Exit status after a write or sync that failed: EX_IOERR. */
#define LOG_STORE_EXIT_STATUS 74

/* ---- opening ---- */

/* Fill with log_store_options_init, then change what matters. */
typedef struct {
  const char *path;           /* folder of this store alone */
  gboolean create;            /* make folder and store when they are missing; else a missing one is refused */
  gint64 segment_bytes_max;   /* a time segment rolls at this size ... */
  gint64 segment_age_max_ms;  /* ... or at this age, whichever comes first */
  gint64 time_index_bytes;    /* one time index entry a log every so many bytes */
  gint64 write_buffer_bytes;  /* RocksDB's memtable; two or three exist at a time */
  gint64 cache_bytes;         /* RocksDB's block cache, index blocks included */
  gint64 wal_bytes_max;       /* write-ahead logs beyond this make RocksDB flush what holds them */
  gboolean direct_io;         /* bypass the page cache when memtables are flushed */
  guint writes_max;           /* writes in flight, and their bytes: beyond, log_store_submit says no */
  gint64 write_bytes_max;     /* .. */
  gint64 group_bytes_max;     /* of one WriteBatch */
  gint64 bulk_bytes_min;      /* when so much waits, batches go to disk without the write-ahead log */
  guint reader_threads;       /* at least 1 */
  guint reads_max;            /* reads and finds in flight: beyond, log_store_read says no */
  guint read_sessions_max;    /* iterators that are kept between reads ... */
  gint64 read_session_age_ms; /* ... and for how long at most */
} LogStoreOptions;

void log_store_options_init(LogStoreOptions *options);

/* Open the store: takes the folder's lock, checks role and format, and after an unclean stop verifies what was written
 * since the last frontier note: time is bounded by the size of the latest segments, not of the store.
 *
 * @ret_store: owned by the caller, log_store_close; untouched on failure
 *
 * Returns NULL; INVALID_FIELD for a folder that is missing, not writable, of another role or unusable; UNSUPPORTED for
 * a newer format; DUPLICATE_ID when another process has it open; CORRUPT_LOG when synced data of the whole store is
 * missing (a lost write-ahead log). Damage to single logs is no failure here: log_store_recover tells.
 * Thread: any; blocks. */
Failure *log_store_open(const LogStoreOptions *options, LogStore **ret_store);

/* Finish all writes and reads, sync, write the clean marker, close. NULL is fine. The loops of operations in flight
 * must still run. Nothing may be submitted any more. Batches that reads gave stay valid. Blocks. Not on a loop that
 * operations in flight complete on. */
void log_store_close(LogStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogStore, log_store_close)

/* The previous process closed the store in order; TRUE for a new one. Any thread. */
gboolean log_store_was_clean(const LogStore *store);
/* Nothing that was ever written was lost, as far as the cluster does not know of it yet: no stop was out of order since
 * the last one that it was told of. A process that stops in order before it told of the stop before keeps that in mind
 * for the next one (REPLICATION.md, rule 10). Any thread. */
gboolean log_store_lost_nothing(const LogStore *store);
/* The cluster was told of it. One thread; before log_store_close. */
void log_store_set_told(LogStore *store);
/* This call of log_store_open made the store. Any thread. */
gboolean log_store_was_created(const LogStore *store);

/* ---- identity ---- */

typedef struct {
  char cluster_id[64];  /* "" until set: never opened for any cluster */
  gint64 node_id;       /* -1 until set */
  char incarnation[37]; /* UUID, made with the folder: a wiped folder has another one. Never empty */
} LogStoreIdentity;

/* Any thread, but not during log_store_set_identity. */
const LogStoreIdentity *log_store_identity(const LogStore *store);
/* Give the store to a node of a cluster; durable on return. Blocks: at start only.
 *
 * Returns NULL, CLUSTER_MISMATCH when it belongs to another one, or INTERNAL when it can't be written. */
Failure *log_store_set_identity(LogStore *store, const char *cluster_id, gint64 node_id);

/* ---- recovery ---- */

/* One log, as found at open.
 *
 * @hot: its hot record, verified end included; borrowed. When @failure is set: log_end_offset, high_watermark and
 * epochs are cut to the good part in front of the damage (all 0 when the hot record itself is unreadable)
 * @failure: NULL, or CORRUPT_LOG, what is wrong with it; borrowed */
typedef void (*LogStoreRecoverFunc)(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data);

/* Tell all logs, in order of their ids: after open, before anything is submitted. Blocks. Any thread.
 *
 * A log that is reported with a failure must not be written until it was truncated to its log_end_offset or below
 * (LOG_WRITE_TRUNCATE), or dropped.
 *
 * Returns NULL, or CORRUPT_LOG when hot records can't be read at all. */
Failure *log_store_recover(LogStore *store, LogStoreRecoverFunc func, gpointer data);

/* What a log remembers of one producer, as found at open.
 *
 * @producer: borrowed; NULL when @failure says that it can't be read
 * @failure: NULL, or CORRUPT_LOG: a retry could be taken for new, so the log must not be written until it was truncated
 *           (LOG_WRITE_TRUNCATE, which drops what can't be read), or dropped; borrowed */
typedef void (*LogStoreProducerFunc)(guint64 log_id, const LogProducer *producer, const Failure *failure,
                                     gpointer data);

/* Tell the producers of all logs, in order of the logs' ids: behind log_store_recover, in the same way. */
Failure *log_store_recover_producers(LogStore *store, LogStoreProducerFunc func, gpointer data);

/* ---- writing ---- */

typedef enum {
  LOG_WRITE_CREATE,   /* a new log: its hot record */
  LOG_WRITE_APPEND,   /* a batch at the log's end, or behind it with a gap */
  LOG_WRITE_TRUNCATE, /* cut what lies at or behind truncate_offset */
  LOG_WRITE_COMPACT,  /* change the compacted part, and where it ends (log_compact.h) */
  LOG_WRITE_PUT_HOT, /* the hot record alone; where it needs less of the segments (log_hot_needed_from), these may go */
  LOG_WRITE_FORGET,  /* the records of some producers: nothing of them is remembered any more */
  LOG_WRITE_DROP,    /* forget the log: no longer told by recovery nor served; it holds no segment any more */
} LogWriteKind;

typedef enum {
  LOG_WRITE_WRITTEN = 1, /* reads see it; survives the end of the process, not of the machine */
  LOG_WRITE_SYNCED = 2,  /* survives a power cut */
} LogWriteStage;

/* Never ask for a sync on this write's account. */
#define LOG_SYNC_NEVER (-1)

/* What one write changes in the compacted part of a log. Each leaves a log that says the same as before. */
typedef struct {
  GArray *gone;        /* base offsets, gint64: batches of the part that go ... */
  GArray *batches;     /* ... and what is there instead, or behind them (log_batch_array_new) */
  gint64 drop_before;  /* what the part has below goes too; 0: nothing */
  gint64 compacted_to; /* the part's end now: the hot record says the same. Never falls */
  CompactNote note;
} LogCompacted;

LogCompacted *log_compacted_new(void);
void log_compacted_free(LogCompacted *compacted); /* NULL is fine */

typedef struct LogWrite LogWrite;

/* Shard loop → writer → syncer → loop. Owned by whoever embeds it, who fills in the first part; zeroed otherwise. It
 * and what it points to must stay put until the last stage that it wants was reported. */
struct LogWrite {
  LogWriteKind kind;
  guint64 log_id;
  /* APPEND: stamped, base_offset at the log's end or behind. Borrowed. */
  const LogBatch *batch;
  /* The hot record (log_hot_encode), written in the same RocksDB batch. Must be there for CREATE, PUT_HOT, COMPACT and
   * APPEND (with the log's end behind @batch, and a max timestamp that covers it: finds by time go by that). For
   * TRUNCATE: the log's hot record before; the store writes the cut one. Borrowed. */
  const guint8 *hot;
  gsize hot_len;
  gint64 truncate_offset; /* TRUNCATE: records of producers are cut with it */
  /* APPEND of a batch with a producer id: what the log remembers of that producer now (log_producer_encode), written in
   * the same RocksDB batch. Borrowed. */
  const guint8 *producer;
  gsize producer_len;
  const LogCompacted *compacted; /* COMPACT. Borrowed. */
  /* FORGET. Borrowed. */
  const gint64 *producer_ids;
  guint producer_count;

  guint wants;           /* LOG_WRITE_WRITTEN, LOG_WRITE_SYNCED or both: done is called once for each */
  gint64 sync_within_ms; /* when SYNCED is not wanted: sync this soon all the same (0: at once), or LOG_SYNC_NEVER */
  Loop *loop;            /* where done is called */
  /* On @loop. With both stages wanted, WRITTEN comes first. May free the write at its last stage. */
  void (*done)(LogWrite *write, LogWriteStage stage);

  /* TRUNCATE, at WRITTEN and SYNCED: where the log ends now: truncate_offset, or the start of the batch that held it.
   */
  gint64 ret_end_offset;

  /* The store's. */
  LogWrite *next;
  gsize charged_bytes;
  LoopTask written_task, synced_task;
};

/* Hand over a write. Returns FALSE, and does nothing, when too much is in flight: nothing was written, answer
 * OVERLOADED. Any thread. */
G_GNUC_WARN_UNUSED_RESULT gboolean log_store_submit(LogStore *store, LogWrite *write);

/* ---- reading ---- */

/* The store's part of a read or find that waits for a reader thread. */
struct LogReaders;
typedef struct LogReadJob LogReadJob;
struct LogReadJob {
  LogReadJob *next;
  void (*run)(struct LogReaders *readers, LogReadJob *job);
};

typedef struct LogRead LogRead;

/* Shard loop → reader → loop. Owned by whoever embeds it; must stay put until done. */
struct LogRead {
  guint64 log_id;
  gint64 from_offset; /* starts with the batch that holds it, or the next one behind it */
  gint64 end_offset;  /* only batches wholly below: the high watermark for consumers, the log's end for followers */
  gsize max_bytes;    /* of stored bytes; the first batch is given whatever its size */
  gboolean as_of_now; /* see the compacted part as it is: others may read on in what it was when they began */
  Loop *loop;         /* where done is called */
  void (*done)(LogRead *read);

  /* Result: stamped, verified batches (log_batch_array_new), in order; empty when there is nothing in that range; never
   * NULL. When @failure is set it holds the good batches in front of the damage. End with log_read_clear. */
  GArray *batches;
  Failure *failure; /* NULL, or CORRUPT_LOG with log and offset, or UNKNOWN_PARTITION for a log that is not there */

  /* The store's. */
  LogReadJob job;
  LoopTask task;
};

/* Hand over a read. Returns FALSE, and does nothing, when too many are in flight: answer OVERLOADED. Any thread. */
G_GNUC_WARN_UNUSED_RESULT gboolean log_store_read(LogStore *store, LogRead *read);
/* Free the result; what the caller filled in stays. */
void log_read_clear(LogRead *read);

typedef struct LogFind LogFind;

/* Find by time. Shard loop → reader → loop. Owned by whoever embeds it; must stay put until done. */
struct LogFind {
  guint64 log_id;
  gint64 timestamp_ms;
  gint64 start_offset; /* look only at or behind: the log's start */
  gint64 end_offset;   /* ... and in batches wholly below */
  Loop *loop;
  void (*done)(LogFind *find);

  /* Result. */
  gboolean found;
  /* The first batch whose latest timestamp is at or after timestamp_ms: look inside for the record. Its records are a
   * reference of its own. End with log_find_clear. */
  LogBatch batch;
  Failure *failure; /* as in LogRead */

  /* The store's. */
  LogReadJob job;
  LoopTask task;
};

/* As log_store_read. */
G_GNUC_WARN_UNUSED_RESULT gboolean log_store_find(LogStore *store, LogFind *find);
void log_find_clear(LogFind *find);

/* ---- how long records stay ---- */

/* What a log has in its segments, as LogChunk, oldest first, appended to @chunks: what log_retention_start decides by.
 * Its answer is made true by a hot record with that log start. Returns FALSE when there is no such log. Any thread. */
gboolean log_store_chunks(LogStore *store, guint64 log_id, GArray *chunks);
/* Let segments roll at these bounds (log_roll_for), never later than the options say; and look now whether one is due,
 * and whether some can go. To be called every now and then, also while nothing is written. Any thread. */
void log_store_tidy(LogStore *store, LogRoll roll);

/* ---- compaction ---- */

/* What is noted of a log's compacted part: all 0 when it has none. Any thread. */
void log_store_compact_note(LogStore *store, guint64 log_id, CompactNote *ret_note);

/* ---- figures ---- */

/* A time segment. */
typedef struct {
  guint32 number;
  gint64 created_ms; /* wall clock */
  guint64 log_count; /* logs that need something in it */
  gint64 bytes;      /* of the batches that were written to it */
  gint64
      needed_bytes; /* of those, what its logs still need, to the nearest segment of each; the rest is over, and held */
} LogSegmentInfo;

/* What the files of the store's database take. Any thread; looks at the folder. */
gint64 log_store_disk_bytes(LogStore *store);
/* All segments, oldest first, appended to @infos. Any thread. */
void log_store_segments(LogStore *store, GArray *infos);

typedef struct {
  guint64 writes, write_bytes; /* carried out since open: operations, payload bytes */
  guint64 groups, syncs;       /* WriteBatches, WAL syncs */
  guint64 bulk_groups;         /* of them, those whose batches went to disk without the write-ahead log */
  guint64 sync_us;             /* time spent in syncs */
  guint64 reads, read_bytes;
  guint64 session_hits, seeks; /* reads that went on where an iterator stood, and those that had to seek */
  guint64 corruptions;         /* reads that met damage */
  guint surplus_cuts;          /* logs cut at open: a bulk group of theirs was never settled, and nobody told of it */
  guint writes_waiting, reads_waiting, sessions, segments;
  guint64 segments_dropped;  /* since open */
  gint64 needed_bytes;       /* of batches in segments: what logs need ... */
  gint64 expired_held_bytes; /* ... and what nobody does, but lies in segments that others need */
  guint64 logs;
  guint64 compactions;                                     /* runs that ended since open */
  guint64 compaction_bytes_before, compaction_bytes_after; /* what they read, what they left of it */
  gint64 compacted_ms;                                     /* when one ended last, wall clock; 0: none ever has */
  gint64 compacted_bytes;                                  /* of all compacted parts, as far as they are counted */
} LogStoreStats;

/* Any thread. */
void log_store_stats(LogStore *store, LogStoreStats *ret_stats);

G_END_DECLS
