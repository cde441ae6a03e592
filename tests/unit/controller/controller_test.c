#include <string.h>

#include "controller/metadata/image.h"
#include "tests/shim/shim.h"
#include "tests/unit/controller/fixture.h"

#define LONG_SESSION_MS 20000
#define SHORT_SESSION_MS 400

/* ---- Topics ---- */

TEST(controller, creates_topics_and_keeps_them_over_a_restart) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  guint64 epoch = fixture_add_broker(&fixture, 1);
  fixture_add_broker(&fixture, 2);
  for (guint i = 0; i < 30; i++) { /* past a snapshot */
    g_autofree char *name = g_strdup_printf("topic-%u", i);
    EXPECT_NULL(fixture_create_topic(&fixture, name, 2));
  }
  EXPECT_EQ_INT(1, fixture_leader(&fixture, "topic-0", 0));
  EXPECT_EQ_INT(2, fixture_leader(&fixture, "topic-0", 1));
  fixture_stop(&fixture);
  fixture.options.bootstrap = FALSE;
  fixture_start(&fixture);
  for (guint i = 0; i < 30; i++) {
    g_autofree char *name = g_strdup_printf("topic-%u", i);
    EXPECT_EQ_INT(1, fixture_leader(&fixture, name, 0));
  }
  /* The registration is still good, and the session is a full one again. */
  gboolean fenced = TRUE, may_stop = FALSE;
  EXPECT_NULL(fixture_heartbeat(&fixture, 1, epoch, FALSE, &fenced, &may_stop));
  EXPECT_FALSE(fenced);
  g_autoptr(Failure) failure = fixture_create_topic(&fixture, "topic-7", 1);
  EXPECT_EQ_INT(FAILURE(TOPIC_EXISTS), failure_reason(failure));
  fixture_clear(&fixture);
}

TEST(controller, checks_without_changing_when_asked_to) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  fixture_add_broker(&fixture, 1);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"maybe";
  request.partitions = 3;
  request.validate_only = TRUE;
  g_autoptr(RpcMessage) message = NULL;
  EXPECT_NULL(
      fixture_call(&fixture, FALSE, &milena__v1__admin_service__descriptor, "CreateTopic", &request.base, &message));
  const Milena__V1__CreateTopicResponse *response = rpc_message_body(message);
  EXPECT_EQ_INT(3, response->topic->n_partitions);
  EXPECT_EQ_INT(-2, fixture_leader(&fixture, "maybe", 0));
  fixture_clear(&fixture);
}

/* ---- The order of answers ---- */

/* Answers in the order in which they came. */
typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  guint count;
  FailureReason reasons[2];
} Answers;

static void note_answer(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  Answers *answers = user_data;
  pthread_mutex_lock(&answers->mutex);
  answers->reasons[answers->count++] = failure ? failure_reason(failure) : FAILURE(UNSPECIFIED);
  pthread_cond_signal(&answers->cond);
  pthread_mutex_unlock(&answers->mutex);
}

/* A call and another one, sent without waiting in between; returns once both are answered. */
static void call_both(Fixture *fixture, Loop *loop, const ProtobufCMessage *first, const char *method,
                      const ProtobufCMessage *second, Answers *answers) {
  const char *methods[] = {"CreateTopic", method};
  const ProtobufCMessage *requests[] = {first, second};
  answers->count = 0;
  for (guint i = 0; i < 2; i++) {
    g_autoptr(RpcMessage) message = rpc_message_pack(requests[i], NULL, 0);
    rpc_client_call_unref(rpc_client_unary(fixture->client, controller_address(fixture->controller),
                                           &milena__v1__admin_service__descriptor, methods[i], message, G_MAXINT64,
                                           loop, note_answer, answers));
  }
  pthread_mutex_lock(&answers->mutex);
  while (answers->count < 2)
    pthread_cond_wait(&answers->cond, &answers->mutex);
  pthread_mutex_unlock(&answers->mutex);
}

/* "It exists already", while it is only proposed, would be a tale of what may be lost yet. So it is for what is refused
 * about partitions and brokers. */
