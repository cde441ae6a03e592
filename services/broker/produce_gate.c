/* Gates: where what can't go now waits, in order, until the way is known.
 *
 *   shut ──ask the controller──► asked ──image shows it──► each goes in turn ──all went──► gone
 *                 ▲                                             │ still no way
 *                 └──────────── RETRY_US ───────────────────────┘
 *
 * One gate for each topic or partition that has no way now, so one question to the controller however many wait. What
 * comes while a gate is shut waits behind it: nothing overtakes what was sent before to the same place.
 *
 * Invariant: the turns of a gate are in the order of their sequence. Each turn has a deadline of its own, at which its
 * job takes it away. Thread: the front's loop. */
#include "services/broker/produce_internal.h"

/* How long after a fruitless try the next begins. */
#define RETRY_US G_GINT64_CONSTANT(100000)

struct ProduceGate {
  Producer *producer;
  char *key, *topic_name, *topic_id;
  GQueue turns;
  FrontRefresh *refresh;
  Timer timer;
};

static void on_refreshed(const Failure *failure, gpointer data);

static char *gate_key(const char *topic_name, const char *topic_id, gint32 partition) {
  return g_strdup_printf("%s %s %d", topic_name, topic_id, partition);
}

static void gate_ask(ProduceGate *gate) {
  gate->refresh =
      front_refresh_topic(gate->producer->front, gate->topic_name, gate->topic_id, G_MAXINT64, on_refreshed, gate);
}

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  gate_ask(data);
}

void produce_gate_free(gpointer data) {
  ProduceGate *gate = data;
  INVARIANT(g_queue_is_empty(&gate->turns), "nobody waits at a gate that goes");
  if (gate->refresh)
    front_refresh_cancel(gate->refresh);
  timer_clear(gate->producer->front->timers, &gate->timer);
  g_free(gate->key);
  g_free(gate->topic_name);
  g_free(gate->topic_id);
  g_free(gate);
}

/* ---- waiting ---- */

static gint compare_turns(gconstpointer a, gconstpointer b, gpointer data) {
  (void)data;
  guint64 left = ((const ProduceTurn *)a)->sequence, right = ((const ProduceTurn *)b)->sequence;
  return left < right ? -1 : left > right;
}

/* Nearly always behind the last. */
static void gate_enqueue(ProduceGate *gate, ProduceTurn *turn) {
  turn->gate = gate;
  turn->link.data = turn;
  GList *before = gate->turns.tail;
  while (before && compare_turns(before->data, turn, NULL) > 0)
    before = before->prev;
  if (before)
    g_queue_insert_after_link(&gate->turns, before, &turn->link);
  else
    g_queue_push_head_link(&gate->turns, &turn->link);
}

static ProduceTurn *gate_pop(ProduceGate *gate) {
  GList *link = g_queue_pop_head_link(&gate->turns);
  if (!link)
    return NULL;
  ProduceTurn *turn = link->data;
  turn->gate = NULL;
  return turn;
}

void produce_gate_leave(Producer *producer, ProduceTurn *turn) {
  (void)producer;
  if (!turn->gate)
    return;
  g_queue_unlink(&turn->gate->turns, &turn->link); /* an empty gate goes when its question is answered */
  turn->gate = NULL;
}

/* ---- opening ---- */

static gboolean is_about_existence(const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  return reason == FAILURE(UNKNOWN_TOPIC) || reason == FAILURE(UNKNOWN_PARTITION) ||
         reason == FAILURE(TOPIC_ID_MISMATCH);
}

static void gate_give_up(ProduceGate *gate, const Failure *failure) {
  for (ProduceTurn *turn; (turn = gate_pop(gate));)
    turn->give_up(turn, failure);
  g_hash_table_remove(gate->producer->gates, gate->key);
}

static void gate_retry_later(ProduceGate *gate) {
  timer_set(gate->producer->front->timers, &gate->timer, g_get_monotonic_time() + RETRY_US, on_retry, gate);
}

/* The front knows what the controller knows: let them go, as far as they get. */
static void gate_open(ProduceGate *gate, const Failure *asked) {
  for (ProduceTurn *turn; (turn = gate_pop(gate));) {
    g_autoptr(Failure) failure = turn->go(turn);
    if (!failure)
      continue;
    gate_enqueue(gate, turn);
    /* The controller has said so, or can't be asked: there is no more to wait for. */
    if (is_about_existence(failure))
      gate_give_up(gate, asked ? asked : failure);
    else
      gate_retry_later(gate);
    return;
  }
  g_hash_table_remove(gate->producer->gates, gate->key);
}

static void on_refreshed(const Failure *failure, gpointer data) {
  ProduceGate *gate = data;
  gate->refresh = NULL;
  if (failure && is_about_existence(failure))
    gate_give_up(gate, failure);
  else
    gate_open(gate, failure);
}

/* ---- draining ---- */

static Failure *draining(void) {
  return failure_new(FAILURE(DRAINING),
                     "this broker is stopping, and the records' leader is not known now: nothing was "
                     "written, go to another broker");
}

static void give_up_draining(ProduceTurn *turn) {
  g_autoptr(Failure) failure = draining();
  turn->give_up(turn, failure);
}

void produce_gates_drain(Producer *producer) {
  g_autoptr(Failure) failure = draining();
  g_autoptr(GList) gates = g_hash_table_get_values(producer->gates);
  for (GList *link = gates; link; link = link->next)
    gate_give_up(link->data, failure);
}

/* ---- arriving ---- */

static ProduceGate *gate_lookup(Producer *producer, const char *topic_name, const char *topic_id, gint32 partition) {
  if (g_hash_table_size(producer->gates) == 0)
    return NULL;
  g_autofree char *key = gate_key(topic_name, topic_id, partition);
  return g_hash_table_lookup(producer->gates, key);
}

void produce_gate_wait(Producer *producer, ProduceTurn *turn, const char *topic_name, const char *topic_id,
                       gint32 partition, Failure *failure) {
  /* Asking tells nothing new of a leader that was there a moment ago and can't be reached: no hurry. */
  FailureReason reason = failure_reason(failure);
  gboolean pause = reason == FAILURE(PEER_UNREACHABLE) || reason == FAILURE(UNKNOWN_OUTCOME);
  failure_free(failure);
  if (front_is_draining(producer->front)) {
    give_up_draining(turn);
    return;
  }
  ProduceGate *gate = gate_lookup(producer, topic_name, topic_id, partition);
  gboolean is_new = !gate;
  if (is_new) {
    gate = g_new0(ProduceGate, 1);
    *gate = (ProduceGate){.producer = producer,
                          .key = gate_key(topic_name, topic_id, partition),
                          .topic_name = g_strdup(topic_name),
                          .topic_id = g_strdup(topic_id)};
    g_queue_init(&gate->turns);
    g_hash_table_insert(producer->gates, gate->key, gate);
  }
  gate_enqueue(gate, turn);
  if (is_new && pause)
    gate_retry_later(gate);
  else if (is_new)
    gate_ask(gate);
}

void produce_gate_pass(Producer *producer, ProduceTurn *turn, const char *topic_name, const char *topic_id,
                       gint32 partition) {
  turn->sequence = ++producer->next_sequence;
  ProduceGate *gate = gate_lookup(producer, topic_name, topic_id, partition);
  if (gate) {
    gate_enqueue(gate, turn);
    return;
  }
  Failure *failure = turn->go(turn);
  if (failure)
    produce_gate_wait(producer, turn, topic_name, topic_id, partition, failure);
}
