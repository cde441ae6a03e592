/* See fake_groups.h. Answers come from idle sources, so always later than the question. */
#include "tests/unit/read/fake_groups.h"

#include <string.h>

#include "services/base/times.h"
#include "tests/unit/read/fake_source.h"

struct GroupDoor {
  Loop *loop;
  GQueue calls; /* of GroupCall: not answered */
  GString *story;
  char *owned; /* what the member said last of it */
  char *assignment;
  guint32 version, epoch; /* epoch 0: the member is not known */
  FailureReason reason;
  gboolean holds_commits;
};

struct GroupCall {
  GroupDoor *door;
  const char *method;
  RpcMessage *request; /* packed */
  RpcMessage *body;    /* decoded */
  GroupDone done;
  gpointer user_data;
  GSource *source; /* to look at it; NULL while it is held */
};

GroupDoor *fake_door_new(Loop *loop) {
  GroupDoor *door = g_new0(GroupDoor, 1);
  door->loop = loop;
  door->story = g_string_new(NULL);
  door->assignment = g_strdup("");
  door->owned = g_strdup("");
  return door;
}

static void call_free(GroupCall *call) {
  g_queue_remove(&call->door->calls, call);
  if (call->source != NULL) {
    g_source_destroy(call->source);
    g_source_unref(call->source);
  }
  rpc_message_unref(call->request);
  rpc_message_unref(call->body);
  g_free(call);
}

void fake_door_free(GroupDoor *door) {
  while (door->calls.head != NULL)
    call_free(door->calls.head->data);
  g_string_free(door->story, TRUE);
  g_free(door->assignment);
  g_free(door->owned);
  g_free(door);
}

const char *group_door_rack(GroupDoor *door) {
  (void)door;
  return "rack1";
}

void group_call_cancel(GroupCall *call) {
  call_free(call);
}

void group_call_hand_over(GroupCall *call, GroupDone done, gpointer user_data) {
  call->done = done;
  call->user_data = user_data;
}

