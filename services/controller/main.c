/* milena-controller: keeps the cluster's metadata.
 *
 *   settings ──► listening ──► folder opened (or bootstrapped) ──► elected ──► active: ready ──SIGTERM──► drained,
 * closed
 *
 * The main loop waits for signals; everything else happens on the host's loop, which goes on while the servers drain.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/base/settings.h"
#include "services/base/slog.h"
#include "services/controller/services.h"
#include "services/process/process.h"

#define MAILBOX_MAX 10000
#define DRAIN_GRACE_MS 5000
#define EXIT_BAD_SETTING 2

typedef struct {
  ProcessSettings process;
  gint64 id, session_timeout_ms, heartbeat_interval_ms, snapshot_entries;
  char *listen, *peer_listen, *advertise, *peer_advertise, *data_dir, *cluster_id, *controllers;
  gboolean bootstrap;
} Settings;

typedef struct {
  Settings settings;
  Loop *main_loop, *loop;
  RpcServer *public, *peer;
  char *address, *peer_address; /* advertised */
  ControllerParts parts;
  gboolean ready;
  int exit_code;
} Controller;

/* ---- Settings ---- */

static gboolean refuse(const char *sentence) {
  fprintf(stderr, "milena-controller: %s\n", sentence);
  return FALSE;
}

/* What single settings can't tell. */
static gboolean check_settings(const Settings *settings) {
  if (strchr(settings->controllers, ','))
    return refuse("setting 'controllers' names more than one controller: a quorum of controllers comes with a later "
                  "version of Milena. Run one.");
  if (!*settings->data_dir)
    return refuse("setting 'data-dir' is missing: name the folder that this controller keeps its log in.");
  if (settings->heartbeat_interval_ms * 2 > settings->session_timeout_ms)
    return refuse("setting 'heartbeat-interval' must be at most half of 'session-timeout': one lost heartbeat would "
                  "fence a broker.");
  if (!settings->bootstrap && !raft_log_store_exists(settings->data_dir)) {
    g_autofree char *sentence = g_strdup_printf(
        "the folder '%s' holds no controller's log. To begin a new cluster, start once with --bootstrap; to go on with "
        "one, point --data-dir at its folder.",
        settings->data_dir);
    return refuse(sentence);
  }
  if (*settings->cluster_id && !metadata_uuid_valid(settings->cluster_id))
    return refuse("setting 'cluster-id' is not a UUID: leave it out, and one is made.");
  return TRUE;
}

/* ---- Opening ---- */

/* Open the folder, or make the cluster's first log in it. */
static Failure *open_store(const Controller *controller, const HostOptions *options, RaftLogStore **ret_store) {
  const Settings *settings = &controller->settings;
  gboolean exists = raft_log_store_exists(settings->data_dir);
  g_autoptr(RaftLogStore) store = NULL;
  Failure *failure = raft_log_store_open(settings->data_dir, settings->bootstrap, (guint64)settings->id, &store);
  if (failure)
    return failure;
  RaftStart start = {0};
  g_autoptr(GBytes) snapshot = NULL;
  failure = raft_log_store_load(store, &start, &snapshot);
  if (failure)
    return failure;
  /* A start that ended between making the folder and its first entry is begun again. */
  gboolean empty = start.entries->len == 0 && start.snapshot.index == 0;
  raft_log_start_clear(&start);
  if (empty && settings->bootstrap) {
    failure = host_bootstrap(store, options, settings->cluster_id);
    slog_info("a new cluster begins", "folder", settings->data_dir, NULL);
  } else if (empty) {
    failure = failure_new(FAILURE(INVALID_FIELD),
                          "The folder %s is empty: its bootstrap did not end. Start once more with --bootstrap.",
                          settings->data_dir);
  } else if (settings->bootstrap && exists) {
    slog_info("bootstrap: the folder holds a cluster already, which goes on; nothing was changed", "folder",
              settings->data_dir, NULL);
  }
  if (!failure)
    *ret_store = g_steal_pointer(&store);
  return failure;
}

