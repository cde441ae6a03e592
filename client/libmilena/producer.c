/* The producer as users see it: see milena.h. An accumulator that users' threads fill, and a sender on the client's
 * loop that empties it; this file ties the two together and waits where a caller asks for it.
 *
 * Invariant: `options` never changes once the producer is made; accumulator and sender read it without a lock. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "client/libmilena/accumulator.h"
#include "client/libmilena/client.h"
#include "client/libmilena/sender.h"
#include "services/base/cond.h"

/* Headers of a record that fit beside it on the stack. */
#define HEADERS_ON_STACK 16
/* Of a batch, however large the buffer: LOG_BATCH_UNCOMPRESSED_BYTES_MAX bounds it anyway. */
#define BATCH_BYTES_MIN 1024

struct MilenaProducer {
  MilenaClient *client;
  MilenaProducerOptions options;
  Accumulator *accumulator;
  Sender *sender;
};

void milena_producer_options_init(MilenaProducerOptions *options) {
  *options = (MilenaProducerOptions){
      .acks = MILENA_ACKS_ALL,
      .compression = MILENA_COMPRESSION_NONE,
      .partitioner = MILENA_PARTITIONER_STICKY,
      .linger_ms = 5,
      .batch_bytes = 512u << 10,
      .in_flight_max = 256,
      .buffer_bytes = 64u << 20,
      .block_timeout_ms = 60 * 1000,
      .timeout_ms = 120 * 1000,
      .request_timeout_ms = 15 * 1000,
      .idempotent = true,
  };
}

static void clamp_options(MilenaProducerOptions *options) {
  options->acks = CLAMP(options->acks, MILENA_ACKS_NONE, MILENA_ACKS_ALL);
  options->compression = CLAMP(options->compression, MILENA_COMPRESSION_NONE, MILENA_COMPRESSION_LZ4);
  options->partitioner = CLAMP(options->partitioner, MILENA_PARTITIONER_STICKY, MILENA_PARTITIONER_ROUND_ROBIN);
  options->linger_ms = MAX(options->linger_ms, 0);
  options->batch_bytes = CLAMP(options->batch_bytes, BATCH_BYTES_MIN, LOG_BATCH_UNCOMPRESSED_BYTES_MAX);
  options->in_flight_max = MAX(options->in_flight_max, 1);
  options->buffer_bytes = MAX(options->buffer_bytes, BATCH_BYTES_MIN);
  options->block_timeout_ms = MAX(options->block_timeout_ms, 0);
  options->timeout_ms = MAX(options->timeout_ms, 1);
  options->request_timeout_ms = CLAMP(options->request_timeout_ms, 1, options->timeout_ms);
}

static void wake_sender(gpointer data) {
  MilenaProducer *producer = data;
  sender_wake(producer->sender);
}

MilenaProducer *milena_producer_new(MilenaClient *client, const MilenaProducerOptions *options) {
  MilenaProducer *producer = g_new0(MilenaProducer, 1);
  producer->client = client;
  milena_producer_options_init(&producer->options);
  if (options != NULL)
    producer->options = *options;
  clamp_options(&producer->options);
  producer->accumulator = accumulator_new(&producer->options, wake_sender, producer);
  producer->sender = sender_new(client, producer->accumulator, &producer->options);
  client_follow(client);
  return producer;
}

void milena_producer_free(MilenaProducer *producer, int32_t flush_timeout_ms) {
  if (producer == NULL)
    return;
  INVARIANT(!loop_is_current(client_loop(producer->client)), "a producer is not freed in a callback");
  if (flush_timeout_ms != 0)
    accumulator_flush(producer->accumulator, client_deadline_us(flush_timeout_ms));
  sender_close(producer->sender);
  sender_free(producer->sender);
  accumulator_free(producer->accumulator);
  g_free(producer);
}

/* ---- sending ---- */

MilenaBytes milena_bytes_text(const char *text) {
  return text != NULL ? (MilenaBytes){text, strlen(text)} : (MilenaBytes){NULL, 0};
}

