/* Administration of the controllers: plain calls that wait, on the caller's thread. See milena.h. Keeps no state. */
#include "client/libmilena/client.h"
#include "client/libmilena/convert.h"
#include "milena/v1/admin_service.pb-c.h"
#include "services/base/times.h"

static MilenaError *call_controllers(MilenaClient *client, const char *method, const ProtobufCMessage *request,
                                     CallKind kind, int32_t timeout_ms, RpcMessage **ret_response) {
  return client_call(client, &milena__v1__admin_service__descriptor, method, request, kind,
                     client_deadline_us(timeout_ms), ret_response);
}

/* ---- Converting ---- */

static void convert_controller_into(const Milena__V1__ControllerState *proto, MilenaController *ret_controller) {
  *ret_controller = (MilenaController){
      .id = proto->id,
      .address = g_strdup(proto->address),
      .peer_address = g_strdup(proto->peer_address),
      .directory_id = g_strdup(proto->directory_id),
      .role = (MilenaControllerRole)proto->role,
      .active = proto->active,
      .match_index = proto->match_index,
      .lag = proto->lag,
      .heard_ago_ms = times_duration_ms(proto->heard_ago, -1),
      .link_error = g_strdup(proto->link_error),
      .catch_up = g_strdup(proto->catch_up),
  };
}

static void controller_clear(MilenaController *controller) {
  g_free(controller->address);
  g_free(controller->peer_address);
  g_free(controller->directory_id);
  g_free(controller->link_error);
  g_free(controller->catch_up);
}

void milena_controller_free(MilenaController *controller) {
  if (controller == NULL)
    return;
  controller_clear(controller);
  g_free(controller);
}

void milena_quorum_free(MilenaQuorum *quorum) {
  if (quorum == NULL)
    return;
  for (size_t i = 0; i < quorum->count; i++)
    controller_clear(&quorum->controllers[i]);
  g_free(quorum->controllers);
  g_free(quorum->cluster_id);
  g_free(quorum);
}

/* ---- Calls ---- */

MilenaError *milena_admin_list_controllers(MilenaClient *client, int32_t timeout_ms, MilenaQuorum **ret_quorum) {
  Milena__V1__ListControllersRequest request = MILENA__V1__LIST_CONTROLLERS_REQUEST__INIT; /* all fit one page */
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = call_controllers(client, "ListControllers", &request.base, CALL_READ, timeout_ms, &response);
  if (error != NULL)
    return error;
  const Milena__V1__ListControllersResponse *body = rpc_message_body(response);
  MilenaQuorum *quorum = g_new0(MilenaQuorum, 1);
  *quorum = (MilenaQuorum){
      .controllers = g_new0(MilenaController, body->n_controllers),
      .count = body->n_controllers,
      .cluster_id = g_strdup(body->cluster_id),
      .active_id = body->active_id,
      .answered_by = body->answered_by,
      .term = body->term,
      .commit_index = body->commit_index,
      .last_index = body->last_index,
  };
  for (gsize i = 0; i < body->n_controllers; i++)
    convert_controller_into(body->controllers[i], &quorum->controllers[i]);
  *ret_quorum = quorum;
  return NULL;
}

MilenaError *milena_admin_add_controller(MilenaClient *client, int32_t id, const char *peer_address, bool validate_only,
                                         int32_t timeout_ms, MilenaController **ret_controller) {
  g_autofree char *request_id = g_uuid_string_random();
  Milena__V1__AddControllerRequest request = MILENA__V1__ADD_CONTROLLER_REQUEST__INIT;
  request.id = id;
  request.peer_address = (char *)peer_address;
  request.validate_only = validate_only;
  request.request_id = request_id;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call_controllers(client, "AddController", &request.base, CALL_CONTROLLERS, timeout_ms, &response);
  if (error != NULL || ret_controller == NULL)
    return error;
  const Milena__V1__AddControllerResponse *body = rpc_message_body(response);
  if (body->controller == NULL)
    return milena_error_new(FAILURE(INTERNAL), "AddController answered without a controller: ask for its version");
  *ret_controller = g_new0(MilenaController, 1);
  convert_controller_into(body->controller, *ret_controller);
  return NULL;
}

MilenaError *milena_admin_remove_controller(MilenaClient *client, int32_t id, const char *directory_id, bool force,
                                            bool validate_only, int32_t timeout_ms) {
  g_autofree char *request_id = g_uuid_string_random();
  Milena__V1__RemoveControllerRequest request = MILENA__V1__REMOVE_CONTROLLER_REQUEST__INIT;
  request.id = id;
  if (directory_id != NULL)
    request.directory_id = (char *)directory_id;
  request.force = force;
  request.validate_only = validate_only;
  request.request_id = request_id;
  return client_call_done_by(client, &milena__v1__admin_service__descriptor, "RemoveController", &request.base,
                             CALL_CONTROLLERS, FAILURE(UNKNOWN_CONTROLLER), client_deadline_us(timeout_ms), NULL);
}

MilenaError *milena_admin_transfer_leadership(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                              int32_t *ret_active_id, uint64_t *ret_term) {
  Milena__V1__TransferLeadershipRequest request = MILENA__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
  request.id = id;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call_controllers(client, "TransferLeadership", &request.base, CALL_CONTROLLERS, timeout_ms, &response);
  if (error != NULL)
    return error;
  const Milena__V1__TransferLeadershipResponse *body = rpc_message_body(response);
  if (ret_active_id != NULL)
    *ret_active_id = body->active_id;
  if (ret_term != NULL)
    *ret_term = body->term;
  return NULL;
}

MilenaError *milena_admin_bootstrap_cluster(MilenaClient *client, const MilenaInitialController *controllers,
                                            size_t count, const char *cluster_id, bool validate_only,
                                            int32_t timeout_ms, char **ret_cluster_id) {
  g_autofree char *request_id = g_uuid_string_random();
  g_autofree Milena__V1__InitialController *bodies = g_new(Milena__V1__InitialController, count);
  g_autofree Milena__V1__InitialController **pointers = g_new(Milena__V1__InitialController *, count);
  for (size_t i = 0; i < count; i++) {
    milena__v1__initial_controller__init(&bodies[i]);
    bodies[i].id = controllers[i].id;
    bodies[i].peer_address = (char *)controllers[i].peer_address;
    pointers[i] = &bodies[i];
  }
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  request.n_controllers = count;
  request.controllers = pointers;
  if (cluster_id != NULL)
    request.cluster_id = (char *)cluster_id;
  request.validate_only = validate_only;
  request.request_id = request_id;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call_controllers(client, "BootstrapCluster", &request.base, CALL_CONTROLLERS, timeout_ms, &response);
  if (error == NULL && ret_cluster_id != NULL)
    *ret_cluster_id = g_strdup(((const Milena__V1__BootstrapClusterResponse *)rpc_message_body(response))->cluster_id);
  return error;
}
