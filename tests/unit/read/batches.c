#include "tests/unit/read/batches.h"

#include <string.h>

#include "services/base/invariant.h"

static void finish(GArray *batches, LogRecordsBuilder *builder, gint64 base_offset,
                   Milena__V1__Compression compression) {
  LogBatch batch = LOG_BATCH_INIT;
  INVARIANT(log_records_builder_finish(builder, compression, &batch) == NULL, "test batches can be built");
  batch.base_offset = base_offset;
  batch.leader_epoch = 7;
  batch.append_timestamp_ms = 5000;
  g_array_append_val(batches, batch);
}

void batches_add_sized(GArray *batches, gint64 base_offset, guint count, gsize value_bytes,
                       Milena__V1__Compression compression) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < count; i++) {
    g_autofree char *key = g_strdup_printf("k%" G_GINT64_FORMAT, base_offset + i);
    g_autofree char *value = g_strnfill(value_bytes, 'x');
    g_autofree char *text = g_strdup_printf("v%" G_GINT64_FORMAT, base_offset + i);
    LogField field = value_bytes > 0 ? log_field(value, value_bytes) : log_field(text, strlen(text));
    INVARIANT(log_records_builder_add(builder, log_field(key, strlen(key)), field, NULL, 0, 1000 + base_offset + i) ==
                  NULL,
              "test records can be added");
  }
  finish(batches, builder, base_offset, compression);
}

void batches_add(GArray *batches, gint64 base_offset, guint count, Milena__V1__Compression compression) {
  batches_add_sized(batches, base_offset, count, 0, compression);
}

void batches_add_record(GArray *batches, gint64 base_offset, LogField key, LogField value, const LogHeader *headers,
                        gsize header_count, gint64 timestamp_ms) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  INVARIANT(log_records_builder_add(builder, key, value, headers, header_count, timestamp_ms) == NULL,
            "test records can be added");
  finish(batches, builder, base_offset, MILENA__V1__COMPRESSION__COMPRESSION_NONE);
}

void batches_add_raw(GArray *batches, gint64 base_offset, guint count, guint32 compression, guint32 uncompressed_bytes,
                     const void *data, gsize len) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = count;
  batch.compression = compression;
  batch.uncompressed_bytes = uncompressed_bytes;
  batch.records = g_bytes_new(data, len);
  batch.base_offset = base_offset;
  log_batch_seal(&batch);
  g_array_append_val(batches, batch);
}
