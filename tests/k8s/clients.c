/* Producers, consumers and groups of a cluster on Kubernetes, while a script does things to it; and what they saw,
 * judged. They stand outside of the cluster: some know the brokers by name, some the one address of the Service alone.
 *
 *   clients BROKER,BROKER,... DOOR MEMBERS [LEDGER]
 *
 * MEMBERS is the folder of the programs of groups' members (tests/chaos/groups). Lines on standard input tell what goes
 * on, and each is answered with "." on a line of its own:
 *
 *   start         a topic, and everybody begins
 *   begin         something will be done to the cluster
 *   end NAME      it is done, and everything is well: tells how long writes were not answered meanwhile
 *   whole         waits until all partitions are led, and all their replicas in sync
 *   judge         everybody ends; each broker leads in turn and is read; the ledger is checked, and kept in LEDGER
 *
 * Lines that begin with "ok" and "not ok" are claims. A line that can't be answered ends the program with 1.
 * Threads: the main one waits for lines; the traffic has its own. */
#include <glib/gstdio.h>
#include <milena/milena.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/groups/members.h"
#include "tests/chaos/groups/progress.h"
#include "tests/chaos/records/anomalies.h"
#include "tests/chaos/traffic/traffic.h"

#define SETTLE_S 120
#define CATCH_UP_S 120
#define LINE_MAX_BYTES 200
#define ANSWERED_S 60
#define GROUPS 2 /* one commits after it processes, one before: the first of those that members.h has */
#define MEMBERS_OF_GROUP 2
#define CALL_MS 5000
#define SESSION_MS 5000 /* of members */
#define LEAVE_MS 10000
#define AIM_US (2 * G_USEC_PER_SEC)
#define EXIT_USAGE 2

typedef struct {
  char *name;
  gint64 since_us, until_us;
} Step;

typedef struct {
  Traffic *traffic;
  MilenaClient *client;
  MembersOptions members_options;
  Members *members; /* NULL before they begin */
  char *folder;     /* for their notes */
  const char *ledger_path;
  gint64 began_us;
  GArray *steps; /* of Step */
  guint failed;
} Clients;

/* @wrong: taken; NULL when the claim holds */
static void claim(Clients *clients, char *wrong, const char *text) {
  printf("%s %s\n", wrong ? "not ok" : "ok", text);
  if (wrong)
    printf("   %s\n", wrong);
  clients->failed += wrong != NULL;
  g_free(wrong);
}

/* What a group has not committed of what is there; -1 when nobody tells. */
static gint64 lag_of(Clients *clients, guint group) {
  MilenaGroup *found = NULL;
  gint64 lag = 0;
  MilenaError *error = milena_admin_get_group(clients->client, members_group_name(group), FALSE, CALL_MS, &found);
  for (size_t i = 0; found && i < found->partition_count; i++)
    lag += MAX(found->partitions[i].high_watermark, 0) - MAX(found->partitions[i].committed, 0);
  if (error || !found || found->partition_count < TRAFFIC_PARTITIONS)
    lag = -1;
  milena_error_free(error);
  milena_group_free(found);
  return lag;
}

/* Until the groups have committed all but @behind records at most. */
static char *wait_for_groups(Clients *clients, gint64 behind) {
  gint64 until_us = g_get_monotonic_time() + CATCH_UP_S * G_USEC_PER_SEC;
  for (guint group = 0; group < GROUPS;) {
    gint64 lag = lag_of(clients, group);
    if (lag >= 0 && lag <= behind)
      group++;
    else if (g_get_monotonic_time() > until_us)
      return g_strdup_printf("group %s lags %" G_GINT64_FORMAT " records", members_group_name(group), lag);
    else
      g_usleep(100000);
  }
  return NULL;
}

static void start(Clients *clients) {
  claim(clients, traffic_start(clients->traffic), "a topic with three replicas is made, and written to");
  char *wrong = progress_prepare(clients->client, TRAFFIC_TOPIC, TRAFFIC_PARTITIONS, SESSION_MS);
  clients->members = members_new(&clients->members_options);
  for (guint i = 0; i < GROUPS * MEMBERS_OF_GROUP; i++)
    members_start(clients->members, i);
  claim(clients, wrong ? wrong : wait_for_groups(clients, G_MAXINT64), "two groups read it");
}

