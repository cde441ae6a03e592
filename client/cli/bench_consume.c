/* `milena bench consume`: one consumer reads a topic: from its beginning to where it ends now, or what comes from now
 * on. In the second case a record's latency is from its timestamp to its poll, in milliseconds' precision. */
#include "client/cli/bench.h"
#include "client/cli/interrupt.h"

#define POLL_MS 100

typedef struct {
  const BenchPlan *plan;
  guint64 wanted; /* records */
  guint64 expected_bytes;
  gint64 *ends; /* by partition; NULL: it ends by count alone */
  gsize partition_count, at_end;
  gint64 heard_us; /* when the latest records came */
} Reading;

static void count_batch(Reading *reading, const MilenaRecordBatch *batch, BenchResult *result) {
  gint64 now_ms = g_get_real_time() / 1000;
  for (size_t i = 0; i < batch->count; i++) {
    result->bytes += batch->records[i].key.size + batch->records[i].value.size;
    if (reading->plan->from_end)
      histogram_add(result->latency, (now_ms - batch->records[i].timestamp_ms) * 1000);
  }
  result->records += batch->count;
  if (!reading->ends || (gsize)batch->partition >= reading->partition_count)
    return;
  gint64 *end = &reading->ends[batch->partition];
  if (*end > 0 && batch->next_offset >= *end) {
    *end = 0;
    reading->at_end++;
  }
}

static gboolean is_done(const Reading *reading, const BenchResult *result) {
  if (reading->wanted > 0 && result->records >= reading->wanted)
    return TRUE;
  return reading->ends && reading->at_end == reading->partition_count;
}

static int read_all(Cli *cli, MilenaConsumer *consumer, Reading *reading, BenchResult *result) {
  g_autoptr(Progress) progress = progress_new(!cli->json);
  gint64 start_us = g_get_monotonic_time();
  reading->heard_us = start_us;
  while (!is_done(reading, result) && !interrupt_signal()) {
    const MilenaRecordBatch *batch = NULL;
    MilenaError *error = milena_consumer_poll(consumer, POLL_MS, &batch);
    if (error)
      return cli_failed(cli, error);
    gint64 now_us = g_get_monotonic_time();
    if (batch) {
      if (reading->plan->from_end && result->records == 0)
        start_us = now_us; /* what it waited for the first is not its own */
      count_batch(reading, batch, result);
      reading->heard_us = now_us;
    } else if (now_us - reading->heard_us > cli_timeout_ms(cli) * G_TIME_SPAN_MILLISECOND) {
      return cli_failed_text(cli, "nothing came for %d s; %" G_GUINT64_FORMAT " records were read.", cli->timeout_s,
                             result->records);
    }
    result->elapsed_us = reading->heard_us - start_us;
    guint64 total = reading->wanted > 0 && result->records > 0
                        ? (guint64)((double)result->bytes / (double)result->records * (double)reading->wanted)
                        : 0;
    progress_show(progress, &(ProgressState){result->bytes, total, result->records, result->elapsed_us});
  }
  return CLI_OK;
}

/* What is there now, less what is not kept: then it ends by itself. */
static int find_end(Cli *cli, MilenaClient *client, const MilenaTopic *topic, Reading *reading) {
  int code = bench_ends(cli, client, topic, &reading->ends);
  reading->partition_count = topic->partition_count;
  for (gsize i = 0; code == CLI_OK && i < topic->partition_count; i++)
    reading->at_end += reading->ends[i] == 0;
  return code;
}

int bench_consume(Cli *cli, const BenchPlan *plan, BenchResult *ret_result) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopic) topic = NULL;
  Reading reading = {.plan = plan, .wanted = plan->records};
  int code = cli_connect(cli, &client);
  MilenaError *error = NULL;
  if (code == CLI_OK)
    error = milena_admin_find_topic(client, plan->topic, cli_timeout_ms(cli), &topic);
  if (error)
    code = cli_failed(cli, error);
  if (code == CLI_OK && plan->records == 0)
    code = find_end(cli, client, topic, &reading);
  if (code != CLI_OK)
    return code;
  interrupt_catch();
  ret_result->latency = histogram_new();
  g_autoptr(MilenaConsumer) consumer = milena_consumer_new(client, NULL);
  error = milena_consumer_assign_topic(consumer, plan->topic, plan->from_end ? MILENA_END : MILENA_BEGINNING,
                                       cli_timeout_ms(cli));
  if (error)
    code = cli_failed(cli, error);
  double cpu_s = bench_cpu_seconds();
  if (code == CLI_OK)
    code = read_all(cli, consumer, &reading, ret_result);
  ret_result->cpu_s = bench_cpu_seconds() - cpu_s;
  g_free(reading.ends);
  return code;
}
