/* The host; see host.h.
 *
 * States: loaded ──host_start──► running (follower, candidate, leader, active: the core says) ──host_stop──► stopped.
 *
 * Invariants:
 *  1. At most one log write is under way; what is proposed meanwhile goes with the next one.
 *  2. `image` holds exactly the entries up to the core's applied index; `tip` holds `image` and the entries of
 * `pending`.
 *  3. pending is in the order of indexes, and empty unless this is the leader.
 *  4. A snapshot is described (index, term) when its image is taken, so later entries never leak into it.
 *
 * Threads: the loop owns everything but the store, which belongs to the disk's loop while jobs are under way.
 * Failure modes: a log that can't be decoded or applied ends the process with a sentence, since going on would serve
 * another history; a disk error ends it in raft_log.c. */
#include "services/controller/host.h"

#include <stdlib.h>
#include <string.h>

#include "controller/metadata/records.h"
#include "services/base/slog.h"

#define TICK_MS 100
#define ELECTION_TICKS 10
#define HEARTBEAT_TICKS 2
#define DISK_MAILBOX_MAX 16
#define EXIT_CORRUPT 1

/* A proposal that waits to be committed. */
typedef struct {
  guint64 index, term;
  GPtrArray *records;    /* NULL for one that only waits for those before it */
  MetadataImage *result; /* the metadata right after it */
  HostDone done;
  gpointer data;
} Pending;

struct Host {
  Loop *loop, *disk;
  HostOptions options;
  char *address, *peer_address;
  RaftLogStore *store;
  RaftCore *core;
  MetadataImage *image, *tip;
  GQueue pending; /* of Pending */
  GArray *listeners;
  GSource *ticker;
  gboolean writing;      /* a log write is under way */
  gboolean snapshotting; /* a snapshot is being written */
  gboolean pumping;      /* pump is on the stack: what callbacks propose is taken by its loop */
  gboolean active;       /* as the listeners were told */
  gboolean stopped;
};

/* ---- Ends of proposals ---- */

static void pending_free(Pending *pending) {
  g_clear_pointer(&pending->records, g_ptr_array_unref);
  metadata_image_unref(pending->result);
  g_free(pending);
}

static void set_image(MetadataImage **place, MetadataImage *image) {
  MetadataImage *before = *place;
  *place = metadata_image_ref(image);
  metadata_image_unref(before);
}

/* This is no leader any more: whoever leads now may or may not have the entries. */
static void drop_pending(Host *host) {
  g_autoptr(Failure) failure = failure_new(
      FAILURE(UNKNOWN_OUTCOME), "The controller stopped being the active one while it made the change: it may or may "
                                "not have been made. Look, then try again with the same request_id.");
  Pending *pending;
  while ((pending = g_queue_pop_head(&host->pending))) {
    pending->done(failure, NULL, pending->data);
    pending_free(pending);
  }
  set_image(&host->tip, host->image);
}

/* Those that wait for entries up to @index, in order. */
static void finish_pending(Host *host, guint64 index) {
  for (Pending *head; (head = g_queue_peek_head(&host->pending)) && head->index <= index;) {
    g_queue_pop_head(&host->pending);
    head->done(NULL, head->result, head->data);
    pending_free(head);
  }
}

/* ---- Applying ---- */

G_NORETURN static void end_corrupt(const Failure *failure) {
  slog_error("the log can't be applied; this controller ends", "error", failure_message(failure), NULL);
  exit(EXIT_CORRUPT);
}

/* The records and the image of a METADATA entry, from the proposal that made it or from its bytes. */
static Failure *open_entry(Host *host, const RaftEntry *entry, GPtrArray **ret_records, MetadataImage **ret_image) {
  const Pending *head = g_queue_peek_head(&host->pending);
  if (head && head->index == entry->index && head->term == entry->term && head->records) {
    *ret_records = g_ptr_array_ref(head->records);
    *ret_image = metadata_image_ref(head->result);
    return NULL;
  }
  gsize size;
  const void *data = g_bytes_get_data(entry->data, &size);
  g_autoptr(GPtrArray) records = NULL;
  Failure *failure = metadata_transaction_decode(data, size, &records);
  if (!failure)
    failure =
        metadata_image_apply(host->image, (MetadataRecord **)records->pdata, records->len, entry->index, ret_image);
  if (!failure)
    *ret_records = g_steal_pointer(&records);
  return failure;
}

