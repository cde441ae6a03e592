/* DeleteRecords: each deletion goes to its partition's leader, a bounded number at a time. Thread: the front's loop.
 *
 * State: trims before `started` were started, `ended` of them have ended. It lives until the call is closed. */
#include "services/broker/read/delete_records.h"

#include "services/broker/read/fetched.h"
#include "services/broker/read/service.h"

#define IN_FLIGHT_MAX 64
/* How long a deletion may take: replicas that do not confirm it leave those in sync before. */
#define DELETE_MS 20000

typedef struct {
  RpcCall *call;
  Front *front;
  RpcMessage *request; /* a reference: trims point into it */
  GPtrArray *trims;    /* of SourceTrim */
  guint started, ended;
} DeleteRecords;

static Milena__V1__DeletionResult *result_message(ReadMemory *memory, const SourceTrim *trim) {
  Milena__V1__DeletionResult *result = read_memory_alloc(memory, sizeof *result);
  milena__v1__deletion_result__init(result);
  result->topic = read_memory_string(memory, trim->origin.topic);
  result->topic_id = read_memory_string(memory, trim->origin.topic_id);
  result->partition = trim->target.partition;
  result->route = fetched_hint_new(memory, &trim->origin);
  result->log_start_offset = trim->failure != NULL ? -1 : trim->log_start_offset;
  if (trim->failure != NULL)
    result->status = fetched_status_new(memory, trim->failure);
  return result;
}

static void reply(DeleteRecords *deletion) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__DeleteRecordsResponse response = MILENA__V1__DELETE_RECORDS_RESPONSE__INIT;
  response.n_results = deletion->trims->len;
  response.results = read_memory_alloc(memory, deletion->trims->len * sizeof *response.results);
  for (guint i = 0; i < deletion->trims->len; i++)
    response.results[i] = result_message(memory, g_ptr_array_index(deletion->trims, i));
  rpc_call_reply(deletion->call, &response.base, NULL, 0);
}

static void start_more(DeleteRecords *deletion);

static void trim_done(SourceTrim *trim, gpointer data) {
  (void)trim;
  DeleteRecords *deletion = data;
  if (++deletion->ended == deletion->trims->len)
    reply(deletion);
  else
    start_more(deletion);
}

static void start_more(DeleteRecords *deletion) {
  while (deletion->started < deletion->trims->len && deletion->started - deletion->ended < IN_FLIGHT_MAX) {
    SourceTrim *trim = g_ptr_array_index(deletion->trims, deletion->started++);
    trim->done = trim_done;
    trim->user_data = deletion;
    source_trim_start(trim, deletion->front);
  }
}

static void delete_free(DeleteRecords *deletion) {
  g_ptr_array_unref(deletion->trims);
  rpc_message_unref(deletion->request);
  g_free(deletion);
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  delete_free(state);
}

static const RpcCallEvents EVENTS = {.closed = closed};

static Failure *check(const Milena__V1__PartitionDeletion *wanted, const char *path) {
  Failure *failure = read_request_partition(wanted->topic, wanted->topic_id, wanted->partition, path);
  if (failure != NULL || !wanted->before_presence_case || wanted->before_offset >= 0)
    return failure;
  g_autofree char *field = g_strconcat(path, ".before_offset", NULL);
  return read_request_invalid(field,
                              "before_offset is %" G_GINT64_FORMAT
                              ", and must be 0 or more; leave it out to delete all that is committed",
                              wanted->before_offset);
}

/* Make the trims. */
static Failure *prepare(DeleteRecords *deletion, const Milena__V1__DeleteRecordsRequest *body, gint64 deadline_us) {
  Failure *failure = read_request_count(body->n_deletions, "deletions");
  for (gsize i = 0; failure == NULL && i < body->n_deletions; i++) {
    const Milena__V1__PartitionDeletion *wanted = body->deletions[i];
    g_autofree char *path = g_strdup_printf("deletions[%" G_GSIZE_FORMAT "]", i);
    failure = check(wanted, path);
    if (failure != NULL)
      break;
    SourceTrim *trim = source_trim_new();
    trim->target = (SourceTarget){.topic = wanted->topic,
                                  .topic_id = wanted->topic_id,
                                  .partition = wanted->partition,
                                  .no_proxy = body->no_proxy,
                                  .deadline_us = deadline_us};
    trim->before_offset = wanted->before_presence_case ? wanted->before_offset : -1;
    trim->validate_only = body->validate_only;
    g_ptr_array_add(deletion->trims, trim);
  }
  return failure;
}

void delete_records(RpcCall *call, RpcMessage *request, gpointer front) {
  DeleteRecords *deletion = g_new0(DeleteRecords, 1);
  deletion->call = call;
  deletion->front = front;
  deletion->request = rpc_message_ref(request);
  deletion->trims = g_ptr_array_new_with_free_func((GDestroyNotify)source_trim_free);
  Failure *failure = prepare(deletion, rpc_message_body(request), read_deadline_us(call, DELETE_MS));
  if (failure != NULL) {
    delete_free(deletion);
    rpc_call_finish(call, failure);
    return;
  }
  rpc_call_set_events(call, &EVENTS, deletion);
  start_more(deletion);
}
