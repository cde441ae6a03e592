#include "tests/cluster/harness.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shim/shim.h"

/* Below the range that the kernel gives to outgoing connections. */
#define PORTS_FIRST 12000
#define PORTS_LAST 31000
#define PORTS_BLOCK 300
/* No command of a test takes this long: one that does hangs. ThreadSanitizer makes all of it ten times slower. */
#ifdef __SANITIZE_THREAD__
#define RUN_MAX_MS 300000
#else
#define RUN_MAX_MS 60000
#endif

struct Cluster {
  char *work; /* programs, outputs */
  char *data; /* the cluster's folder */
  char **environment;
  guint base_port;
  int port_lock;
  gboolean up;
  Ran ran;
};

static const char *const PROGRAMS[][2] = {
    {"milena", "client/cli/milena"},
    {"milena-controller", "services/controller/milena-controller"},
    {"milena-broker", "services/broker/milena-broker"},
    {"milena-group-coordinator", "services/group_coordinator/milena-group-coordinator"},
};

static gboolean port_is_free(guint port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((guint16)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  gboolean is_free = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
  close(fd);
  return is_free;
}

/* A block of ports that no other test of this machine uses: held by a file lock as long as the cluster lives. */
static gboolean reserve_ports(Cluster *cluster) {
  guint blocks = (PORTS_LAST - PORTS_FIRST) / PORTS_BLOCK;
  guint first = (guint)getpid() % blocks;
  for (guint i = 0; i < blocks; i++) {
    guint base = PORTS_FIRST + (first + i) % blocks * PORTS_BLOCK;
    g_autofree char *path = g_strdup_printf("/tmp/milena-ports-%u.lock", base);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0)
      fd = open(path, O_RDONLY | O_CLOEXEC); /* another user's: it can be locked all the same */
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && port_is_free(base) && port_is_free(base + 100) &&
        port_is_free(base + 200)) {
      cluster->port_lock = fd;
      cluster->base_port = base;
      return TRUE;
    }
    if (fd >= 0)
      close(fd);
  }
  return FALSE;
}

/* The programs side by side in one folder, where the milena command looks for them. */
static void link_programs(Cluster *cluster) {
  for (guint i = 0; i < G_N_ELEMENTS(PROGRAMS); i++) {
    g_autofree char *link = g_build_filename(cluster->work, PROGRAMS[i][0], NULL);
    g_autofree char *target = g_canonicalize_filename(shim_source_path(PROGRAMS[i][1]), NULL);
    if (symlink(target, link) != 0)
      shim_fail(__FILE__, __LINE__, "%s can't be linked", link);
  }
}

Cluster *cluster_prepare(void) {
  Cluster *cluster = g_new0(Cluster, 1);
  cluster->port_lock = -1;
  cluster->work = g_strdup(shim_temp_dir());
  cluster->data = g_build_filename(cluster->work, "cluster", NULL);
  link_programs(cluster);
  if (!reserve_ports(cluster))
    shim_fail(__FILE__, __LINE__, "no block of ports is free");
  g_autofree char *bootstrap = g_strdup_printf("localhost:%u", cluster->base_port);
  cluster->environment = g_environ_setenv(g_get_environ(), "MILENA_BOOTSTRAP", bootstrap, TRUE);
  cluster->environment = g_environ_setenv(cluster->environment, "MILENA_BIN", cluster->work, TRUE);
  return cluster;
}

Cluster *cluster_up(guint brokers) {
  return cluster_up_with(1, brokers);
}

Cluster *cluster_up_with(guint controllers, guint brokers) {
  return cluster_up_of(controllers, brokers, 1);
}

Cluster *cluster_up_of(guint controllers, guint brokers, guint coordinators) {
  Cluster *cluster = cluster_prepare();
  g_autofree char *members = g_strdup_printf("%u", coordinators);
  g_autofree char *quorum = g_strdup_printf("%u", controllers);
  g_autofree char *count = g_strdup_printf("%u", brokers);
  g_autofree char *port = g_strdup_printf("%u", cluster->base_port);
  cluster->up = TRUE;
  const Ran *ran = cluster_milena(cluster, "local", "up", "--data", cluster->data, "--base-port", port, "--brokers",
                                  count, "--controllers", quorum, "--coordinators", members, NULL);
  if (ran->exit_code == 0)
    return cluster;
  shim_fail(__FILE__, __LINE__, "the cluster does not come up: %s%s", ran->out, ran->err);
  cluster_down(cluster);
  return NULL;
}