TEST(controller, refuses_because_of_a_proposal_only_once_that_is_committed) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  fixture_add_broker(&fixture, 1);
  g_autoptr(Loop) loop = loop_new("answers", 16);
  loop_start(loop);
  Answers answers = {.count = 0};
  pthread_mutex_init(&answers.mutex, NULL);
  pthread_cond_init(&answers.cond, NULL);
  for (guint i = 0; i < 20; i++) {
    g_autofree char *name = g_strdup_printf("topic-%u", i);
    Milena__V1__CreateTopicRequest create = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
    create.name = name;
    call_both(&fixture, loop, &create.base, "CreateTopic", &create.base, &answers);
    EXPECT_EQ_INT(FAILURE(UNSPECIFIED), answers.reasons[0]);
    EXPECT_EQ_INT(FAILURE(TOPIC_EXISTS), answers.reasons[1]);
    g_autofree char *next = g_strdup_printf("next-%u", i);
    create.name = next;
    Milena__V1__DrainBrokerRequest drain = MILENA__V1__DRAIN_BROKER_REQUEST__INIT;
    drain.id = 99;
    call_both(&fixture, loop, &create.base, "DrainBroker", &drain.base, &answers);
    EXPECT_EQ_INT(FAILURE(UNSPECIFIED), answers.reasons[0]);
    EXPECT_EQ_INT(FAILURE(UNKNOWN_BROKER), answers.reasons[1]);
  }
  fixture_clear(&fixture);
  loop_stop(loop);
  pthread_mutex_destroy(&answers.mutex);
  pthread_cond_destroy(&answers.cond);
}

TEST(controller, works_on_topics_on_the_peers_listener_too) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  fixture_add_broker(&fixture, 1);
  const ProtobufCServiceDescriptor *admin = &milena__v1__admin_service__descriptor;
  EXPECT_NULL(fixture_create_topic(&fixture, "a", 1));
  Milena__V1__AddPartitionsRequest add = MILENA__V1__ADD_PARTITIONS_REQUEST__INIT;
  add.name = (char *)"a";
  add.total_partitions = 4;
  g_autoptr(RpcMessage) added = NULL;
  EXPECT_NULL(fixture_call(&fixture, TRUE, admin, "AddPartitions", &add.base, &added));
  EXPECT_CONTAINS(((const Milena__V1__AddPartitionsResponse *)rpc_message_body(added))->warning, "Keys move");
  Milena__V1__UpdateTopicRequest update = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  char *paths[] = {(char *)"flush"};
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.flush = MILENA__V1__FLUSH__FLUSH_OS;
  mask.n_paths = 1;
  mask.paths = paths;
  update.name = (char *)"a";
  update.config = &config;
  update.update_mask = &mask;
  g_autoptr(RpcMessage) updated = NULL;
  EXPECT_NULL(fixture_call(&fixture, TRUE, admin, "UpdateTopic", &update.base, &updated));
  const Milena__V1__UpdateTopicResponse *response = rpc_message_body(updated);
  EXPECT_EQ_INT(MILENA__V1__FLUSH__FLUSH_OS, response->topic->effective_config->flush);
  EXPECT_EQ_INT(4, response->topic->n_partitions);
  Milena__V1__DeleteTopicRequest remove = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  remove.name = (char *)"a";
  EXPECT_NULL(fixture_call(&fixture, TRUE, admin, "DeleteTopic", &remove.base, NULL));
  EXPECT_EQ_INT(-2, fixture_leader(&fixture, "a", 0));
  fixture_clear(&fixture);
}

/* ---- Producer ids ---- */

static Failure *allocate(Fixture *fixture, guint64 epoch, gint64 *ret_first) {
  Milena__Internal__V1__AllocateProducerIdsRequest request = MILENA__INTERNAL__V1__ALLOCATE_PRODUCER_IDS_REQUEST__INIT;
  request.broker_id = 1;
  request.broker_epoch = epoch;
  g_autoptr(RpcMessage) message = NULL;
  Failure *failure = fixture_call(fixture, TRUE, &milena__internal__v1__controller_service__descriptor,
                                  "AllocateProducerIds", &request.base, &message);
  if (failure)
    return failure;
  const Milena__Internal__V1__AllocateProducerIdsResponse *response = rpc_message_body(message);
  EXPECT_EQ_INT(1000, response->count);
  *ret_first = response->first_producer_id;
  return NULL;
}

