/* A consumer in a group as its user sees it: see milena/group.h and group.h.
 *
 * Everything that the user is told is told in poll (or leave), on the user's thread, without the mutex: callbacks may
 * commit, seek and wait. Meanwhile the loop goes on with heartbeats, so nobody is thrown out for a slow callback before
 * the rebalance timeout.
 *
 * Invariants
 *   1. The parts that are assigned are those that the member owns (member_owned), but while the user is told.
 *   2. A partition is given up at the coordinator only after on_rebalance returned, and after the automatic commit. */
#include <string.h>

#include "client/libmilena/group.h"
#include "services/base/cond.h"

#define LEAVE_TIMEOUT_MS 5000
/* Of a commit that nobody waits for. */
#define COMMIT_TIMEOUT_MS 60000
/* Of the automatic commit before partitions are given up. */
#define REVOKE_COMMIT_TIMEOUT_MS 10000

void milena_group_options_init(MilenaGroupOptions *options) {
  *options = (MilenaGroupOptions){
      .reset = MILENA_RESET_END,
      .auto_commit = true,
      .auto_commit_interval_ms = 5000,
      .rebalance_timeout_ms = 5 * 60 * 1000,
      .max_poll_interval_ms = 5 * 60 * 1000,
  };
}

/* ---- joining ---- */

static char *copy_text(const char *text, const char *missing) {
  return g_strdup(text != NULL ? text : missing);
}

static void copy_options(Group *group, const MilenaGroupOptions *options) {
  MilenaGroupOptions *own = &group->options;
  *own = *options;
  char **topics = g_new0(char *, options->topic_count + 1);
  for (size_t i = 0; i < options->topic_count; i++)
    topics[i] = g_strdup(options->topics[i]);
  own->topics = (const char *const *)topics;
  own->group = g_strdup(options->group);
  own->topic_pattern = copy_text(options->topic_pattern, "");
  own->instance_id = copy_text(options->instance_id, "");
  own->client_id = copy_text(options->client_id, "libmilena");
  own->rack = copy_text(options->rack, "");
  own->reset = CLAMP(options->reset, MILENA_RESET_ERROR, MILENA_RESET_END);
  own->auto_commit_interval_ms = MAX(options->auto_commit_interval_ms, 10);
  own->rebalance_timeout_ms = CLAMP(options->rebalance_timeout_ms, 100, 60 * 60 * 1000);
  own->max_poll_interval_ms = MAX(options->max_poll_interval_ms, 100);
}

static Milena__V1__OffsetReset reset_proto(MilenaReset reset) {
  switch (reset) {
  case MILENA_RESET_BEGINNING:
    return MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
  case MILENA_RESET_ERROR:
    return MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE;
  case MILENA_RESET_END:
  default:
    return MILENA__V1__OFFSET_RESET__OFFSET_RESET_LATEST;
  }
}

static Group *group_new(MilenaConsumer *consumer, const MilenaGroupOptions *options) {
  Group *group = g_new0(Group, 1);
  group->consumer = consumer;
  copy_options(group, options);
  group->member_id = g_uuid_string_random();
  group->wishes = (MemberWishes){
      .group = group->options.group,
      .member_id = group->member_id,
      .instance_id = group->options.instance_id,
      .client_id = group->options.client_id,
      .rack = group->options.rack,
      .topics = group->options.topics,
      .topic_count = group->options.topic_count,
      .topic_pattern = group->options.topic_pattern,
      .rebalance_timeout_ms = group->options.rebalance_timeout_ms,
      .offset_reset = reset_proto(group->options.reset),
  };
  group->member = member_new(&group->wishes);
  g_queue_init(&group->commits);
  group->polled_us = group->committed_us = g_get_monotonic_time();
  group->link = group_link_new(group);
  return group;
}

