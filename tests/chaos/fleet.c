/* The processes; see fleet.h.
 *
 *   DOWN ──start──► RUNNING ──freeze──► FROZEN ──thaw──► RUNNING
 *     ▲──kill, or it ended by itself────────┘
 *
 * Invariants: pid is 0 exactly in DOWN. A mutex guards everything, held for as long as a kill or an orderly stop takes.
 * Failure modes: a process that can't be started ends the run. */
#include "tests/chaos/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/lose.h"

#define CLIENT_PORT 7700
#define PEER_PORT 7750
#define BROKER_PORT 7600
#define BROKER_PEER_PORT 7650
#define COORDINATOR_PORT 7800
#define EXIT_DISK 74
#define SNAPSHOT_ENTRIES_DEFAULT 400
#define TERMINATE_MS 30000
#define LOG_TAIL_BYTES 1500

typedef struct {
  char *name; /* "controller-1" */
  char *data, *journal, *log;
  char *client_address, *peer_address;
  guint host;
  GPid pid;
  FleetState state;
  gboolean may_end_by_disk; /* its fsync fails from some point on */
  gboolean may_refuse;      /* its folder was damaged */
  gboolean has_refused;
} Process;

struct Fleet {
  GMutex mutex;
  Net *net;
  char *programs, *preload;
  Process *nodes; /* controllers, then brokers, then coordinators */
  guint controllers, brokers, coordinators, count, snapshot_entries;
  gboolean has_broker_outside;
  GRand *random;
  guint disk_refusals;
};

/* ---- Made and freed ---- */

static void process_init(Process *process, const char *folder, const char *name, const char *address, guint host,
                         guint client_port, guint peer_port) {
  process->name = g_strdup(name);
  process->data = g_build_filename(folder, name, NULL);
  process->journal = g_strconcat(process->data, ".journal", NULL);
  process->log = g_strconcat(process->data, ".log", NULL);
  process->client_address = g_strdup_printf("%s:%u", address, client_port);
  process->peer_address = g_strdup_printf("%s:%u", address, peer_port);
  process->host = host;
  g_mkdir_with_parents(process->data, 0755);
}

static void process_clear(Process *process) {
  g_free(process->name);
  g_free(process->data);
  g_free(process->journal);
  g_free(process->log);
  g_free(process->client_address);
  g_free(process->peer_address);
}

static void init_controller(Fleet *fleet, const char *folder, guint i) {
  g_autofree char *name = g_strdup_printf("controller-%u", i + 1);
  process_init(&fleet->nodes[i], folder, name, net_address(fleet->net, i), i, CLIENT_PORT, PEER_PORT);
}

static void init_broker(Fleet *fleet, const char *folder, guint i) {
  g_autofree char *name = g_strdup_printf("broker-%u", i + 1);
  guint host = fleet->controllers + i;
  /* Without namespaces a port of the machine's loopback may be taken: the one outside has a host's address too. */
  if (fleet->has_broker_outside && net_can_cut(fleet->net))
    host = NET_OUTSIDE;
  process_init(&fleet->nodes[fleet->controllers + i], folder, name, net_address(fleet->net, host), host, BROKER_PORT,
               BROKER_PEER_PORT);
}

/* It has nothing on disk, and no port for its peers. */
static void init_coordinator(Fleet *fleet, const char *folder, guint i) {
  g_autofree char *name = g_strdup_printf("coordinator-%u", i + 1);
  guint node = fleet->controllers + fleet->brokers + i;
  process_init(&fleet->nodes[node], folder, name, net_address(fleet->net, node), node, COORDINATOR_PORT,
               COORDINATOR_PORT);
}