TEST(controller, gives_producer_ids_once_also_over_a_restart) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  guint64 epoch = fixture_add_broker(&fixture, 1);
  gint64 first = 0;
  EXPECT_NULL(allocate(&fixture, epoch, &first));
  EXPECT_EQ_INT(1, first);
  fixture_stop(&fixture);
  fixture_start(&fixture);
  EXPECT_NULL(allocate(&fixture, epoch, &first));
  EXPECT_EQ_INT(1001, first);
  g_autoptr(Failure) stale = allocate(&fixture, epoch + 1, &first);
  EXPECT_EQ_INT(FAILURE(FENCED), stale ? (int)failure_reason(stale) : -1);
  fixture_clear(&fixture);
}

/* ---- Sessions ---- */

TEST(controller, fences_a_broker_that_falls_silent_and_takes_it_back) {
  Fixture fixture;
  fixture_init(&fixture, SHORT_SESSION_MS);
  fixture_start(&fixture);
  guint64 epoch = fixture_add_broker(&fixture, 1);
  EXPECT_NULL(fixture_create_topic(&fixture, "a", 1));
  gint32 leader = 1;
  for (guint i = 0; i < 200 && leader == 1; i++) {
    g_usleep(20000);
    leader = fixture_leader(&fixture, "a", 0);
  }
  EXPECT_EQ_INT(-1, leader);
  gboolean fenced = TRUE, may_stop = FALSE;
  EXPECT_NULL(fixture_heartbeat(&fixture, 1, epoch, FALSE, &fenced, &may_stop));
  EXPECT_FALSE(fenced);
  EXPECT_EQ_INT(1, fixture_leader(&fixture, "a", 0));
  fixture_clear(&fixture);
}

TEST(controller, lets_a_broker_stop_at_once) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  guint64 epoch = fixture_add_broker(&fixture, 1);
  EXPECT_NULL(fixture_create_topic(&fixture, "a", 1));
  gboolean fenced = FALSE, may_stop = FALSE;
  EXPECT_NULL(fixture_heartbeat(&fixture, 1, epoch, TRUE, &fenced, &may_stop));
  EXPECT_TRUE(fenced);
  EXPECT_TRUE(may_stop);
  EXPECT_EQ_INT(-1, fixture_leader(&fixture, "a", 0));
  /* A heartbeat that was on its way does not bring it back. */
  EXPECT_NULL(fixture_heartbeat(&fixture, 1, epoch, FALSE, &fenced, &may_stop));
  EXPECT_TRUE(fenced);
  /* Its id is free at once, also for another folder. */
  Milena__Internal__V1__RegisterNodeRequest request = fixture_registration(1, 50, 51);
  guint64 next = 0;
  EXPECT_NULL(fixture_register(&fixture, &request, &next));
  EXPECT_TRUE(next > epoch);
  g_autoptr(Failure) stale = fixture_heartbeat(&fixture, 1, epoch, FALSE, &fenced, &may_stop);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(stale));
  fixture_clear(&fixture);
}

TEST(controller, refuses_a_second_process_of_an_id_until_the_session_ends) {
  Fixture fixture;
  fixture_init(&fixture, SHORT_SESSION_MS);
  fixture_start(&fixture);
  fixture_add_broker(&fixture, 1);
  Milena__Internal__V1__RegisterNodeRequest request = fixture_registration(1, 50, 51);
  guint64 epoch = 0;
  g_autoptr(Failure) failure = fixture_register(&fixture, &request, &epoch);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(failure));
  for (guint i = 0; i < 200 && failure; i++) {
    g_usleep(20000);
    g_clear_pointer(&failure, failure_free);
    failure = fixture_register(&fixture, &request, &epoch);
  }
  EXPECT_NULL(failure);
  fixture_clear(&fixture);
}

/* ---- Streams ---- */

/* A follower of the metadata: what brokers do. */
typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  MetadataImage *image;   /* NULL before the first snapshot */
  MetadataImage *partial; /* a snapshot that is not complete */
  guint snapshots, deltas, idles;
  gboolean closed;
} Observer;

static void observer_apply(MetadataImage **place, MetadataRecord **records, gsize count, guint64 version) {
  MetadataImage *next = NULL;
  g_autoptr(Failure) failure = metadata_image_apply(*place, records, count, version, &next);
  EXPECT_NULL(failure);
  metadata_image_unref(*place);
  *place = next;
}

