/* Subscribe in a group over loopback, with partitions and the coordinator in memory: what the client sees, and what the
 * coordinator hears. */
#include "services/base/times.h"
#include "tests/shim/shim.h"
#include "tests/unit/read/read_fixture.h"

#define NONE MILENA__V1__COMPRESSION__COMPRESSION_NONE

/* ---- frames ---- */

typedef struct {
  Milena__V1__GroupSubscription subscription;
  Milena__V1__SubscribeMembership membership;
  Google__Protobuf__Duration timeout;
  Milena__V1__Credit credit;
  Milena__V1__SubscribeInit init;
  Milena__V1__SubscribeRequest request;
  char *topics[1];
} Init;

static void init_fill(Init *init) {
  milena__v1__group_subscription__init(&init->subscription);
  milena__v1__subscribe_membership__init(&init->membership);
  milena__v1__subscribe_init__init(&init->init);
  milena__v1__subscribe_request__init(&init->request);
  milena__v1__credit__init(&init->credit);
  init->topics[0] = (char *)FAKE_TOPIC;
  init->subscription.n_topics = 1;
  init->subscription.topics = init->topics;
  init->membership.subscription = &init->subscription;
  init->membership.member_id = (char *)"m1";
  init->membership.offset_reset = MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
  init->init.group = (char *)"g";
  init->init.membership = &init->membership;
  init->request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_INIT;
  init->request.init = &init->init;
}

static Recorder *open_stream(ReadFixture *fixture, const Init *init) {
  return read_fixture_open(fixture, "Subscribe", &init->request.base, TRUE);
}

/* A member with the defaults of init_fill. */
static Recorder *open_member(ReadFixture *fixture) {
  Init init;
  init_fill(&init);
  return open_stream(fixture, &init);
}

static void send_acknowledgement(Recorder *recorder, guint64 id) {
  Milena__V1__AssignmentAcknowledgement acknowledgement = MILENA__V1__ASSIGNMENT_ACKNOWLEDGEMENT__INIT;
  acknowledgement.assignment_id = id;
  Milena__V1__SubscribeRequest request = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_ACKNOWLEDGEMENT;
  request.acknowledgement = &acknowledgement;
  recorder_send(recorder, &request.base);
}

static void send_commit(Recorder *recorder, gint32 partition, gint64 offset, guint64 commit_id) {
  Milena__V1__OffsetCommit one = MILENA__V1__OFFSET_COMMIT__INIT, *offsets[] = {&one};
  one.topic = (char *)FAKE_TOPIC;
  one.partition = partition;
  one.offset = offset;
  Milena__V1__SubscribeCommit commit = MILENA__V1__SUBSCRIBE_COMMIT__INIT;
  commit.n_offsets = 1;
  commit.offsets = offsets;
  commit.commit_id = commit_id;
  Milena__V1__SubscribeRequest request = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_COMMIT;
  request.commit = &commit;
  recorder_send(recorder, &request.base);
}

static void send_credit(Recorder *recorder, guint64 records) {
  Milena__V1__Credit credit = MILENA__V1__CREDIT__INIT;
  credit.records = records;
  Milena__V1__SubscribeRequest request = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_CREDIT;
  request.credit = &credit;
  recorder_send(recorder, &request.base);
}

static void send_seek(Recorder *recorder, gint32 partition, gint64 offset, guint64 seek_id) {
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position.kind_case = MILENA__V1__POSITION__KIND_OFFSET;
  position.offset = offset;
  Milena__V1__Seek seek = MILENA__V1__SEEK__INIT;
  seek.topic = (char *)FAKE_TOPIC;
  seek.partition = partition;
  seek.position = &position;
  seek.seek_id = seek_id;
  Milena__V1__SubscribeRequest request = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_SEEK;
  request.seek = &seek;
  recorder_send(recorder, &request.base);
}

/* ---- stories ---- */

