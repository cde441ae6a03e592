/* What the handlers of ConsumerService share. Private to services/broker/read. Thread: the front's loop. */
#pragma once

#include "services/broker/read/read_service.h"
#include "services/broker/read/request.h"

G_BEGIN_DECLS

struct ReadService {
  Front *front;
  GroupDoor *door; /* to the groups' coordinators */
  guint turn;      /* which partition of a Fetch is served first: another one each time */
};

/* Handlers: RpcMethodHandler. */
void read_fetch(RpcCall *call, RpcMessage *request, gpointer service);
void read_list_offsets(RpcCall *call, RpcMessage *request, gpointer service);
void read_consume(RpcCall *call, RpcMessage *request, gpointer service);
void read_subscribe(RpcCall *call, gpointer service);

/* Time until which a call may look for leaders: @most_ms from now, and a little before its client gives up, so that the
 * client gets the answer that says why. Monotonic µs. */
gint64 read_deadline_us(RpcCall *call, gint64 most_ms);
/* New streams are refused while the broker stops. Returns NULL, or DRAINING. */
Failure *read_check_draining(const ReadService *service);

/* How long a call looks for leaders that answer. */
#define READ_FIND_MS 5000

G_END_DECLS