static LogField to_field(MilenaBytes bytes) {
  return bytes.data != NULL ? log_field(bytes.data, bytes.size) : LOG_FIELD_NONE;
}

static MilenaError *check_record(const MilenaRecord *record) {
  if (record->topic == NULL || record->topic[0] == '\0')
    return milena_error_new(FAILURE(INVALID_FIELD), "a record needs the name of its topic");
  if (record->partition < MILENA_PARTITION_ANY)
    return milena_error_new(FAILURE(INVALID_FIELD),
                            "partition %d is none: they count from 0, and MILENA_PARTITION_ANY stands for any",
                            record->partition);
  for (size_t i = 0; i < record->header_count; i++)
    if (record->headers[i].name == NULL)
      return milena_error_new(FAILURE(INVALID_FIELD), "header %zu has no name", i);
  return NULL;
}

/* Learn a topic that the accumulator does not have. */
static Failure *learn_topic(MilenaProducer *producer, const char *topic, gint64 wait_until_us) {
  g_autoptr(View) view = NULL;
  if (loop_is_current(client_loop(producer->client)) || wait_until_us == 0) {
    view = client_view(producer->client); /* must not wait */
    if (view_topic(view, topic) == NULL)
      return failure_new(FAILURE(OVERLOADED), "topic %s is not known yet, and this send must not wait: try again",
                         topic);
  } else {
    Failure *failure = client_wait_topic(producer->client, topic, wait_until_us, &view);
    if (failure != NULL)
      return failure;
  }
  accumulator_learn(producer->accumulator, view, topic);
  return NULL;
}

static MilenaError *append(MilenaProducer *producer, const char *topic, const AppendRecord *record) {
  gboolean may_wait = !loop_is_current(client_loop(producer->client)) && producer->options.block_timeout_ms > 0;
  gint64 wait_until_us = may_wait ? client_deadline_us(producer->options.block_timeout_ms) : 0;
  Failure *failure = accumulator_append(producer->accumulator, topic, record, wait_until_us);
  while (failure_reason(failure) == FAILURE(UNKNOWN_TOPIC)) {
    failure_free(failure);
    failure = learn_topic(producer, topic, wait_until_us);
    if (failure != NULL)
      break;
    failure = accumulator_append(producer->accumulator, topic, record, wait_until_us);
  }
  return milena_error_take(failure, OUTCOME_NOT_WRITTEN);
}

static MilenaError *send_record(MilenaProducer *producer, const MilenaRecord *record, MilenaDeliveryFunc done,
                                void *user_data, gboolean urgent) {
  MilenaError *error = check_record(record);
  if (error != NULL)
    return error;
  LogHeader on_stack[HEADERS_ON_STACK];
  g_autofree LogHeader *on_heap =
      record->header_count > HEADERS_ON_STACK ? g_new(LogHeader, record->header_count) : NULL;
  LogHeader *headers = on_heap != NULL ? on_heap : on_stack;
  for (size_t i = 0; i < record->header_count; i++)
    headers[i] =
        (LogHeader){record->headers[i].name, strlen(record->headers[i].name), to_field(record->headers[i].value)};
  AppendRecord append_record = {
      .key = to_field(record->key),
      .value = to_field(record->value),
      .headers = headers,
      .header_count = record->header_count,
      .timestamp_ms = record->timestamp_ms == MILENA_TIMESTAMP_NOW ? g_get_real_time() / 1000 : record->timestamp_ms,
      .partition = record->partition,
      .done = done,
      .user_data = user_data,
      .urgent = urgent,
  };
  return append(producer, record->topic, &append_record);
}

MilenaError *milena_producer_send(MilenaProducer *producer, const MilenaRecord *record, MilenaDeliveryFunc done,
                                  void *user_data) {
  return send_record(producer, record, done, user_data, FALSE);
}

/* ---- waiting ---- */

