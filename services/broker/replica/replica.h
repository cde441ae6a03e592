/* One replica of a partition's log as its broker sees it: who leads, with which epoch, where the log ends, what is in
 * sync, and so how far readers may see.
 *
 * Pure: events go in, decisions come out. The host (services/broker/partition.c) owns disk, network and clock; it
 * embeds a ReplicaAppend in each write, and answers those that come back in a ReplicaOut. One owner thread.
 *
 *   append: prepare ──host submits the write──► accept ──► local (written, or synced) ──► answered
 *                                                            └── acks=all: once the high watermark has passed it
 *   again:  prepare says `duplicate` ──► await ──► answered as soon as the first one is as safe as this one asks
 *
 * README.md beside this file explains the rules. */
#pragma once

#include <glib.h>

#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/base/failure.h"
#include "services/broker/replica/followers.h"
#include "storage/log/batch.h"
#include "storage/log/hot.h"
#include "storage/log/producers.h"
#include "storage/log/retention.h"

G_BEGIN_DECLS

typedef struct Replica Replica;

/* Producers that a partition remembers at once: more would let whoever makes up ids fill the memory. */
#define REPLICA_PRODUCERS_MAX 100000
/* Retries that wait for their first try at once. */
#define REPLICA_DUPLICATES_MAX 4096

