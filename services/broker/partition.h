/* What can be asked of a partition, from any loop: read, find an offset, append. An operation is made and ended on the
 * asker's loop; in between it belongs to the partition's shard.
 *
 *   asker: new, fill in ──start──► shard: works, waits ──► asker: done called, exactly once, always later than start
 *
 * A partition that is not here, or no longer led with the epoch asked for, answers NOT_LEADER: route again. */
#pragma once

#include "milena/v1/common.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/base/timers.h"
#include "services/broker/replica/replica.h"
#include "services/broker/shard.h"
#include "storage/log/batch.h"

G_BEGIN_DECLS

/* Where a partition's log stands, as readers see it. */
typedef struct {
  gint64 high_watermark;     /* readers see what is below */
  gint64 log_start_offset;   /* the first offset that is kept */
  gint64 last_stable_offset; /* the high watermark while there are no transactions */
} PartitionBounds;

/* ---- reading ---- */

typedef struct PartitionRead PartitionRead;
struct PartitionRead {
  /* In: filled in before partition_read_start. */
  guint64 log_id;
  gint32 leader_epoch;
  gint64 from_offset;
  gsize max_bytes;      /* of records; the first batch comes whatever its size, if there is any */
  gsize min_bytes;      /* wait until so many bytes are there ... 0 and 1: anything */
  gint64 wait_until_us; /* ... or this monotonic time has come; 0: never wait */
  /* For a follower: up to the log's end, not the high watermark. It waits until there is more, or until the high
   * watermark is above told_watermark; then there may be no batch. */
  gboolean for_follower;
  gint64 told_watermark;
  gint64 told_start;     /* .. or until the log's start is above this */
  gint32 follower_id;    /* that broker; what it may have while it is not in sync is bounded: */
  gint64 paced_until_us; /* .. nothing before; comes out as it is to be handed to the next read */
  void (*done)(PartitionRead *read, gpointer user_data);
  gpointer user_data;

  /* Out: valid in `done` and afterwards. */
  GArray *batches; /* of LogBatch (log_batch_array_new), stamped, in order, all below the high watermark, the first may
                    * begin before from_offset; empty, never NULL. Owned by the read; g_steal_pointer it if need be. */
  PartitionBounds bounds; /* also set with OFFSET_OUT_OF_RANGE */
  Failure *failure;       /* owned by the read: NOT_LEADER, OFFSET_OUT_OF_RANGE, CORRUPT_LOG, CANCELLED, OVERLOADED */

  /* Private. */
  struct PartitionReadState *state;
};

/* Owned by the caller. */
PartitionRead *partition_read_new(void);
/* Hand it to the shard. @asker: the loop that calls this, where `done` is called. */
void partition_read_start(PartitionRead *read, Shard *shard, Loop *asker);
/* End it soon: `done` still comes, with CANCELLED unless the read was done already. The asker's loop. */
void partition_read_cancel(PartitionRead *read);
/* Not between start and done. In `done` is fine. NULL is fine. */
void partition_read_free(PartitionRead *read);

/* ---- followers ---- */

/* A follower says where its log ends, and hears how it compares. */
typedef struct PartitionBegin PartitionBegin;
struct PartitionBegin {
  /* In. */
  guint64 log_id;
  gint32 broker_id; /* the follower */
  guint64 broker_epoch;
  ReplicaPosition position;
  gint64 log_start; /* it keeps nothing below, durably */
  void (*done)(PartitionBegin *begin, gpointer user_data);
  gpointer user_data;

  /* Out. */
  ReplicaMatch match;
  gint32 epoch;      /* as replica_match says */
  gint64 end_offset; /* .. */
  guint64 visit;     /* when it goes on: to be ended by partition_tell_left; else 0 */
  Failure *failure;  /* owned by the operation: NOT_LEADER, FENCED, CORRUPT_LOG, OVERLOADED */

  /* Private. */
  struct PartitionBeginState *state;
};

PartitionBegin *partition_begin_new(void);
void partition_begin_start(PartitionBegin *begin, Shard *shard, Loop *asker);
/* Not between start and done. NULL is fine. */
void partition_begin_free(PartitionBegin *begin);

