/* What a server refuses, and what large messages cost: a real server and a real client. */
#include <string.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/message_internal.h"
#include "tests/shim/shim.h"
#include "tests/unit/rpc/fixture.h"

#define PRODUCER (&milena__v1__producer_service__descriptor)

/* ---- A handler that keeps its calls until the test lets them go ---- */

typedef struct {
  GQueue calls;         /* RpcCall; loop */
  GPtrArray *kept;      /* RpcMessage; loop */
  gint held, inspected; /* atomic; what follows may be read once they have risen */
  gint received_bytes;
  gint is_same_memory, is_intact;
  char *agent, *test, *peer, *method;
  gint64 left_ms, early_ms; /* until the deadline; how long before it an answer should be ready */
} Holder;

static void hold(RpcCall *call, RpcMessage *request, gpointer user_data) {
  Holder *holder = user_data;
  g_queue_push_tail(&holder->calls, call);
  g_ptr_array_add(holder->kept, rpc_message_ref(request));
  g_atomic_int_inc(&holder->held);
}

static void release_all(gpointer data) {
  Holder *holder = data;
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  RpcCall *call;
  while ((call = g_queue_pop_head(&holder->calls)))
    rpc_call_reply(call, &response.base, NULL, 0);
  g_ptr_array_set_size(holder->kept, 0);
}

/* Sends the records back that came, sharing their memory. */
static void echo(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)user_data;
  const Milena__V1__FetchRequest *body = rpc_message_body(request);
  gsize len = body->max_bytes;
  guint8 *data = g_malloc(len);
  for (gsize i = 0; i < len; i++)
    data[i] = i * 7;
  g_autoptr(GBytes) owner = g_bytes_new_take(data, len);
  Milena__V1__EncodedBatch batch = MILENA__V1__ENCODED_BATCH__INIT;
  batch.records = (ProtobufCBinaryData){.len = len, .data = data};
  Milena__V1__EncodedBatch *batches[] = {&batch};
  Milena__V1__FetchedPartition partition = MILENA__V1__FETCHED_PARTITION__INIT;
  partition.n_batches = 1;
  partition.batches = batches;
  Milena__V1__FetchedPartition *partitions[] = {&partition};
  Milena__V1__FetchResponse response = MILENA__V1__FETCH_RESPONSE__INIT;
  response.n_partitions = 1;
  response.partitions = partitions;
  rpc_call_reply(call, &response.base, &owner, 1);
}

/* Answers with bytes that are no message. */
static void babble(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  (void)user_data;
  GBytes **pieces = g_new(GBytes *, 1);
  pieces[0] = g_bytes_new("\x0a\x7f", 2);
  g_autoptr(RpcMessage) response = rpc_message_new_raw(pieces, 1);
  rpc_call_reply_message(call, response);
}

