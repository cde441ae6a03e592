/* How long to wait before the next try: doubles from 50 ms to 1 s, some of it left to chance, so that those who lost
 * the same controller do not come back all at once. */
#pragma once

#include <glib.h>

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 1000

typedef struct {
  guint delay_ms; /* 0 after a success */
} Backoff;

static inline guint backoff_next_ms(Backoff *backoff) {
  backoff->delay_ms = backoff->delay_ms ? MIN(backoff->delay_ms * 2, BACKOFF_MOST_MS) : BACKOFF_FIRST_MS;
  return backoff->delay_ms / 2 + (guint)g_random_int_range(0, (gint)backoff->delay_ms / 2 + 1);
}

static inline void backoff_reset(Backoff *backoff) {
  backoff->delay_ms = 0;
}
