/* Producers and consumers of a cluster on Kubernetes, while a script does things to it; and what they saw, judged. They
 * stand outside of the cluster: some know the brokers by name, some the one address of the Service alone.
 *
 *   clients BROKER,BROKER,... DOOR [LEDGER]
 *
 * Lines on standard input tell what goes on, and each is answered with "." on a line of its own:
 *
 *   start         a topic, and everybody begins
 *   begin         something will be done to the cluster
 *   end NAME      it is done, and everything is well: tells how long writes were not answered meanwhile
 *   whole         waits until all partitions are led, and all their replicas in sync
 *   judge         everybody ends; each broker leads in turn and is read; the ledger is checked, and kept in LEDGER
 *
 * Lines that begin with "ok" and "not ok" are claims. A line that can't be answered ends the program with 1.
 * Threads: the main one waits for lines; the traffic has its own. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/records/anomalies.h"
#include "tests/chaos/traffic/traffic.h"

#define SETTLE_S 120
#define LINE_MAX_BYTES 200
#define ANSWERED_S 60
#define AIM_US (2 * G_USEC_PER_SEC)
#define EXIT_USAGE 2

typedef struct {
  Traffic *traffic;
  const char *ledger_path;
  gint64 began_us;
  guint steps, failed;
} Clients;

/* @wrong: taken; NULL when the claim holds */
static void claim(Clients *clients, char *wrong, const char *text) {
  printf("%s %s\n", wrong ? "not ok" : "ok", text);
  if (wrong)
    printf("   %s\n", wrong);
  clients->failed += wrong != NULL;
  g_free(wrong);
}

static void start(Clients *clients) {
  claim(clients, traffic_start(clients->traffic), "a topic with three replicas is made, and written to");
}

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

static void end_step(Clients *clients, const char *name) {
  char *wrong = wait_for_answers(clients->traffic);
  gint64 now_us = g_get_monotonic_time();
  gint64 direct_us = traffic_longest_silence_us(clients->traffic, clients->began_us, now_us, FALSE);
  gint64 door_us = traffic_longest_silence_us(clients->traffic, clients->began_us, now_us, TRUE);
  g_autofree char *text = g_strdup_printf(
      "%s: took %.1f s; a partition was without an answered write for %.2f s at most%s, through the one address %.2f s",
      name, (double)(now_us - clients->began_us) / G_USEC_PER_SEC, (double)direct_us / G_USEC_PER_SEC,
      direct_us > AIM_US ? " (aim: 2 s)" : "", (double)door_us / G_USEC_PER_SEC);
  claim(clients, wrong, text);
  clients->steps++;
}

static void judge(Clients *clients) {
  Traffic *traffic = clients->traffic;
  g_autoptr(GString) explain = g_string_new(NULL);
  AnomalyReport report;
  traffic_stop_writing(traffic, TRAFFIC_FLUSH_MS);
  claim(clients, traffic_settle(traffic, SETTLE_S), "all partitions are led, and all replicas in sync");
  traffic_stop(traffic);
  claim(clients, traffic_read_all(traffic),
        "brokers 1 to 3 each led every partition in turn, and were read from the start");
  guint anomalies = anomalies_find(traffic_ledger(traffic), explain, &report);
  g_autofree char *text =
      g_strdup_printf("nothing is lost, doubled or out of order: %u sends (%u acknowledged), %u reads in %u polls",
                      report.sends, report.acknowledged, report.reads, report.polls);
  claim(clients, anomalies ? g_strdup(explain->str) : NULL, text);
  claim(clients, g_strdup(traffic_trouble(traffic)), "no consumer was told that what it reads next does not exist");
  if (clients->ledger_path)
    ledger_save(traffic_ledger(traffic), clients->ledger_path, NULL);
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

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: clients BROKER,BROKER,... DOOR [LEDGER]\n");
    return EXIT_USAGE;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  g_auto(GStrv) addresses = g_strsplit(argv[1], ",", -1);
  TrafficOptions options = {(const char *const *)addresses, g_strv_length(addresses), "always", 1, argv[2]};
  Clients clients = {.traffic = traffic_new(&options), .ledger_path = argc > 3 ? argv[3] : NULL};
  char line[LINE_MAX_BYTES];
  gboolean goes_on = TRUE;
  while (goes_on && fgets(line, sizeof line, stdin)) {
    g_strchomp(line);
    goes_on = obey(&clients, line);
    if (!goes_on)
      fprintf(stderr, "clients: there is nothing like '%s'\n", line);
  }
  traffic_stop(clients.traffic);
  traffic_free(clients.traffic);
  return goes_on && !clients.failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
