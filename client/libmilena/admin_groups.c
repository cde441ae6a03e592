/* Administration of consumer groups: plain calls that wait, on the caller's thread. See milena/group.h. Keeps no state.
 */
#include <milena/group.h>

#include "client/libmilena/client.h"
#include "client/libmilena/convert.h"
#include "milena/v1/group_service.pb-c.h"
#include "services/base/times.h"

/* Of one page of a listing. */
#define PAGE_SIZE 1000

static MilenaError *call(MilenaClient *client, const char *method, const ProtobufCMessage *request, CallKind kind,
                         gint64 deadline_us, RpcMessage **ret_response) {
  return client_call(client, &milena__v1__group_service__descriptor, method, request, kind, deadline_us, ret_response);
}

static char **copy_texts(char *const *texts, size_t count) {
  char **copies = g_new0(char *, count + 1);
  for (size_t i = 0; i < count; i++)
    copies[i] = g_strdup(texts[i]);
  return copies;
}

/* ---- listing ---- */

void milena_group_list_free(MilenaGroupList *list) {
  if (list == NULL)
    return;
  for (size_t i = 0; i < list->count; i++)
    g_free(list->groups[i].group);
  g_free(list->groups);
  g_strfreev(list->missing);
  g_free(list);
}

static void add_page(const Milena__V1__ListGroupsResponse *page, GArray *groups, GPtrArray *missing) {
  for (gsize i = 0; i < page->n_groups; i++) {
    const Milena__V1__GroupSummary *proto = page->groups[i];
    MilenaGroupSummary group = {
        .group = g_strdup(proto->group),
        .state = (MilenaGroupState)proto->state,
        .member_count = proto->member_count,
        .epoch = proto->group_epoch,
        .coordinator_id = proto->coordinator_id,
    };
    g_array_append_val(groups, group);
  }
  for (gsize i = 0; i < page->n_missing; i++)
    g_ptr_array_add(missing, g_strdup(page->missing[i]->message));
}

MilenaError *milena_admin_list_groups(MilenaClient *client, int32_t timeout_ms, MilenaGroupList **ret_list) {
  gint64 deadline_us = client_deadline_us(timeout_ms);
  GArray *groups = g_array_new(FALSE, FALSE, sizeof(MilenaGroupSummary));
  GPtrArray *missing = g_ptr_array_new();
  g_autofree char *token = g_strdup("");
  MilenaError *error = NULL;
  do {
    Milena__V1__ListGroupsRequest request = MILENA__V1__LIST_GROUPS_REQUEST__INIT;
    g_autoptr(RpcMessage) response = NULL;
    request.page_size = PAGE_SIZE;
    request.page_token = token;
    error = call(client, "ListGroups", &request.base, CALL_READ, deadline_us, &response);
    if (error != NULL)
      break;
    const Milena__V1__ListGroupsResponse *page = rpc_message_body(response);
    add_page(page, groups, missing);
    g_free(token);
    token = g_strdup(page->next_page_token);
  } while (*token != '\0');
  MilenaGroupList *list = g_new0(MilenaGroupList, 1);
  list->count = groups->len;
  list->missing_count = missing->len;
  g_ptr_array_add(missing, NULL);
  list->groups = (MilenaGroupSummary *)(void *)g_array_free(groups, FALSE);
  list->missing = (char **)g_ptr_array_free(missing, FALSE);
  if (error != NULL)
    milena_group_list_free(list);
  else
    *ret_list = list;
  return error;
}

/* ---- one group ---- */

static void member_clear(MilenaGroupMember *member) {
  g_free(member->member_id);
  g_free(member->instance_id);
  g_free(member->client_id);
  g_free(member->client_address);
  g_free(member->rack);
  g_strfreev(member->topics);
  g_free(member->topic_pattern);
  g_free(member->explanation);
}

void milena_group_free(MilenaGroup *group) {
  if (group == NULL)
    return;
  for (size_t i = 0; i < group->member_count; i++)
    member_clear(&group->members[i]);
  for (size_t i = 0; i < group->partition_count; i++) {
    MilenaGroupPartition *partition = &group->partitions[i];
    g_free(partition->topic);
    g_free(partition->member_id);
    g_free(partition->metadata);
    g_free(partition->problem);
  }
  g_free(group->members);
  g_free(group->partitions);
  g_strfreev(group->explanation);
  g_free(group->coordinator_address);
  g_free(group->group);
  g_free(group);
}

