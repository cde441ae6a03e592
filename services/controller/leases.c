/* Leases of coordinators; see leases.h.
 *
 * Invariant: what is leased to whom is metadata alone; nothing is kept here. Owning thread: the host's loop. Failure
 * modes: a proposal that fails is answered so, and the caller asks again; what a controller left unbalanced when it
 * ceased to be active, the next one settles when it becomes active. */
#include "services/controller/leases.h"

#include "services/base/slog.h"

#define PARTITIONS_DEFAULT 50

struct Leases {
  Host *host;
  guint partitions;
};

/* The metadata moved a lease: said once, by the active controller, as the records are proposed. */
static void log_moves(const GPtrArray *records) {
  guint granted = 0, orphaned = 0;
  for (guint i = 0; i < records->len; i++) {
    const MetadataRecord *record = records->pdata[i];
    if (record->record_case != MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_COORDINATOR_LEASE)
      continue;
    if (record->coordinator_lease->coordinator_id >= 0)
      granted++;
    else
      orphaned++;
  }
  if (granted || orphaned)
    slog_info("leases of groups' partitions move", "granted", SLOG_INT(granted), "without_owner", SLOG_INT(orphaned),
              NULL);
}

/* ---- Calls ---- */

static void ensure_done(const Failure *failure, MetadataImage *image, gpointer data) {
  RpcCall *call = data;
  if (failure) {
    rpc_call_finish(call, failure_copy(failure));
    return;
  }
  Milena__Internal__V1__EnsureGroupTopicResponse response = MILENA__INTERNAL__V1__ENSURE_GROUP_TOPIC_RESPONSE__INIT;
  response.metadata_version = metadata_image_version(image);
  rpc_call_reply(call, &response.base, NULL, 0);
}

void leases_ensure_group_topic(Leases *leases, RpcCall *call) {
  Failure *failure = host_check_active(leases->host);
  g_autoptr(GPtrArray) records = metadata_records_new();
  if (!failure) {
    MetadataContext context = host_context(leases->host);
    failure = metadata_command_ensure_group_topic(host_tip(leases->host), &context, leases->partitions, records);
  }
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  log_moves(records);
  host_propose(leases->host, g_steal_pointer(&records), ensure_done, call);
}

static void yield_done(const Failure *failure, MetadataImage *image, gpointer data) {
  RpcCall *call = data;
  if (failure) {
    rpc_call_finish(call, failure_copy(failure));
    return;
  }
  Milena__Internal__V1__YieldLeasesResponse response = MILENA__INTERNAL__V1__YIELD_LEASES_RESPONSE__INIT;
  response.metadata_version = metadata_image_version(image);
  rpc_call_reply(call, &response.base, NULL, 0);
}

void leases_yield(Leases *leases, RpcCall *call, const Milena__Internal__V1__YieldLeasesRequest *request) {
  Failure *failure = host_check_active(leases->host);
  g_autoptr(GPtrArray) records = metadata_records_new();
  if (!failure)
    failure = metadata_command_yield_leases(host_tip(leases->host), request, records);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  slog_warning("a coordinator gives leases back", "coordinator", SLOG_INT(request->coordinator_id), "leases",
               SLOG_INT(request->n_leases), NULL);
  log_moves(records);
  host_propose(leases->host, g_steal_pointer(&records), yield_done, call);
}

/* ---- Becoming active ---- */

static void balance_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  (void)data;
  if (failure)
    slog_warning("leases could not be settled", "error", failure_message(failure), NULL);
}

static void on_active(gboolean active, gpointer data) {
  const Leases *leases = data;
  if (!active)
    return;
  g_autoptr(GPtrArray) records = metadata_records_new();
  metadata_command_balance_leases(host_tip(leases->host), records);
  if (records->len == 0)
    return;
  log_moves(records);
  host_propose(leases->host, g_steal_pointer(&records), balance_done, NULL);
}

static void on_applied(MetadataImage *image, const GPtrArray *records, gpointer data) {
  (void)image;
  (void)records;
  (void)data; /* each change of coordinators brings its leases along */
}

Leases *leases_new(Host *host, guint partitions) {
  Leases *leases = g_new0(Leases, 1);
  leases->host = host;
  leases->partitions = partitions ? partitions : PARTITIONS_DEFAULT;
  host_listen(host, &(HostListener){.active = on_active, .applied = on_applied, .data = leases});
  return leases;
}

void leases_free(Leases *leases) {
  g_free(leases);
}
