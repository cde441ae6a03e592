/* milena-broker: holds partitions of the cluster's log, and is the door for every client.
 *
 *   store opened, logs recovered ──► listening, health NOT_SERVING ──► registered, fenced ──► unfenced: SERVING, ready
 *   SIGTERM ──► NOT_SERVING, appends end ──► leaves (others lead) ──► calls drained ──► store closed clean ──► exit 0
 *
 * The main loop runs the membership; the shards' loops do the work. Failure modes: whatever is wrong at the start, or a
 * cluster that refuses this broker, ends the process with a sentence and status 1. */
#include <stdio.h>

#include "services/broker/broker.h"
#include "services/broker/cleaner.h"
#include "services/broker/disk_care.h"
#include "services/broker/front_internal.h"
#include "services/broker/node.h"
#include "services/broker/server.h"
#include "services/process/process.h"

#define MAILBOX_MAX 65536
#define MAIN_MAILBOX_MAX 10000
#define QUIET_CHECK_MS 10
#define QUIET_TIMEOUT_US G_GINT64_CONSTANT(3000000)
#define LEAVE_TIMEOUT_MS 10000
#define DRAIN_GRACE_MS 10000
#define SHARDS_MAX 64
#define EXIT_BAD_SETTING 2

typedef struct {
  ProcessSettings process;
  gint64 id, shards;
  char *rack, *listen, *advertise, *peer_listen, *peer_advertise, *controllers, *data_dir, *disk_low_watermark;
  gboolean create_data_dir;
  gint64 tail_cache_bytes, wal_bytes, segment_bytes, segment_age_ms, orphan_grace_ms, producer_expiry_ms, catch_up_rate;
  gint64 compaction_interval_ms, compaction_rate, compaction_memory;
} Settings;

typedef struct {
  Settings settings;
  Loop *loop;
  Broker broker;
  BrokerServer *server;
  Node *node;
  DiskCare *disk_care;
  Cleaner *cleaner;
  char *address, *peer_address;
  gboolean ready, loops_run;
  gint64 quiet_until_us; /* when the wait for appends under way ends */
  int exit_code;
} Process;

/* ---- what happens ---- */

static void on_fenced(gboolean fenced, gpointer data) {
  Process *process = data;
  broker_server_set_health(process->server, !fenced);
  if (fenced || process->ready)
    return;
  process->ready = TRUE;
  const char *addresses[] = {"client", process->address, "peer", process->peer_address, NULL};
  process_say_ready(&process->settings.process, addresses);
}

static void on_caught_up(gpointer data) {
  broker_server_set_caught_up(((Process *)data)->server);
}

static void on_stopped(gpointer data) {
  loop_quit(((Process *)data)->loop);
}

static void on_refused(const Failure *failure, gpointer data) {
  Process *process = data;
  slog_error("the cluster refuses this broker", "error", failure_message(failure), NULL);
  process->exit_code = 1;
  node_stop(process->node, on_stopped, process);
}

static void on_left(gpointer data) {
  Process *process = data;
  node_stop(process->node, on_stopped, process);
}

/* Records that are on their way to the disk are answered before the leadership is given away: after that, their
 * outcome would be unknown. New ones are refused meanwhile. */
static gboolean on_quiet_check(gpointer data) {
  Process *process = data;
  gboolean quiet = g_atomic_int_get(&process->broker.appends_in_flight) == 0;
  if (!quiet && g_get_monotonic_time() < process->quiet_until_us)
    return G_SOURCE_CONTINUE;
  node_leave(process->node, LEAVE_TIMEOUT_MS, on_left, process);
  return G_SOURCE_REMOVE;
}

static void on_stop(gpointer data) {
  Process *process = data;
  if (!process->node) {
    loop_quit(process->loop);
    return;
  }
  broker_server_begin_drain(process->server);
  process->quiet_until_us = g_get_monotonic_time() + QUIET_TIMEOUT_US;
  g_source_unref(loop_add_timeout(process->loop, QUIET_CHECK_MS, on_quiet_check, process));
}

static void on_disk_low(gboolean is_low, gpointer data) {
  Process *process = data;
  if (process->node)
    node_set_disk_low(process->node, is_low);
}