static char *read_whole(const char *path) {
  char *text = NULL;
  return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("");
}

/* What a program that a sanitizer was built into wrote about itself; @name says whose text it is. */
static void expect_no_report(const char *name, const char *text) {
  static const char *const REPORTS[] = {"Sanitizer: ", "runtime error: "};
  for (guint i = 0; i < G_N_ELEMENTS(REPORTS); i++) {
    const char *report = strstr(text, REPORTS[i]);
    if (report)
      shim_fail(__FILE__, __LINE__, "%s has a sanitizer's report: %.8000s", name, report);
  }
}

/* Services report to their logs, leaks among it, when they end; programs of cluster_spawn to a file of their own. */
static void expect_no_reports(const char *path, const char *suffix) {
  g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
  for (const char *name; folder && (name = g_dir_read_name(folder));) {
    if (!g_str_has_suffix(name, suffix))
      continue;
    g_autofree char *file = g_build_filename(path, name, NULL);
    g_autofree char *text = read_whole(file);
    expect_no_report(name, text);
  }
}

void cluster_down(Cluster *cluster) {
  if (!cluster)
    return;
  if (cluster->up) {
    const Ran *ran = cluster_milena(cluster, "local", "down", "--data", cluster->data, NULL);
    if (ran->exit_code != 0)
      shim_fail(__FILE__, __LINE__, "the cluster does not go down: %s%s", ran->out, ran->err);
    expect_no_reports(cluster->data, ".log");
  }
  expect_no_reports(cluster->work, ".out.err");
  if (cluster->port_lock >= 0)
    close(cluster->port_lock);
  g_free(cluster->ran.out);
  g_free(cluster->ran.err);
  g_strfreev(cluster->environment);
  g_free(cluster->data);
  g_free(cluster->work);
  g_free(cluster);
}

void cluster_set(Cluster *cluster, const char *variable, const char *value) {
  cluster->environment = g_environ_setenv(cluster->environment, variable, value, TRUE);
}

/* ---- Commands ---- */

typedef struct {
  const char *input;
  int fd;
} Feeder;

static gpointer feed(gpointer data) {
  Feeder *feeder = data;
  for (gsize left = strlen(feeder->input), done = 0; left > 0;) {
    ssize_t count = write(feeder->fd, feeder->input + done, left);
    if (count <= 0)
      break; /* the program is not interested any more */
    done += (gsize)count;
    left -= (gsize)count;
  }
  close(feeder->fd);
  return NULL;
}

/* words[0] with its folder. */
static char **resolve_words(const Cluster *cluster, const char *const *words) {
  char **argv = g_strdupv((char **)words);
  if (!strchr(argv[0], '/')) {
    char *path = g_build_filename(cluster->work, argv[0], NULL);
    g_free(argv[0]);
    argv[0] = path;
  }
  return argv;
}

