/* See pollers.h. Immutable once made, so any thread reads it. */
#include "services/rpc/library.h"
#include "services/rpc/pollers_internal.h"

#define PROCESSORS_PER_POLLER 4

RpcPollers *rpc_pollers_new(const char *name, guint threads) {
  rpc_library_init();
  guint count = threads ? threads : MAX(1, g_get_num_processors() / PROCESSORS_PER_POLLER);
  RpcPollers *pollers = g_malloc0(sizeof *pollers + count * sizeof pollers->queues[0]);
  pollers->count = count;
  for (guint i = 0; i < count; i++) {
    pollers->queues[i] = rpc_queue_new(name);
    rpc_queue_start(pollers->queues[i]);
  }
  return pollers;
}

void rpc_pollers_free(RpcPollers *pollers) {
  if (!pollers)
    return;
  for (guint i = 0; i < pollers->count; i++)
    rpc_queue_free(pollers->queues[i]);
  g_free(pollers);
}
