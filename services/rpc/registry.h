/* The calls that are open in a server or a client: to tell them something, and to wait until they are over.
 *
 * Threads: any; a mutex is held for the time of a link or of a visit. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct RpcRegistry RpcRegistry;

RpcRegistry *rpc_registry_new(void);
void rpc_registry_free(RpcRegistry *registry);
/* @link: embedded in the call; its data points to it */
void rpc_registry_add(RpcRegistry *registry, GList *link);
void rpc_registry_remove(RpcRegistry *registry, GList *link);
/* @visit: must be short and not come back to the registry */
void rpc_registry_visit(RpcRegistry *registry, void (*visit)(gpointer call, gpointer data), gpointer data);
/* Wait until none is left, or so long. Returns how many are left. */
guint rpc_registry_wait_empty(RpcRegistry *registry, guint64 timeout_ms);

G_END_DECLS
