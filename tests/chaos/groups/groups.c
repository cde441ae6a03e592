/* Consumer groups under faults: a cluster of real processes, a producer, and members of groups that read and commit in
 * all the ways there are (members.h), while members, coordinators, brokers and controllers are killed, frozen and cut
 * off. In between an operator stops a coordinator, or restarts an instance, and nobody may notice.
 *
 *   start ──► rounds: faults, mending, all groups catch up ──► no more sends ──► all is committed ──► members leave
 *   ──► the ledger is checked ──► processes end
 *
 * The main thread does all of it: the processes die with it. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/groups/faults.h"
#include "tests/chaos/groups/progress.h"
#include "tests/chaos/groups/writer.h"
#include "tests/chaos/records/anomalies.h"
#include "tests/chaos/report.h"
#include "tests/chaos/surgeon.h"
#include "tests/chaos/verdict.h"

#define EXIT_USAGE 2
#define BROKERS 3
#define TOPIC "grouped"
#define PARTITIONS 6
#define CATCH_UP_S 90
#define FLUSH_MS 150000
#define LEAVE_MS 30000
#define CALM_S 60
#define PLANNED_ONE_IN 4 /* rounds */
#define STEP_MS 20

typedef struct {
  gint minutes, seconds, controllers, coordinators, members, pause_ms, at_once, session_ms;
  gint64 seed;
  gboolean keep, no_namespaces, wrong;
  char *programs, *member, *stream_member, *folder;
  char **only;
} Options;

typedef struct {
  Options options;
  Report *report;
  char *folder, *bootstrap;
  Net *net;
  Fleet *fleet;
  Members *members;
  Writer *writer;
  MilenaClient *client;
  FaultsStage stage;
  gint64 start_us, longest_us;
  guint rounds, planned;
  guint *counts;       /* by kind of fault */
  char *stopped_wrong; /* a planned stop that did not go as planned */
  char *failure;
} Run;

static volatile gint stop_asked;

static void on_signal(int number) {
  (void)number;
  stop_asked = 1;
}

/* ---- Start ---- */

static char *look(gpointer data) {
  Run *run = data;
  char *wrong = fleet_look(run->fleet);
  return wrong ? wrong : members_look(run->members);
}

static char *make_network(Run *run) {
  guint hosts = (guint)(run->options.controllers + run->options.coordinators) + BROKERS;
  g_autofree char *none = run->options.no_namespaces ? g_strdup("they were not asked for") : net_enter();
  if (!none)
    return net_new(hosts, &run->net);
  report_say(run->report, "No network namespaces (%s): nothing can be cut off.", none);
  run->net = net_new_loopback(hosts);
  return NULL;
}

static char *start_fleet(Run *run) {
  const Options *options = &run->options;
  FleetOptions fleet = {
      .net = run->net,
      .programs = options->programs,
      .folder = run->folder,
      .controllers = (guint)options->controllers,
      .brokers = BROKERS,
      .coordinators = (guint)options->coordinators,
      .seed = (guint64)options->seed,
  };
  run->fleet = fleet_new(&fleet);
  if (options->controllers == 1)
    fleet_start_alone(run->fleet, 0);
  for (guint i = 0; i < fleet_nodes(run->fleet); i++)
    fleet_start(run->fleet, i);
  g_autoptr(GString) brokers = g_string_new(NULL);
  for (guint i = 0; i < BROKERS; i++)
    g_string_append_printf(brokers, "%s%s", i ? "," : "",
                           fleet_client_address(run->fleet, (guint)options->controllers + i));
  run->bootstrap = g_strdup(brokers->str);
  return options->controllers == 1 ? NULL : surgeon_bootstrap(run->fleet, (guint)options->controllers);
}

static char *start(Run *run) {
  char *wrong = make_network(run);
  if (!wrong)
    wrong = start_fleet(run);
  if (wrong)
    return wrong;
  const Options *options = &run->options;
  MembersOptions members = {options->member, options->stream_member,  run->bootstrap, TOPIC,
                            run->folder,     (guint)options->members, options->wrong};
  run->members = members_new(&members);
  MilenaError *error = milena_client_new(run->bootstrap, NULL, &run->client);
  if (error)
    g_error("no client: %s", milena_error_message(error));
  wrong = progress_prepare(run->client, TOPIC, PARTITIONS, (guint)options->session_ms);
  if (wrong)
    return wrong;
  run->stage.fleet = run->fleet;
  run->stage.net = run->net;
  run->stage.members = run->members;
  run->stage.wrong = &run->stopped_wrong;
  run->writer = writer_new(run->bootstrap, TOPIC, PARTITIONS, (guint)run->options.pause_ms);
  faults_mend(&run->stage); /* all members come */
  return progress_catch_up(run->client, PARTITIONS, CATCH_UP_S, look, run);
}

