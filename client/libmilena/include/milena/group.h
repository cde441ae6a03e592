/* Consumer groups: consumers that share the partitions of their topics, and offsets that the cluster keeps.
 *
 *   MilenaGroupOptions options;
 *   milena_group_options_init(&options);
 *   options.group = "billing";
 *   options.topics = (const char *[]){"orders"};
 *   options.topic_count = 1;
 *   MilenaError *error = milena_consumer_join(consumer, &options);
 *   while (!error && !stop) {
 *     const MilenaRecordBatch *batch;
 *     error = milena_consumer_poll(consumer, 200, &batch);
 *     if (batch) process(batch);
 *   }
 *   milena_consumer_leave(consumer, 5000);
 *
 * At least once: process, then commit. That is what auto_commit does: a poll commits what polls before it gave.
 * At most once: commit what a poll gave before it is processed (milena_consumer_commit right behind
 * milena_consumer_poll, with auto_commit off).
 *
 * The rules of milena.h hold here too. */
#ifndef MILENA_GROUP_H
#define MILENA_GROUP_H

#include <milena/milena.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- members ---- */

/* A partition of a topic. */
typedef struct {
  const char *topic;
  int32_t partition;
} MilenaTopicPartition;

/* Why partitions come or go. */
typedef enum {
  MILENA_REBALANCE_ASSIGNED = 1, /* they are this consumer's from now on */
  MILENA_REBALANCE_REVOKED = 2,  /* they go to others once this callback has returned: the moment to commit */
  MILENA_REBALANCE_LOST = 3,     /* they went to others already: commits of them are refused */
} MilenaRebalance;

/* Called in milena_consumer_poll and milena_consumer_leave, on their thread: it may commit, seek, pause and wait.
 * Everything is borrowed for the call. */
typedef void (*MilenaRebalanceFunc)(MilenaConsumer *consumer, MilenaRebalance event,
                                    const MilenaTopicPartition *partitions, size_t count, void *user_data);

/* Start from milena_group_options_init. All is copied. */
typedef struct {
  const char *group;
  const char *const *topics; /* names; one that does not exist is read once it does */
  size_t topic_count;
  const char *topic_pattern; /* PCRE that a topic's whole name must match; NULL: none */
  const char *instance_id;   /* a name that outlives the process, to come back without a rebalance; NULL: none */
  const char *client_id;     /* what people shall see of it; NULL: "libmilena" */
  const char *rack;          /* NULL: none */
  /* Where to start in a partition without a committed offset: MILENA_RESET_ERROR lets poll fail. It also takes the
   * place of the consumer's own `reset`. */
  MilenaReset reset;
  /* Commit what was given by earlier polls: in poll, every auto_commit_interval_ms, before partitions are given up, and
   * when the consumer leaves. */
  bool auto_commit;
  int32_t auto_commit_interval_ms;
  /* How long a rebalance waits for this member to give up partitions. */
  int32_t rebalance_timeout_ms;
  /* Who does not poll for so long leaves the group, so that others read on; the next poll joins again. */
  int32_t max_poll_interval_ms;
  MilenaRebalanceFunc on_rebalance; /* may be NULL */
  void *user_data;
} MilenaGroupOptions;

/* Fill in the defaults: the end, auto_commit every 5 s, rebalance timeout 5 minutes, poll interval 5 minutes. */
void milena_group_options_init(MilenaGroupOptions *options);

/* Join a group. Does not wait: partitions come in poll. What was assigned before is dropped.
 *
 * From then on poll fails, besides what it says itself, with DUPLICATE_ID (another process has this instance_id),
 * LIMIT_EXCEEDED (the group is full), INVALID_FIELD (a pattern that does not compile, say): then the consumer is out of
 * the group. Troubles that pass are waited out, see milena_consumer_trouble; a member that was thrown out joins again.
 *
 * Fails with INVALID_FIELD: no group, neither topics nor pattern, or a consumer that has joined already. */
MilenaError *milena_consumer_join(MilenaConsumer *consumer, const MilenaGroupOptions *options);
/* Leave the group: commit, with auto_commit, what was given; then its partitions go to others. A consumer with an
 * instance_id keeps its place until its session ends. milena_consumer_free leaves too, within 5 s.
 *
 * Fails when the commit or the farewell did not get through in time: the consumer is out all the same, and its
 * partitions go to others when its session ends. NULL for a consumer that is in no group. */
