/* milena-group-coordinator: registers, follows the metadata, answers health and reflection. Consumer groups live here
 * once they land; until then it owns no state.
 *
 *   listening ──membership_start──► registered, fenced ──► unfenced: health SERVING, ready
 *   SIGTERM ──► health NOT_SERVING ──► membership_leave ──► drained ──► exit 0
 *
 * Everything runs on the main loop. */
#include <stdio.h>
#include <stdlib.h>

#include "services/membership/membership.h"
#include "services/process/process.h"
#include "services/rpc/server.h"

#define MAILBOX_MAX 10000
#define LEAVE_TIMEOUT_MS 5000
#define DRAIN_GRACE_MS 5000

typedef struct {
  ProcessSettings process;
  gint64 id;
  char *listen, *advertise, *controllers;
} Settings;

typedef struct {
  Settings settings;
  Loop *loop;
  RpcServer *server;
  RpcClient *client;
  Membership *membership;
  char *address;
  gboolean ready;
  int exit_code;
} Coordinator;

static void on_registered(const char *cluster_id, guint64 epoch, gpointer data) {
  (void)cluster_id;
  (void)epoch;
  (void)data; /* no folder to keep it in */
}

static void on_image(MetadataImage *image, gpointer data) {
  (void)image;
  (void)data; /* membership keeps the latest */
}

static void on_fenced(gboolean fenced, gpointer data) {
  Coordinator *coordinator = data;
  rpc_server_set_health(coordinator->server, "", !fenced);
  if (fenced || coordinator->ready)
    return;
  coordinator->ready = TRUE;
  const char *addresses[] = {"client", coordinator->address, NULL};
  process_say_ready(&coordinator->settings.process, addresses);
}

static void on_controller(const char *peer_address, gint32 id, gpointer data) {
  (void)peer_address;
  (void)id;
  (void)data; /* it asks the controllers for nothing but its membership */
}

static void on_refused(const Failure *failure, gpointer data) {
  Coordinator *coordinator = data;
  slog_error("the cluster refuses this process", "error", failure_message(failure), NULL);
  coordinator->exit_code = 1;
  loop_quit(coordinator->loop);
}

static void on_left(gpointer data) {
  loop_quit(((Coordinator *)data)->loop);
}

static void on_stop(gpointer data) {
  Coordinator *coordinator = data;
  rpc_server_set_health(coordinator->server, "", FALSE);
  membership_leave(coordinator->membership, LEAVE_TIMEOUT_MS, on_left, coordinator);
}

/* Listen, and make the membership. Returns NULL, or why not. */
static Failure *coordinator_open(Coordinator *coordinator) {
  static const MembershipEvents EVENTS = {on_registered, on_image, on_fenced, on_controller, on_refused};
  const Settings *settings = &coordinator->settings;
  guint16 port;
  coordinator->server = rpc_server_new(NULL);
  Failure *failure = rpc_server_add_listener(coordinator->server, settings->listen, &port);
  if (failure)
    return failure;
  coordinator->address = process_advertise(settings->advertise, settings->listen, port);
  rpc_server_set_health(coordinator->server, "", FALSE);
  rpc_server_start(coordinator->server);
  coordinator->client = rpc_client_new(NULL);
  g_auto(GStrv) controllers = g_strsplit(settings->controllers, ",", -1);
  coordinator->membership =
      membership_new(coordinator->client, coordinator->loop,
                     &(MembershipOptions){.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR,
                                          .id = (int)settings->id,
                                          .rack = "",
                                          .address = coordinator->address,
                                          .peer_address = "",
                                          .incarnation = "",
                                          .cluster_id = "",
                                          .controllers = (const char *const *)controllers},
                     &EVENTS, coordinator);
  membership_start(coordinator->membership);
  return NULL;
}

static void coordinator_close(Coordinator *coordinator) {
  if (coordinator->server)
    rpc_server_drain(coordinator->server, DRAIN_GRACE_MS);
  membership_free(coordinator->membership);
  loop_finish(coordinator->loop);
  rpc_client_free(coordinator->client);
  rpc_server_free(coordinator->server);
  g_free(coordinator->address);
}

static int coordinator_run(Coordinator *coordinator) {
  g_autofree char *name = g_strdup_printf("coordinator-%" G_GINT64_FORMAT, coordinator->settings.id);
  if (!process_start_logs(&coordinator->settings.process, name))
    return 2;
  coordinator->loop = loop_new("main", MAILBOX_MAX);
  process_on_stop(coordinator->loop, on_stop, coordinator);
  g_autoptr(Failure) failure = coordinator_open(coordinator);
  if (failure) {
    slog_error("the coordinator can't start", "error", failure_message(failure), NULL);
    coordinator->exit_code = 1;
  } else {
    loop_run(coordinator->loop);
  }
  coordinator_close(coordinator);
  loop_free(coordinator->loop);
  slog_info("stopped", NULL);
  return coordinator->exit_code;
}

int main(int argc, char **argv) {
  Coordinator coordinator = {0};
  Settings *settings = &coordinator.settings;
  const SettingSpec specs[] = {
      {"id", SETTING_INT, &settings->id, "1", 0, G_MAXINT32, "number of this coordinator, unique in the cluster"},
      {"listen", SETTING_STRING, &settings->listen, "127.0.0.1:7800", 0, 0, "host:port to listen on"},
      {"advertise", SETTING_STRING, &settings->advertise, "", 0, 0, "host:port that others use, when it differs"},
      {"controllers", SETTING_STRING, &settings->controllers, "127.0.0.1:7750", 0, 0,
       "peer addresses of the controllers: host:port,... or 1=host:port,..."},
      PROCESS_SETTINGS(&settings->process),
      {NULL},
  };
  int exit_code;
  if (settings_load("milena-group-coordinator", "group-coordinator", specs, argc, argv, &exit_code)) {
    process_raise_descriptors();
    process_tune_malloc();
    exit_code = coordinator_run(&coordinator);
  }
  settings_clear(specs);
  return exit_code;
}
