/* How a group of consumers takes one member's leaving: 100 members share 1,000 partitions that are written to all the
 * time; one leaves, again and again.
 *
 *   rebalance_bench BOOTSTRAP MEMBERS PARTITIONS LEAVES RATE
 *
 * RATE: records a second, over all partitions. From when a member begins to leave, one more is written every 20 ms into
 * each partition that was its, so that there is one to read as soon as somebody can. Prints one line of JSON. Times in
 * ms, from the moment before the member begins to leave:
 *   left_p50                     until it had committed and the coordinator knew that it is gone
 *   assigned_p50, assigned_max   until a partition of its was another member's
 *   first_p50, first_max         until that other member read a record of it
 *   moved, others_moved          partitions of its that moved, for each leaving, and partitions of others, in all
 *   calm_gap, leave_gap          the longest time in which a member that stayed read nothing: in 3 s before a leaving,
 *                                and from it until all is read again, 3 s at least
 *
 * Each member is a client and a thread of its own. The one that left joins again before the next one leaves. */
#include <glib.h>
#include <milena/group.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC "rebalance"
#define GROUP "rebalance"
#define POLL_MS 50
#define SETTLE_TIMEOUT_US (120 * (gint64)G_USEC_PER_SEC)
#define WINDOW_US (3 * (gint64)G_USEC_PER_SEC)
#define PROBE_US (20 * G_TIME_SPAN_MILLISECOND)
#define WRITER_PAUSE_US (2 * G_TIME_SPAN_MILLISECOND)
/* From record to record: partitions whose numbers are near, or round, get theirs at different times. */
#define STRIDE 953

typedef struct Bench Bench;

typedef struct {
  Bench *bench;
  MilenaClient *client;
  MilenaConsumer *consumer;
  GThread *thread;
  gint stop;         /* atomic: leave, and end */
  gint64 read_us;    /* when it read last; under the mutex, as the next */
  gint64 longest_us; /* without a record, since the window began */
} Member;

/* A partition, and what became of it since the member began to leave. */
typedef struct {
  Member *owner; /* NULL: nobody's */
  guint moves;
  gboolean probed;              /* it was the leaver's */
  gint64 assigned_us, first_us; /* 0: not yet */
} Part;

struct Bench {
  const char *bootstrap;
  guint member_count, partition_count;
  gint64 rate;
  GMutex mutex;
  Member *members;
  Part *parts;
  const Member *leaver; /* the one that leaves now; NULL: none does */
  gint64 begun_us;      /* when it began */
  gint64 left_us;       /* when it was gone */
  gint writing;         /* atomic */
};

static void die(MilenaError *error) {
  fprintf(stderr, "rebalance_bench: %s\n", milena_error_message(error));
  exit(1);
}

/* ---- writing ---- */

static void write_to(MilenaProducer *producer, guint partition) {
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = TOPIC;
  record.partition = (int32_t)partition;
  record.value = milena_bytes_text("a record of some bytes");
  MilenaError *error = milena_producer_send(producer, &record, NULL, NULL);
  if (error)
    die(error);
}

/* One record into each partition that was the leaver's. */
static void write_probes(Bench *bench, MilenaProducer *producer) {
  g_autoptr(GArray) probed = g_array_new(FALSE, FALSE, sizeof(guint));
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->partition_count; i++)
    if (bench->parts[i].probed)
      g_array_append_val(probed, i);
  g_mutex_unlock(&bench->mutex);
  for (guint i = 0; i < probed->len; i++)
    write_to(producer, g_array_index(probed, guint, i));
}

