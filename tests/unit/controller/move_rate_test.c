/* When a replica that catches up has all, by what is told of it every second. */
#include "services/controller/move_rate.h"

#include "tests/shim/shim.h"

#define START_US (1000 * G_TIME_SPAN_SECOND)

/* It is told every second for so long; it comes nearer by so many offsets a second, from the second on that is given.
 */
static const struct {
  const char *name;
  gint64 left, told_s;
  gint64 first_rate, change_s, then_rate;
  gint64 expected_s;
} ROWS[] = {
    {"told_once", 1000, 0, 0, 0, 0, -1},
    {"steady", 1000, 5, 10, 0, 10, 95},
    {"nearly_there", 1000, 50, 20, 0, 20, 0},
    {"stands_still", 1000, 30, 0, 0, 0, -1},
    {"falls_behind", 1000, 30, -5, 0, -5, -1},
    {"stands_still_after_a_while", 1000, 60, 10, 10, 0, -1},
    {"faster_after_a_while", 100000, 60, 10, 10, 1000, 50},
    {"began_late", 10000, 60, 0, 30, 100, 70},
};

TEST_ROWS(move_rate, ROWS) {
  MoveRate rate = {0};
  gint64 left = ROWS[row].left;
  for (gint64 second = 0; second <= ROWS[row].told_s; second++) {
    if (second > 0)
      left -= second <= ROWS[row].change_s ? ROWS[row].first_rate : ROWS[row].then_rate;
    move_rate_note(&rate, left, START_US + second * G_TIME_SPAN_SECOND);
  }
  EXPECT_EQ_INT(ROWS[row].expected_s,
                move_rate_seconds_left(&rate, left, START_US + ROWS[row].told_s * G_TIME_SPAN_SECOND));
}
