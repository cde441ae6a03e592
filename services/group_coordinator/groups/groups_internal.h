/* What the files of this folder share. groups.h has the contract, README.md the rules. */
#pragma once

#include "milena/internal/v1/group_log.pb-c.h"
#include "services/base/invariant.h"
#include "services/group_coordinator/groups/groups.h"
#include "services/group_coordinator/groups/parts.h"
#include "services/group_coordinator/groups/record.h"
#include "services/group_coordinator/groups/timer.h"

G_BEGIN_DECLS

typedef struct Group Group;
typedef struct GroupsMember GroupsMember;

/* ---- topics (topics.c) ---- */

/* A topic that some group reads or has committed: one incarnation of it. */
typedef struct {
  guint32 number; /* never given twice */
  char *name, *id;
  gint32 partition_count;
  gboolean known; /* the metadata has it */
} GroupsKnownTopic;

/* A pattern that some subscription has, shared by all of them. */
typedef struct {
  char *text;
  GRegex *regex;
  GHashTable *matched; /* names */
  gboolean exceeded;   /* a name could not be matched within the limit, so it counts as none */
  guint refs;
} GroupsPattern;

/* What members want to read, shared by all of a group who want the same. */
typedef struct {
  char *key;              /* in the group's table */
  char **names;           /* sorted, none twice */
  GroupsPattern *pattern; /* or NULL */
  guint refs;
} GroupsSubscription;

/* ---- groups ---- */

typedef struct {
  gint64 session_timeout_ms, heartbeat_interval_ms, offsets_retention_ms;
  Milena__V1__Assignor assignor;
  guint max_members;
} GroupsSettings;

typedef struct {
  char *topic; /* as it was committed: the name outlives what the metadata knows */
  gint64 offset;
  gint32 leader_epoch;
  char *metadata;
  gint64 commit_ms;
} GroupsOffset;

/* A partition that a member may read. */
typedef struct {
  GroupsPart part;
  guint32 since;          /* the member's epoch when it got it */
  guint32 revoked;        /* revoking: version of the assignment that asked for it */
  gint64 revoke_until_ms; /* revoking: monotonic; G_MAXINT64: the member has not been told yet */
} GroupsHold;

struct Group {
  Groups *all;
  char *name;
  guint32 epoch, assignment_epoch;
  gboolean has_settings;   /* somebody gave them */
  GroupsSettings settings; /* with defaults filled in */
  gint64 empty_since_ms;   /* wall clock; 0: there are members, or never were */
  gint64 last_commit_ms;   /* wall clock */
  gboolean recorded;       /* its record is in the log, or on its way */

  GHashTable *members;        /* id → GroupsMember, owned */
  GHashTable *instances;      /* instance id → GroupsMember */
  GHashTable *owners;         /* part → the member that may read it: every hold of every member, each once */
  GHashTable *wanted;         /* part → the member that shall have it */
  GHashTable *offsets;        /* part → GroupsOffset, owned */
  GHashTable *subscriptions;  /* key → GroupsSubscription, owned */
  GHashTable *loaded_members; /* while loading: id → GroupMemberValue, owned; else NULL */
  GHashTable *loaded_targets; /* while loading: id → GroupTargetValue, owned; else NULL */
  gboolean whole;             /* loaded: all targets are of one assignment */
  guint unsettled;            /* members that don't have exactly what they shall */

  /* The next assignment. */
  gboolean dirty;      /* it is to be made anew */
  gboolean changed;    /* dirty: members or settings changed; else only what is made tells whether there is a new one */
  gint64 assign_at_ms; /* dirty: not before; monotonic */
  gint64 join_window_ms; /* end of the time in which joins are put together */
  gboolean joined;       /* dirty: somebody joined */
  char *next_reason;     /* dirty: why */
  guint reasons;         /* how many things it puts together */
  char *reason;          /* why the last assignment was made */
  gint64 assigned_ms;    /* when; wall clock */

