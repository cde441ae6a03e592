/* Appends: asker → shard (the replica gives the offset) → store → shard (the replica decides when to answer) → asker.
 *
 * An append has two holders: the asker, until it frees it after `done`; and the shard, until the answer was posted and
 * the replica has let go of it, which is not before the store is done with the write. An answer may leave before that
 * (the leadership was lost), and after (others are waited for). The last holder frees it.
 *
 * Thread: made and answered on the asker's loop, everything between on the shard's. Failure modes: OVERLOADED when the
 * shard's mailbox or the store is full, DISK_LOW when the disk nearly is; then nothing was written. */
#include "services/base/slog.h"
#include "services/broker/partition_internal.h"

struct PartitionAppendState {
  PartitionAppend append; /* first: partition_append_free gets it */
  gint holders;           /* atomic */
  Shard *shard;
  Loop *asker;
  LoopTask task; /* asker → shard: the append; shard → asker: the answer */

  /* The shard's. */
  Partition *partition;
  ReplicaAppend replica;
  LogWrite write;
  GByteArray *hot;
  guint8 producer[LOG_PRODUCER_VALUE_BYTES_MAX];
};
typedef struct PartitionAppendState AppendState;

PartitionAppend *partition_append_new(void) {
  AppendState *state = g_new0(AppendState, 1);
  state->append.batch = (LogBatch)LOG_BATCH_INIT;
  state->append.receipt.base_offset = -1;
  state->append.state = state;
  state->holders = 1;
  return &state->append;
}

static void release(AppendState *state) {
  if (!g_atomic_int_dec_and_test(&state->holders))
    return;
  log_batch_clear(&state->append.batch);
  failure_free(state->append.failure);
  if (state->hot)
    g_byte_array_unref(state->hot);
  g_free(state);
}

void partition_append_free(PartitionAppend *append) {
  if (append)
    release(append->state);
}

/* ---- the answer ---- */

static void run_answer(LoopTask *task) {
  AppendState *state = (AppendState *)((char *)task - G_STRUCT_OFFSET(AppendState, task));
  state->append.done(&state->append, state->append.user_data);
}

static void post_answer(AppendState *state) {
  (void)g_atomic_int_dec_and_test(&state->shard->broker->appends_in_flight);
  state->task.run = run_answer;
  loop_post_completion(state->asker, &state->task);
}

/* Refused before anything was written. @failure: taken */
static void refuse(AppendState *state, Failure *failure) {
  state->append.failure = failure;
  post_answer(state);
  release(state);
}

void partition_answer_append(ReplicaAppend *replica) {
  AppendState *state = (AppendState *)((char *)replica - G_STRUCT_OFFSET(AppendState, replica));
  PartitionAppend *append = &state->append;
  append->failure = g_steal_pointer(&replica->failure);
  if (!append->failure)
    append->receipt = (PartitionReceipt){.base_offset = replica->base_offset,
                                         .leader_epoch = replica->leader_epoch,
                                         .append_timestamp_ms = replica->append_timestamp_ms,
                                         .replicas = replica->copies.replicas,
                                         .synced_replicas = replica->copies.synced_replicas,
                                         .log_start_offset = replica_log_start(state->partition->replica),
                                         .duplicate = replica->duplicate};
  /* As soon as it is posted the asker may let go; our hold keeps the state alive while its write is on the way. */
  gboolean queued = replica->queued;
  post_answer(state);
  if (!queued)
    release(state);
}

void partition_release_append(ReplicaAppend *replica) {
  if (replica->followed)
    partition_release_followed(replica);
  else
    release((AppendState *)((char *)replica - G_STRUCT_OFFSET(AppendState, replica)));
}

/* ---- the write ---- */

static void on_stored(LogWrite *write, LogWriteStage stage) {
  AppendState *state = (AppendState *)((char *)write - G_STRUCT_OFFSET(AppendState, write));
  Partition *partition = state->partition;
  partition->writes_in_flight--;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_local_progress(partition->replica, &state->replica,
                         stage == LOG_WRITE_SYNCED ? REPLICA_SYNCED : REPLICA_WRITTEN, &out);
  partition_settle(partition, &out);
  partition_wake_followers(partition);
  following_written(partition);
}

typedef struct {
  LogWrite write; /* first: on_created frees it */
  GByteArray *hot;
} Create;

static void on_created(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Create *create = (Create *)write;
  g_byte_array_unref(create->hot);
  g_free(create);
}