/* ---- opening ---- */

static Failure *check_identity(const Process *process) {
  const LogStoreIdentity *identity = log_store_identity(process->broker.store);
  if (identity->node_id < 0 || identity->node_id == process->broker.id)
    return NULL;
  return failure_new(FAILURE(INVALID_FIELD),
                     "the folder %s is that of broker %" G_GINT64_FORMAT ", but this one is started as broker %d: give "
                     "it the folder, or the id, that belongs to it",
                     process->settings.data_dir, identity->node_id, process->broker.id);
}

/* It is told with the registration. */
static void note_damage(Broker *broker, guint64 log_id) {
  if (!broker->damaged_logs)
    broker->damaged_logs = g_array_new(FALSE, FALSE, sizeof log_id);
  g_array_append_val(broker->damaged_logs, log_id);
}

static void on_recovered(guint64 log_id, const LogHot *hot, const Failure *failure, gpointer data) {
  Broker *broker = data;
  if (failure)
    note_damage(broker, log_id);
  shard_recover(broker_owner(broker, log_id), log_id, hot, failure);
}

static void on_recovered_producer(guint64 log_id, const LogProducer *producer, const Failure *failure, gpointer data) {
  Broker *broker = data;
  if (failure)
    note_damage(broker, log_id);
  shard_recover_producer(broker_owner(broker, log_id), log_id, producer, failure);
}

/* A folder is made, the way to it is not: a mistyped path, or a disk that is not mounted, must not begin anew. */
static Failure *check_data_dir(const Settings *settings) {
  g_autofree char *parent = g_path_get_dirname(settings->data_dir);
  if (g_file_test(parent, G_FILE_TEST_IS_DIR))
    return NULL;
  return failure_new(FAILURE(INVALID_FIELD),
                     "the data folder %s can't be made: there is no folder %s; make it, or check the path and that its "
                     "disk is mounted",
                     settings->data_dir, parent);
}

static Failure *open_store(Process *process) {
  const Settings *settings = &process->settings;
  Broker *broker = &process->broker;
  LogStoreOptions options;
  log_store_options_init(&options);
  options.path = settings->data_dir;
  /* An empty folder begins a new store; a missing one may be a disk that is not mounted. */
  options.create = settings->create_data_dir || g_file_test(settings->data_dir, G_FILE_TEST_IS_DIR);
  options.segment_bytes_max = settings->segment_bytes;
  options.segment_age_max_ms = settings->segment_age_ms;
  options.wal_bytes_max = disk_care_wal_bytes(settings->data_dir, settings->wal_bytes);
  Failure *failure = check_data_dir(settings);
  disk_care_prepare(settings->data_dir);
  if (!failure)
    failure = log_store_open(&options, &broker->store);
  if (!failure)
    failure = check_identity(process);
  if (!failure)
    failure = log_store_recover(broker->store, on_recovered, broker);
  if (!failure)
    failure = log_store_recover_producers(broker->store, on_recovered_producer, broker);
  if (!failure && !log_store_was_clean(broker->store))
    slog_warning("the last stop was not clean: the logs were verified", "folder", settings->data_dir, NULL);
  return failure;
}

static void make_shards(Process *process) {
  const Settings *settings = &process->settings;
  Broker *broker = &process->broker;
  guint count = settings->shards > 0 ? (guint)settings->shards : MAX(1, g_get_num_processors() / 2);
  broker->shards = g_new0(Shard *, count);
  for (; broker->shard_count < count; broker->shard_count++)
    broker->shards[broker->shard_count] =
        shard_new(broker, broker->shard_count, MAILBOX_MAX, (gsize)settings->tail_cache_bytes / count);
}

