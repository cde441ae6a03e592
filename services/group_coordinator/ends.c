/* See ends.h.
 *
 * Invariant: `open` counts the calls whose answer is to come, and one for the beginning; `done` is called when it
 * reaches none, from a task, so never before ends_ask returned. Owner: the coordinator's loop. Failure modes: a leader
 * that does not answer fails its own queries alone. */
#include "services/group_coordinator/ends.h"

#include "services/base/times.h"

#define QUERIES_AT_ONCE 1000

typedef struct {
  EndsAsk *ask;
  char *address;  /* the leader's peer address */
  GArray *places; /* of guint: which queries */
  RpcClientCall *call;
} EndsPart;

struct EndsAsk {
  LoopTask task;
  Loop *loop;
  GArray *queries;
  GPtrArray *parts; /* of EndsPart, owned */
  guint open;
  gboolean abandoned;
  EndsDone done;
  gpointer data;
};

/* ---- queries ---- */

static void query_clear(gpointer data) {
  EndsQuery *query = data;
  g_free(query->topic);
  g_free(query->topic_id);
  failure_free(query->failure);
}

GArray *ends_queries_new(void) {
  GArray *queries = g_array_new(FALSE, FALSE, sizeof(EndsQuery));
  g_array_set_clear_func(queries, query_clear);
  return queries;
}

static void add(GArray *queries, EndsQuery query) {
  query.topic = g_strdup(query.topic);
  query.topic_id = g_strdup(query.topic_id);
  query.offset = -1;
  g_array_append_val(queries, query);
}

void ends_query_end(GArray *queries, const char *topic, const char *topic_id, gint32 partition, Milena__V1__LogEnd end,
                    guint user) {
  add(queries,
      (EndsQuery){
          .topic = (char *)topic, .topic_id = (char *)topic_id, .partition = partition, .end = end, .user = user});
}

void ends_query_time(GArray *queries, const char *topic, const char *topic_id, gint32 partition, gint64 time_ms,
                     guint user) {
  add(queries, (EndsQuery){.topic = (char *)topic,
                           .topic_id = (char *)topic_id,
                           .partition = partition,
                           .is_time = TRUE,
                           .time_ms = time_ms,
                           .user = user});
}

static EndsQuery *query_at(const EndsAsk *ask, guint index) {
  return &g_array_index(ask->queries, EndsQuery, index);
}

/* ---- answers ---- */

static void part_free(gpointer data) {
  EndsPart *part = data;
  if (part->call) {
    rpc_client_call_abandon(part->call);
    rpc_client_call_unref(part->call);
  }
  g_array_unref(part->places);
  g_free(part->address);
  g_free(part);
}

static void ask_free(EndsAsk *ask) {
  g_ptr_array_unref(ask->parts);
  g_array_unref(ask->queries);
  g_free(ask);
}

static void run_done(LoopTask *task) {
  EndsAsk *ask = (EndsAsk *)task;
  if (!ask->abandoned)
    ask->done(ask->queries, ask->data);
  ask_free(ask);
}

static void part_over(EndsAsk *ask) {
  if (--ask->open > 0)
    return;
  ask->task.run = run_done;
  loop_post_completion(ask->loop, &ask->task);
}

void ends_abandon(EndsAsk *ask) {
  if (!ask)
    return;
  ask->abandoned = TRUE;
  if (ask->open > 0)
    ask_free(ask);
}

static void on_listed(RpcMessage *message, const Failure *failure, gpointer data) {
  EndsPart *part = data;
  g_clear_pointer(&part->call, rpc_client_call_unref);
  const Milena__V1__ListOffsetsResponse *response = failure ? NULL : rpc_message_body(message);
  for (guint i = 0; i < part->places->len; i++) {
    EndsQuery *query = query_at(part->ask, g_array_index(part->places, guint, i));
    if (failure)
      query->failure = failure_copy(failure);
    else if (i >= response->n_results)
      query->failure =
          failure_new(FAILURE(INTERNAL), "the leader at %s did not answer for all partitions", part->address);
    else if (!(query->failure = failure_from_status(response->results[i]->status)))
      query->offset = response->results[i]->offset;
  }
  part_over(part->ask);
}