/* ---- Faults ---- */

static void fail(Run *run, char *why) {
  report_say(run->report, "WRONG: %s", why);
  if (!run->failure)
    run->failure = g_steal_pointer(&why);
  g_free(why);
}

static gboolean goes_on(const Run *run) {
  return !run->failure && !stop_asked;
}

static void wait_ms(Run *run, gint32 least_ms, gint32 most_ms) {
  gint64 until_us = g_get_monotonic_time() + (gint64)g_rand_int_range(run->stage.random, least_ms, most_ms + 1) * 1000;
  while (goes_on(run) && g_get_monotonic_time() < until_us) {
    char *wrong = look(run);
    if (wrong)
      fail(run, wrong);
    g_usleep(STEP_MS * 1000);
  }
}

static gboolean is_chosen(const Run *run, guint kind, gboolean planned) {
  return faults_is_planned(kind) == planned && !faults_skips(&run->stage, kind) &&
         (!run->options.only || g_strv_contains((const char *const *)run->options.only, faults_name(kind)));
}

/* faults_count() when there is none to choose from. */
static guint any_fault(const Run *run, gboolean planned) {
  guint kinds = faults_count(), chosen = 0, found = kinds;
  for (guint i = 0; i < kinds; i++)
    if (is_chosen(run, i, planned) && g_rand_int_range(run->stage.random, 0, (gint32)++chosen) == 0)
      found = i;
  return found;
}

static void inflict(Run *run, gboolean planned) {
  guint kind = any_fault(run, planned);
  if (kind == faults_count())
    return;
  gint64 now_us = g_get_monotonic_time();
  g_autofree char *who = faults_begin(&run->stage, kind);
  run->counts[kind]++;
  report_say(run->report, "%6.1f s  %-32s %s  (at %" G_GINT64_FORMAT " us)",
             (double)(now_us - run->start_us) / G_USEC_PER_SEC, faults_name(kind), who, now_us);
  if (run->stopped_wrong)
    fail(run, g_steal_pointer(&run->stopped_wrong));
}

static void mend(Run *run) {
  gint64 begin_us = g_get_monotonic_time();
  faults_mend(&run->stage);
  char *wrong = progress_catch_up(run->client, PARTITIONS, CATCH_UP_S, look, run);
  gint64 took_us = g_get_monotonic_time() - begin_us;
  if (wrong)
    fail(run, wrong);
  else
    report_say(run->report, "          mended: all groups caught up after %.1f s", (double)took_us / G_USEC_PER_SEC);
  run->longest_us = MAX(run->longest_us, took_us);
}

static void run_faults(Run *run) {
  gint32 faults = g_rand_int_range(run->stage.random, 1, run->options.at_once + 1);
  for (; faults > 0 && goes_on(run); faults--) {
    inflict(run, FALSE);
    wait_ms(run, 50, 1500);
  }
  wait_ms(run, 300, 2 * run->options.session_ms); /* shorter and longer than a session */
  if (goes_on(run))
    mend(run);
}

static char *calm(Run *run) {
  char *wrong = NULL;
  char *text = progress_calm(run->client, (guint)run->options.members, CALM_S, look, run, &wrong);
  if (wrong)
    fail(run, wrong);
  return text;
}

/* Everybody keeps what it reads, and its epoch. */
static void run_planned(Run *run) {
  g_autofree char *before = calm(run);
  if (!goes_on(run))
    return;
  inflict(run, TRUE);
  wait_ms(run, 300, 2 * run->options.session_ms);
  mend(run);
  g_autofree char *after = goes_on(run) ? calm(run) : NULL;
  if (after && !g_str_equal(before, after))
    fail(run, g_strdup_printf("a planned stop moved something. Before:\n%safter:\n%s", before, after));
  run->planned += after != NULL;
}

static void run_rounds(Run *run) {
  const Options *options = &run->options;
  gint64 seconds = options->seconds ? options->seconds : options->minutes * 60;
  gboolean any_planned = any_fault(run, TRUE) < faults_count();
  gboolean any_other = any_fault(run, FALSE) < faults_count();
  run->start_us = g_get_monotonic_time();
  for (; goes_on(run) && g_get_monotonic_time() < run->start_us + seconds * G_USEC_PER_SEC; run->rounds++)
    if (any_planned && (!any_other || g_rand_int_range(run->stage.random, 0, PLANNED_ONE_IN) == 0))
      run_planned(run);
    else
      run_faults(run);
}

