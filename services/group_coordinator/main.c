/* milena-group-coordinator: coordinates consumer groups, for the partitions of __consumer_offsets that it has leases
 * of.
 *
 *   listening ──membership_start──► registered, fenced ──► unfenced: health SERVING, ready; leases come with the
 * metadata SIGTERM ──► health NOT_SERVING, appends end ──► membership_leave: its leases go to others ──► exit 0
 *
 * The main loop waits for signals; everything else runs on the loop "groups", which goes on while the server drains. It
 * keeps nothing on disk. */
#include <stdio.h>
#include <stdlib.h>

#include "services/group_coordinator/coordinator.h"
#include "services/process/alive.h"
#include "services/process/process.h"
#include "services/rpc/server.h"

#define MAILBOX_MAX 65536
#define QUIET_TIMEOUT_MS 3000
#define LEAVE_TIMEOUT_MS 5000
#define DRAIN_GRACE_MS 5000

typedef struct {
  ProcessSettings process;
  gint64 id, append_timeout_ms;
  char *listen, *advertise, *controllers;
} Settings;

typedef struct {
  Settings settings;
  Loop *loop; /* the main thread's */
  Loop *groups;
  RpcServer *server;
  Alive *alive; /* while it serves */
  RpcClient *client;
  Membership *membership;
  Coordinator *coordinator;
  char *address;
  gboolean ready, stopping; /* the groups' loop's */
  int exit_code;
} Process;

/* ---- what the membership says: on the groups' loop ---- */

static void on_registered(const char *cluster_id, guint64 epoch, gpointer data) {
  (void)cluster_id; /* no folder to keep it in */
  Process *process = data;
  coordinator_set_registered(process->coordinator, membership_id(process->membership), epoch);
}

static void on_image(MetadataImage *image, gpointer data) {
  coordinator_set_image(((Process *)data)->coordinator, image);
}

static void on_fenced(gboolean fenced, gpointer data) {
  Process *process = data;
  rpc_server_set_health(process->server, "", !fenced && !process->stopping);
  if (fenced || process->ready)
    return;
  process->ready = TRUE;
  const char *addresses[] = {"client", process->address, NULL};
  process_say_ready(&process->settings.process, addresses);
}

static void on_controller(const char *peer_address, gint32 id, gpointer data) {
  (void)id;
  coordinator_set_controller(((Process *)data)->coordinator, peer_address);
}

static void on_refused(const Failure *failure, gpointer data) {
  Process *process = data;
  slog_error("the cluster refuses this process", "error", failure_message(failure), NULL);
  process->exit_code = 1;
  loop_quit(process->loop);
}

/* ---- the end ---- */

static void on_left(gpointer data) {
  loop_quit(((Process *)data)->loop);
}

static void on_drained(gpointer data) {
  Process *process = data;
  membership_leave(process->membership, LEAVE_TIMEOUT_MS, on_left, process);
}

/* The groups' loop. */
static void begin_stop(gpointer data) {
  Process *process = data;
  process->stopping = TRUE;
  rpc_server_set_health(process->server, "", FALSE);
  coordinator_drain(process->coordinator, QUIET_TIMEOUT_MS, on_drained, process);
}

/* The main loop. */
static void on_stop(gpointer data) {
  Process *process = data;
  if (process->membership)
    loop_call(process->groups, begin_stop, process);
  else
    loop_quit(process->loop);
}

/* ---- opening and closing ---- */

static void make_coordinator(Process *process) {
  static const MembershipEvents EVENTS = {on_registered, on_image, on_fenced, on_controller, on_refused};
  const Settings *settings = &process->settings;
  process->client = rpc_client_new(NULL);
  process->coordinator = coordinator_new(&(CoordinatorOptions){
      .loop = process->groups, .client = process->client, .append_timeout_ms = settings->append_timeout_ms});
  g_auto(GStrv) controllers = g_strsplit(settings->controllers, ",", -1);
  process->membership =
      membership_new(process->client, process->groups,
                     &(MembershipOptions){.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR,
                                          .id = (int)settings->id,
                                          .rack = "",
                                          .address = process->address,
                                          .peer_address = "",
                                          .incarnation = "",
                                          .cluster_id = "",
                                          .controllers = (const char *const *)controllers},
                     &EVENTS, process);
  coordinator_set_membership(process->coordinator, process->membership);
}

/* Listen, and begin. Returns NULL, or why not. */
static Failure *process_open(Process *process) {
  const Settings *settings = &process->settings;
  guint16 port;
  process->groups = loop_new("groups", MAILBOX_MAX);
  process->server = rpc_server_new(NULL);
  Failure *failure = rpc_server_add_listener(process->server, settings->listen, &port);
  if (failure)
    return failure;
  process->address = process_advertise(settings->advertise, settings->listen, port);
  make_coordinator(process);
  coordinator_serve(process->coordinator, process->server);
  rpc_server_set_health(process->server, "", FALSE);
  loop_start(process->groups);
  rpc_server_start(process->server);
  process->alive = alive_new(&process->server, 1, &process->groups, 1, ALIVE_HANGS_MS);
  membership_start(process->membership);
  return NULL;
}

static void process_close(Process *process) {
  alive_free(process->alive);
  if (process->membership)
    rpc_server_drain(process->server, DRAIN_GRACE_MS);
  loop_stop(process->groups);
  membership_free(process->membership);
  coordinator_free(process->coordinator);
  rpc_client_free(process->client);
  loop_finish(process->groups); /* ends of calls */
  rpc_server_free(process->server);
  loop_free(process->groups);
  loop_free(process->loop);
  g_free(process->address);
}

static int process_run(Process *process) {
  g_autofree char *name = process->settings.id ? g_strdup_printf("coordinator-%" G_GINT64_FORMAT, process->settings.id)
                                               : g_strdup("coordinator");
  if (!process_start_logs(&process->settings.process, name))
    return 2;
  process->loop = loop_new("main", MAILBOX_MAX);
  process_on_stop(process->loop, on_stop, process);
  g_autoptr(Failure) failure = process_open(process);
  if (failure) {
    slog_error("the coordinator can't start", "error", failure_message(failure), NULL);
    process->exit_code = 1;
  } else {
    loop_run(process->loop);
  }
  process_close(process);
  slog_info("stopped", NULL);
  return process->exit_code;
}

int main(int argc, char **argv) {
  Process process = {0};
  Settings *settings = &process.settings;
  const SettingSpec specs[] = {
      {"id", SETTING_INT, &settings->id, "1", 0, G_MAXINT32,
       "number of this coordinator, unique in the cluster; 0: the controllers give it one"},
      {"listen", SETTING_STRING, &settings->listen, "127.0.0.1:7800", 0, 0, "host:port to listen on"},
      {"advertise", SETTING_STRING, &settings->advertise, "", 0, 0, "host:port that others use, when it differs"},
      {"controllers", SETTING_STRING, &settings->controllers, "127.0.0.1:7750", 0, 0,
       "peer addresses of the controllers: host:port,... or 1=host:port,..."},
      {"append-timeout", SETTING_DURATION_MS, &settings->append_timeout_ms, "10s", 100, 600000,
       "a record is tried to be written for so long; then its partition's groups are loaded anew"},
      PROCESS_SETTINGS(&settings->process),
      {NULL},
  };
  int exit_code;
  if (settings_load("milena-group-coordinator", "group-coordinator", specs, argc, argv, &exit_code)) {
    process_raise_descriptors();
    process_tune_malloc();
    exit_code = process_run(&process);
  }
  settings_clear(specs);
  return exit_code;
}
