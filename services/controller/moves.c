/* See moves.h.
 *
 * Invariant: `told` has only what was heard within KEPT_US before the last report: who leads tells every second, so
 * what is older is over. A report counts while the partition is led with the epoch that it names. Owning thread: the
 * host's loop. Failure modes: none; without reports a listing has no progress. */
#include "services/controller/moves.h"

#include "controller/metadata/view.h"
#include "services/base/invariant.h"
#include "services/controller/move_rate.h"

#define KEPT_US (10 * G_TIME_SPAN_SECOND)

struct Moves {
  Host *host;
  GHashTable *told; /* "partition:topic id" → Told, owned */
};

/* What a leader told of one partition. */
typedef struct {
  char *key;
  gint64 heard_us;
  gint32 leader_epoch;
  gint64 leader_end, log_start, appended_bytes;
  GHashTable *ends; /* broker's id → End, owned */
} Told;

/* How far one replica has come. */
typedef struct {
  gint64 end_offset;
  MoveRate rate;
} End;

static void told_free(gpointer data) {
  Told *told = data;
  g_free(told->key);
  g_hash_table_unref(told->ends);
  g_free(told);
}

static char *key_of(const char *topic_id, gint32 partition) {
  return g_strdup_printf("%d:%s", partition, topic_id);
}

/* ---- telling ---- */

static gint64 lacks(const Told *told, gint64 end_offset) {
  return MAX(told->leader_end - MAX(end_offset, told->log_start), 0);
}

/* @before: what was told last of the partition; NULL: nothing */
static Told *told_new(const Milena__Internal__V1__MoveProgress *move, const Told *before) {
  Told *told = g_new(Told, 1);
  *told = (Told){.key = key_of(move->topic_id, move->partition),
                 .heard_us = g_get_monotonic_time(),
                 .leader_epoch = move->leader_epoch,
                 .leader_end = move->leader_end_offset,
                 .log_start = move->log_start_offset,
                 .appended_bytes = move->appended_bytes,
                 .ends = g_hash_table_new_full(NULL, NULL, NULL, g_free)};
  for (gsize i = 0; i < move->n_replicas; i++) {
    const Milena__Internal__V1__ReplicaEnd *replica = move->replicas[i];
    gpointer key = GINT_TO_POINTER(replica->broker_id);
    const End *last = before ? g_hash_table_lookup(before->ends, key) : NULL;
    End *end = g_new0(End, 1);
    if (last)
      *end = *last;
    end->end_offset = replica->end_offset;
    move_rate_note(&end->rate, lacks(told, end->end_offset), told->heard_us);
    g_hash_table_insert(told->ends, key, end);
  }
  return told;
}

static gboolean is_old(gpointer key, gpointer value, gpointer data) {
  (void)key;
  return ((const Told *)value)->heard_us < *(const gint64 *)data;
}

/* It is led by who tells, and moves. */
static gboolean counts(const MetadataImage *image, const Milena__Internal__V1__MoveProgress *move, gint32 broker_id) {
  const MetadataTopic *topic = metadata_image_topic_by_id(image, move->topic_id);
  const MetadataPartition *partition = topic ? metadata_topic_partition(topic, move->partition) : NULL;
  return partition && partition->target_count > 0 && partition->leader_id == broker_id &&
         partition->leader_epoch == move->leader_epoch;
}

