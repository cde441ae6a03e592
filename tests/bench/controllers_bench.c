/* What an operator waits for of the controllers, against targets: real processes, fsync, default settings.
 *
 *   controllers_bench PROGRAM FOLDER [CONTROLLERS [KILLS]]
 *
 * PROGRAM: milena-controller. FOLDER: an empty one, left behind. CONTROLLERS: 1 or 3 (3). KILLS: of the active one
 * (25).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "milena/v1/admin_service.pb-c.h"
#include "tests/bench/quorum.h"

#define CLIENTS 4
#define CALLS_EACH 64
#define RATE_SECONDS 6
#define WARM_UP_SECONDS 1
#define WIDE_TOPICS 10
#define WIDE_PARTITIONS 10000
#define STARTS 5
#define CALL_MS 10000

typedef struct {
  Quorum quorum;
  const char *program, *dir;
  guint controllers, kills;
} Bench;

/* ---- Telling ---- */

static void tell(const char *what, gdouble value, const char *unit, gdouble target, gboolean more_is_better) {
  gboolean met = more_is_better ? value >= target : value <= target;
  printf("%-66s %10.1f %-5s %s %7.0f  %s\n", what, value, unit, more_is_better ? ">=" : "<=", target,
         met ? "met" : "MISSED");
  fflush(stdout);
}

static int compare_doubles(gconstpointer a, gconstpointer b) {
  gdouble left = *(const gdouble *)a, right = *(const gdouble *)b;
  return left < right ? -1 : left > right;
}

static gdouble at_part(GArray *values, gdouble part) {
  g_array_sort(values, compare_doubles);
  return g_array_index(values, gdouble, (guint)((gdouble)(values->len - 1) * part));
}

static gdouble since_ms(gint64 start_us) {
  return (gdouble)(g_get_monotonic_time() - start_us) / 1000;
}

/* ---- Creations, many at once ---- */

typedef struct {
  Bench *bench;
  Loop *loop;
  RpcClient *clients[CLIENTS];
  guint active;
  gint64 warm_us, end_us; /* what is answered between both counts */
  guint64 most;           /* topics */
  guint64 sent, counted;
  guint under_way;
  char *failed; /* the first failure's sentence */
} Rate;

typedef struct {
  Rate *rate;
  guint client;
} Caller;

static void create_next(Caller *caller);

static void created(RpcMessage *response, const Failure *failure, gpointer data) {
  (void)response;
  Caller *caller = data;
  Rate *rate = caller->rate;
  gint64 now_us = g_get_monotonic_time();
  if (failure && !rate->failed)
    rate->failed = g_strdup(failure_message(failure));
  rate->counted += !failure && now_us >= rate->warm_us && now_us < rate->end_us;
  rate->under_way--;
  if (now_us < rate->end_us && rate->sent < rate->most && !rate->failed)
    create_next(caller);
  else if (rate->under_way == 0)
    loop_quit(rate->loop);
}

static void create_next(Caller *caller) {
  Rate *rate = caller->rate;
  g_autofree char *name = g_strdup_printf("rate-%" G_GUINT64_FORMAT, rate->sent++);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = name;
  request.partitions = 1;
  g_autoptr(RpcMessage) packed = rpc_message_pack(&request.base, NULL, 0);
  rate->under_way++;
  rpc_client_call_unref(rpc_client_unary(rate->clients[caller->client],
                                         rate->bench->quorum.members[rate->active].address,
                                         &milena__v1__admin_service__descriptor, "CreateTopic", packed,
                                         g_get_monotonic_time() + (gint64)CALL_MS * 1000, rate->loop, created, caller));
}

