/* Heartbeats of members: still here, what they own, that they leave; and what becomes of those who are silent.
 *
 * Failure modes: a heartbeat with an epoch that is neither the member's nor the one that it used before is refused
 * (FENCED): the member must drop everything and join. One with the epoch before is that of a member whose answer was
 * lost, if what it owns is what it may still read. Owner: the host's loop. */
#include "services/base/times.h"
#include "services/group_coordinator/groups/groups_internal.h"

/* ---- who calls ---- */

/* Stands for what nobody knows, such as partitions of a topic that is gone: no topic has this number. */
#define UNKNOWN_TOPIC 0

/* Partitions that a member says it owns. */
static GArray *owned_parts(Groups *groups, const Milena__V1__OwnedPartitions *owned) {
  GArray *parts = groups_parts_new();
  for (gsize i = 0; i < owned->n_topics; i++) {
    const Milena__V1__TopicPartitions *topic = owned->topics[i];
    const GroupsKnownTopic *known = *topic->topic_id ? g_hash_table_lookup(groups->topics_by_id, topic->topic_id)
                                                     : groups_topic_current(groups, topic->topic);
    for (gsize k = 0; k < topic->n_partitions; k++) {
      GroupsPart part = groups_part(known ? known->number : UNKNOWN_TOPIC, topic->partitions[k]);
      g_array_append_val(parts, part);
    }
  }
  groups_parts_sort(parts);
  return parts;
}

/* Can nobody else be told to read it? The topic is gone, and nobody has it. */
static gboolean is_gone(const Group *group, GroupsPart part) {
  const GroupsKnownTopic *topic = groups_topic_number(group->all, groups_part_topic(part));
  return !topic || (!topic->known && !groups_part_table_get(group->owners, part));
}

/* May it own all of this? */
static gboolean holds_all(const GroupsMember *member, const GArray *parts) {
  for (guint i = 0; i < parts->len; i++) {
    GroupsPart part = groups_parts_at(parts, i);
    if (groups_part_table_get(member->group->owners, part) != member && !is_gone(member->group, part))
      return FALSE;
  }
  return TRUE;
}

static Failure *check_epoch(const GroupsMember *member, guint32 epoch, const GArray *owned) {
  if (epoch == member->epoch && epoch > 0)
    return NULL;
  const GArray *says = owned ? owned : member->reported;
  if (epoch == member->previous && epoch > 0 && (!says || holds_all(member, says)))
    return NULL;
  Failure *failure =
      failure_new(FAILURE(FENCED),
                  "The member \"%s\" of the group \"%s\" has epoch %u, not %u: drop what it owned, and join again.",
                  member->id, member->group->name, member->epoch, epoch);
  failure_add(failure, "expected", "%u", member->epoch);
  return failure_add(failure, "actual", "%u", epoch);
}

/* ---- what it says ---- */

static gboolean set_text(char **text, const char *said) {
  if (!*said || g_str_equal(*text, said))
    return FALSE;
  g_free(*text);
  *text = g_strdup(said);
  return TRUE;
}

static Failure *apply_subscription(GroupsMember *member, const Milena__V1__GroupSubscription *said,
                                   gboolean *ret_changed) {
  GroupsSubscription *subscription;
  Failure *failure = groups_subscription_get(member->group, said, &subscription);
  if (failure)
    return failure;
  *ret_changed = subscription != member->subscription;
  groups_subscription_unref(member->group, member->subscription);
  member->subscription = subscription;
  return NULL;
}

Failure *groups_heartbeat_apply(GroupsMember *member, const Milena__V1__HeartbeatRequest *request,
                                const char *client_address, gboolean *ret_write) {
  gboolean wishes = FALSE, details = FALSE;
  if (*request->instance_id && !g_str_equal(request->instance_id, member->instance_id)) {
    const char *why = "A member keeps its instance_id for its life: leave, and join with another member_id.";
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", why), "instance_id", why);
  }
  if (request->subscription) {
    Failure *failure = apply_subscription(member, request->subscription, &wishes);
    if (failure)
      return failure;
  }
  details |= set_text(&member->client_id, request->client_id);
  details |= set_text(&member->rack, request->rack);
  if (client_address) /* another connection is no news: it goes to the log with the next */
    set_text(&member->client_address, client_address);
  gint64 rebalance_ms = times_duration_ms(request->rebalance_timeout, member->rebalance_timeout_ms);
  details |= rebalance_ms != member->rebalance_timeout_ms;
  member->rebalance_timeout_ms = rebalance_ms;
  if (request->offset_reset != MILENA__V1__OFFSET_RESET__OFFSET_RESET_UNSPECIFIED) {
    details |= request->offset_reset != member->offset_reset;
    member->offset_reset = request->offset_reset;
  }
  if (wishes && member->placed)
    groups_target_dirty(member->group, FALSE, "the member \"%s\" wants to read something else", member->id);
  *ret_write |= wishes || details;
  return NULL;
}

/* The version of the assignment that `owned` answers. A member that does not say it can only mean the last that it was
 * told, if it uses the epoch that goes with it. */
static guint32 answered_version(const GroupsMember *member, const Milena__V1__HeartbeatRequest *request) {
  if (request->assignment_version > 0)
    return request->assignment_version <= member->version ? request->assignment_version : 0;
  return request->member_epoch == member->epoch ? member->told : 0;
}

