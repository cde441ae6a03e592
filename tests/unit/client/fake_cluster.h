/* A cluster in one process, for tests of the client library: real servers of services/rpc over loopback, the protos'
 * services, partition logs in memory, and faults to order.
 *
 * One loop owns all of it. The functions here may be called from the test's thread. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct FakeCluster FakeCluster;

/* @broker_count: brokers 1 to that, all started */
FakeCluster *fake_cluster_new(guint broker_count);
void fake_cluster_free(FakeCluster *cluster); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeCluster, fake_cluster_free)

/* "127.0.0.1:1234,..." of all brokers; owned by the caller. */
char *fake_cluster_bootstrap(FakeCluster *cluster);
/* Each broker is a controller too, with its id: the first @count are members (0: there is no cluster yet), and @active
 * is the active one. */
void fake_cluster_set_controllers(FakeCluster *cluster, guint count, gint32 active);
/* The next removal of a controller is carried out, and its caller never hears of it. */
void fake_cluster_lose_removal(FakeCluster *cluster);
/* Partitions are led by the brokers in turn, from broker 1 on. */
void fake_cluster_add_topic(FakeCluster *cluster, const char *name, guint partition_count);
void fake_cluster_set_max_message_bytes(FakeCluster *cluster, const char *name, guint32 bytes);
void fake_cluster_remove_topic(FakeCluster *cluster, const char *name);
/* Delete it and create it again, empty, with one partition, in one moment. */
void fake_cluster_recreate_topic(FakeCluster *cluster, const char *name);
/* @told: brokers tell the watchers. Otherwise clients find out by NOT_LEADER. -1: no leader. */
void fake_cluster_set_leader(FakeCluster *cluster, const char *name, guint partition, gint32 broker_id, gboolean told);
/* Cut off the log's start. */
void fake_cluster_set_log_start(FakeCluster *cluster, const char *name, guint partition, gint64 offset);
/* Flip a bit in every stored batch of the partition from an offset on. */
void fake_cluster_corrupt(FakeCluster *cluster, const char *name, guint partition, gint64 from_offset);

/* Stop a broker: connections break; it keeps what it has. Start it again at the same address. */
void fake_cluster_stop_broker(FakeCluster *cluster, gint32 broker_id);
void fake_cluster_start_broker(FakeCluster *cluster, gint32 broker_id);

typedef enum {
  FAULT_NONE,
  FAULT_REFUSE,           /* answer with `reason`; nothing is written */
  FAULT_WRITE_AND_REFUSE, /* answer with `reason`; it is written */
  FAULT_WRITE_AND_BREAK,  /* write it, then break the stream without an answer */
  FAULT_BREAK,            /* break the stream without writing or answering */
  FAULT_DRAIN,            /* say Draining, do not take the item, end the stream with OK */
  FAULT_SILENCE,          /* never answer; nothing is written */
} FaultKind;
/* The next @count produced items of any partition meet this. */
void fake_cluster_fault(FakeCluster *cluster, FaultKind kind, FailureReason reason, guint count);
/* From now on each produced item meets a fault by chance: in @percent of the cases its answer is dropped, it is
 * refused, or the stream breaks, before or after the write. 0: no more. */
void fake_cluster_chaos(FakeCluster *cluster, guint32 seed, guint percent);
/* Forget all producers of the partition, as after a long time. */
void fake_cluster_forget_producers(FakeCluster *cluster, const char *name, guint partition);
/* Another process goes on with the ids of all producers that wrote to the partition. */
void fake_cluster_fence_producers(FakeCluster *cluster, const char *name, guint partition);
/* Lose what the partition has from @offset on, as an unclean election does. */
void fake_cluster_cut(FakeCluster *cluster, const char *name, guint partition, gint64 offset);
/* The next @count calls of InitProducer fail. */
void fake_cluster_refuse_ids(FakeCluster *cluster, FailureReason reason, guint count);
/* Brokers of an earlier version, without InitProducer: restarts them. */
void fake_cluster_make_old(FakeCluster *cluster);
/* Keep back the answers (and the writes) of all produced items until it is released. */
void fake_cluster_hold(FakeCluster *cluster, gboolean hold);

/* What happens to calls of groups; see fake_groups.c. */
typedef struct {
  guint lose_heartbeats; /* the answers of so many more */
  guint lose_commits;    /* the same; they are kept */
  FailureReason refuse;  /* the next heartbeat; 0: none */
  gint32 coordinator;    /* another broker is the coordinator, and knows all; 0: stays */
  gboolean throw_out;    /* all members */
} FakeGroupOrders;
typedef struct {
  guint members, heartbeats, commits;
  gint64 committed[64]; /* by partition of "t"; -1: nothing */
} FakeGroupState;
/* @orders: NULL for none */
FakeGroupState fake_cluster_order_groups(FakeCluster *cluster, const FakeGroupOrders *orders);

typedef struct {
  guint items;     /* produced items that arrived */
  guint held;      /* now kept back */
  guint held_max;  /* of one partition, ever */
  guint64 records; /* written */
  guint64 fetches; /* calls */
  guint watches;   /* streams that were opened */
  guint ids;       /* calls of InitProducer that were answered */
  guint duplicates;
} FakeCounters;
FakeCounters fake_cluster_counters(FakeCluster *cluster);
gint64 fake_cluster_log_end(FakeCluster *cluster, const char *name, guint partition);
/* Values of a partition's records, as strings, in order. */
GPtrArray *fake_cluster_values(FakeCluster *cluster, const char *name, guint partition);

G_END_DECLS
