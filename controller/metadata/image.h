/* The cluster's metadata at one version: immutable, reference-counted, shared between threads without a lock.
 *
 * An image is made from another by applying records (metadata_record.proto); what did not change is shared, so a change
 * costs O(log n) in the number of topics and brokers (and O(partitions) pointers of each topic that it touches),
 * whatever the size of the cluster. Everything that an image gives out is borrowed and lives as long as the image: keep
 * a reference to the image while you use it. Pure: no I/O, no clock, no threads. */
#pragma once

#include <glib.h>

#include "milena/internal/v1/metadata_record.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct MetadataImage MetadataImage;
typedef Milena__Internal__V1__MetadataRecord MetadataRecord;

/* Ids of topics are UUIDs as text: 36 characters. */
#define METADATA_ID_BYTES 37
/* Version of the formats MetadataTransaction and MetadataSnapshot that this code writes and reads. */
#define METADATA_FORMAT 1

/* The topic of Milena's own that groups are kept in; names that begin like it are kept for such topics. */
#define METADATA_GROUP_TOPIC "__consumer_offsets"
#define METADATA_INTERNAL_PREFIX "__"

/* One partition of a topic. Immutable. */
typedef struct {
  gint refs; /* the image's */
  gint32 partition;
  char topic_id[METADATA_ID_BYTES];
  guint64 log_id;   /* of its log on every replica; unique for ever, never 0 */
  gint32 leader_id; /* -1: none now */
  gint32 leader_epoch;
  guint64 partition_epoch;
  guint replica_count, isr_count, eligible_count, target_count, before_count, unsynced_count;
  const gint32 *replicas; /* the first is the preferred leader */
  const gint32 *isr;
  const gint32 *eligible;  /* may lead though out of sync (partition_rules.h) */
  const gint32 *target;    /* of a reassignment under way */
  const gint32 *before;    /* the replicas before it */
  const gint32 *unsynced;  /* of isr and eligible: what they had before flush=always may not be on disk yet */
  guint64 throttle_bytes;  /* a second, while it lasts: for replicas that are not in sync; 0: no bound */
  gint32 damage_cut_epoch; /* the leader of this leader epoch is to cut damage out of its log; 0: none */
  gint32 unclean_epoch;    /* the latest leader epoch whose leader was elected uncleanly; 0: none */
} MetadataPartition;

/* A topic. Immutable. */
typedef struct {
  gint refs; /* the image's */
  char id[METADATA_ID_BYTES];
  char *name;
  char *request_id;                      /* of the request that created it; "" for none */
  guint32 replication_factor;            /* follows when all partitions were reassigned to another number */
  const Milena__V1__TopicConfig *config; /* as it was set; never NULL */
  guint partition_count;
  const MetadataPartition *const *partitions; /* by number; never NULL below partition_count */
} MetadataTopic;

/* A registered broker. Immutable. */
typedef struct {
  gint refs; /* the image's */
  gint32 id;
  guint64 epoch;      /* rises with every registration */
  char *incarnation;  /* UUID of its data folder */
  char *process_id;   /* UUID of its process */
  char *rack;         /* "" for none */
  char *address;      /* where clients reach it, host:port */
  char *peer_address; /* where brokers reach it, host:port */
  gboolean fenced;
  gboolean drained;                  /* for maintenance: over registrations */
  gboolean stopping;                 /* this registration said so */
  gboolean disk_low;                 /* .. and that its disk is nearly full */
  guint leader_count, replica_count; /* of partitions */
} MetadataBroker;

/* A registered group coordinator. Immutable. */
typedef struct {
  gint refs; /* the image's */
  gint32 id;
  guint64 epoch;
  char *process_id;
  char *address;
  gboolean fenced;
} MetadataCoordinator;

/* Who coordinates the groups of one partition of METADATA_GROUP_TOPIC. Immutable. */
typedef struct {
  gint refs; /* the image's */
  gint32 partition;
  gint32 coordinator_id; /* -1: nobody now */
  guint32 lease_epoch;   /* rises each time that somebody gets it; from 1 */
} MetadataLease;

/* A controller. Immutable. */
typedef struct {
  gint refs; /* the image's */
  gint32 id;
  char *address;      /* where clients reach it, host:port */
  char *peer_address; /* where brokers, coordinators and controllers reach it, host:port */
} MetadataController;

/* ---- Images ---- */

/* An empty image, version 0. Owned by the caller. */
MetadataImage *metadata_image_new(void);
MetadataImage *metadata_image_ref(MetadataImage *image); /* any thread */
void metadata_image_unref(MetadataImage *image);         /* any thread; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MetadataImage, metadata_image_unref)

/* Apply the records of one transaction: all or none.
 *
 * @base:    borrowed, unchanged
 * @records: borrowed; copied as needed
 * @version: of the metadata afterwards; not below the base's (equal: parts of one snapshot, applied one by one)
 * @ret_image: the new image, owned by the caller; untouched on failure
 *
 * Returns NULL, or CORRUPT_LOG for records that make no sense after @base, UNSUPPORTED for those of a newer Milena. */