/* Create topics of one partition for a while, @most of them at most. Returns how many a second. */
static gdouble create_many(Bench *bench, guint64 most) {
  Rate rate = {.bench = bench,
               .loop = loop_new("bench", CLIENTS * CALLS_EACH),
               .active = quorum_active(&bench->quorum),
               .most = most};
  Caller callers[CLIENTS * CALLS_EACH];
  rate.warm_us = g_get_monotonic_time() + (gint64)WARM_UP_SECONDS * G_USEC_PER_SEC;
  rate.end_us = rate.warm_us + (gint64)RATE_SECONDS * G_USEC_PER_SEC;
  for (guint i = 0; i < CLIENTS; i++)
    rate.clients[i] = rpc_client_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(callers); i++) {
    callers[i] = (Caller){&rate, i % CLIENTS};
    create_next(&callers[i]);
  }
  loop_run(rate.loop);
  if (rate.failed)
    quorum_fail("a topic was not created: %s", rate.failed);
  for (guint i = 0; i < CLIENTS; i++)
    rpc_client_free(rate.clients[i]);
  loop_free(rate.loop);
  return (gdouble)rate.counted / RATE_SECONDS;
}

static void measure_rate(Bench *bench) {
  g_autofree char *what =
      g_strdup_printf("topics created a second, %u controllers, %d clients", bench->controllers, CLIENTS);
  tell(what, create_many(bench, G_MAXUINT64), "/s", 2000, TRUE);
}

/* ---- Large topics ---- */

/* Create one of 10,000 partitions. Returns how long it took, in ms. */
static gdouble create_wide(Bench *bench, guint number) {
  g_autofree char *name = g_strdup_printf("wide-%u", number);
  guint active = quorum_active(&bench->quorum);
  gint64 start_us = g_get_monotonic_time();
  g_autoptr(Failure) failure =
      quorum_create_topic(&bench->quorum, bench->quorum.client, active, name, WIDE_PARTITIONS, CALL_MS);
  if (failure)
    quorum_fail("a topic of %d partitions was not created: %s", WIDE_PARTITIONS, failure_message(failure));
  return since_ms(start_us);
}

static void measure_wide(Bench *bench) {
  g_autoptr(GArray) took_ms = g_array_new(FALSE, FALSE, sizeof(gdouble));
  for (guint i = 0; i < WIDE_TOPICS; i++) {
    gdouble ms = create_wide(bench, i);
    g_array_append_val(took_ms, ms);
  }
  tell("topic of 10,000 partitions created, median", at_part(took_ms, 0.5), "ms", 2000, FALSE);
  tell("the same, worst", at_part(took_ms, 1), "ms", 2000, FALSE);
}

/* ---- The active one is killed ---- */

/* Changes are tried at one controller until one is committed. */
typedef struct {
  Bench *bench;
  RpcClient *client;
  guint number, turn;
  int signal;
  gint64 start_us;
  gint *found; /* somebody was first */
  gdouble ms;  /* 0: it was not this one */
} Try;

static gpointer try_changes(gpointer data) {
  Try *try = data;
  for (guint i = 0; !g_atomic_int_get(try->found); i++) {
    g_autofree char *name = g_strdup_printf("after-%d-%u-%u-%u", try->signal, try->turn, try->number, i);
    g_autoptr(Failure) failure = quorum_create_topic(&try->bench->quorum, try->client, try->number, name, 1, CALL_MS);
    if (!failure && g_atomic_int_compare_and_exchange(try->found, 0, 1))
      try->ms = since_ms(try->start_us);
    if (since_ms(try->start_us) > CALL_MS)
      break;
    g_usleep(1000);
  }
  return NULL;
}

/* The time from @signal, SIGKILL or SIGSTOP, to the first change that another one committed. One that stands still is
 * killed after that. */
static gdouble lose_active(Bench *bench, guint turn, int signal) {
  Quorum *quorum = &bench->quorum;
  guint active = quorum_active(quorum);
  gint found = 0;
  Try tries[QUORUM_MAX] = {0};
  GThread *threads[QUORUM_MAX] = {NULL};
  for (guint i = 0; i < quorum->count; i++)
    tries[i] = (Try){
        .bench = bench, .client = rpc_client_new(NULL), .number = i, .turn = turn, .signal = signal, .found = &found};
  for (guint i = 0; i < quorum->count; i++) /* the connections are there before, as a client's are */
    failure_free(quorum_create_topic(quorum, tries[i].client, i, "", 1, CALL_MS));
  gint64 start_us = g_get_monotonic_time();
  kill(quorum->members[active].pid, signal);
  for (guint i = 0; i < quorum->count; i++) {
    tries[i].start_us = start_us;
    threads[i] = i == active ? NULL : g_thread_new("try", try_changes, &tries[i]);
  }
  gdouble ms = 0;
  for (guint i = 0; i < quorum->count; i++) {
    if (threads[i])
      g_thread_join(threads[i]);
    rpc_client_free(tries[i].client);
    ms += tries[i].ms;
  }
  quorum_member_kill(quorum, active);
  if (ms == 0)
    quorum_fail("nothing was committed in %d s after the active controller was lost", CALL_MS / 1000);
  return ms;
}

