/* See identify.h. No state but that of each question. */
#include "services/controller/identify.h"

#include <string.h>

#include "services/controller/wire.h"

#define PATIENCE_US ((gint64)10 * G_USEC_PER_SEC)

typedef struct {
  gint32 id;
  char *peer_address;
  IdentifyDone done;
  gpointer data;
} Question;

/* ---- Asking ---- */

static Failure *check_answer(const Question *question, const Milena__Internal__V1__IdentifyResponse *response,
                             Identity *ret_identity) {
  Identity identity = {
      .id = response->id,
      .cluster_id = response->cluster_id,
      .empty = response->empty,
      .address = response->address,
      .peer_address = response->peer_address,
  };
  if (response->format < WIRE_FORMAT || !directory_parse(response->directory_id, &identity.directory))
    return failure_new(FAILURE(UNSUPPORTED),
                       "The controller at %s is of an older version, which can't take part. Upgrade it first.",
                       question->peer_address);
  if (response->id != question->id)
    return failure_new(FAILURE(UNKNOWN_CONTROLLER),
                       "The controller at %s has the id %d, and %d was named. Name it by its own id.",
                       question->peer_address, response->id, question->id);
  if (strcmp(response->peer_address, question->peer_address) != 0)
    return failure_new(FAILURE(INVALID_FIELD),
                       "The controller %d was named with the peer address %s, and says itself that others reach it at "
                       "%s. Name that address, or start it with --peer-advertise %s.",
                       question->id, question->peer_address, response->peer_address, question->peer_address);
  *ret_identity = identity;
  return NULL;
}

static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  g_autofree Question *question = data;
  g_autofree char *address = question->peer_address;
  g_autoptr(Failure) refused = NULL;
  Identity identity = {0};
  if (failure)
    refused = failure_new(FAILURE(PEER_UNREACHABLE),
                          "The controller %d at %s can't be asked who it is: %s Start it, or name its peer address.",
                          question->id, address, failure_message(failure));
  else
    refused = check_answer(question, rpc_message_body(message), &identity);
  question->done(refused, refused ? NULL : &identity, question->data);
}

void identify(Host *host, gint32 id, const char *peer_address, gint64 until_us, IdentifyDone done, gpointer data) {
  Question *question = g_new(Question, 1);
  *question = (Question){id, g_strdup(peer_address), done, data};
  Milena__Internal__V1__IdentifyRequest request = MILENA__INTERNAL__V1__IDENTIFY_REQUEST__INIT;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  /* It may have been started a moment ago: a channel that failed before would make it wait. */
  if (!transport_is_open_to(host_transport(host), peer_address))
    rpc_client_forget(host_client(host), peer_address);
  RpcClientCall *call = rpc_client_unary(
      host_client(host), peer_address, &milena__internal__v1__raft_service__descriptor, "Identify", message,
      MIN(until_us, g_get_monotonic_time() + PATIENCE_US), host_loop(host), on_answer, question);
  rpc_client_call_unref(call);
}

/* ---- Answering ---- */

void identify_answer(Host *host, RpcCall *call) {
  char directory[DIRECTORY_TEXT_BYTES];
  directory_text(host_directory(host), directory);
  Milena__Internal__V1__IdentifyResponse response = MILENA__INTERNAL__V1__IDENTIFY_RESPONSE__INIT;
  response.id = host_id(host);
  response.directory_id = directory;
  response.cluster_id = (char *)host_cluster_id(host);
  response.empty = host_is_empty(host);
  response.address = (char *)host_address(host);
  response.peer_address = (char *)host_peer_address(host);
  response.format = WIRE_FORMAT;
  rpc_call_reply(call, &response.base, NULL, 0);
}