static uint32_t count_partitions(Milena__V1__TopicPartitions *const *topics, size_t count) {
  size_t sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += topics[i]->n_partitions;
  return (uint32_t)sum;
}

static MilenaGroupMember convert_member(const Milena__V1__GroupMember *proto) {
  MilenaGroupMember member = {
      .member_id = g_strdup(proto->member_id),
      .instance_id = g_strdup(proto->instance_id),
      .client_id = g_strdup(proto->client_id),
      .client_address = g_strdup(proto->client_address),
      .rack = g_strdup(proto->rack),
      .epoch = proto->member_epoch,
      .owned_count = count_partitions(proto->owned, proto->n_owned),
      .revoking_count = count_partitions(proto->revoking, proto->n_revoking),
      .target_count = count_partitions(proto->target, proto->n_target),
      .heartbeat_ms = times_timestamp_ms(proto->last_heartbeat, 0),
      .explanation = g_strdup(proto->explanation),
  };
  const Milena__V1__GroupSubscription *subscription = proto->subscription;
  member.topic_count = subscription != NULL ? subscription->n_topics : 0;
  member.topics = copy_texts(subscription != NULL ? subscription->topics : NULL, member.topic_count);
  member.topic_pattern = g_strdup(subscription != NULL ? subscription->topic_pattern : "");
  return member;
}

static MilenaGroupPartition convert_partition(const Milena__V1__GroupPartition *proto) {
  const Milena__V1__CommittedOffset *committed = proto->committed;
  gboolean ends =
      proto->high_watermark_presence_case == MILENA__V1__GROUP_PARTITION__HIGH_WATERMARK_PRESENCE_HIGH_WATERMARK;
  return (MilenaGroupPartition){
      .topic = g_strdup(proto->topic),
      .partition = proto->partition,
      .member_id = g_strdup(proto->member_id),
      .committed = committed != NULL ? committed->offset : -1,
      .leader_epoch = committed != NULL ? committed->leader_epoch : -1,
      .metadata = g_strdup(committed != NULL ? committed->metadata : ""),
      .commit_time_ms = committed != NULL ? times_timestamp_ms(committed->commit_time, 0) : 0,
      .high_watermark = ends ? proto->high_watermark : -1,
      .lag = proto->lag_presence_case == MILENA__V1__GROUP_PARTITION__LAG_PRESENCE_LAG ? proto->lag : -1,
      .problem = g_strdup(proto->status != NULL ? proto->status->message : ""),
  };
}

static MilenaGroupConfig convert_group_config(const Milena__V1__GroupConfig *proto) {
  if (proto == NULL)
    return (MilenaGroupConfig){0};
  return (MilenaGroupConfig){
      .session_timeout_ms = times_duration_ms(proto->session_timeout, 0),
      .heartbeat_interval_ms = times_duration_ms(proto->heartbeat_interval, 0),
      .assignor = (MilenaAssignor)proto->assignor,
      .offsets_retention_ms = times_duration_ms(proto->offsets_retention, 0),
      .max_members = proto->max_members,
  };
}

static MilenaGroup *convert_group(const Milena__V1__Group *proto) {
  MilenaGroup *group = g_new0(MilenaGroup, 1);
  *group = (MilenaGroup){
      .group = g_strdup(proto->group),
      .state = (MilenaGroupState)proto->state,
      .epoch = proto->group_epoch,
      .assignment_epoch = proto->assignment_epoch,
      .coordinator_id = proto->coordinator != NULL ? proto->coordinator->id : -1,
      .coordinator_address = g_strdup(proto->coordinator != NULL ? proto->coordinator->address : ""),
      .offsets_partition = proto->coordinator != NULL ? proto->coordinator->partition : -1,
      .config = convert_group_config(proto->config),
      .members = g_new0(MilenaGroupMember, proto->n_members),
      .member_count = proto->n_members,
      .partitions = g_new0(MilenaGroupPartition, proto->n_partitions),
      .partition_count = proto->n_partitions,
      .total_lag = proto->total_lag,
      .explanation = copy_texts(proto->explanation, proto->n_explanation),
      .explanation_count = proto->n_explanation,
  };
  for (gsize i = 0; i < proto->n_members; i++)
    group->members[i] = convert_member(proto->members[i]);
  for (gsize i = 0; i < proto->n_partitions; i++)
    group->partitions[i] = convert_partition(proto->partitions[i]);
  return group;
}