static gpointer write_records(gpointer data) {
  Bench *bench = data;
  MilenaClient *client;
  MilenaError *error = milena_client_new(bench->bootstrap, NULL, &client);
  if (error)
    die(error);
  MilenaProducer *producer = milena_producer_new(client, NULL);
  gint64 begun_us = g_get_monotonic_time(), sent = 0, probe_us = 0;
  while (g_atomic_int_get(&bench->writing)) {
    gint64 now_us = g_get_monotonic_time();
    for (; sent < (now_us - begun_us) * bench->rate / G_USEC_PER_SEC; sent++)
      write_to(producer, (guint)(sent * STRIDE % bench->partition_count));
    if (now_us >= probe_us + PROBE_US) {
      write_probes(bench, producer);
      probe_us = now_us;
    }
    g_usleep(WRITER_PAUSE_US);
  }
  milena_producer_free(producer, 10000);
  milena_client_free(client);
  return NULL;
}

/* ---- members ---- */

static void on_rebalance(MilenaConsumer *consumer, MilenaRebalance event, const MilenaTopicPartition *partitions,
                         size_t count, void *user_data) {
  (void)consumer;
  Member *member = user_data;
  Bench *bench = member->bench;
  gint64 now_us = g_get_monotonic_time();
  g_mutex_lock(&bench->mutex);
  for (size_t i = 0; i < count; i++) {
    Part *part = &bench->parts[partitions[i].partition];
    if (event == MILENA_REBALANCE_ASSIGNED) {
      part->owner = member;
      part->assigned_us = now_us;
      part->moves++;
    } else if (part->owner == member) {
      part->owner = NULL;
    }
  }
  g_mutex_unlock(&bench->mutex);
}

static void note_records(Member *member, const MilenaRecordBatch *batch, gint64 now_us) {
  Bench *bench = member->bench;
  g_mutex_lock(&bench->mutex);
  Part *part = &bench->parts[batch->partition];
  if (part->first_us == 0 && part->owner == member && member != bench->leaver)
    part->first_us = now_us;
  member->longest_us = MAX(member->longest_us, now_us - member->read_us);
  member->read_us = now_us;
  g_mutex_unlock(&bench->mutex);
}

static gpointer read_records(gpointer data) {
  Member *member = data;
  while (!g_atomic_int_get(&member->stop)) {
    const MilenaRecordBatch *batch;
    MilenaError *error = milena_consumer_poll(member->consumer, POLL_MS, &batch);
    if (error)
      die(error);
    if (batch)
      note_records(member, batch, g_get_monotonic_time());
  }
  milena_error_free(milena_consumer_leave(member->consumer, 10000));
  return NULL;
}

static void member_join(Member *member) {
  static const char *const TOPICS[] = {TOPIC};
  MilenaGroupOptions options;
  milena_group_options_init(&options);
  options.group = GROUP;
  options.topics = TOPICS;
  options.topic_count = 1;
  options.on_rebalance = on_rebalance;
  options.user_data = member;
  member->consumer = milena_consumer_new(member->client, NULL);
  MilenaError *error = milena_consumer_join(member->consumer, &options);
  if (error)
    die(error);
  g_atomic_int_set(&member->stop, 0);
  member->thread = g_thread_new("member", read_records, member);
}

static void member_leave(Member *member) {
  g_atomic_int_set(&member->stop, 1);
  g_thread_join(member->thread);
  milena_consumer_free(member->consumer);
}

/* ---- the course of it ---- */

/* Everything is somebody's, and was read since. */
static gboolean is_settled(Bench *bench) {
  gboolean settled = TRUE;
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->partition_count && settled; i++)
    settled = bench->parts[i].owner != NULL && bench->parts[i].first_us != 0;
  g_mutex_unlock(&bench->mutex);
  return settled;
}

static gboolean is_balanced(Bench *bench) {
  g_autoptr(GHashTable) owners = g_hash_table_new(NULL, NULL);
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->partition_count; i++)
    if (bench->parts[i].owner)
      g_hash_table_add(owners, bench->parts[i].owner);
  g_mutex_unlock(&bench->mutex);
  return g_hash_table_size(owners) == MIN(bench->member_count, bench->partition_count);
}

static void wait_until(Bench *bench, gboolean (*condition)(Bench *bench), const char *what) {
  gint64 end_us = g_get_monotonic_time() + SETTLE_TIMEOUT_US;
  while (!condition(bench)) {
    if (g_get_monotonic_time() > end_us) {
      fprintf(stderr, "rebalance_bench: %s took too long\n", what);
      exit(1);
    }
    g_usleep(5000);
  }
}

