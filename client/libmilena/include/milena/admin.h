/* Administration: topics, records that go, brokers and replicas, controllers. milena.h includes it, and its rules hold
 * here too. */
#ifndef MILENA_ADMIN_H
#define MILENA_ADMIN_H

#include <milena/milena.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- topics ---- */

/* When a write goes to the disk. */
typedef enum {
  MILENA_FLUSH_DEFAULT = 0,
  MILENA_FLUSH_ALWAYS = 1,   /* fsync before the answer */
  MILENA_FLUSH_INTERVAL = 2, /* fsync within flush_interval_ms; the answer does not wait for it */
  MILENA_FLUSH_OS = 3,       /* whenever the operating system likes */
} MilenaFlush;

/* How old records go. */
typedef enum {
  MILENA_CLEANUP_DEFAULT = 0,
  MILENA_CLEANUP_DELETE = 1,  /* by age and size */
  MILENA_CLEANUP_COMPACT = 2, /* the last record of each key stays */
} MilenaCleanupPolicy;

/* No bound, for retention_ms and retention_bytes. */
#define MILENA_FOR_EVER (-1)
/* Zero, where 0 stands for a default that is another. */
#define MILENA_ZERO (-1)

/* Configuration of a topic; 0 stands for the default. */
typedef struct {
  MilenaFlush flush;
  int64_t flush_interval_ms;
  uint32_t max_message_bytes; /* of an encoded batch */
  uint32_t min_insync_replicas;
  bool unclean_leader_election; /* a replica that lacks acknowledged records may lead when no other can */
  MilenaCleanupPolicy cleanup_policy;
  int64_t retention_ms;             /* records go when they are older: 7 days by default; or MILENA_FOR_EVER */
  int64_t retention_bytes;          /* of a partition: its oldest go beyond so many; MILENA_FOR_EVER by default */
  int64_t delete_retention_ms;      /* compacted: so long tombstones stay, 1 day by default; or MILENA_ZERO */
  int64_t min_compaction_lag_ms;    /* compacted: records that are younger are left alone */
  double min_cleanable_dirty_ratio; /* compacted: when so much is new; 0.5 by default; or MILENA_ZERO */
} MilenaTopicConfig;

typedef struct {
  int32_t partition;
  int32_t leader_id; /* -1: none now */
  int32_t leader_epoch;
  int32_t *replicas; /* ids of brokers, the preferred leader first */
  size_t replica_count;
  int32_t *in_sync_replicas;
  size_t in_sync_replica_count;
  uint64_t log_id;
  int32_t *eligible_replicas; /* out of sync since fewer than the minimum remained; they have all that is committed */
  size_t eligible_replica_count;
  int32_t *target_replicas; /* where a reassignment under way goes; none: there is none */
  size_t target_replica_count;
} MilenaPartition;

typedef struct {
  char *name;
  char *id; /* a UUID */
  uint32_t replication_factor;
  MilenaTopicConfig config;           /* as it was set */
  MilenaTopicConfig effective_config; /* with the defaults */
  MilenaPartition *partitions;        /* in order */
  size_t partition_count;
} MilenaTopic;

typedef struct {
  MilenaTopic *topics; /* in the order of their names */
  size_t count;
} MilenaTopicList;

typedef struct {
  int32_t id;
  char *rack;    /* or empty */
  char *address; /* host:port */
  uint64_t epoch;
  bool fenced; /* missed its heartbeats, or not up yet */
  uint32_t leader_count;
  uint32_t replica_count;
  bool drained;  /* for maintenance: it leads only what nobody else can */
  bool stopping; /* about to stop */
  bool disk_low; /* its disk is nearly full: it refuses records, and leads only what nobody else can */
} MilenaBroker;

typedef struct {
  MilenaBroker *brokers; /* in the order of their ids */
  size_t count;
} MilenaBrokerList;

/* A controller or a coordinator. */
typedef struct {
  int32_t id;
  char *address; /* host:port */
  bool fenced;   /* of coordinators */
} MilenaNode;

