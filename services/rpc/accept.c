/* The door's own guard: connections are refused before they take the descriptors that the process needs to live.
 *
 * grpc 1.51 closes a listener for good when accept4 fails for want of a descriptor: the process would serve whom it has
 * and never hear of anybody else again, and the store could open no file. So this accept4 stands in front of libc's for
 * the core: a connection whose descriptor comes near the limit is closed at once, and a failure is told as "nothing
 * there now", which the core takes as the end of a burst. Descriptors are given lowest first, so their number says how
 * many there are.
 *
 * No state but whether there is a server, and the time of the last complaint. Any thread. */
#include "services/rpc/accept.h"

#include <dlfcn.h>
#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/base/slog.h"

/* Kept back for files, and for the calls of this process to others: this many, or a part of a small limit. */
#define RESERVED_MAX 512
#define RESERVED_PART 8
#define COMPLAIN_EVERY_US G_GINT64_CONSTANT(5000000)

/* Set for good by the first server: a program that is a client alone accepts as it likes. */
static atomic_bool is_guarded;

typedef int (*Accept4)(int listener, struct sockaddr *address, socklen_t *length, int flags);

static rlim_t descriptor_limit(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

static void complain(rlim_t limit) {
  static atomic_int_least64_t last_us;
  gint64 now_us = g_get_monotonic_time(), before_us = atomic_load(&last_us);
  if (before_us != 0 && now_us - before_us < COMPLAIN_EVERY_US)
    return;
  if (atomic_compare_exchange_strong(&last_us, &before_us, now_us))
    slog_warning(
        "connections are refused: nearly all file descriptors that this process may have are in use; raise the "
        "limit (ulimit -n, LimitNOFILE), or close idle connections",
        "limit", SLOG_INT(limit), NULL);
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
  static _Atomic(Accept4) next;
  Accept4 real = atomic_load(&next);
  if (real == NULL) {
    *(void **)&real = dlsym(RTLD_NEXT, "accept4");
    atomic_store(&next, real);
  }
  const socklen_t room = length ? *length : 0;
  for (;;) {
    if (length)
      *length = room;
    int fd = real(listener, address, length, flags);
    rlim_t limit = descriptor_limit();
    if (!atomic_load(&is_guarded) || (fd < 0 && errno != EMFILE && errno != ENFILE))
      return fd;
    if (fd >= 0 && (limit == RLIM_INFINITY || (rlim_t)fd < limit - MIN(limit / RESERVED_PART, RESERVED_MAX)))
      return fd;
    complain(limit);
    if (fd < 0) {
      errno = EAGAIN;
      return -1;
    }
    close(fd);
  }
}

void rpc_accept_guard(void) {
  atomic_store(&is_guarded, true);
}
