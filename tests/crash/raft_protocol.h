/* What the driver of a controller's log tells its parent through a pipe: the state that a write leads to, before the
 * write and after it. Of fixed size, so that writes are atomic. Both sides compute it here. */
#pragma once

#include "storage/log/crc32c.h"
#include "storage/rocks/raft/raft_log.h"

G_BEGIN_DECLS

typedef struct {
  guint64 done; /* 0: the write begins; 1: it was acknowledged */
  guint64 term, vote;
  guint64 commit, snapshot_index, last_index;
  guint64 digest; /* of the snapshot's bytes and the entries */
} RaftCrashEvent;

/* The state of a log. @snapshot: NULL for none */
static inline RaftCrashEvent raft_crash_state(const RaftHardState *hard, const RaftSnapshotMeta *meta, GBytes *snapshot,
                                              const GPtrArray *entries) {
  guint32 digest = snapshot ? log_crc32c(g_bytes_get_data(snapshot, NULL), g_bytes_get_size(snapshot)) : 0;
  for (guint i = 0; i < entries->len; i++) {
    g_autoptr(GBytes) bytes = raft_entry_encode(entries->pdata[i]);
    digest = log_crc32c_extend(digest, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
  }
  return (RaftCrashEvent){.term = hard->term,
                          .vote = hard->vote,
                          .commit = hard->commit,
                          .snapshot_index = meta->index,
                          .last_index = meta->index + entries->len,
                          .digest = digest};
}

G_END_DECLS
