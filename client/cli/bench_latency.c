/* `milena bench latency`: one record at a time, from its send until a consumer has it. A record to each partition goes
 * first, and is not counted: connecting, to each of the leading brokers, is not what is asked about. */
#include <string.h>

#include "client/cli/bench.h"
#include "client/cli/interrupt.h"

typedef struct {
  Cli *cli;
  const BenchPlan *plan;
  MilenaProducer *producer;
  MilenaConsumer *consumer;
  guint8 *value;      /* begins with the record's number */
  MilenaError *error; /* of a delivery; the client's thread sets it, before the record is waited for in vain */
} Journey;

static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  Journey *journey = user_data;
  if (!delivery->error)
    return;
  MilenaError *error = milena_error_copy(delivery->error);
  if (!g_atomic_pointer_compare_and_exchange(&journey->error, NULL, error))
    milena_error_free(error);
}

static gboolean has_number(const MilenaRecordBatch *batch, guint64 number) {
  for (size_t i = 0; i < batch->count; i++)
    if (batch->records[i].value.size >= sizeof number && !memcmp(batch->records[i].value.data, &number, sizeof number))
      return TRUE;
  return FALSE;
}

/* Poll until the record comes. Returns the exit code. */
static int wait_for_record(Journey *journey, guint64 number) {
  gint64 deadline_us = g_get_monotonic_time() + cli_timeout_ms(journey->cli) * G_TIME_SPAN_MILLISECOND;
  while (!interrupt_signal()) {
    const MilenaRecordBatch *batch = NULL;
    MilenaError *error = milena_consumer_poll(journey->consumer, 100, &batch);
    if (!error)
      error = g_atomic_pointer_exchange(&journey->error, NULL);
    if (error)
      return cli_failed(journey->cli, error);
    if (batch && has_number(batch, number))
      return CLI_OK;
    if (g_get_monotonic_time() > deadline_us)
      return cli_failed_text(journey->cli, "a record did not come back within %d s.", journey->cli->timeout_s);
  }
  return CLI_OK;
}

/* Send the record with that number and wait until it is back. @partition: MILENA_PARTITION_ANY for any. Returns the
 * exit code. */
static int round_trip(Journey *journey, guint64 number, gint32 partition) {
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = journey->plan->topic;
  record.partition = partition;
  record.value = (MilenaBytes){journey->value, journey->plan->record_bytes};
  memcpy(journey->value, &number, sizeof number);
  MilenaError *error = milena_producer_send(journey->producer, &record, on_delivery, journey);
  return error ? cli_failed(journey->cli, error) : wait_for_record(journey, number);
}

static int warm_up(Journey *journey, gsize partition_count) {
  int code = CLI_OK;
  for (gsize i = 0; i < partition_count && code == CLI_OK; i++)
    code = round_trip(journey, G_MAXUINT64 - i, (gint32)i);
  return code;
}

static int travel(Journey *journey, BenchResult *result) {
  const BenchPlan *plan = journey->plan;
  g_autoptr(Progress) progress = progress_new(!journey->cli->json);
  gint64 start_us = g_get_monotonic_time();
  for (guint64 number = 0; number < plan->records && !interrupt_signal(); number++) {
    bench_sleep_until(bench_due_us(start_us, number, (double)plan->throughput));
    gint64 since_us = g_get_monotonic_time();
    int code = round_trip(journey, number, MILENA_PARTITION_ANY);
    if (code != CLI_OK)
      return code;
    gint64 now_us = g_get_monotonic_time();
    histogram_add(result->latency, now_us - since_us);
    result->records++;
    result->bytes += plan->record_bytes;
    result->elapsed_us = now_us - start_us;
    progress_show(progress, &(ProgressState){result->bytes, plan->records * plan->record_bytes, result->records,
                                             result->elapsed_us});
  }
  return CLI_OK;
}

/* Read from where each partition ends now: a position that is looked up later might miss the first record. */
static int assign_ends(Cli *cli, MilenaClient *client, MilenaConsumer *consumer, const MilenaTopic *topic) {
  g_autofree gint64 *ends = NULL;
  int code = bench_ends(cli, client, topic, &ends);
  if (code != CLI_OK)
    return code;
  g_autofree MilenaAssignment *assignments = g_new0(MilenaAssignment, topic->partition_count);
  for (gsize i = 0; i < topic->partition_count; i++)
    assignments[i] = (MilenaAssignment){topic->name, (gint32)i, MILENA_AT_OFFSET(ends[i])};
  MilenaError *error = milena_consumer_assign(consumer, assignments, topic->partition_count);
  return error ? cli_failed(cli, error) : CLI_OK;
}

int bench_latency(Cli *cli, const BenchPlan *plan, BenchResult *ret_result) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopic) topic = NULL;
  int code = cli_connect(cli, &client);
  if (code == CLI_OK)
    code = bench_topic(cli, client, plan, &topic);
  if (code != CLI_OK)
    return code;
  interrupt_catch();
  ret_result->latency = histogram_new();
  g_autoptr(MilenaConsumer) consumer = milena_consumer_new(client, NULL);
  code = assign_ends(cli, client, consumer, topic);
  if (code != CLI_OK)
    return code;
  g_autofree guint8 *value = g_malloc0(plan->record_bytes);
  Journey journey = {cli, plan, milena_producer_new(client, &plan->producer), consumer, value, NULL};
  double cpu_s = bench_cpu_seconds();
  code = warm_up(&journey, topic->partition_count);
  if (code == CLI_OK)
    code = travel(&journey, ret_result);
  ret_result->cpu_s = bench_cpu_seconds() - cpu_s;
  milena_producer_free(journey.producer, 1000);
  milena_error_free(journey.error);
  return code;
}
