/* What is committed becomes the metadata, and those who wait are told; see host.h and host_internal.h.
 *
 * Invariants:
 *  1. `image` holds exactly the entries up to the core's applied index; `tip` holds `image` and the entries of
 * `pending`.
 *  2. pending is in the order of indexes, and empty unless this is the active controller.
 *  3. A proposal is done only when the entry at its index has its term: another one there means that it was lost.
 * Owning thread: the host's loop. Failure modes: an entry that can't be decoded or applied ends the process with a
 * sentence, since going on would serve another history. */
#include "controller/metadata/records.h"
#include "services/base/slog.h"
#include "services/controller/host_internal.h"

/* A read that waits until this is known to be the active controller. */
typedef struct {
  HostDone done;
  gpointer data;
} Read;

/* ---- Ends of proposals ---- */

static void pending_free(Pending *pending) {
  g_clear_pointer(&pending->records, g_ptr_array_unref);
  metadata_image_unref(pending->result);
  g_free(pending);
}

void host_set_image(MetadataImage **place, MetadataImage *image) {
  MetadataImage *before = *place;
  *place = metadata_image_ref(image);
  metadata_image_unref(before);
}

static Failure *unknown_outcome(void) {
  return failure_new(FAILURE(UNKNOWN_OUTCOME),
                     "The controller stopped being the active one while it made the change: it may or may not have "
                     "been made. Look, then try again with the same request_id.");
}

void host_drop_pending(Host *host) {
  g_autoptr(Failure) failure = unknown_outcome();
  Pending *pending;
  while ((pending = g_queue_pop_head(&host->pending))) {
    pending->done(failure, NULL, pending->data);
    pending_free(pending);
  }
  host_set_image(&host->tip, host->image);
}

/* Those that wait for this entry. One with another term took the place of theirs. */
static void finish_pending(Host *host, const RaftEntry *entry) {
  for (Pending *head; (head = g_queue_peek_head(&host->pending)) && head->index <= entry->index;) {
    g_queue_pop_head(&host->pending);
    g_autoptr(Failure) failure = head->index == entry->index && head->term == entry->term ? NULL : unknown_outcome();
    head->done(failure, failure ? NULL : head->result, head->data);
    pending_free(head);
  }
}

void host_push_pending(Host *host, guint64 index, GPtrArray *records, MetadataImage *result, HostDone done,
                       gpointer data) {
  Pending *pending = g_new(Pending, 1);
  *pending = (Pending){index, raft_core_term(host->core), records, metadata_image_ref(result), done, data};
  g_queue_push_tail(&host->pending, pending);
}

/* ---- Applying ---- */

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

/* @records: NULL when the whole image was replaced */
static void tell_applied(Host *host, MetadataImage *image, const GPtrArray *records) {
  for (guint i = 0; i < host->listeners->len; i++) {
    const HostListener *listener = &g_array_index(host->listeners, HostListener, i);
    listener->applied(image, records, listener->data);
  }
}

static Failure *apply_metadata(Host *host, const RaftEntry *entry) {
  g_autoptr(GPtrArray) records = NULL;
  g_autoptr(MetadataImage) image = NULL;
  Failure *failure = open_entry(host, entry, &records, &image);
  if (failure)
    return failure;
  host_set_image(&host->image, image);
  if (g_queue_is_empty(&host->pending))
    host_set_image(&host->tip, image);
  tell_applied(host, image, records);
  return NULL;
}

Failure *host_apply(Host *host, const GPtrArray *entries) {
  Failure *failure = NULL;
  for (guint i = 0; entries && i < entries->len && !failure; i++) {
    const RaftEntry *entry = entries->pdata[i];
    host->log_bytes += g_bytes_get_size(entry->data);
    if (entry->kind == RAFT_ENTRY_KIND(METADATA))
      failure = apply_metadata(host, entry);
    if (!failure)
      finish_pending(host, entry);
  }
  return failure;
}

Failure *host_restore(Host *host, const RaftInstall *install) {
  gsize size;
  const void *data = g_bytes_get_data(install->bytes, &size);
  g_autoptr(MetadataImage) image = NULL;
  Failure *failure = metadata_snapshot_decode(data, size, &image);
  if (failure)
    return failure;
  slog_info("the active controller's snapshot takes the place of the metadata", "index", SLOG_INT(install->meta.index),
            "bytes", SLOG_INT(size), NULL);
  host_drop_pending(host);
  host_drop_candidate(host);
  host_set_image(&host->image, image);
  host_set_image(&host->tip, image);
  tell_applied(host, image, NULL);
  return NULL;
}

/* ---- Proposals ---- */

