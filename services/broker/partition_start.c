/* The log's start: it moves when records are over or deleted (the leader decides), is stored, and is told to followers,
 * who move theirs. Deletions that were asked for are answered once every replica in sync keeps nothing below, durably:
 * so whoever leads next does not bring back what was deleted.
 *
 *   moved ──partition_save_start──► on its way to the disk ──synced──► saved; followers tell their leader
 *              ▲                          │ it moved again
 *              └──────────────────────────┘
 *
 * Thread: a trim begins and ends on the asker's loop; the rest is the shard's. Failure modes: a store that takes no
 * more writes gets the start with the next append, or the next look of the retention; a deletion that is not confirmed
 * in time is answered with UNKNOWN_OUTCOME, and may be repeated. */
#include "services/broker/partition_internal.h"

struct PartitionTrimState {
  PartitionTrim trim; /* first */
  gint holders;       /* atomic: the asker until it frees it, the shard until it is done */
  Shard *shard;
  Loop *asker;
  LoopTask task;

  /* The shard's. */
  Partition *partition; /* while waiting */
  gint64 target;        /* the start that is waited for */
  GList wait_link;
  Timer timer;
};
typedef struct PartitionTrimState TrimState;

/* ---- storing it ---- */

typedef struct {
  LogWrite write; /* first: on_saved gets it back */
  Partition *partition;
  gint64 start;
  GByteArray *hot;
} Save;

static void save_free(Save *save) {
  g_byte_array_unref(save->hot);
  g_free(save);
}

static void on_saved(LogWrite *write, LogWriteStage stage) {
  (void)stage;
  Save *save = (Save *)write;
  Partition *partition = save->partition;
  partition->writes_in_flight--;
  partition->saving_start = FALSE;
  partition->saved_start = MAX(partition->saved_start, save->start);
  save_free(save);
  following_written(partition);
  partition_look_at_trims(partition);
  partition_save_start(partition);
}

void partition_save_start(Partition *partition) {
  gint64 start = replica_log_start(partition->replica);
  if (!partition->exists && start > partition->saved_start) { /* it has nothing, and its first batch brings its start */
    partition->saved_start = start;
    following_written(partition);
  }
  if (partition->doomed || partition->saving_start || start <= partition->saved_start ||
      replica_damage(partition->replica))
    return;
  Save *save = g_new0(Save, 1);
  save->partition = partition;
  save->start = start;
  save->hot = g_byte_array_new();
  replica_encode_hot(partition->replica, partition->log_id, NULL, save->hot);
  save->write = (LogWrite){.kind = LOG_WRITE_PUT_HOT,
                           .log_id = partition->log_id,
                           .hot = save->hot->data,
                           .hot_len = save->hot->len,
                           .wants = LOG_WRITE_SYNCED,
                           .sync_within_ms = LOG_SYNC_NEVER,
                           .loop = partition->shard->loop,
                           .done = on_saved};
  if (!log_store_submit(partition->shard->broker->store, &save->write)) {
    save_free(save);
    return;
  }
  partition->writes_in_flight++;
  partition->saving_start = TRUE;
}

void partition_advance_start(Partition *partition, gint64 start) {
  if (!replica_advance_start(partition->replica, start))
    return;
  partition_save_start(partition);
  partition_wake_followers(partition);
}

/* ---- deletions that were asked for ---- */

PartitionTrim *partition_trim_new(void) {
  TrimState *state = g_new0(TrimState, 1);
  state->trim.state = state;
  state->holders = 1;
  return &state->trim;
}

static void release(TrimState *state) {
  if (!g_atomic_int_dec_and_test(&state->holders))
    return;
  failure_free(state->trim.failure);
  g_free(state);
}

void partition_trim_free(PartitionTrim *trim) {
  if (trim)
    release(trim->state);
}

static void run_done(LoopTask *task) {
  TrimState *state = (TrimState *)((char *)task - G_STRUCT_OFFSET(TrimState, task));
  state->trim.done(&state->trim, state->trim.user_data);
}

/* @failure: taken; NULL for success */
static void finish(TrimState *state, Failure *failure) {
  if (state->partition) {
    g_queue_unlink(&state->partition->trims, &state->wait_link);
    timer_clear(state->shard->timers, &state->timer);
    state->partition = NULL;
  }
  state->trim.failure = failure;
  state->task.run = run_done;
  loop_post_completion(state->asker, &state->task);
  release(state);
}

