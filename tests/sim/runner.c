/* See runner.h.
 *
 * Workers are forked; they take the next seed from a counter that all share, and write what failed into a pipe.
 * Invariant: a worker's slot names the seed that it runs, so that the parent can blame it when the worker ends or
 * hangs. */
#include "tests/sim/runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/base/invariant.h"

#define JOBS_MAX 64
/* Of real time: a run takes milliseconds. */
#define HANGS_AFTER_US (40 * (gint64)G_USEC_PER_SEC)
#define WHY_BYTES_MAX 3000

/* Of the parent and all workers. */
typedef struct {
  _Atomic guint64 next, end; /* seeds that nobody has taken yet */
  struct {
    _Atomic guint64 seed;
    _Atomic gint64 since_us; /* 0: it runs none */
    guint64 sums[RUNNER_SUMS_MAX];
  } slots[JOBS_MAX];
} Shared;

/* In one write, so in one piece. */
typedef struct {
  guint64 seed;
  char why[WHY_BYTES_MAX];
} Report;

typedef struct {
  RunnerFunc func;
  Shared *shared;
  guint jobs;
  pid_t workers[JOBS_MAX]; /* 0: ended */
  int pipe[2];
  guint64 failures, failures_max;
  void (*failed)(guint64 seed, const char *why, gpointer data);
  gpointer data;
} Runner;

static void send_report(int fd, guint64 seed, const char *why) {
  Report report = {.seed = seed};
  g_strlcpy(report.why, why, sizeof report.why);
  while (write(fd, &report, sizeof report) < 0 && errno == EINTR)
    ;
}

static void work(Runner *runner, guint slot) {
  Shared *shared = runner->shared;
  for (;;) {
    guint64 seed = atomic_fetch_add(&shared->next, 1);
    if (seed >= atomic_load(&shared->end))
      break;
    atomic_store(&shared->slots[slot].seed, seed);
    atomic_store(&shared->slots[slot].since_us, g_get_monotonic_time());
    g_autofree char *why = runner->func(seed, shared->slots[slot].sums);
    atomic_store(&shared->slots[slot].since_us, 0);
    if (why)
      send_report(runner->pipe[1], seed, why);
  }
}

static void start_worker(Runner *runner, guint slot) {
  atomic_store(&runner->shared->slots[slot].since_us, 0);
  pid_t pid = fork();
  INVARIANT(pid >= 0, "a process can be started");
  if (pid == 0) {
    close(runner->pipe[0]);
    work(runner, slot);
    _exit(0);
  }
  runner->workers[slot] = pid;
}

static gboolean is_over(const Runner *runner) {
  return runner->failures_max && runner->failures >= runner->failures_max;
}

/* Those that are still in a run when enough have failed. */
static void end_workers(Runner *runner) {
  for (guint slot = 0; slot < runner->jobs; slot++) {
    if (!runner->workers[slot])
      continue;
    kill(runner->workers[slot], SIGKILL);
    waitpid(runner->workers[slot], NULL, 0);
  }
}

static void blame(Runner *runner, guint64 seed, const char *why) {
  runner->failures++;
  runner->failed(seed, why, runner->data);
}

static void read_reports(Runner *runner, int timeout_ms) {
  struct pollfd poller = {.fd = runner->pipe[0], .events = POLLIN};
  Report report;
  while (!is_over(runner) && poll(&poller, 1, timeout_ms) > 0 && (poller.revents & POLLIN)) {
    gsize got = 0;
    while (got < sizeof report) {
      gssize n = read(runner->pipe[0], (char *)&report + got, sizeof report - got);
      INVARIANT(n > 0, "a report comes in one piece");
      got += (gsize)n;
    }
    blame(runner, report.seed, report.why);
    timeout_ms = 0;
  }
}

/* Returns how many workers run. One that ended within a seed is blamed for it, and another goes on. */
static guint look_after_workers(Runner *runner) {
  guint running = 0;
  for (guint slot = 0; slot < runner->jobs; slot++) {
    if (!runner->workers[slot])
      continue;
    int status;
    gint64 since_us = atomic_load(&runner->shared->slots[slot].since_us);
    gboolean hangs = since_us && g_get_monotonic_time() - since_us > HANGS_AFTER_US;
    if (hangs)
      kill(runner->workers[slot], SIGKILL);
    if (waitpid(runner->workers[slot], &status, hangs ? 0 : WNOHANG) == 0) {
      running++;
      continue;
    }
    runner->workers[slot] = 0;
    since_us = atomic_load(&runner->shared->slots[slot].since_us);
    if (!since_us)
      continue;
    g_autofree char *why = hangs
                               ? g_strdup("does not end")
                               : g_strdup_printf("ended the process (%s); its last words are above",
                                                 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it called exit");
    blame(runner, atomic_load(&runner->shared->slots[slot].seed), why);
    start_worker(runner, slot);
    running++;
  }
  return running;
}

guint64 runner_run(RunnerFunc func, guint64 first, guint64 count, guint jobs, guint64 failures_max,
                   void (*failed)(guint64 seed, const char *why, gpointer data), gpointer data, guint64 *ret_sums) {
  Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  INVARIANT(shared != MAP_FAILED, "a page of memory can be shared");
  atomic_store(&shared->next, first);
  atomic_store(&shared->end, first + count);
  Runner runner = {.func = func,
                   .shared = shared,
                   .jobs = CLAMP(jobs ? jobs : g_get_num_processors(), 1, JOBS_MAX),
                   .failures_max = failures_max,
                   .failed = failed,
                   .data = data};
  INVARIANT(pipe(runner.pipe) == 0, "a pipe can be made");
  for (guint slot = 0; slot < runner.jobs; slot++)
    start_worker(&runner, slot);
  do
    read_reports(&runner, 50);
  while (!is_over(&runner) && look_after_workers(&runner) > 0);
  read_reports(&runner, 0);
  end_workers(&runner);
  for (guint slot = 0; slot < runner.jobs; slot++)
    for (guint i = 0; i < RUNNER_SUMS_MAX; i++)
      ret_sums[i] += shared->slots[slot].sums[i];
  close(runner.pipe[0]);
  close(runner.pipe[1]);
  munmap(shared, sizeof *shared);
  return runner.failures;
}
