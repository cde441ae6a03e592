/* Two threads: the main one reads, splits and sends; the client's calls on_delivery. `counts` belongs to the latter
 * until the producer has been freed, then to the former; `stop` passes between them as an atomic.
 *
 *   reading ──end of input──► flushing ──► done
 *      └──a signal, a failure that the next records would meet too──┘
 *
 * After a signal what was read has STOP_MS to be acknowledged; what is left is reported, and counted as failed.
 *
 * Memory is bounded by the splitter's largest record and the producer's buffer: a send waits while that is full. */
#include "client/cli/produce_run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/interrupt.h"
#include "client/cli/progress.h"

#define READ_BYTES (256 << 10)
/* How long a signal leaves to what is under way: acknowledged within it, or told that it is not. */
#define STOP_MS 2000
/* The rest is counted, not told one by one. */
#define FAILURES_TOLD 5

typedef struct {
  Cli *cli;
  const ProduceJob *job;
  MilenaProducer *producer;
  Progress *progress;
  gint64 begun_us;
  gint32 patience_ms; /* for one record, and for the rest at the end */
  guint64 input_done;
  ProduceTally tally; /* the main thread's */
  struct {
    guint64 delivered, bytes, failed, unknown, duplicates;
  } counts;  /* the client thread's */
  gint told; /* atomic: failures that were told */
  gint stop; /* atomic: read no more */
} Run;

/* Travels with a record to its report. */
typedef struct {
  Run *run;
  guint64 number, bytes;
} Sent;

/* The record's own fault: the next may do better. */
static gboolean is_records_fault(const MilenaError *error) {
  static const char *const REASONS[] = {"RECORD_TOO_LARGE", "INVALID_FIELD", NULL};
  return g_strv_contains(REASONS, milena_error_reason(error));
}

static void tell(Run *run, guint64 number, const char *sentence, const char *reason) {
  int told = g_atomic_int_add(&run->told, 1);
  const char *clear = isatty(STDERR_FILENO) ? "\r\033[K" : "";
  if (told < FAILURES_TOLD)
    fprintf(stderr, "%smilena produce: record %" G_GUINT64_FORMAT ": %s [%s]\n", clear, number, sentence, reason);
  else if (told == FAILURES_TOLD)
    fprintf(stderr, "%smilena produce: more records failed; the summary counts them.\n", clear);
}

static void tell_error(Run *run, guint64 number, const MilenaError *error) {
  const char *reason = milena_error_reason(error);
  tell(run, number, milena_error_message(error),
       strcmp(reason, "UNSPECIFIED") ? reason : milena_error_code_name(error));
}

/* On the client's thread. */
static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  g_autofree Sent *sent = user_data;
  Run *run = sent->run;
  if (!delivery->error) {
    run->counts.delivered++;
    run->counts.bytes += sent->bytes;
    run->counts.duplicates += delivery->duplicate;
    return;
  }
  run->counts.failed++;
  run->counts.unknown += milena_error_is_outcome_unknown(delivery->error);
  tell_error(run, sent->number, delivery->error);
  if (!is_records_fault(delivery->error))
    g_atomic_int_set(&run->stop, TRUE);
}

/* A record that never got to the producer. */
static void refuse(Run *run, guint64 number, const char *sentence, const char *reason) {
  run->tally.records++;
  run->tally.failed++;
  tell(run, number, sentence, reason);
}

static void refuse_large(Run *run, guint64 number) {
  g_autofree char *sentence = g_strdup_printf("it is larger than the topic's max.message.bytes (%" G_GSIZE_FORMAT
                                              "); raise that with 'milena topics alter', or check --record-separator.",
                                              run->job->record_bytes_max);
  refuse(run, number, sentence, "RECORD_TOO_LARGE");
}

static gboolean must_stop(Run *run) {
  return g_atomic_int_get(&run->stop) || interrupt_signal();
}

/* Wait for room in the producer's buffer, but not beyond a signal. */
static MilenaError *send_when_there_is_room(Run *run, const MilenaRecord *record, Sent *sent) {
  gint64 give_up_us = g_get_monotonic_time() + run->patience_ms * G_TIME_SPAN_MILLISECOND;
  for (;;) {
    MilenaError *error = milena_producer_send(run->producer, record, on_delivery, sent);
    if (!error || !milena_error_is_retriable(error) || must_stop(run) || g_get_monotonic_time() >= give_up_us)
      return error;
    milena_error_free(error);
  }
}

