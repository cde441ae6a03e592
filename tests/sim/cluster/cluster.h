/* What the parts of the simulation of a cluster share. Single-threaded; a Cluster is one run.
 *
 *   operator, chaos ──► broker: membership, logs (replicas) on one disk ◄──stream──► broker ...
 *   clients ──────────►    │ calls, over the network
 *                          ▼
 *                       office: what a controller's host decides, on top of a node of tests/sim/raft
 *   rules: after each change of metadata, log or high watermark
 *
 * Endpoints of the network: controllers have their ids, broker i is NODES_MAX + i; 0 is everybody else. */
#pragma once

#include "controller/metadata/image.h"
#include "milena/internal/v1/controller_service.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"
#include "services/broker/replica/replica.h"
#include "services/controller/liveness.h"
#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/idempotence_internal.h"
#include "tests/sim/raft/machine.h"

G_BEGIN_DECLS

#define BROKERS_MAX 5
#define PARTS_MAX 3

typedef struct Cluster Cluster;
typedef struct Broker Broker;
typedef struct Log Log;
typedef struct Stream Stream;
typedef struct Part Part;
typedef struct Call Call;

/* What a run is like, drawn at its start. */
typedef struct {
  guint brokers, topics, partitions; /* partitions: of the first topic; the others have one */
  guint replicas;
  gint64 faults_us;
  gint64 heartbeat_us, session_us, lag_max_us, grace_us;
  gint64 write_max_us, sync_max_us;
  gint64 chaos_us, operator_us, balance_us;
  gboolean presence; /* controllers see at once that a process is gone */
  gboolean careless; /* more may fail than the promise stands, and unclean elections are asked for */
} ClusterShape;

/* What one controller has heard, in one life and term. */
typedef struct {
  Liveness *liveness; /* NULL: nothing yet */
  guint life;
  guint64 term;
} Office;

struct Cluster {
  World *world; /* the controllers' */
  RaftSimResult raft_result;
  Sim *sim;
  FILE *trace;
  ClusterSimResult *result;
  ClusterShape shape;
  Office offices[NODES_MAX + 1];
  Broker *brokers[BROKERS_MAX + 1];
  GPtrArray *parts;     /* of Part */
  GPtrArray *scrap;     /* of SimDisk: disks that were replaced; what they had under way still ends */
  MetadataImage *image; /* the latest that any controller has applied */
  gboolean ready;       /* topics are there, the faults may begin */
  gboolean healing;
  gint32 dead;    /* the broker that never comes back; 0: none */
  gint32 wounded; /* a broker has lost data, and the metadata do not say so yet; 0: none */
  IdempotenceResult client_result;
  guint64 next_uuid;
  guint64 events;
};

/* ---- Partitions, as everybody sees them who sees everything: rules.c ---- */

/* One record: which batch it is of, and when it was written. Two records are the same when these are. */
typedef struct {
  guint64 value; /* of its client, and the client */
  gint32 epoch;
} Record;

struct Part {
  Cluster *cluster;
  char topic[16];
  gint32 number;
  guint64 log_id;        /* 0: not created yet */
  SimWorld clients;      /* who writes to it */
  GArray *committed;     /* of Record, by offset: what some leader's high watermark has passed */
  GHashTable *written;   /* (epoch, offset) -> value: what a leader wrote there */
  GHashTable *leaders;   /* leader epoch -> broker and registration that led it */
  gint32 void_epoch;     /* leaders before this epoch may be overruled: an unclean election was held */
  gboolean gave_up;      /* records may be lost: more failed than the promise stands */
  gboolean weak;         /* is not flush=always, or not known to be synced since: a power cut takes the tail */
  gint64 flush_asked_us; /* when somebody asked for another flush mode; 0: never */
  guint unclean;
};

/* ---- cluster.c ---- */

void cluster_tell(Cluster *cluster, const char *format, ...) G_GNUC_PRINTF(2, 3);
void broker_tell(const Broker *broker, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Let @func happen at @to after the network's delay, or never. Returns FALSE, and frees, when it is lost for sure. */
gboolean cluster_send(Cluster *cluster, guint from, guint to, SimFunc func, gpointer data, GDestroyNotify free);
guint broker_endpoint(gint32 id);
Part *cluster_part(const Cluster *cluster, guint64 log_id); /* NULL: none */
/* The partition in @image, or NULL. @ret_topic: may be NULL */
const MetadataPartition *part_in(const Part *part, const MetadataImage *image, const MetadataTopic **ret_topic);
void cluster_uuid(Cluster *cluster, char ret_uuid[METADATA_ID_BYTES]);
/* May this broker lose what it has (weak_only: the unsynced end of logs that are not flush=always)? Somebody who counts
 * then still has all that is committed, whatever the controllers decide before they hear of it. */
gboolean cluster_may_lose(const Cluster *cluster, const Broker *broker, gboolean weak_only);

/* ---- chaos.c, operator.c ---- */

void cluster_chaos_start(Cluster *cluster);
void cluster_chaos_end(Cluster *cluster);
void cluster_operator_start(Cluster *cluster);

/* ---- settle.c ---- */

/* The faults have ended: why not all is well yet; NULL: it is. Owned by the caller. */
char *cluster_unsettled(Cluster *cluster);
/* For traces: owned by the caller; and how everybody stands. */
char *part_describe(const Part *part, const MetadataTopic *topic, const MetadataPartition *metadata);
void cluster_describe(const Cluster *cluster, FILE *trace);

G_END_DECLS
