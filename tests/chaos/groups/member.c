/* A member of a consumer group, through libmilena, that notes what it does (notes.h).
 *
 *   member BOOTSTRAP TOPIC GROUP after|before|auto FILE [INSTANCE]
 *
 * It commits after it processes, before, or lets the library do it. It leaves on SIGTERM, to return if it has an
 * instance. On SIGUSR1 it polls too late for once. It ends with 1 when libmilena says what a member is not to be told
 * here. One thread. */
#include <glib.h>
#include <milena/group.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/groups/notes.h"

#define POLL_MS 200
#define POLL_RECORDS 40
#define POLL_INTERVAL_MS 8000
#define TOO_SLOW_MS 9000
#define COMMIT_TIMEOUT_MS 5000
#define AUTO_COMMIT_MS 300
#define LEAVE_TIMEOUT_MS 3000
#define JOIN_AGAIN_MS 200

typedef enum { COMMIT_AFTER, COMMIT_BEFORE, COMMIT_AUTO } CommitMode;

typedef struct {
  MilenaConsumer *consumer;
  MilenaGroupOptions options;
  CommitMode mode;
  Notes notes;
  guint polls;
} Member;

static volatile sig_atomic_t is_asked_to_leave, is_to_be_slow;

static void on_signal(int number) {
  if (number == SIGUSR1)
    is_to_be_slow = 1;
  else
    is_asked_to_leave = 1;
}

static void on_rebalance(MilenaConsumer *consumer, MilenaRebalance event, const MilenaTopicPartition *partitions,
                         size_t count, void *user_data) {
  Member *member = user_data;
  (void)consumer;
  for (size_t i = 0; i < count; i++)
    if (event == MILENA_REBALANCE_ASSIGNED)
      notes_given(&member->notes, partitions[i].partition);
    else
      notes_gone(&member->notes, partitions[i].partition);
}

/* ---- Records ---- */

static void process(Member *member, const MilenaRecordBatch *batch) {
  for (size_t i = 0; i < batch->count; i++) {
    const MilenaConsumedRecord *record = &batch->records[i];
    notes_read(&member->notes, batch->partition, member->polls, record->offset, record->value.data, record->value.size);
  }
  notes_write(&member->notes);
}

/* Whatever the error: an earlier attempt of the library's may have been kept. FALSE: it is not known to be kept. */
static gboolean commit(Member *member, const MilenaRecordBatch *batch) {
  const MilenaOffset offset = {batch->topic, batch->partition, batch->next_offset, -1, NULL};
  guint64 id = notes_asked(&member->notes, batch->partition, batch->next_offset);
  MilenaError *error = milena_consumer_commit(member->consumer, &offset, 1, COMMIT_TIMEOUT_MS);
  notes_answered(&member->notes, id, error ? milena_error_reason(error) : NULL);
  milena_error_free(error);
  return !error;
}

/* What is not known to be committed is not processed: it comes again, if the partition is still the member's. */
static void take_batch(Member *member, const MilenaRecordBatch *batch) {
  member->polls++;
  if (member->mode != COMMIT_BEFORE) {
    process(member, batch);
    if (member->mode == COMMIT_AFTER)
      commit(member, batch);
    else
      notes_asked(&member->notes, batch->partition, batch->next_offset); /* from the next poll on it may be committed */
  } else if (commit(member, batch)) {
    process(member, batch);
  } else {
    milena_error_free(milena_consumer_seek(member->consumer, batch->topic, batch->partition,
                                           MILENA_AT_OFFSET(batch->records[0].offset)));
  }
}

static void be_slow(Member *member) {
  is_to_be_slow = 0;
  notes_slow(&member->notes);
  for (guint waited_ms = 0; waited_ms < TOO_SLOW_MS && !is_asked_to_leave; waited_ms += 100)
    g_usleep(100000);
}

/* Until it is asked to leave, or is told what it can't wait out. */
static MilenaError *work(Member *member) {
  MilenaError *error = NULL;
  while (!error && !is_asked_to_leave) {
    const MilenaRecordBatch *batch = NULL;
    error = milena_consumer_poll(member->consumer, POLL_MS, &batch);
    if (is_to_be_slow)
      be_slow(member);
    if (!error && batch && batch->count)
      take_batch(member, batch);
  }
  return error;
}

/* An instance whose former process was killed has to wait until the session of that one has ended. */
static MilenaError *run(Member *member) {
  MilenaError *error = NULL;
  gboolean again;
  do {
    milena_error_free(error);
    error = milena_consumer_join(member->consumer, &member->options);
    if (!error)
      error = work(member);
    again = error && g_str_equal(milena_error_reason(error), "DUPLICATE_ID") && !is_asked_to_leave;
    if (again) {
      milena_error_free(milena_consumer_leave(member->consumer, 0));
      g_usleep(JOIN_AGAIN_MS * 1000);
    }
  } while (again);
  if (error && is_asked_to_leave && g_str_equal(milena_error_reason(error), "DUPLICATE_ID"))
    g_clear_pointer(&error, milena_error_free);
  /* A farewell that does not get through is no failure: the session ends in time. */
  milena_error_free(milena_consumer_leave(member->consumer, LEAVE_TIMEOUT_MS));
  return error;
}

static void set_options(Member *member, char **words, const char *instance) {
  MilenaGroupOptions *options = &member->options;
  milena_group_options_init(options);
  options->group = words[3];
  options->topics = (const char *const *)&words[2];
  options->topic_count = 1;
  options->instance_id = instance;
  options->reset = MILENA_RESET_BEGINNING;
  options->auto_commit = member->mode == COMMIT_AUTO;
  options->auto_commit_interval_ms = AUTO_COMMIT_MS;
  options->max_poll_interval_ms = POLL_INTERVAL_MS;
  options->on_rebalance = on_rebalance;
  options->user_data = member;
}

int main(int argc, char **argv) {
  if (argc < 6 || argc > 7) {
    fprintf(stderr, "usage: member BOOTSTRAP TOPIC GROUP after|before|auto FILE [INSTANCE]\n");
    return 2;
  }
  signal(SIGTERM, on_signal);
  signal(SIGUSR1, on_signal);
  signal(SIGPIPE, SIG_IGN);
  Member member = {.mode = g_str_equal(argv[4], "before") ? COMMIT_BEFORE
                           : g_str_equal(argv[4], "auto") ? COMMIT_AUTO
                                                          : COMMIT_AFTER};
  set_options(&member, argv, argc > 6 ? argv[6] : NULL);
  notes_open(&member.notes, argv[5]);
  MilenaClient *client = NULL;
  MilenaError *error = milena_client_new(argv[1], NULL, &client);
  if (!error) {
    MilenaConsumerOptions options;
    milena_consumer_options_init(&options);
    options.poll_records_max = POLL_RECORDS;
    member.consumer = milena_consumer_new(client, &options);
    error = run(&member);
    milena_consumer_free(member.consumer);
    milena_client_free(client);
  }
  if (error)
    fprintf(stderr, "member: %s: %s\n", milena_error_reason(error), milena_error_message(error));
  int code = error ? EXIT_FAILURE : EXIT_SUCCESS;
  milena_error_free(error);
  notes_close(&member.notes);
  return code;
}
