/* Where a group's coordinator is: see coordinator.h.
 *
 *   unknown ──coordinator_address──► asking ──answer──► known ──failed, or told otherwise──► unknown
 *      ▲                               │
 *      └──────── failed: pause ────────┘
 *
 * A client that is not direct asks nobody: any broker is the address, and passes calls on.
 *
 * At most one call is under way. Belongs to the client's loop. */
#include "client/libmilena/coordinator.h"

#include <string.h>

#include "milena/v1/group_service.pb-c.h"
#include "services/base/invariant.h"

struct Coordinator {
  MilenaClient *client;
  char *group;
  void (*changed)(gpointer data);
  gpointer data;
  char *address;       /* NULL: not known */
  RpcClientCall *call; /* while asking */
  char *broker;        /* whom */
  Failure *failure;    /* why the latest try failed */
  gint64 retry_us;
  guint failures; /* in a row */
};

Coordinator *coordinator_new(MilenaClient *client, const char *group, void (*changed)(gpointer data), gpointer data) {
  Coordinator *coordinator = g_new0(Coordinator, 1);
  *coordinator = (Coordinator){.client = client, .group = g_strdup(group), .changed = changed, .data = data};
  return coordinator;
}

static void end_call(Coordinator *coordinator) {
  g_clear_pointer(&coordinator->call, rpc_client_call_unref);
  g_clear_pointer(&coordinator->broker, g_free);
}

void coordinator_stop(Coordinator *coordinator) {
  if (coordinator->call != NULL)
    rpc_client_call_abandon(coordinator->call);
  end_call(coordinator);
}

void coordinator_free(Coordinator *coordinator) {
  if (coordinator == NULL)
    return;
  INVARIANT(coordinator->call == NULL, "it is stopped on its loop before it is freed");
  failure_free(coordinator->failure);
  g_free(coordinator->address);
  g_free(coordinator->group);
  g_free(coordinator);
}

/* @failure: taken */
static void ask_failed(Coordinator *coordinator, Failure *failure) {
  coordinator->failures++;
  gint64 pause_ms = MAX(client_backoff_ms(coordinator->client, coordinator->failures), failure_retry_delay_ms(failure));
  coordinator->retry_us = g_get_monotonic_time() + pause_ms * G_TIME_SPAN_MILLISECOND;
  failure_free(coordinator->failure);
  coordinator->failure = failure_prefix(failure, "looking for the coordinator of group %s", coordinator->group);
  client_address_failed(coordinator->client, coordinator->broker);
}

static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  Coordinator *coordinator = data;
  const Milena__V1__GetCoordinatorResponse *response = message != NULL ? rpc_message_body(message) : NULL;
  if (response == NULL) {
    ask_failed(coordinator, failure_copy(failure));
  } else if (response->coordinator == NULL || *response->coordinator->address == '\0') {
    ask_failed(coordinator,
               failure_new(FAILURE(INTERNAL), "broker %s answered without an address", coordinator->broker));
  } else {
    coordinator->address = g_strdup(response->coordinator->address);
    coordinator->failures = 0;
    g_clear_pointer(&coordinator->failure, failure_free);
    client_address_answered(coordinator->client, coordinator->broker);
  }
  end_call(coordinator);
  coordinator->changed(coordinator->data);
}

static void ask(Coordinator *coordinator, gint64 now_us) {
  Milena__V1__GetCoordinatorRequest request = MILENA__V1__GET_COORDINATOR_REQUEST__INIT;
  request.group = coordinator->group;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  gint64 timeout_us = client_options(coordinator->client)->attempt_timeout_ms * G_TIME_SPAN_MILLISECOND;
  coordinator->broker = client_address(coordinator->client);
  coordinator->call = rpc_client_unary(client_rpc(coordinator->client), coordinator->broker,
                                       &milena__v1__group_service__descriptor, "GetCoordinator", message,
                                       now_us + timeout_us, client_loop(coordinator->client), on_answer, coordinator);
}

const char *coordinator_address(Coordinator *coordinator, gint64 now_us, gint64 *ret_retry_us,
                                const Failure **ret_failure) {
  *ret_failure = coordinator->failure;
  if (coordinator->address != NULL)
    return coordinator->address;
  if (!client_is_direct(coordinator->client) && now_us >= coordinator->retry_us)
    return coordinator->address = client_address(coordinator->client);
  if (coordinator->call == NULL && now_us >= coordinator->retry_us)
    ask(coordinator, now_us);
  else if (coordinator->call == NULL)
    *ret_retry_us = coordinator->retry_us;
  return NULL;
}

/* Another coordinator may have the group, or nobody listens there. */
static gboolean is_elsewhere(const Failure *failure) {
  switch (failure_reason(failure)) {
  case FAILURE(NOT_COORDINATOR):
  case FAILURE(COORDINATOR_NOT_AVAILABLE):
  case FAILURE(UNSPECIFIED):
  case FAILURE(UNKNOWN_OUTCOME): /* the connection broke */
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(PEER_UNREACHABLE):
  case FAILURE(DRAINING):
    return TRUE;
  default:
    return FALSE;
  }
}

void coordinator_note_failure(Coordinator *coordinator, const char *address, const Failure *failure) {
  if (coordinator->address == NULL || strcmp(coordinator->address, address) != 0 || !is_elsewhere(failure))
    return;
  const char *hint = failure_get(failure, "address");
  client_address_failed(coordinator->client, address);
  g_clear_pointer(&coordinator->address, g_free);
  if (client_is_direct(coordinator->client) && failure_reason(failure) == FAILURE(NOT_COORDINATOR) && hint != NULL &&
      *hint != '\0')
    coordinator->address = g_strdup(hint);
  else
    coordinator->retry_us =
        g_get_monotonic_time() + client_backoff_ms(coordinator->client, 1) * G_TIME_SPAN_MILLISECOND;
}