Failure *metadata_image_apply(const MetadataImage *base, MetadataRecord *const *records, gsize record_count,
                              guint64 version, MetadataImage **ret_image);

/* The whole image as records that make it from an empty one, in order. Returns a GPtrArray of MetadataRecord *, which
 * frees them; owned by the caller. */
GPtrArray *metadata_image_to_records(const MetadataImage *image);

/* A GPtrArray for MetadataRecord *, which frees them. */
GPtrArray *metadata_records_new(void);

guint64 metadata_image_version(const MetadataImage *image);
/* "" before the bootstrap; borrowed. */
const char *metadata_image_cluster_id(const MetadataImage *image);
gint64 metadata_image_created_ms(const MetadataImage *image);
/* Higher than every log id given before. */
guint64 metadata_image_next_log_id(const MetadataImage *image);
/* Higher than every producer id given before; 1 or more. */
gint64 metadata_image_next_producer_id(const MetadataImage *image);
guint metadata_image_topic_count(const MetadataImage *image);
guint metadata_image_broker_count(const MetadataImage *image);
guint metadata_image_partition_count(const MetadataImage *image);

/* ---- Lookups: borrowed, NULL when there is none. ---- */

const MetadataTopic *metadata_image_topic_by_name(const MetadataImage *image, const char *name);
const MetadataTopic *metadata_image_topic_by_id(const MetadataImage *image, const char *id);
/* By name, by id, or both ("" or NULL: not given). Returns NULL, or UNKNOWN_TOPIC, TOPIC_ID_MISMATCH, INVALID_FIELD. */
Failure *metadata_image_find_topic(const MetadataImage *image, const char *name, const char *id,
                                   const MetadataTopic **ret_topic);
const MetadataPartition *metadata_topic_partition(const MetadataTopic *topic, gint32 partition);
const MetadataBroker *metadata_image_broker(const MetadataImage *image, gint32 id);
const MetadataCoordinator *metadata_image_coordinator(const MetadataImage *image, gint32 id);
const MetadataController *metadata_image_controller(const MetadataImage *image, gint32 id);
/* @partition: of METADATA_GROUP_TOPIC */
const MetadataLease *metadata_image_lease(const MetadataImage *image, gint32 partition);
/* The topic is Milena's own: users read it, and no more. */
gboolean metadata_topic_is_internal(const MetadataTopic *topic);
/* @id is among the partition's replicas. */
gboolean metadata_partition_has_replica(const MetadataPartition *partition, gint32 id);

/* ---- Differences: what two versions do not share. Each callback gets NULL for the side that has none; topics are
 * compared by name, so one that was re-created is told as a change to another id. Costs O(changes) between versions
 * that are near each other, O(cluster) between unrelated images. ---- */
/* Any callback may be NULL. */
void metadata_image_diff(const MetadataImage *before, const MetadataImage *after,
                         void (*topic)(const MetadataTopic *before, const MetadataTopic *after, gpointer user_data),
                         void (*broker)(const MetadataBroker *before, const MetadataBroker *after, gpointer user_data),
                         void (*coordinator)(const MetadataCoordinator *before, const MetadataCoordinator *after,
                                             gpointer user_data),
                         gpointer user_data);

/* The same for leases. */
void metadata_image_diff_leases(const MetadataImage *before, const MetadataImage *after,
                                void (*lease)(const MetadataLease *before, const MetadataLease *after,
                                              gpointer user_data),
                                gpointer user_data);

/* ---- Iteration: topics in the order of their names (strcmp), the others in that of their ids. The image must
 * outlive the iterator.
 *
 *   MetadataIter iter;
 *   metadata_iter_topics(&iter, image, "from");           // NULL: from the first
 *   for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));) ...
 */
#define METADATA_ITER_DEPTH 96
typedef struct {
  const struct MetadataTree *stack[METADATA_ITER_DEPTH];
  guint depth;
} MetadataIter;

/* @from: the first name that is wanted, if it exists, else the next one */
void metadata_iter_topics(MetadataIter *iter, const MetadataImage *image, const char *from);
const MetadataTopic *metadata_iter_next_topic(MetadataIter *iter);
/* @from: the first id that is wanted; G_MININT32: all */
void metadata_iter_brokers(MetadataIter *iter, const MetadataImage *image, gint32 from);
const MetadataBroker *metadata_iter_next_broker(MetadataIter *iter);
void metadata_iter_coordinators(MetadataIter *iter, const MetadataImage *image);
const MetadataCoordinator *metadata_iter_next_coordinator(MetadataIter *iter);
void metadata_iter_controllers(MetadataIter *iter, const MetadataImage *image);
const MetadataController *metadata_iter_next_controller(MetadataIter *iter);
void metadata_iter_leases(MetadataIter *iter, const MetadataImage *image);
const MetadataLease *metadata_iter_next_lease(MetadataIter *iter);

G_END_DECLS
