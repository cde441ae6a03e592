/* Reads: the tail cache first, else the store; with nothing to give, wait for the high watermark without any thread.
 *
 *   started ──► cache hit ───────────────────────────────┐
 *      │  ▲                                              ▼
 *      │  └── high watermark moved ── waiting ──time──► done ──► asker
 *      └────► store ─────────────────────────────────────┘
 *
 * Two holders as with appends: the asker until it frees the read, the shard until it is done; a cancellation on its way
 * holds it too. Thread: begins and ends on the asker's loop, the rest on the shard's. */
#include "services/broker/partition_internal.h"

/* A follower hears of a higher watermark with the next records, or after this time alone. Nobody is served by it there,
 * and who becomes the leader finds it out anew: so it is not worth a message for each record. */
#define TELL_WATERMARK_MS 50

struct PartitionReadState {
  PartitionRead read; /* first */
  gint holders;       /* atomic */
  Shard *shard;
  Loop *asker;
  LoopTask task, cancel_task;
  gboolean cancelling; /* the asker's */

  /* The shard's. */
  Partition *partition; /* while waiting */
  GList wait_link;
  Timer timer;
  LogRead store_read;
  gboolean finished;
};

typedef struct PartitionReadState ReadState;

static GQueue *waiting_in(const ReadState *state, Partition *partition) {
  return state->read.for_follower ? &partition->followers : &partition->waiting;
}

PartitionRead *partition_read_new(void) {
  ReadState *state = g_new0(ReadState, 1);
  state->read.batches = log_batch_array_new();
  state->read.state = state;
  state->holders = 1;
  return &state->read;
}

static void release(ReadState *state) {
  if (!g_atomic_int_dec_and_test(&state->holders))
    return;
  /* Counted, which the analyzer does not follow. */
  g_clear_pointer(&state->read.batches, g_array_unref); /* NOLINT(clang-analyzer-unix.Malloc) */
  failure_free(state->read.failure);
  g_free(state);
}

void partition_read_free(PartitionRead *read) {
  if (read)
    release(read->state);
}

/* ---- ending ---- */

static void run_done(LoopTask *task) {
  ReadState *state = (ReadState *)((char *)task - G_STRUCT_OFFSET(ReadState, task));
  state->read.done(&state->read, state->read.user_data);
}

static void stop_waiting(ReadState *state) {
  if (!state->partition)
    return;
  g_queue_unlink(waiting_in(state, state->partition), &state->wait_link);
  timer_clear(state->shard->timers, &state->timer);
  state->partition = NULL;
}

/* @failure: taken; NULL for success */
static void finish(ReadState *state, Failure *failure) {
  stop_waiting(state);
  state->finished = TRUE;
  state->read.failure = failure;
  state->task.run = run_done;
  loop_post_completion(state->asker, &state->task);
  release(state);
}

/* ---- waiting ---- */

static gboolean may_wait(const ReadState *state) {
  return state->read.wait_until_us > g_get_monotonic_time();
}

static void on_wait_over(Timer *timer, gpointer data);

static void wait_until(ReadState *state, Partition *partition, gint64 until_us) {
  if (!state->partition) {
    state->partition = partition;
    state->wait_link.data = state;
    g_queue_push_tail_link(waiting_in(state, partition), &state->wait_link);
  } else if (timer_is_set(&state->timer)) {
    return; /* waits already */
  }
  timer_set(state->shard->timers, &state->timer, until_us, on_wait_over, state);
}

static void wait_for_more(ReadState *state, Partition *partition) {
  wait_until(state, partition, state->read.wait_until_us);
}

/* ---- replicas that catch up ---- */

/* Sent at a time at most, of what a second may bring: the rest of it is for others. */
#define PACED_PARTS 10
#define PACED_MIN_BYTES (16 << 10)

/* How many bytes a second its follower may have; 0: no bound. What goes to replicas in sync is never held back. */
static guint64 throttle_of(const ReadState *state, const Partition *partition) {
  const MetadataPartition *metadata;
  guint64 rate = (guint64)state->shard->broker->catch_up_rate;
  if (replica_follower_in_sync(partition->replica, state->read.follower_id))
    return 0;
  if (partition_metadata(partition, &metadata) && metadata->throttle_bytes > 0)
    rate = rate > 0 ? MIN(rate, metadata->throttle_bytes) : metadata->throttle_bytes;
  return rate;
}

