/* A process comes up in these steps:
 *
 *   stopped ──start──► running, silent ──► answers NOT_SERVING ──► SERVING
 *                            └──────────────────┴── ends, or the time is over: failed
 *
 * Controllers come first, then brokers, then coordinators: each needs those before it. */
#include "client/cli/local_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/cli/local_begin.h"
#include "client/cli/text.h"

#define POLL_US 50000
#define CHECK_TIMEOUT_MS 1000
#define TAIL_LINES 15

/* ---- Folder ---- */

static Failure *take_lock(Cli *cli, LocalCluster *cluster) {
  g_autofree char *path = g_build_filename(cluster->folder, "lock", NULL);
  if (g_mkdir_with_parents(cluster->folder, 0700) != 0)
    return failure_new(FAILURE(INTERNAL), "the folder '%s' can't be made: %s. Name another with --data.",
                       cluster->folder, g_strerror(errno));
  cluster->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (cluster->lock_fd < 0)
    return failure_new(FAILURE(INTERNAL), "'%s' can't be opened: %s. Name another folder with --data.", path,
                       g_strerror(errno));
  if (flock(cluster->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return NULL;
  cli_note(cli, "another 'milena local' works on '%s': waiting for it.", cluster->folder);
  while (flock(cluster->lock_fd, LOCK_EX) != 0)
    if (errno != EINTR)
      return failure_new(FAILURE(INTERNAL), "'%s' can't be locked: %s.", path, g_strerror(errno));
  return NULL;
}

Failure *local_cluster_open(Cli *cli, const char *data, gboolean lock, LocalCluster *cluster) {
  *cluster = (LocalCluster){.lock_fd = -1};
  cluster->folder = data ? g_canonicalize_filename(data, NULL) : local_plan_default_folder();
  Failure *failure = lock ? take_lock(cli, cluster) : NULL;
  return failure ? failure : local_plan_load(cluster->folder, &cluster->plan);
}

void local_cluster_unlock(LocalCluster *cluster) {
  if (cluster->lock_fd >= 0)
    close(cluster->lock_fd);
  cluster->lock_fd = -1;
}

void local_cluster_close(LocalCluster *cluster) {
  if (!cluster->folder)
    return;
  local_cluster_unlock(cluster);
  g_clear_pointer(&cluster->plan, local_plan_free);
  g_clear_pointer(&cluster->folder, g_free);
}

guint local_cluster_running(const LocalCluster *cluster) {
  guint running = 0;
  for (guint i = 0; cluster->plan && i < cluster->plan->nodes->len; i++) {
    LocalPid identity;
    running += local_process_state(cluster->plan, cluster->plan->nodes->pdata[i], &identity) == LOCAL_RUNNING;
  }
  return running;
}

GPtrArray *local_cluster_nodes(const LocalPlan *plan, LocalKind kind) {
  GPtrArray *nodes = g_ptr_array_new();
  for (guint i = 0; i < plan->nodes->len; i++) {
    LocalNode *node = plan->nodes->pdata[i];
    if (node->kind == kind)
      g_ptr_array_add(nodes, node);
  }
  return nodes;
}

/* ---- Up ---- */

/* A process that is coming up. */
typedef struct {
  const LocalNode *node;
  LocalPid identity;
  guint64 log_start;
  gboolean started; /* by us; else it ran already */
  gboolean serves;  /* or answers, where that is enough */
  Health health;
} Coming;

static int say_failed(Cli *cli, const LocalPlan *plan, const Coming *coming, const char *what) {
  g_autofree char *log = local_plan_path(plan, coming->node, ".log");
  g_autofree char *tail = local_process_log_tail(plan, coming->node, coming->log_start, TAIL_LINES);
  cli_failed_text(cli, "%s %s. Its log is '%s'%s", coming->node->name, what, log,
                  *tail ? "; the last lines:" : ", and says nothing.");
  if (*tail)
    cli_write(STDERR_FILENO, tail, strlen(tail));
  return CLI_FAILED;
}

/* A stranger on one of its ports would be taken for it, or keep it from starting. */
static int check_ports(Cli *cli, const LocalNode *node) {
  guint16 ports[] = {node->port, node->peer_port};
  for (guint i = 0; i < G_N_ELEMENTS(ports); i++)
    if (ports[i] && health_is_listening(ports[i]))
      return cli_failed_text(cli,
                             "%s can't start: another process listens on 127.0.0.1:%u already. See which with 'ss "
                             "-ltnp', or choose other ports with 'milena local up --base-port'.",
                             node->name, ports[i]);
  return CLI_OK;
}

static int start_one(Cli *cli, const LocalPlan *plan, Coming *coming) {
  if (local_process_state(plan, coming->node, &coming->identity) == LOCAL_RUNNING)
    return CLI_OK;
  if (check_ports(cli, coming->node) != CLI_OK)
    return CLI_FAILED;
  g_autoptr(Failure) failure = local_process_start(plan, coming->node, &coming->identity, &coming->log_start);
  coming->started = TRUE;
  return failure ? cli_failed_text(cli, "%s", failure_message(failure)) : CLI_OK;
}

/* One look at a process that does not serve yet. */
static int look_at(Cli *cli, const LocalPlan *plan, HealthClient *health, Coming *coming, Health enough,
                   gint64 begun_us) {
  if (!local_pid_is_alive(&coming->identity)) {
    g_autofree char *end = local_process_describe_end(&coming->identity);
    g_autofree char *what = g_strdup_printf("ended%s before it served", end);
    return say_failed(cli, plan, coming, what);
  }
  g_autofree char *address = local_node_address(coming->node);
  coming->health = health_check(health, coming->node->port, CHECK_TIMEOUT_MS);
  coming->serves = coming->health <= enough;
  if (!coming->serves && plan->bootstrapped && coming->health == HEALTH_NOT_SERVING &&
      local_waits_to_be_added(coming->node)) {
    g_autofree char *peer = local_node_peer_address(coming->node);
    cli_note(cli,
             "%s has an empty folder and waits to be added: 'milena controllers add %d=%s' (and 'remove %d' before, if "
             "it was a member).",
             coming->node->name, coming->node->id, peer, coming->node->id);
    coming->serves = TRUE;
  }
  if (coming->health == HEALTH_SERVING && coming->started && !cli->json)
    cli_note(cli, "%s serves at %s (after %.1f s).", coming->node->name, address,
             (double)(g_get_monotonic_time() - begun_us) / G_USEC_PER_SEC);
  return CLI_OK;
}

/* @enough: HEALTH_SERVING, or HEALTH_NOT_SERVING where an answer will do */
static int wait_until(Cli *cli, const LocalPlan *plan, Coming *comings, guint count, Health enough) {
  g_autoptr(HealthClient) health = health_client_new();
  gint64 begun_us = g_get_monotonic_time();
  for (;;) {
    const Coming *waiting = NULL;
    for (guint i = 0; i < count; i++) {
      if (comings[i].serves)
        continue;
      int code = look_at(cli, plan, health, &comings[i], enough, begun_us);
      if (code != CLI_OK)
        return code;
      if (!comings[i].serves)
        waiting = &comings[i];
    }
    if (!waiting)
      return CLI_OK;
    if (g_get_monotonic_time() - begun_us > (gint64)cli->timeout_s * G_USEC_PER_SEC) {
      g_autofree char *what =
          g_strdup_printf("runs, but %s after %d s",
                          waiting->health == HEALTH_SILENT ? "does not answer" : "does not serve yet", cli->timeout_s);
      return say_failed(cli, plan, waiting, what);
    }
    g_usleep(POLL_US);
  }
}

/* The first start: the controllers wait to be told that they are a cluster. */
static int begin_cluster(Cli *cli, LocalPlan *plan, Coming *comings, guint count) {
  int code = wait_until(cli, plan, comings, count, HEALTH_NOT_SERVING);
  for (guint i = 0; i < count; i++)
    comings[i].serves = FALSE;
  return code == CLI_OK ? local_begin(cli, plan) : code;
}

static int bring_up_stage(Cli *cli, LocalCluster *cluster, GPtrArray *nodes, LocalKind kind) {
  g_autofree Coming *comings = g_new0(Coming, nodes->len + 1);
  guint count = 0;
  int code = CLI_OK;
  for (guint i = 0; code == CLI_OK && i < nodes->len; i++) {
    const LocalNode *node = nodes->pdata[i];
    if (node->kind != kind)
      continue;
    comings[count].node = node;
    code = start_one(cli, cluster->plan, &comings[count]);
    count++;
  }
  if (code == CLI_OK && count > 0 && kind == LOCAL_CONTROLLER && !cluster->plan->bootstrapped)
    code = begin_cluster(cli, cluster->plan, comings, count);
  if (code == CLI_OK && count > 0)
    code = wait_until(cli, cluster->plan, comings, count, HEALTH_SERVING);
  return code;
}

int local_cluster_bring_up(Cli *cli, LocalCluster *cluster, GPtrArray *nodes) {
  static const LocalKind ORDER[] = {LOCAL_CONTROLLER, LOCAL_BROKER, LOCAL_COORDINATOR};
  int code = CLI_OK;
  /* All programs are there before the first is started. */
  for (guint i = 0; i < nodes->len; i++) {
    g_autofree char *program = NULL;
    g_autoptr(Failure) failure = local_process_find_program(nodes->pdata[i], &program);
    if (failure)
      return cli_failed_text(cli, "%s", failure_message(failure));
  }
  for (guint i = 0; code == CLI_OK && i < G_N_ELEMENTS(ORDER); i++)
    code = bring_up_stage(cli, cluster, nodes, ORDER[i]);
  return code;
}

guint local_cluster_stop(const LocalPlan *plan, gint64 grace_ms) {
  static const LocalKind ORDER[] = {LOCAL_COORDINATOR, LOCAL_BROKER, LOCAL_CONTROLLER};
  guint killed = 0;
  for (guint i = 0; i < G_N_ELEMENTS(ORDER); i++) {
    g_autoptr(GPtrArray) nodes = local_cluster_nodes(plan, ORDER[i]);
    killed += local_process_stop(plan, nodes, SIGTERM, grace_ms);
  }
  return killed;
}

/* ---- Show ---- */

/* A process as `local status` shows it. */
typedef struct {
  const LocalNode *node;
  LocalPid identity; /* when it runs */
  gboolean running;
  const char *state;
  char *address;
} Shown;

static Shown shown_make(const LocalPlan *plan, const LocalNode *node, HealthClient *health) {
  static const char *const HEALTHS[] = {"serving", "not serving", "silent"};
  Shown shown = {.node = node, .address = local_node_address(node)};
  LocalState state = local_process_state(plan, node, &shown.identity);
  shown.running = state == LOCAL_RUNNING;
  shown.state = state == LOCAL_ENDED     ? "ended"
                : state == LOCAL_STOPPED ? "stopped"
                                         : HEALTHS[health_check(health, node->port, CHECK_TIMEOUT_MS)];
  return shown;
}

static void shown_to_json(const Shown *shown, Json *json) {
  json_open(json, NULL, '{');
  json_string(json, "name", shown->node->name);
  json_string(json, "state", shown->state);
  json_string(json, "address", shown->address);
  if (shown->running) {
    json_int(json, "pid", shown->identity.pid);
    json_uint(json, "memory_bytes", local_pid_memory_bytes(&shown->identity));
    json_int(json, "uptime_seconds", local_pid_uptime_s(&shown->identity));
  }
  json_close(json);
}

static void shown_to_table(const Shown *shown, Table *table) {
  table_add(table, "%s", shown->node->name);
  table_add(table, "%s", shown->state);
  table_add(table, "%s", shown->address);
  g_autofree char *pid = shown->running ? g_strdup_printf("%d", (int)shown->identity.pid) : g_strdup("");
  g_autofree char *memory =
      shown->running ? text_bytes((double)local_pid_memory_bytes(&shown->identity)) : g_strdup("");
  g_autofree char *uptime = shown->running ? text_duration(local_pid_uptime_s(&shown->identity)) : g_strdup("");
  table_add(table, "%s", pid);
  table_add(table, "%s", memory);
  table_add(table, "%s", uptime);
}

int local_cluster_show(Cli *cli, const LocalCluster *cluster, gboolean *ret_all_serve) {
  g_autoptr(HealthClient) health = health_client_new();
  g_autoptr(Table) table = table_new("PROCESS", "STATE", "ADDRESS", ">PID", ">MEMORY", ">UPTIME", NULL);
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  gboolean all_serve = TRUE;
  json_open(json, NULL, '{');
  json_string(json, "folder", cluster->folder);
  json_open(json, "processes", '[');
  for (guint i = 0; i < cluster->plan->nodes->len; i++) {
    Shown shown = shown_make(cluster->plan, cluster->plan->nodes->pdata[i], health);
    shown_to_json(&shown, json);
    shown_to_table(&shown, table);
    all_serve = all_serve && !strcmp(shown.state, "serving");
    g_free(shown.address);
  }
  json_close(json);
  json_close(json);
  g_string_append_c(out, '\n');
  if (ret_all_serve)
    *ret_all_serve = all_serve;
  return cli->json ? cli_print(cli, out->str) : cli_print_table(cli, table);
}
