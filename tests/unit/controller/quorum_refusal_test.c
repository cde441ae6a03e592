/* What controllers refuse, each by a sentence of its own: lists that disagree, folders and clusters that do not belong
 * together, removals that would end the cluster. Nothing is changed by any of them. */
#include <pthread.h>
#include <string.h>

#include "services/base/loop.h"
#include "services/controller/directory.h"
#include "tests/shim/shim.h"
#include "tests/unit/controller/quorum.h"

static void expect_refused(Failure *failure, FailureReason reason, const char *says) {
  EXPECT_EQ_INT(reason, failure ? (int)failure_reason(failure) : -1);
  if (failure)
    EXPECT_CONTAINS(failure_message(failure), says);
  failure_free(failure);
}

/* ---- The beginning ---- */

/* Bootstrap with one controller of the list exchanged. */
static Failure *begin_with(Quorum *quorum, gint32 id, const char *address, gboolean validate_only) {
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  Milena__V1__InitialController first = MILENA__V1__INITIAL_CONTROLLER__INIT, second = first;
  Milena__V1__InitialController *both[] = {&first, &second};
  first.id = 1;
  first.peer_address = (char *)quorum_peer_address(quorum, 1);
  second.id = id;
  second.peer_address = (char *)address;
  request.n_controllers = 2;
  request.controllers = both;
  request.validate_only = validate_only;
  return quorum_call(quorum, 1, "BootstrapCluster", &request.base, NULL);
}

TEST(bootstrap, refuses_lists_that_can_not_be) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_start(&quorum, 1);
  quorum_start(&quorum, 2);
  const char *second = quorum_peer_address(&quorum, 2);
  expect_refused(begin_with(&quorum, 1, second, FALSE), FAILURE(INVALID_FIELD), "an id is there twice");
  expect_refused(begin_with(&quorum, 2, quorum_peer_address(&quorum, 1), FALSE), FAILURE(INVALID_FIELD),
                 "an address is there twice");
  expect_refused(begin_with(&quorum, 0, second, FALSE), FAILURE(INVALID_FIELD), "ids begin at 1");
  expect_refused(begin_with(&quorum, 2, "nowhere", FALSE), FAILURE(INVALID_FIELD), "name host:port");
  expect_refused(begin_with(&quorum, 3, second, FALSE), FAILURE(UNKNOWN_CONTROLLER), "has the id 2, and 3 was named");
  expect_refused(begin_with(&quorum, 2, "127.0.0.1:1", FALSE), FAILURE(PEER_UNREACHABLE), "can't be asked who it is");
  g_autofree char *alias = g_strdup_printf("localhost%s", strchr(second, ':'));
  expect_refused(begin_with(&quorum, 2, alias, FALSE), FAILURE(INVALID_FIELD), "others reach it at");
  expect_refused(quorum_bootstrap(&quorum, 2, 1, "", NULL), FAILURE(INVALID_FIELD), "does not name controller 2");
  expect_refused(quorum_bootstrap(&quorum, 1, 0, "", NULL), FAILURE(INVALID_FIELD), "1 to 9");
  /* A check alone begins nothing. */
  EXPECT_NULL(begin_with(&quorum, 2, second, TRUE));
  EXPECT_TRUE(controller_is_waiting(quorum.members[1].controller));
  Milena__V1__ListTopicsRequest list = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
  expect_refused(quorum_call(&quorum, 1, "ListTopics", &list.base, NULL), FAILURE(NOT_BOOTSTRAPPED),
                 "belongs to no cluster");
  quorum_clear(&quorum);
}

