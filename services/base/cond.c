/* Condition variables on the monotonic clock: see cond.h. */
#include "services/base/cond.h"

#include <time.h>

#define NANOS_PER_US 1000

void cond_init_monotonic(pthread_cond_t *cond) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(cond, &attributes);
  pthread_condattr_destroy(&attributes);
}

gboolean cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, gint64 deadline_us) {
  if (deadline_us == G_MAXINT64)
    return pthread_cond_wait(cond, mutex) == 0;
  const struct timespec until = {.tv_sec = deadline_us / G_USEC_PER_SEC,
                                 .tv_nsec = deadline_us % G_USEC_PER_SEC * NANOS_PER_US};
  return pthread_cond_timedwait(cond, mutex, &until) == 0;
}