/* The cluster as one broker knows it. */
typedef struct {
  char *cluster_id;
  uint64_t version; /* of the metadata */
  MilenaBrokerList brokers;
  MilenaNode *controllers;
  size_t controller_count;
  int32_t active_controller_id; /* -1: none now */
  MilenaNode *coordinators;
  size_t coordinator_count;
  MilenaTopicList topics;
} MilenaCluster;

void milena_topic_free(MilenaTopic *topic); /* NULL is fine, as for all of these */
void milena_topic_list_free(MilenaTopicList *list);
void milena_broker_free(MilenaBroker *broker);
void milena_broker_list_free(MilenaBrokerList *list);
void milena_cluster_free(MilenaCluster *cluster);

/* A topic to create. Zero everything that the default is good for. */
typedef struct {
  const char *name;
  uint32_t partitions;         /* 0: 1 */
  uint32_t replication_factor; /* 0: the cluster's default */
  MilenaTopicConfig config;
  bool validate_only; /* only check */
} MilenaNewTopic;

/* Create a topic; returns when all its partitions have leaders.
 *
 * @ret_topic: milena_topic_free; may be NULL
 *
 * Fails with TOPIC_EXISTS, INVALID_FIELD, NOT_ENOUGH_BROKERS, UNSUPPORTED. */
MilenaError *milena_admin_create_topic(MilenaClient *client, const MilenaNewTopic *topic, int32_t timeout_ms,
                                       MilenaTopic **ret_topic);
/* All topics. @ret_list: milena_topic_list_free. */
MilenaError *milena_admin_list_topics(MilenaClient *client, int32_t timeout_ms, MilenaTopicList **ret_list);
/* One topic, as the controller knows it. @ret_topic: milena_topic_free. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_admin_describe_topic(MilenaClient *client, const char *name, int32_t timeout_ms,
                                         MilenaTopic **ret_topic);
/* Change a topic's configuration.
 *
 * @fields: names of the fields to take from @config: "flush", "flush_interval", "max_message_bytes",
 *          "min_insync_replicas", "unclean_leader_election", "cleanup_policy", "retention", "retention_bytes",
 * "delete_retention", "min_compaction_lag", "min_cleanable_dirty_ratio"; a field that is named and 0 goes back to its
 * default
 *
 * Where the outcome of a try is unknown it is tried again: the fields are set to these values once more, also where
 * somebody else set them meanwhile.
 *
 * @ret_topic: milena_topic_free; may be NULL */
MilenaError *milena_admin_alter_topic(MilenaClient *client, const char *name, const MilenaTopicConfig *config,
                                      const char *const *fields, size_t field_count, bool validate_only,
                                      int32_t timeout_ms, MilenaTopic **ret_topic);
/* Delete a topic and its records. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_admin_delete_topic(MilenaClient *client, const char *name, bool validate_only, int32_t timeout_ms);
/* Give a topic more partitions. Keys move.
 *
 * @total_partitions: more than now
 * @ret_topic: milena_topic_free; may be NULL
 * @ret_warning: what to know, freed with milena_string_free; may be NULL */
MilenaError *milena_admin_add_partitions(MilenaClient *client, const char *name, uint32_t total_partitions,
                                         bool validate_only, int32_t timeout_ms, MilenaTopic **ret_topic,
                                         char **ret_warning);
void milena_string_free(char *string); /* NULL is fine */

/* All brokers. @ret_list: milena_broker_list_free. */
MilenaError *milena_admin_list_brokers(MilenaClient *client, int32_t timeout_ms, MilenaBrokerList **ret_list);
/* One broker. @ret_broker: milena_broker_free. Fails with UNKNOWN_BROKER. */
MilenaError *milena_admin_get_broker(MilenaClient *client, int32_t id, int32_t timeout_ms, MilenaBroker **ret_broker);
/* The whole cluster. @ret_cluster: milena_cluster_free. */
MilenaError *milena_admin_describe_cluster(MilenaClient *client, int32_t timeout_ms, MilenaCluster **ret_cluster);

/* One topic as any broker's metadata has it: works without a controller too, for who wants to produce or consume.
 * @ret_topic: milena_topic_free. Fails with UNKNOWN_TOPIC. */
MilenaError *milena_admin_find_topic(MilenaClient *client, const char *name, int32_t timeout_ms,
                                     MilenaTopic **ret_topic);