TEST(bootstrap, is_done_once_and_a_retry_is_told_the_same) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  g_autoptr(RpcMessage) first = NULL, second = NULL;
  EXPECT_NULL(quorum_bootstrap(&quorum, 1, 3, "begin", &first));
  EXPECT_NULL(quorum_bootstrap(&quorum, 2, 3, "begin", &second));
  ASSERT_TRUE(first && second);
  EXPECT_EQ_STR(((const Milena__V1__BootstrapClusterResponse *)rpc_message_body(first))->cluster_id,
                ((const Milena__V1__BootstrapClusterResponse *)rpc_message_body(second))->cluster_id);
  expect_refused(quorum_bootstrap(&quorum, 1, 3, "other", NULL), FAILURE(ALREADY_BOOTSTRAPPED), "already");
  expect_refused(quorum_bootstrap(&quorum, 1, 3, "", NULL), FAILURE(ALREADY_BOOTSTRAPPED), "already");
  quorum_start(&quorum, 4);
  expect_refused(quorum_bootstrap(&quorum, 4, 4, "begin", NULL), FAILURE(ALREADY_BOOTSTRAPPED),
                 "belongs to the cluster");
  EXPECT_TRUE(controller_is_waiting(quorum.members[4].controller));
  quorum_clear(&quorum);
}

/* ---- Membership ---- */

static Failure *add(Quorum *quorum, gint32 id, const char *address) {
  Milena__V1__AddControllerRequest request = MILENA__V1__ADD_CONTROLLER_REQUEST__INIT;
  request.id = id;
  request.peer_address = (char *)address;
  return quorum_ask(quorum, "AddController", &request.base, NULL);
}

TEST(membership, refuses_controllers_that_do_not_fit) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 1);
  quorum_start(&quorum, 2);
  quorum_start(&quorum, 3);
  const char *second = quorum_peer_address(&quorum, 2);
  expect_refused(add(&quorum, 0, second), FAILURE(INVALID_FIELD), "begin at 1");
  expect_refused(add(&quorum, 2, "nowhere"), FAILURE(INVALID_FIELD), "host:port");
  expect_refused(add(&quorum, 5, second), FAILURE(UNKNOWN_CONTROLLER), "has the id 2, and 5 was named");
  expect_refused(add(&quorum, 2, "127.0.0.1:1"), FAILURE(PEER_UNREACHABLE), "can't be asked");
  EXPECT_NULL(quorum_add(&quorum, 2, NULL));
  /* Another process with the id of a member. */
  quorum_stop(&quorum, 3);
  Quorum other;
  quorum_init(&other);
  quorum_start(&other, 2);
  expect_refused(add(&quorum, 2, quorum_peer_address(&other, 2)), FAILURE(CONTROLLER_EXISTS),
                 "is a member with the folder");
  quorum_stop(&other, 2);
  /* One of another cluster. */
  quorum_begin(&other, 1);
  quorum_start(&other, 3);
  EXPECT_NULL(quorum_add(&other, 3, NULL));
  expect_refused(add(&quorum, 3, quorum_peer_address(&other, 3)), FAILURE(CLUSTER_MISMATCH), "belongs to the cluster");
  quorum_clear(&other);
  quorum_clear(&quorum);
}

TEST(membership, refuses_removals_that_would_end_the_cluster) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 1);
  expect_refused(quorum_remove(&quorum, 1), FAILURE(QUORUM_AT_RISK), "the last one with a vote");
  expect_refused(quorum_remove(&quorum, 7), FAILURE(UNKNOWN_CONTROLLER), "No controller of this cluster has the id 7");
  expect_refused(quorum_transfer(&quorum, 7), FAILURE(UNKNOWN_CONTROLLER), "has the id 7");
  expect_refused(quorum_transfer(&quorum, 0), FAILURE(QUORUM_AT_RISK), "nobody can take over");
  for (guint id = 2; id <= 3; id++) {
    quorum_start(&quorum, id);
    EXPECT_NULL(quorum_add(&quorum, id, NULL));
  }
  EXPECT_NULL(quorum_transfer(&quorum, 1));
  quorum_stop(&quorum, 3);
  /* The active one learns of it by its silence: until then the hand-over is tried and given up. */
  expect_refused(quorum_transfer(&quorum, 3), FAILURE(PEER_UNREACHABLE), "does not answer");
  expect_refused(quorum_remove(&quorum, 2), FAILURE(QUORUM_AT_RISK), "no majority");
  Milena__V1__RemoveControllerRequest request = MILENA__V1__REMOVE_CONTROLLER_REQUEST__INIT;
  request.id = 3;
  request.directory_id = (char *)"00000000-0000-4000-8000-000000000000";
  expect_refused(quorum_ask(&quorum, "RemoveController", &request.base, NULL), FAILURE(DIRECTORY_MISMATCH),
                 "was named");
  EXPECT_NULL(quorum_remove(&quorum, 3));
  /* It comes back and is told that it was removed; its folder is refused when it is added again. */
  quorum_start(&quorum, 3);
  expect_refused(quorum_add(&quorum, 3, NULL), FAILURE(ALREADY_BOOTSTRAPPED), "is not empty");
  quorum_clear(&quorum);
}