/* What the metadata says about the partition, for this broker. */
typedef struct {
  gint32 broker_id;    /* this one */
  gint32 leader_id;    /* -1: none */
  gint32 leader_epoch; /* of that leader */
  guint64 partition_epoch;
  const gint32 *replicas; /* all; borrowed */
  guint replica_count;
  const gint32 *isr; /* committed in-sync replicas; borrowed */
  guint isr_count;
  guint min_insync_replicas;
  gboolean others_count;   /* another replica is in sync, or eligible */
  Milena__V1__Flush flush; /* effective: never FLUSH_UNSPECIFIED */
  const gint32 *unsynced;  /* who may have records from before flush=always that are not on its disk; borrowed */
  guint unsynced_count;
  gboolean cuts_damage; /* the leader of this epoch is to cut damage out of its log: what lies behind was given up */
  gint64 now_ms;        /* monotonic */
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
  gint64 stored_bytes;
  Milena__V1__Acks acks;
  ReplicaStage stage;   /* which report of the storage counts: ask for it */
  gboolean duplicate;   /* written before, at base_offset: nothing is to be written, go on with replica_await */
  LogProducer producer; /* as it is to be stored with the batch; producer_id 0: the batch has no producer */
  gboolean followed;    /* it comes from the leader: nobody asked, so it is released and not answered */

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

/* A producer of the log, as the storage found it: before any other event. */
void replica_restore_producer(Replica *replica, const LogProducer *producer);
/* What the log remembers of a producer can't be read, so it can't be written: a retry could be taken for new.
 * @damage: copied */
void replica_mark_damaged(Replica *replica, const Failure *damage);

/* A read of the log met damage: where another replica counts, this one takes nothing more, and lets that one lead (rule
 * 16). The last one goes on, as what is good of it is all that there is.
 *
 * @offset: where the damaged batch begins; -1: nobody knows, so nothing of the log is sure
 *
 * Returns TRUE when it stands back: who asks is to ask again, elsewhere. */
gboolean replica_found_damage(Replica *replica, const Failure *damage, gint64 offset);
/* LEADER_NOT_AVAILABLE, for those. */
Failure *replica_stands_back(const Replica *replica);

/* May this batch be appended, and where? Or was it, where?
 *
 * @leader_epoch: that the caller believes in
 * @batch: checked by the caller; gets its stamp; unchanged on failure, and when it is a duplicate
 * @now_ms: wall clock
 * @append: zeroed; filled in
 *
 * Returns NULL, or NOT_LEADER, NOT_ENOUGH_REPLICAS, EXPECTED_OFFSET_MISMATCH, LEADER_NOT_AVAILABLE, CORRUPT_LOG; and
 * for a producer's batch SEQUENCE_MISMATCH, UNKNOWN_PRODUCER, FENCED, LIMIT_EXCEEDED, OVERLOADED. Nothing changes until
 * replica_accept (or replica_await, for a duplicate), which must come before any other event, or not at all. */
Failure *replica_prepare(Replica *replica, gint32 leader_epoch, LogBatch *batch, Milena__V1__Acks acks, gint64 now_ms,
                         ReplicaAppend *append);
/* The storage took the write of @append: the log now ends behind it. */
void replica_accept(Replica *replica, ReplicaAppend *append);
/* @append is a duplicate: it is answered, perhaps at once, when the first one is as safe as @append asks. It waits for
 * no write of its own, so once answered it is the host's. */
void replica_await(Replica *replica, ReplicaAppend *append, ReplicaOut *out);
/* Forget producers whose last batch was appended before @before_ms.
 *
 * @ret_gone: gets their ids (gint64): their records are to go from the storage */
void replica_expire_producers(Replica *replica, gint64 before_ms, GArray *ret_gone);
/* Base offsets (gint64, ascending) of all batches that producers are remembered by; owned by the caller. */
GArray *replica_remembered_batches(const Replica *replica);
/* Where what is compacted ends; set by who has that written, before the hot record that goes with it. */
gint64 replica_compacted_to(const Replica *replica);
void replica_set_compacted(Replica *replica, gint64 offset);
/* The hot record to be written together with @append (prepared), or alone (NULL).
 * @out: replaced by the stored form */
void replica_encode_hot(const Replica *replica, guint64 log_id, const ReplicaAppend *append, GByteArray *out);

/* The storage reports @append. Its own stage must come, exactly once. */
void replica_local_progress(Replica *replica, ReplicaAppend *append, ReplicaStage stage, ReplicaOut *out);
/* Is the end of the log neither on disk nor on its way there, though flush=always asks for it? So it is after the
 * topic's flush mode was changed, until the next append; without one the host syncs the log: it begins, and tells when
 * that is over. Only what the log held at the beginning counts then. */
gboolean replica_wants_sync(const Replica *replica);
void replica_sync_begun(Replica *replica);
void replica_sync_over(Replica *replica, ReplicaOut *out);
/* ---- leading: what followers say, and who is in sync ---- */

/* Where a replica stands: what a follower says when it begins. */
typedef struct {
  gint32 leader_epoch; /* that it follows */
  gint64 end_offset;   /* of its log */
  gint64 synced_end;   /* .. on disk */
  gint32 last_epoch;   /* leader epoch of its last batch; LOG_EPOCH_NONE: it has none */
} ReplicaPosition;

typedef enum {
  REPLICA_GOES_ON,  /* its log is a beginning of the leader's: batches from its end on */
  REPLICA_DIVERGED, /* its log must be cut first (rules 1 to 3) */
  REPLICA_TOO_OLD,  /* it ends before the leader's log begins: it must begin anew there */
} ReplicaMatch;

/* Compare a follower's log with this leader's.
 *
 * @ret_epoch, @ret_end: with DIVERGED, the largest epoch of the leader's at most the follower's last, and where it ends
 * @ret_end: with TOO_OLD, where the leader's log begins
 *
 * Returns NULL, or NOT_LEADER, FENCED (one of the two is in another epoch), CORRUPT_LOG (the leader's log is damaged).
 */
Failure *replica_match(const Replica *replica, const ReplicaPosition *position, ReplicaMatch *ret_match,
                       gint32 *ret_epoch, gint64 *ret_end);
/* A follower of this registration begins at the position, which goes on. Returns the number of its visit, or 0 for one
 * that is no replica, or whose registration is out of date (rule 8). */
guint64 replica_follower_begins(Replica *replica, gint32 broker_id, guint64 broker_epoch,
                                const ReplicaPosition *position, gint64 now_ms, ReplicaOut *out);
/* Its stream was closed: until it begins again it joins nothing. */
void replica_follower_left(Replica *replica, gint32 broker_id, guint64 visit);
/* It has the log up to these offsets. Ignored of whom has not begun. Returns TRUE for one that is not in sync, and may
 * be by now: worth a replica_propose. */
gboolean replica_follower_progress(Replica *replica, gint32 broker_id, guint64 broker_epoch, gint64 written_end,
                                   gint64 synced_end, gint64 now_ms, ReplicaOut *out);
/* What a proposal depends on beside the replica: see FollowersTerms. */
typedef struct {
  gint64 lag_max_ms, now_ms;
  gboolean (*may_join)(gint32 broker_id, guint64 broker_epoch, gpointer data);
  gpointer data;
} ReplicaTerms;
/* Who shall be in sync, if that is to be proposed now (rules 6, 7); it is under way then, until the partition's
 * metadata changes or the proposal is refused. To be asked from time to time, and when a follower has come on. */
gboolean replica_propose(Replica *replica, const ReplicaTerms *terms, FollowersProposal *ret_proposal);
/* It was refused for certain, without a change of the partition's metadata. */
void replica_proposal_refused(Replica *replica, ReplicaOut *out);

/* ---- following ---- */

/* Where this replica stands, to be told to its leader. Returns FALSE when it follows nobody, is damaged, or writes are
 * still on their way to the disk: ask again when they have come. */
gboolean replica_position(const Replica *replica, ReplicaPosition *ret_position);
/* How far this replica has come, to be told to its leader while it follows: what is on its way to the disk does not
 * count yet, since the end of the process would lose it. */
void replica_progress(const Replica *replica, gint64 *ret_written_end, gint64 *ret_synced_end);
/* The leader says that the logs part: its @epoch, the largest at most our last, ends at @end. Returns where to cut our
 * log: the storage cuts it, then replica_truncated, then the position is told anew, until the leader goes on (rule 2).
 */
gint64 replica_diverged(const Replica *replica, gint32 epoch, gint64 end);
/* The storage has cut the log to this end. What producers did behind it is forgotten. */
void replica_truncated(Replica *replica, gint64 end_offset);
/* The leader's log begins at @start, behind all of ours, which was cut to its own start: go on there, with nothing. */
void replica_begin_at(Replica *replica, gint64 start);
/* Where to cut a damaged log that this replica follows with, so that it is whole again: the leader gives the rest anew
 * (rule 16). For one that counts as neither in sync nor eligible: nothing that only it has is given up; and for a
 * leader that is to cut damage, whose loss was given up. Then the storage cuts it, then replica_mended. Returns FALSE
 * when there is nothing to mend, or not now: while writes are on their way to the disk. */
gboolean replica_mend_end(const Replica *replica, gint64 *ret_end);
void replica_mended(Replica *replica, gint64 end_offset, ReplicaOut *out);
/* Does it lead an epoch in which damage is to be cut, and is it not yet? It takes nothing until then. */
gboolean replica_cuts_damage(const Replica *replica);
/* A batch of the leader's, stamped, wants to be appended as it is.
 *
 * @append: zeroed; filled in; it comes back in ReplicaOut.released
 *
 * Returns NULL, NOT_LEADER when another epoch is followed, or CORRUPT_LOG when it does not follow our log's end: the
 * leader must be asked anew. Then replica_accept, or nothing, before any other event. */
Failure *replica_follow(Replica *replica, gint32 leader_epoch, const LogBatch *batch, ReplicaAppend *append);
/* The leader's high watermark, in this epoch. */
void replica_follow_watermark(Replica *replica, gint32 leader_epoch, gint64 high_watermark, ReplicaOut *out);

/* ---- the log's start ---- */

/* Records below @start are given up: at most to the high watermark, never back. What producers did is remembered all
 * the same. Returns TRUE when the start moved: it is to be stored, and told to followers. */
gboolean replica_advance_start(Replica *replica, gint64 start);
/* The leader's start, in this epoch: ours follows as far as our high watermark has come. Returns TRUE when it moved. */
gboolean replica_follow_start(Replica *replica, gint32 leader_epoch, gint64 start);
/* A follower keeps nothing below this any more, durably. */
void replica_follower_start(Replica *replica, gint32 broker_id, guint64 broker_epoch, gint64 start);
/* The lowest of the in-sync followers' starts; G_MAXINT64 without any. */
gint64 replica_followers_start(const Replica *replica);
/* What a retention is decided by. */
LogStand replica_stand(const Replica *replica);

/* ---- state ---- */

gboolean replica_leads(const Replica *replica);
/* Id of the broker that it follows, or -1. */
gint32 replica_follows(const Replica *replica);
gint32 replica_leader_epoch(const Replica *replica); /* of the latest assignment, or LOG_EPOCH_NONE */
gint64 replica_log_start(const Replica *replica);
gint64 replica_log_end(const Replica *replica);
/* Stored bytes of all batches that were ever appended here. */
gint64 replica_appended_bytes(const Replica *replica);
/* What is below is here as safely as its append asked; on disk up to the synced end. */
gint64 replica_local_end(const Replica *replica);
gint64 replica_synced_end(const Replica *replica);
gint64 replica_high_watermark(const Replica *replica);
/* A new leader does not know it until it has reached the start of its own epoch (REPLICATION.md, rule 5). */
gboolean replica_knows_high_watermark(const Replica *replica);
/* Why it can't be written; borrowed; NULL when it can. */
const Failure *replica_damage(const Replica *replica);
/* How far a follower has come, as far as is known in this leadership. Returns FALSE when it has not begun. */
gboolean replica_follower_end(const Replica *replica, gint32 broker_id, gint64 *ret_written_end);
/* Is it in sync, by what is committed? */
gboolean replica_follower_in_sync(const Replica *replica, gint32 broker_id);
gboolean replica_knows_producer(const Replica *replica, gint64 producer_id);

G_END_DECLS
