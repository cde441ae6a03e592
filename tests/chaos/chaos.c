/* Controllers as real processes, under faults: see README.md of this folder.
 *
 *   start, bootstrap ──► clients and witness ──► nemesis: faults, mending ──► all is mended ──► clients stop, final
 * reads ──► processes end ──► verdicts
 *
 * Owning threads: the main one runs the nemesis; clients, witness and surgeon have their own. */
#include <glib/gstdio.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/chaos/linear.h"
#include "tests/chaos/nemesis.h"
#include "tests/chaos/report.h"
#include "tests/chaos/verdict.h"

#define CONVERGE_S 60
#define FINAL_READER 1000 /* client number of the reads at the end: plus the controller's */
#define EXIT_USAGE 2

typedef struct {
  gint minutes, seconds, controllers, clients, pause_ms;
  gint64 seed;
  gboolean tour, keep, no_namespaces;
  char *programs, *preload, *folder, *check;
  char **only;
} Options;

typedef struct {
  Options options;
  Report *report;
  Net *net;
  Fleet *fleet;
  Load *load;
  Witness *witness;
  Surgeon *surgeon;
  Nemesis *nemesis;
  char *folder;
  char *no_net; /* why there are no namespaces, or NULL */
} Run;

/* Set by a signal: the run ends as if its time were over. */
static volatile gint stop_asked;

static void on_signal(int number) {
  (void)number;
  stop_asked = 1;
}

static void say_line(const char *line, gpointer data) {
  report_say(data, "%s", line);
}

/* ---- Start ---- */

static guint standby_of(const Run *run) {
  return run->surgeon ? surgeon_standby(run->surgeon) : G_MAXUINT;
}

static char *make_network(Run *run, guint hosts) {
  run->no_net = run->options.no_namespaces ? g_strdup("they were not asked for") : net_enter();
  if (!run->no_net)
    return net_new(hosts, &run->net);
  report_say(run->report, "No network namespaces (%s): nothing can be cut off.", run->no_net);
  run->net = net_new_loopback(hosts + 1);
  return NULL;
}

/* Writes must work before there is anything to break: the broker has to register, and a topic needs it. */
static char *wait_for_writes(Run *run) {
  for (guint i = 0; i < 6000 && !stop_asked; i++) {
    char *wrong = fleet_look(run->fleet);
    if (wrong || load_writes_ok(run->load) > 0)
      return wrong;
    g_usleep(10000);
  }
  return g_strdup("no topic could be created within a minute");
}

static char *start_controllers(Run *run) {
  guint members = (guint)run->options.controllers;
  if (members == 1) {
    fleet_start_alone(run->fleet, 0);
    return NULL;
  }
  for (guint i = 0; i < members; i++)
    fleet_start(run->fleet, i);
  return surgeon_bootstrap(run->fleet, members);
}

static char *start(Run *run) {
  const Options *options = &run->options;
  guint controllers = options->controllers == 1 ? 1 : (guint)options->controllers + 1;
  char *wrong = make_network(run, controllers);
  if (wrong)
    return wrong;
  FleetOptions fleet = {
      .net = run->net,
      .programs = options->programs,
      .preload = options->preload,
      .folder = run->folder,
      .controllers = controllers,
      .seed = (guint64)options->seed,
  };
  run->fleet = fleet_new(&fleet);
  wrong = start_controllers(run);
  if (wrong)
    return wrong;
  fleet_start_broker(run->fleet);
  g_autofree const char **addresses = g_new0(const char *, controllers);
  for (guint i = 0; i < controllers; i++)
    addresses[i] = fleet_client_address(run->fleet, i);
  LoadOptions load = {addresses, controllers, (guint)options->clients, (guint)options->pause_ms,
                      (guint64)options->seed};
  run->load = load_new(&load);
  run->witness = witness_new(run->fleet);
  if (controllers > 1)
    run->surgeon = surgeon_new(run->fleet, controllers - 1, (guint64)options->seed, say_line, run->report);
  load_start(run->load);
  witness_start(run->witness, 100);
  return wait_for_writes(run);
}

/* ---- Faults ---- */

static void run_nemesis(Run *run) {
  const Options *options = &run->options;
  NemesisOptions nemesis = {
      .fleet = run->fleet,
      .net = run->net,
      .load = run->load,
      .surgeon = run->surgeon,
      .seed = (guint64)options->seed,
      .can_lose = options->preload != NULL,
      .only = (const char *const *)options->only,
      .say = say_line,
      .data = run->report,
  };
  run->nemesis = nemesis_new(&nemesis);
  gint64 seconds = options->seconds ? options->seconds : options->minutes * 60;
  if (options->tour)
    nemesis_tour(run->nemesis, &stop_asked);
  else
    nemesis_run(run->nemesis, g_get_monotonic_time() + seconds * G_USEC_PER_SEC, &stop_asked);
}

/* ---- The end ---- */

