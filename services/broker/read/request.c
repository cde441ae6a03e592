/* Checks of requests: see request.h. */
#include "services/broker/read/request.h"

#include "storage/log/batch.h"

#define NANOS_PER_MS 1000000

Failure *read_request_invalid(const char *path, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *description = g_strdup_vprintf(format, args);
  va_end(args);
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s: %s", path, description), path, description);
}

Failure *read_request_format(Milena__V1__Format format, const char *path, Milena__V1__Format *ret_format) {
  switch (format) {
  case MILENA__V1__FORMAT__FORMAT_UNSPECIFIED:
    *ret_format = MILENA__V1__FORMAT__FORMAT_RECORDS;
    return NULL;
  case MILENA__V1__FORMAT__FORMAT_BATCHES:
  case MILENA__V1__FORMAT__FORMAT_RECORDS:
  case MILENA__V1__FORMAT__FORMAT_TEXT:
    *ret_format = format;
    return NULL;
  default:
    return read_request_invalid(path, "%d is no format; use FORMAT_BATCHES, FORMAT_RECORDS or FORMAT_TEXT",
                                (int)format);
  }
}

Failure *read_request_max_bytes(guint32 max_bytes, const char *path, guint32 *ret_max_bytes) {
  if (max_bytes > READ_MAX_BYTES_MAX)
    return read_request_invalid(path, "%u bytes are more than an answer may have, which is %u", max_bytes,
                                READ_MAX_BYTES_MAX);
  *ret_max_bytes = max_bytes == 0 ? READ_MAX_BYTES_DEFAULT : max_bytes;
  return NULL;
}

Failure *read_request_wait(const Google__Protobuf__Duration *wait, const char *path, gint64 *ret_wait_ms) {
  if (wait == NULL) {
    *ret_wait_ms = 0;
    return NULL;
  }
  if (wait->seconds < 0 || wait->nanos < 0 || wait->nanos > 999999999)
    return read_request_invalid(path, "a wait is not negative, and has 0 to 999,999,999 nanoseconds");
  if (wait->seconds >= READ_WAIT_MS_MAX / 1000)
    *ret_wait_ms = READ_WAIT_MS_MAX;
  else
    *ret_wait_ms = wait->seconds * 1000 + (wait->nanos + NANOS_PER_MS - 1) / NANOS_PER_MS;
  return NULL;
}

Failure *read_request_count(gsize count, const char *path) {
  if (count == 0)
    return read_request_invalid(path, "name at least one");
  if (count > READ_PARTITIONS_MAX)
    return read_request_invalid(path, "%" G_GSIZE_FORMAT " are too many for one call; name %d at most", count,
                                READ_PARTITIONS_MAX);
  return NULL;
}

static char *path_join(const char *path, const char *field) {
  return *path == '\0' ? g_strdup(field) : g_strconcat(path, ".", field, NULL);
}

Failure *read_request_partition(const char *topic, const char *topic_id, gint32 partition, const char *path) {
  if (*topic == '\0' && *topic_id == '\0') {
    g_autofree char *field = path_join(path, "topic");
    return read_request_invalid(field, "name a topic, or give its topic_id");
  }
  if (partition < 0) {
    g_autofree char *field = path_join(path, "partition");
    return read_request_invalid(field, "%d is no partition; they count from 0", partition);
  }
  return NULL;
}

static Failure *place_of_end(Milena__V1__LogEnd end, PlaceKind missing, const char *path, Place *ret_place) {
  switch (end) {
  case MILENA__V1__LOG_END__LOG_END_UNSPECIFIED:
    *ret_place = (Place){.kind = missing};
    return NULL;
  case MILENA__V1__LOG_END__LOG_END_EARLIEST:
    *ret_place = (Place){.kind = PLACE_EARLIEST};
    return NULL;
  case MILENA__V1__LOG_END__LOG_END_LATEST:
    *ret_place = (Place){.kind = PLACE_LATEST};
    return NULL;
  case MILENA__V1__LOG_END__LOG_END_LAST_STABLE:
    *ret_place = (Place){.kind = PLACE_LAST_STABLE};
    return NULL;
  default: {
    g_autofree char *field = path_join(path, "end");
    return read_request_invalid(field, "%d is no end of a log; use LOG_END_EARLIEST or LOG_END_LATEST", (int)end);
  }
  }
}

static Failure *place_of_time(const Google__Protobuf__Timestamp *time, const char *path, Place *ret_place) {
  if (time->nanos < 0 || time->nanos > 999999999 || time->seconds < LOG_TIMESTAMP_MS_MIN / 1000 ||
      time->seconds > LOG_TIMESTAMP_MS_MAX / 1000) {
    g_autofree char *field = path_join(path, "time");
    return read_request_invalid(field, "not a time from year 1 to 9999 with 0 to 999,999,999 nanoseconds");
  }
  gint64 timestamp_ms = time->seconds * 1000 + (time->nanos + NANOS_PER_MS - 1) / NANOS_PER_MS;
  *ret_place = (Place){.kind = PLACE_TIME, .timestamp_ms = timestamp_ms};
  return NULL;
}

Failure *read_request_place(const Milena__V1__Position *position, PlaceKind missing, const char *path,
                            Place *ret_place) {
  if (position == NULL || position->kind_case == MILENA__V1__POSITION__KIND__NOT_SET) {
    *ret_place = (Place){.kind = missing};
    return NULL;
  }
  if (position->kind_case == MILENA__V1__POSITION__KIND_TIME)
    return place_of_time(position->time, path, ret_place);
  if (position->kind_case == MILENA__V1__POSITION__KIND_END)
    return place_of_end(position->end, missing, path, ret_place);
  if (position->offset < 0) {
    g_autofree char *field = path_join(path, "offset");
    return read_request_invalid(field, "%" G_GINT64_FORMAT " is no offset; they count from 0", position->offset);
  }
  *ret_place = (Place){.kind = PLACE_OFFSET, .offset = position->offset};
  return NULL;
}
