/* What the leader's and the clients' halves of the simulation share. */
#pragma once

#include "milena/v1/producer_service.pb-c.h"
#include "services/base/failure.h"
#include "tests/sim/idempotence.h"
#include "tests/sim/kernel.h"

G_BEGIN_DECLS

typedef struct SimLeader SimLeader;
typedef struct SimClient SimClient;

/* One run, of one log. */
typedef struct {
  Sim *sim;
  IdempotenceBug bug;
  IdempotenceResult *result;
  SimNetFaults faults;
  gboolean healing; /* the faults have ended */
  SimLeader *leader;
  /* Where clients send to: deliver function of sim_send, and its host. */
  void (*take)(gpointer host, gconstpointer request);
  gpointer host;
  gboolean replicated; /* what was acknowledged by a leader alone may be lost with it */
  gboolean gave_up;    /* what was acknowledged may be lost: more has failed than the promise stands */
  GPtrArray *clients;  /* of SimClient, by number */
} SimWorld;

/* A batch on its way to the leader. Its records' values are first_value and those behind it. */
typedef struct {
  guint client;
  gint64 producer_id;
  guint32 epoch, sequence, count;
  guint64 first_value;
  Milena__V1__Acks acks;
} SimRequest;

/* What became of it. */
typedef struct {
  guint32 epoch, sequence;
  gint64 offset; /* -1: refused */
  gboolean duplicate;
  FailureReason reason;
  guint32 expected; /* SEQUENCE_MISMATCH: the next sequence */
} SimAnswer;

/* ---- the leader ---- */

/* @flush_os: answers do not wait for syncs, and power cuts are left out */
SimLeader *sim_leader_new(SimWorld *world, gboolean flush_os);
void sim_leader_free(SimLeader *leader);
/* A message arrived: deliver function of sim_send. */
void sim_leader_take(gpointer leader, gconstpointer request);
/* Its process or machine ends, if it is up, and starts again later. */
void sim_leader_crash(SimLeader *leader);
/* At the end: check the log against itself, then visit each record with its offset. */
void sim_leader_visit(SimLeader *leader, void (*visit)(SimWorld *world, gint64 offset, guint client, guint64 value));

/* ---- clients ---- */

/* @number: from 0. @batches: how many it writes */
SimClient *sim_client_new(SimWorld *world, guint number, guint batches);
void sim_client_free(gpointer client);
void sim_client_start(SimClient *client);
void sim_client_take(gpointer client, gconstpointer answer);
gboolean sim_client_is_done(const SimClient *client);
/* A record of it is in the log. */
void sim_client_check_record(SimClient *client, gint64 offset, guint64 value);
/* After all of the log: what was acknowledged is there. */
void sim_client_check_end(SimClient *client);

G_END_DECLS
