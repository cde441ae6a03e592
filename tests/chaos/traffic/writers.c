/* The producers; see traffic.h. A value is the process and the number of its send. */
#include "services/base/failure.h"
#include "tests/chaos/traffic/traffic_internal.h"

#define PLAIN_CALL_MS 3000
#define PAUSE_MAX_MS 20
#define BURST_MAX 40
#define REST_MS 30 /* after a failure */

static guint64 value_of(const Actor *actor, guint32 number) {
  return (guint64)actor->number << 32 | number;
}

static gboolean is_over(const Actor *actor) {
  return g_atomic_int_get(&actor->traffic->stop_writing);
}

static void finish(Actor *actor, guint index, LedgerOutcome outcome, gint32 partition, gint64 offset) {
  g_mutex_lock(&actor->mutex);
  LedgerSend *send = &g_array_index(actor->ledger->sends, LedgerSend, index);
  send->return_us = g_get_monotonic_time();
  send->outcome = outcome;
  send->partition = partition >= 0 ? partition : send->partition;
  send->offset = outcome == LEDGER_OK ? offset : -1;
  LedgerSend copy = *send;
  g_mutex_unlock(&actor->mutex);
  if (outcome == LEDGER_OK)
    traffic_note_acknowledged(actor->traffic, &copy);
}

/* Returns the index of the new send. */
static guint begin(Actor *actor, gint32 partition, gboolean is_idempotent) {
  g_mutex_lock(&actor->mutex);
  guint index = actor->ledger->sends->len;
  LedgerSend send = {.process = actor->number,
                     .partition = partition,
                     .value = value_of(actor, index + 1),
                     .outcome = LEDGER_UNKNOWN,
                     .is_idempotent = is_idempotent,
                     .offset = -1,
                     .invoke_us = g_get_monotonic_time()};
  g_array_append_val(actor->ledger->sends, send);
  g_mutex_unlock(&actor->mutex);
  return index;
}

/* ---- Through libmilena ---- */

typedef struct {
  Actor *actor;
  guint index;
} Sent;

static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  g_autofree Sent *sent = user_data;
  LedgerOutcome outcome = !delivery->error                                   ? LEDGER_OK
                          : milena_error_is_outcome_unknown(delivery->error) ? LEDGER_UNKNOWN
                                                                             : LEDGER_FAILED;
  finish(sent->actor, sent->index, outcome, delivery->partition, delivery->offset);
}

static void send_one(Actor *actor, MilenaProducer *producer) {
  guint index = begin(actor, -1, TRUE);
  g_autofree char *text = traffic_text_of_value(value_of(actor, index + 1));
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = TRAFFIC_TOPIC;
  record.value = milena_bytes_text(text);
  Sent *sent = g_new(Sent, 1);
  *sent = (Sent){actor, index};
  MilenaError *error = milena_producer_send(producer, &record, on_delivery, sent);
  if (error) { /* it was not accepted */
    g_free(sent);
    finish(actor, index, LEDGER_FAILED, -1, -1);
    g_usleep(REST_MS * 1000);
  }
  milena_error_free(error);
}

gpointer traffic_write(gpointer data) {
  Actor *actor = data;
  MilenaClient *client = traffic_client(actor->traffic, actor->by_door);
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.partitioner = MILENA_PARTITIONER_ROUND_ROBIN;
  if (actor->timeout_ms)
    options.timeout_ms = actor->timeout_ms;
  MilenaProducer *producer = milena_producer_new(client, &options);
  while (!is_over(actor)) {
    gint32 burst = g_rand_int_range(actor->random, 0, 100) == 0 ? g_rand_int_range(actor->random, 2, BURST_MAX) : 1;
    for (; burst > 0; burst--)
      send_one(actor, producer);
    g_usleep((gulong)g_rand_int_range(actor->random, 0, PAUSE_MAX_MS * 1000));
  }
  milena_producer_free(producer, (gint32)actor->traffic->flush_ms);
  milena_client_free(client);
  return NULL;
}

/* ---- Plain ---- */

/* What a failure says of the record. From gRPC itself, a connection that broke, a deadline: it may have arrived. */
static LedgerOutcome outcome_of(const Failure *failure) {
  if (!failure)
    return LEDGER_OK;
  return failure_reason(failure) != FAILURE(UNSPECIFIED) && failure_is_retriable(failure) ? LEDGER_FAILED
                                                                                          : LEDGER_UNKNOWN;
}

/* @ret_offset: of the record */
static Failure *produce(RpcClient *client, const char *address, gint32 partition, char *text, gint64 *ret_offset) {
  Milena__V1__Record record;
  milena__v1__record__init(&record);
  record.value_kind_case = MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT;
  record.value_text = text;
  record.partition_choice_case = MILENA__V1__RECORD__PARTITION_CHOICE_PARTITION;
  record.partition = partition;
  Milena__V1__Record *records[] = {&record};
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.topic = (char *)TRAFFIC_TOPIC;
  request.records = records;
  request.n_records = 1;
  g_autoptr(RpcMessage) answer = NULL;
  Failure *failure = rpc_client_unary_sync(client, address, &milena__v1__producer_service__descriptor, "Produce",
                                           &request.base, g_get_monotonic_time() + PLAIN_CALL_MS * 1000, &answer);
  if (failure)
    return failure;
  const Milena__V1__ProduceResponse *response = rpc_message_body(answer);
  if (response->n_results != 1)
    g_error("%s answered one record with %zu results", address, response->n_results);
  const Milena__V1__ProduceResult *result = response->results[0];
  *ret_offset = result->base_offset;
  return result->status && result->status->code ? failure_from_status(result->status) : NULL;
}

gpointer traffic_write_plainly(gpointer data) {
  Actor *actor = data;
  g_autoptr(RpcClient) client = rpc_client_new(NULL);
  guint at = actor->number;
  while (!is_over(actor)) {
    gint32 partition = g_rand_int_range(actor->random, 0, TRAFFIC_PARTITIONS);
    guint index = begin(actor, partition, FALSE);
    g_autofree char *text = traffic_text_of_value(value_of(actor, index + 1));
    gint64 offset = -1;
    g_autoptr(Failure) failure = produce(client, traffic_address(actor, at), partition, text, &offset);
    finish(actor, index, outcome_of(failure), partition, offset);
    if (failure) {
      at++; /* the next one may know better */
      g_usleep(REST_MS * 1000);
    }
    g_usleep((gulong)g_rand_int_range(actor->random, 0, PAUSE_MAX_MS * 1000));
  }
  return NULL;
}
