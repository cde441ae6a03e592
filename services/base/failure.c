/* Failures: see failure.h. The one table from reasons to gRPC codes is here. */
#include "services/base/failure.h"

#include <string.h>

#include "google/rpc/error_details.pb-c.h"
#include "services/base/invariant.h"
#include "services/base/times.h"

#define DOMAIN "milena"
#define TYPE_PREFIX "type.googleapis.com/"

/* The canonical gRPC codes. */
enum {
  CODE_CANCELLED = 1,
  CODE_UNKNOWN = 2,
  CODE_INVALID_ARGUMENT = 3,
  CODE_DEADLINE_EXCEEDED = 4,
  CODE_NOT_FOUND = 5,
  CODE_ALREADY_EXISTS = 6,
  CODE_RESOURCE_EXHAUSTED = 8,
  CODE_FAILED_PRECONDITION = 9,
  CODE_ABORTED = 10,
  CODE_OUT_OF_RANGE = 11,
  CODE_UNIMPLEMENTED = 12,
  CODE_INTERNAL = 13,
  CODE_UNAVAILABLE = 14,
  CODE_DATA_LOSS = 15,
};

static const struct {
  int code;
  gboolean retriable;    /* nothing was written, and it may work later */
  gint64 retry_delay_ms; /* what RetryInfo says unless set otherwise; 0 for none */
} TABLE[] = {
    [FAILURE(UNSPECIFIED)] = {CODE_UNKNOWN, FALSE, 0},
    [FAILURE(INVALID_FIELD)] = {CODE_INVALID_ARGUMENT, FALSE, 0},
    [FAILURE(MALFORMED_MESSAGE)] = {CODE_INVALID_ARGUMENT, FALSE, 0},
    [FAILURE(CORRUPT_BATCH)] = {CODE_INVALID_ARGUMENT, FALSE, 0},
    [FAILURE(RECORD_TOO_LARGE)] = {CODE_INVALID_ARGUMENT, FALSE, 0},
    [FAILURE(UNKNOWN_TOPIC)] = {CODE_NOT_FOUND, FALSE, 0},
    [FAILURE(UNKNOWN_PARTITION)] = {CODE_NOT_FOUND, FALSE, 0},
    [FAILURE(UNKNOWN_BROKER)] = {CODE_NOT_FOUND, FALSE, 0},
    [FAILURE(TOPIC_EXISTS)] = {CODE_ALREADY_EXISTS, FALSE, 0},
    [FAILURE(TOPIC_ID_MISMATCH)] = {CODE_ABORTED, FALSE, 0},
    [FAILURE(OFFSET_OUT_OF_RANGE)] = {CODE_OUT_OF_RANGE, FALSE, 0},
    [FAILURE(NOT_LEADER)] = {CODE_FAILED_PRECONDITION, TRUE, 0},
    [FAILURE(LEADER_NOT_AVAILABLE)] = {CODE_UNAVAILABLE, TRUE, 100},
    [FAILURE(NOT_ENOUGH_REPLICAS)] = {CODE_UNAVAILABLE, TRUE, 100},
    [FAILURE(UNKNOWN_OUTCOME)] = {CODE_UNKNOWN, FALSE, 0},
    [FAILURE(OVERLOADED)] = {CODE_UNAVAILABLE, TRUE, 20},
    [FAILURE(DRAINING)] = {CODE_UNAVAILABLE, TRUE, 100},
    [FAILURE(PEER_UNREACHABLE)] = {CODE_UNAVAILABLE, TRUE, 100},
    [FAILURE(CONTROLLER_NOT_AVAILABLE)] = {CODE_UNAVAILABLE, TRUE, 200},
    [FAILURE(NOT_CONTROLLER)] = {CODE_FAILED_PRECONDITION, TRUE, 0},
    [FAILURE(FENCED)] = {CODE_ABORTED, FALSE, 0},
    [FAILURE(EXPECTED_OFFSET_MISMATCH)] = {CODE_ABORTED, FALSE, 0},
    [FAILURE(DUPLICATE_ID)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(CLUSTER_MISMATCH)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(NOT_ENOUGH_BROKERS)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(UNSUPPORTED)] = {CODE_UNIMPLEMENTED, FALSE, 0},
    [FAILURE(DISK_LOW)] = {CODE_RESOURCE_EXHAUSTED, TRUE, 1000},
    [FAILURE(LIMIT_EXCEEDED)] = {CODE_RESOURCE_EXHAUSTED, FALSE, 0},
    [FAILURE(CORRUPT_LOG)] = {CODE_DATA_LOSS, FALSE, 0},
    [FAILURE(DEADLINE_EXCEEDED)] = {CODE_DEADLINE_EXCEEDED, FALSE, 0},
    [FAILURE(CANCELLED)] = {CODE_CANCELLED, FALSE, 0},
    [FAILURE(INTERNAL)] = {CODE_INTERNAL, FALSE, 0},
    [FAILURE(STALE_PAGE_TOKEN)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(SEQUENCE_MISMATCH)] = {CODE_ABORTED, FALSE, 0},
    [FAILURE(UNKNOWN_PRODUCER)] = {CODE_ABORTED, FALSE, 0},
    [FAILURE(UNKNOWN_CONTROLLER)] = {CODE_NOT_FOUND, FALSE, 0},
    [FAILURE(CONTROLLER_EXISTS)] = {CODE_ALREADY_EXISTS, FALSE, 0},
    [FAILURE(NOT_BOOTSTRAPPED)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(ALREADY_BOOTSTRAPPED)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(DIRECTORY_MISMATCH)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(QUORUM_AT_RISK)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(CHANGE_IN_PROGRESS)] = {CODE_UNAVAILABLE, TRUE, 200},
    [FAILURE(INELIGIBLE_REPLICA)] = {CODE_ABORTED, FALSE, 0},
    [FAILURE(UNKNOWN_GROUP)] = {CODE_NOT_FOUND, FALSE, 0},
    [FAILURE(UNKNOWN_MEMBER)] = {CODE_NOT_FOUND, FALSE, 0},
    [FAILURE(COORDINATOR_LOADING)] = {CODE_UNAVAILABLE, TRUE, 100},
    [FAILURE(COORDINATOR_NOT_AVAILABLE)] = {CODE_UNAVAILABLE, TRUE, 100},
    [FAILURE(NOT_COORDINATOR)] = {CODE_FAILED_PRECONDITION, TRUE, 0},
    [FAILURE(GROUP_IN_USE)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(NOT_ASSIGNED)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
    [FAILURE(INTERNAL_TOPIC)] = {CODE_FAILED_PRECONDITION, FALSE, 0},
};

typedef struct {
  char *key, *value;
} Pair;

struct Failure {
  FailureReason reason;
  int code;
  char *message;
  GArray *metadata;   /* of Pair */
  GArray *violations; /* of Pair: field path, description */
  char *resource_type, *resource_name;
  gint64 retry_delay_ms; /* -1 for none */
};

static void pair_clear(gpointer data) {
  Pair *pair = data;
  g_free(pair->key);
  g_free(pair->value);
}

static GArray *pairs_new(void) {
  GArray *pairs = g_array_new(FALSE, FALSE, sizeof(Pair));
  g_array_set_clear_func(pairs, pair_clear);
  return pairs;
}

static void pairs_add(GArray *pairs, const char *key, char *value) {
  Pair pair = {g_strdup(key), value};
  g_array_append_val(pairs, pair);
}

static Failure *failure_alloc(FailureReason reason, int code, char *message) {
  Failure *failure = g_new0(Failure, 1);
  failure->reason = reason;
  failure->code = code;
  failure->message = message;
  failure->metadata = pairs_new();
  failure->violations = pairs_new();
  failure->retry_delay_ms = -1;
  return failure;
}

Failure *failure_new(FailureReason reason, const char *format, ...) {
  INVARIANT((gsize)reason < G_N_ELEMENTS(TABLE), "every reason stands in the table");
  va_list args;
  va_start(args, format);
  Failure *failure = failure_alloc(reason, TABLE[reason].code, g_strdup_vprintf(format, args));
  va_end(args);
  if (TABLE[reason].retry_delay_ms > 0)
    failure->retry_delay_ms = TABLE[reason].retry_delay_ms;
  return failure;
}

Failure *failure_new_code(int code, const char *message) {
  INVARIANT(code != 0, "success is no failure");
  FailureReason reason = FAILURE(UNSPECIFIED);
  if (code == CODE_CANCELLED)
    reason = FAILURE(CANCELLED);
  else if (code == CODE_DEADLINE_EXCEEDED)
    reason = FAILURE(DEADLINE_EXCEEDED);
  return failure_alloc(reason, code, g_strdup(message));
}

Failure *failure_copy(const Failure *failure) {
  if (!failure)
    return NULL;
  Failure *copy = failure_alloc(failure->reason, failure->code, g_strdup(failure->message));
  for (guint i = 0; i < failure->metadata->len; i++) {
    Pair *pair = &g_array_index(failure->metadata, Pair, i);
    pairs_add(copy->metadata, pair->key, g_strdup(pair->value));
  }
  for (guint i = 0; i < failure->violations->len; i++) {
    Pair *pair = &g_array_index(failure->violations, Pair, i);
    pairs_add(copy->violations, pair->key, g_strdup(pair->value));
  }
  copy->resource_type = g_strdup(failure->resource_type);
  copy->resource_name = g_strdup(failure->resource_name);
  copy->retry_delay_ms = failure->retry_delay_ms;
  return copy;
}

void failure_free(Failure *failure) {
  if (!failure)
    return;
  g_free(failure->message);
  g_array_unref(failure->metadata);
  g_array_unref(failure->violations);
  g_free(failure->resource_type);
  g_free(failure->resource_name);
  g_free(failure);
}

FailureReason failure_reason(const Failure *failure) {
  return failure ? failure->reason : FAILURE(UNSPECIFIED);
}

int failure_code(const Failure *failure) {
  return failure ? failure->code : 0;
}

const char *failure_message(const Failure *failure) {
  return failure ? failure->message : "OK";
}

const char *failure_reason_name(FailureReason reason) {
  const ProtobufCEnumValue *value =
      protobuf_c_enum_descriptor_get_value(&milena__v1__error_reason__descriptor, (int)reason);
  return value ? value->name + strlen("ERROR_REASON_") : "UNSPECIFIED";
}

gboolean failure_is_retriable(const Failure *failure) {
  if (!failure)
    return FALSE;
  if (failure->reason == FAILURE(UNSPECIFIED))
    return failure->code == CODE_UNAVAILABLE;
  return (gsize)failure->reason < G_N_ELEMENTS(TABLE) && TABLE[failure->reason].retriable;
}

gboolean failure_is_outcome_unknown(const Failure *failure) {
  if (!failure)
    return FALSE;
  switch (failure->reason) {
  case FAILURE(UNSPECIFIED): /* from below Milena; what an older version does not know, it has not done */
    return failure->code != CODE_UNIMPLEMENTED;
  case FAILURE(UNKNOWN_OUTCOME):
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
    return TRUE;
  default:
    return FALSE;
  }
}

Failure *failure_more_telling(Failure *before, Failure *last) {
  gboolean cut_short = before && failure_reason(last) == FAILURE(DEADLINE_EXCEEDED);
  failure_free(cut_short ? last : before);
  return cut_short ? before : last;
}

Failure *failure_add(Failure *failure, const char *key, const char *format, ...) {
  va_list args;
  va_start(args, format);
  pairs_add(failure->metadata, key, g_strdup_vprintf(format, args));
  va_end(args);
  return failure;
}

Failure *failure_add_violation(Failure *failure, const char *field_path, const char *description) {
  pairs_add(failure->violations, field_path, g_strdup(description));
  return failure;
}

Failure *failure_prefix_violations(Failure *failure, const char *path) {
  for (guint i = 0; i < failure->violations->len; i++) {
    Pair *pair = &g_array_index(failure->violations, Pair, i);
    char *key = *pair->key ? g_strdup_printf("%s.%s", path, pair->key) : g_strdup(path);
    g_free(pair->key);
    pair->key = key;
  }
  return failure;
}

Failure *failure_set_resource(Failure *failure, const char *type, const char *name) {
  g_free(failure->resource_type);
  g_free(failure->resource_name);
  failure->resource_type = g_strdup(type);
  failure->resource_name = g_strdup(name);
  return failure;
}

Failure *failure_set_retry_delay(Failure *failure, gint64 delay_ms) {
  failure->retry_delay_ms = delay_ms;
  return failure;
}

const char *failure_get(const Failure *failure, const char *key) {
  for (guint i = 0; failure && i < failure->metadata->len; i++) {
    Pair *pair = &g_array_index(failure->metadata, Pair, i);
    if (!strcmp(pair->key, key))
      return pair->value;
  }
  return NULL;
}

gboolean failure_get_at(const Failure *failure, guint index, const char **ret_key, const char **ret_value) {
  if (!failure || index >= failure->metadata->len)
    return FALSE;
  Pair *pair = &g_array_index(failure->metadata, Pair, index);
  *ret_key = pair->key;
  *ret_value = pair->value;
  return TRUE;
}

gint64 failure_retry_delay_ms(const Failure *failure) {
  return failure ? failure->retry_delay_ms : -1;
}

Failure *failure_prefix(Failure *failure, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *prefix = g_strdup_vprintf(format, args);
  va_end(args);
  char *message = g_strdup_printf("%s: %s", prefix, failure->message);
  g_free(failure->message);
  failure->message = message;
  return failure;
}

/* ---- To the wire ---- */

/* Append a detail: the Any and its value are on the heap, as protobuf-c's free_unpacked expects. */
static void status_add_detail(GPtrArray *details, const ProtobufCMessage *message) {
  Google__Protobuf__Any *any = malloc(sizeof *any);
  google__protobuf__any__init(any);
  g_autofree char *url = g_strconcat(TYPE_PREFIX, message->descriptor->name, NULL);
  any->type_url = strdup(url);
  any->value.len = protobuf_c_message_get_packed_size(message);
  any->value.data = malloc(any->value.len ? any->value.len : 1);
  protobuf_c_message_pack(message, any->value.data);
  g_ptr_array_add(details, any);
}

static void add_error_info(const Failure *failure, GPtrArray *details) {
  guint count = failure->metadata->len;
  g_autofree Google__Rpc__ErrorInfo__MetadataEntry *entries = g_new(Google__Rpc__ErrorInfo__MetadataEntry, count + 1);
  g_autofree Google__Rpc__ErrorInfo__MetadataEntry **pointers =
      g_new(Google__Rpc__ErrorInfo__MetadataEntry *, count + 1);
  for (guint i = 0; i < count; i++) {
    Pair *pair = &g_array_index(failure->metadata, Pair, i);
    google__rpc__error_info__metadata_entry__init(&entries[i]);
    entries[i].key = pair->key;
    entries[i].value = pair->value;
    pointers[i] = &entries[i];
  }
  Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
  info.reason = (char *)failure_reason_name(failure->reason);
  info.domain = (char *)DOMAIN;
  info.n_metadata = count;
  info.metadata = pointers;
  status_add_detail(details, &info.base);
}

static void add_retry_info(const Failure *failure, GPtrArray *details) {
  Google__Protobuf__Duration delay;
  times_duration_set(&delay, failure->retry_delay_ms);
  Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
  info.retry_delay = &delay;
  status_add_detail(details, &info.base);
}

static void add_bad_request(const Failure *failure, GPtrArray *details) {
  guint count = failure->violations->len;
  g_autofree Google__Rpc__BadRequest__FieldViolation *items = g_new(Google__Rpc__BadRequest__FieldViolation, count);
  g_autofree Google__Rpc__BadRequest__FieldViolation **pointers =
      g_new(Google__Rpc__BadRequest__FieldViolation *, count);
  for (guint i = 0; i < count; i++) {
    Pair *pair = &g_array_index(failure->violations, Pair, i);
    google__rpc__bad_request__field_violation__init(&items[i]);
    items[i].field = pair->key;
    items[i].description = pair->value;
    pointers[i] = &items[i];
  }
  Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;
  request.n_field_violations = count;
  request.field_violations = pointers;
  status_add_detail(details, &request.base);
}

/* RESOURCE_EXHAUSTED says which limit it was. */
static void add_quota(const Failure *failure, GPtrArray *details) {
  Google__Rpc__QuotaFailure__Violation violation = GOOGLE__RPC__QUOTA_FAILURE__VIOLATION__INIT;
  violation.subject = (char *)failure_reason_name(failure->reason);
  violation.description = failure->message;
  Google__Rpc__QuotaFailure__Violation *pointers[] = {&violation};
  Google__Rpc__QuotaFailure quota = GOOGLE__RPC__QUOTA_FAILURE__INIT;
  quota.n_violations = 1;
  quota.violations = pointers;
  status_add_detail(details, &quota.base);
}

static void add_resource(const Failure *failure, GPtrArray *details) {
  Google__Rpc__ResourceInfo info = GOOGLE__RPC__RESOURCE_INFO__INIT;
  info.resource_type = failure->resource_type;
  info.resource_name = failure->resource_name;
  info.description = failure->message;
  status_add_detail(details, &info.base);
}

Google__Rpc__Status *failure_to_status(const Failure *failure) {
  Google__Rpc__Status *status = malloc(sizeof *status);
  google__rpc__status__init(status);
  if (!failure)
    return status;
  status->code = failure->code;
  status->message = strdup(failure->message);
  g_autoptr(GPtrArray) details = g_ptr_array_new();
  add_error_info(failure, details);
  if (failure->retry_delay_ms >= 0)
    add_retry_info(failure, details);
  if (failure->violations->len > 0)
    add_bad_request(failure, details);
  if (failure->code == CODE_RESOURCE_EXHAUSTED)
    add_quota(failure, details);
  if (failure->resource_name)
    add_resource(failure, details);
  status->n_details = details->len;
  status->details = malloc(details->len * sizeof *status->details);
  memcpy(status->details, details->pdata, details->len * sizeof *status->details);
  return status;
}

GBytes *failure_to_bytes(const Failure *failure) {
  Google__Rpc__Status *status = failure_to_status(failure);
  gsize size = google__rpc__status__get_packed_size(status);
  guint8 *data = g_malloc(size + 1);
  google__rpc__status__pack(status, data);
  google__rpc__status__free_unpacked(status, NULL);
  return g_bytes_new_take(data, size);
}

/* ---- From the wire ---- */

static FailureReason reason_from_name(const char *name) {
  g_autofree char *full = g_strconcat("ERROR_REASON_", name, NULL);
  const ProtobufCEnumValue *value =
      protobuf_c_enum_descriptor_get_value_by_name(&milena__v1__error_reason__descriptor, full);
  return value ? (FailureReason)value->value : FAILURE(UNSPECIFIED);
}

static void take_error_info(Failure *failure, const Google__Rpc__ErrorInfo *info) {
  if (strcmp(info->domain, DOMAIN) != 0)
    return;
  failure->reason = reason_from_name(info->reason);
  for (gsize i = 0; i < info->n_metadata; i++)
    pairs_add(failure->metadata, info->metadata[i]->key, g_strdup(info->metadata[i]->value));
}

/* One detail; those that are unknown or do not parse are left out. */
static void take_detail(Failure *failure, const Google__Protobuf__Any *any) {
  const char *type = g_str_has_prefix(any->type_url, TYPE_PREFIX) ? any->type_url + strlen(TYPE_PREFIX) : "";
  const ProtobufCMessageDescriptor *known[] = {
      &google__rpc__error_info__descriptor, &google__rpc__retry_info__descriptor, &google__rpc__bad_request__descriptor,
      &google__rpc__resource_info__descriptor};
  ProtobufCMessage *message = NULL;
  for (guint i = 0; i < G_N_ELEMENTS(known) && !message; i++)
    if (!strcmp(type, known[i]->name))
      message = protobuf_c_message_unpack(known[i], NULL, any->value.len, any->value.data);
  if (!message)
    return;
  if (message->descriptor == &google__rpc__error_info__descriptor) {
    take_error_info(failure, (Google__Rpc__ErrorInfo *)message);
  } else if (message->descriptor == &google__rpc__retry_info__descriptor) {
    Google__Rpc__RetryInfo *info = (Google__Rpc__RetryInfo *)message;
    /* A delay that is negative or absurd says nothing. */
    gint64 delay_ms = times_duration_ms(info->retry_delay, -1);
    if (delay_ms >= 0 && delay_ms < G_MAXINT32 * (gint64)1000)
      failure->retry_delay_ms = delay_ms;
  } else if (message->descriptor == &google__rpc__bad_request__descriptor) {
    Google__Rpc__BadRequest *request = (Google__Rpc__BadRequest *)message;
    for (gsize i = 0; i < request->n_field_violations; i++)
      failure_add_violation(failure, request->field_violations[i]->field, request->field_violations[i]->description);
  } else {
    Google__Rpc__ResourceInfo *info = (Google__Rpc__ResourceInfo *)message;
    failure_set_resource(failure, info->resource_type, info->resource_name);
  }
  protobuf_c_message_free_unpacked(message, NULL);
}

Failure *failure_from_status(const Google__Rpc__Status *status) {
  if (!status || status->code == 0)
    return NULL;
  Failure *failure = failure_new_code(status->code, status->message);
  for (gsize i = 0; i < status->n_details; i++)
    take_detail(failure, status->details[i]);
  return failure;
}
