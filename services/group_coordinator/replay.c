/* See replay.h.
 *
 *   waiting (no leader, or a pause) ──► asking: one Fetch, in batches as stored ──► records told ──► asking ... ──►
 * done ▲                                  │ the leader changed, or did not answer └──────────── RETRY_MS ────────────┘
 *
 * Invariants: one call at a time; each record up to `to` is told once, in the order of the log; the next question
 * begins behind the last batch that was told whole. Owner: the coordinator's loop. Failure modes: a batch that does not
 * match its checksum, or that the reader of records refuses, ends it; everything else is asked again, for ever. */
#include "services/group_coordinator/replay.h"

#include <stdlib.h>

#include "services/base/slog.h"
#include "services/base/times.h"
#include "storage/log/records.h"

#define CHUNK_BYTES (2 << 20)
#define WAIT_MS 500
#define CALL_TIMEOUT_MS 5000
#define RETRY_MS 50

struct Replay {
  RpcClient *client;
  Loop *loop;
  Timers *timers;
  char *topic, *topic_id;
  gint32 partition;
  gint64 next, to;
  ReplayEvents events;
  gpointer data;
  char *leader; /* NULL: there is none */
  RpcClientCall *call;
  Timer retry;
};

static void ask(Replay *replay);

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  ask(data);
}

static void ask_later(Replay *replay) {
  timer_set(replay->timers, &replay->retry, g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND, on_retry,
            replay);
}

/* ---- what came ---- */

/* A field as bytes that share the batch's memory. */
static GBytes *share(GBytes *bytes, LogField field) {
  if (!field.present)
    return NULL;
  gsize size;
  const guint8 *start = g_bytes_get_data(bytes, &size);
  return field.len ? g_bytes_new_from_bytes(bytes, (gsize)(field.data - start), field.len) : g_bytes_new(NULL, 0);
}

static Failure *take_records(Replay *replay, const LogBatch *batch) {
  g_autoptr(LogRecordsReader) reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  while (!failure && log_records_reader_next(reader, &record, &failure) && record.offset <= replay->to) {
    if (record.offset < replay->next)
      continue;
    g_autoptr(GBytes) key = share(log_records_reader_bytes(reader), record.key);
    g_autoptr(GBytes) value = share(log_records_reader_bytes(reader), record.value);
    if (key)
      failure = replay->events.record(key, value, record.offset, replay->data);
  }
  return failure;
}

static Failure *take_batch(Replay *replay, RpcMessage *message, const Milena__V1__EncodedBatch *proto) {
  if (!proto->header || !proto->stamp)
    return failure_new(FAILURE(CORRUPT_LOG), "a batch came without its header or stamp");
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  g_autoptr(GBytes) records = rpc_message_share(message, &proto->records);
  Failure *failure = log_batch_from_proto(proto, records, &batch);
  if (!failure)
    failure = log_batch_verify(&batch);
  if (!failure && log_batch_next_offset(&batch) > replay->next)
    failure = take_records(replay, &batch);
  if (!failure)
    replay->next = MAX(replay->next, log_batch_next_offset(&batch));
  return failure;
}

static void finish(Replay *replay, const Failure *failure) {
  timer_clear(replay->timers, &replay->retry);
  replay->events.done(failure, replay->data);
}

/* What was before the log's start is gone; the rest is asked again. */
static void take_refusal(Replay *replay, const Failure *failure) {
  const char *earliest = failure_get(failure, "earliest");
  gint64 start = earliest ? g_ascii_strtoll(earliest, NULL, 10) : -1;
  if (failure_reason(failure) == FAILURE(OFFSET_OUT_OF_RANGE) && start > replay->next)
    replay->next = start;
  if (failure_reason(failure) == FAILURE(CORRUPT_LOG)) {
    finish(replay, failure);
    return;
  }
  slog_debug("a partition's replay is asked again", "partition", SLOG_INT(replay->partition), "error",
             failure_message(failure), NULL);
  ask_later(replay);
}

static void on_fetched(RpcMessage *message, const Failure *failure, gpointer data) {
  Replay *replay = data;
  g_clear_pointer(&replay->call, rpc_client_call_unref);
  if (failure) {
    take_refusal(replay, failure);
    return;
  }
  const Milena__V1__FetchResponse *response = rpc_message_body(message);
  g_autoptr(Failure) refusal = response->n_partitions == 1
                                   ? failure_from_status(response->partitions[0]->status)
                                   : failure_new(FAILURE(INTERNAL), "the leader did not answer for the partition");
  if (refusal) {
    take_refusal(replay, refusal);
    return;
  }
  const Milena__V1__FetchedPartition *fetched = response->partitions[0];
  Failure *wrong = NULL;
  for (gsize i = 0; i < fetched->n_batches && !wrong && replay->next <= replay->to; i++)
    wrong = take_batch(replay, message, fetched->batches[i]);
  if (wrong || replay->next > replay->to) {
    finish(replay, wrong);
    failure_free(wrong);
    return;
  }
  replay->next = MAX(replay->next, fetched->next_offset);
  ask(replay);
}

/* ---- asking ---- */

static void ask(Replay *replay) {
  if (replay->call || timer_is_set(&replay->retry) || !replay->leader)
    return;
  Google__Protobuf__Duration wait;
  times_duration_set(&wait, WAIT_MS);
  Milena__V1__FetchPartition partition = MILENA__V1__FETCH_PARTITION__INIT, *partitions[] = {&partition};
  partition.topic = replay->topic;
  partition.topic_id = replay->topic_id;
  partition.partition = replay->partition;
  partition.offset = replay->next;
  partition.max_bytes = CHUNK_BYTES;
  Milena__V1__FetchRequest request = MILENA__V1__FETCH_REQUEST__INIT;
  request.n_partitions = 1;
  request.partitions = partitions;
  request.max_bytes = CHUNK_BYTES;
  request.max_wait = &wait;
  request.format = MILENA__V1__FORMAT__FORMAT_BATCHES;
  request.no_proxy = TRUE;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  replay->call = rpc_client_unary(replay->client, replay->leader, &milena__v1__consumer_service__descriptor, "Fetch",
                                  message, g_get_monotonic_time() + CALL_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND,
                                  replay->loop, on_fetched, replay);
}

static void drop_call(Replay *replay) {
  if (!replay->call)
    return;
  rpc_client_call_abandon(replay->call);
  g_clear_pointer(&replay->call, rpc_client_call_unref);
}

void replay_set_leader(Replay *replay, const char *address) {
  if (!g_strcmp0(replay->leader, address))
    return;
  g_free(replay->leader);
  replay->leader = g_strdup(address);
  drop_call(replay);
  timer_clear(replay->timers, &replay->retry);
  ask(replay);
}

Replay *replay_new(const ReplayOptions *options) {
  Replay *replay = g_new0(Replay, 1);
  *replay = (Replay){.client = options->client,
                     .loop = options->loop,
                     .timers = options->timers,
                     .topic = g_strdup(options->topic),
                     .topic_id = g_strdup(options->topic_id),
                     .partition = options->partition,
                     .next = options->from,
                     .to = options->to,
                     .events = *options->events,
                     .data = options->data};
  return replay;
}

void replay_free(Replay *replay) {
  if (!replay)
    return;
  drop_call(replay);
  timer_clear(replay->timers, &replay->retry);
  g_free(replay->leader);
  g_free(replay->topic);
  g_free(replay->topic_id);
  g_free(replay);
}
