/* `milena bench produce`: some producers, each with a client and a thread of its own, write records as fast as they
 * may.
 *
 * A record's latency is from its send, or from when it was due where a throughput is asked for, to its delivery report.
 * With a throughput each producer first sends a record to each partition, and these are not counted: connecting, to
 * each of the leading brokers, is not what is asked about.
 * The time of the send travels in a ring of slots, for a record's number can't reach further than what the producer
 * buffers: memory stays bounded however many records there are.
 *
 * Threads: a sender's thread fills slots; its client's thread empties them, and owns its histogram and counts until the
 * producer is freed. The main thread reads `delivered`, which is atomic, for the progress line. */
#include <stdatomic.h>
#include <sys/prctl.h>

#include "client/cli/bench.h"
#include "client/cli/interrupt.h"

#define SLOTS (1u << 20)
/* Records are cut from this, so that they differ and compress about as text does. */
#define TEXT_BYTES (256u << 10)
#define PROGRESS_PAUSE_US (G_USEC_PER_SEC / 20)

typedef struct Sender Sender;

/* A record that is under way. */
typedef struct {
  Sender *sender;
  _Atomic gint64 since_us; /* 0: free */
} Slot;

struct Sender {
  const BenchPlan *plan;
  MilenaClient *client;
  MilenaProducer *producer;
  GThread *thread;
  const char *text;
  guint64 records; /* to send */
  double per_second;
  gint64 start_us, end_us;
  Slot *slots;
  _Atomic guint64 delivered;
  guint64 failed, duplicates, retried;
  MilenaError *error; /* the first */
  Histogram *latency;
  atomic_bool done;
};

static char *make_text(gsize bytes) {
  static const char *const WORDS[] = {"order ",   "paid ", "user=", "item ",      "shipped ", "EUR ",
                                      "{\"id\":", "at ",   "200 ",  "GET /cart ", "error ",   "retry "};
  GString *text = g_string_sized_new(bytes + 64);
  g_autoptr(GRand) random = g_rand_new_with_seed(1);
  while (text->len < bytes)
    g_string_append_printf(text, "%s%u ", WORDS[g_rand_int_range(random, 0, G_N_ELEMENTS(WORDS))],
                           g_rand_int(random) % 1000000);
  return g_string_free(text, FALSE);
}

static void on_delivery(const MilenaDelivery *delivery, void *user_data) {
  Slot *slot = user_data;
  Sender *sender = slot->sender;
  gint64 since_us = atomic_exchange(&slot->since_us, 0);
  if (delivery->error) {
    sender->failed++;
    if (!sender->error)
      sender->error = milena_error_copy(delivery->error);
    return;
  }
  histogram_add(sender->latency, g_get_monotonic_time() - since_us);
  sender->duplicates += delivery->duplicate;
  atomic_fetch_add(&sender->delivered, 1);
}

/* Returns FALSE when there is no use in going on. */
static gboolean send_one(Sender *sender, guint64 number) {
  Slot *slot = &sender->slots[number % SLOTS];
  while (atomic_load(&slot->since_us) != 0)
    g_usleep(100);
  gint64 due_us = bench_due_us(sender->start_us, number, sender->per_second);
  if (sender->per_second > 0)
    bench_sleep_until(due_us);
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = sender->plan->topic;
  record.value = (MilenaBytes){sender->text + number * 31 % TEXT_BYTES, sender->plan->record_bytes};
  atomic_store(&slot->since_us, sender->per_second > 0 ? due_us : g_get_monotonic_time());
  MilenaError *error = milena_producer_send(sender->producer, &record, on_delivery, slot);
  if (!error)
    return TRUE;
  atomic_store(&slot->since_us, 0);
  sender->failed++;
  if (sender->error)
    milena_error_free(error);
  else
    sender->error = error;
  return FALSE;
}

static gpointer sender_run(gpointer data) {
  Sender *sender = data;
  /* Linux lets a sleep last 50 us longer, which would count as the record's: the clock runs from when it was due. */
  prctl(PR_SET_TIMERSLACK, 1UL);
  guint64 number = 0;
  while (number < sender->records && !interrupt_signal() && send_one(sender, number))
    number++;
  milena_error_free(milena_producer_flush(sender->producer, sender->plan->producer.timeout_ms));
  sender->end_us = g_get_monotonic_time();
  MilenaProducerStats stats;
  milena_producer_stats(sender->producer, &stats);
  sender->retried = stats.batches_retried;
  milena_producer_free(g_steal_pointer(&sender->producer), 0);
  atomic_store(&sender->done, true);
  return NULL;
}