/* Its batches are there: the next ones have to wait for so long as these last. */
static void pace(ReadState *state, const Partition *partition) {
  PartitionRead *read = &state->read;
  guint64 rate = read->for_follower ? throttle_of(state, partition) : 0;
  read->paced_until_us = rate == 0 ? 0
                                   : pacer_take(&state->shard->broker->catch_up, g_get_monotonic_time(),
                                                log_batch_array_payload_bytes(read->batches), rate);
}

/* ---- reading ---- */

static Failure *out_of_range(const ReadState *state, const Partition *partition) {
  PartitionBounds bounds = partition_bounds(partition);
  Failure *failure = failure_new(
      FAILURE(OFFSET_OUT_OF_RANGE),
      "offset %" G_GINT64_FORMAT " of %s is out of range: the log holds %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
      state->read.from_offset, partition->name, bounds.log_start_offset, bounds.high_watermark);
  failure_add(failure, "earliest", "%" G_GINT64_FORMAT, bounds.log_start_offset);
  return failure_add(failure, "latest", "%" G_GINT64_FORMAT, bounds.high_watermark);
}

/* Behind the end of the log, for a leader that was cut off for longer than its session: there may be another one by
 * now, who committed what is asked for. Only the controllers know, and say so to who can reach them. */
static Failure *behind_end(const ReadState *state, const Partition *partition) {
  if (g_get_monotonic_time() < atomic_load(&state->shard->broker->session_until_us))
    return out_of_range(state, partition);
  return partition_not_leader(state->read.log_id, replica_leader_epoch(partition->replica));
}

static void on_store_read(LogRead *store_read) {
  ReadState *state = (ReadState *)((char *)store_read - G_STRUCT_OFFSET(ReadState, store_read));
  PartitionRead *read = &state->read;
  g_array_unref(read->batches);
  read->batches = g_steal_pointer(&store_read->batches);
  Failure *failure = g_steal_pointer(&store_read->failure);
  log_read_clear(store_read);
  /* Damage behind good batches shows when the reader comes to it. */
  if (failure && read->batches->len > 0) {
    failure_free(failure);
    failure = NULL;
  }
  Partition *partition = partition_lookup(state->shard, read->log_id);
  if (partition) {
    read->bounds = partition_bounds(partition);
    if (read->from_offset <
        read->bounds.log_start_offset) { /* it went meanwhile: what is there is not what was asked */
      failure_free(failure);
      failure = out_of_range(state, partition);
      g_array_set_size(read->batches, 0);
    }
    pace(state, partition);
    failure = partition_read_failure(partition, failure);
  }
  finish(state, failure);
}

static void read_store(ReadState *state, const Partition *partition, gsize max_bytes) {
  state->store_read = (LogRead){.log_id = state->read.log_id,
                                .from_offset = state->read.from_offset,
                                .end_offset = state->read.for_follower ? replica_local_end(partition->replica)
                                                                       : replica_high_watermark(partition->replica),
                                .max_bytes = max_bytes,
                                .loop = state->shard->loop,
                                .done = on_store_read};
  stop_waiting(state);
  if (!log_store_read(state->shard->broker->store, &state->store_read))
    finish(state, failure_new(FAILURE(OVERLOADED), "too many reads wait for the disk: try again soon"));
}

static void tell_watermark_soon(ReadState *state, Partition *partition) {
  wait_for_more(state, partition);
  if (!timer_is_set(&state->timer))
    timer_set(state->shard->timers, &state->timer, g_get_monotonic_time() + TELL_WATERMARK_MS * G_TIME_SPAN_MILLISECOND,
              on_wait_over, state);
}

/* What the tail cache does not have (any more) is at the disk, if it has come there. */
static void read_for_follower(ReadState *state, Partition *partition, gboolean last) {
  PartitionRead *read = &state->read;
  read->bounds = partition_bounds(partition);
  gint64 end = replica_log_end(partition->replica);
  guint64 rate = throttle_of(state, partition);
  gsize max_bytes = rate > 0 ? CLAMP(rate / PACED_PARTS, PACED_MIN_BYTES, read->max_bytes) : read->max_bytes;
  if (read->from_offset < read->bounds.log_start_offset || read->from_offset > end) {
    finish(state, out_of_range(state, partition));
  } else if (rate > 0 && g_get_monotonic_time() < read->paced_until_us) {
    wait_until(state, partition, read->paced_until_us);
  } else if (log_tail_cache_lookup(partition->shard->cache, read->log_id, read->from_offset, G_MAXINT64, max_bytes,
                                   read->batches)) {
    pace(state, partition);
    finish(state, NULL);
  } else if (read->from_offset < replica_local_end(partition->replica)) {
    read_store(state, partition, max_bytes);
  } else if (read->bounds.high_watermark <= read->told_watermark && read->bounds.log_start_offset <= read->told_start) {
    wait_for_more(state, partition);
  } else if (last) {
    finish(state, NULL);
  } else {
    tell_watermark_soon(state, partition);
  }
}

