/* Subscribe in a group: this broker is a member for the client, as long as the stream lives. What a member is, and what
 * the client is told when, is in member.h; here is what it takes: heartbeats, readers, frames, times.
 *
 *   joining ──answer──► open ──half-close──► leaving: orders are seen through, the member leaves ──► finished
 *                        ├── an acknowledgement is overdue, or the coordinator refuses for good ──► finished
 *                        └── the client is gone ──► a farewell leaves without the stream
 *
 * Invariants
 *   1. While the stream is open there is a heartbeat under way, or `beat_timer` is set, or the member is fenced: so
 *      the coordinator hears of the member whatever the client does. A client that does not read is held back by
 * HTTP/2, and stays a member.
 *   2. Before a change is sent, the cursors of what it takes away are gone: no record comes after it. A cursor goes
 * once its partition was given and acknowledged.
 *   3. Orders (commits, acknowledgements) are carried out in the client's order: so what was committed before a loss
 * was acknowledged is committed before the coordinator hears that it may give the partition on. Failure modes: without
 * a coordinator reading goes on, heartbeats and commits are tried again; commits are answered with why when their time
 * is up.
 *
 * Thread: the front's loop. */
#include "services/broker/read/subscribe_group.h"

#include "services/base/times.h"

/* ---- what the client is told ---- */

static Milena__V1__SubscribeStart *start_new(const MemberPartition *partition, ReadMemory *memory) {
  Milena__V1__SubscribeStart *start = read_memory_alloc(memory, sizeof *start);
  milena__v1__subscribe_start__init(start);
  start->topic = read_memory_string(memory, partition->topic);
  start->topic_id = read_memory_string(memory, partition->topic_id);
  start->partition = partition->partition;
  start->offset = partition->start;
  start->committed = partition->committed;
  return start;
}

static void send_change(SubscribeGroup *group, const MemberChange *change) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__AssignmentChange frame = MILENA__V1__ASSIGNMENT_CHANGE__INIT;
  frame.assignment_id = change->id;
  frame.fenced = change->fenced;
  frame.explanation = (char *)change->explanation;
  frame.lost = member_topics(change->lost, memory, &frame.n_lost);
  frame.n_gained = change->gained->len;
  frame.gained = read_memory_alloc(memory, change->gained->len * sizeof *frame.gained);
  for (guint i = 0; i < change->gained->len; i++)
    frame.gained[i] = start_new(g_ptr_array_index(change->gained, i), memory);
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_ASSIGNMENT;
  response.assignment = &frame;
  subscribe_send(group->subscribe, &response, memory);
}

static void send_ready(SubscribeGroup *group) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__SubscribeReady ready = MILENA__V1__SUBSCRIBE_READY__INIT;
  ready.member_id = (char *)member_id(group->member);
  ready.offset_reset = member_offset_reset(group->member);
  Milena__V1__SubscribeResponse response = MILENA__V1__SUBSCRIBE_RESPONSE__INIT;
  response.frame_case = MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_READY;
  response.ready = &ready;
  subscribe_send(group->subscribe, &response, memory);
}

static void tell_change(SubscribeGroup *group) {
  MemberChange change;
  if (group->is_done || !member_next_change(group->member, g_get_monotonic_time(), &change))
    return;
  subscribe_readers_settle(group); /* what is lost is read no more */
  send_change(group, &change);
  member_change_clear(&change);
}

/* ---- heartbeats ---- */

/* The stream is over, by what the coordinator said. Fields are named as in the client's frame. */
static void refuse(SubscribeGroup *group, Failure *failure) {
  if (failure_reason(failure) == FAILURE(INVALID_FIELD))
    failure_prefix_violations(failure, "init.membership");
  subscribe_finish(group->subscribe, failure);
}

static void beaten(RpcMessage *response, const Failure *failure, gpointer user_data) {
  SubscribeGroup *group = user_data;
  Subscribe *subscribe = group->subscribe;
  group->beat = NULL;
  if (subscribe->finished)
    return;
  gint64 now_us = g_get_monotonic_time();
  if (failure != NULL) {
    Failure *end = member_heartbeat_failed(group->member, failure, now_us);
    if (end != NULL) {
      refuse(group, end);
      return;
    }
  } else {
    member_heartbeat_answered(group->member, rpc_message_body(response), now_us);
  }
  if (subscribe->phase == SUBSCRIBE_STARTING && member_epoch(group->member) > 0) {
    send_ready(group);
    subscribe_open(subscribe);
  }
  subscribe_group_settle(group);
}

static void beat(SubscribeGroup *group) {
  gint64 now_us = g_get_monotonic_time();
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__HeartbeatRequest *request = member_heartbeat(group->member, now_us, memory);
  g_autoptr(RpcMessage) message = rpc_message_pack(&request->base, NULL, 0);
  gint64 hold_ms = times_duration_ms(request->max_wait, 0);
  GroupAsk ask = {.group = request->group,
                  .method = "Heartbeat",
                  .kind = GROUP_REPEATABLE,
                  .request = message,
                  .client_address = rpc_call_client(group->subscribe->call),
                  .hold_ms = hold_ms,
                  .until_us = now_us + (SUBSCRIBE_ASK_MS + hold_ms) * G_TIME_SPAN_MILLISECOND};
  g_clear_pointer(&group->beat, group_call_cancel);
  group->beat = group_call_begin(group->door, &ask, beaten, group);
}

