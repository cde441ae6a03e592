/* A member whose stream is over leaves: its partitions are others' at once, and not only when its session ends.
 *
 *   joining: the join is waited for, since only its answer can be left ──┐
 *   committing: the commit is waited for, so that it still counts ───────┴──► leave, and nobody waits for the answer
 *
 * Thread: the front's loop. Failure modes: a coordinator that can't be reached ends the session in its own time. */
#include "services/base/invariant.h"
#include "services/broker/read/subscribe_group.h"

typedef struct {
  GroupDoor *door;
  Member *member;
  RpcMessage *init; /* the member's words */
  char *client_address;
  gboolean for_good;
} Farewell;

RpcMessage *subscribe_leave_message(const Member *member, gboolean for_good) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  const Milena__V1__HeartbeatRequest *request = member_leave(member, for_good, memory);
  return request != NULL ? rpc_message_pack(&request->base, NULL, 0) : NULL;
}

static void farewell_free(Farewell *farewell) {
  member_free(farewell->member);
  rpc_message_unref(farewell->init);
  g_free(farewell->client_address);
  g_free(farewell);
}

/* Leave, and free. */
static void leave(Farewell *farewell) {
  g_autoptr(RpcMessage) message = subscribe_leave_message(farewell->member, farewell->for_good);
  if (message != NULL) {
    GroupAsk ask = {.group = member_group(farewell->member),
                    .method = "Heartbeat",
                    .kind = GROUP_REPEATABLE,
                    .request = message,
                    .client_address = farewell->client_address,
                    .until_us = g_get_monotonic_time() + SUBSCRIBE_LEAVE_MS * G_TIME_SPAN_MILLISECOND};
    group_call_begin(farewell->door, &ask, NULL, NULL);
  }
  farewell_free(farewell);
}

static void joined(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)failure;
  Farewell *farewell = user_data;
  if (response != NULL)
    member_heartbeat_answered(farewell->member, rpc_message_body(response), g_get_monotonic_time());
  leave(farewell);
}

static void committed(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  (void)failure;
  leave(user_data);
}

void subscribe_farewell(SubscribeGroup *group) {
  GroupCall *beat = g_steal_pointer(&group->beat), *commit = g_steal_pointer(&group->commit);
  gboolean is_leaving = group->leave != NULL, leaves = !is_leaving && !group->stays;
  gboolean is_joining = beat != NULL && member_epoch(group->member) == 0;
  if (is_leaving) /* that goes on without us */
    group_call_hand_over(g_steal_pointer(&group->leave), NULL, NULL);
  Farewell *farewell = g_new0(Farewell, 1);
  *farewell = (Farewell){.door = group->door,
                         .member = g_steal_pointer(&group->member),
                         .init = rpc_message_ref(group->subscribe->init),
                         .client_address = g_strdup(rpc_call_client(group->subscribe->call)),
                         .for_good = group->leaves_for_good};
  if (beat != NULL && !(leaves && is_joining))
    group_call_cancel(beat);
  if (commit != NULL)
    group_call_hand_over(commit, leaves ? committed : NULL, farewell);
  if (!leaves)
    farewell_free(farewell);
  else if (is_joining)
    group_call_hand_over(beat, joined, farewell);
  else if (commit == NULL)
    leave(farewell);
}
