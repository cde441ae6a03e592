/* sim: runs simulations by their seeds, and says how each that fails is run again.
 *
 *   sim [NAME...] [--seeds N] [--first S] [--jobs J] [--failures F]
 *                                        N runs of each simulation (1,000), from seed S (1) on, until F have failed
 *   sim NAME --seed S                    that run alone, with all that happens in it */
#include <stdio.h>
#include <string.h>

#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/groups/groups_sim.h"
#include "tests/sim/idempotence.h"
#include "tests/sim/raft/raft_sim.h"
#include "tests/sim/runner.h"

/* ---- The simulations ---- */

static char *run_raft(guint64 seed, guint64 *sums) {
  RaftSimResult result;
  raft_sim_run(seed, NULL, &result);
  const guint64 counts[] = {result.committed,    result.writes,     result.reads,   result.unknowns,
                            result.elections,    result.crashes,    result.freezes, result.partitions,
                            result.failed_disks, result.lost_disks, result.changes, result.transfers,
                            result.snapshots,    result.restores};
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
    sums[i] += counts[i];
  return result.violation;
}

static char *replay_raft(guint64 seed) {
  RaftSimResult result;
  raft_sim_run(seed, stdout, &result);
  printf("fingerprint %016" G_GINT64_MODIFIER "x\n", result.fingerprint);
  return result.violation;
}

static char *run_cluster(guint64 seed, guint64 *sums) {
  ClusterSimResult result;
  cluster_sim_run(seed, NULL, &result);
  const guint64 counts[] = {result.committed,       result.acknowledged, result.elections, result.unclean,
                            result.in_sync_changes, result.moves,        result.cuts,      result.kills,
                            result.power_cuts,      result.lost_disks,   result.damaged,   result.freezes,
                            result.clean_stops,     result.fenced};
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
    sums[i] += counts[i];
  return result.violation;
}

static char *replay_cluster(guint64 seed) {
  ClusterSimResult result;
  cluster_sim_run(seed, stdout, &result);
  printf("fingerprint %016" G_GINT64_MODIFIER "x\n", result.fingerprint);
  return result.violation;
}

static char *run_idempotence(guint64 seed, guint64 *sums) {
  IdempotenceResult result;
  idempotence_simulate(seed, IDEMPOTENCE_BUG_NONE, &result);
  sums[0] += result.records;
  sums[1] += result.duplicates;
  sums[2] += result.crashes;
  sums[3] += result.give_ups;
  return result.violation;
}

static char *replay_idempotence(guint64 seed) {
  guint64 sums[RUNNER_SUMS_MAX] = {0};
  return run_idempotence(seed, sums);
}

static char *run_groups(guint64 seed, guint64 *sums) {
  GroupsSimResult result;
  groups_sim_run(seed, NULL, &result);
  const guint64 counts[] = {result.heartbeats, result.commits, result.moves,       result.fenced,
                            result.crashes,    result.cuts,    result.compactions, result.topics,
                            result.freezes,    result.deaths,  result.returns};
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
    sums[i] += counts[i];
  return result.violation;
}

static char *replay_groups(guint64 seed) {
  GroupsSimResult result;
  groups_sim_run(seed, stdout, &result);
  printf("fingerprint %016" G_GINT64_MODIFIER "x\n", result.fingerprint);
  return result.violation;
}

static const struct {
  const char *name;
  RunnerFunc run;
  char *(*replay)(guint64 seed);
  const char *counts[RUNNER_SUMS_MAX]; /* of what the sums are */
} SIMULATIONS[] = {
    {"raft",
     run_raft,
     replay_raft,
     {"entries committed", "writes", "reads", "unknown outcomes", "elections", "crashes", "freezes", "partitions",
      "disk errors", "disks lost", "changes of the members", "transfers", "snapshots", "snapshots installed"}},
    {"cluster",
     run_cluster,
     replay_cluster,
     {"records committed", "batches acknowledged", "elections", "unclean", "changes of who is in sync", "moves", "cuts",
      "kills", "power cuts", "disks lost", "logs damaged", "freezes", "stops in order", "sessions ended"}},
    {"idempotence",
     run_idempotence,
     replay_idempotence,
     {"records written", "retries answered as duplicates", "crashes", "times given up"}},
    {"groups",
     run_groups,
     replay_groups,
     {"heartbeats", "offsets committed", "partitions moved", "refusals of who was out or late", "crashes", "logs cut",
      "logs compacted", "changes of topics", "freezes", "ends of members", "leaves to return"}},
};

