/* A stream's membership, event by event. Assignments, heartbeats and changes are words: see the helpers. */
#include "services/base/times.h"
#include "services/broker/read/member.h"
#include "tests/shim/shim.h"

#define SECOND ((gint64)G_USEC_PER_SEC)
#define LATEST MILENA__V1__OFFSET_RESET__OFFSET_RESET_LATEST
#define NONE MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE

typedef struct {
  Milena__V1__SubscribeInit init;
  Milena__V1__SubscribeMembership wants;
  Google__Protobuf__Duration timeout;
  Member *member;
  gint64 now_us;
  guint32 version;
} World;

static World *world_new(Milena__V1__OffsetReset reset, const char *instance_id) {
  World *world = g_new0(World, 1);
  milena__v1__subscribe_init__init(&world->init);
  milena__v1__subscribe_membership__init(&world->wants);
  times_duration_set(&world->timeout, 10000);
  world->init.group = (char *)"g";
  world->init.membership = &world->wants;
  world->wants.offset_reset = reset;
  world->wants.instance_id = (char *)instance_id;
  world->wants.rebalance_timeout = &world->timeout;
  world->member = member_new(&world->init, "m", "rack1");
  return world;
}

static void world_free(World *world) {
  member_free(world->member);
  g_free(world);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

/* What the member says now: "join own= tell0", "beat e1 v2 own=0,1 held", or "" when nothing is due. */
static char *say(World *world) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  if (member_heartbeat_due_us(world->member) > world->now_us)
    return g_strdup("");
  const Milena__V1__HeartbeatRequest *request = member_heartbeat(world->member, world->now_us, memory);
  GString *text = g_string_new(NULL);
  if (request->member_epoch == 0)
    g_string_append_printf(text, "join %s %s", request->member_id, request->rack);
  else
    g_string_append_printf(text, "beat e%u v%u", request->member_epoch, request->assignment_version);
  if (request->owned != NULL)
    g_string_append(text, " own=");
  for (gsize i = 0; request->owned != NULL && i < request->owned->n_topics; i++)
    for (gsize j = 0; j < request->owned->topics[i]->n_partitions; j++)
      g_string_append_printf(text, "%s%s/%d", i + j > 0 ? "," : "", request->owned->topics[i]->topic,
                             request->owned->topics[i]->partitions[j]);
  g_string_append(text, request->tell_assignment ? " tell" : "");
  g_string_append(text, request->max_wait != NULL ? " held" : "");
  return g_string_free(text, FALSE);
}

#define EXPECT_SAYS(want, world)                                                                                       \
  do {                                                                                                                 \
    g_autofree char *said = say(world);                                                                                \
    EXPECT_EQ_STR(want, said);                                                                                         \
  } while (0)

/* The coordinator answers. @assignment: "0@5 1 2": partitions of t, with what is committed; NULL: it did not change */
static void answer(World *world, guint32 epoch, const char *assignment) {
  Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
  Milena__V1__Assignment whole = MILENA__V1__ASSIGNMENT__INIT;
  Milena__V1__AssignedTopic topic = MILENA__V1__ASSIGNED_TOPIC__INIT;
  Milena__V1__AssignedTopic *topics[] = {&topic};
  g_autoptr(ReadMemory) memory = read_memory_new();
  response.member_epoch = epoch;
  response.explanation = (char *)"because";
  topic.topic = (char *)"t";
  topic.topic_id = (char *)"id";
  g_auto(GStrv) words = g_strsplit(assignment ? assignment : "", " ", -1);
  topic.partitions = read_memory_alloc(memory, (g_strv_length(words) + 1) * sizeof *topic.partitions);
  for (guint i = 0; words[i] != NULL && *words[i] != '\0'; i++) {
    char *end;
    Milena__V1__AssignedPartition *partition = read_memory_alloc(memory, sizeof *partition);
    milena__v1__assigned_partition__init(partition);
    partition->partition = (gint32)g_ascii_strtoll(words[i], &end, 10);
    if (*end == '@') {
      partition->committed = read_memory_alloc(memory, sizeof *partition->committed);
      milena__v1__committed_offset__init(partition->committed);
      partition->committed->offset = g_ascii_strtoll(end + 1, NULL, 10);
    }
    topic.partitions[topic.n_partitions++] = partition;
  }
  whole.topics = topics;
  whole.n_topics = topic.n_partitions > 0;
  whole.version = assignment != NULL ? ++world->version : world->version;
  response.assignment = assignment != NULL ? &whole : NULL;
  member_heartbeat_answered(world->member, &response, world->now_us);
}

