/* The assembly; see controller.h. The host's loop goes on while the servers drain, and ends after them. */
#include "services/controller/controller.h"

#include <string.h>

#include "services/base/slog.h"
#include "services/controller/services.h"
#include "services/process/alive.h"
#include "services/process/process.h"

/* Few enough that a full turn of the loop leaves time for heartbeats. */
#define MAILBOX_MAX 4000
/* How long another controller may take to become the active one in this one's place. */
#define HAND_OVER_MS 2000

struct Controller {
  ControllerOptions options;
  Loop *loop;
  RpcClient *client; /* to the other controllers */
  RpcServer *public, *peer;
  Alive *alive;                 /* while it serves */
  char *address, *peer_address; /* advertised */
  ControllerParts parts;
  gboolean ready; /* was told; the loop's */
};

/* ---- Becoming ready: on the loop ---- */

static void set_health(const Controller *controller, gboolean serving) {
  rpc_server_set_health(controller->public, "", serving);
  rpc_server_set_health(controller->peer, "", serving);
}

static void tell_ready(Controller *controller) {
  if (controller->ready)
    return;
  controller->ready = TRUE;
  if (controller->options.ready)
    controller->options.ready(controller, controller->options.data);
}

static void addresses_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  Controller *controller = data;
  if (failure) {
    slog_warning("this controller's addresses could not be written", "error", failure_message(failure), NULL);
    return;
  }
  set_health(controller, TRUE);
  tell_ready(controller);
}

/* Active: see that the cluster knows where this controller is; then it serves. */
static void on_active(gboolean active, gpointer data) {
  Controller *controller = data;
  if (!active)
    return;
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

static void on_serving(gboolean serving, gpointer data) {
  Controller *controller = data;
  if (!serving) {
    set_health(controller, FALSE);
  } else if (!host_is_active(controller->parts.host)) {
    set_health(controller, TRUE);
    tell_ready(controller);
  }
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
      .controllers = controller->options.controllers,
      .snapshot_entries = controller->options.snapshot_entries,
      .election_timeout_ms = controller->options.election_timeout_ms,
  };
}

static Failure *check_cluster_id(const Controller *controller) {
  const char *ours = host_cluster_id(controller->parts.host);
  const char *wanted = controller->options.cluster_id;
  if (!*wanted || !*ours || g_ascii_strcasecmp(wanted, ours) == 0)
    return NULL;
  return failure_new(
      FAILURE(CLUSTER_MISMATCH),
      "The folder %s belongs to the cluster %s, and setting 'cluster-id' says %s. Point the controller at "
      "its own folder.",
      controller->options.data_dir, ours, wanted);
}

