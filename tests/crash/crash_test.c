/* Kill the store at random points of a heavy load, and find every acknowledged batch again.
 *
 * Half of the kills are followed by what a power cut would take besides (lose_unsynced.c). That this has teeth is shown
 * by a driver that acknowledges without waiting for the sync: it must be found out. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/rocks/log_store.h"
#include "tests/crash/crash_check.h"
#include "tests/crash/lose.h"
#include "tests/crash/runner.h"
#include "tests/shim/shim.h"

#define KILLS 50
/* With another seed another history: CRASH_SEED=n in the environment. */
#define SEED 20260101

typedef struct {
  CrashPlace place;
  GRand *random;
  CrashCheck *check;
  guint run;
} Crash;

static void crash_init(Crash *crash) {
  const char *seed = getenv("CRASH_SEED");
  *crash = (Crash){.random = g_rand_new_with_seed(seed ? (guint32)atol(seed) : SEED), .check = crash_check_new()};
  crash_place_init(&crash->place);
}

static void crash_clear(Crash *crash) {
  crash_place_clear(&crash->place);
  g_rand_free(crash->random);
  crash_check_free(crash->check);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Crash, crash_clear)

typedef struct {
  const char *ack;
  gboolean early;              /* the time until the kill counts from the start: it may hit the opening */
  gboolean torn;               /* of what was not synced, a part stays */
  gboolean loses;              /* under the preload */
  const char *fail_sync_after; /* or NULL */
} RunMode;

/* Start the driver. Returns its pid; *@ret_fd: its events. */
static pid_t start_driver(Crash *crash, const RunMode *mode, int *ret_fd) {
  g_autofree char *number = g_strdup_printf("%u", ++crash->run);
  CrashRun run = {.driver = "tests/crash/crash_driver",
                  .run = number,
                  .mode = mode->ack,
                  .loses = mode->loses,
                  .fail_sync_after = mode->fail_sync_after};
  return crash_start(&crash->place, &run, ret_fd);
}

/* Take in events until there are none for now (@timeout_ms) or ever. Returns FALSE at the end. */
static gboolean read_events(Crash *crash, int fd, int timeout_ms) {
  struct pollfd waiting = {.fd = fd, .events = POLLIN};
  if (poll(&waiting, 1, timeout_ms) <= 0)
    return TRUE;
  CrashEvent events[128];
  ssize_t len = read(fd, events, sizeof events); /* whole events: they are written atomically, and read by multiples */
  if (len <= 0)
    return len < 0 && errno == EINTR;
  for (gsize i = 0; i < (gsize)len / sizeof events[0]; i++)
    crash_check_event(crash->check, &events[i]);
  return TRUE;
}

/* Run the driver for a random while, kill it, and take away what it did not sync. */
static void run_and_kill(Crash *crash, const RunMode *mode, LoseReport *ret_lost) {
  int fd = -1;
  pid_t pid = start_driver(crash, mode, &fd);
  gboolean goes_on = mode->early || read_events(crash, fd, 10000); /* its first acknowledgement: it has started */
  gint64 end_us = g_get_monotonic_time() + (gint64)g_rand_int_range(crash->random, 1, 400) * 1000;
  gint64 left_us;
  while (goes_on && (left_us = end_us - g_get_monotonic_time()) > 0)
    goes_on = read_events(crash, fd, (int)(left_us / 1000) + 1);
  kill(pid, SIGKILL);
  while (read_events(crash, fd, -1))
    ;
  close(fd);
  int status;
  waitpid(pid, &status, 0);
  if (!WIFSIGNALED(status)) {
    g_autofree char *errors = crash_errors(&crash->place);
    shim_fail(__FILE__, __LINE__, "the driver ended by itself: %s", errors);
  }
  *ret_lost = (LoseReport){0};
  if (mode->loses)
    lose_apply(crash->place.folder, crash->place.journal, mode->torn, crash->random, ret_lost);
}

