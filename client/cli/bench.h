/* `milena bench`: what the three benchmarks share. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/histogram.h"
#include "client/cli/progress.h"

G_BEGIN_DECLS

/* What to do; all borrowed. */
typedef struct {
  const char *topic;
  guint64 records; /* consume: 0 for all that are there */
  guint32 record_bytes;
  guint32 partitions; /* of a topic that is created */
  guint32 producers;
  guint64 throughput; /* records a second, of all producers; 0: as fast as it goes */
  gboolean from_end;  /* consume: what comes from now on */
  MilenaProducerOptions producer;
} BenchPlan;

/* What came out. */
typedef struct {
  guint64 records; /* done */
  guint64 bytes;   /* of their values and keys */
  guint64 failed, duplicates, batches_retried;
  gint64 elapsed_us;
  double cpu_s;       /* of this process, while it ran */
  Histogram *latency; /* in microseconds; empty when there is none to tell */
} BenchResult;

void bench_result_clear(BenchResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BenchResult, bench_result_clear)

/* Each returns CLI_OK with the result filled in (also when it was interrupted, or records failed, which it says), or
 * the exit code after saying what is wrong. */
int bench_produce(Cli *cli, const BenchPlan *plan, BenchResult *ret_result);
int bench_consume(Cli *cli, const BenchPlan *plan, BenchResult *ret_result);
int bench_latency(Cli *cli, const BenchPlan *plan, BenchResult *ret_result);

/* Seconds of CPU that this process has used. */
double bench_cpu_seconds(void);
/* The topic, created when it is missing. */
int bench_topic(Cli *cli, MilenaClient *client, const BenchPlan *plan, MilenaTopic **ret_topic);
/* Where each partition of the topic ends. @ret_ends: as many as it has partitions; owned by the caller */
int bench_ends(Cli *cli, MilenaClient *client, const MilenaTopic *topic, gint64 **ret_ends);
/* Monotonic microseconds at which record @number is due, at @per_second records a second; @start_us when 0. */
gint64 bench_due_us(gint64 start_us, guint64 number, double per_second);
/* Sleep until then; wakes up early for an interrupt. */
void bench_sleep_until(gint64 until_us);

/* Print a result. @what: "produce" and so on */
int bench_print(Cli *cli, const char *what, const BenchPlan *plan, const BenchResult *result);

G_END_DECLS