MilenaError *milena_admin_get_group(MilenaClient *client, const char *group, bool skip_lag, int32_t timeout_ms,
                                    MilenaGroup **ret_group) {
  Milena__V1__GetGroupRequest request = MILENA__V1__GET_GROUP_REQUEST__INIT;
  request.group = (char *)group;
  request.skip_lag = skip_lag;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = call(client, "GetGroup", &request.base, CALL_READ, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__GetGroupResponse *body = rpc_message_body(response);
  if (body->group == NULL)
    return milena_error_new(FAILURE(INTERNAL), "GetGroup answered without a group: ask for the broker's version");
  *ret_group = convert_group(body->group);
  return NULL;
}

/* ---- changing groups ---- */

/* Set a duration that is not the default. */
static void set_duration(Google__Protobuf__Duration **field, Google__Protobuf__Duration *storage, int64_t ms) {
  if (ms == 0)
    return;
  times_duration_set(storage, ms);
  *field = storage;
}

MilenaError *milena_admin_update_group(MilenaClient *client, const char *group, const MilenaGroupConfig *config,
                                       bool validate_only, int32_t timeout_ms) {
  Milena__V1__UpdateGroupRequest request = MILENA__V1__UPDATE_GROUP_REQUEST__INIT;
  Milena__V1__GroupConfig proto = MILENA__V1__GROUP_CONFIG__INIT;
  Google__Protobuf__Duration session, interval, retention;
  set_duration(&proto.session_timeout, &session, config->session_timeout_ms);
  set_duration(&proto.heartbeat_interval, &interval, config->heartbeat_interval_ms);
  set_duration(&proto.offsets_retention, &retention, config->offsets_retention_ms);
  proto.assignor = (Milena__V1__Assignor)config->assignor;
  proto.max_members = config->max_members;
  request.group = (char *)group;
  request.config = &proto;
  request.validate_only = validate_only;
  return call(client, "UpdateGroup", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms), NULL);
}

MilenaError *milena_admin_delete_group(MilenaClient *client, const char *group, int32_t timeout_ms) {
  Milena__V1__DeleteGroupRequest request = MILENA__V1__DELETE_GROUP_REQUEST__INIT;
  request.group = (char *)group;
  return call(client, "DeleteGroup", &request.base, CALL_WRITE, client_deadline_us(timeout_ms), NULL);
}

/* ---- offsets ---- */

/* Partitions as messages; owns the arrays, borrows the rest. */
typedef struct {
  Milena__V1__TopicPartitions *topics;
  Milena__V1__TopicPartitions **pointers;
} TopicProtos;

static void topics_clear(TopicProtos *protos) {
  g_free(protos->topics);
  g_free(protos->pointers);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TopicProtos, topics_clear)

static void topics_init(TopicProtos *protos, const MilenaTopicPartition *partitions, size_t count) {
  protos->topics = g_new(Milena__V1__TopicPartitions, count);
  protos->pointers = g_new(Milena__V1__TopicPartitions *, count);
  for (size_t i = 0; i < count; i++) {
    milena__v1__topic_partitions__init(&protos->topics[i]);
    protos->topics[i].topic = (char *)partitions[i].topic;
    if (partitions[i].partition >= 0) {
      protos->topics[i].partitions = (int32_t *)&partitions[i].partition;
      protos->topics[i].n_partitions = 1;
    }
    protos->pointers[i] = &protos->topics[i];
  }
}

void milena_offset_change_list_free(MilenaOffsetChangeList *list) {
  if (list == NULL)
    return;
  for (size_t i = 0; i < list->count; i++) {
    g_free(list->changes[i].topic);
    milena_error_free(list->changes[i].error);
  }
  g_free(list->changes);
  g_free(list);
}

static MilenaOffsetChangeList *changes_new(size_t count) {
  MilenaOffsetChangeList *list = g_new0(MilenaOffsetChangeList, 1);
  list->changes = g_new0(MilenaOffsetChange, count);
  list->count = count;
  return list;
}