static MilenaError *check_options(const MilenaConsumer *consumer, const MilenaGroupOptions *options) {
  if (consumer->group != NULL)
    return milena_error_new(FAILURE(INVALID_FIELD), "the consumer is in the group %s: leave it first",
                            consumer->group->options.group);
  if (options->group == NULL || *options->group == '\0')
    return milena_error_new(FAILURE(INVALID_FIELD), "to join, a consumer needs the name of a group");
  if (options->topic_count == 0 && (options->topic_pattern == NULL || *options->topic_pattern == '\0'))
    return milena_error_new(FAILURE(INVALID_FIELD),
                            "to join the group %s, a consumer needs names of topics, or a pattern for them",
                            options->group);
  for (size_t i = 0; i < options->topic_count; i++)
    if (options->topics[i] == NULL || *options->topics[i] == '\0')
      return milena_error_new(FAILURE(INVALID_FIELD), "topic %zu of the group %s has no name", i, options->group);
  return NULL;
}

MilenaError *milena_consumer_join(MilenaConsumer *consumer, const MilenaGroupOptions *options) {
  MilenaError *error = check_options(consumer, options);
  if (error == NULL)
    error = milena_consumer_assign(consumer, NULL, 0);
  if (error != NULL)
    return error;
  Group *group = group_new(consumer, options);
  pthread_mutex_lock(&consumer->mutex);
  consumer->options.reset = group->options.reset;
  member_join(group->member);
  consumer->group = group;
  pthread_mutex_unlock(&consumer->mutex);
  group_link_wake(group->link);
  return NULL;
}

/* ---- committing ---- */

/* Everything that polls have given, where that is news. The mutex is held. */
static void add_positions(Group *group, Commit *commit) {
  const GPtrArray *parts = group->consumer->parts;
  for (guint i = 0; i < parts->len; i++) {
    const Part *part = parts->pdata[i];
    if (part->position >= 0 && part->position != part->committed && part->state != PART_RESOLVING)
      commit_add(commit, part->topic, part->topic_id, part->partition, part->position, part->given_epoch, NULL);
  }
}

static MilenaError *add_offsets(Group *group, Commit *commit, const MilenaOffset *offsets, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const MilenaOffset *offset = &offsets[i];
    if (offset->topic == NULL || *offset->topic == '\0' || offset->partition < 0 || offset->offset < 0)
      return milena_error_new(FAILURE(INVALID_FIELD),
                              "offset %zu to commit needs a topic, a partition and an offset, both from 0", i);
    const Part *part = part_find(group->consumer->parts, offset->topic, offset->partition);
    commit_add(commit, offset->topic, part != NULL ? part->topic_id : NULL, offset->partition, offset->offset,
               offset->leader_epoch, offset->metadata);
  }
  return NULL;
}

/* Make a commit and hand it to the loop. The mutex is held.
 *
 * @ret_commit: a reference of the caller's; NULL when there was nothing to commit */
static MilenaError *begin_commit(Group *group, const MilenaOffset *offsets, size_t count, gint32 timeout_ms,
                                 MilenaCommitFunc done, void *user_data, Commit **ret_commit) {
  Commit *commit = commit_new(client_deadline_us(timeout_ms), done, user_data);
  MilenaError *error = NULL;
  *ret_commit = NULL;
  if (count > 0)
    error = add_offsets(group, commit, offsets, count);
  else
    add_positions(group, commit);
  if (error != NULL || (commit->items->len == 0 && done == NULL)) {
    commit_unref(commit);
    return error;
  }
  *ret_commit = commit;
  g_queue_push_tail(&group->commits, commit_ref(commit));
  group_link_wake(group->link);
  return NULL;
}

/* Wait until it is finished: the loop sees to its deadline. Drops the reference. The mutex is held. */
static MilenaError *wait_for_commit(Group *group, Commit *commit) {
  while (!commit->finished)
    cond_wait_until(&group->consumer->arrived, &group->consumer->mutex, G_MAXINT64);
  MilenaError *error = milena_error_take(failure_copy(commit->failure), commit->outcome);
  commit_unref(commit);
  return error;
}

