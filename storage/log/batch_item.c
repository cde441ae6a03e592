/* See batch_item.h. No state. */
#include "storage/log/batch_item.h"

void log_batch_to_item(const LogBatch *batch, LogBatchPlace place, guint64 correlation_id, LogBatchItem *ret_item) {
  log_batch_to_proto(batch, &ret_item->batch);
  milena__v1__partition_batch__init(&ret_item->part);
  ret_item->part.topic = (char *)place.topic;
  ret_item->part.topic_id = (char *)place.topic_id;
  ret_item->part.partition = place.partition;
  ret_item->part.batch = &ret_item->batch.batch;
  ret_item->parts[0] = &ret_item->part;
  milena__v1__produce_stream_item__init(&ret_item->item);
  ret_item->item.correlation_id = correlation_id;
  ret_item->item.n_batches = 1;
  ret_item->item.batches = ret_item->parts;
  milena__v1__produce_stream_request__init(&ret_item->request);
  ret_item->request.frame_case = MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_ITEM;
  ret_item->request.item = &ret_item->item;
}
