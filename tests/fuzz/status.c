/* A google.rpc.Status with its details, as any server may send it, and what this side makes of it.
 *
 * Input: the bytes of grpc-status-details-bin. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Google__Rpc__Status *status = google__rpc__status__unpack(NULL, size, data);
  if (!status)
    return 0;
  g_autoptr(Failure) failure = failure_from_status(status);
  FUZZ_HOLDS((failure == NULL) == (status->code == 0));
  google__rpc__status__free_unpacked(status, NULL);
  if (!failure)
    return 0;
  FUZZ_HOLDS(failure_message(failure) && failure_code(failure) != 0);
  failure_reason_name(failure_reason(failure));
  failure_is_retriable(failure);
  FUZZ_HOLDS(failure_retry_delay_ms(failure) >= -1);
  const char *key, *value;
  for (guint i = 0; failure_get_at(failure, i, &key, &value); i++)
    FUZZ_HOLDS(failure_get(failure, key) != NULL && value);
  failure_prefix_violations(failure, "batches[3]");
  failure_prefix(failure, "while %s: ", "fuzzing");
  /* What goes out again is a Status, and says the same. */
  g_autoptr(GBytes) bytes = failure_to_bytes(failure);
  Google__Rpc__Status *again =
      google__rpc__status__unpack(NULL, g_bytes_get_size(bytes), g_bytes_get_data(bytes, NULL));
  FUZZ_HOLDS(again != NULL);
  g_autoptr(Failure) same = failure_from_status(again);
  google__rpc__status__free_unpacked(again, NULL);
  FUZZ_HOLDS(same && failure_code(same) == failure_code(failure) && failure_reason(same) == failure_reason(failure));
  FUZZ_HOLDS(g_str_equal(failure_message(same), failure_message(failure)));
  return 0;
}
