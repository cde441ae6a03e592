/* All consumer groups of one partition of __consumer_offsets: members, epochs, assignments, committed offsets.
 *
 * Pure: requests, time and changes of topics go in; records to append and answers come out. The host
 * (services/group_coordinator) owns network, clock, lease and the log. One owner thread.
 *
 *   load:  groups_new ──groups_replay for each record of the partition──► groups_start ──► inputs
 *   serve: inputs, as many as wait ──► groups_turn ──► GroupsOut: records to append in order, answers to send
 *   time:  groups_next_deadline ──► groups_turn, without an input
 *
 * Nothing is told that is not durable: each answer names the last record that it depends on (`after`), and the host
 * sends it once the log has everything up to that record, safe as acks=all. An append that fails, or whose outcome is
 * not known, makes this object worthless: the host answers what it still owes, frees it and loads anew. Any beginning
 * of the stream of records is a state that can be loaded, so a turn's records may travel in several batches.
 *
 * Requests are borrowed for the call only. A request is answered exactly once, in the turn's GroupsOut, with a message
 * of the service's response type or a Failure; unless it was forgotten (groups_forget) or this object is freed first.
 * README.md beside this file explains the rules. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

#include "milena/v1/group_service.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct Groups Groups;

#define GROUPS_NAME_BYTES_MAX 255       /* of a group's id, a member's id, an instance's id */
#define GROUPS_TEXT_BYTES_MAX 255       /* of client_id, client_address, rack */
#define GROUPS_METADATA_BYTES_MAX 4096  /* of a committed offset */
#define GROUPS_PATTERN_BYTES_MAX 1024   /* of topic_pattern */
#define GROUPS_TOPICS_MAX 1000          /* names in one subscription */
#define GROUPS_COMMIT_OFFSETS_MAX 10000 /* partitions in one commit, reset or deletion */
#define GROUPS_PAGE_MAX 1000            /* groups in one page */
/* Members that join one after the other are given their partitions together: after an assignment that a join caused,
 * the next one that only joins ask for comes so much later. Whoever leaves is not waited for. */
#define GROUPS_JOIN_BATCH_MS 50
/* Offsets of topics that are not known when loading ends: our metadata may be behind them, so they are kept so long. */
#define GROUPS_UNKNOWN_TOPIC_MS 60000

/* Who sent a request, in the host's words: any number but 0, and no two of the same at once. */
typedef guint64 GroupsToken;

/* When something happens. */
typedef struct {
  gint64 now_ms;  /* monotonic */
  gint64 wall_ms; /* since 1970 in UTC: for what is kept and told */
} GroupsTime;

/* A topic as the metadata has it. */
typedef struct {
  const char *name; /* borrowed */
  const char *id;   /* borrowed */
  gint32 partition_count;
  gboolean internal; /* Milena's own: patterns don't match it */
} GroupsTopic;

/* What the groups ask their host, at any time within a call. All of it answers from the metadata that the last
 * groups_start or groups_topics_changed told of. */
typedef struct {
  /* The topic of this name; FALSE when there is none. */
  gboolean (*find_topic)(const char *name, GroupsTopic *ret_topic, gpointer data);
  /* Call @func for each topic. */
  void (*each_topic)(void (*func)(const GroupsTopic *topic, gpointer func_data), gpointer func_data, gpointer data);
  /* The rack of the broker that leads the partition, or would; NULL when it is not known. May be NULL. */
  const char *(*leader_rack)(const char *topic, gint32 partition, gpointer data);
  /* The partition's end, if it happens to be known: commits beyond it are refused. May be NULL. */
  gboolean (*high_watermark)(const char *topic_id, gint32 partition, gint64 *ret_offset, gpointer data);
  /* A new random UUID, as text; owned by the caller. */
  char *(*new_id)(gpointer data);
  gpointer data;
} GroupsHost;

/* @host: copied; what it points to must outlive the groups */
Groups *groups_new(const GroupsHost *host);
/* What was not answered never is. NULL is fine. */
void groups_free(Groups *groups);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Groups, groups_free)

/* ---- loading ---- */

/* One record of the partition, in the order of the log, compacted or not. A tombstone has @value NULL.
 *
 * @ret_fence_epoch: may be NULL; a fence's lease epoch, else 0
 *
 * Returns NULL; UNSUPPORTED for a record that is newer than this program; CORRUPT_LOG, also for a fence that is older
 * than one before it. Then the partition can't be served. */
Failure *groups_replay(Groups *groups, GBytes *key, GBytes *value, gint64 offset, guint32 *ret_fence_epoch);
/* The fence that a new owner of the partition's lease appends before it loads: loading ends where it is met.
 *
 * @ret_key, @ret_value: owned by the caller */
void groups_encode_fence(guint32 lease_epoch, gint32 coordinator_id, gint64 wall_ms, GBytes **ret_key,
                         GBytes **ret_value);
/* The highest lease epoch of a fence that was replayed; 0: none. */
guint32 groups_fence_epoch(const Groups *groups);
/* Everything is loaded: every member gets a whole session from now on. Only now inputs may come. */
void groups_start(Groups *groups, GroupsTime time);

/* ---- inputs: requests ---- */

