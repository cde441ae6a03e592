/* How long records of a partition are refused after its leader was killed with -9: three controllers, three brokers,
 * default settings, one producer that writes to every partition all the time.
 *
 *   failover_bench --base-port PORT MILENA FOLDER [--kills N] [--partitions N] [--interval MS]
 *
 * For each kill: until the metadata that a broker tells has a living leader for each partition; the longest time
 * without a delivery of the partitions that the broker led (median and worst of them), and of the other partitions
 * (worst). A record that failed counts, and none may: the producer retries. The broker is started again and has caught
 * up before the next kill. Ends with 1 when something was not as it should be. */
#include <glib.h>
#include <milena/milena.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CALL_MS 30000
#define SETTLE_MS 60000

typedef struct {
  gint64 last_us;    /* of a delivery */
  gint64 longest_us; /* between two, since the last reset */
  gint32 leader_id;  /* before the kill */
} Lane;

typedef struct {
  MilenaClient *client;
  MilenaProducer *producer;
  guint partitions;
  GThread *thread;
  gint stopping;
  gint64 interval_us;
  GMutex mutex; /* guards what follows */
  Lane *lanes;
  guint64 failed, unknown;
} Load;

static const char *milena, *folder;

G_NORETURN static void fail(const char *what, const char *why) {
  fprintf(stderr, "failover_bench: %s: %s\n", what, why);
  exit(1);
}

static void check(MilenaError *error, const char *doing) {
  if (error)
    fail(doing, milena_error_message(error));
}

static void run(const char *verb, const char *a, const char *b, const char *c, const char *d) {
  const char *words[] = {milena, "local", verb, "--data", folder, a, b, c, d, NULL};
  g_autofree char *err = NULL;
  int status = 0;
  if (!g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &err, &status, NULL) ||
      status != 0)
    fail(verb, err ? err : "it could not be run");
}

/* ---- the load ---- */

static void delivered(const MilenaDelivery *delivery, void *data) {
  Load *load = data;
  gint64 now_us = g_get_monotonic_time();
  g_mutex_lock(&load->mutex);
  if (delivery->error) {
    if (load->failed++ == 0)
      fprintf(stderr, "a record failed: %s\n", milena_error_message(delivery->error));
    load->unknown += milena_error_is_outcome_unknown(delivery->error);
  } else {
    Lane *lane = &load->lanes[delivery->partition];
    lane->longest_us = MAX(lane->longest_us, now_us - lane->last_us);
    lane->last_us = now_us;
  }
  g_mutex_unlock(&load->mutex);
}

static gpointer write_all_the_time(gpointer data) {
  Load *load = data;
  while (!g_atomic_int_get(&load->stopping)) {
    for (guint i = 0; i < load->partitions; i++) {
      MilenaRecord record = MILENA_RECORD_INIT;
      record.topic = "failover";
      record.partition = (int32_t)i;
      record.value =
          milena_bytes_text("a record of a hundred bytes or so, as events often are, sent while brokers die");
      check(milena_producer_send(load->producer, &record, delivered, load), "sending");
    }
    g_usleep((gulong)load->interval_us);
  }
  return NULL;
}

static void load_start(Load *load) {
  load->lanes = g_new0(Lane, load->partitions);
  for (guint i = 0; i < load->partitions; i++)
    load->lanes[i].last_us = g_get_monotonic_time();
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.linger_ms = 0;
  load->producer = milena_producer_new(load->client, &options);
  load->thread = g_thread_new("load", write_all_the_time, load);
}

/* ---- what the cluster is like ---- */

static MilenaTopic *describe(Load *load) {
  MilenaTopic *topic = NULL;
  check(milena_admin_describe_topic(load->client, "failover", CALL_MS, &topic), "describing the topic");
  return topic;
}

