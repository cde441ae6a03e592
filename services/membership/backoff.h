/* How long to wait before the next try: doubles from 50 ms to 2 s. */
#pragma once

#include <glib.h>

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 2000

typedef struct {
  guint delay_ms; /* 0 after a success */
} Backoff;

static inline guint backoff_next_ms(Backoff *backoff) {
  backoff->delay_ms = backoff->delay_ms ? MIN(backoff->delay_ms * 2, BACKOFF_MOST_MS) : BACKOFF_FIRST_MS;
  return backoff->delay_ms;
}

static inline void backoff_reset(Backoff *backoff) {
  backoff->delay_ms = 0;
}
