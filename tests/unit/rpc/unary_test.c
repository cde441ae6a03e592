/* Unary calls between a real server and a real client. */
#include <string.h>

#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "tests/shim/shim.h"
#include "tests/unit/rpc/fixture.h"

#define PRODUCER (&milena__v1__producer_service__descriptor)

/* Answers with the topic that it got, or fails with details. */
static void produce(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)user_data;
  const Milena__V1__ProduceRequest *body = rpc_message_body(request);
  if (g_str_equal(body->topic, "fail")) {
    Failure *failure = failure_new(FAILURE(UNKNOWN_TOPIC), "topic \"%s\" does not exist", body->topic);
    failure_add(failure, "topic", "%s", body->topic);
    failure_set_retry_delay(failure, 250);
    rpc_call_finish(call, failure);
    return;
  }
  Milena__V1__ProduceResult result = MILENA__V1__PRODUCE_RESULT__INIT;
  result.topic = body->topic;
  result.base_offset = 42;
  Milena__V1__ProduceResult *results[] = {&result};
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  response.n_results = 1;
  response.results = results;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler HANDLERS[] = {{.name = "Produce", .unary = produce}, {.name = NULL}};

static Fixture *start(void) {
  Fixture *fixture = fixture_new(NULL, 1000);
  rpc_server_add_service(fixture->server, PRODUCER, HANDLERS, fixture->server_loop, NULL);
  fixture_start(fixture);
  return fixture;
}

static Failure *call_produce(Fixture *fixture, const char *topic, RpcMessage **ret_response) {
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.topic = (char *)topic;
  return rpc_client_unary_sync(fixture->client, fixture->address, PRODUCER, "Produce", &request.base,
                               fixture_deadline_us(10000), ret_response);
}

TEST(unary, answers) {
  g_autoptr(Fixture) fixture = start();
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = call_produce(fixture, "orders", &response);
  ASSERT_NULL(failure);
  const Milena__V1__ProduceResponse *body = rpc_message_body(response);
  ASSERT_EQ_INT(1, body->n_results);
  EXPECT_EQ_STR("orders", body->results[0]->topic);
  EXPECT_EQ_INT(42, body->results[0]->base_offset);
}

TEST(unary, failures_travel_with_their_details) {
  g_autoptr(Fixture) fixture = start();
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = call_produce(fixture, "fail", &response);
  ASSERT_TRUE(failure != NULL);
  EXPECT_NULL(response);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_TOPIC), failure_reason(failure));
  EXPECT_EQ_STR("topic \"fail\" does not exist", failure_message(failure));
  EXPECT_EQ_STR("fail", failure_get(failure, "topic"));
  EXPECT_EQ_INT(250, failure_retry_delay_ms(failure));
}

/* ---- On behalf of another ---- */

static void tell_client(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  (void)user_data;
  Milena__V1__ProduceResult result = MILENA__V1__PRODUCE_RESULT__INIT;
  result.topic = (char *)rpc_call_client(call);
  Milena__V1__ProduceResult *results[] = {&result};
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  response.n_results = 1;
  response.results = results;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler TELLERS[] = {{.name = "Produce", .unary = tell_client}, {.name = NULL}};

typedef struct {
  char *told;
  gint done;
} Told;

static void take_told(RpcMessage *response, const Failure *failure, gpointer user_data) {
  Told *told = user_data;
  const Milena__V1__ProduceResponse *body = response ? rpc_message_body(response) : NULL;
  told->told = g_strdup(body ? body->results[0]->topic : failure_message(failure));
  g_atomic_int_set(&told->done, 1);
}

TEST(unary, tells_for_whom_it_is_made) {
  g_autoptr(Fixture) fixture = fixture_new(NULL, 1000);
  rpc_server_add_service(fixture->server, PRODUCER, TELLERS, fixture->server_loop, NULL);
  fixture_start(fixture);
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  g_autoptr(RpcMessage) packed = rpc_message_pack(&request.base, NULL, 0);
  const char *const clients[] = {"ipv6:%5B::1%5D:40612", "[::1]:40612", NULL};
  const char *const want[] = {"[::1]:40612", "[::1]:40612", "127.0.0.1:"};
  for (guint i = 0; i < G_N_ELEMENTS(clients); i++) {
    Told told = {.done = 0};
    rpc_client_call_unref(rpc_client_unary_for(fixture->client, clients[i], fixture->address, PRODUCER, "Produce",
                                               packed, fixture_deadline_us(10000), fixture->client_loop, take_told,
                                               &told));
    ASSERT_TRUE(fixture_wait(&told.done, 1));
    EXPECT_TRUE(g_str_has_prefix(told.told, want[i]));
    g_free(told.told);
  }
}
