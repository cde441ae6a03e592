/* What quorum_admin.c, quorum_add.c, quorum_remove.c and bootstrap.c share. */
#pragma once

#include "milena/v1/admin_service.pb-c.h"
#include "services/controller/identify.h"
#include "services/controller/members.h"
#include "services/controller/quorum_admin.h"

G_BEGIN_DECLS

struct QuorumAdmin {
  Host *host;
  Care *care;
  GPtrArray *operations; /* of Operation */
  char *last_request_id; /* of the last removal; NULL: none */
  guint64 last_removed;
};

/* A call that takes more than one step. It is looked at some times a second until it ends itself. */
typedef struct Operation Operation;
struct Operation {
  QuorumAdmin *admin;
  RpcCall *call;
  RpcMessage *request;
  GSource *timer;
  gint64 until_us;            /* when its caller wants an answer */
  void (*look)(Operation *);  /* NULL: it waits for a callback */
  void (*clear)(Operation *); /* of `state`; may be NULL */
  gpointer state;             /* what the kind of call needs */
  guint64 id;                 /* of the controller that it is about */
  RaftDirectory directory;
  guint asked;      /* how often another one was asked to do it */
  gboolean waiting; /* a callback is under way: the operation can't be freed yet */
  gboolean ended;   /* it was answered */
};

/* @request, @call: taken over; the request's body lives as long as the operation */
Operation *operation_new(QuorumAdmin *admin, RpcCall *call, RpcMessage *request);
/* Answer with the failure (taken), or with OK where the caller has replied (NULL). Frees it, at once or when its
 * callback came. */
void operation_end(Operation *operation, Failure *failure);
/* A callback came. Returns FALSE when the operation has ended meanwhile: it is gone then. */
gboolean operation_resume(Operation *operation);
/* Look for the first time, and from then on at times. */
void operation_watch(Operation *operation, void (*look)(Operation *operation));
gboolean operation_is_late(const Operation *operation);

/* host:port of at most RAFT_ADDRESS_BYTES_MAX bytes? NULL, or INVALID_FIELD for @field. */
Failure *quorum_check_address(const char *address, const char *field);
/* The controllers, as an answer of CONTROLLER_NOT_AVAILABLE tells that it may work later. */
gboolean quorum_may_retry(const Failure *failure);

G_END_DECLS
