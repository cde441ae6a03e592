/* What followers tell a partition that is led here: where their logs end, and how far they have come. See partition.h.
 *
 * Thread: made on the asker's loop (the stream's), carried out on the shard's, answered on the asker's. Failure modes:
 * OVERLOADED when the shard's mailbox is full; progress that finds no room there is told again with the next. */
#include "services/broker/partition_internal.h"
#include "services/broker/replication/replication.h"

struct PartitionBeginState {
  PartitionBegin begin; /* first */
  Shard *shard;
  Loop *asker;
  LoopTask task;
};
typedef struct PartitionBeginState BeginState;

PartitionBegin *partition_begin_new(void) {
  BeginState *state = g_new0(BeginState, 1);
  state->begin.state = state;
  return &state->begin;
}

void partition_begin_free(PartitionBegin *begin) {
  if (!begin)
    return;
  failure_free(begin->failure);
  g_free(begin->state);
}

static BeginState *state_of(LoopTask *task) {
  return (BeginState *)((char *)task - G_STRUCT_OFFSET(BeginState, task));
}

static void run_done(LoopTask *task) {
  BeginState *state = state_of(task);
  state->begin.done(&state->begin, state->begin.user_data);
}

/* @failure: taken */
static void answer(BeginState *state, Failure *failure) {
  state->begin.failure = failure;
  state->task.run = run_done;
  loop_post_completion(state->asker, &state->task);
}

static Failure *stale_registration(const PartitionBegin *begin) {
  return failure_new(FAILURE(FENCED),
                     "broker %d can't follow with the registration of epoch %" G_GUINT64_FORMAT
                     ": it is no replica of the partition, or has registered anew since",
                     begin->broker_id, begin->broker_epoch);
}

static void begin_run(BeginState *state) {
  PartitionBegin *begin = &state->begin;
  Partition *partition = partition_find_led(state->shard, begin->log_id, begin->position.leader_epoch);
  if (!partition) {
    answer(state, partition_not_leader(begin->log_id, begin->position.leader_epoch));
    return;
  }
  Failure *failure =
      replica_match(partition->replica, &begin->position, &begin->match, &begin->epoch, &begin->end_offset);
  if (failure || begin->match != REPLICA_GOES_ON) {
    answer(state, failure);
    return;
  }
  ReplicaOut out = REPLICA_OUT_INIT;
  begin->visit = replica_follower_begins(partition->replica, begin->broker_id, begin->broker_epoch, &begin->position,
                                         g_get_monotonic_time() / 1000, &out);
  replica_follower_start(partition->replica, begin->broker_id, begin->broker_epoch, begin->log_start);
  if (begin->visit == 0)
    failure = stale_registration(begin);
  partition_settle(partition, &out);
  replication_look_soon(state->shard->replication);
  answer(state, failure);
}

static void run_begin(LoopTask *task) {
  begin_run(state_of(task));
}

void partition_begin_start(PartitionBegin *begin, Shard *shard, Loop *asker) {
  BeginState *state = begin->state;
  state->shard = shard;
  state->asker = asker;
  state->task.run = run_begin;
  if (asker == shard->loop)
    begin_run(state);
  else if (!loop_post(shard->loop, &state->task))
    answer(state, failure_new(FAILURE(OVERLOADED), "the partition's queue is full: try again soon"));
}

/* ---- progress ---- */

typedef struct {
  LoopTask task; /* first */
  Shard *shard;
  gint32 broker_id;
  guint64 broker_epoch;
  GArray *progress;
} Told;

static void told_run(LoopTask *task) {
  Told *told = (Told *)task;
  gint64 now_ms = g_get_monotonic_time() / 1000;
  for (guint i = 0; i < told->progress->len; i++) {
    const PartitionProgress *progress = &g_array_index(told->progress, PartitionProgress, i);
    Partition *partition = partition_find_led(told->shard, progress->log_id, progress->leader_epoch);
    if (!partition)
      continue;
    ReplicaOut out = REPLICA_OUT_INIT;
    replica_follower_start(partition->replica, told->broker_id, told->broker_epoch, progress->log_start);
    if (replica_follower_progress(partition->replica, told->broker_id, told->broker_epoch, progress->written_end,
                                  progress->synced_end, now_ms, &out))
      replication_look_soon(told->shard->replication);
    partition_settle(partition, &out);
    partition_look_at_trims(partition);
  }
  g_array_unref(told->progress);
  g_free(told);
}

void partition_tell_progress(Shard *shard, Loop *asker, gint32 broker_id, guint64 broker_epoch, GArray *progress) {
  Told *told = g_new(Told, 1);
  *told = (Told){{NULL, told_run}, shard, broker_id, broker_epoch, progress};
  if (asker == shard->loop)
    told_run(&told->task);
  else
    loop_post_completion(shard->loop, &told->task);
}

/* ---- leaving ---- */

typedef struct {
  LoopTask task; /* first */
  Shard *shard;
  guint64 log_id;
  gint32 broker_id;
  guint64 visit;
} Left;

static void left_run(LoopTask *task) {
  g_autofree Left *left = (Left *)task;
  Partition *partition = partition_lookup(left->shard, left->log_id);
  if (partition)
    replica_follower_left(partition->replica, left->broker_id, left->visit);
}

void partition_tell_left(Shard *shard, Loop *asker, guint64 log_id, gint32 broker_id, guint64 visit) {
  Left *left = g_new(Left, 1);
  *left = (Left){{NULL, left_run}, shard, log_id, broker_id, visit};
  if (asker == shard->loop)
    left_run(&left->task);
  else
    loop_post_completion(shard->loop, &left->task);
}
