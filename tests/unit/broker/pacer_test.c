/* Bytes spread over time. */
#include "services/broker/replica/pacer.h"

#include "tests/shim/shim.h"

TEST(pacer, takers_of_one_rate_share_it) {
  Pacer pacer = {0};
  EXPECT_EQ_INT(1500000, pacer_take(&pacer, 1000000, 500, 1000)); /* half a second's worth */
  EXPECT_EQ_INT(2500000, pacer_take(&pacer, 1000000, 1000, 1000));
  EXPECT_EQ_INT(2750000, pacer_take(&pacer, 2400000, 250, 1000));
  EXPECT_EQ_INT(9001000, pacer_take(&pacer, 9000000, 1, 1000)); /* what was not used is over */
}

TEST(pacer, takers_of_different_rates_share_the_time) {
  Pacer pacer = {0};
  EXPECT_EQ_INT(1000000, pacer_take(&pacer, 0, 100, 100));
  EXPECT_EQ_INT(2000000, pacer_take(&pacer, 0, 100000, 100000));
}

TEST(pacer, no_rate_overflows) {
  Pacer pacer = {0};
  gint64 before = 0;
  for (guint i = 0; i < 1000; i++) {
    gint64 end = pacer_take(&pacer, 0, G_MAXUINT64, 1);
    EXPECT_TRUE(end > before);
    before = end;
  }
}
