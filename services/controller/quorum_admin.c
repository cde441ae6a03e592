/* Operations on the quorum, and the short calls: see quorum_admin.h. quorum_add.c, quorum_remove.c and bootstrap.c have
 * the long ones.
 *
 *   operation: made ──► waits for a callback, or is looked at every LOOK_MS ──► answered ──► freed
 *
 * Invariants: each call is answered once; an operation lives until its last callback. Owning thread: the host's loop.
 * Failure modes: what does not end before its caller's deadline is answered with what is known. */
#include "services/controller/quorum_admin.h"

#include <string.h>

#include "services/controller/quorum_internal.h"

#define LOOK_MS 10
#define PATIENCE_US ((gint64)30 * G_USEC_PER_SEC)
#define PAGE_SIZE 100

/* ---- Operations ---- */

static void operation_free(gpointer value) {
  Operation *operation = value;
  if (operation->timer) {
    g_source_destroy(operation->timer);
    g_source_unref(operation->timer);
  }
  if (operation->clear)
    operation->clear(operation);
  rpc_message_unref(operation->request);
  g_free(operation);
}

Operation *operation_new(QuorumAdmin *admin, RpcCall *call, RpcMessage *request) {
  Operation *operation = g_new0(Operation, 1);
  operation->admin = admin;
  operation->call = call;
  operation->request = rpc_message_ref(request);
  operation->until_us = MIN(rpc_call_answer_by_us(call), g_get_monotonic_time() + PATIENCE_US);
  g_ptr_array_add(admin->operations, operation);
  return operation;
}

void operation_end(Operation *operation, Failure *failure) {
  if (operation->ended) {
    failure_free(failure);
    return;
  }
  operation->ended = TRUE;
  if (failure)
    rpc_call_finish(operation->call, failure);
  if (!operation->waiting)
    g_ptr_array_remove_fast(operation->admin->operations, operation);
}

gboolean operation_resume(Operation *operation) {
  operation->waiting = FALSE;
  if (!operation->ended)
    return TRUE;
  g_ptr_array_remove_fast(operation->admin->operations, operation);
  return FALSE;
}

static gboolean on_timer(gpointer data) {
  Operation *operation = data;
  if (!operation->ended && operation->look && !operation->waiting)
    operation->look(operation); /* may free it, which destroys this source */
  return G_SOURCE_CONTINUE;
}

void operation_watch(Operation *operation, void (*look)(Operation *operation)) {
  operation->look = look;
  if (!operation->timer)
    operation->timer = loop_add_timeout(host_loop(operation->admin->host), LOOK_MS, on_timer, operation);
}

gboolean operation_is_late(const Operation *operation) {
  return g_get_monotonic_time() >= operation->until_us;
}

Failure *quorum_check_address(const char *address, const char *field) {
  const char *colon = strrchr(address, ':');
  guint64 port = colon ? g_ascii_strtoull(colon + 1, NULL, 10) : 0;
  if (colon && colon != address && port > 0 && port <= G_MAXUINT16 && strlen(address) <= RAFT_ADDRESS_BYTES_MAX)
    return NULL;
  return failure_add_violation(
      failure_new(FAILURE(INVALID_FIELD), "\"%s\" is no address of a controller: name host:port.", address), field,
      "must be host:port");
}

gboolean quorum_may_retry(const Failure *failure) {
  return failure_reason(failure) == FAILURE(CONTROLLER_NOT_AVAILABLE) ||
         failure_reason(failure) == FAILURE(CHANGE_IN_PROGRESS);
}

/* ---- Listing ---- */

/* The first member of the page, or INVALID_FIELD. Tokens are the id that the page begins with. */
static Failure *find_page(const MemberList *list, const Milena__V1__ListControllersRequest *request, guint *ret_first) {
  guint first = 0;
  guint64 from = 0;
  if (*request->page_token && !g_ascii_string_to_unsigned(request->page_token, 10, 1, G_MAXINT32, &from, NULL))
    return failure_new(FAILURE(STALE_PAGE_TOKEN), "The page token is not of this list. Begin with the first page.");
  while (first < list->count && (guint64)list->bodies[first].id < from)
    first++;
  *ret_first = first;
  return NULL;
}