/* The change that the client is told: "1 +t/0@5 -t/1 fenced", or "". */
static char *change(World *world) {
  MemberChange change;
  if (!member_next_change(world->member, world->now_us, &change))
    return g_strdup("");
  GString *text = g_string_new(NULL);
  g_string_append_printf(text, "%d", (int)change.id);
  for (guint i = 0; i < change.gained->len; i++) {
    const MemberPartition *gained = g_ptr_array_index(change.gained, i);
    g_string_append_printf(text, " +%s/%d@%d%s", gained->topic, gained->partition, (int)gained->start,
                           gained->committed ? "" : "?");
  }
  for (guint i = 0; i < change.lost->len; i++) {
    const MemberPartition *lost = g_ptr_array_index(change.lost, i);
    g_string_append_printf(text, " -%s/%d", lost->topic, lost->partition);
  }
  g_string_append(text, change.fenced ? " fenced" : "");
  member_change_clear(&change);
  return g_string_free(text, FALSE);
}

#define EXPECT_CHANGE(want, world)                                                                                     \
  do {                                                                                                                 \
    g_autofree char *told = change(world);                                                                             \
    EXPECT_EQ_STR(want, told);                                                                                         \
  } while (0)

/* What is read: "0 2". */
static char *reading(World *world) {
  GString *text = g_string_new(NULL);
  GPtrArray *partitions = member_partitions(world->member);
  for (gint32 number = 0; number < 10; number++)
    for (guint i = 0; i < partitions->len; i++) {
      const MemberPartition *partition = g_ptr_array_index(partitions, i);
      if (partition->partition == number && partition->state == MEMBER_OWNED && !member_is_fenced(world->member))
        g_string_append_printf(text, "%s%d", text->len > 0 ? " " : "", number);
    }
  return g_string_free(text, FALSE);
}

#define EXPECT_READING(want, world)                                                                                    \
  do {                                                                                                                 \
    g_autofree char *read = reading(world);                                                                            \
    EXPECT_EQ_STR(want, read);                                                                                         \
  } while (0)

static void acknowledge(World *world, guint64 id) {
  g_autoptr(Failure) failure = member_acknowledge(world->member, id, world->now_us);
  EXPECT_NULL(failure);
  member_sweep(world->member);
}

static MemberPartition *partition(World *world, gint32 number) {
  GPtrArray *partitions = member_partitions(world->member);
  for (guint i = 0; i < partitions->len; i++) {
    MemberPartition *partition = g_ptr_array_index(partitions, i);
    if (partition->partition == number && partition->state != MEMBER_GONE)
      return partition;
  }
  return NULL;
}

/* A member that owns 0 and 1 and has nothing to say. */
static World *settled_new(void) {
  World *world = world_new(LATEST, "");
  g_free(say(world));
  answer(world, 1, "0@5 1@7");
  g_free(change(world));
  acknowledge(world, 1);
  g_free(say(world));
  answer(world, 1, NULL);
  return world;
}

TEST(member, joins_is_given_and_says_what_it_took) {
  g_autoptr(World) world = world_new(LATEST, "");
  EXPECT_EQ_INT(0, member_epoch(world->member));
  EXPECT_SAYS("join m rack1 own=", world);
  EXPECT_SAYS("", world); /* one at a time */
  answer(world, 1, "0@5 1@7");
  EXPECT_CHANGE("1 +t/0@5 +t/1@7", world);
  EXPECT_READING("", world); /* not before the client is ready */
  EXPECT_SAYS("beat e1 v1 own= held", world);
  acknowledge(world, 1);
  EXPECT_READING("0 1", world);
  EXPECT_SAYS("beat e1 v1 own=t/0,t/1 tell", world); /* at once, and what the other would have brought is asked for */
  answer(world, 1, "0@5 1@7");
  EXPECT_CHANGE("", world);
  EXPECT_SAYS("beat e1 v2 own=t/0,t/1 held", world); /* each version is answered */
  answer(world, 1, NULL);
  world->now_us += SECOND;
  EXPECT_SAYS("beat e1 v2 held", world);
}

TEST(member, gives_up_after_the_client_did) {
  g_autoptr(World) world = settled_new();
  EXPECT_SAYS("beat e1 v1 held", world);
  answer(world, 2, "1@9");
  EXPECT_READING("0 1", world); /* until the client is told */
  EXPECT_CHANGE("2 -t/0", world);
  EXPECT_READING("1", world);
  EXPECT_SAYS("beat e2 v2 own=t/0,t/1 held", world);
  acknowledge(world, 2);
  EXPECT_SAYS("beat e2 v2 own=t/1 tell", world);
}

