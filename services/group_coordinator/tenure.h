/* A tenure: one lease of a partition of __consumer_offsets, while this coordinator has it. It brings the partition's
 * groups (groups/, pure), the log and those who call together.
 *
 *   fencing ──the fence is in the log──► replaying ──met the fence──► serving ──lease gone──► retiring ──► over
 *      │                                     │                          │        (appends under way end)
 *      └──── could not append, or fenced ────┴──────────────────────────┴──► failed: the lease is to be given back
 *
 * Thread: the coordinator's loop. */
#pragma once

#include "controller/metadata/image.h"
#include "services/base/timers.h"
#include "services/group_coordinator/broker_links.h"
#include "services/group_coordinator/groups/groups.h"

G_BEGIN_DECLS

typedef struct Tenure Tenure;

typedef enum { TENURE_FENCING, TENURE_REPLAYING, TENURE_SERVING, TENURE_RETIRING, TENURE_FAILED } TenureState;

/* What all tenures of a coordinator share; outlives them. */
typedef struct {
  RpcClient *client;
  Loop *loop;
  Timers *timers;
  BrokerLinks *links;
  gint32 coordinator_id;
  gint64 append_timeout_ms;
  GroupsHost groups_host;
  /* Inputs were given: call tenure_turn soon, once for all that came with them. */
  void (*wants_turn)(Tenure *tenure, gpointer data);
  /* It is FAILED, or RETIRING and idle. The tenure may not be freed within. */
  void (*ended)(Tenure *tenure, gpointer data);
  gpointer data;
} TenureHost;

/* A question to a tenure's groups, embedded in what asks it. */
typedef struct GroupAsk GroupAsk;
struct GroupAsk {
  gboolean writes; /* its outcome is unknown when it is lost on its way to the log */
  /* Called once, later, unless it was forgotten. Exactly one of @response (of the service's type) and @failure is set;
   * both are the callee's. */
  void (*answered)(GroupAsk *ask, ProtobufCMessage *response, Failure *failure);

  /* The tenure's. */
  Tenure *tenure; /* NULL: none asks it now */
  guint64 token;
};

/* @topic: of this lease's partition */
Tenure *tenure_new(const TenureHost *host, const MetadataTopic *topic, gint32 partition, guint32 lease_epoch);
/* NULL is fine. Whoever still waits is answered. */
void tenure_free(Tenure *tenure);

gint32 tenure_partition(const Tenure *tenure);
guint32 tenure_lease_epoch(const Tenure *tenure);
TenureState tenure_state(const Tenure *tenure);
/* When it failed, monotonic. */
gint64 tenure_failed_us(const Tenure *tenure);
/* It failed by what its log holds: nobody else could do better. */
gboolean tenure_is_broken(const Tenure *tenure);
/* It has nothing under way. */
gboolean tenure_is_idle(const Tenure *tenure);

/* NULL while it serves and takes more; else COORDINATOR_LOADING, OVERLOADED, or why the log can't be read. */
Failure *tenure_check(const Tenure *tenure);
/* The groups, to be given an input with the token of @ask; while tenure_check says NULL. */
Groups *tenure_groups(Tenure *tenure);
/* @ask: zeroed but for what is its own; stays put until answered or forgotten. Returns the token for one input. */
GroupsToken tenure_ask(Tenure *tenure, GroupAsk *ask);
/* Nobody waits any more. Fine when it was answered. */
void tenure_forget(GroupAsk *ask);
/* End a batch of inputs. */
void tenure_turn(Tenure *tenure);

/* The metadata changed. @names: of topics that were made, deleted or got partitions */
void tenure_follow(Tenure *tenure, const MetadataImage *image, const char *const *names, gsize count);
/* The lease is gone: nothing more is taken, and what is under way ends. @refusal: for those who wait; borrowed */
void tenure_retire(Tenure *tenure, const Failure *refusal);

/* Now. */
GroupsTime tenure_now(void);

G_END_DECLS
