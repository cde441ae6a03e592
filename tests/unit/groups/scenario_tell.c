/* Telling what happens; see scenario.h. */
#include "services/base/times.h"
#include "services/group_coordinator/groups/record.h"
#include "tests/unit/groups/scenario_internal.h"

typedef Milena__Internal__V1__GroupHeldTopic HeldTopic;

static void tell_held(GString *out, const char *what, HeldTopic *const *topics, gsize count) {
  g_string_append_printf(out, " %s{", what);
  for (gsize i = 0; i < count; i++) {
    g_string_append_printf(out, "%s%s:", i > 0 ? " " : "", topics[i]->topic_id);
    for (gsize k = 0; k < topics[i]->n_partitions; k++) {
      g_string_append_printf(out, "%s%d", k > 0 ? "," : "", topics[i]->partitions[k]);
      if (k < topics[i]->n_since_epochs)
        g_string_append_printf(out, "@%u", topics[i]->since_epochs[k]);
    }
  }
  g_string_append(out, "}");
}

static void tell_group(GString *out, const Milena__Internal__V1__GroupValue *group) {
  g_string_append_printf(out, " epoch %u assignment %u", group->epoch, group->assignment_epoch);
  if (group->settings)
    g_string_append_printf(out, " settings %u/%u/%u/%" G_GUINT64_FORMAT "/%u", group->settings->session_timeout_ms,
                           group->settings->heartbeat_interval_ms, group->settings->assignor,
                           group->settings->offsets_retention_ms, group->settings->max_members);
  if (group->empty_since_ms > 0)
    g_string_append(out, " empty");
  if (*group->reason)
    g_string_append_printf(out, " because %s", group->reason);
}

static void tell_member(GString *out, const Milena__Internal__V1__GroupMemberValue *member) {
  g_string_append_printf(out, " epoch %u before %u v%u", member->member_epoch, member->previous_epoch,
                         member->assignment_version);
  tell_held(out, "has", member->assigned, member->n_assigned);
  if (member->n_revoking > 0)
    tell_held(out, "gives", member->revoking, member->n_revoking);
  if (*member->instance_id)
    g_string_append_printf(out, " instance %s", member->instance_id);
  if (member->away)
    g_string_append(out, " away");
}

void scenario_tell_record(Scenario *scenario, const GroupsRecord *record) {
  GString *out = scenario->out;
  g_auto(GroupsDecoded) decoded = {0};
  g_autoptr(Failure) failure = groups_record_decode(record->key, record->value, &decoded);
  static const char *const KINDS[] = {"?", "fence", "group", "member", "target", "offset"};
  g_string_append_printf(out, "+ %s %s", KINDS[decoded.kind], decoded.group ? decoded.group : "?");
  if (decoded.name)
    g_string_append_printf(out, "/%s", decoded.name);
  if (decoded.kind == GROUPS_RECORD_OFFSET)
    g_string_append_printf(out, ":%d", decoded.partition);
  if (!decoded.value) {
    g_string_append(out, " gone\n");
    return;
  }
  if (decoded.kind == GROUPS_RECORD_GROUP) {
    tell_group(out, (const Milena__Internal__V1__GroupValue *)decoded.value);
  } else if (decoded.kind == GROUPS_RECORD_MEMBER) {
    tell_member(out, (const Milena__Internal__V1__GroupMemberValue *)decoded.value);
  } else if (decoded.kind == GROUPS_RECORD_TARGET) {
    const Milena__Internal__V1__GroupTargetValue *target =
        (const Milena__Internal__V1__GroupTargetValue *)decoded.value;
    g_string_append_printf(out, " epoch %u", target->epoch);
    tell_held(out, "", target->topics, target->n_topics);
  } else if (decoded.kind == GROUPS_RECORD_OFFSET) {
    const Milena__Internal__V1__GroupOffsetValue *offset =
        (const Milena__Internal__V1__GroupOffsetValue *)decoded.value;
    g_string_append_printf(out, " at %" G_GINT64_FORMAT " leader %d \"%.20s\"", offset->offset, offset->leader_epoch,
                           offset->metadata);
  }
  g_string_append_c(out, '\n');
}

/* ---- answers ---- */