typedef struct {
  const char *topic;
  int32_t partition;
  MilenaPosition position;
} MilenaOffsetQuery;

typedef struct {
  int64_t offset;       /* -1 with an error. For a time after the last record: the end */
  int64_t timestamp_ms; /* for a time: of the record that was found; else 0 */
  MilenaError *error;   /* of this query; NULL when it was found */
} MilenaOffsetResult;

/* Find offsets.
 *
 * @ret_results: one for each query, in order; freed with milena_offset_results_free
 *
 * Fails as a whole when no broker could be asked; errors of single queries are in the results. */
MilenaError *milena_admin_list_offsets(MilenaClient *client, const MilenaOffsetQuery *queries, size_t count,
                                       int32_t timeout_ms, MilenaOffsetResult **ret_results);
void milena_offset_results_free(MilenaOffsetResult *results, size_t count); /* NULL is fine */

/* ---- records that go ---- */

typedef struct {
  const char *topic;
  int32_t partition;
  int64_t before_offset; /* records below it are deleted; -1: all that are committed */
} MilenaDeletion;

typedef struct {
  int64_t log_start_offset; /* the first offset that is kept now; -1 with an error */
  MilenaError *error;       /* of this deletion; NULL when it was done */
} MilenaDeletionResult;

/* Delete the oldest records of partitions. It is done when all replicas in sync have let go of them.
 *
 * @ret_results: one for each deletion, in order; freed with milena_admin_deletion_results_free
 *
 * Fails as a whole when no broker could be asked; errors of single deletions are in the results: OFFSET_OUT_OF_RANGE,
 * UNKNOWN_TOPIC, INTERNAL_TOPIC, UNSUPPORTED for compacted topics, UNKNOWN_OUTCOME (it may be asked again). */
MilenaError *milena_admin_delete_records(MilenaClient *client, const MilenaDeletion *deletions, size_t count,
                                         bool validate_only, int32_t timeout_ms, MilenaDeletionResult **ret_results);
void milena_admin_deletion_results_free(MilenaDeletionResult *results, size_t count); /* NULL is fine */

/* A time segment of a broker's store. It goes as a whole, when no log needs anything in it. */
typedef struct {
  uint32_t number;
  int64_t created_ms;
  int64_t bytes;         /* of the batches that were written to it */
  int64_t expired_bytes; /* of those, what no log needs any more */
  uint64_t log_count;    /* logs that need something in it */
} MilenaStorageSegment;

/* What a broker's logs take of its disk. */
typedef struct {
  int32_t broker_id;
  uint64_t log_count;
  int64_t disk_bytes;             /* of its database's files */
  int64_t live_bytes;             /* of batches that logs need */
  int64_t expired_held_bytes;     /* of batches that no log needs, but that lie in segments that are needed */
  MilenaStorageSegment *segments; /* oldest first */
  size_t segment_count;
} MilenaBrokerStorage;

/* @ret_storage: milena_broker_storage_free. Fails with UNKNOWN_BROKER. */
MilenaError *milena_admin_get_broker_storage(MilenaClient *client, int32_t id, int32_t timeout_ms,
                                             MilenaBrokerStorage **ret_storage);
void milena_broker_storage_free(MilenaBrokerStorage *storage); /* NULL is fine */

/* ---- administration of replicas ---- */

/* Take a broker out of service for maintenance: its leaderships move to other replicas in sync, and it gets no new
 * replicas. It goes on following, and leads what nobody else can. A second call changes nothing.
 *
 * @ret_broker: as it is then; its leader_count is how many partitions only it can lead. milena_broker_free; may be NULL
 *
 * Fails with UNKNOWN_BROKER. */
MilenaError *milena_admin_drain_broker(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                       MilenaBroker **ret_broker);
/* Take a drained broker back into service; it gets its preferred leaderships back by and by. As the call before. */
MilenaError *milena_admin_undrain_broker(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                         MilenaBroker **ret_broker);