  GroupsTimer assign_timer, expiry_timer;
};

struct GroupsMember {
  Group *group;
  char *id, *instance_id, *client_id, *client_address, *rack; /* "" for none, never NULL */
  GroupsSubscription *subscription;
  gint64 rebalance_timeout_ms;
  Milena__V1__OffsetReset offset_reset;
  guint32 epoch;    /* 0: it joined, and has no target yet */
  guint32 previous; /* what it used before it was told `epoch`; 0: none */
  guint32 used;     /* epoch of its last heartbeat */
  guint32 version;  /* of its assignment */
  guint32 told;     /* version that it was told last; 0: none, or not known */
  GArray *assigned; /* GroupsHold, by part */
  GArray *revoking; /* GroupsHold, by part */
  GArray *target;   /* parts */
  GArray *reported; /* parts that it says it owns; NULL: it did not say yet, as far as is known */
  gboolean placed;  /* it has a target, if an empty one */
  gboolean away, settled;
  gint64 last_heartbeat_ms; /* wall clock; 0: none since loading */
  gint64 waits_since_ms;    /* not settled: since when; wall clock */
  char *news;               /* why its assignment changed last, for its next answer; NULL: nothing */

  /* The heartbeat that is held. */
  GroupsToken token; /* 0: none */
  gboolean tell_all;
  guint32 poll_epoch, poll_version; /* what the request said */

  GList look_link; /* in groups->look while `looking` */
  gboolean looking;
  GroupsTimer session, revoke, hold;
};

struct Groups {
  GroupsHost host;
  GroupsTime time; /* of the latest input */
  gboolean started;
  guint32 fence_epoch;
  guint member_count;
  GTree *by_name;           /* name → Group, owned; strcmp */
  GHashTable *topics_by_id; /* id → GroupsKnownTopic */
  GHashTable *topics;       /* number → GroupsKnownTopic, owned */
  GHashTable *patterns;     /* text → GroupsPattern */
  GHashTable *held;         /* token → GroupsMember */
  guint32 last_topic_number;
  gint64 forget_unknown_at_ms; /* topics that are still unknown go then; G_MAXINT64: they went */

  GroupsTimers sessions, revokes, holds, assigns, expiries;
  GQueue look;         /* members to look at in this turn */
  GArray *records;     /* GroupsRecord: of this turn */
  GArray *answers;     /* GroupsAnswer: of this turn */
  guint64 last_record; /* its number */
};

/* ---- groups.c ---- */

Group *groups_find(const Groups *groups, const char *name);
/* Found, or made. */
Group *groups_ensure(Groups *groups, const char *name);
/* It must have no members; its records are the caller's. */
void groups_drop(Group *group);
void groups_settings_default(GroupsSettings *settings);
Milena__V1__GroupState groups_state(const Group *group);
void groups_append(Groups *groups, GroupsRecordKind kind, const Group *group, const char *name, gint32 partition,
                   const ProtobufCMessage *value);
/* @response: taken. */
void groups_answer(Groups *groups, GroupsToken token, gpointer response);
/* @failure: taken. */
void groups_refuse(Groups *groups, GroupsToken token, Failure *failure);

/* For g_ptr_array_sort of strings. */
int groups_compare_strings(gconstpointer a, gconstpointer b);

/* ---- check.c: what requests may say ---- */

Failure *groups_check_group(const char *name);
/* @what: "member_id"; @required: empty is refused */
Failure *groups_check_name(const char *field, const char *text, gboolean required);
Failure *groups_check_heartbeat(const Milena__V1__HeartbeatRequest *request);
Failure *groups_check_settings(const Milena__V1__GroupConfig *config, GroupsSettings *ret_settings);
gboolean groups_topic_name_is_valid(const char *name);

/* ---- topics.c ---- */

