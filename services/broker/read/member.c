/* A stream's membership: see member.h for the states.
 *
 * Invariants
 *   1. At most one change is not acknowledged; `told_us` is when it was sent.
 *   2. Partitions in `by_key` are not GONE, and have keys of their own; all are in `partitions`.
 *   3. What the member says it owns is OWNED and LOST: it gives up nothing before the client has.
 *   4. A partition that was lost and comes back is taken from an assignment that was asked for after the client had
 *      acknowledged the loss: so its start is what was committed last.
 *   5. Fenced: the epoch is 0, nothing is WANTED or assigned, and no heartbeat is wanted until all that was owned was
 *      told and acknowledged; then the member joins anew, with its id.
 * Failure modes: a coordinator that does not answer changes nothing here, and is asked again; a member that the
 * coordinator does not know any more is fenced; every other refusal ends the stream.
 * Thread: the owner's. */
#include "services/broker/read/member.h"

#include <string.h>

#include "services/base/invariant.h"
#include "services/base/times.h"

/* As long as a coordinator does not say. */
#define INTERVAL_DEFAULT_MS 3000
/* Between heartbeats when one failed, or was answered at once although it could have waited. */
#define PAUSE_US ((gint64)250 * 1000)
#define REBALANCE_DEFAULT_MS ((gint64)5 * 60 * 1000)

struct Member {
  const Milena__V1__SubscribeInit *init;
  char *id, *rack;
  guint32 epoch;
  guint32 version;     /* of the last assignment */
  gboolean was_member; /* it joined once */
  gboolean fenced;
  Milena__V1__OffsetReset offset_reset;

  gint64 interval_ms;
  gint64 due_us;       /* of the next heartbeat, while none is under way */
  gboolean beating;    /* one is under way ... */
  gint64 beat_us;      /* ... since */
  gboolean beat_holds; /* ... and may be held */
  gboolean beat_owns;  /* ... and says what the member owns */
  gboolean news;       /* there is something to say that it does not */
  gboolean owned_is_news;
  gboolean tell; /* ask for the whole assignment */

  guint64 change_id; /* of the last change */
  gboolean unacknowledged;
  gint64 told_us;
  char *explanation;
  GHashTable *by_key; /* "topic id/partition" to MemberPartition */
  GPtrArray *partitions;
};

/* ---- life ---- */

static void partition_free(gpointer data) {
  MemberPartition *partition = data;
  g_free(partition->topic);
  g_free(partition->topic_id);
  g_free(partition);
}

static char *key_new(const char *topic_id, gint32 partition) {
  return g_strdup_printf("%s/%d", topic_id, partition);
}

static const Milena__V1__SubscribeMembership *wants(const Member *member) {
  return member->init->membership;
}

Member *member_new(const Milena__V1__SubscribeInit *init, const char *id, const char *rack) {
  Member *member = g_new0(Member, 1);
  member->init = init;
  member->id = g_strdup(*init->membership->member_id != '\0' ? init->membership->member_id : id);
  member->rack = g_strdup(*init->membership->rack != '\0' ? init->membership->rack : rack);
  member->offset_reset = init->membership->offset_reset;
  member->interval_ms = INTERVAL_DEFAULT_MS;
  member->explanation = g_strdup("");
  member->by_key = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  member->partitions = g_ptr_array_new_with_free_func(partition_free);
  return member;
}

void member_free(Member *member) {
  if (member == NULL)
    return;
  g_hash_table_unref(member->by_key);
  g_ptr_array_unref(member->partitions);
  g_free(member->explanation);
  g_free(member->id);
  g_free(member->rack);
  g_free(member);
}

const char *member_group(const Member *member) {
  return member->init->group;
}

const char *member_id(const Member *member) {
  return member->id;
}

guint32 member_epoch(const Member *member) {
  return member->epoch;
}

