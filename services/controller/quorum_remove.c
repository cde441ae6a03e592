/* RemoveController; see quorum_admin.h.
 *
 *   another one: checked ──► REMOVE proposed ──committed──► answered
 *   this one:    checked ──► handed over ──► the next active one is asked to do it ──► its answer
 *
 * Owning thread: the host's loop. Failure modes: a removal that would leave no majority is refused before anything
 * changes. */
#include <string.h>

#include "services/base/slog.h"
#include "services/controller/quorum_internal.h"

#define ASK_US ((gint64)5 * G_USEC_PER_SEC)

static const Milena__V1__RemoveControllerRequest *request_of(const Operation *operation) {
  return rpc_message_body(operation->request);
}

static void reply_rest(QuorumAdmin *admin, RpcCall *call, guint64 without) {
  MemberList list;
  members_fill(admin->host, admin->care, &list);
  Milena__V1__ControllerState *rest[RAFT_MEMBERS_MAX];
  Milena__V1__RemoveControllerResponse response = MILENA__V1__REMOVE_CONTROLLER_RESPONSE__INIT;
  for (guint i = 0; i < list.count; i++)
    if ((guint64)list.bodies[i].id != without)
      rest[response.n_controllers++] = list.pointers[i];
  response.controllers = rest;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- Another one ---- */

static void look_to_remove(Operation *operation);

static void remove_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  Operation *operation = data;
  if (!operation_resume(operation))
    return;
  QuorumAdmin *admin = operation->admin;
  if (failure && quorum_may_retry(failure) && !operation_is_late(operation)) {
    operation_watch(operation, look_to_remove); /* another change is under way */
    return;
  }
  if (failure) {
    operation_end(operation, failure_copy(failure));
    return;
  }
  slog_info("a controller was removed", "controller", SLOG_INT(operation->id), NULL);
  g_free(admin->last_request_id);
  admin->last_request_id = g_strdup(request_of(operation)->request_id);
  admin->last_removed = operation->id;
  reply_rest(admin, operation->call, operation->id);
  operation_end(operation, NULL);
}

static void look_to_remove(Operation *operation) {
  RaftChange change = {.kind = RAFT_CHANGE_REMOVE, .member = {.id = operation->id, .directory = operation->directory}};
  operation->waiting = TRUE;
  host_change(operation->admin->host, &change, remove_done, operation);
}

/* ---- This one ---- */

/* The next active one may not be ready yet. */
static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  Operation *operation = data;
  if (!operation_resume(operation))
    return;
  gboolean later = failure && (failure_is_retriable(failure) || failure_reason(failure) == FAILURE(NOT_CONTROLLER));
  if (later && !operation_is_late(operation))
    return;
  /* An earlier question was not answered, but carried out. */
  if (operation->asked > 1 && failure && failure_reason(failure) == FAILURE(UNKNOWN_CONTROLLER)) {
    reply_rest(operation->admin, operation->call, operation->id);
    operation_end(operation, NULL);
    return;
  }
  if (!failure)
    rpc_call_reply_message(operation->call, message);
  operation_end(operation, failure ? failure_copy(failure) : NULL);
}

static void ask_next(Operation *operation, const RaftMember *next) {
  Host *host = operation->admin->host;
  g_autoptr(RpcMessage) message = rpc_message_pack(rpc_message_body(operation->request), NULL, 0);
  gint64 deadline_us = MIN(operation->until_us, g_get_monotonic_time() + ASK_US);
  operation->asked++;
  operation->waiting = TRUE;
  RpcClientCall *call =
      rpc_client_unary(host_client(host), next->address, &milena__v1__admin_service__descriptor, "RemoveController",
                       message, deadline_us, host_loop(host), on_answer, operation);
  rpc_client_call_unref(call);
}

static void look_for_next(Operation *operation) {
  Host *host = operation->admin->host;
  RaftState state = host_state(host);
  const RaftMember *next = raft_configuration_find(host_configuration(host), state.leader);
  if (next && next->id != (guint64)host_id(host))
    ask_next(operation, next);
  else if (operation_is_late(operation) || (state.role == RAFT_LEADER && state.transfer_target == 0))
    operation_end(operation, failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                         "The active controller is to be removed, and no other took over in time. "
                                         "Nothing was changed: try again."));
}

static void remove_self(Operation *operation) {
  Host *host = operation->admin->host;
  guint64 next = host_best_successor(host);
  Failure *failure =
      next ? host_transfer(host, next)
           : failure_new(FAILURE(QUORUM_AT_RISK),
                         "The active controller is to be removed, and no other with a vote answers to take over.");
  if (failure)
    operation_end(operation, failure);
  else
    operation_watch(operation, look_for_next);
}

/* ---- Checking ---- */

/* The member that is meant, or why it can't be removed. */
static Failure *check_request(const Host *host, const Milena__V1__RemoveControllerRequest *request,
                              const RaftMember **ret_member) {
  const RaftMember *member = raft_configuration_find(host_configuration(host), (guint64)MAX(request->id, 0));
  if (!member) {
    g_autofree char *name = g_strdup_printf("%d", request->id);
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_CONTROLLER), "No controller of this cluster has the id %d.", request->id),
        "controller", name);
  }
  char directory[DIRECTORY_TEXT_BYTES];
  directory_text(&member->directory, directory);
  if (*request->directory_id && strcmp(request->directory_id, directory) != 0)
    return failure_new(FAILURE(DIRECTORY_MISMATCH),
                       "The controller %d has the folder %s, and the folder %s was named. Nothing was changed.",
                       request->id, directory, request->directory_id);
  *ret_member = member;
  return members_check_removal(host, member->id, request->force);
}

static gboolean is_retry(const QuorumAdmin *admin, const Milena__V1__RemoveControllerRequest *request) {
  return *request->request_id && g_strcmp0(admin->last_request_id, request->request_id) == 0 &&
         admin->last_removed == (guint64)request->id;
}

void quorum_admin_remove(QuorumAdmin *admin, RpcCall *call, RpcMessage *message) {
  const Milena__V1__RemoveControllerRequest *request = rpc_message_body(message);
  const RaftMember *member = NULL;
  Failure *failure = host_check_active(admin->host);
  gboolean done = !failure && is_retry(admin, request);
  if (!failure && !done)
    failure = check_request(admin->host, request, &member);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  if (done || request->validate_only) {
    reply_rest(admin, call, (guint64)request->id);
    return;
  }
  INVARIANT(member, "what is not done was found");
  Operation *operation = operation_new(admin, call, message);
  operation->id = member->id;
  operation->directory = member->directory;
  if (member->id == (guint64)host_id(admin->host))
    remove_self(operation);
  else
    look_to_remove(operation);
}
