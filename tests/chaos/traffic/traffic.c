/* The traffic; see traffic.h.
 *
 * Owning threads: each actor notes what it does in a ledger of its own; what they share is behind a mutex. Their
 * ledgers become one when they have ended. */
#include "tests/chaos/traffic/traffic.h"

#include <stdio.h>
#include <string.h>

#include "tests/chaos/traffic/traffic_internal.h"

#define CREATE_S 60
#define SHORT_TIMEOUT_MS 2500

/* ---- Values ---- */

#define PADDING_MAX 200

char *traffic_text_of_value(guint64 value) {
  char padding[PADDING_MAX + 1];
  guint length = (guint)(value * 2654435761u % PADDING_MAX);
  memset(padding, 'a' + (int)(value % 26), length);
  padding[length] = '\0';
  return g_strdup_printf("%" G_GUINT64_FORMAT " %s", value, padding);
}

guint64 traffic_value_of_text(const void *data, gsize size) {
  g_autofree char *text = g_strndup(data, size);
  guint64 value = g_ascii_strtoull(text, NULL, 10);
  g_autofree char *wanted = traffic_text_of_value(value);
  return strlen(wanted) == size && memcmp(wanted, data, size) == 0 ? value : 0;
}

/* ---- Actors ---- */

Actor *actor_new(Traffic *traffic, guint32 number) {
  Actor *actor = g_new0(Actor, 1);
  actor->traffic = traffic;
  actor->number = number;
  actor->random = g_rand_new_with_seed((guint32)(traffic->seed * 1000 + number));
  actor->ledger = ledger_new();
  g_mutex_init(&actor->mutex);
  return actor;
}

void actor_free(gpointer data) {
  Actor *actor = data;
  g_rand_free(actor->random);
  ledger_free(actor->ledger);
  g_mutex_clear(&actor->mutex);
  g_free(actor);
}

static void start_actor(GPtrArray *actors, Actor *actor, const char *name, GThreadFunc func) {
  g_ptr_array_add(actors, actor);
  actor->thread = g_thread_new(name, func, actor);
}

static void join_all(Traffic *traffic, GPtrArray *actors) {
  for (guint i = 0; i < actors->len; i++) {
    Actor *actor = actors->pdata[i];
    if (!actor->thread)
      continue;
    g_thread_join(g_steal_pointer(&actor->thread));
    g_array_append_vals(traffic->ledger->sends, actor->ledger->sends->data, actor->ledger->sends->len);
    g_array_append_vals(traffic->ledger->reads, actor->ledger->reads->data, actor->ledger->reads->len);
    g_array_set_size(actor->ledger->reads, 0);
  }
}

/* ---- What they share ---- */

MilenaClient *traffic_client(const Traffic *traffic, gboolean by_door) {
  MilenaClient *client = NULL;
  MilenaClientOptions options;
  milena_client_options_init(&options);
  options.bootstrap_only = by_door;
  MilenaError *error = milena_client_new(by_door ? traffic->door : traffic->bootstrap, &options, &client);
  if (error)
    g_error("no client: %s", milena_error_message(error));
  return client;
}

const char *traffic_address(const Actor *actor, guint turn) {
  const Traffic *traffic = actor->traffic;
  return actor->by_door ? traffic->door : traffic->addresses[turn % traffic->brokers];
}

void traffic_note_acknowledged(Traffic *traffic, const LedgerSend *send) {
  g_mutex_lock(&traffic->mutex);
  gint64 *youngest_us = &traffic->acknowledged_us[send->partition];
  *youngest_us = MAX(*youngest_us, send->invoke_us);
  g_mutex_unlock(&traffic->mutex);
}

void traffic_note_trouble(Traffic *traffic, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_mutex_lock(&traffic->mutex);
  if (!traffic->trouble)
    traffic->trouble = g_strdup_vprintf(format, args);
  g_mutex_unlock(&traffic->mutex);
  va_end(args);
}

const char *traffic_trouble(Traffic *traffic) {
  return traffic->trouble;
}

gboolean traffic_is_acknowledged(Traffic *traffic, guint32 partitions, gint64 since_us) {
  gboolean all = TRUE;
  g_mutex_lock(&traffic->mutex);
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    all &= !(partitions & 1u << i) || traffic->acknowledged_us[i] >= since_us;
  g_mutex_unlock(&traffic->mutex);
  return all;
}

char *traffic_silent_partitions(Traffic *traffic, gint64 since_us) {
  GString *out = g_string_new(NULL);
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    if (!traffic_is_acknowledged(traffic, 1u << i, since_us))
      g_string_append_printf(out, "%s%u", out->len ? ", " : "", i);
  return g_string_free(out, FALSE);
}

/* ---- Silence ---- */

/* Adds when each partition was acknowledged to this producer. */
static void note_answers(Actor *writer, gint64 since_us, gint64 until_us, GArray *answers[TRAFFIC_PARTITIONS]) {
  g_mutex_lock(&writer->mutex);
  for (guint i = 0; i < writer->ledger->sends->len; i++) {
    const LedgerSend *send = &g_array_index(writer->ledger->sends, LedgerSend, i);
    if (send->outcome == LEDGER_OK && send->invoke_us >= since_us && send->return_us <= until_us)
      g_array_append_val(answers[send->partition], send->return_us);
  }
  g_mutex_unlock(&writer->mutex);
}

