/* What a stream's member says to its coordinator, one heartbeat at a time, and what it hears: see member.h.
 *
 * A heartbeat may be held by the coordinator until something changes; news of the member's make the one that is under
 * way worth giving up. States, invariants and owner: member.c. */
#include "services/base/invariant.h"
#include "services/base/times.h"
#include "services/broker/read/member_internal.h"

/* Between heartbeats when one failed, or was answered at once although it could have waited. */
#define PAUSE_US ((gint64)250 * 1000)

gint64 member_heartbeat_due_us(const Member *member) {
  if (member->fenced)
    return G_MAXINT64;
  if (!member->beating)
    return member->due_us;
  return member->news ? 0 : G_MAXINT64;
}

static gboolean is_owned(const MemberPartition *partition) {
  return partition->state == MEMBER_OWNED || partition->state == MEMBER_LOST;
}

static Milena__V1__OwnedPartitions *owned_new(const Member *member, ReadMemory *memory) {
  g_autoptr(GPtrArray) owned = g_ptr_array_new();
  for (guint i = 0; i < member->partitions->len; i++)
    if (is_owned(g_ptr_array_index(member->partitions, i)))
      g_ptr_array_add(owned, g_ptr_array_index(member->partitions, i));
  g_ptr_array_sort(owned, member_compare_partitions);
  Milena__V1__OwnedPartitions *message = read_memory_alloc(memory, sizeof *message);
  milena__v1__owned_partitions__init(message);
  message->topics = member_topics(owned, memory, &message->n_topics);
  return message;
}

/* What a join says. */
static void fill_join(const Member *member, Milena__V1__HeartbeatRequest *request, ReadMemory *memory) {
  const Milena__V1__SubscribeMembership *membership = member_wishes(member);
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
  request->instance_id = member_wishes(member)->instance_id;
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
    member_fence(member, failure, now_us);
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
    member_assign(member, response->assignment);
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
  gboolean is_static = *member_wishes(member)->instance_id != '\0';
  return member->epoch > 0 && (reason == FAILURE(UNKNOWN_MEMBER) || reason == FAILURE(UNKNOWN_GROUP) ||
                               (reason == FAILURE(FENCED) && !is_static));
}

Failure *member_heartbeat_failed(Member *member, const Failure *failure, gint64 now_us) {
  INVARIANT(member->beating, "a failure belongs to a heartbeat");
  member->beating = FALSE;
  member->tell = TRUE;
  member->due_us = now_us + PAUSE_US;
  if (says_fenced(member, failure)) {
    member_fence(member, failure, now_us);
    return NULL;
  }
  return member->was_member && says_nothing(failure) ? NULL : failure_copy(failure);
}

Milena__V1__HeartbeatRequest *member_leave(const Member *member, gboolean for_good, ReadMemory *memory) {
  if (member->epoch == 0)
    return NULL;
  Milena__V1__HeartbeatRequest *request = request_new(member, memory);
  gboolean returns = !for_good && *member_wishes(member)->instance_id != '\0';
  request->leave = returns ? MILENA__V1__LEAVE__LEAVE_TO_RETURN : MILENA__V1__LEAVE__LEAVE_FOR_GOOD;
  return request;
}
