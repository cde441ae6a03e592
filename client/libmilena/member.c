/* A member of a consumer group: see member.h. */
#include "client/libmilena/member.h"

#include <string.h>

#include "client/libmilena/error.h"
#include "services/base/invariant.h"
#include "services/base/times.h"

#define INTERVAL_MS 3000

struct Member {
  MemberWishes wishes;
  MemberState state;
  guint32 epoch;
  gint64 interval_ms;
  char *explanation;
  GPtrArray *owned;  /* of MemberPart */
  GPtrArray *wanted; /* the same; NULL: as owned */
  guint32 told;      /* version of the assignment that it was told last; 0: none */
  guint32 applied;   /* of the one that `owned` answers */
  gboolean lost_all; /* what is owned is nothing any more */
  guint generation;  /* rises when it falls out */
  gboolean telling;  /* the user is being told of a change */
  gboolean say_owned;
  gboolean saying_owned; /* the heartbeat under way does */
  gboolean unsure;       /* an answer was lost: ask for everything */
  gboolean saying_leave; /* the heartbeat under way is the farewell */
};

static void part_free(gpointer data) {
  MemberPart *part = data;
  g_free(part->topic);
  g_free(part->topic_id);
  g_free(part);
}

static MemberPart *part_copy(const MemberPart *part) {
  MemberPart *copy = g_memdup2(part, sizeof *part);
  copy->topic = g_strdup(part->topic);
  copy->topic_id = g_strdup(part->topic_id);
  return copy;
}

static gboolean part_is(const MemberPart *a, const MemberPart *b) {
  return a->partition == b->partition && strcmp(a->topic_id, b->topic_id) == 0;
}

static gint part_compare(gconstpointer a, gconstpointer b) {
  const MemberPart *left = *(MemberPart *const *)a, *right = *(MemberPart *const *)b;
  int order = strcmp(left->topic, right->topic);
  if (order == 0)
    order = strcmp(left->topic_id, right->topic_id);
  return order != 0 ? order : (left->partition > right->partition) - (left->partition < right->partition);
}

Member *member_new(const MemberWishes *wishes) {
  Member *member = g_new0(Member, 1);
  member->wishes = *wishes;
  member->interval_ms = INTERVAL_MS;
  member->explanation = g_strdup("");
  member->owned = g_ptr_array_new_with_free_func(part_free);
  return member;
}

void member_free(Member *member) {
  if (member == NULL)
    return;
  g_ptr_array_unref(member->owned);
  g_clear_pointer(&member->wanted, g_ptr_array_unref);
  g_free(member->explanation);
  g_free(member);
}

MemberState member_state(const Member *member) {
  return member->state;
}

guint32 member_epoch(const Member *member) {
  return member->epoch;
}

const char *member_explanation(const Member *member) {
  return member->explanation;
}

gint64 member_interval_ms(const Member *member) {
  return member->interval_ms;
}

const GPtrArray *member_owned(const Member *member) {
  return member->owned;
}

/* It is not in the group any more. */
static void fall_out(Member *member, MemberState state) {
  member->state = state;
  member->epoch = 0;
  member->told = member->applied = 0;
  member->generation++;
  member->say_owned = member->saying_owned = member->saying_leave = member->unsure = FALSE;
  member->lost_all = member->lost_all || member->owned->len > 0;
  g_clear_pointer(&member->wanted, g_ptr_array_unref);
}

void member_join(Member *member) {
  INVARIANT(member->state == MEMBER_OUT, "a member joins when it is out");
  member->state = MEMBER_JOINING;
}

void member_leave(Member *member) {
  member->state = member->epoch != 0 || member->state == MEMBER_JOINING ? MEMBER_LEAVING : MEMBER_OUT;
  member->lost_all = FALSE;
  g_ptr_array_set_size(member->owned, 0);
  g_clear_pointer(&member->wanted, g_ptr_array_unref);
}

void member_expire(Member *member) {
  member->state = MEMBER_LEAVING;
  member->lost_all = member->owned->len > 0;
  g_clear_pointer(&member->wanted, g_ptr_array_unref);
}

/* ---- saying ---- */

gboolean member_has_news(const Member *member) {
  if (member->state == MEMBER_IN)
    return member->say_owned && !member->saying_owned;
  return member->state != MEMBER_OUT;
}

/* The runs of one topic in a sorted array as messages; the arrays are the caller's. */
static void fill_owned(const GPtrArray *parts, GArray *topics, GArray *numbers) {
  for (guint i = 0; i < parts->len; i++) {
    const MemberPart *part = parts->pdata[i];
    g_array_append_val(numbers, part->partition);
  }
  for (guint i = 0; i < parts->len; i++) {
    const MemberPart *part = parts->pdata[i];
    Milena__V1__TopicPartitions *last =
        topics->len > 0 ? &g_array_index(topics, Milena__V1__TopicPartitions, topics->len - 1) : NULL;
    if (last != NULL && strcmp(last->topic_id, part->topic_id) == 0) {
      last->n_partitions++;
      continue;
    }
    Milena__V1__TopicPartitions topic = MILENA__V1__TOPIC_PARTITIONS__INIT;
    topic.topic = part->topic;
    topic.topic_id = part->topic_id;
    topic.partitions = &g_array_index(numbers, gint32, i);
    topic.n_partitions = 1;
    g_array_append_val(topics, topic);
  }
}

