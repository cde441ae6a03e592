/* Messages about what was read: see fetched.h. */
#include "services/broker/read/fetched.h"

static void *allocate(void *memory, size_t bytes) {
  return read_memory_alloc(memory, bytes);
}

static void leave(void *memory, void *data) { /* dies with the memory */
  (void)memory;
  (void)data;
}

Google__Rpc__Status *fetched_status_new(ReadMemory *memory, const Failure *failure) {
  ProtobufCAllocator allocator = {.alloc = allocate, .free = leave, .allocator_data = memory};
  g_autoptr(GBytes) bytes = failure_to_bytes(failure);
  gsize len;
  const guint8 *data = g_bytes_get_data(bytes, &len);
  return google__rpc__status__unpack(&allocator, len, data);
}

Milena__V1__RouteHint *fetched_hint_new(ReadMemory *memory, const SourceOrigin *origin) {
  if (!origin->has_hint)
    return NULL;
  Milena__V1__RouteHint *hint = read_memory_alloc(memory, sizeof *hint);
  milena__v1__route_hint__init(hint);
  hint->leader_id = origin->leader_id;
  hint->leader_address = read_memory_string(memory, origin->leader_address);
  hint->leader_epoch = origin->leader_epoch;
  hint->metadata_version = origin->metadata_version;
  return hint;
}

Milena__V1__FetchedPartition *fetched_partition_new(ReadMemory *memory, const SourceOrigin *origin, gint32 partition,
                                                    const PartitionBounds *bounds, gint64 next_offset) {
  Milena__V1__FetchedPartition *fetched = read_memory_alloc(memory, sizeof *fetched);
  milena__v1__fetched_partition__init(fetched);
  fetched->topic = read_memory_string(memory, origin->topic);
  fetched->topic_id = read_memory_string(memory, origin->topic_id);
  fetched->partition = partition;
  fetched->high_watermark = bounds->high_watermark;
  fetched->log_start_offset = bounds->log_start_offset;
  fetched->last_stable_offset = bounds->last_stable_offset;
  fetched->next_offset = next_offset;
  fetched->route = fetched_hint_new(memory, origin);
  return fetched;
}

void fetched_partition_set_piece(Milena__V1__FetchedPartition *fetched, const Expanded *piece) {
  fetched->n_records = piece->record_count;
  fetched->records = piece->records;
  fetched->n_batches = piece->batch_count;
  fetched->batches = piece->batches;
}

void fetched_partition_set_failure(ReadMemory *memory, Milena__V1__FetchedPartition *fetched, const Failure *failure) {
  if (failure != NULL)
    fetched->status = fetched_status_new(memory, failure);
}
