/* Controllers that agree: elections, membership, snapshots, moves. What is refused is in quorum_refusal_test.c. */
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/unit/controller/quorum.h"

#define PATIENCE_US ((gint64)60 * G_USEC_PER_SEC)

/* Wait until @asked says that @id is as wanted. */
typedef gboolean (*Wanted)(const Milena__V1__ControllerState *state, gpointer data);

static gboolean wait_for_state(Quorum *quorum, guint asked, guint id, Wanted wanted, gpointer data) {
  gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
  do {
    const Milena__V1__ControllerState *state = NULL;
    g_autoptr(RpcMessage) message = quorum_list(quorum, asked, id, &state);
    if (message && state && wanted(state, data))
      return TRUE;
    g_usleep(5000);
  } while (g_get_monotonic_time() < until_us);
  return FALSE;
}

static gboolean has_all(const Milena__V1__ControllerState *state, gpointer data) {
  (void)data;
  return state->match_index > 0 && state->lag == 0;
}

static gboolean is_at(const Milena__V1__ControllerState *state, gpointer data) {
  return g_strcmp0(state->peer_address, data) == 0;
}

static void wait_for_topics(Quorum *quorum, guint id, guint count) {
  gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
  while (quorum_count_topics(quorum, id) != count && g_get_monotonic_time() < until_us)
    g_usleep(5000);
  EXPECT_EQ_INT(count, quorum_count_topics(quorum, id));
}

static void create_topics(Quorum *quorum, const char *prefix, guint count) {
  for (guint i = 0; i < count; i++) {
    g_autofree char *name = g_strdup_printf("%s-%u", prefix, i);
    EXPECT_NULL(quorum_create_topic(quorum, name));
  }
}

TEST(quorum, goes_on_without_the_active_one_and_takes_it_back) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  quorum_add_broker(&quorum);
  create_topics(&quorum, "before", 3);
  guint first = quorum_active(&quorum, 0);
  quorum_stop(&quorum, first);
  guint second = quorum_active(&quorum, first);
  EXPECT_TRUE(second != first);
  create_topics(&quorum, "after", 2);
  quorum_start(&quorum, first);
  wait_for_topics(&quorum, first, 5);
  EXPECT_TRUE(wait_for_state(&quorum, second, first, has_all, NULL));
  for (guint id = 1; id <= 3; id++)
    wait_for_topics(&quorum, id, 5);
  quorum_clear(&quorum);
}

TEST(quorum, comes_back_after_all_were_stopped) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  quorum_add_broker(&quorum);
  create_topics(&quorum, "kept", 3);
  for (guint id = 1; id <= 3; id++)
    quorum_stop(&quorum, id);
  for (guint id = 1; id <= 3; id++)
    quorum_start(&quorum, id);
  create_topics(&quorum, "more", 1);
  for (guint id = 1; id <= 3; id++)
    wait_for_topics(&quorum, id, 4);
  quorum_clear(&quorum);
}

/* A read that the rest of the cluster may have overtaken is not answered. */
TEST(quorum, answers_nothing_stale_without_a_majority) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  guint active = quorum_active(&quorum, 0);
  for (guint id = 1; id <= 3; id++)
    if (id != active)
      quorum_stop(&quorum, id);
  Milena__V1__ListTopicsRequest request = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
  g_autoptr(Failure) failure = quorum_call(&quorum, active, "ListTopics", &request.base, NULL);
  EXPECT_EQ_INT(FAILURE(CONTROLLER_NOT_AVAILABLE), failure ? (int)failure_reason(failure) : -1);
  /* What it knows of the quorum is told all the same: that is what one looks at then. */
  const Milena__V1__ControllerState *state = NULL;
  g_autoptr(RpcMessage) message = quorum_list(&quorum, active, active, &state);
  EXPECT_TRUE(state != NULL);
  quorum_clear(&quorum);
}

TEST(quorum, grows_from_one_to_three_and_sends_newcomers_a_snapshot) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum.snapshot_entries = 20;
  quorum_begin(&quorum, 1);
  quorum_add_broker(&quorum);
  create_topics(&quorum, "old", 70);
  for (guint id = 2; id <= 3; id++) {
    quorum_start(&quorum, id);
    g_autoptr(RpcMessage) message = NULL;
    g_autoptr(Failure) failure = quorum_add(&quorum, id, &message);
    EXPECT_NULL(failure);
    ASSERT_TRUE(message != NULL);
    const Milena__V1__AddControllerResponse *response = rpc_message_body(message);
    EXPECT_EQ_INT(MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_VOTER, response->controller->role);
    wait_for_topics(&quorum, id, 70);
  }
  /* Again: it is a member already. */
  EXPECT_NULL(quorum_add(&quorum, 3, NULL));
  create_topics(&quorum, "new", 1);
  quorum_stop(&quorum, 1);
  create_topics(&quorum, "newer", 1);
  wait_for_topics(&quorum, 2, 72);
  wait_for_topics(&quorum, 3, 72);
  quorum_clear(&quorum);
}