/* ---- The end ---- */

static void judge_ledger(Run *run, gboolean is_complete) {
  g_autoptr(Ledger) ledger = ledger_new();
  g_autoptr(GString) explain = g_string_new(NULL);
  AnomalyReport found;
  writer_tell(run->writer, ledger);
  for (guint32 i = 0; i < MEMBERS_GROUPS; i++) {
    LedgerGroup group = {i, i == MEMBERS_AT_MOST_ONCE, is_complete};
    g_array_append_val(ledger->groups, group);
  }
  guint slow = 0;
  report_claim(run->report, members_tell(run->members, ledger, &slow), "members noted only what can be");
  guint anomalies = anomalies_find(ledger, explain, &found);
  report_claim(run->report, anomalies ? g_strdup(explain->str) : NULL,
               "no anomaly in %u sends (%u acknowledged), %u records processed, %u tenures, %u takeovers, %u commits",
               found.sends, found.acknowledged, found.reads, found.tenures, found.takeovers, found.commits);
  report_say(run->report, "   %u times a member polled too late", slow);
  report_claim(run->report, found.takeovers ? NULL : g_strdup("no partition was ever taken over"),
               "partitions were taken over from one another");
  g_autofree char *path = g_build_filename(run->folder, "ledger", NULL);
  ledger_save(ledger, path, NULL);
}

static char *end_processes(Run *run) {
  g_autoptr(GString) wrong = g_string_new(NULL);
  for (guint i = fleet_nodes(run->fleet); i > 0; i--) {
    int status = fleet_terminate(run->fleet, i - 1);
    if (status != 0)
      g_string_append_printf(wrong, "%s: exit status %d\n", fleet_name(run->fleet, i - 1), status);
  }
  return wrong->len ? g_string_free(g_steal_pointer(&wrong), FALSE) : NULL;
}

static void judge(Run *run) {
  gboolean mended = !run->failure;
  report_claim(run->report, g_strdup(run->failure),
               "all groups caught up after each of %u mendings (longest: %.1f s), and no process ended unasked",
               run->rounds, (double)run->longest_us / G_USEC_PER_SEC);
  if (mended)
    report_claim(run->report, NULL, "%u planned stops moved nothing: partitions and epochs stayed", run->planned);
  writer_stop(run->writer, mended ? FLUSH_MS : 0);
  char *wrong = mended ? progress_catch_up(run->client, PARTITIONS, CATCH_UP_S, look, run) : NULL;
  gboolean is_complete = mended && !wrong;
  report_claim(run->report, wrong, "all groups committed everything at the end");
  report_claim(run->report, members_stop(run->members, LEAVE_MS), "all members left in order");
  judge_ledger(run, is_complete);
  report_claim(run->report, mended ? end_processes(run) : NULL, "the processes end in order");
  report_claim(run->report, verdict_no_reports(run->fleet), "no log tells of a broken invariant");
  for (guint i = 0; i < faults_count(); i++)
    report_say(run->report, "  %-34s %u%s%s", faults_name(i), run->counts[i],
               faults_skips(&run->stage, i) ? "  skipped: " : "",
               faults_skips(&run->stage, i) ? faults_skips(&run->stage, i) : "");
}

static guint run_all(Run *run) {
  const Options *options = &run->options;
  report_say(run->report,
             "%d controller(s), %d brokers, %d coordinators, %d groups of %d members, seed %" G_GINT64_FORMAT,
             options->controllers, BROKERS, options->coordinators, MEMBERS_GROUPS, options->members, options->seed);
  run->counts = g_new0(guint, faults_count());
  run->stage.random = g_rand_new_with_seed((guint32)options->seed);
  report_claim(run->report, start(run), "the cluster comes up, and all groups read");
  if (report_failures(run->report) == 0) {
    run_rounds(run);
    judge(run);
  }
  g_clear_pointer(&run->writer, writer_free);
  g_clear_pointer(&run->members, members_free);
  g_clear_pointer(&run->client, milena_client_free);
  g_clear_pointer(&run->fleet, fleet_free);
  g_clear_pointer(&run->net, net_free);
  if (options->keep || report_failures(run->report) > 0)
    report_say(run->report, "logs, data, notes and ledger are kept in %s", run->folder);
  else
    fleet_remove_folder(run->folder);
  report_say(run->report, "the same faults again: ./dev chaos groups --seed %" G_GINT64_FORMAT, options->seed);
  report_close(run->report);
  return report_failures(run->report);
}