/* @client_address: where it comes from, for people; NULL when it is not known */
void groups_heartbeat(Groups *groups, GroupsToken token, const Milena__V1__HeartbeatRequest *request,
                      const char *client_address, GroupsTime time);
void groups_commit(Groups *groups, GroupsToken token, const Milena__V1__CommitOffsetsRequest *request, GroupsTime time);
void groups_fetch_offsets(Groups *groups, GroupsToken token, const Milena__V1__FetchOffsetsRequest *request);
/* One page of this partition's groups, in the order of their names (strcmp): ListGroupsResponse, without
 * coordinator_id; next_page_token is the last name of the page, empty when it is the last page. The host puts
 * partitions together and makes tokens that outsiders may see.
 *
 * @after: groups behind this name; NULL: from the first
 * @states: NULL with @state_count 0: all */
void groups_list(Groups *groups, GroupsToken token, const char *after, guint limit,
                 const Milena__V1__GroupState *states, gsize state_count);
/* GetGroupResponse without coordinator, high watermarks and lag: these are the host's to fill in. */
void groups_get(Groups *groups, GroupsToken token, const Milena__V1__GetGroupRequest *request);
void groups_update(Groups *groups, GroupsToken token, const Milena__V1__UpdateGroupRequest *request, GroupsTime time);
void groups_delete_offsets(Groups *groups, GroupsToken token, const Milena__V1__DeleteOffsetsRequest *request,
                           GroupsTime time);
void groups_delete(Groups *groups, GroupsToken token, const Milena__V1__DeleteGroupRequest *request, GroupsTime time);

/* A partition whose offset is to be reset. Strings are owned by the array that it is in. */
typedef struct {
  char *topic, *topic_id;
  gint32 partition;
  gint64 committed; /* before; -1: nothing is */

  /* The host's to fill in; the plan sets the offsets to -1. */
  gint64 log_start, high_watermark;
  gint64 offset;    /* where the request's position is; for a shift and for explicit offsets it stays -1 */
  Failure *failure; /* why the partition can't be asked; owned by the array. The plan sets it for what can't be reset */
} GroupsReset;

/* What ResetOffsets is about, so that the host can ask the leaders for their offsets; changes nothing.
 *
 * @ret_resets: GroupsReset in the order of topic and partition; owned by the caller (g_array_unref frees all of it)
 *
 * Returns NULL, or why the request is refused: INVALID_FIELD, UNKNOWN_GROUP, GROUP_IN_USE. */
Failure *groups_plan_reset(Groups *groups, const Milena__V1__ResetOffsetsRequest *request, GArray **ret_resets);
/* Set what the plan and the host's offsets say: ResetOffsetsResponse. Checked again: the group may have changed since.
 *
 * @resets: from groups_plan_reset of the same request, filled in; borrowed */
void groups_reset(Groups *groups, GroupsToken token, const Milena__V1__ResetOffsetsRequest *request,
                  const GArray *resets, GroupsTime time);

/* Nobody waits for this answer any more: a held heartbeat lets go of it. What was decided stays. */
void groups_forget(Groups *groups, GroupsToken token);

/* ---- inputs: the world ---- */

/* Topics were created, deleted, made anew or given more partitions; the host's find_topic knows already.
 *
 * @names: those that changed: no need to tell changes of leaders or settings */
void groups_topics_changed(Groups *groups, const char *const *names, gsize count, GroupsTime time);

/* ---- outputs ---- */

/* A record to append. */
typedef struct {
  guint64 number;      /* from 1, without gaps */
  GBytes *key, *value; /* value NULL: a tombstone */
} GroupsRecord;

/* An answer to send once the records up to `after` are durable. */
typedef struct {
  GroupsToken token;
  guint64 after;              /* number of a record, perhaps of an earlier turn; 0: none */
  ProtobufCMessage *response; /* of the service's type; owned */
  Failure *failure;           /* or this; owned. Exactly one of the two is set */
} GroupsAnswer;

/* What a turn gives. Both arrays own what is in them: steal fields (set them to NULL) or let groups_out_clear free. */
typedef struct {
  GArray *records; /* GroupsRecord, in the order to append */
  GArray *answers; /* GroupsAnswer, `after` never falls */
} GroupsOut;

void groups_out_init(GroupsOut *out);
/* Empty both arrays; they can be used again. */
void groups_out_reset(GroupsOut *out);
void groups_out_clear(GroupsOut *out);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GroupsOut, groups_out_clear)

/* End a batch of inputs: time-outs are looked at, assignments made once for all that joined and left, partitions given
 * on, held heartbeats answered. To be called after every batch of inputs, and at the deadline.
 *
 * @out: initialised; records and answers are added */
void groups_turn(Groups *groups, GroupsTime time, GroupsOut *out);
/* When the next turn is due without an input, monotonic milliseconds; G_MAXINT64: never. */
gint64 groups_next_deadline(const Groups *groups);

/* ---- state, for the host's own needs; it may not be durable yet ---- */

guint groups_count(const Groups *groups);
guint groups_member_count(const Groups *groups);
/* Heartbeats that are held. */
guint groups_held_count(const Groups *groups);
/* Where this member starts without a committed offset; UNSPECIFIED for whom nobody knows. */
Milena__V1__OffsetReset groups_offset_reset(const Groups *groups, const char *group, const char *member_id);

G_END_DECLS