static void observer_take(Observer *observer, const Milena__Internal__V1__FollowMetadataResponse *frame) {
  if (frame->frame_case == MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_SNAPSHOT_PART) {
    const Milena__Internal__V1__MetadataSnapshotPart *part = frame->snapshot_part;
    if (!observer->partial)
      observer->partial = metadata_image_new();
    observer_apply(&observer->partial, part->records, part->n_records, part->version);
    if (!part->last)
      return;
    observer->snapshots++;
    metadata_image_unref(observer->image);
    observer->image = g_steal_pointer(&observer->partial);
  } else if (frame->frame_case == MILENA__INTERNAL__V1__FOLLOW_METADATA_RESPONSE__FRAME_DELTA) {
    observer->deltas++;
    observer_apply(&observer->image, frame->delta->records, frame->delta->n_records, frame->delta->version);
  } else {
    observer->idles++;
  }
}

static void observer_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Observer *observer = state;
  if (!message)
    return;
  pthread_mutex_lock(&observer->mutex);
  observer_take(observer, rpc_message_body(message));
  pthread_cond_signal(&observer->cond);
  pthread_mutex_unlock(&observer->mutex);
  rpc_client_call_read(call);
}

static void observer_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  (void)failure;
  Observer *observer = state;
  pthread_mutex_lock(&observer->mutex);
  observer->closed = TRUE;
  pthread_cond_signal(&observer->cond);
  pthread_mutex_unlock(&observer->mutex);
}

typedef struct {
  Fixture *fixture;
  Loop *loop;
  Observer *observer;
  guint64 version;
  RpcClientCall *call;
} Follow;

static void follow_on_loop(gpointer data) {
  static const RpcClientEvents EVENTS = {.message = observer_message, .closed = observer_closed};
  Follow *follow = data;
  follow->call = rpc_client_stream(follow->fixture->client, controller_peer_address(follow->fixture->controller),
                                   &milena__internal__v1__controller_service__descriptor, "FollowMetadata", G_MAXINT64,
                                   follow->loop, &EVENTS, follow->observer);
  Milena__Internal__V1__FollowMetadataRequest request = MILENA__INTERNAL__V1__FOLLOW_METADATA_REQUEST__INIT;
  request.version = follow->version;
  rpc_client_call_send(follow->call, &request.base, NULL, 0);
  rpc_client_call_half_close(follow->call);
  rpc_client_call_read(follow->call);
}

/* Wait until the observer sees a topic (or, without a name, an idle frame). */
static gboolean observer_wait(Observer *observer, const char *topic) {
  struct timespec until = fixture_deadline();
  gboolean seen = FALSE, in_time = TRUE;
  pthread_mutex_lock(&observer->mutex);
  while (!seen && in_time) {
    seen = topic ? observer->image && metadata_image_topic_by_name(observer->image, topic) : observer->idles > 0;
    if (!seen)
      in_time = pthread_cond_timedwait(&observer->cond, &observer->mutex, &until) == 0;
  }
  pthread_mutex_unlock(&observer->mutex);
  return seen;
}

static MetadataImage *observer_image(Observer *observer) {
  pthread_mutex_lock(&observer->mutex);
  MetadataImage *image = metadata_image_ref(observer->image);
  pthread_mutex_unlock(&observer->mutex);
  return image;
}

static void observer_wait_closed(Observer *observer) {
  pthread_mutex_lock(&observer->mutex);
  while (!observer->closed)
    pthread_cond_wait(&observer->cond, &observer->mutex);
  pthread_mutex_unlock(&observer->mutex);
}

static void observer_init(Observer *observer) {
  *observer = (Observer){.snapshots = 0};
  pthread_mutex_init(&observer->mutex, NULL);
  pthread_cond_init(&observer->cond, NULL);
}

static void observer_clear(Observer *observer) {
  metadata_image_unref(observer->image);
  metadata_image_unref(observer->partial);
  pthread_mutex_destroy(&observer->mutex);
  pthread_cond_destroy(&observer->cond);
}

