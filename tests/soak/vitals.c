#include "tests/soak/vitals.h"

#include <stdio.h>
#include <string.h>

#include "tests/soak/probe.h"
#include "tests/soak/trend.h"

typedef enum { DISK_MIB, MEMORY_MIB, DESCRIPTORS, THREADS, FIGURE_COUNT } Figure;

static const char *const FIGURES[] = {
    [DISK_MIB] = "disk MiB", [MEMORY_MIB] = "memory MiB", [DESCRIPTORS] = "descriptors", [THREADS] = "threads"};

typedef struct {
  char *name;
  Trend *trends[FIGURE_COUNT]; /* the first stays empty where there is no folder */
} Subject;

struct Vitals {
  Cluster *cluster;
  TrendBound bounds[FIGURE_COUNT];
  GPtrArray *subjects; /* of Subject */
  Trend *handovers;
};

/* A handover waits for the machine more than for the log: half as much again, and a second. */
static const TrendBound HANDOVER_BOUND = {.share = 0.5, .floor = 1000};

static void subject_free(gpointer data) {
  Subject *subject = data;
  for (guint i = 0; i < FIGURE_COUNT; i++)
    trend_free(subject->trends[i]);
  g_free(subject->name);
  g_free(subject);
}

Vitals *vitals_new(Cluster *cluster, const char *const *names, double disk_floor_mib, double memory_floor_mib) {
  Vitals *vitals = g_new0(Vitals, 1);
  vitals->cluster = cluster;
  vitals->bounds[DISK_MIB] = (TrendBound){.share = 0.15, .floor = disk_floor_mib};
  vitals->bounds[MEMORY_MIB] = (TrendBound){.share = 0.1, .floor = memory_floor_mib};
  vitals->bounds[DESCRIPTORS] = (TrendBound){.share = 0.1, .floor = 24};
  vitals->bounds[THREADS] = (TrendBound){.share = 0, .floor = 3};
  vitals->subjects = g_ptr_array_new_with_free_func(subject_free);
  vitals->handovers = trend_new();
  for (; *names; names++) {
    Subject *subject = g_new0(Subject, 1);
    subject->name = g_strdup(*names);
    for (guint i = 0; i < FIGURE_COUNT; i++)
      subject->trends[i] = trend_new();
    g_ptr_array_add(vitals->subjects, subject);
  }
  return vitals;
}

void vitals_free(Vitals *vitals) {
  if (!vitals)
    return;
  g_ptr_array_unref(vitals->subjects);
  trend_free(vitals->handovers);
  g_free(vitals);
}

void vitals_look(Vitals *vitals, double at_s) {
  for (guint i = 0; i < vitals->subjects->len; i++) {
    Subject *subject = vitals->subjects->pdata[i];
    GPid pid = cluster_pid(vitals->cluster, subject->name);
    ProcessFigures figures;
    if (!pid || !probe_process(pid, &figures))
      continue;
    trend_add(subject->trends[MEMORY_MIB], at_s, figures.memory_mib);
    trend_add(subject->trends[DESCRIPTORS], at_s, figures.descriptors);
    trend_add(subject->trends[THREADS], at_s, figures.threads);
    g_autofree char *folder = g_build_filename(cluster_folder(vitals->cluster), subject->name, NULL);
    if (g_file_test(folder, G_FILE_TEST_IS_DIR))
      trend_add(subject->trends[DISK_MIB], at_s, probe_folder_mib(folder));
  }
}

void vitals_note_handover(Vitals *vitals, double at_s, double gap_ms) {
  trend_add(vitals->handovers, at_s, gap_ms);
}

/* ---- printing ---- */

/* The highest of those whose name begins so. */
static double highest(const Vitals *vitals, const char *prefix, Figure figure) {
  double value = 0;
  for (guint i = 0; i < vitals->subjects->len; i++) {
    const Subject *subject = vitals->subjects->pdata[i];
    if (g_str_has_prefix(subject->name, prefix))
      value = MAX(value, trend_last(subject->trends[figure]));
  }
  return value;
}

char *vitals_line(const Vitals *vitals) {
  static const char *const KINDS[] = {"broker", "controller", "coordinator"};
  g_autoptr(GString) line = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++) {
    g_string_append_printf(line, " | %s", KINDS[i]);
    for (guint j = 0; j < FIGURE_COUNT; j++)
      g_string_append_printf(line, " %5.0f", highest(vitals, KINDS[i], j));
  }
  g_string_append_printf(line, " | handover %5.0f ms", trend_last(vitals->handovers));
  return g_string_free(g_steal_pointer(&line), FALSE);
}

/* Returns whether it rises. */
static gboolean judge(const char *name, const char *figure, const Trend *trend, double warm_up_s, TrendBound bound) {
  TrendVerdict verdict = trend_judge(trend, warm_up_s, bound);
  if (trend_count(trend) == 0)
    return FALSE;
  if (!verdict.judged)
    printf("%-15s %-12s %9.1f          too few samples to judge\n", name, figure, trend_last(trend));
  else
    printf("%-15s %-12s %9.1f %+11.2f %+10.1f %10.1f  %s\n", name, figure, verdict.median, verdict.per_s * 3600,
           verdict.growth, verdict.allowed, verdict.rises ? "RISES" : "flat");
  return verdict.rises;
}

guint vitals_judge(const Vitals *vitals, double warm_up_s) {
  guint rising = 0;
  printf("\n%-15s %-12s %9s %11s %10s %10s\n", "process", "figure", "median", "an hour", "growth", "allowed");
  for (guint i = 0; i < vitals->subjects->len; i++) {
    const Subject *subject = vitals->subjects->pdata[i];
    for (guint j = 0; j < FIGURE_COUNT; j++)
      rising += judge(subject->name, FIGURES[j], subject->trends[j], warm_up_s, vitals->bounds[j]);
  }
  rising += judge("groups", "handover ms", vitals->handovers, warm_up_s, HANDOVER_BOUND);
  fflush(stdout);
  return rising;
}
