/* How far reassignments are: of the partitions that this shard leads and that move, the active controller is told where
 * each follower's log ends, every now and then, for who asks it. Nothing depends on it.
 *
 *   quiet ──something moves──► telling ──answered, or not──► quiet, for a while
 *
 * Thread: the shard's loop. Failure modes: without a controller, or an answer, the next report tells. */
#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/broker/front_internal.h"
#include "services/broker/replication/replication_internal.h"

#define LOOK_EVERY_MS 1000
#define ASK_TIMEOUT_MS 3000
#define MOVES_MAX 1000

typedef Milena__Internal__V1__MoveProgress MoveProto;
typedef Milena__Internal__V1__ReplicaEnd EndProto;

struct Progress {
  Shard *shard;
  RpcClientCall *call;
  Timer timer;
};

static void look(Progress *progress);

static void on_timer(Timer *timer, gpointer data) {
  (void)timer;
  look(data);
}

static void look_later(Progress *progress) {
  timer_set(progress->shard->timers, &progress->timer, g_get_monotonic_time() + LOOK_EVERY_MS * G_TIME_SPAN_MILLISECOND,
            on_timer, progress);
}

/* One partition that is led here and moves, and the room for its message. */
typedef struct {
  MoveProto proto; /* first */
  EndProto ends[FOLLOWERS_MAX], *places[FOLLOWERS_MAX];
} Move;

static void fill(Move *move, const Partition *partition, const MetadataPartition *metadata) {
  milena__internal__v1__move_progress__init(&move->proto);
  move->proto.topic_id = (char *)partition->topic_id;
  move->proto.partition = partition->number;
  move->proto.leader_epoch = metadata->leader_epoch;
  move->proto.leader_end_offset = replica_log_end(partition->replica);
  move->proto.log_start_offset = replica_log_start(partition->replica);
  move->proto.appended_bytes = replica_appended_bytes(partition->replica);
  move->proto.replicas = move->places;
  for (guint i = 0; i < metadata->target_count && move->proto.n_replicas < FOLLOWERS_MAX; i++) {
    EndProto *end = &move->ends[move->proto.n_replicas];
    milena__internal__v1__replica_end__init(end);
    end->broker_id = metadata->target[i];
    if (replica_follower_end(partition->replica, end->broker_id, &end->end_offset))
      move->places[move->proto.n_replicas++] = end;
  }
}

/* Returns an array of Move, owned. */
static GPtrArray *collect(const Progress *progress) {
  GPtrArray *moves = g_ptr_array_new_with_free_func(g_free);
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, progress->shard->partitions);
  while (moves->len < MOVES_MAX && g_hash_table_iter_next(&iter, NULL, &value)) {
    const Partition *partition = value;
    const MetadataPartition *metadata;
    if (!replica_leads(partition->replica) || !partition_metadata(partition, &metadata) || metadata->target_count == 0)
      continue;
    Move *move = g_new(Move, 1);
    fill(move, partition, metadata);
    g_ptr_array_add(moves, move);
  }
  return moves;
}

static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  (void)message;
  (void)failure; /* told again, as long as it moves */
  Progress *progress = data;
  g_clear_pointer(&progress->call, rpc_client_call_unref);
  look_later(progress);
}

static void tell(Progress *progress, GPtrArray *moves, const char *controller) {
  const Shard *shard = progress->shard;
  Milena__Internal__V1__ReportMovesRequest request = MILENA__INTERNAL__V1__REPORT_MOVES_REQUEST__INIT;
  request.broker_id = shard->broker->id;
  request.broker_epoch = shard->broker_epoch;
  request.n_moves = moves->len;
  request.moves = (MoveProto **)moves->pdata; /* each begins with its message */
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  progress->call = rpc_client_unary(
      shard->broker->client, controller, &milena__internal__v1__controller_service__descriptor, "ReportMoves", message,
      g_get_monotonic_time() + ASK_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND, shard->loop, on_answer, progress);
}

static void look(Progress *progress) {
  const Shard *shard = progress->shard;
  const char *controller = shard->front->controller;
  g_autoptr(GPtrArray) moves = shard->image && shard->broker_epoch ? collect(progress) : NULL;
  if (moves && moves->len > 0 && controller)
    tell(progress, moves, controller);
  else if (moves && moves->len > 0)
    look_later(progress);
}

/* ---- life ---- */

Progress *progress_new(Shard *shard) {
  Progress *progress = g_new0(Progress, 1);
  progress->shard = shard;
  return progress;
}

void progress_look_soon(Progress *progress) {
  if (!progress->call && !timer_is_set(&progress->timer))
    look_later(progress);
}

void progress_stop(Progress *progress) {
  timer_clear(progress->shard->timers, &progress->timer);
  if (progress->call) {
    rpc_client_call_abandon(progress->call);
    g_clear_pointer(&progress->call, rpc_client_call_unref);
  }
}

void progress_free(Progress *progress) {
  progress_stop(progress);
  g_free(progress);
}
