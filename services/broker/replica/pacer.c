/* See pacer.h. Invariant: the line's end never goes back. */
#include "services/broker/replica/pacer.h"

#include <stdatomic.h>

/* A place lasts a day at most, so that no rate makes the sum of a few overflow. */
#define PLACE_MAX_US (24.0 * 3600 * G_USEC_PER_SEC)

gint64 pacer_take(Pacer *pacer, gint64 now_us, guint64 bytes, guint64 bytes_per_s) {
  gint64 place_us = (gint64)MIN((double)bytes * G_USEC_PER_SEC / (double)bytes_per_s, PLACE_MAX_US);
  gint64 before = atomic_load(&pacer->end_us), end;
  do
    end = MAX(before, now_us) + place_us;
  while (!atomic_compare_exchange_weak(&pacer->end_us, &before, end));
  return end;
}
