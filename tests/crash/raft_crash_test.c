/* Kill a controller's log at random points of a load, half of the times with the loss of everything that was not
 * synced: each acknowledged write, term and vote is there afterwards, and of the write that was under way all or
 * nothing. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/lose.h"
#include "tests/crash/raft_protocol.h"
#include "tests/crash/runner.h"
#include "tests/shim/shim.h"

#define KILLS 60
/* With another seed another history: CRASH_SEED=n in the environment. */
#define SEED 20260102
#define KILL_MS_MAX 150

typedef struct {
  CrashPlace place;
  GRand *random;
  guint run;
  RaftCrashEvent done, begun; /* the last acknowledged state, and the one after it that may be there or not */
  guint64 acked, bytes_lost;
} Crash;

static void crash_init(Crash *crash) {
  const char *seed = getenv("CRASH_SEED");
  *crash = (Crash){.random = g_rand_new_with_seed(seed ? (guint32)atol(seed) : SEED)};
  crash_place_init(&crash->place);
}

static void crash_clear(Crash *crash) {
  crash_place_clear(&crash->place);
  g_rand_free(crash->random);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Crash, crash_clear)

/* Take in events until there are none for now (@timeout_ms) or ever. Returns FALSE at the end. */
static gboolean read_events(Crash *crash, int fd, int timeout_ms) {
  struct pollfd waiting = {.fd = fd, .events = POLLIN};
  if (poll(&waiting, 1, timeout_ms) <= 0)
    return TRUE;
  RaftCrashEvent events[64];
  ssize_t len = read(fd, events, sizeof events);
  if (len <= 0)
    return len < 0 && errno == EINTR;
  for (gsize i = 0; i < (gsize)len / sizeof events[0]; i++) {
    if (events[i].done) {
      crash->done = events[i];
      crash->acked++;
    }
    crash->begun = events[i];
  }
  return TRUE;
}

static pid_t start(Crash *crash, gboolean loses, gboolean lies, const char *fail_sync_after, int *ret_fd) {
  g_autofree char *number = g_strdup_printf("%u", ++crash->run);
  CrashRun run = {.driver = "tests/crash/raft_driver",
                  .run = number,
                  .mode = "-",
                  .loses = loses,
                  .lies = lies,
                  .fail_sync_after = fail_sync_after};
  return crash_start(&crash->place, &run, ret_fd);
}

/* Run the driver for a random while, kill it, and take away what it did not sync. @early: it may be still opening */
static void run_and_kill(Crash *crash, gboolean loses, gboolean torn, gboolean lies, gboolean early) {
  int fd = -1, status = 0;
  pid_t pid = start(crash, loses, lies, NULL, &fd);
  gboolean goes_on = early || read_events(crash, fd, 10000);
  gint64 end_us = g_get_monotonic_time() + (gint64)g_rand_int_range(crash->random, 1, KILL_MS_MAX) * 1000, left_us;
  while (goes_on && (left_us = end_us - g_get_monotonic_time()) > 0)
    goes_on = read_events(crash, fd, (int)(left_us / 1000) + 1);
  kill(pid, SIGKILL);
  while (read_events(crash, fd, -1))
    ;
  close(fd);
  waitpid(pid, &status, 0);
  if (!WIFSIGNALED(status)) {
    g_autofree char *errors = crash_errors(&crash->place);
    shim_fail(__FILE__, __LINE__, "the driver ended by itself: %s", errors);
  }
  if (!loses)
    return;
  LoseReport lost;
  lose_apply(crash->place.folder, crash->place.journal, torn, crash->random, &lost);
  crash->bytes_lost += lost.bytes_lost;
}

static gboolean same_vote(const RaftCrashEvent *a, const RaftCrashEvent *b) {
  return a->term == b->term && a->vote == b->vote;
}

static gboolean same_log(const RaftCrashEvent *a, const RaftCrashEvent *b) {
  return a->commit == b->commit && a->snapshot_index == b->snapshot_index && a->last_index == b->last_index &&
         a->digest == b->digest;
}

static char *say(const RaftCrashEvent *state) {
  return g_strdup_printf("term %lu vote %lu commit %lu snapshot %lu last %lu digest %08lx", (gulong)state->term,
                         (gulong)state->vote, (gulong)state->commit, (gulong)state->snapshot_index,
                         (gulong)state->last_index, (gulong)state->digest);
}

