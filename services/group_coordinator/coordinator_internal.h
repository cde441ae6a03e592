/* What the files of the coordinator share. */
#pragma once

#include "services/group_coordinator/coordinator.h"
#include "services/group_coordinator/tenure.h"

G_BEGIN_DECLS

typedef struct CommitEnds CommitEnds;

struct Coordinator {
  gint32 id;
  Loop *loop;
  RpcClient *client;
  Timers *timers;
  BrokerLinks *links;
  const Membership *membership;
  guint64 epoch;        /* of our registration; 0: none */
  MetadataImage *image; /* a reference; NULL before the first */
  char *controller;     /* peer address of the active one; NULL: not known */

  TenureHost tenure_host;
  GHashTable *tenures; /* partition → Tenure, owned: those whose lease is ours */
  GPtrArray *retiring; /* of Tenure, owned: theirs is not any more */
  GPtrArray *turns;    /* of Tenure: to be turned when this turn of the loop ends */
  GSource *turn_source;
  gint64 turn_us; /* when the latest turn began */
  gboolean reap;  /* one of `retiring` may be over */

  Timer tend; /* failed tenures, the topic that is to be made */
  RpcClientCall *yield, *ensure;
  gboolean wants_topic;
  CommitEnds *commit_ends;

  gboolean draining;
  Timer drain_deadline;
  void (*drained)(gpointer data);
  gpointer drained_data;
};

/* The tenure of a group's partition, ready to be asked. Returns NULL, or COORDINATOR_LOADING, NOT_COORDINATOR,
 * COORDINATOR_NOT_AVAILABLE, DRAINING, OVERLOADED, CORRUPT_LOG. */
Failure *coordinator_find_tenure(Coordinator *coordinator, const char *group, Tenure **ret_tenure);
/* Nothing can be answered now: it drains, or its session is not certain to go on. NULL: it can. */
Failure *coordinator_check(const Coordinator *coordinator);
/* Somebody needs __consumer_offsets: have it made. */
void coordinator_want_topic(Coordinator *coordinator);

/* ---- GroupsHost, by the coordinator's image: topics.c ---- */
void coordinator_init_groups_host(Coordinator *coordinator, GroupsHost *ret_host);

/* ---- partitions' ends, for commits: group_commit.c ---- */
CommitEnds *commit_ends_new(Coordinator *coordinator);
/* Nobody waits. NULL is fine. */
void commit_ends_free(CommitEnds *ends);
/* The end that a commit is judged by; FALSE: it is not. For GroupsHost. */
gboolean commit_ends_judge(const CommitEnds *ends, const char *topic_id, gint32 partition, gint64 *ret_end);

/* user_data: the Coordinator. */
extern const RpcMethodHandler GROUP_SERVICE_HANDLERS[];

G_END_DECLS