/* ---- asking ---- */

/* The peer address of who leads the query's partition; borrowed from the image. */
static Failure *find_leader(const MetadataImage *image, const EndsQuery *query, const char **ret_address) {
  const MetadataTopic *topic = NULL;
  Failure *failure = metadata_image_find_topic(image, query->topic, query->topic_id, &topic);
  if (failure)
    return failure;
  const MetadataPartition *partition = metadata_topic_partition(topic, query->partition);
  if (!partition)
    return failure_new(FAILURE(UNKNOWN_PARTITION), "The topic \"%s\" has no partition %d: it has %u.", topic->name,
                       query->partition, topic->partition_count);
  const MetadataBroker *leader = metadata_image_broker(image, partition->leader_id);
  if (!leader)
    return failure_new(FAILURE(LEADER_NOT_AVAILABLE), "Partition %d of \"%s\" has no leader now.", query->partition,
                       topic->name);
  *ret_address = leader->peer_address;
  return NULL;
}

static EndsPart *part_for(EndsAsk *ask, GHashTable *latest, const char *address) {
  EndsPart *part = g_hash_table_lookup(latest, address);
  if (part && part->places->len < QUERIES_AT_ONCE)
    return part;
  part = g_new0(EndsPart, 1);
  part->ask = ask;
  part->address = g_strdup(address);
  part->places = g_array_new(FALSE, FALSE, sizeof(guint));
  g_ptr_array_add(ask->parts, part);
  g_hash_table_replace(latest, part->address, part);
  return part;
}

static void fill_query(const EndsQuery *query, Milena__V1__OffsetQuery *message, Milena__V1__Position *position,
                       Google__Protobuf__Timestamp *time) {
  milena__v1__offset_query__init(message);
  milena__v1__position__init(position);
  message->topic = query->topic;
  message->topic_id = query->topic_id;
  message->partition = query->partition;
  message->position = position;
  position->kind_case = query->is_time ? MILENA__V1__POSITION__KIND_TIME : MILENA__V1__POSITION__KIND_END;
  if (query->is_time) {
    times_timestamp_set(time, query->time_ms);
    position->time = time;
  } else {
    position->end = query->end;
  }
}

static void send_part(EndsPart *part, RpcClient *client, gint64 deadline_us) {
  guint count = part->places->len;
  g_autofree Milena__V1__OffsetQuery *queries = g_new(Milena__V1__OffsetQuery, count);
  g_autofree Milena__V1__OffsetQuery **places = g_new(Milena__V1__OffsetQuery *, count);
  g_autofree Milena__V1__Position *positions = g_new(Milena__V1__Position, count);
  g_autofree Google__Protobuf__Timestamp *times = g_new(Google__Protobuf__Timestamp, count);
  for (guint i = 0; i < count; i++) {
    fill_query(query_at(part->ask, g_array_index(part->places, guint, i)), &queries[i], &positions[i], &times[i]);
    places[i] = &queries[i];
  }
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  request.n_queries = count;
  request.queries = places;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  part->ask->open++;
  part->call = rpc_client_unary(client, part->address, &milena__v1__consumer_service__descriptor, "ListOffsets",
                                message, deadline_us, part->ask->loop, on_listed, part);
}

EndsAsk *ends_ask(RpcClient *client, Loop *loop, const MetadataImage *image, GArray *queries, gint64 timeout_ms,
                  EndsDone done, gpointer data) {
  EndsAsk *ask = g_new0(EndsAsk, 1);
  *ask = (EndsAsk){.loop = loop,
                   .queries = queries,
                   .parts = g_ptr_array_new_with_free_func(part_free),
                   .open = 1,
                   .done = done,
                   .data = data};
  g_autoptr(GHashTable) latest = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < queries->len; i++) {
    const char *address = NULL;
    EndsQuery *query = query_at(ask, i);
    query->failure = find_leader(image, query, &address);
    if (!query->failure)
      g_array_append_val(part_for(ask, latest, address)->places, i);
  }
  gint64 deadline_us = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
  for (guint i = 0; i < ask->parts->len; i++)
    send_part(ask->parts->pdata[i], client, deadline_us);
  part_over(ask);
  return ask;
}