TEST(crash, every_acknowledged_batch_survives_50_kills) {
  g_auto(Crash) crash;
  crash_init(&crash);
  guint64 acked = 0, bytes_lost = 0, logged_groups = 0, bulk_groups = 0, surplus_cuts = 0;
  guint unclean = 0;
  CrashReport report = {0};
  for (guint i = 0; i < KILLS && !shim_test_has_failed(); i++) {
    RunMode mode = {.ack = "synced", .loses = i % 2 == 1, .torn = i % 4 == 3, .early = i >= 5 && i % 5 == 0};
    LoseReport lost;
    run_and_kill(&crash, &mode, &lost);
    crash_check_verify(crash.check, crash.place.folder, i + 1 == KILLS, &report);
    acked += report.acked;
    bytes_lost += lost.bytes_lost;
    logged_groups += report.logged_groups;
    bulk_groups += report.bulk_groups;
    surplus_cuts += report.surplus_cuts;
    unclean += !report.was_clean || mode.early;
    if (report.missing || report.faults)
      shim_fail(__FILE__, __LINE__, "kill %u (%s): %u missing, %u faults: %s", i,
                mode.loses ? "with what was not synced lost" : "plain", (unsigned)report.missing,
                (unsigned)report.faults, report.first);
  }
  EXPECT_TRUE(acked > (guint64)KILLS * 100);
  EXPECT_TRUE(bytes_lost > 0);
  EXPECT_TRUE(logged_groups > KILLS); /* the load reaches both ways of writing */
  EXPECT_TRUE(bulk_groups > KILLS);
  EXPECT_EQ_INT(KILLS, unclean);
  printf(
      "%d kills: %lu batches acknowledged, %lu missing; %lu in the logs, which the load cuts too; %lu unsynced bytes "
      "lost; %lu groups logged, %lu in bulk, which left behind what %lu logs were cut of\n",
      KILLS, (unsigned long)acked, (unsigned long)report.missing, (unsigned long)report.found,
      (unsigned long)bytes_lost, (unsigned long)logged_groups, (unsigned long)bulk_groups, (unsigned long)surplus_cuts);
}

TEST(crash, acknowledging_before_the_sync_is_found_out) {
  g_auto(Crash) crash;
  crash_init(&crash);
  RunMode mode = {.ack = "written", .loses = TRUE};
  CrashReport report = {0};
  guint kills = 0;
  while (kills < 10 && report.missing == 0) {
    LoseReport lost;
    run_and_kill(&crash, &mode, &lost);
    kills++;
    crash_check_verify(crash.check, crash.place.folder, FALSE, &report);
  }
  EXPECT_TRUE(report.missing > 0);
  EXPECT_EQ_INT(0, report.faults); /* lost, but not damaged */
  printf("found out after %u kills: %lu acknowledged batches missing; %s\n", kills, (unsigned long)report.missing,
         report.first);
}

TEST(crash, a_failed_sync_ends_the_process) {
  g_auto(Crash) crash;
  crash_init(&crash);
  RunMode mode = {.ack = "synced", .loses = TRUE, .fail_sync_after = "60"};
  int fd = -1;
  pid_t pid = start_driver(&crash, &mode, &fd);
  while (read_events(&crash, fd, -1))
    ;
  close(fd);
  int status;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ_INT(74, WEXITSTATUS(status));
  g_autofree char *errors = crash_errors(&crash.place);
  EXPECT_CONTAINS(errors, "ending the process; check the disk");
  EXPECT_CONTAINS(errors, "failed (");
  /* What was acknowledged before is there, whatever became of the rest. */
  LoseReport lost;
  lose_apply(crash.place.folder, crash.place.journal, FALSE, crash.random, &lost);
  CrashReport report;
  crash_check_verify(crash.check, crash.place.folder, TRUE, &report);
  EXPECT_TRUE(report.acked > 0);
  EXPECT_EQ_STR("", report.first);
  EXPECT_FALSE(report.was_clean);
}

/* Opening syncs as well, and says "damaged" of what cannot be opened: of a full or failing disk that would be untrue,
 * and have somebody throw a good store away. */
TEST(crash, a_failed_sync_while_it_opens_ends_the_process_too) {
  g_auto(Crash) crash;
  crash_init(&crash);
  LoseReport lost;
  run_and_kill(&crash, &(RunMode){.ack = "synced"}, &lost); /* so that there is a store */
  guint of_database = 0, of_note = 0;
  for (guint n = 0; n < 24 && !shim_test_has_failed(); n++) {
    g_autofree char *after = g_strdup_printf("%u", n);
    int fd = -1, status = 0;
    pid_t pid = start_driver(&crash, &(RunMode){.ack = "synced", .loses = TRUE, .fail_sync_after = after}, &fd);
    while (read_events(&crash, fd, -1))
      ;
    close(fd);
    waitpid(pid, &status, 0);
    g_autofree char *errors = crash_errors(&crash.place);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ_INT(LOG_STORE_EXIT_STATUS, WEXITSTATUS(status));
    EXPECT_CONTAINS(errors, "ending the process; check the disk");
    of_database += strstr(errors, "opening the database failed") != NULL;
    of_note += strstr(errors, "noting that the store is in use failed") != NULL;
  }
  EXPECT_TRUE(of_database > 0);
  EXPECT_TRUE(of_note > 0);
}