static void tell_change(GString *text, const Milena__V1__AssignmentChange *change) {
  g_string_append_printf(text, " [%d", (int)change->assignment_id);
  for (gsize i = 0; i < change->n_gained; i++)
    g_string_append_printf(text, " +%d@%d%s", change->gained[i]->partition, (int)change->gained[i]->offset,
                           change->gained[i]->committed ? "" : "?");
  for (gsize i = 0; i < change->n_lost; i++)
    for (gsize j = 0; j < change->lost[i]->n_partitions; j++)
      g_string_append_printf(text, " -%d", change->lost[i]->partitions[j]);
  g_string_append(text, change->fenced ? " fenced]" : "]");
}

static void tell_frame(GString *text, const Milena__V1__SubscribeResponse *body) {
  switch (body->frame_case) {
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_READY:
    g_string_append_printf(text, " ready:%s", body->ready->member_id);
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DRAINING:
    g_string_append(text, " draining");
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_SEEK_DONE:
    g_string_append_printf(text, " %s%d@%d", body->seek_done->status != NULL ? "noseek" : "seek",
                           (int)body->seek_done->seek_id, (int)body->seek_done->offset);
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_ASSIGNMENT:
    tell_change(text, body->assignment);
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_COMMIT_DONE: {
    g_autoptr(Failure) failure = failure_from_status(body->commit_done->status);
    g_string_append_printf(text, " commit%d", (int)body->commit_done->commit_id);
    if (failure != NULL)
      g_string_append_printf(text, ":%s", failure_reason_name(failure_reason(failure)));
    else
      g_string_append_printf(text, ":%d", (int)body->commit_done->n_results);
    break;
  }
  default:
    if (body->data->status != NULL) {
      g_string_append_printf(text, " error%d", body->data->partition);
    } else {
      g_autofree char *records = read_fixture_records(body->data);
      g_string_append_printf(text, " %s", records);
    }
  }
}

typedef struct {
  Recorder *recorder;
  char *text;
} Story;

static void story_tell(gpointer data) {
  Story *story = data;
  GString *text = g_string_new(NULL);
  for (gint i = 0; i < story->recorder->messages; i++)
    tell_frame(text, recorder_body(story->recorder, (guint)i));
  if (text->len > 0)
    g_string_erase(text, 0, 1);
  story->text = g_string_free(text, FALSE);
}

static char *story(Recorder *recorder) {
  Story story = {.recorder = recorder};
  read_fixture_look(recorder, story_tell, &story);
  return story.text;
}

/* Wait until the client has seen @want, and nothing else. */
static gboolean sees(Recorder *recorder, const char *want) {
  for (guint i = 0; i < 10000; i++) {
    g_autofree char *got = story(recorder);
    if (g_str_equal(want, got))
      return TRUE;
    g_usleep(1000);
  }
  g_autofree char *got = story(recorder);
  return EXPECT_EQ_STR(want, got);
}

/* Wait until the coordinator has heard @want, and nothing else. */
static gboolean hears(ReadFixture *fixture, const char *want) {
  for (guint i = 0; i < 10000; i++) {
    g_autofree char *got = fake_door_story(fixture->door);
    if (g_str_equal(want, got))
      return TRUE;
    g_usleep(1000);
  }
  g_autofree char *got = fake_door_story(fixture->door);
  return EXPECT_EQ_STR(want, got);
}

/* A member that reads 0 from 0 and 1 from 2, with 4 records in each partition. */
static Recorder *reading_member(ReadFixture *fixture) {
  for (gint32 i = 0; i < FAKE_PARTITIONS; i++)
    fake_append(fixture->front, i, 4, 0, NONE);
  fake_door_assign(fixture->door, "0 1@2");
  Init init;
  init_fill(&init);
  init.init.initial_credit = &init.credit;
  Recorder *recorder = open_stream(fixture, &init);
  sees(recorder, "ready:m1 [1 +0@0? +1@2]");
  send_acknowledgement(recorder, 1);
  hears(fixture, "join own= | own=0,1");
  return recorder;
}
#define READING "ready:m1 [1 +0@0? +1@2]"

/* ---- tests ---- */

