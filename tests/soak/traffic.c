/* See traffic.h. Threads: the writer's and each member's own; what they share is atomic, but for the first trouble,
 * which the lock guards. Failure modes: what clients wait out is no trouble; what they report is counted. */
#include "tests/soak/traffic.h"

#include <pthread.h>
#include <string.h>

#include "tests/shim/shim.h"

#define VALUE_BYTES 1024
#define TICK_US 10000
#define POLL_MS 200
#define FLUSH_MS 60000
#define LEAVE_MS 30000

typedef struct {
  Traffic *traffic;
  MilenaClient *client;
  MilenaConsumer *consumer;
  GThread *thread;
} Member;

struct Traffic {
  TrafficOptions options;
  gint stop_writing, stop_reading; /* atomic */
  gint64 written, read, troubles;  /* atomic */
  MilenaClient *client;
  MilenaProducer *producer;
  GThread *writer;
  Member *members;
  pthread_mutex_t lock; /* of first_trouble */
  char *first_trouble;
};

static guint64 load(gint64 *counter) {
  return (guint64)__atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add(gint64 *counter, gint64 count) {
  (void)__atomic_add_fetch(counter, count, __ATOMIC_RELAXED);
}

static void note_trouble(Traffic *traffic, const MilenaError *error) {
  add(&traffic->troubles, 1);
  pthread_mutex_lock(&traffic->lock);
  if (!traffic->first_trouble)
    traffic->first_trouble = g_strdup_printf("%s [%s]", milena_error_message(error), milena_error_reason(error));
  pthread_mutex_unlock(&traffic->lock);
}

/* ---- writing ---- */

static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  Traffic *traffic = user_data;
  if (delivery->error)
    note_trouble(traffic, delivery->error);
  else
    add(&traffic->written, 1);
}

static void write_one(Traffic *traffic, const char *value) {
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = traffic->options.topic;
  record.value = (MilenaBytes){value, VALUE_BYTES};
  MilenaError *error = milena_producer_send(traffic->producer, &record, on_delivery, traffic);
  if (error)
    note_trouble(traffic, error);
  milena_error_free(error);
}

/* At the rate, measured from the start: a tick that came late is made up for, up to a second. */
static gpointer write_on(gpointer data) {
  Traffic *traffic = data;
  char value[VALUE_BYTES];
  memset(value, '.', sizeof value);
  gint64 start_us = g_get_monotonic_time(), sent = 0;
  while (!g_atomic_int_get(&traffic->stop_writing)) {
    gint64 due = (g_get_monotonic_time() - start_us) * traffic->options.bytes_per_s / G_USEC_PER_SEC / VALUE_BYTES;
    sent = MAX(sent, due - (gint64)traffic->options.bytes_per_s / VALUE_BYTES);
    for (; sent < due; sent++)
      write_one(traffic, value);
    g_usleep(TICK_US);
  }
  return NULL;
}

/* ---- reading ---- */

static gpointer read_on(gpointer data) {
  Member *member = data;
  while (!g_atomic_int_get(&member->traffic->stop_reading)) {
    const MilenaRecordBatch *batch = NULL;
    MilenaError *error = milena_consumer_poll(member->consumer, POLL_MS, &batch);
    if (error)
      note_trouble(member->traffic, error);
    milena_error_free(error);
    if (batch)
      add(&member->traffic->read, (gint64)batch->count);
  }
  return NULL;
}

static void member_start(Traffic *traffic, Member *member) {
  MilenaGroupOptions options;
  milena_group_options_init(&options);
  options.group = traffic->options.group;
  options.topics = &traffic->options.topic;
  options.topic_count = 1;
  options.reset = MILENA_RESET_BEGINNING;
  options.auto_commit = true;
  options.auto_commit_interval_ms = (int32_t)traffic->options.commit_ms;
  member->traffic = traffic;
  member->client = load_client(traffic->options.cluster, traffic->options.brokers);
  member->consumer = milena_consumer_new(member->client, NULL);
  MilenaError *error = milena_consumer_join(member->consumer, &options);
  if (error)
    note_trouble(traffic, error);
  milena_error_free(error);
  member->thread = g_thread_new("member", read_on, member);
}

static void member_stop(Member *member) {
  g_thread_join(member->thread);
  milena_error_free(milena_consumer_leave(member->consumer, LEAVE_MS));
  milena_consumer_free(member->consumer);
  milena_client_free(member->client);
}

/* ---- all of it ---- */

Traffic *traffic_start(const TrafficOptions *options) {
  Traffic *traffic = g_new0(Traffic, 1);
  traffic->options = *options;
  pthread_mutex_init(&traffic->lock, NULL);
  traffic->client = load_client(options->cluster, options->brokers);
  traffic->producer = milena_producer_new(traffic->client, NULL);
  traffic->members = g_new0(Member, options->members);
  for (guint i = 0; i < options->members; i++)
    member_start(traffic, &traffic->members[i]);
  traffic->writer = g_thread_new("writer", write_on, traffic);
  return traffic;
}

guint64 traffic_written(Traffic *traffic) {
  return load(&traffic->written);
}

guint64 traffic_read(Traffic *traffic) {
  return load(&traffic->read);
}

guint64 traffic_troubles(Traffic *traffic) {
  return load(&traffic->troubles);
}

const char *traffic_first_trouble(Traffic *traffic) {
  pthread_mutex_lock(&traffic->lock);
  const char *trouble = traffic->first_trouble; /* set once */
  pthread_mutex_unlock(&traffic->lock);
  return trouble;
}

void traffic_stop_writing(Traffic *traffic) {
  g_atomic_int_set(&traffic->stop_writing, 1);
  if (!traffic->writer)
    return;
  g_thread_join(g_steal_pointer(&traffic->writer));
  milena_error_free(milena_producer_flush(traffic->producer, FLUSH_MS));
}

void traffic_free(Traffic *traffic) {
  if (!traffic)
    return;
  traffic_stop_writing(traffic);
  g_atomic_int_set(&traffic->stop_reading, 1);
  for (guint i = 0; i < traffic->options.members; i++)
    member_stop(&traffic->members[i]);
  milena_producer_free(traffic->producer, 0);
  milena_client_free(traffic->client);
  pthread_mutex_destroy(&traffic->lock);
  g_free(traffic->members);
  g_free(traffic->first_trouble);
  g_free(traffic);
}