/* Looks at what came with the call, and at the memory of its batch. */
static void inspect(RpcCall *call, RpcMessage *request, gpointer user_data) {
  Holder *holder = user_data;
  const Milena__V1__ProduceRequest *body = rpc_message_body(request);
  g_free(holder->agent);
  g_free(holder->test);
  g_free(holder->peer);
  g_free(holder->method);
  holder->agent = g_strdup(rpc_call_metadata(call, "user-agent"));
  holder->test = g_strdup(rpc_call_metadata(call, "x-test"));
  holder->peer = g_strdup(rpc_call_peer(call));
  holder->method = g_strdup(rpc_call_method(call));
  holder->left_ms = (rpc_call_deadline_us(call) - g_get_monotonic_time()) / 1000;
  holder->early_ms = (rpc_call_deadline_us(call) - rpc_call_answer_by_us(call)) / 1000;
  gsize len = body->n_batches ? body->batches[0]->batch->records.len : 0;
  if (len) {
    const ProtobufCBinaryData *field = &body->batches[0]->batch->records;
    g_autoptr(GBytes) shared = rpc_message_share(request, field);
    holder->is_same_memory = g_bytes_get_data(shared, NULL) == field->data;
    holder->is_intact = TRUE;
    for (gsize i = 0; i < len; i++)
      holder->is_intact &= field->data[i] == (guint8)(i * 13);
  }
  holder->received_bytes = len;
  g_atomic_int_inc(&holder->inspected);
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler HOLDING[] = {{.name = "Produce", .unary = hold}, {.name = NULL}};
static const RpcMethodHandler INSPECTING[] = {{.name = "Produce", .unary = inspect}, {.name = NULL}};
static const RpcMethodHandler ECHOING[] = {
    {.name = "Fetch", .unary = echo}, {.name = "ListOffsets", .unary = babble}, {.name = NULL}};

static void holder_init(Holder *holder) {
  *holder = (Holder){.kept = g_ptr_array_new_with_free_func((GDestroyNotify)rpc_message_unref)};
  g_queue_init(&holder->calls);
}

static void holder_clear(Holder *holder) {
  g_ptr_array_unref(holder->kept);
  g_free(holder->agent);
  g_free(holder->test);
  g_free(holder->peer);
  g_free(holder->method);
}

static Fixture *start(Holder *holder, const RpcMethodHandler *handlers, const RpcServerOptions *options,
                      guint mailbox_max) {
  holder_init(holder);
  Fixture *fixture = fixture_new(options, mailbox_max);
  rpc_server_add_service(fixture->server, PRODUCER, handlers, fixture->server_loop, holder);
  rpc_server_add_service(fixture->server, &milena__v1__consumer_service__descriptor, ECHOING, fixture->server_loop,
                         NULL);
  fixture_start(fixture);
  return fixture;
}

/* ---- Answers of calls that are under way ---- */

typedef struct {
  gint answered, refused, overloaded;
} Answers;

static void count_answer(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  Answers *answers = user_data;
  if (!failure) {
    g_atomic_int_inc(&answers->answered);
    return;
  }
  if (failure_reason(failure) == FAILURE(OVERLOADED) && failure_is_retriable(failure))
    g_atomic_int_inc(&answers->overloaded);
  g_atomic_int_inc(&answers->refused);
}

static void produce_async(Fixture *fixture, gsize topic_len, Answers *answers) {
  g_autofree char *topic = g_strnfill(topic_len, 't');
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.topic = topic;
  g_autoptr(RpcMessage) packed = rpc_message_pack(&request.base, NULL, 0);
  rpc_client_call_unref(rpc_client_unary(fixture->client, fixture->address, PRODUCER, "Produce", packed,
                                         fixture_deadline_us(20000), fixture->client_loop, count_answer, answers));
}

typedef struct {
  gint entered, may_leave;
} Gate;

static void wait_at_gate(gpointer data) {
  Gate *gate = data;
  g_atomic_int_set(&gate->entered, 1);
  fixture_wait(&gate->may_leave, 1);
}

TEST(server, a_full_mailbox_refuses_and_the_rest_is_served) {
  enum { MAILBOX = 5, CALLS = 40 };
  Holder holder;
  Answers answers = {0};
  Gate gate = {0};
  g_autoptr(Fixture) fixture = start(&holder, INSPECTING, NULL, MAILBOX);
  loop_call(fixture->server_loop, wait_at_gate, &gate);
  ASSERT_TRUE(fixture_wait(&gate.entered, 1));
  for (guint i = 0; i < CALLS; i++)
    produce_async(fixture, 5, &answers);
  EXPECT_TRUE(fixture_wait(&answers.refused, CALLS - MAILBOX));
  g_atomic_int_set(&gate.may_leave, 1);
  EXPECT_TRUE(fixture_wait(&answers.answered, MAILBOX) && fixture_wait(&holder.inspected, MAILBOX));
  EXPECT_EQ_INT(CALLS - MAILBOX, g_atomic_int_get(&answers.overloaded));
  rpc_server_drain(fixture->server, 1000);
  holder_clear(&holder);
}

TEST(server, bytes_in_flight_are_bounded_and_given_back) {
  Holder holder;
  Answers answers = {0};
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, &(RpcServerOptions){.inflight_max_bytes = 1 << 20}, 1000);
  produce_async(fixture, 300 * 1024, &answers); /* 300 KiB on the wire, and as much as text in the arena */
  ASSERT_TRUE(fixture_wait(&holder.held, 1));
  produce_async(fixture, 300 * 1024, &answers);
  ASSERT_TRUE(fixture_wait(&answers.overloaded, 1));
  produce_async(fixture, 100, &answers);
  ASSERT_TRUE(fixture_wait(&holder.held, 2));
  loop_call_and_wait(fixture->server_loop, release_all, &holder);
  ASSERT_TRUE(fixture_wait(&answers.answered, 2));
  produce_async(fixture, 300 * 1024, &answers); /* fits again */
  ASSERT_TRUE(fixture_wait(&holder.held, 3));
  loop_call_and_wait(fixture->server_loop, release_all, &holder);
  ASSERT_TRUE(fixture_wait(&answers.answered, 3));
  holder_clear(&holder);
}