TEST(member, has_one_change_at_a_time_unacknowledged) {
  g_autoptr(World) world = settled_new();
  g_free(say(world));
  answer(world, 2, "1 2@3");
  EXPECT_CHANGE("2 +t/2@3 -t/0", world);
  g_free(say(world));
  answer(world, 3, "1 3@4"); /* 2 was taken back before the client was ready for it */
  EXPECT_CHANGE("", world);
  EXPECT_READING("1", world);
  acknowledge(world, 2);
  EXPECT_CHANGE("3 +t/3@4 -t/2", world);
  EXPECT_SAYS("beat e3 v3 own=t/1,t/2 held", world); /* lost is owned until the client says otherwise */
  acknowledge(world, 3);
  EXPECT_SAYS("beat e3 v3 own=t/1,t/3 tell", world);
}

TEST(member, takes_what_came_back_from_what_was_committed_since) {
  g_autoptr(World) world = settled_new();
  g_free(say(world));
  answer(world, 2, "1@7");
  EXPECT_CHANGE("2 -t/0", world);
  g_free(say(world));
  answer(world, 3, "0@5 1@7"); /* before the client's last commit */
  acknowledge(world, 2);
  EXPECT_CHANGE("", world);
  EXPECT_SAYS("beat e3 v3 own=t/1 tell", world);
  answer(world, 3, "0@6 1@7");
  EXPECT_CHANGE("3 +t/0@6", world);
}

TEST(member, forgets_what_the_client_never_heard_of) {
  g_autoptr(World) world = world_new(LATEST, "");
  g_free(say(world));
  answer(world, 1, "0");
  EXPECT_CHANGE("", world); /* its start is looked for */
  g_free(say(world));
  answer(world, 1, "1@2");
  EXPECT_EQ_INT(MEMBER_GONE, ((MemberPartition *)g_ptr_array_index(member_partitions(world->member), 0))->state);
  member_sweep(world->member);
  EXPECT_SAYS("beat e1 v2 own= held", world); /* the coordinator hears that it is free, all the same */
  EXPECT_CHANGE("1 +t/1@2", world);
}

TEST(member, waits_for_starts_but_not_for_late_ones) {
  g_autoptr(World) world = world_new(LATEST, "");
  g_free(say(world));
  answer(world, 1, "0@1 1 2");
  EXPECT_CHANGE("", world);
  member_start_found(world->member, partition(world, 1), 40);
  EXPECT_CHANGE("", world);
  partition(world, 2)->late = TRUE;
  EXPECT_CHANGE("1 +t/0@1 +t/1@40?", world);
  member_start_found(world->member, partition(world, 2), 41);
  EXPECT_CHANGE("", world);
  acknowledge(world, 1);
  EXPECT_CHANGE("2 +t/2@41?", world);
}

TEST(member, tells_losses_without_waiting) {
  g_autoptr(World) world = settled_new();
  g_free(say(world));
  answer(world, 2, "1 2");
  EXPECT_CHANGE("2 -t/0", world);
}

TEST(member, without_reset_has_no_start) {
  g_autoptr(World) world = world_new(NONE, "");
  g_free(say(world));
  answer(world, 1, "0@5 1");
  EXPECT_CHANGE("1 +t/0@5 +t/1@-1?", world);
}

TEST(member, fenced_tells_then_joins_anew) {
  g_autoptr(World) world = settled_new();
  EXPECT_SAYS("beat e1 v1 held", world);
  g_autoptr(Failure) failure = failure_new(FAILURE(UNKNOWN_MEMBER), "it was away for too long");
  EXPECT_NULL(member_heartbeat_failed(world->member, failure, world->now_us));
  EXPECT_EQ_INT(0, member_epoch(world->member));
  EXPECT_READING("", world);
  world->now_us += SECOND;
  EXPECT_SAYS("", world);
  EXPECT_CHANGE("2 -t/0 -t/1 fenced", world);
  acknowledge(world, 2);
  EXPECT_SAYS("join m rack1 own= tell", world);
  answer(world, 4, "1@9");
  EXPECT_CHANGE("3 +t/1@9", world);
}

TEST(member, fenced_within_a_change_tells_all_after_it) {
  g_autoptr(World) world = settled_new();
  g_free(say(world));
  answer(world, 2, "0 1 2@3");
  EXPECT_CHANGE("2 +t/2@3", world);
  g_free(say(world));
  g_autoptr(Failure) failure = failure_new(FAILURE(FENCED), "others read it");
  EXPECT_NULL(member_heartbeat_failed(world->member, failure, world->now_us));
  EXPECT_CHANGE("", world);
  acknowledge(world, 2);
  EXPECT_READING("", world);
  EXPECT_CHANGE("3 -t/0 -t/1 -t/2 fenced", world);
  acknowledge(world, 3);
  EXPECT_SAYS("join m rack1 own= tell", world);
}

