/* milena-controller: keeps the cluster's metadata.
 *
 *   settings ──► listening ──► folder opened ──► waits for a cluster, or takes part in one: ready ──SIGTERM──► handed
 * over, drained, closed
 *
 * The main loop waits for signals; everything else happens on the host's loop, which goes on while the servers drain.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/metadata/commands.h"
#include "services/base/settings.h"
#include "services/base/slog.h"
#include "services/controller/controller.h"
#include "services/process/process.h"
#include "services/process/reserve.h"

#define MAILBOX_MAX 100
#define DRAIN_GRACE_MS 5000
#define EXIT_BAD_SETTING 2

typedef struct {
  ProcessSettings process;
  gint64 id, session_timeout_ms, heartbeat_interval_ms, balance_interval_ms, election_timeout_ms, snapshot_entries,
      group_partitions;
  char *listen, *peer_listen, *advertise, *peer_advertise, *data_dir, *cluster_id, *controllers;
  gboolean new_cluster, create_data_dir;
} Settings;

/* ---- Settings ---- */

static gboolean refuse(const char *sentence) {
  fprintf(stderr, "milena-controller: %s\n", sentence);
  return FALSE;
}

/* "1=host:port,2=host:port": the same list that brokers are given. */
static gboolean check_controllers(const Settings *settings) {
  g_auto(GStrv) parts = g_strsplit(settings->controllers, ",", -1);
  for (char **part = parts; *part; part++) {
    const char *equals = strchr(*part, '='), *colon = strrchr(*part, ':');
    guint64 id = g_ascii_strtoull(*part, NULL, 10);
    if (!equals || !colon || colon < equals + 2 || !colon[1] || id == 0 || id > G_MAXINT32)
      return refuse("setting 'controllers' is a list like 1=host:port,2=host:port: ids and peer addresses of the "
                    "controllers.");
  }
  return TRUE;
}

/* What single settings can't tell. */
static gboolean check_settings(const Settings *settings) {
  if (!*settings->data_dir)
    return refuse("setting 'data-dir' is missing: name the folder that this controller keeps its log in.");
  if (settings->heartbeat_interval_ms * 2 > settings->session_timeout_ms)
    return refuse("setting 'heartbeat-interval' must be at most half of 'session-timeout': one lost heartbeat would "
                  "fence a broker.");
  if (*settings->cluster_id && !metadata_uuid_valid(settings->cluster_id))
    return refuse("setting 'cluster-id' is not a UUID: leave it out, and one is made.");
  return check_controllers(settings);
}

/* ---- Running ---- */

static void on_stop(gpointer data) {
  loop_quit(data);
}

static void on_ready(Controller *controller, gpointer data) {
  const Settings *settings = data;
  const char *addresses[] = {"client", controller_address(controller), "peer", controller_peer_address(controller),
                             NULL};
  process_say_ready(&settings->process, addresses);
}

static ControllerOptions controller_options(Settings *settings) {
  return (ControllerOptions){
      .id = (gint32)settings->id,
      .listen = settings->listen,
      .peer_listen = settings->peer_listen,
      .advertise = settings->advertise,
      .peer_advertise = settings->peer_advertise,
      .data_dir = settings->data_dir,
      .create_data_dir = settings->create_data_dir,
      .controllers = settings->controllers,
      .bootstrap = settings->new_cluster,
      .cluster_id = settings->cluster_id,
      .session_timeout_ms = settings->session_timeout_ms,
      .balance_interval_ms = settings->balance_interval_ms,
      .heartbeat_interval_ms = settings->heartbeat_interval_ms,
      .election_timeout_ms = (guint)settings->election_timeout_ms,
      .snapshot_entries = (guint)settings->snapshot_entries,
      .group_partitions = (guint)settings->group_partitions,
      .drain_grace_ms = DRAIN_GRACE_MS,
      .ready = on_ready,
      .data = settings,
  };
}

/* What opening the log on a full disk may write. */
#define RESERVE_BYTES (G_GINT64_CONSTANT(32) << 20)

