/* Jobs and items: see produce_internal.h.
 *
 *   job:   plain records: topic known? ──► items            item:  WAITING ──go──► SENT ──outcome──► DONE
 *          batches: items, after the plain records                    ▲              │ nothing was written
 *          all items DONE ──► done                                    └──gate────────┘
 *
 * Rules: an item is sent again only when it is certain that nothing was written, or when its batch has a producer id,
 * so that the leader knows it again. At the deadline what was not sent fails as not written, and what was sent as
 * unknown. Once a try had an unknown outcome, only a receipt ends that: whatever a later try was refused for, the
 * earlier one may still arrive, so the refusal is told as unknown, but for what the leader says of the producer itself.
 * Plain records that can't be planned fail the job before any batch of it is sent, so a failed job has written nothing.
 *
 * A job lives until it is done and everything that it sent has come back. Thread: the front's loop. */
#include "services/broker/produce_internal.h"

#include "controller/metadata/view.h"

static void item_free(gpointer data) {
  ProduceItem *item = data;
  g_clear_pointer(&item->record_indexes, g_array_unref);
  log_batch_clear(&item->batch);
  route_clear(&item->route);
  failure_free(item->failure);
  g_free(item);
}

void produce_job_hold(ProduceJob *job) {
  job->holders++;
}

void produce_job_release(ProduceJob *job) {
  INVARIANT(job->holders > 0, "a job is released as often as it was held");
  if (--job->holders > 0)
    return;
  INVARIANT(job->is_done, "a job ends when it is done");
  g_ptr_array_unref(job->items);
  metadata_image_unref(job->planned_by);
  rpc_message_unref(job->message);
  failure_free(job->failure);
  g_free(job);
}

/* One of the things that it waited for has ended. */
static void job_part_done(ProduceJob *job) {
  INVARIANT(job->undone > 0, "a part ends once");
  if (--job->undone > 0)
    return;
  job->is_done = TRUE;
  timer_clear(job->producer->front->timers, &job->timer);
  g_queue_unlink(&job->producer->jobs, &job->link);
  job->done(job, job->user_data);
  produce_job_release(job);
}

ProduceItem *produce_job_add_item(ProduceJob *job) {
  ProduceItem *item = g_new0(ProduceItem, 1);
  item->job = job;
  item->batch = (LogBatch)LOG_BATCH_INIT;
  item->route = (Route)ROUTE_INIT;
  item->receipt.base_offset = -1;
  g_ptr_array_add(job->items, item);
  job->undone++;
  return item;
}

/* ---- an item's way ---- */

/* What a refusal of the latest try means after one whose outcome is unknown. @failure: taken */
static Failure *after_unknown(Failure *failure) {
  switch ((int)failure_reason(failure)) {
  case FAILURE(UNKNOWN_OUTCOME):
    return failure;
  case FAILURE(FENCED):
  case FAILURE(SEQUENCE_MISMATCH):
  case FAILURE(UNKNOWN_PRODUCER):
    return failure_prefix(failure, "an earlier try may have been written, and the next one was refused");
  default:
    break;
  }
  Failure *unknown = failure_new(FAILURE(UNKNOWN_OUTCOME),
                                 "an earlier try may have been written, and the next one was refused: the records may "
                                 "or may not be kept (%s)",
                                 failure_message(failure));
  failure_free(failure);
  return unknown;
}

void produce_item_end(ProduceItem *item, const PartitionReceipt *receipt, Failure *failure) {
  if (item->state == ITEM_DONE) {
    failure_free(failure);
    return;
  }
  item->state = ITEM_DONE;
  item->failure = failure && item->may_be_written ? after_unknown(failure) : failure;
  if (receipt)
    item->receipt = *receipt;
  job_part_done(item->job);
}

static gboolean is_not_written(const Failure *failure) {
  switch ((int)failure_reason(failure)) {
  case FAILURE(NOT_LEADER):
  case FAILURE(LEADER_NOT_AVAILABLE):
  case FAILURE(PEER_UNREACHABLE):
  case FAILURE(DRAINING):
    return TRUE;
  default:
    return FALSE;
  }
}

void produce_item_outcome(ProduceItem *item, const PartitionReceipt *receipt, Failure *failure) {
  gboolean unknown = failure && failure_reason(failure) == FAILURE(UNKNOWN_OUTCOME);
  gboolean again = failure && (is_not_written(failure) || (unknown && item->batch.producer_id));
  if (!again || item->state == ITEM_DONE || item->job->input.no_proxy) {
    produce_item_end(item, receipt, failure);
    return;
  }
  item->may_be_written |= unknown;
  item->state = ITEM_WAITING;
  produce_gate_wait(item->job->producer, &item->turn, item->topic_name, item->topic_id, item->partition, failure);
}