TEST(quorum, replaces_a_controller_that_lost_its_disk) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  quorum_add_broker(&quorum);
  create_topics(&quorum, "kept", 2);
  EXPECT_NULL(quorum_transfer(&quorum, 1));
  guint active = quorum_active(&quorum, 3);
  quorum_stop(&quorum, 3);
  quorum_lose_disk(&quorum, 3);
  quorum_start(&quorum, 3);
  create_topics(&quorum, "meanwhile", 1);
  /* It waits, votes for nobody, and the others say why. */
  EXPECT_TRUE(controller_is_waiting(quorum.members[3].controller));
  const char *error = "";
  g_autoptr(RpcMessage) message = NULL;
  for (gint64 until_us = g_get_monotonic_time() + PATIENCE_US; g_get_monotonic_time() < until_us;) {
    const Milena__V1__ControllerState *state = NULL;
    g_clear_pointer(&message, rpc_message_unref);
    message = quorum_list(&quorum, active, 3, &state);
    error = state ? state->link_error : "";
    if (strstr(error, "its disk was lost or replaced"))
      break;
    g_usleep(5000);
  }
  EXPECT_CONTAINS(error, "its disk was lost or replaced");
  EXPECT_NULL(quorum_remove(&quorum, 3));
  EXPECT_NULL(quorum_add(&quorum, 3, NULL));
  wait_for_topics(&quorum, 3, 3);
  quorum_clear(&quorum);
}

TEST(quorum, hands_over_and_removes_the_active_one) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  for (guint id = 1; id <= 3; id++) {
    EXPECT_NULL(quorum_transfer(&quorum, id));
    EXPECT_EQ_INT(id, quorum_active(&quorum, 0));
  }
  EXPECT_NULL(quorum_remove(&quorum, 3));
  guint active = quorum_active(&quorum, 3);
  const Milena__V1__ControllerState *state = NULL;
  g_autoptr(RpcMessage) message = quorum_list(&quorum, active, 3, &state);
  EXPECT_NULL(state);
  EXPECT_EQ_INT(2, ((const Milena__V1__ListControllersResponse *)rpc_message_body(message))->n_controllers);
  gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
  while (quorum_count_controllers(&quorum, active) != 2 && g_get_monotonic_time() < until_us)
    g_usleep(5000);
  EXPECT_EQ_INT(2, quorum_count_controllers(&quorum, active));
  /* The one that was removed knows no active one after a while. */
  do {
    g_clear_pointer(&message, rpc_message_unref);
    message = quorum_list(&quorum, 3, 3, &state);
    g_usleep(5000);
  } while (((const Milena__V1__ListControllersResponse *)rpc_message_body(message))->active_id != -1 &&
           g_get_monotonic_time() < until_us);
  EXPECT_EQ_INT(-1, ((const Milena__V1__ListControllersResponse *)rpc_message_body(message))->active_id);
  quorum_clear(&quorum);
}

TEST(quorum, finds_a_controller_that_moved) {
  Quorum quorum;
  quorum_init(&quorum);
  quorum_begin(&quorum, 3);
  quorum_add_broker(&quorum);
  quorum_stop(&quorum, 2);
  quorum_move(&quorum, 2);
  quorum_start(&quorum, 2);
  create_topics(&quorum, "seen", 1);
  wait_for_topics(&quorum, 2, 1);
  guint active = quorum_active(&quorum, 0);
  EXPECT_TRUE(wait_for_state(&quorum, active, 2, is_at, (gpointer)quorum_peer_address(&quorum, 2)));
  quorum_clear(&quorum);
}

/* A cluster of one controller, as the first release left it when it was killed: 30 topics, no directory id. */
TEST(quorum, goes_on_with_the_folder_of_the_first_release) {
  static const char *const NAMES[] = {"000004.log", "CURRENT", "MANIFEST-000005"};
  Quorum quorum;
  quorum_init(&quorum);
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
    g_autofree char *name = g_build_filename("tests/data/raft_log/format-1-cluster", NAMES[i], NULL);
    g_autofree char *to = g_build_filename(quorum.members[1].folder, NAMES[i], NULL), *bytes = NULL;
    gsize size = 0;
    EXPECT_TRUE(g_file_get_contents(shim_source_path(name), &bytes, &size, NULL));
    EXPECT_TRUE(g_file_set_contents(to, bytes, (gssize)size, NULL));
  }
  quorum_start(&quorum, 1);
  wait_for_topics(&quorum, 1, 30);
  quorum_start(&quorum, 2);
  EXPECT_NULL(quorum_add(&quorum, 2, NULL));
  wait_for_topics(&quorum, 2, 30);
  EXPECT_NULL(quorum_transfer(&quorum, 2));
  EXPECT_EQ_INT(2, quorum_active(&quorum, 0));
  quorum_clear(&quorum);
}