TEST(subscribe_group, gives_what_was_assigned_once_it_was_acknowledged) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  sees(recorder, READING);
  send_credit(recorder, 3);
  sees(recorder, READING " 0:0 0:1 0:2");
  send_credit(recorder, 100);
  sees(recorder, READING " 0:0 0:1 0:2 1:2 1:3 0:3");
}

TEST(subscribe_group, no_record_of_a_lost_partition_follows_the_change) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  send_credit(recorder, 2);
  sees(recorder, READING " 0:0 0:1");
  fake_door_assign(fixture->door, "1@2 2@1");
  sees(recorder, READING " 0:0 0:1 [2 +2@1 -0]");
  send_credit(recorder, 100);
  sees(recorder, READING " 0:0 0:1 [2 +2@1 -0] 1:2 1:3"); /* 2 waits for the acknowledgement; 0 is gone */
  hears(fixture, "join own= | own=0,1");                  /* and so does the coordinator */
  send_acknowledgement(recorder, 2);
  sees(recorder, READING " 0:0 0:1 [2 +2@1 -0] 1:2 1:3 2:1 2:2 2:3");
  hears(fixture, "join own= | own=0,1 | own=1,2");
}

TEST(subscribe_group, commits_before_it_gives_up) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  fake_door_assign(fixture->door, "1@2");
  sees(recorder, READING " [2 -0]");
  fake_door_hold_commits(fixture->door);
  send_commit(recorder, 0, 2, 7);
  send_acknowledgement(recorder, 2);
  send_credit(recorder, 1); /* is not held up */
  sees(recorder, READING " [2 -0] 1:2");
  hears(fixture, "join own= | own=0,1 | commit e1 0@2");
  fake_door_release_commits(fixture->door);
  sees(recorder, READING " [2 -0] 1:2 commit7:1");
  hears(fixture, "join own= | own=0,1 | commit e1 0@2 | own=1");
}

TEST(subscribe_group, without_a_coordinator_reading_goes_on) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  fake_door_fail(fixture->door, FAILURE(COORDINATOR_NOT_AVAILABLE));
  send_commit(recorder, 0, 1, 5);
  sees(recorder, READING " commit5:COORDINATOR_NOT_AVAILABLE");
  send_credit(recorder, 3);
  sees(recorder, READING " commit5:COORDINATOR_NOT_AVAILABLE 0:0 0:1 0:2");
  fake_door_fail(fixture->door, FAILURE(UNSPECIFIED));
  fake_door_assign(fixture->door, "0 1@2 2@3");
  sees(recorder, READING " commit5:COORDINATOR_NOT_AVAILABLE 0:0 0:1 0:2 [2 +2@3]");
}

TEST(subscribe_group, a_fenced_member_is_told_and_joins_anew) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  fake_door_fence(fixture->door);
  sees(recorder, READING " [2 -0 -1 fenced]");
  send_credit(recorder, 100); /* nothing comes: others read it */
  send_commit(recorder, 0, 1, 3);
  sees(recorder, READING " [2 -0 -1 fenced] commit3:FENCED");
  hears(fixture, "join own= | own=0,1");
  fake_door_assign(fixture->door, "1@3");
  send_acknowledgement(recorder, 2);
  sees(recorder, READING " [2 -0 -1 fenced] commit3:FENCED [3 +1@3]");
  send_acknowledgement(recorder, 3);
  sees(recorder, READING " [2 -0 -1 fenced] commit3:FENCED [3 +1@3] 1:3");
  hears(fixture, "join own= | own=0,1 | join own= | own=1");
}

TEST(subscribe_group, a_client_that_does_not_acknowledge_is_out) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_door_assign(fixture->door, "0@0");
  Init init;
  init_fill(&init);
  init.membership.instance_id = (char *)"i1";
  times_duration_set(&init.timeout, 300);
  init.membership.rebalance_timeout = &init.timeout;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), "rebalance_timeout");
  hears(fixture, "join own= | leave1"); /* for good, although it has a name to come back with */
}

