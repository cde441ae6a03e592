/* Moving the committed offsets of a group that nobody is in. The host asks the leaders where the logs begin, end, and
 * where a position is, in between; so everything is checked twice. No state. */
#include "services/group_coordinator/groups/groups_internal.h"

typedef Milena__V1__ResetOffsetsRequest Request;
#define TARGET(name) MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_##name

static Failure *bad_field(const char *field, const char *why) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", why), field, why);
}

static Failure *check(const Groups *groups, const Request *request, Group **ret_group) {
  Failure *failure = groups_check_group(request->group);
  if (failure)
    return failure;
  gboolean explicit = request->target_case == TARGET(OFFSETS);
  if (request->target_case == TARGET(_NOT_SET))
    return bad_field("target", "Say where the group shall go on: at a position, by a shift, or at given offsets.");
  if (request->target_case == TARGET(POSITION) && request->position->kind_case == MILENA__V1__POSITION__KIND__NOT_SET)
    return bad_field("position", "The position is an end of the log, an offset, or a time.");
  if (explicit && request->n_topics > 0)
    return bad_field("topics", "With given offsets, topics must be empty: the offsets say which.");
  if (explicit && request->offsets->n_offsets == 0)
    return bad_field("offsets", "At least one offset must be given.");
  if (explicit && request->offsets->n_offsets > GROUPS_COMMIT_OFFSETS_MAX)
    return bad_field("offsets", "At most 10,000 offsets can be given at once.");
  Group *group = groups_find(groups, request->group);
  if (group && g_hash_table_size(group->members) > 0)
    return failure_new(FAILURE(GROUP_IN_USE),
                       "The group \"%s\" has %u members, who would go on from where they are: stop them first.",
                       request->group, g_hash_table_size(group->members));
  *ret_group = group;
  return NULL;
}

/* ---- the plan ---- */

static void clear_reset(gpointer data) {
  GroupsReset *reset = data;
  g_clear_pointer(&reset->topic, g_free);
  g_clear_pointer(&reset->topic_id, g_free);
  g_clear_pointer(&reset->failure, failure_free);
}

static const GroupsOffset *committed(const Groups *groups, const Group *group, const char *topic_id, gint32 partition) {
  const GroupsKnownTopic *topic = g_hash_table_lookup(groups->topics_by_id, topic_id);
  return group && topic ? groups_part_table_get(group->offsets, groups_part(topic->number, partition)) : NULL;
}

static void plan_one(Groups *groups, const Group *group, const Request *request, const GroupsKnownTopic *topic,
                     gint32 partition, GArray *resets) {
  const GroupsOffset *before = committed(groups, group, topic->id, partition);
  GroupsReset reset = {
      .topic = g_strdup(topic->name),
      .topic_id = g_strdup(topic->id),
      .partition = partition,
      .committed = before ? before->offset : -1,
      .log_start = -1,
      .high_watermark = -1,
      .offset = -1,
  };
  if (!topic->known)
    reset.failure = failure_new(FAILURE(UNKNOWN_TOPIC), "The topic \"%s\" is gone.", topic->name);
  else if (partition < 0 || partition >= topic->partition_count)
    reset.failure = failure_new(FAILURE(UNKNOWN_PARTITION), "The topic \"%s\" has %d partitions, and no partition %d.",
                                topic->name, topic->partition_count, partition);
  else if (request->target_case == TARGET(SHIFT) && !before)
    reset.failure = bad_field("shift", "Nothing is committed for the partition that could be shifted.");
  g_array_append_val(resets, reset);
}

static Failure *plan_topic(Groups *groups, const Group *group, const Request *request,
                           const Milena__V1__TopicPartitions *asked, GArray *resets) {
  GroupsKnownTopic *topic;
  Failure *failure = groups_topic_pinned(groups, asked->topic, asked->topic_id, &topic);
  if (failure)
    return failure;
  gsize count = asked->n_partitions > 0 ? asked->n_partitions : (gsize)topic->partition_count;
  for (gsize i = 0; i < count; i++)
    plan_one(groups, group, request, topic, asked->n_partitions > 0 ? asked->partitions[i] : (gint32)i, resets);
  return NULL;
}

static Failure *plan_explicit(Groups *groups, const Group *group, const Request *request, GArray *resets) {
  for (gsize i = 0; i < request->offsets->n_offsets; i++) {
    const Milena__V1__OffsetCommit *given = request->offsets->offsets[i];
    GroupsKnownTopic *topic;
    if (given->offset < 0)
      return bad_field("offsets.offset", "An offset is 0 or more.");
    Failure *failure = groups_topic_pinned(groups, given->topic, given->topic_id, &topic);
    if (failure)
      return failure;
    plan_one(groups, group, request, topic, given->partition, resets);
  }
  return NULL;
}

static Failure *plan_committed(Groups *groups, const Group *group, const Request *request, GArray *resets) {
  if (!group)
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_GROUP), "There is no group \"%s\", so it has committed nothing.", request->group),
        "group", request->group);
  g_autoptr(GArray) parts = groups_part_table_keys(group->offsets);
  for (guint i = 0; i < parts->len; i++) {
    GroupsPart part = groups_parts_at(parts, i);
    plan_one(groups, group, request, groups_topic_number(groups, groups_part_topic(part)), groups_part_partition(part),
             resets);
  }
  return NULL;
}

static int compare_resets(gconstpointer a, gconstpointer b) {
  const GroupsReset *one = a, *other = b;
  int order = g_strcmp0(one->topic, other->topic);
  order = order ? order : g_strcmp0(one->topic_id, other->topic_id);
  return order ? order : (one->partition > other->partition) - (one->partition < other->partition);
}

