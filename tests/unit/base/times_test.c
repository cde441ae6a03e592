#include "services/base/times.h"
#include "tests/shim/shim.h"

static const struct {
  const char *name;
  gint64 ms, seconds;
  gint32 nanos;
} TIMESTAMPS[] = {
    {"zero", 0, 0, 0},
    {"after_1970", 1500, 1, 500000000},
    {"before_1970", -1, -1, 999000000},
    {"long_before_1970", -62135596800000, -62135596800, 0},
    {"last_of_9999", 253402300799999, 253402300799, 999000000},
};

TEST_ROWS(times, TIMESTAMPS) {
  Google__Protobuf__Timestamp timestamp;
  times_timestamp_set(&timestamp, TIMESTAMPS[row].ms);
  EXPECT_EQ_INT(TIMESTAMPS[row].seconds, timestamp.seconds);
  EXPECT_EQ_INT(TIMESTAMPS[row].nanos, timestamp.nanos);
  EXPECT_EQ_INT(TIMESTAMPS[row].ms, times_timestamp_ms(&timestamp, 7));
}

TEST(times, gives_what_is_asked_for_when_there_is_none) {
  EXPECT_EQ_INT(7, times_timestamp_ms(NULL, 7));
  EXPECT_EQ_INT(-1, times_duration_ms(NULL, -1));
}

TEST(times, keeps_durations) {
  Google__Protobuf__Duration duration;
  times_duration_set(&duration, 61007);
  EXPECT_EQ_INT(61, duration.seconds);
  EXPECT_EQ_INT(7000000, duration.nanos);
  EXPECT_EQ_INT(61007, times_duration_ms(&duration, 0));
}

TEST(times, takes_any_number_from_the_wire) {
  Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  timestamp.seconds = G_MAXINT64;
  timestamp.nanos = G_MAXINT32;
  EXPECT_TRUE(times_timestamp_ms(&timestamp, 0) > G_MAXINT64 / 2);
  timestamp.seconds = G_MININT64;
  timestamp.nanos = G_MININT32;
  EXPECT_TRUE(times_timestamp_ms(&timestamp, 0) < G_MININT64 / 2);
}
