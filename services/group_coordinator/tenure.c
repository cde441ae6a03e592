/* See tenure.h, which draws the states.
 *
 * Invariants
 *   1. An answer leaves once the record that it depends on is durable, and answers leave in the order of their records.
 *   2. The groups get inputs while it serves, and at no other time.
 *   3. Each ask is in `asks` until it was answered or forgotten; what the groups answer to no ask is dropped.
 *   4. Records go to the appender in the order of their numbers, without gaps.
 *
 * Owner: the coordinator's loop. Failure modes: when the appender gives up, or the replay finds what it can't read, the
 * groups are worth nothing any more: all who wait are told, and the coordinator gives the lease back. */
#include "services/group_coordinator/tenure.h"

#include "services/base/slog.h"
#include "services/group_coordinator/appender.h"
#include "services/group_coordinator/replay.h"

/* Records that wait for the log, before callers are told to come again. */
#define BACKLOG_BYTES_MAX (32 << 20)
#define LOADING_RETRY_MS 100
/* A partition that took longer to load is worth a line of the log. */
#define SLOW_LOAD_MS 1000

struct Tenure {
  const TenureHost *host;
  gint32 partition;
  guint32 lease_epoch;
  char *topic, *topic_id;
  TenureState state;
  gint64 begun_us, failed_us;
  Failure *failure; /* why the log can't be read */
  char *leader;     /* peer address; NULL: there is none */
  gint32 leader_epoch;
  Appender *appender; /* NULL once it failed */
  Replay *replay;     /* while replaying */
  guint64 replayed;
  gint64 fence_offset;
  Groups *groups; /* NULL once it failed */

  GHashTable *asks; /* token → GroupAsk */
  guint64 next_token;
  GroupsOut out;
  GQueue answers; /* of GroupsAnswer, owned: they wait for records */
  guint64 durable;
  Timer deadline;
};

GroupsTime tenure_now(void) {
  return (GroupsTime){.now_ms = g_get_monotonic_time() / 1000, .wall_ms = g_get_real_time() / 1000};
}

/* ---- answers ---- */

static void answer_free(GroupsAnswer *answer) {
  if (answer->response)
    protobuf_c_message_free_unpacked(answer->response, NULL);
  failure_free(answer->failure);
  g_free(answer);
}

/* The ask that this token was given to, which is not the tenure's any more; NULL: forgotten. */
static GroupAsk *take_ask(Tenure *tenure, guint64 token) {
  GroupAsk *ask = g_hash_table_lookup(tenure->asks, &token);
  if (!ask)
    return NULL;
  g_hash_table_remove(tenure->asks, &token);
  ask->tenure = NULL;
  return ask;
}

static void deliver(Tenure *tenure) {
  for (GroupsAnswer *answer; (answer = g_queue_peek_head(&tenure->answers)) && answer->after <= tenure->durable;) {
    g_queue_pop_head(&tenure->answers);
    GroupAsk *ask = take_ask(tenure, answer->token);
    if (ask)
      ask->answered(ask, g_steal_pointer(&answer->response), g_steal_pointer(&answer->failure));
    answer_free(answer);
  }
}

static Failure *loading(void) {
  return failure_set_retry_delay(failure_new(FAILURE(COORDINATOR_LOADING),
                                             "The coordinator reads what is known of its groups. Nothing was changed, "
                                             "try again soon."),
                                 LOADING_RETRY_MS);
}

/* @refusal: for who can simply ask again; borrowed. @unknown: records that were made may be written */
static void refuse_all(Tenure *tenure, const Failure *refusal, gboolean unknown) {
  g_autoptr(GHashTable) decided = g_hash_table_new(NULL, NULL); /* set of asks that wait for a record */
  for (GList *link = tenure->answers.head; link; link = link->next) {
    GroupAsk *ask = g_hash_table_lookup(tenure->asks, &((GroupsAnswer *)link->data)->token);
    if (ask)
      g_hash_table_add(decided, ask);
  }
  g_queue_clear_full(&tenure->answers, (GDestroyNotify)answer_free);
  g_autoptr(GList) asks = g_hash_table_get_values(tenure->asks);
  g_hash_table_remove_all(tenure->asks);
  for (GList *link = asks; link; link = link->next)
    ((GroupAsk *)link->data)->tenure = NULL;
  for (GList *link = asks; link; link = link->next) {
    GroupAsk *ask = link->data;
    gboolean lost = unknown && ask->writes && g_hash_table_contains(decided, ask);
    ask->answered(ask, NULL,
                  lost ? failure_new(FAILURE(UNKNOWN_OUTCOME),
                                     "The group's partition went to another owner before the log confirmed the change: "
                                     "it may be kept or not. Offsets may simply be committed again.")
                       : failure_copy(refusal));
  }
}