static void on_appended(PartitionAppend *append, gpointer user_data) {
  ProduceItem *item = user_data;
  ProduceJob *job = item->job;
  Failure *failure = g_steal_pointer(&append->failure);
  produce_item_outcome(item, failure ? NULL : &append->receipt, failure);
  partition_append_free(append);
  produce_job_release(job); /* NOLINT(clang-analyzer-unix.Malloc): this hold kept it */
}

static void item_append(ProduceItem *item) {
  ProduceJob *job = item->job;
  Front *front = job->producer->front;
  PartitionAppend *append = partition_append_new();
  append->log_id = item->route.partition->log_id;
  append->leader_epoch = item->route.partition->leader_epoch;
  log_batch_share(&item->batch, &append->batch);
  append->acks = job->input.acks;
  append->deadline_us = job->input.deadline_us;
  append->done = on_appended;
  append->user_data = item;
  item->state = ITEM_SENT;
  produce_job_hold(job);
  partition_append_start(append, item->route.shard, front_loop(front));
}

/* Clients do not write Milena's own topics, nor in a coordinator's name. */
static Failure *item_check_client(const ProduceItem *item) {
  if (item->job->producer->of_peers)
    return NULL;
  const MetadataTopic *topic = item->route.topic;
  if (metadata_topic_is_internal(topic))
    return failure_set_resource(failure_new(FAILURE(INTERNAL_TOPIC),
                                            "the topic \"%s\" is Milena's own: it can be read, but only its processes "
                                            "write it; nothing was written",
                                            topic->name),
                                "topic", topic->name);
  if (item->batch.producer_id == LOG_PRODUCER_COORDINATOR)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "this producer id is kept for coordinators"),
                                 "header.producer_id", "call InitProducer for one");
  return NULL;
}

Failure *produce_no_key(const MetadataTopic *topic, const char *path) {
  return failure_add_violation(
      failure_new(FAILURE(INVALID_FIELD),
                  "a record has no key, but topic '%s' is compacted: it keeps the last record of each key, so all its "
                  "records have one; nothing was written",
                  topic->name),
      path, "is missing");
}

/* The batch is decoded, which other topics do without. */
static Failure *check_keys(const LogBatch *batch, const MetadataTopic *topic) {
  g_autoptr(LogRecordsReader) reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  guint index = 0;
  for (; !failure && log_records_reader_next(reader, &record, &failure); index++) {
    if (record.key.present)
      continue;
    g_autofree char *path = g_strdup_printf("records[%u].key", index);
    return produce_no_key(topic, path);
  }
  return failure;
}

static Failure *item_check(ProduceItem *item) {
  if (item->checked)
    return NULL;
  Failure *refused = item_check_client(item);
  if (refused)
    return refused;
  Failure *failure = log_batch_check(&item->batch, metadata_topic_max_message_bytes(item->route.topic));
  /* A batch that can't be read would stop every consumer of the partition at its offset, for ever. */
  if (!failure)
    failure = log_records_check_outside(&item->batch);
  /* What a peer sends was checked by it. */
  if (!failure && !item->job->producer->of_peers && metadata_topic_is_compacted(item->route.topic))
    failure = check_keys(&item->batch, item->route.topic);
  if (failure) {
    g_autofree char *path = g_strdup_printf("batches[%u].batch", item->batch_index);
    return failure_prefix_violations(failure, path);
  }
  item->checked = TRUE;
  return NULL;
}

static Failure *item_go(ProduceTurn *turn) {
  ProduceItem *item = (ProduceItem *)((char *)turn - G_STRUCT_OFFSET(ProduceItem, turn));
  ProduceJob *job = item->job;
  Producer *producer = job->producer;
  gboolean no_proxy = job->input.no_proxy;
  route_clear(&item->route);
  Failure *failure =
      front_route(producer->front, item->topic_name, item->topic_id, item->partition, no_proxy, &item->route);
  if (failure && front_failure_may_be_stale(failure) && !(no_proxy && is_not_written(failure)))
    return failure;
  if (!failure)
    failure = item_check(item);
  if (failure) {
    produce_item_end(item, NULL, failure);
    return NULL;
  }
  gboolean answer_now = job->input.acks == MILENA__V1__ACKS__ACKS_NONE;
  produce_job_hold(job);
  if (item->route.shard)
    item_append(item);
  else
    produce_link_send(producer, item);
  if (answer_now)
    produce_item_end(item, NULL, NULL);
  produce_job_release(job);
  return NULL;
}

static void item_give_up(ProduceTurn *turn, const Failure *failure) {
  ProduceItem *item = (ProduceItem *)((char *)turn - G_STRUCT_OFFSET(ProduceItem, turn));
  produce_item_end(item, NULL, failure_copy(failure));
}

/* ---- a job's parts ---- */