Fleet *fleet_new(const FleetOptions *options) {
  Fleet *fleet = g_new0(Fleet, 1);
  g_mutex_init(&fleet->mutex);
  fleet->net = options->net;
  fleet->programs = g_strdup(options->programs);
  fleet->preload = g_strdup(options->preload);
  fleet->has_broker_outside = options->brokers == 0;
  fleet->controllers = options->controllers;
  fleet->brokers = MAX(options->brokers, 1);
  g_assert(!options->coordinators || !fleet->has_broker_outside);
  fleet->coordinators = options->coordinators;
  fleet->count = fleet->controllers + fleet->brokers + fleet->coordinators;
  fleet->snapshot_entries = options->snapshot_entries ? options->snapshot_entries : SNAPSHOT_ENTRIES_DEFAULT;
  fleet->nodes = g_new0(Process, fleet->count);
  fleet->random = g_rand_new_with_seed((guint32)options->seed);
  for (guint i = 0; i < fleet->controllers; i++)
    init_controller(fleet, options->folder, i);
  for (guint i = 0; i < fleet->brokers; i++)
    init_broker(fleet, options->folder, i);
  for (guint i = 0; i < fleet->coordinators; i++)
    init_coordinator(fleet, options->folder, i);
  return fleet;
}

static void end_process(Process *process) {
  if (process->pid) {
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
  }
  process->pid = 0;
  process->state = FLEET_DOWN;
}

void fleet_free(Fleet *fleet) {
  if (!fleet)
    return;
  for (guint i = 0; i < fleet->count; i++) {
    end_process(&fleet->nodes[i]);
    process_clear(&fleet->nodes[i]);
  }
  g_rand_free(fleet->random);
  g_free(fleet->nodes);
  g_free(fleet->programs);
  g_free(fleet->preload);
  g_mutex_clear(&fleet->mutex);
  g_free(fleet);
}

guint fleet_controllers(const Fleet *fleet) {
  return fleet->controllers;
}

guint fleet_brokers(const Fleet *fleet) {
  return fleet->has_broker_outside ? 0 : fleet->brokers;
}

guint fleet_coordinators(const Fleet *fleet) {
  return fleet->coordinators;
}

guint fleet_nodes(const Fleet *fleet) {
  return fleet->count;
}

const char *fleet_name(const Fleet *fleet, guint node) {
  return fleet->nodes[node].name;
}

const char *fleet_client_address(const Fleet *fleet, guint node) {
  return fleet->nodes[node].client_address;
}

const char *fleet_peer_address(const Fleet *fleet, guint node) {
  return fleet->nodes[node].peer_address;
}

char *fleet_data_path(const Fleet *fleet, guint node) {
  return g_strdup(fleet->nodes[node].data);
}

char *fleet_log_path(const Fleet *fleet, guint node) {
  return g_strdup(fleet->nodes[node].log);
}

FleetState fleet_state(Fleet *fleet, guint node) {
  g_mutex_lock(&fleet->mutex);
  FleetState state = fleet->nodes[node].state;
  g_mutex_unlock(&fleet->mutex);
  return state;
}

/* ---- Starting ---- */

typedef struct {
  const Net *net;
  guint host;
} Place;

/* In the child: it dies with the thread that started it, lives on its host, and a Ctrl-C is not meant for it. */
static void settle(gpointer data) {
  const Place *place = data;
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (place->host != NET_OUTSIDE)
    net_go_to_host(place->net, place->host);
}

