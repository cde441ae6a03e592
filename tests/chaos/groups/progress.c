#include "tests/chaos/groups/progress.h"

#include "tests/chaos/groups/members.h"

#define CALL_MS 5000
#define PREPARE_S 60
#define STEP_US 100000
#define PARTITIONS_MAX 64

/* ---- Before ---- */

static MilenaError *create_topic(MilenaClient *client, const char *topic, guint partitions) {
  const MilenaNewTopic wanted = {
      .name = topic,
      .partitions = partitions,
      .replication_factor = 3,
      .config = {.min_insync_replicas = 2},
  };
  MilenaError *error = milena_admin_create_topic(client, &wanted, CALL_MS, NULL);
  if (error && g_str_equal(milena_error_reason(error), "TOPIC_EXISTS"))
    g_clear_pointer(&error, milena_error_free);
  return error;
}

static MilenaError *prepare_once(MilenaClient *client, const char *topic, guint partitions, guint session_ms) {
  const MilenaGroupConfig config = {.session_timeout_ms = session_ms, .heartbeat_interval_ms = session_ms / 4};
  MilenaError *error = create_topic(client, topic, partitions);
  for (guint group = 0; group < MEMBERS_GROUPS && !error; group++)
    error = milena_admin_update_group(client, members_group_name(group), &config, FALSE, CALL_MS);
  return error;
}

char *progress_prepare(MilenaClient *client, const char *topic, guint partitions, guint session_ms) {
  gint64 until_us = g_get_monotonic_time() + PREPARE_S * G_USEC_PER_SEC;
  for (;;) {
    MilenaError *error = prepare_once(client, topic, partitions, session_ms);
    if (!error)
      return NULL;
    char *why = g_get_monotonic_time() > until_us ? g_strdup(milena_error_message(error)) : NULL;
    milena_error_free(error);
    if (why)
      return why;
    g_usleep(STEP_US);
  }
}

/* ---- Who has what ---- */

static const char *lasting_name(const MilenaGroupMember *member) {
  return *member->instance_id ? member->instance_id : member->member_id;
}

