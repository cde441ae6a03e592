/* What one coordinator carries: many groups, their heartbeats, and commits that are on the disks of three brokers.
 *
 *   groups_bench --address HOST:PORT [--groups N] [--members N] [--rate N] [--seconds N] [NAME=PID...]
 *
 * The address is the coordinator's. A topic "bench-groups" with as many partitions as a group has members, and with
 * records enough, is there. All members join; then heartbeats go as fast as the answers come, some at a time; then
 * commits at a steady rate, each measured from when it was due (so a stall counts for all who waited), and heartbeats
 * beside them as members send them; then commits as fast as they go. CPU and memory of each NAME=PID over each phase.
 * Ends with 1 when a call failed. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "milena/v1/group_service.pb-c.h"
#include "services/base/loop.h"
#include "services/rpc/client.h"

#define TOPIC "bench-groups"
#define CALL_S 30
#define IN_FLIGHT 256
#define TICK_MS 1
#define HEARTBEAT_S 3
#define OFFSET_MAX 1000

typedef struct {
  char *group, id[64];
  guint32 epoch, version;
  guint owned;
  gint32 partitions[16];
} Member;

/* What is measured. */
typedef struct {
  GArray *latencies; /* of guint32: µs */
  guint64 done, failed;
} Tally;

typedef struct Bench Bench;
struct Bench {
  const char *address;
  RpcClient *client;
  Loop *loop; /* of the phase: a loop runs once */
  Member *members;
  guint member_count;
  guint next, under_way;
  gint64 seconds, rate;
  Tally *tally;
  gint64 began_us, ends_us;
  guint64 sent; /* of the phase */
  gboolean over;
  void (*send)(Bench *bench, Member *member, gint64 due_us); /* closed loop: the next one */
  GSource *ticker;
  guint beats_sent;
  GArray *processes; /* of Process */
};

typedef struct {
  Bench *bench;
  Member *member;
  Tally *tally;
  gint64 due_us;
} Sent;

static void note(Sent *sent, const Failure *failure) {
  Tally *tally = sent->tally;
  guint32 latency = (guint32)(g_get_monotonic_time() - sent->due_us);
  if (failure && tally->failed++ == 0)
    fprintf(stderr, "a call failed: %s\n", failure_message(failure));
  if (!failure) {
    tally->done++;
    g_array_append_val(tally->latencies, latency);
  }
}

static void call(Bench *bench, Member *member, const char *method, const ProtobufCMessage *request, gint64 due_us,
                 Tally *tally, RpcUnaryDone done) {
  Sent *sent = g_new(Sent, 1);
  *sent = (Sent){bench, member, tally, due_us};
  g_autoptr(RpcMessage) message = rpc_message_pack(request, NULL, 0);
  bench->under_way++;
  rpc_client_call_unref(rpc_client_unary(bench->client, bench->address, &milena__v1__group_service__descriptor, method,
                                         message, g_get_monotonic_time() + CALL_S * G_TIME_SPAN_SECOND, bench->loop,
                                         done, sent));
}

static Member *next_member(Bench *bench) {
  Member *member = &bench->members[bench->next];
  bench->next = (bench->next + 1) % bench->member_count;
  return member;
}

/* ---- heartbeats ---- */

static void take_heartbeat(Member *member, const Milena__V1__HeartbeatResponse *answer) {
  g_strlcpy(member->id, answer->member_id, sizeof member->id);
  member->epoch = answer->member_epoch;
  if (!answer->assignment)
    return;
  member->version = answer->assignment->version;
  member->owned = 0;
  for (gsize i = 0; i < answer->assignment->n_topics; i++) {
    const Milena__V1__AssignedTopic *topic = answer->assignment->topics[i];
    for (gsize j = 0; j < topic->n_partitions && member->owned < G_N_ELEMENTS(member->partitions); j++)
      member->partitions[member->owned++] = topic->partitions[j]->partition;
  }
}

