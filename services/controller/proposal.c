/* See proposal.h.
 *
 * A refusal tells what the metadata holds, and the command looked at what is only proposed, at a controller that may
 * have been cut off: so it is an answer like that of a read, good once all of it is committed.
 *
 * Owning thread: the host's loop. Failure modes: a controller that stops being the active one while it waits says so,
 * and that nothing was changed where that is certain. */
#include "services/controller/proposal.h"

/* A call that waits for its records. */
typedef struct {
  RpcCall *call;
  ProposalReply reply;
  gpointer state;
  GDestroyNotify free;
} Waiting;

static void waiting_free(Waiting *waiting) {
  waiting->free(waiting->state);
  g_free(waiting);
}

static void on_done(const Failure *failure, MetadataImage *image, gpointer data) {
  Waiting *waiting = data;
  if (failure)
    rpc_call_finish(waiting->call, failure_copy(failure));
  else
    waiting->reply(waiting->call, image, waiting->state);
  waiting_free(waiting);
}

/* Answer as if the records were applied. */
static void pretend(Host *host, const GPtrArray *records, Waiting *waiting) {
  const MetadataImage *tip = host_tip(host);
  g_autoptr(MetadataImage) image = NULL;
  g_autoptr(Failure) failure = metadata_image_apply(tip, (MetadataRecord **)records->pdata, records->len,
                                                    metadata_image_version(tip) + 1, &image);
  on_done(failure, image, waiting);
}

/* ---- Refusals ---- */

/* A refusal that waits. */
typedef struct {
  RpcCall *call;
  Failure *failure;
} Refusal;

static void refusal_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  g_autofree Refusal *refusal = data;
  if (failure) {
    failure_free(refusal->failure);
    refusal->failure = failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                   "The controller stopped being the active one while it answered. Nothing was "
                                   "changed: try again.");
  }
  rpc_call_finish(refusal->call, refusal->failure);
}

/* @failure: taken */
static void refuse(Host *host, RpcCall *call, Failure *failure) {
  g_autoptr(Failure) not_active = host_check_active(host);
  if (not_active || failure_reason(failure) == FAILURE(INVALID_FIELD)) {
    rpc_call_finish(call, failure);
    return;
  }
  Refusal *refusal = g_new(Refusal, 1);
  *refusal = (Refusal){call, failure};
  host_propose(host, metadata_records_new(), refusal_done, refusal);
}

void proposal_carry_out(Host *host, RpcCall *call, Failure *failure, GPtrArray *records, gboolean validate_only,
                        ProposalReply reply, gpointer state, GDestroyNotify free) {
  g_autoptr(GPtrArray) mine = records;
  if (failure) {
    free(state);
    refuse(host, call, failure);
    return;
  }
  Waiting *waiting = g_new(Waiting, 1);
  *waiting = (Waiting){call, reply, state, free};
  if (validate_only)
    pretend(host, mine, waiting);
  else
    host_propose(host, g_steal_pointer(&mine), on_done, waiting);
}
