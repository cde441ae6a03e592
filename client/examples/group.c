/* A member of a consumer group: reads a topic together with all others that run this program with the same group, and
 * goes on where the group stopped.
 *
 *   group BOOTSTRAP TOPIC GROUP SECONDS */
#include <milena/group.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What is the member's now is told; what it loses was committed before (auto_commit), or is somebody else's already. */
static void on_rebalance(MilenaConsumer *consumer, MilenaRebalance event, const MilenaTopicPartition *partitions,
                         size_t count, void *user_data) {
  static const char *const WORDS[] = {"", "assigned", "revoked", "lost"};
  (void)consumer;
  (void)user_data;
  printf("%s:", WORDS[event]);
  for (size_t i = 0; i < count; i++)
    printf(" %s:%d", partitions[i].topic, (int)partitions[i].partition);
  printf("\n");
}

/* Print what comes until the time is over. */
static MilenaError *read_records(MilenaConsumer *consumer, int seconds) {
  time_t end = time(NULL) + seconds;
  while (time(NULL) < end) {
    const MilenaRecordBatch *batch;
    MilenaError *error = milena_consumer_poll(consumer, 200, &batch);
    if (error)
      return error;
    for (size_t i = 0; batch && i < batch->count; i++) {
      const MilenaConsumedRecord *record = &batch->records[i];
      printf("%s:%d:%lld %.*s\n", batch->topic, (int)batch->partition, (long long)record->offset,
             (int)record->value.size, (const char *)record->value.data);
    }
    /* The next poll commits what this one gave: a program that dies here reads it once more. */
  }
  return NULL;
}

static MilenaError *run(MilenaClient *client, const char *topic, const char *group, int seconds) {
  MilenaConsumer *consumer = milena_consumer_new(client, NULL);
  MilenaGroupOptions options;
  milena_group_options_init(&options);
  options.group = group;
  options.topics = &topic;
  options.topic_count = 1;
  options.reset = MILENA_RESET_BEGINNING;
  options.on_rebalance = on_rebalance;
  MilenaError *error = milena_consumer_join(consumer, &options);
  if (!error)
    error = read_records(consumer, seconds);
  MilenaError *farewell = milena_consumer_leave(consumer, 5000); /* commits, and lets others read on at once */
  milena_consumer_free(consumer);
  if (!error)
    return farewell;
  milena_error_free(farewell);
  return error;
}

int main(int argc, char **argv) {
  MilenaClient *client;
  if (argc != 5) {
    fprintf(stderr, "usage: group BOOTSTRAP TOPIC GROUP SECONDS\n");
    return 2;
  }
  MilenaError *error = milena_client_new(argv[1], NULL, &client);
  if (!error) {
    error = run(client, argv[2], argv[3], atoi(argv[4]));
    milena_client_free(client);
  }
  if (!error)
    return 0;
  fprintf(stderr, "group: %s\n", milena_error_message(error));
  milena_error_free(error);
  return 1;
}
