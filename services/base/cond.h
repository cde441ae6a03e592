/* Condition variables on the monotonic clock: deadlines are times of g_get_monotonic_time, which nobody sets back. */
#pragma once

#include <glib.h>
#include <pthread.h>

G_BEGIN_DECLS

void cond_init_monotonic(pthread_cond_t *cond);

/* Wait for a signal, or until @deadline_us; G_MAXINT64: for ever. The mutex is held. Returns FALSE when the time is up.
 * As ever with conditions, TRUE may come without a signal: look at what is waited for. */
gboolean cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, gint64 deadline_us);

G_END_DECLS
