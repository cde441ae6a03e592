/* What a run has shown; see run.h. */
#include "tests/chaos/linear.h"
#include "tests/chaos/records/anomalies.h"
#include "tests/chaos/run.h"
#include "tests/chaos/verdict.h"

#define CONVERGE_S 60
#define SETTLE_S 90
#define FINAL_READER 1000 /* client number of the reads at the end: plus the controller's */

/* Every name, as each controller has it now: what was acknowledged must be there. */
static char *read_everything(Run *run) {
  for (guint i = 0; i < fleet_controllers(run->fleet); i++) {
    const char *address = fleet_client_address(run->fleet, i);
    if (i != run_standby(run) &&
        !witness_read_all(run->witness, address, FINAL_READER + i, load_topics(run->load), load_history(run->load)))
      return g_strdup_printf("%s does not answer", address);
  }
  return NULL;
}

/* Brokers first, which hand over what they lead; one that is outside is none of the run's. */
static char *end_processes(Run *run) {
  g_autoptr(GString) wrong = g_string_new(NULL);
  for (guint i = fleet_controllers(run->fleet) + fleet_brokers(run->fleet); i > 0; i--) {
    int status = fleet_state(run->fleet, i - 1) == FLEET_DOWN ? 0 : fleet_terminate(run->fleet, i - 1);
    if (status != 0)
      g_string_append_printf(wrong, "%s: exit status %d\n", fleet_name(run->fleet, i - 1), status);
  }
  return wrong->len ? g_string_free(g_steal_pointer(&wrong), FALSE) : NULL;
}

static char *check_history(Run *run, GString *explain) {
  LinearReport linear;
  LinearVerdict verdict = linear_check(load_history(run->load), 0, explain, &linear);
  report_say(run->report, "checked %u operations on %u topics in %" G_GUINT64_FORMAT " steps", linear.ops,
             linear.topics, linear.steps);
  return verdict == LINEAR_OK ? NULL : g_strdup(explain->str);
}

/* ---- Records ---- */

static void check_records(Run *run) {
  g_autoptr(GString) explain = g_string_new(NULL);
  AnomalyReport records;
  guint anomalies = anomalies_find(traffic_ledger(run->traffic), explain, &records);
  report_claim(run->report, anomalies ? g_strdup(explain->str) : NULL,
               "no anomaly in %u sends (%u acknowledged) and %u reads in %u polls", records.sends, records.acknowledged,
               records.reads, records.polls);
}

static void judge_records(Run *run, gboolean mended) {
  Report *report = run->report;
  traffic_stop_writing(run->traffic, mended ? TRAFFIC_FLUSH_MS : 0);
  char *unsettled = mended ? traffic_settle(run->traffic, SETTLE_S) : NULL;
  gboolean settled = mended && !unsettled;
  report_claim(report, unsettled, "all partitions are led again, and all replicas in sync");
  traffic_stop(run->traffic);
  if (settled)
    report_claim(report, traffic_read_all(run->traffic),
                 "each broker led every partition in turn, and was read from the start");
  check_records(run);
  report_claim(report, g_strdup(traffic_trouble(run->traffic)),
               "no consumer was told that what it reads next does not exist");
}

/* ---- All ---- */

void run_judge(Run *run) {
  Report *report = run->report;
  guint terms = 0, entries = 0;
  load_stop(run->load);
  gboolean mended = !nemesis_failure(run->nemesis);
  report_claim(report, g_strdup(nemesis_failure(run->nemesis)),
               "writes succeeded again after each mending (longest: %.1f s), and no process ended unasked",
               (double)nemesis_longest_mend_us(run->nemesis) / G_USEC_PER_SEC);
  if (run->traffic)
    judge_records(run, mended);
  witness_stop(run->witness);
  if (mended) {
    report_claim(report, verdict_converged(run->fleet, run->witness, run_standby(run), CONVERGE_S),
                 "all controllers and brokers have the same metadata at the same version");
    report_claim(report, read_everything(run), "every controller was read at the end");
    gboolean runs = fleet_state(run->fleet, fleet_controllers(run->fleet)) == FLEET_RUNNING;
    if (!run->traffic)
      report_claim(report, runs ? NULL : g_strdup("it ended"), "the broker went on without a restart");
  }
  g_autoptr(GString) explain = g_string_new(NULL);
  report_claim(report, check_history(run, explain), "the history is linearizable, to the reads at the end");
  report_claim(report, g_strdup(witness_contradiction(run->witness)), "no version was ever two things (%u images)",
               witness_images(run->witness));
  report_claim(report, mended ? end_processes(run) : NULL, "the processes end in order");
  char *wrong = verdict_terms(run->fleet, &terms);
  report_claim(report, wrong, "no term had two active controllers (%u terms)", terms);
  if (mended && run->surgeon) {
    wrong = verdict_logs(run->fleet, run_standby(run), &entries);
    report_claim(report, wrong, "the logs are equal, entry by entry (%u comparisons)", entries);
  }
  report_claim(report, verdict_no_reports(run->fleet), "no log tells of a broken invariant");
}
