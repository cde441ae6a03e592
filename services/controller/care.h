/* What the active controller does for its quorum by itself: learners that have caught up get a vote, and addresses that
 * changed are written down. All on the host's loop. */
#pragma once

#include "services/controller/host.h"

G_BEGIN_DECLS

typedef struct Care Care;

/* @host: outlives it */
Care *care_new(Host *host);
void care_free(Care *care); /* after care_stop; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Care, care_free)
void care_start(Care *care); /* on the loop */
void care_stop(Care *care);  /* on the loop */

/* Why a learner has no vote yet, a sentence; "" when nothing is known. Borrowed until the next look. */
const char *care_catch_up(const Care *care, guint64 id);

G_END_DECLS