static void start(Fleet *fleet, Process *process, GPtrArray *words, char **env) {
  int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int out = open(process->log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  Place place = {fleet->net, process->host};
  g_autoptr(GError) error = NULL;
  g_ptr_array_add(words, NULL);
  if (!g_spawn_async_with_fds(NULL, (char **)words->pdata, env, G_SPAWN_DO_NOT_REAP_CHILD, settle, &place,
                              &process->pid, in, out, out, &error))
    g_error("%s can't be started: %s", process->name, error->message);
  close(in);
  close(out);
  process->state = FLEET_RUNNING;
}

static void add(GPtrArray *words, const char *flag, const char *value) {
  g_ptr_array_add(words, g_strdup(flag));
  if (value)
    g_ptr_array_add(words, g_strdup(value));
}

static GPtrArray *words_new(const Fleet *fleet, const Process *process, const char *program, guint id) {
  g_autofree char *number = g_strdup_printf("%u", id);
  GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(words, g_build_filename(fleet->programs, program, NULL));
  add(words, "--id", number);
  add(words, "--listen", process->client_address);
  add(words, "--log-format", "json");
  return words;
}

static void add_disk_and_peers(GPtrArray *words, const Process *process) {
  add(words, "--data-dir", process->data);
  add(words, "--peer-listen", process->peer_address);
}

static void add_controllers(GPtrArray *words, const Fleet *fleet) {
  g_autoptr(GString) controllers = g_string_new(NULL);
  for (guint i = 0; i < fleet->controllers; i++)
    g_string_append_printf(controllers, "%s%s", i ? "," : "", fleet->nodes[i].peer_address);
  add(words, "--controllers", controllers->str);
}

/* The environment under which what is not synced is noted. */
static char **watched_environment(const Fleet *fleet, const Process *process, guint failing_after) {
  char **env = g_get_environ();
  if (!fleet->preload)
    return env;
  env = g_environ_setenv(env, "LD_PRELOAD", fleet->preload, TRUE);
  env = g_environ_setenv(env, "LOSE_FOLDER", process->data, TRUE);
  env = g_environ_setenv(env, "LOSE_JOURNAL", process->journal, TRUE);
  env = g_environ_setenv(env, "ASAN_OPTIONS", "verify_asan_link_order=0", TRUE);
  g_autofree char *after = g_strdup_printf("%u", failing_after);
  return failing_after ? g_environ_setenv(env, "LOSE_FAIL_SYNC_AFTER", after, TRUE) : env;
}

/* @alone: a controller, with a cluster of its own */
static GPtrArray *words_of_controller(const Fleet *fleet, guint node, gboolean alone) {
  GPtrArray *words = words_new(fleet, &fleet->nodes[node], "milena-controller", node + 1);
  add_disk_and_peers(words, &fleet->nodes[node]);
  g_autofree char *entries = g_strdup_printf("%u", fleet->snapshot_entries);
  add(words, "--snapshot-entries", entries);
  if (alone)
    add(words, "--new-cluster", NULL);
  return words;
}

static GPtrArray *words_of_broker(const Fleet *fleet, guint node) {
  GPtrArray *words = words_new(fleet, &fleet->nodes[node], "milena-broker", node - fleet->controllers + 1);
  add_disk_and_peers(words, &fleet->nodes[node]);
  add_controllers(words, fleet);
  return words;
}

static GPtrArray *words_of_coordinator(const Fleet *fleet, guint node) {
  guint id = node - fleet->controllers - fleet->brokers + 1;
  GPtrArray *words = words_new(fleet, &fleet->nodes[node], "milena-group-coordinator", id);
  add_controllers(words, fleet);
  return words;
}

static void start_node(Fleet *fleet, guint node, gboolean alone, guint failing_after) {
  g_mutex_lock(&fleet->mutex);
  Process *process = &fleet->nodes[node];
  if (process->state == FLEET_DOWN) {
    gboolean is_controller = node < fleet->controllers;
    gboolean is_coordinator = node >= fleet->controllers + fleet->brokers;
    g_autoptr(GPtrArray) words = is_controller    ? words_of_controller(fleet, node, alone)
                                 : is_coordinator ? words_of_coordinator(fleet, node)
                                                  : words_of_broker(fleet, node);
    gboolean is_watched = is_controller || (!is_coordinator && !fleet->has_broker_outside);
    g_auto(GStrv) env = is_watched ? watched_environment(fleet, process, failing_after) : g_get_environ();
    process->may_end_by_disk = failing_after > 0;
    process->has_refused = FALSE;
    start(fleet, process, words, env);
  }
  g_mutex_unlock(&fleet->mutex);
}

void fleet_start(Fleet *fleet, guint node) {
  start_node(fleet, node, FALSE, 0);
}

void fleet_start_alone(Fleet *fleet, guint controller) {
  start_node(fleet, controller, TRUE, 0);
}

void fleet_start_failing(Fleet *fleet, guint node, guint syncs) {
  g_assert(fleet->preload && syncs > 0);
  start_node(fleet, node, FALSE, syncs);
}

gboolean fleet_is_failing(Fleet *fleet, guint node) {
  g_mutex_lock(&fleet->mutex);
  const Process *process = &fleet->nodes[node];
  gboolean is_failing = process->state != FLEET_DOWN && process->may_end_by_disk;
  g_mutex_unlock(&fleet->mutex);
  return is_failing;
}

/* ---- Ending ---- */

/* Take away what was not synced, once: from then on everything that is there is durable. */
static guint64 lose(Fleet *fleet, Process *process) {
  LoseReport report = {0};
  lose_apply(process->data, process->journal, g_rand_boolean(fleet->random), fleet->random, &report);
  g_unlink(process->journal);
  return report.bytes_lost;
}

guint64 fleet_kill(Fleet *fleet, guint node, gboolean loses) {
  g_mutex_lock(&fleet->mutex);
  Process *process = &fleet->nodes[node];
  guint64 lost = 0;
  if (process->state != FLEET_DOWN) {
    end_process(process);
    lost = loses && fleet->preload ? lose(fleet, process) : 0;
  }
  g_mutex_unlock(&fleet->mutex);
  return lost;
}

static void send_signal(Fleet *fleet, guint node, FleetState from, FleetState to, int signal) {
  g_mutex_lock(&fleet->mutex);
  Process *process = &fleet->nodes[node];
  if (process->state == from) {
    kill(process->pid, signal);
    process->state = to;
  }
  g_mutex_unlock(&fleet->mutex);
}

void fleet_freeze(Fleet *fleet, guint node) {
  send_signal(fleet, node, FLEET_RUNNING, FLEET_FROZEN, SIGSTOP);
}

void fleet_thaw(Fleet *fleet, guint node) {
  send_signal(fleet, node, FLEET_FROZEN, FLEET_RUNNING, SIGCONT);
}

int fleet_terminate(Fleet *fleet, guint node) {
  g_mutex_lock(&fleet->mutex);
  Process *process = &fleet->nodes[node];
  int status = 0;
  gboolean ended = FALSE;
  if (process->state == FLEET_RUNNING) {
    kill(process->pid, SIGTERM);
    for (guint waited_ms = 0; !ended && waited_ms < TERMINATE_MS; waited_ms += 10) {
      ended = waitpid(process->pid, &status, WNOHANG) == process->pid;
      if (!ended)
        g_usleep(10000);
    }
    process->pid = ended ? 0 : process->pid;
    process->state = ended ? FLEET_DOWN : FLEET_RUNNING;
  }
  g_mutex_unlock(&fleet->mutex);
  return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- Disks ---- */

static void collect_files(const char *folder, GPtrArray *paths) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (g_file_test(path, G_FILE_TEST_IS_DIR))
      collect_files(path, paths);
    else
      g_ptr_array_add(paths, g_steal_pointer(&path));
  }
}