/* From now on the pauses of all members are watched. The mutex is held. */
static void watch_pauses(Bench *bench) {
  gint64 now_us = g_get_monotonic_time();
  for (guint i = 0; i < bench->member_count; i++) {
    bench->members[i].read_us = now_us;
    bench->members[i].longest_us = 0;
  }
}

/* The longest of a member that stays, so far; the one that it is in counts. The mutex is held. */
static gint64 longest_pause(const Bench *bench, const Member *leaver) {
  gint64 longest_us = 0, now_us = g_get_monotonic_time();
  for (guint i = 0; i < bench->member_count; i++) {
    const Member *member = &bench->members[i];
    if (member != leaver)
      longest_us = MAX(longest_us, MAX(member->longest_us, now_us - member->read_us));
  }
  return longest_us;
}

typedef struct {
  GArray *left_us, *assigned_us, *first_us; /* of gint64 */
  gint64 calm_gap_us, leave_gap_us;
  guint moved, others_moved;
} Figures;

static void watch_calm(Bench *bench, const Member *leaver, Figures *figures) {
  g_mutex_lock(&bench->mutex);
  watch_pauses(bench);
  g_mutex_unlock(&bench->mutex);
  g_usleep(WINDOW_US);
  g_mutex_lock(&bench->mutex);
  figures->calm_gap_us = MAX(figures->calm_gap_us, longest_pause(bench, leaver));
  g_mutex_unlock(&bench->mutex);
}

static gpointer leave_in_thread(gpointer data) {
  Member *member = data;
  member_leave(member);
  g_mutex_lock(&member->bench->mutex);
  member->bench->left_us = g_get_monotonic_time();
  g_mutex_unlock(&member->bench->mutex);
  return NULL;
}

static void begin_leaving(Bench *bench, const Member *leaver) {
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->partition_count; i++) {
    Part *part = &bench->parts[i];
    part->probed = part->owner == leaver;
    part->moves = 0;
    part->first_us = part->probed ? 0 : part->first_us;
  }
  watch_pauses(bench);
  bench->leaver = leaver;
  bench->begun_us = g_get_monotonic_time();
  g_mutex_unlock(&bench->mutex);
}

static void end_leaving(Bench *bench, Figures *figures) {
  g_mutex_lock(&bench->mutex);
  figures->leave_gap_us = MAX(figures->leave_gap_us, longest_pause(bench, bench->leaver));
  gint64 left_us = bench->left_us - bench->begun_us;
  g_array_append_val(figures->left_us, left_us);
  for (guint i = 0; i < bench->partition_count; i++) {
    Part *part = &bench->parts[i];
    gint64 assigned_us = part->assigned_us - bench->begun_us, first_us = part->first_us - bench->begun_us;
    if (part->probed) {
      g_array_append_val(figures->assigned_us, assigned_us);
      g_array_append_val(figures->first_us, first_us);
      figures->moved++;
    } else if (part->moves > 0) {
      figures->others_moved++;
    }
    part->probed = FALSE;
  }
  bench->leaver = NULL;
  g_mutex_unlock(&bench->mutex);
}

static void one_leaving(Bench *bench, Member *leaver, Figures *figures) {
  watch_calm(bench, leaver, figures);
  begin_leaving(bench, leaver);
  GThread *leaving = g_thread_new("leaving", leave_in_thread, leaver);
  wait_until(bench, is_settled, "the rebalance");
  gint64 early_us = bench->begun_us + WINDOW_US - g_get_monotonic_time();
  if (early_us > 0)
    g_usleep((gulong)early_us);
  g_thread_join(leaving);
  end_leaving(bench, figures);
}

static gint compare(gconstpointer a, gconstpointer b) {
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return (left > right) - (left < right);
}