static void beat_due(Timer *timer, gpointer data) {
  (void)timer;
  SubscribeGroup *group = data;
  if (!group->subscribe->finished)
    beat(group);
}

static void overdue(Timer *timer, gpointer data) {
  (void)timer;
  SubscribeGroup *group = data;
  if (group->subscribe->finished)
    return;
  group->leaves_for_good = TRUE;
  subscribe_finish(group->subscribe, member_overdue(group->member));
}

/* ---- settling ---- */

static void stop_timers(SubscribeGroup *group) {
  Timers *timers = front_timers(group->subscribe->service->front);
  timer_clear(timers, &group->beat_timer);
  timer_clear(timers, &group->overdue);
}

void subscribe_group_settle(SubscribeGroup *group) {
  Subscribe *subscribe = group->subscribe;
  if (!subscribe->finished && subscribe->phase != SUBSCRIBE_STARTING) {
    subscribe_readers_settle(group);
    tell_change(group);
    subscribe_flow(subscribe); /* a partition without a start failed as it began */
  }
  stop_timers(group);
  if (subscribe->finished || group->leave != NULL)
    return;
  Timers *timers = front_timers(subscribe->service->front);
  gint64 due_us = member_heartbeat_due_us(group->member), by_us = member_acknowledge_by_us(group->member);
  if (due_us != G_MAXINT64)
    timer_set(timers, &group->beat_timer, due_us, beat_due, group);
  if (by_us != G_MAXINT64 && !group->is_done)
    timer_set(timers, &group->overdue, by_us, overdue, group);
}

/* ---- begin and end ---- */

Failure *subscribe_group_check(const Milena__V1__SubscribeInit *init) {
  const Milena__V1__SubscribeMembership *wants = init->membership;
  if (init->n_partitions > 0)
    return read_request_invalid("init.partitions",
                                "a member of a group is given its partitions: leave them out, and say "
                                "in init.membership what to read");
  if (wants == NULL || wants->subscription == NULL ||
      (wants->subscription->n_topics == 0 && *wants->subscription->topic_pattern == '\0'))
    return read_request_invalid("init.membership.subscription", "say what to read in the group: topics, a pattern, or "
                                                                "both");
  if (wants->rebalance_timeout != NULL && times_duration_ms(wants->rebalance_timeout, 0) <= 0)
    return read_request_invalid("init.membership.rebalance_timeout", "it must be more than 0, or left out");
  return NULL;
}

void subscribe_group_begin(Subscribe *subscribe) {
  const Milena__V1__SubscribeRequest *request = rpc_message_body(subscribe->init);
  SubscribeGroup *group = g_new0(SubscribeGroup, 1);
  Milena__V1__Format format;
  Failure *failure = read_request_format(request->init->format, "init.format", &format);
  failure_free(failure); /* it was checked */
  group->subscribe = subscribe;
  group->door = subscribe->service->door;
  g_autofree char *id = g_uuid_string_random();
  group->member = member_new(request->init, id, group_door_rack(group->door));
  group->readers = g_hash_table_new(NULL, NULL);
  g_queue_init(&group->orders);
  subscribe->group = group;
  subscribe_make_set(subscribe, format);
  subscribe_group_settle(group);
}

static void left(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  (void)failure; /* then its session ends by itself */
  SubscribeGroup *group = user_data;
  group->leave = NULL;
  group->stays = TRUE;
  if (!group->subscribe->finished)
    subscribe_finish(group->subscribe, NULL);
}

/* All that the client ordered is done, and it is. */
static void leave(SubscribeGroup *group) {
  Subscribe *subscribe = group->subscribe;
  g_autoptr(RpcMessage) message = subscribe_leave_message(group->member, FALSE);
  g_clear_pointer(&group->beat, group_call_cancel);
  if (message != NULL) {
    GroupAsk ask = {.group = member_group(group->member),
                    .method = "Heartbeat",
                    .kind = GROUP_REPEATABLE,
                    .request = message,
                    .client_address = rpc_call_client(subscribe->call),
                    .until_us = g_get_monotonic_time() + SUBSCRIBE_LEAVE_MS * G_TIME_SPAN_MILLISECOND,
                    .done_reason = FAILURE(UNKNOWN_MEMBER)};
    group->leave = group_call_begin(group->door, &ask, left, group);
  }
  stop_timers(group);
  if (group->leave == NULL)
    subscribe_finish(subscribe, NULL);
}

void subscribe_group_half_close(Subscribe *subscribe) {
  SubscribeGroup *group = subscribe->group;
  group->is_done = TRUE;
  subscribe->phase = SUBSCRIBE_LEAVING;
  cursor_set_run(subscribe->set, FALSE);
  subscribe_group_settle(group);
  subscribe_orders_run(group);
}

void subscribe_group_orders_done(SubscribeGroup *group) {
  if (group->is_done && group->leave == NULL && !group->subscribe->finished)
    leave(group);
}

void subscribe_group_stay(Subscribe *subscribe) {
  subscribe->group->stays = member_epoch(subscribe->group->member) > 0;
}

void subscribe_group_free(Subscribe *subscribe) {
  SubscribeGroup *group = g_steal_pointer(&subscribe->group);
  stop_timers(group);
  subscribe_readers_clear(group);
  subscribe_orders_clear(group);
  subscribe_farewell(group);
  g_hash_table_unref(group->readers);
  g_free(group);
}