static void send_heartbeat_for(Bench *bench, Member *member, gint64 due_us, Tally *tally, RpcUnaryDone done) {
  char *topics[] = {(char *)TOPIC};
  Milena__V1__GroupSubscription subscription = MILENA__V1__GROUP_SUBSCRIPTION__INIT;
  subscription.n_topics = 1;
  subscription.topics = topics;
  Milena__V1__TopicPartitions topic = MILENA__V1__TOPIC_PARTITIONS__INIT, *owned_topics[] = {&topic};
  topic.topic = (char *)TOPIC;
  topic.n_partitions = member->owned;
  topic.partitions = member->partitions;
  Milena__V1__OwnedPartitions owned = MILENA__V1__OWNED_PARTITIONS__INIT;
  owned.n_topics = member->owned > 0;
  owned.topics = owned_topics;
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  request.group = member->group;
  request.member_id = member->id;
  request.member_epoch = member->epoch;
  request.subscription = member->epoch ? NULL : &subscription;
  request.owned = &owned;
  request.assignment_version = member->version;
  request.offset_reset = MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
  call(bench, member, "Heartbeat", &request.base, due_us, tally, done);
}

/* ---- closed loop: the next call when an answer came ---- */

static void go_on(Bench *bench) {
  gint64 now_us = g_get_monotonic_time();
  if (now_us < bench->ends_us) {
    bench->send(bench, next_member(bench), now_us);
    return;
  }
  bench->over = TRUE;
  if (bench->under_way == 0)
    loop_quit(bench->loop);
}

static void on_heartbeat(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Sent *sent = data;
  Bench *bench = sent->bench;
  bench->under_way--;
  note(sent, failure);
  if (!failure)
    take_heartbeat(sent->member, rpc_message_body(response));
  go_on(bench);
}

static void send_heartbeat(Bench *bench, Member *member, gint64 due_us) {
  send_heartbeat_for(bench, member, due_us, bench->tally, on_heartbeat);
}

static void send_commit_for(Bench *bench, Member *member, gint64 due_us, Tally *tally, RpcUnaryDone done) {
  Milena__V1__OffsetCommit commit = MILENA__V1__OFFSET_COMMIT__INIT, *commits[] = {&commit};
  commit.topic = (char *)TOPIC;
  commit.partition = member->partitions[0];
  commit.offset = (gint64)(bench->sent++ % OFFSET_MAX);
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = member->group;
  request.member_id = member->id;
  request.member_epoch = member->epoch;
  request.n_offsets = 1;
  request.offsets = commits;
  call(bench, member, "CommitOffsets", &request.base, due_us, tally, done);
}

static Failure *commit_failure(RpcMessage *response, const Failure *failure) {
  if (failure)
    return failure_copy(failure);
  const Milena__V1__CommitOffsetsResponse *answer = rpc_message_body(response);
  return failure_from_status(answer->results[0]->status);
}

static void on_commit(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Sent *sent = data;
  g_autoptr(Failure) refused = commit_failure(response, failure);
  sent->bench->under_way--;
  note(sent, refused);
  go_on(sent->bench);
}

static void send_commit(Bench *bench, Member *member, gint64 due_us) {
  send_commit_for(bench, member, due_us, bench->tally, on_commit);
}

/* ---- open loop: calls when they are due ---- */

static void quit_if_over(Bench *bench) {
  if (bench->over && bench->under_way == 0)
    loop_quit(bench->loop);
}

static void on_paced_commit(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Sent *sent = data;
  g_autoptr(Failure) refused = commit_failure(response, failure);
  sent->bench->under_way--;
  note(sent, refused);
  quit_if_over(sent->bench);
}

static void on_paced_heartbeat(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Sent *sent = data;
  sent->bench->under_way--;
  if (failure)
    note(sent, failure);
  else
    take_heartbeat(sent->member, rpc_message_body(response));
  quit_if_over(sent->bench);
}

