/* See move_rate.h. No state. */
#include "services/controller/move_rate.h"

#define WINDOW_US (10 * G_TIME_SPAN_SECOND)
/* A shorter time says nothing. */
#define LEAST_US G_TIME_SPAN_SECOND

void move_rate_note(MoveRate *rate, gint64 left, gint64 now_us) {
  if (rate->us[0] == 0) {
    *rate = (MoveRate){{left, left}, {now_us, now_us}};
  } else if (now_us - rate->us[1] >= WINDOW_US) {
    rate->left[0] = rate->left[1];
    rate->us[0] = rate->us[1];
    rate->left[1] = left;
    rate->us[1] = now_us;
  }
}

gint64 move_rate_seconds_left(const MoveRate *rate, gint64 left, gint64 now_us) {
  gint64 took_us = now_us - rate->us[0], closed = rate->left[0] - left;
  if (rate->us[0] == 0 || took_us < LEAST_US || closed <= 0)
    return -1;
  double seconds = (double)left * (double)took_us / (double)closed / G_USEC_PER_SEC;
  return seconds < 1e9 ? (gint64)(seconds + 0.999) : -1;
}
