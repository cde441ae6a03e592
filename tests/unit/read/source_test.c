/* Following the leader: what routes, shards and leaders answer is scripted; other brokers are real servers. */
#include "services/broker/read/source.h"

#include "milena/v1/consumer_service.pb-c.h"
#include "services/broker/front.h"
#include "tests/shim/shim.h"
#include "tests/unit/read/batches.h"
#include "tests/unit/rpc/fixture.h"

#define CONSUMER (&milena__v1__consumer_service__descriptor)

/* What each try meets, in turn; the last one stays. */
typedef enum {
  HERE,             /* led here: answers offsets 0 to 4 */
  HERE_NOT_LEADER,  /* led here, said the route, but the shard says no */
  THERE,            /* another broker answers */
  THERE_NOT_LEADER, /* another broker says no, with a newer version of the metadata */
  THERE_BAD_CRC,
  THERE_BACKWARDS,
  THERE_SILENT, /* the other broker takes its time, and is fenced meanwhile */
  NOBODY_THERE, /* nothing listens at the leader's address */
  NO_LEADER,
  NO_TOPIC,
} Meeting;

struct Front {
  Loop *loop; /* first: see fake_timers.c */
  RpcClient *client;
  MetadataImage *image;
  const Meeting *meetings;
  guint meeting_count, at;
  Meeting now;
  FailureReason refresh_reason; /* of a refresh's failure; 0: it succeeds */
  MetadataTopic topic;
  MetadataPartition partition;
  MetadataBroker leader;
  gint tries, topic_refreshes, version_refreshes;
  FrontWatch *watch;
};

/* ---- the front ---- */

Loop *front_loop(const Front *front) {
  return front->loop;
}

Timers *front_timers(Front *front) {
  return (Timers *)front;
}

RpcClient *front_client(Front *front) {
  return front->client;
}

MetadataImage *front_image(Front *front) {
  return front->image;
}

gboolean front_failure_may_be_stale(const Failure *failure) {
  return failure_reason(failure) == FAILURE(UNKNOWN_TOPIC);
}

Failure *front_find_topic(Front *front, const char *topic_name, const char *topic_id, const MetadataTopic **ret_topic) {
  (void)topic_name;
  (void)topic_id;
  *ret_topic = &front->topic;
  return NULL;
}

void route_clear(Route *route) {
  *route = (Route)ROUTE_INIT;
}

gboolean route_fill_hint(const Route *route, Milena__V1__RouteHint *ret_hint) {
  milena__v1__route_hint__init(ret_hint);
  ret_hint->leader_id = route->leader != NULL ? route->leader->id : -1;
  return route->partition != NULL;
}

Failure *front_route(Front *front, const char *topic_name, const char *topic_id, gint32 partition, gboolean no_proxy,
                     Route *ret_route) {
  (void)topic_name;
  (void)topic_id;
  (void)partition;
  front->now = front->meetings[MIN(front->at, front->meeting_count - 1)];
  front->at++;
  g_atomic_int_inc(&front->tries);
  *ret_route = (Route)ROUTE_INIT;
  if (front->now == NO_TOPIC)
    return failure_new(FAILURE(UNKNOWN_TOPIC), "there is no such topic");
  ret_route->topic = &front->topic;
  ret_route->partition = &front->partition;
  if (front->now == NO_LEADER)
    return failure_new(FAILURE(LEADER_NOT_AVAILABLE), "there is no leader");
  ret_route->leader = &front->leader;
  if (front->now <= HERE_NOT_LEADER)
    ret_route->shard = (Shard *)front;
  else if (no_proxy)
    return failure_new(FAILURE(NOT_LEADER), "another broker leads");
  return NULL;
}

gboolean front_leader_is_gone(MetadataImage *now, gint32 leader_id, guint64 registration) {
  (void)now;
  EXPECT_EQ_INT(2, leader_id);
  EXPECT_EQ_INT(9, registration);
  return TRUE;
}

static gboolean tell_watch(gpointer data) {
  Front *front = data;
  if (front->watch != NULL)
    front->watch->changed(front->watch, NULL, front->image);
  return G_SOURCE_REMOVE;
}