MilenaError *milena_consumer_leave(MilenaConsumer *consumer, int32_t timeout_ms);

/* An offset to commit, or that was committed. */
typedef struct {
  const char *topic;
  int32_t partition;
  int64_t offset;       /* the next to read: one more than that of the last record that was processed */
  int32_t leader_epoch; /* of that record; -1: not known */
  const char *metadata; /* your own; at most 4,096 bytes; NULL: none */
} MilenaOffset;

/* Commit, and wait until it is kept.
 *
 * @offsets, @count: none: everything that polls have given so far
 *
 * Fails with NOT_ASSIGNED, UNKNOWN_MEMBER or FENCED when a partition is not this consumer's any more: its new owner
 * reads from what was committed before; with UNKNOWN_OUTCOME or why it did not get through when the time is up. Other
 * partitions' offsets are kept all the same. */
MilenaError *milena_consumer_commit(MilenaConsumer *consumer, const MilenaOffset *offsets, size_t count,
                                    int32_t timeout_ms);
/* What became of a commit. @error: borrowed; NULL: it is kept. On the client's thread: be quick, call nothing that
 * waits. */
typedef void (*MilenaCommitFunc)(const MilenaError *error, void *user_data);
/* The same without waiting; it is tried for 60 s.
 *
 * @done: called once, unless this fails; may be NULL */
MilenaError *milena_consumer_commit_async(MilenaConsumer *consumer, const MilenaOffset *offsets, size_t count,
                                          MilenaCommitFunc done, void *user_data);

/* Stop giving records of a partition, and fetching them, until it is resumed; it stays this consumer's. Fails with
 * INVALID_FIELD for one that is not assigned. Also without a group. */
MilenaError *milena_consumer_pause(MilenaConsumer *consumer, const char *topic, int32_t partition);
MilenaError *milena_consumer_resume(MilenaConsumer *consumer, const char *topic, int32_t partition);

/* A partition that a consumer reads. */
typedef struct {
  char *topic;
  int32_t partition;
} MilenaOwnedPartition;

/* What a consumer is in its group. */
typedef struct {
  char *group;
  char *member_id;
  uint32_t epoch;                   /* 0: it is not in the group now */
  MilenaOwnedPartition *partitions; /* what it reads now */
  size_t partition_count;
  char *explanation; /* why its assignment is as it is; may be empty */
} MilenaMembership;
/* @ret_membership: milena_consumer_membership_free. Fails with INVALID_FIELD without a group. */
MilenaError *milena_consumer_membership(MilenaConsumer *consumer, MilenaMembership **ret_membership);
void milena_consumer_membership_free(MilenaMembership *membership); /* NULL is fine */

/* ---- administration of groups ---- */

typedef enum {
  MILENA_GROUP_EMPTY = 1,       /* no members; offsets may be there */
  MILENA_GROUP_STABLE = 2,      /* members have their partitions */
  MILENA_GROUP_RECONCILING = 3, /* partitions are on their way from one member to another */
} MilenaGroupState;

typedef enum {
  MILENA_ASSIGNOR_DEFAULT = 0,
  MILENA_ASSIGNOR_STICKY = 1,
  MILENA_ASSIGNOR_RANGE = 2,
  MILENA_ASSIGNOR_ROUND_ROBIN = 3,
} MilenaAssignor;

/* A group, in short. */
typedef struct {
  char *group;
  MilenaGroupState state;
  uint32_t member_count;
  uint32_t epoch;
  int32_t coordinator_id;
} MilenaGroupSummary;

typedef struct {
  MilenaGroupSummary *groups;
  size_t count;
  char **missing; /* why some groups may be missing: a sentence for each coordinator that could not be asked */
  size_t missing_count;
} MilenaGroupList;

/* All groups. @ret_list: milena_group_list_free. */
MilenaError *milena_admin_list_groups(MilenaClient *client, int32_t timeout_ms, MilenaGroupList **ret_list);
void milena_group_list_free(MilenaGroupList *list); /* NULL is fine, as for all of these */

/* Settings of a group; 0 stands for the default. */
typedef struct {
  int64_t session_timeout_ms;
  int64_t heartbeat_interval_ms;
  MilenaAssignor assignor;
  int64_t offsets_retention_ms;
  uint32_t max_members;
} MilenaGroupConfig;