/* ---- The program ---- */

static void tell_failed(guint64 seed, const char *why, gpointer data) {
  const char *name = data;
  printf("%s: seed %" G_GUINT64_FORMAT " failed %s\n   again: ./dev sim %s --seed %" G_GUINT64_FORMAT "\n", name, seed,
         why, name, seed);
  fflush(stdout);
}

static gboolean run_many(guint simulation, guint64 first, guint64 count, guint jobs, guint64 failures_max) {
  const char *name = SIMULATIONS[simulation].name;
  guint64 sums[RUNNER_SUMS_MAX] = {0};
  gint64 start_us = g_get_monotonic_time();
  guint64 failed =
      runner_run(SIMULATIONS[simulation].run, first, count, jobs, failures_max, tell_failed, (gpointer)name, sums);
  printf("%s: %" G_GUINT64_FORMAT " runs in %.1f s", name, count,
         (double)(g_get_monotonic_time() - start_us) / G_USEC_PER_SEC);
  for (guint i = 0; SIMULATIONS[simulation].counts[i]; i++)
    printf("%s%" G_GUINT64_FORMAT " %s", i == 0 ? ": " : ", ", sums[i], SIMULATIONS[simulation].counts[i]);
  printf("; %" G_GUINT64_FORMAT " failed\n", failed);
  fflush(stdout);
  return failed == 0;
}

static gboolean run_one(guint simulation, guint64 seed) {
  g_autofree char *why = SIMULATIONS[simulation].replay(seed);
  printf("%s: seed %" G_GUINT64_FORMAT " %s%s\n", SIMULATIONS[simulation].name, seed, why ? "failed " : "broke no rule",
         why ? why : "");
  return why == NULL;
}

static gboolean is_wanted(const char *name, char **names) {
  return !names || g_strv_contains((const char *const *)names, name);
}

static gboolean names_are_known(char **names) {
  for (guint i = 0; names && names[i]; i++) {
    gboolean known = FALSE;
    for (guint k = 0; k < G_N_ELEMENTS(SIMULATIONS); k++)
      known = known || strcmp(names[i], SIMULATIONS[k].name) == 0;
    if (known)
      continue;
    fprintf(stderr, "sim: there is no simulation '%s': raft, cluster, idempotence, groups\n", names[i]);
    return FALSE;
  }
  return TRUE;
}

int main(int argc, char **argv) {
  gint64 seeds = 1000, first = 1, seed = -1;
  gint jobs = 0, failures = 0;
  g_auto(GStrv) names = NULL;
  GOptionEntry entries[] = {
      {"seeds", 0, 0, G_OPTION_ARG_INT64, &seeds, "How many runs of each", "N"},
      {"first", 0, 0, G_OPTION_ARG_INT64, &first, "Seed of the first run", "S"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Only this one, and tell what happens", "S"},
      {"jobs", 0, 0, G_OPTION_ARG_INT, &jobs, "Processes; one for each processor", "J"},
      {"failures", 0, 0, G_OPTION_ARG_INT, &failures, "End after so many; 0: never", "F"},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &names, "raft, cluster, idempotence", NULL},
      {NULL, 0, 0, 0, NULL, NULL, NULL}};
  g_autoptr(GOptionContext) context = g_option_context_new("[NAME...] - simulate by seeds");
  g_option_context_add_main_entries(context, entries, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, &argc, &argv, &error) || seeds < 1 || first < 0 || jobs < 0 || failures < 0 ||
      seed < -1) {
    fprintf(stderr, "sim: %s\n",
            error ? error->message : "give --seeds of 1 or more, and --first and --seed of 0 or more");
    return 2;
  }
  if (!names_are_known(names))
    return 2;
  gboolean ok = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS(SIMULATIONS); i++) {
    if (is_wanted(SIMULATIONS[i].name, names))
      ok = (seed >= 0 ? run_one(i, (guint64)seed)
                      : run_many(i, (guint64)first, (guint64)seeds, (guint)jobs, (guint64)failures)) &&
           ok;
  }
  return !ok;
}