void front_watch_add(Front *front, FrontWatch *watch) {
  EXPECT_NULL(front->watch);
  front->watch = watch;
  if (front->now == THERE_SILENT)
    g_source_unref(loop_add_timeout(front->loop, 5, tell_watch, front));
}

void front_watch_remove(Front *front, FrontWatch *watch) {
  if (front->watch == watch)
    front->watch = NULL;
}

struct FrontRefresh {
  Front *front;
  FrontRefreshDone done;
  gpointer user_data;
  GSource *source;
};

static gboolean refresh_end(gpointer data) {
  FrontRefresh *refresh = data;
  g_source_unref(refresh->source);
  g_autoptr(Failure) failure = refresh->front->refresh_reason != 0
                                   ? failure_new(refresh->front->refresh_reason, "the controller says so")
                                   : NULL;
  refresh->done(failure, refresh->user_data);
  g_free(refresh);
  return G_SOURCE_REMOVE;
}

static FrontRefresh *refresh_new(Front *front, FrontRefreshDone done, gpointer user_data) {
  FrontRefresh *refresh = g_new0(FrontRefresh, 1);
  *refresh = (FrontRefresh){.front = front, .done = done, .user_data = user_data};
  refresh->source = loop_add_timeout(front->loop, 5, refresh_end, refresh);
  return refresh;
}

FrontRefresh *front_refresh_topic(Front *front, const char *topic_name, const char *topic_id, gint64 deadline_us,
                                  FrontRefreshDone done, gpointer user_data) {
  (void)topic_name;
  (void)topic_id;
  (void)deadline_us;
  g_atomic_int_inc(&front->topic_refreshes);
  return refresh_new(front, done, user_data);
}

FrontRefresh *front_refresh_version(Front *front, guint64 version, gint64 deadline_us, FrontRefreshDone done,
                                    gpointer user_data) {
  (void)deadline_us;
  EXPECT_EQ_INT(7, version);
  g_atomic_int_inc(&front->version_refreshes);
  return refresh_new(front, done, user_data);
}

void front_refresh_cancel(FrontRefresh *refresh) {
  g_source_destroy(refresh->source);
  g_source_unref(refresh->source);
  g_free(refresh);
}

/* ---- the shard ---- */

PartitionRead *partition_read_new(void) {
  return g_new0(PartitionRead, 1);
}

static gboolean read_end(gpointer data) {
  PartitionRead *read = data;
  Front *front = (Front *)read->state;
  read->batches = log_batch_array_new();
  if (front->now == HERE)
    batches_add(read->batches, 0, 5, MILENA__V1__COMPRESSION__COMPRESSION_NONE);
  else
    read->failure = failure_new(FAILURE(NOT_LEADER), "not led here any more");
  read->bounds.high_watermark = 5;
  read->done(read, read->user_data);
  return G_SOURCE_REMOVE;
}

void partition_read_start(PartitionRead *read, Shard *shard, Loop *asker) {
  read->state = (struct PartitionReadState *)shard;
  g_source_unref(loop_add_timeout(asker, 5, read_end, read));
}

void partition_read_cancel(PartitionRead *read) {
  (void)read; /* done comes anyway */
}

void partition_read_free(PartitionRead *read) {
  g_array_unref(read->batches);
  failure_free(read->failure);
  g_free(read);
}

PartitionFind *partition_find_new(void) {
  return g_new0(PartitionFind, 1);
}

static gboolean find_end(gpointer data) {
  PartitionFind *find = data;
  find->offset = 5;
  find->bounds.high_watermark = 5;
  find->done(find, find->user_data);
  return G_SOURCE_REMOVE;
}

void partition_find_start(PartitionFind *find, Shard *shard, Loop *asker) {
  (void)shard;
  g_source_unref(loop_add_timeout(asker, 5, find_end, find));
}

void partition_find_free(PartitionFind *find) {
  failure_free(find->failure);
  g_free(find);
}

/* ---- the other broker ---- */

static gboolean answer_late(gpointer call) {
  rpc_call_finish(call, failure_new(FAILURE(INTERNAL), "too late"));
  return G_SOURCE_REMOVE;
}

