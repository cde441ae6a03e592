/* Without --follow the end of each partition is looked up once, before its first record is read: what is written
 * meanwhile is not shown, so a busy topic comes to an end too.
 *
 *   partition: unknown ──looked up──► reading ──its end is reached──► done
 *
 * A partition whose leader is away stays unknown and is looked up again and again, while the others are read.
 *
 * One thread. Output is gathered and written in pieces; it is written out whenever nothing more is at hand, so a reader
 * behind a pipe sees each record as soon as it is here. */
#include "client/cli/consume_run.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/interrupt.h"

#define OUTPUT_BYTES (64 << 10)
#define POLL_MS 200
/* In this time brokers say of each partition what they know: the others do not wait longer for those whose leader is
 * away. Looking these up again holds up the others' records, so it is short, and not all the time. */
#define LOOK_UP_MS 2000
#define LOOK_UP_AGAIN_MS 500
#define LOOK_UP_PAUSE_US G_USEC_PER_SEC
/* Trouble is told once it lasts. */
#define TROUBLE_US (2 * (gint64)G_USEC_PER_SEC)

/* A partition that is read. */
typedef struct {
  gint32 partition;
  gint64 first, end; /* of the log when the run began */
  gint64 start;
  gint64 next;
  gboolean known; /* looked up: the fields above are set */
  gboolean done;  /* nothing more is to come of it; never with --follow */
} Part;

typedef struct {
  Cli *cli;
  const ConsumeJob *job;
  MilenaClient *client;
  MilenaConsumer *consumer;
  GArray *parts;       /* Part */
  guint open;          /* those of them that are not done */
  guint unknown;       /* those of them */
  gint64 looked_us;    /* when they were last looked up; 0: not yet */
  MilenaError *hidden; /* why they are unknown; owned */
  GString *out;
  ConsumeTally tally;
  gint64 heard_us;       /* when something last came */
  gboolean told_trouble; /* since then */
  gboolean reader_gone;  /* who reads our output */
} Run;

/* ---- Starts and ends ---- */

static int list_parts(Run *run) {
  const ConsumeJob *job = run->job;
  g_autoptr(MilenaTopic) topic = NULL;
  MilenaError *error = milena_admin_find_topic(run->client, job->topic, cli_timeout_ms(run->cli), &topic);
  if (error)
    return cli_failed(run->cli, error);
  gsize count = job->partition_count ? job->partition_count : topic->partition_count;
  for (gsize i = 0; i < count; i++) {
    Part part = {.partition = job->partition_count ? job->partitions[i] : topic->partitions[i].partition};
    if ((gsize)part.partition >= topic->partition_count)
      return cli_failed_text(run->cli,
                             "the topic '%s' has no partition %d: it has %" G_GSIZE_FORMAT ", counted from 0.",
                             job->topic, part.partition, topic->partition_count);
    g_array_append_val(run->parts, part);
  }
  return CLI_OK;
}

/* Once in each row of troubles, when they last. */
static void tell_trouble(Run *run, const MilenaError *trouble, gint64 lasts_us) {
  if (run->told_trouble || lasts_us < TROUBLE_US)
    return;
  run->told_trouble = TRUE;
  cli_note(run->cli, "waiting: %s", milena_error_message(trouble));
}

static MilenaPosition start_position(const When *from) {
  switch (from->kind) {
  case WHEN_END:
    return MILENA_END;
  case WHEN_TIME:
    return MILENA_AT_TIME(from->unix_ms);
  case WHEN_OFFSET:
  case WHEN_BEGINNING:
    break;
  }
  return MILENA_BEGINNING;
}

/* First offset, end and start of the partitions that are unknown, in one call.
 *
 * @ret_found: Part *: those that have them now
 *
 * Returns why others have not, or NULL. */
