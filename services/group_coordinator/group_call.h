/* One unary call about one group, from its request to its answer: what the handlers of GroupService share.
 *
 * A call that ends before its answer (the client went away) is forgotten everywhere. Thread: the coordinator's loop. */
#pragma once

#include "services/group_coordinator/coordinator_internal.h"
#include "services/group_coordinator/ends.h"

G_BEGIN_DECLS

typedef struct GroupCall GroupCall;
struct GroupCall {
  GroupAsk ask; /* first: an ask is cast to its call */
  Coordinator *coordinator;
  RpcCall *rpc;
  RpcMessage *message; /* the request: a reference */
  EndsAsk *ends;       /* a question to leaders that is under way, or NULL */
  ProtobufCMessage *response;
  GArray *resets; /* of GroupsReset: what ResetOffsets is about */
};

/* Take over a call. It is freed when the call has ended. @writes: see GroupAsk */
GroupCall *group_call_new(Coordinator *coordinator, RpcCall *rpc, RpcMessage *message, gboolean writes);
/* The way in: the group's tenure. FALSE: the call was refused. */
gboolean group_call_find(GroupCall *call, const char *group, Tenure **ret_tenure);
/* The answer; both free what they are given, and may be called once. */
void group_call_reply(GroupCall *call, ProtobufCMessage *response);
void group_call_refuse(GroupCall *call, Failure *failure);
/* For GroupAsk: give the answer on as it is. */
void group_call_answered(GroupAsk *ask, ProtobufCMessage *response, Failure *failure);

/* The call waits for no ends any more. */
void commit_ends_forget(CommitEnds *ends, GroupCall *call);

/* Handlers in files of their own. */
void group_commit(RpcCall *rpc, RpcMessage *message, gpointer user_data);
void group_get(RpcCall *rpc, RpcMessage *message, gpointer user_data);
void group_list(RpcCall *rpc, RpcMessage *message, gpointer user_data);
void group_reset(RpcCall *rpc, RpcMessage *message, gpointer user_data);

G_END_DECLS