/* ---- ending ---- */

static void drop_work(Tenure *tenure) {
  timer_clear(tenure->host->timers, &tenure->deadline);
  g_clear_pointer(&tenure->replay, replay_free);
  g_clear_pointer(&tenure->appender, appender_free);
  g_clear_pointer(&tenure->groups, groups_free);
}

/* @broken: by what the log holds */
static void fail(Tenure *tenure, const Failure *failure, gboolean unknown, gboolean broken) {
  gboolean retires = tenure->state == TENURE_RETIRING;
  if (failure_reason(failure) == FAILURE(FENCED) || retires)
    slog_info("a lease of groups went to another owner", "partition", SLOG_INT(tenure->partition), "lease_epoch",
              SLOG_INT(tenure->lease_epoch), NULL);
  else
    slog_warning("a partition of groups can't be served", "partition", SLOG_INT(tenure->partition), "lease_epoch",
                 SLOG_INT(tenure->lease_epoch), "error", failure_message(failure), NULL);
  tenure->state = TENURE_FAILED;
  tenure->failed_us = g_get_monotonic_time();
  tenure->failure = broken ? failure_copy(failure) : NULL;
  drop_work(tenure);
  g_autoptr(Failure) refusal = loading();
  refuse_all(tenure, refusal, unknown);
  tenure->host->ended(tenure, tenure->host->data);
}

static void tell_if_over(Tenure *tenure) {
  if (tenure->state == TENURE_RETIRING && appender_is_idle(tenure->appender))
    tenure->host->ended(tenure, tenure->host->data);
}

void tenure_retire(Tenure *tenure, const Failure *refusal) {
  if (tenure->state == TENURE_RETIRING || tenure->state == TENURE_FAILED)
    return;
  gboolean served = tenure->state == TENURE_SERVING;
  tenure->state = TENURE_RETIRING;
  timer_clear(tenure->host->timers, &tenure->deadline);
  g_clear_pointer(&tenure->replay, replay_free);
  if (!served)
    g_clear_pointer(&tenure->appender, appender_free);
  /* Whose records are on their way is answered when they arrive, or do not; the others go elsewhere now. */
  g_autoptr(GHashTable) waiting = g_hash_table_new(g_int64_hash, g_int64_equal);
  for (GList *link = tenure->answers.head; link; link = link->next)
    g_hash_table_add(waiting, &((GroupsAnswer *)link->data)->token);
  g_autoptr(GList) asks = g_hash_table_get_values(tenure->asks);
  for (GList *link = asks; link; link = link->next) {
    GroupAsk *ask = link->data;
    if (g_hash_table_contains(waiting, &ask->token))
      continue;
    take_ask(tenure, ask->token);
    ask->answered(ask, NULL, failure_copy(refusal));
  }
  if (tenure_is_idle(tenure))
    tenure->host->ended(tenure, tenure->host->data);
}

/* ---- serving ---- */

static void on_deadline(Timer *timer, gpointer data) {
  (void)timer;
  tenure_turn(data);
}

static void schedule(Tenure *tenure) {
  gint64 due_ms = groups_next_deadline(tenure->groups);
  if (due_ms < G_MAXINT64 / 1000)
    timer_set(tenure->host->timers, &tenure->deadline, due_ms * 1000, on_deadline, tenure);
  else
    timer_clear(tenure->host->timers, &tenure->deadline);
}

static Failure *append_records(Tenure *tenure, gint64 wall_ms) {
  Failure *failure = NULL;
  for (guint i = 0; i < tenure->out.records->len && !failure; i++) {
    const GroupsRecord *record = &g_array_index(tenure->out.records, GroupsRecord, i);
    failure = appender_add(tenure->appender, record->number, record->key, record->value, wall_ms);
  }
  return failure;
}