static gboolean tick(gpointer data) {
  Bench *bench = data;
  gint64 now_us = g_get_monotonic_time();
  for (gint64 due_us; (due_us = bench->began_us + (gint64)bench->sent * G_USEC_PER_SEC / bench->rate) <= now_us;) {
    if (due_us >= bench->ends_us) {
      bench->over = TRUE;
      g_source_destroy(bench->ticker);
      quit_if_over(bench);
      return G_SOURCE_REMOVE;
    }
    send_commit_for(bench, next_member(bench), due_us, bench->tally, on_paced_commit);
  }
  guint64 beats = (guint64)(now_us - bench->began_us) * bench->member_count / (HEARTBEAT_S * G_USEC_PER_SEC);
  for (; bench->beats_sent < beats; bench->beats_sent++)
    send_heartbeat_for(bench, &bench->members[bench->beats_sent % bench->member_count], now_us, bench->tally,
                       on_paced_heartbeat);
  return G_SOURCE_CONTINUE;
}

/* ---- joining: rounds of heartbeats, until each member has one partition ---- */

static gboolean all_settled(const Bench *bench) {
  for (guint i = 0; i < bench->member_count; i++)
    if (bench->members[i].owned != 1)
      return FALSE;
  return TRUE;
}

static void on_round(RpcMessage *response, const Failure *failure, gpointer data);

static void send_round(Bench *bench) {
  while (bench->under_way < IN_FLIGHT && bench->next < bench->member_count)
    send_heartbeat_for(bench, &bench->members[bench->next++], g_get_monotonic_time(), bench->tally, on_round);
}

static void on_round(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Sent *sent = data;
  Bench *bench = sent->bench;
  bench->under_way--;
  if (failure && !failure_is_retriable(failure))
    note(sent, failure);
  if (!failure)
    take_heartbeat(sent->member, rpc_message_body(response));
  if (bench->next < bench->member_count)
    send_round(bench);
  if (bench->under_way > 0)
    return;
  if (all_settled(bench) || bench->tally->failed) {
    loop_quit(bench->loop);
    return;
  }
  bench->next = 0;
  send_round(bench);
}

/* ---- the machine ---- */

typedef struct {
  const char *name;
  int pid;
  double cpu_s;
} Process;

