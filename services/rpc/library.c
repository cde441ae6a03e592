/* The core's life and its log: see library.h.
 *
 * It is never shut down: grpc_shutdown of 1.51 was seen to wait for a timer thread that missed its wake-up, until the
 * next timer was due (10 s, the handshake's). Servers and clients release all they have of it by themselves, and the
 * process ends anyway. */
#include "services/rpc/library.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <pthread.h>

#include "services/base/slog.h"

/* Any thread of the core. */
static void log_line(gpr_log_func_args *args) {
  static const SlogLevel LEVELS[] = {[GPR_LOG_SEVERITY_DEBUG] = SLOG_DEBUG,
                                     [GPR_LOG_SEVERITY_INFO] = SLOG_INFO,
                                     /* Its errors are mostly a peer's: one that left, a port that is taken. What
                                      * matters comes to us as a status as well. */
                                     [GPR_LOG_SEVERITY_ERROR] = SLOG_DEBUG};
  slog(LEVELS[args->severity], args->message, "source", "grpc", NULL);
}

static void init_once(void) {
  gpr_set_log_function(log_line);
  grpc_init();
}

void rpc_library_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_once);
}