void tenure_turn(Tenure *tenure) {
  if (tenure->state != TENURE_SERVING)
    return;
  GroupsTime time = tenure_now();
  groups_turn(tenure->groups, time, &tenure->out);
  g_autoptr(Failure) failure = append_records(tenure, time.wall_ms);
  for (guint i = 0; i < tenure->out.answers->len; i++) {
    GroupsAnswer *answer = &g_array_index(tenure->out.answers, GroupsAnswer, i);
    g_queue_push_tail(&tenure->answers, g_memdup2(answer, sizeof *answer));
    answer->response = NULL;
    answer->failure = NULL;
  }
  groups_out_reset(&tenure->out);
  if (failure) {
    fail(tenure, failure, TRUE, FALSE);
    return;
  }
  appender_flush(tenure->appender);
  schedule(tenure);
  deliver(tenure);
}

/* ---- loading ---- */

static Failure *on_record(GBytes *key, GBytes *value, gint64 offset, gpointer data) {
  Tenure *tenure = data;
  guint32 fence = 0;
  Failure *failure = groups_replay(tenure->groups, key, value, offset, &fence);
  tenure->replayed++;
  if (!failure && offset == tenure->fence_offset && fence != tenure->lease_epoch)
    failure = failure_new(FAILURE(CORRUPT_LOG),
                          "the log has no fence of epoch %u where it was appended, at %" G_GINT64_FORMAT,
                          tenure->lease_epoch, offset);
  return failure;
}

static void on_replayed(const Failure *failure, gpointer data) {
  Tenure *tenure = data;
  if (failure) {
    g_autoptr(Failure) kept = failure_copy(failure);
    fail(tenure, kept, FALSE, TRUE);
    return;
  }
  g_clear_pointer(&tenure->replay, replay_free);
  tenure->state = TENURE_SERVING;
  gint64 took_ms = (g_get_monotonic_time() - tenure->begun_us) / 1000;
  slog(took_ms < SLOW_LOAD_MS ? SLOG_DEBUG : SLOG_INFO, "serves a partition of groups", "partition",
       SLOG_INT(tenure->partition), "lease_epoch", SLOG_INT(tenure->lease_epoch), "records", SLOG_INT(tenure->replayed),
       "groups", SLOG_INT(groups_count(tenure->groups)), "ms", SLOG_INT(took_ms), NULL);
  groups_start(tenure->groups, tenure_now());
  tenure_turn(tenure);
}

static void begin_replay(Tenure *tenure, const BrokerReceipt *fence) {
  static const ReplayEvents EVENTS = {.record = on_record, .done = on_replayed};
  tenure->state = TENURE_REPLAYING;
  tenure->fence_offset = fence->base_offset;
  tenure->replay = replay_new(&(ReplayOptions){.client = tenure->host->client,
                                               .loop = tenure->host->loop,
                                               .timers = tenure->host->timers,
                                               .topic = tenure->topic,
                                               .topic_id = tenure->topic_id,
                                               .partition = tenure->partition,
                                               .from = fence->log_start_offset,
                                               .to = fence->base_offset,
                                               .events = &EVENTS,
                                               .data = tenure});
  replay_set_leader(tenure->replay, tenure->leader);
}

/* The fence is no record of the groups: it has the number 0. */
static void append_fence(Tenure *tenure) {
  g_autoptr(GBytes) key = NULL, value = NULL;
  gint64 wall_ms = tenure_now().wall_ms;
  groups_encode_fence(tenure->lease_epoch, tenure->host->coordinator_id, wall_ms, &key, &value);
  Failure *failure = appender_add(tenure->appender, 0, key, value, wall_ms);
  INVARIANT(!failure, "a fence fits a batch");
  appender_flush(tenure->appender);
}

/* ---- the appender's ---- */

static void on_durable(guint64 number, const BrokerReceipt *first, gpointer data) {
  Tenure *tenure = data;
  tenure->durable = number;
  if (tenure->state == TENURE_FENCING) {
    begin_replay(tenure, first);
    return;
  }
  deliver(tenure);
  tell_if_over(tenure);
}

static void on_append_failed(const Failure *failure, gboolean may_be_written, gpointer data) {
  fail(data, failure, may_be_written, FALSE);
}

/* ---- asking ---- */

Failure *tenure_check(const Tenure *tenure) {
  if (tenure->state != TENURE_SERVING)
    return tenure->failure ? failure_copy(tenure->failure) : loading();
  if (appender_backlog_bytes(tenure->appender) > BACKLOG_BYTES_MAX)
    return failure_set_retry_delay(failure_new(FAILURE(OVERLOADED),
                                               "Too much waits to be written for the groups of partition %d. Nothing "
                                               "was changed, try again soon.",
                                               tenure->partition),
                                   LOADING_RETRY_MS);
  return NULL;
}

