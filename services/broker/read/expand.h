/* From stored batches to what a client asked for: whole batches, single records, or records as text.
 *
 * An Expander walks the batches of one read of one partition and gives them in pieces, as the client takes them: a
 * batch that expands to more than one answer is decompressed once and goes on where it stopped. Records before the
 * start offset and from the stop offset on are left out. No allocation for a record; large values are shared, not
 * copied.
 *
 * Pure; one owner thread. */
#pragma once

#include <glib.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/failure.h"
#include "services/broker/read/memory.h"

G_BEGIN_DECLS

/* No stop: follow the log for ever. */
#define EXPAND_STOP_NONE G_MAXINT64
/* Bounds of one ReadMemory, whatever a client asks for: how many records (each costs some 200 bytes here, however
 * small it is), and how much decompressed data may be held when one more batch is opened. */
#define EXPAND_RECORDS_MAX 131072
#define EXPAND_HELD_BYTES_MAX ((gsize)128 << 20)
/* Headers of one record; a record with more comes only in format BATCHES. */
#define EXPAND_HEADERS_MAX 65536u

typedef struct Expander Expander;

/* @topic: for failures; copied
 * @batches: GArray of LogBatch, stamped, in order (log_batch_array_new); taken
 * @start: the first offset wanted
 * @stop: the first offset no longer wanted, or EXPAND_STOP_NONE
 * @format: any; FORMAT_UNSPECIFIED is FORMAT_RECORDS */
Expander *expander_new(const char *topic, gint32 partition, GArray *batches, gint64 start, gint64 stop,
                       Milena__V1__Format format);
void expander_free(Expander *expander); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Expander, expander_free)

typedef struct {
  gsize bytes;           /* of records, as they will be serialised, about */
  guint64 records;       /* how many; ends inside a batch where the format allows it */
  gboolean at_least_one; /* the first record (or batch) is given even when it is larger than `bytes` */
} ExpandLimits;

/* A piece; all of it lives in the ReadMemory and what that holds. */
typedef struct {
  Milena__V1__ConsumedRecord **records; /* formats RECORDS and TEXT */
  gsize record_count;
  Milena__V1__EncodedBatch **batches; /* format BATCHES */
  gsize batch_count;
  guint64 counted_records; /* records, those in batches too */
  gsize counted_bytes;
} Expanded;

/* The next piece.
 *
 * @ret_piece: overwritten, empty on failure
 *
 * Returns NULL, or, where the first thing to give is damaged, CORRUPT_LOG (UNSUPPORTED for an unknown compression,
 * LIMIT_EXCEEDED for too many headers) with topic, partition, offset and next_offset (behind the damaged batch) in its
 * metadata: nothing was taken then, and the same failure comes again. What is whole before the damage is given first.
 */
Failure *expander_next(Expander *expander, ReadMemory *memory, const ExpandLimits *limits, Expanded *ret_piece);

/* The offset behind what was given: where to read on. */
gint64 expander_next_offset(const Expander *expander);
/* All is given, or the stop is reached. */
gboolean expander_is_done(const Expander *expander);
/* Bytes of the batches that are kept: what not sending costs. */
gsize expander_bytes(const Expander *expander);
/* A batch is open that had to be decompressed: its memory, up to 64 MiB, is held until its last record was given. */
gboolean expander_holds_memory(const Expander *expander);
/* Want less: @stop not above the one before. */
void expander_set_stop(Expander *expander, gint64 stop);

/* Milliseconds since 1970 as a message in @memory. */
Google__Protobuf__Timestamp *expand_timestamp_new(ReadMemory *memory, gint64 timestamp_ms);

G_END_DECLS