static int compare_lines(gconstpointer a, gconstpointer b) {
  return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

/* A line for each member and partition. */
static char *tell_group(const MilenaGroup *group) {
  g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
  for (size_t i = 0; i < group->member_count; i++) {
    const MilenaGroupMember *member = &group->members[i];
    GString *line = g_string_new(NULL);
    g_string_printf(line, "%s: %s, epoch %u, reads", group->group, lasting_name(member), member->epoch);
    for (size_t k = 0; k < group->partition_count; k++)
      if (g_str_equal(group->partitions[k].member_id, member->member_id))
        g_string_append_printf(line, " %d", group->partitions[k].partition);
    g_ptr_array_add(lines, g_string_free(line, FALSE));
  }
  g_ptr_array_sort(lines, compare_lines);
  g_ptr_array_add(lines, NULL);
  return g_strjoinv("\n", (char **)lines->pdata);
}

/* NULL: it is not known, or not calm. @ret_why: replaced */
static char *look_at_calm(MilenaClient *client, guint number, guint members, char **ret_why) {
  const char *name = members_group_name(number);
  MilenaGroup *group = NULL;
  MilenaError *error = milena_admin_get_group(client, name, TRUE, CALL_MS, &group);
  gboolean is_calm = !error && group->state == MILENA_GROUP_STABLE && group->member_count == members;
  char *text = is_calm ? tell_group(group) : NULL;
  g_free(*ret_why);
  *ret_why = error     ? g_strdup(milena_error_message(error))
             : is_calm ? NULL
                       : g_strdup_printf("group %s has %u members, or is not stable", name, (guint)group->member_count);
  milena_error_free(error);
  milena_group_free(group);
  return text;
}

char *progress_calm(MilenaClient *client, guint members, guint timeout_s, char *(*look)(gpointer data), gpointer data,
                    char **ret_wrong) {
  gint64 until_us = g_get_monotonic_time() + (gint64)timeout_s * G_USEC_PER_SEC;
  g_autoptr(GString) text = g_string_new(NULL);
  g_autofree char *why = NULL;
  char *wrong = NULL;
  for (guint i = 0; i < MEMBERS_GROUPS && !wrong;) {
    g_autofree char *group = look_at_calm(client, i, members, &why);
    if (group) {
      g_string_append_printf(text, "%s\n", group);
      i++;
      continue;
    }
    wrong = look(data);
    if (!wrong && g_get_monotonic_time() > until_us)
      wrong = g_strdup_printf("the groups were not calm after %u s: %s", timeout_s, why);
    g_usleep(STEP_US);
  }
  *ret_wrong = wrong;
  return wrong ? NULL : g_string_free(g_steal_pointer(&text), FALSE);
}

/* ---- Catching up ---- */

/* What is to be committed, per partition. */
typedef struct {
  gint64 ends[PARTITIONS_MAX]; /* -1: not known yet */
  gboolean is_done;
  char *last; /* what was missing when it was looked at last */
} Goal;

static void note_missing(Goal *goal, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note_missing(Goal *goal, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_free(goal->last);
  goal->last = g_strdup_vprintf(format, args);
  va_end(args);
  goal->is_done = FALSE;
}

static void judge(Goal *goal, const MilenaGroup *group, guint partitions) {
  goal->is_done = TRUE;
  guint known = 0;
  for (size_t i = 0; i < group->partition_count; i++) {
    const MilenaGroupPartition *partition = &group->partitions[i];
    if (partition->partition < 0 || partition->partition >= (gint32)MIN(partitions, PARTITIONS_MAX))
      continue;
    known++;
    gint64 *end = &goal->ends[partition->partition];
    if (*end < 0)
      *end = partition->high_watermark;
    if (*end < 0 || MAX(partition->committed, 0) < *end)
      note_missing(goal, "group %s has committed %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " in partition %d%s%s; %s",
                   group->group, (gint64)partition->committed, *end, partition->partition,
                   *partition->member_id ? ", read by " : ", which nobody reads", partition->member_id,
                   group->explanation_count ? group->explanation[0] : "");
  }
  if (known < partitions)
    note_missing(goal, "group %s knows %u of %u partitions", group->group, known, partitions);
}

static void look_at_group(MilenaClient *client, guint number, guint partitions, Goal *goal) {
  MilenaGroup *group = NULL;
  MilenaError *error = milena_admin_get_group(client, members_group_name(number), FALSE, CALL_MS, &group);
  if (error)
    note_missing(goal, "group %s is not told: %s", members_group_name(number), milena_error_message(error));
  else
    judge(goal, group, partitions);
  milena_error_free(error);
  milena_group_free(group);
}

char *progress_catch_up(MilenaClient *client, guint partitions, guint timeout_s, char *(*look)(gpointer data),
                        gpointer data) {
  gint64 until_us = g_get_monotonic_time() + (gint64)timeout_s * G_USEC_PER_SEC;
  Goal goals[MEMBERS_GROUPS];
  char *wrong = NULL;
  gboolean all = FALSE;
  for (guint i = 0; i < MEMBERS_GROUPS; i++) {
    goals[i] = (Goal){.is_done = FALSE};
    for (guint k = 0; k < PARTITIONS_MAX; k++)
      goals[i].ends[k] = -1;
  }
  while (!wrong && !all && g_get_monotonic_time() < until_us) {
    all = TRUE;
    for (guint i = 0; i < MEMBERS_GROUPS; i++) {
      if (!goals[i].is_done)
        look_at_group(client, i, partitions, &goals[i]);
      all &= goals[i].is_done;
    }
    wrong = look(data);
    if (!all)
      g_usleep(STEP_US);
  }
  for (guint i = 0; i < MEMBERS_GROUPS && !wrong && !all; i++)
    if (!goals[i].is_done)
      wrong = g_strdup_printf("after %u s: %s", timeout_s, goals[i].last ? goals[i].last : "nothing is known");
  for (guint i = 0; i < MEMBERS_GROUPS; i++)
    g_free(goals[i].last);
  return wrong;
}