typedef enum {
  MILENA_ELECTION_PREFERRED = 1, /* the first of the replicas leads, where it is in sync */
  /* Any replica that is up leads, where nobody else can: acknowledged records that it lacks are lost. The controller
   * logs it. */
  MILENA_ELECTION_UNCLEAN = 2,
  /* The same; and a leader that alone counts, and whose log is damaged, cuts it in front of the damage and takes
   * records again: what lies behind is lost. For partitions that are named. */
  MILENA_ELECTION_UNCLEAN_CUTTING_DAMAGE = 3,
} MilenaElection;

/* A partition with a new leader. */
typedef struct {
  char *topic;
  int32_t partition;
  int32_t leader_id;
  bool unclean; /* it may lack records that were acknowledged, or cuts what is damaged of them */
} MilenaElectedLeader;

typedef struct {
  MilenaElectedLeader *leaders;
  size_t count;
} MilenaElectedList;

void milena_elected_list_free(MilenaElectedList *list); /* NULL is fine */

/* Elect leaders anew.
 *
 * @topic: NULL: all topics, for preferred leaders only
 * @partitions, @count: none: all of the topic
 * @ret_list: whom it changed; milena_elected_list_free; may be NULL. A call that had to be tried again may tell none
 *
 * Fails with UNKNOWN_TOPIC, UNKNOWN_PARTITION, INVALID_FIELD. */
MilenaError *milena_admin_elect_leaders(MilenaClient *client, MilenaElection election, const char *topic,
                                        const int32_t *partitions, size_t count, bool validate_only, int32_t timeout_ms,
                                        MilenaElectedList **ret_list);

/* Where a partition shall go. */
typedef struct {
  const char *topic;
  int32_t partition;
  const int32_t *replicas; /* ids of brokers, the preferred leader first */
  size_t replica_count;
  uint64_t throttle_bytes_per_s; /* to replicas that are not in sync, from each broker, of all partitions that move with
                                  * a throttle; 0: no bound. Alone it may be changed while the partition moves */
} MilenaMove;

/* A reassignment under way. */
typedef struct {
  char *topic;
  int32_t partition;
  int32_t *target_replicas;
  size_t target_replica_count;
  int32_t *pending_replicas; /* those of the target that are not in sync yet */
  size_t pending_replica_count;
  int64_t
      *pending_remaining;   /* offsets that each of those lacks, a second or two ago; -1: not told (yet). A listing's */
  int64_t *pending_bytes;   /* about how many bytes that is; -1: not told */
  int64_t *pending_seconds; /* in how many seconds it has all, at the rate of the last ones; -1: nobody can say (yet) */
  int32_t *replicas_before;
  size_t replica_before_count;
  uint64_t throttle_bytes_per_s; /* 0: none */
  int64_t leader_end_offset;     /* when it told pending_remaining; 0: it has not */
} MilenaReassignment;

typedef struct {
  MilenaReassignment *reassignments; /* of a listing: in the order of topics, then partitions */
  size_t count;
} MilenaReassignmentList;

void milena_reassignment_list_free(MilenaReassignmentList *list); /* NULL is fine */

/* Move partitions to other brokers, or give them more or fewer replicas: new replicas are added, catch up, and then
 * take the place of the old ones. All are accepted, or none; a partition that moves already goes on to its new target.
 * A second call with the same moves changes nothing but their throttle.
 *
 * @ret_list: what is under way; a move that had nothing to wait for is not among them. milena_reassignment_list_free;
 *            may be NULL
 *
 * Fails with UNKNOWN_TOPIC, UNKNOWN_PARTITION, UNKNOWN_BROKER, INVALID_FIELD, NOT_ENOUGH_BROKERS (a broker that is to
 * get a replica is fenced, drained or about to stop), NOT_ENOUGH_REPLICAS. */
MilenaError *milena_admin_reassign_partitions(MilenaClient *client, const MilenaMove *moves, size_t count,
                                              bool validate_only, int32_t timeout_ms,
                                              MilenaReassignmentList **ret_list);
/* All reassignments under way. @ret_list: milena_reassignment_list_free. */
MilenaError *milena_admin_list_reassignments(MilenaClient *client, int32_t timeout_ms,
                                             MilenaReassignmentList **ret_list);