Milena__V1__OffsetReset member_offset_reset(const Member *member) {
  gboolean is_said = member->offset_reset != MILENA__V1__OFFSET_RESET__OFFSET_RESET_UNSPECIFIED;
  return is_said ? member->offset_reset : MILENA__V1__OFFSET_RESET__OFFSET_RESET_LATEST;
}

gboolean member_is_fenced(const Member *member) {
  return member->fenced;
}

GPtrArray *member_partitions(Member *member) {
  return member->partitions;
}

/* ---- partitions ---- */

static void partition_go(Member *member, MemberPartition *partition) {
  g_autofree char *key = key_new(partition->topic_id, partition->partition);
  g_hash_table_remove(member->by_key, key);
  partition->state = MEMBER_GONE;
}

void member_sweep(Member *member) {
  for (guint i = member->partitions->len; i-- > 0;) {
    const MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    INVARIANT(partition->state != MEMBER_GONE || partition->reader == NULL, "a partition outlives its reader");
    if (partition->state == MEMBER_GONE)
      g_ptr_array_remove_index_fast(member->partitions, i);
  }
}

void member_start_found(Member *member, MemberPartition *partition, gint64 start) {
  (void)member;
  partition->start = start;
  partition->start_known = TRUE;
}

static MemberPartition *partition_new(Member *member, const Milena__V1__AssignedTopic *topic, gint32 number) {
  MemberPartition *partition = g_new0(MemberPartition, 1);
  partition->topic = g_strdup(topic->topic);
  partition->topic_id = g_strdup(topic->topic_id);
  partition->partition = number;
  partition->start = -1;
  g_ptr_array_add(member->partitions, partition);
  g_hash_table_insert(member->by_key, key_new(topic->topic_id, number), partition);
  return partition;
}

static void assign_one(Member *member, const Milena__V1__AssignedTopic *topic,
                       const Milena__V1__AssignedPartition *assigned) {
  g_autofree char *key = key_new(topic->topic_id, assigned->partition);
  MemberPartition *partition = g_hash_table_lookup(member->by_key, key);
  if (partition == NULL)
    partition = partition_new(member, topic, assigned->partition);
  partition->assigned = TRUE;
  if (partition->state != MEMBER_WANTED)
    return;
  if (assigned->committed != NULL) {
    partition->committed = TRUE;
    member_start_found(member, partition, assigned->committed->offset);
  } else if (member_offset_reset(member) == MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE) {
    member_start_found(member, partition, -1);
  }
}

static void unassign_all(Member *member) {
  for (guint i = 0; i < member->partitions->len; i++)
    ((MemberPartition *)g_ptr_array_index(member->partitions, i))->assigned = FALSE;
}

/* What the client never heard of needs no telling. */
static void drop_unwanted(Member *member) {
  for (guint i = 0; i < member->partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    if (partition->state == MEMBER_WANTED && !partition->assigned)
      partition_go(member, partition);
  }
}

static void assign(Member *member, const Milena__V1__Assignment *assignment) {
  unassign_all(member);
  member->owned_is_news |= member->version != assignment->version; /* each is answered, even if nothing is to be told */
  member->version = assignment->version;
  for (gsize i = 0; i < assignment->n_topics; i++)
    for (gsize j = 0; j < assignment->topics[i]->n_partitions; j++)
      assign_one(member, assignment->topics[i], assignment->topics[i]->partitions[j]);
  drop_unwanted(member);
}

/* ---- fencing ---- */

/* Once the client knows of all that it lost. */
static void rejoin_when_done(Member *member, gint64 now_us) {
  if (!member->fenced || g_hash_table_size(member->by_key) > 0)
    return;
  member->fenced = FALSE;
  member->due_us = now_us;
}

static void fence(Member *member, const Failure *failure, gint64 now_us) {
  member->fenced = TRUE;
  member->epoch = member->version = 0;
  member->news = FALSE;
  unassign_all(member);
  drop_unwanted(member);
  g_free(member->explanation);
  member->explanation = g_strdup(failure_message(failure));
  rejoin_when_done(member, now_us);
}

