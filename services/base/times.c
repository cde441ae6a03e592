/* Times on the wire: see times.h. */
#include "services/base/times.h"

#define MS_PER_S 1000
#define NANOS_PER_MS 1000000
/* Leaves room for what the nanoseconds may add, whatever they are. */
#define SECONDS_MOST (G_MAXINT64 / MS_PER_S - 3)

static gint64 to_ms(gint64 seconds, gint32 nanos) {
  return CLAMP(seconds, -SECONDS_MOST, SECONDS_MOST) * MS_PER_S + nanos / NANOS_PER_MS;
}

gint64 times_timestamp_ms(const Google__Protobuf__Timestamp *timestamp, gint64 missing_ms) {
  return timestamp ? to_ms(timestamp->seconds, timestamp->nanos) : missing_ms;
}

gint64 times_duration_ms(const Google__Protobuf__Duration *duration, gint64 missing_ms) {
  return duration ? to_ms(duration->seconds, duration->nanos) : missing_ms;
}

void times_timestamp_set(Google__Protobuf__Timestamp *timestamp, gint64 ms) {
  gint64 seconds = ms / MS_PER_S, rest_ms = ms % MS_PER_S;
  google__protobuf__timestamp__init(timestamp);
  /* Nanoseconds count forward, before 1970 too. */
  timestamp->seconds = rest_ms < 0 ? seconds - 1 : seconds;
  timestamp->nanos = (gint32)(rest_ms < 0 ? rest_ms + MS_PER_S : rest_ms) * NANOS_PER_MS;
}

void times_duration_set(Google__Protobuf__Duration *duration, gint64 ms) {
  google__protobuf__duration__init(duration);
  duration->seconds = ms / MS_PER_S;
  duration->nanos = (gint32)(ms % MS_PER_S) * NANOS_PER_MS;
}
