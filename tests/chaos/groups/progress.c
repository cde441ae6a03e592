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
