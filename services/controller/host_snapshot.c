/* Snapshots: when the log is cut, and what slow and new controllers are sent; see host_internal.h.
 *
 *   many entries applied ──► candidate: this image, to be written once a tail of entries follows it ──► encoded by the
 *   imager ──► put in force by the disk's thread ──► the core forgets the entries that it holds
 *
 * So the log always keeps a tail for controllers that were away for a moment, and costs nothing: images share what did
 * not change.
 *
 * Invariants:
 *  1. A candidate's description (index, term, membership) is taken with its image.
 *  2. One that a leader's snapshot has overtaken is dropped, never put in its place.
 * Owning thread: the loop, but where functions say otherwise. Failure modes: a disk error ends the process. */
#include "controller/metadata/records.h"
#include "services/base/slog.h"
#include "services/controller/host_internal.h"
#include "storage/log/crc32c.h"

#define SNAPSHOT_BYTES ((guint64)64 * 1024 * 1024)
/* Entries that are kept behind a snapshot: a tenth of what lies between two. */
#define TAIL_PART 10
#define TAIL_MAX 2000
/* One that is being sent is not replaced, unless the log grows to so many times its usual length. */
#define PATIENCE 4

/* host ──► imager ──► disk ──► host: one snapshot. */
typedef struct {
  LoopTask task;
  Host *host;
  RaftSnapshotMeta meta;
  MetadataImage *image;
  RaftSnapshotFile *file;
  GBytes *bytes; /* as they lie on the disk, at the end */
} SnapshotJob;

/* ---- What is in force ---- */

void host_set_snapshot(Host *host, guint64 index, GBytes *bytes) {
  g_clear_pointer(&host->snapshot, g_bytes_unref);
  host->snapshot = bytes;
  host->snapshot_index = index;
}

gboolean host_fill_chunk(Host *host, RaftMessage *message) {
  guint64 end = message->offset + message->length;
  if (!host->snapshot || !message->snapshot || message->snapshot->index != host->snapshot_index ||
      end > g_bytes_get_size(host->snapshot))
    return FALSE;
  message->chunk = g_bytes_new_from_bytes(host->snapshot, message->offset, message->length);
  return TRUE;
}

/* ---- Making one ---- */

static void snapshot_done(LoopTask *task) {
  SnapshotJob *job = (SnapshotJob *)task;
  Host *host = job->host;
  host->snapshotting = FALSE;
  if (job->bytes) {
    host_set_snapshot(host, job->meta.index, g_steal_pointer(&job->bytes));
    raft_core_compact(host->core, &job->meta);
    slog_info("snapshot written", "index", SLOG_INT(job->meta.index), "bytes", SLOG_INT(job->meta.size_bytes), NULL);
  }
  metadata_image_unref(job->image);
  g_free(job);
  host_pump_soon(host);
}

/* The disk's thread. */
static void put_run(LoopTask *task) {
  SnapshotJob *job = (SnapshotJob *)task;
  RaftLogStore *store = job->host->store;
  raft_log_store_put_snapshot_file(store, &job->meta, g_steal_pointer(&job->file));
  job->bytes = raft_log_store_snapshot(store);
  job->task.run = snapshot_done;
  loop_post_completion(job->host->loop, &job->task);
}

/* On the loop: what the imager wrote takes its place, unless a leader's snapshot was faster. */
static void encoded(LoopTask *task) {
  SnapshotJob *job = (SnapshotJob *)task;
  Host *host = job->host;
  if (host->stopped || host->installed_index >= job->meta.index) {
    g_clear_pointer(&job->file, raft_snapshot_file_free);
    snapshot_done(task);
    return;
  }
  job->task.run = put_run;
  loop_post_completion(host->disk, &job->task);
}

/* The imager's thread. */
static void encode_run(LoopTask *task) {
  SnapshotJob *job = (SnapshotJob *)task;
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(job->image);
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  job->meta.size_bytes = size;
  job->meta.crc32c = log_crc32c(data, size);
  raft_snapshot_file_append(job->file, data, size);
  raft_snapshot_file_sync(job->file);
  job->task.run = encoded;
  loop_post_completion(job->host->loop, &job->task);
}

/* The disk's thread: the file is made there, since the store is its own. */
static void file_run(LoopTask *task) {
  SnapshotJob *job = (SnapshotJob *)task;
  job->file = raft_snapshot_file_new(job->host->store);
  job->task.run = encode_run;
  loop_post_completion(job->host->imager, &job->task);
}

/* ---- When ---- */

static guint64 tail(const Host *host) {
  return MIN(host->options.snapshot_entries / TAIL_PART, TAIL_MAX);
}

void host_drop_candidate(Host *host) {
  g_clear_pointer(&host->candidate, metadata_image_unref);
  host->log_bytes = 0;
}

static void choose_candidate(Host *host, guint64 applied) {
  guint64 entries = applied + 1 - raft_core_first_index(host->core);
  guint64 most = host->options.snapshot_bytes ? host->options.snapshot_bytes : SNAPSHOT_BYTES;
  if (host->candidate || (entries < host->options.snapshot_entries && host->log_bytes < most))
    return;
  Failure *failure = raft_core_snapshot_meta(host->core, applied, &host->candidate_meta);
  if (failure)
    host_end_corrupt(failure);
  host->candidate = metadata_image_ref(host->image);
  host->log_bytes = 0;
}

void host_maybe_snapshot(Host *host) {
  guint64 applied = raft_core_applied_index(host->core);
  if (host->snapshotting || applied < raft_core_first_index(host->core))
    return;
  choose_candidate(host, applied);
  if (!host->candidate || applied < host->candidate_meta.index + tail(host))
    return;
  guint64 length = applied - raft_core_first_index(host->core);
  if (raft_core_is_sending_snapshot(host->core) && length < (guint64)PATIENCE * host->options.snapshot_entries)
    return;
  SnapshotJob *job = g_new0(SnapshotJob, 1);
  job->host = host;
  job->meta = host->candidate_meta;
  job->image = g_steal_pointer(&host->candidate);
  job->task.run = file_run;
  host->snapshotting = TRUE;
  loop_post_completion(host->disk, &job->task);
}