static Failure *process_open(Process *process) {
  const Settings *settings = &process->settings;
  Broker *broker = &process->broker;
  broker->id = (gint32)settings->id;
  broker->orphan_grace_ms = settings->orphan_grace_ms;
  broker->producer_expiry_ms = settings->producer_expiry_ms;
  broker->catch_up_rate = settings->catch_up_rate;
  DiskWatermark watermark;
  make_shards(process);
  Failure *failure = disk_watermark_parse(settings->disk_low_watermark, &watermark);
  if (!failure)
    failure = open_store(process);
  if (failure)
    return failure;
  process->disk_care = disk_care_new(process->loop, broker, settings->data_dir, &watermark, on_disk_low, process);
  broker->pollers = rpc_pollers_new("rpc", 0);
  broker->client = rpc_client_new(&(RpcClientOptions){.pollers = broker->pollers});
  guint16 port = 0, peer_port = 0;
  failure = broker_server_open(broker, settings->listen, settings->peer_listen, &process->server, &port, &peer_port);
  if (failure)
    return failure;
  process->address = process_advertise(settings->advertise, settings->listen, port);
  process->peer_address = process_advertise(settings->peer_advertise, settings->peer_listen, peer_port);
  return NULL;
}

static void process_serve(Process *process) {
  static const NodeEvents EVENTS = {.fenced = on_fenced, .caught_up = on_caught_up, .refused = on_refused};
  Broker *broker = &process->broker;
  for (guint i = 0; i < broker->shard_count; i++)
    shard_start(broker->shards[i]);
  process->loops_run = TRUE;
  const CleanerOptions cleaner_options = {.interval_ms = process->settings.compaction_interval_ms,
                                          .bytes_per_second = process->settings.compaction_rate,
                                          .map_bytes = process->settings.compaction_memory};
  process->cleaner = cleaner_new(broker, &cleaner_options);
  broker_server_start(process->server);
  g_auto(GStrv) controllers = g_strsplit(process->settings.controllers, ",", -1);
  const NodeOptions options = {.rack = process->settings.rack,
                               .address = process->address,
                               .peer_address = process->peer_address,
                               .controllers = (const char *const *)controllers};
  process->node = node_new(broker, process->loop, &options, &EVENTS, process);
  node_start(process->node);
  loop_run(process->loop);
}

/* ---- closing ---- */

/* From the doors inwards: calls, then what calls other processes, then the store, then the loops that all complete on.
 */
static void process_close(Process *process) {
  Broker *broker = &process->broker;
  if (process->loops_run)
    broker_server_drain(process->server, DRAIN_GRACE_MS);
  g_clear_pointer(&process->node, node_free);
  loop_finish(process->loop); /* ends of calls */
  rpc_client_free(broker->client);
  loop_finish(process->loop);
  disk_care_stop(process->disk_care);
  cleaner_stop(process->cleaner);
  log_store_close(broker->store);
  for (guint i = 0; i < broker->shard_count && process->loops_run; i++)
    shard_stop(broker->shards[i]);
  broker_server_free(process->server);
  rpc_pollers_free(broker->pollers);
  for (guint i = 0; i < broker->shard_count; i++)
    shard_free(broker->shards[i]);
  g_free(broker->shards);
  disk_care_free(process->disk_care);
  g_clear_pointer(&broker->damaged_logs, g_array_unref);
  loop_free(process->loop);
  g_free(process->address);
  g_free(process->peer_address);
}

static int process_run(Process *process) {
  g_autofree char *name = g_strdup_printf("broker-%" G_GINT64_FORMAT, process->settings.id);
  if (!process_start_logs(&process->settings.process, name))
    return EXIT_BAD_SETTING;
  process->loop = loop_new("main", MAIN_MAILBOX_MAX);
  process_on_stop(process->loop, on_stop, process);
  process_trim_malloc(process->loop);
  g_autoptr(Failure) failure = process_open(process);
  if (failure) {
    slog_error("the broker can't start", "error", failure_message(failure), NULL);
    process->exit_code = 1;
  } else {
    process_serve(process);
  }
  process_close(process);
  slog_info("stopped", NULL);
  return process->exit_code;
}

static gboolean check_settings(const Settings *settings) {
  if (*settings->data_dir)
    return TRUE;
  fprintf(stderr,
          "milena-broker: setting 'data-dir' is missing: name the folder that this broker keeps its logs in.\n");
  return FALSE;
}