TEST(subscribe_group, half_close_sees_commits_through_and_leaves) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  send_credit(recorder, 1);
  sees(recorder, READING " 0:0");
  fake_door_hold_commits(fixture->door);
  send_commit(recorder, 0, 1, 9);
  recorder_half_close(recorder);
  hears(fixture, "join own= | own=0,1 | commit e1 0@1");
  fake_door_release_commits(fixture->door);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  hears(fixture, "join own= | own=0,1 | commit e1 0@1 | leave1");
  EXPECT_EQ_INT(MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_COMMIT_DONE,
                ((Milena__V1__SubscribeResponse *)recorder_body(recorder, 3))->frame_case);
}

TEST(subscribe_group, a_client_that_vanishes_leaves_at_once) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  fake_door_hold_commits(fixture->door);
  send_commit(recorder, 0, 1, 9);
  hears(fixture, "join own= | own=0,1 | commit e1 0@1");
  rpc_client_call_cancel(recorder->call);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  fake_door_release_commits(fixture->door); /* what was on its way still counts */
  hears(fixture, "join own= | own=0,1 | commit e1 0@1 | leave1");
}

TEST(subscribe_group, a_named_member_leaves_to_return) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_door_assign(fixture->door, "0@0");
  Init init;
  init_fill(&init);
  init.membership.instance_id = (char *)"i1";
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  sees(recorder, "ready:m1 [1 +0@0]");
  rpc_client_call_cancel(recorder->call);
  hears(fixture, "join own= | leave2");
}

static const struct {
  const char *name;
  Milena__V1__OffsetReset reset;
  const char *want; /* records 2 and 3 of partition 0 are kept; 1 is committed */
} RESETS[] = {
    {"earliest", MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST, "ready:m1 [1 +0@1] 0:2 0:3"},
    {"latest", MILENA__V1__OFFSET_RESET__OFFSET_RESET_LATEST, "ready:m1 [1 +0@1]"},
    {"unspecified", MILENA__V1__OFFSET_RESET__OFFSET_RESET_UNSPECIFIED, "ready:m1 [1 +0@1]"},
    {"none", MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE, "ready:m1 [1 +0@1] error0"},
};

TEST_ROWS(subscribe_group_out_of_range, RESETS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 4, 0, NONE);
  fake_set_log_start(fixture->front, 0, 2);
  fake_door_assign(fixture->door, "0@1");
  Init init;
  init_fill(&init);
  init.membership.offset_reset = RESETS[row].reset;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  sees(recorder, "ready:m1 [1 +0@1]");
  send_acknowledgement(recorder, 1);
  sees(recorder, RESETS[row].want);
  if (RESETS[row].reset == MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE)
    return;
  ASSERT_TRUE(fixture_wait(&fixture->front->waiting_reads, 1)); /* it is where the reset led to */
  fake_append(fixture->front, 0, 1, 0, NONE);
  g_autofree char *want = g_strconcat(RESETS[row].want, " 0:4", NULL);
  sees(recorder, want);
}

TEST(subscribe_group, without_reset_nothing_committed_is_an_error_until_a_seek) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 4, 0, NONE);
  fake_append(fixture->front, 1, 1, 0, NONE);
  fake_door_assign(fixture->door, "0 1@0");
  Init init;
  init_fill(&init);
  init.membership.offset_reset = MILENA__V1__OFFSET_RESET__OFFSET_RESET_NONE;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  sees(recorder, "ready:m1 [1 +0@-1? +1@0]");
  send_acknowledgement(recorder, 1);
  sees(recorder, "ready:m1 [1 +0@-1? +1@0] error0 1:0");
  send_seek(recorder, 0, 99, 1); /* beyond the end: it stays as it was */
  sees(recorder, "ready:m1 [1 +0@-1? +1@0] error0 1:0 noseek1@-1 error0");
  send_seek(recorder, 0, 2, 2);
  sees(recorder, "ready:m1 [1 +0@-1? +1@0] error0 1:0 noseek1@-1 error0 seek2@2 0:2 0:3");
}