static Failure *beat(Groups *groups, GroupsToken token, const Milena__V1__HeartbeatRequest *request,
                     const char *client_address) {
  GroupsMember *member;
  Failure *failure = groups_member_or_refuse(groups, request->group, request->member_id, &member);
  if (failure)
    return failure;
  if (member->away)
    return failure_new(FAILURE(UNKNOWN_MEMBER),
                       "The member \"%s\" of the group \"%s\" has left to return: join with member_epoch 0.",
                       member->id, request->group);
  g_autoptr(GArray) owned = request->owned ? owned_parts(groups, request->owned) : NULL;
  gboolean write = FALSE;
  failure = check_epoch(member, request->member_epoch, owned);
  failure = failure ? failure : groups_heartbeat_apply(member, request, client_address, &write);
  if (failure)
    return failure;
  if (owned) {
    write |= groups_reconcile_owned(member, owned, answered_version(member, request));
    g_clear_pointer(&member->reported, g_array_unref);
    member->reported = g_steal_pointer(&owned);
  }
  member->used = MAX(member->used, request->member_epoch); /* an earlier call may come late: it heard of the later */
  if (write)
    groups_write_member(member);
  groups_member_touch(member);
  groups_poll_hold(member, token, request);
  return NULL;
}

/* ---- leaving ---- */

static Failure *go_away(GroupsMember *member) {
  if (!*member->instance_id) {
    const char *why = "Only a member with an instance_id can leave to return.";
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", why), "leave", why);
  }
  if (member->token) {
    GroupsToken held = member->token;
    groups_poll_drop(member);
    groups_refuse(member->group->all, held, failure_new(FAILURE(CANCELLED), "The member has left to return."));
  }
  member->away = TRUE;
  g_clear_pointer(&member->reported, g_array_unref);
  groups_reconcile_idle(member);
  groups_write_member(member);
  groups_member_touch(member);
  return NULL;
}

static Failure *leave(Groups *groups, GroupsToken token, const Milena__V1__HeartbeatRequest *request) {
  GroupsMember *member;
  Failure *failure = groups_member_or_refuse(groups, request->group, request->member_id, &member);
  if (!failure && request->member_epoch > 0)
    failure = check_epoch(member, request->member_epoch, NULL);
  if (failure)
    return failure;
  Milena__V1__HeartbeatResponse *response = groups_tell_member(member, FALSE);
  response->member_epoch = 0;
  response->pending_partitions = 0;
  if (request->leave == MILENA__V1__LEAVE__LEAVE_TO_RETURN) {
    failure = go_away(member);
  } else {
    g_autofree char *reason = g_strdup_printf("the member \"%s\" left", member->id);
    groups_member_remove(member, failure_new(FAILURE(CANCELLED), "The member has left."), reason);
  }
  if (failure) {
    milena__v1__heartbeat_response__free_unpacked(response, NULL);
    return failure;
  }
  groups_answer(groups, token, response);
  return NULL;
}

void groups_heartbeat(Groups *groups, GroupsToken token, const Milena__V1__HeartbeatRequest *request,
                      const char *client_address, GroupsTime time) {
  groups->time = time;
  Failure *failure = groups_check_heartbeat(request);
  if (failure)
    ;
  else if (request->leave != MILENA__V1__LEAVE__LEAVE_UNSPECIFIED)
    failure = leave(groups, token, request);
  else if (request->member_epoch == 0)
    failure = groups_join(groups, token, request, client_address);
  else
    failure = beat(groups, token, request, client_address);
  if (failure)
    groups_refuse(groups, token, failure);
}

/* ---- who is silent ---- */

static void end_session(GroupsMember *member) {
  g_autofree char *time = groups_describe_duration(member->group->settings.session_timeout_ms);
  g_autofree char *reason = g_strdup_printf("the member \"%s\" was not heard of for %s", member->id, time);
  Failure *failure =
      failure_new(FAILURE(UNKNOWN_MEMBER), "The session of the member \"%s\" has ended: join again.", member->id);
  groups_member_remove(member, failure, reason);
}

static void fence(GroupsMember *member) {
  g_autoptr(GArray) parts = groups_holds_parts(member->revoking);
  g_autofree char *what = groups_describe_parts(member->group->all, parts);
  g_autofree char *time = groups_describe_duration(member->rebalance_timeout_ms);
  g_autofree char *reason = g_strdup_printf("the member \"%s\" did not give up %s within its rebalance timeout of %s",
                                            member->id, what, time);
  Failure *failure =
      failure_new(FAILURE(FENCED), "The member \"%s\" did not give up %s within %s, and is out: join again.",
                  member->id, what, time);
  failure_add(failure, "expected", "0");
  failure_add(failure, "actual", "%u", member->epoch);
  groups_member_remove(member, failure, reason);
}

static GroupsMember *member_of_session(GroupsTimer *timer) {
  return (GroupsMember *)((char *)timer - offsetof(GroupsMember, session));
}

static GroupsMember *member_of_revoke(GroupsTimer *timer) {
  return (GroupsMember *)((char *)timer - offsetof(GroupsMember, revoke));
}

void groups_heartbeat_expire(Groups *groups) {
  for (GroupsTimer *timer; (timer = groups_timers_pop(&groups->sessions, groups->time.now_ms));)
    end_session(member_of_session(timer));
  for (GroupsTimer *timer; (timer = groups_timers_pop(&groups->revokes, groups->time.now_ms));)
    fence(member_of_revoke(timer));
}