static Failure *apply_entry(Host *host, const RaftEntry *entry) {
  if (entry->kind == RAFT_ENTRY_KIND(METADATA)) {
    g_autoptr(GPtrArray) records = NULL;
    g_autoptr(MetadataImage) image = NULL;
    Failure *failure = open_entry(host, entry, &records, &image);
    if (failure)
      return failure;
    set_image(&host->image, image);
    if (g_queue_is_empty(&host->pending))
      set_image(&host->tip, image);
    for (guint i = 0; i < host->listeners->len; i++) {
      const HostListener *listener = &g_array_index(host->listeners, HostListener, i);
      listener->applied(image, records, listener->data);
    }
  }
  finish_pending(host, entry->index);
  return NULL;
}

/* In order, up to the first that fails. */
static Failure *apply_entries(Host *host, const GPtrArray *entries) {
  Failure *failure = NULL;
  for (guint i = 0; i < entries->len && !failure; i++)
    failure = apply_entry(host, entries->pdata[i]);
  return failure;
}

/* ---- The disk's thread ---- */

/* host ──► disk ──► host: one log write, or one snapshot. */
typedef struct {
  LoopTask task;
  Host *host;
  RaftReady ready;         /* of a log write */
  RaftSnapshotMeta meta;   /* of a snapshot */
  MetadataImage *snapshot; /* NULL for a log write */
} DiskJob;

static void pump(Host *host);

static void job_free(DiskJob *job) {
  raft_ready_clear(&job->ready);
  metadata_image_unref(job->snapshot);
  g_free(job);
}

static void write_done(LoopTask *task) {
  DiskJob *job = (DiskJob *)task;
  Host *host = job->host;
  host->writing = FALSE;
  raft_core_written(host->core, job->ready.write_id);
  job_free(job);
  pump(host);
}

static void write_run(LoopTask *task) {
  DiskJob *job = (DiskJob *)task;
  raft_log_store_write(job->host->store, &job->ready.hard_state, job->ready.entries);
  job->task.run = write_done;
  loop_post_completion(job->host->loop, &job->task);
}

static void snapshot_done(LoopTask *task) {
  DiskJob *job = (DiskJob *)task;
  Host *host = job->host;
  host->snapshotting = FALSE;
  raft_core_compact(host->core, &job->meta);
  slog_info("snapshot written", "index", SLOG_INT(job->meta.index), NULL);
  job_free(job);
  pump(host);
}

static void snapshot_run(LoopTask *task) {
  DiskJob *job = (DiskJob *)task;
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(job->snapshot);
  raft_log_store_put_snapshot(job->host->store, &job->meta, bytes);
  job->task.run = snapshot_done;
  loop_post_completion(job->host->loop, &job->task);
}

/* Jobs are bounded by the two flags, so they always fit. */
static void job_start(Host *host, DiskJob *job, void (*run)(LoopTask *task)) {
  job->host = host;
  job->task.run = run;
  loop_post_completion(host->disk, &job->task);
}

static void maybe_snapshot(Host *host) {
  guint64 applied = raft_core_applied_index(host->core);
  if (host->snapshotting || applied + 1 < raft_core_first_index(host->core) + host->options.snapshot_entries)
    return;
  DiskJob *job = g_new0(DiskJob, 1);
  Failure *failure = raft_core_snapshot_meta(host->core, applied, &job->meta);
  if (failure)
    end_corrupt(failure);
  job->snapshot = metadata_image_ref(host->image);
  host->snapshotting = TRUE;
  job_start(host, job, snapshot_run);
}

/* ---- The core's work ---- */

static void tell_active(Host *host) {
  gboolean active = !host->stopped && raft_core_is_active(host->core);
  if (active == host->active)
    return;
  host->active = active;
  if (active)
    set_image(&host->tip, host->image);
  else
    drop_pending(host);
  slog_info(active ? "this controller is active" : "this controller is not active any more", "term",
            SLOG_INT(raft_core_term(host->core)), NULL);
  for (guint i = 0; i < host->listeners->len; i++) {
    const HostListener *listener = &g_array_index(host->listeners, HostListener, i);
    listener->active(active, listener->data);
  }
}

