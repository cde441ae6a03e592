/* What the calls of ConsumerService have in common in their requests: checked, and made plain. Pure; any thread.
 *
 * Each returns NULL, or INVALID_FIELD with @path (the field's, as in BadRequest) named; results are untouched then. */
#pragma once

#include <glib.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

#define READ_MAX_BYTES_DEFAULT (1u << 20)
#define READ_MAX_BYTES_MAX (64u << 20)
/* Partitions, or queries, of one call. */
#define READ_PARTITIONS_MAX 10000
/* The longest that Fetch waits. */
#define READ_WAIT_MS_MAX 60000

/* A place in a partition. */
typedef enum { PLACE_EARLIEST, PLACE_LATEST, PLACE_LAST_STABLE, PLACE_OFFSET, PLACE_TIME } PlaceKind;
typedef struct {
  PlaceKind kind;
  gint64 offset;       /* PLACE_OFFSET */
  gint64 timestamp_ms; /* PLACE_TIME: rounded up, for the first record at or after it */
} Place;

/* One field of a request is wrong: @path and a sentence. */
Failure *read_request_invalid(const char *path, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* 0 becomes RECORDS. */
Failure *read_request_format(Milena__V1__Format format, const char *path, Milena__V1__Format *ret_format);
/* 0 becomes 1 MiB. */
Failure *read_request_max_bytes(guint32 max_bytes, const char *path, guint32 *ret_max_bytes);
/* NULL is 0; more than READ_WAIT_MS_MAX is cut to it. */
Failure *read_request_wait(const Google__Protobuf__Duration *wait, const char *path, gint64 *ret_wait_ms);
/* How many partitions a call names: @count is 1 to READ_PARTITIONS_MAX. */
Failure *read_request_count(gsize count, const char *path);
/* A topic has a name, an id, or both; the partition is not negative. @path: of the message that holds them, or "". */
Failure *read_request_partition(const char *topic, const char *topic_id, gint32 partition, const char *path);
/* @position: NULL, without a kind or with an unspecified end: @missing */
Failure *read_request_place(const Milena__V1__Position *position, PlaceKind missing, const char *path,
                            Place *ret_place);

G_END_DECLS