TEST(follow, gets_a_snapshot_then_changes_and_goes_on_from_its_version) {
  Fixture fixture;
  Observer observer;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  observer_init(&observer);
  fixture_add_broker(&fixture, 1);
  EXPECT_NULL(fixture_create_topic(&fixture, "before", 9000)); /* more than one part of a snapshot */
  g_autoptr(Loop) loop = loop_new("observer", 100);
  loop_start(loop);
  Follow follow = {.fixture = &fixture, .loop = loop, .observer = &observer};
  loop_call_and_wait(loop, follow_on_loop, &follow);
  EXPECT_TRUE(observer_wait(&observer, "before"));
  g_autoptr(MetadataImage) first = observer_image(&observer);
  EXPECT_EQ_INT(9000, metadata_image_partition_count(first));
  EXPECT_NULL(fixture_create_topic(&fixture, "after", 1));
  EXPECT_TRUE(observer_wait(&observer, "after"));
  EXPECT_EQ_INT(1, observer.snapshots);
  EXPECT_EQ_INT(1, observer.deltas);
  rpc_client_call_cancel(follow.call);
  observer_wait_closed(&observer);
  rpc_client_call_unref(follow.call);
  /* Again, from the version that it has: the change in between comes alone. */
  EXPECT_NULL(fixture_create_topic(&fixture, "between", 1));
  observer.closed = FALSE;
  follow.version = metadata_image_version(observer.image);
  loop_call_and_wait(loop, follow_on_loop, &follow);
  EXPECT_TRUE(observer_wait(&observer, "between"));
  EXPECT_EQ_INT(1, observer.snapshots);
  EXPECT_EQ_INT(2, observer.deltas);
  EXPECT_TRUE(observer_wait(&observer, NULL));
  /* A controller that stops ends the stream. */
  fixture_stop(&fixture);
  observer_wait_closed(&observer);
  rpc_client_call_unref(follow.call);
  loop_stop(loop);
  observer_clear(&observer);
  fixture_clear(&fixture);
}

TEST(follow, waits_for_a_controller_that_is_behind_the_follower) {
  Fixture fixture;
  Observer observer;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  observer_init(&observer);
  fixture_add_broker(&fixture, 1);
  g_autoptr(Loop) loop = loop_new("observer", 100);
  loop_start(loop);
  Follow follow = {.fixture = &fixture, .loop = loop, .observer = &observer, .version = 1000000};
  loop_call_and_wait(loop, follow_on_loop, &follow);
  EXPECT_TRUE(observer_wait(&observer, NULL));
  EXPECT_NULL(fixture_create_topic(&fixture, "late", 1));
  pthread_mutex_lock(&observer.mutex);
  observer.idles = 0;
  pthread_mutex_unlock(&observer.mutex);
  EXPECT_TRUE(observer_wait(&observer, NULL)); /* it is told that the stream lives, and nothing that it has */
  EXPECT_EQ_INT(0, observer.snapshots);
  EXPECT_EQ_INT(0, observer.deltas);
  fixture_stop(&fixture);
  observer_wait_closed(&observer);
  rpc_client_call_unref(follow.call);
  loop_stop(loop);
  observer_clear(&observer);
  fixture_clear(&fixture);
}

/* What a watcher was told, as text: "image(a b) change(+c) change(-1) ". */
typedef struct {
  Observer base;
  GString *told;
} Watcher;

static void watcher_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Watcher *watcher = state;
  if (!message)
    return;
  const Milena__V1__WatchMetadataResponse *frame = rpc_message_body(message);
  pthread_mutex_lock(&watcher->base.mutex);
  if (frame->frame_case == MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE) {
    g_string_append(watcher->told, "image");
    for (gsize i = 0; i < frame->image->n_topics; i++)
      g_string_append_printf(watcher->told, " %s", frame->image->topics[i]->name);
  } else {
    for (gsize i = 0; i < frame->change->n_topics; i++)
      g_string_append_printf(watcher->told, " +%s", frame->change->topics[i]->name);
    for (gsize i = 0; i < frame->change->n_removed_topic_ids; i++)
      g_string_append(watcher->told, " -");
  }
  pthread_cond_signal(&watcher->base.cond);
  pthread_mutex_unlock(&watcher->base.mutex);
  rpc_client_call_read(call);
}

static void watch_on_loop(gpointer data) {
  static const RpcClientEvents EVENTS = {.message = watcher_message, .closed = observer_closed};
  Follow *follow = data;
  follow->call = rpc_client_stream(follow->fixture->client, controller_address(follow->fixture->controller),
                                   &milena__v1__metadata_service__descriptor, "WatchMetadata", G_MAXINT64, follow->loop,
                                   &EVENTS, follow->observer);
  Milena__V1__WatchMetadataRequest request = MILENA__V1__WATCH_METADATA_REQUEST__INIT;
  char *names[] = {(char *)"a", (char *)"later"};
  request.n_topics = 2;
  request.topics = names;
  rpc_client_call_send(follow->call, &request.base, NULL, 0);
  rpc_client_call_half_close(follow->call);
  rpc_client_call_read(follow->call);
}

