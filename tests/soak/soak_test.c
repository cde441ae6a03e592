/* The soak: a cluster of three controllers, three brokers and two coordinators under a bounded load with short
 * retention, for a minute, or for MILENA_SOAK_SECONDS (./dev soak). Its disk, memory, descriptors, threads and the time
 * of a handover between coordinators are watched, and none may rise once it is warm; what was written is read, all of
 * it. README.md tells how that is judged.
 *
 * MILENA_SOAK_KEEP_ALL=1 takes the retention away: then the disks rise, and the soak must fail. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "milena/v1/admin_service.pb-c.h"
#include "services/rpc/client.h"
#include "tests/shim/shim.h"
#include "tests/soak/traffic.h"
#include "tests/soak/vitals.h"

#define BROKERS 3
#define PARTITIONS 6
#define TOPIC "soak"
#define GROUP "soakers"
#define CALL_MS 20000
#define WAIT_MS 60000
#define ASK_US 10000
#define MIB (1 << 20)

/* What depends on how long it runs. */
typedef struct {
  guint seconds, retention_s, segment_s, handover_s, look_s, line_s;
  guint bytes_per_s;
  double warm_up_s;
} Plan;

typedef struct {
  Plan plan;
  Cluster *cluster;
  Vitals *vitals;
  Traffic *traffic;
  MilenaClient *client;
  gint64 start_us;
  guint handovers;
} Soak;

static guint64 number_of(const char *name, guint64 otherwise) {
  const char *text = g_getenv(name);
  guint64 number;
  return text && g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT32, &number, NULL) ? number : otherwise;
}

static Plan make_plan(void) {
  Plan plan = {.seconds = (guint)number_of("MILENA_SOAK_SECONDS", 60),
               .bytes_per_s = (guint)number_of("MILENA_SOAK_BYTES_PER_SECOND", MIB)};
  plan.retention_s = CLAMP(plan.seconds / 12, 5, 180);
  plan.segment_s = MAX(plan.retention_s / 5, 1);
  plan.handover_s = CLAMP(plan.seconds / 20, 8, 60);
  plan.look_s = plan.seconds > 300 ? 5 : 1;
  plan.line_s = plan.seconds > 300 ? 60 : 10;
  plan.warm_up_s = MAX(plan.seconds * 0.3, 3 * plan.retention_s);
  return plan;
}

static double now_s(const Soak *soak) {
  return (double)(g_get_monotonic_time() - soak->start_us) / G_USEC_PER_SEC;
}

/* ---- the cluster ---- */

static void set_duration(const char *name, guint seconds) {
  g_autofree char *text = g_strdup_printf("%us", seconds);
  g_setenv(name, text, TRUE);
}

/* Logs roll and go by the second rather than by the hour, and write-ahead logs are put away while we look. */
static void set_up(const Plan *plan) {
  set_duration("MILENA_BROKER_SEGMENT_AGE", plan->segment_s);
  set_duration("MILENA_BROKER_PRODUCER_EXPIRY", MAX(plan->retention_s, 10));
  set_duration("MILENA_BROKER_COMPACTION_INTERVAL", MAX(plan->retention_s / 20, 1));
  g_setenv("MILENA_BROKER_WAL_BYTES", "16MiB", TRUE);
  g_setenv("MILENA_BROKER_TAIL_CACHE_BYTES", "4MiB", TRUE);
}

static gboolean make_topic(const Soak *soak) {
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", cluster_port(soak->cluster, 0));
  g_autoptr(RpcClient) client = rpc_client_new(NULL);
  Google__Protobuf__Duration retention = GOOGLE__PROTOBUF__DURATION__INIT;
  retention.seconds = g_getenv("MILENA_SOAK_KEEP_ALL") ? -1 : (int64_t)soak->plan.retention_s;
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.retention = &retention;
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)TOPIC;
  request.partitions = PARTITIONS;
  request.replication_factor = BROKERS;
  request.config = &config;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure =
      rpc_client_unary_sync(client, address, &milena__v1__admin_service__descriptor, "CreateTopic", &request.base,
                            g_get_monotonic_time() + CALL_MS * G_TIME_SPAN_MILLISECOND, &response);
  if (failure)
    shim_fail(__FILE__, __LINE__, "the topic is not made: %s", failure_message(failure));
  return !failure;
}

/* What the disks may take in any case: two segments more or less, for each of three replicas. */
static double disk_floor_mib(const Plan *plan) {
  double segment_mib = (double)plan->bytes_per_s * plan->segment_s / MIB;
  return 2 * segment_mib + 24;
}

/* A short run sees memtables and arenas being filled for the first time; in a long one that is over long before. */
static double memory_floor_mib(const Plan *plan) {
  return plan->seconds > 300 ? 16 : 32;
}

/* ---- handovers ---- */

static gboolean answers(const Soak *soak) {
  MilenaGroup *group = NULL;
  MilenaError *error = milena_admin_get_group(soak->client, GROUP, true, CALL_MS, &group);
  milena_group_free(group);
  milena_error_free(error);
  return error == NULL;
}

/* A coordinator stops, and the other takes its groups over: what of that calls see, is the longest time between two
 * answers about the group, from the signal until it has ended and the group answers. Then it comes back. */
