/* Children are made with posix_spawn: safe beside gRPC's threads, as fork is not. They get a session of their own, so
 * the terminal's Ctrl-C does not reach them, /dev/null as standard input, default signals, and no descriptor of ours.
 */
#include "client/cli/local_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_US 20000
#define KILL_WAIT_MS 10000
/* A log that is larger at a start is set aside as NAME.log.1. */
#define LOG_BYTES_MAX (64 << 20)
#define TAIL_BYTES_MAX 16384

LocalState local_process_state(const LocalPlan *plan, const LocalNode *node, LocalPid *ret_identity) {
  g_autofree char *path = local_plan_path(plan, node, ".pid");
  LocalPid identity;
  if (!local_pid_read(path, &identity))
    return LOCAL_STOPPED;
  *ret_identity = identity;
  return local_pid_is_alive(&identity) ? LOCAL_RUNNING : LOCAL_ENDED;
}

/* ---- Programs ---- */

/* The folder of a program in a build tree, seen from the folder of this executable. */
static const char *build_folder(LocalKind kind) {
  return kind == LOCAL_CONTROLLER ? "../../services/controller"
         : kind == LOCAL_BROKER   ? "../../services/broker"
                                  : "../../services/group_coordinator";
}

Failure *local_process_find_program(const LocalNode *node, char **ret_path) {
  g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
  g_autofree char *beside = self ? g_path_get_dirname(self) : g_strdup(".");
  g_autofree char *built = g_build_filename(beside, build_folder(node->kind), NULL);
  g_autofree char *built_clean = g_canonicalize_filename(built, NULL);
  const char *places[] = {g_getenv("MILENA_BIN"), beside, built_clean};
  g_autoptr(GString) tried = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
    if (!places[i] || !*places[i])
      continue;
    g_autofree char *path = g_build_filename(places[i], node->program, NULL);
    if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE) && g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
      *ret_path = g_canonicalize_filename(path, NULL);
      return NULL;
    }
    g_string_append_printf(tried, "%s'%s'", tried->len ? ", " : "", places[i]);
  }
  return failure_new(FAILURE(INTERNAL),
                     "the program %s was not found in %s: build it, or set MILENA_BIN to the folder that holds it.",
                     node->program, tried->str);
}

/* ---- Start ---- */

/* The log file, open to append. Returns a descriptor, or -1 with errno. */
static int open_log(const LocalPlan *plan, const LocalNode *node, guint64 *ret_size) {
  g_autofree char *path = local_plan_path(plan, node, ".log");
  struct stat info;
  if (stat(path, &info) == 0 && info.st_size > LOG_BYTES_MAX) {
    g_autofree char *aside = g_strconcat(path, ".1", NULL);
    if (rename(path, aside) != 0)
      return -1;
  }
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd >= 0)
    *ret_size = fstat(fd, &info) == 0 ? (guint64)info.st_size : 0;
  return fd;
}

