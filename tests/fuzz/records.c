/* The records inside a batch, plain and compressed, past all checksums.
 *
 * Input: compression, number of records (2 bytes), uncompressed size (4 bytes; 0: what follows), the payload. */
#include "tests/fuzz/batches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  batch.compression = fuzz_u8(&input) % 5;
  batch.record_count = (guint32)fuzz_number(&input, 2);
  guint32 uncompressed = (guint32)fuzz_number(&input, 4) % (1 << 20);
  batch.uncompressed_bytes = uncompressed ? uncompressed : (guint32)fuzz_left(&input);
  batch.max_timestamp_ms = LOG_TIMESTAMP_MS_MAX;
  batch.records = g_bytes_new(input.at, fuzz_left(&input));
  fuzz_walk_records(&batch, batch.record_count / 2);
  gboolean readable = fuzz_accepted(log_records_check(&batch));
  gboolean taken = fuzz_accepted(log_records_check_outside(&batch));
  FUZZ_HOLDS(taken || !readable || batch.record_count == 0);
  return 0;
}