static void hand_over(Soak *soak) {
  const char *name = soak->handovers++ % 2 ? "coordinator-2" : "coordinator-1";
  GPid pid = cluster_pid(soak->cluster, name);
  if (!pid) {
    shim_fail(__FILE__, __LINE__, "%s does not run", name);
    return;
  }
  gint64 last_us = g_get_monotonic_time(), gap_us = 0, give_up_us = last_us + WAIT_MS * G_TIME_SPAN_MILLISECOND;
  kill(pid, SIGTERM);
  for (gboolean ended = FALSE, over = FALSE; !over && last_us < give_up_us; g_usleep(ASK_US)) {
    ended = cluster_pid(soak->cluster, name) == 0;
    if (!answers(soak))
      continue;
    gint64 now_us = g_get_monotonic_time();
    gap_us = MAX(gap_us, now_us - last_us);
    last_us = now_us;
    over = ended;
  }
  vitals_note_handover(soak->vitals, now_s(soak), (double)gap_us / 1000);
  const Ran *ran = cluster_milena(soak->cluster, "local", "start", name, "--data", cluster_folder(soak->cluster), NULL);
  if (ran->exit_code != 0)
    shim_fail(__FILE__, __LINE__, "%s does not come back: %s%s", name, ran->out, ran->err);
}

/* ---- the run ---- */

static void print_line(const Soak *soak) {
  g_autofree char *figures = vitals_line(soak->vitals);
  printf("%6.0f s | written %9" G_GUINT64_FORMAT " read %9" G_GUINT64_FORMAT "%s\n", now_s(soak),
         traffic_written(soak->traffic), traffic_read(soak->traffic), figures);
  fflush(stdout);
}

static void run(Soak *soak) {
  const Plan *plan = &soak->plan;
  double next_line_s = plan->line_s, next_handover_s = plan->handover_s;
  printf(
      "%u s, %u KiB/s, retention %u s, warm after %.0f s; of each kind of process the highest: disk MiB, memory MiB, "
      "descriptors, threads\n",
      plan->seconds, plan->bytes_per_s / 1024, plan->retention_s, plan->warm_up_s);
  while (now_s(soak) < plan->seconds) {
    g_usleep(plan->look_s * G_USEC_PER_SEC);
    vitals_look(soak->vitals, now_s(soak));
    if (now_s(soak) >= next_line_s) {
      print_line(soak);
      next_line_s += plan->line_s;
    }
    if (now_s(soak) >= next_handover_s) {
      hand_over(soak);
      next_handover_s += plan->handover_s;
    }
  }
}

static gboolean has_read_all(gpointer data) {
  return traffic_read(data) >= traffic_written(data);
}

/* All was written and read; members that lost their place may have read some of it twice. */
static void expect_all_read(Soak *soak) {
  traffic_stop_writing(soak->traffic);
  if (!cluster_until(has_read_all, soak->traffic, WAIT_MS))
    shim_fail(__FILE__, __LINE__, "%" G_GUINT64_FORMAT " records were written and %" G_GUINT64_FORMAT " read",
              traffic_written(soak->traffic), traffic_read(soak->traffic));
  EXPECT_TRUE(traffic_written(soak->traffic) > (guint64)soak->plan.seconds * soak->plan.bytes_per_s / 1024 / 2);
  if (traffic_troubles(soak->traffic))
    shim_fail(__FILE__, __LINE__, "%" G_GUINT64_FORMAT " troubles, the first: %s", traffic_troubles(soak->traffic),
              traffic_first_trouble(soak->traffic));
}

static void soak_clear(Soak *soak) {
  traffic_free(soak->traffic);
  vitals_free(soak->vitals);
  milena_client_free(soak->client);
  cluster_down(soak->cluster);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Soak, soak_clear)

TEST(soak, stays_flat) {
  static const char *const NAMES[] = {"broker-1",      "broker-2",      "broker-3",
                                      "controller-1",  "controller-2",  "controller-3",
                                      "coordinator-1", "coordinator-2", NULL};
  g_auto(Soak) soak = {.plan = make_plan()};
  set_up(&soak.plan);
  soak.cluster = cluster_up_of(3, BROKERS, 2);
  if (!soak.cluster || !make_topic(&soak))
    return;
  soak.client = load_client(soak.cluster, BROKERS);
  soak.vitals = vitals_new(soak.cluster, NAMES, disk_floor_mib(&soak.plan), memory_floor_mib(&soak.plan));
  soak.start_us = g_get_monotonic_time();
  const TrafficOptions traffic = {.cluster = soak.cluster,
                                  .brokers = BROKERS,
                                  .topic = TOPIC,
                                  .group = GROUP,
                                  .members = 2,
                                  .bytes_per_s = soak.plan.bytes_per_s,
                                  .commit_ms = 200};
  soak.traffic = traffic_start(&traffic);
  run(&soak);
  print_line(&soak);
  expect_all_read(&soak);
  guint rising = vitals_judge(soak.vitals, soak.plan.warm_up_s);
  if (rising)
    shim_fail(__FILE__, __LINE__, "%u figures rise: see the table above", rising);
}
