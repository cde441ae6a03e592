/* Telling committed offsets, and selecting them by topic and partition. No state. */
#include <string.h>

#include "services/group_coordinator/groups/groups_internal.h"

static void add_committed(Group *group, const GroupsKnownTopic *topic, GArray *parts) {
  for (gint32 p = 0; p < topic->partition_count; p++) {
    GroupsPart part = groups_part(topic->number, p);
    if (groups_part_table_get(group->offsets, part))
      g_array_append_val(parts, part);
  }
}

Failure *groups_offset_select(Groups *groups, Group *group, Milena__V1__TopicPartitions *const *topics, gsize count,
                              GArray *parts) {
  for (gsize i = 0; i < count; i++) {
    GroupsKnownTopic *topic;
    Failure *failure = groups_offset_topic(groups, group, topics[i]->topic, topics[i]->topic_id, &topic);
    if (failure)
      return failure;
    if (topics[i]->n_partitions == 0)
      add_committed(group, topic, parts);
    for (gsize k = 0; k < topics[i]->n_partitions; k++) {
      gint32 partition = topics[i]->partitions[k];
      failure = groups_check_partition(topic, partition);
      if (failure)
        return failure;
      GroupsPart part = groups_part(topic->number, partition);
      g_array_append_val(parts, part);
    }
  }
  return NULL;
}

/* ---- telling ---- */

/* @failure: taken, may be NULL */
static void add(Milena__V1__FetchOffsetsResponse *response, GPtrArray *offsets, const char *topic, const char *topic_id,
                gint32 partition, Failure *failure, const GroupsOffset *offset) {
  Milena__V1__FetchedOffset *fetched = g_new(Milena__V1__FetchedOffset, 1);
  milena__v1__fetched_offset__init(fetched);
  fetched->topic = g_strdup(topic);
  fetched->topic_id = g_strdup(topic_id);
  fetched->partition = partition;
  if (failure)
    fetched->status = failure_to_status(failure);
  failure_free(failure);
  fetched->committed = groups_offset_message(offset);
  g_ptr_array_add(offsets, fetched);
  response->n_offsets++;
}

static void fetch_topic(Groups *groups, Group *group, const Milena__V1__TopicPartitions *asked,
                        Milena__V1__FetchOffsetsResponse *response, GPtrArray *offsets) {
  GroupsKnownTopic *topic = NULL;
  g_autoptr(Failure) unknown = groups_offset_topic(groups, group, asked->topic, asked->topic_id, &topic);
  if (unknown && asked->n_partitions == 0)
    add(response, offsets, asked->topic, asked->topic_id, -1, failure_copy(unknown), NULL);
  for (gsize i = 0; i < asked->n_partitions; i++) {
    gint32 partition = asked->partitions[i];
    Failure *failure = topic ? groups_check_partition(topic, partition) : failure_copy(unknown);
    const GroupsOffset *offset =
        failure || !topic ? NULL : groups_part_table_get(group->offsets, groups_part(topic->number, partition));
    add(response, offsets, topic ? topic->name : asked->topic, topic ? topic->id : asked->topic_id, partition, failure,
        offset);
  }
  if (!topic || asked->n_partitions > 0)
    return;
  for (gint32 p = 0; p < topic->partition_count; p++) {
    const GroupsOffset *offset = groups_part_table_get(group->offsets, groups_part(topic->number, p));
    if (offset)
      add(response, offsets, topic->name, topic->id, p, NULL, offset);
  }
}

static void fetch_all(Groups *groups, Group *group, Milena__V1__FetchOffsetsResponse *response, GPtrArray *offsets) {
  g_autoptr(GArray) parts = groups_part_table_keys(group->offsets);
  groups_parts_sort_by_name(groups, parts);
  for (guint i = 0; i < parts->len; i++) {
    GroupsPart part = groups_parts_at(parts, i);
    const GroupsKnownTopic *topic = groups_topic_number(groups, groups_part_topic(part));
    add(response, offsets, topic->name, topic->id, groups_part_partition(part), NULL,
        groups_part_table_get(group->offsets, part));
  }
}

void groups_fetch_offsets(Groups *groups, GroupsToken token, const Milena__V1__FetchOffsetsRequest *request) {
  Group *group = NULL;
  Failure *failure = groups_check_group(request->group);
  failure = failure ? failure : groups_find_or_refuse(groups, request->group, &group);
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  Milena__V1__FetchOffsetsResponse *response = g_new(Milena__V1__FetchOffsetsResponse, 1);
  milena__v1__fetch_offsets_response__init(response);
  GPtrArray *offsets = g_ptr_array_new();
  for (gsize i = 0; i < request->n_topics; i++)
    fetch_topic(groups, group, request->topics[i], response, offsets);
  if (request->n_topics == 0)
    fetch_all(groups, group, response, offsets);
  response->offsets = (Milena__V1__FetchedOffset **)g_ptr_array_free(offsets, FALSE);
  groups_answer(groups, token, response);
}
