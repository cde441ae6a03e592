#include "tests/cluster/load.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/shim/shim.h"

#define RECORDS_MAX 200000 /* of one producer */
#define PARTITIONS_MAX 16
#define READ_MAX_MS 60000
#define MORE_MAX_MS 60000

typedef struct {
  Load *load;
  guint number;
  MilenaClient *client;
  MilenaProducer *producer;
  GThread *thread;
  guint sent;
  guint8 acknowledged[RECORDS_MAX]; /* by the client's thread, read after the end */
  guint8 seen[RECORDS_MAX];
} Writer;

struct Load {
  char *topic;
  gsize value_bytes; /* at least */
  GPtrArray *writers;
  gint stop; /* atomic, as the next two */
  gint acknowledged, failed;
  pthread_mutex_t lock; /* of what follows */
  gint64 last_us, gap_us;
  char *first_error;
};

MilenaClient *load_client(const Cluster *cluster, guint brokers) {
  g_autoptr(GString) addresses = g_string_new(NULL);
  for (guint i = 0; i < brokers; i++)
    g_string_append_printf(addresses, "%s127.0.0.1:%u", i ? "," : "", cluster_port(cluster, i));
  MilenaClient *client = NULL;
  MilenaError *error = milena_client_new(addresses->str, NULL, &client);
  if (error)
    shim_fail(__FILE__, __LINE__, "%s", milena_error_message(error));
  milena_error_free(error);
  return client;
}

/* ---- writing ---- */

/* A delivery's user_data: the writer and the number of the record. */
typedef struct {
  Writer *writer;
  guint number;
} Sent;

static void note_gap(Load *load) {
  gint64 now_us = g_get_monotonic_time();
  load->gap_us = MAX(load->gap_us, now_us - load->last_us);
  load->last_us = now_us;
}

static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  g_autofree Sent *sent = user_data;
  Load *load = sent->writer->load;
  pthread_mutex_lock(&load->lock);
  if (!delivery->error) {
    sent->writer->acknowledged[sent->number] = 1;
    g_atomic_int_inc(&load->acknowledged);
    note_gap(load);
  } else {
    g_atomic_int_inc(&load->failed);
    if (!load->first_error)
      load->first_error =
          g_strdup_printf("%s [%s]", milena_error_message(delivery->error), milena_error_reason(delivery->error));
  }
  pthread_mutex_unlock(&load->lock);
}

/* Which one it is, and dots behind that. */
static char *make_value(const Writer *writer) {
  g_autoptr(GString) value = g_string_new(NULL);
  g_string_printf(value, "%u:%u", writer->number, writer->sent);
  gsize length = value->len;
  if (length < writer->load->value_bytes) {
    g_string_set_size(value, writer->load->value_bytes);
    memset(value->str + length, '.', value->len - length);
  }
  return g_string_free(g_steal_pointer(&value), FALSE);
}

static gpointer write_on(gpointer data) {
  Writer *writer = data;
  while (!g_atomic_int_get(&writer->load->stop) && writer->sent < RECORDS_MAX) {
    g_autofree char *value = make_value(writer);
    MilenaRecord record = MILENA_RECORD_INIT;
    record.topic = writer->load->topic;
    record.value = milena_bytes_text(value);
    Sent *sent = g_new(Sent, 1);
    *sent = (Sent){writer, writer->sent};
    MilenaError *error = milena_producer_send(writer->producer, &record, on_delivery, sent);
    if (error) { /* it was not accepted: the same one again */
      g_free(sent);
      milena_error_free(error);
    } else {
      writer->sent++;
    }
    g_usleep(1000);
  }
  return NULL;
}

Load *load_start(const Cluster *cluster, const char *topic, guint brokers, guint producers) {
  return load_start_of(cluster, topic, brokers, producers, 0);
}

Load *load_start_of(const Cluster *cluster, const char *topic, guint brokers, guint producers, gsize value_bytes) {
  Load *load = g_new0(Load, 1);
  load->topic = g_strdup(topic);
  load->value_bytes = value_bytes;
  load->writers = g_ptr_array_new_with_free_func(g_free);
  load->last_us = g_get_monotonic_time();
  pthread_mutex_init(&load->lock, NULL);
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.partitioner = MILENA_PARTITIONER_ROUND_ROBIN;
  for (guint i = 0; i < producers; i++) {
    Writer *writer = g_new0(Writer, 1);
    writer->load = load;
    writer->number = i;
    writer->client = load_client(cluster, brokers);
    writer->producer = milena_producer_new(writer->client, &options);
    writer->thread = g_thread_new("writer", write_on, writer);
    g_ptr_array_add(load->writers, writer);
  }
  return load;
}

guint load_acknowledged(Load *load) {
  return (guint)g_atomic_int_get(&load->acknowledged);
}

static guint load_failed(Load *load) {
  return (guint)g_atomic_int_get(&load->failed);
}

gint64 load_longest_gap_ms(Load *load) {
  pthread_mutex_lock(&load->lock);
  gint64 gap_us = MAX(load->gap_us, g_get_monotonic_time() - load->last_us);
  load->gap_us = 0;
  pthread_mutex_unlock(&load->lock);
  return gap_us / 1000;
}

typedef struct {
  Load *load;
  guint until;
} More;

static gboolean has_more(gpointer data) {
  const More *more = data;
  return load_acknowledged(more->load) >= more->until;
}

void load_expect_more(Load *load, guint more) {
  More wanted = {load, load_acknowledged(load) + more};
  if (!cluster_until(has_more, &wanted, MORE_MAX_MS))
    shim_fail(__FILE__, __LINE__, "of %u more records, %u were acknowledged; first error: %s", more,
              load_acknowledged(load) + more - wanted.until, load->first_error ? load->first_error : "none");
}