static MilenaError *commit_and_wait(Group *group, const MilenaOffset *offsets, size_t count, gint32 timeout_ms) {
  Commit *commit = NULL;
  pthread_mutex_lock(&group->consumer->mutex);
  MilenaError *error = begin_commit(group, offsets, count, timeout_ms, NULL, NULL, &commit);
  if (commit != NULL)
    error = wait_for_commit(group, commit);
  pthread_mutex_unlock(&group->consumer->mutex);
  return error;
}

static MilenaError *no_group(void) {
  return milena_error_new(FAILURE(INVALID_FIELD), "the consumer is in no group: join one first");
}

MilenaError *milena_consumer_commit(MilenaConsumer *consumer, const MilenaOffset *offsets, size_t count,
                                    int32_t timeout_ms) {
  INVARIANT(!loop_is_current(client_loop(consumer->client)), "a callback of the client's thread must not wait");
  return consumer->group != NULL ? commit_and_wait(consumer->group, offsets, count, timeout_ms) : no_group();
}

MilenaError *milena_consumer_commit_async(MilenaConsumer *consumer, const MilenaOffset *offsets, size_t count,
                                          MilenaCommitFunc done, void *user_data) {
  Group *group = consumer->group;
  Commit *commit = NULL;
  if (group == NULL)
    return no_group();
  pthread_mutex_lock(&consumer->mutex);
  MilenaError *error = begin_commit(group, offsets, count, COMMIT_TIMEOUT_MS, done, user_data, &commit);
  if (commit != NULL)
    commit_unref(commit);
  pthread_mutex_unlock(&consumer->mutex);
  return error;
}

static void on_auto_commit(const MilenaError *error, void *user_data) {
  Group *group = user_data;
  (void)error; /* what was not kept is not marked as such, so the next one brings it */
  pthread_mutex_lock(&group->consumer->mutex);
  group->auto_commits--;
  pthread_mutex_unlock(&group->consumer->mutex);
}

/* The mutex is held. */
static void auto_commit(Group *group, gint64 now_us) {
  gint64 interval_us = group->options.auto_commit_interval_ms * G_TIME_SPAN_MILLISECOND;
  if (!group->options.auto_commit || group->auto_commits > 0 || now_us < group->committed_us + interval_us ||
      member_epoch(group->member) == 0)
    return;
  Commit *commit = commit_new(client_deadline_us(COMMIT_TIMEOUT_MS), on_auto_commit, group);
  add_positions(group, commit);
  group->committed_us = now_us;
  if (commit->items->len == 0) {
    commit_unref(commit);
    return;
  }
  group->auto_commits++;
  g_queue_push_tail(&group->commits, commit);
  group_link_wake(group->link);
}

/* ---- changes ---- */

/* Call the user. The mutex is not held. @parts: of MemberPart */
static void tell(Group *group, MilenaRebalance event, const GPtrArray *parts) {
  if (group->options.on_rebalance == NULL || parts->len == 0)
    return;
  g_autofree MilenaTopicPartition *partitions = g_new(MilenaTopicPartition, parts->len);
  for (guint i = 0; i < parts->len; i++) {
    const MemberPart *part = parts->pdata[i];
    partitions[i] = (MilenaTopicPartition){part->topic, part->partition};
  }
  group->options.on_rebalance(group->consumer, event, partitions, parts->len, group->options.user_data);
}

/* The mutex is held. */
static void stop_reading(Group *group, const GPtrArray *parts) {
  for (guint i = 0; i < parts->len; i++) {
    const MemberPart *gone = parts->pdata[i];
    Part *part = part_find(group->consumer->parts, gone->topic, gone->partition);
    if (part != NULL)
      part_unassign(group->consumer, part);
  }
}