/* A member of a group. */
typedef struct {
  char *member_id;
  char *instance_id;
  char *client_id;
  char *client_address;
  char *rack;
  uint32_t epoch;
  char **topics; /* names that it subscribed to */
  size_t topic_count;
  char *topic_pattern;
  uint32_t owned_count;    /* partitions that it may read */
  uint32_t revoking_count; /* that it still has to give up */
  uint32_t target_count;   /* that it shall own in the end */
  int64_t heartbeat_ms;    /* when it was heard last: ms since 1970 */
  char *explanation;
} MilenaGroupMember;

/* A partition that a group reads, or has committed. */
typedef struct {
  char *topic;
  int32_t partition;
  char *member_id;        /* who reads it; empty for nobody */
  int64_t committed;      /* -1: nothing */
  int32_t leader_epoch;   /* -1: not known */
  char *metadata;         /* may be empty */
  int64_t commit_time_ms; /* 0: nothing is committed */
  int64_t high_watermark; /* -1: not known */
  int64_t lag;            /* -1: not known */
  char *problem;          /* why the lag is not known; may be empty */
} MilenaGroupPartition;

/* A group. */
typedef struct {
  char *group;
  MilenaGroupState state;
  uint32_t epoch;
  uint32_t assignment_epoch;
  int32_t coordinator_id;
  char *coordinator_address;
  int32_t offsets_partition; /* of __consumer_offsets */
  MilenaGroupConfig config;  /* with defaults filled in */
  MilenaGroupMember *members;
  size_t member_count;
  MilenaGroupPartition *partitions; /* by topic and number */
  size_t partition_count;
  int64_t total_lag;
  char **explanation; /* why the last rebalance happened, and what it waits for */
  size_t explanation_count;
} MilenaGroup;

/* One group. @ret_group: milena_group_free. Fails with UNKNOWN_GROUP. */
MilenaError *milena_admin_get_group(MilenaClient *client, const char *group, bool skip_lag, int32_t timeout_ms,
                                    MilenaGroup **ret_group);
void milena_group_free(MilenaGroup *group);

/* Change a group's settings: all of them. A group that does not exist is made. */
MilenaError *milena_admin_update_group(MilenaClient *client, const char *group, const MilenaGroupConfig *config,
                                       bool validate_only, int32_t timeout_ms);
/* Forget a group that has no members. Fails with UNKNOWN_GROUP, GROUP_IN_USE. */
MilenaError *milena_admin_delete_group(MilenaClient *client, const char *group, int32_t timeout_ms);

/* Where a group shall go on. */
typedef struct {
  /* Which partitions; none: everything that the group has committed. partition -1: all of the topic. */
  const MilenaTopicPartition *partitions;
  size_t partition_count;
  /* One of the three: */
  const MilenaPosition *position; /* NULL: not this one */
  int64_t shift;                  /* so many records on, or back; used when the two others are none */
  const MilenaOffset *offsets;    /* exactly these; `partitions` must be none */
  size_t offset_count;
} MilenaOffsetTarget;

/* What became of one partition. */
typedef struct {
  char *topic;
  int32_t partition;
  int64_t before; /* -1: nothing was committed */
  int64_t after;
  MilenaError *error; /* NULL: it was, or would be, done */
} MilenaOffsetChange;

typedef struct {
  MilenaOffsetChange *changes; /* by topic and partition */
  size_t count;
} MilenaOffsetChangeList;

/* Move the committed offsets of a group that has no members.
 *
 * @validate_only: tell what would be done
 * @ret_list: milena_offset_change_list_free; may be NULL
 *
 * Fails with GROUP_IN_USE, INVALID_FIELD; errors of single partitions are in the list. */
MilenaError *milena_admin_reset_offsets(MilenaClient *client, const char *group, const MilenaOffsetTarget *target,
                                        bool validate_only, int32_t timeout_ms, MilenaOffsetChangeList **ret_list);
/* Forget committed offsets. @partitions: partition -1: all of the topic. In the list `before` and `after` are -1. */
MilenaError *milena_admin_delete_offsets(MilenaClient *client, const char *group,
                                         const MilenaTopicPartition *partitions, size_t count, int32_t timeout_ms,
                                         MilenaOffsetChangeList **ret_list);
void milena_offset_change_list_free(MilenaOffsetChangeList *list);

#ifdef __cplusplus
}
#endif

#endif
