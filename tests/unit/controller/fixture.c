/* See fixture.h. */
#include "tests/unit/controller/fixture.h"

#include "controller/metadata/commands.h"
#include "tests/shim/shim.h"

#define CALL_TIMEOUT_US ((gint64)20 * G_USEC_PER_SEC)

struct timespec fixture_deadline(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  now.tv_sec += CALL_TIMEOUT_US / G_USEC_PER_SEC;
  return now;
}

static void on_ready(Controller *controller, gpointer data) {
  (void)controller;
  Fixture *fixture = data;
  pthread_mutex_lock(&fixture->mutex);
  fixture->ready = TRUE;
  pthread_cond_signal(&fixture->cond);
  pthread_mutex_unlock(&fixture->mutex);
}

void fixture_init(Fixture *fixture, gint64 session_timeout_ms) {
  *fixture = (Fixture){.folder = g_build_filename(shim_temp_dir(), "controller", NULL)};
  pthread_mutex_init(&fixture->mutex, NULL);
  pthread_cond_init(&fixture->cond, NULL);
  fixture->options = (ControllerOptions){
      .id = 1,
      .listen = "127.0.0.1:0",
      .peer_listen = "127.0.0.1:0",
      .advertise = "",
      .peer_advertise = "",
      .data_dir = fixture->folder,
      .bootstrap = TRUE,
      .cluster_id = "",
      .session_timeout_ms = session_timeout_ms,
      .heartbeat_interval_ms = session_timeout_ms / 4,
      .snapshot_entries = 20,
      .drain_grace_ms = 1000,
      .ready = on_ready,
      .data = fixture,
  };
}

void fixture_start(Fixture *fixture) {
  fixture->client = rpc_client_new(NULL);
  fixture->ready = FALSE;
  g_autoptr(Failure) failure = controller_start(&fixture->options, &fixture->controller);
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
  struct timespec until = fixture_deadline();
  pthread_mutex_lock(&fixture->mutex);
  while (!fixture->ready && pthread_cond_timedwait(&fixture->cond, &fixture->mutex, &until) == 0)
    continue;
  pthread_mutex_unlock(&fixture->mutex);
  EXPECT_TRUE(fixture->ready);
}

void fixture_stop(Fixture *fixture) {
  g_clear_pointer(&fixture->client, rpc_client_free);
  g_clear_pointer(&fixture->controller, controller_stop);
}

void fixture_clear(Fixture *fixture) {
  fixture_stop(fixture);
  g_free(fixture->folder);
  pthread_mutex_destroy(&fixture->mutex);
  pthread_cond_destroy(&fixture->cond);
}

Failure *fixture_call(Fixture *fixture, gboolean peer, const ProtobufCServiceDescriptor *service, const char *method,
                      const ProtobufCMessage *request, RpcMessage **ret_response) {
  const char *address = peer ? controller_peer_address(fixture->controller) : controller_address(fixture->controller);
  g_autoptr(RpcMessage) response = NULL;
  Failure *failure = rpc_client_unary_sync(fixture->client, address, service, method, request,
                                           g_get_monotonic_time() + CALL_TIMEOUT_US, &response);
  if (!failure && ret_response)
    *ret_response = g_steal_pointer(&response);
  return failure;
}

static const char *uuid(guint8 number) {
  static char ids[8][METADATA_ID_BYTES];
  static guint turn;
  guint8 random[16] = {number};
  char *id = ids[turn++ % G_N_ELEMENTS(ids)];
  metadata_uuid(random, id);
  return id;
}

Milena__Internal__V1__RegisterNodeRequest fixture_registration(gint32 id, guint8 folder, guint8 process) {
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = id;
  request.incarnation = (char *)uuid(folder);
  request.process_id = (char *)uuid(process);
  request.address = (char *)"127.0.0.1:7600";
  request.peer_address = (char *)"127.0.0.1:7650";
  return request;
}

Failure *fixture_register(Fixture *fixture, const Milena__Internal__V1__RegisterNodeRequest *request,
                          guint64 *ret_epoch) {
  g_autoptr(RpcMessage) message = NULL;
  Failure *failure = fixture_call(fixture, TRUE, &milena__internal__v1__controller_service__descriptor, "RegisterNode",
                                  &request->base, &message);
  if (failure)
    return failure;
  const Milena__Internal__V1__RegisterNodeResponse *response = rpc_message_body(message);
  EXPECT_TRUE(metadata_uuid_valid(response->cluster_id));
  *ret_epoch = response->epoch;
  return NULL;
}

Failure *fixture_heartbeat(Fixture *fixture, gint32 id, guint64 epoch, gboolean shutting_down, gboolean *ret_fenced,
                           gboolean *ret_may_stop) {
  Milena__Internal__V1__HeartbeatRequest request = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = id;
  request.epoch = epoch;
  request.metadata_version = epoch;
  request.shutting_down = shutting_down;
  g_autoptr(RpcMessage) message = NULL;
  Failure *failure = fixture_call(fixture, TRUE, &milena__internal__v1__controller_service__descriptor, "Heartbeat",
                                  &request.base, &message);
  if (failure)
    return failure;
  const Milena__Internal__V1__HeartbeatResponse *response = rpc_message_body(message);
  *ret_fenced = response->fenced;
  *ret_may_stop = response->may_stop;
  return NULL;
}

guint64 fixture_add_broker(Fixture *fixture, gint32 id) {
  Milena__Internal__V1__RegisterNodeRequest request = fixture_registration(id, (guint8)id, (guint8)(100 + id));
  guint64 epoch = 0;
  gboolean fenced = TRUE, may_stop = TRUE;
  EXPECT_NULL(fixture_register(fixture, &request, &epoch));
  EXPECT_NULL(fixture_heartbeat(fixture, id, epoch, FALSE, &fenced, &may_stop));
  EXPECT_FALSE(fenced);
  EXPECT_FALSE(may_stop);
  return epoch;
}

Failure *fixture_create_topic(Fixture *fixture, const char *name, guint32 partitions) {
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  request.partitions = partitions;
  return fixture_call(fixture, FALSE, &milena__v1__admin_service__descriptor, "CreateTopic", &request.base, NULL);
}

gint32 fixture_leader(Fixture *fixture, const char *topic, guint partition) {
  Milena__V1__GetTopicRequest request = MILENA__V1__GET_TOPIC_REQUEST__INIT;
  request.name = (char *)topic;
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(Failure) failure =
      fixture_call(fixture, FALSE, &milena__v1__admin_service__descriptor, "GetTopic", &request.base, &message);
  if (failure)
    return -2;
  const Milena__V1__GetTopicResponse *response = rpc_message_body(message);
  return partition < response->topic->n_partitions ? response->topic->partitions[partition]->leader_id : -2;
}