static void measure_losses(Bench *bench, const char *how, int signal, gdouble target_ms) {
  g_autoptr(GArray) took_ms = g_array_new(FALSE, FALSE, sizeof(gdouble));
  for (guint turn = 0; turn < bench->kills; turn++) {
    gdouble ms = lose_active(bench, turn, signal);
    g_array_append_val(took_ms, ms);
    quorum_settle(&bench->quorum);
  }
  g_autofree char *what = g_strdup_printf("active one %s, first change committed, median of %u", how, bench->kills);
  tell(what, at_part(took_ms, 0.5), "ms", target_ms, FALSE);
  tell("the same, worst", at_part(took_ms, 1), "ms", 3 * target_ms, FALSE);
}

/* ---- A large image ---- */

/* A single controller with 100,000 partitions in 10,009 topics and a log behind its snapshot, killed and started again:
 * until it is active. */
static void measure_start(Bench *bench) {
  g_autoptr(GArray) took_ms = g_array_new(FALSE, FALSE, sizeof(gdouble));
  Quorum *quorum = &bench->quorum;
  for (guint i = 0; i + 1 < WIDE_TOPICS; i++)
    create_wide(bench, i);
  create_many(bench, WIDE_PARTITIONS);
  for (guint turn = 0; turn < STARTS; turn++) {
    quorum_member_kill(quorum, 0);
    gint64 start_us = g_get_monotonic_time();
    quorum_member_start(quorum, 0);
    while (!g_file_test(quorum->members[0].ready_file, G_FILE_TEST_EXISTS) && since_ms(start_us) < CALL_MS)
      g_usleep(500);
    gdouble ms = since_ms(start_us);
    g_array_append_val(took_ms, ms);
  }
  tell("start over 100,000 partitions until active, median of 5", at_part(took_ms, 0.5), "ms", 1000, FALSE);
  tell("memory after it", quorum_member_mib(quorum, 0, "VmRSS:"), "MiB", 200, FALSE);
  tell("memory, the most of it", quorum_member_mib(quorum, 0, "VmHWM:"), "MiB", 200, FALSE);
}

/* ---- All of it ---- */

static void measure_quorum(Bench *bench) {
  if (bench->controllers > 1) {
    measure_losses(bench, "killed", SIGKILL, 500);
    measure_losses(bench, "frozen", SIGSTOP, 1000); /* no connection breaks: as when its machine is lost */
  }
  measure_rate(bench);
  measure_wide(bench);
}

/* In a cluster of its own. */
static void run(Bench *bench, const char *name, guint controllers, void (*measure)(Bench *bench)) {
  g_autofree char *dir = g_build_filename(bench->dir, name, NULL);
  g_mkdir_with_parents(dir, 0700);
  bench->controllers = controllers;
  quorum_start(&bench->quorum, bench->program, dir, controllers);
  measure(bench);
  quorum_stop(&bench->quorum);
}

static Bench bench;

static void end_controllers(void) {
  for (guint i = 0; i < bench.quorum.count; i++)
    if (bench.quorum.members[i].pid > 0)
      kill(bench.quorum.members[i].pid, SIGKILL);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: controllers_bench PROGRAM FOLDER [CONTROLLERS [KILLS]]\n");
    return 2;
  }
  guint most = argc > 3 ? (guint)atoi(argv[3]) : 3;
  bench = (Bench){.program = argv[1], .dir = argv[2], .kills = argc > 4 ? (guint)atoi(argv[4]) : 25};
  atexit(end_controllers);
  if (most > 1)
    run(&bench, "quorum", most, measure_quorum);
  run(&bench, "single", 1, measure_quorum);
  run(&bench, "large", 1, measure_start);
  return 0;
}