static RpcMessage *pack(Member *member, Milena__V1__HeartbeatRequest *request) {
  Milena__V1__OwnedPartitions owned = MILENA__V1__OWNED_PARTITIONS__INIT;
  g_autoptr(GArray) topics = g_array_new(FALSE, FALSE, sizeof(Milena__V1__TopicPartitions));
  g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(gint32));
  g_autoptr(GPtrArray) pointers = g_ptr_array_new();
  if (member->say_owned && member->state == MEMBER_IN) {
    fill_owned(member->owned, topics, numbers);
    for (guint i = 0; i < topics->len; i++)
      g_ptr_array_add(pointers, &g_array_index(topics, Milena__V1__TopicPartitions, i));
    owned.topics = (Milena__V1__TopicPartitions **)pointers->pdata;
    owned.n_topics = pointers->len;
    request->owned = &owned;
    request->assignment_version = member->applied;
    member->saying_owned = TRUE;
  }
  RpcMessage *message = rpc_message_pack(&request->base, NULL, 0);
  request->owned = NULL; /* it ends here */
  return message;
}

RpcMessage *member_heartbeat(Member *member, gint64 max_wait_ms) {
  const MemberWishes *wishes = &member->wishes;
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  Milena__V1__GroupSubscription subscription = MILENA__V1__GROUP_SUBSCRIPTION__INIT;
  Google__Protobuf__Duration rebalance_timeout, max_wait;
  request.group = (char *)wishes->group;
  request.member_id = (char *)wishes->member_id;
  request.instance_id = (char *)wishes->instance_id;
  request.member_epoch = member->epoch;
  if (member->state == MEMBER_JOINING) {
    subscription.topics = (char **)wishes->topics;
    subscription.n_topics = wishes->topic_count;
    subscription.topic_pattern = (char *)wishes->topic_pattern;
    times_duration_set(&rebalance_timeout, wishes->rebalance_timeout_ms);
    request.client_id = (char *)wishes->client_id;
    request.rack = (char *)wishes->rack;
    request.subscription = &subscription;
    request.rebalance_timeout = &rebalance_timeout;
    request.offset_reset = wishes->offset_reset;
  } else if (member->state == MEMBER_LEAVING) {
    member->saying_leave = TRUE;
    request.leave =
        *wishes->instance_id != '\0' ? MILENA__V1__LEAVE__LEAVE_TO_RETURN : MILENA__V1__LEAVE__LEAVE_FOR_GOOD;
  } else if (max_wait_ms > 0) {
    times_duration_set(&max_wait, max_wait_ms);
    request.max_wait = &max_wait;
  }
  request.tell_assignment = member->unsure;
  request.assignment_version = member->told;
  return pack(member, &request);
}

/* Copies of those of @parts that @others lack. Both are sorted. */
static GPtrArray *difference(const GPtrArray *parts, const GPtrArray *others) {
  GPtrArray *rest = g_ptr_array_new_with_free_func(part_free);
  guint at = 0;
  for (guint i = 0; i < parts->len; i++) {
    while (at < others->len && part_compare(&others->pdata[at], &parts->pdata[i]) < 0)
      at++;
    if (at == others->len || !part_is(others->pdata[at], parts->pdata[i]))
      g_ptr_array_add(rest, part_copy(parts->pdata[i]));
  }
  return rest;
}

/* ---- hearing ---- */

static GPtrArray *take_assignment(const Milena__V1__Assignment *assignment) {
  GPtrArray *parts = g_ptr_array_new_with_free_func(part_free);
  for (gsize i = 0; i < assignment->n_topics; i++) {
    const Milena__V1__AssignedTopic *topic = assignment->topics[i];
    for (gsize k = 0; k < topic->n_partitions; k++) {
      const Milena__V1__AssignedPartition *assigned = topic->partitions[k];
      MemberPart *part = g_new0(MemberPart, 1);
      *part = (MemberPart){g_strdup(topic->topic), g_strdup(topic->topic_id), assigned->partition, -1, -1};
      if (assigned->committed != NULL) {
        part->committed = assigned->committed->offset;
        part->committed_epoch = assigned->committed->leader_epoch;
      }
      g_ptr_array_add(parts, part);
    }
  }
  g_ptr_array_sort(parts, part_compare);
  return parts;
}

/* An assignment that it has already, told once more, is no news: it is only said again that it has it, if that may not
 * have been heard. */
static void take_news(Member *member, const Milena__V1__Assignment *assignment) {
  GPtrArray *wanted = take_assignment(assignment);
  g_autoptr(GPtrArray) lost = difference(member->owned, wanted), gained = difference(wanted, member->owned);
  g_clear_pointer(&member->wanted, g_ptr_array_unref);
  member->told = assignment->version;
  if (lost->len > 0 || gained->len > 0 || member->telling) {
    member->wanted = wanted;
    return;
  }
  g_ptr_array_unref(wanted);
  member->say_owned = member->say_owned || member->applied != member->told;
  member->applied = member->told;
}