/* One record's delivery, between the client's loop and the thread that waits: whoever is last frees it. */
typedef struct {
  atomic_uint refs;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean done;
  MilenaReceipt receipt;
  MilenaError *error;
} SyncSend;

static void sync_send_unref(SyncSend *sync) {
  if (atomic_fetch_sub(&sync->refs, 1) > 1)
    return;
  milena_error_free(sync->error);
  pthread_cond_destroy(&sync->cond);
  pthread_mutex_destroy(&sync->mutex);
  g_free(sync);
}

static void sync_send_done(const MilenaDelivery *delivery, void *user_data) {
  SyncSend *sync = user_data;
  pthread_mutex_lock(&sync->mutex);
  sync->done = TRUE;
  sync->error = milena_error_copy(delivery->error);
  sync->receipt = (MilenaReceipt){
      .partition = delivery->partition,
      .offset = delivery->offset,
      .timestamp_ms = delivery->timestamp_ms,
      .append_time_ms = delivery->append_time_ms,
      .leader_epoch = delivery->leader_epoch,
      .replicas = delivery->replicas,
      .synced_replicas = delivery->synced_replicas,
      .duplicate = delivery->duplicate,
  };
  pthread_cond_signal(&sync->cond);
  pthread_mutex_unlock(&sync->mutex);
  sync_send_unref(sync);
}

static SyncSend *sync_send_new(void) {
  SyncSend *sync = g_new0(SyncSend, 1);
  atomic_init(&sync->refs, 2);
  pthread_mutex_init(&sync->mutex, NULL);
  cond_init_monotonic(&sync->cond);
  return sync;
}

/* Returns FALSE when the time is up. */
static gboolean sync_send_wait(SyncSend *sync, gint64 deadline_us) {
  gboolean in_time = TRUE;
  while (!sync->done && in_time)
    in_time = cond_wait_until(&sync->cond, &sync->mutex, deadline_us);
  return sync->done;
}

MilenaError *milena_producer_send_sync(MilenaProducer *producer, const MilenaRecord *record, int32_t timeout_ms,
                                       MilenaReceipt *ret_receipt) {
  INVARIANT(!loop_is_current(client_loop(producer->client)), "a callback must not wait");
  gint64 deadline_us = client_deadline_us(timeout_ms);
  SyncSend *sync = sync_send_new();
  MilenaError *error = send_record(producer, record, sync_send_done, sync, TRUE);
  if (error != NULL) {
    atomic_store(&sync->refs, 1); /* there will be no callback */
    sync_send_unref(sync);
    return error;
  }
  pthread_mutex_lock(&sync->mutex);
  if (!sync_send_wait(sync, deadline_us))
    error = milena_error_take(failure_new(FAILURE(UNKNOWN_OUTCOME),
                                          "no answer within %d ms: the record may or may not have been written, or "
                                          "may be written later",
                                          timeout_ms),
                              OUTCOME_UNKNOWN);
  else
    error = g_steal_pointer(&sync->error);
  if (error == NULL && ret_receipt != NULL)
    *ret_receipt = sync->receipt;
  pthread_mutex_unlock(&sync->mutex);
  sync_send_unref(sync);
  return error;
}

MilenaError *milena_producer_flush(MilenaProducer *producer, int32_t timeout_ms) {
  INVARIANT(!loop_is_current(client_loop(producer->client)), "a callback must not wait");
  if (accumulator_flush(producer->accumulator, client_deadline_us(timeout_ms)))
    return NULL;
  g_autoptr(Failure) trouble = accumulator_get_trouble(producer->accumulator);
  return milena_error_new(FAILURE(DEADLINE_EXCEEDED), "not everything was answered within %d ms%s%s", timeout_ms,
                          trouble != NULL ? ": " : "", trouble != NULL ? failure_message(trouble) : "");
}

void milena_producer_stats(MilenaProducer *producer, MilenaProducerStats *ret_stats) {
  accumulator_stats(producer->accumulator, ret_stats);
}
