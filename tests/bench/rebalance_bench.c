/* How a group of consumers takes one member's leaving: 100 members share 1,000 partitions that are written to all the
 * time; one leaves, again and again.
 *
 *   rebalance_bench BOOTSTRAP MEMBERS PARTITIONS LEAVES RATE
 *
 * RATE: records a second, over all partitions. Prints one line of JSON. Times in ms, from the moment before the member
 * begins to leave:
 *   assigned_p50, assigned_max   until a partition of its was another member's
 *   first_p50, first_max         until that member read a record of it that was written after the leaving began
 *   moved                        partitions that moved, for each leaving: the leaver's and no others
 *   calm_gap, leave_gap          the longest time in which a member that stayed read nothing, before and after a
 * leaving
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
  gint64 assigned_us, first_us; /* 0: not yet */
} Part;

struct Bench {
  const char *bootstrap;
  guint member_count, partition_count;
  gint64 rate;
  GMutex mutex;
  Member *members;
  Part *parts;
  gint64 left_us; /* when the latest leaving began; 0: none yet */
  gint writing;   /* atomic */
};

static void die(MilenaError *error) {
  fprintf(stderr, "rebalance_bench: %s\n", milena_error_message(error));
  exit(1);
}

/* ---- writing ---- */

static gpointer write_records(gpointer data) {
  Bench *bench = data;
  MilenaClient *client;
  MilenaError *error = milena_client_new(bench->bootstrap, NULL, &client);
  if (error)
    die(error);
  MilenaProducer *producer = milena_producer_new(client, NULL);
  gint64 begun_us = g_get_monotonic_time();
  for (gint64 sent = 0; g_atomic_int_get(&bench->writing); sent++) {
    MilenaRecord record = MILENA_RECORD_INIT;
    record.topic = TOPIC;
    record.partition = (int32_t)(sent % bench->partition_count);
    record.value = milena_bytes_text("a record of some bytes");
    error = milena_producer_send(producer, &record, NULL, NULL);
    if (error)
      die(error);
    gint64 due_us = begun_us + (sent + 1) * G_USEC_PER_SEC / bench->rate;
    gint64 early_us = due_us - g_get_monotonic_time();
    if (early_us > 1000)
      g_usleep((gulong)early_us);
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
  if (part->first_us == 0 && part->owner == member)
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

/* The longest pause of a member that stays, in a window that begins now. */
static gint64 watch_gaps(Bench *bench, const Member *leaver) {
  gint64 now_us = g_get_monotonic_time(), longest_us = 0;
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->member_count; i++) {
    bench->members[i].read_us = now_us;
    bench->members[i].longest_us = 0;
  }
  g_mutex_unlock(&bench->mutex);
  g_usleep(WINDOW_US);
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->member_count; i++)
    if (&bench->members[i] != leaver)
      longest_us = MAX(longest_us, bench->members[i].longest_us);
  g_mutex_unlock(&bench->mutex);
  return longest_us;
}

typedef struct {
  GArray *assigned_us, *first_us; /* of gint64 */
  gint64 calm_gap_us, leave_gap_us;
  guint moved, others_moved;
} Figures;

static gpointer leave_in_thread(gpointer data) {
  member_leave(data);
  return NULL;
}

static void one_leaving(Bench *bench, Member *leaver, Figures *figures) {
  g_autofree gboolean *was_its = g_new0(gboolean, bench->partition_count);
  figures->calm_gap_us = MAX(figures->calm_gap_us, watch_gaps(bench, leaver));
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->partition_count; i++) {
    Part *part = &bench->parts[i];
    was_its[i] = part->owner == leaver;
    part->moves = 0;
    part->first_us = was_its[i] ? 0 : part->first_us;
  }
  bench->left_us = g_get_monotonic_time();
  g_mutex_unlock(&bench->mutex);
  GThread *leaving = g_thread_new("leaving", leave_in_thread, leaver);
  figures->leave_gap_us = MAX(figures->leave_gap_us, watch_gaps(bench, leaver));
  g_thread_join(leaving);
  wait_until(bench, is_settled, "the rebalance");
  g_mutex_lock(&bench->mutex);
  for (guint i = 0; i < bench->partition_count; i++) {
    const Part *part = &bench->parts[i];
    gint64 assigned_us = part->assigned_us - bench->left_us, first_us = part->first_us - bench->left_us;
    if (was_its[i]) {
      g_array_append_val(figures->assigned_us, assigned_us);
      g_array_append_val(figures->first_us, first_us);
      figures->moved++;
    } else if (part->moves > 0) {
      figures->others_moved++;
    }
  }
  g_mutex_unlock(&bench->mutex);
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
         "\"assigned_p50\":%.1f,\"assigned_max\":%.1f,\"first_p50\":%.1f,\"first_max\":%.1f,"
         "\"calm_gap\":%.1f,\"leave_gap\":%.1f}\n",
         bench->member_count, bench->partition_count, leaves, (double)figures->moved / leaves, figures->others_moved,
         at(figures->assigned_us, 0.5), at(figures->assigned_us, 1), at(figures->first_us, 0.5),
         at(figures->first_us, 1), (double)figures->calm_gap_us / 1000, (double)figures->leave_gap_us / 1000);
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
  Figures figures = {g_array_new(FALSE, FALSE, sizeof(gint64)), g_array_new(FALSE, FALSE, sizeof(gint64)), 0, 0, 0, 0};
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