/* ---- heartbeats ---- */

gint64 member_heartbeat_due_us(const Member *member) {
  if (member->fenced)
    return G_MAXINT64;
  if (!member->beating)
    return member->due_us;
  return member->news ? 0 : G_MAXINT64;
}

static gint by_topic(gconstpointer a, gconstpointer b) {
  const MemberPartition *one = *(MemberPartition *const *)a, *other = *(MemberPartition *const *)b;
  int order = strcmp(one->topic_id, other->topic_id);
  return order != 0 ? order : (one->partition > other->partition) - (one->partition < other->partition);
}

static gboolean is_owned(const MemberPartition *partition) {
  return partition->state == MEMBER_OWNED || partition->state == MEMBER_LOST;
}

static Milena__V1__OwnedPartitions *owned_new(const Member *member, ReadMemory *memory) {
  g_autoptr(GPtrArray) owned = g_ptr_array_new();
  for (guint i = 0; i < member->partitions->len; i++)
    if (is_owned(g_ptr_array_index(member->partitions, i)))
      g_ptr_array_add(owned, g_ptr_array_index(member->partitions, i));
  g_ptr_array_sort(owned, by_topic);
  Milena__V1__OwnedPartitions *message = read_memory_alloc(memory, sizeof *message);
  milena__v1__owned_partitions__init(message);
  message->topics = member_topics(owned, memory, &message->n_topics);
  return message;
}

/* What a join says. */
static void fill_join(const Member *member, Milena__V1__HeartbeatRequest *request, ReadMemory *memory) {
  const Milena__V1__SubscribeMembership *membership = wants(member);
  request->client_id = membership->client_id;
  request->rack = read_memory_string(memory, member->rack);
  request->subscription = membership->subscription;
  request->rebalance_timeout = membership->rebalance_timeout;
  request->offset_reset = member_offset_reset(member);
}

static Milena__V1__HeartbeatRequest *request_new(const Member *member, ReadMemory *memory) {
  Milena__V1__HeartbeatRequest *request = read_memory_alloc(memory, sizeof *request);
  milena__v1__heartbeat_request__init(request);
  request->group = member->init->group;
  request->member_id = read_memory_string(memory, member->id);
  request->member_epoch = member->epoch;
  request->assignment_version = member->version;
  request->instance_id = wants(member)->instance_id;
  return request;
}

Milena__V1__HeartbeatRequest *member_heartbeat(Member *member, gint64 now_us, ReadMemory *memory) {
  INVARIANT(!member->fenced, "a fenced member is silent");
  Milena__V1__HeartbeatRequest *request = request_new(member, memory);
  gboolean joins = member->epoch == 0;
  if (joins)
    fill_join(member, request, memory);
  request->tell_assignment = member->tell || member->beating; /* the answer of the one under way is lost */
  member->beat_owns = joins || member->owned_is_news;
  if (member->beat_owns)
    request->owned = owned_new(member, memory);
  member->beat_holds = !joins && !request->tell_assignment;
  if (member->beat_holds) {
    request->max_wait = read_memory_alloc(memory, sizeof *request->max_wait);
    times_duration_set(request->max_wait, member->interval_ms);
  }
  member->tell = request->tell_assignment;
  member->beating = TRUE;
  member->beat_us = now_us;
  member->news = FALSE;
  return request;
}

