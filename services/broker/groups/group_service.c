/* GroupService at the door: see group_service.h. Requests go on as they came; what is looked at is the group's name,
 * and in a heartbeat how long it may be held.
 *
 * What is asked again when nobody knows what became of a try, and why that does no harm:
 * - Heartbeat: it says how things are, not how they change. A join without an id is given one here, so that a
 * repetition is the same member; what a member owns counts for the assignment that it names (assignment_version), and
 * an epoch that is older than the coordinator's last answer to this member is refused. A repetition that is refused is
 * passed on: the member joins anew, as it must after any other loss. A leave whose member is gone the second time has
 * left.
 * - CommitOffsets: the same offsets again, under the same epoch. Commits of one member that are under way at the same
 *   time have no order, with or without this; who waits for each has it.
 * - UpdateGroup: all settings again.
 * - Reads, and what only checks.
 * Not again: ResetOffsets (a shift would shift twice), DeleteOffsets and DeleteGroup (in between, somebody may have
 * come and made anew what would be deleted).
 *
 * Thread: the front's loop. The state lives until the caller's call is closed. */
#include "services/broker/groups/group_service.h"

#include <string.h>

#include "services/base/invariant.h"
#include "services/base/times.h"
#include "services/broker/groups/group_internal.h"
#include "services/membership/coordinators.h"

/* Bound of a call whose caller sets none; what a heartbeat may be held comes on top. */
#define PATIENCE_MS 15000
/* A coordinator holds no longer than a heartbeat interval, which is a third of the longest session at most. */
#define HOLD_MS_MAX ((gint64)10 * 60 * 1000)

typedef struct {
  GroupDoor *door;
  RpcCall *call;
  RpcMessage *request;
  GroupCall *onwards; /* NULL once it has ended */
} Passing;

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Passing *passing = state;
  if (passing->onwards != NULL)
    group_call_cancel(passing->onwards);
  rpc_message_unref(passing->request);
  g_free(passing);
}

static const RpcCallEvents EVENTS = {.closed = closed};

static Passing *passing_new(GroupDoor *door, RpcCall *call, RpcMessage *request) {
  Passing *passing = g_new0(Passing, 1);
  *passing = (Passing){.door = door, .call = call, .request = rpc_message_ref(request)};
  rpc_call_set_events(call, &EVENTS, passing);
  return passing;
}

/* ---- passing on ---- */

static void reply_left(Passing *passing) {
  const Milena__V1__HeartbeatRequest *request = rpc_message_body(passing->request);
  Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
  response.member_id = request->member_id;
  rpc_call_reply(passing->call, &response.base, NULL, 0);
}

static void answered(RpcMessage *response, const Failure *failure, gpointer user_data) {
  Passing *passing = user_data;
  passing->onwards = NULL;
  if (failure != NULL)
    rpc_call_finish(passing->call, failure_copy(failure));
  else if (response != NULL)
    rpc_call_reply_message(passing->call, response);
  else
    reply_left(passing); /* the one method with a reason that means that it was done */
}

static void pass_on(GroupDoor *door, RpcCall *call, RpcMessage *request, GroupAsk ask) {
  Passing *passing = passing_new(door, call, request);
  gint64 patience_us = (PATIENCE_MS + ask.hold_ms) * G_TIME_SPAN_MILLISECOND;
  if (ask.request == NULL)
    ask.request = request;
  ask.client_address = rpc_call_client(call);
  ask.until_us = MIN(rpc_call_answer_by_us(call), g_get_monotonic_time() + patience_us);
  passing->onwards = group_call_begin(door, &ask, answered, passing);
}

/* A join without an id gets one. NULL for all others. */
static RpcMessage *name_member(const Milena__V1__HeartbeatRequest *request) {
  if (*request->member_id != '\0' || request->member_epoch != 0)
    return NULL;
  Milena__V1__HeartbeatRequest body = *request;
  g_autofree char *id = g_uuid_string_random();
  body.member_id = id;
  return rpc_message_pack(&body.base, NULL, 0);
}

