/* The door to consumer groups: calls of GroupService on their way to the coordinator of their group, wherever that is
 * by now. One GroupDoor for each front, on the front's loop.
 *
 * A call looks for the coordinator in the metadata (who holds the lease of the group's partition of
 * __consumer_offsets), has the topic made when it is not there, and asks again where that is safe, until its time is
 * up. */
#pragma once

#include "milena/v1/group_service.pb-c.h"
#include "services/broker/front.h"
#include "services/rpc/message.h"

G_BEGIN_DECLS

typedef struct GroupDoor GroupDoor;
typedef struct GroupCall GroupCall;

/* @front: borrowed; must outlive it. Any thread, before the server starts. */
GroupDoor *group_door_new(Front *front);
/* The broker stops: calls under way that somebody waits for fail with DRAINING, the others are dropped; new ones fail.
 * On the loop. */
void group_door_end(GroupDoor *door);
/* After group_door_end, or when it was never used; any thread. NULL is fine. */
void group_door_free(GroupDoor *door);
/* This broker's rack, or ""; borrowed until the handler returns. */
const char *group_door_rack(GroupDoor *door);

/* What may be done when nobody knows whether a try was carried out. */
typedef enum {
  GROUP_READ,       /* it changes nothing: ask again */
  GROUP_REPEATABLE, /* done twice it is as done once: ask again */
  GROUP_ONCE,       /* say UNKNOWN_OUTCOME */
} GroupCallKind;

typedef struct {
  const char *group;  /* copied */
  const char *method; /* of GroupService: "Heartbeat"; static. NULL: only wait until the group has a coordinator */
  GroupCallKind kind;
  RpcMessage *request;        /* borrowed */
  const char *client_address; /* for whom: rpc_call_client; copied */
  gint64 hold_ms;             /* so long a coordinator that is well may take, beyond what calls take */
  gint64 until_us;            /* monotonic: answered by then, well or not */
  /* A refusal that, when it comes after a try that may have been carried out, only shows that it was; UNSPECIFIED:
   * none. Then there is neither a response nor a failure. */
  FailureReason done_reason;
} GroupAsk;

/* @response, @failure: borrowed; one of them is NULL, or both: see GroupAsk. */
typedef void (*GroupDone)(RpcMessage *response, const Failure *failure, gpointer user_data);

/* Call. @done: called once, never before this returns; NULL: nobody waits for the answer.
 *
 * Returns a handle that is valid until @done is called; NULL when @done is, and when the door has ended. */
GroupCall *group_call_begin(GroupDoor *door, const GroupAsk *ask, GroupDone done, gpointer user_data);
/* Another one waits for the answer from now on. */
void group_call_hand_over(GroupCall *call, GroupDone done, gpointer user_data);
/* Nobody waits any more: a try that is under way is cancelled. `done` is not called. */
void group_call_cancel(GroupCall *call);

G_END_DECLS