void load_expect_no_failure(Load *load) {
  if (load_failed(load) > 0)
    shim_fail(__FILE__, __LINE__, "%u records failed; the first: %s", load_failed(load), load->first_error);
}

void load_stop(Load *load) {
  g_atomic_int_set(&load->stop, 1);
  for (guint i = 0; i < load->writers->len; i++) {
    Writer *writer = load->writers->pdata[i];
    if (!writer->thread)
      continue;
    g_thread_join(g_steal_pointer(&writer->thread));
    milena_producer_free(writer->producer, MORE_MAX_MS);
    milena_client_free(writer->client);
  }
}

void load_free(Load *load) {
  if (!load)
    return;
  load_stop(load);
  g_ptr_array_unref(load->writers);
  pthread_mutex_destroy(&load->lock);
  g_free(load->first_error);
  g_free(load->topic);
  g_free(load);
}

/* ---- reading ---- */

typedef struct {
  Load *load;
  MilenaConsumer *consumer;
  guint partitions;
  gint64 ends[PARTITIONS_MAX];
  gint64 *last; /* number of the record before, by partition and writer */
} Reading;

static gboolean fail(MilenaError *error) {
  if (error)
    shim_fail(__FILE__, __LINE__, "%s", milena_error_message(error));
  milena_error_free(error);
  return error != NULL;
}

static gboolean find_ends(Reading *reading, MilenaClient *client) {
  MilenaTopic *topic = NULL;
  if (fail(milena_admin_find_topic(client, reading->load->topic, READ_MAX_MS, &topic)))
    return FALSE;
  reading->partitions = (guint)MIN(topic->partition_count, PARTITIONS_MAX);
  milena_topic_free(topic);
  MilenaOffsetQuery queries[PARTITIONS_MAX];
  for (guint i = 0; i < reading->partitions; i++)
    queries[i] = (MilenaOffsetQuery){reading->load->topic, (int32_t)i, MILENA_END};
  MilenaOffsetResult *results = NULL;
  if (fail(milena_admin_list_offsets(client, queries, reading->partitions, READ_MAX_MS, &results)))
    return FALSE;
  gboolean found = TRUE;
  for (guint i = 0; i < reading->partitions; i++) {
    found &= !fail(milena_error_copy(results[i].error));
    reading->ends[i] = results[i].offset;
  }
  milena_offset_results_free(results, reading->partitions);
  return found;
}

static gboolean has_come_to_ends(const Reading *reading) {
  for (guint i = 0; i < reading->partitions; i++) {
    int64_t offset = -1;
    if (fail(milena_consumer_position(reading->consumer, reading->load->topic, (int32_t)i, &offset, NULL)) ||
        offset < reading->ends[i])
      return FALSE;
  }
  return TRUE;
}

static void take_value(Reading *reading, gint32 partition, const MilenaBytes *value) {
  g_autofree char *text = g_strndup(value->data, value->size);
  guint number = 0, record = 0;
  const GPtrArray *writers = reading->load->writers;
  if (sscanf(text, "%u:%u", &number, &record) != 2 || number >= writers->len || record >= RECORDS_MAX) {
    shim_fail(__FILE__, __LINE__, "nobody wrote '%s'", text);
    return;
  }
  gint64 *last = &reading->last[(guint)partition * writers->len + number];
  if (record <= *last)
    shim_fail(__FILE__, __LINE__, "partition %d: record %s comes behind number %d", partition, text, (int)*last);
  *last = record;
  ((Writer *)writers->pdata[number])->seen[record]++;
}

static void read_all(Reading *reading) {
  gint64 deadline_us = g_get_monotonic_time() + READ_MAX_MS * 1000LL;
  while (!has_come_to_ends(reading)) {
    const MilenaRecordBatch *batch = NULL;
    if (fail(milena_consumer_poll(reading->consumer, 1000, &batch)))
      return;
    for (gsize i = 0; batch && i < batch->count; i++)
      take_value(reading, batch->partition, &batch->records[i].value);
    if (g_get_monotonic_time() > deadline_us) {
      MilenaError *trouble = milena_consumer_trouble(reading->consumer);
      shim_fail(__FILE__, __LINE__, "the topic can't be read to its ends: %s",
                trouble ? milena_error_message(trouble) : "nothing more comes");
      milena_error_free(trouble);
      return;
    }
  }
}

void load_expect_all_once(Load *load, MilenaClient *client) {
  Reading reading = {.load = load};
  if (!find_ends(&reading, client))
    return;
  reading.last = g_new(gint64, reading.partitions * load->writers->len);
  for (guint i = 0; i < reading.partitions * load->writers->len; i++)
    reading.last[i] = -1;
  reading.consumer = milena_consumer_new(client, NULL);
  if (!fail(milena_consumer_assign_topic(reading.consumer, load->topic, MILENA_BEGINNING, READ_MAX_MS)))
    read_all(&reading);
  milena_consumer_free(reading.consumer);
  g_free(reading.last);
  guint missing = 0, twice = 0;
  for (guint i = 0; i < load->writers->len; i++) {
    Writer *writer = load->writers->pdata[i];
    for (guint j = 0; j < writer->sent; j++) {
      missing += writer->acknowledged[j] && !writer->seen[j];
      twice += writer->seen[j] > 1;
    }
    memset(writer->seen, 0, sizeof writer->seen);
  }
  if (missing || twice)
    shim_fail(__FILE__, __LINE__, "of %u acknowledged records, %u are missing; %u are there twice",
              load_acknowledged(load), missing, twice);
}