void member_heartbeat_answered(Member *member, const Milena__V1__HeartbeatResponse *response, gint64 now_us) {
  INVARIANT(member->beating, "an answer belongs to a heartbeat");
  gboolean hasty =
      member->beat_holds && response->assignment == NULL && !member->beat_owns && now_us - member->beat_us < PAUSE_US;
  member->beating = FALSE;
  member->tell = FALSE;
  member->owned_is_news = member->owned_is_news && !member->beat_owns;
  member->due_us = hasty ? now_us + PAUSE_US : now_us;
  if (response->member_epoch == 0) {
    g_autoptr(Failure) failure = failure_new(FAILURE(UNKNOWN_MEMBER), "the coordinator let the member go");
    fence(member, failure, now_us);
    return;
  }
  member->epoch = response->member_epoch;
  member->was_member = TRUE;
  gint64 interval_ms = response->heartbeat_interval ? times_duration_ms(response->heartbeat_interval, 0) : 0;
  if (interval_ms > 0)
    member->interval_ms = interval_ms;
  if (response->offset_reset != MILENA__V1__OFFSET_RESET__OFFSET_RESET_UNSPECIFIED)
    member->offset_reset = response->offset_reset;
  if (*response->explanation != '\0') {
    g_free(member->explanation);
    member->explanation = g_strdup(response->explanation);
  }
  if (response->assignment != NULL)
    assign(member, response->assignment);
}

/* No word from the coordinator about the member: it may be one still. */
static gboolean says_nothing(const Failure *failure) {
  switch (failure_reason(failure)) {
  case FAILURE(UNKNOWN_OUTCOME):
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
    return TRUE;
  default:
    return failure_is_retriable(failure);
  }
}

/* The member is not one any more, and may join anew. Not so when it has an instance_id and is fenced: then another
 * process has come with the same, and the two would go on fencing each other. */
static gboolean says_fenced(const Member *member, const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  gboolean is_static = *wants(member)->instance_id != '\0';
  return member->epoch > 0 && (reason == FAILURE(UNKNOWN_MEMBER) || reason == FAILURE(UNKNOWN_GROUP) ||
                               (reason == FAILURE(FENCED) && !is_static));
}

Failure *member_heartbeat_failed(Member *member, const Failure *failure, gint64 now_us) {
  INVARIANT(member->beating, "a failure belongs to a heartbeat");
  member->beating = FALSE;
  member->tell = TRUE;
  member->due_us = now_us + PAUSE_US;
  if (says_fenced(member, failure)) {
    fence(member, failure, now_us);
    return NULL;
  }
  return member->was_member && says_nothing(failure) ? NULL : failure_copy(failure);
}

Milena__V1__HeartbeatRequest *member_leave(const Member *member, gboolean for_good, ReadMemory *memory) {
  if (member->epoch == 0)
    return NULL;
  Milena__V1__HeartbeatRequest *request = request_new(member, memory);
  gboolean returns = !for_good && *wants(member)->instance_id != '\0';
  request->leave = returns ? MILENA__V1__LEAVE__LEAVE_TO_RETURN : MILENA__V1__LEAVE__LEAVE_FOR_GOOD;
  return request;
}

/* ---- what the client is told ---- */

/* Sort the partitions that are to be told. Returns whether something is waited for before telling what is gained. */
static gboolean collect(const Member *member, MemberChange *change) {
  gboolean waits = FALSE;
  for (guint i = 0; i < member->partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    if (partition->state == MEMBER_WANTED && partition->start_known)
      g_ptr_array_add(change->gained, partition);
    else if (partition->state == MEMBER_WANTED)
      waits |= !partition->late;
    else if (partition->state == MEMBER_OWNED && !partition->assigned)
      g_ptr_array_add(change->lost, partition);
  }
  g_ptr_array_sort(change->gained, by_topic);
  g_ptr_array_sort(change->lost, by_topic);
  return waits;
}

static void set_states(GPtrArray *partitions, MemberPartitionState state) {
  for (guint i = 0; i < partitions->len; i++)
    ((MemberPartition *)g_ptr_array_index(partitions, i))->state = state;
}

