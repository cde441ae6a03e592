/* One batch as a frame of a ProduceStream: what clients, brokers that forward and coordinators send. Pure. */
#pragma once

#include "milena/v1/producer_service.pb-c.h"
#include "storage/log/batch.h"

G_BEGIN_DECLS

/* Whose batch it is; strings are borrowed. */
typedef struct {
  const char *topic, *topic_id; /* "": not pinned */
  gint32 partition;
} LogBatchPlace;

/* Room for the frame; no allocation. */
typedef struct {
  Milena__V1__ProduceStreamRequest request; /* the frame to send, with batch->records as its attached bytes */
  Milena__V1__ProduceStreamItem item;
  Milena__V1__PartitionBatch part, *parts[1];
  LogBatchProto batch;
} LogBatchItem;

/* Fill @ret_item, whose `request` then points into itself, @batch and @place: it must stay put, and lives no longer. */
void log_batch_to_item(const LogBatch *batch, LogBatchPlace place, guint64 correlation_id, LogBatchItem *ret_item);

G_END_DECLS
