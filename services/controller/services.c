/* The tables of handlers; see services.h. No state. */
#include "services/controller/services.h"

#include "controller/metadata/view.h"
#include "services/controller/admin.h"
#include "services/controller/identify.h"
#include "services/controller/partitions.h"

/* ---- MetadataService ---- */

static void get_metadata(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const ControllerParts *parts = user_data;
  Milena__V1__GetMetadataResponse *response = NULL;
  Failure *failure = metadata_view_get_metadata(host_image(parts->host), host_active_id(parts->host),
                                                rpc_message_body(message), &response);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  rpc_call_reply(call, &response->base, NULL, 0);
  milena__v1__get_metadata_response__free_unpacked(response, NULL);
}

static void watch_metadata(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const ControllerParts *parts = user_data;
  feed_watch(parts->feed, call, rpc_message_body(message));
}

static const RpcMethodHandler METADATA_HANDLERS[] = {
    {.name = "GetMetadata", .unary = get_metadata},
    {.name = "WatchMetadata", .unary = watch_metadata},
    {.name = NULL},
};

/* ---- ControllerService ---- */

static void register_node(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const ControllerParts *parts = user_data;
  nodes_register(parts->nodes, call, rpc_message_body(message));
}

static void heartbeat(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const ControllerParts *parts = user_data;
  nodes_heartbeat(parts->nodes, call, rpc_message_body(message));
}

static void allocate_producer_ids(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const ControllerParts *parts = user_data;
  nodes_allocate_producer_ids(parts->nodes, call, rpc_message_body(message));
}

static void alter_in_sync(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_alter_in_sync(((const ControllerParts *)user_data)->host, call, rpc_message_body(message));
}

static void report_damage(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_report_damage(((const ControllerParts *)user_data)->host, call, rpc_message_body(message));
}

static void report_moves(RpcCall *call, RpcMessage *message, gpointer user_data) {
  moves_report(((const ControllerParts *)user_data)->moves, call, rpc_message_body(message));
}

static void ensure_group_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  (void)message;
  leases_ensure_group_topic(((const ControllerParts *)user_data)->leases, call);
}

static void yield_leases(RpcCall *call, RpcMessage *message, gpointer user_data) {
  leases_yield(((const ControllerParts *)user_data)->leases, call, rpc_message_body(message));
}

static void follow_metadata(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const ControllerParts *parts = user_data;
  feed_follow(parts->feed, call, rpc_message_body(message));
}

static const RpcMethodHandler CONTROLLER_HANDLERS[] = {
    {.name = "RegisterNode", .unary = register_node},
    {.name = "Heartbeat", .unary = heartbeat},
    {.name = "AllocateProducerIds", .unary = allocate_producer_ids},
    {.name = "AlterInSync", .unary = alter_in_sync},
    {.name = "ReportDamage", .unary = report_damage},
    {.name = "ReportMoves", .unary = report_moves},
    {.name = "EnsureGroupTopic", .unary = ensure_group_topic},
    {.name = "YieldLeases", .unary = yield_leases},
    {.name = "FollowMetadata", .unary = follow_metadata},
    {.name = NULL},
};

/* ---- RaftService ---- */

static void identify_this(RpcCall *call, RpcMessage *message, gpointer user_data) {
  (void)message;
  identify_answer(((const ControllerParts *)user_data)->host, call);
}

static void exchange(RpcCall *call, gpointer user_data) {
  transport_exchange(host_transport(((const ControllerParts *)user_data)->host), call);
}

static const RpcMethodHandler RAFT_HANDLERS[] = {
    {.name = "Identify", .unary = identify_this},
    {.name = "Exchange", .stream = exchange},
    {.name = NULL},
};

/* ---- Servers ---- */

void controller_add_public_services(RpcServer *server, ControllerParts *parts) {
  Loop *loop = host_loop(parts->host);
  rpc_server_add_service(server, &milena__v1__admin_service__descriptor, ADMIN_HANDLERS, loop, parts);
  rpc_server_add_service(server, &milena__v1__metadata_service__descriptor, METADATA_HANDLERS, loop, parts);
}

void controller_add_peer_services(RpcServer *server, ControllerParts *parts) {
  controller_add_public_services(server, parts);
  rpc_server_add_service(server, &milena__internal__v1__controller_service__descriptor, CONTROLLER_HANDLERS,
                         host_loop(parts->host), parts);
  rpc_server_add_service(server, &milena__internal__v1__raft_service__descriptor, RAFT_HANDLERS, host_loop(parts->host),
                         parts);
}