/* ---- Steps ---- */

/* Every partition takes writes again: what was done is over only then. */
static char *wait_for_answers(Traffic *traffic) {
  gint64 since_us = g_get_monotonic_time(), until_us = since_us + ANSWERED_S * G_USEC_PER_SEC;
  while (!traffic_is_acknowledged(traffic, TRAFFIC_ALL, since_us)) {
    if (g_get_monotonic_time() > until_us) {
      g_autofree char *silent = traffic_silent_partitions(traffic, since_us);
      return g_strdup_printf("no write was acknowledged in partitions %s", silent);
    }
    g_usleep(10000);
  }
  return NULL;
}

static double seconds_of(gint64 time_us) {
  return (double)time_us / G_USEC_PER_SEC;
}

static void end_step(Clients *clients, const char *name) {
  char *wrong = wait_for_answers(clients->traffic);
  Step step = {g_strdup(name), clients->began_us, g_get_monotonic_time()};
  gint64 direct_us = traffic_longest_silence_us(clients->traffic, step.since_us, step.until_us, FALSE);
  gint64 door_us = traffic_longest_silence_us(clients->traffic, step.since_us, step.until_us, TRUE);
  g_autofree char *text =
      g_strdup_printf("%s: in %.1f s a partition was without an answered write for %.2f s at most%s, through the one "
                      "address for %.2f s",
                      name, seconds_of(step.until_us - step.since_us), seconds_of(direct_us),
                      direct_us > AIM_US ? " (aim: 2 s)" : "", seconds_of(door_us));
  claim(clients, wrong ? wrong : members_look(clients->members), text);
  g_array_append_val(clients->steps, step);
}

/* ---- The end ---- */

/* How long at most a group had no commit answered in a step. */
static gint64 longest_without_commit(const Ledger *ledger, guint32 group, const Step *step) {
  g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(gint64));
  g_autoptr(GHashTable) readers = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < ledger->tenures->len; i++) {
    const LedgerTenure *tenure = &g_array_index(ledger->tenures, LedgerTenure, i);
    if (tenure->group == group)
      g_hash_table_add(readers, GUINT_TO_POINTER(tenure->reader));
  }
  for (guint i = 0; i < ledger->commits->len; i++) {
    const LedgerCommit *commit = &g_array_index(ledger->commits, LedgerCommit, i);
    if (commit->outcome == LEDGER_OK && commit->return_us >= step->since_us && commit->return_us <= step->until_us &&
        g_hash_table_contains(readers, GUINT_TO_POINTER(commit->reader)))
      g_array_append_val(times, commit->return_us);
  }
  return ledger_longest_pause_us(times, step->since_us, step->until_us);
}

static void tell_pauses_of_groups(Clients *clients, const Ledger *ledger) {
  for (guint i = 0; i < clients->steps->len; i++) {
    const Step *step = &g_array_index(clients->steps, Step, i);
    gint64 pause_us = 0;
    for (guint32 group = 0; group < GROUPS; group++)
      pause_us = MAX(pause_us, longest_without_commit(ledger, group, step));
    printf("   %s: a group was without an answered commit for %.2f s at most\n", step->name, seconds_of(pause_us));
  }
}

static void judge_ledger(Clients *clients, gboolean is_complete) {
  g_autoptr(GString) explain = g_string_new(NULL);
  Ledger *ledger = traffic_ledger(clients->traffic);
  AnomalyReport found;
  for (guint32 i = 0; i < GROUPS; i++) {
    LedgerGroup group = {i, i == MEMBERS_AT_MOST_ONCE, is_complete};
    g_array_append_val(ledger->groups, group);
  }
  guint slow;
  claim(clients, members_tell(clients->members, ledger, &slow), "members noted only what can be");
  tell_pauses_of_groups(clients, ledger);
  guint anomalies = anomalies_find(ledger, explain, &found);
  g_autofree char *text = g_strdup_printf("nothing is lost, doubled or out of order: %u sends (%u acknowledged), %u "
                                          "reads in %u polls, %u commits of groups",
                                          found.sends, found.acknowledged, found.reads, found.polls, found.commits);
  claim(clients, anomalies ? g_strdup(explain->str) : NULL, text);
  if (clients->ledger_path)
    ledger_save(ledger, clients->ledger_path, NULL);
}