gint64 traffic_longest_silence_us(Traffic *traffic, gint64 since_us, gint64 until_us, gboolean by_door) {
  GArray *answers[TRAFFIC_PARTITIONS];
  gint64 longest = 0;
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++)
    answers[i] = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (guint i = 0; i < traffic->writers->len; i++) {
    Actor *writer = traffic->writers->pdata[i];
    if (writer->by_door == by_door)
      note_answers(writer, since_us, until_us, answers);
  }
  for (guint i = 0; i < TRAFFIC_PARTITIONS; i++) {
    longest = MAX(longest, ledger_longest_pause_us(answers[i], since_us, until_us));
    g_array_unref(answers[i]);
  }
  return longest;
}

/* ---- Begin and end ---- */

static const struct {
  const char *name;
  GThreadFunc run;
  gint32 timeout_ms; /* 0: the library's */
  gboolean by_door;  /* when there is one */
} PRODUCERS[TRAFFIC_PRODUCERS] = {
    {"idempotent", traffic_write, 0, FALSE},
    {"idempotent", traffic_write, 0, TRUE},
    {"idempotent, short time", traffic_write, SHORT_TIMEOUT_MS, FALSE},
    {"plain", traffic_write_plainly, 0, FALSE},
    {"plain", traffic_write_plainly, 0, TRUE},
};

const char *traffic_producer_name(guint index) {
  return PRODUCERS[index].name;
}

Traffic *traffic_new(const TrafficOptions *options) {
  Traffic *traffic = g_new0(Traffic, 1);
  g_mutex_init(&traffic->mutex);
  traffic->brokers = options->brokers;
  traffic->flush = options->flush;
  traffic->seed = options->seed;
  traffic->addresses = g_new0(char *, options->brokers + 1);
  for (guint i = 0; i < options->brokers; i++)
    traffic->addresses[i] = g_strdup(options->addresses[i]);
  traffic->bootstrap = g_strjoinv(",", traffic->addresses);
  traffic->door = g_strdup(options->door);
  traffic->writers = g_ptr_array_new_with_free_func(actor_free);
  traffic->readers = g_ptr_array_new_with_free_func(actor_free);
  traffic->ledger = ledger_new();
  traffic->admin = traffic_client(traffic, FALSE);
  return traffic;
}

static MilenaFlush flush_from_name(const char *name) {
  return g_str_equal(name, "os")         ? MILENA_FLUSH_OS
         : g_str_equal(name, "interval") ? MILENA_FLUSH_INTERVAL
                                         : MILENA_FLUSH_ALWAYS;
}

/* The brokers may still be on their way up. */
static char *create_topic(Traffic *traffic) {
  const MilenaNewTopic topic = {
      .name = TRAFFIC_TOPIC,
      .partitions = TRAFFIC_PARTITIONS,
      .replication_factor = 3,
      .config = {.flush = flush_from_name(traffic->flush), .min_insync_replicas = 2},
  };
  gint64 until_us = g_get_monotonic_time() + CREATE_S * G_USEC_PER_SEC;
  for (;;) {
    MilenaError *error = milena_admin_create_topic(traffic->admin, &topic, 5000, NULL);
    gboolean is_there = !error || g_str_equal(milena_error_reason(error), "TOPIC_EXISTS");
    gboolean is_late = g_get_monotonic_time() > until_us;
    char *why = is_there || !is_late ? NULL : g_strdup(milena_error_message(error));
    milena_error_free(error);
    if (is_there || is_late)
      return why;
    g_usleep(100000);
  }
}

char *traffic_start(Traffic *traffic) {
  char *wrong = create_topic(traffic);
  if (wrong)
    return wrong;
  for (guint i = 0; i < TRAFFIC_PRODUCERS; i++) {
    Actor *writer = actor_new(traffic, i + 1);
    writer->timeout_ms = PRODUCERS[i].timeout_ms;
    writer->by_door = traffic->door && PRODUCERS[i].by_door;
    start_actor(traffic->writers, writer, "writer", PRODUCERS[i].run);
  }
  for (guint i = 0; i < 3; i++) {
    Actor *reader = actor_new(traffic, (i + 1) * 10000);
    reader->kind = i;
    reader->by_door = traffic->door && i == 1;
    start_actor(traffic->readers, reader, "reader", traffic_read);
  }
  start_actor(traffic->readers, actor_new(traffic, 40000), "plain-reader", traffic_read_plainly);
  return NULL;
}

void traffic_stop_writing(Traffic *traffic, guint flush_ms) {
  if (g_atomic_int_get(&traffic->stop_writing))
    return;
  traffic->flush_ms = flush_ms;
  g_atomic_int_set(&traffic->stop_writing, 1);
  join_all(traffic, traffic->writers);
}

void traffic_stop(Traffic *traffic) {
  traffic_stop_writing(traffic, 0);
  g_atomic_int_set(&traffic->stop_reading, 1);
  join_all(traffic, traffic->readers);
}

Ledger *traffic_ledger(Traffic *traffic) {
  return traffic->ledger;
}

void traffic_free(Traffic *traffic) {
  if (!traffic)
    return;
  g_ptr_array_unref(traffic->writers);
  g_ptr_array_unref(traffic->readers);
  milena_client_free(traffic->admin);
  ledger_free(traffic->ledger);
  g_strfreev(traffic->addresses);
  g_free(traffic->bootstrap);
  g_free(traffic->door);
  g_free(traffic->trouble);
  g_mutex_clear(&traffic->mutex);
  g_free(traffic);
}