static int run(Settings *settings) {
  g_autofree char *name = g_strdup_printf("controller-%" G_GINT64_FORMAT, settings->id);
  if (!process_start_logs(&settings->process, name))
    return EXIT_BAD_SETTING;
  g_autoptr(Loop) loop = loop_new("main", MAILBOX_MAX);
  process_on_stop(loop, on_stop, loop);
  ControllerOptions options = controller_options(settings);
  Controller *controller = NULL;
  reserve_release(settings->data_dir, RESERVE_BYTES);
  g_autoptr(Failure) failure = controller_start(&options, &controller);
  if (failure) {
    slog_error("the controller can't start", "error", failure_message(failure), NULL);
    return EXIT_FAILURE;
  }
  reserve_keep(settings->data_dir, RESERVE_BYTES);
  loop_run(loop);
  controller_stop(controller);
  slog_info("stopped", NULL);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  Settings filled = {0}, *settings = &filled;
  const SettingSpec specs[] = {
      {"id", SETTING_INT, &settings->id, "1", 1, G_MAXINT32, "number of this controller, from 1"},
      {"listen", SETTING_STRING, &settings->listen, "127.0.0.1:7700", 0, 0, "host:port for clients"},
      {"peer-listen", SETTING_STRING, &settings->peer_listen, "127.0.0.1:7750", 0, 0,
       "host:port for brokers, coordinators and controllers"},
      {"advertise", SETTING_STRING, &settings->advertise, "", 0, 0, "host:port that clients use, when it differs"},
      {"peer-advertise", SETTING_STRING, &settings->peer_advertise, "", 0, 0,
       "host:port that brokers and controllers use, when it differs"},
      {"data-dir", SETTING_STRING, &settings->data_dir, "", 0, 0, "folder of the log; this controller's alone"},
      {"create-data-dir", SETTING_BOOL, &settings->create_data_dir, "false", 0, 0,
       "make the folder when it is missing; else that is refused: the disk may not be mounted"},
      {"new-cluster", SETTING_BOOL, &settings->new_cluster, "false", 0, 0,
       "begin a new cluster of this controller alone in an empty folder; changes nothing when there is one"},
      {"cluster-id", SETTING_STRING, &settings->cluster_id, "", 0, 0,
       "UUID of the cluster: given to a new one, checked for an old one"},
      {"controllers", SETTING_STRING, &settings->controllers, "", 0, 0,
       "where the others are tried besides where the cluster says: 1=host:port,2=host:port"},
      {"election-timeout", SETTING_DURATION_MS, &settings->election_timeout_ms, "300ms", 50, 60000,
       "another controller is elected when the active one was not heard for so long, or up to twice as long"},
      {"session-timeout", SETTING_DURATION_MS, &settings->session_timeout_ms, "6s", 100, 600000,
       "a broker without a heartbeat for so long is fenced"},
      {"heartbeat-interval", SETTING_DURATION_MS, &settings->heartbeat_interval_ms, "1s", 10, 60000,
       "how often brokers are told to send heartbeats"},
      {"leader-balance-interval", SETTING_DURATION_MS, &settings->balance_interval_ms, "30s", 0, 86400000,
       "how often leaderships go back to the first of their replicas, where that is in sync; 0: only when asked"},
      {"snapshot-entries", SETTING_INT, &settings->snapshot_entries, "10000", 10, 10000000,
       "a snapshot is written, and the log cut, after so many entries"},
      {"group-partitions", SETTING_INT, &settings->group_partitions, "50", 1, METADATA_PARTITIONS_MAX,
       "partitions of __consumer_offsets, when it is made: groups are spread over them, and they over coordinators"},
      PROCESS_SETTINGS(&settings->process),
      {NULL},
  };
  int exit_code = 0;
  if (settings_load("milena-controller", "controller", specs, argc, argv, &exit_code)) {
    process_raise_descriptors();
    process_tune_malloc();
    exit_code = check_settings(settings) ? run(settings) : EXIT_BAD_SETTING;
  }
  settings_clear(specs);
  return exit_code;
}