TEST(server, an_answer_after_the_server_is_gone_is_harmless) {
  Holder holder;
  Answers answers = {0};
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  produce_async(fixture, 5, &answers);
  ASSERT_TRUE(fixture_wait(&holder.held, 1));
  rpc_server_free(g_steal_pointer(&fixture->server));
  EXPECT_TRUE(fixture_wait(&answers.refused, 1));
  loop_call_and_wait(fixture->server_loop, release_all, &holder);
  holder_clear(&holder);
}

/* ---- What comes with a call ---- */

TEST(server, large_fields_travel_as_slices) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, INSPECTING, NULL, 1000);
  gsize len = 3 << 20;
  guint8 *data = g_malloc(len);
  for (gsize i = 0; i < len; i++)
    data[i] = i * 13;
  g_autoptr(GBytes) owner = g_bytes_new_take(data, len);
  Milena__V1__EncodedBatch batch = MILENA__V1__ENCODED_BATCH__INIT;
  batch.records = (ProtobufCBinaryData){.len = len, .data = data};
  Milena__V1__PartitionBatch partition = MILENA__V1__PARTITION_BATCH__INIT;
  partition.batch = &batch;
  Milena__V1__PartitionBatch *batches[] = {&partition};
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.n_batches = 1;
  request.batches = batches;
  g_autoptr(RpcMessage) packed = rpc_message_pack(&request.base, &owner, 1);
  EXPECT_TRUE(g_bytes_get_data(packed->pieces[1], NULL) == data);
  Answers answers = {0};
  rpc_client_call_unref(rpc_client_unary(fixture->client, fixture->address, PRODUCER, "Produce", packed,
                                         fixture_deadline_us(20000), fixture->client_loop, count_answer, &answers));
  ASSERT_TRUE(fixture_wait(&answers.answered, 1) && fixture_wait(&holder.inspected, 1));
  EXPECT_EQ_INT(len, holder.received_bytes);
  EXPECT_TRUE(holder.is_same_memory);
  EXPECT_TRUE(holder.is_intact);
  holder_clear(&holder);
}

TEST(server, large_answers_come_back_whole) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, INSPECTING, NULL, 1000);
  Milena__V1__FetchRequest request = MILENA__V1__FETCH_REQUEST__INIT;
  request.max_bytes = 5 << 20; /* above the 4 MiB of stock clients */
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure =
      rpc_client_unary_sync(fixture->client, fixture->address, &milena__v1__consumer_service__descriptor, "Fetch",
                            &request.base, fixture_deadline_us(20000), &response);
  ASSERT_NULL(failure);
  const Milena__V1__FetchResponse *body = rpc_message_body(response);
  const ProtobufCBinaryData *field = &body->partitions[0]->batches[0]->records;
  ASSERT_EQ_INT(5 << 20, field->len);
  g_autoptr(GBytes) shared = rpc_message_share(response, field);
  EXPECT_TRUE(g_bytes_get_data(shared, NULL) == field->data);
  gboolean is_intact = TRUE;
  for (gsize i = 0; i < field->len; i++)
    is_intact &= field->data[i] == (guint8)(i * 7);
  EXPECT_TRUE(is_intact);
  holder_clear(&holder);
}

TEST(server, handlers_see_metadata_peer_method_and_deadline) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, INSPECTING, NULL, 1000);
  Answers answers = {0};
  produce_async(fixture, 5, &answers);
  ASSERT_TRUE(fixture_wait(&answers.answered, 1) && fixture_wait(&holder.inspected, 1));
  EXPECT_CONTAINS(holder.agent, "grpc");
  EXPECT_EQ_STR("a value", holder.test);
  EXPECT_CONTAINS(holder.peer, "127.0.0.1:");
  EXPECT_EQ_STR("/milena.v1.ProducerService/Produce", holder.method);
  EXPECT_TRUE(holder.left_ms > 10000 && holder.left_ms <= 20100);
  EXPECT_EQ_INT(100, holder.early_ms);
  holder_clear(&holder);
}

/* ---- Refusals ---- */

/* Call with bytes as they are. */
typedef struct {
  Failure *failure;
  gint done;
} RawAnswer;