gboolean member_next_change(Member *member, gint64 now_us, MemberChange *ret_change) {
  if (member->unacknowledged)
    return FALSE;
  MemberChange change = {.gained = g_ptr_array_new(), .lost = g_ptr_array_new()};
  gboolean waits = collect(member, &change);
  if (change.lost->len == 0 && (waits || change.gained->len == 0)) {
    member_change_clear(&change);
    return FALSE;
  }
  set_states(change.gained, MEMBER_GAINED);
  set_states(change.lost, MEMBER_LOST);
  change.id = ++member->change_id;
  change.fenced = member->fenced;
  change.explanation = member->explanation;
  member->unacknowledged = TRUE;
  member->told_us = now_us;
  *ret_change = change;
  return TRUE;
}

Milena__V1__TopicPartitions **member_topics(const GPtrArray *sorted, ReadMemory *memory, gsize *ret_count) {
  Milena__V1__TopicPartitions **topics = read_memory_alloc(memory, sorted->len * sizeof *topics);
  gint32 *numbers = read_memory_alloc(memory, sorted->len * sizeof *numbers);
  gsize count = 0;
  for (guint i = 0; i < sorted->len; i++) {
    const MemberPartition *partition = g_ptr_array_index(sorted, i);
    numbers[i] = partition->partition;
    if (count == 0 || strcmp(topics[count - 1]->topic_id, partition->topic_id) != 0) {
      Milena__V1__TopicPartitions *topic = read_memory_alloc(memory, sizeof *topic);
      milena__v1__topic_partitions__init(topic);
      topic->topic = read_memory_string(memory, partition->topic);
      topic->topic_id = read_memory_string(memory, partition->topic_id);
      topic->partitions = &numbers[i];
      topics[count++] = topic;
    }
    topics[count - 1]->n_partitions++;
  }
  *ret_count = count;
  return topics;
}

void member_change_clear(MemberChange *change) {
  g_clear_pointer(&change->gained, g_ptr_array_unref);
  g_clear_pointer(&change->lost, g_ptr_array_unref);
}

Failure *member_acknowledge(Member *member, guint64 assignment_id, gint64 now_us) {
  if (assignment_id == 0 || assignment_id > member->change_id) {
    Failure *failure =
        failure_new(FAILURE(INVALID_FIELD),
                    "acknowledgement.assignment_id: there was no change %" G_GUINT64_FORMAT
                    " in this stream; acknowledge each as it comes (the last one was %" G_GUINT64_FORMAT ")",
                    assignment_id, member->change_id);
    return failure_add_violation(failure, "acknowledgement.assignment_id", "no such change in this stream");
  }
  if (assignment_id < member->change_id || !member->unacknowledged)
    return NULL;
  member->unacknowledged = FALSE;
  for (guint i = 0; i < member->partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(member->partitions, i);
    if (partition->state == MEMBER_GAINED) {
      partition->state = MEMBER_OWNED;
    } else if (partition->state == MEMBER_LOST) {
      member->tell |= partition->assigned; /* it is back: from what was committed last */
      partition_go(member, partition);
    }
  }
  member->owned_is_news = TRUE;
  member->news = TRUE;
  member->due_us = now_us;
  rejoin_when_done(member, now_us);
  return NULL;
}

static gint64 rebalance_timeout_ms(const Member *member) {
  const Google__Protobuf__Duration *timeout = wants(member)->rebalance_timeout;
  return timeout != NULL ? times_duration_ms(timeout, REBALANCE_DEFAULT_MS) : REBALANCE_DEFAULT_MS;
}

gint64 member_acknowledge_by_us(const Member *member) {
  return member->unacknowledged ? member->told_us + rebalance_timeout_ms(member) * 1000 : G_MAXINT64;
}

Failure *member_overdue(const Member *member) {
  return failure_new(FAILURE(FENCED),
                     "the assignment change %" G_GUINT64_FORMAT " was not acknowledged within %" G_GINT64_FORMAT
                     " ms (rebalance_timeout): the member is out of group %s. Acknowledge changes as they come, or ask "
                     "for a longer time; then subscribe again",
                     member->change_id, rebalance_timeout_ms(member), member->init->group);
}