static void heartbeat(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__HeartbeatRequest *body = rpc_message_body(request);
  GroupAsk ask = {.group = body->group, .method = "Heartbeat", .kind = GROUP_REPEATABLE};
  ask.hold_ms = CLAMP(times_duration_ms(body->max_wait, 0), 0, HOLD_MS_MAX);
  if (body->leave != MILENA__V1__LEAVE__LEAVE_UNSPECIFIED)
    ask.done_reason = FAILURE(UNKNOWN_MEMBER);
  g_autoptr(RpcMessage) named = name_member(body);
  ask.request = named;
  pass_on(door, call, request, ask);
}

static void commit_offsets(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__CommitOffsetsRequest *body = rpc_message_body(request);
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "CommitOffsets", .kind = GROUP_REPEATABLE});
}

static void fetch_offsets(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__FetchOffsetsRequest *body = rpc_message_body(request);
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "FetchOffsets", .kind = GROUP_READ});
}

static void get_group(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__GetGroupRequest *body = rpc_message_body(request);
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "GetGroup", .kind = GROUP_READ});
}

static void update_group(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__UpdateGroupRequest *body = rpc_message_body(request);
  GroupCallKind kind = body->validate_only ? GROUP_READ : GROUP_REPEATABLE;
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "UpdateGroup", .kind = kind});
}

static void reset_offsets(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__ResetOffsetsRequest *body = rpc_message_body(request);
  GroupCallKind kind = body->validate_only ? GROUP_READ : GROUP_ONCE;
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "ResetOffsets", .kind = kind});
}

static void delete_offsets(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__DeleteOffsetsRequest *body = rpc_message_body(request);
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "DeleteOffsets", .kind = GROUP_ONCE});
}

static void delete_group(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__DeleteGroupRequest *body = rpc_message_body(request);
  pass_on(door, call, request, (GroupAsk){.group = body->group, .method = "DeleteGroup", .kind = GROUP_ONCE});
}

/* ---- answered here ---- */

static void list_groups(RpcCall *call, RpcMessage *request, gpointer door) {
  group_list_begin(door, call, request);
}

static void found(RpcMessage *none, const Failure *failure, gpointer user_data) {
  (void)none;
  Passing *passing = user_data;
  passing->onwards = NULL;
  const Milena__V1__GetCoordinatorRequest *request = rpc_message_body(passing->request);
  MetadataImage *image = front_image(passing->door->front);
  CoordinatorPlace place;
  Failure *ending = failure != NULL ? failure_copy(failure) : coordinators_find(image, request->group, &place);
  if (ending != NULL) {
    rpc_call_finish(passing->call, ending);
    return;
  }
  Milena__V1__GroupCoordinator coordinator;
  coordinators_fill(image, &place, &coordinator);
  Milena__V1__GetCoordinatorResponse response = MILENA__V1__GET_COORDINATOR_RESPONSE__INIT;
  response.coordinator = &coordinator;
  rpc_call_reply(passing->call, &response.base, NULL, 0);
}

static void get_coordinator(RpcCall *call, RpcMessage *request, gpointer door) {
  const Milena__V1__GetCoordinatorRequest *body = rpc_message_body(request);
  Failure *failure = coordinators_check_group(body->group);
  if (failure != NULL) {
    rpc_call_finish(call, failure);
    return;
  }
  Passing *passing = passing_new(door, call, request);
  GroupAsk ask = {.group = body->group, .kind = GROUP_READ, .client_address = rpc_call_client(call)};
  ask.until_us = MIN(rpc_call_answer_by_us(call), g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND);
  passing->onwards = group_call_begin(door, &ask, found, passing);
}

const RpcMethodHandler GROUP_SERVICE_HANDLERS[] = {
    {.name = "Heartbeat", .unary = heartbeat},
    {.name = "CommitOffsets", .unary = commit_offsets},
    {.name = "FetchOffsets", .unary = fetch_offsets},
    {.name = "ListGroups", .unary = list_groups},
    {.name = "GetGroup", .unary = get_group},
    {.name = "UpdateGroup", .unary = update_group},
    {.name = "ResetOffsets", .unary = reset_offsets},
    {.name = "DeleteOffsets", .unary = delete_offsets},
    {.name = "DeleteGroup", .unary = delete_group},
    {.name = "GetCoordinator", .unary = get_coordinator},
    {.name = NULL},
};