/* Take the core's work: apply, then write. Messages to peers do not exist while there is one voter. */
static void pump(Host *host) {
  RaftReady ready;
  if (host->pumping || host->stopped)
    return;
  host->pumping = TRUE;
  while (!host->writing && raft_core_ready(host->core, &ready)) {
    g_autoptr(Failure) failure = apply_entries(host, ready.committed);
    if (failure)
      end_corrupt(failure);
    if (!ready.write_id) {
      raft_ready_clear(&ready);
      continue;
    }
    DiskJob *job = g_new0(DiskJob, 1);
    job->ready = ready;
    host->writing = TRUE;
    job_start(host, job, write_run);
  }
  host->pumping = FALSE;
  tell_active(host);
  maybe_snapshot(host);
}

static gboolean tick(gpointer data) {
  Host *host = data;
  raft_core_tick(host->core);
  pump(host);
  return G_SOURCE_CONTINUE;
}

/* ---- Proposals ---- */

static void push_pending(Host *host, guint64 index, guint64 term, GPtrArray *records, MetadataImage *result,
                         HostDone done, gpointer data) {
  Pending *pending = g_new(Pending, 1);
  *pending = (Pending){index, term, records, metadata_image_ref(result), done, data};
  g_queue_push_tail(&host->pending, pending);
}

/* Wait for everything that was proposed before. */
static void wait_for_tip(Host *host, HostDone done, gpointer data) {
  const Pending *last = g_queue_peek_tail(&host->pending);
  if (last)
    push_pending(host, last->index, last->term, NULL, host->tip, done, data);
  else
    done(NULL, host->image, data);
}

void host_propose(Host *host, GPtrArray *records, HostDone done, gpointer data) {
  g_autoptr(GPtrArray) mine = records;
  g_autoptr(Failure) failure = host_check_active(host);
  if (failure) {
    done(failure, NULL, data);
    return;
  }
  if (mine->len == 0) {
    wait_for_tip(host, done, data);
    return;
  }
  MetadataRecord **made = (MetadataRecord **)mine->pdata;
  guint64 index = raft_core_last_index(host->core) + 1;
  g_autoptr(MetadataImage) result = NULL;
  failure = metadata_image_apply(host->tip, made, mine->len, index, &result);
  g_autoptr(GBytes) bytes = failure ? NULL : metadata_transaction_encode(made, mine->len);
  if (!failure)
    failure = raft_core_propose(host->core, bytes, &index);
  if (failure) {
    done(failure, NULL, data);
    return;
  }
  set_image(&host->tip, result);
  push_pending(host, index, raft_core_term(host->core), g_steal_pointer(&mine), result, done, data);
  pump(host);
}

/* ---- State ---- */

Loop *host_loop(const Host *host) {
  return host->loop;
}

