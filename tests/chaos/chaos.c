/* The program: its options, and the checkers alone. A run is in run.h; see README.md of this folder. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/linear.h"
#include "tests/chaos/records/anomalies.h"
#include "tests/chaos/run.h"

#define EXIT_USAGE 2

/* Set by a signal. */
static volatile gint stop_asked;

static void on_signal(int number) {
  (void)number;
  stop_asked = 1;
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

static int check_records_file(const char *path) {
  g_autoptr(GError) error = NULL;
  g_autoptr(Ledger) ledger = ledger_load(path, &error);
  if (!ledger) {
    fprintf(stderr, "%s\n", error->message);
    return EXIT_USAGE;
  }
  g_autoptr(GString) explain = g_string_new(NULL);
  guint anomalies = anomalies_find(ledger, explain, NULL);
  printf("%s%u anomalies\n", explain->str, anomalies);
  return anomalies ? EXIT_FAILURE : EXIT_SUCCESS;
}

static gboolean parse(RunOptions *options, int argc, char **argv) {
  const GOptionEntry entries[] = {
      {"minutes", 0, 0, G_OPTION_ARG_INT, &options->minutes, "how long there are faults (10)", "N"},
      {"seconds", 0, 0, G_OPTION_ARG_INT, &options->seconds, "the same in seconds", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &options->seed, "of the faults and of the load (random)", "S"},
      {"tour", 0, 0, G_OPTION_ARG_NONE, &options->tour, "every kind of fault once, one after the other", NULL},
      {"only", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->only, "this kind of fault, and others named so", "NAME"},
      {"controllers", 0, 0, G_OPTION_ARG_INT, &options->controllers, "1, 3 or 5; and one stands by (3)", "N"},
      {"brokers", 0, 0, G_OPTION_ARG_INT, &options->brokers,
       "3: they are hit too, while records flow; 0: there is one, left alone (0)", "N"},
      {"flush", 0, 0, G_OPTION_ARG_STRING, &options->flush,
       "of records: always, interval, os; but for always no broker loses what it did not sync (always)", "WHEN"},
      {"clients", 0, 0, G_OPTION_ARG_INT, &options->clients, "that create, change, delete and read topics (5)", "N"},
      {"pause-ms", 0, 0, G_OPTION_ARG_INT, &options->pause_ms, "of a client between two operations (40)", "MS"},
      {"at-once", 0, 0, G_OPTION_ARG_INT, &options->at_once, "faults of one round at most (3)", "N"},
      {"keep", 0, 0, G_OPTION_ARG_NONE, &options->keep, "keep logs and data also when all is well", NULL},
      {"no-namespaces", 0, 0, G_OPTION_ARG_NONE, &options->no_namespaces, "on loopback: nothing is cut off", NULL},
      {"programs", 0, 0, G_OPTION_ARG_FILENAME, &options->programs, "folder of milena-controller and milena-broker",
       "DIR"},
      {"preload", 0, 0, G_OPTION_ARG_FILENAME, &options->preload, "the library that notes what is not synced", "FILE"},
      {"folder", 0, 0, G_OPTION_ARG_FILENAME, &options->folder, "for data and logs (below the temporary one)", "DIR"},
      {"check", 0, 0, G_OPTION_ARG_FILENAME, &options->check, "only check a history that was kept", "FILE"},
      {"check-records", 0, 0, G_OPTION_ARG_FILENAME, &options->check_records, "only check a ledger that was kept",
       "FILE"},
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
  gboolean only_checks = options->check || options->check_records;
  if ((options->brokers != 0 && options->brokers != 3) || (options->brokers && options->controllers == 1)) {
    fprintf(stderr, "chaos: no brokers are hit, or 3, and then there are 3 or 5 controllers; see --help\n");
    return FALSE;
  }
  static const char *const FLUSHES[] = {"always", "interval", "os", NULL};
  if (!g_strv_contains(FLUSHES, options->flush)) {
    fprintf(stderr, "chaos: --flush is always, interval or os\n");
    return FALSE;
  }
  if (!fits || options->clients < 1 || options->pause_ms < 0 || options->at_once < 1 ||
      (!only_checks && !options->programs)) {
    fprintf(stderr, "chaos: 1, 3 or 5 controllers, at least one client, and --programs are needed; see --help\n");
    return FALSE;
  }
  return TRUE;
}

static void options_clear(RunOptions *options) {
  g_free(options->programs);
  g_free(options->preload);
  g_free(options->folder);
  g_free(options->check);
  g_free(options->check_records);
  g_free(options->flush);
  g_strfreev(options->only);
}

int main(int argc, char **argv) {
  Run run = {
      .options = {.minutes = 10,
                  .controllers = 3,
                  .clients = 5,
                  .pause_ms = 40,
                  .at_once = 3,
                  .seed = g_random_int_range(1, 1000000),
                  .flush = g_strdup("always")},
      .stop = &stop_asked,
  };
  if (!parse(&run.options, argc, argv))
    return EXIT_USAGE;
  if (run.options.check)
    return check_file(run.options.check);
  if (run.options.check_records)
    return check_records_file(run.options.check_records);
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
  guint failed = run_all(&run);
  report_free(run.report);
  g_free(run.no_net);
  options_clear(&run.options);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
