/* Delivery reports: see report.h. Keeps no state. */
#include "client/libmilena/report.h"

#include "services/base/times.h"

MilenaReceipt report_receipt(const Batch *batch, const Milena__V1__ProduceResult *result, MilenaAcks acks) {
  return (MilenaReceipt){
      .partition = batch->lane->partition,
      .offset = acks == MILENA_ACKS_NONE ? -1 : result->base_offset,
      .append_time_ms = times_timestamp_ms(result->append_time, 0),
      .leader_epoch = result->leader_epoch,
      .replicas = result->replicas,
      .synced_replicas = result->synced_replicas,
      .duplicate = result->duplicate,
  };
}

static void call_waiters(const Batch *batch, MilenaDelivery *delivery) {
  gint64 base_offset = delivery->offset;
  for (guint i = 0; batch->waiters != NULL && i < batch->waiters->len; i++) {
    const BatchWaiter *waiter = &g_array_index(batch->waiters, BatchWaiter, i);
    delivery->offset = base_offset >= 0 ? base_offset + waiter->index : -1;
    delivery->timestamp_ms = waiter->timestamp_ms;
    waiter->done(delivery, waiter->user_data);
  }
}

void report_written(Accumulator *accumulator, Batch *batch) {
  const MilenaReceipt *receipt = &batch->receipt;
  MilenaDelivery delivery = {
      .topic = batch->lane->topic->name,
      .partition = batch->lane->partition,
      .offset = receipt->offset,
      .append_time_ms = receipt->append_time_ms,
      .leader_epoch = receipt->leader_epoch,
      .replicas = receipt->replicas,
      .synced_replicas = receipt->synced_replicas,
      .duplicate = receipt->duplicate,
  };
  call_waiters(batch, &delivery);
  accumulator_finish(accumulator, batch, TRUE, FALSE);
}

void report_failed(Accumulator *accumulator, Batch *batch, Failure *failure, Outcome outcome) {
  if (batch->maybe_written)
    outcome = OUTCOME_UNKNOWN;
  failure_add(failure, "topic", "%s", batch->lane->topic->name);
  failure_add(failure, "partition", "%d", batch->lane->partition);
  g_autoptr(MilenaError) error = milena_error_take(failure, outcome);
  MilenaDelivery delivery = {
      .topic = batch->lane->topic->name, .partition = batch->lane->partition, .offset = -1, .error = error};
  call_waiters(batch, &delivery);
  accumulator_finish(accumulator, batch, FALSE, outcome == OUTCOME_UNKNOWN);
}

Failure *report_why_expired(Accumulator *accumulator, const Batch *batch, gint32 timeout_ms) {
  Failure *failure = batch->last != NULL ? failure_copy(batch->last) : accumulator_get_trouble(accumulator);
  if (failure == NULL)
    failure = failure_new(FAILURE(PEER_UNREACHABLE), "the batch could not be sent in time");
  else if (failure_reason(failure) == FAILURE(UNSPECIFIED)) {
    Failure *named = failure_new(FAILURE(PEER_UNREACHABLE), "%s", failure_message(failure));
    failure_free(failure);
    failure = named;
  }
  return failure_prefix(failure, "gave up after %u tries within %d ms", batch->attempts, timeout_ms);
}
