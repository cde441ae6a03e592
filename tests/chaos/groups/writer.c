/* The producer; see writer.h. Answers come on the library's thread: the sends are behind a mutex. */
#include "tests/chaos/groups/writer.h"

#include <milena/milena.h>

/* Members commit batch by batch, and on a busy machine a commit takes long: a batch has several records. */
#define LINGER_MS 400

struct Writer {
  MilenaClient *client;
  MilenaProducer *producer;
  char *topic;
  guint partitions, pause_ms;
  GThread *thread;
  gint stop;         /* atomic */
  gint acknowledged; /* atomic */
  GMutex mutex;      /* of the sends */
  GArray *sends;     /* of LedgerSend */
};

typedef struct {
  Writer *writer;
  guint index;
} Sent;

static void finish(Writer *writer, guint index, LedgerOutcome outcome, gint64 offset) {
  g_mutex_lock(&writer->mutex);
  LedgerSend *send = &g_array_index(writer->sends, LedgerSend, index);
  send->outcome = outcome;
  send->offset = outcome == LEDGER_OK ? offset : -1;
  send->return_us = g_get_monotonic_time();
  g_mutex_unlock(&writer->mutex);
  if (outcome == LEDGER_OK)
    g_atomic_int_inc(&writer->acknowledged);
}

static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  g_autofree Sent *sent = user_data;
  LedgerOutcome outcome = !delivery->error                                   ? LEDGER_OK
                          : milena_error_is_outcome_unknown(delivery->error) ? LEDGER_UNKNOWN
                                                                             : LEDGER_FAILED;
  finish(sent->writer, sent->index, outcome, delivery->offset);
}

static void send_one(Writer *writer) {
  g_mutex_lock(&writer->mutex);
  guint index = writer->sends->len;
  LedgerSend send = {.process = 1,
                     .partition = (gint32)(index % writer->partitions),
                     .value = index + 1,
                     .outcome = LEDGER_UNKNOWN,
                     .is_idempotent = TRUE,
                     .offset = -1,
                     .invoke_us = g_get_monotonic_time()};
  g_array_append_val(writer->sends, send);
  g_mutex_unlock(&writer->mutex);
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, send.value);
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = writer->topic;
  record.partition = send.partition;
  record.value = milena_bytes_text(text);
  Sent *sent = g_new(Sent, 1);
  *sent = (Sent){writer, index};
  MilenaError *error = milena_producer_send(writer->producer, &record, on_delivery, sent);
  if (error) { /* it was not accepted */
    g_free(sent);
    finish(writer, index, LEDGER_FAILED, -1);
  }
  milena_error_free(error);
}

static gpointer run(gpointer data) {
  Writer *writer = data;
  while (!g_atomic_int_get(&writer->stop)) {
    send_one(writer);
    g_usleep((gulong)writer->pause_ms * 1000);
  }
  return NULL;
}

Writer *writer_new(const char *bootstrap, const char *topic, guint partitions, guint pause_ms) {
  Writer *writer = g_new0(Writer, 1);
  writer->topic = g_strdup(topic);
  writer->partitions = partitions;
  writer->pause_ms = pause_ms;
  writer->sends = g_array_new(FALSE, FALSE, sizeof(LedgerSend));
  g_mutex_init(&writer->mutex);
  MilenaError *error = milena_client_new(bootstrap, NULL, &writer->client);
  if (error)
    g_error("no client: %s", milena_error_message(error));
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.linger_ms = LINGER_MS;
  writer->producer = milena_producer_new(writer->client, &options);
  writer->thread = g_thread_new("writer", run, writer);
  return writer;
}

void writer_stop(Writer *writer, guint flush_ms) {
  g_atomic_int_set(&writer->stop, 1);
  if (writer->thread)
    g_thread_join(g_steal_pointer(&writer->thread));
  if (writer->producer)
    milena_producer_free(g_steal_pointer(&writer->producer), (gint32)flush_ms);
}

void writer_free(Writer *writer) {
  if (!writer)
    return;
  writer_stop(writer, 0);
  milena_client_free(writer->client);
  g_array_unref(writer->sends);
  g_mutex_clear(&writer->mutex);
  g_free(writer->topic);
  g_free(writer);
}

guint writer_acknowledged(Writer *writer) {
  return (guint)g_atomic_int_get(&writer->acknowledged);
}

void writer_tell(const Writer *writer, Ledger *ledger) {
  g_array_append_vals(ledger->sends, writer->sends->data, writer->sends->len);
}
