/* What requests may say: names, limits, ranges. No state; each refusal names the field. */
#include <string.h>

#include "services/base/times.h"
#include "services/group_coordinator/groups/groups_internal.h"

#define SESSION_MIN_MS 1000
#define SESSION_MAX_MS (G_GINT64_CONSTANT(30) * 60 * 1000)
#define SESSION_DEFAULT_MS (G_GINT64_CONSTANT(45) * 1000)
#define INTERVAL_MIN_MS 100
#define INTERVAL_DEFAULT_MS 3000
#define RETENTION_MIN_MS 1000
#define RETENTION_MAX_MS (G_GINT64_CONSTANT(3650) * 24 * 3600 * 1000)
#define RETENTION_DEFAULT_MS (G_GINT64_CONSTANT(7) * 24 * 3600 * 1000)
#define MEMBERS_DEFAULT 1000
#define MEMBERS_MAX 100000
#define REBALANCE_MAX_MS (G_GINT64_CONSTANT(24) * 3600 * 1000)

static Failure *refuse(const char *field, const char *format, ...) G_GNUC_PRINTF(2, 3);
static Failure *refuse(const char *field, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *sentence = g_strdup_vprintf(format, args);
  va_end(args);
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", sentence), field, sentence);
}

static gboolean is_printable(const char *text) {
  if (!g_utf8_validate(text, -1, NULL))
    return FALSE;
  for (; *text; text = g_utf8_next_char(text))
    if (!g_unichar_isprint(g_utf8_get_char(text)))
      return FALSE;
  return TRUE;
}

static Failure *check_text(const char *field, const char *text, gsize bytes_max) {
  gsize length = strlen(text);
  if (length > bytes_max)
    return refuse(field, "The field %s has %" G_GSIZE_FORMAT " bytes; at most %" G_GSIZE_FORMAT " are allowed.", field,
                  length, bytes_max);
  if (!is_printable(text))
    return refuse(field, "The field %s has characters that can't be printed.", field);
  return NULL;
}

Failure *groups_check_name(const char *field, const char *text, gboolean required) {
  if (!*text)
    return required ? refuse(field, "The field %s is missing.", field) : NULL;
  return check_text(field, text, GROUPS_NAME_BYTES_MAX);
}

Failure *groups_check_group(const char *name) {
  return groups_check_name("group", name, TRUE);
}

gboolean groups_topic_name_is_valid(const char *name) {
  gsize length = strlen(name);
  if (length < 1 || length > 249)
    return FALSE;
  for (const char *c = name; *c; c++)
    if (!g_ascii_isalnum(*c) && *c != '.' && *c != '_' && *c != '-')
      return FALSE;
  return TRUE;
}

/* ---- heartbeats ---- */

static Failure *check_leave(const Milena__V1__HeartbeatRequest *request) {
  if ((guint)request->leave > (guint)MILENA__V1__LEAVE__LEAVE_TO_RETURN)
    return refuse("leave", "The way to leave, %d, is none that this version knows.", (int)request->leave);
  return NULL;
}

static Failure *check_times(const Milena__V1__HeartbeatRequest *request) {
  gint64 rebalance_ms = times_duration_ms(request->rebalance_timeout, REBALANCE_MAX_MS);
  if (rebalance_ms < 1 || rebalance_ms > REBALANCE_MAX_MS)
    return refuse("rebalance_timeout", "The rebalance timeout must be more than 0 and at most 24 hours.");
  return NULL;
}

Failure *groups_check_heartbeat(const Milena__V1__HeartbeatRequest *request) {
  gboolean joins = request->member_epoch == 0 && request->leave == MILENA__V1__LEAVE__LEAVE_UNSPECIFIED;
  Failure *failure = groups_check_group(request->group);
  failure = failure ? failure : groups_check_name("member_id", request->member_id, !joins);
  failure = failure ? failure : groups_check_name("instance_id", request->instance_id, FALSE);
  failure = failure ? failure : check_text("client_id", request->client_id, GROUPS_TEXT_BYTES_MAX);
  failure = failure ? failure : check_text("rack", request->rack, GROUPS_TEXT_BYTES_MAX);
  failure = failure ? failure : check_leave(request);
  failure = failure ? failure : check_times(request);
  if (!failure && (guint)request->offset_reset > (guint)MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE)
    failure =
        refuse("offset_reset", "The reset policy %d is none that this version knows.", (int)request->offset_reset);
  if (!failure && joins && !request->subscription)
    failure = refuse("subscription", "Who joins the group \"%s\" must say what it wants to read.", request->group);
  return failure;
}

/* ---- settings ---- */

void groups_settings_default(GroupsSettings *settings) {
  *settings = (GroupsSettings){
      .session_timeout_ms = SESSION_DEFAULT_MS,
      .heartbeat_interval_ms = INTERVAL_DEFAULT_MS,
      .offsets_retention_ms = RETENTION_DEFAULT_MS,
      .assignor = MILENA__V1__ASSIGNOR__ASSIGNOR_STICKY,
      .max_members = MEMBERS_DEFAULT,
  };
}

static Failure *check_session(const Milena__V1__GroupConfig *config, GroupsSettings *settings) {
  settings->session_timeout_ms = times_duration_ms(config->session_timeout, SESSION_DEFAULT_MS);
  if (settings->session_timeout_ms < SESSION_MIN_MS || settings->session_timeout_ms > SESSION_MAX_MS)
    return refuse("config.session_timeout", "The session timeout must be from 1 s to 30 min.");
  /* A third of the session: two heartbeats may be lost. The default shrinks with a short session. */
  gint64 most = settings->session_timeout_ms / 3;
  settings->heartbeat_interval_ms = times_duration_ms(config->heartbeat_interval, MIN(INTERVAL_DEFAULT_MS, most));
  if (settings->heartbeat_interval_ms < INTERVAL_MIN_MS || settings->heartbeat_interval_ms > most)
    return refuse(
        "config.heartbeat_interval",
        "The heartbeat interval must be from 100 ms to a third of the session timeout, which is %" G_GINT64_FORMAT
        " ms.",
        most);
  return NULL;
}

Failure *groups_check_settings(const Milena__V1__GroupConfig *config, GroupsSettings *ret_settings) {
  GroupsSettings settings;
  groups_settings_default(&settings);
  if (!config)
    return refuse("config", "The new settings are missing; an empty message sets all defaults.");
  Failure *failure = check_session(config, &settings);
  if (failure)
    return failure;
  if ((guint)config->assignor > (guint)MILENA__V1__ASSIGNOR__ASSIGNOR_ROUND_ROBIN)
    return refuse("config.assignor", "The assignor %d is none that this version knows.", (int)config->assignor);
  if (config->assignor != MILENA__V1__ASSIGNOR__ASSIGNOR_UNSPECIFIED)
    settings.assignor = config->assignor;
  settings.offsets_retention_ms = times_duration_ms(config->offsets_retention, RETENTION_DEFAULT_MS);
  if (settings.offsets_retention_ms < RETENTION_MIN_MS || settings.offsets_retention_ms > RETENTION_MAX_MS)
    return refuse("config.offsets_retention", "Offsets can be kept for 1 s to 3,650 days.");
  if (config->max_members > MEMBERS_MAX)
    return refuse("config.max_members", "A group has at most 100,000 members.");
  if (config->max_members > 0)
    settings.max_members = config->max_members;
  *ret_settings = settings;
  return NULL;
}
