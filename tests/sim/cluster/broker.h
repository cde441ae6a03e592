/* One broker of the simulation: a process with replicas on one disk, a place in the cluster, and a clock of its own.
 *
 *   down ──broker_start──► up ──broker_stop──► down
 *                          up ◄──freeze, thaw──► frozen: what comes waits
 *
 * It does what services/broker does around the pure parts, one shard: partition.c and its neighbours are log.c here,
 * replication/ is stream.c and proposals.c, membership and node.c are membership.c. */
#pragma once

#include "tests/sim/cluster/cluster.h"

G_BEGIN_DECLS

/* A batch in a log; shared by those that have it. Counted (g_rc_box). */
typedef struct {
  LogBatch batch; /* stamped; without bytes */
  guint client;
  guint64 first_value;
} Batch;
Batch *batch_ref(Batch *batch);
void batch_unref(gpointer batch);
/* What rules compare. @i: of its records */
guint64 batch_value(const Batch *batch, guint i);

/* One replica, and the log that it stands for. */
struct Log {
  guint64 log_id; /* first: the key */
  Broker *broker;
  Part *part;
  Replica *replica;   /* NULL while the broker is down */
  GPtrArray *batches; /* of Batch, by offset: on the disk, or on the way there */
  GArray *places;     /* guint: of each on the disk */
  GArray *records;    /* of Record, by offset */
  LogHot hot;         /* as it was recovered: for the next start */
  LogProducers *producers;
  gboolean damaged; /* what follows on the disk does not read */
  /* While it is up. */
  gboolean doomed, dropping, exists;
  gint64 doomed_us;
  guint writes_in_flight;
  GQueue writes;       /* of Pending: on their way to the disk */
  GHashTable *pending; /* set of Pending: everything that the replica may know */
  enum { LOG_OFF, LOG_WANTS, LOG_ASKED, LOG_FOLLOWS } state;
  gint32 leader, following_epoch;
  gboolean retrying;        /* it waits before it asks anew */
  gboolean pushing;         /* its followers get what is new soon */
  gboolean dirty;           /* has come on, and its leader was not told */
  gint64 checked_watermark; /* by rules.c */
  gint32 led_epoch;         /* -1: it does not lead */
  gboolean knew;            /* the high watermark, in this epoch */
};

struct Broker {
  Cluster *cluster;
  gint32 id;
  gboolean up, frozen;
  guint life;
  gint64 slow_us, clock_per_mille;
  GQueue inbox; /* of Task, while frozen */
  SimDisk *disk;
  GHashTable *logs; /* log_id -> Log */
  char incarnation[METADATA_ID_BYTES];
  gboolean clean;     /* the disk has the mark of a clean stop */
  gboolean stop_told; /* the controllers know how the process before ended */
  /* The process. */
  char process_id[METADATA_ID_BYTES];
  gboolean stopped_in_order; /* the process before */
  guint64 epoch;             /* 0: not registered */
  gboolean fenced, leaving;
  MetadataImage *followed;        /* latest that was heard of */
  MetadataImage *image;           /* that the logs go by; NULL: none yet */
  guint64 controller, followee;   /* whom it asks, whom it follows */
  guint lagging;                  /* heartbeats in a row that knew of later metadata */
  guint64 told;                   /* whom the followed one called the active one last */
  Call *call;                     /* of the membership */
  Call *asking;                   /* of the proposals */
  Call *reporting;                /* of damage */
  GArray *proposals;              /* of Proposal */
  Stream *links[BROKERS_MAX + 1]; /* to leaders; NULL: closed */
  gint64 reopen_us[BROKERS_MAX + 1];
  GPtrArray *streams; /* of Stream: of followers */
  gboolean flushing, look_soon;
};

/* ---- broker.c ---- */

Broker *broker_new(Cluster *cluster, gint32 id);
void broker_free(Broker *broker); /* NULL is fine */
gboolean broker_runs(const Broker *broker);
void broker_start(Broker *broker);
void broker_kill(Broker *broker, SimCrash crash);
/* The process ends by itself, all of its logs written, synced and marked. */
void broker_ends_in_order(Broker *broker);
void broker_new_disk(Broker *broker);
void broker_freeze(Broker *broker);
void broker_thaw(Broker *broker);
/* Do @func now, or once the broker is thawed, or never when it ends before. */
void broker_post(Broker *broker, void (*func)(Broker *broker, gpointer data), gpointer data, GDestroyNotify free);
/* The same after a while, by its own clock. */
void broker_after(Broker *broker, gint64 delay_us, void (*func)(Broker *broker, gpointer data), gpointer data,
                  GDestroyNotify free);
gint64 broker_now_ms(const Broker *broker);

/* ---- log.c ---- */

Log *log_find(const Broker *broker, guint64 log_id);
/* Forget what is in memory, and find what is on the disk. */
void logs_recover(Broker *broker);
void logs_begin(Broker *broker);
/* The process ended: replicas are run dry. */
void logs_end(Broker *broker);
void log_free(gpointer log);
/* Ids of those that were found damaged when the process started. */
GArray *logs_damaged(Broker *broker);
void log_settle(Log *log, ReplicaOut *out);
/* What the metadata say now, for all logs. */
void logs_assign(Broker *broker, MetadataImage *image);
void log_produce(Log *log, gint32 leader_epoch, const SimRequest *request);
/* A batch of the leader's. FALSE: it does not follow. */
gboolean log_follow(Log *log, gint32 leader_epoch, Batch *batch);
void log_cut(Log *log, gint32 epoch, gint64 end);
/* Cut a damaged log to what is good, if it counts no more, or leads and is to go on with that. */
void log_mend(Log *log);
/* How far its disk has it, at this stage. */
gint64 log_stored_end(const Log *log, SimStage stage);

/* ---- membership.c ---- */

void membership_begin(Broker *broker);
void membership_answered(Broker *broker, const Call *call);
void membership_followed(Broker *broker, const Call *call);

/* ---- stream.c: one pushed stream for each pair of brokers ---- */

/* Whom each log follows may have changed. */
void streams_look(Broker *broker);
void streams_end(Broker *broker);
/* The log has come on (as a follower), or has more for its followers. */
void stream_log_moved(Log *log);
void stream_unref(gpointer stream);
/* The log follows another leader, or nobody; or asks anew. */
void following_assigned(Log *log);

/* ---- proposals.c ---- */

typedef struct {
  guint64 log_id;
  gint32 leader_epoch;
  guint64 partition_epoch;
  FollowersProposal members;
} Proposal;

void proposals_begin(Broker *broker);
void proposals_look_soon(Broker *broker);
void proposals_answered(Broker *broker, const Call *call);
void damage_look(Broker *broker);
void damage_answered(Broker *broker, const Call *call);

G_END_DECLS
