/* Pass a unary call on, unread, to another process that has the same service, and its answer back. */
#pragma once

#include "services/rpc/client.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

/* Handler for methods to be forwarded: RpcMethodHandler.unary; user_data is a RpcForward *. The request is passed on as
 * the bytes that arrived, with the caller's deadline; response, status and details come back as they are. */
typedef struct {
  RpcClient *client;
  /* Where to, now; NULL when unknown: then @ret_failure tells why. On the service's loop. Returned string is owned by
   * the caller. */
  char *(*route)(gpointer route_data, Failure **ret_failure);
  /* Nobody is reached there, or there is no route: end the call in its stead (with an answer, or a better failure) and
   * return TRUE, or return FALSE to let it fail with @failure. On the service's loop; @request and @failure are
   * borrowed. NULL: nobody stands in. */
  gboolean (*stand_in)(RpcCall *call, RpcMessage *request, const char *method, const Failure *failure,
                       gpointer route_data);
  gpointer route_data; /* of both */
} RpcForward;
void rpc_forward_unary(RpcCall *call, RpcMessage *request, gpointer forward);

G_END_DECLS
