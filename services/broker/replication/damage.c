/* Damaged replicas are reported to the active controller, so that none of them leads, or counts as a copy
 * (REPLICATION.md, rule 16); once they count no more they are mended (partition_mend). The last replica that counts is
 * not reported: what is good of it is all that there is, and it serves that.
 *
 *   quiet ──metadata changes, and a damaged replica counts──► asking ──answered──► quiet: the next metadata says it
 *                                                               ▲ └─no answer: again, after a while
 *                                                               └───────┘
 *
 * Thread: the shard's loop. Failure modes: without a controller it is tried again. */
#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/base/slog.h"
#include "services/broker/front_internal.h"
#include "services/broker/replication/replication_internal.h"

#define RETRY_MS 500
#define ASK_TIMEOUT_MS 3000
#define REPORT_MAX 1000

struct Damage {
  Shard *shard;
  RpcClientCall *call;
  Timer timer;
  gboolean stopped;
};

static void on_timer(Timer *timer, gpointer data) {
  (void)timer;
  damage_look(data);
}

static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  (void)message;
  Damage *damage = data;
  g_clear_pointer(&damage->call, rpc_client_call_unref);
  if (failure)
    slog_warning("damaged replicas could not be reported, and will be again", "error", failure_message(failure), NULL);
  /* An answer too: the metadata with it may have come before. */
  timer_set(damage->shard->timers, &damage->timer, g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND,
            on_timer, damage);
}

/* Partitions whose replica here is damaged, and counts. Those that count no more are mended, and leaders that are to go
 * on with what is good. @ret_again: set when one of these has to wait for its writes, or for room in the store */
static GPtrArray *collect(const Damage *damage, gboolean *ret_again) {
  GPtrArray *partitions = g_ptr_array_new();
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, damage->shard->partitions);
  while (partitions->len < REPORT_MAX && g_hash_table_iter_next(&iter, NULL, &value)) {
    Partition *partition = value;
    gboolean others_count;
    if (!replica_damage(partition->replica))
      continue;
    if (replica_cuts_damage(partition->replica))
      *ret_again |= !partition_mend(partition);
    else if (!partition_counts(partition, &others_count))
      following_look(partition);
    else if (others_count)
      g_ptr_array_add(partitions, partition);
  }
  return partitions;
}

static void report(Damage *damage, const GPtrArray *partitions, const char *controller) {
  g_autofree Milena__Internal__V1__DamagedReplica *replicas =
      g_new(Milena__Internal__V1__DamagedReplica, partitions->len);
  g_autofree Milena__Internal__V1__DamagedReplica **places =
      g_new(Milena__Internal__V1__DamagedReplica *, partitions->len);
  for (guint i = 0; i < partitions->len; i++) {
    Partition *partition = partitions->pdata[i];
    milena__internal__v1__damaged_replica__init(&replicas[i]);
    replicas[i].topic_id = partition->topic_id;
    replicas[i].partition = partition->number;
    places[i] = &replicas[i];
  }
  Milena__Internal__V1__ReportDamageRequest request = MILENA__INTERNAL__V1__REPORT_DAMAGE_REQUEST__INIT;
  request.broker_id = damage->shard->broker->id;
  request.broker_epoch = damage->shard->broker_epoch;
  request.n_replicas = partitions->len;
  request.replicas = places;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  damage->call =
      rpc_client_unary(damage->shard->broker->client, controller, &milena__internal__v1__controller_service__descriptor,
                       "ReportDamage", message, g_get_monotonic_time() + ASK_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND,
                       damage->shard->loop, on_answer, damage);
}

void damage_look(Damage *damage) {
  const Shard *shard = damage->shard;
  if (damage->call || damage->stopped || !shard->image || !shard->broker_epoch)
    return; /* looked at with its answer, or the next metadata */
  gboolean again = FALSE;
  g_autoptr(GPtrArray) partitions = collect(damage, &again);
  if (partitions->len == 0 && !again)
    return;
  if (partitions->len > 0 && shard->front->controller)
    report(damage, partitions, shard->front->controller);
  else
    timer_set(shard->timers, &damage->timer, g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND, on_timer,
              damage);
}

/* ---- life ---- */

Damage *damage_new(Shard *shard) {
  Damage *damage = g_new0(Damage, 1);
  damage->shard = shard;
  return damage;
}

void damage_stop(Damage *damage) {
  damage->stopped = TRUE;
  timer_clear(damage->shard->timers, &damage->timer);
  if (damage->call) {
    rpc_client_call_abandon(damage->call);
    g_clear_pointer(&damage->call, rpc_client_call_unref);
  }
}

void damage_free(Damage *damage) {
  damage_stop(damage);
  g_free(damage);
}
