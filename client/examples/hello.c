/* Write a few records and read them back: the smallest whole program over libmilena.
 *
 *   hello BOOTSTRAP TOPIC
 *
 * Creates the topic if it does not exist. */
#include <milena/milena.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* End the program with the error's sentence, if there is one. */
static void check(MilenaError *error, const char *doing) {
  if (error == NULL)
    return;
  fprintf(stderr, "hello: %s: %s (%s)\n", doing, milena_error_message(error), milena_error_reason(error));
  exit(1);
}

static void make_topic(MilenaClient *client, const char *name) {
  MilenaNewTopic topic = {.name = name, .partitions = 3};
  MilenaError *error = milena_admin_create_topic(client, &topic, 10000, NULL);
  if (error != NULL && strcmp(milena_error_reason(error), "TOPIC_EXISTS") == 0) {
    milena_error_free(error);
    return;
  }
  check(error, "creating the topic");
}

static void delivered(const MilenaDelivery *delivery, void *user_data) {
  int *count = user_data;
  if (delivery->error != NULL)
    fprintf(stderr, "hello: not delivered: %s\n", milena_error_message(delivery->error));
  else
    ++*count;
}

static int write_greetings(MilenaClient *client, const char *topic) {
  static const char *const NAMES[] = {"Ada", "Grace", "Barbara"};
  int count = 0; /* the callbacks have all run when the flush returns */
  MilenaProducer *producer = milena_producer_new(client, NULL);
  for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
    char value[64];
    snprintf(value, sizeof value, "hello, %s", NAMES[i]);
    MilenaRecord record = MILENA_RECORD_INIT;
    record.topic = topic;
    record.key = milena_bytes_text(NAMES[i]);
    record.value = milena_bytes_text(value);
    check(milena_producer_send(producer, &record, delivered, &count), "sending");
  }
  check(milena_producer_flush(producer, 10000), "waiting for the deliveries");
  milena_producer_free(producer, 0);
  return count;
}

static void read_greetings(MilenaClient *client, const char *topic, int count) {
  MilenaConsumer *consumer = milena_consumer_new(client, NULL);
  check(milena_consumer_assign_topic(consumer, topic, MILENA_BEGINNING, 10000), "finding the topic");
  while (count > 0) {
    const MilenaRecordBatch *batch;
    check(milena_consumer_poll(consumer, 10000, &batch), "reading");
    if (batch == NULL) {
      fprintf(stderr, "hello: nothing came within 10 s\n");
      exit(1);
    }
    for (size_t i = 0; i < batch->count; i++, count--)
      printf("%d/%lld: %.*s\n", batch->partition, (long long)batch->records[i].offset,
             (int)batch->records[i].value.size, (const char *)batch->records[i].value.data);
  }
  milena_consumer_free(consumer);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: hello BOOTSTRAP TOPIC\n");
    return 2;
  }
  MilenaClient *client;
  check(milena_client_new(argv[1], NULL, &client), "reading the bootstrap list");
  make_topic(client, argv[2]);
  read_greetings(client, argv[2], write_greetings(client, argv[2]));
  milena_client_free(client);
  return 0;
}