static MilenaError *look_up_once(Run *run, GPtrArray *ret_found) {
  g_autoptr(GPtrArray) wanted = g_ptr_array_new();
  for (guint i = 0; i < run->parts->len; i++) {
    Part *part = &g_array_index(run->parts, Part, i);
    if (!part->known)
      g_ptr_array_add(wanted, part);
  }
  gsize count = (gsize)3 * wanted->len;
  g_autofree MilenaOffsetQuery *queries = g_new(MilenaOffsetQuery, count);
  for (gsize i = 0; i < count; i++) {
    const MilenaPosition positions[] = {MILENA_BEGINNING, MILENA_END, start_position(&run->job->from)};
    const Part *part = wanted->pdata[i / 3];
    queries[i] = (MilenaOffsetQuery){run->job->topic, part->partition, positions[i % 3]};
  }
  MilenaOffsetResult *results = NULL;
  gint32 timeout_ms = MIN(cli_timeout_ms(run->cli), run->looked_us ? LOOK_UP_AGAIN_MS : LOOK_UP_MS);
  MilenaError *error = milena_admin_list_offsets(run->client, queries, count, timeout_ms, &results);
  if (error)
    return error;
  for (gsize i = 0; i < count; i += 3) {
    Part *part = wanted->pdata[i / 3];
    const MilenaError *why = NULL;
    for (gsize k = i; k < i + 3 && !why; k++)
      why = results[k].error;
    part->first = results[i].offset;
    part->end = results[i + 1].offset;
    part->start = results[i + 2].offset;
    if (!why)
      g_ptr_array_add(ret_found, part);
    else if (!error || (milena_error_is_retriable(error) && !milena_error_is_retriable(why))) {
      milena_error_free(error);
      error = milena_error_copy(why); /* rather one that does not pass */
    }
  }
  milena_offset_results_free(results, count);
  return error;
}

/* It was read up to @next. */
static void advance(Run *run, Part *part, gint64 next) {
  part->next = next;
  if (part->done || run->job->follow || next < part->end)
    return;
  part->done = TRUE;
  run->open--;
}

static gboolean is_finished(const Run *run) {
  return run->open == 0 || run->reader_gone || interrupt_signal() ||
         (run->job->count && run->tally.records >= run->job->count);
}

/* An offset that the user names must be there, or be where the next record comes. */
static int check_offset(Run *run, Part *part) {
  const When *from = &run->job->from;
  part->known = TRUE;
  run->unknown--;
  part->start = from->kind == WHEN_OFFSET ? from->offset : part->start;
  advance(run, part, part->start);
  if (from->kind != WHEN_OFFSET || (part->start >= part->first && part->start <= part->end))
    return CLI_OK;
  if (part->start > part->end && !run->job->follow)
    return CLI_OK; /* nothing to read */
  return cli_failed_text(run->cli,
                         "partition %d of '%s' holds the offsets from %" G_GINT64_FORMAT " to before %" G_GINT64_FORMAT
                         ", so it can't be read from %" G_GINT64_FORMAT ": use --from beginning, or one of these.",
                         part->partition, run->job->topic, part->first, part->end, part->start);
}

/* Read all that are known and not done, each on from where it is. */
static int assign(Run *run) {
  g_autoptr(GArray) assignments = g_array_new(FALSE, FALSE, sizeof(MilenaAssignment));
  for (guint i = 0; i < run->parts->len; i++) {
    const Part *part = &g_array_index(run->parts, Part, i);
    MilenaAssignment assignment = {run->job->topic, part->partition, MILENA_AT_OFFSET(part->next)};
    if (part->known && !part->done)
      g_array_append_val(assignments, assignment);
  }
  if (assignments->len == 0)
    return CLI_OK;
  MilenaError *error =
      milena_consumer_assign(run->consumer, (const MilenaAssignment *)(void *)assignments->data, assignments->len);
  return error ? cli_failed(run->cli, error) : CLI_OK;
}

/* Look the unknown partitions up, and read those that were found. Fails only with what does not pass: a broker that
 * restarts is waited for (see wait_on). */
static int look_up(Run *run) {
  g_autoptr(GPtrArray) found = g_ptr_array_new();
  MilenaError *error = look_up_once(run, found);
  run->looked_us = g_get_monotonic_time();
  if (error && !milena_error_is_retriable(error))
    return cli_failed(run->cli, error);
  milena_error_free(run->hidden);
  run->hidden = error;
  if (found->len > 0)
    run->heard_us = run->looked_us;
  int code = CLI_OK;
  for (guint i = 0; i < found->len && code == CLI_OK; i++)
    code = check_offset(run, found->pdata[i]);
  return code == CLI_OK && found->len > 0 && !is_finished(run) ? assign(run) : code;
}

/* ---- Records ---- */