static void peer_fetch(RpcCall *call, RpcMessage *request, gpointer user_data) {
  Front *front = user_data;
  if (front->now == THERE_SILENT) {
    g_source_unref(loop_add_timeout(front->loop, 15, answer_late, call));
    return;
  }
  const Milena__V1__FetchRequest *body = rpc_message_body(request);
  EXPECT_TRUE(body->no_proxy);
  EXPECT_EQ_INT(MILENA__V1__FORMAT__FORMAT_BATCHES, body->format);
  EXPECT_EQ_STR("id-of-t", body->partitions[0]->topic_id);
  g_autoptr(GArray) batches = log_batch_array_new();
  batches_add(batches, 10, 5, MILENA__V1__COMPRESSION__COMPRESSION_ZSTD);
  batches_add(batches, front->now == THERE_BACKWARDS ? 12 : 15, 5, MILENA__V1__COMPRESSION__COMPRESSION_ZSTD);
  LOG_BATCH_AT(batches, 1)->crc32c ^= front->now == THERE_BAD_CRC;
  LogBatchProto protos[2];
  Milena__V1__EncodedBatch *pointers[2];
  for (guint i = 0; i < 2; i++) {
    log_batch_to_proto(LOG_BATCH_AT(batches, i), &protos[i]);
    pointers[i] = &protos[i].batch;
  }
  Milena__V1__FetchedPartition part = MILENA__V1__FETCHED_PARTITION__INIT;
  part.high_watermark = 20;
  g_autoptr(Failure) failure = failure_new(FAILURE(NOT_LEADER), "go elsewhere");
  failure_add(failure, "metadata_version", "7");
  if (front->now == THERE_NOT_LEADER) {
    part.status = failure_to_status(failure);
  } else {
    part.n_batches = 2;
    part.batches = pointers;
  }
  Milena__V1__FetchedPartition *parts[] = {&part};
  Milena__V1__FetchResponse response = MILENA__V1__FETCH_RESPONSE__INIT;
  response.n_partitions = 1;
  response.partitions = parts;
  rpc_call_reply(call, &response.base, NULL, 0);
  if (part.status != NULL)
    google__rpc__status__free_unpacked(part.status, NULL);
}

static void peer_list_offsets(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)user_data;
  const Milena__V1__ListOffsetsRequest *body = rpc_message_body(request);
  EXPECT_EQ_INT(MILENA__V1__POSITION__KIND_TIME, body->queries[0]->position->kind_case);
  Google__Protobuf__Timestamp time = *body->queries[0]->position->time;
  Milena__V1__OffsetResult result = MILENA__V1__OFFSET_RESULT__INIT;
  result.offset = 17;
  result.timestamp = &time;
  Milena__V1__OffsetResult *results[] = {&result};
  Milena__V1__ListOffsetsResponse response = MILENA__V1__LIST_OFFSETS_RESPONSE__INIT;
  response.n_results = 1;
  response.results = results;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler PEER_HANDLERS[] = {
    {.name = "Fetch", .unary = peer_fetch}, {.name = "ListOffsets", .unary = peer_list_offsets}, {.name = NULL}};

/* ---- trying ---- */

typedef struct {
  Fixture *rpc;
  Front front;
  SourceRead *read;
  SourceFind *find;
  gint64 deadline_ms;
  gboolean no_proxy;
  gint done;
} Try;

static void try_begin(Try *try, const Meeting *meetings, guint count) {
  try->rpc = fixture_new(NULL, 1000);
  rpc_server_add_service(try->rpc->server, CONSUMER, PEER_HANDLERS, try->rpc->server_loop, &try->front);
  fixture_start(try->rpc);
  try->deadline_ms = 3000;
  /* One loop for both, so that the script needs no lock. */
  try->front = (Front){.loop = try->rpc->server_loop,
                       .client = try->rpc->client,
                       .image = metadata_image_new(),
                       .meetings = meetings,
                       .meeting_count = count,
                       .topic = {.id = "id-of-t", .name = (char *)"t"},
                       .leader = {.id = 2, .epoch = 9, .peer_address = try->rpc->address}};
}