/* ---- Hello ---- */

/* A controller's hello by hand. */
typedef struct {
  Quorum *quorum;
  Loop *loop;
  RpcClientCall *call;
  Milena__Internal__V1__ExchangeHello hello;
  char cluster_id[64], directory_id[DIRECTORY_TEXT_BYTES];
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean closed, welcomed;
  gboolean stays; /* it keeps its stream after the welcome, until hang_up */
  Failure *failure;
} Caller;

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Caller *caller = state;
  if (!message)
    return;
  pthread_mutex_lock(&caller->mutex);
  caller->welcomed = TRUE;
  pthread_cond_signal(&caller->cond);
  pthread_mutex_unlock(&caller->mutex);
  if (!caller->stays)
    rpc_client_call_half_close(call);
  rpc_client_call_read(call);
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  Caller *caller = state;
  pthread_mutex_lock(&caller->mutex);
  caller->closed = TRUE;
  caller->failure = failure ? failure_copy(failure) : NULL;
  pthread_cond_signal(&caller->cond);
  pthread_mutex_unlock(&caller->mutex);
}

/* On the caller's loop. */
static void start_call(gpointer data) {
  static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};
  Caller *caller = data;
  Milena__Internal__V1__ExchangeRequest request = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__INIT;
  request.frame_case = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_HELLO;
  request.hello = &caller->hello;
  caller->call = rpc_client_stream(caller->quorum->client, quorum_peer_address(caller->quorum, 1),
                                   &milena__internal__v1__raft_service__descriptor, "Exchange", G_MAXINT64,
                                   caller->loop, &EVENTS, caller);
  rpc_client_call_send(caller->call, &request.base, NULL, 0);
  rpc_client_call_read(caller->call);
}

static void end_call(Caller *caller) {
  loop_stop(caller->loop);
  rpc_client_call_unref(caller->call);
  loop_free(caller->loop);
  pthread_mutex_destroy(&caller->mutex);
  pthread_cond_destroy(&caller->cond);
}

/* End the stream of one that stays. */
static void hang_up(Caller *caller) {
  rpc_client_call_cancel(caller->call);
  pthread_mutex_lock(&caller->mutex);
  while (!caller->closed)
    pthread_cond_wait(&caller->cond, &caller->mutex);
  pthread_mutex_unlock(&caller->mutex);
  failure_free(caller->failure);
  end_call(caller);
}

/* Say it to controller 1; returns why it was refused, or NULL when it was welcomed. */
static Failure *say(Caller *caller) {
  caller->loop = loop_new("caller", 100);
  loop_start(caller->loop);
  pthread_mutex_init(&caller->mutex, NULL);
  pthread_cond_init(&caller->cond, NULL);
  caller->closed = caller->welcomed = FALSE;
  caller->failure = NULL;
  loop_call(caller->loop, start_call, caller);
  pthread_mutex_lock(&caller->mutex);
  while (!caller->closed && !(caller->stays && caller->welcomed))
    pthread_cond_wait(&caller->cond, &caller->mutex);
  pthread_mutex_unlock(&caller->mutex);
  EXPECT_TRUE(caller->welcomed == !caller->failure);
  if (!caller->stays)
    end_call(caller);
  return caller->failure;
}

