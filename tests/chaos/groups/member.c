/* A member of a consumer group that notes what it does, a line each, at the end of a file: what it was given and lost,
 * what it processed, what it committed and what it was told. A line is in the file before the next thing is done, so
 * the file of a killed member tells all but perhaps its last line.
 *
 *   member BOOTSTRAP TOPIC GROUP after|before FILE
 *
 * It leaves on SIGTERM. It ends with 1 when libmilena says what a member is not to be told here. One thread. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <milena/group.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 200
#define POLL_RECORDS 40
#define COMMIT_TIMEOUT_MS 5000
#define LEAVE_TIMEOUT_MS 3000

typedef struct {
  MilenaConsumer *consumer;
  gboolean commits_before;
  int file;
  guint polls;
  GString *lines;
} Member;

static volatile sig_atomic_t is_asked_to_leave;

static void on_signal(int number) {
  (void)number;
  is_asked_to_leave = 1;
}

/* ---- Noting ---- */

static void note(Member *member, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note(Member *member, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_string_append_vprintf(member->lines, format, args);
  va_end(args);
}

static void write_notes(Member *member) {
  for (gsize done = 0; done < member->lines->len;) {
    ssize_t count = write(member->file, member->lines->str + done, member->lines->len - done);
    if (count < 0 && errno != EINTR)
      g_error("notes can't be written: %s", g_strerror(errno));
    done += count > 0 ? (gsize)count : 0;
  }
  g_string_truncate(member->lines, 0);
}

static void on_rebalance(MilenaConsumer *consumer, MilenaRebalance event, const MilenaTopicPartition *partitions,
                         size_t count, void *user_data) {
  Member *member = user_data;
  (void)consumer;
  for (size_t i = 0; i < count; i++)
    note(member, "%s %d %" G_GINT64_FORMAT "\n", event == MILENA_REBALANCE_ASSIGNED ? "given" : "gone",
         partitions[i].partition, g_get_monotonic_time());
  write_notes(member);
}

/* ---- Records ---- */

static void process(Member *member, const MilenaRecordBatch *batch) {
  gint64 now_us = g_get_monotonic_time();
  for (size_t i = 0; i < batch->count; i++) {
    const MilenaConsumedRecord *record = &batch->records[i];
    note(member, "read %d %u %" G_GINT64_FORMAT " %.*s %" G_GINT64_FORMAT "\n", batch->partition, member->polls,
         (gint64)record->offset, (int)record->value.size, (const char *)record->value.data, now_us);
  }
  write_notes(member);
}

/* Whatever the error: an earlier attempt of the library's may have been kept. FALSE: it is not known to be kept. */
static gboolean commit(Member *member, const MilenaRecordBatch *batch) {
  const MilenaOffset offset = {batch->topic, batch->partition, batch->next_offset, -1, NULL};
  note(member, "asked %d %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n", batch->partition, (gint64)batch->next_offset,
       g_get_monotonic_time());
  write_notes(member);
  MilenaError *error = milena_consumer_commit(member->consumer, &offset, 1, COMMIT_TIMEOUT_MS);
  note(member, "answered %s %" G_GINT64_FORMAT " %s\n", error ? "unknown" : "ok", g_get_monotonic_time(),
       error ? milena_error_reason(error) : "");
  write_notes(member);
  milena_error_free(error);
  return !error;
}

/* What is not known to be committed is not processed: it comes again, if the partition is still the member's. */
static void take_batch(Member *member, const MilenaRecordBatch *batch) {
  member->polls++;
  if (!member->commits_before) {
    process(member, batch);
    commit(member, batch);
  } else if (commit(member, batch)) {
    process(member, batch);
  } else {
    milena_error_free(milena_consumer_seek(member->consumer, batch->topic, batch->partition,
                                           MILENA_AT_OFFSET(batch->records[0].offset)));
  }
}

static MilenaError *run(Member *member, const char *group, const char *topic) {
  MilenaGroupOptions options;
  milena_group_options_init(&options);
  options.group = group;
  options.topics = &topic;
  options.topic_count = 1;
  options.reset = MILENA_RESET_BEGINNING;
  options.auto_commit = false;
  options.on_rebalance = on_rebalance;
  options.user_data = member;
  MilenaError *error = milena_consumer_join(member->consumer, &options);
  while (!error && !is_asked_to_leave) {
    const MilenaRecordBatch *batch = NULL;
    error = milena_consumer_poll(member->consumer, POLL_MS, &batch);
    if (!error && batch && batch->count)
      take_batch(member, batch);
  }
  /* A farewell that does not get through is no failure: the session ends in time. */
  milena_error_free(milena_consumer_leave(member->consumer, LEAVE_TIMEOUT_MS));
  return error;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: member BOOTSTRAP TOPIC GROUP after|before FILE\n");
    return 2;
  }
  signal(SIGTERM, on_signal);
  signal(SIGPIPE, SIG_IGN);
  Member member = {.commits_before = g_str_equal(argv[4], "before"), .lines = g_string_new(NULL)};
  member.file = open(argv[5], O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  MilenaClient *client = NULL;
  MilenaError *error = milena_client_new(argv[1], NULL, &client);
  if (!error) {
    MilenaConsumerOptions options;
    milena_consumer_options_init(&options);
    options.poll_records_max = POLL_RECORDS;
    member.consumer = milena_consumer_new(client, &options);
    error = run(&member, argv[3], argv[2]);
    milena_consumer_free(member.consumer);
    milena_client_free(client);
  }
  if (error)
    fprintf(stderr, "member: %s: %s\n", milena_error_reason(error), milena_error_message(error));
  int code = error ? EXIT_FAILURE : EXIT_SUCCESS;
  milena_error_free(error);
  g_string_free(member.lines, TRUE);
  close(member.file);
  return code;
}
