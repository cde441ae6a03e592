/* A member's calls to its coordinator: heartbeats and commits. See group.h.
 *
 * A heartbeat is held by the coordinator until something changed, or for an interval; as soon as the member has
 * something to say, the held one is given up and another is sent, which asks for all that its answer may have told.
 *
 * Invariants
 *   1. At most one heartbeat and one commit are under way.
 *   2. A commit that is under way is the first of the queue.
 *
 * Owned by the client's loop; the member and the commits under the consumer's mutex. */
#include "client/libmilena/group.h"

#include <stdatomic.h>

#include "client/libmilena/coordinator.h"
#include "services/base/invariant.h"

/* Heartbeats of a coordinator that does not hold them come no faster. */
#define HEARTBEAT_GAP_US (20 * G_TIME_SPAN_MILLISECOND)
/* How long a commit waits for its member to learn the epoch that the coordinator knows. */
#define FENCED_GRACE_US (5 * G_TIME_SPAN_SECOND)

/* A call to the coordinator, and when the next may be tried. */
typedef struct {
  RpcClientCall *call;
  char *address;
  gint64 sent_us;
  gint64 not_before_us;
  guint failures; /* in a row */
} Tries;

struct GroupLink {
  Group *group;
  Coordinator *coordinator;
  LoopTask wake_task;
  atomic_bool woken;
  GSource *timer;
  gboolean closed;
  Tries heartbeat, commit;
  gboolean held;  /* the heartbeat may be held by the coordinator */
  gboolean probe; /* the member's epoch is in doubt: do not wait for the held one */
};

static void link_pump(GroupLink *link);

static MilenaClient *link_client(const GroupLink *link) {
  return link->group->consumer->client;
}

/* ---- tries ---- */

static void tries_end(Tries *tries) {
  g_clear_pointer(&tries->call, rpc_client_call_unref);
  g_clear_pointer(&tries->address, g_free);
}

static void tries_abandon(Tries *tries) {
  if (tries->call != NULL)
    rpc_client_call_abandon(tries->call);
  tries_end(tries);
}

static void tries_failed(GroupLink *link, Tries *tries, const Failure *failure) {
  tries->failures++;
  gint64 pause_ms = MAX(client_backoff_ms(link_client(link), tries->failures), failure_retry_delay_ms(failure));
  tries->not_before_us = g_get_monotonic_time() + pause_ms * G_TIME_SPAN_MILLISECOND;
  coordinator_note_failure(link->coordinator, tries->address, failure);
}

static void tries_call(GroupLink *link, Tries *tries, const char *address, const char *method, RpcMessage *message,
                       gint64 deadline_us, RpcUnaryDone done) {
  MilenaClient *client = link_client(link);
  tries->address = g_strdup(address);
  tries->sent_us = g_get_monotonic_time();
  tries->call = rpc_client_unary(client_rpc(client), address, &milena__v1__group_service__descriptor, method, message,
                                 deadline_us, client_loop(client), done, link);
}

static gint64 attempt_us(const GroupLink *link) {
  return client_options(link_client(link))->attempt_timeout_ms * G_TIME_SPAN_MILLISECOND;
}

/* Why nothing comes, for milena_consumer_trouble. The mutex is held. */
static void set_trouble(GroupLink *link, const Failure *failure) {
  Failure **trouble = &link->group->consumer->trouble;
  failure_free(*trouble);
  *trouble = failure_prefix(failure_copy(failure), "group %s", link->group->options.group);
}

/* ---- heartbeats; the mutex is held but for callbacks ---- */

static void heartbeat_failed(GroupLink *link, const Failure *failure) {
  Group *group = link->group;
  tries_failed(link, &link->heartbeat, failure);
  if (member_failed(group->member, failure)) {
    failure_free(group->refused);
    group->refused = failure_copy(failure);
  } else {
    set_trouble(link, failure);
  }
}

static void on_heartbeat(RpcMessage *message, const Failure *failure, gpointer data) {
  GroupLink *link = data;
  Group *group = link->group;
  pthread_mutex_lock(&group->consumer->mutex);
  g_autoptr(Failure) wrong = message != NULL ? member_answered(group->member, rpc_message_body(message)) : NULL;
  if (failure != NULL || wrong != NULL) {
    heartbeat_failed(link, failure != NULL ? failure : wrong);
  } else {
    link->heartbeat.failures = 0;
    link->heartbeat.not_before_us = 0;
  }
  tries_end(&link->heartbeat);
  pthread_cond_broadcast(&group->consumer->arrived);
  pthread_mutex_unlock(&group->consumer->mutex);
  link_pump(link);
}