/* One that would be welcomed. */
static void caller_init(Quorum *quorum, Caller *caller) {
  *caller = (Caller){.quorum = quorum, .hello = MILENA__INTERNAL__V1__EXCHANGE_HELLO__INIT};
  const Milena__V1__ControllerState *state = NULL;
  g_autoptr(RpcMessage) message = quorum_list(quorum, 1, 1, &state);
  ASSERT_TRUE(message && state);
  const Milena__V1__ListControllersResponse *response = rpc_message_body(message);
  g_strlcpy(caller->cluster_id, response->cluster_id, sizeof caller->cluster_id);
  g_strlcpy(caller->directory_id, state->directory_id, sizeof caller->directory_id);
  caller->hello.format = 1;
  caller->hello.cluster_id = caller->cluster_id;
  caller->hello.from_id = 9;
  caller->hello.from_directory_id = (char *)"99999999-9999-4999-8999-999999999999";
  caller->hello.to_id = 1;
  caller->hello.to_directory_id = caller->directory_id;
  caller->hello.from_peer_address = (char *)"127.0.0.1:1";
  caller->hello.configuration_index = 1000000;
}

TEST(hello, refuses_what_does_not_belong_here_by_name) {
  Quorum quorum;
  Caller caller;
  quorum_init(&quorum);
  quorum_begin(&quorum, 1);
  quorum_active(&quorum, 0);
  caller_init(&quorum, &caller);
  EXPECT_NULL(say(&caller));
  caller.hello.format = 99;
  expect_refused(say(&caller), FAILURE(UNSUPPORTED), "speaks format 99");
  caller_init(&quorum, &caller);
  caller.hello.cluster_id = (char *)"00000000-0000-4000-8000-000000000000";
  expect_refused(say(&caller), FAILURE(CLUSTER_MISMATCH), "belongs to the cluster");
  caller_init(&quorum, &caller);
  caller.hello.to_id = 2;
  expect_refused(say(&caller), FAILURE(UNKNOWN_CONTROLLER), "is 1, and 2 was meant");
  caller_init(&quorum, &caller);
  caller.hello.to_directory_id = caller.hello.from_directory_id;
  expect_refused(say(&caller), FAILURE(DIRECTORY_MISMATCH), "its disk was lost or replaced");
  caller_init(&quorum, &caller);
  caller.hello.from_id = 1;
  expect_refused(say(&caller), FAILURE(DUPLICATE_ID), "Two controllers have the id 1");
  caller_init(&quorum, &caller);
  caller.hello.configuration_index = 0;
  expect_refused(say(&caller), FAILURE(UNKNOWN_CONTROLLER), "was removed from the cluster");
  caller_init(&quorum, &caller);
  caller.hello.from_directory_id = (char *)"not a directory";
  expect_refused(say(&caller), FAILURE(MALFORMED_MESSAGE), "does not say who it is");
  quorum_clear(&quorum);
}

/* A folder that was copied: while the first process speaks, the second is refused. */
TEST(hello, refuses_a_second_process_on_a_copy_of_a_folder) {
  Quorum quorum;
  Caller first, twin;
  quorum_init(&quorum);
  quorum_begin(&quorum, 1);
  quorum_active(&quorum, 0);
  caller_init(&quorum, &first);
  first.stays = TRUE;
  EXPECT_NULL(say(&first));
  /* Where this machine stands still for a second the first one counts as silent: the next address is refused then. */
  Failure *refused = NULL;
  for (guint port = 2; port < 100 && !refused; port++) {
    g_autofree char *address = g_strdup_printf("127.0.0.1:%u", port);
    caller_init(&quorum, &twin);
    twin.hello.from_peer_address = address;
    refused = say(&twin);
  }
  expect_refused(refused, FAILURE(DUPLICATE_ID), "A folder was copied");
  hang_up(&first);
  quorum_clear(&quorum);
}

TEST(directory, is_written_and_read_back) {
  RaftDirectory directory = {{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 0xff}}, back = {0};
  char text[DIRECTORY_TEXT_BYTES];
  directory_text(&directory, text);
  EXPECT_EQ_STR("12345678-9abc-def0-0102-0304050607ff", text);
  EXPECT_TRUE(directory_parse(text, &back));
  EXPECT_EQ_BYTES(directory.bytes, sizeof directory.bytes, back.bytes, sizeof back.bytes);
  EXPECT_FALSE(directory_parse("12345678-9abc-def0-0102-0304050607f", &back));
  EXPECT_FALSE(directory_parse("12345678+9abc-def0-0102-0304050607ff", &back));
  EXPECT_FALSE(directory_parse("12345678-9abc-def0-0102-0304050607fg", &back));
}
