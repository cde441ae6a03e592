/* Leader epochs as stored, and the questions that are asked of them.
 *
 * Input: an epoch (4 bytes) and an offset (8 bytes) to ask for, then the stored form. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/epochs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  gint32 epoch = (gint32)fuzz_number(&input, 4);
  gint64 offset = (gint64)fuzz_number(&input, 8);
  g_autoptr(LogEpochs) epochs = NULL;
  gsize used = 0;
  if (!fuzz_accepted(log_epochs_decode(input.at, fuzz_left(&input), &epochs, &used)))
    return 0;
  FUZZ_HOLDS(used <= fuzz_left(&input));
  g_autoptr(GByteArray) written = g_byte_array_new();
  log_epochs_encode(epochs, written);
  FUZZ_HOLDS(written->len == used && memcmp(written->data, input.at, used) == 0);
  gint32 end_epoch;
  gint64 end_offset;
  log_epochs_end_offset(epochs, epoch, offset, &end_epoch, &end_offset);
  log_epochs_at(epochs, offset);
  if (log_epochs_accepts(epochs, epoch, offset))
    log_epochs_append(epochs, epoch, offset);
  log_epochs_truncate_start(epochs, offset / 2);
  log_epochs_truncate_end(epochs, offset);
  for (guint i = 1; i < log_epochs_count(epochs); i++) {
    LogEpoch before = log_epochs_get(epochs, i - 1), after = log_epochs_get(epochs, i);
    FUZZ_HOLDS(before.epoch < after.epoch && before.start_offset < after.start_offset);
  }
  return 0;
}
