/* The figures of a run; see run.h. */
#include "tests/chaos/run.h"

static gint compare_times(gconstpointer a, gconstpointer b) {
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
  return x < y ? -1 : x > y;
}

/* From each kill of the active controller to the first acknowledgement of a write that began after it. */
static void print_unavailability(Run *run) {
  const GArray *kills = nemesis_kills_us(run->nemesis), *ops = load_history(run->load);
  g_autoptr(GArray) waits = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (guint i = 0; i < kills->len; i++) {
    gint64 kill_us = g_array_index(kills, gint64, i), first_us = G_MAXINT64;
    for (guint k = 0; k < ops->len; k++) {
      const HistoryOp *op = &g_array_index(ops, HistoryOp, k);
      if (op->kind != HISTORY_READ && op->result == HISTORY_OK && op->invoke_us >= kill_us)
        first_us = MIN(first_us, op->return_us);
    }
    gint64 wait_us = first_us - kill_us;
    if (first_us != G_MAXINT64)
      g_array_append_val(waits, wait_us);
  }
  g_array_sort(waits, compare_times);
  guint middle = waits->len / 2;
  if (waits->len)
    report_say(run->report, "  without writes after a kill of the active one: median %.2f s, longest %.2f s (%u kills)",
               (double)g_array_index(waits, gint64, middle) / G_USEC_PER_SEC,
               (double)g_array_index(waits, gint64, waits->len - 1) / G_USEC_PER_SEC, waits->len);
}

static void print_operations(Run *run) {
  guint counts[4][4] = {0};
  const GArray *ops = load_history(run->load);
  for (guint i = 0; i < ops->len; i++) {
    const HistoryOp *op = &g_array_index(ops, HistoryOp, i);
    counts[op->kind][op->result]++;
  }
  report_say(run->report, "  %-8s %8s %8s %8s %8s", "", "ok", "refused", "failed", "unknown");
  for (guint kind = 0; kind < 4; kind++)
    report_say(run->report, "  %-8s %8u %8u %8u %8u", history_kind_name((HistoryKind)kind), counts[kind][HISTORY_OK],
               counts[kind][HISTORY_REFUSED], counts[kind][HISTORY_FAILED], counts[kind][HISTORY_UNKNOWN]);
}

/* ---- Records ---- */

static void print_times(Run *run, GArray *times_us, guint hits, const char *what) {
  if (!times_us->len)
    return;
  g_array_sort(times_us, compare_times);
  guint middle = times_us->len / 2;
  report_say(run->report, "  %-26s %4u %6u %9.3f %9.3f", what, hits, times_us->len,
             (double)g_array_index(times_us, gint64, middle) / G_USEC_PER_SEC,
             (double)g_array_index(times_us, gint64, times_us->len - 1) / G_USEC_PER_SEC);
}

/* Of each partition that the broker led: from the hit until a record that was sent after it was acknowledged. */
static void add_outages(Run *run, const NemesisHit *hit, GArray *times_us) {
  for (gint32 i = 0; i < TRAFFIC_PARTITIONS; i++) {
    gint64 outage_us = hit->partitions & 1u << i ? ledger_outage_us(traffic_ledger(run->traffic), i, hit->at_us) : -1;
    if (outage_us >= 0)
      g_array_append_val(times_us, outage_us);
  }
}

/* @kinds: of faults, FAULT_COUNT at the end */
static void print_outages_of(Run *run, const FaultKind *kinds, const char *what) {
  const GArray *hits = nemesis_hits(run->nemesis);
  g_autoptr(GArray) times_us = g_array_new(FALSE, FALSE, sizeof(gint64));
  guint count = 0;
  for (guint i = 0; i < hits->len; i++) {
    const NemesisHit *hit = &g_array_index(hits, NemesisHit, i);
    gboolean is_meant = FALSE;
    for (guint k = 0; kinds[k] != FAULT_COUNT; k++)
      is_meant |= hit->kind == kinds[k];
    if (!is_meant || !hit->is_alone)
      continue;
    count++;
    add_outages(run, hit, times_us);
  }
  print_times(run, times_us, count, what);
}

static void print_outages(Run *run) {
  static const FaultKind WATCHED[] = {FAULT_BROKER_KILL,   FAULT_LEADER_KILL,    FAULT_BROKER_POWER_CUT,
                                      FAULT_LEADER_FREEZE, FAULT_LEADER_CUT_OFF, FAULT_BROKER_LOST_DISK};
  static const FaultKind KILLS[] = {FAULT_BROKER_KILL, FAULT_LEADER_KILL, FAULT_COUNT};
  report_say(run->report, "partitions without writes after their leader was hit, all replicas in sync before and "
                          "nothing else in force, in seconds");
  report_say(run->report, "  %-26s %4s %6s %9s %9s", "", "hits", "parts", "median", "worst");
  for (guint i = 0; i < G_N_ELEMENTS(WATCHED); i++) {
    const FaultKind kinds[] = {WATCHED[i], FAULT_COUNT};
    print_outages_of(run, kinds, nemesis_fault_name(WATCHED[i]));
  }
  print_outages_of(run, KILLS, "all kills with -9");
}

/* By producer. */
static void print_sends(Run *run) {
  const GArray *sends = traffic_ledger(run->traffic)->sends;
  guint counts[TRAFFIC_PRODUCERS][3] = {0};
  for (guint i = 0; i < sends->len; i++) {
    const LedgerSend *send = &g_array_index(sends, LedgerSend, i);
    counts[send->process - 1][send->outcome]++;
  }
  report_say(run->report, "records sent\n  %-26s %8s %8s %8s", "", "ok", "failed", "unknown");
  for (guint i = 0; i < TRAFFIC_PRODUCERS; i++)
    report_say(run->report, "  %-26s %8u %8u %8u", traffic_producer_name(i), counts[i][LEDGER_OK],
               counts[i][LEDGER_FAILED], counts[i][LEDGER_UNKNOWN]);
}

/* ---- All ---- */

void run_print_table(Run *run) {
  report_say(run->report, "\noperations");
  print_operations(run);
  report_say(run->report, "faults");
  for (guint kind = 0; kind < FAULT_COUNT; kind++) {
    const char *skip = nemesis_skips(run->nemesis, (FaultKind)kind);
    if (!skip)
      report_say(run->report, "  %-26s %4u", nemesis_fault_name((FaultKind)kind),
                 nemesis_count(run->nemesis, (FaultKind)kind));
    else if (!run->options.only)
      report_skip(run->report, skip, "%s", nemesis_fault_name((FaultKind)kind));
  }
  report_say(run->report, "  unsynced bytes taken away: %" G_GUINT64_FORMAT ", ends by a refusing disk: %u",
             nemesis_bytes_lost(run->nemesis), fleet_disk_refusals(run->fleet));
  print_unavailability(run);
  if (run->traffic) {
    print_sends(run);
    print_outages(run);
  }
}
