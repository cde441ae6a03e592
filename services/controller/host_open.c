/* Making a host of what lies in its folder; see host.h and host_internal.h.
 *
 * Invariant: the image is whole before the host starts: everything that is known to be committed is applied. Owning
 * thread: whoever makes the host, before it starts. Failure modes: a log that makes no sense is a Failure, and the
 * store stays the caller's. */
#include "controller/metadata/records.h"
#include "services/controller/host_internal.h"

/* The core counts in ticks: a twelfth of the election timeout each. Heartbeats are six times as frequent as the
 * election timeout asks for, so that lost or late ones elect nobody. */
#define ELECTION_TIMEOUT_MS 300
#define ELECTION_TICKS 12
#define HEARTBEAT_TICKS 2
#define MOST_JOBS 16

guint host_tick_ms(const Host *host) {
  return MAX(host->options.election_timeout_ms / ELECTION_TICKS, 1);
}

Failure *host_load_core(Host *host, const RaftStart *start) {
  RaftOptions options = {
      .id = (guint64)host->options.id,
      .directory = host->directory,
      .election_ticks = ELECTION_TICKS,
      .heartbeat_ticks = HEARTBEAT_TICKS,
      .seed = ((guint64)g_random_int() << 32) | g_random_int(),
  };
  RaftCore *core = NULL;
  Failure *failure = raft_core_new(&options, start, &core);
  if (failure)
    return failure;
  raft_core_free(host->core);
  host->core = core;
  host->members_known = FALSE;
  return NULL;
}

void host_know_cluster(Host *host, const char *cluster_id) {
  g_free(host->cluster_id);
  host->cluster_id = g_strdup(cluster_id);
  transport_set_cluster(host->transport, cluster_id);
}

/* A bootstrap that was cut short, or a folder of an older release: the log knows the cluster, the folder does not. */
static const char *cluster_of_entries(const GPtrArray *entries, GPtrArray **ret_records) {
  for (guint i = 0; entries && i < entries->len; i++) {
    const RaftEntry *entry = entries->pdata[i];
    gsize size;
    const void *data = g_bytes_get_data(entry->data, &size);
    g_autoptr(GPtrArray) records = NULL;
    if (entry->kind != RAFT_ENTRY_KIND(METADATA))
      continue;
    g_autoptr(Failure) failure = metadata_transaction_decode(data, size, &records);
    for (guint j = 0; !failure && j < records->len; j++) {
      const MetadataRecord *record = records->pdata[j];
      if (record->record_case != MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_CLUSTER)
        continue;
      const char *id = record->cluster->cluster_id;
      *ret_records = g_steal_pointer(&records);
      return id;
    }
  }
  return "";
}

static Failure *find_cluster(Host *host, const RaftStart *start) {
  const RaftLogIdentity *identity = raft_log_store_identity(host->store);
  g_autoptr(GPtrArray) records = NULL;
  const char *cluster_id = identity->cluster_id;
  if (!*cluster_id)
    cluster_id = metadata_image_cluster_id(host->image);
  if (!*cluster_id)
    cluster_id = cluster_of_entries(start->entries, &records);
  if (!*cluster_id)
    return NULL;
  Failure *failure = raft_log_store_set_cluster(host->store, cluster_id);
  if (!failure)
    host_know_cluster(host, cluster_id);
  return failure;
}

/* Apply what is known to be committed, so that the image is whole from the start. */
static Failure *apply_loaded(Host *host) {
  RaftReady ready;
  if (!raft_core_ready(host->core, &ready))
    return NULL;
  INVARIANT(ready.write_id == 0, "a core that heard of no event has nothing to write");
  Failure *failure = host_apply(host, ready.committed);
  raft_ready_clear(&ready);
  return failure;
}

static Failure *load(Host *host) {
  RaftStart start = {0};
  g_autoptr(GBytes) snapshot = NULL;
  Failure *failure = raft_log_store_load(host->store, &start, &snapshot);
  if (!failure && snapshot) {
    gsize size;
    const void *data = g_bytes_get_data(snapshot, &size);
    g_clear_pointer(&host->image, metadata_image_unref);
    failure = metadata_snapshot_decode(data, size, &host->image);
    host_set_snapshot(host, start.snapshot.index, g_bytes_ref(snapshot));
  }
  if (!failure)
    failure = find_cluster(host, &start);
  if (!failure)
    failure = host_load_core(host, &start);
  raft_log_start_clear(&start);
  return failure ? failure : apply_loaded(host);
}

static void make_transport(Host *host) {
  TransportOptions options = {
      .id = host->options.id,
      .directory = host->directory,
      .address = host->address,
      .peer_address = host->peer_address,
      .controllers = host->options.controllers,
  };
  TransportEvents events = host_transport_events(host);
  host->transport = transport_new(host->loop, host->client, &options, &events);
}

Failure *host_new(Loop *loop, RpcClient *client, RaftLogStore *store, const HostOptions *options, Host **ret_host) {
  g_autoptr(Host) host = g_new0(Host, 1);
  host->loop = loop;
  host->client = client;
  host->options = *options;
  if (!host->options.election_timeout_ms)
    host->options.election_timeout_ms = ELECTION_TIMEOUT_MS;
  host->address = g_strdup(options->address);
  host->peer_address = g_strdup(options->peer_address);
  host->cluster_id = g_strdup("");
  host->directory = raft_log_store_identity(store)->directory;
  host->store = store;
  host->image = metadata_image_new();
  host->tip = metadata_image_ref(host->image);
  host->listeners = g_array_new(FALSE, FALSE, sizeof(HostListener));
  host->reads = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
  host->held = host_messages_new();
  g_queue_init(&host->pending);
  make_transport(host);
  Failure *failure = load(host);
  if (failure) {
    host->store = NULL; /* stays the caller's */
    return failure;
  }
  host_set_image(&host->tip, host->image);
  host->disk = loop_new("raft-disk", MOST_JOBS);
  host->imager = loop_new("raft-imager", MOST_JOBS);
  *ret_host = g_steal_pointer(&host);
  return NULL;
}

void host_listen(Host *host, const HostListener *listener) {
  g_array_append_val(host->listeners, *listener);
}

void host_free(Host *host) {
  if (!host)
    return;
  loop_free(host->disk);
  loop_free(host->imager);
  transport_free(host->transport);
  raft_core_free(host->core);
  host_drop_candidate(host);
  g_clear_pointer(&host->writes, g_ptr_array_unref);
  g_ptr_array_unref(host->held);
  g_clear_pointer(&host->snapshot, g_bytes_unref);
  raft_log_store_close(host->store);
  metadata_image_unref(host->image);
  metadata_image_unref(host->tip);
  g_array_unref(host->listeners);
  g_hash_table_unref(host->reads);
  g_free(host->address);
  g_free(host->peer_address);
  g_free(host->cluster_id);
  g_free(host);
}