static void remove_below(const char *folder) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (g_file_test(path, G_FILE_TEST_IS_DIR))
      remove_below(path);
    g_remove(path);
  }
}

void fleet_remove_folder(const char *path) {
  remove_below(path);
  g_rmdir(path);
}

void fleet_wipe(Fleet *fleet, guint node) {
  g_mutex_lock(&fleet->mutex);
  Process *process = &fleet->nodes[node];
  end_process(process);
  remove_below(process->data);
  g_unlink(process->journal);
  process->may_refuse = process->has_refused = FALSE;
  g_mutex_unlock(&fleet->mutex);
}

/* RocksDB writes these and reads nothing from them. */
static gboolean is_idle(const char *name) {
  return g_str_has_prefix(name, "LOG") || g_str_has_prefix(name, "OPTIONS") || g_str_equal(name, "IDENTITY");
}

/* Files that hold something. */
static char *choose_file(Fleet *fleet, const Process *process, goffset *ret_size) {
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  collect_files(process->data, paths);
  for (guint i = 0; i < 1000 && paths->len > 0; i++) {
    const char *path = g_ptr_array_index(paths, (guint)g_rand_int_range(fleet->random, 0, (gint32)paths->len));
    g_autofree char *name = g_path_get_basename(path);
    GStatBuf info;
    if (is_idle(name) || g_stat(path, &info) != 0 || info.st_size == 0)
      continue;
    *ret_size = info.st_size;
    return g_strdup(path);
  }
  return NULL;
}

