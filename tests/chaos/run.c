/* A run from its start to its end; see run.h. */
#include "tests/chaos/run.h"

#include <sys/wait.h>

static void say_line(const char *line, gpointer data) {
  report_say(data, "%s", line);
}

/* ---- Start ---- */

guint run_standby(const Run *run) {
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
  for (guint i = 0; i < 6000 && !*run->stop; i++) {
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

static char *start_traffic(Run *run) {
  guint brokers = fleet_brokers(run->fleet);
  if (!brokers)
    return NULL;
  g_autofree const char **addresses = g_new0(const char *, brokers);
  for (guint i = 0; i < brokers; i++)
    addresses[i] = fleet_client_address(run->fleet, fleet_controllers(run->fleet) + i);
  TrafficOptions traffic = {addresses, brokers, run->options.flush, (guint64)run->options.seed};
  run->traffic = traffic_new(&traffic);
  return traffic_start(run->traffic);
}

static char *start(Run *run) {
  const RunOptions *options = &run->options;
  guint controllers = options->controllers == 1 ? 1 : (guint)options->controllers + 1;
  char *wrong = make_network(run, controllers + (guint)options->brokers);
  if (wrong)
    return wrong;
  FleetOptions fleet = {
      .net = run->net,
      .programs = options->programs,
      .preload = options->preload,
      .folder = run->folder,
      .controllers = controllers,
      .brokers = (guint)options->brokers,
      .seed = (guint64)options->seed,
  };
  run->fleet = fleet_new(&fleet);
  wrong = start_controllers(run);
  if (wrong)
    return wrong;
  for (guint i = controllers; i < fleet_nodes(run->fleet); i++)
    fleet_start(run->fleet, i);
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
  wrong = wait_for_writes(run);
  return wrong ? wrong : start_traffic(run);
}

/* ---- Faults ---- */

static void run_nemesis(Run *run) {
  const RunOptions *options = &run->options;
  NemesisOptions nemesis = {
      .fleet = run->fleet,
      .net = run->net,
      .load = run->load,
      .surgeon = run->surgeon,
      .traffic = run->traffic,
      .is_synced = g_str_equal(options->flush, "always"),
      .seed = (guint64)options->seed,
      .at_once = (guint)options->at_once,
      .can_lose = options->preload != NULL,
      .only = (const char *const *)options->only,
      .say = say_line,
      .data = run->report,
  };
  run->nemesis = nemesis_new(&nemesis);
  gint64 seconds = options->seconds ? options->seconds : options->minutes * 60;
  if (options->tour)
    nemesis_tour(run->nemesis, run->stop);
  else
    nemesis_run(run->nemesis, g_get_monotonic_time() + seconds * G_USEC_PER_SEC, run->stop);
}

/* ---- The end ---- */

static void keep_what_tells(Run *run) {
  g_autofree char *path = g_build_filename(run->folder, "history", NULL);
  if (run->load)
    history_save(load_history(run->load), path, NULL);
  g_autofree char *ledger = g_build_filename(run->folder, "ledger", NULL);
  if (run->traffic)
    ledger_save(traffic_ledger(run->traffic), ledger, NULL);
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
  if (run->traffic)
    traffic_stop(run->traffic);
  if (run->witness)
    witness_stop(run->witness);
  g_clear_pointer(&run->witness, witness_free);
  g_clear_pointer(&run->fleet, fleet_free);
  g_clear_pointer(&run->net, net_free);
  report_claim(run->report, nothing_left(), "no process and no namespace is left");
  if (run->options.keep || report_failures(run->report) > 0)
    keep_what_tells(run);
  else
    fleet_remove_folder(run->folder);
  g_clear_pointer(&run->load, load_free);
  g_clear_pointer(&run->traffic, traffic_free);
}

guint run_all(Run *run) {
  const RunOptions *options = &run->options;
  report_say(run->report, "%d controller(s), %d broker(s), %d clients, seed %" G_GINT64_FORMAT, options->controllers,
             MAX(options->brokers, 1), options->clients, options->seed);
  char *wrong = start(run);
  report_claim(run->report, wrong, "the cluster comes up");
  if (report_failures(run->report) == 0 && run->load) {
    run_nemesis(run);
    run_judge(run);
    run_print_table(run);
  }
  finish(run);
  report_say(run->report, "the same faults again: ./dev chaos %s --seed %" G_GINT64_FORMAT "%s",
             options->brokers ? "cluster" : "controllers", options->seed, options->tour ? " --tour" : "");
  report_close(run->report);
  return report_failures(run->report);
}