static void tell_failure(GString *out, const Failure *failure) {
  g_string_append_printf(out, "%s: %s", failure_reason_name(failure_reason(failure)), failure_message(failure));
  const char *key, *value;
  for (guint i = 0; failure_get_at(failure, i, &key, &value); i++)
    g_string_append_printf(out, " [%s=%s]", key, value);
  if (failure_retry_delay_ms(failure) >= 0)
    g_string_append_printf(out, " [retry in %" G_GINT64_FORMAT " ms]", failure_retry_delay_ms(failure));
}

static void tell_status(GString *out, const Google__Rpc__Status *status) {
  g_autoptr(Failure) failure = failure_from_status(status);
  if (failure)
    tell_failure(out, failure);
  else
    g_string_append(out, "done");
}

static void tell_committed(GString *out, const Milena__V1__CommittedOffset *committed) {
  if (!committed)
    return;
  g_string_append_printf(out, "@%" G_GINT64_FORMAT, committed->offset);
  if (committed->leader_epoch >= 0)
    g_string_append_printf(out, "/%d", committed->leader_epoch);
  if (*committed->metadata)
    g_string_append_printf(out, "\"%s\"", committed->metadata);
}

static void tell_heartbeat(GString *out, const Milena__V1__HeartbeatResponse *response) {
  g_string_append_printf(out, "%s epoch %u", response->member_id, response->member_epoch);
  if (response->assignment) {
    g_string_append_printf(out, " v%u {", response->assignment->version);
    for (gsize i = 0; i < response->assignment->n_topics; i++) {
      const Milena__V1__AssignedTopic *topic = response->assignment->topics[i];
      g_string_append_printf(out, "%s%s:", i > 0 ? " " : "", topic->topic);
      for (gsize k = 0; k < topic->n_partitions; k++) {
        g_string_append_printf(out, "%s%d", k > 0 ? "," : "", topic->partitions[k]->partition);
        tell_committed(out, topic->partitions[k]->committed);
      }
    }
    g_string_append(out, "}");
  }
  if (response->pending_partitions > 0)
    g_string_append_printf(out, " pending %u", response->pending_partitions);
  if (*response->explanation)
    g_string_append_printf(out, " (%s)", response->explanation);
}

static void tell_parts(GString *out, const char *what, Milena__V1__TopicPartitions *const *topics, gsize count) {
  g_string_append_printf(out, " %s{", what);
  for (gsize i = 0; i < count; i++) {
    g_string_append_printf(out, "%s%s:", i > 0 ? " " : "", topics[i]->topic);
    for (gsize k = 0; k < topics[i]->n_partitions; k++)
      g_string_append_printf(out, "%s%d", k > 0 ? "," : "", topics[i]->partitions[k]);
  }
  g_string_append(out, "}");
}

static const char *state_name(Milena__V1__GroupState state) {
  static const char *const STATES[] = {"?", "empty", "stable", "reconciling"};
  return STATES[state];
}

static void tell_config(GString *out, const Milena__V1__GroupConfig *config) {
  g_string_append_printf(out,
                         "session %" G_GINT64_FORMAT " interval %" G_GINT64_FORMAT
                         " assignor %d retention %" G_GINT64_FORMAT " members %u",
                         times_duration_ms(config->session_timeout, 0),
                         times_duration_ms(config->heartbeat_interval, 0), (int)config->assignor,
                         times_duration_ms(config->offsets_retention, 0), config->max_members);
}

static void tell_view(GString *out, const Milena__V1__Group *group) {
  g_string_append_printf(out, "%s %s epoch %u assignment %u ", group->group, state_name(group->state),
                         group->group_epoch, group->assignment_epoch);
  tell_config(out, group->config);
  for (gsize i = 0; i < group->n_explanation; i++)
    g_string_append_printf(out, "\n  %s", group->explanation[i]);
  for (gsize i = 0; i < group->n_members; i++) {
    const Milena__V1__GroupMember *member = group->members[i];
    g_string_append_printf(out, "\n  member %s epoch %u", member->member_id, member->member_epoch);
    if (*member->instance_id)
      g_string_append_printf(out, " instance %s", member->instance_id);
    tell_parts(out, "owns", member->owned, member->n_owned);
    if (member->n_revoking > 0)
      tell_parts(out, "gives", member->revoking, member->n_revoking);
    tell_parts(out, "shall", member->target, member->n_target);
    g_string_append_printf(out, " %s", member->explanation);
  }
  for (gsize i = 0; i < group->n_partitions; i++) {
    const Milena__V1__GroupPartition *partition = group->partitions[i];
    g_string_append_printf(out, "\n  %s:%d", partition->topic, partition->partition);
    tell_committed(out, partition->committed);
    if (*partition->member_id)
      g_string_append_printf(out, " read by %s", partition->member_id);
  }
}