static GPid spawn(Cluster *cluster, const char *const *words, int in_fd, const char *out, const char *err) {
  g_auto(GStrv) argv = resolve_words(cluster, words);
  int out_fd = open(out, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  int err_fd = open(err, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  GPid pid = 0;
  g_autoptr(GError) error = NULL;
  if (!g_spawn_async_with_fds(NULL, argv, cluster->environment, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, in_fd,
                              out_fd, err_fd, &error))
    shim_fail(__FILE__, __LINE__, "%s does not start: %s", argv[0], error->message);
  close(out_fd);
  close(err_fd);
  return pid;
}

typedef struct {
  GPid pid;
  int status;
} Waited;

static gboolean has_ended(gpointer data) {
  Waited *waited = data;
  return waitpid(waited->pid, &waited->status, WNOHANG) == waited->pid;
}

int cluster_wait(GPid pid) {
  Waited waited = {pid, 0};
  if (pid <= 0)
    return -1;
  if (!cluster_until(has_ended, &waited, RUN_MAX_MS)) {
    shim_fail(__FILE__, __LINE__, "process %d did not end within %d ms, and was killed", (int)pid, RUN_MAX_MS);
    kill(pid, SIGKILL);
    waitpid(pid, &waited.status, 0);
  }
  return WIFEXITED(waited.status) ? WEXITSTATUS(waited.status) : -1;
}

/* Most failures are what a test is after; those that are not would otherwise leave a number alone. */
static void report_failure(const char *const *words, const Ran *ran) {
  if (ran->exit_code == 0)
    return;
  g_autofree char *line = g_strjoinv(" ", (char **)words);
  g_printerr("\"%s\" ended with %d and said: %.8000s\n", line, ran->exit_code, ran->err);
  expect_no_report(line, ran->err);
}

const Ran *cluster_run(Cluster *cluster, const char *input, const char *const *words) {
  signal(SIGPIPE, SIG_IGN);
  g_autofree char *out = g_build_filename(cluster->work, "ran.out", NULL);
  g_autofree char *err = g_build_filename(cluster->work, "ran.err", NULL);
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0)
    abort();
  GPid pid = spawn(cluster, words, pipe_fds[0], out, err);
  close(pipe_fds[0]);
  Feeder feeder = {input ? input : "", pipe_fds[1]};
  GThread *thread = g_thread_new("feeder", feed, &feeder);
  int exit_code = cluster_wait(pid);
  g_thread_join(thread);
  g_free(cluster->ran.out);
  g_free(cluster->ran.err);
  cluster->ran = (Ran){exit_code, read_whole(out), read_whole(err)};
  report_failure(words, &cluster->ran);
  return &cluster->ran;
}

GPid cluster_spawn(Cluster *cluster, const char *const *words, const char *out_path) {
  g_autofree char *err = g_strconcat(out_path, ".err", NULL);
  int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  GPid pid = spawn(cluster, words, null_fd, out_path, err);
  close(null_fd);
  return pid;
}

static const Ran *run_words(Cluster *cluster, const char *input, const char *first, va_list rest) {
  g_autoptr(GPtrArray) words = g_ptr_array_new();
  g_ptr_array_add(words, (gpointer) "milena");
  for (const char *word = first; word; word = va_arg(rest, const char *))
    g_ptr_array_add(words, (gpointer)word);
  g_ptr_array_add(words, NULL);
  return cluster_run(cluster, input, (const char *const *)words->pdata);
}

const Ran *cluster_milena(Cluster *cluster, const char *word, ...) {
  va_list rest;
  va_start(rest, word);
  const Ran *ran = run_words(cluster, NULL, word, rest);
  va_end(rest);
  return ran;
}

const Ran *cluster_milena_with_input(Cluster *cluster, const char *input, const char *word, ...) {
  va_list rest;
  va_start(rest, word);
  const Ran *ran = run_words(cluster, input, word, rest);
  va_end(rest);
  return ran;
}

/* ---- Looking at it ---- */

const char *cluster_folder(const Cluster *cluster) {
  return cluster->data;
}

char *cluster_path(const Cluster *cluster, const char *name) {
  return g_build_filename(cluster->work, name, NULL);
}

guint cluster_port(const Cluster *cluster, guint offset) {
  return cluster->base_port + offset;
}

GPid cluster_pid(Cluster *cluster, const char *name) {
  g_autofree char *file = g_strconcat(name, ".pid", NULL);
  g_autofree char *path = g_build_filename(cluster->data, file, NULL);
  g_autofree char *text = read_whole(path);
  GPid pid = atoi(text);
  return pid > 0 && kill(pid, 0) == 0 ? pid : 0;
}

char *cluster_log(Cluster *cluster, const char *name) {
  g_autofree char *file = g_strconcat(name, ".log", NULL);
  g_autofree char *path = g_build_filename(cluster->data, file, NULL);
  return read_whole(path);
}

gboolean cluster_until(gboolean (*holds)(gpointer data), gpointer data, guint timeout_ms) {
  gint64 deadline = g_get_monotonic_time() + timeout_ms * 1000LL;
  while (!holds(data)) {
    if (g_get_monotonic_time() > deadline)
      return FALSE;
    g_usleep(10000);
  }
  return TRUE;
}
