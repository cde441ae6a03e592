/* A refusal or failure, as people and programs meet it: a reason, a sentence, and what a program needs to act on it.
 *
 * Every error that leaves a process is a Failure: the reason decides the gRPC code (one table, in failure.c), and the
 * rest travels as google.rpc details. A NULL Failure means success. Failures are made on error paths only, so they may
 * allocate. Pure: glib and the protos alone; any module may use it. */
#pragma once

#include <glib.h>

#include "google/rpc/status.pb-c.h"
#include "milena/v1/error.pb-c.h"

G_BEGIN_DECLS

typedef struct Failure Failure;
typedef Milena__V1__ErrorReason FailureReason;
#define FAILURE(name) MILENA__V1__ERROR_REASON__ERROR_REASON_##name

/* Make a failure.
 *
 * @reason: FAILURE(UNKNOWN_TOPIC) and so on; decides the gRPC code
 * @format: a sentence that says what happened, to what, and what to do
 *
 * Returns a new failure, owned by the caller. */
Failure *failure_new(FailureReason reason, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A failure that came from elsewhere with a gRPC code and no reason of ours: from grpc itself, say.
 *
 * @code: a canonical gRPC code, not 0
 * @message: borrowed */
Failure *failure_new_code(int code, const char *message);
Failure *failure_copy(const Failure *failure);
void failure_free(Failure *failure); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Failure, failure_free)

FailureReason failure_reason(const Failure *failure);
/* The canonical gRPC code; 0 for NULL. */
int failure_code(const Failure *failure);
/* The sentence; borrowed. */
const char *failure_message(const Failure *failure);
/* "UNKNOWN_TOPIC": the reason without its prefix; borrowed, static. */
const char *failure_reason_name(FailureReason reason);
/* A caller may retry the same request later without harm: nothing was written. */
gboolean failure_is_retriable(const Failure *failure);
/* What was asked may have been done, or may not: the answer was lost, or its sender did not know. */
gboolean failure_is_outcome_unknown(const Failure *failure);
/* Of two tries of one call, the failure that says more: a last one whose time was cut short only says that.
 *
 * @before: taken; may be NULL
 * @last: taken
 *
 * Returns one of them, owned by the caller. */
Failure *failure_more_telling(Failure *before, Failure *last);

/* Details; each returns @failure, so that calls can be chained. All strings are copied. */
Failure *failure_add(Failure *failure, const char *key, const char *format, ...) G_GNUC_PRINTF(3, 4);
Failure *failure_add_violation(Failure *failure, const char *field_path, const char *description);
/* Put @path in front of the field path of each violation: "records[3]" makes "headers[0].key"
 * "records[3].headers[0].key".
 */
Failure *failure_prefix_violations(Failure *failure, const char *path);
Failure *failure_set_resource(Failure *failure, const char *type, const char *name);
Failure *failure_set_retry_delay(Failure *failure, gint64 delay_ms);
/* What @key holds in the metadata, or NULL; borrowed. */
const char *failure_get(const Failure *failure, const char *key);
/* The metadata by index, 0 and up: returns FALSE behind the last. Both borrowed. */
gboolean failure_get_at(const Failure *failure, guint index, const char **ret_key, const char **ret_value);
/* The delay that the sender asks for, or -1. */
gint64 failure_retry_delay_ms(const Failure *failure);

/* Put "while ...: " before the sentence; keeps reason and details. */
Failure *failure_prefix(Failure *failure, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* To the wire: google.rpc.Status with ErrorInfo, and RetryInfo, BadRequest, ResourceInfo where set.
 * Returns a message owned by the caller; free with google__rpc__status__free_unpacked(s, NULL). */
Google__Rpc__Status *failure_to_status(const Failure *failure);
/* The same, serialised: the value of grpc-status-details-bin. Returns a GBytes owned by the caller. */
GBytes *failure_to_bytes(const Failure *failure);
/* From the wire. Unknown details are ignored. Returns NULL when @status is NULL or its code is 0. */
Failure *failure_from_status(const Google__Rpc__Status *status);

G_END_DECLS