GroupsKnownTopic *groups_topic_number(const Groups *groups, guint32 number);
/* The topic of this incarnation, made known if need be. */
GroupsKnownTopic *groups_topic_intern(Groups *groups, const char *name, const char *id, gint32 at_least_partitions);
/* As the metadata has it now, interned; NULL: there is none of this name. */
GroupsKnownTopic *groups_topic_current(Groups *groups, const char *name);
/* The topic of this name, which must have this id if one is given; or why not. */
Failure *groups_topic_pinned(Groups *groups, const char *name, const char *id, GroupsKnownTopic **ret_topic);
void groups_topics_free(Groups *groups);
/* Look all interned topics up. */
void groups_topics_refresh(Groups *groups);
/* What is still unknown is gone. */
void groups_topics_forget_unknown(Groups *groups);

/* ---- subscription.c ---- */

/* These names changed in the metadata: what do the patterns match now? */
void groups_patterns_update(Groups *groups, const char *const *names, gsize count);
/* @ret_subscription: with one reference */
Failure *groups_subscription_get(Group *group, const Milena__V1__GroupSubscription *request,
                                 GroupsSubscription **ret_subscription);
/* From the log: what can't be compiled any more matches nothing. */
GroupsSubscription *groups_subscription_restore(Group *group, char **names, gsize name_count, const char *pattern);
void groups_subscription_unref(Group *group, GroupsSubscription *subscription);
gboolean groups_subscription_wants(const GroupsSubscription *subscription, const char *topic);

/* ---- member.c: who is in a group ---- */

GroupsMember *groups_member_new(Group *group, const char *id);
GroupsMember *groups_member_find(const Group *group, const char *id);
/* Free, without records: what it held is nobody's then. */
void groups_member_free(gpointer member);
/* It is out: its records go, its partitions are free, a held heartbeat is answered with @failure (taken). */
void groups_member_remove(GroupsMember *member, Failure *failure, const char *reason);
/* A whole session from now. */
void groups_member_touch(GroupsMember *member);
void groups_member_set_instance(GroupsMember *member, const char *instance_id);

/* ---- heartbeat.c, join.c ---- */

/* Time-outs that members let pass. */
void groups_heartbeat_expire(Groups *groups);
/* What a request says about its member: kept, and noted whether the record is to be written. Nothing changes on
 * failure. */
Failure *groups_heartbeat_apply(GroupsMember *member, const Milena__V1__HeartbeatRequest *request,
                                const char *client_address, gboolean *ret_write);
Failure *groups_join(Groups *groups, GroupsToken token, const Milena__V1__HeartbeatRequest *request,
                     const char *client_address);

/* ---- poll.c: heartbeats that are held, and what they are answered ---- */

void groups_poll_hold(GroupsMember *member, GroupsToken token, const Milena__V1__HeartbeatRequest *request);
/* Nobody is answered any more by it. */
void groups_poll_drop(GroupsMember *member);
/* Look at this member at the end of this turn. */
void groups_look_at(GroupsMember *member);
/* All that are to be looked at, and holds that are over. */
void groups_poll_turn(Groups *groups);

/* ---- target.c: who shall read what ---- */

/* The group needs a new assignment.
 * @by_join: it may wait for others who join */
void groups_target_dirty(Group *group, gboolean by_join, const char *reason, ...) G_GNUC_PRINTF(3, 4);
/* Topics changed, or may have: the group needs a new assignment if it comes out differently.
 * @at_ms: not before, monotonic */
void groups_target_check(Group *group, gint64 at_ms, const char *reason, ...) G_GNUC_PRINTF(3, 4);
/* All groups whose assignment is due. */
void groups_target_turn(Groups *groups);
void groups_target_set(GroupsMember *member, GArray *parts);

/* ---- reconcile.c: what a member has, on its way to what it shall have ---- */

/* One step, in an answer to it. Returns TRUE when its epoch or its assignment changed: its record is written. */
gboolean groups_reconcile(GroupsMember *member);
/* It says that it owns @owned (sorted parts), having heard of @version. Returns TRUE when it gave something up; its
 * record is not written yet. */
