/* AddController; see quorum_admin.h.
 *
 *   asked ──identified, fits──► ADD proposed ──committed──► learner ──care promotes it──► voter: answered
 *
 * Nothing is changed before the newcomer has told who it is, and that its folder is empty. A retry finds it a member by
 * its folder and waits with the others. Owning thread: the host's loop. Failure modes: a deadline that comes before the
 * vote is answered with the learner as it is; it goes on by itself. */
#include <string.h>

#include "services/base/slog.h"
#include "services/controller/quorum_internal.h"

static const Milena__V1__AddControllerRequest *request_of(const Operation *operation) {
  return rpc_message_body(operation->request);
}

/* ---- Answering ---- */

static void reply(Operation *operation, Milena__V1__ControllerState *state) {
  Milena__V1__AddControllerResponse response = MILENA__V1__ADD_CONTROLLER_RESPONSE__INIT;
  response.controller = state;
  rpc_call_reply(operation->call, &response.base, NULL, 0);
  operation_end(operation, NULL);
}

/* It is a member: answer when it votes. */
static void look_for_vote(Operation *operation) {
  QuorumAdmin *admin = operation->admin;
  const RaftMember *member =
      raft_configuration_find_exact(host_configuration(admin->host), operation->id, &operation->directory);
  Failure *failure = host_check_active(admin->host);
  if (failure) {
    operation_end(operation, failure);
    return;
  }
  if (!member) {
    operation_end(operation,
                  failure_new(FAILURE(UNKNOWN_OUTCOME), "The controller was removed by somebody else meanwhile."));
    return;
  }
  /* A vote counts once the entry that gives it is committed. */
  RaftState state = host_state(admin->host);
  gboolean votes = !member->learner && state.configuration_index <= state.commit;
  if (!votes && !operation_is_late(operation))
    return;
  MemberList list;
  members_fill(admin->host, admin->care, &list);
  reply(operation, members_find(&list, operation->id));
}

/* As it would be. */
static void pretend(Operation *operation, const Identity *identity) {
  char directory[DIRECTORY_TEXT_BYTES];
  directory_text(&identity->directory, directory);
  Milena__V1__ControllerState state = MILENA__V1__CONTROLLER_STATE__INIT;
  state.id = identity->id;
  state.address = (char *)identity->address;
  state.peer_address = (char *)identity->peer_address;
  state.directory_id = directory;
  state.role = MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_LEARNER;
  reply(operation, &state);
}

/* ---- Adding ---- */

static void look_to_add(Operation *operation);

static void add_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  Operation *operation = data;
  if (!operation_resume(operation))
    return;
  if (!failure) {
    slog_info("a controller was added", "controller", SLOG_INT(operation->id), "address",
              request_of(operation)->peer_address, NULL);
    operation_watch(operation, look_for_vote);
  } else if (quorum_may_retry(failure) && !operation_is_late(operation)) {
    operation_watch(operation, look_to_add); /* another change is under way */
  } else {
    operation_end(operation, failure_copy(failure));
  }
}

static void look_to_add(Operation *operation) {
  RaftChange change = {.kind = RAFT_CHANGE_ADD, .member = {.id = operation->id, .directory = operation->directory}};
  g_strlcpy(change.member.address, request_of(operation)->peer_address, sizeof change.member.address);
  operation->waiting = TRUE;
  host_change(operation->admin->host, &change, add_done, operation);
}

/* ---- Checking ---- */

static Failure *refuse_member(const RaftMember *member, const Identity *identity) {
  char theirs[DIRECTORY_TEXT_BYTES], known[DIRECTORY_TEXT_BYTES];
  directory_text(&identity->directory, theirs);
  directory_text(&member->directory, known);
  return failure_new(FAILURE(CONTROLLER_EXISTS),
                     "The controller %" G_GUINT64_FORMAT " is a member with the folder %s, and the one at %s has the "
                     "folder %s. If its disk was lost, remove %" G_GUINT64_FORMAT " first; else give the new one an id "
                     "of its own.",
                     member->id, known, identity->peer_address, theirs, member->id);
}

static Failure *check_newcomer(const Host *host, const Identity *identity) {
  const RaftConfiguration *configuration = host_configuration(host);
  for (guint i = 0; i < configuration->member_count; i++)
    if (strcmp(configuration->members[i].address, identity->peer_address) == 0)
      return failure_new(FAILURE(CONTROLLER_EXISTS),
                         "The controller %" G_GUINT64_FORMAT
                         " is reached at %s already. Give the new one an address of "
                         "its own.",
                         configuration->members[i].id, identity->peer_address);
  if (*identity->cluster_id && strcmp(identity->cluster_id, host_cluster_id(host)) != 0)
    return failure_new(
        FAILURE(CLUSTER_MISMATCH),
        "The controller %d at %s belongs to the cluster %s, and this is the cluster %s. Give it an empty "
        "folder to take it over.",
        identity->id, identity->peer_address, identity->cluster_id, host_cluster_id(host));
  if (!identity->empty)
    return failure_new(FAILURE(ALREADY_BOOTSTRAPPED),
                       "The folder of the controller %d at %s is not empty: it was a member before. Start it with an "
                       "empty folder, so that it can't vote with what it knew.",
                       identity->id, identity->peer_address);
  return NULL;
}

static void on_identity(const Failure *failure, const Identity *identity, gpointer data) {
  Operation *operation = data;
  if (!operation_resume(operation))
    return;
  Host *host = operation->admin->host;
  Failure *refused = failure ? failure_copy(failure) : host_check_active(host);
  const RaftMember *member = raft_configuration_find(host_configuration(host), operation->id);
  gboolean known = !refused && member && raft_directory_equal(&member->directory, &identity->directory);
  if (!refused && member && !known)
    refused = refuse_member(member, identity);
  else if (!refused && !known)
    refused = check_newcomer(host, identity);
  if (refused) {
    operation_end(operation, refused);
    return;
  }
  operation->directory = identity->directory;
  if (known)
    operation_watch(operation, look_for_vote);
  else if (request_of(operation)->validate_only)
    pretend(operation, identity);
  else
    look_to_add(operation);
}

void quorum_admin_add(QuorumAdmin *admin, RpcCall *call, RpcMessage *message) {
  const Milena__V1__AddControllerRequest *request = rpc_message_body(message);
  Failure *failure = host_check_active(admin->host);
  if (!failure && request->id <= 0)
    failure = failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "Ids of controllers begin at 1."), "id",
                                    "must be at least 1");
  if (!failure)
    failure = quorum_check_address(request->peer_address, "peer_address");
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  Operation *operation = operation_new(admin, call, message);
  operation->id = (guint64)request->id;
  operation->waiting = TRUE;
  identify(admin->host, request->id, request->peer_address, operation->until_us, on_identity, operation);
}
