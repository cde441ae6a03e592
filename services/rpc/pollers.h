/* The threads that poll the network, each with a completion queue.
 *
 * The core lets one thread of the process wait for the network at a time, for all connections; the others wait for
 * their turn, and for what the one found for them. So every poller more than the work needs costs wake-ups: a process
 * with several servers and clients gives them the same pollers. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct RpcPollers RpcPollers;

/* Start the threads.
 *
 * @name: of each
 * @threads: 0 for one for every four processors, at least one */
RpcPollers *rpc_pollers_new(const char *name, guint threads);
/* End them; after all servers and clients that use them. NULL is fine. */
void rpc_pollers_free(RpcPollers *pollers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcPollers, rpc_pollers_free)

G_END_DECLS