static void judge(Clients *clients) {
  Traffic *traffic = clients->traffic;
  traffic_stop_writing(traffic, TRAFFIC_FLUSH_MS);
  claim(clients, traffic_settle(traffic, SETTLE_S), "all partitions are led, and all replicas in sync");
  char *missing = wait_for_groups(clients, 0);
  gboolean is_complete = !missing;
  claim(clients, missing, "both groups committed everything");
  claim(clients, members_stop(clients->members, LEAVE_MS), "all members left in order");
  traffic_stop(traffic);
  claim(clients, traffic_read_all(traffic),
        "brokers 1 to 3 each led every partition in turn, and were read from the start");
  judge_ledger(clients, is_complete);
  claim(clients, g_strdup(traffic_trouble(traffic)), "no consumer was told that what it reads next does not exist");
}

static gboolean obey(Clients *clients, const char *line) {
  if (g_str_equal(line, "start"))
    start(clients);
  else if (g_str_equal(line, "begin"))
    clients->began_us = g_get_monotonic_time();
  else if (g_str_has_prefix(line, "end "))
    end_step(clients, line + strlen("end "));
  else if (g_str_equal(line, "whole"))
    claim(clients, traffic_settle(clients->traffic, SETTLE_S), "all replicas are in sync");
  else if (g_str_equal(line, "judge"))
    judge(clients);
  else
    return FALSE;
  printf(".\n");
  return TRUE;
}

/* ---- The program ---- */

static void obey_all(Clients *clients) {
  char line[LINE_MAX_BYTES];
  while (fgets(line, sizeof line, stdin)) {
    g_strchomp(line);
    if (!obey(clients, line)) {
      fprintf(stderr, "clients: there is nothing like '%s'\n", line);
      clients->failed++;
      return;
    }
  }
}

/* The notes go with their folder, which holds nothing else. */
static void remove_notes(const char *folder) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_unlink(path);
  }
  g_rmdir(folder);
}

static void step_clear(gpointer step) {
  g_free(((Step *)step)->name);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: clients BROKER,BROKER,... DOOR MEMBERS [LEDGER]\n");
    return EXIT_USAGE;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  g_auto(GStrv) addresses = g_strsplit(argv[1], ",", -1);
  TrafficOptions options = {(const char *const *)addresses, g_strv_length(addresses), "always", 1, argv[2]};
  Clients clients = {.traffic = traffic_new(&options), .ledger_path = argc > 4 ? argv[4] : NULL};
  clients.folder = g_dir_make_tmp("milena-notes-XXXXXX", NULL);
  clients.steps = g_array_new(FALSE, FALSE, sizeof(Step));
  g_array_set_clear_func(clients.steps, step_clear);
  g_autofree char *member = g_build_filename(argv[3], "member", NULL);
  g_autofree char *stream_member = g_build_filename(argv[3], "stream_member", NULL);
  clients.members_options = (MembersOptions){.program = member,
                                             .stream_program = stream_member,
                                             .bootstrap = argv[1],
                                             .topic = TRAFFIC_TOPIC,
                                             .folder = clients.folder,
                                             .slots = MEMBERS_OF_GROUP};
  MilenaError *error = clients.folder ? milena_client_new(argv[1], NULL, &clients.client) : NULL;
  if (clients.client)
    obey_all(&clients);
  else
    fprintf(stderr, "clients: %s\n", error ? milena_error_message(error) : "there is no folder for notes");
  gboolean is_well = clients.client && !clients.failed;
  milena_error_free(error);
  traffic_stop(clients.traffic);
  traffic_free(clients.traffic);
  members_free(clients.members);
  milena_client_free(clients.client);
  g_array_unref(clients.steps);
  if (clients.folder)
    remove_notes(clients.folder);
  g_free(clients.folder);
  return is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