static void try_end(Try *try) {
  g_autoptr(MetadataImage) image = try->front.image;
  fixture_free(try->rpc);
}

static void read_done(SourceRead *read, gpointer data) {
  (void)read;
  g_atomic_int_inc(&((Try *)data)->done);
}

static SourceTarget target_of(const Try *try) {
  return (SourceTarget){.topic = "t",
                        .topic_id = "",
                        .no_proxy = try->no_proxy,
                        .deadline_us = g_get_monotonic_time() + try->deadline_ms * 1000};
}

static void read_start(gpointer data) {
  Try *try = data;
  try->read = source_read_new();
  try->read->target = target_of(try);
  try->read->max_bytes = 1 << 20;
  try->read->done = read_done;
  try->read->user_data = try;
  source_read_start(try->read, &try->front);
  EXPECT_EQ_INT(0, try->done); /* always later */
}

static void read_free(gpointer data) {
  source_read_free(((Try *)data)->read);
}

static const struct {
  const char *name;
  Meeting meetings[4];
  guint count;
  gboolean no_proxy;
  gint64 deadline_ms;
  FailureReason refresh_reason;
  FailureReason reason; /* of the end; 0: batches */
  gint batches, tries, topic_refreshes, version_refreshes;
} ROWS[] = {
    {"here", {HERE}, 1, FALSE, 0, 0, 0, 1, 1, 0, 0},
    {"there", {THERE}, 1, FALSE, 0, 0, 0, 2, 1, 0, 0},
    {"leader_moves_away", {HERE_NOT_LEADER, THERE}, 2, FALSE, 0, 0, 0, 2, 2, 0, 0},
    {"leader_moves_here", {THERE_NOT_LEADER, HERE}, 2, FALSE, 0, 0, 0, 1, 2, 0, 1},
    {"election", {NO_LEADER, NO_LEADER, HERE}, 3, FALSE, 0, 0, 0, 1, 3, 0, 0},
    {"leader_is_gone", {NOBODY_THERE, HERE}, 2, FALSE, 0, 0, 0, 1, 2, 0, 0},
    {"leader_is_fenced", {THERE_SILENT, HERE}, 2, FALSE, 0, 0, 0, 1, 2, 0, 0},
    {"a_new_topic", {NO_TOPIC, HERE}, 2, FALSE, 0, 0, 0, 1, 2, 1, 0},
    {"no_such_topic", {NO_TOPIC}, 1, FALSE, 0, FAILURE(UNKNOWN_TOPIC), FAILURE(UNKNOWN_TOPIC), 0, 1, 1, 0},
    {"no_such_topic_here", {NO_TOPIC}, 1, FALSE, 0, 0, FAILURE(UNKNOWN_TOPIC), 0, 2, 1, 0},
    {"nobody_knows",
     {NO_TOPIC},
     1,
     FALSE,
     0,
     FAILURE(CONTROLLER_NOT_AVAILABLE),
     FAILURE(CONTROLLER_NOT_AVAILABLE),
     0,
     1,
     1,
     0},
    {"time_is_up", {NO_LEADER}, 1, FALSE, 100, 0, FAILURE(LEADER_NOT_AVAILABLE), 0, 3, 0, 0},
    {"no_proxy", {THERE}, 1, TRUE, 0, 0, FAILURE(NOT_LEADER), 0, 1, 0, 0},
    {"no_proxy_and_moved", {HERE_NOT_LEADER, HERE}, 2, TRUE, 0, 0, FAILURE(NOT_LEADER), 0, 1, 0, 0},
    {"bad_crc", {THERE_BAD_CRC}, 1, FALSE, 0, 0, FAILURE(CORRUPT_LOG), 0, 1, 0, 0},
    {"backwards", {THERE_BACKWARDS}, 1, FALSE, 0, 0, FAILURE(CORRUPT_LOG), 0, 1, 0, 0},
};