TEST(subscribe_group, seeks_before_and_after_the_acknowledgement) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 4, 0, NONE);
  fake_door_assign(fixture->door, "0@0");
  g_autoptr(Recorder) recorder = open_member(fixture);
  sees(recorder, "ready:m1 [1 +0@0]");
  send_seek(recorder, 0, 2, 1);
  send_seek(recorder, 1, 2, 2); /* not ours */
  sees(recorder, "ready:m1 [1 +0@0] seek1@2 noseek2@0");
  send_acknowledgement(recorder, 1);
  sees(recorder, "ready:m1 [1 +0@0] seek1@2 noseek2@0 0:2 0:3");
  send_seek(recorder, 0, 3, 3);
  sees(recorder, "ready:m1 [1 +0@0] seek1@2 noseek2@0 0:2 0:3 seek3@3 0:3");
}

TEST(subscribe_group, a_start_that_can_not_be_found_does_not_hold_up_the_others) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 1, 0, NONE);
  fake_fail(fixture->front, 1, FAILURE(LEADER_NOT_AVAILABLE), 1);
  fake_door_assign(fixture->door, "0@0 1");
  g_autoptr(Recorder) recorder = open_member(fixture);
  sees(recorder, "ready:m1 [1 +0@0]");
  send_acknowledgement(recorder, 1);
  sees(recorder, "ready:m1 [1 +0@0] 0:0 [2 +1@0?]"); /* found on the second try */
}

static void drain(gpointer front) {
  ((Front *)front)->draining = TRUE;
}

TEST(subscribe_group, a_broker_that_drains_leaves_the_member_in) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  fake_on_loop(fixture->front, drain);
  rpc_server_drain(fixture->rpc->server, 5000);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(DRAINING), failure_reason(recorder->failure));
  hears(fixture, "join own= | own=0,1"); /* the client comes back elsewhere, with its id */
}

TEST(subscribe_group, a_join_that_is_refused_says_why) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_door_fail(fixture->door, FAILURE(COORDINATOR_NOT_AVAILABLE));
  g_autoptr(Recorder) recorder = open_member(fixture);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(COORDINATOR_NOT_AVAILABLE), failure_reason(recorder->failure));
  EXPECT_EQ_INT(0, recorder->messages);
}

/* ---- bad frames ---- */

static void with_partitions(Init *init) {
  static Milena__V1__SubscribePartition part, *parts[] = {&part};
  milena__v1__subscribe_partition__init(&part);
  part.topic = (char *)FAKE_TOPIC;
  init->init.n_partitions = 1;
  init->init.partitions = parts;
}
static void without_membership(Init *init) {
  init->init.membership = NULL;
}
static void without_topics(Init *init) {
  init->subscription.n_topics = 0;
}
static void without_time(Init *init) {
  times_duration_set(&init->timeout, 0);
  init->membership.rebalance_timeout = &init->timeout;
}
static void without_group(Init *init) {
  with_partitions(init);
  init->init.group = (char *)"";
}

static const struct {
  const char *name;
  void (*spoil)(Init *init);
  const char *field;
} BAD[] = {
    {"partitions", with_partitions, "init.partitions"},
    {"membership", without_membership, "init.membership.subscription"},
    {"topics", without_topics, "init.membership.subscription"},
    {"timeout", without_time, "init.membership.rebalance_timeout"},
    {"group", without_group, "init.membership"},
};

TEST_ROWS(subscribe_group_bad, BAD) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Init init;
  init_fill(&init);
  BAD[row].spoil(&init);
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), BAD[row].field);
  hears(fixture, "");
}

TEST(subscribe_group, an_unknown_change_can_not_be_acknowledged) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder = reading_member(fixture);
  send_acknowledgement(recorder, 2);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), "acknowledgement.assignment_id");
}

TEST(subscribe_group, commits_need_a_group) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Init init;
  init_fill(&init);
  without_group(&init);
  init.init.membership = NULL;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  send_commit(recorder, 0, 1, 1);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), "init.group");
}