/* All replicas are in sync, and leaderships are spread. */
static void settle(Load *load) {
  gint64 deadline_us = g_get_monotonic_time() + SETTLE_MS * G_TIME_SPAN_MILLISECOND;
  for (gboolean settled = FALSE; !settled;) {
    MilenaTopic *topic = describe(load);
    settled = TRUE;
    for (size_t i = 0; i < topic->partition_count; i++)
      settled &= topic->partitions[i].in_sync_replica_count == topic->partitions[i].replica_count;
    milena_topic_free(topic);
    if (g_get_monotonic_time() > deadline_us)
      fail("settling", "not all replicas came back in sync");
    g_usleep(100000);
  }
  g_usleep(1000000);
}

static gint64 pid_of(gint32 broker_id) {
  g_autofree char *path = g_strdup_printf("%s/broker-%d.pid", folder, broker_id);
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    fail(path, "it can't be read");
  return g_ascii_strtoll(text, NULL, 10);
}

/* ---- one kill ---- */

static int compare(gconstpointer a, gconstpointer b) {
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
  return (x > y) - (x < y);
}

/* The leader that has the most partitions. Notes each partition's. */
static gint32 choose(Load *load) {
  MilenaTopic *topic = describe(load);
  guint counts[4] = {0};
  for (guint i = 0; i < load->partitions; i++) {
    load->lanes[i].leader_id = topic->partitions[i].leader_id;
    counts[CLAMP(load->lanes[i].leader_id, 0, 3)]++;
  }
  milena_topic_free(topic);
  guint most = 1;
  for (guint i = 2; i <= 3; i++)
    most = counts[i] > counts[most] ? i : most;
  return (gint32)most;
}

static gboolean all_delivered_since(Load *load, gint64 since_us) {
  gboolean all = TRUE;
  g_mutex_lock(&load->mutex);
  for (guint i = 0; i < load->partitions && all; i++)
    all = load->lanes[i].last_us > since_us;
  g_mutex_unlock(&load->mutex);
  return all;
}

/* As a broker's metadata tells: nothing is left that the victim leads, or nobody. Returns how long that took. */
static gint64 wait_led(Load *load, gint32 victim, gint64 killed_us) {
  for (gboolean led = FALSE; !led;) {
    g_usleep(10000);
    MilenaTopic *topic = describe(load);
    led = TRUE;
    for (size_t i = 0; i < topic->partition_count; i++)
      led &= topic->partitions[i].leader_id >= 0 && topic->partitions[i].leader_id != victim;
    milena_topic_free(topic);
  }
  return g_get_monotonic_time() - killed_us;
}

/* @ret_worst_us: of the partitions that had to find another leader */
static void kill_once(Load *load, guint number, gint64 *ret_median_us, gint64 *ret_worst_us) {
  gint32 victim = choose(load);
  g_mutex_lock(&load->mutex);
  for (guint i = 0; i < load->partitions; i++)
    load->lanes[i].longest_us = 0;
  g_mutex_unlock(&load->mutex);
  gint64 killed_us = g_get_monotonic_time();
  kill((pid_t)pid_of(victim), SIGKILL);
  gint64 led_us = wait_led(load, victim, killed_us);
  while (!all_delivered_since(load, killed_us + 100000))
    g_usleep(5000);
  g_usleep(500000);
  g_autoptr(GArray) led = g_array_new(FALSE, FALSE, sizeof(gint64));
  gint64 others_us = 0;
  g_mutex_lock(&load->mutex);
  for (guint i = 0; i < load->partitions; i++) {
    if (load->lanes[i].leader_id == victim)
      g_array_append_val(led, load->lanes[i].longest_us);
    else
      others_us = MAX(others_us, load->lanes[i].longest_us);
  }
  g_mutex_unlock(&load->mutex);
  g_array_sort(led, compare);
  *ret_median_us = g_array_index(led, gint64, led->len / 2);
  *ret_worst_us = g_array_index(led, gint64, led->len - 1);
  printf("{\"kill\": %u, \"broker\": %d, \"led\": %u, \"led_again_ms\": %.0f, \"median_ms\": %.0f, \"worst_ms\": %.0f, "
         "\"worst_of_others_ms\": %.0f}\n",
         number, victim, led->len, (double)led_us / 1e3, (double)*ret_median_us / 1e3, (double)*ret_worst_us / 1e3,
         (double)others_us / 1e3);
  fflush(stdout);
  g_autofree char *name = g_strdup_printf("broker-%d", victim);
  run("start", name, NULL, NULL, NULL);
  settle(load);
}

