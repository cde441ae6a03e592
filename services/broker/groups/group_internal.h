/* The inside of GroupDoor, for the files of this folder. All on the front's loop. */
#pragma once

#include "services/broker/front_internal.h"
#include "services/broker/groups/group_door.h"

G_BEGIN_DECLS

struct GroupDoor {
  Front *front;
  gboolean ended;
  GQueue calls;          /* of GroupCall, by link */
  FrontWatch watch;      /* set while there are calls */
  RpcClientCall *ensure; /* the controller makes the topic of groups; NULL when it is not asked */
  Failure *not_ensured;  /* why that failed last, or NULL */
};

/* A call comes or goes: metadata are watched while there is one. */
void group_door_add(GroupDoor *door, GList *link);
void group_door_remove(GroupDoor *door, GList *link);
/* Have the topic of groups made, unless that is under way. Who waits for it hears of it with the metadata. */
void group_door_ensure_topic(GroupDoor *door);
/* There are new metadata. */
void group_call_look(GroupCall *call);
/* The broker stops. Takes the call out of the door. */
void group_call_end(GroupCall *call);

/* Takes over a call of ListGroups. */
void group_list_begin(GroupDoor *door, RpcCall *call, RpcMessage *request);

G_END_DECLS
