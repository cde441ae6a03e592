/* Requests that change the cluster's metadata: whatever is asked, what is granted can be applied, stored and shown.
 *
 * Input: steps of one byte (which command) and a chunk (its request). */
#include "tests/fuzz/fuzz.h"

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "controller/metadata/view.h"
#include "services/rpc/message.h"

#define STEPS_MAX 32

typedef struct {
  MetadataImage *image;
  MetadataContext context;
} State;

/* The request as a handler gets it, or NULL. */
static RpcMessage *decode(const ProtobufCMessageDescriptor *type, const FuzzInput *chunk) {
  g_autoptr(GBytes) wire = g_bytes_new(chunk->at, fuzz_left(chunk));
  RpcMessage *message = NULL;
  return fuzz_accepted(rpc_message_decode(type, &wire, 1, &message)) ? message : NULL;
}

/* @records: freed */
static void finish(State *state, Failure *failure, GPtrArray *records) {
  MetadataImage *next = NULL;
  if (fuzz_accepted(failure)) {
    guint64 version = ++state->context.version;
    Failure *refusal =
        metadata_image_apply(state->image, (MetadataRecord *const *)records->pdata, records->len, version, &next);
    FUZZ_HOLDS(fuzz_accepted(refusal));
    g_autoptr(GBytes) bytes = metadata_transaction_encode((MetadataRecord *const *)records->pdata, records->len);
    g_autoptr(GPtrArray) again = NULL;
    FUZZ_HOLDS(
        fuzz_accepted(metadata_transaction_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &again)));
    FUZZ_HOLDS(again->len == records->len);
    metadata_image_unref(state->image);
    state->image = next;
    state->context.random[0]++;
  }
  g_ptr_array_unref(records);
}

static void create_topic(State *state, gpointer request) {
  GPtrArray *records = metadata_records_new();
  finish(state, metadata_command_create_topic(state->image, &state->context, request, records), records);
}

static void update_topic(State *state, gpointer request) {
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  finish(state, metadata_command_update_topic(state->image, request, records, &topic), records);
}

static void delete_topic(State *state, gpointer request) {
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  finish(state, metadata_command_delete_topic(state->image, request, records, &topic), records);
}

static void add_partitions(State *state, gpointer request) {
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  finish(state, metadata_command_add_partitions(state->image, request, records, &topic), records);
}

static void register_node(State *state, gpointer request) {
  GPtrArray *records = metadata_records_new();
  guint64 epoch = 0;
  finish(state, metadata_command_register_node(state->image, &state->context, request, FALSE, records, &epoch),
         records);
}

static void fence_node(State *state, gpointer request) {
  const Milena__Internal__V1__HeartbeatRequest *beat = request;
  GPtrArray *records = metadata_records_new();
  finish(state,
         metadata_command_fence_node(state->image, beat->kind, beat->id, beat->epoch, beat->shutting_down, records),
         records);
}

static void list_topics(State *state, gpointer request) {
  Milena__V1__ListTopicsResponse *response = NULL;
  if (fuzz_accepted(metadata_view_list_topics(state->image, request, &response)))
    milena__v1__list_topics_response__free_unpacked(response, NULL);
}

static void list_brokers(State *state, gpointer request) {
  Milena__V1__ListBrokersResponse *response = NULL;
  if (fuzz_accepted(metadata_view_list_brokers(state->image, request, &response)))
    milena__v1__list_brokers_response__free_unpacked(response, NULL);
}

/* The corpus names them by place: add at the end. */
static const struct {
  const ProtobufCMessageDescriptor *type;
  void (*run)(State *state, gpointer request);
} COMMANDS[] = {
    {&milena__v1__create_topic_request__descriptor, create_topic},
    {&milena__v1__update_topic_request__descriptor, update_topic},
    {&milena__v1__delete_topic_request__descriptor, delete_topic},
    {&milena__v1__add_partitions_request__descriptor, add_partitions},
    {&milena__internal__v1__register_node_request__descriptor, register_node},
    {&milena__internal__v1__heartbeat_request__descriptor, fence_node},
    {&milena__v1__list_topics_request__descriptor, list_topics},
    {&milena__v1__list_brokers_request__descriptor, list_brokers},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  State state = {.image = metadata_image_new(), .context = {.version = 1, .now_ms = 1700000000000}};
  MetadataController controller = {.id = 1, .address = (char *)"c:7700", .peer_address = (char *)"c:7750"};
  GPtrArray *records = metadata_records_new();
  finish(&state, metadata_command_bootstrap(state.image, &state.context, "", &controller, records), records);
  for (guint step = 0; step < STEPS_MAX && fuzz_left(&input) > 0; step++) {
    guint8 which = fuzz_u8(&input) % G_N_ELEMENTS(COMMANDS);
    FuzzInput chunk = fuzz_chunk(&input);
    g_autoptr(RpcMessage) message = decode(COMMANDS[which].type, &chunk);
    if (message)
      COMMANDS[which].run(&state, rpc_message_body(message));
  }
  metadata_image_unref(state.image);
  return 0;
}