static Failure *check_cluster_id(const Controller *controller) {
  const char *ours = metadata_image_cluster_id(host_image(controller->parts.host));
  const char *wanted = controller->settings.cluster_id;
  if (!*wanted || !*ours || g_ascii_strcasecmp(wanted, ours) == 0)
    return NULL;
  return failure_new(
      FAILURE(CLUSTER_MISMATCH),
      "The folder %s belongs to the cluster %s, and setting 'cluster-id' says %s. Point the controller at "
      "its own folder.",
      controller->settings.data_dir, ours, wanted);
}

static Failure *listen_at(RpcServer *server, const char *listen, const char *advertise, char **ret_address) {
  guint16 port = 0;
  Failure *failure = rpc_server_add_listener(server, listen, &port);
  if (!failure)
    *ret_address = process_advertise(advertise, listen, port);
  return failure;
}

static Failure *open_servers(Controller *controller) {
  const Settings *settings = &controller->settings;
  controller->public = rpc_server_new(NULL);
  controller->peer = rpc_server_new(NULL);
  Failure *failure = listen_at(controller->public, settings->listen, settings->advertise, &controller->address);
  if (!failure)
    failure = listen_at(controller->peer, settings->peer_listen, settings->peer_advertise, &controller->peer_address);
  return failure;
}

/* ---- Serving ---- */

static void set_health(const Controller *controller, gboolean serving) {
  rpc_server_set_health(controller->public, "", serving);
  rpc_server_set_health(controller->peer, "", serving);
}

static void addresses_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  Controller *controller = data;
  if (failure) {
    slog_warning("this controller's addresses could not be written", "error", failure_message(failure), NULL);
    return;
  }
  set_health(controller, TRUE);
  if (controller->ready)
    return;
  controller->ready = TRUE;
  const char *addresses[] = {"client", controller->address, "peer", controller->peer_address, NULL};
  process_say_ready(&controller->settings.process, addresses);
}

/* Active: see that the cluster knows where this controller is; then it serves. */
static void on_active(gboolean active, gpointer data) {
  Controller *controller = data;
  if (!active) {
    set_health(controller, FALSE);
    return;
  }
  MetadataController record = {
      .id = (gint32)controller->settings.id,
      .address = controller->address,
      .peer_address = controller->peer_address,
  };
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) failure = metadata_command_controller(host_tip(controller->parts.host), &record, records);
  if (!failure)
    host_propose(controller->parts.host, g_steal_pointer(&records), addresses_done, controller);
}

static void on_applied(MetadataImage *image, const GPtrArray *records, gpointer data) {
  (void)image;
  (void)records;
  (void)data;
}

static void start_parts(gpointer data) {
  Controller *controller = data;
  nodes_start(controller->parts.nodes);
  feed_start(controller->parts.feed);
}

static void stop_parts(gpointer data) {
  Controller *controller = data;
  nodes_stop(controller->parts.nodes);
  feed_stop(controller->parts.feed);
}

static Failure *controller_open(Controller *controller) {
  const Settings *settings = &controller->settings;
  Failure *failure = open_servers(controller);
  if (failure)
    return failure;
  HostOptions options = {
      .id = (gint32)settings->id,
      .address = controller->address,
      .peer_address = controller->peer_address,
      .snapshot_entries = (guint)settings->snapshot_entries,
  };
  g_autoptr(RaftLogStore) store = NULL;
  failure = open_store(controller, &options, &store);
  if (failure)
    return failure;
  ControllerParts *parts = &controller->parts;
  failure = host_new(controller->loop, store, &options, &parts->host);
  if (failure)
    return failure;
  store = NULL; /* the host's now */
  failure = check_cluster_id(controller);
  if (failure)
    return failure;
  parts->nodes = nodes_new(parts->host, settings->session_timeout_ms, settings->heartbeat_interval_ms);
  parts->feed = feed_new(parts->host);
  host_listen(parts->host, &(HostListener){on_active, on_applied, controller});
  return NULL;
}