Groups *tenure_groups(Tenure *tenure) {
  INVARIANT(tenure->state == TENURE_SERVING, "groups are asked while they are served");
  return tenure->groups;
}

GroupsToken tenure_ask(Tenure *tenure, GroupAsk *ask) {
  ask->tenure = tenure;
  ask->token = ++tenure->next_token;
  g_hash_table_insert(tenure->asks, &ask->token, ask);
  tenure->host->wants_turn(tenure, tenure->host->data);
  return ask->token;
}

void tenure_forget(GroupAsk *ask) {
  Tenure *tenure = ask->tenure;
  if (!tenure)
    return;
  take_ask(tenure, ask->token);
  if (tenure->state == TENURE_SERVING)
    groups_forget(tenure->groups, ask->token);
}

/* ---- following the metadata ---- */

void tenure_follow(Tenure *tenure, const MetadataImage *image, const char *const *names, gsize count) {
  const MetadataTopic *topic = metadata_image_topic_by_id(image, tenure->topic_id);
  const MetadataPartition *partition = topic ? metadata_topic_partition(topic, tenure->partition) : NULL;
  const MetadataBroker *leader = partition ? metadata_image_broker(image, partition->leader_id) : NULL;
  g_free(tenure->leader);
  tenure->leader = leader ? g_strdup(leader->peer_address) : NULL;
  if (partition)
    tenure->leader_epoch = partition->leader_epoch;
  if (tenure->appender)
    appender_set_leader(tenure->appender, tenure->leader, tenure->leader_epoch);
  if (tenure->replay)
    replay_set_leader(tenure->replay, tenure->leader);
  if (count == 0 || tenure->state != TENURE_SERVING)
    return;
  groups_topics_changed(tenure->groups, names, count, tenure_now());
  tenure->host->wants_turn(tenure, tenure->host->data);
}

/* ---- life ---- */

Tenure *tenure_new(const TenureHost *host, const MetadataTopic *topic, gint32 partition, guint32 lease_epoch) {
  static const AppenderEvents EVENTS = {.durable = on_durable, .failed = on_append_failed};
  Tenure *tenure = g_new0(Tenure, 1);
  tenure->host = host;
  tenure->partition = partition;
  tenure->lease_epoch = lease_epoch;
  tenure->topic = g_strdup(topic->name);
  tenure->topic_id = g_strdup(topic->id);
  tenure->begun_us = g_get_monotonic_time();
  tenure->groups = groups_new(&host->groups_host);
  tenure->asks = g_hash_table_new(g_int64_hash, g_int64_equal);
  groups_out_init(&tenure->out);
  g_queue_init(&tenure->answers);
  tenure->appender = appender_new(&(AppenderOptions){.links = host->links,
                                                     .timers = host->timers,
                                                     .topic = tenure->topic,
                                                     .topic_id = tenure->topic_id,
                                                     .partition = partition,
                                                     .lease_epoch = lease_epoch,
                                                     .timeout_ms = host->append_timeout_ms,
                                                     .events = &EVENTS,
                                                     .data = tenure});
  append_fence(tenure);
  return tenure;
}

void tenure_free(Tenure *tenure) {
  if (!tenure)
    return;
  drop_work(tenure);
  g_autoptr(Failure) refusal = loading();
  refuse_all(tenure, refusal, TRUE);
  g_hash_table_unref(tenure->asks);
  groups_out_clear(&tenure->out);
  failure_free(tenure->failure);
  g_free(tenure->leader);
  g_free(tenure->topic);
  g_free(tenure->topic_id);
  g_free(tenure);
}

gint32 tenure_partition(const Tenure *tenure) {
  return tenure->partition;
}
guint32 tenure_lease_epoch(const Tenure *tenure) {
  return tenure->lease_epoch;
}
TenureState tenure_state(const Tenure *tenure) {
  return tenure->state;
}
gint64 tenure_failed_us(const Tenure *tenure) {
  return tenure->failed_us;
}
gboolean tenure_is_broken(const Tenure *tenure) {
  return tenure->failure != NULL;
}

gboolean tenure_is_idle(const Tenure *tenure) {
  return !tenure->appender || appender_is_idle(tenure->appender);
}
