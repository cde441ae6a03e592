/* Asking a controller who it is, and saying who this one is: RaftService.Identify. */
#pragma once

#include "milena/internal/v1/raft_service.pb-c.h"
#include "services/controller/host.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* Who a controller is, by its own word. Borrowed. */
typedef struct {
  gint32 id;
  RaftDirectory directory;
  const char *cluster_id; /* "": it waits for one */
  gboolean empty;         /* its log is */
  const char *address, *peer_address;
} Identity;

/* @failure: NULL, or a sentence that names the controller; borrowed. @identity: NULL on failure. */
typedef void (*IdentifyDone)(const Failure *failure, const Identity *identity, gpointer data);

/* Ask the controller @id at @peer_address, until @until_us (monotonic) and for some seconds at most. @done: once, on
 * the host's loop. It is refused when it is another one, or advertises another peer address. */
void identify(Host *host, gint32 id, const char *peer_address, gint64 until_us, IdentifyDone done, gpointer data);
/* Handler: takes over the call. */
void identify_answer(Host *host, RpcCall *call);

G_END_DECLS
