/* The host: events in, the core's work out; see host.h. The parts: host_open.c, host_apply.c (metadata, proposals,
 * reads), host_disk.c (log writes), host_snapshot.c, host_quorum.c (membership, the beginning), transport.h (other
 * controllers).
 *
 * States: loaded ──host_start──► running (waiting for a cluster, follower, candidate, leader, active: the core says)
 * ──host_stop──► stopped.
 *
 * Invariants:
 *  1. The core's work is taken by pump alone, in the order that raft.h asks for; it never runs inside itself.
 *  2. Proposals that come in one turn of the loop leave in one message and one write: pump runs behind them.
 *
 * Threads: the loop owns everything but the store. Failure modes: a log that can't be decoded or applied ends the
 * process with a sentence, since going on would serve another history; a disk error ends it in the store. */
#include "services/controller/host.h"

#include <stdlib.h>
#include <string.h>

#include "services/base/slog.h"
#include "services/controller/host_internal.h"

#define EXIT_CORRUPT 1
/* When the active controller's stream breaks its time is cut: ticks come this fast, until it is heard again. Who else
 * hears it refuses the pre-vote, so nothing is disrupted by mistake. */
#define HURRY_MS 5
#define HURRY_TICKS 24
/* Who is not heard for so many election timeouts is not known to be active any more. */
#define SILENT_TIMEOUTS 4

void host_end_corrupt(const Failure *failure) {
  slog_error("the log can't be used; this controller ends", "error", failure_message(failure), NULL);
  exit(EXIT_CORRUPT);
}

/* ---- The core's work ---- */

static void take_ready(Host *host, RaftReady *ready) {
  host_take_write(host, ready);
  while (ready->messages && ready->messages->len > 0)
    host_take_message(host, g_ptr_array_steal_index(ready->messages, 0));
  Failure *failure = ready->restore ? host_restore(host, ready->restore) : NULL;
  if (!failure)
    failure = host_apply(host, ready->committed);
  if (failure)
    host_end_corrupt(failure);
  host_answer_reads(host, ready->reads);
  raft_ready_clear(ready);
}

static void follow_members(Host *host) {
  guint64 index = raft_core_configuration_index(host->core);
  if (host->members_known && index == host->members_index)
    return;
  host->members_known = TRUE;
  host->members_index = index;
  transport_set_members(host->transport, raft_core_configuration(host->core), index);
}

static void log_leader(Host *host) {
  guint64 leader = raft_core_leader(host->core);
  if (leader == host->known_leader)
    return;
  host->known_leader = leader;
  if (leader != (guint64)host->options.id)
    slog_info(leader ? "another controller leads" : "no controller leads", "controller", SLOG_INT(leader), "term",
              SLOG_INT(raft_core_term(host->core)), NULL);
}

static void pump(Host *host) {
  RaftReady ready;
  INVARIANT(!host->pumping, "the core's work is taken in order");
  if (host->stopped)
    return;
  host->pumping = TRUE;
  while (raft_core_ready(host->core, &ready))
    take_ready(host, &ready);
  follow_members(host);
  log_leader(host);
  host->pumping = FALSE;
  host_write_next(host);
  transport_flush(host->transport);
  host_tell(host);
  host_maybe_snapshot(host);
}

static void pump_run(LoopTask *task) {
  Host *host = (Host *)((char *)task - G_STRUCT_OFFSET(Host, pump_task));
  host->pump_posted = FALSE;
  pump(host);
}

void host_pump_soon(Host *host) {
  if (host->pump_posted || host->stopped || !host->started)
    return;
  host->pump_posted = TRUE;
  host->pump_task.run = pump_run;
  loop_post_completion(host->loop, &host->pump_task);
}

/* ---- Time ---- */

static gboolean tick(gpointer data) {
  Host *host = data;
  raft_core_tick(host->core);
  transport_tick(host->transport);
  pump(host);
  return G_SOURCE_CONTINUE;
}

static void stop_hurry(Host *host) {
  if (!host->hurrier)
    return;
  g_source_destroy(host->hurrier);
  g_clear_pointer(&host->hurrier, g_source_unref);
  host->hurry_for = 0;
}