static Failure *check_batch(const Milena__V1__PartitionBatch *proto) {
  if (!*proto->topic && !*proto->topic_id)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "a batch names no topic"), "topic",
                                 "give the topic's name or id");
  if (proto->partition < 0)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "a batch's partition is negative"), "partition",
                                 "must be 0 or more");
  if (!proto->batch || !proto->batch->header)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "a batch has no header"), "batch.header",
                                 "is missing");
  return NULL;
}

static void start_batch(ProduceJob *job, guint index) {
  const Milena__V1__PartitionBatch *proto = job->input.batches[index];
  ProduceItem *item = produce_job_add_item(job);
  item->turn.go = item_go;
  item->turn.give_up = item_give_up;
  item->topic_name = proto->topic;
  item->topic_id = proto->topic_id;
  item->partition = proto->partition;
  item->batch_index = index;
  Failure *failure = check_batch(proto);
  if (!failure) {
    g_autoptr(GBytes) records = rpc_message_share(job->message, &proto->batch->records);
    failure = log_batch_from_proto(proto->batch, records, &item->batch);
  }
  if (failure) {
    g_autofree char *path = g_strdup_printf("batches[%u]", index);
    produce_item_end(item, NULL, failure_prefix_violations(failure, path));
    return;
  }
  /* A stamp is the leader's to give: whatever came with the request is ignored. */
  item->batch.base_offset = LOG_OFFSET_NONE;
  item->batch.leader_epoch = 0;
  item->batch.append_timestamp_ms = 0;
  produce_gate_pass(job->producer, &item->turn, item->topic_name, item->topic_id, item->partition);
}

/* The plain records are items now, or failed the job; go on with what they came to. */
static void records_planned(ProduceJob *job) {
  guint planned = job->items->len;
  for (guint i = 0; i < planned; i++) {
    ProduceItem *item = job->items->pdata[i];
    item->turn.go = item_go;
    item->turn.give_up = item_give_up;
    produce_gate_pass(job->producer, &item->turn, item->topic_name, item->topic_id, item->partition);
  }
  for (guint i = 0; i < job->input.n_batches && !job->failure; i++)
    start_batch(job, i);
  job_part_done(job);
}

static Failure *records_go(ProduceTurn *turn) {
  ProduceJob *job = (ProduceJob *)((char *)turn - G_STRUCT_OFFSET(ProduceJob, turn));
  const MetadataTopic *topic;
  Failure *failure = front_find_topic(job->producer->front, job->input.topic_name, job->input.topic_id, &topic);
  if (!failure)
    failure = produce_plan_records(job, topic);
  if (failure && front_failure_may_be_stale(failure))
    return failure;
  job->failure = failure;
  records_planned(job);
  return NULL;
}

static void records_give_up(ProduceTurn *turn, const Failure *failure) {
  ProduceJob *job = (ProduceJob *)((char *)turn - G_STRUCT_OFFSET(ProduceJob, turn));
  job->failure = failure_copy(failure);
  records_planned(job);
}

/* ---- the deadline ---- */

static Failure *too_late(const ProduceItem *item) {
  if (item && (item->state == ITEM_SENT || item->may_be_written))
    return failure_new(FAILURE(UNKNOWN_OUTCOME), "the time was over before the write was confirmed: the records may or "
                                                 "may not be kept");
  return failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                     "the partition's leader could not be reached in time: nothing was written, try again");
}

void produce_job_expire(ProduceJob *job) {
  produce_job_hold(job);
  if (job->turn.gate) {
    produce_gate_leave(job->producer, &job->turn);
    job->failure = too_late(NULL);
    records_planned(job);
  }
  for (guint i = 0; i < job->items->len; i++) {
    ProduceItem *item = job->items->pdata[i];
    if (item->state == ITEM_DONE)
      continue;
    produce_gate_leave(job->producer, &item->turn);
    produce_item_end(item, NULL, too_late(item));
  }
  produce_job_release(job);
}

static void on_deadline(Timer *timer, gpointer data) {
  (void)timer;
  produce_job_expire(data);
}

/* ---- starting ---- */

void produce_job_start(Producer *producer, RpcMessage *message, const ProduceInput *input, ProduceJobDone done,
                       gpointer user_data) {
  ProduceJob *job = g_new0(ProduceJob, 1);
  *job = (ProduceJob){.producer = producer,
                      .message = rpc_message_ref(message),
                      .input = *input,
                      .done = done,
                      .user_data = user_data,
                      .holders = 1,
                      .turn = {.go = records_go, .give_up = records_give_up},
                      .items = g_ptr_array_new_with_free_func(item_free),
                      .undone = 1}; /* until the records are planned */
  job->link.data = job;
  g_queue_push_tail_link(&producer->jobs, &job->link);
  timer_set(producer->front->timers, &job->timer, input->deadline_us, on_deadline, job);
  if (input->n_records > 0)
    produce_gate_pass(producer, &job->turn, input->topic_name, input->topic_id, -1);
  else
    records_planned(job);
}