/* Returns 0, or what went wrong as an errno. */
static int spawn_detached(char **command, int log_fd, pid_t *ret_pid) {
  /* Where a client finds the cluster is no setting of its processes. */
  g_auto(GStrv) environment = g_environ_unsetenv(g_get_environ(), "MILENA_BOOTSTRAP");
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, log_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  int code = posix_spawn(ret_pid, command[0], &actions, &attributes, command, environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return code;
}

Failure *local_process_start(const LocalPlan *plan, const LocalNode *node, LocalPid *ret_identity,
                             guint64 *ret_log_start) {
  g_autofree char *program = NULL;
  Failure *failure = local_process_find_program(node, &program);
  if (failure)
    return failure;
  g_autofree char *data = local_plan_path(plan, node, "");
  if (node->kind != LOCAL_COORDINATOR && g_mkdir_with_parents(data, 0700) != 0)
    return failure_new(FAILURE(INTERNAL), "the folder '%s' can't be made: %s.", data, g_strerror(errno));
  int log_fd = open_log(plan, node, ret_log_start);
  if (log_fd < 0)
    return failure_new(FAILURE(INTERNAL), "the log of %s can't be opened in '%s': %s.", node->name, plan->folder,
                       g_strerror(errno));
  g_auto(GStrv) command = local_plan_command(plan, node, program);
  pid_t pid = 0;
  int code = spawn_detached(command, log_fd, &pid);
  close(log_fd);
  if (code != 0)
    return failure_new(FAILURE(INTERNAL), "%s can't be started: %s.", program, g_strerror(code));
  /* Our child has an entry in /proc until we wait for it, even when it has ended already. */
  if (!local_pid_of(pid, ret_identity))
    return failure_new(FAILURE(INTERNAL), "%s was started, but /proc does not show it: is /proc mounted?", node->name);
  g_autofree char *pid_path = local_plan_path(plan, node, ".pid");
  failure = local_pid_write(pid_path, ret_identity);
  /* What can't be found again must not run. */
  if (failure)
    local_pid_signal(ret_identity, SIGKILL);
  return failure;
}

/* ---- End ---- */

char *local_process_describe_end(const LocalPid *identity) {
  int status;
  if (waitpid(identity->pid, &status, WNOHANG) != identity->pid)
    return g_strdup("");
  if (WIFSIGNALED(status))
    return g_strdup_printf(" by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return g_strdup_printf(" with exit code %d", WEXITSTATUS(status));
}

char *local_process_log_tail(const LocalPlan *plan, const LocalNode *node, guint64 start, guint lines) {
  g_autofree char *path = local_plan_path(plan, node, ".log");
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0)
    return g_strdup("");
  guint64 size = fstat(fd, &info) == 0 ? (guint64)info.st_size : 0;
  if (size > TAIL_BYTES_MAX)
    start = MAX(start, size - TAIL_BYTES_MAX);
  g_autofree char *text = g_malloc0(TAIL_BYTES_MAX + 1);
  ssize_t length = size > start ? pread(fd, text, TAIL_BYTES_MAX, (off_t)start) : 0;
  close(fd);
  if (length <= 0)
    return g_strdup("");
  /* From the end back over so many line feeds; the last one ends the last line. */
  const char *begin = text + length - 1;
  for (guint passed = 0; begin > text; begin--) {
    if (begin[-1] == '\n' && ++passed == lines)
      break;
  }
  return g_utf8_make_valid(begin, text + length - begin);
}

/* Those of @nodes that still run; what is gone loses its pid file. */
static guint count_running(const LocalPlan *plan, GPtrArray *nodes) {
  guint running = 0;
  for (guint i = 0; i < nodes->len; i++) {
    const LocalNode *node = nodes->pdata[i];
    LocalPid identity;
    LocalState state = local_process_state(plan, node, &identity);
    g_autofree char *path = local_plan_path(plan, node, ".pid");
    running += state == LOCAL_RUNNING;
    if (state == LOCAL_ENDED) {
      waitpid(identity.pid, NULL, WNOHANG); /* if it is our child */
      unlink(path);
    }
  }
  return running;
}

static void signal_all(const LocalPlan *plan, GPtrArray *nodes, int signal_number) {
  for (guint i = 0; i < nodes->len; i++) {
    LocalPid identity;
    if (local_process_state(plan, nodes->pdata[i], &identity) == LOCAL_RUNNING)
      local_pid_signal(&identity, signal_number);
  }
}

/* Returns how many still run after @wait_ms. */
static guint wait_for_end(const LocalPlan *plan, GPtrArray *nodes, gint64 wait_ms) {
  gint64 deadline_us = g_get_monotonic_time() + wait_ms * 1000;
  guint running;
  while ((running = count_running(plan, nodes)) > 0 && g_get_monotonic_time() < deadline_us)
    g_usleep(POLL_US);
  return running;
}

guint local_process_stop(const LocalPlan *plan, GPtrArray *nodes, int signal_number, gint64 grace_ms) {
  signal_all(plan, nodes, signal_number);
  guint killed = wait_for_end(plan, nodes, signal_number == SIGKILL ? KILL_WAIT_MS : grace_ms);
  if (killed > 0) {
    signal_all(plan, nodes, SIGKILL);
    wait_for_end(plan, nodes, KILL_WAIT_MS);
  }
  return killed;
}