static Failure *refuse_twice(const GArray *resets) {
  for (guint i = 1; i < resets->len; i++) {
    const GroupsReset *reset = &g_array_index(resets, GroupsReset, i);
    if (compare_resets(reset - 1, reset) == 0)
      return bad_field("topics", "A partition is named twice.");
  }
  return NULL;
}

Failure *groups_plan_reset(Groups *groups, const Request *request, GArray **ret_resets) {
  Group *group = NULL;
  Failure *failure = check(groups, request, &group);
  if (failure)
    return failure;
  g_autoptr(GArray) resets = g_array_new(FALSE, FALSE, sizeof(GroupsReset));
  g_array_set_clear_func(resets, clear_reset);
  if (request->target_case == TARGET(OFFSETS))
    failure = plan_explicit(groups, group, request, resets);
  else if (request->n_topics == 0)
    failure = plan_committed(groups, group, request, resets);
  for (gsize i = 0; !failure && i < request->n_topics; i++)
    failure = plan_topic(groups, group, request, request->topics[i], resets);
  g_array_sort(resets, compare_resets);
  failure = failure ? failure : refuse_twice(resets);
  if (!failure)
    *ret_resets = g_steal_pointer(&resets);
  return failure;
}

/* ---- carrying it out ---- */

static const Milena__V1__OffsetCommit *given_for(const Request *request, const GroupsReset *reset) {
  if (request->target_case != TARGET(OFFSETS))
    return NULL;
  for (gsize i = 0; i < request->offsets->n_offsets; i++) {
    const Milena__V1__OffsetCommit *given = request->offsets->offsets[i];
    if (given->partition == reset->partition && g_str_equal(given->topic, reset->topic))
      return given;
  }
  return NULL;
}

/* Where it goes on, within the log. */
static gint64 after_of(const Request *request, const GroupsReset *reset, const GroupsOffset *before) {
  const Milena__V1__OffsetCommit *given = given_for(request, reset);
  gint64 after = reset->offset;
  if (given)
    after = given->offset;
  else if (request->target_case == TARGET(SHIFT) && before &&
           __builtin_add_overflow(before->offset, request->shift, &after))
    after = request->shift > 0 ? G_MAXINT64 : 0;
  after = MIN(after, reset->high_watermark);
  return MAX(after, reset->log_start);
}

static Milena__V1__ResetOffset *result_new(const GroupsReset *reset, const GroupsOffset *before) {
  Milena__V1__ResetOffset *result = g_new(Milena__V1__ResetOffset, 1);
  milena__v1__reset_offset__init(result);
  result->topic = g_strdup(reset->topic);
  result->topic_id = g_strdup(reset->topic_id);
  result->partition = reset->partition;
  if (before) {
    result->before_presence_case = MILENA__V1__RESET_OFFSET__BEFORE_PRESENCE_BEFORE;
    result->before = before->offset;
  }
  return result;
}

static Milena__V1__ResetOffset *reset_one(Groups *groups, Group *group, const Request *request,
                                          const GroupsReset *reset) {
  const GroupsOffset *before = committed(groups, group, reset->topic_id, reset->partition);
  Milena__V1__ResetOffset *result = result_new(reset, before);
  g_autoptr(Failure) failure = reset->failure ? failure_copy(reset->failure) : NULL;
  GroupsKnownTopic *topic = NULL;
  if (!failure) /* it may have gone while the leaders were asked */
    failure = groups_topic_pinned(groups, reset->topic, reset->topic_id, &topic);
  if (!failure && (reset->log_start < 0 || reset->high_watermark < reset->log_start))
    failure = failure_new(FAILURE(LEADER_NOT_AVAILABLE), "The ends of \"%s\" partition %d are not known now.",
                          reset->topic, reset->partition);
  if (failure) {
    result->status = failure_to_status(failure);
    return result;
  }
  const Milena__V1__OffsetCommit *given = given_for(request, reset);
  result->after = after_of(request, reset, before);
  gboolean has_epoch =
      given && given->leader_epoch_presence_case == MILENA__V1__OFFSET_COMMIT__LEADER_EPOCH_PRESENCE_LEADER_EPOCH;
  GroupsOffset offset = {
      .offset = result->after,
      .leader_epoch = has_epoch ? given->leader_epoch : -1,
      .metadata = given ? given->metadata : (char *)"",
      .commit_ms = groups->time.wall_ms,
  };
  if (!request->validate_only)
    groups_offset_put(group, topic, reset->partition, &offset);
  return result;
}

void groups_reset(Groups *groups, GroupsToken token, const Request *request, const GArray *resets, GroupsTime time) {
  groups->time = time;
  Group *group = NULL;
  Failure *failure = check(groups, request, &group);
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  gboolean is_new = group == NULL;
  group = groups_ensure(groups, request->group);
  Milena__V1__ResetOffsetsResponse *response = g_new(Milena__V1__ResetOffsetsResponse, 1);
  milena__v1__reset_offsets_response__init(response);
  response->results = g_new0(Milena__V1__ResetOffset *, resets->len + 1);
  for (guint i = 0; i < resets->len; i++)
    response->results[response->n_results++] =
        reset_one(groups, group, request, &g_array_index(resets, GroupsReset, i));
  if (is_new && g_hash_table_size(group->offsets) == 0)
    groups_drop(group);
  else
    groups_expiry_arm(group);
  groups_answer(groups, token, response);
}
