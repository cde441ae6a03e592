/* What a controller's host decides beside Raft: calls of brokers and operators become changes of the metadata, sessions
 * end. The decisions are services/controller/sessions.h and the metadata's commands; who asks, and how, is here. */
#pragma once

#include "tests/sim/cluster/broker.h"

G_BEGIN_DECLS

typedef enum { CALL_REGISTER, CALL_HEARTBEAT, CALL_FOLLOW, CALL_ALTER, CALL_DAMAGE, CALL_ADMIN } CallKind;

/* What an operator asks for. Returns NULL, or why it is refused. */
typedef Failure *(*AdminFunc)(Cluster *cluster, const MetadataImage *tip, guint64 version, guint64 chance,
                              GPtrArray *records);

/* One call to a controller, and its answer. Counted. */
struct Call {
  Cluster *cluster;
  CallKind kind;
  gint32 broker_id; /* 0: the operator's */
  guint life;
  guint64 controller;
  gboolean over; /* answered, or given up */
  /* The request. */
  guint64 epoch, version;
  gboolean flag; /* stopped in order; stops */
  char process_id[METADATA_ID_BYTES], incarnation[METADATA_ID_BYTES];
  GArray *proposals; /* of Proposal; NULL: none */
  GArray *damaged;   /* REGISTER, DAMAGE: of guint64: logs */
  AdminFunc admin;
  guint64 chance;
  void (*admin_answered)(Cluster *cluster, const Call *call);
  /* The answer. */
  FailureReason reason; /* 0: all went well */
  guint64 hint;         /* who may be active */
  guint64 ret_version;  /* of the metadata that the active controller has */
  guint64 ret_epoch;
  gboolean fenced, may_stop;
  GArray *refusals;     /* of FailureReason, 0: none */
  MetadataImage *image; /* FOLLOW: NULL: nothing new */
};

Call *call_new(Cluster *cluster, CallKind kind, Broker *broker, guint64 controller);
void call_unref(gpointer call); /* NULL is fine */
/* @patience_us: then it is answered with DEADLINE_EXCEEDED */
void call_start(Call *call, gint64 patience_us);

void office_start(Cluster *cluster);
void offices_free(Cluster *cluster);

G_END_DECLS
