/* Finding an offset: the ends are known at once, a time asks the store's index and then looks into one batch.
 *
 * Thread: begins and ends on the asker's loop, the rest on the shard's. Held as a read is. */
#include "services/broker/partition_internal.h"
#include "storage/log/records.h"

struct PartitionFindState {
  PartitionFind find; /* first */
  gint holders;       /* atomic */
  Shard *shard;
  Loop *asker;
  LoopTask task;
  LogFind store_find; /* the shard's */
};
typedef struct PartitionFindState FindState;

PartitionFind *partition_find_new(void) {
  FindState *state = g_new0(FindState, 1);
  state->find.record_timestamp_ms = LOG_TIMESTAMP_NONE;
  state->find.state = state;
  state->holders = 1;
  return &state->find;
}

static void release(FindState *state) {
  if (!g_atomic_int_dec_and_test(&state->holders))
    return;
  failure_free(state->find.failure);
  g_free(state);
}

void partition_find_free(PartitionFind *find) {
  if (find)
    release(find->state);
}

static void run_done(LoopTask *task) {
  FindState *state = (FindState *)((char *)task - G_STRUCT_OFFSET(FindState, task));
  state->find.done(&state->find, state->find.user_data);
}

/* @failure: taken; NULL for success */
static void finish(FindState *state, Failure *failure) {
  state->find.failure = failure;
  state->task.run = run_done;
  loop_post_completion(state->asker, &state->task);
  release(state);
}

/* ---- by time ---- */

static void search_from(FindState *state, gint64 start_offset);

/* The first record of @batch at or behind @start_offset that is not before the time. Returns FALSE when there is none,
 * or with *@ret_failure set. */
static gboolean search_batch(FindState *state, const LogBatch *batch, gint64 start_offset, Failure **ret_failure) {
  g_autoptr(LogRecordsReader) reader = NULL;
  *ret_failure = log_records_reader_new(batch, &reader);
  if (*ret_failure)
    return FALSE;
  for (LogRecord record; log_records_reader_next(reader, &record, ret_failure);) {
    if (record.offset < start_offset || record.timestamp_ms < state->find.timestamp_ms)
      continue;
    state->find.found = TRUE;
    state->find.offset = record.offset;
    state->find.record_timestamp_ms = record.timestamp_ms;
    return TRUE;
  }
  return FALSE;
}

static void on_store_find(LogFind *store_find) {
  FindState *state = (FindState *)((char *)store_find - G_STRUCT_OFFSET(FindState, store_find));
  Failure *failure = g_steal_pointer(&store_find->failure);
  Partition *partition = partition_lookup(state->shard, state->find.log_id);
  if (partition)
    failure = partition_read_failure(partition, failure);
  if (failure || !store_find->found) {
    log_find_clear(store_find);
    finish(state, failure);
    return;
  }
  gint64 next = log_batch_next_offset(&store_find->batch);
  gboolean found = search_batch(state, &store_find->batch, store_find->start_offset, &failure);
  log_find_clear(store_find);
  if (found || failure)
    finish(state, failure);
  else
    search_from(state, next); /* its latest record lies before the log's start */
}

static void search_from(FindState *state, gint64 start_offset) {
  if (start_offset >= state->find.bounds.high_watermark) {
    finish(state, NULL);
    return;
  }
  state->store_find = (LogFind){.log_id = state->find.log_id,
                                .timestamp_ms = state->find.timestamp_ms,
                                .start_offset = start_offset,
                                .end_offset = state->find.bounds.high_watermark,
                                .loop = state->shard->loop,
                                .done = on_store_find};
  if (!log_store_find(state->shard->broker->store, &state->store_find))
    finish(state, failure_new(FAILURE(OVERLOADED), "too many reads wait for the disk: try again soon"));
}

/* ---- starting ---- */

static void find_run(FindState *state) {
  PartitionFind *find = &state->find;
  Partition *partition = partition_find_led(state->shard, find->log_id, find->leader_epoch);
  if (!partition) {
    finish(state, partition_not_leader(find->log_id, find->leader_epoch));
    return;
  }
  find->bounds = partition_bounds(partition);
  if (find->kind == PARTITION_FIND_EARLIEST) {
    find->offset = find->bounds.log_start_offset;
    find->found = find->offset < find->bounds.high_watermark;
    finish(state, NULL);
    return;
  }
  if (!replica_knows_high_watermark(partition->replica)) {
    finish(state, failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                              "the new leader of %s does not know yet how far readers may see: try again soon",
                              partition->name));
    return;
  }
  find->offset = find->bounds.high_watermark;
  if (find->kind == PARTITION_FIND_TIME)
    search_from(state, find->bounds.log_start_offset);
  else
    finish(state, NULL);
}

static void run_find(LoopTask *task) {
  find_run((FindState *)((char *)task - G_STRUCT_OFFSET(FindState, task)));
}

void partition_find_start(PartitionFind *find, Shard *shard, Loop *asker) {
  FindState *state = find->state;
  state->shard = shard;
  state->asker = asker;
  g_atomic_int_inc(&state->holders);
  if (asker == shard->loop) {
    find_run(state);
    return;
  }
  state->task.run = run_find;
  if (!loop_post(shard->loop, &state->task))
    finish(state, failure_new(FAILURE(OVERLOADED), "the partition's queue is full: try again soon"));
}
