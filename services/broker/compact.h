/* What the cleaner asks of the partitions of a shard (partition_compact.c). Each runs on the shard's loop and answers
 * on the loop that asked. */
#pragma once

#include "services/broker/shard_internal.h"
#include "storage/rocks/log_compact.h"

G_BEGIN_DECLS

/* A log that may be compacted, as it was when it was asked for. */
typedef struct {
  guint64 log_id;
  char *name; /* for sentences; owned */
  guint cuts; /* how often it had been cut: a write for what it was then is refused */
  double dirty_ratio;
  gint64 start_offset, compacted_to, end_offset; /* log start, end of the last run, high watermark */
  gint64 min_lag_ms, delete_retention_ms;
  GArray *remembered; /* LogCompactRules; owned */
} CompactCandidate;

void compact_candidate_clear(CompactCandidate *candidate);

/* The dirtiest of the shard's logs that may be compacted now. Returns FALSE when there is none. The shard's loop. */
gboolean compact_find_candidate(Shard *shard, gint64 now_ms, CompactCandidate *ret_candidate);

/* A write of the cleaner's. */
typedef struct CompactWrite CompactWrite;
struct CompactWrite {
  /* In. */
  guint64 log_id;
  guint cuts;
  LogCompacted *compacted; /* owned by whoever has the write */
  Loop *asker;
  void (*done)(CompactWrite *write, gpointer user_data); /* on the asker's loop */
  gpointer user_data;
  /* Out. */
  gboolean accepted;

  /* Private. */
  LoopTask task;
  Shard *shard;
  LogWrite write;
  GByteArray *hot;
};

/* Any thread. Returns FALSE, and does nothing, when the shard's mailbox is full. */
gboolean compact_write_start(CompactWrite *write, Shard *shard);

/* A run is over: rest until @again_us (monotonic). @failure: NULL; damage that it met is the partition's; borrowed. The
 * shard's loop. */
void compact_run_over(Shard *shard, guint64 log_id, gint64 again_us, const Failure *failure);

G_END_DECLS