/* --new-cluster: a cluster of this controller alone. */
static Failure *begin_alone(const Controller *controller) {
  Host *host = controller->parts.host;
  if (*host_cluster_id(host)) {
    slog_info("bootstrap: the folder belongs to a cluster already, which goes on; nothing was changed", "folder",
              controller->options.data_dir, NULL);
    return NULL;
  }
  MetadataController record = {
      .id = controller->options.id,
      .address = controller->address,
      .peer_address = controller->peer_address,
  };
  g_autoptr(GPtrArray) controllers = g_ptr_array_new();
  g_ptr_array_add(controllers, &record);
  RaftConfiguration configuration = {
      .members = {{.id = (guint64)controller->options.id, .directory = *host_directory(host)}}, .member_count = 1};
  g_strlcpy(configuration.members[0].address, controller->peer_address, sizeof configuration.members[0].address);
  char made[METADATA_ID_BYTES];
  g_autofree char *wanted = g_ascii_strdown(controller->options.cluster_id, -1);
  MetadataContext context = host_context(host);
  metadata_uuid(context.random, made);
  return host_begin(host, &configuration, controllers, *wanted ? wanted : made);
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

/* A folder that is not there may be a disk that is not mounted: nothing is made in its place, unless that is wanted. */
static Failure *check_folder(const ControllerOptions *options) {
  if (options->bootstrap || options->create_data_dir || g_file_test(options->data_dir, G_FILE_TEST_IS_DIR))
    return NULL;
  return failure_new(
      FAILURE(INVALID_FIELD),
      "The folder %s is missing. If its disk is to be mounted there, mount it; for a new controller, make "
      "an empty folder.",
      options->data_dir);
}

/* The folder of a cluster, or one that waits for its own. */
static Failure *open_host(Controller *controller) {
  g_autoptr(RaftLogStore) store = NULL;
  HostOptions options = host_options(controller);
  ControllerParts *parts = &controller->parts;
  Failure *failure = check_folder(&controller->options);
  if (!failure)
    failure = raft_log_store_open(controller->options.data_dir, TRUE, (guint64)controller->options.id, &store);
  if (!failure)
    failure = host_new(controller->loop, controller->client, store, &options, &parts->host);
  if (failure)
    return failure;
  g_steal_pointer(&store); /* the host's */
  failure = check_cluster_id(controller);
  if (!failure && controller->options.bootstrap)
    failure = begin_alone(controller);
  return failure;
}

static void make_parts(Controller *controller) {
  ControllerParts *parts = &controller->parts;
  parts->nodes =
      nodes_new(parts->host, controller->options.session_timeout_ms, controller->options.heartbeat_interval_ms);
  parts->feed = feed_new(parts->host);
  parts->partitions = partitions_new(parts->host, controller->options.balance_interval_ms);
  parts->moves = moves_new(parts->host);
  parts->leases = leases_new(parts->host, controller->options.group_partitions);
  parts->care = care_new(parts->host);
  parts->quorum = quorum_admin_new(parts->host, parts->care);
  host_listen(parts->host,
              &(HostListener){.active = on_active, .applied = on_applied, .serving = on_serving, .data = controller});
}

/* ---- Serving and stopping ---- */

static void say_waiting(Controller *controller) {
  const Host *host = controller->parts.host;
  char directory[DIRECTORY_TEXT_BYTES];
  directory_text(host_directory(host), directory);
  if (*host_cluster_id(host))
    slog_warning(
        "this controller was taken into a cluster and has heard nothing of it yet: it waits. If it was removed "
        "meanwhile, add it again with 'milena controllers add'",
        "cluster", host_cluster_id(host), "peer-address", controller->peer_address, NULL);
  else
    slog_warning("this controller's folder is empty: it waits. Begin a cluster with 'milena controllers bootstrap', or "
                 "add it to one with 'milena controllers add'",
                 "controller", SLOG_INT(controller->options.id), "peer-address", controller->peer_address, "directory",
                 directory, NULL);
  tell_ready(controller);
}

static void start_parts(gpointer data) {
  Controller *controller = data;
  nodes_start(controller->parts.nodes);
  feed_start(controller->parts.feed);
  care_start(controller->parts.care);
  partitions_start(controller->parts.partitions);
  if (host_is_empty(controller->parts.host))
    say_waiting(controller);
}

static void stop_parts(gpointer data) {
  Controller *controller = data;
  nodes_stop(controller->parts.nodes);
  feed_stop(controller->parts.feed);
  care_stop(controller->parts.care);
  partitions_stop(controller->parts.partitions);
  quorum_admin_stop(controller->parts.quorum);
}

/* Calls end before their loop, and what they work on after both. */
static void close_all(Controller *controller) {
  rpc_server_free(controller->public);
  rpc_server_free(controller->peer);
  rpc_client_free(controller->client);
  loop_free(controller->loop);
  quorum_admin_free(controller->parts.quorum);
  care_free(controller->parts.care);
  feed_free(controller->parts.feed);
  nodes_free(controller->parts.nodes);
  partitions_free(controller->parts.partitions);
  leases_free(controller->parts.leases);
  moves_free(controller->parts.moves);
  host_free(controller->parts.host);
  g_free(controller->address);
  g_free(controller->peer_address);
  g_free(controller);
}

Failure *controller_start(const ControllerOptions *options, Controller **ret_controller) {
  Controller *controller = g_new0(Controller, 1);
  controller->options = *options;
  controller->loop = loop_new("controller", MAILBOX_MAX);
  controller->client = rpc_client_new(NULL);
  Failure *failure = open_servers(controller);
  if (!failure)
    failure = open_host(controller);
  if (failure) {
    close_all(controller);
    return failure;
  }
  *ret_controller = controller;
  make_parts(controller);
  controller_add_public_services(controller->public, &controller->parts);
  controller_add_peer_services(controller->peer, &controller->parts);
  loop_start(controller->loop);
  set_health(controller, FALSE); /* before anybody can ask, and until it takes part */
  rpc_server_start(controller->public);
  rpc_server_start(controller->peer);
  RpcServer *both[] = {controller->public, controller->peer};
  controller->alive = alive_new(both, G_N_ELEMENTS(both), &controller->loop, 1, ALIVE_HANGS_MS);
  loop_call_and_wait(controller->loop, start_parts, controller);
  host_start(controller->parts.host);
  return NULL;
}

void controller_stop(Controller *controller) {
  if (!controller)
    return;
  set_health(controller, FALSE);
  host_hand_over(controller->parts.host, HAND_OVER_MS);
  g_clear_pointer(&controller->alive, alive_free);
  loop_call_and_wait(controller->loop, stop_parts, controller);
  rpc_server_drain(controller->public, controller->options.drain_grace_ms);
  rpc_server_drain(controller->peer, controller->options.drain_grace_ms);
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

typedef struct {
  const Host *host;
  gboolean waiting;
} Question;

static void ask_waiting(gpointer data) {
  Question *question = data;
  question->waiting = !*host_cluster_id(question->host);
}

gboolean controller_is_waiting(const Controller *controller) {
  Question question = {controller->parts.host, FALSE};
  loop_call_and_wait(controller->loop, ask_waiting, &question);
  return question.waiting;
}