static gboolean hurry(gpointer data) {
  Host *host = data;
  const RaftMember *leader = raft_configuration_find(raft_core_configuration(host->core), host->hurry_for);
  gboolean follows = raft_core_role(host->core) == RAFT_FOLLOWER && raft_core_leader(host->core) == host->hurry_for;
  if (!follows || !leader || host->hurry_ticks-- == 0) {
    stop_hurry(host);
    return G_SOURCE_REMOVE;
  }
  if (transport_peer(host->transport, leader->id, &leader->directory).down) {
    raft_core_tick(host->core);
    pump(host);
  }
  return G_SOURCE_CONTINUE;
}

/* ---- What the transport tells ---- */

static void on_message(const RaftMessage *message, gpointer data) {
  Host *host = data;
  if (host->stopped)
    return;
  if (message->from == host->hurry_for)
    stop_hurry(host);
  Failure *failure = raft_core_step(host->core, message);
  if (failure)
    host_end_corrupt(failure);
  if (message->from == raft_core_leader(host->core))
    host->leader_heard_us = g_get_monotonic_time();
  host_pump_soon(host);
}

static void on_lost(guint64 id, gpointer data) {
  Host *host = data;
  if (host->stopped || host->hurrier || id != raft_core_leader(host->core))
    return;
  host->hurry_for = id;
  host->hurry_ticks = HURRY_TICKS;
  host->hurrier = loop_add_timeout(host->loop, HURRY_MS, hurry, host);
}

typedef struct {
  RaftLogStore *store;
  const char *cluster_id;
  Failure *failure;
} Adoption;

static void adopt_run(gpointer data) {
  Adoption *adoption = data;
  adoption->failure = raft_log_store_set_cluster(adoption->store, adoption->cluster_id);
}

static Failure *on_adopt(const char *cluster_id, gpointer data) {
  Host *host = data;
  Adoption adoption = {host->store, cluster_id, NULL};
  host_on_disk(host, adopt_run, &adoption);
  if (adoption.failure)
    return adoption.failure;
  slog_info("this controller was taken into a cluster", "cluster", cluster_id, NULL);
  host_know_cluster(host, cluster_id);
  return NULL;
}

/* One that was removed, or whose folder was replaced, speaks of a membership that is older than the committed one. One
 * whose membership is newer than ours is always heard: it may be the one that we lack entries of. */
static Failure *on_check(guint64 id, const RaftDirectory *directory, guint64 configuration_index, gpointer data) {
  Host *host = data;
  const RaftConfiguration *configuration = raft_core_configuration(host->core);
  guint64 ours = raft_core_configuration_index(host->core);
  gboolean settled = ours <= raft_core_commit_index(host->core) && configuration->member_count > 0;
  if (!settled || configuration_index >= ours || raft_configuration_find_exact(configuration, id, directory))
    return NULL;
  char text[DIRECTORY_TEXT_BYTES];
  directory_text(directory, text);
  if (raft_configuration_find(configuration, id))
    return failure_new(FAILURE(DUPLICATE_ID),
                       "The controller %" G_GUINT64_FORMAT " has another folder than %s by now: that one was replaced. "
                       "Stop the process that runs on the old folder.",
                       id, text);
  return failure_new(FAILURE(UNKNOWN_CONTROLLER),
                     "The controller %" G_GUINT64_FORMAT
                     " with the folder %s was removed from the cluster. Stop it, or "
                     "give it an empty folder and add it again.",
                     id, text);
}

TransportEvents host_transport_events(Host *host) {
  return (TransportEvents){on_message, on_adopt, on_check, on_lost, host};
}

/* ---- State ---- */

Loop *host_loop(const Host *host) {
  return host->loop;
}

RpcClient *host_client(const Host *host) {
  return host->client;
}

gint32 host_id(const Host *host) {
  return host->options.id;
}

const RaftDirectory *host_directory(const Host *host) {
  return &host->directory;
}

const char *host_cluster_id(const Host *host) {
  return host->cluster_id;
}

gboolean host_is_empty(const Host *host) {
  return raft_core_last_index(host->core) == 0 && raft_core_term(host->core) == 0;
}

