/* A batch as a client sends it: header, checks, records.
 *
 * Input: whether to mend the CRC before the checks, then an EncodedBatch. */
#include "tests/fuzz/batches.h"

#include "services/rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  gboolean seal = fuzz_u8(&input) & 1;
  g_autoptr(GBytes) wire = g_bytes_new(input.at, fuzz_left(&input));
  g_autoptr(RpcMessage) message = NULL;
  if (!fuzz_accepted(rpc_message_decode(&milena__v1__encoded_batch__descriptor, &wire, 1, &message)))
    return 0;
  const Milena__V1__EncodedBatch *proto = rpc_message_body(message);
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  if (!proto->header || !fuzz_accepted(log_batch_from_proto(proto, NULL, &batch)))
    return 0;
  if (seal)
    log_batch_seal(&batch);
  /* Allocating 64 MiB for each input finds nothing more. */
  if (batch.uncompressed_bytes > 1 << 20)
    batch.uncompressed_bytes %= 1 << 20;
  gboolean good = fuzz_accepted(log_batch_check(&batch, 1 << 20));
  FUZZ_HOLDS(fuzz_accepted(log_batch_verify(&batch)) || !good);
  fuzz_walk_records(&batch, batch.record_count / 2);
  fuzz_accepted(log_records_check(&batch));
  if (!good)
    return 0;
  batch.base_offset = 1000;
  LogBatchProto room;
  log_batch_to_proto(&batch, &room);
  g_auto(LogBatch) again = LOG_BATCH_INIT;
  FUZZ_HOLDS(fuzz_accepted(log_batch_from_proto(&room.batch, batch.records, &again)));
  FUZZ_HOLDS(log_batch_crc(&again) == batch.crc32c && again.base_offset == 1000);
  return 0;
}