static MilenaOffsetChangeList *convert_resets(const Milena__V1__ResetOffsetsResponse *body) {
  MilenaOffsetChangeList *list = changes_new(body->n_results);
  for (gsize i = 0; i < body->n_results; i++) {
    const Milena__V1__ResetOffset *proto = body->results[i];
    gboolean had = proto->before_presence_case == MILENA__V1__RESET_OFFSET__BEFORE_PRESENCE_BEFORE;
    list->changes[i] = (MilenaOffsetChange){
        .topic = g_strdup(proto->topic),
        .partition = proto->partition,
        .before = had ? proto->before : -1,
        .after = proto->after,
        .error = milena_error_take(failure_from_status(proto->status), OUTCOME_NOT_WRITTEN),
    };
  }
  return list;
}

/* The explicit offsets of a target as messages. */
static void fill_offsets(const MilenaOffsetTarget *target, Milena__V1__OffsetCommit *offsets,
                         Milena__V1__OffsetCommit **pointers) {
  for (size_t i = 0; i < target->offset_count; i++) {
    const MilenaOffset *offset = &target->offsets[i];
    milena__v1__offset_commit__init(&offsets[i]);
    offsets[i].topic = (char *)offset->topic;
    offsets[i].partition = offset->partition;
    offsets[i].offset = offset->offset;
    if (offset->metadata != NULL)
      offsets[i].metadata = (char *)offset->metadata;
    pointers[i] = &offsets[i];
  }
}

MilenaError *milena_admin_reset_offsets(MilenaClient *client, const char *group, const MilenaOffsetTarget *target,
                                        bool validate_only, int32_t timeout_ms, MilenaOffsetChangeList **ret_list) {
  Milena__V1__ResetOffsetsRequest request = MILENA__V1__RESET_OFFSETS_REQUEST__INIT;
  Milena__V1__ExplicitOffsets explicit = MILENA__V1__EXPLICIT_OFFSETS__INIT;
  g_autofree Milena__V1__OffsetCommit *offsets = g_new(Milena__V1__OffsetCommit, target->offset_count);
  g_autofree Milena__V1__OffsetCommit **pointers = g_new(Milena__V1__OffsetCommit *, target->offset_count);
  g_auto(TopicProtos) topics = {NULL, NULL};
  PositionProto position;
  topics_init(&topics, target->partitions, target->partition_count);
  request.group = (char *)group;
  request.topics = topics.pointers;
  request.n_topics = target->partition_count;
  request.validate_only = validate_only;
  if (target->position != NULL) {
    if (!convert_to_position(*target->position, &position))
      return milena_error_new(FAILURE(INVALID_FIELD), "the position to reset the group %s to is none", group);
    request.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_POSITION;
    request.position = &position.position;
  } else if (target->offset_count > 0) {
    fill_offsets(target, offsets, pointers);
    explicit.offsets = pointers;
    explicit.n_offsets = target->offset_count;
    request.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_OFFSETS;
    request.offsets = &explicit;
  } else {
    request.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_SHIFT;
    request.shift = target->shift;
  }
  /* A shift that is made twice goes twice as far. */
  gboolean once = request.target_case == MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_SHIFT && !validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = call(client, "ResetOffsets", &request.base, once ? CALL_WRITE : CALL_WRITE_IDEMPOTENT,
                            client_deadline_us(timeout_ms), &response);
  if (error == NULL && ret_list != NULL)
    *ret_list = convert_resets(rpc_message_body(response));
  return error;
}

MilenaError *milena_admin_delete_offsets(MilenaClient *client, const char *group,
                                         const MilenaTopicPartition *partitions, size_t count, int32_t timeout_ms,
                                         MilenaOffsetChangeList **ret_list) {
  Milena__V1__DeleteOffsetsRequest request = MILENA__V1__DELETE_OFFSETS_REQUEST__INIT;
  g_auto(TopicProtos) topics = {NULL, NULL};
  topics_init(&topics, partitions, count);
  request.group = (char *)group;
  request.topics = topics.pointers;
  request.n_topics = count;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call(client, "DeleteOffsets", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms), &response);
  if (error != NULL || ret_list == NULL)
    return error;
  const Milena__V1__DeleteOffsetsResponse *body = rpc_message_body(response);
  *ret_list = changes_new(body->n_results);
  for (gsize i = 0; i < body->n_results; i++)
    (*ret_list)->changes[i] = (MilenaOffsetChange){
        .topic = g_strdup(body->results[i]->topic),
        .partition = body->results[i]->partition,
        .before = -1,
        .after = -1,
        .error = milena_error_take(failure_from_status(body->results[i]->status), OUTCOME_NOT_WRITTEN),
    };
  return NULL;
}
