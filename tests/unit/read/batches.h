/* Batches for tests of the read path. */
#pragma once

#include "storage/log/records.h"

/* A stamped batch of @count records "k<offset>" → "v<offset>", timestamps 1000 + offset. Cleared by the array. */
void batches_add(GArray *batches, gint64 base_offset, guint count, Milena__V1__Compression compression);
/* The same with values of @value_bytes bytes. */
void batches_add_sized(GArray *batches, gint64 base_offset, guint count, gsize value_bytes,
                       Milena__V1__Compression compression);
/* One record as given. */
void batches_add_record(GArray *batches, gint64 base_offset, LogField key, LogField value, const LogHeader *headers,
                        gsize header_count, gint64 timestamp_ms);
/* A batch whose bytes are @data, whatever they are. */
void batches_add_raw(GArray *batches, gint64 base_offset, guint count, guint32 compression, guint32 uncompressed_bytes,
                     const void *data, gsize len);
