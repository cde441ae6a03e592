/* MilenaError from the inside: a Failure, and what is known about the outcome of a write. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* What a failure says about the write that it answers. */
typedef enum {
  OUTCOME_NOT_WRITTEN, /* certainly nothing was written */
  OUTCOME_UNKNOWN,     /* it may or may not have been */
} Outcome;

/* @failure: of a write that was sent: what its reason promises. Reasons that promise nothing are unknown. */
Outcome outcome_of_write(const Failure *failure);

/* @failure: of a call that does no harm when it is made twice: it may work later, here or elsewhere. */
gboolean outcome_passes(const Failure *failure);

/* @failure: taken; NULL gives NULL.
 * @outcome: OUTCOME_UNKNOWN makes it never retriable */
MilenaError *milena_error_take(Failure *failure, Outcome outcome);
const Failure *milena_error_failure(const MilenaError *error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaError, milena_error_free)

/* milena_error_take(failure_new(...)) for what the library itself refuses. */
MilenaError *milena_error_new(FailureReason reason, const char *format, ...) G_GNUC_PRINTF(2, 3);

G_END_DECLS