static void tell_results(GString *out, Milena__V1__PartitionResult *const *results, gsize count) {
  for (gsize i = 0; i < count; i++) {
    g_string_append_printf(out, "%s%s:%d ", i > 0 ? "\n  " : "", results[i]->topic, results[i]->partition);
    tell_status(out, results[i]->status);
  }
}

static void tell_fetched(GString *out, const Milena__V1__FetchOffsetsResponse *response) {
  if (response->n_offsets == 0)
    g_string_append(out, "nothing");
  for (gsize i = 0; i < response->n_offsets; i++) {
    const Milena__V1__FetchedOffset *offset = response->offsets[i];
    g_string_append_printf(out, "%s%s:%d", i > 0 ? " " : "", offset->topic, offset->partition);
    tell_committed(out, offset->committed);
    if (offset->status) {
      g_string_append_c(out, ' ');
      tell_status(out, offset->status);
    }
  }
}

static void tell_reset(GString *out, const Milena__V1__ResetOffsetsResponse *response) {
  for (gsize i = 0; i < response->n_results; i++) {
    const Milena__V1__ResetOffset *result = response->results[i];
    g_string_append_printf(out, "%s%s:%d ", i > 0 ? "\n  " : "", result->topic, result->partition);
    if (result->before_presence_case == MILENA__V1__RESET_OFFSET__BEFORE_PRESENCE_BEFORE)
      g_string_append_printf(out, "from %" G_GINT64_FORMAT " ", result->before);
    if (result->status)
      tell_status(out, result->status);
    else
      g_string_append_printf(out, "to %" G_GINT64_FORMAT, result->after);
  }
}

static void tell_list(GString *out, const Milena__V1__ListGroupsResponse *response) {
  for (gsize i = 0; i < response->n_groups; i++)
    g_string_append_printf(out, "%s%s %s members %u epoch %u", i > 0 ? "; " : "", response->groups[i]->group,
                           state_name(response->groups[i]->state), response->groups[i]->member_count,
                           response->groups[i]->group_epoch);
  if (*response->next_page_token)
    g_string_append_printf(out, "; more after %s", response->next_page_token);
}

static void tell_response(GString *out, const ProtobufCMessage *response) {
  const ProtobufCMessageDescriptor *type = response->descriptor;
  if (type == &milena__v1__heartbeat_response__descriptor)
    tell_heartbeat(out, (const Milena__V1__HeartbeatResponse *)response);
  else if (type == &milena__v1__commit_offsets_response__descriptor)
    tell_results(out, ((const Milena__V1__CommitOffsetsResponse *)response)->results,
                 ((const Milena__V1__CommitOffsetsResponse *)response)->n_results);
  else if (type == &milena__v1__delete_offsets_response__descriptor)
    tell_results(out, ((const Milena__V1__DeleteOffsetsResponse *)response)->results,
                 ((const Milena__V1__DeleteOffsetsResponse *)response)->n_results);
  else if (type == &milena__v1__fetch_offsets_response__descriptor)
    tell_fetched(out, (const Milena__V1__FetchOffsetsResponse *)response);
  else if (type == &milena__v1__list_groups_response__descriptor)
    tell_list(out, (const Milena__V1__ListGroupsResponse *)response);
  else if (type == &milena__v1__get_group_response__descriptor)
    tell_view(out, ((const Milena__V1__GetGroupResponse *)response)->group);
  else if (type == &milena__v1__update_group_response__descriptor)
    tell_config(out, ((const Milena__V1__UpdateGroupResponse *)response)->config);
  else if (type == &milena__v1__reset_offsets_response__descriptor)
    tell_reset(out, (const Milena__V1__ResetOffsetsResponse *)response);
  else
    g_string_append(out, "done");
}

void scenario_tell_answer(Scenario *scenario, const char *label, const GroupsAnswer *answer) {
  g_string_append_printf(scenario->out, "%s: ", label);
  if (answer->failure)
    tell_failure(scenario->out, answer->failure);
  else
    tell_response(scenario->out, answer->response);
  g_string_append_c(scenario->out, '\n');
}