static void send_heartbeat(GroupLink *link, const char *address, gint64 now_us) {
  Member *member = link->group->member;
  gboolean news = member_has_news(member) || link->probe;
  gint64 hold_ms = news ? 0 : member_interval_ms(member);
  g_autoptr(RpcMessage) message = member_heartbeat(member, hold_ms);
  link->held = !news;
  link->probe = FALSE;
  tries_call(link, &link->heartbeat, address, "Heartbeat", message,
             now_us + attempt_us(link) + hold_ms * G_TIME_SPAN_MILLISECOND, on_heartbeat);
}

/* Who does not poll leaves the others to read. */
static gint64 check_polls(GroupLink *link, gint64 now_us) {
  Group *group = link->group;
  if (member_state(group->member) != MEMBER_IN || group->telling)
    return G_MAXINT64;
  gint64 expires_us = group->polled_us + group->options.max_poll_interval_ms * G_TIME_SPAN_MILLISECOND;
  if (now_us < expires_us)
    return expires_us;
  member_expire(group->member);
  return G_MAXINT64;
}

/* Returns when to look again. */
static gint64 pump_heartbeat(GroupLink *link, const char *address, gint64 now_us) {
  Tries *tries = &link->heartbeat;
  Member *member = link->group->member;
  if (member_state(member) == MEMBER_OUT)
    return G_MAXINT64;
  gboolean news = member_has_news(member) || link->probe;
  if (tries->call != NULL) {
    if (!news || !link->held)
      return G_MAXINT64;
    tries_abandon(tries);
    member_unanswered(member);
  }
  gint64 due_us = MAX(tries->not_before_us, news ? 0 : tries->sent_us + HEARTBEAT_GAP_US);
  if (now_us < due_us)
    return due_us;
  if (address != NULL)
    send_heartbeat(link, address, now_us);
  return G_MAXINT64;
}

/* ---- commits ---- */

Commit *commit_new(gint64 deadline_us, MilenaCommitFunc done, void *user_data) {
  Commit *commit = g_new0(Commit, 1);
  *commit = (Commit){.refs = 1, .deadline_us = deadline_us, .done = done, .user_data = user_data};
  commit->items = g_array_new(FALSE, FALSE, sizeof(CommitItem));
  return commit;
}

Commit *commit_ref(Commit *commit) {
  commit->refs++;
  return commit;
}

void commit_unref(Commit *commit) {
  if (--commit->refs > 0)
    return;
  for (guint i = 0; i < commit->items->len; i++) {
    CommitItem *item = &g_array_index(commit->items, CommitItem, i);
    g_free(item->topic);
    g_free(item->topic_id);
    g_free(item->metadata);
  }
  g_array_unref(commit->items);
  failure_free(commit->failure);
  g_free(commit);
}

void commit_add(Commit *commit, const char *topic, const char *topic_id, gint32 partition, gint64 offset,
                gint32 leader_epoch, const char *metadata) {
  CommitItem item = {g_strdup(topic), g_strdup(topic_id), g_strdup(metadata), partition, offset, leader_epoch};
  g_array_append_val(commit->items, item);
}

static void note_kept(Group *group, const Commit *commit) {
  for (guint i = 0; i < commit->items->len; i++) {
    const CommitItem *item = &g_array_index(commit->items, CommitItem, i);
    Part *part = part_find(group->consumer->parts, item->topic, item->partition);
    if (part != NULL)
      part->committed = item->offset;
  }
}

void commit_finish(Group *group, Commit *commit, Failure *failure, Outcome outcome) {
  commit->finished = TRUE;
  commit->failure = failure;
  commit->outcome = outcome;
  if (failure == NULL)
    note_kept(group, commit);
  pthread_cond_broadcast(&group->consumer->arrived);
  if (commit->done != NULL) { /* on the loop, as promised, and without the mutex */
    pthread_mutex_unlock(&group->consumer->mutex);
    g_autoptr(MilenaError) error = milena_error_take(failure_copy(failure), outcome);
    commit->done(error, commit->user_data);
    pthread_mutex_lock(&group->consumer->mutex);
  }
  if (g_queue_remove(&group->commits, commit))
    commit_unref(commit);
}

/* The first of the results that is an error, or NULL. */
static Failure *first_refusal(const Commit *commit, const Milena__V1__CommitOffsetsResponse *response) {
  if (response->n_results != commit->items->len)
    return failure_new(FAILURE(INTERNAL), "CommitOffsets answered for %zu of %u partitions", response->n_results,
                       commit->items->len);
  Failure *failure = NULL;
  for (gsize i = 0; i < response->n_results && failure == NULL; i++) {
    const CommitItem *item = &g_array_index(commit->items, CommitItem, i);
    failure = failure_from_status(response->results[i]->status);
    if (failure != NULL)
      failure = failure_prefix(failure, "committing offset %" G_GINT64_FORMAT " of partition %d of topic %s",
                               item->offset, item->partition, item->topic);
  }
  return failure;
}

