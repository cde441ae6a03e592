/* Errors as the library's callers see them: see error.h and milena.h. Pure; a MilenaError never changes once made. */
#include "client/libmilena/error.h"

#include "services/base/invariant.h"

struct MilenaError {
  Failure *failure;
  gboolean outcome_unknown;
};

/* By canonical code. */
static const char *const CODE_NAMES[] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

Outcome outcome_of_write(const Failure *failure) {
  switch (failure_reason(failure)) {
  case FAILURE(UNSPECIFIED): /* from below Milena: a connection that broke, say */
  case FAILURE(UNKNOWN_OUTCOME):
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
  case FAILURE(INTERNAL):
    return OUTCOME_UNKNOWN;
  default:
    return OUTCOME_NOT_WRITTEN;
  }
}

#define CODE_UNIMPLEMENTED 12

gboolean outcome_passes(const Failure *failure) {
  switch (failure_reason(failure)) {
  case FAILURE(UNSPECIFIED): /* from below Milena */
    return failure_code(failure) != CODE_UNIMPLEMENTED;
  case FAILURE(UNKNOWN_OUTCOME):
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
  case FAILURE(INTERNAL):
    return TRUE;
  default:
    return failure_is_retriable(failure);
  }
}

MilenaError *milena_error_take(Failure *failure, Outcome outcome) {
  if (failure == NULL)
    return NULL;
  MilenaError *error = g_new0(MilenaError, 1);
  error->failure = failure;
  error->outcome_unknown = outcome == OUTCOME_UNKNOWN;
  return error;
}

MilenaError *milena_error_new(FailureReason reason, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *message = g_strdup_vprintf(format, args);
  va_end(args);
  return milena_error_take(failure_new(reason, "%s", message), OUTCOME_NOT_WRITTEN);
}

const Failure *milena_error_failure(const MilenaError *error) {
  return error != NULL ? error->failure : NULL;
}

int milena_error_code(const MilenaError *error) {
  return failure_code(milena_error_failure(error));
}

const char *milena_error_code_name(const MilenaError *error) {
  int code = milena_error_code(error);
  return code >= 0 && (gsize)code < G_N_ELEMENTS(CODE_NAMES) ? CODE_NAMES[code] : "UNKNOWN";
}

const char *milena_error_reason(const MilenaError *error) {
  return failure_reason_name(failure_reason(milena_error_failure(error)));
}

const char *milena_error_message(const MilenaError *error) {
  return failure_message(milena_error_failure(error));
}

const char *milena_error_metadata(const MilenaError *error, const char *key) {
  return failure_get(milena_error_failure(error), key);
}

bool milena_error_metadata_at(const MilenaError *error, size_t index, const char **ret_key, const char **ret_value) {
  return index < G_MAXUINT && failure_get_at(milena_error_failure(error), (guint)index, ret_key, ret_value);
}

bool milena_error_is_retriable(const MilenaError *error) {
  if (error == NULL || error->outcome_unknown)
    return false;
  /* The library's own bounds are passed by waiting; a broker's limit is not. */
  if (failure_reason(error->failure) == FAILURE(LIMIT_EXCEEDED))
    return failure_get(error->failure, "buffer_bytes") != NULL;
  return failure_is_retriable(error->failure);
}

bool milena_error_is_outcome_unknown(const MilenaError *error) {
  return error != NULL && error->outcome_unknown;
}

MilenaError *milena_error_copy(const MilenaError *error) {
  if (error == NULL)
    return NULL;
  return milena_error_take(failure_copy(error->failure),
                           error->outcome_unknown ? OUTCOME_UNKNOWN : OUTCOME_NOT_WRITTEN);
}

void milena_error_free(MilenaError *error) {
  if (error == NULL)
    return;
  failure_free(error->failure);
  g_free(error);
}