gint32 host_id(const Host *host) {
  return host->options.id;
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

gint32 host_active_id(const Host *host) {
  guint64 leader = raft_core_leader(host->core);
  return leader ? (gint32)leader : -1;
}

Failure *host_check_active(const Host *host) {
  if (host->active)
    return NULL;
  gint32 id = host_active_id(host);
  const MetadataController *controller = id >= 0 ? metadata_image_controller(host->image, id) : NULL;
  if (!controller || id == host->options.id)
    return failure_set_retry_delay(failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                               "No controller is active at this moment. Nothing was changed: try "
                                               "again."),
                                   (gint64)TICK_MS * ELECTION_TICKS);
  Failure *failure =
      failure_new(FAILURE(NOT_CONTROLLER), "The active controller is %d at %s: ask that one.", id, controller->address);
  failure_add(failure, "controller_id", "%d", id);
  failure_add(failure, "address", "%s", controller->address);
  return failure_add(failure, "peer_address", "%s", controller->peer_address);
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

/* ---- Making ---- */

static MetadataController own_record(const HostOptions *options) {
  return (MetadataController){
      .id = options->id,
      .address = (char *)options->address,
      .peer_address = (char *)options->peer_address,
  };
}

Failure *host_bootstrap(RaftLogStore *store, const HostOptions *options, const char *cluster_id) {
  g_autoptr(MetadataImage) empty = metadata_image_new();
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = {.version = 2, .now_ms = g_get_real_time() / 1000};
  fill_random(context.random);
  MetadataController controller = own_record(options);
  Failure *failure = metadata_command_bootstrap(empty, &context, cluster_id, &controller, records);
  if (failure)
    return failure;
  /* The first entry says who votes, the second gives the cluster its identity: one write, so all or nothing. */
  RaftConfiguration configuration = {.members = {{.id = (guint64)options->id}}, .member_count = 1};
  g_autoptr(GPtrArray) entries = raft_entries_new();
  g_ptr_array_add(entries,
                  raft_entry_new(1, 1, RAFT_ENTRY_KIND(CONFIGURATION), raft_configuration_encode(&configuration)));
  g_ptr_array_add(entries,
                  raft_entry_new(2, 1, RAFT_ENTRY_KIND(METADATA),
                                 metadata_transaction_encode((MetadataRecord **)records->pdata, records->len)));
  RaftHardState state = {.term = 1, .commit = 2};
  raft_log_store_write(store, &state, entries);
  return NULL;
}

/* Apply what is known to be committed, so that the image is whole from the start. */
static Failure *apply_loaded(Host *host) {
  RaftReady ready;
  if (!raft_core_ready(host->core, &ready))
    return NULL;
  INVARIANT(ready.write_id == 0, "a core that heard of no event has nothing to write");
  Failure *failure = apply_entries(host, ready.committed);
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
  }
  RaftOptions options = {
      .id = (guint64)host->options.id,
      .election_ticks = ELECTION_TICKS,
      .heartbeat_ticks = HEARTBEAT_TICKS,
      .seed = ((guint64)g_random_int() << 32) | g_random_int(),
  };
  if (!failure)
    failure = raft_core_new(&options, &start, &host->core);
  raft_log_start_clear(&start);
  return failure ? failure : apply_loaded(host);
}

Failure *host_new(Loop *loop, RaftLogStore *store, const HostOptions *options, Host **ret_host) {
  g_autoptr(Host) host = g_new0(Host, 1);
  host->loop = loop;
  host->options = *options;
  host->address = g_strdup(options->address);
  host->peer_address = g_strdup(options->peer_address);
  host->options.address = host->address;
  host->options.peer_address = host->peer_address;
  host->store = store;
  host->image = metadata_image_new();
  host->tip = metadata_image_ref(host->image);
  host->listeners = g_array_new(FALSE, FALSE, sizeof(HostListener));
  g_queue_init(&host->pending);
  Failure *failure = load(host);
  if (failure) {
    host->store = NULL; /* stays the caller's */
    return failure;
  }
  set_image(&host->tip, host->image);
  host->disk = loop_new("raft-disk", DISK_MAILBOX_MAX);
  *ret_host = g_steal_pointer(&host);
  return NULL;
}

void host_listen(Host *host, const HostListener *listener) {
  g_array_append_val(host->listeners, *listener);
}

static void start_on_loop(gpointer data) {
  Host *host = data;
  GSource *ticker = g_timeout_source_new(TICK_MS);
  g_source_set_callback(ticker, tick, host, NULL);
  g_source_attach(ticker, loop_context(host->loop));
  host->ticker = ticker;
  tick(host); /* the only voter elects itself at once */
}

void host_start(Host *host) {
  loop_start(host->disk);
  loop_call(host->loop, start_on_loop, host);
}

static void stop_on_loop(gpointer data) {
  Host *host = data;
  host->stopped = TRUE;
  if (host->ticker) {
    g_source_destroy(host->ticker);
    g_clear_pointer(&host->ticker, g_source_unref);
  }
  tell_active(host);
}

void host_stop(Host *host) {
  loop_call_and_wait(host->loop, stop_on_loop, host);
  loop_stop(host->disk); /* carries out what is under way */
}

void host_free(Host *host) {
  if (!host)
    return;
  loop_free(host->disk);
  raft_core_free(host->core);
  raft_log_store_close(host->store);
  metadata_image_unref(host->image);
  metadata_image_unref(host->tip);
  g_array_unref(host->listeners);
  g_free(host->address);
  g_free(host->peer_address);
  g_free(host);
}