/* Wait for everything that was proposed before. */
static void wait_for_tip(Host *host, HostDone done, gpointer data) {
  const Pending *last = g_queue_peek_tail(&host->pending);
  if (last)
    host_push_pending(host, last->index, NULL, host->tip, done, data);
  else
    host_read(host, done, data);
}

/* Elections that may lose acknowledged records are told, whoever or whatever asked for them (REPLICATION.md, rule 13).
 */
static void audit_elections(const Host *host, const GPtrArray *records) {
  for (guint i = 0; i < records->len; i++) {
    const MetadataRecord *record = records->pdata[i];
    if (!metadata_is_unclean(host->tip, record))
      continue;
    const MetadataTopic *topic = metadata_image_topic_by_id(host->tip, record->partition->topic_id);
    const char *what =
        metadata_cuts_damage(record)
            ? "unclean election: the leader is to cut its log in front of damage, and what lies behind is lost"
            : "unclean election: acknowledged records that the new leader lacks are lost";
    slog_warning(what, "topic", topic->name, "partition", SLOG_INT(record->partition->partition), "leader",
                 SLOG_INT(record->partition->leader_id), "leader_epoch", SLOG_INT(record->partition->leader_epoch),
                 NULL);
  }
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
  audit_elections(host, mine);
  host_set_image(&host->tip, result);
  host_push_pending(host, index, g_steal_pointer(&mine), result, done, data);
  host_pump_soon(host);
}

/* ---- Reads ---- */

void host_read(Host *host, HostDone done, gpointer data) {
  g_autoptr(Failure) failure = host_check_active(host);
  if (!failure)
    failure = raft_core_read(host->core, host->next_read);
  if (failure) {
    done(failure, NULL, data);
    return;
  }
  guint64 *context = g_memdup2(&host->next_read, sizeof host->next_read);
  Read *read = g_new(Read, 1);
  *read = (Read){done, data};
  host->next_read++;
  g_hash_table_insert(host->reads, context, read);
  host_pump_soon(host);
}

static void answer_read(Host *host, guint64 read_context, gboolean lost) {
  gpointer context = NULL, value = NULL;
  if (!g_hash_table_steal_extended(host->reads, &read_context, &context, &value))
    return;
  g_free(context);
  g_autofree Read *read = value;
  g_autoptr(Failure) failure =
      lost ? failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                         "The controller stopped being the active one while it answered. Ask again.")
           : NULL;
  read->done(failure, failure ? NULL : host->image, read->data);
}

void host_answer_reads(Host *host, const GArray *reads) {
  for (guint i = 0; reads && i < reads->len; i++) {
    const RaftRead *read = &g_array_index(reads, RaftRead, i);
    answer_read(host, read->context, read->lost);
  }
}

void host_drop_reads(Host *host) {
  guint count = 0;
  g_autofree gpointer *contexts = g_hash_table_get_keys_as_array(host->reads, &count);
  for (guint i = 0; i < count; i++)
    answer_read(host, *(guint64 *)contexts[i], TRUE);
}

/* ---- Listeners ---- */

static void tell_active(Host *host, gboolean active) {
  host->active = active;
  host->active_term = raft_core_term(host->core);
  if (active)
    host_set_image(&host->tip, host->image);
  else
    host_drop_pending(host);
  slog_info(active ? "this controller is active" : "this controller is not active any more", "term",
            SLOG_INT(host->active_term), NULL);
  for (guint i = 0; i < host->listeners->len; i++) {
    const HostListener *listener = &g_array_index(host->listeners, HostListener, i);
    listener->active(active, listener->data);
  }
}

/* Active itself, or one that hears the active one and knows its cluster. */
static gboolean serves(const Host *host) {
  if (host->stopped)
    return FALSE;
  gboolean follows = host_active_id(host) > 0 && raft_core_role(host->core) == RAFT_FOLLOWER;
  return host->active || (follows && *metadata_image_cluster_id(host->image));
}

void host_tell(Host *host) {
  gboolean active = !host->stopped && raft_core_is_active(host->core);
  /* It may have lost and won between two looks: what was proposed before is not known to be there. */
  gboolean again = active && host->active && host->active_term != raft_core_term(host->core);
  if (host->active && (!active || again))
    tell_active(host, FALSE);
  if (active && !host->active)
    tell_active(host, TRUE);
  gboolean serving = serves(host);
  if (serving == host->serving)
    return;
  host->serving = serving;
  for (guint i = 0; i < host->listeners->len; i++) {
    const HostListener *listener = &g_array_index(host->listeners, HostListener, i);
    if (listener->serving)
      listener->serving(serving, listener->data);
  }
}