gboolean groups_reconcile_owned(GroupsMember *member, const GArray *owned, guint32 version);
/* It reads nothing now: what it shall not keep is free at once. Returns TRUE when anything was; no record yet. */
gboolean groups_reconcile_idle(GroupsMember *member);
/* It holds nothing any more. */
void groups_reconcile_release_all(GroupsMember *member);
/* Every hold of topics that are gone. */
void groups_reconcile_drop_topic(GroupsMember *member, const GroupsKnownTopic *topic);
void groups_reconcile_settle(GroupsMember *member);
/* Its revocation was told: the time for it runs. */
void groups_reconcile_told(GroupsMember *member);
GroupsHold *groups_holds_find(const GArray *holds, GroupsPart part);
GArray *groups_holds_parts(const GArray *holds);
guint groups_member_pending(const GroupsMember *member);

/* ---- find.c: what requests name. Results are untouched on failure ---- */

/* UNKNOWN_GROUP when there is none. */
Failure *groups_find_or_refuse(const Groups *groups, const char *name, Group **ret_group);
/* UNKNOWN_MEMBER when group or member is not there. */
Failure *groups_member_or_refuse(const Groups *groups, const char *group_name, const char *id,
                                 GroupsMember **ret_member);
/* That refusal. */
Failure *groups_unknown_member(const char *group_name, const char *id);
/* A topic that a request names, among what the group has committed and what the metadata has. */
Failure *groups_offset_topic(Groups *groups, Group *group, const char *name, const char *id,
                             GroupsKnownTopic **ret_topic);
/* UNKNOWN_PARTITION beyond those of the topic. */
Failure *groups_check_partition(const GroupsKnownTopic *topic, gint32 partition);

/* ---- offsets.c ---- */

void groups_offset_free(gpointer offset);
/* Set, and write. @metadata: copied */
void groups_offset_put(Group *group, const GroupsKnownTopic *topic, gint32 partition, const GroupsOffset *offset);
void groups_offset_delete(Group *group, GroupsPart part);
Milena__V1__CommittedOffset *groups_offset_message(const GroupsOffset *offset);
/* Partitions of @topics, in their order; all that is committed of a topic without partitions. */
Failure *groups_offset_select(Groups *groups, Group *group, Milena__V1__TopicPartitions *const *topics, gsize count,
                              GArray *parts);

/* ---- expiry.c: empty groups and their offsets ---- */

/* Set the timer by which the group may end. */
void groups_expiry_arm(Group *group);
void groups_expiry_turn(Groups *groups);
/* It is gone with all that it has committed: records too. */
void groups_expiry_end(Group *group);

/* ---- write.c: records of what is in memory ---- */

void groups_write_group(Group *group);
void groups_write_member(GroupsMember *member);
void groups_write_target(GroupsMember *member, guint32 epoch);

/* ---- tell.c, describe.c ---- */

/* By the names of their topics, then by partition. */
void groups_parts_sort_by_name(const Groups *groups, GArray *parts);
/* Parts by topic, by name; @ret_count topics; owned by the caller. */
Milena__V1__TopicPartitions **groups_tell_parts(const Groups *groups, const GArray *parts, gsize *ret_count);
Milena__V1__HeartbeatResponse *groups_tell_member(GroupsMember *member, gboolean assignment);
Google__Protobuf__Duration *groups_tell_duration(gint64 ms);
Milena__V1__GroupConfig *groups_tell_settings(const GroupsSettings *settings);
char *groups_describe_parts(const Groups *groups, const GArray *parts);
char *groups_describe_member(const GroupsMember *member);
/* By id; borrowed pointers. */
GPtrArray *groups_members_sorted(const Group *group);
/* Sentences. */
GPtrArray *groups_describe_group(const Group *group);
/* "45 s", "5 min" */
char *groups_describe_duration(gint64 ms);

G_END_DECLS
