/* The sending half of a call: see sender.h.
 *
 * Invariants
 *   1. At most one thread holds the turn; only it calls rpc_sender_next.
 *   2. queued_bytes counts what waits and what is outstanding.
 *   3. The end is handed out once, and nothing after it. */
#include "services/rpc/sender.h"

#include "services/base/invariant.h"

void rpc_sender_init(RpcSender *sender, guint64 most_bytes, gboolean has_turn) {
  *sender = (RpcSender){.most_bytes = most_bytes, .has_turn = has_turn};
  pthread_mutex_init(&sender->mutex, NULL);
  g_queue_init(&sender->waiting);
}

static void sender_drop(RpcSender *sender) {
  RpcMessage *message;
  while ((message = g_queue_pop_head(&sender->waiting)))
    rpc_message_unref(message);
  sender->queued_bytes = sender->outstanding_bytes;
}

void rpc_sender_clear(RpcSender *sender) {
  sender_drop(sender);
  pthread_mutex_destroy(&sender->mutex);
}

/* Take the turn if no one has it. The mutex is held. */
static gboolean sender_take_turn(RpcSender *sender) {
  gboolean free_turn = !sender->has_turn;
  sender->has_turn = TRUE;
  return free_turn;
}

/* Append to what waits. The mutex is held. */
static void sender_append(RpcSender *sender, RpcMessage *message) {
  g_queue_push_tail(&sender->waiting, rpc_message_ref(message));
  sender->queued_bytes += rpc_message_size(message);
}

RpcSendResult rpc_sender_push(RpcSender *sender, RpcMessage *message, gboolean *ret_start) {
  RpcSendResult result = RPC_CLOSED;
  *ret_start = FALSE;
  pthread_mutex_lock(&sender->mutex);
  if (!sender->is_ended && !sender->is_stopped) {
    sender_append(sender, message);
    /* Once busy, busy until writable is told, also while the queue is between the half and the whole of its bound: else
     * a caller takes itself for free while what it holds back waits for writable. */
    sender->is_blocked |= sender->queued_bytes > sender->most_bytes;
    result = sender->is_blocked ? RPC_BUSY : RPC_SENT;
    *ret_start = sender_take_turn(sender);
  }
  pthread_mutex_unlock(&sender->mutex);
  return result;
}

/* @message: NULL for the end alone */
static gboolean sender_end(RpcSender *sender, RpcMessage *message, gboolean *ret_start) {
  *ret_start = FALSE;
  pthread_mutex_lock(&sender->mutex);
  gboolean is_first = !sender->is_ended && !sender->is_stopped;
  if (is_first) {
    if (message)
      sender_append(sender, message);
    sender->is_ended = TRUE;
    *ret_start = sender_take_turn(sender);
  }
  pthread_mutex_unlock(&sender->mutex);
  return is_first;
}

gboolean rpc_sender_push_last(RpcSender *sender, RpcMessage *message, gboolean *ret_start) {
  return sender_end(sender, message, ret_start);
}

gboolean rpc_sender_end(RpcSender *sender, gboolean *ret_start) {
  return sender_end(sender, NULL, ret_start);
}

gboolean rpc_sender_next(RpcSender *sender, RpcSendStep *ret_step, gboolean *ret_writable) {
  pthread_mutex_lock(&sender->mutex);
  INVARIANT(sender->has_turn, "only the one who holds the turn asks for the next step");
  sender->queued_bytes -= sender->outstanding_bytes;
  sender->outstanding_bytes = 0;
  RpcSendStep step = {.message = g_queue_pop_head(&sender->waiting)};
  if (step.message)
    sender->outstanding_bytes = rpc_message_size(step.message);
  step.end = sender->is_ended && !sender->end_started && !sender->is_stopped && !sender->waiting.length;
  step.more = step.message && sender->waiting.length > 0;
  sender->end_started |= step.end;
  gboolean has_step = step.message || step.end;
  sender->has_turn = has_step;
  *ret_writable = sender->is_blocked && !sender->is_stopped && sender->queued_bytes <= sender->most_bytes / 2;
  if (*ret_writable)
    sender->is_blocked = FALSE;
  pthread_mutex_unlock(&sender->mutex);
  *ret_step = step;
  return has_step;
}

void rpc_sender_stop(RpcSender *sender) {
  pthread_mutex_lock(&sender->mutex);
  sender->is_stopped = TRUE;
  sender_drop(sender);
  pthread_mutex_unlock(&sender->mutex);
}
