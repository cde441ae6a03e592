#include "tests/chaos/caller.h"

void caller_init(Caller *caller) {
  caller->client = rpc_client_new(NULL);
}

void caller_clear(Caller *caller) {
  g_clear_pointer(&caller->client, rpc_client_free);
}

static gint64 deadline_in(guint timeout_ms) {
  return g_get_monotonic_time() + (gint64)timeout_ms * 1000;
}

Failure *caller_admin(Caller *caller, const char *address, const char *method, const ProtobufCMessage *request,
                      guint timeout_ms, RpcMessage **ret_answer) {
  return rpc_client_unary_sync(caller->client, address, &milena__v1__admin_service__descriptor, method, request,
                               deadline_in(timeout_ms), ret_answer);
}

Failure *caller_metadata(Caller *caller, const char *address, guint timeout_ms, RpcMessage **ret_answer) {
  Milena__V1__GetMetadataRequest request = MILENA__V1__GET_METADATA_REQUEST__INIT;
  return rpc_client_unary_sync(caller->client, address, &milena__v1__metadata_service__descriptor, "GetMetadata",
                               &request.base, deadline_in(timeout_ms), ret_answer);
}

HistoryResult caller_result_of_write(const Failure *failure) {
  if (!failure)
    return HISTORY_OK;
  switch (failure_reason(failure)) {
  case FAILURE(TOPIC_EXISTS):
  case FAILURE(UNKNOWN_TOPIC):
    return HISTORY_REFUSED;
  case FAILURE(UNSPECIFIED): /* from gRPC: a connection that broke, a deadline. It may have arrived */
  case FAILURE(UNKNOWN_OUTCOME):
    return HISTORY_UNKNOWN;
  case FAILURE(NOT_CONTROLLER):
  case FAILURE(NOT_ENOUGH_BROKERS):
    return HISTORY_FAILED;
  default:
    return failure_is_retriable(failure) ? HISTORY_FAILED : HISTORY_UNKNOWN;
  }
}

const char *caller_hint(const Failure *failure) {
  return failure_reason(failure) == FAILURE(NOT_CONTROLLER) ? failure_get(failure, "address") : NULL;
}

Milena__V1__TopicConfig caller_config_of_tag(guint64 tag) {
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  config.max_message_bytes = (guint32)tag;
  return config;
}

guint64 caller_tag_of_topic(const Milena__V1__Topic *topic) {
  return topic && topic->config ? topic->config->max_message_bytes : 0;
}

char *caller_text(const Failure *failure) {
  return g_strdup_printf("%s: %s", failure_reason_name(failure_reason(failure)), failure_message(failure));
}
