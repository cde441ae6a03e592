/* The end of a log that was written with another flush mode: synced once the topic says flush=always. Without it a
 * replica that nobody writes to any more would never have on disk what the leader waits for, and never be in sync.
 *
 *   quiet ──the replica wants it──► on its way ──synced──► quiet, or again
 *                 ▲      │ the store is full
 *                 └──────┘ after a while
 *
 * A write of the hot record goes to the disk behind all that the log was given before, and with it. Thread: the
 * shard's. Failure modes: a sync that the disk refuses ends the process in the store. */
#include "services/broker/partition_internal.h"

#define RETRY_MS 100

typedef struct {
  LogWrite write; /* first: on_synced gets it back */
  Partition *partition;
  GByteArray *hot;
} Sync;

static void sync_free(Sync *sync) {
  g_byte_array_unref(sync->hot);
  g_free(sync);
}

static void on_synced(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Sync *sync = (Sync *)write;
  Partition *partition = sync->partition;
  partition->writes_in_flight--;
  sync_free(sync);
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_sync_over(partition->replica, &out);
  partition_settle(partition, &out);
  following_written(partition);
  partition_sync(partition);
}

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  partition_sync(data);
}

void partition_sync(Partition *partition) {
  if (!partition->exists || partition->doomed || !replica_wants_sync(partition->replica) ||
      timer_is_set(&partition->sync_timer))
    return;
  Sync *sync = g_new0(Sync, 1);
  sync->partition = partition;
  sync->hot = g_byte_array_new();
  replica_encode_hot(partition->replica, partition->log_id, NULL, sync->hot);
  sync->write = (LogWrite){.kind = LOG_WRITE_PUT_HOT,
                           .log_id = partition->log_id,
                           .hot = sync->hot->data,
                           .hot_len = sync->hot->len,
                           .wants = LOG_WRITE_SYNCED,
                           .sync_within_ms = LOG_SYNC_NEVER,
                           .loop = partition->shard->loop,
                           .done = on_synced};
  if (!log_store_submit(partition->shard->broker->store, &sync->write)) {
    sync_free(sync);
    timer_set(partition->shard->timers, &partition->sync_timer,
              g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND, on_retry, partition);
    return;
  }
  partition->writes_in_flight++;
  replica_sync_begun(partition->replica);
}
