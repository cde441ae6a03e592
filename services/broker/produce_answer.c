/* What is asked and what is answered, between messages and jobs. Thread: the front's loop. */
#include "services/broker/produce_internal.h"

#include "services/base/times.h"

#define TIMEOUT_DEFAULT_MS 30000
#define TIMEOUT_MAX_MS 300000

/* ---- questions ---- */

static Failure *bad_field(const char *path, const char *description) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "the request's %s %s", path, description), path,
                               description);
}

Failure *produce_check_terms(Milena__V1__Acks acks, const Google__Protobuf__Duration *timeout,
                             Milena__V1__Acks *ret_acks, gint64 *ret_timeout_ms) {
  if ((int)acks < 0 || (int)acks > MILENA__V1__ACKS__ACKS_ALL)
    return bad_field("acks", "is none of ACKS_NONE, ACKS_LEADER, ACKS_ALL");
  gint64 timeout_ms = TIMEOUT_DEFAULT_MS;
  if (timeout) {
    if (timeout->seconds < 0 || timeout->nanos < 0 || timeout->nanos > 999999999)
      return bad_field("timeout", "must not be negative, and its nanos below a second");
    if (timeout->seconds > TIMEOUT_MAX_MS / 1000)
      return bad_field("timeout", "must be 5 minutes at most");
    timeout_ms = times_duration_ms(timeout, 0);
    if (timeout_ms == 0)
      return bad_field("timeout", "must be at least a millisecond; leave it out for the default, 30 s");
  }
  *ret_acks = acks == MILENA__V1__ACKS__ACKS_UNSPECIFIED ? MILENA__V1__ACKS__ACKS_ALL : acks;
  *ret_timeout_ms = timeout_ms;
  return NULL;
}

Failure *produce_check_input(const ProduceInput *input) {
  if (input->n_records == 0 && input->n_batches == 0)
    return bad_field("records", "and batches are both empty: there is nothing to write");
  if (input->n_records > 0 && !*input->topic_name && !*input->topic_id)
    return bad_field("topic", "is missing: name the topic that the records go to");
  const Milena__V1__ProducerSequence *sequence = input->sequence;
  if (sequence && sequence->producer_id < 1)
    return bad_field("producer.producer_id", "must be 1 or more: ask InitProducer for one");
  if (sequence && input->n_records == 0)
    return bad_field("producer", "is about plain records, and there are none: encoded batches say it in their headers");
  return NULL;
}

/* ---- answers ---- */

static void set_receipt(const ProduceItem *item, ProduceResultProto *proto) {
  const PartitionReceipt *receipt = &item->receipt;
  Milena__V1__ProduceResult *result = &proto->result;
  result->base_offset = receipt->base_offset;
  result->record_count = item->batch.record_count;
  result->leader_epoch = receipt->leader_epoch;
  result->replicas = receipt->replicas;
  result->synced_replicas = receipt->synced_replicas;
  result->log_start_offset = receipt->log_start_offset;
  result->duplicate = receipt->duplicate;
  if (receipt->base_offset < 0)
    return;
  times_timestamp_set(&proto->append_time, receipt->append_timestamp_ms);
  result->append_time = &proto->append_time;
}

static void result_fill(const ProduceItem *item, ProduceResultProto *proto) {
  Milena__V1__ProduceResult *result = &proto->result;
  milena__v1__produce_result__init(result);
  const MetadataTopic *topic = item->route.topic;
  result->topic = (char *)(topic ? topic->name : item->topic_name);
  result->topic_id = (char *)(topic ? topic->id : item->topic_id);
  result->partition = item->partition;
  result->base_offset = -1;
  result->status = item->failure ? failure_to_status(item->failure) : NULL;
  if (!item->failure)
    set_receipt(item, proto);
  if (item->record_indexes) {
    result->n_record_indexes = item->record_indexes->len;
    result->record_indexes = (uint32_t *)(gpointer)item->record_indexes->data;
  }
  result->batch_index = item->batch_index;
  if (route_fill_hint(&item->route, &proto->route))
    result->route = &proto->route;
}

void produce_results_init(ProduceResults *results, const ProduceJob *job) {
  results->count = job->items->len;
  results->protos = g_new0(ProduceResultProto, results->count);
  results->results = g_new0(Milena__V1__ProduceResult *, results->count);
  for (guint i = 0; i < results->count; i++) {
    result_fill(job->items->pdata[i], &results->protos[i]);
    results->results[i] = &results->protos[i].result;
  }
}

void produce_results_clear(ProduceResults *results) {
  for (guint i = 0; i < results->count; i++) {
    if (results->protos[i].result.status)
      google__rpc__status__free_unpacked(results->protos[i].result.status, NULL);
  }
  g_free(results->protos);
  g_free(results->results);
}