static Failure *check_answer(const Member *member, const Milena__V1__HeartbeatResponse *response) {
  const Milena__V1__Assignment *assignment = response->assignment;
  if (member->state != MEMBER_LEAVING && response->member_epoch == 0)
    return failure_new(FAILURE(INTERNAL), "the coordinator of group %s answered without a member epoch",
                       member->wishes.group);
  for (gsize i = 0; assignment != NULL && i < assignment->n_topics; i++) {
    const Milena__V1__AssignedTopic *topic = assignment->topics[i];
    for (gsize k = 0; k < topic->n_partitions; k++)
      if (topic->partitions[k]->partition < 0 || *topic->topic == '\0')
        return failure_new(FAILURE(INTERNAL), "the coordinator of group %s assigned partition %d of topic \"%s\"",
                           member->wishes.group, topic->partitions[k]->partition, topic->topic);
  }
  return NULL;
}

Failure *member_answered(Member *member, const Milena__V1__HeartbeatResponse *response) {
  Failure *failure = check_answer(member, response);
  if (failure != NULL)
    return failure;
  if (member->state == MEMBER_LEAVING) {
    member->epoch = response->member_epoch;
    if (member->saying_leave)
      fall_out(member, MEMBER_OUT);
    return NULL;
  }
  member->state = MEMBER_IN;
  member->epoch = response->member_epoch;
  member->interval_ms =
      CLAMP(times_duration_ms(response->heartbeat_interval, INTERVAL_MS), 10, G_GINT64_CONSTANT(10) * 60 * 1000);
  if (member->saying_owned)
    member->say_owned = member->saying_owned = FALSE;
  member->unsure = FALSE;
  if (*response->explanation != '\0') {
    g_free(member->explanation);
    member->explanation = g_strdup(response->explanation);
  }
  if (response->assignment != NULL)
    take_news(member, response->assignment);
  return NULL;
}

void member_unanswered(Member *member) {
  member->saying_owned = member->saying_leave = FALSE;
  member->unsure = member->state == MEMBER_IN;
}

gboolean member_failed(Member *member, const Failure *failure) {
  member_unanswered(member);
  FailureReason reason = failure_reason(failure);
  gboolean thrown_out = reason == FAILURE(UNKNOWN_MEMBER) || reason == FAILURE(FENCED) ||
                        (reason == FAILURE(UNKNOWN_GROUP) && member->state != MEMBER_JOINING);
  if (member->state == MEMBER_LEAVING) {
    if (thrown_out)
      fall_out(member, MEMBER_OUT);
    return FALSE;
  }
  if (thrown_out) {
    fall_out(member, MEMBER_JOINING);
    return FALSE;
  }
  if (outcome_passes(failure))
    return FALSE;
  fall_out(member, MEMBER_OUT);
  return TRUE;
}

/* ---- changes ---- */

gboolean member_lost_all(const Member *member) {
  return member->lost_all;
}

GPtrArray *member_take_lost(Member *member) {
  GPtrArray *lost = member->owned;
  member->owned = g_ptr_array_new_with_free_func(part_free);
  member->lost_all = FALSE;
  return lost;
}

GPtrArray *member_copy_owned(const Member *member) {
  GPtrArray *copies = g_ptr_array_new_with_free_func(part_free);
  for (guint i = 0; i < member->owned->len; i++)
    g_ptr_array_add(copies, part_copy(member->owned->pdata[i]));
  return copies;
}

gboolean member_has_change(const Member *member) {
  return member->lost_all || member->wanted != NULL;
}

void member_take_change(Member *member, MemberChange *ret_change) {
  INVARIANT(!member->lost_all && member->wanted != NULL, "a loss is told before anything new");
  g_autoptr(GPtrArray) wanted = g_steal_pointer(&member->wanted);
  *ret_change = (MemberChange){.lost = difference(member->owned, wanted),
                               .gained = difference(wanted, member->owned),
                               .version = member->told,
                               .generation = member->generation};
  member->telling = TRUE;
}

void member_change_clear(MemberChange *change) {
  g_clear_pointer(&change->lost, g_ptr_array_unref);
  g_clear_pointer(&change->gained, g_ptr_array_unref);
}

void member_applied(Member *member, const MemberChange *change) {
  GPtrArray *owned = difference(member->owned, change->lost);
  for (guint i = 0; i < change->gained->len; i++)
    g_ptr_array_add(owned, part_copy(change->gained->pdata[i]));
  g_ptr_array_sort(owned, part_compare);
  g_ptr_array_unref(member->owned);
  member->owned = owned;
  member->telling = FALSE;
  gboolean current = change->generation == member->generation;
  member->lost_all = !current && owned->len > 0; /* it was thrown out while the user was told */
  member->applied = current ? change->version : 0;
  member->say_owned = current;
  member->saying_owned = FALSE;
}
