/* Looking up a topic: see source.h. What this broker does not know it asks the controller once. */
#include "services/broker/read/source.h"

#include "services/broker/front.h"

typedef struct SourceTopicState {
  Front *front;
  char *topic, *topic_id;
  FrontRefresh *refresh;
  Timer timer;
} SourceTopicState;

/* Fill in what the front knows. */
static Failure *look(SourceTopic *topic) {
  const MetadataTopic *found = NULL;
  const SourceTopicState *state = topic->state;
  Failure *failure = front_find_topic(state->front, state->topic, state->topic_id, &found);
  if (failure != NULL)
    return failure;
  topic->name = g_strdup(found->name);
  topic->id = g_strdup(found->id);
  topic->partition_count = found->partition_count;
  return NULL;
}

static void tell(Timer *timer, gpointer data) {
  (void)timer;
  SourceTopic *topic = data;
  topic->done(topic, topic->user_data);
}

static void refreshed(const Failure *failure, gpointer data) {
  SourceTopic *topic = data;
  topic->state->refresh = NULL;
  topic->failure = failure != NULL ? failure_copy(failure) : look(topic);
  topic->done(topic, topic->user_data);
}

SourceTopic *source_topic_new(void) {
  return g_new0(SourceTopic, 1);
}

void source_topic_start(SourceTopic *topic, Front *front) {
  SourceTopicState *state = g_new0(SourceTopicState, 1);
  state->front = front;
  state->topic = g_strdup(topic->target.topic);
  state->topic_id = g_strdup(topic->target.topic_id);
  topic->state = state;
  g_autoptr(Failure) failure = look(topic);
  if (failure != NULL && front_failure_may_be_stale(failure)) {
    state->refresh =
        front_refresh_topic(front, state->topic, state->topic_id, topic->target.deadline_us, refreshed, topic);
    return;
  }
  topic->failure = g_steal_pointer(&failure);
  timer_set(front_timers(front), &state->timer, g_get_monotonic_time(), tell, topic);
}

void source_topic_free(SourceTopic *topic) {
  if (topic == NULL)
    return;
  if (topic->state != NULL) {
    timer_clear(front_timers(topic->state->front), &topic->state->timer);
    if (topic->state->refresh != NULL)
      front_refresh_cancel(topic->state->refresh);
    g_free(topic->state->topic);
    g_free(topic->state->topic_id);
    g_free(topic->state);
  }
  g_free(topic->name);
  g_free(topic->id);
  failure_free(topic->failure);
  g_free(topic);
}
