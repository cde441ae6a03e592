/* Produce, and what a Producer is. Thread: the front's loop. */
#include "services/broker/produce.h"

#include "services/broker/produce_internal.h"

static void on_metadata(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  if (before != now)
    produce_links_look((Producer *)((char *)watch - G_STRUCT_OFFSET(Producer, watch)), now);
}

Producer *producer_new(Front *front, gboolean of_peers) {
  Producer *producer = g_new0(Producer, 1);
  producer->front = front;
  producer->of_peers = of_peers;
  producer->gates = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, produce_gate_free);
  producer->links = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, produce_link_free);
  producer->old_links = g_hash_table_new_full(NULL, NULL, produce_link_free, NULL);
  producer->builder = log_records_builder_new();
  producer->ids = produce_ids_new(front, !of_peers);
  g_queue_init(&producer->jobs);
  producer->watch.changed = on_metadata;
  front_watch_add(front, &producer->watch);
  return producer;
}

void producer_free(Producer *producer) {
  if (!producer)
    return;
  front_watch_remove(producer->front, &producer->watch);
  while (producer->jobs.head)
    produce_job_expire(producer->jobs.head->data);
  g_hash_table_unref(producer->gates);
  g_hash_table_unref(producer->links);
  g_hash_table_unref(producer->old_links);
  log_records_builder_free(producer->builder);
  produce_ids_free(producer->ids);
  g_free(producer);
}

void producer_drain(Producer *producer) {
  produce_gates_drain(producer);
  produce_ids_drain(producer->ids);
}

static void on_produced(ProduceJob *job, gpointer user_data) {
  RpcCall *call = user_data;
  if (job->failure) {
    rpc_call_finish(call, g_steal_pointer(&job->failure));
    return;
  }
  ProduceResults results;
  produce_results_init(&results, job);
  Milena__V1__ProduceResponse response = MILENA__V1__PRODUCE_RESPONSE__INIT;
  response.n_results = results.count;
  response.results = results.results;
  rpc_call_reply(call, &response.base, NULL, 0);
  produce_results_clear(&results);
}

static Failure *read_request(RpcCall *call, const Milena__V1__ProduceRequest *request, ProduceInput *ret_input) {
  gint64 timeout_ms;
  *ret_input = (ProduceInput){.topic_name = request->topic,
                              .topic_id = request->topic_id,
                              .n_records = request->n_records,
                              .records = request->records,
                              .n_batches = request->n_batches,
                              .batches = request->batches,
                              .sequence = request->producer,
                              .no_proxy = request->no_proxy};
  Failure *failure = produce_check_terms(request->acks, request->timeout, &ret_input->acks, &timeout_ms);
  if (failure)
    return failure;
  ret_input->deadline_us = MIN(rpc_call_answer_by_us(call), g_get_monotonic_time() + timeout_ms * 1000);
  return produce_check_input(ret_input);
}

static void produce(RpcCall *call, RpcMessage *message, gpointer user_data) {
  Producer *producer = user_data;
  ProduceInput input;
  Failure *failure = NULL;
  if (front_is_draining(producer->front))
    failure = failure_new(FAILURE(DRAINING), "this broker is stopping: nothing was written, go to another one");
  else
    failure = read_request(call, rpc_message_body(message), &input);
  if (failure)
    rpc_call_finish(call, failure);
  else
    produce_job_start(producer, message, &input, on_produced, call);
}

static void init_producer(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const Producer *producer = user_data;
  produce_ids_init_producer(producer->ids, call, rpc_message_body(message));
}

const RpcMethodHandler PRODUCER_SERVICE_HANDLERS[] = {
    {.name = "InitProducer", .unary = init_producer},
    {.name = "Produce", .unary = produce},
    {.name = "ProduceStream", .stream = produce_stream_open},
    {NULL},
};
