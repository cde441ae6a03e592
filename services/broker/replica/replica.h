/* One replica of a partition's log as its broker sees it: who leads, with which epoch, where the log ends, what is in
 * sync, and so how far readers may see.
 *
 * Pure: events go in, decisions come out. The host (services/broker/partition.c) owns disk, network and clock; it
 * embeds a ReplicaAppend in each write, and answers those that come back in a ReplicaOut. One owner thread.
 *
 *   append: prepare ──host submits the write──► accept ──► local (written, or synced) ──► answered
 *                                                            └── acks=all: once the high watermark has passed it
 *
 * README.md beside this file explains the rules. */
#pragma once

#include <glib.h>

#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/base/failure.h"
#include "storage/log/batch.h"
#include "storage/log/hot.h"

G_BEGIN_DECLS

typedef struct Replica Replica;

/* What the metadata says about the partition, for this broker. */
typedef struct {
  gint32 broker_id;    /* this one */
  gint32 leader_id;    /* -1: none */
  gint32 leader_epoch; /* of that leader */
  guint64 partition_epoch;
  const gint32 *isr; /* committed in-sync replicas; borrowed */
  guint isr_count;
  guint min_insync_replicas;
  Milena__V1__Flush flush; /* effective: never FLUSH_UNSPECIFIED */
} ReplicaAssignment;

typedef enum {
  REPLICA_WRITTEN = 1, /* survives the end of the process */
  REPLICA_SYNCED = 2   /* survives a power cut */
} ReplicaStage;

/* How safe an append was when it was answered. */
typedef struct {
  guint32 replicas;        /* in sync, that had it */
  guint32 synced_replicas; /* of those, on disk */
} ReplicaCopies;

/* One append, embedded in the host's write; zeroed at first. */
typedef struct ReplicaAppend ReplicaAppend;
struct ReplicaAppend {
  /* Set by replica_prepare. */
  gint64 base_offset, end_offset; /* first record; behind the last */
  gint32 leader_epoch;
  gint64 append_timestamp_ms, max_timestamp_ms;
  Milena__V1__Acks acks;
  ReplicaStage stage; /* which report of the storage counts: ask for it */

  /* Set when it is answered. */
  Failure *failure; /* owned by the host then; NULL: written as asked for */
  ReplicaCopies copies;

  /* The replica's. */
  GList queue_link, answer_link;
  gboolean queued, local, synced, answered;
};

/* What an event came to. Make it REPLICA_OUT_INIT, hand it to one event, act on it: pop what is in its queues.
 *
 * An append that is answered is no longer the replica's, and may be freed, unless it is still `queued`: then its write
 * is on the way to the disk, and it comes back in `released` once that has ended. */
typedef struct {
  GQueue answers;  /* of ReplicaAppend *, by answer_link: to be answered now, in order */
  GQueue released; /* of ReplicaAppend *, by answer_link: answered earlier, now to be freed */
  gboolean high_watermark_moved;
  gboolean leadership_changed; /* leader or epoch: readers and askers of the old one are to be told */
} ReplicaOut;
#define REPLICA_OUT_INIT                                                                                               \
  { G_QUEUE_INIT, G_QUEUE_INIT, FALSE, FALSE }

/* @recovered: what the storage found, taken over by copy; NULL for a new log
 * @damage: why the log can't be written, or NULL; copied */
Replica *replica_new(const LogHot *recovered, const Failure *damage);
/* Nothing may be queued. NULL is fine. */
void replica_free(Replica *replica);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Replica, replica_free)

/* ---- events ---- */

/* The metadata changed. What waits under an old leadership is answered with UNKNOWN_OUTCOME. */
void replica_assign(Replica *replica, const ReplicaAssignment *assignment, ReplicaOut *out);
/* The partition is no longer this broker's, or the broker is not allowed to lead now. */
void replica_retire(Replica *replica, ReplicaOut *out);

/* May this batch be appended, and where?
 *
 * @leader_epoch: that the caller believes in
 * @batch: checked by the caller; gets its stamp; unchanged on failure
 * @now_ms: wall clock
 * @append: zeroed; filled in
 *
 * Returns NULL, or NOT_LEADER, NOT_ENOUGH_REPLICAS, EXPECTED_OFFSET_MISMATCH, CORRUPT_LOG. Nothing changes until
 * replica_accept, which must come before any other event, or not at all. */
Failure *replica_prepare(Replica *replica, gint32 leader_epoch, LogBatch *batch, Milena__V1__Acks acks, gint64 now_ms,
                         ReplicaAppend *append);
/* The storage took the write of @append: the log now ends behind it. */
void replica_accept(Replica *replica, ReplicaAppend *append);
/* The hot record to be written together with @append (prepared), or alone (NULL).
 * @out: replaced by the stored form */
void replica_encode_hot(const Replica *replica, guint64 log_id, const ReplicaAppend *append, GByteArray *out);

/* The storage reports @append. Its own stage must come, exactly once. */
void replica_local_progress(Replica *replica, ReplicaAppend *append, ReplicaStage stage, ReplicaOut *out);
/* Another in-sync replica has the log up to these offsets. Ignored from brokers that are not in sync. */
void replica_peer_progress(Replica *replica, gint32 broker_id, gint64 written_end, gint64 synced_end, ReplicaOut *out);

/* ---- state ---- */

gboolean replica_leads(const Replica *replica);
gint32 replica_leader_epoch(const Replica *replica); /* of the latest assignment, or LOG_EPOCH_NONE */
gint64 replica_log_start(const Replica *replica);
gint64 replica_log_end(const Replica *replica);
gint64 replica_high_watermark(const Replica *replica);
/* A new leader does not know it until it has reached the start of its own epoch (REPLICATION.md, rule 5). */
gboolean replica_knows_high_watermark(const Replica *replica);
/* Why it can't be written; borrowed; NULL when it can. */
const Failure *replica_damage(const Replica *replica);

G_END_DECLS