static void tell(GroupDoor *door, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void tell(GroupDoor *door, const char *format, ...) {
  if (door->story->len > 0)
    g_string_append(door->story, " | ");
  va_list args;
  va_start(args, format);
  g_string_append_vprintf(door->story, format, args);
  va_end(args);
}

/* ---- answers ---- */

static void call_answer(GroupCall *call, const ProtobufCMessage *response, Failure *failure) {
  GroupDone done = call->done;
  gpointer user_data = call->user_data;
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(Failure) owned = failure;
  if (response != NULL) {
    g_autoptr(RpcMessage) packed = rpc_message_pack(response, NULL, 0);
    g_autoptr(GBytes) wire = rpc_message_flatten(packed);
    failure_free(rpc_message_decode(response->descriptor, &wire, 1, &message));
  }
  call_free(call);
  if (done != NULL)
    done(message, owned, user_data);
}

static void answer_assignment(GroupCall *call) {
  GroupDoor *door = call->door;
  g_auto(GStrv) words = g_strsplit(door->assignment, " ", -1);
  Milena__V1__AssignedPartition partitions[FAKE_PARTITIONS];
  Milena__V1__AssignedPartition *pointers[FAKE_PARTITIONS];
  Milena__V1__CommittedOffset committed[FAKE_PARTITIONS];
  Milena__V1__AssignedTopic topic = MILENA__V1__ASSIGNED_TOPIC__INIT, *topics[] = {&topic};
  for (guint i = 0; i < FAKE_PARTITIONS && words[i] != NULL && *words[i] != '\0'; i++) {
    char *end;
    milena__v1__assigned_partition__init(&partitions[i]);
    milena__v1__committed_offset__init(&committed[i]);
    partitions[i].partition = (gint32)g_ascii_strtoll(words[i], &end, 10);
    committed[i].offset = *end == '@' ? g_ascii_strtoll(end + 1, NULL, 10) : 0;
    partitions[i].committed = *end == '@' ? &committed[i] : NULL;
    pointers[topic.n_partitions++] = &partitions[i];
  }
  topic.topic = (char *)FAKE_TOPIC;
  topic.topic_id = (char *)FAKE_TOPIC_ID;
  topic.partitions = pointers;
  Milena__V1__Assignment assignment = MILENA__V1__ASSIGNMENT__INIT;
  assignment.version = door->version;
  assignment.topics = topics;
  assignment.n_topics = topic.n_partitions > 0;
  Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
  response.member_epoch = door->epoch;
  response.assignment = &assignment;
  response.explanation = (char *)"as the test says";
  call_answer(call, &response.base, NULL);
}

static void tell_heartbeat(GroupDoor *door, const Milena__V1__HeartbeatRequest *request) {
  GString *owned = g_string_new(request->owned != NULL ? " own=" : "");
  for (gsize i = 0; request->owned != NULL && i < request->owned->n_topics; i++)
    for (gsize j = 0; j < request->owned->topics[i]->n_partitions; j++)
      g_string_append_printf(owned, "%s%d", j > 0 ? "," : "", request->owned->topics[i]->partitions[j]);
  if (request->leave != MILENA__V1__LEAVE__LEAVE_UNSPECIFIED)
    tell(door, "leave%d", (int)request->leave);
  else if (request->member_epoch == 0)
    tell(door, "join%s", owned->str);
  else if (request->owned != NULL && !g_str_equal(owned->str, door->owned))
    tell(door, "%s", owned->str + 1);
  if (request->owned != NULL) {
    g_free(door->owned);
    door->owned = g_strdup(owned->str);
  }
  g_string_free(owned, TRUE);
}

/* A heartbeat that came, or was held. */
static void heartbeat_look(GroupCall *call) {
  GroupDoor *door = call->door;
  const Milena__V1__HeartbeatRequest *request = rpc_message_body(call->body);
  gboolean joins = request->member_epoch == 0;
  if (request->leave != MILENA__V1__LEAVE__LEAVE_UNSPECIFIED) {
    Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
    door->epoch = 0;
    call_answer(call, &response.base, NULL);
  } else if (!joins && door->epoch == 0) {
    call_answer(call, NULL, failure_new(FAILURE(UNKNOWN_MEMBER), "nobody knows this member"));
  } else if (joins || request->tell_assignment || request->assignment_version != door->version) {
    door->epoch = MAX(door->epoch, 1);
    answer_assignment(call);
  }
}

static void answer_commit(GroupCall *call) {
  const Milena__V1__CommitOffsetsRequest *request = rpc_message_body(call->body);
  Milena__V1__CommitOffsetsResponse response = MILENA__V1__COMMIT_OFFSETS_RESPONSE__INIT;
  Milena__V1__PartitionResult result = MILENA__V1__PARTITION_RESULT__INIT, *results[] = {&result};
  result.topic = (char *)FAKE_TOPIC;
  result.partition = request->offsets[0]->partition;
  response.n_results = 1;
  response.results = results;
  call_answer(call, &response.base, NULL);
}

static gboolean look(gpointer data) {
  GroupCall *call = data;
  g_clear_pointer(&call->source, g_source_unref);
  if (call->door->reason != FAILURE(UNSPECIFIED))
    call_answer(call, NULL, failure_new(call->door->reason, "as the test says"));
  else if (g_str_equal(call->method, "Heartbeat"))
    heartbeat_look(call);
  else if (!call->door->holds_commits)
    answer_commit(call);
  return G_SOURCE_REMOVE;
}

GroupCall *group_call_begin(GroupDoor *door, const GroupAsk *ask, GroupDone done, gpointer user_data) {
  LOOP_ASSERT_CURRENT(door->loop);
  GroupCall *call = g_new0(GroupCall, 1);
  *call = (GroupCall){.door = door, .method = ask->method, .done = done, .user_data = user_data};
  call->request = rpc_message_ref(ask->request);
  g_autoptr(GBytes) wire = rpc_message_flatten(ask->request);
  gboolean beats = g_str_equal(ask->method, "Heartbeat");
  failure_free(rpc_message_decode(beats ? &milena__v1__heartbeat_request__descriptor
                                        : &milena__v1__commit_offsets_request__descriptor,
                                  &wire, 1, &call->body));
  if (beats) {
    tell_heartbeat(door, rpc_message_body(call->body));
  } else {
    const Milena__V1__CommitOffsetsRequest *commit = rpc_message_body(call->body);
    tell(door, "commit e%u %d@%d", commit->member_epoch, commit->offsets[0]->partition,
         (int)commit->offsets[0]->offset);
  }
  g_queue_push_tail(&door->calls, call);
  call->source = loop_add_timeout(door->loop, 0, look, call);
  return done != NULL ? call : NULL;
}

/* ---- steering ---- */

static void look_at_held(GroupDoor *door) {
  for (GList *link = door->calls.head; link != NULL; link = link->next) {
    GroupCall *call = link->data;
    if (call->source == NULL)
      call->source = loop_add_timeout(door->loop, 0, look, call);
  }
}

typedef struct {
  GroupDoor *door;
  const char *partitions;
  FailureReason reason;
  char *story;
} Order;

static void assign(gpointer data) {
  const Order *order = data;
  g_free(order->door->assignment);
  order->door->assignment = g_strdup(order->partitions);
  order->door->version++;
  look_at_held(order->door);
}

void fake_door_assign(GroupDoor *door, const char *partitions) {
  Order order = {.door = door, .partitions = partitions};
  loop_call_and_wait(door->loop, assign, &order);
}

static void fail(gpointer data) {
  const Order *order = data;
  order->door->reason = order->reason;
  if (order->reason != FAILURE(UNSPECIFIED))
    look_at_held(order->door);
}

void fake_door_fail(GroupDoor *door, FailureReason reason) {
  Order order = {.door = door, .reason = reason};
  loop_call_and_wait(door->loop, fail, &order);
}

static void fence(gpointer data) {
  const Order *order = data;
  order->door->epoch = 0;
  look_at_held(order->door);
}

void fake_door_fence(GroupDoor *door) {
  Order order = {.door = door};
  loop_call_and_wait(door->loop, fence, &order);
}

static void hold_commits(gpointer data) {
  const Order *order = data;
  order->door->holds_commits = !order->door->holds_commits;
  look_at_held(order->door);
}

void fake_door_hold_commits(GroupDoor *door) {
  Order order = {.door = door};
  loop_call_and_wait(door->loop, hold_commits, &order);
}

void fake_door_release_commits(GroupDoor *door) {
  fake_door_hold_commits(door);
}

static void story(gpointer data) {
  Order *order = data;
  order->story = g_strdup(order->door->story->str);
}

char *fake_door_story(GroupDoor *door) {
  Order order = {.door = door};
  loop_call_and_wait(door->loop, story, &order);
  return order.story;
}