static void raw_done(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  RawAnswer *answer = user_data;
  answer->failure = failure ? failure_copy(failure) : NULL;
  g_atomic_int_inc(&answer->done);
}

static Failure *call_raw(Fixture *fixture, const char *address, const ProtobufCServiceDescriptor *service,
                         const char *method, gconstpointer data, gsize len) {
  GBytes **pieces = g_new(GBytes *, 1);
  pieces[0] = g_bytes_new(data, len);
  g_autoptr(RpcMessage) request = rpc_message_new_raw(pieces, 1);
  RawAnswer answer = {0};
  rpc_client_call_unref(rpc_client_unary(fixture->client, address, service, method, request, fixture_deadline_us(20000),
                                         fixture->client_loop, raw_done, &answer));
  fixture_wait(&answer.done, 1);
  return answer.failure;
}

TEST(server, a_malformed_request_is_refused_with_its_path) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  g_autoptr(Failure) failure = call_raw(fixture, fixture->address, PRODUCER, "Produce", "\x0a\x02\xc3\x28", 4);
  EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "topic");
  EXPECT_EQ_INT(0, holder.held);
  holder_clear(&holder);
}

TEST(server, methods_and_services_that_it_lacks_are_unimplemented) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  g_autoptr(Failure) method = call_raw(fixture, fixture->address, PRODUCER, "ProduceStream", "", 0);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(method));
  EXPECT_CONTAINS(failure_message(method), "/milena.v1.ProducerService/ProduceStream");
  g_autoptr(Failure) service =
      call_raw(fixture, fixture->address, &milena__v1__metadata_service__descriptor, "GetMetadata", "", 0);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(service));
  EXPECT_EQ_INT(12, failure_code(service));
  holder_clear(&holder);
}

TEST(server, a_message_above_the_limit_is_refused) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, &(RpcServerOptions){.receive_max_bytes = 10000}, 1000);
  g_autofree guint8 *data = g_malloc0(20000);
  g_autoptr(Failure) failure = call_raw(fixture, fixture->address, PRODUCER, "Produce", data, 20000);
  EXPECT_EQ_INT(8, failure_code(failure)); /* RESOURCE_EXHAUSTED */
  EXPECT_EQ_INT(0, holder.held);
  holder_clear(&holder);
}

TEST(server, new_calls_are_refused_once_it_drained) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  rpc_server_drain(fixture->server, 0);
  g_autoptr(Failure) failure = call_raw(fixture, fixture->address, PRODUCER, "Produce", "", 0);
  EXPECT_EQ_INT(14, failure_code(failure)); /* UNAVAILABLE */
  EXPECT_TRUE(failure_is_retriable(failure));
  holder_clear(&holder);
}

/* ---- Addresses ---- */

TEST(server, a_port_in_use_is_said_so) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  g_autoptr(RpcServer) second = rpc_server_new(NULL);
  g_autoptr(Failure) failure = rpc_server_add_listener(second, fixture->address, NULL);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), fixture->address);
  EXPECT_CONTAINS(failure_message(failure), "another process has the port");
  holder_clear(&holder);
}

TEST(client, a_peer_that_is_not_there_is_named) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  g_autofree char *address = g_strdup(fixture->address);
  rpc_server_free(g_steal_pointer(&fixture->server));
  g_autoptr(Failure) failure = call_raw(fixture, address, PRODUCER, "Produce", "", 0);
  EXPECT_EQ_INT(FAILURE(PEER_UNREACHABLE), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), address);
  holder_clear(&holder);
}

TEST(client, an_answer_that_is_no_message_is_a_failure) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, HOLDING, NULL, 1000);
  g_autoptr(Failure) failure =
      call_raw(fixture, fixture->address, &milena__v1__consumer_service__descriptor, "ListOffsets", "", 0);
  EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "results");
  holder_clear(&holder);
}

TEST(client, a_channel_that_was_forgotten_is_made_anew) {
  Holder holder;
  g_autoptr(Fixture) fixture = start(&holder, INSPECTING, NULL, 1000);
  g_autoptr(Failure) first = call_raw(fixture, fixture->address, PRODUCER, "Produce", "", 0);
  EXPECT_NULL(first);
  rpc_client_forget(fixture->client, fixture->address);
  g_autoptr(Failure) second = call_raw(fixture, fixture->address, PRODUCER, "Produce", "", 0);
  EXPECT_NULL(second);
  EXPECT_TRUE(fixture_wait(&holder.inspected, 2));
  holder_clear(&holder);
}