static void send_record(Run *run, guint64 number, const guint8 *bytes, gsize length) {
  const ProduceJob *job = run->job;
  KeyedRecord keyed = key_rule_apply(job->key_rule, bytes, length);
  if (!keyed.key && job->require_key) {
    refuse(run, number, "it has no key; leave --require-key out to send such records without one.", "INVALID_FIELD");
    return;
  }
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = job->topic;
  record.partition = job->partition;
  record.key = (MilenaBytes){keyed.key, keyed.key_length};
  /* An empty value is not the same as none: its data must not be NULL. */
  record.value = (MilenaBytes){keyed.value ? keyed.value : (const guint8 *)"", keyed.value_length};
  record.headers = job->headers;
  record.header_count = job->header_count;
  Sent *sent = g_new(Sent, 1);
  *sent = (Sent){run, number, keyed.key_length + keyed.value_length};
  run->tally.records++;
  run->tally.without_key += keyed.key == NULL;
  g_autoptr(MilenaError) error = send_when_there_is_room(run, &record, sent);
  if (!error)
    return;
  g_free(sent);
  run->tally.failed++;
  tell_error(run, number, error);
  if (!is_records_fault(error))
    g_atomic_int_set(&run->stop, TRUE);
}

/* All records that are complete. */
static void send_ready(Run *run, Splitter *splitter) {
  const guint8 *record;
  gsize length;
  while (!must_stop(run)) {
    SplitterResult result = splitter_next(splitter, &record, &length);
    if (result == SPLITTER_MORE || result == SPLITTER_END)
      return;
    if (result == SPLITTER_TOO_LARGE)
      refuse_large(run, splitter_number(splitter));
    else if (length > 0 || !run->job->skip_empty)
      send_record(run, splitter_number(splitter), record, length);
  }
}

static void show_progress(Run *run) {
  ProgressState state = {
      .bytes_done = run->input_done,
      .bytes_total = run->job->input_bytes,
      .records = run->tally.records,
      .elapsed_us = g_get_monotonic_time() - run->begun_us,
  };
  progress_show(run->progress, &state);
}

static void read_all(Run *run) {
  g_autoptr(Splitter) splitter = splitter_new(run->job->separator, run->job->record_bytes_max);
  g_autofree guint8 *buffer = g_malloc(READ_BYTES);
  while (!must_stop(run)) {
    struct pollfd input = {.fd = run->job->input, .events = POLLIN};
    int ready = poll(&input, 1, PRODUCE_WAIT_MS);
    if (ready == 0 || (ready < 0 && errno == EINTR))
      continue; /* a signal must not end in a read that waits */
    ssize_t length = read(run->job->input, buffer, READ_BYTES);
    if (length < 0 && errno == EINTR)
      continue;
    if (length < 0) {
      cli_failed_text(run->cli, "the input can't be read: %s.", g_strerror(errno));
      break;
    }
    if (length == 0) {
      splitter_end(splitter);
      send_ready(run, splitter);
      run->tally.incomplete = must_stop(run);
      return;
    }
    run->input_done += (guint64)length;
    splitter_feed(splitter, buffer, (gsize)length);
    send_ready(run, splitter);
    show_progress(run);
  }
  run->tally.incomplete = TRUE;
}

/* Wait until all is answered. The buffer may hold many seconds of work for a slow cluster: every record's own timeout
 * bounds this, or a signal. */
static void flush(Run *run) {
  gint64 deadline_us = g_get_monotonic_time() + run->patience_ms * G_TIME_SPAN_MILLISECOND;
  gboolean interrupted = FALSE;
  for (;;) {
    MilenaError *error = milena_producer_flush(run->producer, PRODUCE_WAIT_MS);
    milena_error_free(error);
    gint64 now_us = g_get_monotonic_time();
    if (interrupt_signal() && !interrupted)
      deadline_us = MIN(deadline_us, now_us + STOP_MS * G_TIME_SPAN_MILLISECOND);
    interrupted = interrupt_signal() != 0;
    if (!error || now_us >= deadline_us)
      return;
  }
}

ProduceTally produce_run(Cli *cli, MilenaProducer *producer, const ProduceJob *job, gint32 patience_ms) {
  Run run = {
      .cli = cli, .job = job, .producer = producer, .begun_us = g_get_monotonic_time(), .patience_ms = patience_ms};
  run.progress = progress_new(job->show_progress);
  read_all(&run);
  flush(&run);
  MilenaProducerStats stats;
  milena_producer_stats(producer, &stats);
  milena_producer_free(producer, 0);
  run.tally.elapsed_us = g_get_monotonic_time() - run.begun_us;
  progress_free(run.progress);
  run.tally.delivered = run.counts.delivered;
  run.tally.bytes = run.counts.bytes;
  run.tally.failed += run.counts.failed;
  run.tally.unknown = run.counts.unknown;
  run.tally.duplicates = run.counts.duplicates;
  run.tally.batches_retried = stats.batches_retried;
  return run.tally;
}