TEST_ROWS(source_read, ROWS) {
  Try try = {0};
  try_begin(&try, ROWS[row].meetings, ROWS[row].count);
  g_autofree char *nowhere = g_strdup("127.0.0.1:1");
  if (ROWS[row].meetings[0] == NOBODY_THERE)
    try.front.leader.peer_address = nowhere;
  try.no_proxy = ROWS[row].no_proxy;
  try.deadline_ms = ROWS[row].deadline_ms > 0 ? ROWS[row].deadline_ms : 3000;
  try.front.refresh_reason = ROWS[row].refresh_reason;
  loop_call_and_wait(try.front.loop, read_start, &try);
  EXPECT_TRUE(fixture_wait(&try.done, 1));
  SourceRead *read = try.read;
  EXPECT_EQ_INT(ROWS[row].reason, read->failure != NULL ? failure_reason(read->failure) : 0);
  EXPECT_EQ_INT(ROWS[row].batches, read->batches != NULL ? read->batches->len : 0);
  EXPECT_EQ_INT(ROWS[row].tries, try.front.tries);
  EXPECT_EQ_INT(ROWS[row].topic_refreshes, try.front.topic_refreshes);
  EXPECT_EQ_INT(ROWS[row].version_refreshes, try.front.version_refreshes);
  EXPECT_EQ_STR("t", read->origin.topic);
  loop_call_and_wait(try.front.loop, read_free, &try);
  try_end(&try);
}

/* Freed at any time, it says nothing more and leaves nothing behind. */
TEST_ROWS(source_abandoned, ROWS) {
  for (guint delay_ms = 0; delay_ms < 40; delay_ms += 8) {
    Try try = {0};
    try_begin(&try, ROWS[row].meetings, ROWS[row].count);
    loop_call_and_wait(try.front.loop, read_start, &try);
    g_usleep((gulong)delay_ms * 1000);
    loop_call_and_wait(try.front.loop, read_free, &try);
    gint done = g_atomic_int_get(&try.done);
    g_usleep(20000);
    EXPECT_EQ_INT(done, g_atomic_int_get(&try.done));
    try_end(&try);
  }
}

/* ---- finding ---- */

static void find_done(SourceFind *find, gpointer data) {
  (void)find;
  g_atomic_int_inc(&((Try *)data)->done);
}

static void find_start(gpointer data) {
  Try *try = data;
  try->find->target = target_of(try);
  try->find->done = find_done;
  try->find->user_data = try;
  source_find_start(try->find, &try->front);
}

static void find_free(gpointer data) {
  source_find_free(((Try *)data)->find);
}

static const struct {
  const char *name;
  Meeting meeting;
  Place place;
  gint64 offset, timestamp_ms;
  FailureReason reason;
} FIND_ROWS[] = {
    {"here_latest", HERE, {.kind = PLACE_LATEST}, 5, 0, 0},
    {"here_offset", HERE, {.kind = PLACE_OFFSET, .offset = 3}, 3, 0, 0},
    {"here_beyond", HERE, {.kind = PLACE_OFFSET, .offset = 6}, 6, 0, FAILURE(OFFSET_OUT_OF_RANGE)},
    {"there_time", THERE, {.kind = PLACE_TIME, .timestamp_ms = 12345}, 17, 12345, 0},
    {"there_time_before_1970", THERE, {.kind = PLACE_TIME, .timestamp_ms = -1}, 17, -1, 0},
};

TEST_ROWS(source_find, FIND_ROWS) {
  Try try = {0};
  try_begin(&try, &FIND_ROWS[row].meeting, 1);
  try.find = source_find_new();
  try.find->place = FIND_ROWS[row].place;
  loop_call_and_wait(try.front.loop, find_start, &try);
  EXPECT_TRUE(fixture_wait(&try.done, 1));
  EXPECT_EQ_INT(FIND_ROWS[row].reason, try.find->failure != NULL ? failure_reason(try.find->failure) : 0);
  EXPECT_EQ_INT(FIND_ROWS[row].offset, try.find->offset);
  EXPECT_EQ_INT(FIND_ROWS[row].timestamp_ms, try.find->has_timestamp ? try.find->timestamp_ms : 0);
  loop_call_and_wait(try.front.loop, find_free, &try);
  try_end(&try);
}
