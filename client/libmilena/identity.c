/* A producer's id and epoch: see identity.h.
 *
 *   none ──identity_get──► asking ──answer──► known ──renew──► none (but for the id, whose next epoch is asked for)
 *    ▲                       │
 *    └──failed: pause────────┘
 *
 * Invariants
 *   1. At most one call is under way.
 *   2. (id, epoch) is never given out again once it was renewed.
 *
 * A call that fails is tried again at another broker, with pauses; what can't pass (UNIMPLEMENTED, say) is told to all
 * who ask during the pause. */
#include "client/libmilena/identity.h"

#include "milena/v1/producer_service.pb-c.h"
#include "services/base/invariant.h"

#define CODE_UNIMPLEMENTED 12
/* What can't pass is not asked about more often than this. */
#define REFUSED_PAUSE_US (2 * G_TIME_SPAN_SECOND)

struct Identity {
  MilenaClient *client;
  void (*changed)(gpointer data);
  gpointer data;
  gboolean known;
  gint64 producer_id; /* known, or used up: whose next epoch to ask for; 0: none */
  guint32 producer_epoch;
  RpcClientCall *call; /* while asking */
  char *address;       /* whom */
  Failure *failure;    /* why the latest try failed */
  gboolean refused;    /* it can't pass */
  gint64 retry_us;
  guint failures; /* in a row */
};

Identity *identity_new(MilenaClient *client, void (*changed)(gpointer data), gpointer data) {
  Identity *identity = g_new0(Identity, 1);
  identity->client = client;
  identity->changed = changed;
  identity->data = data;
  return identity;
}

static void end_call(Identity *identity) {
  g_clear_pointer(&identity->call, rpc_client_call_unref);
  g_clear_pointer(&identity->address, g_free);
}

void identity_stop(Identity *identity) {
  if (identity->call != NULL)
    rpc_client_call_abandon(identity->call);
  end_call(identity);
}

void identity_free(Identity *identity) {
  if (identity == NULL)
    return;
  INVARIANT(identity->call == NULL, "an identity is stopped on its loop before it is freed");
  failure_free(identity->failure);
  g_free(identity);
}

static Failure *too_old(const char *address) {
  return failure_new(FAILURE(UNSUPPORTED),
                     "broker %s gives no ids to producers (InitProducer): it is older than this library. Update it, "
                     "or switch the producer's option idempotent off",
                     address);
}

/* A try failed. @failure: taken. */
static void note_failure(Identity *identity, Failure *failure) {
  if (failure_code(failure) == CODE_UNIMPLEMENTED) {
    failure_free(failure);
    failure = too_old(identity->address);
  }
  gboolean may_pass = failure_is_retriable(failure) || outcome_of_write(failure) == OUTCOME_UNKNOWN;
  /* An id that the cluster does not take: it is asked for another. */
  gboolean is_old = failure_reason(failure) == FAILURE(UNSUPPORTED);
  identity->refused = !may_pass && (is_old || identity->producer_id == 0);
  if (!may_pass && !is_old)
    identity->producer_id = 0;
  identity->failures++;
  gint64 pause_us = client_backoff_ms(identity->client, identity->failures) * G_TIME_SPAN_MILLISECOND;
  identity->retry_us = g_get_monotonic_time() + (identity->refused ? MAX(pause_us, REFUSED_PAUSE_US) : pause_us);
  failure_free(identity->failure);
  identity->failure = failure_prefix(failure, "no id for the producer");
  client_address_failed(identity->client, identity->address);
}

static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  Identity *identity = data;
  if (failure != NULL) {
    note_failure(identity, failure_copy(failure));
  } else {
    const Milena__V1__InitProducerResponse *response = rpc_message_body(message);
    if (response->producer_id <= 0) {
      note_failure(identity, failure_new(FAILURE(INTERNAL), "broker %s answered with the producer id %" G_GINT64_FORMAT,
                                         identity->address, response->producer_id));
    } else {
      identity->known = TRUE;
      identity->producer_id = response->producer_id;
      identity->producer_epoch = response->producer_epoch;
      identity->failures = 0;
      identity->refused = FALSE;
      g_clear_pointer(&identity->failure, failure_free);
      client_address_answered(identity->client, identity->address);
    }
  }
  end_call(identity);
  identity->changed(identity->data);
}

static void ask(Identity *identity, gint64 now_us) {
  Milena__V1__InitProducerRequest request = MILENA__V1__INIT_PRODUCER_REQUEST__INIT;
  request.producer_id = identity->producer_id;
  request.producer_epoch = identity->producer_id != 0 ? identity->producer_epoch : 0;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  gint64 timeout_us = client_options(identity->client)->attempt_timeout_ms * G_TIME_SPAN_MILLISECOND;
  identity->address = client_address(identity->client);
  identity->call = rpc_client_unary(client_rpc(identity->client), identity->address,
                                    &milena__v1__producer_service__descriptor, "InitProducer", message,
                                    now_us + timeout_us, client_loop(identity->client), on_answer, identity);
}

IdentityState identity_get(Identity *identity, gint64 now_us, gint64 *ret_producer_id, guint32 *ret_producer_epoch,
                           gint64 *ret_retry_us, const Failure **ret_failure) {
  if (identity->known) {
    *ret_producer_id = identity->producer_id;
    *ret_producer_epoch = identity->producer_epoch;
    return IDENTITY_KNOWN;
  }
  if (identity->failure != NULL)
    *ret_failure = identity->failure;
  if (identity->call == NULL && now_us >= identity->retry_us)
    ask(identity, now_us);
  else if (identity->call == NULL && identity->refused)
    return IDENTITY_REFUSED;
  else if (identity->call == NULL)
    *ret_retry_us = identity->retry_us;
  return IDENTITY_WAITS;
}

void identity_renew(Identity *identity, gint64 producer_id, guint32 producer_epoch, gboolean fenced) {
  gboolean current = producer_id == identity->producer_id && producer_epoch == identity->producer_epoch;
  if (!identity->known || !current)
    return; /* it is newer already, or on its way */
  identity->known = FALSE;
  if (fenced)
    identity->producer_id = 0;
}