int main(int argc, char **argv) {
  Process process = {0};
  Settings *settings = &process.settings;
  const SettingSpec specs[] = {
      {"id", SETTING_INT, &settings->id, "1", 0, G_MAXINT32, "number of this broker, unique in the cluster"},
      {"rack", SETTING_STRING, &settings->rack, "", 0, 0, "where it stands: replicas are spread over racks"},
      {"listen", SETTING_STRING, &settings->listen, "127.0.0.1:7600", 0, 0, "host:port for clients"},
      {"advertise", SETTING_STRING, &settings->advertise, "", 0, 0, "host:port that clients use, when it differs"},
      {"peer-listen", SETTING_STRING, &settings->peer_listen, "127.0.0.1:7650", 0, 0, "host:port for other brokers"},
      {"peer-advertise", SETTING_STRING, &settings->peer_advertise, "", 0, 0,
       "host:port that other brokers use, when it differs"},
      {"controllers", SETTING_STRING, &settings->controllers, "127.0.0.1:7750", 0, 0,
       "peer addresses of the controllers: host:port,... or 1=host:port,..."},
      {"data-dir", SETTING_STRING, &settings->data_dir, "", 0, 0, "folder of the logs; this broker's alone"},
      {"create-data-dir", SETTING_BOOL, &settings->create_data_dir, "false", 0, 0,
       "make the folder when it is missing; else that is refused: the disk may not be mounted"},
      {"shards", SETTING_INT, &settings->shards, "0", 0, SHARDS_MAX,
       "loops that share the partitions; 0: half the processors"},
      {"tail-cache-bytes", SETTING_BYTES, &settings->tail_cache_bytes, "32MiB", 0, G_MAXINT64,
       "memory for the latest batches, of all shards together"},
      {"wal-bytes", SETTING_BYTES, &settings->wal_bytes, "256MiB", 4 << 20, G_MAXINT64,
       "write-ahead logs of the store beyond this are put into tables; at most a sixteenth of a small disk"},
      {"segment-bytes", SETTING_BYTES, &settings->segment_bytes, "1GiB", 1 << 20, G_MAXINT64,
       "a time segment of the store is closed at this size ..."},
      {"segment-age", SETTING_DURATION_MS, &settings->segment_age_ms, "6h", 1000, G_MAXINT64, "... or at this age"},
      {"orphan-grace", SETTING_DURATION_MS, &settings->orphan_grace_ms, "10m", 0, G_MAXINT64 / 1000,
       "data that is in no topic any more is kept for so long"},
      {"producer-expiry", SETTING_DURATION_MS, &settings->producer_expiry_ms, "24h", 1000, G_MAXINT64 / 1000,
       "a producer that has not written to a partition for so long is forgotten by it"},
      {"disk-low-watermark", SETTING_STRING, &settings->disk_low_watermark, "auto", 0, 0,
       "free space of data-dir's disk below which records are refused: a size, a share such as 5%, 0 for none; auto: 5 "
       "%, from 256MiB to 2GiB"},
      {"catch-up-rate", SETTING_BYTES, &settings->catch_up_rate, "0", 0, G_MAXINT64,
       "bytes a second that this broker sends to replicas that are not in sync, all together; 0: as many as it can"},
      {"compaction-interval", SETTING_DURATION_MS, &settings->compaction_interval_ms, "15s", 10, G_MAXINT64 / 1000,
       "logs of compacted topics are looked at so often, and rest as long after they were compacted"},
      {"compaction-rate", SETTING_BYTES, &settings->compaction_rate, "32MiB", 0, G_MAXINT64,
       "bytes a second that compaction reads and writes at most; 0: as many as it can"},
      {"compaction-memory", SETTING_BYTES, &settings->compaction_memory, "32MiB", 1 << 10, G_MAXINT64,
       "memory for the keys of one compaction: 24 bytes each; with more keys it takes several passes"},
      PROCESS_SETTINGS(&settings->process),
      {NULL},
  };
  int exit_code = 0;
  if (settings_load("milena-broker", "broker", specs, argc, argv, &exit_code)) {
    process_raise_descriptors();
    process_tune_malloc();
    exit_code = check_settings(settings) ? process_run(&process) : EXIT_BAD_SETTING;
  }
  settings_clear(specs);
  return exit_code;
}