void quorum_admin_list(QuorumAdmin *admin, RpcCall *call, RpcMessage *message) {
  const Milena__V1__ListControllersRequest *request = rpc_message_body(message);
  const Host *host = admin->host;
  MemberList list;
  guint first = 0;
  members_fill(host, admin->care, &list);
  Failure *failure = find_page(&list, request, &first);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  RaftState state = host_state(host);
  Milena__V1__ListControllersResponse response = MILENA__V1__LIST_CONTROLLERS_RESPONSE__INIT;
  response.n_controllers = MIN(list.count - first, request->page_size ? request->page_size : PAGE_SIZE);
  response.controllers = list.pointers + first;
  g_autofree char *next = first + response.n_controllers < list.count
                              ? g_strdup_printf("%d", list.bodies[first + response.n_controllers].id)
                              : g_strdup("");
  response.next_page_token = next;
  response.cluster_id = (char *)host_cluster_id(host);
  response.active_id = host_active_id(host);
  response.answered_by = host_id(host);
  response.term = state.term;
  response.commit_index = state.commit;
  response.last_index = state.last;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- Handing over ---- */

static void reply_transfer(RpcCall *call, gint32 active_id, guint64 term) {
  Milena__V1__TransferLeadershipResponse response = MILENA__V1__TRANSFER_LEADERSHIP_RESPONSE__INIT;
  response.active_id = active_id;
  response.term = term;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void look_at_transfer(Operation *operation) {
  const Host *host = operation->admin->host;
  RaftState state = host_state(host);
  if (state.leader != 0 && state.leader != (guint64)host_id(host)) {
    reply_transfer(operation->call, (gint32)state.leader, state.term);
    operation_end(operation, NULL);
  } else if (operation_is_late(operation) || (state.role == RAFT_LEADER && state.transfer_target == 0)) {
    operation_end(operation, failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                         "The controller %" G_GUINT64_FORMAT " did not take over in time. Nothing was "
                                         "changed: see to its lag, and try again.",
                                         operation->id));
  }
}

/* Whom to hand over to, or why that is not possible. */
static Failure *check_target(const Host *host, guint64 id) {
  const RaftMember *member = raft_configuration_find(host_configuration(host), id);
  if (!member)
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_CONTROLLER), "No controller of this cluster has the id %" G_GUINT64_FORMAT ".", id),
        "controller", "");
  if (member->learner)
    return failure_new(FAILURE(INVALID_FIELD),
                       "The controller %" G_GUINT64_FORMAT " has no vote yet: wait until it has caught up.", id);
  RaftState state = host_state(host);
  for (guint i = 0; i < state.peer_count; i++)
    if (state.peers[i].id == id && !state.peers[i].heard)
      return failure_new(FAILURE(PEER_UNREACHABLE),
                         "The controller %" G_GUINT64_FORMAT " does not answer. Choose another, or mend it first.", id);
  return NULL;
}

void quorum_admin_transfer(QuorumAdmin *admin, RpcCall *call, RpcMessage *message) {
  const Milena__V1__TransferLeadershipRequest *request = rpc_message_body(message);
  Host *host = admin->host;
  guint64 id = request->id > 0 ? (guint64)request->id : host_best_successor(host);
  Failure *failure = host_check_active(host);
  if (!failure && id == 0)
    failure = failure_new(FAILURE(QUORUM_AT_RISK), "No other controller with a vote answers: nobody can take over.");
  if (!failure && request->id < 0)
    failure = failure_new(FAILURE(INVALID_FIELD), "Ids of controllers begin at 1.");
  if (!failure)
    failure = check_target(host, id);
  gboolean done = request->validate_only || id == (guint64)host_id(host);
  if (!failure && !done)
    failure = host_transfer(host, id);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  if (done) {
    reply_transfer(call, (gint32)id, host_state(host).term);
    return;
  }
  Operation *operation = operation_new(admin, call, message);
  operation->id = id;
  operation_watch(operation, look_at_transfer);
}

/* ---- Making ---- */

QuorumAdmin *quorum_admin_new(Host *host, Care *care) {
  QuorumAdmin *admin = g_new0(QuorumAdmin, 1);
  admin->host = host;
  admin->care = care;
  admin->operations = g_ptr_array_new_with_free_func(operation_free);
  return admin;
}

void quorum_admin_stop(QuorumAdmin *admin) {
  for (guint i = admin->operations->len; i > 0; i--)
    operation_end(admin->operations->pdata[i - 1],
                  failure_new(FAILURE(UNKNOWN_OUTCOME), "This controller stopped meanwhile: look what became of it."));
}

void quorum_admin_free(QuorumAdmin *admin) {
  if (!admin)
    return;
  g_ptr_array_unref(admin->operations);
  g_free(admin->last_request_id);
  g_free(admin);
}