/* The coordinator knows another epoch of the member: it may be one that the member is just being told. */
static gboolean may_be_told(GroupLink *link, Commit *commit, const Failure *failure) {
  Member *member = link->group->member;
  if (failure_reason(failure) != FAILURE(FENCED) || member_state(member) != MEMBER_IN)
    return FALSE;
  gint64 now_us = g_get_monotonic_time();
  if (commit->fenced_since_us == 0)
    commit->fenced_since_us = now_us;
  link->probe = commit->epoch == member_epoch(member);
  return now_us < commit->fenced_since_us + FENCED_GRACE_US;
}

/* @failure: NULL: it is kept */
static void commit_answered(GroupLink *link, Commit *commit, const Failure *failure) {
  if (failure == NULL) {
    link->commit.failures = 0;
    commit_finish(link->group, commit, NULL, OUTCOME_NOT_WRITTEN);
    return;
  }
  tries_failed(link, &link->commit, failure);
  Outcome outcome = outcome_of_write(failure);
  gboolean again = outcome_passes(failure) || may_be_told(link, commit, failure);
  if (!again || link->commit.not_before_us >= commit->deadline_us)
    commit_finish(link->group, commit, failure_copy(failure), outcome);
  else
    set_trouble(link, failure);
}

static void on_commit(RpcMessage *message, const Failure *failure, gpointer data) {
  GroupLink *link = data;
  Group *group = link->group;
  pthread_mutex_lock(&group->consumer->mutex);
  Commit *commit = commit_ref(g_queue_peek_head(&group->commits));
  g_autoptr(Failure) refusal = message != NULL ? first_refusal(commit, rpc_message_body(message)) : NULL;
  commit_answered(link, commit, failure != NULL ? failure : refusal);
  commit_unref(commit);
  tries_end(&link->commit);
  pthread_mutex_unlock(&group->consumer->mutex);
  link_pump(link);
}

static RpcMessage *pack_commit(const Group *group, const Commit *commit) {
  guint count = commit->items->len;
  g_autofree Milena__V1__OffsetCommit *offsets = g_new(Milena__V1__OffsetCommit, count);
  g_autofree Milena__V1__OffsetCommit **pointers = g_new(Milena__V1__OffsetCommit *, count);
  for (guint i = 0; i < count; i++) {
    const CommitItem *item = &g_array_index(commit->items, CommitItem, i);
    milena__v1__offset_commit__init(&offsets[i]);
    offsets[i].topic = item->topic;
    offsets[i].topic_id = item->topic_id != NULL ? item->topic_id : offsets[i].topic_id;
    offsets[i].partition = item->partition;
    offsets[i].offset = item->offset;
    offsets[i].metadata = item->metadata != NULL ? item->metadata : offsets[i].metadata;
    if (item->leader_epoch >= 0) {
      offsets[i].leader_epoch_presence_case = MILENA__V1__OFFSET_COMMIT__LEADER_EPOCH_PRESENCE_LEADER_EPOCH;
      offsets[i].leader_epoch = item->leader_epoch;
    }
    pointers[i] = &offsets[i];
  }
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = (char *)group->options.group;
  request.member_id = group->member_id;
  request.member_epoch = commit->epoch;
  request.offsets = pointers;
  request.n_offsets = count;
  return rpc_message_pack(&request.base, NULL, 0);
}

/* Why a commit can't be tried, or NULL. */
static Failure *check_commit(const Group *group, const Commit *commit, gint64 now_us) {
  if (member_epoch(group->member) == 0)
    return failure_new(FAILURE(UNKNOWN_MEMBER),
                       "this consumer is not in the group %s: what it read may be another member's now. Poll, to join",
                       group->options.group);
  if (now_us >= commit->deadline_us)
    return failure_new(FAILURE(DEADLINE_EXCEEDED), "the coordinator of group %s could not be asked in time",
                       group->options.group);
  return NULL;
}

