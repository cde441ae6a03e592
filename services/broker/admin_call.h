/* One call of AdminService on its way to the active controller, wherever that is by now. */
#pragma once

#include "milena/v1/admin_service.pb-c.h"
#include "services/broker/front.h"

G_BEGIN_DECLS

typedef enum {
  /* It changes nothing: asked again freely, for a moment, and answered here when nobody else does. */
  ADMIN_READ,
  /* The same, and a controller that is not active answers it too: they are all asked before this broker answers. */
  ADMIN_READ_ANY,
  /* It changes something. */
  ADMIN_WRITE,
} AdminKind;

typedef struct {
  const char *name; /* "CreateTopic" */
  AdminKind kind;
  /* Answer a read from this broker's metadata. NULL for a write. */
  void (*here)(RpcCall *call, RpcMessage *request, Front *front);
  /* The request of a write to send: itself, or one that a second try does not harm, such as with a request_id; an owned
   * reference.
   *
   * @ret_repeat: what to send after a try that may have been carried out: the second of two such does nothing. An owned
   * reference, or NULL when there is no such request
   * @ret_dry: it only checks, so it changes nothing */
  RpcMessage *(*prepare)(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry);
} AdminMethod;

/* Take over the call. @method: static */
void admin_call_begin(Front *front, RpcCall *call, RpcMessage *request, const AdminMethod *method);

G_END_DECLS