/* Take reassignments back: the partitions stay where they were before.
 *
 * @topic: NULL: all topics
 * @partitions, @count: none: all of the topic
 * @ret_cancelled: how many; may be NULL. A call that had to be tried again may tell 0
 *
 * Fails with UNKNOWN_TOPIC, UNKNOWN_PARTITION, NOT_ENOUGH_REPLICAS. */
MilenaError *milena_admin_cancel_reassignments(MilenaClient *client, const char *topic, const int32_t *partitions,
                                               size_t count, bool validate_only, int32_t timeout_ms,
                                               uint32_t *ret_cancelled);

/* ---- administration of the controllers ---- */

typedef enum {
  MILENA_CONTROLLER_UNKNOWN = 0,
  MILENA_CONTROLLER_VOTER = 1,   /* it votes, and its copy of the metadata counts */
  MILENA_CONTROLLER_LEARNER = 2, /* it follows without a vote, to catch up */
} MilenaControllerRole;

/* A controller, as the process that answered sees it. */
typedef struct {
  int32_t id;
  char *address;      /* where clients reach it, host:port; empty until it has told */
  char *peer_address; /* where controllers and brokers reach it, host:port */
  char *directory_id; /* a UUID of its data folder */
  MilenaControllerRole role;
  bool active;
  uint64_t match_index; /* the end of its log, as the active one knows it */
  uint64_t lag;         /* entries that it lacks */
  int64_t heard_ago_ms; /* -1: never, or itself */
  char *link_error;     /* why it can't be reached; empty when it can */
  char *catch_up;       /* of a learner: why it has no vote yet */
} MilenaController;

/* The controllers, and what they agree on. */
typedef struct {
  MilenaController *controllers; /* in the order of their ids */
  size_t count;
  char *cluster_id;    /* empty: they wait for their cluster */
  int32_t active_id;   /* -1: none is known */
  int32_t answered_by; /* the controller whose view this is; 0: a broker's, which reached none */
  uint64_t term;       /* these three as it knows them */
  uint64_t commit_index;
  uint64_t last_index;
} MilenaQuorum;

void milena_controller_free(MilenaController *controller); /* NULL is fine, as for all of these */
void milena_quorum_free(MilenaQuorum *quorum);

/* All controllers. Every broker and every controller answers it, also while none is active.
 * @ret_quorum: milena_quorum_free. */
MilenaError *milena_admin_list_controllers(MilenaClient *client, int32_t timeout_ms, MilenaQuorum **ret_quorum);
/* Add a controller that runs and has an empty folder. Returns when it votes, or, when the time comes near, with a
 * learner that still catches up: it gets its vote by itself.
 *
 * @ret_controller: milena_controller_free; may be NULL */
MilenaError *milena_admin_add_controller(MilenaClient *client, int32_t id, const char *peer_address, bool validate_only,
                                         int32_t timeout_ms, MilenaController **ret_controller);
/* Remove a controller.
 *
 * @directory_id: the folder that is meant; NULL: whichever it has
 * @force: also when the rest that answers now would be no majority
 *
 * Fails with UNKNOWN_CONTROLLER, DIRECTORY_MISMATCH, QUORUM_AT_RISK. */
MilenaError *milena_admin_remove_controller(MilenaClient *client, int32_t id, const char *directory_id, bool force,
                                            bool validate_only, int32_t timeout_ms);
/* Make another controller the active one.
 *
 * @id: 0 for the one that has caught up furthest
 * @ret_active_id, @ret_term: may be NULL */
MilenaError *milena_admin_transfer_leadership(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                              int32_t *ret_active_id, uint64_t *ret_term);

/* A controller of the cluster to be. */
typedef struct {
  int32_t id;               /* from 1 */
  const char *peer_address; /* host:port */
} MilenaInitialController;

/* Begin a cluster, once, with controllers whose folders are empty. The client's bootstrap address is one of theirs.
 *
 * @cluster_id: a UUID; NULL to have one made
 * @ret_cluster_id: freed with milena_string_free; may be NULL */
MilenaError *milena_admin_bootstrap_cluster(MilenaClient *client, const MilenaInitialController *controllers,
                                            size_t count, const char *cluster_id, bool validate_only,
                                            int32_t timeout_ms, char **ret_cluster_id);

#ifdef __cplusplus
}
#endif

#endif
