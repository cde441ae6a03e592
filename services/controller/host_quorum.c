/* Membership, hand-over and the first entries of a cluster, on the host; see host.h.
 *
 * A new cluster's first entries, in one write: who votes, then the cluster's identity. They are written to the log of
 * one controller alone and are not committed until a majority of those voters holds them, so a second attempt
 * elsewhere can't make a second cluster of the same controllers. Owning thread: the host's loop. */
#include <string.h>

#include "controller/metadata/records.h"
#include "services/base/slog.h"
#include "services/controller/host_internal.h"

/* ---- Changes ---- */

void host_change(Host *host, const RaftChange *change, HostDone done, gpointer data) {
  guint64 index = 0;
  g_autoptr(Failure) failure = host_check_active(host);
  if (!failure)
    failure = raft_core_propose_change(host->core, change, &index);
  if (failure) {
    done(failure, NULL, data);
    return;
  }
  host_push_pending(host, index, NULL, host->tip, done, data);
  host_pump_soon(host);
}

Failure *host_transfer(Host *host, guint64 target) {
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = raft_core_transfer(host->core, target);
  host_pump_soon(host);
  return failure;
}

guint64 host_best_successor(const Host *host) {
  RaftState state = raft_core_state(host->core);
  const RaftPeerState *best = NULL;
  for (guint i = 0; i < state.peer_count; i++) {
    const RaftPeerState *peer = &state.peers[i];
    if (!peer->self && !peer->learner && peer->heard && (!best || peer->match > best->match))
      best = peer;
  }
  return best ? best->id : 0;
}

/* ---- Handing over at the end ---- */

static void begin_hand_over(gpointer data) {
  Host *host = data;
  guint64 target = host->active ? host_best_successor(host) : 0;
  if (!target)
    return;
  g_autoptr(Failure) failure = host_transfer(host, target);
  if (failure)
    slog_warning("handing over failed", "error", failure_message(failure), NULL);
  else
    slog_info("handing over before the end", "to", SLOG_INT(target), NULL);
}

typedef struct {
  const Host *host;
  gboolean over; /* another one is active, or nobody takes over */
} HandOver;

static void look(gpointer data) {
  HandOver *hand_over = data;
  hand_over->over = raft_core_state(hand_over->host->core).transfer_target == 0;
}

void host_hand_over(Host *host, guint wait_ms) {
  loop_call_and_wait(host->loop, begin_hand_over, host);
  gint64 until_us = g_get_monotonic_time() + (gint64)wait_ms * 1000;
  HandOver hand_over = {host, FALSE};
  while (!hand_over.over && g_get_monotonic_time() < until_us) {
    loop_call_and_wait(host->loop, look, &hand_over);
    if (!hand_over.over)
      g_usleep(5000);
  }
}

/* ---- The beginning ---- */

static Failure *first_records(const GPtrArray *controllers, const char *cluster_id, const MetadataContext *context,
                              GPtrArray *records) {
  g_autoptr(MetadataImage) image = metadata_image_new();
  Failure *failure = metadata_command_bootstrap(image, context, cluster_id, controllers->pdata[0], records);
  for (guint i = 1; i < controllers->len && !failure; i++)
    failure = metadata_command_controller(image, controllers->pdata[i], records);
  return failure;
}

/* What goes to the disk's thread. */
typedef struct {
  Host *host;
  RaftHardState state;
  GPtrArray *entries;
  const char *cluster_id;
  Failure *failure;
} Beginning;

/* Entries first: a folder that names a cluster and holds nothing would wait for others for ever. */
static void write_beginning(gpointer data) {
  Beginning *beginning = data;
  RaftLogStore *store = beginning->host->store;
  raft_log_store_write(store, &beginning->state, beginning->entries);
  beginning->failure = raft_log_store_set_cluster(store, beginning->cluster_id);
}

static Failure *load_beginning(Host *host, const Beginning *beginning) {
  RaftStart start = {.hard_state = beginning->state, .entries = beginning->entries};
  return host_load_core(host, &start);
}

Failure *host_begin(Host *host, const RaftConfiguration *configuration, const GPtrArray *controllers,
                    const char *cluster_id) {
  if (!host_is_empty(host))
    return failure_new(FAILURE(ALREADY_BOOTSTRAPPED),
                       "The controller %d holds the cluster %s already. Nothing was changed.", host->options.id,
                       host->cluster_id);
  MetadataContext context = host_context(host);
  context.version = 2;
  g_autoptr(GPtrArray) records = metadata_records_new();
  Failure *failure = raft_configuration_check(configuration);
  if (!failure)
    failure = first_records(controllers, cluster_id, &context, records);
  if (failure)
    return failure;
  g_autoptr(GPtrArray) entries = raft_entries_new();
  RaftEntry *first = raft_entry_new_bootstrap(configuration, (guint64)host->options.id);
  g_ptr_array_add(entries, first);
  g_ptr_array_add(entries,
                  raft_entry_new(2, first->term, RAFT_ENTRY_KIND(METADATA),
                                 metadata_transaction_encode((MetadataRecord **)records->pdata, records->len)));
  Beginning beginning = {host, {.term = raft_bootstrap_term(configuration)}, entries, cluster_id, NULL};
  host_on_disk(host, write_beginning, &beginning);
  failure = beginning.failure;
  if (!failure)
    failure = load_beginning(host, &beginning);
  if (failure)
    return failure;
  host_know_cluster(host, cluster_id);
  slog_info("a new cluster begins", "cluster", cluster_id, "voters", SLOG_INT(configuration->member_count), NULL);
  host_pump_soon(host);
  return NULL;
}
