/* The inside of a Subscribe stream in a group, for subscribe_{group,readers,orders,farewell}.c alone. Thread: the
 * front's loop. */
#pragma once

#include "services/broker/groups/group_door.h"
#include "services/broker/read/member.h"
#include "services/broker/read/subscribe_internal.h"

G_BEGIN_DECLS

struct SubscribeGroup {
  Subscribe *subscribe;
  GroupDoor *door;
  Member *member;
  GroupCall *beat;           /* a heartbeat under way, or NULL */
  Timer beat_timer, overdue; /* the next heartbeat; the end of waiting for an acknowledgement */
  gboolean stays;            /* the member outlives the stream, or has left: no farewell */
  gboolean leaves_for_good;  /* even with an instance_id */
  GHashTable *readers;       /* Cursor to Reader, for those that have one */

  GQueue orders;       /* of RpcMessage: commits and acknowledgements that wait for their turn, in their order */
  GroupCall *commit;   /* of the first order, under way, or NULL */
  gboolean owes_frame; /* the client's next frame is asked for once there is room in `orders` */

  gboolean is_done; /* the client has half-closed: what it ordered is seen through, then the member leaves */
  GroupCall *leave;
};

/* ---- subscribe_group.c ---- */

/* Bring everything in line with the member: readers, the change to tell, the next heartbeat, the time to acknowledge.
 * After each event. */
void subscribe_group_settle(SubscribeGroup *group);
/* No order waits any more: a client that is done is let go. */
void subscribe_group_orders_done(SubscribeGroup *group);

/* ---- subscribe_readers.c ---- */

/* Readers as the partitions' states want them: starts are looked for, cursors held, read, or let go. */
void subscribe_readers_settle(SubscribeGroup *group);
void subscribe_readers_clear(SubscribeGroup *group);

/* ---- subscribe_orders.c ---- */

/* Go on with the orders. When all are done and the client is, the member leaves. */
void subscribe_orders_run(SubscribeGroup *group);
void subscribe_orders_clear(SubscribeGroup *group);

/* ---- subscribe_farewell.c ---- */

/* The member leaves, after what is under way of it: without the stream, which is no more. Takes member, calls and init
 * from the group. */
void subscribe_farewell(SubscribeGroup *group);
/* The message that leaves, or NULL when there is nothing to leave. */
RpcMessage *subscribe_leave_message(const Member *member, gboolean for_good);

/* What may pass until a coordinator answers a stream's call. */
#define SUBSCRIBE_ASK_MS 15000
/* What is tried so that a member leaves; else its session ends. */
#define SUBSCRIBE_LEAVE_MS 5000

G_END_DECLS
