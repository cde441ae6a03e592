/* A group's settings, changed. No state. */
#include "services/group_coordinator/groups/groups_internal.h"

Milena__V1__GroupConfig *groups_tell_settings(const GroupsSettings *settings) {
  Milena__V1__GroupConfig *config = g_new(Milena__V1__GroupConfig, 1);
  milena__v1__group_config__init(config);
  config->session_timeout = groups_tell_duration(settings->session_timeout_ms);
  config->heartbeat_interval = groups_tell_duration(settings->heartbeat_interval_ms);
  config->offsets_retention = groups_tell_duration(settings->offsets_retention_ms);
  config->assignor = settings->assignor;
  config->max_members = settings->max_members;
  return config;
}

/* Nobody is out because of a shorter session before a whole one of it is over. */
static void touch_all(const Group *group) {
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->members);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsMember *member = data;
    groups_timer_set(&group->all->sessions, &member->session,
                     group->all->time.now_ms + group->settings.session_timeout_ms);
  }
}

static void set(Group *group, const GroupsSettings *settings) {
  gboolean session = settings->session_timeout_ms != group->settings.session_timeout_ms;
  gboolean assignor = settings->assignor != group->settings.assignor;
  group->settings = *settings;
  group->has_settings = TRUE;
  groups_write_group(group);
  if (session)
    touch_all(group);
  if (assignor && g_hash_table_size(group->members) > 0)
    groups_target_dirty(group, FALSE, "the group has another assignor");
  groups_expiry_arm(group);
}

void groups_update(Groups *groups, GroupsToken token, const Milena__V1__UpdateGroupRequest *request, GroupsTime time) {
  groups->time = time;
  GroupsSettings settings;
  Failure *failure = groups_check_group(request->group);
  failure = failure ? failure : groups_check_settings(request->config, &settings);
  if (failure) {
    groups_refuse(groups, token, failure);
    return;
  }
  if (!request->validate_only)
    set(groups_ensure(groups, request->group), &settings);
  Milena__V1__UpdateGroupResponse *response = g_new(Milena__V1__UpdateGroupResponse, 1);
  milena__v1__update_group_response__init(response);
  response->config = groups_tell_settings(&settings);
  groups_answer(groups, token, response);
}