static double cpu_seconds(int pid) {
  g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
  unsigned long user = 0, system = 0;
  if (!g_file_get_contents(path, &text, NULL, NULL) || !strrchr(text, ')'))
    return 0;
  sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double resident_mb(int pid) {
  g_autofree char *path = g_strdup_printf("/proc/%d/statm", pid), *text = NULL;
  unsigned long pages = 0;
  if (g_file_get_contents(path, &text, NULL, NULL))
    sscanf(text, "%*u %lu", &pages);
  return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static gint compare(gconstpointer a, gconstpointer b) {
  guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;
  return x < y ? -1 : x > y;
}

static double percentile_ms(const GArray *sorted, double share) {
  guint place = MIN(sorted->len - 1, (guint)(share * sorted->len));
  return sorted->len ? g_array_index(sorted, guint32, place) / 1000.0 : 0;
}

/* ---- phases ---- */

static void begin(Bench *bench, Tally *tally) {
  bench->tally = tally;
  bench->loop = loop_new("bench", 1 << 20);
  *tally = (Tally){.latencies = g_array_new(FALSE, FALSE, sizeof(guint32))};
  bench->next = bench->under_way = bench->beats_sent = 0;
  bench->sent = 0;
  bench->over = FALSE;
  for (guint i = 0; i < bench->processes->len; i++)
    g_array_index(bench->processes, Process, i).cpu_s = cpu_seconds(g_array_index(bench->processes, Process, i).pid);
  bench->began_us = g_get_monotonic_time();
  bench->ends_us = bench->began_us + bench->seconds * G_USEC_PER_SEC;
}

static void report(Bench *bench, const char *what, Tally *tally) {
  double seconds = (double)(g_get_monotonic_time() - bench->began_us) / G_USEC_PER_SEC;
  g_array_sort(tally->latencies, compare);
  printf("%-28s %8.0f/s", what, (double)tally->done / seconds);
  if (tally->latencies->len)
    printf("  p50 %6.2f ms  p99 %6.2f ms  p99.9 %6.2f ms", percentile_ms(tally->latencies, 0.5),
           percentile_ms(tally->latencies, 0.99), percentile_ms(tally->latencies, 0.999));
  printf("  failed %" G_GUINT64_FORMAT "\n", tally->failed);
  for (guint i = 0; i < bench->processes->len; i++) {
    const Process *process = &g_array_index(bench->processes, Process, i);
    printf("    %-14s %5.1f %% of a processor, %5.0f MB\n", process->name,
           100 * (cpu_seconds(process->pid) - process->cpu_s) / seconds, resident_mb(process->pid));
  }
  fflush(stdout);
  g_clear_pointer(&bench->loop, loop_free);
  g_array_unref(tally->latencies);
}

static void run_join(Bench *bench, Tally *tally) {
  begin(bench, tally);
  send_round(bench);
  loop_run(bench->loop);
  tally->done = bench->member_count;
  report(bench, "members join", tally);
}

static void run_closed(Bench *bench, const char *what, void (*send)(Bench *, Member *, gint64), Tally *tally) {
  begin(bench, tally);
  bench->send = send;
  for (guint i = 0; i < IN_FLIGHT; i++)
    send(bench, next_member(bench), g_get_monotonic_time());
  loop_run(bench->loop);
  report(bench, what, tally);
}

static void run_paced(Bench *bench, Tally *tally) {
  begin(bench, tally);
  bench->ticker = loop_add_timeout(bench->loop, TICK_MS, tick, bench);
  loop_run(bench->loop);
  g_clear_pointer(&bench->ticker, g_source_unref);
  g_autofree char *what = g_strdup_printf("commits, %" G_GINT64_FORMAT "/s wanted", bench->rate);
  report(bench, what, tally);
}

static void make_members(Bench *bench, gint64 groups, gint64 members) {
  bench->member_count = (guint)(groups * members);
  bench->members = g_new0(Member, bench->member_count);
  for (guint i = 0; i < bench->member_count; i++) {
    bench->members[i].group = g_strdup_printf("bench-%u", i / (guint)members);
  }
}

static GArray *read_processes(char **words) {
  GArray *processes = g_array_new(FALSE, FALSE, sizeof(Process));
  for (; *words; words++) {
    char *sign = strchr(*words, '=');
    if (!sign)
      continue;
    *sign = '\0';
    Process process = {.name = *words, .pid = atoi(sign + 1)};
    g_array_append_val(processes, process);
  }
  return processes;
}

int main(int argc, char **argv) {
  g_autofree char *address = NULL;
  gint64 groups = 500, members = 5, rate = 5000, seconds = 15;
  const GOptionEntry entries[] = {{"address", 0, 0, G_OPTION_ARG_STRING, &address, NULL, NULL},
                                  {"groups", 0, 0, G_OPTION_ARG_INT64, &groups, NULL, NULL},
                                  {"members", 0, 0, G_OPTION_ARG_INT64, &members, NULL, NULL},
                                  {"rate", 0, 0, G_OPTION_ARG_INT64, &rate, NULL, NULL},
                                  {"seconds", 0, 0, G_OPTION_ARG_INT64, &seconds, NULL, NULL},
                                  {NULL}};
  g_autoptr(GOptionContext) options = g_option_context_new(NULL);
  g_option_context_add_main_entries(options, entries, NULL);
  if (!g_option_context_parse(options, &argc, &argv, NULL) || !address || groups < 1 || members < 1 || rate < 1 ||
      seconds < 1) {
    fprintf(stderr,
            "groups_bench --address HOST:PORT [--groups N] [--members N] [--rate N] [--seconds N] [NAME=PID...]\n");
    return 2;
  }
  Bench bench = {.address = address,
                 .client = rpc_client_new(NULL),

                 .processes = read_processes(argv + 1),
                 .rate = rate,
                 .seconds = seconds};
  make_members(&bench, groups, members);
  Tally joins, beats = {0}, paced = {0}, fastest = {0};
  run_join(&bench, &joins);
  if (!joins.failed) {
    run_closed(&bench, "heartbeats", send_heartbeat, &beats);
    run_paced(&bench, &paced);
    run_closed(&bench, "commits, as fast as they go", send_commit, &fastest);
  }
  rpc_client_free(bench.client);
  for (guint i = 0; i < bench.member_count; i++)
    g_free(bench.members[i].group);
  g_free(bench.members);
  g_array_unref(bench.processes);
  return joins.failed + beats.failed + paced.failed + fastest.failed > 0;
}
