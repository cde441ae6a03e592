/* What the benchmarks share, and how they tell what came out: see bench.h. */
#include <string.h>
#include <sys/resource.h>

#include "client/cli/bench.h"
#include "client/cli/interrupt.h"
#include "client/cli/text.h"

/* So that Ctrl-C is heard soon. */
#define SLEEP_MAX_US (G_USEC_PER_SEC / 10)

static const struct {
  const char *name;
  double share;
} QUANTILES[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}};

void bench_result_clear(BenchResult *result) {
  g_clear_pointer(&result->latency, histogram_free);
}

double bench_cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- Topic ---- */

static gboolean has_reason(const MilenaError *error, const char *reason) {
  return error && !strcmp(milena_error_reason(error), reason);
}

int bench_topic(Cli *cli, MilenaClient *client, const BenchPlan *plan, MilenaTopic **ret_topic) {
  g_autoptr(MilenaError) error = milena_admin_find_topic(client, plan->topic, cli_timeout_ms(cli), ret_topic);
  if (!has_reason(error, "UNKNOWN_TOPIC"))
    return error ? cli_failed(cli, g_steal_pointer(&error)) : CLI_OK;
  MilenaNewTopic topic = {.name = plan->topic, .partitions = plan->partitions};
  g_autoptr(MilenaError) not_made = milena_admin_create_topic(client, &topic, cli_timeout_ms(cli), ret_topic);
  if (has_reason(not_made, "TOPIC_EXISTS")) { /* somebody was quicker */
    milena_error_free(g_steal_pointer(&not_made));
    not_made = milena_admin_find_topic(client, plan->topic, cli_timeout_ms(cli), ret_topic);
  }
  if (not_made)
    return cli_failed(cli, g_steal_pointer(&not_made));
  cli_note(cli, "created the topic '%s' with %" G_GSIZE_FORMAT " partitions.", plan->topic,
           (*ret_topic)->partition_count);
  return CLI_OK;
}

int bench_ends(Cli *cli, MilenaClient *client, const MilenaTopic *topic, gint64 **ret_ends) {
  g_autofree MilenaOffsetQuery *queries = g_new0(MilenaOffsetQuery, topic->partition_count);
  g_autofree gint64 *ends = g_new0(gint64, topic->partition_count);
  for (gsize i = 0; i < topic->partition_count; i++)
    queries[i] = (MilenaOffsetQuery){topic->name, (gint32)i, MILENA_END};
  MilenaOffsetResult *results = NULL;
  MilenaError *error =
      milena_admin_list_offsets(client, queries, topic->partition_count, cli_timeout_ms(cli), &results);
  for (gsize i = 0; !error && i < topic->partition_count; i++) {
    error = milena_error_copy(results[i].error);
    ends[i] = results[i].offset;
  }
  milena_offset_results_free(results, topic->partition_count);
  if (error)
    return cli_failed(cli, error);
  *ret_ends = g_steal_pointer(&ends);
  return CLI_OK;
}

/* ---- Pace ---- */

gint64 bench_due_us(gint64 start_us, guint64 number, double per_second) {
  return per_second > 0 ? start_us + (gint64)((double)number / per_second * G_USEC_PER_SEC) : start_us;
}

void bench_sleep_until(gint64 until_us) {
  for (gint64 left_us = until_us - g_get_monotonic_time(); left_us > 0 && !interrupt_signal();
       left_us = until_us - g_get_monotonic_time())
    g_usleep((gulong)MIN(left_us, SLEEP_MAX_US));
}

/* ---- Output ---- */

static double gigabytes(const BenchResult *result) {
  return (double)result->bytes / 1e9;
}

static int print_json(Cli *cli, const char *what, const BenchPlan *plan, const BenchResult *result, double seconds) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, FALSE);
  json_open(json, NULL, '{');
  json_string(json, "benchmark", what);
  json_string(json, "topic", plan->topic);
  json_uint(json, "records", result->records);
  json_uint(json, "bytes", result->bytes);
  json_uint(json, "failed", result->failed);
  json_uint(json, "duplicates", result->duplicates);
  json_uint(json, "batches_retried", result->batches_retried);
  json_double(json, "seconds", seconds);
  json_double(json, "records_per_second", (double)result->records / seconds);
  json_double(json, "megabytes_per_second", (double)result->bytes / seconds / 1e6);
  if (histogram_count(result->latency) > 0) {
    json_open(json, "latency_ms", '{');
    for (guint i = 0; i < G_N_ELEMENTS(QUANTILES); i++)
      json_double(json, QUANTILES[i].name, (double)histogram_quantile(result->latency, QUANTILES[i].share) / 1e3);
    json_double(json, "highest", (double)histogram_highest(result->latency) / 1e3);
    json_close(json);
  }
  json_double(json, "client_cpu_seconds", result->cpu_s);
  if (result->bytes > 0)
    json_double(json, "client_cpu_seconds_per_gigabyte", result->cpu_s / gigabytes(result));
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

static void append_latency(GString *out, const Histogram *latency) {
  if (histogram_count(latency) == 0)
    return;
  g_string_append(out, "latency     ");
  for (guint i = 0; i < G_N_ELEMENTS(QUANTILES); i++)
    g_string_append_printf(out, "%s %.3f ms, ", QUANTILES[i].name,
                           (double)histogram_quantile(latency, QUANTILES[i].share) / 1e3);
  g_string_append_printf(out, "highest %.3f ms\n", (double)histogram_highest(latency) / 1e3);
}

int bench_print(Cli *cli, const char *what, const BenchPlan *plan, const BenchResult *result) {
  double seconds = (double)MAX(result->elapsed_us, 1) / G_USEC_PER_SEC;
  if (cli->json)
    return print_json(cli, what, plan, result, seconds);
  g_autofree char *records = text_counted(result->records, "record");
  g_autofree char *bytes = text_bytes((double)result->bytes);
  g_autofree char *rate = text_grouped((guint64)((double)result->records / seconds));
  g_autoptr(GString) out = g_string_new(NULL);
  g_string_append_printf(out, "%-11s %s (%s), topic '%s', in %.2f s\n", what, records, bytes, plan->topic, seconds);
  g_string_append_printf(out, "rate        %s records/s, %.1f MB/s\n", rate, (double)result->bytes / seconds / 1e6);
  append_latency(out, result->latency);
  g_string_append_printf(out, "client CPU  %.2f s", result->cpu_s);
  if (result->bytes > 0)
    g_string_append_printf(out, ", %.2f s/GB", result->cpu_s / gigabytes(result));
  g_string_append_c(out, '\n');
  if (result->failed || result->duplicates || result->batches_retried)
    g_string_append_printf(out,
                           "troubles    %" G_GUINT64_FORMAT " records failed, %" G_GUINT64_FORMAT
                           " batches sent again, %" G_GUINT64_FORMAT " records found written already\n",
                           result->failed, result->batches_retried, result->duplicates);
  return cli_print(cli, out->str);
}
