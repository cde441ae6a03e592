/* What a client in a group orders beside seeks and credit: commits and acknowledgements. They wait in one queue and are
 * carried out one after the other, while the stream goes on: a coordinator that is away holds back no credit.
 *
 * Bound: ORDERS_MAX; beyond it the client's next frame is not asked for. Thread: the front's loop. */
#include "services/broker/read/subscribe_group.h"

#define ORDERS_MAX 64

static const Milena__V1__SubscribeRequest *first(const SubscribeGroup *group) {
  return rpc_message_body(group->orders.head->data);
}

static void first_done(SubscribeGroup *group) {
  rpc_message_unref(g_queue_pop_head(&group->orders));
}

/* ---- commits ---- */

/* @response: NULL when the call failed, with @failure */
static void send_commit_done(SubscribeGroup *group, const Milena__V1__CommitOffsetsResponse *response,
                             const Failure *failure) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__CommitDone done = MILENA__V1__COMMIT_DONE__INIT;
  done.commit_id = first(group)->commit->commit_id;
  if (failure != NULL)
    done.status = fetched_status_new(memory, failure);
  if (response != NULL) {
    done.n_results = response->n_results;
    done.results = response->results;
  }
  Milena__V1__SubscribeResponse frame = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  frame.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_COMMIT_DONE;
  frame.commit_done = &done;
  subscribe_send(group->subscribe, &frame, memory);
}

static void committed(RpcMessage *response, const Failure *failure, gpointer user_data) {
  SubscribeGroup *group = user_data;
  group->commit = NULL;
  if (group->subscribe->finished)
    return;
  send_commit_done(group, response != NULL ? rpc_message_body(response) : NULL, failure);
  first_done(group);
  subscribe_orders_run(group);
}

/* Returns FALSE when it was refused here. */
static gboolean commit(SubscribeGroup *group) {
  const Milena__V1__SubscribeCommit *order = first(group)->commit;
  const char *name = member_group(group->member);
  if (member_epoch(group->member) == 0) {
    g_autoptr(Failure) failure =
        failure_new(FAILURE(FENCED),
                    "the member is out of group %s, and others read its partitions: nothing was committed. Acknowledge "
                    "the assignment change that says so",
                    name);
    send_commit_done(group, NULL, failure);
    return FALSE;
  }
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = (char *)name;
  request.member_id = (char *)member_id(group->member);
  request.member_epoch = member_epoch(group->member);
  request.n_offsets = order->n_offsets;
  request.offsets = order->offsets;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  GroupAsk ask = {.group = name,
                  .method = "CommitOffsets",
                  .kind = GROUP_REPEATABLE,
                  .request = message,
                  .client_address = rpc_call_client(group->subscribe->call),
                  .until_us = g_get_monotonic_time() + SUBSCRIBE_ASK_MS * G_TIME_SPAN_MILLISECOND};
  group->commit = group_call_begin(group->door, &ask, committed, group);
  return TRUE;
}

/* ---- acknowledgements ---- */

static void acknowledge(SubscribeGroup *group) {
  Failure *failure =
      member_acknowledge(group->member, first(group)->acknowledgement->assignment_id, g_get_monotonic_time());
  if (failure != NULL)
    subscribe_finish(group->subscribe, failure);
  else
    subscribe_group_settle(group);
}

/* ---- the queue ---- */

void subscribe_orders_run(SubscribeGroup *group) {
  while (group->orders.length > 0 && group->commit == NULL && !group->subscribe->finished) {
    if (first(group)->frame_case == MILENA__V1__SUBSCRIBE_REQUEST__FRAME_ACKNOWLEDGEMENT)
      acknowledge(group);
    else if (commit(group))
      break;
    first_done(group);
  }
  if (group->subscribe->finished)
    return;
  if (group->owes_frame && group->orders.length < ORDERS_MAX) {
    group->owes_frame = FALSE;
    subscribe_next_frame(group->subscribe);
  }
  if (group->orders.length == 0)
    subscribe_group_orders_done(group);
}

static void take(Subscribe *subscribe, RpcMessage *frame) {
  SubscribeGroup *group = subscribe->group;
  g_queue_push_tail(&group->orders, rpc_message_ref(frame));
  group->owes_frame = TRUE;
  subscribe_orders_run(group);
}

void subscribe_group_commit(Subscribe *subscribe, RpcMessage *frame) {
  take(subscribe, frame);
}

void subscribe_group_acknowledge(Subscribe *subscribe, RpcMessage *frame) {
  take(subscribe, frame);
}

void subscribe_orders_clear(SubscribeGroup *group) {
  g_queue_clear_full(&group->orders, (GDestroyNotify)rpc_message_unref);
}