/* Returns when to look again. */
static gint64 pump_commit(GroupLink *link, const char *address, gint64 now_us) {
  Group *group = link->group;
  Tries *tries = &link->commit;
  while (tries->call == NULL && !g_queue_is_empty(&group->commits)) {
    Commit *commit = g_queue_peek_head(&group->commits);
    Failure *failure = check_commit(group, commit, now_us);
    if (failure != NULL) {
      commit_finish(group, commit, failure, commit->attempts > 0 ? OUTCOME_UNKNOWN : OUTCOME_NOT_WRITTEN);
      continue;
    }
    if (address == NULL)
      return commit->deadline_us; /* the coordinator's answer wakes us */
    if (now_us < tries->not_before_us)
      return MIN(tries->not_before_us, commit->deadline_us);
    commit->attempts++;
    commit->epoch = member_epoch(group->member);
    g_autoptr(RpcMessage) message = pack_commit(group, commit);
    tries_call(link, tries, address, "CommitOffsets", message, MIN(commit->deadline_us, now_us + attempt_us(link)),
               on_commit);
  }
  return G_MAXINT64;
}

/* ---- the pump ---- */

static gboolean link_on_timer(gpointer data) {
  GroupLink *link = data;
  g_clear_pointer(&link->timer, g_source_unref);
  link_pump(link);
  return G_SOURCE_REMOVE;
}

static void link_clear_timer(GroupLink *link) {
  if (link->timer == NULL)
    return;
  g_source_destroy(link->timer);
  g_clear_pointer(&link->timer, g_source_unref);
}

static void link_set_timer(GroupLink *link, gint64 at_us, gint64 now_us) {
  link_clear_timer(link);
  if (at_us == G_MAXINT64)
    return;
  gint64 delay_ms = (MAX(at_us - now_us, 0) + 999) / 1000;
  link->timer = loop_add_timeout(client_loop(link_client(link)), (guint)MIN(delay_ms, G_MAXINT32), link_on_timer, link);
}

static void link_pump(GroupLink *link) {
  Group *group = link->group;
  if (link->closed)
    return;
  gint64 now_us = g_get_monotonic_time(), next_us = G_MAXINT64;
  pthread_mutex_lock(&group->consumer->mutex);
  next_us = check_polls(link, now_us);
  const char *address = NULL;
  if (member_state(group->member) != MEMBER_OUT || !g_queue_is_empty(&group->commits)) {
    const Failure *failure;
    address = coordinator_address(link->coordinator, now_us, &next_us, &failure);
    if (address == NULL && failure != NULL)
      set_trouble(link, failure);
  }
  next_us = MIN(next_us, pump_heartbeat(link, address, now_us));
  next_us = MIN(next_us, pump_commit(link, address, now_us));
  pthread_mutex_unlock(&group->consumer->mutex);
  link_set_timer(link, next_us, now_us);
}

/* ---- life ---- */

static void link_wake_run(LoopTask *task) {
  GroupLink *link = (GroupLink *)((char *)task - G_STRUCT_OFFSET(GroupLink, wake_task));
  atomic_store(&link->woken, false);
  link_pump(link);
}

void group_link_wake(GroupLink *link) {
  if (!atomic_exchange(&link->woken, true))
    loop_post_completion(client_loop(link_client(link)), &link->wake_task); /* one at a time: always fits */
}

static void link_on_coordinator(gpointer data) {
  link_pump(data);
}

GroupLink *group_link_new(Group *group) {
  GroupLink *link = g_new0(GroupLink, 1);
  link->group = group;
  link->wake_task.run = link_wake_run;
  link->coordinator = coordinator_new(group->consumer->client, group->options.group, link_on_coordinator, link);
  return link;
}

static void link_close_run(gpointer data) {
  GroupLink *link = data;
  Group *group = link->group;
  link->closed = TRUE;
  link_clear_timer(link);
  tries_abandon(&link->heartbeat);
  tries_abandon(&link->commit);
  coordinator_stop(link->coordinator);
  pthread_mutex_lock(&group->consumer->mutex);
  while (!g_queue_is_empty(&group->commits)) {
    Commit *commit = g_queue_peek_head(&group->commits);
    commit_finish(group, commit,
                  failure_new(FAILURE(CANCELLED), "the consumer left the group %s", group->options.group),
                  commit->attempts > 0 ? OUTCOME_UNKNOWN : OUTCOME_NOT_WRITTEN);
  }
  pthread_mutex_unlock(&group->consumer->mutex);
}

static void nothing(gpointer data) {
  (void)data;
}

void group_link_free(GroupLink *link) {
  if (link == NULL)
    return;
  Loop *loop = client_loop(link_client(link));
  loop_call_and_wait(loop, link_close_run, link);
  /* A wake-up may still be in the mailbox: behind it there is none. */
  loop_call_and_wait(loop, nothing, NULL);
  coordinator_free(link->coordinator);
  g_free(link);
}