/* Answers it if it is done. */
static void look_at_trim(TrimState *state) {
  Partition *partition = state->partition;
  gint32 epoch = state->trim.leader_epoch;
  if (!partition_find_led(state->shard, partition->log_id, epoch)) {
    finish(state, partition_not_leader(partition->log_id, epoch)); /* its next leader is asked again */
    return;
  }
  if (partition->saved_start < state->target || replica_followers_start(partition->replica) < state->target)
    return;
  state->trim.log_start_offset = replica_log_start(partition->replica);
  finish(state, NULL);
}

void partition_look_at_trims(Partition *partition) {
  GList *next;
  for (GList *link = partition->trims.head; link; link = next) {
    next = link->next;
    look_at_trim(link->data);
  }
}

static void on_late(Timer *timer, gpointer data) {
  (void)timer;
  finish(data, failure_new(FAILURE(UNKNOWN_OUTCOME),
                           "the records are deleted here, but not all replicas in sync have confirmed it in time: it "
                           "may have to be asked again"));
}

static Failure *check(const TrimState *state, const Partition *partition) {
  const PartitionTrim *trim = &state->trim;
  if (!partition)
    return partition_not_leader(trim->log_id, trim->leader_epoch);
  if (partition->is_internal)
    return failure_new(FAILURE(INTERNAL_TOPIC), "%s is Milena's own: its records are not deleted by request",
                       partition->name);
  if (partition->compaction.is_on)
    return failure_new(FAILURE(UNSUPPORTED),
                       "%s is compacted: its records go when later ones have their keys; write records without a value "
                       "(tombstones) instead",
                       partition->name);
  if (replica_damage(partition->replica))
    return failure_prefix(failure_copy(replica_damage(partition->replica)), "nothing was deleted");
  if (!replica_knows_high_watermark(partition->replica))
    return failure_set_retry_delay(failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                                               "the partition has a new leader, which does not know yet what is "
                                               "committed: nothing was deleted, try again soon"),
                                   100);
  PartitionBounds bounds = partition_bounds(partition);
  if (trim->before_offset <= bounds.high_watermark)
    return NULL;
  Failure *failure = failure_new(FAILURE(OFFSET_OUT_OF_RANGE),
                                 "records below offset %" G_GINT64_FORMAT
                                 " of %s can't be deleted: the log holds %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                                 trim->before_offset, partition->name, bounds.log_start_offset, bounds.high_watermark);
  failure_add(failure, "earliest", "%" G_GINT64_FORMAT, bounds.log_start_offset);
  return failure_add(failure, "latest", "%" G_GINT64_FORMAT, bounds.high_watermark);
}

static void trim_run(TrimState *state) {
  PartitionTrim *trim = &state->trim;
  Partition *partition = partition_find_led(state->shard, trim->log_id, trim->leader_epoch);
  Failure *failure = check(state, partition);
  if (failure || trim->validate_only) {
    trim->log_start_offset = failure ? -1 : replica_log_start(partition->replica);
    finish(state, failure);
    return;
  }
  state->target = trim->before_offset < 0 ? replica_high_watermark(partition->replica) : trim->before_offset;
  state->partition = partition;
  state->wait_link.data = state;
  g_queue_push_tail_link(&partition->trims, &state->wait_link);
  timer_set(state->shard->timers, &state->timer, trim->deadline_us, on_late, state);
  partition_advance_start(partition, state->target);
  look_at_trim(state);
}

static void run_trim(LoopTask *task) {
  trim_run((TrimState *)((char *)task - G_STRUCT_OFFSET(TrimState, task)));
}

void partition_trim_start(PartitionTrim *trim, Shard *shard, Loop *asker) {
  TrimState *state = trim->state;
  state->shard = shard;
  state->asker = asker;
  g_atomic_int_inc(&state->holders);
  state->task.run = run_trim;
  if (asker == shard->loop)
    trim_run(state);
  else if (!loop_post(shard->loop, &state->task))
    finish(state,
           failure_new(FAILURE(OVERLOADED), "the partition's queue is full: nothing was deleted, try again soon"));
}