static MilenaPosition start_of(const Group *group, const MemberPart *part) {
  if (part->committed >= 0)
    return MILENA_AT_OFFSET(part->committed);
  return group->options.reset == MILENA_RESET_BEGINNING ? MILENA_BEGINNING : MILENA_END;
}

/* The mutex is held. */
static void start_reading(Group *group, const GPtrArray *parts) {
  for (guint i = 0; i < parts->len; i++) {
    const MemberPart *gained = parts->pdata[i];
    MilenaAssignment assignment = {gained->topic, gained->partition, start_of(group, gained)};
    Part *part = part_assign(group->consumer, &assignment);
    part->topic_id = g_strdup(gained->topic_id);
    part->committed = gained->committed;
    if (gained->committed < 0 && group->options.reset == MILENA_RESET_ERROR)
      part_rest(group->consumer, part,
                failure_new(FAILURE(OFFSET_OUT_OF_RANGE),
                            "the group %s has committed nothing in partition %d of topic %s, and its consumers have no "
                            "place to start at: seek to one, or reset the group's offsets",
                            group->options.group, gained->partition, gained->topic));
  }
}

/* All is lost: thrown out, or too long without a poll. The mutex is held, but not while the user is told. */
static void apply_loss(Group *group) {
  g_autoptr(GPtrArray) lost = member_take_lost(group->member);
  stop_reading(group, lost);
  pthread_mutex_unlock(&group->consumer->mutex);
  tell(group, MILENA_REBALANCE_LOST, lost);
  pthread_mutex_lock(&group->consumer->mutex);
}

/* The same for a change. */
static void apply_change(Group *group) {
  g_auto(MemberChange) change = {.lost = NULL};
  member_take_change(group->member, &change);
  group->telling = TRUE;
  pthread_mutex_unlock(&group->consumer->mutex);
  if (change.lost->len > 0 && group->options.auto_commit)
    milena_error_free(commit_and_wait(group, NULL, 0, REVOKE_COMMIT_TIMEOUT_MS)); /* else others read it again */
  tell(group, MILENA_REBALANCE_REVOKED, change.lost);
  pthread_mutex_lock(&group->consumer->mutex);
  stop_reading(group, change.lost);
  start_reading(group, change.gained);
  member_applied(group->member, &change);
  pthread_mutex_unlock(&group->consumer->mutex);
  tell(group, MILENA_REBALANCE_ASSIGNED, change.gained);
  pthread_mutex_lock(&group->consumer->mutex);
  group->telling = FALSE;
  group->polled_us = g_get_monotonic_time();
  group_link_wake(group->link);
  fetcher_wake(group->consumer->fetcher);
}

gboolean group_wants_turn(const Group *group) {
  return group != NULL &&
         (group->refused != NULL || member_has_change(group->member) || member_state(group->member) == MEMBER_OUT);
}

MilenaError *group_turn(Group *group, gboolean begins) {
  if (group == NULL)
    return NULL;
  Failure *refused = NULL;
  pthread_mutex_lock(&group->consumer->mutex);
  group->polled_us = g_get_monotonic_time();
  if (begins)
    auto_commit(group, group->polled_us);
  while (member_has_change(group->member)) {
    if (member_lost_all(group->member))
      apply_loss(group);
    else
      apply_change(group);
  }
  if (group->refused != NULL)
    refused = failure_copy(group->refused);
  else if (member_state(group->member) == MEMBER_OUT) { /* it had left, for want of polls */
    member_join(group->member);
    group_link_wake(group->link);
  }
  pthread_mutex_unlock(&group->consumer->mutex);
  return milena_error_take(refused, OUTCOME_NOT_WRITTEN);
}

/* ---- leaving ---- */

/* The user is told, and nothing is read any more. The mutex is held, but not while the user is told. */
static void give_everything_up(Group *group) {
  while (member_lost_all(group->member))
    apply_loss(group);
  g_autoptr(GPtrArray) owned = member_copy_owned(group->member);
  pthread_mutex_unlock(&group->consumer->mutex);
  tell(group, MILENA_REBALANCE_REVOKED, owned);
  pthread_mutex_lock(&group->consumer->mutex);
  stop_reading(group, owned);
}