/* The folder holds what was acknowledged, and maybe the write that was under way: a vote goes before its log. Returns
 * NULL, or what is wrong; owned by the caller. */
static char *verify(Crash *crash) {
  g_autoptr(RaftLogStore) store = NULL;
  g_autoptr(GBytes) snapshot = NULL;
  RaftStart loaded = {0};
  g_autoptr(Failure) failure = raft_log_store_open(crash->place.folder, TRUE, 1, &store);
  if (!failure)
    failure = raft_log_store_load(store, &loaded, &snapshot);
  if (failure)
    return g_strdup(failure_message(failure));
  RaftCrashEvent found = raft_crash_state(&loaded.hard_state, &loaded.snapshot, snapshot, loaded.entries);
  raft_log_start_clear(&loaded);
  gboolean old =
      same_log(&found, &crash->done) && (same_vote(&found, &crash->done) || same_vote(&found, &crash->begun));
  gboolean new = same_log(&found, &crash->begun) && same_vote(&found, &crash->begun);
  g_autofree char *is = say(&found), *done = say(&crash->done), *begun = say(&crash->begun);
  crash->done = crash->begun = found;
  return old || new ? NULL : g_strdup_printf("%s; acknowledged %s; under way %s", is, done, begun);
}

TEST(raft_crash, what_was_acknowledged_survives_60_kills) {
  g_auto(Crash) crash;
  crash_init(&crash);
  for (guint i = 0; i < KILLS && !shim_test_has_failed(); i++) {
    gboolean loses = i % 2 == 1;
    run_and_kill(&crash, loses, i % 4 == 3, FALSE, i >= 5 && i % 5 == 0);
    g_autofree char *wrong = verify(&crash);
    if (wrong)
      shim_fail(__FILE__, __LINE__, "kill %u (%s): %s", i, loses ? "with what was not synced lost" : "plain", wrong);
  }
  EXPECT_TRUE(crash.acked > (guint64)KILLS * 3);
  EXPECT_TRUE(crash.bytes_lost > 0);
  printf("%d kills: %lu writes acknowledged; %lu unsynced bytes lost\n", KILLS, (gulong)crash.acked,
         (gulong)crash.bytes_lost);
}

/* That the test has teeth: with a disk that only says that it synced, acknowledged writes are missed. */
TEST(raft_crash, a_disk_that_lies_is_found_out) {
  g_auto(Crash) crash;
  crash_init(&crash);
  run_and_kill(&crash, TRUE, FALSE, FALSE, FALSE);
  g_autofree char *wrong = verify(&crash);
  EXPECT_NULL(wrong);
  guint kills = 0;
  for (; kills < 10 && !wrong; kills++) {
    run_and_kill(&crash, TRUE, FALSE, TRUE, FALSE);
    wrong = verify(&crash);
  }
  EXPECT_TRUE(wrong != NULL);
  printf("found out after %u kills: %s\n", kills, wrong ? wrong : "");
}

/* Whichever sync it is: of RocksDB's write-ahead log, of CONTROLLER, of a snapshot's file, of the folder; also while
 * the folder is opened, which must not be called damage. */
TEST(raft_crash, a_failed_sync_ends_the_process) {
  guint of_controller = 0, of_others = 0;
  g_auto(Crash) crash;
  crash_init(&crash);
  run_and_kill(&crash, FALSE, FALSE, FALSE, FALSE); /* so that the folder is there */
  for (guint n = 0; n < 32 && !shim_test_has_failed(); n++) {
    g_autofree char *after = g_strdup_printf("%u", n);
    int fd = -1, status = 0;
    pid_t pid = start(&crash, TRUE, FALSE, after, &fd);
    while (read_events(&crash, fd, -1))
      ;
    close(fd);
    waitpid(pid, &status, 0);
    g_autofree char *errors = crash_errors(&crash.place);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ_INT(RAFT_LOG_EXIT_STATUS, WEXITSTATUS(status));
    EXPECT_CONTAINS(errors, "could not be written");
    *(strstr(errors, "/CONTROLLER could not") ? &of_controller : &of_others) += 1;
    g_autofree char *wrong = verify(&crash);
    EXPECT_NULL(wrong);
  }
  EXPECT_TRUE(of_controller > 0);
  EXPECT_TRUE(of_others > 0);
}
