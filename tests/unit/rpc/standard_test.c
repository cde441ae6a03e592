/* Health and reflection, through a real client. */
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "tests/shim/shim.h"
#include "tests/unit/rpc/fixture.h"

#define PRODUCER (&milena__v1__producer_service__descriptor)
#define HEALTH (&grpc__health__v1__health__descriptor)
#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

static void produce(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  (void)user_data;
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler HANDLERS[] = {{.name = "Produce", .unary = produce}, {.name = NULL}};

static Fixture *start(void) {
  Fixture *fixture = fixture_new(NULL, 1000);
  rpc_server_add_service(fixture->server, PRODUCER, HANDLERS, fixture->server_loop, NULL);
  fixture_start(fixture);
  return fixture;
}

/* ---- Health ---- */

static int check(Fixture *fixture, const char *service, int *ret_code) {
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)service;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = rpc_client_unary_sync(fixture->client, fixture->address, HEALTH, "Check", &request.base,
                                                     fixture_deadline_us(5000), &response);
  *ret_code = failure_code(failure);
  return failure ? -1 : (int)((Grpc__Health__V1__HealthCheckResponse *)rpc_message_body(response))->status;
}

TEST(health, check_tells_the_state_of_each_service) {
  g_autoptr(Fixture) fixture = start();
  int code;
  EXPECT_EQ_INT(SERVING, check(fixture, "", &code));
  EXPECT_EQ_INT(SERVING, check(fixture, "milena.v1.ProducerService", &code));
  check(fixture, "milena.v1.NoService", &code);
  EXPECT_EQ_INT(5, code); /* NOT_FOUND */
  rpc_server_set_health(fixture->server, "milena.v1.ProducerService", FALSE);
  EXPECT_EQ_INT(NOT_SERVING, check(fixture, "milena.v1.ProducerService", &code));
  EXPECT_EQ_INT(SERVING, check(fixture, "", &code));
}

static Recorder *watch(Fixture *fixture, const char *service) {
  Recorder *recorder = recorder_open(fixture, fixture->address, HEALTH, "Watch", fixture_deadline_us(30000), TRUE);
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)service;
  recorder_send(recorder, &request.base);
  recorder_half_close(recorder);
  return recorder;
}

static int watched(Recorder *recorder, guint index) {
  if (!fixture_wait(&recorder->messages, index + 1))
    return -1;
  return ((Grpc__Health__V1__HealthCheckResponse *)recorder_body(recorder, index))->status;
}

TEST(health, watch_tells_the_state_and_each_change_and_the_end) {
  g_autoptr(Fixture) fixture = start();
  g_autoptr(Recorder) process = watch(fixture, "");
  g_autoptr(Recorder) later = watch(fixture, "later");
  EXPECT_EQ_INT(SERVING, watched(process, 0));
  EXPECT_EQ_INT(SERVICE_UNKNOWN, watched(later, 0));
  rpc_server_set_health(fixture->server, "", FALSE);
  EXPECT_EQ_INT(NOT_SERVING, watched(process, 1));
  rpc_server_set_health(fixture->server, "", FALSE); /* no change, no word */
  rpc_server_set_health(fixture->server, "", TRUE);
  EXPECT_EQ_INT(SERVING, watched(process, 2));
  rpc_server_set_health(fixture->server, "later", TRUE);
  EXPECT_EQ_INT(SERVING, watched(later, 1));
  rpc_server_drain(fixture->server, 10000);
  EXPECT_EQ_INT(NOT_SERVING, watched(process, 3));
  EXPECT_EQ_INT(NOT_SERVING, watched(later, 2));
  ASSERT_TRUE(fixture_wait(&process->closed, 1));
  EXPECT_EQ_INT(FAILURE(DRAINING), failure_reason(process->failure));
}

/* ---- Reflection; the versions differ in their names alone, so one set of types serves both ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest Question;
typedef Grpc__Reflection__V1__ServerReflectionResponse Answer;

static const struct {
  const char *name;
  const ProtobufCServiceDescriptor *service;
} VERSIONS[] = {
    {"v1", &grpc__reflection__v1__server_reflection__descriptor},
    {"v1alpha", &grpc__reflection__v1alpha__server_reflection__descriptor},
};

/* Ask one thing; the answer as v1, owned by *@ret_message. */
static const Answer *ask(Recorder *recorder, const Question *question, RpcMessage **ret_message) {
  guint index = g_atomic_int_get(&recorder->messages);
  recorder_send(recorder, &question->base);
  if (!fixture_wait(&recorder->messages, index + 1))
    return NULL;
  g_autoptr(GBytes) wire = rpc_message_flatten(g_ptr_array_index(recorder->received, index));
  rpc_message_unref(g_steal_pointer(ret_message));
  g_autoptr(Failure) failure =
      rpc_message_decode(&grpc__reflection__v1__server_reflection_response__descriptor, &wire, 1, ret_message);
  return failure ? NULL : rpc_message_body(*ret_message);
}

static gboolean lists(const Answer *answer, const char *name) {
  for (gsize i = 0; i < answer->list_services_response->n_service; i++) {
    if (g_str_equal(answer->list_services_response->service[i]->name, name))
      return TRUE;
  }
  return FALSE;
}