void moves_report(Moves *moves, RpcCall *call, const Milena__Internal__V1__ReportMovesRequest *request) {
  Failure *failure = host_check_active(moves->host);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  gint64 before_us = g_get_monotonic_time() - KEPT_US;
  g_hash_table_foreach_remove(moves->told, is_old, &before_us);
  for (gsize i = 0; i < request->n_moves; i++) {
    if (!counts(host_tip(moves->host), request->moves[i], request->broker_id))
      continue;
    g_autofree char *key = key_of(request->moves[i]->topic_id, request->moves[i]->partition);
    Told *told = told_new(request->moves[i], g_hash_table_lookup(moves->told, key));
    g_hash_table_replace(moves->told, told->key, told);
  }
  Milena__Internal__V1__ReportMovesResponse response = MILENA__INTERNAL__V1__REPORT_MOVES_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- listing ---- */

static void add_progress(Milena__V1__Reassignment *reassignment, const Told *told, gint32 broker_id) {
  const End *end = g_hash_table_lookup(told->ends, GINT_TO_POINTER(broker_id));
  Milena__V1__ReplicaProgress *progress = g_new(Milena__V1__ReplicaProgress, 1);
  milena__v1__replica_progress__init(progress);
  progress->broker_id = broker_id;
  progress->end_offset = end ? end->end_offset : 0;
  progress->remaining_offsets = lacks(told, progress->end_offset);
  if (told->appended_bytes > 0 && told->leader_end > 0) {
    double record_bytes = (double)told->appended_bytes / (double)told->leader_end;
    progress->remaining_bytes_presence_case = MILENA__V1__REPLICA_PROGRESS__REMAINING_BYTES_PRESENCE_REMAINING_BYTES;
    progress->remaining_bytes = (gint64)((double)progress->remaining_offsets * record_bytes);
  }
  gint64 seconds = end ? move_rate_seconds_left(&end->rate, progress->remaining_offsets, told->heard_us) : -1;
  if (seconds >= 0) {
    progress->time_left = g_new(Google__Protobuf__Duration, 1);
    google__protobuf__duration__init(progress->time_left);
    progress->time_left->seconds = seconds;
  }
  reassignment->progress[reassignment->n_progress++] = progress;
}

static void fill(const Moves *moves, const MetadataImage *image, Milena__V1__Reassignment *reassignment) {
  const MetadataTopic *topic = metadata_image_topic_by_name(image, reassignment->topic);
  const MetadataPartition *partition = topic ? metadata_topic_partition(topic, reassignment->partition) : NULL;
  g_autofree char *key = topic ? key_of(topic->id, reassignment->partition) : NULL;
  const Told *told = key ? g_hash_table_lookup(moves->told, key) : NULL;
  if (!partition || !told || told->leader_epoch != partition->leader_epoch)
    return;
  reassignment->leader_end_offset = told->leader_end;
  reassignment->progress = g_new(Milena__V1__ReplicaProgress *, MAX(reassignment->n_pending_replicas, 1));
  for (gsize i = 0; i < reassignment->n_pending_replicas; i++)
    add_progress(reassignment, told, reassignment->pending_replicas[i]);
}

typedef struct {
  Moves *moves;
  RpcCall *call;
  RpcMessage *request;
} Listing;

static void listing_done(const Failure *failure, MetadataImage *image, gpointer data) {
  g_autofree Listing *listing = data;
  Milena__V1__ListReassignmentsResponse *response = NULL;
  Failure *refused = failure ? failure_copy(failure)
                             : metadata_view_list_reassignments(image, rpc_message_body(listing->request), &response);
  rpc_message_unref(listing->request);
  if (refused) {
    rpc_call_finish(listing->call, refused);
    return;
  }
  INVARIANT(response, "what is not refused is listed");
  for (gsize i = 0; i < response->n_reassignments; i++)
    fill(listing->moves, image, response->reassignments[i]);
  rpc_call_reply(listing->call, &response->base, NULL, 0);
  milena__v1__list_reassignments_response__free_unpacked(response, NULL);
}

void moves_list(Moves *moves, RpcCall *call, RpcMessage *message) {
  Listing *listing = g_new(Listing, 1);
  *listing = (Listing){moves, call, rpc_message_ref(message)};
  host_read(moves->host, listing_done, listing);
}

/* ---- life ---- */

Moves *moves_new(Host *host) {
  Moves *moves = g_new0(Moves, 1);
  moves->host = host;
  moves->told = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, told_free);
  return moves;
}

void moves_free(Moves *moves) {
  if (!moves)
    return;
  g_hash_table_unref(moves->told);
  g_free(moves);
}