gboolean partition_submit_create(Partition *partition) {
  Create *create = g_new0(Create, 1);
  create->hot = g_byte_array_new();
  replica_encode_hot(partition->replica, partition->log_id, NULL, create->hot);
  create->write = (LogWrite){.kind = LOG_WRITE_CREATE,
                             .log_id = partition->log_id,
                             .hot = create->hot->data,
                             .hot_len = create->hot->len,
                             .wants = LOG_WRITE_WRITTEN,
                             .sync_within_ms = LOG_SYNC_NEVER,
                             .loop = partition->shard->loop,
                             .done = on_created};
  if (!log_store_submit(partition->shard->broker->store, &create->write)) {
    on_created(&create->write, LOG_WRITE_WRITTEN);
    return FALSE;
  }
  partition->exists = TRUE;
  return TRUE;
}

static gboolean submit_append(AppendState *state) {
  Partition *partition = state->partition;
  LogStore *store = partition->shard->broker->store;
  if (!partition->exists && !partition_submit_create(partition))
    return FALSE;
  state->hot = g_byte_array_new();
  replica_encode_hot(partition->replica, partition->log_id, &state->replica, state->hot);
  state->write = (LogWrite){.kind = LOG_WRITE_APPEND,
                            .log_id = partition->log_id,
                            .batch = &state->append.batch,
                            .hot = state->hot->data,
                            .hot_len = state->hot->len,
                            .wants = state->replica.stage == REPLICA_SYNCED ? LOG_WRITE_SYNCED : LOG_WRITE_WRITTEN,
                            .sync_within_ms = partition->sync_within_ms,
                            .loop = partition->shard->loop,
                            .done = on_stored};
  if (state->replica.producer.producer_id) {
    state->write.producer = state->producer;
    state->write.producer_len = log_producer_encode(&state->replica.producer, partition->log_id, state->producer);
  }
  return log_store_submit(store, &state->write);
}

/* It was appended before: nothing is written, and its bytes are not needed any more. */
static void await_first_try(AppendState *state) {
  g_clear_pointer(&state->append.batch.records, g_bytes_unref);
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_await(state->partition->replica, &state->replica, &out);
  partition_settle(state->partition, &out);
}

/* What was written before is answered whatever the disk is like; what is new must have room. */
static gboolean has_room(const AppendState *state, const Partition *partition) {
  return state->replica.duplicate ||
         disk_has_room(state->shard->broker->disk, partition->is_internal ? DISK_FOR_INTERNAL : DISK_FOR_CLIENTS);
}

static void append_run(AppendState *state) {
  PartitionAppend *append = &state->append;
  Partition *partition = partition_find_led(state->shard, append->log_id, append->leader_epoch);
  if (!partition) {
    refuse(state, partition_not_leader(append->log_id, append->leader_epoch));
    return;
  }
  if (g_get_monotonic_time() >= append->deadline_us) {
    refuse(state, failure_new(FAILURE(OVERLOADED), "the deadline passed before the records reached their partition: "
                                                   "nothing was written"));
    return;
  }
  Failure *failure = replica_prepare(partition->replica, append->leader_epoch, &append->batch, append->acks,
                                     g_get_real_time() / 1000, &state->replica);
  if (!failure && !has_room(state, partition))
    failure = disk_refusal(state->shard->broker->disk);
  if (failure) {
    refuse(state, failure);
    return;
  }
  state->partition = partition;
  if (state->replica.duplicate) {
    await_first_try(state);
    return;
  }
  if (!submit_append(state)) {
    refuse(state, failure_new(FAILURE(OVERLOADED), "too many writes wait for the disk: nothing was written, try again "
                                                   "soon"));
    return;
  }
  replica_accept(partition->replica, &state->replica);
  partition->writes_in_flight++;
  log_tail_cache_add(partition->shard->cache, partition->log_id, &append->batch);
  if (partition->followers.head)
    partition_wake_followers(partition);
}

static void run_append(LoopTask *task) {
  append_run((AppendState *)((char *)task - G_STRUCT_OFFSET(AppendState, task)));
}

void partition_append_start(PartitionAppend *append, Shard *shard, Loop *asker) {
  AppendState *state = append->state;
  state->shard = shard;
  state->asker = asker;
  g_atomic_int_inc(&state->holders);
  g_atomic_int_inc(&shard->broker->appends_in_flight);
  if (asker == shard->loop) {
    append_run(state);
    return;
  }
  state->task.run = run_append;
  if (!loop_post(shard->loop, &state->task))
    refuse(state,
           failure_new(FAILURE(OVERLOADED), "the partition's queue is full: nothing was written, try again soon"));
}
