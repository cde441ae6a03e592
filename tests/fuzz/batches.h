/* What happens to a batch once its header was read, whoever sent it. */
#pragma once

#include "storage/log/records.h"
#include "tests/fuzz/fuzz.h"

/* Walk the records twice: from the first, and from one in the middle. */
static inline void fuzz_walk_records(const LogBatch *batch, gint64 skip_to) {
  for (guint turn = 0; turn < 2; turn++) {
    LogRecordsReader *reader = NULL;
    if (!fuzz_accepted(log_records_reader_new(batch, &reader)))
      return;
    if (turn == 1)
      log_records_reader_skip_to(reader, skip_to);
    LogRecord record;
    Failure *failure = NULL;
    while (log_records_reader_next(reader, &record, &failure)) {
      FUZZ_HOLDS(turn == 0 || record.offset >= skip_to);
      FUZZ_HOLDS(record.timestamp_ms >= LOG_TIMESTAMP_MS_MIN && record.timestamp_ms <= LOG_TIMESTAMP_MS_MAX);
      fuzz_touch(record.key.data, record.key.len);
      fuzz_touch(record.value.data, record.value.len);
      LogHeaderIter iter;
      LogHeader header;
      guint headers = 0;
      for (log_header_iter_init(&iter, &record); log_header_iter_next(&iter, &header); headers++) {
        FUZZ_HOLDS(g_utf8_validate(header.name, (gssize)header.name_len, NULL));
        fuzz_touch(header.value.data, header.value.len);
      }
      FUZZ_HOLDS(headers == record.header_count);
    }
    fuzz_accepted(failure);
    log_records_reader_free(reader);
  }
}
