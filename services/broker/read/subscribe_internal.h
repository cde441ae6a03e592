/* The inside of Subscribe, for subscribe*.c alone. Thread: the front's loop. */
#pragma once

#include "services/broker/read/credit.h"
#include "services/broker/read/cursor.h"
#include "services/broker/read/fetched.h"
#include "services/broker/read/resolve.h"
#include "services/broker/read/service.h"

G_BEGIN_DECLS

typedef enum {
  SUBSCRIBE_WAITING_FOR_INIT,
  SUBSCRIBE_STARTING, /* starts are looked for, or the group is joined */
  SUBSCRIBE_OPEN,
  SUBSCRIBE_FINDING_ENDS,
  SUBSCRIBE_EMPTYING,
  SUBSCRIBE_LEAVING, /* a group: nothing is given any more */
} SubscribePhase;

typedef struct SubscribeGroup SubscribeGroup;

typedef struct {
  ReadService *service;
  RpcCall *call;
  SubscribePhase phase;
  RpcMessage *init; /* a reference: starts, or what the member wants, are taken from it */
  guint32 max_bytes;
  ReadCredit credit;
  GPtrArray *finds; /* of SourceFind: starts, later ends; as many as partitions */
  Resolver *resolver;
  CursorSet *set;
  SubscribeGroup *group; /* NULL without a group */
  Cursor *seeking;       /* while a seek is under way */
  SourceFind *seek;
  guint64 seek_id;
  gint64 seek_from; /* where the cursor was; -1: nowhere */
  gboolean busy, finished;
  gboolean wants_frame; /* the next frame is to be asked for once the stream is not busy */
} Subscribe;

/* ---- subscribe.c ---- */

/* @failure: taken; NULL for OK */
void subscribe_finish(Subscribe *subscribe, Failure *failure);
/* Ask for the client's next frame: once the one before was done with. */
void subscribe_next_frame(Subscribe *subscribe);
/* @memory: what the frame lies in */
void subscribe_send(Subscribe *subscribe, const Milena__V1__SubscribeResponse *response, ReadMemory *memory);
/* Send what is there and allowed. */
void subscribe_flow(Subscribe *subscribe);
/* Make the set of cursors, which does not run yet. */
void subscribe_make_set(Subscribe *subscribe, Milena__V1__Format format);
/* The client gets what it asked for from now on: the first frame after `ready`. */
void subscribe_open(Subscribe *subscribe);

/* ---- subscribe_seek.c ---- */

void subscribe_seek(Subscribe *subscribe, const Milena__V1__Seek *seek);
/* The cursor is about to be removed: a seek of it ends with NOT_ASSIGNED. */
void subscribe_seek_lost(Subscribe *subscribe, const Cursor *cursor);

/* ---- subscribe_group.c: all but check and begin only with a group ---- */

/* Returns NULL or INVALID_FIELD. */
Failure *subscribe_group_check(const Milena__V1__SubscribeInit *init);
/* Join the group; `init` is there and checked. */
void subscribe_group_begin(Subscribe *subscribe);
void subscribe_group_commit(Subscribe *subscribe, RpcMessage *frame);
void subscribe_group_acknowledge(Subscribe *subscribe, RpcMessage *frame);
/* The client is done: what it committed is seen through, the member leaves, the stream ends. */
void subscribe_group_half_close(Subscribe *subscribe);
/* The broker stops: the member stays, since the client comes back elsewhere. */
void subscribe_group_stay(Subscribe *subscribe);
/* The call is over: leave, and free. */
void subscribe_group_free(Subscribe *subscribe);

/* A cursor failed. Returns TRUE when the group goes on elsewhere in its partition (offset_reset): nothing is told then.
 */
gboolean subscribe_group_resets(Subscribe *subscribe, Cursor *cursor, const Failure *failure);
/* Where the cursor would go on; -1: nowhere. And a seek of it begins: whatever else was looked for is not any more. */
gint64 subscribe_group_seek_begins(Subscribe *subscribe, const Cursor *cursor);
/* It goes on at @offset once it may; -1: nowhere. */
void subscribe_group_sought(Subscribe *subscribe, Cursor *cursor, gint64 offset);

G_END_DECLS