const char *host_address(const Host *host) {
  return host->address;
}

const char *host_peer_address(const Host *host) {
  return host->peer_address;
}

MetadataImage *host_image(const Host *host) {
  return host->image;
}

MetadataImage *host_tip(const Host *host) {
  return host->tip;
}

gboolean host_is_active(const Host *host) {
  return host->active;
}

gboolean host_is_serving(const Host *host) {
  return host->serving;
}

/* A voter that hears nothing stands for election. One without a vote, or that was removed, never learns that way. */
gint32 host_active_id(const Host *host) {
  guint64 leader = raft_core_leader(host->core);
  gint64 silence_us = g_get_monotonic_time() - host->leader_heard_us;
  gboolean silent = silence_us > (gint64)SILENT_TIMEOUTS * host->options.election_timeout_ms * 1000;
  return leader == 0 || (silent && leader != (guint64)host->options.id) ? -1 : (gint32)leader;
}

RaftState host_state(const Host *host) {
  return raft_core_state(host->core);
}

const RaftConfiguration *host_configuration(const Host *host) {
  return raft_core_configuration(host->core);
}

Transport *host_transport(const Host *host) {
  return host->transport;
}

guint host_election_timeout_ms(const Host *host) {
  return host->options.election_timeout_ms;
}

static Failure *name_active(const Host *host, gint32 id) {
  const MetadataController *controller = metadata_image_controller(host->image, id);
  const RaftMember *member = raft_configuration_find(raft_core_configuration(host->core), (guint64)id);
  const char *address = controller ? controller->address : "";
  const char *peer_address = member && *member->address ? member->address : controller ? controller->peer_address : "";
  Failure *failure = failure_new(FAILURE(NOT_CONTROLLER), "The active controller is %d at %s: ask that one.", id,
                                 *address ? address : peer_address);
  failure_add(failure, "controller_id", "%d", id);
  failure_add(failure, "address", "%s", address);
  return failure_add(failure, "peer_address", "%s", peer_address);
}

Failure *host_check_active(const Host *host) {
  if (host->active)
    return NULL;
  if (!*host->cluster_id)
    return failure_new(FAILURE(NOT_BOOTSTRAPPED),
                       "The controller %d has an empty folder and belongs to no cluster: bootstrap one with it, or add "
                       "it to one.",
                       host->options.id);
  gint32 id = host_active_id(host);
  if (id >= 0 && id != host->options.id)
    return name_active(host, id);
  return failure_set_retry_delay(failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                             "No controller is active at this moment. Nothing was changed: try "
                                             "again."),
                                 host->options.election_timeout_ms);
}

static void fill_random(guint8 random[16]) {
  for (gsize i = 0; i < 16; i += 4) {
    guint32 word = g_random_int();
    memcpy(random + i, &word, sizeof word);
  }
}

MetadataContext host_context(const Host *host) {
  MetadataContext context = {
      .version = raft_core_last_index(host->core) + 1,
      .now_ms = g_get_real_time() / 1000,
  };
  fill_random(context.random);
  return context;
}

/* ---- Starting and stopping ---- */

static void start_on_loop(gpointer data) {
  Host *host = data;
  host->started = TRUE;
  host->ticker = loop_add_timeout(host->loop, host_tick_ms(host), tick, host);
  tick(host); /* an only voter elects itself at once */
}

void host_start(Host *host) {
  loop_start(host->disk);
  loop_start(host->imager);
  loop_call(host->loop, start_on_loop, host);
}

static void stop_on_loop(gpointer data) {
  Host *host = data;
  host->stopped = TRUE;
  stop_hurry(host);
  if (host->ticker) {
    g_source_destroy(host->ticker);
    g_clear_pointer(&host->ticker, g_source_unref);
  }
  host_tell(host);
  host_drop_reads(host);
  transport_stop(host->transport);
}

/* Each loop carries out what is under way; the disk's may give the imager work, that one none to the disk. */
void host_stop(Host *host) {
  loop_call_and_wait(host->loop, stop_on_loop, host);
  loop_stop(host->disk);
  loop_stop(host->imager);
}