/* ---- The program ---- */

static gboolean parse(Options *options, int argc, char **argv) {
  const GOptionEntry entries[] = {
      {"minutes", 0, 0, G_OPTION_ARG_INT, &options->minutes, "how long there are faults (2)", "N"},
      {"seconds", 0, 0, G_OPTION_ARG_INT, &options->seconds, "the same in seconds", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &options->seed, "of the faults (random)", "S"},
      {"only", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->only, "this kind of fault, and others named so", "NAME"},
      {"controllers", 0, 0, G_OPTION_ARG_INT, &options->controllers, "1, 3 or 5 (3)", "N"},
      {"coordinators", 0, 0, G_OPTION_ARG_INT, &options->coordinators, "1 to 4 (2)", "N"},
      {"members", 0, 0, G_OPTION_ARG_INT, &options->members, "of each group, 2 to 12 (3)", "N"},
      {"pause-ms", 0, 0, G_OPTION_ARG_INT, &options->pause_ms, "of the producer between two sends (10)", "MS"},
      {"session-ms", 0, 0, G_OPTION_ARG_INT, &options->session_ms, "of the groups, 2000 or more (4000)", "MS"},
      {"at-once", 0, 0, G_OPTION_ARG_INT, &options->at_once, "faults of one round at most (2)", "N"},
      {"keep", 0, 0, G_OPTION_ARG_NONE, &options->keep, "keep logs and notes also when all is well", NULL},
      {"no-namespaces", 0, 0, G_OPTION_ARG_NONE, &options->no_namespaces, "on loopback: nothing is cut off", NULL},
      {"wrong", 0, 0, G_OPTION_ARG_NONE, &options->wrong,
       "the members of the group that commits before do so after: to see that it is found", NULL},
      {"programs", 0, 0, G_OPTION_ARG_FILENAME, &options->programs, "folder of the cluster's programs", "DIR"},
      {"member", 0, 0, G_OPTION_ARG_FILENAME, &options->member, "the program of a member", "FILE"},
      {"stream-member", 0, 0, G_OPTION_ARG_FILENAME, &options->stream_member, "that of one that is a stream", "FILE"},
      {"folder", 0, 0, G_OPTION_ARG_FILENAME, &options->folder, "for data and logs (below the temporary one)", "DIR"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new("- consumer groups as real processes, under faults");
  g_option_context_add_main_entries(context, entries, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    fprintf(stderr, "groups: %s\n", error->message);
    return FALSE;
  }
  gboolean is_odd = options->controllers == 1 || options->controllers == 3 || options->controllers == 5;
  if (is_odd && options->coordinators >= 1 && options->coordinators <= 4 && options->members >= 2 &&
      options->members <= 12 && options->pause_ms >= 0 && options->at_once >= 1 && options->session_ms >= 2000 &&
      options->programs && options->member && options->stream_member)
    return TRUE;
  fprintf(stderr, "groups: 1, 3 or 5 controllers, 1 to 4 coordinators, 2 to 12 members, sessions of 2,000 ms or more; "
                  "--programs, --member and --stream-member are needed; see --help\n");
  return FALSE;
}

int main(int argc, char **argv) {
  Run run = {.options = {.minutes = 2,
                         .controllers = 3,
                         .coordinators = 2,
                         .members = 3,
                         .session_ms = 4000,
                         .pause_ms = 10,
                         .at_once = 2,
                         .seed = g_random_int_range(1, 1000000)}};
  Options *options = &run.options;
  if (!parse(options, argc, argv))
    return EXIT_USAGE;
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  signal(SIGPIPE, SIG_IGN);
  g_autofree char *template =
      g_build_filename(options->folder ? options->folder : g_get_tmp_dir(), "milena-groups-XXXXXX", NULL);
  run.folder = g_mkdtemp(template);
  if (!run.folder) {
    fprintf(stderr, "groups: no folder can be made at %s\n", template);
    return EXIT_USAGE;
  }
  run.report = report_new();
  guint failed = run_all(&run);
  report_free(run.report);
  g_rand_free(run.stage.random);
  g_free(run.counts);
  g_free(run.failure);
  g_free(run.bootstrap);
  g_free(options->programs);
  g_free(options->member);
  g_free(options->stream_member);
  g_free(options->folder);
  g_strfreev(options->only);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