static void watcher_expect(Watcher *watcher, const char *told) {
  struct timespec until = fixture_deadline();
  pthread_mutex_lock(&watcher->base.mutex);
  while (strcmp(watcher->told->str, told) != 0 &&
         pthread_cond_timedwait(&watcher->base.cond, &watcher->base.mutex, &until) == 0)
    continue;
  EXPECT_EQ_STR(told, watcher->told->str);
  pthread_mutex_unlock(&watcher->base.mutex);
}

TEST(watch, gets_an_image_then_what_concerns_it) {
  Fixture fixture;
  Watcher watcher = {.told = g_string_new(NULL)};
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture_start(&fixture);
  observer_init(&watcher.base);
  fixture_add_broker(&fixture, 1);
  EXPECT_NULL(fixture_create_topic(&fixture, "a", 1));
  EXPECT_NULL(fixture_create_topic(&fixture, "b", 1));
  g_autoptr(Loop) loop = loop_new("watcher", 100);
  loop_start(loop);
  Follow follow = {.fixture = &fixture, .loop = loop, .observer = &watcher.base};
  loop_call_and_wait(loop, watch_on_loop, &follow);
  watcher_expect(&watcher, "image a");
  EXPECT_NULL(fixture_create_topic(&fixture, "c", 1)); /* not wanted */
  EXPECT_NULL(fixture_create_topic(&fixture, "later", 1));
  watcher_expect(&watcher, "image a +later");
  Milena__V1__DeleteTopicRequest remove = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  remove.name = (char *)"a";
  EXPECT_NULL(fixture_call(&fixture, FALSE, &milena__v1__admin_service__descriptor, "DeleteTopic", &remove.base, NULL));
  watcher_expect(&watcher, "image a +later -");
  fixture_stop(&fixture);
  observer_wait_closed(&watcher.base);
  rpc_client_call_unref(follow.call);
  loop_stop(loop);
  observer_clear(&watcher.base);
  g_string_free(watcher.told, TRUE);
  fixture_clear(&fixture);
}

/* ---- Starting ---- */

TEST(start, says_why_it_can_not) {
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture.options.bootstrap = FALSE;
  Controller *controller = NULL;
  g_autoptr(Failure) missing = controller_start(&fixture.options, &controller);
  EXPECT_CONTAINS(failure_message(missing), "is missing");
  fixture.options.bootstrap = TRUE;
  fixture_start(&fixture);
  ControllerOptions second = fixture.options;
  g_autoptr(Failure) locked = controller_start(&second, &controller);
  EXPECT_EQ_INT(FAILURE(DUPLICATE_ID), failure_reason(locked));
  fixture_stop(&fixture);
  second.cluster_id = "00000000-0000-4000-8000-000000000000";
  g_autoptr(Failure) foreign = controller_start(&second, &controller);
  EXPECT_EQ_INT(FAILURE(CLUSTER_MISMATCH), failure_reason(foreign));
  EXPECT_NULL(controller);
  fixture_clear(&fixture);
}

TEST(start, takes_the_cluster_id_that_it_is_given) {
  static const char ID[] = "12345678-1234-4234-8234-123456789abc";
  Fixture fixture;
  fixture_init(&fixture, LONG_SESSION_MS);
  fixture.options.cluster_id = ID;
  fixture_start(&fixture);
  Milena__V1__GetMetadataRequest request = MILENA__V1__GET_METADATA_REQUEST__INIT;
  g_autoptr(RpcMessage) message = NULL;
  EXPECT_NULL(
      fixture_call(&fixture, FALSE, &milena__v1__metadata_service__descriptor, "GetMetadata", &request.base, &message));
  const Milena__V1__GetMetadataResponse *response = rpc_message_body(message);
  EXPECT_EQ_STR(ID, response->cluster->cluster_id);
  EXPECT_EQ_INT(1, response->cluster->active_controller_id);
  ASSERT_EQ_INT(1, response->cluster->n_controllers);
  EXPECT_EQ_STR(controller_address(fixture.controller), response->cluster->controllers[0]->address);
  fixture_clear(&fixture);
}
