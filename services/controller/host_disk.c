/* The log's way to the disk; see host.h and host_internal.h.
 *
 *   ready ──► writes ──(nothing is being written)──► disk's thread: all that waits, in one synced batch ──► written ──►
 *   messages that waited for it leave
 *
 * Invariants:
 *  1. At most one job with log writes is under way; what comes meanwhile goes with the next one.
 *  2. A message leaves only when the write that it names is durable.
 * Threads: the loop owns the queues; the store belongs to the disk's thread while jobs are under way. Failure modes: a
 * disk error ends the process in the store; a leader's snapshot that is not what it should be ends it here. */
#include "services/controller/host_internal.h"

/* host ──► disk ──► host: log writes, in order. */
typedef struct {
  LoopTask task;
  Host *host;
  GPtrArray *writes; /* of RaftReady */
  GBytes *snapshot;  /* bytes of the last one installed; NULL: none was */
  guint64 snapshot_index;
} WriteJob;

static void write_free(gpointer value) {
  RaftReady *ready = value;
  raft_ready_clear(ready);
  g_free(ready);
}

/* ---- Messages ---- */

static void send_message(Host *host, RaftMessage *message) {
  if (message->kind == RAFT_SNAPSHOT && !message->chunk && !host_fill_chunk(host, message)) {
    raft_message_free(message);
    return;
  }
  transport_send(host->transport, message);
}

static void free_message(gpointer message) {
  raft_message_free(message);
}

GPtrArray *host_messages_new(void) {
  return g_ptr_array_new_with_free_func(free_message);
}

void host_take_message(Host *host, RaftMessage *message) {
  if (message->after_write > host->durable_write)
    g_ptr_array_add(host->held, message);
  else
    send_message(host, message);
}

static void release_messages(Host *host) {
  g_autoptr(GPtrArray) held = g_steal_pointer(&host->held);
  g_ptr_array_set_free_func(held, NULL); /* each goes on */
  host->held = host_messages_new();
  for (guint i = 0; i < held->len; i++)
    host_take_message(host, held->pdata[i]);
}

/* ---- The disk's thread ---- */

/* Put @entries behind those in @log: the first replaces everything from its index on. */
static void merge_entries(GPtrArray *log, const GPtrArray *entries) {
  if (entries->len == 0)
    return;
  guint64 first = ((const RaftEntry *)entries->pdata[0])->index;
  guint keep = log->len;
  while (keep > 0 && ((const RaftEntry *)log->pdata[keep - 1])->index >= first)
    keep--;
  g_ptr_array_set_size(log, (gint)keep);
  for (guint i = 0; i < entries->len; i++)
    g_ptr_array_add(log, raft_entry_ref(entries->pdata[i]));
}

static void install(WriteJob *job, const RaftReady *ready) {
  RaftLogStore *store = job->host->store;
  g_autoptr(Failure) failure = raft_log_store_install(store, &ready->hard_state, ready->install, ready->entries);
  if (failure)
    host_end_corrupt(failure);
  g_clear_pointer(&job->snapshot, g_bytes_unref);
  job->snapshot = raft_log_store_snapshot(store);
  job->snapshot_index = ready->install->meta.index;
}

/* Writes that follow each other are one. */
static guint write_together(WriteJob *job, guint from) {
  g_autoptr(GPtrArray) entries = raft_entries_new();
  guint end = from;
  const RaftReady *last = NULL;
  for (; end < job->writes->len; end++) {
    const RaftReady *ready = job->writes->pdata[end];
    if (ready->install)
      break;
    merge_entries(entries, ready->entries);
    last = ready;
  }
  raft_log_store_write(job->host->store, &last->hard_state, entries);
  return end;
}

static void write_done(LoopTask *task) {
  WriteJob *job = (WriteJob *)task;
  Host *host = job->host;
  const RaftReady *last = job->writes->pdata[job->writes->len - 1];
  host->writing = FALSE;
  host->durable_write = last->write_id;
  if (job->snapshot)
    host_set_snapshot(host, job->snapshot_index, g_steal_pointer(&job->snapshot));
  raft_core_written(host->core, last->write_id);
  g_ptr_array_unref(job->writes);
  g_free(job);
  release_messages(host);
  host_pump_soon(host);
}

static void write_run(LoopTask *task) {
  WriteJob *job = (WriteJob *)task;
  for (guint i = 0; i < job->writes->len;) {
    const RaftReady *ready = job->writes->pdata[i];
    if (ready->install) {
      install(job, ready);
      i++;
    } else {
      i = write_together(job, i);
    }
  }
  job->task.run = write_done;
  loop_post_completion(job->host->loop, &job->task);
}

/* ---- The loop's side ---- */

void host_take_write(Host *host, RaftReady *ready) {
  if (!ready->write_id)
    return;
  RaftReady *write = g_new0(RaftReady, 1);
  write->write_id = ready->write_id;
  write->hard_state = ready->hard_state;
  write->install = g_steal_pointer(&ready->install);
  write->entries = g_steal_pointer(&ready->entries);
  if (write->install)
    host->installed_index = write->install->meta.index;
  if (!host->writes)
    host->writes = g_ptr_array_new_with_free_func(write_free);
  g_ptr_array_add(host->writes, write);
}

void host_write_next(Host *host) {
  if (host->writing || !host->writes || !host->started)
    return;
  WriteJob *job = g_new0(WriteJob, 1);
  job->host = host;
  job->writes = g_steal_pointer(&host->writes);
  job->task.run = write_run;
  host->writing = TRUE;
  loop_post_completion(host->disk, &job->task); /* one at a time, so it always fits */
}

void host_on_disk(Host *host, void (*func)(gpointer data), gpointer data) {
  if (host->started)
    loop_call_and_wait(host->disk, func, data);
  else
    func(data);
}