/* Every name, as each controller has it now: what was acknowledged must be there. */
static char *read_everything(Run *run) {
  for (guint i = 0; i < fleet_controllers(run->fleet); i++) {
    const char *address = fleet_client_address(run->fleet, i);
    if (i != standby_of(run) &&
        !witness_read_all(run->witness, address, FINAL_READER + i, load_topics(run->load), load_history(run->load)))
      return g_strdup_printf("%s does not answer", address);
  }
  return NULL;
}

static char *end_processes(Run *run) {
  g_autoptr(GString) wrong = g_string_new(NULL);
  for (guint i = 0; i < fleet_controllers(run->fleet); i++) {
    int status = fleet_state(run->fleet, i) == FLEET_DOWN ? 0 : fleet_terminate(run->fleet, i);
    if (status != 0)
      g_string_append_printf(wrong, "controller %u: exit status %d\n", i + 1, status);
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

static void judge(Run *run) {
  Report *report = run->report;
  guint terms = 0, entries = 0;
  load_stop(run->load);
  witness_stop(run->witness);
  gboolean mended = !nemesis_failure(run->nemesis);
  report_claim(report, g_strdup(nemesis_failure(run->nemesis)),
               "writes succeeded again after each mending (longest: %.1f s), and no process ended unasked",
               (double)nemesis_longest_mend_us(run->nemesis) / G_USEC_PER_SEC);
  if (mended) {
    report_claim(report, verdict_converged(run->fleet, run->witness, standby_of(run), CONVERGE_S),
                 "all controllers and the broker have the same metadata at the same version");
    report_claim(report, read_everything(run), "every controller was read at the end");
    report_claim(report, fleet_broker_runs(run->fleet) ? NULL : g_strdup("it ended"),
                 "the broker went on without a restart");
  }
  g_autoptr(GString) explain = g_string_new(NULL);
  report_claim(report, check_history(run, explain), "the history is linearizable, to the reads at the end");
  report_claim(report, g_strdup(witness_contradiction(run->witness)), "no version was ever two things (%u images)",
               witness_images(run->witness));
  report_claim(report, mended ? end_processes(run) : NULL, "the controllers end in order");
  char *wrong = verdict_terms(run->fleet, &terms);
  report_claim(report, wrong, "no term had two active controllers (%u terms)", terms);
  if (mended && run->surgeon) {
    wrong = verdict_logs(run->fleet, standby_of(run), &entries);
    report_claim(report, wrong, "the logs are equal, entry by entry (%u comparisons)", entries);
  }
  report_claim(report, verdict_no_reports(run->fleet), "no log tells of a broken invariant");
}

/* ---- The table ---- */

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

static void print_table(Run *run) {
  report_say(run->report, "\noperations");
  print_operations(run);
  report_say(run->report, "faults");
  for (guint kind = 0; kind < FAULT_COUNT; kind++) {
    const char *skip = nemesis_skips(run->nemesis, (FaultKind)kind);
    if (!skip)
      report_say(run->report, "  %-16s %4u", nemesis_fault_name((FaultKind)kind),
                 nemesis_count(run->nemesis, (FaultKind)kind));
    else if (!run->options.only)
      report_skip(run->report, skip, "%s", nemesis_fault_name((FaultKind)kind));
  }
  report_say(run->report, "  unsynced bytes taken away: %" G_GUINT64_FORMAT ", ends by a refusing disk: %u",
             nemesis_bytes_lost(run->nemesis), fleet_disk_refusals(run->fleet));
  print_unavailability(run);
}

/* ---- Main ---- */

static void remove_folder(const char *path) {
  g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *below = g_build_filename(path, name, NULL);
    if (g_file_test(below, G_FILE_TEST_IS_DIR))
      remove_folder(below);
    else
      g_unlink(below);
  }
  g_rmdir(path);
}

static void keep_what_tells(Run *run) {
  g_autofree char *path = g_build_filename(run->folder, "history", NULL);
  if (run->load)
    history_save(load_history(run->load), path, NULL);
  report_say(run->report, "logs, data and history are kept in %s", run->folder);
}

/* Everything that was started has ended. */
static char *nothing_left(void) {
  return waitpid(-1, NULL, WNOHANG) < 0 ? NULL : g_strdup("a process of the run is still there");
}

static void finish(Run *run) {
  g_clear_pointer(&run->nemesis, nemesis_free);
  g_clear_pointer(&run->surgeon, surgeon_free);
  if (run->load)
    load_stop(run->load);
  if (run->witness)
    witness_stop(run->witness);
  g_clear_pointer(&run->witness, witness_free);
  g_clear_pointer(&run->fleet, fleet_free);
  g_clear_pointer(&run->net, net_free);
  report_claim(run->report, nothing_left(), "no process and no namespace is left");
  if (run->options.keep || report_failed(run->report) > 0)
    keep_what_tells(run);
  else
    remove_folder(run->folder);
  g_clear_pointer(&run->load, load_free);
}

static int run_all(Run *run) {
  report_say(run->report, "%d controller(s), %d clients, seed %" G_GINT64_FORMAT, run->options.controllers,
             run->options.clients, run->options.seed);
  char *wrong = start(run);
  report_claim(run->report, wrong, "the cluster comes up");
  if (report_failed(run->report) == 0 && run->load) {
    run_nemesis(run);
    judge(run);
    print_table(run);
  }
  finish(run);
  report_say(run->report, "the same faults again: ./dev chaos controllers --seed %" G_GINT64_FORMAT "%s",
             run->options.seed, run->options.tour ? " --tour" : "");
  report_close(run->report);
  return report_failed(run->report) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int check_file(const char *path) {
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) ops = history_load(path, &error);
  if (!ops) {
    fprintf(stderr, "%s\n", error->message);
    return EXIT_USAGE;
  }
  g_autoptr(GString) explain = g_string_new(NULL);
  LinearVerdict verdict = linear_check(ops, 0, explain, NULL);
  printf("%s%s\n", explain->str, verdict == LINEAR_OK ? "linearizable" : "not linearizable, or undecided");
  return verdict == LINEAR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static gboolean parse(Options *options, int argc, char **argv) {
  const GOptionEntry entries[] = {
      {"minutes", 0, 0, G_OPTION_ARG_INT, &options->minutes, "how long there are faults (10)", "N"},
      {"seconds", 0, 0, G_OPTION_ARG_INT, &options->seconds, "the same in seconds", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &options->seed, "of the faults and of the load (random)", "S"},
      {"tour", 0, 0, G_OPTION_ARG_NONE, &options->tour, "every kind of fault once, one after the other", NULL},
      {"only", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->only, "this kind of fault, and others named so", "NAME"},
      {"controllers", 0, 0, G_OPTION_ARG_INT, &options->controllers, "1, 3 or 5; and one stands by (3)", "N"},
      {"clients", 0, 0, G_OPTION_ARG_INT, &options->clients, "that create, change, delete and read topics (5)", "N"},
      {"pause-ms", 0, 0, G_OPTION_ARG_INT, &options->pause_ms, "of a client between two operations (40)", "MS"},
      {"keep", 0, 0, G_OPTION_ARG_NONE, &options->keep, "keep logs and data also when all is well", NULL},
      {"no-namespaces", 0, 0, G_OPTION_ARG_NONE, &options->no_namespaces, "on loopback: nothing is cut off", NULL},
      {"programs", 0, 0, G_OPTION_ARG_FILENAME, &options->programs, "folder of milena-controller and milena-broker",
       "DIR"},
      {"preload", 0, 0, G_OPTION_ARG_FILENAME, &options->preload, "the library that notes what is not synced", "FILE"},
      {"folder", 0, 0, G_OPTION_ARG_FILENAME, &options->folder, "for data and logs (below the temporary one)", "DIR"},
      {"check", 0, 0, G_OPTION_ARG_FILENAME, &options->check, "only check a history that was kept", "FILE"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new("- controllers as real processes, under faults");
  g_option_context_add_main_entries(context, entries, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    fprintf(stderr, "chaos: %s\n", error->message);
    return FALSE;
  }
  for (guint i = 0; options->only && options->only[i]; i++)
    if (!nemesis_is_fault(options->only[i])) {
      fprintf(stderr, "chaos: there is no fault '%s': the table at the end of a run names them\n", options->only[i]);
      return FALSE;
    }
  gboolean fits = options->controllers == 1 || options->controllers == 3 || options->controllers == 5;
  if (!fits || options->clients < 1 || options->pause_ms < 0 || (!options->check && !options->programs)) {
    fprintf(stderr, "chaos: 1, 3 or 5 controllers, at least one client, and --programs are needed; see --help\n");
    return FALSE;
  }
  return TRUE;
}

static void options_clear(Options *options) {
  g_free(options->programs);
  g_free(options->preload);
  g_free(options->folder);
  g_free(options->check);
  g_strfreev(options->only);
}

int main(int argc, char **argv) {
  Run run = {
      .options = {
          .minutes = 10, .controllers = 3, .clients = 5, .pause_ms = 40, .seed = g_random_int_range(1, 1000000)}};
  if (!parse(&run.options, argc, argv))
    return EXIT_USAGE;
  if (run.options.check)
    return check_file(run.options.check);
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  signal(SIGPIPE, SIG_IGN);
  run.report = report_new();
  g_autofree char *template =
      g_build_filename(run.options.folder ? run.options.folder : g_get_tmp_dir(), "milena-chaos-XXXXXX", NULL);
  run.folder = g_mkdtemp(template);
  if (!run.folder) {
    fprintf(stderr, "chaos: no folder can be made at %s\n", template);
    return EXIT_USAGE;
  }
  int status = run_all(&run);
  report_free(run.report);
  g_free(run.no_net);
  options_clear(&run.options);
  return status;
}