static int write_out(Run *run) {
  if (run->out->len > 0 && !cli_write(STDOUT_FILENO, run->out->str, run->out->len)) {
    if (errno != EPIPE)
      return cli_failed_text(run->cli, "standard output can't be written: %s.", g_strerror(errno));
    run->reader_gone = TRUE; /* as `head` does: no failure */
  }
  g_string_truncate(run->out, 0);
  return CLI_OK;
}

static Part *find_part(Run *run, gint32 partition) {
  for (guint i = 0; i < run->parts->len; i++) {
    Part *part = &g_array_index(run->parts, Part, i);
    if (part->partition == partition)
      return part;
  }
  return NULL;
}

static int show_batch(Run *run, const MilenaRecordBatch *batch) {
  Part *part = find_part(run, batch->partition);
  int code = CLI_OK;
  if (!part)
    return CLI_OK;
  for (gsize i = 0; i < batch->count && code == CLI_OK && !is_finished(run); i++) {
    const MilenaConsumedRecord *record = &batch->records[i];
    if (!run->job->follow && record->offset >= part->end)
      break;
    template_apply(run->job->template, batch->topic, batch->partition, record, run->out);
    run->tally.records++;
    run->tally.bytes += record->key.size + record->value.size;
    advance(run, part, record->offset + 1);
    if (run->out->len >= OUTPUT_BYTES)
      code = write_out(run);
  }
  /* The last offsets before the end may hold no records for readers. */
  advance(run, part, MAX(part->next, batch->next_offset));
  return code;
}

/* Nothing came: say why, once it lasts; give up when it lasts as long as --timeout says. */
static int wait_on(Run *run) {
  gint64 silent_us = g_get_monotonic_time() - run->heard_us;
  if (silent_us < TROUBLE_US)
    return CLI_OK;
  g_autoptr(MilenaError) trouble =
      run->hidden ? milena_error_copy(run->hidden) : milena_consumer_trouble(run->consumer);
  if (!run->job->follow && silent_us > (gint64)run->cli->timeout_s * G_USEC_PER_SEC)
    return trouble ? cli_failed(run->cli, g_steal_pointer(&trouble))
                   : cli_failed_text(run->cli, "nothing came for %d s, though records are left to read.",
                                     run->cli->timeout_s);
  if (trouble)
    tell_trouble(run, trouble, silent_us);
  return CLI_OK;
}

/* Nothing is at hand: the moment to look up what is unknown. */
static int look_up_again(Run *run) {
  if (run->unknown == 0 || g_get_monotonic_time() - run->looked_us < LOOK_UP_PAUSE_US)
    return CLI_OK;
  return look_up(run);
}

static int read_records(Run *run) {
  int code = CLI_OK;
  gboolean waited = FALSE;
  while (code == CLI_OK && !is_finished(run)) {
    const MilenaRecordBatch *batch = NULL;
    /* First without waiting: only when nothing is at hand is it worth a write. */
    MilenaError *error = milena_consumer_poll(run->consumer, waited ? POLL_MS : 0, &batch);
    if (error)
      return cli_failed(run->cli, error);
    if (batch) {
      run->heard_us = g_get_monotonic_time();
      run->told_trouble = waited = FALSE;
      code = show_batch(run, batch);
    } else {
      waited = TRUE;
      code = write_out(run);
      if (code == CLI_OK)
        code = look_up_again(run);
      if (code == CLI_OK)
        code = wait_on(run);
    }
  }
  return code;
}

int consume_run(Cli *cli, MilenaClient *client, const ConsumeJob *job, ConsumeTally *ret_tally) {
  g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(Part));
  g_autoptr(GString) out = g_string_sized_new(OUTPUT_BYTES);
  g_autoptr(MilenaConsumer) consumer = milena_consumer_new(client, NULL);
  Run run = {.cli = cli, .job = job, .client = client, .consumer = consumer, .parts = parts, .out = out};
  gint64 begun_us = g_get_monotonic_time();
  int code = list_parts(&run);
  run.open = run.unknown = parts->len;
  run.heard_us = g_get_monotonic_time();
  if (code == CLI_OK)
    code = look_up(&run);
  if (code == CLI_OK && !is_finished(&run)) {
    code = read_records(&run);
    /* What was read before a failure is shown all the same. */
    int written = write_out(&run);
    code = code == CLI_OK ? written : code;
  }
  milena_error_free(run.hidden);
  run.tally.elapsed_us = g_get_monotonic_time() - begun_us;
  *ret_tally = run.tally;
  return code;
}
