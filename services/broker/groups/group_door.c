/* What the calls of one front share: see group_door.h.
 *
 * Invariants: `watch` is set while `calls` is not empty; one EnsureGroupTopic at most is under way, however many wait.
 * Failure modes: the controller that can't make the topic is asked again by the next call that looks for it; why is
 * kept for those that run out of time. Thread: the front's loop. */
#include "services/broker/groups/group_internal.h"

#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/base/invariant.h"

#define ENSURE_MS 15000

static void on_metadata(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  (void)before;
  (void)now;
  GroupDoor *door = (GroupDoor *)((char *)watch - G_STRUCT_OFFSET(GroupDoor, watch));
  for (GList *link = door->calls.head, *next; link != NULL; link = next) {
    next = link->next; /* looking ends no call */
    group_call_look(link->data);
  }
}

GroupDoor *group_door_new(Front *front) {
  GroupDoor *door = g_new0(GroupDoor, 1);
  door->front = front;
  door->watch.changed = on_metadata;
  g_queue_init(&door->calls);
  return door;
}

void group_door_free(GroupDoor *door) {
  if (door == NULL)
    return;
  INVARIANT(door->calls.length == 0 && door->ensure == NULL, "a door ends before it is freed");
  failure_free(door->not_ensured);
  g_free(door);
}

void group_door_end(GroupDoor *door) {
  door->ended = TRUE;
  while (door->calls.head != NULL)
    group_call_end(door->calls.head->data); /* NOLINT(clang-analyzer-unix.Malloc): it takes itself out */
  if (door->ensure == NULL)
    return;
  rpc_client_call_abandon(door->ensure);
  g_clear_pointer(&door->ensure, rpc_client_call_unref);
}

const char *group_door_rack(GroupDoor *door) {
  const MetadataBroker *broker = metadata_image_broker(front_image(door->front), front_broker_id(door->front));
  return broker != NULL ? broker->rack : "";
}

void group_door_add(GroupDoor *door, GList *link) {
  if (door->calls.length == 0)
    front_watch_add(door->front, &door->watch);
  g_queue_push_tail_link(&door->calls, link);
}

void group_door_remove(GroupDoor *door, GList *link) {
  g_queue_unlink(&door->calls, link);
  if (door->calls.length == 0)
    front_watch_remove(door->front, &door->watch);
}

/* ---- the topic ---- */

static void ensured(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  GroupDoor *door = user_data;
  g_clear_pointer(&door->ensure, rpc_client_call_unref);
  g_clear_pointer(&door->not_ensured, failure_free);
  if (failure != NULL)
    door->not_ensured = failure_copy(failure);
}

void group_door_ensure_topic(GroupDoor *door) {
  if (door->ensure != NULL || door->ended)
    return;
  if (door->front->controller == NULL) {
    failure_free(door->not_ensured);
    door->not_ensured = failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "this broker reaches no active controller now");
    return;
  }
  Milena__Internal__V1__EnsureGroupTopicRequest request = MILENA__INTERNAL__V1__ENSURE_GROUP_TOPIC_REQUEST__INIT;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  door->ensure = rpc_client_unary(front_client(door->front), door->front->controller,
                                  &milena__internal__v1__controller_service__descriptor, "EnsureGroupTopic", message,
                                  g_get_monotonic_time() + ENSURE_MS * G_TIME_SPAN_MILLISECOND, front_loop(door->front),
                                  ensured, door);
}