char *fleet_damage(Fleet *fleet, guint node) {
  g_mutex_lock(&fleet->mutex);
  Process *process = &fleet->nodes[node];
  end_process(process);
  goffset size = 0;
  g_autofree char *path = choose_file(fleet, process, &size);
  char *what = g_strdup("its folder is empty");
  guint8 byte;
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd >= 0) {
    goffset offset = (goffset)g_rand_double_range(fleet->random, 0, (double)size);
    guint bit = (guint)g_rand_int_range(fleet->random, 0, 8);
    if (pread(fd, &byte, 1, offset) == 1) {
      byte ^= (guint8)(1u << bit);
      if (pwrite(fd, &byte, 1, offset) != 1)
        g_error("%s can't be damaged: %s", path, g_strerror(errno));
    }
    g_free(what);
    what = g_strdup_printf("bit %u of byte %" G_GOFFSET_FORMAT " of %" G_GOFFSET_FORMAT " in %s", bit, offset, size,
                           path + strlen(process->data) + 1);
    close(fd);
  }
  process->may_refuse = TRUE;
  g_mutex_unlock(&fleet->mutex);
  return what;
}

gboolean fleet_has_refused(Fleet *fleet, guint node) {
  g_mutex_lock(&fleet->mutex);
  gboolean has_refused = fleet->nodes[node].has_refused;
  g_mutex_unlock(&fleet->mutex);
  return has_refused;
}

/* ---- Looking ---- */

static char *log_tail(const Process *process) {
  g_autofree char *text = NULL;
  gsize len = 0;
  if (!g_file_get_contents(process->log, &text, &len, NULL))
    return g_strdup("");
  return g_strdup(len > LOG_TAIL_BYTES ? text + len - LOG_TAIL_BYTES : text);
}

/* Note the end of a process. Returns a sentence when it should not have ended. */
static char *judge_end(Fleet *fleet, Process *process, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DISK && process->may_end_by_disk) {
    fleet->disk_refusals++;
    if (fleet->preload)
      lose(fleet, process);
    return NULL;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE && process->may_refuse) {
    process->has_refused = TRUE;
    return NULL;
  }
  g_autofree char *how = WIFSIGNALED(status) ? g_strdup_printf("by signal %d", WTERMSIG(status))
                                             : g_strdup_printf("with status %d", WEXITSTATUS(status));
  g_autofree char *tail = log_tail(process);
  return g_strdup_printf("%s ended %s. Its log ends with:\n%s", process->name, how, tail);
}

static char *look_at(Fleet *fleet, Process *process) {
  int status;
  if (process->pid == 0 || waitpid(process->pid, &status, WNOHANG) != process->pid)
    return NULL;
  process->pid = 0;
  process->state = FLEET_DOWN;
  return judge_end(fleet, process, status);
}

char *fleet_look(Fleet *fleet) {
  g_mutex_lock(&fleet->mutex);
  char *found = NULL;
  for (guint i = 0; i < fleet->count && !found; i++)
    found = look_at(fleet, &fleet->nodes[i]);
  g_mutex_unlock(&fleet->mutex);
  return found;
}

guint fleet_disk_refusals(Fleet *fleet) {
  g_mutex_lock(&fleet->mutex);
  guint count = fleet->disk_refusals;
  g_mutex_unlock(&fleet->mutex);
  return count;
}