/* How far a follower has come. */
typedef struct {
  guint64 log_id;
  gint32 leader_epoch;
  gint64 written_end, synced_end;
  gint64 log_start; /* it keeps nothing below, durably */
} PartitionProgress;
/* Tell the shard. @progress: of PartitionProgress, all of this shard's logs; taken */
void partition_tell_progress(Shard *shard, Loop *asker, gint32 broker_id, guint64 broker_epoch, GArray *progress);

/* Tell the shard that a visit is over: its stream was closed. */
void partition_tell_left(Shard *shard, Loop *asker, guint64 log_id, gint32 broker_id, guint64 visit);

/* ---- finding an offset ---- */

typedef enum {
  PARTITION_FIND_EARLIEST,
  PARTITION_FIND_LATEST, /* the high watermark; waits until a new leader knows it */
  PARTITION_FIND_LAST_STABLE,
  PARTITION_FIND_TIME /* the first record at or after timestamp_ms; none: offset is the high watermark, found FALSE */
} PartitionFindKind;

typedef struct PartitionFind PartitionFind;
struct PartitionFind {
  /* In. */
  guint64 log_id;
  gint32 leader_epoch;
  PartitionFindKind kind;
  gint64 timestamp_ms;
  void (*done)(PartitionFind *find, gpointer user_data);
  gpointer user_data;

  /* Out. */
  gboolean found; /* a record is at `offset` */
  gint64 offset;
  gint64 record_timestamp_ms; /* of that record, by time; else LOG_TIMESTAMP_NONE */
  PartitionBounds bounds;
  Failure *failure; /* owned by the find */

  /* Private. */
  struct PartitionFindState *state;
};

PartitionFind *partition_find_new(void);
void partition_find_start(PartitionFind *find, Shard *shard, Loop *asker);
/* Not between start and done. NULL is fine. */
void partition_find_free(PartitionFind *find);

/* ---- deleting the oldest records ---- */

typedef struct PartitionTrim PartitionTrim;
struct PartitionTrim {
  /* In. */
  guint64 log_id;
  gint32 leader_epoch;
  gint64 before_offset;   /* records below it go; -1: all that are committed */
  gboolean validate_only; /* only check */
  gint64 deadline_us;     /* then the answer is UNKNOWN_OUTCOME */
  void (*done)(PartitionTrim *trim, gpointer user_data);
  gpointer user_data;

  /* Out. */
  gint64 log_start_offset; /* the first offset that is kept; -1 when it failed */
  Failure *failure; /* owned by the operation: NOT_LEADER, OFFSET_OUT_OF_RANGE, LEADER_NOT_AVAILABLE, CORRUPT_LOG,
                     * OVERLOADED, UNKNOWN_OUTCOME */

  /* Private. */
  struct PartitionTrimState *state;
};

/* It is answered when all replicas in sync keep nothing below, and will not after a crash either. */
PartitionTrim *partition_trim_new(void);
void partition_trim_start(PartitionTrim *trim, Shard *shard, Loop *asker);
/* Not between start and done. NULL is fine. */
void partition_trim_free(PartitionTrim *trim);

/* ---- appending ---- */

/* What the answer says about an append that was written. */
typedef struct {
  gint64 base_offset;
  gint32 leader_epoch;
  gint64 append_timestamp_ms;
  guint32 replicas;        /* that had it when the answer left */
  guint32 synced_replicas; /* that had it on disk */
  gint64 log_start_offset;
  gboolean duplicate; /* it was written by an earlier try, and this is what became of that */
} PartitionReceipt;

typedef struct PartitionAppend PartitionAppend;
struct PartitionAppend {
  /* In. */
  guint64 log_id;
  gint32 leader_epoch;
  LogBatch batch; /* checked by the asker; owned by the append; the shard stamps it */
  Milena__V1__Acks acks;
  gint64 deadline_us; /* then the answer is UNKNOWN_OUTCOME if it was submitted */
  void (*done)(PartitionAppend *append, gpointer user_data);
  gpointer user_data;

  /* Out. */
  PartitionReceipt receipt;
  Failure *failure; /* owned by the append */

  /* Private. */
  struct PartitionAppendState *state;
};

PartitionAppend *partition_append_new(void);
void partition_append_start(PartitionAppend *append, Shard *shard, Loop *asker);
/* Not between start and done. NULL is fine. */
void partition_append_free(PartitionAppend *append);

G_END_DECLS
