/* InitProducer: ids from this loop's block, which the controllers gave.
 *
 *   block left ──► answered at once
 *   empty ──► asking (all who come wait together) ──block──► answered ──┐ more wait than the block has: asks again
 *                ▲  │ refused, or nobody there: RETRY_MS later          │
 *                └──┴──────────────────────── PATIENCE_MS over: all who wait are told
 *
 * An empty loop also asks, for nobody yet, when the metadata changes, as they do when the broker registers: so a new
 * producer finds an id even while no controller is there.
 *
 * A block that this process does not use up is lost with it: ids are never given twice, and there are enough. What a
 * known id asks for, the next epoch, needs nobody's leave: leaders refuse the epochs before from its first batch on. An
 * id that the metadata does not know as given waits NEWS_MS for it, since another broker may just have given it.
 *
 * Invariant: somebody waits only while a question is under way or its repetition is due. Thread: the front's loop.
 * Failure modes: CONTROLLER_NOT_AVAILABLE when no block came in time, UNKNOWN_PRODUCER for an id that nobody was given;
 * nothing was changed then. */
#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/broker/produce_internal.h"

#define ASK_TIMEOUT_MS 3000
#define RETRY_MS 100
#define PATIENCE_MS 5000
#define NEWS_MS 1000

struct ProduceIds {
  FrontWatch watch; /* first: the watch is cast to this */
  Front *front;
  gint64 next, end;   /* of the block: next is to be given; empty when they are equal */
  GQueue waiting;     /* of RpcCall, each a handler's reference */
  GQueue strangers;   /* of Stranger */
  RpcClientCall *ask; /* NULL: none is under way */
  gint64 patience_us; /* monotonic: until when those who wait now wait */
  Timer timer;
};

/* Who comes with an id that the metadata does not know as given. */
typedef struct {
  FrontWatch watch; /* first: the watch is cast to this */
  ProduceIds *ids;
  GList link;    /* in ids->strangers */
  RpcCall *call; /* a handler's reference */
  gint64 id;
  guint32 epoch; /* that it is to have */
  Timer timer;
} Stranger;

static void ask(ProduceIds *ids);

static void on_metadata(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  (void)before;
  (void)now;
  ProduceIds *ids = (ProduceIds *)watch;
  gboolean registered = ids->front->controller && ids->front->shard->broker_epoch != 0;
  if (registered && ids->next == ids->end && !ids->ask && !timer_is_set(&ids->timer))
    ask(ids);
}

ProduceIds *produce_ids_new(Front *front, gboolean ahead) {
  ProduceIds *ids = g_new0(ProduceIds, 1);
  ids->front = front;
  g_queue_init(&ids->waiting);
  ids->watch.changed = on_metadata;
  if (ahead)
    front_watch_add(front, &ids->watch);
  return ids;
}

/* Also of what nobody waits for. */
static void stop_asking(ProduceIds *ids) {
  timer_clear(ids->front->timers, &ids->timer);
  if (!ids->ask)
    return;
  rpc_client_call_abandon(ids->ask);
  g_clear_pointer(&ids->ask, rpc_client_call_unref);
}

/* @failure: taken */
static void refuse_all(ProduceIds *ids, Failure *failure) {
  stop_asking(ids);
  for (RpcCall *call; (call = g_queue_pop_head(&ids->waiting));)
    rpc_call_finish(call, failure_copy(failure));
  failure_free(failure);
}

static Failure *draining(void) {
  return failure_new(FAILURE(DRAINING), "this broker is stopping: nothing was changed, go to another one");
}

static void answer(RpcCall *call, gint64 id, guint32 epoch) {
  Milena__V1__InitProducerResponse response = MILENA__V1__INIT_PRODUCER_RESPONSE__INIT;
  response.producer_id = id;
  response.producer_epoch = epoch;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- ids that the metadata does not know ---- */

static gboolean was_given(const ProduceIds *ids, gint64 id) {
  return id < metadata_image_next_producer_id(ids->front->image);
}

/* @failure: taken; NULL to answer with the epoch */
static void stranger_end(Stranger *stranger, Failure *failure) {
  ProduceIds *ids = stranger->ids;
  timer_clear(ids->front->timers, &stranger->timer);
  front_watch_remove(ids->front, &stranger->watch);
  g_queue_unlink(&ids->strangers, &stranger->link);
  if (failure)
    rpc_call_finish(stranger->call, failure);
  else
    answer(stranger->call, stranger->id, stranger->epoch);
  g_free(stranger);
}

static void on_news(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  (void)before;
  (void)now;
  Stranger *stranger = (Stranger *)watch;
  if (was_given(stranger->ids, stranger->id))
    stranger_end(stranger, NULL);
}

static void on_no_news(Timer *timer, gpointer data) {
  (void)timer;
  Stranger *stranger = data;
  stranger_end(stranger, failure_new(FAILURE(UNKNOWN_PRODUCER),
                                     "the cluster gave nobody the producer id %" G_GINT64_FORMAT
                                     ": leave producer_id out to get one",
                                     stranger->id));
}

/* @call: a handler's reference, taken */
static void stranger_wait(ProduceIds *ids, RpcCall *call, gint64 id, guint32 epoch) {
  Stranger *stranger = g_new0(Stranger, 1);
  *stranger = (Stranger){.watch.changed = on_news, .ids = ids, .call = call, .id = id, .epoch = epoch};
  stranger->link.data = stranger;
  g_queue_push_tail_link(&ids->strangers, &stranger->link);
  front_watch_add(ids->front, &stranger->watch);
  timer_set(ids->front->timers, &stranger->timer, g_get_monotonic_time() + NEWS_MS * G_TIME_SPAN_MILLISECOND,
            on_no_news, stranger);
}

/* ---- its end ---- */

void produce_ids_drain(ProduceIds *ids) {
  front_watch_remove(ids->front, &ids->watch);
  refuse_all(ids, draining());
  while (ids->strangers.head)
    stranger_end(ids->strangers.head->data, draining());
}

void produce_ids_free(ProduceIds *ids) {
  if (!ids)
    return;
  INVARIANT(g_queue_is_empty(&ids->waiting) && g_queue_is_empty(&ids->strangers), "calls end before what serves them");
  front_watch_remove(ids->front, &ids->watch);
  stop_asking(ids);
  g_free(ids);
}

/* ---- answering ---- */

static void answer_from_block(ProduceIds *ids) {
  while (ids->next < ids->end && !g_queue_is_empty(&ids->waiting))
    answer(g_queue_pop_head(&ids->waiting), ids->next++, 0);
}

/* ---- asking ---- */

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  ask(data);
}

