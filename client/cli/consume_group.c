/* Records are written out before they are committed (or after, with CONSUME_COMMIT_BEFORE): each poll's records leave
 * before the next poll, which commits them. One thread, on which the callbacks of the group come too. */
#include "client/cli/consume_group.h"

#include <errno.h>
#include <milena/group.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/interrupt.h"

#define POLL_MS 200
#define COMMIT_TIMEOUT_MS 30000
#define LEAVE_TIMEOUT_MS 10000
/* Trouble is told once it lasts. */
#define TROUBLE_US (2 * (gint64)G_USEC_PER_SEC)

typedef struct {
  Cli *cli;
  const ConsumeJob *job;
  const ConsumeMembership *membership;
  MilenaConsumer *consumer;
  GString *out;
  ConsumeTally tally;
  gint64 heard_us;
  gboolean told_trouble;
  gboolean reader_gone; /* who reads our output */
} Run;

static const char *event_text(MilenaRebalance event) {
  switch (event) {
  case MILENA_REBALANCE_ASSIGNED:
    return "assigned";
  case MILENA_REBALANCE_REVOKED:
    return "revoked";
  case MILENA_REBALANCE_LOST:
  default:
    return "lost";
  }
}

static void on_rebalance(MilenaConsumer *consumer, MilenaRebalance event, const MilenaTopicPartition *partitions,
                         size_t count, void *user_data) {
  (void)consumer;
  const Run *run = user_data;
  g_autoptr(GString) names = g_string_new(NULL);
  for (size_t i = 0; i < count; i++)
    g_string_append_printf(names, " %s:%d", partitions[i].topic, partitions[i].partition);
  cli_note(run->cli, "%s%s", event_text(event), names->str);
}

static MilenaError *join(Run *run) {
  const ConsumeMembership *membership = run->membership;
  MilenaGroupOptions options;
  milena_group_options_init(&options);
  options.group = membership->group;
  options.topics = &run->job->topic;
  options.topic_count = 1;
  options.instance_id = membership->instance_id;
  options.client_id = "milena consume";
  options.reset = membership->reset;
  options.auto_commit = membership->commit == CONSUME_COMMIT_AFTER;
  options.auto_commit_interval_ms = 1000;
  options.on_rebalance = membership->verbose ? on_rebalance : NULL;
  options.user_data = run;
  return milena_consumer_join(run->consumer, &options);
}

static int write_out(Run *run) {
  if (run->out->len > 0 && !cli_write(STDOUT_FILENO, run->out->str, run->out->len)) {
    if (errno != EPIPE)
      return cli_failed_text(run->cli, "standard output can't be written: %s.", g_strerror(errno));
    run->reader_gone = TRUE; /* as `head` does: no failure */
  }
  g_string_truncate(run->out, 0);
  return CLI_OK;
}

static gboolean is_finished(const Run *run) {
  return run->reader_gone || interrupt_signal() || (run->job->count && run->tally.records >= run->job->count);
}

/* Only so much of the batch counts as read: the next reader of the partition goes on behind it. */
static MilenaError *stop_inside(Run *run, const MilenaRecordBatch *batch, gint64 next_offset) {
  if (next_offset == batch->next_offset)
    return NULL;
  return milena_consumer_seek(run->consumer, batch->topic, batch->partition, MILENA_AT_OFFSET(next_offset));
}

static int show_batch(Run *run, const MilenaRecordBatch *batch) {
  gint64 next_offset = batch->next_offset;
  guint64 left = run->job->count ? run->job->count - run->tally.records : G_MAXUINT64;
  gsize count = (gsize)MIN(batch->count, left);
  if (count < batch->count)
    next_offset = batch->records[count - 1].offset + 1;
  if (run->membership->commit == CONSUME_COMMIT_BEFORE) {
    MilenaOffset offset = {batch->topic, batch->partition, next_offset, batch->records[count - 1].leader_epoch, NULL};
    MilenaError *error = milena_consumer_commit(run->consumer, &offset, 1, COMMIT_TIMEOUT_MS);
    if (error)
      return cli_failed(run->cli, error);
  }
  for (gsize i = 0; i < count; i++) {
    const MilenaConsumedRecord *record = &batch->records[i];
    template_apply(run->job->template, batch->topic, batch->partition, record, run->out);
    run->tally.records++;
    run->tally.bytes += record->key.size + record->value.size;
  }
  int code = write_out(run);
  if (run->reader_gone) /* nobody got them */
    next_offset = batch->records[0].offset;
  MilenaError *error = code == CLI_OK ? stop_inside(run, batch, next_offset) : NULL;
  return error ? cli_failed(run->cli, error) : code;
}

static void tell_trouble(Run *run) {
  if (run->told_trouble || g_get_monotonic_time() - run->heard_us < TROUBLE_US)
    return;
  g_autoptr(MilenaError) trouble = milena_consumer_trouble(run->consumer);
  if (trouble)
    cli_note(run->cli, "waiting: %s", milena_error_message(trouble));
  run->told_trouble = trouble != NULL;
}

static int read_records(Run *run) {
  int code = CLI_OK;
  while (code == CLI_OK && !is_finished(run)) {
    const MilenaRecordBatch *batch = NULL;
    MilenaError *error = milena_consumer_poll(run->consumer, POLL_MS, &batch);
    if (error)
      return cli_failed(run->cli, error);
    if (!batch) {
      tell_trouble(run);
      continue;
    }
    run->heard_us = g_get_monotonic_time();
    run->told_trouble = FALSE;
    code = show_batch(run, batch);
  }
  return code;
}

int consume_group_run(Cli *cli, MilenaClient *client, const ConsumeJob *job, const ConsumeMembership *membership,
                      ConsumeTally *ret_tally) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(MilenaConsumer) consumer = milena_consumer_new(client, NULL);
  Run run = {.cli = cli, .job = job, .membership = membership, .consumer = consumer, .out = out};
  gint64 begun_us = g_get_monotonic_time();
  run.heard_us = begun_us;
  MilenaError *error = join(&run);
  int code = error ? cli_failed(cli, error) : read_records(&run);
  error = milena_consumer_leave(consumer, LEAVE_TIMEOUT_MS);
  if (error && code == CLI_OK)
    code = cli_failed(cli, error);
  else
    milena_error_free(error);
  run.tally.elapsed_us = g_get_monotonic_time() - begun_us;
  *ret_tally = run.tally;
  return code;
}
