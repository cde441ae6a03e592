/* What a coordinator has to read when it takes over: many groups' committed offsets, each committed many times.
 *
 *   takeover_bench commit HOST:PORT GROUPS PARTITIONS ROUNDS   commits an offset of every partition for every group,
 *                                                              ROUNDS times; prints how many and how fast
 *   takeover_bench wait HOST:PORT GROUPS PARTITIONS            asks until the first group's offsets are answered, then
 *                                                              for all groups'; prints when the first answer came (ms
 *                                                              from the start) and how many offsets there are
 *
 * The address is any broker's. The topic "bench-takeover" has as many partitions. tools/bench-takeover.sh uses it. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "milena/v1/group_service.pb-c.h"
#include "services/base/loop.h"
#include "services/rpc/client.h"

#define TOPIC "bench-takeover"
#define CALL_S 60
#define IN_FLIGHT 16

typedef struct {
  const char *address;
  guint groups, partitions, rounds;
  RpcClient *client;
  Loop *loop;
  guint64 sent, done, total; /* calls */
  guint64 offsets;           /* that were answered */
  guint64 failed;
  gint64 began_us, first_us;
  gboolean waits; /* a call that fails is made again */
} Bench;

typedef struct {
  Bench *bench;
  guint64 number;
} Call;

static void call(Bench *bench, guint64 number);

static void finished(Bench *bench) {
  bench->done++;
  if (bench->sent < bench->total)
    call(bench, bench->sent++);
  else if (bench->done == bench->total)
    loop_quit(bench->loop);
}

static char *group_name(const Bench *bench, guint64 number) {
  return g_strdup_printf("takeover-%u", (guint)(number % bench->groups));
}

static void start(Bench *bench, const char *method, const ProtobufCMessage *request, RpcUnaryDone done,
                  guint64 number) {
  Call *made = g_new(Call, 1);
  *made = (Call){bench, number};
  g_autoptr(RpcMessage) message = rpc_message_pack(request, NULL, 0);
  rpc_client_call_unref(rpc_client_unary(bench->client, bench->address, &milena__v1__group_service__descriptor, method,
                                         message, g_get_monotonic_time() + CALL_S * G_TIME_SPAN_SECOND, bench->loop,
                                         done, made));
}

/* ---- committing ---- */

static void on_committed(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Call *made = data;
  Bench *bench = made->bench;
  const Milena__V1__CommitOffsetsResponse *answer = failure ? NULL : rpc_message_body(response);
  for (gsize i = 0; answer && i < answer->n_results; i++) {
    g_autoptr(Failure) refused = failure_from_status(answer->results[i]->status);
    if (refused && bench->failed++ == 0)
      fprintf(stderr, "takeover_bench: %s\n", failure_message(refused));
    bench->offsets += refused == NULL;
  }
  if (failure && bench->failed++ == 0)
    fprintf(stderr, "takeover_bench: %s\n", failure_message(failure));
  finished(bench);
}

static void commit(Bench *bench, guint64 number) {
  g_autofree char *group = group_name(bench, number);
  g_autofree Milena__V1__OffsetCommit *commits = g_new(Milena__V1__OffsetCommit, bench->partitions);
  g_autofree Milena__V1__OffsetCommit **pointers = g_new(Milena__V1__OffsetCommit *, bench->partitions);
  for (guint i = 0; i < bench->partitions; i++) {
    milena__v1__offset_commit__init(&commits[i]);
    commits[i].topic = (char *)TOPIC;
    commits[i].partition = (gint32)i;
    commits[i].offset =
        0; /* the topic is empty, and its end the most that may be committed: a record each all the same */
    pointers[i] = &commits[i];
  }
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = group;
  request.n_offsets = bench->partitions;
  request.offsets = pointers;
  start(bench, "CommitOffsets", &request.base, on_committed, number);
}

/* ---- asking ---- */

static void on_fetched(RpcMessage *response, const Failure *failure, gpointer data) {
  g_autofree Call *made = data;
  Bench *bench = made->bench;
  if (failure) { /* nobody coordinates the group now */
    call(bench, made->number);
    return;
  }
  if (bench->first_us == 0) {
    bench->first_us = g_get_monotonic_time();
    bench->waits = FALSE;
  }
  const Milena__V1__FetchOffsetsResponse *answer = rpc_message_body(response);
  bench->offsets += answer->n_offsets;
  finished(bench);
}

static void fetch(Bench *bench, guint64 number) {
  g_autofree char *group = group_name(bench, number);
  Milena__V1__FetchOffsetsRequest request = MILENA__V1__FETCH_OFFSETS_REQUEST__INIT;
  request.group = group;
  start(bench, "FetchOffsets", &request.base, on_fetched, number);
}

static void call(Bench *bench, guint64 number) {
  if (bench->waits)
    fetch(bench, number);
  else
    bench->rounds ? commit(bench, number) : fetch(bench, number);
}

/* ---- the course of it ---- */

static void run(Bench *bench) {
  bench->loop = loop_new("bench", 1 << 16);
  bench->began_us = g_get_monotonic_time();
  bench->total = (guint64)bench->groups * MAX(bench->rounds, 1);
  guint64 first = bench->waits ? 1 : MIN(IN_FLIGHT, bench->total);
  while (bench->sent < first)
    call(bench, bench->sent++);
  loop_run(bench->loop);
  double seconds = (double)(g_get_monotonic_time() - bench->began_us) / G_USEC_PER_SEC;
  if (bench->rounds)
    printf("{\"commits\":%" G_GUINT64_FORMAT ",\"failed\":%" G_GUINT64_FORMAT ",\"per_second\":%.0f}\n", bench->offsets,
           bench->failed, (double)bench->offsets / seconds);
  else
    printf("{\"offsets\":%" G_GUINT64_FORMAT ",\"first_ms\":%.1f,\"all_ms\":%.1f}\n", bench->offsets,
           (double)(bench->first_us - bench->began_us) / 1000, seconds * 1000);
  loop_free(bench->loop);
}

int main(int argc, char **argv) {
  gboolean commits = argc == 6 && strcmp(argv[1], "commit") == 0, waits = argc == 5 && strcmp(argv[1], "wait") == 0;
  if ((!commits && !waits) || atoi(argv[3]) < 1 || atoi(argv[4]) < 1 || (commits && atoi(argv[5]) < 1)) {
    fprintf(stderr, "usage: takeover_bench commit HOST:PORT GROUPS PARTITIONS ROUNDS | wait HOST:PORT GROUPS "
                    "PARTITIONS\n");
    return 2;
  }
  Bench bench = {.address = argv[2],
                 .groups = (guint)atoi(argv[3]),
                 .partitions = (guint)atoi(argv[4]),
                 .rounds = commits ? (guint)atoi(argv[5]) : 0,
                 .waits = waits,
                 .client = rpc_client_new(&(RpcClientOptions){0})};
  run(&bench);
  rpc_client_free(bench.client);
  return bench.failed > 0;
}