/* The names of the files of an answer, with spaces between. */
static char *file_names(const Answer *answer) {
  GString *names = g_string_new(NULL);
  for (gsize i = 0; i < answer->file_descriptor_response->n_file_descriptor_proto; i++) {
    ProtobufCBinaryData data = answer->file_descriptor_response->file_descriptor_proto[i];
    Google__Protobuf__FileDescriptorProto *file =
        google__protobuf__file_descriptor_proto__unpack(NULL, data.len, data.data);
    g_string_append_printf(names, "%s ", file ? file->name : "?");
    if (file)
      google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
  }
  return g_string_free(names, FALSE);
}

#define ASKS(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define TELLS(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

static Recorder *open_reflection(Fixture *fixture, gsize row) {
  return recorder_open(fixture, fixture->address, VERSIONS[row].service, "ServerReflectionInfo",
                       fixture_deadline_us(20000), TRUE);
}

TEST_ROWS(reflection_services_and_files, VERSIONS) {
  g_autoptr(Fixture) fixture = start();
  g_autoptr(Recorder) recorder = open_reflection(fixture, row);
  g_autoptr(RpcMessage) message = NULL;
  Question question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

  question.message_request_case = ASKS(LIST_SERVICES);
  question.list_services = "*";
  const Answer *answer = ask(recorder, &question, &message);
  ASSERT_TRUE(answer != NULL);
  ASSERT_EQ_INT(TELLS(LIST_SERVICES_RESPONSE), answer->message_response_case);
  EXPECT_EQ_INT(4, answer->list_services_response->n_service);
  EXPECT_TRUE(lists(answer, "milena.v1.ProducerService"));
  EXPECT_TRUE(lists(answer, "grpc.health.v1.Health"));
  EXPECT_TRUE(lists(answer, "grpc.reflection.v1.ServerReflection"));
  EXPECT_TRUE(lists(answer, "grpc.reflection.v1alpha.ServerReflection"));

  question.message_request_case = ASKS(FILE_CONTAINING_SYMBOL);
  question.file_containing_symbol = "milena.v1.ProducerService";
  answer = ask(recorder, &question, &message);
  ASSERT_TRUE(answer != NULL);
  ASSERT_EQ_INT(TELLS(FILE_DESCRIPTOR_RESPONSE), answer->message_response_case);
  EXPECT_EQ_STR("milena.v1.ProducerService", answer->original_request->file_containing_symbol);
  g_autofree char *names = file_names(answer);
  EXPECT_TRUE(g_str_has_prefix(names, "milena/v1/producer_service.proto "));
  EXPECT_CONTAINS(names, "milena/v1/record.proto ");
  EXPECT_CONTAINS(names, "google/protobuf/timestamp.proto ");

  question.message_request_case = ASKS(FILE_BY_FILENAME);
  question.file_by_filename = "grpc/health/v1/health.proto";
  answer = ask(recorder, &question, &message);
  ASSERT_TRUE(answer != NULL);
  g_autofree char *health = file_names(answer);
  EXPECT_EQ_STR("grpc/health/v1/health.proto ", health);
}

static const char *const SYMBOLS[] = {
    "milena.v1.Record", "milena.v1.Record.key", "milena.v1.ProducerService.Produce",
    "milena.v1.Acks",   "milena.v1.ACKS_ALL",   "google.rpc.QuotaFailure.Violation.subject"};

TEST_ROWS(reflection_symbols_and_errors, VERSIONS) {
  g_autoptr(Fixture) fixture = start();
  g_autoptr(Recorder) recorder = open_reflection(fixture, row);
  g_autoptr(RpcMessage) message = NULL;
  Question question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
  const Answer *answer;
  for (guint i = 0; i < G_N_ELEMENTS(SYMBOLS); i++) {
    question.message_request_case = ASKS(FILE_CONTAINING_SYMBOL);
    question.file_containing_symbol = (char *)SYMBOLS[i];
    answer = ask(recorder, &question, &message);
    ASSERT_TRUE(answer != NULL);
    EXPECT_EQ_INT(TELLS(FILE_DESCRIPTOR_RESPONSE), answer->message_response_case);
  }

  question.file_containing_symbol = "milena.v1.Nothing";
  answer = ask(recorder, &question, &message);
  ASSERT_TRUE(answer != NULL);
  ASSERT_EQ_INT(TELLS(ERROR_RESPONSE), answer->message_response_case);
  EXPECT_EQ_INT(5, answer->error_response->error_code);
  EXPECT_CONTAINS(answer->error_response->error_message, "milena.v1.Nothing");

  question.message_request_case = ASKS(ALL_EXTENSION_NUMBERS_OF_TYPE);
  question.all_extension_numbers_of_type = "milena.v1.Record";
  answer = ask(recorder, &question, &message);
  ASSERT_TRUE(answer != NULL);
  ASSERT_EQ_INT(TELLS(ALL_EXTENSION_NUMBERS_RESPONSE), answer->message_response_case);
  EXPECT_EQ_STR("milena.v1.Record", answer->all_extension_numbers_response->base_type_name);

  question.message_request_case = 0;
  answer = ask(recorder, &question, &message);
  ASSERT_TRUE(answer != NULL);
  ASSERT_EQ_INT(TELLS(ERROR_RESPONSE), answer->message_response_case);
  EXPECT_EQ_INT(3, answer->error_response->error_code);

  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
}