/* Send a record to each partition and wait until it is there. Returns the exit code. */
static int warm_up(Cli *cli, Sender *sender, const MilenaTopic *topic) {
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = topic->name;
  record.value = (MilenaBytes){sender->text, sender->plan->record_bytes};
  for (gsize i = 0; i < topic->partition_count; i++) {
    record.partition = (gint32)i;
    MilenaError *error = milena_producer_send_sync(sender->producer, &record, cli_timeout_ms(cli), NULL);
    if (error)
      return cli_failed(cli, error);
  }
  return CLI_OK;
}

static int sender_open(Cli *cli, Sender *sender, const BenchPlan *plan, const MilenaTopic *topic, const char *text,
                       guint32 index) {
  sender->plan = plan;
  sender->text = text;
  sender->records = plan->records / plan->producers + (index < plan->records % plan->producers);
  sender->per_second = (double)plan->throughput / plan->producers;
  sender->latency = histogram_new();
  sender->slots = g_new0(Slot, SLOTS);
  for (guint i = 0; i < SLOTS; i++)
    sender->slots[i].sender = sender;
  int code = cli_connect(cli, &sender->client);
  if (code == CLI_OK)
    sender->producer = milena_producer_new(sender->client, &plan->producer);
  if (code == CLI_OK && plan->throughput > 0)
    code = warm_up(cli, sender, topic);
  return code;
}

static void sender_close(Sender *sender) {
  milena_producer_free(sender->producer, 0);
  milena_client_free(sender->client);
  milena_error_free(sender->error);
  histogram_free(sender->latency);
  g_free(sender->slots);
}

/* Let them run, and show how far they are. */
static void run_all(Sender *senders, const BenchPlan *plan, gboolean show_progress) {
  g_autoptr(Progress) progress = progress_new(show_progress);
  gint64 start_us = g_get_monotonic_time();
  for (guint32 i = 0; i < plan->producers; i++) {
    senders[i].start_us = start_us;
    senders[i].thread = g_thread_new("bench", sender_run, &senders[i]);
  }
  for (guint32 running = plan->producers; running > 0;) {
    guint64 delivered = 0;
    running = 0;
    for (guint32 i = 0; i < plan->producers; i++) {
      delivered += atomic_load(&senders[i].delivered);
      running += !atomic_load(&senders[i].done);
    }
    ProgressState state = {delivered * plan->record_bytes, plan->records * plan->record_bytes, delivered,
                           g_get_monotonic_time() - start_us};
    progress_show(progress, &state);
    if (running > 0)
      g_usleep(PROGRESS_PAUSE_US);
  }
  for (guint32 i = 0; i < plan->producers; i++)
    g_thread_join(senders[i].thread);
}

static void add_result(const Sender *sender, BenchResult *result) {
  guint64 delivered = atomic_load(&sender->delivered);
  result->records += delivered;
  result->bytes += delivered * sender->plan->record_bytes;
  result->failed += sender->failed;
  result->duplicates += sender->duplicates;
  result->batches_retried += sender->retried;
  result->elapsed_us = MAX(result->elapsed_us, sender->end_us - sender->start_us);
  histogram_merge(result->latency, sender->latency);
}

int bench_produce(Cli *cli, const BenchPlan *plan, BenchResult *ret_result) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaTopic) topic = NULL;
  int code = cli_connect(cli, &client);
  if (code == CLI_OK)
    code = bench_topic(cli, client, plan, &topic);
  g_clear_pointer(&client, milena_client_free); /* its threads would wake up beside those that are measured */
  g_autofree char *text = make_text((gsize)TEXT_BYTES + plan->record_bytes);
  g_autofree Sender *senders = g_new0(Sender, plan->producers);
  for (guint32 i = 0; code == CLI_OK && i < plan->producers; i++)
    code = sender_open(cli, &senders[i], plan, topic, text, i);
  if (code == CLI_OK) {
    interrupt_catch();
    double cpu_s = bench_cpu_seconds();
    run_all(senders, plan, !cli->json);
    ret_result->cpu_s = bench_cpu_seconds() - cpu_s;
    ret_result->latency = histogram_new();
    for (guint32 i = 0; i < plan->producers; i++)
      add_result(&senders[i], ret_result);
  }
  for (guint32 i = 0; i < plan->producers; i++) {
    if (senders[i].error)
      cli_failed(cli, g_steal_pointer(&senders[i].error));
    sender_close(&senders[i]);
  }
  return code;
}
