/* Statuses at the border to the core: see status.h. The codes and reasons themselves are failure.c's table. */
#include "services/rpc/status.h"

#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <string.h>

#include "services/rpc/slices.h"

#define DETAILS_KEY "grpc-status-details-bin"

enum {
  /* Stock clients take 8 KiB of metadata in all; what does not fit would turn the failure into another one. */
  DETAILS_BYTES_MAX = 4096,
  SENTENCE_BYTES_MAX = 1024,
};

/* ---- Out ---- */

static grpc_slice sentence_slice(const char *sentence) {
  gsize len = strlen(sentence);
  if (len > SENTENCE_BYTES_MAX)
    len = g_utf8_find_prev_char(sentence, sentence + SENTENCE_BYTES_MAX + 1) - sentence;
  return grpc_slice_from_copied_buffer(sentence, len);
}

static GBytes *details_of(const Failure *failure) {
  GBytes *details = failure_to_bytes(failure);
  if (g_bytes_get_size(details) <= DETAILS_BYTES_MAX)
    return details;
  /* The reason matters most: keep it, and shorten the rest. */
  g_bytes_unref(details);
  g_autoptr(Failure) brief = failure_new(failure_reason(failure), "%.256s", failure_message(failure));
  return failure_to_bytes(brief);
}

void rpc_status_init(RpcStatus *status, const Failure *failure) {
  *status = (RpcStatus){.code = failure_code(failure), .sentence = grpc_empty_slice()};
  if (!failure)
    return;
  status->sentence = sentence_slice(failure_message(failure));
  g_autoptr(GBytes) details = details_of(failure);
  gsize size;
  gconstpointer data = g_bytes_get_data(details, &size);
  status->details.key = grpc_slice_from_static_string(DETAILS_KEY);
  status->details.value = grpc_slice_from_copied_buffer(data, size);
  status->details_count = 1;
}

void rpc_status_clear(RpcStatus *status) {
  grpc_slice_unref(status->sentence);
  if (status->details_count)
    grpc_slice_unref(status->details.value);
}

/* ---- In ---- */

/* The failure that the peer described, or NULL when it gave no details that we can read. */
static Failure *failure_of_details(const grpc_metadata_array *trailing) {
  for (gsize i = 0; i < trailing->count; i++) {
    if (grpc_slice_str_cmp(trailing->metadata[i].key, DETAILS_KEY) != 0)
      continue;
    grpc_slice value = trailing->metadata[i].value;
    Google__Rpc__Status *status =
        google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(value), GRPC_SLICE_START_PTR(value));
    if (!status)
      return NULL;
    Failure *failure = failure_from_status(status);
    google__rpc__status__free_unpacked(status, NULL);
    return failure;
  }
  return NULL;
}

/* The transport's own failures. The core says "failed to connect" when the call never left; anything else may have
 * reached the peer, which for a unary call means that its outcome is not known. */
static Failure *failure_of_transport(const char *text, const char *address, gboolean is_stream) {
  if (strstr(text, "failed to connect") || strstr(text, "DNS resolution failed"))
    return failure_new(FAILURE(PEER_UNREACHABLE), "%s can't be reached: is it running, and is the address right? (%s)",
                       address, text);
  if (is_stream)
    return failure_new(FAILURE(PEER_UNREACHABLE), "the connection to %s was lost: open the stream again (%s)", address,
                       text);
  return failure_new(FAILURE(UNKNOWN_OUTCOME),
                     "the connection to %s was lost during the call: it may or may not have been carried out (%s)",
                     address, text);
}

Failure *rpc_status_to_failure(grpc_status_code code, grpc_slice sentence, const grpc_metadata_array *trailing,
                               const char *address, gboolean is_stream) {
  if (code == GRPC_STATUS_OK)
    return NULL;
  Failure *told = failure_of_details(trailing);
  if (told)
    return told;
  g_autofree char *text = rpc_slice_dup_text(sentence);
  switch (code) {
  case GRPC_STATUS_UNAVAILABLE:
    return failure_of_transport(text, address, is_stream);
  case GRPC_STATUS_DEADLINE_EXCEEDED:
    return failure_new(FAILURE(DEADLINE_EXCEEDED), "%s did not answer before the call's deadline", address);
  case GRPC_STATUS_CANCELLED:
    return failure_new(FAILURE(CANCELLED), "the call to %s was cancelled", address);
  case GRPC_STATUS_RESOURCE_EXHAUSTED:
    return failure_new(FAILURE(LIMIT_EXCEEDED), "a limit of the call to %s was reached: %s", address, text);
  default:
    return failure_new_code(code, text);
  }
}

/* ---- Deadlines ---- */

gpr_timespec rpc_deadline_to_core(gint64 deadline_us) {
  if (deadline_us == G_MAXINT64)
    return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  gint64 left_us = MAX(deadline_us - g_get_monotonic_time(), 0);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(left_us, GPR_TIMESPAN));
}

gint64 rpc_deadline_from_core(gpr_timespec deadline) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
    return G_MAXINT64;
  gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return g_get_monotonic_time() + left.tv_sec * G_USEC_PER_SEC + left.tv_nsec / 1000;
}
