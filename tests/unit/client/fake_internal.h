/* The fake cluster from the inside; all of it belongs to its loop. */
#pragma once

#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/server.h"
#include "storage/log/producers.h"
#include "storage/log/records.h"
#include "tests/unit/client/fake_cluster.h"

G_BEGIN_DECLS

typedef struct {
  gint32 leader_id;
  gint32 leader_epoch;
  gint64 log_start, log_end;
  GArray *batches; /* of LogBatch */
  LogProducers *producers;
  guint held;
  gint32 target[16]; /* of a reassignment */
  guint target_count;
  guint listings; /* that the reassignment was in */
} FakePartition;

typedef struct {
  char *name, *id;
  guint32 max_message_bytes;
  GArray *partitions; /* of FakePartition */
} FakeTopic;

typedef struct {
  FakeCluster *cluster;
  gint32 id;
  guint16 port;
  char *address;
  RpcServer *server; /* NULL when stopped; the test's thread */
  gboolean drained;
} FakeBroker;

typedef struct FakeGroups FakeGroups;

struct FakeCluster {
  Loop *loop;
  FakeGroups *groups;
  gint32 coordinator; /* the broker that is the coordinator of all groups */
  GPtrArray *brokers; /* of FakeBroker, owned */
  GPtrArray *topics;  /* of FakeTopic, owned */
  guint64 version;
  guint next_topic_id;
  FaultKind fault;
  FailureReason fault_reason;
  guint fault_count;
  GRand *chaos; /* NULL: none */
  guint chaos_percent;
  gboolean hold;
  gboolean old;            /* InitProducer is not known */
  FailureReason id_reason; /* InitProducer fails with it */
  guint id_failures;       /* so often */
  gint64 next_producer_id;
  guint32 controllers; /* bit N: controller N is a member; 0: they wait for their cluster */
  gint32 active_controller;
  gint lose_removal; /* atomic */
  FakeCounters counters;
  GPtrArray *watches; /* of RpcCall */
  GPtrArray *held;    /* of HeldItem */
  GPtrArray *pending; /* of PendingFetch */
};

#define FAKE_PARTITION(topic, i) (&g_array_index((topic)->partitions, FakePartition, (i)))

FakeTopic *fake_find_topic(FakeCluster *cluster, const char *name);
/* NULL with the failure: unknown, or not led by @broker. */
FakePartition *fake_find_partition(FakeBroker *broker, const char *topic, gint32 partition, FakeTopic **ret_topic,
                                   Failure **ret_failure);
/* Tell all watchers the whole cluster anew. */
void fake_tell_watches(FakeCluster *cluster);
/* Look at the fetches that wait: something was appended. */
void fake_serve_pending(FakeCluster *cluster);
/* Answer what was held. */
void fake_release_held(FakeCluster *cluster);

/* Of AdminService, in fake_controllers.c. */
void fake_on_list_controllers(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_add_controller(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_remove_controller(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_transfer(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_bootstrap(RpcCall *call, RpcMessage *message, gpointer broker);

/* Of AdminService, in fake_partitions.c. */
void fake_on_get_broker(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_drain(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_undrain(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_elect(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_reassign(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_list_reassignments(RpcCall *call, RpcMessage *message, gpointer broker);
void fake_on_cancel_reassignments(RpcCall *call, RpcMessage *message, gpointer broker);

FakeGroups *fake_groups_new(FakeCluster *cluster);
void fake_groups_free(FakeGroups *groups);

extern const RpcMethodHandler FAKE_GROUP_HANDLERS[];
extern const RpcMethodHandler FAKE_METADATA_HANDLERS[];
extern const RpcMethodHandler FAKE_ADMIN_HANDLERS[];
extern const RpcMethodHandler FAKE_PRODUCER_HANDLERS[];
extern const RpcMethodHandler FAKE_OLD_PRODUCER_HANDLERS[];
extern const RpcMethodHandler FAKE_CONSUMER_HANDLERS[];

G_END_DECLS