/* @last: what is there must do */
static void read_on(ReadState *state, Partition *partition, gboolean last) {
  PartitionRead *read = &state->read;
  if (read->for_follower) {
    read_for_follower(state, partition, last);
    return;
  }
  read->bounds = partition_bounds(partition);
  if (read->from_offset < read->bounds.log_start_offset) {
    finish(state, out_of_range(state, partition));
    return;
  }
  if (read->from_offset > replica_log_end(partition->replica)) {
    finish(state, behind_end(state, partition));
    return;
  }
  gboolean wait = !last && may_wait(state);
  if (read->from_offset >= read->bounds.high_watermark) {
    if (wait)
      wait_for_more(state, partition);
    else
      finish(state, NULL);
    return;
  }
  if (!log_tail_cache_lookup(partition->shard->cache, read->log_id, read->from_offset, read->bounds.high_watermark,
                             read->max_bytes, read->batches)) {
    read_store(state, partition, read->max_bytes);
    return;
  }
  gsize wanted = MIN(read->min_bytes, read->max_bytes);
  if (wait && log_batch_array_payload_bytes(read->batches) < wanted &&
      log_batch_next_offset(LOG_BATCH_AT(read->batches, read->batches->len - 1)) >= read->bounds.high_watermark) {
    g_array_set_size(read->batches, 0);
    wait_for_more(state, partition);
    return;
  }
  finish(state, NULL);
}

static void on_wait_over(Timer *timer, gpointer data) {
  (void)timer;
  ReadState *state = data;
  read_on(state, state->partition, TRUE);
}

static void wake(Partition *partition, GQueue *queue) {
  /* Those that go on waiting stay in the queue: look at each that is there now, once. */
  guint count = g_queue_get_length(queue);
  GList *next;
  for (GList *link = queue->head; link && count > 0; link = next, count--) {
    next = link->next;
    ReadState *state = link->data;
    if (!partition_find_led(partition->shard, partition->log_id, state->read.leader_epoch))
      finish(state, partition_not_leader(partition->log_id, state->read.leader_epoch));
    else
      read_on(state, partition, FALSE);
  }
}

void partition_wake_reads(Partition *partition) {
  wake(partition, &partition->waiting);
}

void partition_wake_followers(Partition *partition) {
  wake(partition, &partition->followers);
}

/* ---- starting ---- */

static void read_run(ReadState *state) {
  Partition *partition = partition_find_led(state->shard, state->read.log_id, state->read.leader_epoch);
  if (!partition)
    finish(state, partition_not_leader(state->read.log_id, state->read.leader_epoch));
  else
    read_on(state, partition, FALSE);
}

static void run_read(LoopTask *task) {
  read_run((ReadState *)((char *)task - G_STRUCT_OFFSET(ReadState, task)));
}

void partition_read_start(PartitionRead *read, Shard *shard, Loop *asker) {
  ReadState *state = read->state;
  state->shard = shard;
  state->asker = asker;
  g_atomic_int_inc(&state->holders);
  if (asker == shard->loop) {
    read_run(state);
    return;
  }
  state->task.run = run_read;
  if (!loop_post(shard->loop, &state->task))
    finish(state, failure_new(FAILURE(OVERLOADED), "the partition's queue is full: try again soon"));
}

/* ---- cancelling ---- */

static void cancel_run(ReadState *state) {
  /* A read that is at the disk comes back soon by itself. The cancellation's own hold outlives the read's. */
  if (state->partition && !state->finished)
    finish(state, failure_new(FAILURE(CANCELLED), "the read was cancelled"));
  release(state); /* NOLINT(clang-analyzer-unix.Malloc) */
}

static void run_cancel(LoopTask *task) {
  cancel_run((ReadState *)((char *)task - G_STRUCT_OFFSET(ReadState, cancel_task)));
}

void partition_read_cancel(PartitionRead *read) {
  ReadState *state = read->state;
  if (state->cancelling)
    return;
  state->cancelling = TRUE;
  g_atomic_int_inc(&state->holders);
  if (state->asker == state->shard->loop) {
    cancel_run(state);
    return;
  }
  state->cancel_task.run = run_cancel;
  loop_post_completion(state->shard->loop, &state->cancel_task);
}