/* Returns why the farewell did not get through, or NULL. The mutex is held. */
static MilenaError *say_farewell(Group *group, gint64 deadline_us) {
  member_leave(group->member);
  group_link_wake(group->link);
  while (member_state(group->member) != MEMBER_OUT)
    if (!cond_wait_until(&group->consumer->arrived, &group->consumer->mutex, deadline_us))
      return milena_error_new(FAILURE(DEADLINE_EXCEEDED),
                              "the coordinator of group %s did not hear in time that this consumer leaves: its "
                              "partitions go to others when its session ends",
                              group->options.group);
  return NULL;
}

static MilenaError *group_leave(Group *group, gint32 timeout_ms) {
  gint64 deadline_us = client_deadline_us(timeout_ms);
  MilenaError *error = NULL;
  if (group->options.auto_commit && member_epoch(group->member) != 0)
    error = commit_and_wait(group, NULL, 0, timeout_ms);
  pthread_mutex_lock(&group->consumer->mutex);
  group->telling = TRUE;
  give_everything_up(group);
  MilenaError *late = say_farewell(group, deadline_us);
  pthread_mutex_unlock(&group->consumer->mutex);
  if (error == NULL)
    return late;
  milena_error_free(late);
  return error;
}

static void group_destroy(Group *group) {
  group_link_free(group->link);
  member_free(group->member);
  failure_free(group->refused);
  g_strfreev((char **)group->options.topics);
  g_free((char *)group->options.group);
  g_free((char *)group->options.topic_pattern);
  g_free((char *)group->options.instance_id);
  g_free((char *)group->options.client_id);
  g_free((char *)group->options.rack);
  g_free(group->member_id);
  g_free(group);
}

MilenaError *milena_consumer_leave(MilenaConsumer *consumer, int32_t timeout_ms) {
  Group *group = consumer->group;
  if (group == NULL)
    return NULL;
  MilenaError *error = group_leave(group, timeout_ms);
  pthread_mutex_lock(&consumer->mutex);
  consumer->group = NULL;
  pthread_mutex_unlock(&consumer->mutex);
  group_destroy(group);
  return error;
}

void group_free(Group *group) {
  if (group != NULL)
    milena_error_free(milena_consumer_leave(group->consumer, LEAVE_TIMEOUT_MS));
}

/* ---- what it is ---- */

MilenaError *milena_consumer_membership(MilenaConsumer *consumer, MilenaMembership **ret_membership) {
  Group *group = consumer->group;
  if (group == NULL)
    return no_group();
  MilenaMembership *membership = g_new0(MilenaMembership, 1);
  pthread_mutex_lock(&consumer->mutex);
  const GPtrArray *owned = member_owned(group->member);
  membership->group = g_strdup(group->options.group);
  membership->member_id = g_strdup(group->member_id);
  membership->epoch = member_epoch(group->member);
  membership->explanation = g_strdup(member_explanation(group->member));
  membership->partition_count = owned->len;
  membership->partitions = g_new0(MilenaOwnedPartition, owned->len);
  for (guint i = 0; i < owned->len; i++) {
    const MemberPart *part = owned->pdata[i];
    membership->partitions[i].topic = g_strdup(part->topic);
    membership->partitions[i].partition = part->partition;
  }
  pthread_mutex_unlock(&consumer->mutex);
  *ret_membership = membership;
  return NULL;
}

void milena_consumer_membership_free(MilenaMembership *membership) {
  if (membership == NULL)
    return;
  for (size_t i = 0; i < membership->partition_count; i++)
    g_free(membership->partitions[i].topic);
  g_free(membership->partitions);
  g_free(membership->group);
  g_free(membership->member_id);
  g_free(membership->explanation);
  g_free(membership);
}