/* @failure: borrowed. A controller that calls this broker's epoch stale is right soon: the broker registers anew. */
static void ask_again_later(ProduceIds *ids, const Failure *failure) {
  gint64 now_us = g_get_monotonic_time();
  if (now_us < ids->patience_us) {
    timer_set(ids->front->timers, &ids->timer, now_us + RETRY_MS * G_TIME_SPAN_MILLISECOND, on_retry, ids);
    return;
  }
  refuse_all(ids,
             failure_set_retry_delay(failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                                 "this broker has no producer ids left, and no controller gave it more "
                                                 "(%s): nothing was changed, try again soon",
                                                 failure_message(failure)),
                                     500));
}

static void take_block(ProduceIds *ids, const Milena__Internal__V1__AllocateProducerIdsResponse *block) {
  if (block->first_producer_id < 1 || block->count == 0 || block->first_producer_id > G_MAXINT64 - block->count) {
    g_autoptr(Failure) failure = failure_new(FAILURE(INTERNAL), "the controller gave a block without ids");
    ask_again_later(ids, failure);
    return;
  }
  ids->next = block->first_producer_id;
  ids->end = ids->next + block->count;
  answer_from_block(ids);
  if (!g_queue_is_empty(&ids->waiting))
    ask(ids);
}

static void on_block(RpcMessage *response, const Failure *failure, gpointer data) {
  ProduceIds *ids = data;
  g_clear_pointer(&ids->ask, rpc_client_call_unref);
  if (failure && failure_reason(failure) == FAILURE(LIMIT_EXCEEDED))
    refuse_all(ids, failure_copy(failure));
  else if (failure)
    ask_again_later(ids, failure);
  else
    take_block(ids, rpc_message_body(response));
}

static void ask(ProduceIds *ids) {
  Front *front = ids->front;
  if (!front->controller) {
    g_autoptr(Failure) failure = failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "it knows no active controller");
    ask_again_later(ids, failure);
    return;
  }
  Milena__Internal__V1__AllocateProducerIdsRequest request = MILENA__INTERNAL__V1__ALLOCATE_PRODUCER_IDS_REQUEST__INIT;
  request.broker_id = front_broker_id(front);
  request.broker_epoch = front->shard->broker_epoch;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  ids->ask = rpc_client_unary(front_client(front), front->controller,
                              &milena__internal__v1__controller_service__descriptor, "AllocateProducerIds", message,
                              g_get_monotonic_time() + ASK_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND, front_loop(front),
                              on_block, ids);
}

/* ---- the call ---- */

static Failure *check_request(const Milena__V1__InitProducerRequest *request) {
  if (request->producer_id == LOG_PRODUCER_COORDINATOR)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "this producer id is kept for coordinators"),
                                 "producer_id", "0 for a new id");
  if (request->producer_id < 0)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "a producer's id is 1 or more"), "producer_id",
                                 "1 or more; 0 for a new id");
  if (request->producer_id == 0 && request->producer_epoch > 0)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "an epoch without a producer id means nothing"),
                                 "producer_epoch", "give the producer_id that it belongs to, or leave both out");
  return NULL;
}

void produce_ids_init_producer(ProduceIds *ids, RpcCall *call, const Milena__V1__InitProducerRequest *request) {
  Failure *failure = check_request(request);
  if (!failure && front_is_draining(ids->front))
    failure = draining();
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  gint64 id = request->producer_id;
  if (id > 0 && request->producer_epoch < G_MAXUINT32) {
    if (was_given(ids, id))
      answer(call, id, request->producer_epoch + 1);
    else
      stranger_wait(ids, call, id, request->producer_epoch + 1);
    return;
  }
  if (g_queue_is_empty(&ids->waiting))
    ids->patience_us = g_get_monotonic_time() + PATIENCE_MS * G_GINT64_CONSTANT(1000);
  g_queue_push_tail(&ids->waiting, call);
  answer_from_block(ids);
  if (!g_queue_is_empty(&ids->waiting) && !ids->ask && !timer_is_set(&ids->timer))
    ask(ids);
}
