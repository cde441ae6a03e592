/* ListOffsets: the offsets of places, each found where its partition is led. Thread: the front's loop. */
#include "services/broker/read/fetched.h"
#include "services/broker/read/resolve.h"
#include "services/broker/read/service.h"

typedef struct {
  RpcCall *call;
  RpcMessage *request; /* a reference: finds point into it */
  GPtrArray *finds;    /* of SourceFind */
  Resolver *resolver;
} ListOffsets;

static Milena__V1__OffsetResult *result_message(ReadMemory *memory, const SourceFind *find) {
  Milena__V1__OffsetResult *result = read_memory_alloc(memory, sizeof *result);
  milena__v1__offset_result__init(result);
  result->topic = read_memory_string(memory, find->origin.topic);
  result->topic_id = read_memory_string(memory, find->origin.topic_id);
  result->partition = find->target.partition;
  result->route = fetched_hint_new(memory, &find->origin);
  if (find->failure != NULL) {
    result->status = fetched_status_new(memory, find->failure);
    result->offset = -1;
    return result;
  }
  result->offset = find->offset;
  if (find->has_timestamp)
    result->timestamp = expand_timestamp_new(memory, find->timestamp_ms);
  return result;
}

static void found(gpointer user_data) {
  ListOffsets *list = user_data;
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__ListOffsetsResponse response = MILENA__V1__LIST_OFFSETS_RESPONSE__INIT;
  response.n_results = list->finds->len;
  response.results = read_memory_alloc(memory, list->finds->len * sizeof *response.results);
  for (guint i = 0; i < list->finds->len; i++)
    response.results[i] = result_message(memory, g_ptr_array_index(list->finds, i));
  rpc_call_reply(list->call, &response.base, NULL, 0);
}

static void list_free(ListOffsets *list) {
  resolver_free(list->resolver);
  g_ptr_array_unref(list->finds);
  rpc_message_unref(list->request);
  g_free(list);
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  list_free(state);
}

static const RpcCallEvents EVENTS = {.closed = closed};

/* Make the finds. */
static Failure *prepare(ListOffsets *list, const Milena__V1__ListOffsetsRequest *body, gint64 deadline_us) {
  Failure *failure = read_request_count(body->n_queries, "queries");
  for (gsize i = 0; failure == NULL && i < body->n_queries; i++) {
    const Milena__V1__OffsetQuery *query = body->queries[i];
    g_autofree char *path = g_strdup_printf("queries[%" G_GSIZE_FORMAT "]", i);
    g_autofree char *position = g_strconcat(path, ".position", NULL);
    Place place;
    failure = read_request_partition(query->topic, query->topic_id, query->partition, path);
    if (failure == NULL)
      failure = read_request_place(query->position, PLACE_LATEST, position, &place);
    if (failure != NULL)
      break;
    SourceFind *find = resolver_find_new(query->topic, query->topic_id, query->partition, place, deadline_us);
    find->target.no_proxy = body->no_proxy;
    g_ptr_array_add(list->finds, find);
  }
  return failure;
}

void read_list_offsets(RpcCall *call, RpcMessage *request, gpointer user_data) {
  ReadService *service = user_data;
  ListOffsets *list = g_new0(ListOffsets, 1);
  list->call = call;
  list->request = rpc_message_ref(request);
  list->finds = g_ptr_array_new_with_free_func((GDestroyNotify)source_find_free);
  Failure *failure = prepare(list, rpc_message_body(request), read_deadline_us(call, READ_FIND_MS));
  if (failure != NULL) {
    list_free(list);
    rpc_call_finish(call, failure);
    return;
  }
  rpc_call_set_events(call, &EVENTS, list);
  list->resolver = resolver_new(service->front, list->finds, found, list);
}