TEST(member, with_nothing_to_lose_joins_anew_at_once) {
  g_autoptr(World) world = world_new(LATEST, "");
  g_free(say(world));
  answer(world, 1, "");
  g_free(say(world));
  g_autoptr(Failure) failure = failure_new(FAILURE(UNKNOWN_MEMBER), "away");
  EXPECT_NULL(member_heartbeat_failed(world->member, failure, world->now_us));
  EXPECT_CHANGE("", world);
  EXPECT_SAYS("join m rack1 own= tell", world);
}

/* Two processes with one instance_id must not go on fencing each other. */
TEST(member, whose_place_was_taken_ends) {
  g_autoptr(World) world = world_new(LATEST, "i1");
  g_free(say(world));
  answer(world, 1, "0@5");
  g_free(say(world));
  g_autoptr(Failure) failure = failure_new(FAILURE(FENCED), "another came with the instance_id");
  g_autoptr(Failure) end = member_heartbeat_failed(world->member, failure, world->now_us);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(end));
}

static const struct {
  const char *name;
  FailureReason reason;
  gboolean before_joining, after;
} ENDS[] = {
    {"no_coordinator", FAILURE(COORDINATOR_NOT_AVAILABLE), TRUE, FALSE},
    {"loading", FAILURE(COORDINATOR_LOADING), TRUE, FALSE},
    {"unknown_outcome", FAILURE(UNKNOWN_OUTCOME), TRUE, FALSE},
    {"bad_pattern", FAILURE(INVALID_FIELD), TRUE, TRUE},
    {"too_many", FAILURE(LIMIT_EXCEEDED), TRUE, TRUE},
};

TEST_ROWS(member_end, ENDS) {
  for (guint joined = 0; joined < 2; joined++) {
    g_autoptr(World) world = joined ? settled_new() : world_new(LATEST, "");
    g_free(say(world));
    g_autoptr(Failure) failure = failure_new(ENDS[row].reason, "so it is");
    g_autoptr(Failure) end = member_heartbeat_failed(world->member, failure, world->now_us);
    EXPECT_EQ_INT(joined ? ENDS[row].after : ENDS[row].before_joining, end != NULL);
    if (end != NULL)
      continue;
    EXPECT_READING("0 1", world); /* reading goes on */
    EXPECT_SAYS("", world);
    world->now_us += SECOND;
    EXPECT_SAYS("beat e1 v1 tell", world);
  }
}

TEST(member, does_not_spin_when_nothing_is_held) {
  g_autoptr(World) world = settled_new();
  EXPECT_SAYS("beat e1 v1 held", world);
  answer(world, 1, NULL);
  EXPECT_SAYS("", world);
  world->now_us += SECOND;
  EXPECT_SAYS("beat e1 v1 held", world);
}

TEST(member, must_acknowledge_in_time) {
  g_autoptr(World) world = world_new(LATEST, "");
  EXPECT_EQ_INT(G_MAXINT64, member_acknowledge_by_us(world->member));
  g_free(say(world));
  answer(world, 1, "0@5");
  world->now_us = 3 * SECOND;
  EXPECT_CHANGE("1 +t/0@5", world);
  EXPECT_EQ_INT(13 * SECOND, member_acknowledge_by_us(world->member));
  g_autoptr(Failure) failure = member_overdue(world->member);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "10000 ms");
  acknowledge(world, 1);
  EXPECT_EQ_INT(G_MAXINT64, member_acknowledge_by_us(world->member));
  acknowledge(world, 1); /* again: fine */
  g_autoptr(Failure) unknown = member_acknowledge(world->member, 2, 0);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(unknown));
}

TEST(member, leaves_as_it_came) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  g_autoptr(World) world = world_new(LATEST, "i1");
  EXPECT_NULL(member_leave(world->member, FALSE, memory));
  g_free(say(world));
  answer(world, 7, "");
  EXPECT_EQ_INT(MILENA__V1__LEAVE__LEAVE_TO_RETURN, member_leave(world->member, FALSE, memory)->leave);
  EXPECT_EQ_INT(MILENA__V1__LEAVE__LEAVE_FOR_GOOD, member_leave(world->member, TRUE, memory)->leave);
  EXPECT_EQ_INT(7, member_leave(world->member, TRUE, memory)->member_epoch);
  g_autoptr(World) other = settled_new();
  EXPECT_EQ_INT(MILENA__V1__LEAVE__LEAVE_FOR_GOOD, member_leave(other->member, FALSE, memory)->leave);
}
