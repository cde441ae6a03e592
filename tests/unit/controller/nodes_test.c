/* Brokers' sessions and ids across a change of the active controller. */
#include "milena/internal/v1/controller_service.pb-c.h"
#include "tests/shim/shim.h"
#include "tests/unit/controller/quorum.h"

#define FOLDER_A "00000000-0000-4000-8000-00000000000a"
#define FOLDER_B "00000000-0000-4000-8000-00000000000b"

/* Register broker 1. Returns its epoch; 0 with the failure. */
static guint64 register_broker(Quorum *quorum, const char *folder, const char *process, Failure **ret_failure) {
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = 1;
  request.incarnation = (char *)folder;
  request.process_id = (char *)process;
  request.address = (char *)"127.0.0.1:7600";
  request.peer_address = (char *)"127.0.0.1:7650";
  g_autoptr(RpcMessage) message = NULL;
  *ret_failure = quorum_ask_as_node(quorum, "RegisterNode", &request.base, &message);
  return message ? ((const Milena__Internal__V1__RegisterNodeResponse *)rpc_message_body(message))->epoch : 0;
}

static Failure *heartbeat(Quorum *quorum, guint64 epoch, gboolean *ret_fenced) {
  Milena__Internal__V1__HeartbeatRequest request = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = 1;
  request.epoch = request.metadata_version = epoch;
  g_autoptr(RpcMessage) message = NULL;
  Failure *failure = quorum_ask_as_node(quorum, "Heartbeat", &request.base, &message);
  *ret_fenced = !message || ((const Milena__Internal__V1__HeartbeatResponse *)rpc_message_body(message))->fenced;
  return failure;
}

#define PROCESS(n) "00000000-0000-4000-8000-00000000010" #n

TEST(nodes, an_id_is_its_holders_also_after_a_change_of_the_active_controller) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  Failure *failure = NULL;
  gboolean fenced = TRUE;
  guint64 epoch = register_broker(&quorum, FOLDER_A, PROCESS(1), &failure);
  ASSERT_NULL(failure);
  ASSERT_NULL(heartbeat(&quorum, epoch, &fenced));
  EXPECT_FALSE(fenced);
  guint before = quorum_active(&quorum, 0);
  quorum_stop(&quorum, before);
  ASSERT_TRUE(quorum_active(&quorum, before) != before);
  /* Another folder: refused, and told who lives, though the new one has not heard the holder yet. */
  register_broker(&quorum, FOLDER_B, PROCESS(2), &failure);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
  EXPECT_EQ_STR("127.0.0.1:7600", failure_get(failure, "address"));
  g_clear_pointer(&failure, failure_free);
  /* The holder goes on as it was. */
  EXPECT_NULL(heartbeat(&quorum, epoch, &fenced));
  EXPECT_FALSE(fenced);
  /* A retry of its own registration is the same one. */
  EXPECT_EQ_INT(epoch, register_broker(&quorum, FOLDER_A, PROCESS(1), &failure));
  /* The same folder: its lock proves that the holder is gone. The old epoch is fenced. */
  guint64 next = register_broker(&quorum, FOLDER_A, PROCESS(3), &failure);
  EXPECT_NULL(failure);
  EXPECT_TRUE(next > epoch);
  g_autoptr(Failure) stale = heartbeat(&quorum, epoch, &fenced);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(stale));
  EXPECT_NULL(heartbeat(&quorum, next, &fenced));
  EXPECT_FALSE(fenced);
  quorum_clear(&quorum);
}

TEST(nodes, one_that_was_fenced_keeps_its_id_while_it_may_be_on_its_way) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  Failure *failure = NULL;
  gboolean fenced = TRUE;
  guint64 epoch = register_broker(&quorum, FOLDER_A, PROCESS(1), &failure); /* fenced: no heartbeat yet */
  ASSERT_NULL(failure);
  guint before = quorum_active(&quorum, 0);
  quorum_stop(&quorum, before);
  quorum_active(&quorum, before);
  register_broker(&quorum, FOLDER_B, PROCESS(2), &failure);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
  g_clear_pointer(&failure, failure_free);
  EXPECT_NULL(heartbeat(&quorum, epoch, &fenced));
  EXPECT_FALSE(fenced);
  quorum_clear(&quorum);
}

/* A coordinator asks for any id. Returns the one that it gets; -1 when it gets none. */
static gint32 register_coordinator(Quorum *quorum, gint32 id, const char *process) {
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR;
  request.id = id;
  request.process_id = (char *)process;
  request.address = (char *)"127.0.0.1:7800";
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(Failure) failure = quorum_ask_as_node(quorum, "RegisterNode", &request.base, &message);
  return message ? ((const Milena__Internal__V1__RegisterNodeResponse *)rpc_message_body(message))->id : -1;
}

TEST(nodes, coordinators_that_want_an_id_get_the_lowest_that_is_free) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 1);
  EXPECT_EQ_INT(1, register_coordinator(&quorum, 0, PROCESS(1)));
  EXPECT_EQ_INT(3, register_coordinator(&quorum, 3, PROCESS(2))); /* one that has its own */
  EXPECT_EQ_INT(2, register_coordinator(&quorum, 0, PROCESS(3)));
  EXPECT_EQ_INT(4, register_coordinator(&quorum, 0, PROCESS(4)));
  EXPECT_EQ_INT(2, register_coordinator(&quorum, 0, PROCESS(3))); /* the answer was lost */
  quorum_clear(&quorum);
}
