/* grpc.reflection.v1 and v1alpha: which services this server has, and how their messages look.
 *
 * The two versions differ in their names alone and are the same on the wire: so a question is decoded as v1 whatever it
 * came as, and the answer packed as v1. One question at a time: the next is asked for once the answer is queued and
 * there is room. Owner: the server's standard loop; user_data is the server, whose services and descriptors no longer
 * change. Failure modes: a question without an answer gets an error in the stream, which stays open. */
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "services/rpc/server_internal.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest Question;
typedef Grpc__Reflection__V1__ServerReflectionResponse Answer;
#define ASKS(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define TELLS(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

/* Send, and ask for the next question unless the queue is full. */
static void send_answer(RpcCall *call, Answer *answer, GPtrArray *owners) {
  RpcSendResult sent =
      rpc_call_send(call, &answer->base, owners ? (GBytes *const *)owners->pdata : NULL, owners ? owners->len : 0);
  grpc__reflection__v1__server_reflection_response__init(answer); /* its parts end with who made them */
  if (sent == RPC_SENT)
    rpc_call_read(call);
}

static void send_error(RpcCall *call, Answer *answer, int code, const char *sentence, const char *name) {
  g_autofree char *text = g_strdup_printf("%s: %s", sentence, name);
  Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
  error.error_code = code;
  error.error_message = text;
  answer->message_response_case = TELLS(ERROR_RESPONSE);
  answer->error_response = &error;
  send_answer(call, answer, NULL);
}

/* The file, and all that it imports. */
static void send_file(RpcCall *call, Answer *answer, RpcServer *server, const RpcDescriptorFile *file,
                      const char *name) {
  if (!file) {
    send_error(call, answer, GRPC_STATUS_NOT_FOUND, "nothing is known of this file or symbol", name);
    return;
  }
  g_autoptr(GPtrArray) files = rpc_descriptors_closure(server->descriptors, file);
  g_autofree ProtobufCBinaryData *data = g_new0(ProtobufCBinaryData, files->len);
  for (guint i = 0; i < files->len; i++)
    data[i].data = (guint8 *)g_bytes_get_data(g_ptr_array_index(files, i), &data[i].len);
  Grpc__Reflection__V1__FileDescriptorResponse response = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
  response.n_file_descriptor_proto = files->len;
  response.file_descriptor_proto = data;
  answer->message_response_case = TELLS(FILE_DESCRIPTOR_RESPONSE);
  answer->file_descriptor_response = &response;
  send_answer(call, answer, files);
}

/* The services that were added to this server, not all that the program knows of. */
static void send_services(RpcCall *call, Answer *answer, RpcServer *server) {
  guint count = server->services->len;
  g_autofree Grpc__Reflection__V1__ServiceResponse *services = g_new(Grpc__Reflection__V1__ServiceResponse, count);
  g_autofree Grpc__Reflection__V1__ServiceResponse **pointers = g_new(Grpc__Reflection__V1__ServiceResponse *, count);
  for (guint i = 0; i < count; i++) {
    const ProtobufCServiceDescriptor *service = g_ptr_array_index(server->services, i);
    grpc__reflection__v1__service_response__init(&services[i]);
    services[i].name = (char *)service->name;
    pointers[i] = &services[i];
  }
  Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
  list.n_service = count;
  list.service = pointers;
  answer->message_response_case = TELLS(LIST_SERVICES_RESPONSE);
  answer->list_services_response = &list;
  send_answer(call, answer, NULL);
}

/* proto3 messages have no extensions: a type that exists has none. */
static void send_extension_numbers(RpcCall *call, Answer *answer, RpcServer *server, char *type) {
  if (!rpc_descriptors_has_message(server->descriptors, type)) {
    send_error(call, answer, GRPC_STATUS_NOT_FOUND, "there is no message type of this name", type);
    return;
  }
  Grpc__Reflection__V1__ExtensionNumberResponse numbers = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
  numbers.base_type_name = type;
  answer->message_response_case = TELLS(ALL_EXTENSION_NUMBERS_RESPONSE);
  answer->all_extension_numbers_response = &numbers;
  send_answer(call, answer, NULL);
}

static void answer_question(RpcCall *call, RpcServer *server, Question *question) {
  Answer answer = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  answer.valid_host = question->host;
  answer.original_request = question;
  const RpcDescriptors *known = server->descriptors;
  switch (question->message_request_case) {
  case ASKS(FILE_BY_FILENAME):
    send_file(call, &answer, server, rpc_descriptors_file(known, question->file_by_filename),
              question->file_by_filename);
    return;
  case ASKS(FILE_CONTAINING_SYMBOL):
    send_file(call, &answer, server, rpc_descriptors_file_of_symbol(known, question->file_containing_symbol),
              question->file_containing_symbol);
    return;
  case ASKS(FILE_CONTAINING_EXTENSION):
    send_error(call, &answer, GRPC_STATUS_NOT_FOUND, "the type has no extensions",
               question->file_containing_extension->containing_type);
    return;
  case ASKS(ALL_EXTENSION_NUMBERS_OF_TYPE):
    send_extension_numbers(call, &answer, server, question->all_extension_numbers_of_type);
    return;
  case ASKS(LIST_SERVICES):
    send_services(call, &answer, server);
    return;
  default:
    send_error(call, &answer, GRPC_STATUS_INVALID_ARGUMENT, "the request asks nothing that is known",
               "set one of message_request");
  }
}

static void reflection_message(RpcCall *call, RpcMessage *message, gpointer state) {
  if (!message) {
    rpc_call_finish(call, NULL);
    return;
  }
  g_autoptr(GBytes) wire = rpc_message_flatten(message);
  g_autoptr(RpcMessage) question = NULL;
  Failure *failure =
      rpc_message_decode(&grpc__reflection__v1__server_reflection_request__descriptor, &wire, 1, &question);
  if (failure)
    rpc_call_finish(call, failure);
  else
    answer_question(call, state, rpc_message_body(question));
}

static void reflection_writable(RpcCall *call, gpointer state) {
  (void)state;
  rpc_call_read(call);
}

static void reflection_draining(RpcCall *call, gpointer state) {
  (void)state;
  rpc_call_finish(call, failure_new(FAILURE(DRAINING), "this process is stopping"));
}

static const RpcCallEvents REFLECTION_EVENTS = {
    .message = reflection_message, .writable = reflection_writable, .draining = reflection_draining};

static void reflection_open(RpcCall *call, gpointer user_data) {
  rpc_call_set_events(call, &REFLECTION_EVENTS, user_data);
  rpc_call_read(call);
}

const RpcMethodHandler RPC_REFLECTION_HANDLERS[] = {
    {.name = "ServerReflectionInfo", .stream = reflection_open},
    {.name = NULL},
};