static void report(Load *load, GArray *medians, GArray *worsts) {
  g_array_sort(medians, compare);
  g_array_sort(worsts, compare);
  guint middle = medians->len / 2;
  printf("%u kills, %u partitions: without a delivery, median %.0f ms; the worst partition of a kill: median %.0f ms, "
         "worst %.0f ms; %" G_GUINT64_FORMAT " records failed, %" G_GUINT64_FORMAT " of them with unknown outcome\n",
         medians->len, load->partitions, (double)g_array_index(medians, gint64, middle) / 1e3,
         (double)g_array_index(worsts, gint64, middle) / 1e3,
         (double)g_array_index(worsts, gint64, worsts->len - 1) / 1e3, load->failed, load->unknown);
}

int main(int argc, char **argv) {
  gint base_port = 0, kills = 10, partitions = 6, interval_ms = 5;
  const GOptionEntry entries[] = {
      {"base-port", 0, 0, G_OPTION_ARG_INT, &base_port, "Of a block of 300 that are free", "PORT"},
      {"kills", 0, 0, G_OPTION_ARG_INT, &kills, "How many brokers are killed, one after the other", "N"},
      {"partitions", 0, 0, G_OPTION_ARG_INT, &partitions, "Of the topic", "N"},
      {"interval", 0, 0, G_OPTION_ARG_INT, &interval_ms, "Between two records of one partition", "MS"},
      {0}};
  g_autoptr(GOptionContext) context = g_option_context_new("MILENA FOLDER");
  g_option_context_add_main_entries(context, entries, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 3 || base_port < 1 || kills < 1 ||
      partitions < 1)
    fail("the command line", error ? error->message : "name a base port, the milena command and a folder");
  milena = argv[1];
  folder = argv[2];
  g_autofree char *port = g_strdup_printf("--base-port=%d", base_port);
  g_autofree char *bootstrap =
      g_strdup_printf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", base_port, base_port + 1, base_port + 2);
  run("up", "--controllers=3", "--brokers=3", port, NULL);
  Load load = {.partitions = (guint)partitions, .interval_us = interval_ms * 1000};
  g_mutex_init(&load.mutex);
  check(milena_client_new(bootstrap, NULL, &load.client), "the addresses");
  check(milena_admin_create_topic(load.client, &(MilenaNewTopic){.name = "failover", .partitions = load.partitions},
                                  CALL_MS, NULL),
        "creating the topic");
  load_start(&load);
  settle(&load);
  g_autoptr(GArray) medians = g_array_new(FALSE, FALSE, sizeof(gint64));
  g_autoptr(GArray) worsts = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (gint i = 1; i <= kills; i++) {
    gint64 median_us, worst_us;
    kill_once(&load, (guint)i, &median_us, &worst_us);
    g_array_append_val(medians, median_us);
    g_array_append_val(worsts, worst_us);
  }
  g_atomic_int_set(&load.stopping, 1);
  g_thread_join(load.thread);
  check(milena_producer_flush(load.producer, CALL_MS), "the last deliveries");
  milena_producer_free(load.producer, 0);
  milena_client_free(load.client);
  run("down", NULL, NULL, NULL, NULL);
  report(&load, medians, worsts);
  g_free(load.lanes);
  g_mutex_clear(&load.mutex);
  return load.failed > 0;
}