static void controller_serve(Controller *controller) {
  controller_add_public_services(controller->public, &controller->parts);
  controller_add_peer_services(controller->peer, &controller->parts);
  loop_start(controller->loop);
  rpc_server_start(controller->public);
  rpc_server_start(controller->peer);
  set_health(controller, FALSE); /* until it is active */
  loop_call_and_wait(controller->loop, start_parts, controller);
  host_start(controller->parts.host);
  loop_run(controller->main_loop);
  slog_info("draining", NULL);
  set_health(controller, FALSE);
  rpc_server_drain(controller->public, DRAIN_GRACE_MS);
  rpc_server_drain(controller->peer, DRAIN_GRACE_MS);
  loop_call_and_wait(controller->loop, stop_parts, controller);
  host_stop(controller->parts.host);
}

static void controller_close(Controller *controller) {
  rpc_server_free(controller->public);
  rpc_server_free(controller->peer);
  loop_free(controller->loop);
  feed_free(controller->parts.feed);
  nodes_free(controller->parts.nodes);
  host_free(controller->parts.host);
  loop_free(controller->main_loop);
  g_free(controller->address);
  g_free(controller->peer_address);
}

static void on_stop(gpointer data) {
  loop_quit(((Controller *)data)->main_loop);
}

static int controller_run(Controller *controller) {
  g_autofree char *name = g_strdup_printf("controller-%" G_GINT64_FORMAT, controller->settings.id);
  if (!process_start_logs(&controller->settings.process, name))
    return EXIT_BAD_SETTING;
  controller->main_loop = loop_new("main", MAILBOX_MAX);
  controller->loop = loop_new("controller", MAILBOX_MAX);
  process_on_stop(controller->main_loop, on_stop, controller);
  g_autoptr(Failure) failure = controller_open(controller);
  if (failure) {
    slog_error("the controller can't start", "error", failure_message(failure), NULL);
    controller->exit_code = 1;
  } else {
    controller_serve(controller);
  }
  controller_close(controller);
  slog_info("stopped", NULL);
  return controller->exit_code;
}

int main(int argc, char **argv) {
  Controller controller = {0};
  Settings *settings = &controller.settings;
  const SettingSpec specs[] = {
      {"id", SETTING_INT, &settings->id, "1", 1, G_MAXINT32, "number of this controller, from 1"},
      {"listen", SETTING_STRING, &settings->listen, "127.0.0.1:7700", 0, 0, "host:port for clients"},
      {"peer-listen", SETTING_STRING, &settings->peer_listen, "127.0.0.1:7750", 0, 0,
       "host:port for brokers, coordinators and controllers"},
      {"advertise", SETTING_STRING, &settings->advertise, "", 0, 0, "host:port that clients use, when it differs"},
      {"peer-advertise", SETTING_STRING, &settings->peer_advertise, "", 0, 0,
       "host:port that brokers use, when it differs"},
      {"data-dir", SETTING_STRING, &settings->data_dir, "", 0, 0, "folder of the log; this controller's alone"},
      {"bootstrap", SETTING_BOOL, &settings->bootstrap, "false", 0, 0,
       "begin a new cluster in an empty folder; changes nothing when there is one"},
      {"cluster-id", SETTING_STRING, &settings->cluster_id, "", 0, 0,
       "UUID of the cluster: given to a new one, checked for an old one"},
      {"controllers", SETTING_STRING, &settings->controllers, "", 0, 0,
       "peer addresses of all controllers; one, until a later version"},
      {"session-timeout", SETTING_DURATION_MS, &settings->session_timeout_ms, "6s", 100, 600000,
       "a broker without a heartbeat for so long is fenced"},
      {"heartbeat-interval", SETTING_DURATION_MS, &settings->heartbeat_interval_ms, "1s", 10, 60000,
       "how often brokers are told to send heartbeats"},
      {"snapshot-entries", SETTING_INT, &settings->snapshot_entries, "10000", 10, 10000000,
       "a snapshot is written, and the log cut, after so many entries"},
      PROCESS_SETTINGS(&settings->process),
      {NULL},
  };
  int exit_code = 0;
  if (settings_load("milena-controller", "controller", specs, argc, argv, &exit_code)) {
    process_tune_malloc();
    exit_code = check_settings(settings) ? controller_run(&controller) : EXIT_BAD_SETTING;
  }
  settings_clear(specs);
  return exit_code;
}
