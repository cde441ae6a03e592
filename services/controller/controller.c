/* The assembly; see controller.h. The host's loop goes on while the servers drain, and ends after them. */
#include "services/controller/controller.h"

#include <string.h>

#include "services/base/slog.h"
#include "services/controller/services.h"
#include "services/process/process.h"

#define MAILBOX_MAX 10000

struct Controller {
  ControllerOptions options;
  Loop *loop;
  RpcServer *public, *peer;
  char *address, *peer_address; /* advertised */
  ControllerParts parts;
  gboolean ready; /* was told; the loop's */
};

/* ---- Becoming ready: on the loop ---- */

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
  if (controller->options.ready)
    controller->options.ready(controller, controller->options.data);
}

/* Active: see that the cluster knows where this controller is; then it serves. */
static void on_active(gboolean active, gpointer data) {
  Controller *controller = data;
  if (!active) {
    set_health(controller, FALSE);
    return;
  }
  MetadataController record = {
      .id = controller->options.id,
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
  (void)data; /* the feed and the handlers look for themselves */
}

/* ---- Opening ---- */

static HostOptions host_options(const Controller *controller) {
  return (HostOptions){
      .id = controller->options.id,
      .address = controller->address,
      .peer_address = controller->peer_address,
      .snapshot_entries = controller->options.snapshot_entries,
  };
}

/* Open the folder, or make the cluster's first log in it. */
static Failure *open_store(const Controller *controller, RaftLogStore **ret_store) {
  const ControllerOptions *options = &controller->options;
  g_autoptr(RaftLogStore) store = NULL;
  Failure *failure = raft_log_store_open(options->data_dir, options->bootstrap, (guint64)options->id, &store);
  gboolean empty = FALSE;
  if (!failure)
    failure = raft_log_store_is_empty(store, &empty);
  if (failure)
    return failure;
  HostOptions host = host_options(controller);
  if (empty && !options->bootstrap) /* a bootstrap ended between making the folder and its first entry */
    return failure_new(FAILURE(INVALID_FIELD),
                       "The folder %s is empty: its bootstrap did not end. Start once more with --new-cluster.",
                       options->data_dir);
  if (empty)
    failure = host_bootstrap(store, &host, options->cluster_id);
  if (failure)
    return failure;
  if (options->bootstrap)
    slog_info(empty ? "bootstrap: a new cluster begins"
                    : "bootstrap: the folder holds a cluster already, which goes on; nothing was changed",
              "folder", options->data_dir, NULL);
  *ret_store = g_steal_pointer(&store);
  return NULL;
}

static Failure *check_cluster_id(const Controller *controller) {
  const char *ours = metadata_image_cluster_id(host_image(controller->parts.host));
  const char *wanted = controller->options.cluster_id;
  if (!*wanted || !*ours || g_ascii_strcasecmp(wanted, ours) == 0)
    return NULL;
  return failure_new(
      FAILURE(CLUSTER_MISMATCH),
      "The folder %s belongs to the cluster %s, and setting 'cluster-id' says %s. Point the controller at "
      "its own folder.",
      controller->options.data_dir, ours, wanted);
}

static Failure *listen_at(RpcServer *server, const char *listen, const char *advertise, char **ret_address) {
  guint16 port = 0;
  Failure *failure = rpc_server_add_listener(server, listen, &port);
  if (!failure)
    *ret_address = process_advertise(advertise, listen, port);
  return failure;
}

/* Listeners first: the ports that were bound are part of the cluster's first entry. */
static Failure *open_servers(Controller *controller) {
  const ControllerOptions *options = &controller->options;
  controller->public = rpc_server_new(NULL);
  controller->peer = rpc_server_new(NULL);
  Failure *failure = listen_at(controller->public, options->listen, options->advertise, &controller->address);
  if (!failure)
    failure = listen_at(controller->peer, options->peer_listen, options->peer_advertise, &controller->peer_address);
  return failure;
}

static Failure *open_host(Controller *controller) {
  RaftLogStore *store = NULL;
  HostOptions options = host_options(controller);
  Failure *failure = open_store(controller, &store);
  if (failure)
    return failure;
  ControllerParts *parts = &controller->parts;
  failure = host_new(controller->loop, store, &options, &parts->host);
  if (failure) {
    raft_log_store_close(store);
    return failure;
  }
  failure = check_cluster_id(controller);
  if (failure)
    return failure;
  parts->nodes =
      nodes_new(parts->host, controller->options.session_timeout_ms, controller->options.heartbeat_interval_ms);
  parts->feed = feed_new(parts->host);
  host_listen(parts->host, &(HostListener){on_active, on_applied, controller});
  return NULL;
}

/* ---- Serving and stopping ---- */

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

static void close_all(Controller *controller) {
  rpc_server_free(controller->public);
  rpc_server_free(controller->peer);
  loop_free(controller->loop);
  feed_free(controller->parts.feed);
  nodes_free(controller->parts.nodes);
  host_free(controller->parts.host);
  g_free(controller->address);
  g_free(controller->peer_address);
  g_free(controller);
}

Failure *controller_start(const ControllerOptions *options, Controller **ret_controller) {
  Controller *controller = g_new0(Controller, 1);
  controller->options = *options;
  controller->loop = loop_new("controller", MAILBOX_MAX);
  Failure *failure = open_servers(controller);
  if (!failure)
    failure = open_host(controller);
  if (failure) {
    close_all(controller);
    return failure;
  }
  *ret_controller = controller;
  controller_add_public_services(controller->public, &controller->parts);
  controller_add_peer_services(controller->peer, &controller->parts);
  loop_start(controller->loop);
  rpc_server_start(controller->public);
  rpc_server_start(controller->peer);
  set_health(controller, FALSE); /* until it is active */
  loop_call_and_wait(controller->loop, start_parts, controller);
  host_start(controller->parts.host);
  return NULL;
}

void controller_stop(Controller *controller) {
  if (!controller)
    return;
  set_health(controller, FALSE);
  rpc_server_drain(controller->public, controller->options.drain_grace_ms);
  rpc_server_drain(controller->peer, controller->options.drain_grace_ms);
  loop_call_and_wait(controller->loop, stop_parts, controller);
  host_stop(controller->parts.host);
  loop_stop(controller->loop);
  close_all(controller);
}

const char *controller_address(const Controller *controller) {
  return controller->address;
}

const char *controller_peer_address(const Controller *controller) {
  return controller->peer_address;
}