static double at(GArray *values, double share) {
  g_array_sort(values, compare);
  return values->len == 0 ? 0 : (double)g_array_index(values, gint64, (guint)((values->len - 1) * share)) / 1000;
}

static void print_figures(const Bench *bench, const Figures *figures, guint leaves) {
  printf("{\"members\":%u,\"partitions\":%u,\"leaves\":%u,\"moved\":%.1f,\"others_moved\":%u,"
         "\"left_p50\":%.1f,\"assigned_p50\":%.1f,\"assigned_max\":%.1f,\"first_p50\":%.1f,\"first_max\":%.1f,"
         "\"calm_gap\":%.1f,\"leave_gap\":%.1f}\n",
         bench->member_count, bench->partition_count, leaves, (double)figures->moved / leaves, figures->others_moved,
         at(figures->left_us, 0.5), at(figures->assigned_us, 0.5), at(figures->assigned_us, 1),
         at(figures->first_us, 0.5), at(figures->first_us, 1), (double)figures->calm_gap_us / 1000,
         (double)figures->leave_gap_us / 1000);
}

static void create_topic(const Bench *bench) {
  MilenaClient *client;
  MilenaNewTopic topic = {.name = TOPIC, .partitions = bench->partition_count};
  MilenaError *error = milena_client_new(bench->bootstrap, NULL, &client);
  if (!error)
    error = milena_admin_create_topic(client, &topic, 60000, NULL);
  if (error && strcmp(milena_error_reason(error), "TOPIC_EXISTS") != 0)
    die(error);
  milena_error_free(error);
  milena_client_free(client);
}

static void run(Bench *bench, guint leaves) {
  Figures figures = {.left_us = g_array_new(FALSE, FALSE, sizeof(gint64)),
                     .assigned_us = g_array_new(FALSE, FALSE, sizeof(gint64)),
                     .first_us = g_array_new(FALSE, FALSE, sizeof(gint64))};
  bench->writing = 1;
  GThread *writer = g_thread_new("writer", write_records, bench);
  for (guint i = 0; i < bench->member_count; i++) {
    Member *member = &bench->members[i];
    member->bench = bench;
    MilenaError *error = milena_client_new(bench->bootstrap, NULL, &member->client);
    if (error)
      die(error);
    member_join(member);
  }
  wait_until(bench, is_balanced, "sharing the partitions");
  wait_until(bench, is_settled, "reading all partitions");
  for (guint i = 0; i < leaves; i++) {
    Member *leaver = &bench->members[i % bench->member_count];
    one_leaving(bench, leaver, &figures);
    member_join(leaver);
    wait_until(bench, is_balanced, "joining again");
    wait_until(bench, is_settled, "reading again");
  }
  g_atomic_int_set(&bench->writing, 0);
  g_thread_join(writer);
  for (guint i = 0; i < bench->member_count; i++) {
    member_leave(&bench->members[i]);
    milena_client_free(bench->members[i].client);
  }
  print_figures(bench, &figures, leaves);
  g_array_unref(figures.left_us);
  g_array_unref(figures.assigned_us);
  g_array_unref(figures.first_us);
}

int main(int argc, char **argv) {
  if (argc != 6 || atoi(argv[2]) < 2 || atoi(argv[3]) < 1 || atoi(argv[4]) < 1 || atoi(argv[5]) < 1) {
    fprintf(stderr, "usage: rebalance_bench BOOTSTRAP MEMBERS PARTITIONS LEAVES RATE\n");
    return 2;
  }
  Bench bench = {.bootstrap = argv[1],
                 .member_count = (guint)atoi(argv[2]),
                 .partition_count = (guint)atoi(argv[3]),
                 .rate = atoi(argv[5])};
  g_mutex_init(&bench.mutex);
  bench.members = g_new0(Member, bench.member_count);
  bench.parts = g_new0(Part, bench.partition_count);
  create_topic(&bench);
  run(&bench, (guint)atoi(argv[4]));
  g_free(bench.members);
  g_free(bench.parts);
  return 0;
}
