/* Ctrl-C while a stream is copied: the first asks the command to finish, a second one ends the process at once. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Take over SIGINT and SIGTERM. A read that waits is interrupted (EINTR). Once, on the main thread. */
void interrupt_catch(void);
/* The signal that came, or 0. */
int interrupt_signal(void);

G_END_DECLS
