#include "services/controller/liveness.h"

#include "tests/shim/shim.h"

#define SECOND ((gint64)G_USEC_PER_SEC)
#define BROKER NODE_KIND(BROKER)

TEST(liveness, a_session_ends_its_timeout_after_the_last_sign_of_life) {
  g_autoptr(Liveness) liveness = liveness_new(6000);
  liveness_begin(liveness, 0);
  liveness_heard(liveness, BROKER, 1, 7, 10 * SECOND);
  EXPECT_TRUE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, 16 * SECOND - 1));
  EXPECT_FALSE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, 16 * SECOND));
  EXPECT_FALSE(liveness_is_alive(liveness, BROKER, 1, 6, FALSE, 11 * SECOND)); /* an older registration */
}

TEST(liveness, everybody_has_a_full_session_from_the_beginning_but_the_fenced) {
  g_autoptr(Liveness) liveness = liveness_new(6000);
  liveness_begin(liveness, 100 * SECOND);
  EXPECT_TRUE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, 105 * SECOND));
  EXPECT_FALSE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, 106 * SECOND));
  EXPECT_FALSE(liveness_is_alive(liveness, BROKER, 2, 7, TRUE, 101 * SECOND));
}

TEST(liveness, who_left_is_gone_at_once) {
  g_autoptr(Liveness) liveness = liveness_new(6000);
  liveness_begin(liveness, 0);
  liveness_heard(liveness, BROKER, 1, 7, SECOND);
  liveness_left(liveness, BROKER, 1, 7);
  EXPECT_FALSE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, SECOND));
  EXPECT_TRUE(liveness_has_left(liveness, BROKER, 1, 7));
  liveness_heard(liveness, BROKER, 1, 8, SECOND); /* its next registration */
  EXPECT_FALSE(liveness_has_left(liveness, BROKER, 1, 8));
  EXPECT_TRUE(liveness_is_alive(liveness, BROKER, 1, 8, FALSE, SECOND));
}

TEST(liveness, a_pause_of_the_controller_ends_nobodys_session) {
  g_autoptr(Liveness) liveness = liveness_new(6000);
  liveness_begin(liveness, 0);
  liveness_heard(liveness, BROKER, 1, 7, SECOND);
  liveness_tick(liveness, 2 * SECOND);
  liveness_tick(liveness, 60 * SECOND); /* it stood still for 58 s */
  EXPECT_TRUE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, 60 * SECOND));
  EXPECT_TRUE(liveness_is_alive(liveness, BROKER, 2, 9, FALSE, 60 * SECOND)); /* not heard yet */
  EXPECT_FALSE(liveness_is_alive(liveness, BROKER, 1, 7, FALSE, 66 * SECOND));
}

TEST(liveness, brokers_and_coordinators_of_one_id_are_two) {
  g_autoptr(Liveness) liveness = liveness_new(6000);
  liveness_begin(liveness, 0);
  liveness_heard(liveness, BROKER, 1, 7, 10 * SECOND);
  EXPECT_FALSE(liveness_is_alive(liveness, NODE_KIND(COORDINATOR), 1, 7, FALSE, 11 * SECOND));
}

TEST(liveness, an_id_is_kept_after_a_change_of_the_controller_until_its_process_had_the_time_to_come) {
  g_autoptr(Liveness) liveness = liveness_new(6000);
  liveness_heard(liveness, BROKER, 1, 7, 90 * SECOND);
  liveness_begin(liveness, 100 * SECOND); /* active again: what was heard before counts for nothing */
  EXPECT_TRUE(liveness_may_live(liveness, BROKER, 1, 7, FALSE, 105 * SECOND));
  EXPECT_FALSE(liveness_may_live(liveness, BROKER, 1, 7, FALSE, 106 * SECOND));
  EXPECT_TRUE(liveness_may_live(liveness, BROKER, 2, 7, TRUE, 101 * SECOND)); /* fenced: it has registered, maybe */
  EXPECT_FALSE(liveness_may_live(liveness, BROKER, 2, 7, TRUE, 102 * SECOND));
  liveness_heard(liveness, BROKER, 2, 7, 101 * SECOND);
  EXPECT_TRUE(liveness_may_live(liveness, BROKER, 2, 7, TRUE, 106 * SECOND));
  liveness_left(liveness, BROKER, 2, 7);
  EXPECT_FALSE(liveness_may_live(liveness, BROKER, 2, 7, TRUE, 106 * SECOND));
}
